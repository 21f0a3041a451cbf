//! Very many jobs that are due in the same second.

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};

use super::*;

/// A second that comes soon, as a cron line that is due once a year, in UTC.
fn soon() -> (Timestamp, String) {
    let tick = Timestamp::now() + 20.seconds();
    let line = tick
        .to_zoned(TimeZone::UTC)
        .strftime("%-S %-M %-H %-d %-m *");
    (tick, line.to_string())
}

#[test]
fn jobs_of_the_same_second_have_one_run_each_and_the_daemon_answers_meanwhile() {
    let crowd = Extent::crowd(15);
    let extent = Extent {
        accounts: 2,
        ..Extent::at_least(1, 2)
    };
    // With AWS's own rates a thousand jobs wait for those, and not for us.
    let rehearsal = with_job(&extent.scenario("rates = false\n"), NEVER);
    rehearsal.configure(SECTIONS, "", "ous = [\"root\"]");
    let settings = fs::read_to_string(rehearsal.path("config/runner.toml")).unwrap();
    let unbound = settings.replace("[aws]\n", "[aws]\norganizations_share = 100.0\n");
    assert_ne!(settings, unbound);
    rehearsal.write("config/runner.toml", &unbound);
    let (tick, line) = soon();
    for number in 0..crowd {
        rehearsal.write(
            &format!("config/jobs/audit-{number}.toml"),
            &format!(
                "kind = \"drift-audit\"\nschedule = {{ cron = {line:?} }}\n[params]\ndepth = \"coverage\"\n"
            ),
        );
    }
    let mut daemon = start(&rehearsal.runner);
    rehearsal.until("it looks", || {
        (daemon.get(&rehearsal, "/readyz") == 200).then_some(())
    });
    assert!(Timestamp::now() < tick, "it has begun to look in time");
    let mut slowest = Duration::ZERO;
    let all = process::until(SETTLED, "every job has run", || {
        daemon.process.check()?;
        let asked = std::time::Instant::now();
        assert_eq!(daemon.get(&rehearsal, "/readyz"), 200);
        slowest = slowest.max(asked.elapsed());
        thread::sleep(Duration::from_millis(500));
        let said = daemon.process.stderr()?;
        let ended = said
            .lines()
            .filter(|line| line.contains("a run ended"))
            .count();
        Ok((ended >= usize::try_from(crowd)?).then(|| runs(&rehearsal)))
    })
    .unwrap();
    println!("{} jobs; /readyz answered within {slowest:?}", crowd);
    let mut jobs = BTreeSet::new();
    for run in &all {
        assert_eq!(run["woken_by"], "schedule", "{run:#}");
        assert!(run["exit_code"].is_number(), "{run:#}");
        assert!(jobs.insert(text(&run["job"])), "{run:#}");
    }
    assert_eq!(jobs.len(), usize::try_from(crowd).unwrap());
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
}
