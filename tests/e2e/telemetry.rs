//! A run of the real binary, as a collector sees it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use e2e::{
    otlp::{OtlpReceiver, attribute},
    runner::Runner,
    tls,
};
use sandbox::{Sandbox, Scenario};

const SCENARIO: &str = "seed = 1\nclock_speed = 120.0\n\
                        [organization]\naccounts = 3\nous = 2\ndepth = 1\ntrusted_access = true\n";

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
    ensure!(received.metrics.contains("runner.runs"));
    // The run's own count of its calls has all but those that were made before it began.
    let exported = received.calls.get("runner.api.calls");
    let exported = exported.context("no counts of calls")?;
    let counted: BTreeMap<String, u64> = serde_json::from_value(document["api_calls"].clone())?;
    for call in ["organizations:ListAccounts", "spot:POST /setup/account"] {
        ensure!(counted.contains_key(call), "no {call} in {counted:?}");
    }
    for (call, count) in &counted {
        ensure!(exported.get(call) >= Some(count), "{call}: {exported:?}");
    }
    ensure!(exported.get("sts:GetCallerIdentity") == Some(&1));
    ensure!(
        received
            .resource
            .get("service.name")
            .is_some_and(|name| name == "runner")
    );
    Ok(())
}
