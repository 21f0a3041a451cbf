//! Faults that go on: daemons that are killed at random moments, one after the other, also beside a Spot and an AWS that fail; two
//! daemons of which one is killed or paused, again and again; a database that goes away. Here for a short time;
//! `cargo xtask soak` says how often, with how many accounts, and with which seed.

mod crowd;
mod disk;
mod replicas;

use std::{env, thread};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rustix::process::Signal;

use super::{
    daemon::{Daemon, runs, start, with_job},
    *,
};

/// The longest life of a daemon that is killed, in milliseconds: time enough to take a message or to plan a run.
const LONGEST_LIFE: u64 = 3000;

/// How long it may take until all is well after the last fault. An account that was worked on at that moment is claimed for a
/// minute; a creation at Spot whose outcome is not known is looked for over minutes.
const SETTLED: Duration = Duration::from_secs(900);

/// How much of it.
struct Extent {
    faults: u32,
    accounts: usize,
    seed: u64,
}

impl Extent {
    /// So much, unless the environment wants more.
    fn at_least(faults: u32, accounts: usize) -> Self {
        fn told<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
            env::var(name).map_or(otherwise, |value| {
                value.parse().unwrap_or_else(|_| panic!("{name}={value}"))
            })
        }
        Self {
            faults: told("SOAK_FAULTS", faults),
            accounts: told("SOAK_ACCOUNTS", accounts),
            seed: told("SOAK_SEED", 1),
        }
    }

    /// Of faults that take long: once in fifty.
    fn seldom(self) -> Self {
        let faults = (self.faults / 50).max(1);
        Self { faults, ..self }
    }

    /// As many jobs as five times that, when it is told how many.
    fn crowd(jobs: u32) -> u32 {
        5 * Self::at_least(jobs / 5, 0).faults
    }

    fn scenario(&self, more: &str) -> String {
        let Self { seed, accounts, .. } = self;
        format!(
            "seed = {seed}\nclock_speed = 5.0\n[organization]\naccounts = {accounts}\nous = 5\ndepth = 2\ntrusted_access = true\n{more}"
        )
    }

    fn random(&self) -> StdRng {
        StdRng::seed_from_u64(self.seed)
    }
}

const EVERY_SECOND: &str = "kind = \"stackset-sync\"\nschedule = { cron = \"@every 1s\" }\n";
const NEVER: &str = "kind = \"stackset-sync\"\nschedule = { cron = \"0 0 0 1 1 * 2099\" }\n";

/// What the daemon is configured with, beside where its state is. An account that fails is tried again soon.
const SECTIONS: &str = "[daemon]\nlisten = \"127.0.0.1:0\"\n[enrollment]\nserved_by = \"provider\"\n\
                        [retry_failed]\nfirst = \"10s\"\nquarantine_after = 100\n";

/// A moment of a fault, which is no state to wait for.
fn some_time(random: &mut StdRng) {
    thread::sleep(Duration::from_millis(random.random_range(0..LONGEST_LIFE)));
}

impl Rehearsal {
    /// How many accounts have a link that works.
    fn linked(&self) -> usize {
        let linked = self.spot_accounts().into_iter();
        linked.filter(|spot| spot.works).count()
    }

    /// The same as [`Self::converges`], after which each account is enrolled once. Gives the runs.
    fn settles(&self, before: &[SpotAccount], daemons: &mut [&mut Daemon]) -> Vec<Value> {
        let all = self.converges(daemons);
        self.assert_enrolled_once(&self.members(), before);
        all
    }

    /// Waits until every account is linked and a run has found it so. Then lets the daemons end, and asserts that no run is lost. Gives the
    /// runs.
    fn converges(&self, daemons: &mut [&mut Daemon]) -> Vec<Value> {
        let members = self.members();
        let soundly = |daemons: &mut [&mut Daemon]| {
            daemons
                .iter_mut()
                .try_for_each(|daemon| daemon.process.check())
        };
        process::until(SETTLED, "every account is linked", || {
            soundly(daemons)?;
            Ok((self.linked() >= members.len()).then_some(()))
        })
        .unwrap();
        let known: BTreeSet<String> = runs(self).iter().map(|run| text(&run["id"])).collect();
        process::until(SETTLED, "a run finds everything done", || {
            soundly(daemons)?;
            thread::sleep(Duration::from_millis(500));
            Ok(runs(self).into_iter().find(|run| {
                run["state"] == "done"
                    && run["summary"]["ok"] == members.len()
                    && !known.contains(&text(&run["id"]))
            }))
        })
        .unwrap();
        self.write("config/jobs/sync.toml", NEVER);
        let all = process::until(SETTLED, "nothing waits and nothing goes on", || {
            soundly(daemons)?;
            thread::sleep(Duration::from_millis(500));
            let all = runs(self);
            let open = |run: &Value| run["state"] == "queued" || run["state"] == "running";
            Ok((!all.iter().any(open)).then_some(all))
        })
        .unwrap();
        for daemon in daemons {
            daemon.process.signal(Signal::TERM).unwrap();
            let code = daemon.process.wait(LIMIT).unwrap();
            assert_eq!(code, 0, "{}", daemon.process.stderr().unwrap());
        }
        all
    }
}

/// Daemons that live for a moment each, with this going wrong besides. The last one is left alone.
fn killed_at_random(extent: &Extent, faults: &str) {
    let rehearsal = with_job(&extent.scenario(faults), EVERY_SECOND);
    rehearsal.configure(
        &format!("{SECTIONS}[stack_set]\nmax_concurrent = 10\n"),
        "",
        "ous = [\"root\"]",
    );
    let before = rehearsal.spot_accounts();
    let mut random = extent.random();
    let mut in_the_middle = 0;
    for _ in 0..extent.faults {
        let mut daemon = rehearsal.runner.start(&["daemon"]).unwrap();
        some_time(&mut random);
        daemon.check().unwrap();
        daemon.signal(Signal::KILL).unwrap();
        assert!(daemon.wait(LIMIT).is_err(), "a signal ended it");
        in_the_middle += u32::from(rehearsal.linked() < extent.accounts);
    }
    let mut last = start(&rehearsal.runner);
    let all = rehearsal.settles(&before, &mut [&mut last]);
    let in_state = |state: &str| all.iter().filter(|run| run["state"] == state).count();
    let creations = rehearsal.calls()["spot:POST /setup/account"];
    println!(
        "seed {}: {} kills, {in_the_middle} of them before all {} accounts were linked; {} runs: {} done, {} interrupted; \
         {creations} creations sent to Spot",
        extent.seed,
        extent.faults,
        extent.accounts,
        all.len(),
        in_state("done"),
        in_state("interrupted"),
    );
    assert!(in_the_middle > extent.faults / 4, "{in_the_middle}");
}

#[test]
fn daemons_that_are_killed_at_random_moments_enroll_every_account_once() {
    killed_at_random(&Extent::at_least(12, 16), "");
}

#[test]
fn and_so_they_do_while_spot_fails_creations_lose_their_answers_and_aws_throttles() {
    let rule = |service: &str, operation: &str, kind: &str, probability: f64| {
        format!(
            "[[faults]]\nservice = {service:?}\noperation = {operation:?}\nkind = {kind:?}\nprobability = {probability}\n"
        )
    };
    let faults = [
        rule("spot", "POST /setup/account", "drop_after", 0.2),
        rule("spot", "*", "server_error", 0.2),
        rule("organizations", "*", "throttle", 0.1),
        rule("cloudformation", "*", "throttle", 0.1),
        rule("sqs", "*", "throttle", 0.1),
    ];
    killed_at_random(&Extent::at_least(5, 8), &faults.concat());
}
