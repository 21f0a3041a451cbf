//! Runs that do not end by themselves: told to stop, told to leave at once, killed.

use rustix::process::Signal;

use super::*;

/// Stacks that take simulated minutes, one account after the other, so that a signal finds the operation running.
const SLOW: &str = "seed = 7\nclock_speed = 60.0\n\
                    [organization]\naccounts = 6\nous = 2\ndepth = 1\ntrusted_access = true\n\
                    [stack_sets]\nresource_time = \"10s\"\n";

fn slow() -> Rehearsal {
    let rehearsal = Rehearsal::new(SLOW);
    rehearsal.configure("[stack_set]\nmax_concurrent = 2", "", "ous = [\"root\"]");
    rehearsal
}

const CREATION: &str = "spot:POST /setup/account";

/// Starts a run and waits for its first call of an operation, with other accounts still waiting.
fn in_the_middle(rehearsal: &Rehearsal, operation: &str) -> Background {
    let arguments = ["--output", "json", "exec", "stackset-sync"];
    let mut run = rehearsal.runner.start(&arguments).unwrap();
    rehearsal.until(operation, || {
        run.check().unwrap();
        rehearsal.calls().contains_key(operation).then_some(())
    });
    run
}

#[test]
fn a_run_that_is_interrupted_stops_its_operation_answers_what_hangs_and_the_next_one_finishes() {
    let rehearsal = slow();
    let before = rehearsal.spot_accounts();
    let mut run = in_the_middle(&rehearsal, CREATION);
    run.signal(Signal::INT).unwrap();
    assert_eq!(run.wait(LIMIT).unwrap(), 130, "{}", run.stderr().unwrap());
    let document: Value = serde_json::from_str(&run.stdout().unwrap()).unwrap();
    assert_adds_up(&document);
    assert_eq!(document["status"], "interrupted");
    let pending = count(&document, "pending");
    assert!(pending > 0, "{document:#}");
    assert_eq!(document["pending"].as_array().unwrap().len(), pending);
    assert!(
        rehearsal
            .calls()
            .contains_key("cloudformation:StopStackSetOperation")
    );
    // Nothing waits for an answer of ours: the operation is over before the run is.
    let state = rehearsal.admin("state", None);
    assert_eq!(state["stack_sets"][0]["running"], json!([]), "{state:#}");

    let next = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&next, "ok"), 6);
    assert_eq!(count(&next, "changed"), pending);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
}

#[test]
fn a_second_signal_leaves_at_once_and_says_what_hangs_and_the_run_can_be_resumed() {
    // Left during a creation, the next run would wait for minutes before a listing of Spot tells its outcome: both creations of
    // the operation are over before the second signal.
    let rehearsal = slow();
    let before = rehearsal.spot_accounts();
    let mut run = in_the_middle(&rehearsal, CREATION);
    run.signal(Signal::TERM).unwrap();
    rehearsal.until(
        "the operation is told to stop, and both creations are over",
        || {
            let calls = rehearsal.calls();
            let external_ids = calls.get("spot:POST /setup/credentials/aws/externalId");
            (calls.contains_key("cloudformation:StopStackSetOperation") && external_ids >= Some(&2))
                .then_some(())
        },
    );
    run.signal(Signal::TERM).unwrap();
    assert_eq!(run.wait(LIMIT).unwrap(), 130);
    let said = run.stdout().unwrap() + &run.stderr().unwrap();
    assert!(said.contains("hang"), "{said}");

    let runs = rehearsal.run(&["--output", "json", "runs", "list"]);
    let left = text(&runs.json().unwrap()[0]["id"]);
    let resumed = rehearsal.run(&["--output", "json", "runs", "resume", &left]);
    assert_eq!(resumed.code, 0, "{}", resumed.stderr);
    let next = resumed.json().unwrap();
    assert_adds_up(&next);
    assert_eq!(count(&next, "ok"), 6);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);

    // That one came to its end.
    let refused = rehearsal.run(&["runs", "resume", &text(&next["run_id"])]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("nothing to go on with"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_run_that_is_killed_is_taken_up_by_the_next_one() {
    // One account at a time, and killed after its creation. Killed during one, the next run has to wait for minutes
    // before a listing of Spot tells the outcome, which is more than a simulated ServiceTimeout at this clock speed.
    let rehearsal = Rehearsal::new(&SLOW.replace("60.0", "20.0").replace("10s", "3s"));
    rehearsal.configure("[stack_set]\nmax_concurrent = 1", "", "ous = [\"root\"]");
    let before = rehearsal.spot_accounts();
    let mut run = in_the_middle(&rehearsal, "spot:POST /setup/credentials/aws");
    run.signal(Signal::KILL).unwrap();
    assert!(run.wait(LIMIT).is_err(), "a signal ended it");

    let next = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&next, "ok"), 6);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
    assert_eq!(rehearsal.calls()["cloudformation:CreateStackInstances"], 1);

    let runs = rehearsal.run(&["--output", "json", "runs", "list"]);
    let runs = runs.json().unwrap();
    assert_eq!(runs[0]["state"], "done", "{runs:#}");
    assert_eq!(runs[1]["state"], "interrupted", "{runs:#}");
}

#[test]
fn two_runs_of_a_job_at_the_same_time_are_one_too_many() {
    let rehearsal = slow();
    let mut run = in_the_middle(&rehearsal, CREATION);
    let document = rehearsal.sync_ends(4, &[]);
    assert_eq!(document["status"], "refused");
    assert_eq!(document["refusals"][0]["guard"], "one-run-per-job");
    assert_eq!(written(&document), Vec::<&String>::new());
    assert_eq!(run.wait(LIMIT).unwrap(), 0, "{}", run.stderr().unwrap());
}
