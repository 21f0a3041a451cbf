//! What the daemon's metrics say beside what this process counts: how it stands with the jobs by their definitions and the state,
//! and with the provider's queue. It is read when somebody scrapes, within a bound and not more often than every few seconds; a
//! scrape calls neither AWS nor Spot.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use onboarding_core::plan::Severity;
use opentelemetry::KeyValue;
use parking_lot::RwLock;
use tokio::sync::Mutex;

use super::definitions::Definitions;
use crate::{
    config::{JobFile, ProviderKind},
    home::Home,
    provider::{
        Served,
        depth::{self, Depth},
    },
    schedule::{next_tick, overdue_from},
    state::{Figures, JobEnds, JobFigures, State},
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
const TOLD: [&Metric; 26] = [
    &catalog::BUILD_INFO,
    &catalog::STATE_REACHABLE,
    &catalog::FROZEN,
    &catalog::FROZEN_SINCE,
    &catalog::CONFIG_BROKEN,
    &catalog::JOB_ENABLED,
    &catalog::JOB_BROKEN,
    &catalog::JOB_PAUSED,
    &catalog::JOB_PAUSED_SINCE,
    &catalog::JOB_RUNS,
    &catalog::JOB_NEXT_TICK,
    &catalog::JOB_OVERDUE,
    &catalog::JOB_LAST_SUCCESS,
    &catalog::JOB_LAST_END,
    &catalog::JOB_LAST_EXIT_CODE,
    &catalog::JOB_DEATHS,
    &catalog::JOB_ACCOUNTS,
    &catalog::JOB_LEDGER,
    &catalog::JOB_FINDINGS,
    &catalog::ACCOUNTS_RETRYING,
    &catalog::ACCOUNTS_OLDEST_FAILURE,
    &catalog::QUEUE_MESSAGES,
    &catalog::PROVIDER_SERVING,
    &catalog::NOTIFICATIONS_WAITING,
    &catalog::NOTIFICATIONS_OLDEST,
    &catalog::NOTIFICATIONS_GIVEN_UP,
];

/// See the module documentation.
pub(super) struct Gauges {
    state: State,
    definitions: Arc<Definitions>,
    samples: RwLock<Samples>,
    /// What SQS said last; nothing when it could not be asked.
    queues: RwLock<Vec<Depth>>,
    served: Arc<Served>,
    /// When it was read last.
    read_at: Mutex<Option<Instant>>,
}

impl Gauges {
    /// Makes the instruments, which live as long as the process.
    pub(super) fn new(
        state: State,
        definitions: Arc<Definitions>,
        served: Arc<Served>,
    ) -> Arc<Self> {
        let gauges = Arc::new(Self {
            state,
            definitions,
            samples: RwLock::default(),
            queues: RwLock::default(),
            served,
            read_at: Mutex::default(),
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
        let mut read_at = self.read_at.lock().await;
        if read_at.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        let figures = tokio::time::timeout(PATIENCE, self.state.figures()).await;
        *read_at = Some(Instant::now());
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
        let targets = config.runner.notify.iter();
        let targets: Vec<&str> = targets.map(|target| target.name.as_str()).collect();
        samples.add_figures(&config.jobs, &targets, figures.as_ref(), Timestamp::now());
        samples.add_queues(&self.queues.read(), self.served.is_served());
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
            let next = schedule.and_then(|schedule| next_tick(schedule, now));
            let next = next.map(Timestamp::as_millisecond);
            self.add_moment(&catalog::JOB_NEXT_TICK, &[name], next);
        }
        for job in broken {
            self.add(&catalog::JOB_BROKEN, &[("job.name", job)], 1.0);
        }
    }

    /// A moment in Unix milliseconds, when there is one.
    fn add_moment(
        &mut self,
        metric: &Metric,
        labels: &[(&'static str, &str)],
        moment: Option<i64>,
    ) {
        if let Some(moment) = moment {
            self.add(metric, labels, seconds(moment));
        }
    }

    /// What the state says of the jobs that are in force, and of who is told; nothing when it did not answer.
    fn add_figures(
        &mut self,
        jobs: &[JobFile],
        targets: &[&str],
        figures: Option<&Figures>,
        now: Timestamp,
    ) {
        self.add(&catalog::STATE_REACHABLE, &[], truth(figures.is_some()));
        let Some(figures) = figures else {
            return;
        };
        let age = |since: Option<i64>| {
            let now = now.as_millisecond();
            seconds(now.saturating_sub(since.unwrap_or(now)).max(0))
        };
        let is_frozen = figures.frozen_since.is_some();
        self.add(&catalog::FROZEN, &[], truth(is_frozen));
        self.add_moment(&catalog::FROZEN_SINCE, &[], figures.frozen_since);
        self.add(&catalog::ACCOUNTS_RETRYING, &[], number(figures.retrying));
        let oldest = figures.oldest_failure;
        let oldest = oldest.map(|seconds| seconds.saturating_mul(1_000));
        self.add(&catalog::ACCOUNTS_OLDEST_FAILURE, &[], age(oldest));
        for job in jobs {
            let known = figures.jobs.get(&job.name).cloned().unwrap_or_default();
            let overdue = overdue(job, &known, figures.thawed_at);
            self.add_job(("job.name", job.name.as_str()), &known, overdue);
        }
        for target in targets {
            let name = ("notify.target", *target);
            let known = figures.targets.get(*target).copied().unwrap_or_default();
            self.add(
                &catalog::NOTIFICATIONS_WAITING,
                &[name],
                number(known.waiting),
            );
            self.add(&catalog::NOTIFICATIONS_OLDEST, &[name], age(known.oldest));
            self.add_moment(&catalog::NOTIFICATIONS_GIVEN_UP, &[name], known.given_up_at);
        }
    }

    /// What the state says of a job.
    fn add_job(&mut self, name: (&'static str, &str), known: &JobFigures, overdue: Option<i64>) {
        let is_paused = known.paused_since.is_some();
        self.add(&catalog::JOB_PAUSED, &[name], truth(is_paused));
        for (state, runs) in [("queued", known.queued), ("running", known.running)] {
            let labels = [name, ("run.state", state)];
            self.add(&catalog::JOB_RUNS, &labels, number(runs));
        }
        for (metric, moment) in [
            (&catalog::JOB_PAUSED_SINCE, known.paused_since),
            (&catalog::JOB_OVERDUE, overdue),
            (&catalog::JOB_LAST_SUCCESS, known.ends.succeeded_at),
            (&catalog::JOB_LAST_END, known.ends.ended_at),
        ] {
            self.add_moment(metric, &[name], moment);
        }
        let exit_code = known.ends.exit_code;
        if let Some(code) = exit_code.and_then(|code| u8::try_from(code).ok()) {
            self.add(&catalog::JOB_LAST_EXIT_CODE, &[name], code.into());
        }
        self.add(&catalog::JOB_DEATHS, &[name], number(known.ends.deaths));
        self.add_accounts(name, &known.ends);
        if known.ends.ended_at.is_some() && known.ends.findings.is_none() {
            // Its last runs were before findings were counted with their ends.
            return;
        }
        let findings = known.ends.findings.as_ref();
        for severity in [Severity::Error, Severity::Warning, Severity::Info] {
            let count = findings.and_then(|findings| findings.get(&severity));
            let labels = [name, ("finding.severity", code(severity))];
            let count = count.copied().unwrap_or_default();
            self.add(&catalog::JOB_FINDINGS, &labels, number(count));
        }
    }

    fn add_accounts(&mut self, job: (&'static str, &str), ends: &JobEnds) {
        let accounts = ends.accounts.map(|accounts| {
            [
                ("ok", accounts.ok),
                ("planned", accounts.planned),
                ("pending", accounts.pending),
                ("failed", accounts.failed),
                ("skipped", accounts.skipped),
            ]
        });
        for (state, count) in accounts.into_iter().flatten() {
            let labels = [job, ("account.state", state)];
            self.add(&catalog::JOB_ACCOUNTS, &labels, number(count as u64));
        }
        for (standing, reasons) in &ends.ledger {
            for (reason, count) in reasons {
                let labels = [
                    job,
                    ("account.standing", standing.as_str()),
                    ("account.reason", reason.as_str()),
                ];
                self.add(&catalog::JOB_LEDGER, &labels, number(*count));
            }
        }
    }

    fn add_queues(&mut self, depths: &[Depth], is_served: Option<bool>) {
        if let Some(is_served) = is_served {
            self.add(&catalog::PROVIDER_SERVING, &[], truth(is_served));
        }
        for depth in depths {
            let states = [("visible", depth.visible), ("in-flight", depth.in_flight)];
            for (state, messages) in states {
                let labels = [("queue.name", depth.queue), ("message.state", state)];
                self.add(&catalog::QUEUE_MESSAGES, &labels, number(messages));
            }
        }
    }
}

/// When a job is overdue, in Unix milliseconds. One that has never succeeded counts from when it came into force.
fn overdue(job: &JobFile, known: &JobFigures, thawed_at: Option<i64>) -> Option<i64> {
    let schedule = job.schedule.as_ref().filter(|_| job.enabled)?;
    let was_fine_at = known.ends.succeeded_at.max(known.in_force_since)?;
    let was_fine_at = thawed_at.map_or(was_fine_at, |thawed| thawed.max(was_fine_at));
    let was_fine_at = Timestamp::from_millisecond(was_fine_at).ok()?;
    let overdue = overdue_from(schedule, was_fine_at)?;
    Some(overdue.as_millisecond())
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

    use onboarding_core::plan::Summary;

    use crate::{config::Config, state::TargetFigures};

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
            paused_since: Some(250),
            in_force_since: Some(100),
            queued: 1,
            running: 0,
            ends: JobEnds {
                ended_at: Some(1_500),
                exit_code: Some(1),
                succeeded_at: Some(500),
                accounts: Some(Summary {
                    failed: 3,
                    ..Summary::default()
                }),
                ledger: BTreeMap::from([(
                    "failed".to_owned(),
                    BTreeMap::from([("instance-failed".to_owned(), 3)]),
                )]),
                findings: Some(BTreeMap::from([(Severity::Error, 2)])),
                deaths: 2,
            },
        };
        let told = TargetFigures {
            waiting: 2,
            oldest: Some(now().as_millisecond() - 30_000),
            given_up_at: Some(700),
        };
        Figures {
            jobs: BTreeMap::from([
                (job.to_owned(), known),
                ("gone".to_owned(), JobFigures::default()),
            ]),
            frozen_since: Some(3_000),
            thawed_at: None,
            retrying: 3,
            oldest_failure: Some(now().as_second() - 60),
            targets: BTreeMap::from([
                ("ops".to_owned(), told),
                ("gone".to_owned(), TargetFigures::default()),
            ]),
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
        samples.add_figures(&jobs, &["ops", "new"], Some(&figures(job)), now());
        for (metric, labels, expected) in [
            (&catalog::JOB_BROKEN, &[name][..], 0.0),
            (&catalog::JOB_BROKEN, &[("job.name", "new")], 1.0),
            (&catalog::JOB_OVERDUE, &[name], 1_800.0),
            (
                &catalog::JOB_NEXT_TICK,
                &[name],
                seconds(now().as_millisecond() + 899_000),
            ),
            (&catalog::JOB_PAUSED, &[name], 1.0),
            (&catalog::JOB_PAUSED_SINCE, &[name], 0.25),
            (&catalog::JOB_DEATHS, &[name], 2.0),
            (
                &catalog::JOB_LEDGER,
                &[
                    name,
                    ("account.standing", "failed"),
                    ("account.reason", "instance-failed"),
                ],
                3.0,
            ),
            (
                &catalog::NOTIFICATIONS_WAITING,
                &[("notify.target", "ops")],
                2.0,
            ),
            (
                &catalog::NOTIFICATIONS_OLDEST,
                &[("notify.target", "ops")],
                30.0,
            ),
            (
                &catalog::NOTIFICATIONS_GIVEN_UP,
                &[("notify.target", "ops")],
                0.7,
            ),
            (
                &catalog::NOTIFICATIONS_OLDEST,
                &[("notify.target", "new")],
                0.0,
            ),
            (&catalog::FROZEN_SINCE, &[], 3.0),
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
        // A job or target that is not defined any more is not told of, whatever the state has.
        let all = samples.0.values().flatten();
        let mut labels = all.flat_map(|(labels, _)| labels);
        assert!(!labels.any(|label| label.value.as_str() == "gone"));
    }

    #[test]
    fn a_job_is_overdue_by_what_was_last_of_its_success_its_schedule_and_a_freeze() {
        let mut job = jobs().remove(0);
        let quarter = 900_000;
        let of = |succeeded_at, in_force_since| JobFigures {
            in_force_since,
            ends: JobEnds {
                succeeded_at,
                ..JobEnds::default()
            },
            ..JobFigures::default()
        };
        for (succeeded_at, in_force_since, thawed_at, expected) in [
            (Some(1), None, None, Some(2 * quarter)),
            (None, Some(quarter), None, Some(3 * quarter)),
            (Some(1), Some(5 * quarter), None, Some(7 * quarter)),
            (Some(1), Some(1), Some(5 * quarter), Some(7 * quarter)),
            (Some(9 * quarter), Some(1), Some(1), Some(11 * quarter)),
            // Nobody has looked at its schedule yet.
            (None, None, Some(1), None),
        ] {
            let known = of(succeeded_at, in_force_since);
            assert_eq!(overdue(&job, &known, thawed_at), expected);
        }
        job.enabled = false;
        assert_eq!(overdue(&job, &of(Some(1), None), None), None);
    }

    #[test]
    fn every_series_has_the_labels_of_the_catalog() {
        let jobs = jobs();
        let mut samples = Samples::default();
        samples.add_jobs(&jobs, &[], now());
        let figures = figures(&jobs[0].name);
        samples.add_figures(&jobs, &["ops"], Some(&figures), now());
        let depth = Depth {
            queue: "requests",
            visible: 2,
            in_flight: 1,
        };
        samples.add_queues(&[depth], Some(false));
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
        samples.add_figures(&jobs, &[], None, now());
        assert_eq!(value(&samples, &catalog::STATE_REACHABLE, &[]), Some(0.0));
        for metric in [&catalog::FROZEN, &catalog::JOB_PAUSED, &catalog::JOB_RUNS] {
            assert!(samples.of(metric).is_empty(), "{}", metric.name);
        }
    }
}
