//! Every metric of the program: its name, unit, labels and meaning. Instruments are made from here, and so is
//! docs/reference/metrics.md; nothing else names a metric. No label has an account's id: what grows with the organization does
//! not belong here.

/// A metric. Names, units and labels are OpenTelemetry's; [`Metric::exposed`] tells Prometheus's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its unit as UCUM has it; an annotation in braces where things are counted.
    pub unit: &'static str,
    /// What it does over time.
    pub kind: Kind,
    /// What its series differ in.
    pub labels: &'static [&'static str],
    /// What it tells, for people.
    pub description: &'static str,
}

/// What a metric does over time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows, while the process lives.
    Counter,
    /// Counts observations by these upper bounds, and sums them.
    Histogram(&'static [f64]),
    /// Goes up and down.
    Gauge,
}

impl Metric {
    /// Its name at `/metrics`, by OpenTelemetry's rules for Prometheus ("Prometheus and OpenMetrics Compatibility"): units are
    /// spelled out at the end, counters end in `_total`.
    #[must_use]
    pub fn exposed(&self) -> String {
        let mut name = self.name.replace('.', "_");
        name.push_str(match self.unit {
            "s" => "_seconds",
            "{call}/s" => "_per_second",
            _ => "",
        });
        if self.kind == Kind::Counter {
            name.push_str("_total");
        }
        name
    }
}

/// Seconds that runs and steps take: from a look that finds nothing to do up to a day of waiting for CloudFormation.
const WORK: Kind = Kind::Histogram(&[
    1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 10_800.0, 43_200.0, 86_400.0,
]);

/// Seconds that a request waits for a rate window, which is a minute at Spot.
const WAITS: Kind = Kind::Histogram(&[0.1, 0.5, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0]);

/// Declares the metrics and the list of them all.
macro_rules! metrics {
    ($($ident:ident = $name:literal, $unit:literal, $kind:expr, [$($label:literal),*], $description:literal;)*) => {
        $(
            #[doc = $description]
            pub const $ident: Metric = Metric {
                name: $name,
                unit: $unit,
                kind: $kind,
                labels: &[$($label),*],
                description: $description,
            };
        )*

        /// All of them, in the order in which they are documented.
        pub const ALL: &[&Metric] = &[$(&$ident),*];
    };
}

metrics! {
    BUILD_INFO = "runner.build.info", "", Kind::Gauge, ["service.version"],
        "1, for the version that runs";
    STATE_REACHABLE = "runner.state.reachable", "", Kind::Gauge, [],
        "1 when the state answers, else 0; then there is nothing of what is read from it";
    FROZEN = "runner.frozen", "", Kind::Gauge, [],
        "1 while a freeze is in force";
    FROZEN_SINCE = "runner.frozen_since.timestamp", "s", Kind::Gauge, [],
        "Since when the freeze is in force, in Unix seconds; nothing while none is";
    CONFIG_BROKEN = "runner.config.broken", "", Kind::Gauge, [],
        "1 while the configuration as a whole cannot be read, so that what was read before is in force";
    JOB_ENABLED = "runner.job.enabled", "", Kind::Gauge, ["job.name", "job.kind"],
        "Whether the job has a schedule that is in force: 1, or 0. Each job that is in force has it";
    JOB_BROKEN = "runner.job.broken", "", Kind::Gauge, ["job.name"],
        "1 while the job's file is wrong; its last good version is in force, if there was one";
    JOB_PAUSED = "runner.job.paused", "", Kind::Gauge, ["job.name"],
        "1 while somebody has paused the job";
    JOB_PAUSED_SINCE = "runner.job.paused_since.timestamp", "s", Kind::Gauge, ["job.name"],
        "Since when somebody has paused the job, in Unix seconds; nothing while nobody has";
    JOB_RUNS = "runner.job.runs", "{run}", Kind::Gauge, ["job.name", "run.state"],
        "Runs of the job that wait (`queued`) and that go on (`running`)";
    JOB_NEXT_TICK = "runner.job.next_tick.timestamp", "s", Kind::Gauge, ["job.name"],
        "When the job is due next, in Unix seconds";
    JOB_OVERDUE = "runner.job.overdue_from.timestamp", "s", Kind::Gauge, ["job.name"],
        "When the job is overdue, in Unix seconds: at its second tick after its last success, or after its schedule came into force, was resumed or a freeze ended, whichever was last";
    JOB_LAST_SUCCESS = "runner.job.last_success.timestamp", "s", Kind::Gauge, ["job.name"],
        "When a run of the job ended last in which nothing failed (exit code 0 or 3), in Unix seconds";
    JOB_LAST_END = "runner.job.last_end.timestamp", "s", Kind::Gauge, ["job.name"],
        "When a run of the job ended last, in Unix seconds";
    JOB_LAST_EXIT_CODE = "runner.job.last_exit_code", "", Kind::Gauge, ["job.name"],
        "The exit code of the run of the job that ended last (see exit-codes.md)";
    JOB_DEATHS = "runner.job.deaths", "{run}", Kind::Gauge, ["job.name"],
        "Runs of the job that have died with their process since one ended by itself";
    JOB_ACCOUNTS = "runner.job.accounts", "{account}", Kind::Gauge, ["job.name", "account.state"],
        "Accounts as the job's last run left them: `ok`, `planned`, `pending`, `failed` and `skipped` add up to what is targeted";
    JOB_LEDGER = "runner.job.ledger", "{account}", Kind::Gauge, ["job.name", "account.standing", "account.reason"],
        "Accounts as the job's last run left them that looked at them, by where they stand (`ok`, `due`, `pending`, `failed`, `skipped`) and why (the reason codes of reports); with those that are not targeted";
    JOB_FINDINGS = "runner.job.findings", "{finding}", Kind::Gauge, ["job.name", "finding.severity"],
        "Findings of the job's last run that looked at everything, by severity: `error`, `warning`, `info`";
    ACCOUNTS_RETRYING = "runner.accounts.retrying", "{account}", Kind::Gauge, [],
        "Accounts that could not be enrolled or mended and are still targeted: they are tried again later, or wait for a person";
    ACCOUNTS_OLDEST_FAILURE = "runner.accounts.oldest_failure.age", "s", Kind::Gauge, [],
        "For how long the account has failed that has failed longest; 0 when none fails";
    QUEUE_MESSAGES = "runner.provider.queue.messages", "{message}", Kind::Gauge, ["queue.name", "message.state"],
        "Messages of the provider's queue (`requests`) and its dead-letter queue (`dead-letters`): `visible`, and `in-flight`. SQS tells about how many, and is asked once a minute, not by a scrape";
    PROVIDER_SERVING = "runner.provider.serving", "", Kind::Gauge, [],
        "1 while this process serves the provider's queue, 0 while it should and cannot; nothing where it need not";
    PROVIDER_ANSWERS = "runner.provider.answers", "{answer}", Kind::Counter, ["provider.answer"],
        "Custom resources that this process answered, at each delivery: `success`, `failed`, and answers that CloudFormation did not take, `undeliverable`";
    PROVIDER_REFUSED = "runner.provider.refused", "", Kind::Counter, ["error.type"],
        "Events that the provider refused, at each delivery, by reason";
    NOTIFICATIONS_WAITING = "runner.notifications.waiting", "{notification}", Kind::Gauge, ["notify.target"],
        "Notifications that a target has not been told yet";
    NOTIFICATIONS_OLDEST = "runner.notifications.oldest.age", "s", Kind::Gauge, ["notify.target"],
        "For how long the oldest of them waits; 0 when none does";
    NOTIFICATIONS_GIVEN_UP = "runner.notifications.given_up.timestamp", "s", Kind::Gauge, ["notify.target"],
        "When a notification was given up last, in Unix seconds; nothing when none was";
    EVENTS = "runner.events", "", Kind::Counter, ["event.kind", "event.outcome"],
        "Messages of the wake-up queue that this process took, by what happened (`none` where none of that) and what became of them: `wakes` a job; `no-job`, as none is woken by it; `of-a-run`, as a stack set tells what a run of ours did; `repeated`; `of-no-interest`; `not-understood`";
    EVENTS_NEWEST = "runner.events.newest.timestamp", "s", Kind::Gauge, [],
        "When the newest event happened that this process took, in Unix seconds; 0 before the first";
    RUNS = "runner.runs", "", Kind::Counter, ["job.name", "job.kind", "run.status"],
        "Runs that ended in this process, by job, kind and status; those that could not begin are `failed`";
    RUN_DURATION = "runner.run.duration", "s", WORK, ["job.name", "job.kind", "run.status"],
        "How long runs took";
    STEPS = "runner.steps", "", Kind::Counter, ["job.kind", "step.action", "step.outcome"],
        "Steps that ended, by kind, action and outcome";
    STEP_DURATION = "runner.step.duration", "s", WORK, ["job.kind", "step.action", "step.outcome"],
        "How long steps took, waits included";
    STEP_RETRIES = "runner.step.retries", "", Kind::Counter, ["job.kind", "step.action", "error.type"],
        "Attempts of steps that failed and were repeated, by error class";
    API_CALLS = "runner.api.calls", "", Kind::Counter, ["rpc.method"],
        "Calls of AWS and Spot, by operation";
    API_THROTTLED = "runner.api.throttled", "", Kind::Counter, ["rpc.method"],
        "Calls of AWS and Spot that were refused for their rate, by operation";
    AWS_RATE = "runner.aws.rate", "{call}/s", Kind::Gauge, ["rpc.method"],
        "Calls a second that the governor lets through to AWS now, by operation; those without a limit have none";
    SPOT_WAIT = "runner.spot.wait.duration", "s", WAITS, ["rpc.method"],
        "How long the rate governor held back those requests to Spot that had to wait";
    SPOT_RETRIES = "runner.spot.retries", "", Kind::Counter, ["rpc.method", "error.type"],
        "Requests to Spot that failed and were repeated, by reason";
    SPOT_WINDOW_LIMIT = "runner.spot.window.limit", "{request}", Kind::Gauge, ["rpc.method"],
        "Requests that Spot allows in its window, by route";
    SPOT_WINDOW_REMAINING = "runner.spot.window.remaining", "{request}", Kind::Gauge, ["rpc.method"],
        "Requests that may be sent now without waiting, by route";
    SPOT_WINDOW_BLOCKED = "runner.spot.window.blocked", "s", Kind::Gauge, ["rpc.method"],
        "How long nothing may be sent; 0 when something may, by route";
    TELEMETRY_DROPPED = "runner.telemetry.dropped", "", Kind::Counter, ["otel.signal", "error.type"],
        "Spans (`traces`) and log records (`logs`) that were lost: more than the queue takes (`queue-full`), or not taken by the collector (`export-failed`)";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_ours_and_each_is_there_once() {
        let names: BTreeSet<_> = ALL.iter().map(|metric| metric.exposed()).collect();
        assert_eq!(names.len(), ALL.len());
        for name in names {
            assert!(name.starts_with("runner_"), "{name}");
            assert!(
                name.bytes()
                    .all(|byte| byte == b'_' || byte.is_ascii_lowercase()),
                "{name}"
            );
        }
    }

    #[test]
    fn units_and_counters_are_spelled_out() {
        assert_eq!(RUNS.exposed(), "runner_runs_total");
        assert_eq!(RUN_DURATION.exposed(), "runner_run_duration_seconds");
        assert_eq!(AWS_RATE.exposed(), "runner_aws_rate_per_second");
        assert_eq!(SPOT_WINDOW_LIMIT.exposed(), "runner_spot_window_limit");
        assert_eq!(
            JOB_LAST_SUCCESS.exposed(),
            "runner_job_last_success_timestamp_seconds"
        );
    }

    #[test]
    fn no_series_is_of_one_account() {
        const OF_MANY: [&str; 3] = ["account.state", "account.standing", "account.reason"];
        let mut labels = ALL.iter().flat_map(|metric| metric.labels);
        assert!(!labels.any(|label| label.contains("account") && !OF_MANY.contains(label)));
    }
}
