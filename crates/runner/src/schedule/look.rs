//! What becomes of the ticks since the last look. Pure: the same for every process that looks.

use std::{fmt, time::Duration};

use jiff::Timestamp;

use super::{delay, last_tick, next_tick};
use crate::config::{Overlap, Schedule};

/// How many missed ticks are counted; more are said to be "more than".
const COUNTED: usize = 1000;

/// How a job is to be run by itself.
#[derive(Debug, Clone, Copy)]
pub struct Timing<'a> {
    /// The job's name.
    pub job: &'a str,
    /// When it is due.
    pub schedule: &'a Schedule,
    /// What happens when it is due while it still runs.
    pub overlap: Overlap,
}

/// How it stands with a job when somebody looks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Ticks until then are dealt with; none when nobody has looked at this job yet.
    pub looked_until: Option<Timestamp>,
    /// The schedule whose ticks those are; none when there was none.
    pub schedule: Option<String>,
    /// Who paused it and why.
    pub paused: Option<String>,
    /// Its run that goes on now.
    pub running: Option<String>,
    /// Its run that waits to be taken up.
    pub queued: Option<String>,
}

/// What becomes of a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// A run for it waits from then on.
    Queue {
        /// The tick.
        tick: Timestamp,
        /// When the run may start.
        due_at: Timestamp,
    },
    /// There is no run for it.
    Skip {
        /// The tick.
        tick: Timestamp,
        /// Why not.
        why: Skipped,
    },
    /// This run makes room for a later one: one that waits is taken away, one that goes on is asked to end.
    Replace {
        /// The run.
        run: String,
    },
}

/// Why there is no run for a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skipped {
    /// Nobody looked at that time, and it is too late now, or a later tick stands for it.
    Missed {
        /// Until when, and how many ticks with it.
        until: Timestamp,
        /// How many ticks, this one included.
        ticks: usize,
    },
    /// The job is paused.
    Paused(String),
    /// This run of it still goes on.
    StillRunning(String),
    /// This run of it still waits.
    StillWaiting(String),
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missed { ticks: 1, .. } => {
                f.write_str("missed: no daemon looked at that time, or not long enough after it")
            }
            Self::Missed { until, ticks } => {
                let more = if *ticks >= COUNTED { "more than " } else { "" };
                write!(
                    f,
                    "missed, with all until {until} ({more}{ticks} ticks): no daemon looked at that time"
                )
            }
            Self::Paused(by) => write!(f, "paused {by}"),
            Self::StillRunning(run) => {
                write!(f, "run {run} of the job still goes on (overlap = \"skip\")")
            }
            Self::StillWaiting(run) => write!(f, "run {run} of the job still waits to be taken up"),
        }
    }
}

/// What to do about the ticks until now. None when there are none; a job that is seen for the first time has none. Of several
/// that were missed, the last one gets a run at most, when it is within the catch-up window.
#[must_use]
pub fn look(timing: Timing<'_>, standing: &Standing, now: Timestamp) -> Vec<Decision> {
    let Some(looked_until) = standing.looked_until else {
        return Vec::new();
    };
    let latest = last_tick(timing.schedule, now).filter(|tick| *tick > looked_until);
    let Some(latest) = latest else {
        return Vec::new();
    };
    let mut decisions: Vec<Decision> = missed(timing.schedule, looked_until, latest)
        .into_iter()
        .collect();
    let late = Duration::try_from(now.duration_since(latest)).unwrap_or_default();
    let skip = |why| Decision::Skip { tick: latest, why };
    if let Some(by) = &standing.paused {
        decisions.push(skip(Skipped::Paused(by.clone())));
        return decisions;
    }
    if late > timing.schedule.catch_up.get() {
        decisions.push(skip(Skipped::Missed {
            until: latest,
            ticks: 1,
        }));
        return decisions;
    }
    match (timing.overlap, &standing.running, &standing.queued) {
        (Overlap::Skip, Some(run), _) => {
            decisions.push(skip(Skipped::StillRunning(run.clone())));
            return decisions;
        }
        (Overlap::Skip | Overlap::Queue, _, Some(run)) => {
            decisions.push(skip(Skipped::StillWaiting(run.clone())));
            return decisions;
        }
        (Overlap::Replace, running, queued) => {
            let replaced = queued.iter().chain(running);
            decisions.extend(replaced.map(|run| Decision::Replace { run: run.clone() }));
        }
        (Overlap::Skip | Overlap::Queue, _, None) => {}
    }
    decisions.push(Decision::Queue {
        tick: latest,
        due_at: latest + delay(timing.schedule, timing.job, latest),
    });
    decisions
}

/// The ticks before the latest that nobody looked at, as one.
fn missed(schedule: &Schedule, looked_until: Timestamp, latest: Timestamp) -> Option<Decision> {
    let next = |last: &Timestamp| next_tick(schedule, *last).filter(|tick| *tick < latest);
    let mut ticks = std::iter::successors(next(&looked_until), next).take(COUNTED);
    let first = ticks.next()?;
    let ticks = ticks.count() + 1;
    let until = last_tick(schedule, latest - Duration::from_secs(1)).unwrap_or(first);
    Some(Decision::Skip {
        tick: first,
        why: Skipped::Missed { until, ticks },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(moment: &str) -> Timestamp {
        moment.parse().unwrap()
    }

    fn schedule() -> Schedule {
        toml::from_str("cron = \"0 */15 * * * *\"\ncatch_up = \"1h\"").unwrap()
    }

    fn decided(overlap: Overlap, standing: &Standing, now: &str) -> Vec<Decision> {
        let schedule = schedule();
        let timing = Timing {
            job: "sync",
            schedule: &schedule,
            overlap,
        };
        look(timing, standing, at(now))
    }

    fn since(looked_until: &str) -> Standing {
        Standing {
            looked_until: Some(at(looked_until)),
            ..Standing::default()
        }
    }

    fn queue(tick: &str) -> Decision {
        Decision::Queue {
            tick: at(tick),
            due_at: at(tick),
        }
    }

    fn skip(tick: &str, why: Skipped) -> Decision {
        Decision::Skip {
            tick: at(tick),
            why,
        }
    }

    #[test]
    fn a_tick_gets_one_run_and_a_job_that_is_new_waits_for_its_first() {
        let decide = |standing: &Standing, now: &str| decided(Overlap::Skip, standing, now);
        assert_eq!(decide(&Standing::default(), "2027-01-01T10:15:00Z"), []);
        let seen = since("2027-01-01T10:14:59Z");
        assert_eq!(decide(&seen, "2027-01-01T10:14:59.9Z"), []);
        assert_eq!(
            decide(&seen, "2027-01-01T10:15:00.4Z"),
            [queue("2027-01-01T10:15:00Z")]
        );
        assert_eq!(
            decide(&since("2027-01-01T10:15:00Z"), "2027-01-01T10:29:59Z"),
            []
        );
        // A clock that goes back does not bring a tick back.
        assert_eq!(
            decide(&since("2027-01-01T10:15:00Z"), "2027-01-01T10:15:00Z"),
            []
        );
        assert_eq!(
            decide(&since("2027-01-01T10:15:00Z"), "2027-01-01T09:00:00Z"),
            []
        );
    }

    #[test]
    fn after_downtime_there_is_one_run_at_most_and_the_rest_is_told() {
        let missed = |until: &str, ticks| Skipped::Missed {
            until: at(until),
            ticks,
        };
        let slept = since("2027-01-01T08:00:00Z");
        assert_eq!(
            decided(Overlap::Queue, &slept, "2027-01-01T10:20:00Z"),
            [
                skip("2027-01-01T08:15:00Z", missed("2027-01-01T10:00:00Z", 8)),
                queue("2027-01-01T10:15:00Z"),
            ]
        );
        // Too late for a job that is due seldom.
        let schedule: Schedule =
            toml::from_str("cron = \"0 0 6 * * *\"\ncatch_up = \"1h\"").unwrap();
        let timing = Timing {
            job: "audit",
            schedule: &schedule,
            overlap: Overlap::Skip,
        };
        let slept = since("2026-12-31T06:00:00Z");
        assert_eq!(
            look(timing, &slept, at("2027-01-01T07:00:01Z")),
            [skip(
                "2027-01-01T06:00:00Z",
                missed("2027-01-01T06:00:00Z", 1)
            )]
        );
        assert_eq!(
            look(timing, &slept, at("2027-01-01T07:00:00Z")),
            [queue("2027-01-01T06:00:00Z")]
        );
        // Years are counted no further than is of use.
        let years = since("2020-01-01T00:00:00Z");
        let [Decision::Skip { why, .. }, _] =
            &decided(Overlap::Skip, &years, "2027-01-01T10:20:00Z")[..]
        else {
            panic!("not two decisions")
        };
        assert!(why.to_string().contains("more than 1000 ticks"), "{why}");
    }

    #[test]
    fn a_job_that_still_runs_is_left_waited_for_or_replaced() {
        let busy = Standing {
            running: Some("r1".to_owned()),
            ..since("2027-01-01T10:00:00Z")
        };
        let waiting = Standing {
            queued: Some("r2".to_owned()),
            ..busy.clone()
        };
        let tick = "2027-01-01T10:15:00Z";
        let replace = |run: &str| Decision::Replace {
            run: run.to_owned(),
        };
        for (overlap, standing, expected) in [
            (
                Overlap::Skip,
                &busy,
                vec![skip(tick, Skipped::StillRunning("r1".to_owned()))],
            ),
            (Overlap::Queue, &busy, vec![queue(tick)]),
            (
                Overlap::Queue,
                &waiting,
                vec![skip(tick, Skipped::StillWaiting("r2".to_owned()))],
            ),
            (Overlap::Replace, &busy, vec![replace("r1"), queue(tick)]),
            (
                Overlap::Replace,
                &waiting,
                vec![replace("r2"), replace("r1"), queue(tick)],
            ),
        ] {
            assert_eq!(decided(overlap, standing, tick), expected, "{overlap:?}");
        }
    }

    #[test]
    fn a_paused_job_skips_its_ticks_with_who_and_why() {
        let paused = Standing {
            paused: Some("by ana: migration".to_owned()),
            running: Some("r1".to_owned()),
            ..since("2027-01-01T10:00:00Z")
        };
        for overlap in [Overlap::Skip, Overlap::Queue, Overlap::Replace] {
            let decisions = decided(overlap, &paused, "2027-01-01T10:15:00Z");
            let [Decision::Skip { why, .. }] = &decisions[..] else {
                panic!("{decisions:?}")
            };
            assert_eq!(why.to_string(), "paused by ana: migration");
        }
    }
}
