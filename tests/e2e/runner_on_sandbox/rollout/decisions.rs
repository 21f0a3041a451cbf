//! Going back while a run is in the middle of something: what was decided holds, and what goes on is stopped.

use super::*;

impl Rehearsal {
    /// How fast simulated time goes; 0 stops it.
    fn clock(&self, speed: f64) {
        self.post("clock", &json!({ "speed": speed }));
    }

    /// How often an operation was called.
    fn called(&self, operation: &str) -> u64 {
        self.calls().get(operation).copied().unwrap_or(0)
    }

    /// The operation of the first wave, as soon as it is written down.
    fn noted(&self) -> String {
        self.until("the operation is noted", || {
            let operation = &self.rollout()["waves"][0]["sweep"]["operation"];
            operation.as_str().map(str::to_owned)
        })
    }

    /// Starts a run, and stops the clock as soon as this operation was called once more.
    fn stopped_in(&self, operation: &str) -> Background {
        let before = self.called(operation);
        let run = self.runner.start(&["exec", "policy-rollout"]).unwrap();
        self.until(operation, || {
            (self.called(operation) > before).then_some(())
        });
        self.clock(0.0);
        run
    }
}

#[test]
fn going_back_in_the_middle_of_a_wave_stops_its_operation() {
    let rehearsal = Rehearsal::new(&TWELVE.replace("120.0", "20.0"));
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let first = "percent = 50\nconcurrency = 1";
    rehearsal.define_rollout("", &[("half", first), ("all", "")]);
    rehearsal.roll(0);
    rehearsal.widen();
    let mut run = rehearsal.stopped_in("cloudformation:UpdateStackInstances");
    let operation = rehearsal.noted();
    rehearsal.clock(2.0);
    rehearsal.until("one of them has it", || {
        let operation = [("OperationId", &*operation)];
        let rows = rehearsal.cloudformation("ListStackSetOperationResults", &operation);
        rows.contains("<Status>SUCCEEDED").then_some(())
    });
    rehearsal.clock(0.0);
    rehearsal.policy(0, &["rollback", "default"]);
    rehearsal.until("the operation is told to stop", || {
        let told = rehearsal.called("cloudformation:StopStackSetOperation");
        (told > 0).then_some(())
    });
    rehearsal.clock(20.0);
    assert_eq!(run.wait(LIMIT).unwrap(), 1, "{}", run.stderr().unwrap());
    let said = run.stdout().unwrap() + &run.stderr().unwrap();
    assert!(said.contains("turned the rollout back"), "{said}");
    let state = rehearsal.admin("state", None);
    assert_eq!(state["stack_sets"][0]["running"], json!([]), "{state:#}");
    assert_eq!(rehearsal.rollout()["phase"], "rolling-back");
    let having = having_next(&rehearsal.all_in_iam()).len();
    assert!((1..6).contains(&having), "{having}");

    rehearsal.clock(120.0);
    rehearsal.roll(0);
    assert_eq!(rehearsal.rollout()["phase"], "rolled-back");
    assert_eq!(having_next(&rehearsal.all_in_iam()), BTreeSet::new());
    for account in rehearsal.members() {
        assert_eq!(rehearsal.overrides(&account), Vec::<String>::new());
    }
}

#[test]
fn going_back_after_a_run_has_died_waits_for_what_it_has_left_in_aws() {
    let rehearsal = Rehearsal::new(&TWELVE.replace("120.0", "20.0"));
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let first = "percent = 50\nconcurrency = 1";
    rehearsal.define_rollout("", &[("half", first), ("all", "")]);
    rehearsal.roll(0);
    rehearsal.widen();
    let mut run = rehearsal.stopped_in("cloudformation:UpdateStackInstances");
    rehearsal.noted();
    run.signal(Signal::KILL).unwrap();
    assert!(run.wait(LIMIT).is_err(), "a signal ended it");
    rehearsal.policy(0, &["rollback", "default"]);
    rehearsal.clock(20.0);
    rehearsal.roll(0);
    assert!(rehearsal.called("cloudformation:StopStackSetOperation") > 0);
    rehearsal.until_operations_end();
    assert_eq!(rehearsal.rollout()["phase"], "rolled-back");
    assert_eq!(having_next(&rehearsal.all_in_iam()), BTreeSet::new());
    for account in rehearsal.members() {
        assert_eq!(rehearsal.overrides(&account), Vec::<String>::new());
    }
}

#[test]
fn going_back_while_a_version_is_staged_is_not_forgotten() {
    let rehearsal = enrolled(&[("all", "")]);
    rehearsal.roll(0);
    rehearsal.widen();
    let mut run = rehearsal.stopped_in("cloudformation:UpdateStackSet");
    rehearsal.policy(0, &["rollback", "default"]);
    rehearsal.clock(120.0);
    assert_eq!(run.wait(LIMIT).unwrap(), 1, "{}", run.stderr().unwrap());
    assert_eq!(rehearsal.rollout()["phase"], "rolling-back");
    assert_eq!(having_next(&rehearsal.all_in_iam()), BTreeSet::new());
    rehearsal.roll(0);
    assert_eq!(rehearsal.rollout()["phase"], "rolled-back");
    assert!(!rehearsal.template().contains("PolicyVersionIsNext"));
}

/// The hours of a window that has been open for long and ends at the next full minute that is far enough, and that moment.
fn window_that_ends_soon() -> (String, jiff::Timestamp) {
    const FAR: i64 = 15;
    let now = jiff::Timestamp::now().as_second();
    let end = ((now + FAR) / 60 + 1) * 60;
    let end = jiff::Timestamp::from_second(end).unwrap();
    let begin = end - jiff::SignedDuration::from_hours(12);
    let hours = [begin, end].map(|at| at.strftime("%H:%M").to_string());
    (hours.join("-"), end)
}

#[test]
fn a_window_that_closes_in_the_middle_lets_the_wave_end_and_begins_no_other() {
    let rehearsal = Rehearsal::new(&TWELVE.replace("120.0", "20.0").replace("= 12", "= 4"));
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let waves = [("one", "percent = 25"), ("all", "")];
    rehearsal.define_rollout("", &waves);
    rehearsal.roll(0);
    rehearsal.widen();
    let (hours, end) = window_that_ends_soon();
    let window = format!("window = {{ hours = {hours:?}, timezone = \"UTC\" }}");
    rehearsal.define_rollout(&window, &waves);
    let updates = "cloudformation:UpdateStackInstances";
    let mut run = rehearsal.stopped_in(updates);
    process::until(Duration::from_secs(80), "the window closes", || {
        Ok((jiff::Timestamp::now() >= end).then_some(()))
    })
    .unwrap();
    rehearsal.clock(20.0);
    assert_eq!(run.wait(LIMIT).unwrap(), 3, "{}", run.stderr().unwrap());
    let said = run.stdout().unwrap() + &run.stderr().unwrap();
    assert!(said.contains("the change window has closed"), "{said}");
    // What was begun is done, and nothing else.
    assert_eq!(rehearsal.called(updates), 1);
    let next = having_next(&rehearsal.all_in_iam());
    assert_eq!(next.len(), 1, "{next:?}");
    assert_eq!(rehearsal.rollout()["phase"], "rolling");

    // It goes on where it was once a window is open.
    rehearsal.define_rollout("", &waves);
    rehearsal.roll(0);
    assert!(rehearsal.called(updates) > 1);
    assert_eq!(having_next(&rehearsal.all_in_iam()).len(), 4);
}
