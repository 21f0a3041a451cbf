//! Two daemons on one PostgreSQL: what one that is paused or killed had begun, the other one finishes, once.

use std::time::Instant;

use e2e::postgres;
use rustix::process::Signal;

use super::{
    daemon::{Daemon, run_in, runs, start, with_job},
    *,
};

/// Longer than a claim of an account in the state, which one that is paused may have.
const TAKEN_OVER: Duration = Duration::from_secs(300);

/// How long a lock is good that nobody renews.
const LEASE: Duration = Duration::from_secs(5);

/// How long after it was decided a Spot account may still be created or deleted.
const SEND_DEADLINE: Duration = Duration::from_secs(10);

/// Two runners with the same configuration on one database.
struct Replicas {
    one: Rehearsal,
    other: Runner,
}

/// Stacks one after the other, so that there is time in the middle.
fn replicas() -> Option<Replicas> {
    let database = postgres::database().unwrap()?;
    let slow = SMALL.replace("120.0", "20.0") + "[stack_sets]\nresource_time = \"3s\"\n";
    let one = with_job(
        &slow,
        "kind = \"stackset-sync\"\nschedule = { cron = \"@every 1s\" }\n",
    );
    let sections = format!(
        "[state]\nurl = {database:?}\nlease = \"{}s\"\n[daemon]\nlisten = \"127.0.0.1:0\"\n\
         [enrollment]\nserved_by = \"provider\"\n[stack_set]\nmax_concurrent = 1\n",
        LEASE.as_secs()
    );
    one.configure(&sections, "", "ous = [\"root\"]");
    let other = Runner::new(one.environment.clone()).unwrap();
    let replicas = Replicas { one, other };
    replicas.copy();
    Some(replicas)
}

impl Replicas {
    fn copy(&self) {
        let jobs = self.other.directory().join("config/jobs");
        fs::create_dir_all(&jobs).unwrap();
        for file in ["runner.toml", "jobs/sync.toml"] {
            fs::copy(
                self.one.path(&format!("config/{file}")),
                self.other.directory().join("config").join(file),
            )
            .unwrap();
        }
        for file in fs::read_dir(&jobs).unwrap() {
            let file = file.unwrap().path();
            if !file.ends_with("sync.toml") {
                fs::remove_file(file).unwrap();
            }
        }
    }

    /// One daemon, in the middle of a run, which no tick asks for again.
    fn in_the_middle(&self) -> Daemon {
        let mut daemon = start(&self.one.runner);
        self.one.until("an account is linked", || {
            daemon.process.check().unwrap();
            let calls = self.one.calls();
            calls
                .contains_key("spot:POST /setup/credentials/aws")
                .then_some(())
        });
        daemon
    }

    /// The definitions have a tick that is far away from now on.
    fn never_due_again(&self) {
        self.one.write(
            "config/jobs/sync.toml",
            "kind = \"stackset-sync\"\nschedule = { cron = \"0 0 0 1 1 * 2099\" }\n",
        );
        self.copy();
    }

    /// The other one takes up what the first one had begun, soon enough after that was struck.
    fn taken_over_by(&self, daemon: &mut Daemon, struck: Instant, how: &str) {
        process::until(TAKEN_OVER, "the other one takes over", || {
            daemon.process.check()?;
            let taken_up = |run: &Value| run["woken_by"] == "resume" && run["state"] != "queued";
            Ok(runs(&self.one).iter().any(taken_up).then_some(()))
        })
        .unwrap();
        let took = struck.elapsed();
        println!("{how}: taken over after {:.1} s", took.as_secs_f64());
        assert!(took <= 2 * LEASE + SEND_DEADLINE, "{how}: {took:?}");
    }

    /// The other one takes over and comes to the end. Gives its run.
    fn finished_by(&self, daemon: &mut Daemon) -> Value {
        process::until(TAKEN_OVER, "the other one comes to the end", || {
            daemon.process.check()?;
            Ok(run_in(&self.one, "done"))
        })
        .unwrap()
    }
}

#[test]
fn a_daemon_that_is_paused_past_its_lease_has_lost_its_run() {
    let Some(replicas) = replicas() else {
        return;
    };
    let rehearsal = &replicas.one;
    let before = rehearsal.spot_accounts();
    let mut paused = replicas.in_the_middle();
    replicas.never_due_again();
    let mut other = start(&replicas.other);
    paused.process.signal(Signal::STOP).unwrap();
    let struck = Instant::now();
    let running = run_in(rehearsal, "running").unwrap();

    replicas.taken_over_by(&mut other, struck, "paused");
    let done = replicas.finished_by(&mut other);
    assert_eq!(done["woken_by"], "resume");
    paused.process.signal(Signal::CONT).unwrap();
    rehearsal.until("the paused one knows", || {
        paused.process.check().unwrap();
        let said = paused.process.stderr().unwrap();
        said.contains("was not renewed in time").then_some(())
    });
    // It goes on as a daemon; what it had begun is not its any more.
    let lost = runs(rehearsal)
        .into_iter()
        .find(|run| run["id"] == running["id"]);
    assert_eq!(lost.unwrap()["state"], "interrupted");
    for daemon in [&mut paused, &mut other] {
        daemon.process.signal(Signal::TERM).unwrap();
        assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
    }
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
}

#[test]
fn a_daemon_that_is_killed_is_followed_by_the_other_one() {
    let Some(replicas) = replicas() else {
        return;
    };
    let rehearsal = &replicas.one;
    let before = rehearsal.spot_accounts();
    let mut killed = replicas.in_the_middle();
    replicas.never_due_again();
    let mut other = start(&replicas.other);
    killed.process.signal(Signal::KILL).unwrap();
    let struck = Instant::now();
    assert!(killed.process.wait(LIMIT).is_err(), "a signal ended it");
    replicas.taken_over_by(&mut other, struck, "killed");
    replicas.finished_by(&mut other);
    other.process.signal(Signal::TERM).unwrap();
    assert_eq!(other.process.wait(LIMIT).unwrap(), 0);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
}
