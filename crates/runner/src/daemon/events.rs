//! Takes events of AWS out of the wake-up queue, and asks for a look of the jobs that they wake.
//!
//! A message is deleted after what it asks for is in the state, so that nothing is lost with a process; then it may come twice, which
//! costs a look. One that is not understood is counted and deleted: what comes behind it matters more.

mod recent;
mod trouble;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use aws_ops::{AwsError, ErrorClass, queue::QueueMessage};
use futures_util::future::join_all;
use jiff::Timestamp;
use onboarding_core::events::{EventKind, Hint, Reading, Woken, read};
use tracing::Instrument as _;

use super::definitions::Definitions;
use crate::{
    config::{JobKind, Loaded, WakeUpQueue},
    engine::Interrupt,
    home::Home,
    state::{Pace, StateError, WakeUp},
    telemetry::{
        self, catalog,
        metrics::{self, EventOutcome},
    },
};

use recent::Recent;
use trouble::Trouble;

/// Messages that are received at once: as many as SQS gives.
const BATCH: u8 = 10;

/// How long SQS holds a request while the queue is empty: as long as it does.
const POLL: Duration = Duration::from_secs(20);

/// The first pause before something is tried again that AWS or the state refused.
const PAUSE: Duration = Duration::from_secs(5);

/// The longest pause before the state is tried again: messages are ours for as long as the queue hides them.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The longest pause before a queue is looked for again that is not there or cannot be read.
const LOOK_AGAIN: Duration = Duration::from_secs(300);

/// How often it is told that messages are not understood.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// How long after a run of ours stack sets may tell of what it did. What they tell is looked at anew by every run anyway.
const ECHO: Duration = Duration::from_secs(300);

/// See the module documentation.
pub(super) struct Events {
    home: Home,
    definitions: Arc<Definitions>,
    /// Those that were dealt with just now: EventBridge and SQS may deliver one twice.
    recent: Recent,
    /// What they ask for cannot be written down.
    unwritten: Trouble,
    /// When the newest event happened, in Unix seconds; 0 before the first.
    newest: Arc<AtomicI64>,
    /// When it was told last that something is not understood, and how much was not since.
    told: Option<Instant>,
    untold: u64,
}

impl Events {
    /// Makes the instruments, which live as long as the process.
    pub(super) fn new(home: Home, definitions: Arc<Definitions>) -> Self {
        let newest = Arc::new(AtomicI64::default());
        let observed = Arc::clone(&newest);
        metrics::observe_gauge(&catalog::EVENTS_NEWEST, move || {
            vec![(Vec::new(), seconds(observed.load(Ordering::Relaxed)))]
        });
        Self {
            home,
            definitions,
            recent: Recent::default(),
            unwritten: Trouble::new(PAUSE, LONGEST_PAUSE),
            newest,
            told: None,
            untold: 0,
        }
    }

    /// Takes events until `interrupt` drains. Ends at once where none are wanted.
    pub(super) async fn keep(mut self, interrupt: Interrupt) {
        let Some(queue) = self.home.config.runner.wake_up_queue() else {
            return;
        };
        tokio::select! {
            () = interrupt.draining() => {}
            () = self.take_all(&queue) => {}
        }
    }

    /// Never ends.
    async fn take_all(&mut self, queue: &WakeUpQueue) {
        let mut trouble = Trouble::new(PAUSE, LOOK_AGAIN);
        let mut is_told = false;
        loop {
            let url = match queue {
                WakeUpQueue::Url(url) => Ok(url.clone()),
                WakeUpQueue::Named(name) => self.home.aws.queue_url(name).await,
            };
            let error = match url {
                Ok(url) => {
                    let heard = || {
                        if trouble.is_over() || !is_told {
                            tracing::info!(queue = url, "events of AWS wake jobs");
                        }
                        is_told = true;
                    };
                    self.take_from(&url, heard).await
                }
                Err(error) => error,
            };
            if trouble.is_news(without_request(&error)) {
                tell(&error);
            }
            tokio::time::sleep(trouble.wait()).await;
        }
    }

    /// Takes events until the queue cannot be read; why it cannot.
    async fn take_from(&mut self, url: &str, mut heard: impl FnMut()) -> AwsError {
        loop {
            let messages = match self.home.aws.receive_messages(url, BATCH, POLL).await {
                Ok(messages) => messages,
                Err(error) => return error,
            };
            heard();
            if messages.is_empty() {
                continue;
            }
            let span = tracing::info_span!(
                "events",
                otel.kind = "consumer",
                messaging.system = "aws_sqs",
                messaging.operation.r#type = "process",
                messaging.destination.name = url.rsplit('/').next().unwrap_or_default(),
                messaging.batch.message_count = messages.len(),
            );
            self.take(url, messages).instrument(span).await;
        }
    }

    async fn take(&mut self, url: &str, messages: Vec<QueueMessage>) {
        let mut hints = Vec::new();
        for message in &messages {
            match read(&message.body) {
                Reading::Hint(hint) => hints.push(hint),
                Reading::OfNoInterest => metrics::event(None, EventOutcome::OfNoInterest),
                Reading::NotUnderstood(why) => self.not_understood(&message.id, why),
            }
        }
        let outcomes = loop {
            let woken = self.wake(&hints, Timestamp::now());
            match self.home.state.in_time(woken).await {
                Ok(outcomes) => break outcomes,
                // They are ours for as long as the queue hides them; then they come again.
                Err(error) => {
                    if self.unwritten.is_news(error.to_string()) {
                        tracing::error!(%error, "what events ask for cannot be written down; it is tried again");
                    }
                    tokio::time::sleep(self.unwritten.wait()).await;
                }
            }
        };
        if self.unwritten.is_over() {
            tracing::info!("what events ask for is written down again");
        }
        for (hint, outcome) in hints.into_iter().zip(outcomes) {
            metrics::event(Some(hint.kind), outcome);
            let happened = moment(&hint).map_or(0, Timestamp::as_second);
            self.newest.fetch_max(happened, Ordering::Relaxed);
            self.recent.remember(hint.id);
        }
        let aws = &self.home.aws;
        let deletions = messages
            .iter()
            .map(|message| aws.delete_message(url, &message.receipt));
        for deleted in join_all(deletions).await {
            if let Err(error) = deleted {
                tracing::warn!(%error, "an event that was dealt with comes again");
            }
        }
    }

    /// Asks for runs of all jobs that are woken, and says what became of each hint.
    async fn wake(&self, hints: &[Hint], now: Timestamp) -> Result<Vec<EventOutcome>, StateError> {
        let config = self.definitions.current();
        let state = &self.home.state;
        let wanted = Wanted::of(&config);
        let mut outcomes = Vec::with_capacity(hints.len());
        let mut waking: BTreeMap<&str, Vec<&Hint>> = BTreeMap::new();
        let mut tagged = Vec::new();
        for hint in hints {
            let jobs = wanted.jobs(hint.kind);
            let outcome = if self.recent.knows(hint.id.as_deref()) {
                EventOutcome::Repeated
            } else if jobs.is_empty() {
                EventOutcome::NoJob
            } else if hint.kind == EventKind::StackSetChanged && self.is_echo(hint, now).await? {
                EventOutcome::OfARun
            } else {
                for job in jobs {
                    waking.entry(job).or_default().push(hint);
                }
                if hint.kind == EventKind::AccountTagged {
                    tagged.extend(hint.about.account().map(|account| (account, None)));
                }
                EventOutcome::Wakes
            };
            outcomes.push(outcome);
        }
        // What was read of their tags is old now.
        if !tagged.is_empty() {
            state.remember_tags(&tagged, now.as_second()).await?;
        }
        let jobs = config.jobs.iter().filter_map(|job| {
            let hints = waking.get(job.name.as_str())?;
            Some(WakeUp {
                job: &job.name,
                kind: job.kind(),
                woken: Woken::by(hints.iter().copied(), now.as_millisecond()),
            })
        });
        // In one order everywhere, so that two processes do not wait for each other.
        let mut jobs: Vec<WakeUp<'_>> = jobs.collect();
        jobs.sort_by_key(|job| job.job);
        let events = &self.home.config.runner.events;
        let pace = Pace {
            quiet: events.quiet.get(),
            longest: events.max_delay.get(),
        };
        let span = telemetry::traceparent(&tracing::Span::current());
        state.wake(&jobs, pace, span.as_deref(), now).await?;
        for job in &jobs {
            tracing::info!(job.name = job.job, events = %job.woken, "events ask for a run");
        }
        Ok(outcomes)
    }

    /// Whether a stack set only tells of what a run of ours has done. A clock that is ahead of ours tells of now.
    async fn is_echo(&self, hint: &Hint, now: Timestamp) -> Result<bool, StateError> {
        let at = moment(hint).map_or(now, |at| at.min(now));
        let kinds = JobKind::ALL.into_iter();
        let kinds: Vec<&str> = kinds
            .filter(|kind| kind.changes_stack_sets())
            .map(JobKind::name)
            .collect();
        self.home.state.was_changing(&kinds, at, ECHO).await
    }

    fn not_understood(&mut self, message: &str, why: &'static str) {
        metrics::event(None, EventOutcome::NotUnderstood);
        self.untold += 1;
        if self.told.is_some_and(|told| told.elapsed() < TOLD_EVERY) {
            return;
        }
        tracing::warn!(
            message.id = message,
            messages = self.untold,
            "messages in the wake-up queue are not understood, and left out: {why}"
        );
        (self.told, self.untold) = (Some(Instant::now()), 0);
    }
}

/// What is wrong, which is the same thing when another request has met it.
fn without_request(error: &AwsError) -> String {
    let mut error = error.clone();
    error.request_id = None;
    error.to_string()
}

fn tell(error: &AwsError) {
    if error.class() == ErrorClass::NotFound {
        tracing::warn!(
            "events of AWS wake no job: there is no wake-up queue; make it with `runner bootstrap`, name another one in \
             events.queue_url, or set events.enabled = false"
        );
    } else {
        tracing::warn!(%error, "events of AWS wake no job: the wake-up queue cannot be read; it is tried again");
    }
}

/// Which jobs each kind of events wakes, as they are defined now.
struct Wanted<'a> {
    config: &'a Loaded,
    reads_tags: bool,
}

impl<'a> Wanted<'a> {
    fn of(config: &'a Loaded) -> Self {
        Self {
            config,
            reads_tags: config.reads_account_tags(),
        }
    }

    fn jobs(&self, kind: EventKind) -> Vec<&'a str> {
        if kind == EventKind::AccountTagged && !self.reads_tags {
            return Vec::new();
        }
        let jobs = self.config.jobs.iter();
        jobs.filter(|job| job.enabled && job.wake_on.contains(&kind))
            .map(|job| job.name.as_str())
            .collect()
    }
}

/// When it happened, as far as it tells.
fn moment(hint: &Hint) -> Option<Timestamp> {
    hint.time.as_deref()?.parse().ok()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "moments are far below 2^52 seconds"
)]
fn seconds(moment: i64) -> f64 {
    moment as f64
}
