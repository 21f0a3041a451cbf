//! Many stacks at once against Spot's rate limit.
//!
//! A window of Spot is a second instead of a minute, so an hour at Spot is a minute here, and what Spot's limit makes last an
//! hour is told by counting calls: how many windows the route that is called most often needs.

use super::*;

/// Spot's limit of 60 a minute. Roles spread in the same part of a window as they do really.
const THOUSAND: &str = "seed = 7\n\
                        [organization]\naccounts = 1000\nous = 20\ndepth = 2\ntrusted_access = true\nrates = false\n\
                        [stack_sets]\noperation_start = \"0s\"\nresource_time = \"0s\"\n\
                        [iam]\npropagation = \"130ms\"\n\
                        [spot]\nrate_limit = 60\nwindow = \"1s\"\n";

/// A shorter one in which time passes for AWS, too: a simulated minute takes four seconds, and so does a window of Spot. A
/// custom resource that is not answered within its ServiceTimeout fails its stack.
const SHORT: &str = "seed = 7\nclock_speed = 15.0\n\
                     [organization]\naccounts = 45\nous = 20\ndepth = 2\ntrusted_access = true\nrates = false\n\
                     [spot]\nrate_limit = 60\nwindow = \"4s\"\n";

/// Spot's limit, and how many of its windows the whole enrollment may take.
const LIMIT_OF_SPOT: u64 = 60;
const WINDOWS: u64 = 60;

impl Rehearsal {
    /// Asserts that Spot refused nothing, and that no route was called more often than these windows let it.
    #[track_caller]
    fn assert_within_windows(&self, windows: u64) {
        let seen = self.admin("calls", None);
        assert_eq!(seen["throttled"], json!({}), "{seen:#}");
        for (call, count) in self.calls() {
            let needed = count.div_ceil(LIMIT_OF_SPOT);
            assert!(
                !call.starts_with("spot:") || needed <= windows,
                "{call}: {count}"
            );
        }
    }
}

#[test]
fn a_thousand_stacks_at_once_are_answered_within_an_hour_of_windows_and_without_one_refusal() {
    let rehearsal = Rehearsal::new(THOUSAND);
    rehearsal.configure(
        "[spot]\nrate_window = \"1s\"\n[stack_set]\nmax_concurrent = 1000\n",
        "",
        "ous = [\"root\"]",
    );
    let before = rehearsal.spot_accounts();
    let arguments = ["--output", "json", "exec", "stackset-sync"];
    let mut run = rehearsal.runner.start(&arguments).unwrap();
    assert_eq!(run.wait(8 * LIMIT).unwrap(), 0, "{}", run.stderr().unwrap());
    let document: Value = serde_json::from_str(&run.stdout().unwrap()).unwrap();
    assert_eq!(count(&document, "changed"), 1000);
    rehearsal.assert_within_windows(WINDOWS);
    // One creation, one external ID and one name for each account; the first creation found out which names Spot takes.
    let calls = rehearsal.calls();
    for (call, count) in [
        ("POST /setup/account", 1001),
        ("POST /setup/credentials/aws/externalId", 1000),
        ("PUT /setup/account/{accountId}", 1000),
    ] {
        assert_eq!(calls[&format!("spot:{call}")], count, "{calls:#?}");
    }
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
}

#[test]
fn a_short_service_timeout_bounds_how_many_stacks_ask_at_once_and_all_are_answered_in_it() {
    let rehearsal = Rehearsal::new(SHORT);
    rehearsal.configure(
        "[spot]\nrate_window = \"4s\"\n[stack_set]\nmax_concurrent = 1000\n[enrollment]\nservice_timeout = \"3m\"\n",
        "",
        "ous = [\"root\"]",
    );
    let before = rehearsal.spot_accounts();
    let document = rehearsal.sync_ends(0, &[]);
    // None of them failed: each request was answered within its ServiceTimeout.
    assert_eq!(count(&document, "changed"), 45);
    rehearsal.assert_within_windows(WINDOWS);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
    // Half of 3 minutes at 60 requests a minute, of which an account needs 3 on the tightest route.
    let call = |action: &str, input: &[(&str, &str)]| {
        let set = [
            ("StackSetName", "spot-onboarding-default"),
            ("Version", "2010-05-15"),
        ];
        let input = [&set, input].concat();
        let answer = rehearsal.wire.query("cloudformation", action, &input);
        rehearsal.runtime.block_on(answer).unwrap()
    };
    let listed = call("ListStackSetOperations", &[]);
    let ids: Vec<&str> = listed.split("<OperationId>").skip(1).collect();
    assert!(!ids.is_empty(), "{listed}");
    for id in ids {
        let id = id.split('<').next().unwrap();
        let operation = call("DescribeStackSetOperation", &[("OperationId", id)]);
        assert!(
            operation.contains("<MaxConcurrentCount>30</MaxConcurrentCount>"),
            "{operation}"
        );
    }
}
