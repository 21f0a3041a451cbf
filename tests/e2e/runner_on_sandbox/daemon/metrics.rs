//! What `/metrics` of a daemon serves: as documented, with values that are so, and nothing about a single account.

use std::net::TcpListener;

use e2e::{
    components,
    otlp::{OtlpReceiver, Received, message},
};
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};

use super::*;

/// What is served, as Prometheus reads it.
pub(super) struct Scraped {
    /// By name, without what histograms add to it.
    kinds: BTreeMap<String, String>,
    /// By name and labels as they are written.
    values: BTreeMap<String, f64>,
}

impl Scraped {
    pub(super) fn value(&self, series: &str) -> Option<f64> {
        self.values.get(series).copied()
    }

    /// The label names of each series of a metric.
    fn labels(&self, metric: &str) -> Vec<BTreeSet<String>> {
        let all = self.values.keys();
        let of = all.filter(|series| metric_of(name(series), &self.kinds) == metric);
        of.map(|series| {
            let (_, labels) = series.split_once('{').unwrap_or_default();
            let names = labels.split("\",").filter_map(|pair| pair.split_once('='));
            let names = names.map(|(name, _)| name.to_owned());
            names.filter(|name| name != "le").collect()
        })
        .collect()
    }
}

fn name(series: &str) -> &str {
    series.split('{').next().unwrap()
}

/// The metric that a series is of.
fn metric_of<'a>(name: &'a str, kinds: &BTreeMap<String, String>) -> &'a str {
    let ends = ["_bucket", "_sum", "_count"];
    let of = ends.iter().find_map(|end| name.strip_suffix(end));
    of.filter(|of| kinds.get(*of).is_some_and(|kind| kind == "histogram"))
        .unwrap_or(name)
}

fn scrape(daemon: &Daemon, rehearsal: &Rehearsal) -> Scraped {
    let url = format!("{}/metrics", daemon.endpoint);
    let text = rehearsal.runtime.block_on(async {
        let answer = wire::client().unwrap().get(url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let media_type = answer.headers()["content-type"].to_str().unwrap();
        assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
        answer.text().await.unwrap()
    });
    let mut scraped = Scraped {
        kinds: BTreeMap::new(),
        values: BTreeMap::new(),
    };
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            let again = scraped.kinds.insert(name.to_owned(), kind.to_owned());
            assert_eq!(again, None, "{name} is there twice");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let again = scraped
                .values
                .insert(series.to_owned(), value.parse().unwrap());
            assert_eq!(again, None, "{series} is there twice");
        }
    }
    scraped
}

/// Scrapes until a series has this value.
#[track_caller]
pub(super) fn until_is(
    daemon: &mut Daemon,
    rehearsal: &Rehearsal,
    series: &str,
    wanted: f64,
) -> Scraped {
    rehearsal.until(&format!("{series} is {wanted}"), || {
        daemon.process.check().unwrap();
        let scraped = scrape(daemon, rehearsal);
        (scraped.value(series) == Some(wanted)).then_some(scraped)
    })
}

/// The documented metrics: kind and labels by name.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let page = components::checkout().join("docs/reference/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let columns: Vec<&str> = row.split(" | ").collect();
        let (name, _) = columns[0].split_once('`').unwrap();
        let labels = columns[2].split('`').skip(1).step_by(2);
        let labels = labels.map(str::to_owned).collect();
        (name.to_owned(), (columns[1].to_owned(), labels))
    })
    .collect()
}

/// Three accounts are enough to count.
fn three() -> String {
    SMALL.replace("accounts = 8", "accounts = 3")
}

/// Calls that are throttled and an operation that has to be asked for again, so that all is counted that goes wrong.
const TROUBLE: &str = r#"
[spot]
window = "1s"
[[faults]]
service = "organizations"
operation = "ListAccounts"
kind = "throttle"
times = 1
[[faults]]
service = "spot"
operation = "GET /setup/account"
kind = "throttle"
times = 1
[[faults]]
service = "cloudformation"
operation = "CreateStackInstances"
kind = "server_error"
times = 5
"#;

/// Nobody listens there.
const UNREACHABLE: &str = "[[notify]]\nname = \"ops\"\nwebhook = \"http://127.0.0.1:1/told\"\n\
                           secret = { env = \"WEBHOOK_SECRET\" }\ngive_up_after = \"1s\"\n\
                           events = [\"definition-broken\"]\n";

#[test]
fn metrics_are_served_as_documented_and_tell_what_is_so() {
    let rehearsal = with_job(&format!("{}{TROUBLE}", three()), &often(""));
    rehearsal.configure(&format!("{UNREACHABLE}{DAEMON}"), "", "ous = [\"root\"]");
    let mut daemon = start(&rehearsal.runner);
    // Before anything has run: what can be counted is at zero, so that its first event is an increase.
    let first = scrape(&daemon, &rehearsal);
    let refused = "runner_provider_refused_total{error_type=\"not-a-request\"}";
    assert_eq!(first.value(refused), Some(0.0));
    assert_eq!(first.value("runner_state_reachable"), Some(1.0));

    let wire = &rehearsal.wire;
    rehearsal.runtime.block_on(async {
        let queue = json!({ "QueueName": "spot-onboarding" });
        let queue = wire.json("sqs", "AmazonSQS.GetQueueUrl", &queue).await;
        let message =
            json!({ "QueueUrl": queue.unwrap()["QueueUrl"], "MessageBody": "no request" });
        let sent = wire.json("sqs", "AmazonSQS.SendMessage", &message).await;
        sent.unwrap();
    });
    let ok = "runner_job_accounts{account_state=\"ok\",job_name=\"sync\"}";
    let done = until_is(&mut daemon, &rehearsal, ok, 3.0);
    for (series, wanted) in [
        ("runner_job_last_exit_code{job_name=\"sync\"}", 0.0),
        (
            "runner_job_accounts{account_state=\"failed\",job_name=\"sync\"}",
            0.0,
        ),
        (
            "runner_job_findings{finding_severity=\"error\",job_name=\"sync\"}",
            0.0,
        ),
        (
            "runner_job_enabled{job_kind=\"stackset-sync\",job_name=\"sync\"}",
            1.0,
        ),
        ("runner_accounts_oldest_failure_age_seconds", 0.0),
        (
            "runner_api_throttled_total{rpc_method=\"organizations:ListAccounts\"}",
            1.0,
        ),
        (
            "runner_spot_retries_total{error_type=\"throttled\",rpc_method=\"spot:GET /setup/account\"}",
            1.0,
        ),
        (
            "runner_step_retries_total{error_type=\"transient\",job_kind=\"stackset-sync\",\
             step_action=\"create-stack-instances\"}",
            1.0,
        ),
        (
            "runner_provider_queue_messages{message_state=\"in-flight\",queue_name=\"dead-letters\"}",
            0.0,
        ),
        ("runner_frozen", 0.0),
        ("runner_job_paused{job_name=\"sync\"}", 0.0),
        ("runner_job_deaths{job_name=\"sync\"}", 0.0),
        (
            "runner_job_ledger{account_reason=\"enrolled\",account_standing=\"ok\",job_name=\"sync\"}",
            3.0,
        ),
        ("runner_provider_serving", 1.0),
        ("runner_notifications_waiting{notify_target=\"ops\"}", 0.0),
        (
            "runner_notifications_oldest_age_seconds{notify_target=\"ops\"}",
            0.0,
        ),
    ] {
        assert_eq!(done.value(series), Some(wanted), "{series}");
    }
    // Several custom resources for each account; with clocks as fast as here, some are delivered twice.
    let answers = "runner_provider_answers_total{provider_answer=\"success\"}";
    assert!(done.value(answers) >= Some(6.0));
    assert!(done.value(refused) >= Some(1.0));
    let runs = "job_kind=\"stackset-sync\",job_name=\"sync\",run_status=\"done\"";
    assert!(done.value(&format!("runner_runs_total{{{runs}}}")) >= Some(1.0));
    let within = |bound| {
        let series = format!("runner_run_duration_seconds_bucket{{{runs},le=\"{bound}\"}}");
        done.value(&series).unwrap()
    };
    let counted = done.value(&format!("runner_run_duration_seconds_count{{{runs}}}"));
    assert_eq!(Some(within("+Inf")), counted);
    assert!(within("1") <= within("86400") && within("86400") == within("+Inf"));
    let now = jiff::Timestamp::now().as_second() as f64;
    let last = done.value("runner_job_last_success_timestamp_seconds{job_name=\"sync\"}");
    assert!(
        last > Some(now - 300.0) && last <= Some(now + 1.0),
        "{last:?}"
    );

    // Due each second, it is overdue two ticks after its success.
    let overdue = done.value("runner_job_overdue_from_timestamp_seconds{job_name=\"sync\"}");
    assert_eq!(overdue, last.map(|last| last.floor() + 2.0));

    assert_says_nothing_of_accounts(&done, &rehearsal);
    let last = tell_what_people_do(&mut daemon, &rehearsal);
    assert_as_documented(&last, &done);
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
}

#[test]
fn an_account_that_was_closed_fails_no_longer() {
    let blocked = three().replace("depth = 2", "depth = 2\nscp_blocked = 1");
    let rehearsal = with_job(&blocked, &often(""));
    let mut daemon = start(&rehearsal.runner);
    let retrying = "runner_accounts_retrying";
    until_is(&mut daemon, &rehearsal, retrying, 1.0);
    let [account] = &rehearsal.account_ids(|account| account["scp_blocked"] == true)[..] else {
        panic!("not one account is blocked")
    };
    rehearsal.post(&format!("accounts/{account}/close"), &json!({}));
    let none = until_is(&mut daemon, &rehearsal, retrying, 0.0);
    let age = none.value("runner_accounts_oldest_failure_age_seconds");
    assert_eq!(age, Some(0.0));
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
}

/// What is served is what is documented, all of it, by kind and labels, at one time or the other.
#[track_caller]
fn assert_as_documented(one: &Scraped, other: &Scraped) {
    let documented = documented();
    let kinds: BTreeMap<String, String> = documented
        .iter()
        .map(|(name, (kind, _))| (name.clone(), kind.clone()))
        .collect();
    let mut served = one.kinds.clone();
    served.extend(other.kinds.clone());
    assert_eq!(served, kinds);
    for (name, (_, labels)) in documented {
        for has in one.labels(&name).into_iter().chain(other.labels(&name)) {
            assert_eq!(has, labels, "{name}");
        }
    }
}

#[track_caller]
fn assert_says_nothing_of_accounts(scraped: &Scraped, rehearsal: &Rehearsal) {
    for account in rehearsal.accounts() {
        let id = text(&account["id"]);
        let mut series = scraped.values.keys();
        assert_eq!(series.find(|series| series.contains(&id)), None);
    }
}

/// A pause, a freeze and a file that is wrong are seen, and a notification that is given up. Tells what is served at the end.
fn tell_what_people_do(daemon: &mut Daemon, rehearsal: &Rehearsal) -> Scraped {
    assert_eq!(rehearsal.run(&["jobs", "pause", "sync"]).code, 0);
    until_is(
        daemon,
        rehearsal,
        "runner_job_paused{job_name=\"sync\"}",
        1.0,
    );
    let frozen = rehearsal.run(&["freeze", "on", "--reason", "change window"]);
    assert_eq!(frozen.code, 0, "{}", frozen.stderr);
    let frozen = until_is(daemon, rehearsal, "runner_frozen", 1.0);
    let now = jiff::Timestamp::now().as_second() as f64;
    for since in [
        "runner_job_paused_since_timestamp_seconds{job_name=\"sync\"}",
        "runner_frozen_since_timestamp_seconds",
    ] {
        let since = frozen.value(since);
        assert!(since > Some(now - 60.0), "{since:?}");
    }

    // A name is what somebody called a file: whatever it is, it comes out as one label.
    let odd = "a \"b\" \\c";
    let path = format!("config/jobs/{odd}.toml");
    rehearsal.write(&path, "kind = \"stackset-sync\"\nschedul = 1\n");
    daemon.process.signal(Signal::HUP).unwrap();
    let series = "runner_job_broken{job_name=\"a \\\"b\\\" \\\\c\"}";
    until_is(daemon, rehearsal, series, 1.0);
    let given_up = "runner_notifications_given_up_timestamp_seconds{notify_target=\"ops\"}";
    rehearsal.until("somebody should be told of it and cannot", || {
        daemon.process.check().unwrap();
        let scraped = scrape(daemon, rehearsal);
        scraped.value(given_up).filter(|at| *at > now - 60.0)
    });
    fs::remove_file(rehearsal.path(&path)).unwrap();
    rehearsal.write("config/runner.toml", "nonsense = 1\n");
    daemon.process.signal(Signal::HUP).unwrap();
    let broken = until_is(daemon, rehearsal, "runner_config_broken", 1.0);
    assert_eq!(
        broken.value("runner_job_broken{job_name=\"sync\"}"),
        Some(0.0)
    );
    broken
}

/// A daemon whose environment names a collector.
pub(super) fn start_with_collector(
    rehearsal: &mut Rehearsal,
    endpoint: &str,
    more: &[(&str, &str)],
) -> Daemon {
    let mut environment = rehearsal.environment.clone();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
    ];
    for (name, value) in variables.iter().chain(more) {
        environment.insert((*name).to_owned(), (*value).to_owned());
    }
    rehearsal.runner.set_environment(environment);
    start(&rehearsal.runner)
}

#[test]
fn a_daemon_sends_traces_metrics_and_logs_to_a_collector() {
    let mut rehearsal = with_job(&three(), &often(""));
    let receiver = rehearsal.runtime.block_on(OtlpReceiver::start()).unwrap();
    let endpoint = receiver.endpoint.clone();
    let often = [("OTEL_METRIC_EXPORT_INTERVAL", "200")];
    let mut daemon = start_with_collector(&mut rehearsal, &endpoint, &often);
    let ok = "runner_job_accounts{account_state=\"ok\",job_name=\"sync\"}";
    until_is(&mut daemon, &rehearsal, ok, 3.0);
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);

    let received = receiver.received();
    let run = received.named("run").next().unwrap();
    assert!(
        run.parent_span_id.is_empty(),
        "a run is the root of its trace"
    );
    let mut steps = received.named("step");
    assert!(steps.any(|step| step.trace_id == run.trace_id));
    // Gauges of the state go to the collector as they are served.
    for metric in ["runner.job.accounts", "runner.job.paused", "runner.runs"] {
        assert!(received.metrics.contains(metric), "{:?}", received.metrics);
    }
    // What is said of a run leads to its trace.
    for said in ["a run begins", "a run ended"] {
        assert_leads_to_a_run(&received, said);
    }
}

/// What is said is of the span of a run.
#[track_caller]
fn assert_leads_to_a_run<'a>(received: &'a Received, said: &str) -> &'a Span {
    let mut logs = received.logs.iter();
    let log = logs.find(|record| message(record) == Some(said));
    let log = log.unwrap_or_else(|| panic!("no {said:?} in {:?}", received.logs));
    let run = received
        .named("run")
        .find(|run| run.trace_id == log.trace_id && run.span_id == log.span_id);
    run.unwrap_or_else(|| panic!("{said:?} is of no run: {log:?}"))
}

#[test]
fn a_run_that_cannot_begin_has_a_trace_and_is_counted() {
    let mut rehearsal = with_job(&three(), &often(""));
    let profile = "policies = { cost-intelligence = \"cost.json\" }";
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "ce:GetCostAndUsage", "Resource": "*" },
    ] });
    rehearsal.write("config/cost.json", &policy.to_string());
    rehearsal.configure(DAEMON, profile, "ous = [\"root\"]");
    let receiver = rehearsal.runtime.block_on(OtlpReceiver::start()).unwrap();
    let endpoint = receiver.endpoint.clone();
    let mut daemon = start_with_collector(&mut rehearsal, &endpoint, &[]);
    // What the next run needs is gone.
    fs::remove_file(rehearsal.path("config/cost.json")).unwrap();
    let code = "runner_job_last_exit_code{job_name=\"sync\"}";
    let scraped = until_is(&mut daemon, &rehearsal, code, 2.0);
    let failed = "job_kind=\"stackset-sync\",job_name=\"sync\",run_status=\"failed\"";
    let failed = scraped.value(&format!("runner_runs_total{{{failed}}}"));
    assert!(failed >= Some(1.0), "{failed:?}");
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);

    let received = receiver.received();
    let run = assert_leads_to_a_run(&received, "a run could not begin");
    let status = run.status.as_ref().unwrap();
    assert_eq!(status.code(), StatusCode::Error);
    assert!(status.message.contains("cost.json"), "{status:?}");
}

#[test]
fn spans_that_a_collector_does_not_take_are_counted_and_told() {
    let mut rehearsal = with_job(&three(), &often(""));
    // It takes connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let small = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "16"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "500"),
        ("OTEL_METRICS_EXPORTER", "none"),
        ("OTEL_LOGS_EXPORTER", "none"),
    ];
    let mut daemon = start_with_collector(&mut rehearsal, &endpoint, &small);
    let full = "runner_telemetry_dropped_total{error_type=\"queue-full\",otel_signal=\"traces\"}";
    let failed =
        "runner_telemetry_dropped_total{error_type=\"export-failed\",otel_signal=\"traces\"}";
    rehearsal.until("spans are lost both ways", || {
        daemon.process.check().unwrap();
        let scraped = scrape(&daemon, &rehearsal);
        (scraped.value(full) > Some(0.0) && scraped.value(failed) > Some(0.0)).then_some(())
    });
    rehearsal.until("the log tells", || {
        let said = daemon.process.stderr().unwrap();
        said.contains("did not get to the collector").then_some(())
    });
    // What is lost is the trace: the work is done all the same.
    rehearsal.until("a run has enrolled everything", || {
        daemon.process.check().unwrap();
        run_in(&rehearsal, "done")
    });
    daemon.process.signal(Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait(LIMIT).unwrap(), 0);
}
