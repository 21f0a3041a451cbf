//! What the daemon's metrics say beside what this process counts: how it stands with the jobs by their definitions and the state,
//! and with the provider's queue. It is read when somebody scrapes, within a bound and not more often than every few seconds; a
//! scrape calls neither AWS nor Spot.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use onboarding_core::plan::{Severity, Summary};
use opentelemetry::KeyValue;
use parking_lot::RwLock;
use tokio::sync::Mutex;

use super::definitions::Definitions;
use crate::{
    config::{JobFile, ProviderKind},
    home::Home,
    provider::depth::{self, Depth},
    schedule::next_tick,
    state::{CountedFindings, Figures, State},
    telemetry::{
        catalog::{self, Metric},
        metrics::{self, Sample},
    },
};

/// How long what was read is good for.
const FRESH: Duration = Duration::from_secs(5);

/// How long the state may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often it is read where metrics are pushed.
const PUSHED: Duration = Duration::from_secs(15);

/// How often SQS is asked.
const QUEUES: Duration = Duration::from_secs(60);

/// What is told from here.
const TOLD: [&Metric; 18] = [
    &catalog::BUILD_INFO,
    &catalog::STATE_REACHABLE,
    &catalog::FROZEN,
    &catalog::CONFIG_BROKEN,
    &catalog::JOB_ENABLED,
    &catalog::JOB_BROKEN,
    &catalog::JOB_PAUSED,
    &catalog::JOB_RUNS,
    &catalog::JOB_NEXT_TICK,
    &catalog::JOB_INTERVAL,
    &catalog::JOB_LAST_SUCCESS,
    &catalog::JOB_LAST_END,
    &catalog::JOB_LAST_EXIT_CODE,
    &catalog::JOB_ACCOUNTS,
    &catalog::JOB_FINDINGS,
    &catalog::ACCOUNTS_RETRYING,
    &catalog::ACCOUNTS_OLDEST_FAILURE,
    &catalog::QUEUE_MESSAGES,
];

/// See the module documentation.
pub(super) struct Gauges {
    state: State,
    definitions: Arc<Definitions>,
    samples: RwLock<Samples>,
    /// What SQS said last; nothing when it could not be asked.
    queues: RwLock<Vec<Depth>>,
    reading: Mutex<Reading>,
}

#[derive(Default)]
struct Reading {
    at: Option<Instant>,
    counted: CountedFindings,
}

impl Gauges {
    /// Makes the instruments, which live as long as the process.
    pub(super) fn new(state: State, definitions: Arc<Definitions>) -> Arc<Self> {
        let gauges = Arc::new(Self {
            state,
            definitions,
            samples: RwLock::default(),
            queues: RwLock::default(),
            reading: Mutex::default(),
        });
        for metric in TOLD {
            let gauges = Arc::clone(&gauges);
            metrics::observe_gauge(metric, move || gauges.samples.read().of(metric));
        }
        metrics::begin();
        gauges
    }

    /// Reads what is to be told, unless that was done just now.
    pub(super) async fn refresh(&self) {
        let mut reading = self.reading.lock().await;
        if reading.at.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        let figures =
            tokio::time::timeout(PATIENCE, self.state.figures(&mut reading.counted)).await;
        reading.at = Some(Instant::now());
        let figures = match figures {
            Ok(Ok(figures)) => Some(figures),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the state does not tell its figures; metrics are without them");
                None
            }
            Err(_) => {
                tracing::warn!("the state does not answer; metrics are without what it has");
                None
            }
        };
        let config = self.definitions.current();
        let mut samples = Samples::default();
        samples.add(
            &catalog::BUILD_INFO,
            &[("service.version", env!("CARGO_PKG_VERSION"))],
            1.0,
        );
        samples.add(
            &catalog::CONFIG_BROKEN,
            &[],
            truth(self.definitions.is_unreadable()),
        );
        let broken: Vec<String> = self.definitions.broken().into_keys().collect();
        samples.add_jobs(&config.jobs, &broken, Timestamp::now());
        samples.add_figures(&config.jobs, figures.as_ref(), Timestamp::now());
        samples.add_queues(&self.queues.read());
        *self.samples.write() = samples;
    }

    /// Reads it again and again, for who does not scrape. Never ends.
    pub(super) async fn keep(&self) {
        loop {
            self.refresh().await;
            tokio::time::sleep(PUSHED).await;
        }
    }

    /// Asks SQS how much waits, again and again, where there is a queue of the provider. Never ends.
    pub(super) async fn watch_queues(&self, home: &Home) {
        if home.config.runner.enrollment.provider != ProviderKind::Queue {
            return std::future::pending().await;
        }
        let mut is_told = false;
        loop {
            let depths = depth::depths(home).await;
            if let Err(error) = &depths
                && !is_told
            {
                let error = error.chain();
                tracing::warn!(error, "how much waits in the provider's queue is not known");
            }
            is_told = depths.is_err();
            *self.queues.write() = depths.unwrap_or_default();
            tokio::time::sleep(QUEUES).await;
        }
    }
}

/// What is told, by the name of the metric.
#[derive(Debug, Default)]
struct Samples(BTreeMap<&'static str, Vec<Sample>>);

impl Samples {
    fn of(&self, metric: &Metric) -> Vec<Sample> {
        self.0.get(metric.name).cloned().unwrap_or_default()
    }

    fn add(&mut self, metric: &Metric, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter();
        let labels = labels.map(|(name, value)| KeyValue::new(*name, (*value).to_owned()));
        let samples = self.0.entry(metric.name).or_default();
        samples.push((labels.collect(), value));
    }

    /// What the definitions say.
    fn add_jobs(&mut self, jobs: &[JobFile], broken: &[String], now: Timestamp) {
        for job in jobs {
            let name = ("job.name", job.name.as_str());
            let schedule = job.schedule.as_ref().filter(|_| job.enabled);
            let kind = ("job.kind", job.kind());
            self.add(
                &catalog::JOB_ENABLED,
                &[name, kind],
                truth(schedule.is_some()),
            );
            if !broken.contains(&job.name) {
                self.add(&catalog::JOB_BROKEN, &[name], 0.0);
            }
            let next = schedule.and_then(|schedule| {
                let next = next_tick(schedule, now)?;
                Some((next, next_tick(schedule, next)))
            });
            let Some((next, after)) = next else {
                continue;
            };
            self.add(
                &catalog::JOB_NEXT_TICK,
                &[name],
                seconds(next.as_millisecond()),
            );
            if let Some(after) = after {
                let interval = after.as_millisecond() - next.as_millisecond();
                self.add(&catalog::JOB_INTERVAL, &[name], seconds(interval));
            }
        }
        for job in broken {
            self.add(&catalog::JOB_BROKEN, &[("job.name", job)], 1.0);
        }
    }

    /// What the state says of the jobs that are in force; nothing when it did not answer.
    fn add_figures(&mut self, jobs: &[JobFile], figures: Option<&Figures>, now: Timestamp) {
        self.add(&catalog::STATE_REACHABLE, &[], truth(figures.is_some()));
        let Some(figures) = figures else {
            return;
        };
        self.add(&catalog::FROZEN, &[], truth(figures.is_frozen));
        self.add(&catalog::ACCOUNTS_RETRYING, &[], number(figures.retrying));
        let oldest = figures.oldest_failure.unwrap_or(now.as_second());
        let age = seconds((now.as_second() - oldest).max(0).saturating_mul(1_000));
        self.add(&catalog::ACCOUNTS_OLDEST_FAILURE, &[], age);
        for job in jobs {
            let name = ("job.name", job.name.as_str());
            let known = figures.jobs.get(&job.name).cloned().unwrap_or_default();
            self.add(&catalog::JOB_PAUSED, &[name], truth(known.is_paused));
            for (state, runs) in [("queued", known.queued), ("running", known.running)] {
                let labels = [name, ("run.state", state)];
                self.add(&catalog::JOB_RUNS, &labels, number(runs));
            }
            let moments = [
                (&catalog::JOB_LAST_SUCCESS, known.last_success),
                (&catalog::JOB_LAST_END, known.last_end),
            ];
            for (metric, moment) in moments {
                if let Some(moment) = moment {
                    self.add(metric, &[name], seconds(moment));
                }
            }
            if let Some(code) = known
                .last_exit_code
                .and_then(|code| u8::try_from(code).ok())
            {
                self.add(&catalog::JOB_LAST_EXIT_CODE, &[name], code.into());
            }
            if let Some(accounts) = known.accounts {
                self.add_accounts(name, accounts);
            }
            for severity in [Severity::Error, Severity::Warning, Severity::Info] {
                let count = known.findings.get(&severity).copied().unwrap_or_default();
                let labels = [name, ("finding.severity", code(severity))];
                self.add(&catalog::JOB_FINDINGS, &labels, number(count));
            }
        }
    }

    fn add_accounts(&mut self, job: (&'static str, &str), accounts: Summary) {
        let counts = [
            ("ok", accounts.ok),
            ("planned", accounts.planned),
            ("pending", accounts.pending),
            ("failed", accounts.failed),
            ("skipped", accounts.skipped),
        ];
        for (state, count) in counts {
            let labels = [job, ("account.state", state)];
            self.add(&catalog::JOB_ACCOUNTS, &labels, number(count as u64));
        }
    }

    fn add_queues(&mut self, depths: &[Depth]) {
        for depth in depths {
            let states = [("visible", depth.visible), ("in-flight", depth.in_flight)];
            for (state, messages) in states {
                let labels = [("queue.name", depth.queue), ("message.state", state)];
                self.add(&catalog::QUEUE_MESSAGES, &labels, number(messages));
            }
        }
    }
}

fn code(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
    }
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "moments are far below 2^52 ms")]
fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::{config::Config, state::JobFigures};

    use super::*;

    fn now() -> Timestamp {
        "2027-01-01T10:15:01Z".parse().unwrap()
    }

    /// The shipped jobs, with a schedule for the first of them.
    fn jobs() -> Vec<JobFile> {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");
        let mut jobs = Config::load(directory.as_ref(), &[]).unwrap().jobs;
        jobs[0].enabled = true;
        jobs[0].schedule = Some(toml::from_str("cron = \"@every 15m\"").unwrap());
        jobs
    }

    fn figures(job: &str) -> Figures {
        let known = JobFigures {
            is_paused: true,
            queued: 1,
            running: 0,
            last_end: Some(1_500),
            last_exit_code: Some(1),
            last_success: Some(500),
            accounts: Some(Summary {
                failed: 3,
                ..Summary::default()
            }),
            findings: BTreeMap::from([(Severity::Error, 2)]),
        };
        Figures {
            jobs: BTreeMap::from([
                (job.to_owned(), known),
                ("gone".to_owned(), JobFigures::default()),
            ]),
            is_frozen: true,
            retrying: 3,
            oldest_failure: Some(now().as_second() - 60),
        }
    }

    fn value(samples: &Samples, metric: &Metric, labels: &[(&'static str, &str)]) -> Option<f64> {
        let wanted: Vec<KeyValue> = labels
            .iter()
            .map(|(name, value)| KeyValue::new(*name, (*value).to_owned()))
            .collect();
        let samples = samples.of(metric);
        let mut found = samples.iter().filter(|(labels, _)| *labels == wanted);
        let first = found.next().map(|(_, value)| *value);
        assert!(found.next().is_none(), "{} twice", metric.name);
        first
    }

    #[test]
    fn jobs_are_told_by_their_definitions_and_the_state() {
        let jobs = jobs();
        let job = jobs[0].name.as_str();
        let name = ("job.name", job);
        let mut samples = Samples::default();
        samples.add_jobs(&jobs, &["new".to_owned()], now());
        samples.add_figures(&jobs, Some(&figures(job)), now());
        for (metric, labels, expected) in [
            (&catalog::JOB_BROKEN, &[name][..], 0.0),
            (&catalog::JOB_BROKEN, &[("job.name", "new")], 1.0),
            (&catalog::JOB_INTERVAL, &[name], 900.0),
            (
                &catalog::JOB_NEXT_TICK,
                &[name],
                seconds(now().as_millisecond() + 899_000),
            ),
            (&catalog::JOB_PAUSED, &[name], 1.0),
            (&catalog::JOB_RUNS, &[name, ("run.state", "queued")], 1.0),
            (&catalog::JOB_RUNS, &[name, ("run.state", "running")], 0.0),
            (&catalog::JOB_LAST_SUCCESS, &[name], 0.5),
            (&catalog::JOB_LAST_END, &[name], 1.5),
            (&catalog::JOB_LAST_EXIT_CODE, &[name], 1.0),
            (
                &catalog::JOB_ACCOUNTS,
                &[name, ("account.state", "failed")],
                3.0,
            ),
            (
                &catalog::JOB_FINDINGS,
                &[name, ("finding.severity", "error")],
                2.0,
            ),
            (
                &catalog::JOB_FINDINGS,
                &[name, ("finding.severity", "info")],
                0.0,
            ),
            (&catalog::FROZEN, &[], 1.0),
            (&catalog::ACCOUNTS_OLDEST_FAILURE, &[], 60.0),
            (&catalog::STATE_REACHABLE, &[], 1.0),
        ] {
            assert_eq!(
                value(&samples, metric, labels),
                Some(expected),
                "{}",
                metric.name
            );
        }
        // A job that is not defined any more is not told of, whatever the state has.
        let all = samples.0.values().flatten();
        let mut labels = all.flat_map(|(labels, _)| labels);
        assert!(!labels.any(|label| label.value.as_str() == "gone"));
    }

    #[test]
    fn every_series_has_the_labels_of_the_catalog() {
        let jobs = jobs();
        let mut samples = Samples::default();
        samples.add_jobs(&jobs, &[], now());
        samples.add_figures(&jobs, Some(&figures(&jobs[0].name)), now());
        samples.add_queues(&[Depth {
            queue: "requests",
            visible: 2,
            in_flight: 1,
        }]);
        for metric in TOLD {
            let wanted: BTreeSet<&str> = metric.labels.iter().copied().collect();
            for (labels, _) in samples.of(metric) {
                let has: BTreeSet<&str> = labels.iter().map(|label| label.key.as_str()).collect();
                assert_eq!(has, wanted, "{}", metric.name);
            }
        }
    }

    #[test]
    fn a_state_that_does_not_answer_leaves_gaps_and_says_so() {
        let jobs = jobs();
        let mut samples = Samples::default();
        samples.add_jobs(&jobs, &[], now());
        samples.add_figures(&jobs, None, now());
        assert_eq!(value(&samples, &catalog::STATE_REACHABLE, &[]), Some(0.0));
        for metric in [&catalog::FROZEN, &catalog::JOB_PAUSED, &catalog::JOB_RUNS] {
            assert!(samples.of(metric).is_empty(), "{}", metric.name);
        }
    }
}
