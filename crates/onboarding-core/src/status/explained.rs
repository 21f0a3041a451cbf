//! What each reason means for people, and what mends it: the one place that every report, finding and page has its words from.

use super::Reason;

/// What mends it when nobody has to: the kind of the job.
const BY_SYNC: Option<&str> = Some("stackset-sync");
const BY_CLEANUP: Option<&str> = Some("orphan-cleanup");
const BY_ROLLOUT: Option<&str> = Some("policy-rollout");

impl Reason {
    /// What it means, for people.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        self.explained().0
    }

    /// What mends it: the kind of a job, or what a person does. None where nothing is to be mended, or nobody here can. A finding
    /// about the account says more, where there is one.
    #[must_use]
    pub fn fix(self) -> Option<&'static str> {
        self.explained().1
    }

    fn explained(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Enrolled => (
                "the stack instance is current and exactly one Spot account is linked",
                None,
            ),
            Self::Enrolling => ("an operation is working on it", BY_SYNC),
            Self::MissingInstance => ("no stack instance yet", BY_SYNC),
            Self::InstanceFailed => ("the stack instance failed; a retry is due", BY_SYNC),
            Self::RetryLater => (
                "its enrollment failed; it is tried again at the time shown",
                Some("stackset-sync or enroll, at that time or now with --retry-failed"),
            ),
            Self::Quarantined => (
                "it failed too often, and is not tried again",
                Some(
                    "needs a person: mend the cause, then run stackset-sync or enroll, whichever gave up, with --retry-failed",
                ),
            ),
            Self::EnrollmentFailed => (
                "what is done for it at Spot failed; a retry is due",
                BY_SYNC,
            ),
            Self::EnrollmentUnfinished => (
                "the stack is there, and its link, name or products at Spot are not finished",
                BY_SYNC,
            ),
            Self::ExternalIdMissing => (
                "its stack was given no external ID, so it has no role for Spot",
                BY_SYNC,
            ),
            Self::InstanceOutdated => ("the stack instance lacks the current definition", BY_SYNC),
            Self::InstanceInoperable => (
                "a deletion of its stack instance failed",
                Some(
                    "needs a person: remove the stack instance with its stack retained, then delete the stack in the account",
                ),
            ),
            Self::NotLinked => (
                "the stack is there but no Spot account is linked: somebody deleted or unlinked it in Spot",
                Some(
                    "enroll, where it may; else needs a person: see in Spot what became of its Spot account",
                ),
            ),
            Self::RoleMissing => (
                "it is linked, but the role that Spot uses is not in the account",
                Some(
                    "enroll, where it may make its stack anew; needs a person otherwise, and to find out who deleted the role",
                ),
            ),
            Self::RoleTrustDiffers => (
                "it is linked, but its role does not let Spot in as Spot asks",
                Some(
                    "enroll, where it may write the role again; needs a person otherwise, and to find out who changed the trust policy",
                ),
            ),
            Self::LinkedToSeveral => (
                "several Spot accounts are linked to it",
                Some("needs a person: delete or unlink all but one in Spot"),
            ),
            Self::EnrolledElsewhere => (
                "it is linked to a Spot account that we did not link",
                Some("needs a person, if it is to be ours: adopt = \"relink\" takes it over"),
            ),
            Self::LinkedElsewhere => (
                "it is linked to another Spot account than the one we linked",
                Some("needs a person: find out who changed it in Spot, and unlink one"),
            ),
            Self::AdoptionRefused => (
                "it is linked to a Spot account and adopt = \"refuse\"",
                Some("needs a person: unlink it in Spot or change the adopt rule"),
            ),
            Self::Suspended => (
                "AWS suspended the account; it is enrolled when it is active again",
                None,
            ),
            Self::Closed => ("the account is closed", None),
            Self::PendingClosure => ("the account is being closed", None),
            Self::PendingActivation => (
                "the account is not activated yet",
                Some("needs a person: finish its sign-up with AWS"),
            ),
            Self::StateUnknown => (
                "AWS did not say what state the account is in",
                Some("needs a person: look at it in AWS Organizations"),
            ),
            Self::Excluded => (
                "the configuration excludes it",
                Some(
                    "needs a person, if it is to be enrolled: take it out of the excludes of its profile",
                ),
            ),
            Self::TagMismatch => (
                "it does not carry the tags that the profile asks for",
                Some(
                    "needs a person, if it is to be enrolled: tag it in AWS Organizations (tags that were read are trusted for aws.tags_max_age)",
                ),
            ),
            Self::TagsUnknown => (
                "it left the organization before its tags were read, so nothing was decided about it",
                BY_SYNC,
            ),
            Self::BlockedByScp => (
                "a service control policy denies what the stack needs",
                Some(
                    "needs a person: exempt the stack set's execution role from it, then run stackset-sync with --retry-failed",
                ),
            ),
            Self::BlockedByRcp => (
                "Spot could not assume the role that the stack made to trust it",
                Some(
                    "needs a person: look for a resource control policy that denies sts:AssumeRole to principals outside the organization, exempt Spot's from it, then run stackset-sync with --retry-failed",
                ),
            ),
            Self::ManagementAccount => (
                "stack sets never deploy to the management account",
                Some(
                    "needs a person, if it is to be enrolled: management_account = true in its profile",
                ),
            ),
            Self::StackBlocked => (
                "the plain stack of the management account cannot be changed as it is",
                Some("needs a person: do what the detail says, then run again"),
            ),
            Self::Departed => (
                "it left the organization; its stack instance is taken out of the stack set under the removal limits",
                BY_SYNC,
            ),
            Self::OutsideTargets => (
                "it is enrolled by a profile that does not target it",
                Some(
                    "needs a person: target it again, or remove its stack instance by hand; `enroll` does where another profile targets it, once that one's stack has the link, and `orphan-cleanup` with remove_outside_targets",
                ),
            ),
            Self::Moved => (
                "something else is to be done for it than the plan has that was approved",
                Some("needs a person: plan again"),
            ),
            Self::Drifted => (
                "what IAM or Spot has for it differs from what its stack set means for it",
                Some(
                    "enroll, where it may; `runner exec drift-audit --set params.depth=full` says what mends the rest",
                ),
            ),
            Self::InUse => ("its Spot account is in use", None),
            Self::Orphaned => (
                "nothing uses its Spot account any more; it is deleted",
                BY_CLEANUP,
            ),
            Self::GracePeriod => (
                "nothing uses its Spot account any more; it is deleted when it has been so for the grace period",
                BY_CLEANUP,
            ),
            Self::OverLimit => (
                "its Spot account is deleted by a later run: the limit of this run or day is used up",
                BY_CLEANUP,
            ),
            Self::Protected => (
                "it is protected, so nothing of it is removed",
                Some("needs a person, if it is to go: take it out of what is protected"),
            ),
            Self::StillRunning => (
                "Elastigroups or Ocean clusters run in its Spot account",
                Some("needs a person: delete them in Spot, or protect the account"),
            ),
            Self::StackRemains => (
                "its stack may still use its Spot account",
                Some("needs a person: the detail says what has to go first"),
            ),
            Self::NotOurs => (
                "its AWS account is gone, and its Spot account is not known to be ours to delete",
                Some("needs a person: decide about it in Spot"),
            ),
            Self::CleanedUp => (
                "its Spot account was deleted; `runner runs undo` makes it again",
                None,
            ),
            Self::Deleted => (
                "its Spot account was deleted; it is made again, with another id",
                Some("`runner runs undo`"),
            ),
            Self::Recreated => ("its Spot account was made again, with another id", None),
            Self::PolicyOutdated => (
                "it has another version of the policies than it should have; its wave of the rollout updates it",
                BY_ROLLOUT,
            ),
            Self::WaitsForWave => (
                "a version of the policies is rolled out, and its wave is not due yet",
                BY_ROLLOUT,
            ),
            Self::RollingOut => (
                "a rollout of policies works on it or has left it half-way",
                Some("policy-rollout, which goes on with it or takes it back"),
            ),
            Self::Settled => ("the plugin of the job has nothing to do for it", None),
            Self::StepDue => (
                "the plugin of the job has something to do for it",
                Some("the job's next run"),
            ),
            Self::StepFailed => (
                "what the plugin of the job did for it failed",
                Some("the job's next run, which asks the plugin again"),
            ),
            Self::PluginSkipped => (
                "the plugin of the job leaves it out, or a guard rail its steps; the detail says why",
                None,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Standing;

    #[test]
    fn a_reason_that_somebody_can_mend_says_how_and_one_that_is_fine_says_nothing() {
        // Nobody here brings such an account back; why a plugin leaves one out, only its detail says.
        let beyond_us = [
            Reason::Suspended,
            Reason::Closed,
            Reason::PendingClosure,
            Reason::PluginSkipped,
        ];
        for reason in Reason::ALL {
            let is_mended = reason.standing() != Standing::Ok && !beyond_us.contains(&reason);
            assert_eq!(reason.fix().is_some(), is_mended, "{reason}");
            assert!(!reason.needs_person() || reason.fix().is_some(), "{reason}");
        }
    }
}
