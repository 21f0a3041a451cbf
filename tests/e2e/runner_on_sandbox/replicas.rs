//! Two runners on two machines with one PostgreSQL state.

mod vanished;

use e2e::postgres;
use rustix::process::Signal;

use super::*;

#[test]
fn replicas_know_of_each_other_and_show_no_password() {
    let Some(database) = postgres::database().unwrap() else {
        return;
    };
    let rehearsal = Rehearsal::new(SMALL);
    let before = rehearsal.spot_accounts();
    // The server lets everybody in, so what matters about the password is only where it turns up.
    let url = database.replace("postgres@", "postgres:canary@");
    let sections = format!("[state]\nurl = \"{url}\"\n[enrollment]\nserved_by = \"provider\"\n");
    rehearsal.configure(&sections, "", "ous = [\"root\"]");
    let other = Runner::new(rehearsal.environment.clone()).unwrap();
    fs::copy(
        rehearsal.path("config/runner.toml"),
        other.directory().join("config/runner.toml"),
    )
    .unwrap();

    let refused = rehearsal.sync_ends(4, &[]);
    assert_eq!(refused["refusals"][0]["guard"], "live-consumer");
    let mut provider = other.start(&["-vv", "provider"]).unwrap();
    rehearsal.until("the other one serves", || {
        provider.check().unwrap();
        let polled = rehearsal.calls().contains_key("sqs:ReceiveMessage");
        polled.then_some(())
    });
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&document, "changed"), 8);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
    let run = other.run(&["-vv", "runs", "show", &text(&document["run_id"])]);
    let run = run.unwrap();
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!(run.stdout + &run.stderr).contains("canary"));
    assert!(!provider.stderr().unwrap().contains("canary"));

    // One that was killed serves no more.
    provider.signal(Signal::KILL).unwrap();
    assert!(provider.wait(LIMIT).is_err(), "a signal ended it");
    rehearsal.until("the server has noticed", || {
        (rehearsal.sync(&["--dry-run"]).0 == 4).then_some(())
    });
    for directory in [rehearsal.runner.directory(), other.directory()] {
        assert!(!directory.join("runner.db").exists());
    }
    // A server that is not there is said, without the password.
    let gone = sections.replace("%2Fsocket", "%2Fgone");
    rehearsal.configure(&gone, "", "ous = [\"root\"]");
    let gone = rehearsal.run(&["-vv", "runs", "list"]);
    assert_eq!(gone.code, 5, "{}", gone.stderr);
    assert!(gone.stderr.contains("PGPASSWORD") && !gone.stderr.contains("canary"));
}
