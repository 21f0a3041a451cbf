//! Many stacks at once against Spot's rate limit.

use super::*;

/// Spot's limit, with a window of one second instead of sixty: an hour at Spot is a minute here.
const THOUSAND: &str = "seed = 7\n\
                        [organization]\naccounts = 1000\nous = 20\ndepth = 2\ntrusted_access = true\nrates = false\n\
                        [stack_sets]\noperation_start = \"0s\"\nresource_time = \"0s\"\n\
                        [spot]\nrate_limit = 60\nwindow = \"1s\"\n";

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
    assert_eq!(rehearsal.instances().values().sum::<u64>(), 1000);
    let seen = rehearsal.admin("calls", None);
    assert_eq!(seen["throttled"], json!({}), "{seen:#}");
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
