//! `runner daemon`: runs jobs when they are due, takes up what died, listens to people, and never runs a job twice at a time.

mod events;
mod metrics;
mod pauses;

use rustix::process::Signal;

use super::{plain_stacks::StateFile, *};

/// A job that is due each second.
fn often(more: &str) -> String {
    format!("kind = \"stackset-sync\"\nschedule = {{ cron = \"@every 1s\" }}\n{more}")
}

/// A daemon that listens on a port of its own and serves the provider's queue.
const DAEMON: &str = "[daemon]\nlisten = \"127.0.0.1:0\"\n[enrollment]\nserved_by = \"provider\"\n";

/// A rehearsal whose only job is this one, with such a daemon.
pub(super) fn with_job(scenario: &str, job: &str) -> Rehearsal {
    let rehearsal = Rehearsal::new(scenario);
    fs::remove_dir_all(rehearsal.path("config/jobs")).unwrap();
    fs::create_dir(rehearsal.path("config/jobs")).unwrap();
    rehearsal.configure(DAEMON, "", "ous = [\"root\"]");
    rehearsal.write("config/jobs/sync.toml", job);
    rehearsal
}

pub(super) struct Daemon {
    pub(super) process: Background,
    endpoint: String,
}

/// A daemon of this runner.
pub(super) fn start(runner: &Runner) -> Daemon {
    let process = runner.start(&["--output", "json", "daemon"]).unwrap();
    let mut daemon = Daemon {
        process,
        endpoint: String::new(),
    };
    let listens = process::until(LIMIT, "the daemon listens", || {
        daemon.process.check()?;
        let said = serde_json::from_str::<Value>(&daemon.process.stdout()?);
        Ok(said.ok().map(|said| text(&said["endpoint"])))
    });
    daemon.endpoint =
        listens.unwrap_or_else(|error| panic!("{error}: {}", daemon.process.stderr().unwrap()));
    daemon
}

impl Daemon {
    /// The status of a page of it.
    pub(super) fn get(&self, rehearsal: &Rehearsal, path: &str) -> u16 {
        let url = format!("{}{path}", self.endpoint);
        let answer = rehearsal
            .runtime
            .block_on(async { wire::client().unwrap().get(url).send().await.unwrap() });
        answer.status().as_u16()
    }
}

/// The runs of the state, the oldest first.
pub(super) fn runs(rehearsal: &Rehearsal) -> Vec<Value> {
    let ended = rehearsal.run(&["--output", "json", "runs", "list", "--limit", "1000"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let mut runs = ended.json().unwrap().as_array().unwrap().clone();
    runs.reverse();
    runs
}

/// The first run in this state, when there is one.
pub(super) fn run_in(rehearsal: &Rehearsal, state: &str) -> Option<Value> {
    runs(rehearsal)
        .into_iter()
        .find(|run| run["state"] == state)
}

#[test]
fn jobs_run_when_they_are_due_and_the_provider_is_served_meanwhile() {
    let rehearsal = with_job(SMALL, &often(""));
    let before = rehearsal.spot_accounts();
    let mut daemon = start(&rehearsal.runner);
    let done = rehearsal.until("a run has enrolled everything", || {
        daemon.process.check().unwrap();
        run_in(&rehearsal, "done")
    });
    assert_eq!(done["woken_by"], "schedule");
    assert_eq!(done["summary"]["changed"], 8, "{done:#}");
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
    assert_eq!(daemon.get(&rehearsal, "/healthz"), 200);
    assert_eq!(daemon.get(&rehearsal, "/readyz"), 200);
    assert_eq!(daemon.get(&rehearsal, "/elsewhere"), 404);
    // While the first one enrolled, the job was due again and again.
    let skipped = run_in(&rehearsal, "skipped").unwrap();
    assert!(
        text(&skipped["error"]).contains("still goes on"),
        "{skipped:#}"
    );

    // A second daemon on the file would run everything twice.
    let second = rehearsal.run(&["daemon"]);
    assert_eq!(second.code, 5, "{}", second.stderr);
    assert!(
        second.stderr.contains("another daemon"),
        "{}",
        second.stderr
    );

    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(
        daemon.process.wait(LIMIT).unwrap(),
        0,
        "{}",
        daemon.process.stderr().unwrap()
    );
    let ids: BTreeSet<String> = runs(&rehearsal)
        .iter()
        .map(|run| text(&run["id"]))
        .collect();
    assert_eq!(ids.len(), runs(&rehearsal).len());
}

/// A daemon in the middle of a run that no tick asks for again: one account at a time, and one is linked.
fn in_the_middle() -> (Rehearsal, Daemon, Vec<SpotAccount>) {
    let slow = SMALL.replace("120.0", "20.0") + "[stack_sets]\nresource_time = \"3s\"\n";
    let rehearsal = with_job(&slow, &often(""));
    let one = "[daemon]\nlisten = \"127.0.0.1:0\"\n[enrollment]\nserved_by = \"provider\"\n[stack_set]\nmax_concurrent = 1\n";
    rehearsal.configure(one, "", "ous = [\"root\"]");
    let before = rehearsal.spot_accounts();
    let mut daemon = start(&rehearsal.runner);
    rehearsal.until("an account is linked", || {
        daemon.process.check().unwrap();
        let calls = rehearsal.calls();
        calls
            .contains_key("spot:POST /setup/credentials/aws")
            .then_some(())
    });
    rehearsal.write(
        "config/jobs/sync.toml",
        "kind = \"stackset-sync\"\nschedule = { cron = \"0 0 0 1 1 * 2099\" }\n",
    );
    (rehearsal, daemon, before)
}

#[test]
fn a_daemon_that_is_told_to_end_leaves_its_run_to_the_next_one() {
    let (rehearsal, mut daemon, before) = in_the_middle();
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
    let waiting = run_in(&rehearsal, "queued").unwrap();
    assert_eq!(waiting["woken_by"], "resume");
    let mut daemon = start(&rehearsal.runner);
    rehearsal.until("the job is run to its end", || {
        daemon.process.check().unwrap();
        let done = run_in(&rehearsal, "done")?;
        (done["id"] == waiting["id"]).then_some(())
    });
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
}

#[test]
fn a_daemon_that_is_killed_takes_up_what_it_had_begun() {
    // Killed after a creation, see `interrupts`.
    let (rehearsal, mut daemon, before) = in_the_middle();
    daemon.process.signal(Signal::KILL).unwrap();
    assert!(daemon.process.wait(LIMIT).is_err(), "a signal ended it");
    let running = run_in(&rehearsal, "running").unwrap();

    let mut daemon = start(&rehearsal.runner);
    let done = process::until(
        Duration::from_secs(300),
        "the job is run to its end",
        || {
            daemon.process.check()?;
            Ok(run_in(&rehearsal, "done"))
        },
    )
    .unwrap();
    assert_eq!(done["woken_by"], "resume");
    let dead = runs(&rehearsal)
        .into_iter()
        .find(|run| run["id"] == running["id"]);
    assert_eq!(dead.unwrap()["state"], "interrupted");
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
}

#[test]
fn people_pause_cancel_and_change_jobs_beside_a_daemon() {
    let rehearsal = with_job(SMALL, &often(""));
    let mut daemon = start(&rehearsal.runner);
    rehearsal.until("everything is enrolled", || {
        daemon.process.check().unwrap();
        run_in(&rehearsal, "done")
    });
    let paused = rehearsal.run(&[
        "jobs",
        "pause",
        "sync",
        "--reason",
        "migration",
        "--as",
        "ana",
    ]);
    assert_eq!(paused.code, 0, "{}", paused.stderr);
    let skipped = rehearsal.until("a tick is skipped for it", || {
        let skipped = runs(&rehearsal)
            .into_iter()
            .rev()
            .find(|run| run["state"] == "skipped")?;
        text(&skipped["error"])
            .contains("paused")
            .then_some(skipped)
    });
    assert_eq!(skipped["error"], "paused by ana: migration");
    assert_eq!(rehearsal.run(&["jobs", "pause", "synk"]).code, 2);

    // A definition that is wrong leaves the last good one in force.
    rehearsal.write("config/jobs/sync.toml", &often("overlap = \"sometimes\"\n"));
    daemon.process.signal(Signal::HUP).unwrap();
    rehearsal.until("the daemon says so", || {
        let said = daemon.process.stderr().unwrap();
        said.contains("last good version stays in force")
            .then_some(())
    });
    let listed = rehearsal.run(&["jobs", "list"]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    assert!(
        listed.stdout.contains("broken: see `runner jobs validate`"),
        "{}",
        listed.stdout
    );
    let status = rehearsal.run(&["status"]);
    assert_eq!(status.code, 0, "{}", status.stderr);
    assert!(status.stderr.contains("sometimes"), "{}", status.stderr);
    let seen = runs(&rehearsal).len();
    assert_eq!(rehearsal.run(&["jobs", "resume", "sync"]).code, 0);
    rehearsal.until("it runs again", || {
        let later = runs(&rehearsal).split_off(seen);
        later.into_iter().find(|run| run["state"] == "done")
    });
    // One that is gone is not run any more, without anybody saying so.
    fs::remove_file(rehearsal.path("config/jobs/sync.toml")).unwrap();
    rehearsal.until("other definitions are in force", || {
        let said = daemon.process.stderr().unwrap();
        said.contains("other definitions of jobs are in force")
            .then_some(())
    });
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
}

#[test]
fn a_run_that_goes_on_is_cancelled_by_its_id() {
    let slow = SMALL.replace("120.0", "10.0") + "[stack_sets]\nresource_time = \"60s\"\n";
    let rehearsal = with_job(&slow, &often(""));
    let mut daemon = start(&rehearsal.runner);
    let running = rehearsal.until("the operation goes on", || {
        daemon.process.check().unwrap();
        let calls = rehearsal.calls();
        calls
            .contains_key("cloudformation:CreateStackInstances")
            .then(|| run_in(&rehearsal, "running"))?
    });
    // No further one begins.
    assert_eq!(rehearsal.run(&["jobs", "pause", "sync"]).code, 0);
    let id = text(&running["id"]);
    let cancelled = rehearsal.run(&["runs", "cancel", &id, "--as", "ana"]);
    assert_eq!(cancelled.code, 0, "{}", cancelled.stderr);
    let ended = rehearsal.until("it has ended", || {
        let runs = runs(&rehearsal);
        let run = runs.into_iter().find(|run| run["id"] == running["id"])?;
        (run["state"] != "running").then_some(run)
    });
    assert_eq!(ended["state"], "interrupted", "{ended:#}");
    assert!(
        rehearsal
            .calls()
            .contains_key("cloudformation:StopStackSetOperation")
    );
    let again = rehearsal.run(&["runs", "cancel", &id]);
    assert_eq!(again.code, 4, "{}", again.stderr);
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
}

#[test]
fn a_run_by_hand_beside_a_daemon_is_the_daemons_and_told_like_any_other() {
    let far = "kind = \"stackset-sync\"\nschedule = { cron = \"0 0 0 1 1 * 2099\" }\n";
    let rehearsal = with_job(SMALL, far);
    let before = rehearsal.spot_accounts();
    let mut daemon = start(&rehearsal.runner);
    let ended = rehearsal.run(&["--output", "json", "exec", "sync"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("the daemon runs it"),
        "{}",
        ended.stderr
    );
    let document = ended.json().unwrap();
    assert_adds_up(&document);
    assert_eq!(count(&document, "changed"), 8);
    assert_eq!(
        document["run_id"],
        run_in(&rehearsal, "done").unwrap()["id"]
    );
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
    // The same for people, with nothing left to do.
    let ended = rehearsal.run(&["exec", "sync"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stdout.contains("8"), "{}", ended.stdout);
    assert_eq!(runs(&rehearsal).len(), 2);
    // What the daemon would not heed is refused before anything is asked.
    let changed = rehearsal.run(&["--set", "params.profiles=[]", "exec", "sync"]);
    assert_eq!(changed.code, 2, "{}", changed.stderr);
    assert!(changed.stderr.contains("--set"), "{}", changed.stderr);
    let path = "config/runner.toml";
    let config = fs::read_to_string(rehearsal.path(path)).unwrap();
    rehearsal.write(path, &format!("{config}\n[removal]\nmax_removals = 3\n"));
    let another = rehearsal.run(&["exec", "sync"]);
    assert_eq!(another.code, 2, "{}", another.stderr);
    assert!(
        another.stderr.contains("another runner.toml"),
        "{}",
        another.stderr
    );
    rehearsal.write(path, &config);
    assert_eq!(runs(&rehearsal).len(), 2);
    // A job that is newer than what the daemon has read.
    rehearsal.write("config/jobs/new.toml", "kind = \"stackset-sync\"\n");
    let new = rehearsal.run(&["exec", "new"]);
    assert_eq!(new.code, 0, "{}", new.stderr);
    // A dry run asks nobody, and neither does what the daemon cannot write.
    let planned = rehearsal.run(&["exec", "sync", "--dry-run"]);
    assert_eq!(planned.code, 0, "{}", planned.stderr);
    let refused = rehearsal.run(&["exec", "sync", "--report", "report.html"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
}

/// A job that is not due in our time.
const FAR: &str = "kind = \"stackset-sync\"\nschedule = { cron = \"0 0 0 1 1 * 2099\" }\n";

#[test]
fn a_plan_is_approved_and_applied_beside_a_daemon() {
    let rehearsal = with_job(SMALL, &format!("{FAR}approval = \"required\"\n"));
    let before = rehearsal.spot_accounts();
    let mut daemon = start(&rehearsal.runner);
    let asked = rehearsal.run(&["--output", "json", "exec", "sync"]);
    assert_eq!(asked.code, 4, "{}", asked.stderr);
    assert!(
        asked.stderr.contains("the daemon runs it"),
        "{}",
        asked.stderr
    );
    assert_eq!(rehearsal.spot_accounts(), before);
    let run = text(&asked.json().unwrap()["run_id"]);
    let approved = rehearsal.run(&["--output", "json", "runs", "approve", &run, "--as", "ana"]);
    assert_eq!(approved.code, 0, "{}", approved.stderr);
    assert_eq!(count(&approved.json().unwrap(), "changed"), 8);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
    // The daemon goes on.
    let again = rehearsal.run(&["exec", "sync"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
}

#[test]
fn a_daemon_ends_when_another_version_has_changed_the_tables() {
    let rehearsal = with_job(SMALL, FAR);
    let Some(state) = StateFile::of(&rehearsal) else {
        return;
    };
    let mut daemon = start(&rehearsal.runner);
    state.rows(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         SELECT 9999, description, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1",
    );
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 5);
    let said = daemon.process.stderr().unwrap();
    assert!(said.contains("start that version"), "{said}");
}

/// Somebody asks a daemon for a run, whose job is busy. Before that is free, something happens. How the command ended.
fn asked_for_before(
    profile: &str,
    sections: &str,
    happens: impl FnOnce(&Rehearsal, &Daemon),
) -> (i32, String) {
    let rehearsal = with_job(SMALL, FAR);
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "ce:GetCostAndUsage", "Resource": "*" },
    ] });
    rehearsal.write("config/cost.json", &policy.to_string());
    rehearsal.write("token", &rehearsal.environment["SPOTINST_TOKEN"]);
    rehearsal.configure(&format!("{sections}{DAEMON}"), profile, "ous = [\"root\"]");
    let mut daemon = start(&rehearsal.runner);
    let busy = fs::File::create(rehearsal.path("runner.db.sync.lock")).unwrap();
    busy.lock().unwrap();
    let mut asking = rehearsal.runner.start(&["exec", "sync"]).unwrap();
    rehearsal.until("the run waits", || {
        asking.check().unwrap();
        run_in(&rehearsal, "queued")
    });
    happens(&rehearsal, &daemon);
    drop(busy);
    let code = asking.wait(LIMIT).unwrap();
    let said = asking.stderr().unwrap();
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
    (code, said)
}

#[test]
fn a_run_by_hand_that_the_daemon_cannot_begin_ends_as_it_would_without_one() {
    let profile = "policies = { cost-intelligence = \"cost.json\" }";
    let (code, said) = asked_for_before(profile, "", |rehearsal, _| {
        fs::remove_file(rehearsal.path("config/cost.json")).unwrap();
    });
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("cost.json"), "{said}");
}

#[test]
fn a_run_by_hand_without_a_token_for_spot_ends_as_it_would_without_a_daemon() {
    let token = "[spot]\ntoken = { file = \"token\" }\n";
    let (code, said) = asked_for_before("", token, |rehearsal, daemon| {
        fs::remove_file(rehearsal.path("token")).unwrap();
        daemon.process.signal(Signal::HUP).unwrap();
    });
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("token"), "{said}");
}

#[test]
fn a_run_by_hand_that_is_interrupted_ends_in_the_daemon() {
    let slow = SMALL.replace("120.0", "10.0") + "[stack_sets]\nresource_time = \"60s\"\n";
    let far = "kind = \"stackset-sync\"\nschedule = { cron = \"0 0 0 1 1 * 2099\" }\n";
    let rehearsal = with_job(&slow, far);
    let mut daemon = start(&rehearsal.runner);
    let mut waiting = rehearsal.runner.start(&["exec", "sync"]).unwrap();
    rehearsal.until("the operation goes on", || {
        waiting.check().unwrap();
        rehearsal
            .calls()
            .contains_key("cloudformation:CreateStackInstances")
            .then_some(())
    });
    waiting.signal(Signal::INT).unwrap();
    assert_eq!(waiting.wait(LIMIT).unwrap(), 130);
    assert!(run_in(&rehearsal, "interrupted").is_some());
    daemon.process.check().unwrap();
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
}

#[test]
fn whoever_shows_no_token_is_told_no_more_than_a_status() {
    let far = "kind = \"stackset-sync\"\nschedule = { cron = \"0 0 0 1 1 * 2099\" }\n";
    let rehearsal = with_job(SMALL, far);
    let daemon = |listen: &str| {
        format!("[daemon]\nlisten = {listen:?}\n[enrollment]\nserved_by = \"provider\"\n")
    };
    rehearsal.configure(&daemon("0.0.0.0:0"), "", "ous = [\"root\"]");
    let refused = rehearsal.run(&["daemon"]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("daemon.token"),
        "{}",
        refused.stderr
    );

    let with_token =
        daemon("127.0.0.1:0").replace("\n[enroll", "\ntoken = { file = \"token\" }\n[enroll");
    rehearsal.configure(&with_token, "", "ous = [\"root\"]");
    let missing = rehearsal.run(&["daemon"]);
    assert_eq!(missing.code, 5, "{}", missing.stderr);
    rehearsal.write("token", "5ecret-of-the-daemon\n");
    let mut daemon = start(&rehearsal.runner);
    let get = |path: &str, token: Option<&str>| {
        let mut request = wire::client()
            .unwrap()
            .get(format!("{}{path}", daemon.endpoint));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = rehearsal.runtime.block_on(async { request.send().await });
        let answer = answer.unwrap();
        answer.status().as_u16()
    };
    assert_eq!(get("/metrics", None), 401);
    assert_eq!(get("/metrics", Some("5ecret-of-the-daemo")), 401);
    assert_eq!(get("/metrics", Some("5ecret-of-the-daemon")), 200);
    assert_eq!(get("/healthz", None), 200);
    rehearsal.until("it is ready", || {
        (get("/readyz", None) == 200).then_some(())
    });
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
    assert!(!daemon.process.stderr().unwrap().contains("5ecret"));
}

#[test]
fn the_next_ticks_are_told_without_a_daemon() {
    let rehearsal = with_job(
        SMALL,
        "kind = \"stackset-sync\"\nschedule = { cron = \"0 30 2 * * *\", timezone = \"America/New_York\" }\n",
    );
    let ended = rehearsal.run(&["--output", "json", "jobs", "next", "sync", "-n", "400"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let due = ended.json().unwrap();
    let due = due.as_array().unwrap();
    assert_eq!(due.len(), 400);
    let at = |due: &Value, key: &str| text(&due[key]);
    assert!(
        due.windows(2)
            .all(|pair| at(&pair[0], "tick") < at(&pair[1], "tick"))
    );
    // More than a year has a day on which half past two is skipped.
    let skipped = due
        .iter()
        .filter(|due| !at(due, "local").contains(" 02:30:00 "))
        .count();
    assert_eq!(skipped, 1);
    let shown = rehearsal.run(&["jobs", "next"]);
    assert!(shown.stdout.contains("02:30:00 E"), "{}", shown.stdout);
}
