//! Two daemons on one PostgreSQL: one of them is killed or paused, again and again; the database goes away under both.

use e2e::postgres;

use super::*;

/// The lease of the daemons' locks.
const LEASE: Duration = Duration::from_secs(5);

/// How long the database is away.
const AWAY: Duration = Duration::from_secs(20);

/// As many accounts as an operation works on at a time: so many creations may be under way when a process is paused.
const AT_ONCE: u64 = 10;

/// A rehearsal whose state is in this database.
fn on(database: &str, extent: &Extent) -> Rehearsal {
    let rehearsal = with_job(&extent.scenario(""), EVERY_SECOND);
    let sections = format!(
        "[state]\nurl = {database:?}\nlease = \"{}s\"\n{SECTIONS}[stack_set]\nmax_concurrent = {AT_ONCE}\n",
        LEASE.as_secs()
    );
    rehearsal.configure(&sections, "", "ous = [\"root\"]");
    rehearsal
}

impl Rehearsal {
    /// Lets the clean-up take away what a process created that had handed its creation to a connection before it was paused, and that was sent
    /// when another one had created: at most what was under way at each pause. Gives how many there were.
    fn repairs(&self, before: &[SpotAccount], pauses: u64) -> u64 {
        let known = |spot: &SpotAccount| before.iter().any(|one| one.id == spot.id);
        let mut left = self.spot_accounts();
        left.retain(|spot| spot.aws_account.is_none() && !known(spot));
        let repairs = u64::try_from(left.len()).unwrap();
        assert!(repairs <= pauses * AT_ONCE, "{left:?}");
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
fn what_a_paused_process_had_created_too_late_is_found_and_taken_away() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.configure("", "", "ous = [\"root\"]");
    let before = rehearsal.spot_accounts();
    rehearsal.sync_ends(0, &[]);
    let members = rehearsal.members();
    assert_eq!(rehearsal.repairs(&before, 0), 0);
    // The creation was given up when another one took its place, and Spot takes it now.
    let late = &members[0];
    let stack = format!("arn:aws:cloudformation:us-east-1:{late}:stack/s/u");
    // Spot takes no name without a letter.
    let name = format!("aws-{late}");
    let at = "2026-01-01T00:00:00Z";
    let sent = json!({
        "call": { "create": { "name": name, "stack": stack } }, "send_by": at, "look_after": at,
    });
    rehearsal.in_state(&format!(
        "INSERT INTO kv (name, value, written_at) VALUES ('unsettled-creation:{late}:1', '{sent}', unixepoch())"
    ));
    let named = json!({ "account": { "name": name } });
    rehearsal.at_spot(reqwest::Method::POST, "/setup/account", &named);
    assert_eq!(rehearsal.repairs(&before, 1), 1);
    rehearsal.assert_enrolled_once(&members, &before);
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
