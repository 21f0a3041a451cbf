//! Runs that wait when their job is paused or disabled.

use super::*;

/// Somebody else has the job's lock, until this is dropped.
fn busy(rehearsal: &Rehearsal) -> fs::File {
    let lock = fs::File::create(rehearsal.path("runner.db.sync.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

/// A run of the job that waits, which `happens` before it can be taken up; how it ended.
fn waited_while(rehearsal: &Rehearsal, busy: fs::File, happens: impl FnOnce()) -> Value {
    let waiting = rehearsal.until("a run waits", || run_in(rehearsal, "queued"));
    happens();
    drop(busy);
    rehearsal.until("the run has ended", || {
        let mut runs = runs(rehearsal).into_iter();
        let run = runs.find(|run| run["id"] == waiting["id"])?;
        (run["state"] != "queued" && run["state"] != "running").then_some(run)
    })
}

#[test]
fn a_run_that_waits_when_its_job_is_paused_or_disabled_does_not_begin() {
    let rehearsal = with_job(SMALL, &often(""));
    let first = busy(&rehearsal);
    let mut daemon = start(&rehearsal.runner);
    let paused = waited_while(&rehearsal, first, || {
        let pause = ["jobs", "pause", "sync", "--reason", "migration"];
        let ended = rehearsal.run(&[&pause[..], &["--as", "ana"]].concat());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    });
    assert_eq!(
        (&paused["state"], &paused["error"]),
        (&json!("skipped"), &json!("paused by ana: migration"))
    );

    let second = busy(&rehearsal);
    assert_eq!(rehearsal.run(&["jobs", "resume", "sync"]).code, 0);
    let disabled = waited_while(&rehearsal, second, || {
        rehearsal.write("config/jobs/sync.toml", &often("enabled = false\n"));
        daemon.process.signal(Signal::HUP).unwrap();
        rehearsal.until("it is disabled", || {
            let said = daemon.process.stderr().unwrap();
            said.contains("other definitions of jobs are in force")
                .then_some(())
        });
    });
    assert_eq!(disabled["state"], "skipped", "{disabled:#}");
    assert!(
        text(&disabled["error"]).contains("enabled = false"),
        "{disabled:#}"
    );
    let created = "cloudformation:CreateStackSet";
    assert!(!rehearsal.calls().contains_key(created));

    // By hand it is run all the same.
    let by_hand = rehearsal.run(&["exec", "sync"]);
    assert_eq!(by_hand.code, 0, "{}", by_hand.stderr);
    assert!(rehearsal.calls().contains_key(created));
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
}
