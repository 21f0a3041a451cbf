//! What goes wrong on the way: calls that are throttled, answered with 5xx, or carried out without an answer; messages
//! that come twice and out of order. Whatever it is, an account gets one Spot account.

use super::*;

/// Runs once with these faults, and again until done; asserts that every account has exactly one Spot account.
#[track_caller]
fn enrolls_despite(faults: &str) -> Rehearsal {
    let rehearsal = Rehearsal::new(&format!("{SMALL}{faults}"));
    let before = rehearsal.spot_accounts();
    let mut document = rehearsal.sync(&[]);
    for _ in 0..2 {
        if document.0 == 0 {
            break;
        }
        document = rehearsal.sync(&["--retry-failed"]);
    }
    assert_eq!(document.0, 0, "{:#}", document.1);
    assert_eq!(count(&document.1, "ok"), 8);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
    rehearsal
}

fn fault(service: &str, operation: &str, kind: &str, times: u32) -> String {
    format!(
        "[[faults]]\nservice = {service:?}\noperation = {operation:?}\nkind = {kind:?}\ntimes = {times}\n"
    )
}

#[test]
fn a_creation_at_spot_whose_answer_is_lost_makes_no_second_account() {
    let faults = fault("spot", "POST /setup/account", "drop_after", 3);
    let rehearsal = enrolls_despite(&format!("{faults}[spot]\nname_needs_letter = false\n"));
    assert_eq!(rehearsal.calls()["spot:POST /setup/account"], 8);
}

#[test]
fn a_creation_at_spot_that_is_throttled_is_sent_again_when_spot_says() {
    let faults = fault("spot", "POST /setup/account", "throttle", 1);
    enrolls_despite(&format!("[spot]\nwindow = \"1s\"\n{faults}"));
}

#[test]
fn lost_answers_of_cloudformation_start_no_second_operation() {
    let rehearsal = enrolls_despite(
        &[
            fault("cloudformation", "CreateStackSet", "drop_after", 1),
            fault("cloudformation", "CreateStackInstances", "drop_after", 1),
            fault(
                "cloudformation",
                "DescribeStackSetOperation",
                "drop_before",
                2,
            ),
        ]
        .concat(),
    );
    let wire = &rehearsal.wire;
    let operations = wire.query(
        "cloudformation",
        "ListStackSetOperations",
        &[
            ("Version", "2010-05-15"),
            ("StackSetName", "spot-onboarding-default"),
        ],
    );
    let operations = rehearsal.runtime.block_on(operations).unwrap();
    assert_eq!(
        operations.matches("<Action>CREATE</Action>").count(),
        1,
        "{operations}"
    );
}

/// But for creations at Spot: one that answers 5xx is looked for over minutes, in real time.
#[test]
fn throttling_server_errors_and_lost_calls_only_cost_time() {
    let mut faults = "[spot]\nwindow = \"1s\"\n".to_owned();
    for (service, operation) in [
        ("organizations", "*"),
        ("cloudformation", "*"),
        ("sqs", "*"),
        ("spot", "GET /setup/account"),
        ("spot", "POST /setup/credentials/aws"),
        ("spot", "PUT /setup/account/{accountId}"),
    ] {
        for kind in ["throttle", "server_error", "drop_before"] {
            faults += &fault(service, operation, kind, 1);
        }
    }
    enrolls_despite(&faults);
}

#[test]
fn messages_that_come_twice_and_out_of_order_enroll_once() {
    enrolls_despite("[messaging]\nduplicates = 0.7\nreordered = 0.5\ndelivery = \"1s\"\n");
}
