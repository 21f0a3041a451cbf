//! A run of the real binary, as a collector sees it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use e2e::{
    otlp::{OtlpReceiver, Received, attribute},
    runner::Runner,
    tls,
};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use sandbox::{Sandbox, Scenario};

const SCENARIO: &str = r#"
seed = 1
clock_speed = 120.0
[organization]
accounts = 3
ous = 2
depth = 1
trusted_access = true
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
"#;

#[test]
fn a_run_arrives_at_the_collector_as_a_trace_and_metrics() {
    tls::install();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run_and_look()).unwrap();
}

async fn run_and_look() -> Result<()> {
    let sandbox = Sandbox::start(Scenario::parse(SCENARIO)?, "127.0.0.1:0".parse()?).await?;
    let receiver = OtlpReceiver::start().await?;
    let mut environment = sandbox.environment().clone();
    environment.insert(
        "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
        receiver.endpoint.clone(),
    );
    environment.insert("OTEL_EXPORTER_OTLP_PROTOCOL".to_owned(), "grpc".to_owned());
    // Often enough to see a block while it lasts.
    environment.insert("OTEL_METRIC_EXPORT_INTERVAL".to_owned(), "100".to_owned());
    let runner = Runner::new(environment)?;
    let arguments = ["--output", "json", "exec", "stackset-sync"];
    let ended = tokio::task::spawn_blocking(move || runner.run(&arguments)).await??;
    let document = ended.json()?;
    ensure!(ended.code == 0, "{document:#}");
    let run_id = document["run_id"].as_str().map(str::to_owned);

    let received = receiver.received();
    let run = received.named("run").next().context("no span of the run")?;
    ensure!(attribute(run, "run.id").map(str::to_owned) == run_id);
    ensure!(attribute(run, "job.name") == Some("stackset-sync"));
    ensure!(run.parent_span_id.is_empty(), "the run is the root");
    let looks: Vec<_> = received.named("look").collect();
    ensure!(!looks.is_empty() && looks.iter().all(|look| look.parent_span_id == run.span_id));
    let calls = received
        .spans
        .iter()
        .filter(|span| looks.iter().any(|look| span.parent_span_id == look.span_id));
    ensure!(calls.count() > 0, "no call below the look");
    let accounts: BTreeSet<_> = received
        .named("account")
        .filter(|span| attribute(span, "account.result") == Some("succeeded"))
        .filter_map(|span| attribute(span, "cloud.account.id"))
        .collect();
    ensure!(
        document["summary"]["changed"] == accounts.len(),
        "{accounts:?}"
    );
    ensure_below(&received, run, &["step", "provider.request"])?;
    ensure!(received.metrics.contains("runner.runs"));
    let counted = serde_json::from_value(document["api_calls"].clone())?;
    ensure_calls(&received, &counted)?;
    ensure_rates(&received)?;
    ensure!(
        received
            .resource
            .get("service.name")
            .is_some_and(|name| name == "runner")
    );
    Ok(())
}

/// The run's own count of its calls has all but those that were made before it began.
fn ensure_calls(received: &Received, counted: &BTreeMap<String, f64>) -> Result<()> {
    for call in ["organizations:ListAccounts", "spot:POST /setup/account"] {
        ensure!(counted.contains_key(call), "no {call} in {counted:?}");
    }
    for (call, count) in counted {
        let exported = received.last("runner.api.calls", call);
        ensure!(exported >= Some(*count), "{call}: {exported:?}");
    }
    ensure!(received.last("runner.api.calls", "sts:GetCallerIdentity") == Some(1.0));
    Ok(())
}

/// What the governors did about the two throttled calls, and Spot's rate window.
fn ensure_rates(received: &Received) -> Result<()> {
    const LIST: &str = "spot:GET /setup/account";
    let value = |metric: &str| {
        let value = received.last(metric, LIST);
        value.with_context(|| format!("no {metric} of {LIST} in {:?}", received.calls.keys()))
    };
    for call in ["organizations:ListAccounts", LIST] {
        let throttled = received.last("runner.api.throttled", call);
        ensure!(throttled == Some(1.0), "{call}: {throttled:?}");
    }
    ensure!(received.last("runner.api.throttled", "sts:GetCallerIdentity") == Some(0.0));
    ensure!(value("runner.spot.retries")? == 1.0);
    // The sandbox names one second, and the governor adds one.
    let waited = value("runner.spot.wait.duration")?;
    ensure!(waited > 1.0, "waited {waited} s");
    ensure!(value("runner.spot.window.limit")? == 300.0);
    let remaining = value("runner.spot.window.remaining")?;
    ensure!((0.0..300.0).contains(&remaining), "{remaining} remaining");
    ensure!(value("runner.spot.window.blocked")? == 0.0);
    let blocked = &received.calls["runner.spot.window.blocked"][LIST];
    let longest = blocked.iter().copied().fold(0.0, f64::max);
    ensure!((0.1..=2.0).contains(&longest), "blocked: {blocked:?}");
    Ok(())
}

/// Spans with these names are below the run, and calls are below each of them.
fn ensure_below(received: &Received, run: &Span, names: &[&str]) -> Result<()> {
    let parent = |span: &Span| {
        let mut all = received.spans.iter();
        all.find(|other| other.span_id == span.parent_span_id)
    };
    let is_below = |span: &Span, above: &Span| {
        let lineage = std::iter::successors(parent(span), |span| parent(span));
        let mut lineage = lineage.map(|span| &span.span_id);
        lineage.any(|id| *id == above.span_id)
    };
    for name in names {
        let all: Vec<_> = received.named(name).collect();
        ensure!(!all.is_empty(), "no span {name}");
        ensure!(
            all.iter().all(|span| is_below(span, run)),
            "{name} is not below the run"
        );
        let mut calls = received
            .spans
            .iter()
            .filter(|span| span.kind() == SpanKind::Client);
        let below = |call: &Span| all.iter().any(|span| is_below(call, span));
        ensure!(calls.any(below), "no call below {name}");
    }
    Ok(())
}
