//! Whether a stack still waits for the answer to a request: one that has rolled back meanwhile does not, and what was done
//! for it at Spot would be left over.

use super::RequestType;

/// Whether a stack in this status (CloudFormation API reference, Stack) still works on a request of this type. What a status
/// that is not known may have sent is worked on.
#[must_use]
pub fn still_waits(status: &str, request: RequestType) -> bool {
    match request {
        RequestType::Delete => deletes(status) || !is_known(status),
        RequestType::Create => {
            matches!(
                status,
                "CREATE_IN_PROGRESS"
                    | "UPDATE_IN_PROGRESS"
                    | "IMPORT_IN_PROGRESS"
                    | "REVIEW_IN_PROGRESS"
            ) || !is_known(status)
        }
        // The rollback of an update sends Updates as well, with the properties of before.
        RequestType::Update => {
            matches!(
                status,
                "UPDATE_IN_PROGRESS"
                    | "UPDATE_ROLLBACK_IN_PROGRESS"
                    | "IMPORT_IN_PROGRESS"
                    | "IMPORT_ROLLBACK_IN_PROGRESS"
            ) || !is_known(status)
        }
    }
}

/// Whether a stack in this status is known to delete resources: those of its own deletion, of a rollback, or what an update has
/// replaced or taken away.
#[must_use]
pub fn deletes(status: &str) -> bool {
    matches!(
        status,
        "DELETE_IN_PROGRESS"
            | "ROLLBACK_IN_PROGRESS"
            | "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
            | "UPDATE_ROLLBACK_IN_PROGRESS"
            | "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"
            | "IMPORT_ROLLBACK_IN_PROGRESS"
    )
}

/// Whether a stack in this status ends as a whole: it is deleted, or its creation is rolled back. A Delete that any other
/// stack sends is about the resource alone.
#[must_use]
pub fn ends(status: &str) -> bool {
    matches!(status, "DELETE_IN_PROGRESS" | "ROLLBACK_IN_PROGRESS")
}

fn is_known(status: &str) -> bool {
    let ends_as_documented = ["_IN_PROGRESS", "_COMPLETE", "_FAILED"]
        .iter()
        .any(|end| status.ends_with(end));
    let begins_as_documented = ["CREATE", "ROLLBACK", "DELETE", "UPDATE", "REVIEW", "IMPORT"]
        .iter()
        .any(|begin| status.starts_with(begin));
    begins_as_documented && ends_as_documented
}

#[cfg(test)]
mod tests {
    use super::*;
    use RequestType::{Create, Delete, Update};

    #[test]
    fn a_stack_waits_for_what_its_status_can_have_sent() {
        for (status, create, update, delete) in [
            ("CREATE_IN_PROGRESS", true, false, false),
            ("UPDATE_IN_PROGRESS", true, true, false),
            ("UPDATE_ROLLBACK_IN_PROGRESS", false, true, true),
            ("CREATE_COMPLETE", false, false, false),
            ("CREATE_FAILED", false, false, false),
            ("UPDATE_COMPLETE", false, false, false),
            ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", false, false, true),
            ("UPDATE_FAILED", false, false, false),
            ("UPDATE_ROLLBACK_COMPLETE", false, false, false),
            (
                "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
                false,
                false,
                true,
            ),
            ("UPDATE_ROLLBACK_FAILED", false, false, false),
            ("ROLLBACK_IN_PROGRESS", false, false, true),
            ("ROLLBACK_COMPLETE", false, false, false),
            ("DELETE_IN_PROGRESS", false, false, true),
            ("DELETE_COMPLETE", false, false, false),
            ("DELETE_FAILED", false, false, false),
            ("SOMETHING_NEW", true, true, true),
        ] {
            let waits = [Create, Update, Delete].map(|request| still_waits(status, request));
            assert_eq!(waits, [create, update, delete], "{status}");
            // Of a status that is not known, nothing is.
            assert_eq!(deletes(status), delete && !create, "{status}");
            // What ends waits for nothing but Deletes.
            assert!(!ends(status) || waits == [false, false, true], "{status}");
        }
    }
}
