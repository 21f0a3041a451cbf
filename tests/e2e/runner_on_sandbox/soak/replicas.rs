//! Two daemons on one PostgreSQL: one of them is killed or paused, again and again; the database goes away under both.

use e2e::postgres;

use super::*;

/// The lease of the daemons' locks.
const LEASE: Duration = Duration::from_secs(5);

/// How long the database is away.
const AWAY: Duration = Duration::from_secs(20);

/// A rehearsal whose state is in this database.
fn on(database: &str, extent: &Extent) -> Rehearsal {
    let rehearsal = with_job(&extent.scenario(""), EVERY_SECOND);
    let sections = format!(
        "[state]\nurl = {database:?}\nlease = \"{}s\"\n{SECTIONS}[stack_set]\nmax_concurrent = 10\n",
        LEASE.as_secs()
    );
    rehearsal.configure(&sections, "", "ous = [\"root\"]");
    rehearsal
}

impl Rehearsal {
    /// Lets the clean-up take away what a process created that had handed its creation to a connection before it was paused, and that was sent
    /// when another one had created: one account at most for each pause. Gives how many there were.
    fn repairs(&self, before: &[SpotAccount], pauses: u64) -> u64 {
        let known = |spot: &SpotAccount| before.iter().any(|one| one.id == spot.id);
        let mut left = self.spot_accounts();
        left.retain(|spot| spot.aws_account.is_none() && !known(spot));
        let repairs = u64::try_from(left.len()).unwrap();
        assert!(repairs <= pauses, "{left:?}");
        if repairs > 0 {
            // As long as the grace period is what it is, it waits; both listings have been seen then.
            self.cleanup_ends(0, "apply = true\nmax_percent = \"100%\"", &["--yes"]);
            let done = self.cleanup_ends(0, orphans::AT_ONCE, &["--yes"]);
            assert_eq!(count(&done, "changed"), left.len(), "{done:#}");
        }
        repairs
    }
}

#[test]
fn two_daemons_of_which_one_is_killed_or_paused_again_and_again_enroll_every_account_once() {
    let Some(database) = postgres::database().unwrap() else {
        return;
    };
    let extent = Extent::at_least(4, 16);
    let rehearsal = on(&database, &extent);
    let before = rehearsal.spot_accounts();
    let mut random = extent.random();
    let mut daemons = [0, 1].map(|_| start(&rehearsal, &rehearsal.runner));
    let (mut kills, mut pauses) = (0, 0);
    for _ in 0..extent.faults {
        some_time(&mut random);
        let struck = &mut daemons[random.random_range(0..2)];
        struck.process.check().unwrap();
        if random.random() {
            kills += 1;
            struck.process.signal(Signal::KILL).unwrap();
            assert!(struck.process.wait(LIMIT).is_err(), "a signal ended it");
            *struck = start(&rehearsal, &rehearsal.runner);
        } else {
            pauses += 1;
            struck.process.signal(Signal::STOP).unwrap();
            // Its lease runs out, and the other one has time to take over.
            thread::sleep(2 * LEASE);
            struck.process.signal(Signal::CONT).unwrap();
        }
    }
    let [one, other] = &mut daemons;
    let all = rehearsal.converges(&mut [one, other]);
    let repairs = rehearsal.repairs(&before, pauses);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
    println!(
        "seed {}: {kills} kills and {pauses} pauses; {} runs, and {repairs} Spot accounts to repair",
        extent.seed,
        all.len()
    );
}

#[test]
fn a_database_that_goes_away_stops_effects_and_loses_nothing() {
    let Some(mut server) = postgres::Server::start().unwrap() else {
        return;
    };
    let extent = Extent::at_least(1, 12).seldom();
    let rehearsal = on(&server.database().unwrap(), &extent);
    let before = rehearsal.spot_accounts();
    let mut daemons = [0, 1].map(|_| start(&rehearsal, &rehearsal.runner));
    rehearsal.until("an account is linked", || {
        for daemon in &mut daemons {
            daemon.process.check().unwrap();
        }
        (rehearsal.linked() > 0).then_some(())
    });
    for _ in 0..extent.faults {
        server.stop().unwrap();
        for daemon in &daemons {
            rehearsal.until("it is not ready without its state", || {
                (daemon.get(&rehearsal, "/readyz") == 503).then_some(())
            });
            assert_eq!(daemon.get(&rehearsal, "/healthz"), 200);
        }
        // What was being sent at that moment has arrived. From now on nothing new may be begun at Spot.
        thread::sleep(AWAY / 4);
        let created = rehearsal.calls().get("spot:POST /setup/account").copied();
        thread::sleep(AWAY - AWAY / 4);
        let now = rehearsal.calls().get("spot:POST /setup/account").copied();
        assert_eq!(now, created, "a creation without a journal");
        server.start_again().unwrap();
        for daemon in &mut daemons {
            rehearsal.until("it is ready again", || {
                daemon.process.check().unwrap();
                (daemon.get(&rehearsal, "/readyz") == 200).then_some(())
            });
        }
    }
    let [one, other] = &mut daemons;
    rehearsal.settles(&before, &mut [one, other]);
}
