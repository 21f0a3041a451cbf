//! Plugins in a daemon: on their schedules, and one that is missing disables its job only.

use rustix::process::Signal;

use super::{
    super::daemon::{runs, start},
    *,
};

#[test]
fn plugins_run_on_schedule_and_one_that_is_missing_disables_its_job_only() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    fs::remove_dir_all(rehearsal.path("config/jobs")).unwrap();
    fs::create_dir(rehearsal.path("config/jobs")).unwrap();
    let often = "schedule = { cron = \"@every 1s\" }";
    let here = rehearsal.rogue("fine", "");
    rehearsal.define_plugin_job(&here, often, "");
    rehearsal.define_plugin_job("rogue-late", often, "");
    let mut daemon = start(&rehearsal.runner);
    let done = |job: &str| {
        let runs = runs(&rehearsal);
        runs.into_iter()
            .find(|run| run["job"] == job && run["state"] == "done")
    };
    let run = rehearsal.until("the plugin's job runs", || {
        daemon.process.check().unwrap();
        done(&here)
    });
    assert_eq!(run["woken_by"], "schedule");
    assert_eq!(run["kind"], *here);
    assert_eq!(rehearsal.files("made"), rehearsal.given());
    assert!(
        runs(&rehearsal)
            .iter()
            .all(|run| run["job"] != "rogue-late")
    );
    let ended = rehearsal.run(&["jobs", "validate"]);
    assert!(
        ended.code == 2 && ended.stderr.contains("runner-job-rogue-late"),
        "{}",
        ended.stderr
    );

    // Nobody touches a file of the configuration: the plugin comes, and its job runs.
    rehearsal.put(
        "rogue-late",
        &e2e::components::checkout().join("tests/plugins/runner-job-rogue"),
    );
    rehearsal.until("the job whose plugin came runs", || {
        daemon.process.check().unwrap();
        done("rogue-late")
    });

    // It goes: said aloud, and the other one goes on.
    fs::remove_file(rehearsal.path("config/plugins/runner-job-rogue-late")).unwrap();
    rehearsal.until("the daemon says so", || {
        daemon.process.check().unwrap();
        let said = daemon.process.stderr().unwrap();
        let is_said = said.contains("the definition of a job is wrong")
            && said.contains("runner-job-rogue-late");
        is_said.then_some(())
    });
    let seen = runs(&rehearsal).len();
    rehearsal.until("the other job runs on", || {
        let later = runs(&rehearsal).split_off(seen);
        later
            .into_iter()
            .find(|run| run["job"] == *here && run["state"] == "done")
    });
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
}
