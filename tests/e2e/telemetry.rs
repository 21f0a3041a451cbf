//! A run of the real binary, as a collector sees it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use e2e::{
    components,
    otlp::{OtlpReceiver, Received, attribute, message},
    runner::Runner,
    tap::Tap,
    tls,
    wire::Wire,
};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use sandbox::{Sandbox, Scenario};
use serde_json::{Value, json};

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
fn a_run_arrives_at_the_collector_as_a_trace_metrics_and_logs() {
    tls::install();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run_and_look()).unwrap();
}

async fn run_and_look() -> Result<()> {
    let sandbox = Sandbox::start(Scenario::parse(SCENARIO)?, "127.0.0.1:0".parse()?).await?;
    let receiver = OtlpReceiver::start().await?;
    let mut environment = sandbox.environment().clone();
    let spot = Tap::start(&environment["SPOT_API_URL"]).await?;
    environment.insert("SPOT_API_URL".to_owned(), spot.endpoint.clone());
    environment.insert(
        "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
        receiver.endpoint.clone(),
    );
    environment.insert("OTEL_EXPORTER_OTLP_PROTOCOL".to_owned(), "grpc".to_owned());
    // Often enough to see a block while it lasts.
    environment.insert("OTEL_METRIC_EXPORT_INTERVAL".to_owned(), "100".to_owned());
    let runner = Runner::new(environment)?;
    let arguments = ["-v", "--output", "json", "exec", "stackset-sync"];
    let ended = tokio::task::spawn_blocking(move || runner.run(&arguments)).await??;
    let document = ended.json()?;
    ensure!(ended.code == 0, "{document:#}");
    let run_id = document["run_id"].as_str().map(str::to_owned);

    let received = receiver.received();
    let run = received.named("run").next().context("no span of the run")?;
    ensure!(attribute(run, "run.id").map(str::to_owned) == run_id);
    let status = run.status.clone().unwrap_or_default();
    ensure!(status.code() == StatusCode::Unset, "{status:?}");
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
    ensure_logs(&received, run)?;
    ensure_followed(&received, run, &spot.heard())?;
    ensure!(
        received
            .resource
            .get("service.name")
            .is_some_and(|name| name == "runner")
    );
    Ok(())
}

#[test]
fn a_run_that_fails_for_accounts_is_seen_to_in_its_trace() {
    tls::install();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run_with_failures_and_look()).unwrap();
}

async fn run_with_failures_and_look() -> Result<()> {
    // Spot lets some of the accounts in, and no more.
    let limited = "[spot]\nenrollment = \"limited\"\nenrollment_limit = 3\n";
    let scenario = SCENARIO.replace("[spot]\n", limited);
    let scenario = scenario.replace("accounts = 3", "accounts = 8");
    let sandbox = Sandbox::start(Scenario::parse(&scenario)?, "127.0.0.1:0".parse()?).await?;
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
    ensure!(ended.code == 1, "{}\n{}", ended.stdout, ended.stderr);
    let document = ended.json()?;
    let failed = &document["summary"]["failed"];

    let received = receiver.received();
    let status = |span: &Span| span.status.clone().unwrap_or_default();
    let is_failed = |span: &&Span| status(span).code() == StatusCode::Error;
    let run = received.named("run").next().context("no span of the run")?;
    let said = status(run).message;
    ensure!(is_failed(&run), "{run:?}");
    ensure!(
        said.starts_with(&format!("{failed} accounts failed")),
        "{said}"
    );
    ensure!(attribute(run, "run.status") == Some("failed"));
    let requests: Vec<&Span> = received.named("provider.request").collect();
    let refused: Vec<&&Span> = requests.iter().filter(|span| is_failed(span)).collect();
    ensure!(!refused.is_empty(), "{requests:?}");
    ensure!(refused.iter().all(|span| !status(span).message.is_empty()));
    // Those of the accounts that were let in.
    ensure!(requests.len() > refused.len(), "{requests:?}");
    let accounts: BTreeSet<_> = received
        .named("account")
        .filter(is_failed)
        .filter_map(|span| attribute(span, "cloud.account.id"))
        .collect();
    ensure!(*failed == accounts.len(), "{failed} {accounts:?}");
    Ok(())
}

#[test]
fn a_step_of_one_account_is_below_its_account_and_above_its_calls() {
    tls::install();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run_directly_and_look()).unwrap();
}

async fn run_directly_and_look() -> Result<()> {
    let scenario = format!("{SCENARIO}[provider]\nenabled = false\n");
    let sandbox = Sandbox::start(Scenario::parse(&scenario)?, "127.0.0.1:0".parse()?).await?;
    let receiver = OtlpReceiver::start().await?;
    let mut environment = sandbox.environment().clone();
    environment.insert(
        "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
        receiver.endpoint.clone(),
    );
    environment.insert("OTEL_EXPORTER_OTLP_PROTOCOL".to_owned(), "grpc".to_owned());
    let runner = Runner::new(environment)?;
    let config = "[aws]\nregion = \"us-east-1\"\n[enrollment]\nprovider = \"direct\"\n[[profiles]]\nname = \"default\"\n\
                  [profiles.targets]\nous = [\"root\"]\n";
    std::fs::write(runner.directory().join("config/runner.toml"), config)?;
    let arguments = ["--output", "json", "exec", "stackset-sync"];
    let ended = tokio::task::spawn_blocking(move || runner.run(&arguments)).await??;
    ensure!(ended.code == 0, "{}\n{}", ended.stdout, ended.stderr);

    let received = receiver.received();
    let run = received.named("run").next().context("no span of the run")?;
    let accounts: Vec<&Span> = received
        .named("account")
        .filter(|account| account.parent_span_id == run.span_id)
        .collect();
    let steps: Vec<&Span> = received
        .named("step")
        .filter(|step| {
            let mut above = accounts.iter();
            above.any(|account| account.span_id == step.parent_span_id)
        })
        .collect();
    let enrolled: BTreeSet<_> = steps
        .iter()
        .filter_map(|step| {
            accounts
                .iter()
                .find(|above| above.span_id == step.parent_span_id)
        })
        .filter_map(|account| attribute(account, "cloud.account.id"))
        .collect();
    ensure!(enrolled.len() == 3, "{enrolled:?}");
    // Each of them made a Spot account, and the call is told where it was made.
    let created: Vec<&Span> = received.named("POST /setup/account").collect();
    ensure!(created.len() >= enrolled.len(), "{created:?}");
    ensure!(
        created
            .iter()
            .all(|call| steps.iter().any(|step| is_below(&received, call, step))),
        "a call is not below a step"
    );
    Ok(())
}

#[test]
fn what_a_plugin_is_asked_is_in_the_trace_of_its_run() {
    tls::install();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(ask_a_plugin_and_look()).unwrap();
}

async fn ask_a_plugin_and_look() -> Result<()> {
    let sandbox = Sandbox::start(Scenario::parse(SCENARIO)?, "127.0.0.1:0".parse()?).await?;
    let receiver = OtlpReceiver::start().await?;
    let mut environment = sandbox.environment().clone();
    environment.insert(
        "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
        receiver.endpoint.clone(),
    );
    environment.insert("OTEL_EXPORTER_OTLP_PROTOCOL".to_owned(), "grpc".to_owned());
    let runner = Runner::new(environment)?;
    let config = runner.directory().join("config");
    let text = "[aws]\nregion = \"us-east-1\"\n[plugins]\npath = [\"plugins\"]\n[[profiles]]\nname = \"default\"\n\
                [profiles.targets]\nous = [\"root\"]\n";
    std::fs::write(config.join("runner.toml"), text)?;
    let job = "kind = \"rogue-refused\"\n[params.settings]\ndirectory = \".\"\nlog = \"log\"\n";
    std::fs::write(config.join("jobs/refused.toml"), job)?;
    std::fs::create_dir(config.join("plugins"))?;
    let rogue = components::checkout().join("tests/plugins/runner-job-rogue");
    std::os::unix::fs::symlink(rogue, config.join("plugins/runner-job-rogue-refused"))?;
    let arguments = ["--output", "json", "exec", "refused"];
    let ended = tokio::task::spawn_blocking(move || runner.run(&arguments)).await??;
    ensure!(ended.code == 1, "{}\n{}", ended.stdout, ended.stderr);

    let received = receiver.received();
    let steps: Vec<&Span> = received.named("step").collect();
    let calls: Vec<&Span> = received.named("plugin").collect();
    let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
    for call in calls {
        ensure!(call.kind() == SpanKind::Client, "{call:?}");
        ensure!(attribute(call, "plugin.kind") == Some("rogue-refused"));
        let what = attribute(call, "plugin.call").context("no call")?;
        *asked.entry(what).or_default() += 1;
        let status = call.status.clone().unwrap_or_default().code();
        let is_failed = status == StatusCode::Error;
        ensure!(is_failed == (what == "apply"), "{call:?}");
        if what == "apply" {
            let id = attribute(call, "step.id");
            let mut above = steps.iter().filter(|step| is_below(&received, call, step));
            ensure!(above.any(|step| attribute(step, "step.id") == id) && id.is_some());
        }
    }
    ensure!(asked.get("apply") == Some(&steps.len()), "{asked:?}");
    ensure!(
        asked.contains_key("plan") && asked.contains_key("describe"),
        "{asked:?}"
    );
    Ok(())
}

#[test]
fn what_the_provider_refuses_arrives_at_the_collector_by_reason() {
    tls::install();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(refuse_and_look()).unwrap();
}

async fn refuse_and_look() -> Result<()> {
    let sandbox = Sandbox::start(Scenario::parse(SCENARIO)?, "127.0.0.1:0".parse()?).await?;
    let receiver = OtlpReceiver::start().await?;
    let mut environment = sandbox.environment().clone();
    let wire = Wire::new(sandbox.endpoint(), &environment["AWS_ACCESS_KEY_ID"]);
    let events = hostile(&sandbox, &wire).await?;
    let queue = json!({ "QueueName": "spot-onboarding" });
    let queue = wire.json("sqs", "AmazonSQS.GetQueueUrl", &queue).await?;
    for (_, body) in &events {
        let message = json!({ "QueueUrl": queue["QueueUrl"], "MessageBody": body });
        wire.json("sqs", "AmazonSQS.SendMessage", &message).await?;
    }
    environment.insert(
        "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
        receiver.endpoint.clone(),
    );
    environment.insert("OTEL_EXPORTER_OTLP_PROTOCOL".to_owned(), "grpc".to_owned());
    let runner = Runner::new(environment)?;
    let ended = tokio::task::spawn_blocking(move || runner.run(&["provider", "--once"])).await??;
    ensure!(ended.code == 0, "{}", ended.stderr);
    ensure!(!ended.stderr.contains("canary"), "{}", ended.stderr);
    {
        let received = receiver.received();
        let reasons = received.calls.get("runner.provider.refused");
        let reasons: BTreeSet<_> = reasons.context("no metric")?.keys().cloned().collect();
        let expected: BTreeSet<_> = events
            .iter()
            .map(|(reason, _)| (*reason).to_owned())
            .collect();
        ensure!(reasons == expected, "{reasons:?}\n{}", ended.stderr);
        for reason in &expected {
            ensure!(received.last("runner.provider.refused", reason) >= Some(1.0));
        }
    }
    // Nothing was done for any of them.
    let calls = wire.admin("calls", None).await?;
    let calls = calls["calls"].as_object().context("no calls")?;
    let mut to_spot = calls.keys().filter(|call| call.starts_with("spot:"));
    ensure!(
        to_spot.all(|call| call.starts_with("spot:GET ")),
        "{calls:?}"
    );
    Ok(())
}

/// Messages that are refused, each with the reason.
async fn hostile(sandbox: &Sandbox, wire: &Wire) -> Result<Vec<(&'static str, String)>> {
    let state = wire.admin("state", None).await?;
    let management = state["organization"]["management"].as_str();
    let topic = format!(
        "arn:aws:sns:us-east-1:{}:spot-onboarding",
        management.context("no management account")?
    );
    let accounts = wire.admin("accounts", None).await?;
    let accounts = accounts["accounts"].as_array().context("no accounts")?;
    let mut members = accounts.iter().filter(|one| one["management"] == false);
    let mut member = || members.next().and_then(|one| one["id"].as_str());
    let mine = member().context("no account")?;
    let theirs = member().context("no other account")?;
    let stack =
        |name: &str| format!("arn:aws:cloudformation:us-east-1:{mine}:stack/{name}/0b1c2d3e");
    // Answers that come here are refused, too, so nothing is tried again.
    let nowhere = format!("{}/_cloudformation/response/nobody", sandbox.endpoint());
    let request = json!({
        "RequestType": "Create", "RequestId": "request", "LogicalResourceId": "SpotAccount",
        "ResourceType": "Custom::SpotAccount", "StackId": stack("StackSet-spot-onboarding-default-0b1c"),
        "ResponseURL": nowhere, "ServiceToken": topic,
        "ResourceProperties": { "ServiceToken": topic, "AwsAccountId": mine, "Token": "canary" },
    });
    let with = |name: &str, value: Value| {
        let mut request = request.clone();
        request[name] = value;
        request["RequestId"] = json!(format!("request-{name}"));
        request
    };
    let foreign = json!({ "ServiceToken": topic, "AwsAccountId": theirs });
    let late = json!({
        "Type": "Notification", "Timestamp": "2026-01-01T00:00:00Z",
        "Message": with("LogicalResourceId", json!("Late")).to_string(),
    });
    let mut not_theirs = with("ResourceType", json!("Custom::SpotExternalId"));
    not_theirs["ResourceProperties"] =
        json!({ "ServiceToken": topic, "SpotAccountId": "act-0000dead" });
    not_theirs["RequestId"] = json!("request-not-theirs");
    Ok(vec![
        ("not-a-request", "{\"Token\": \"canary\"}".to_owned()),
        (
            "service-token",
            with("ServiceToken", json!(format!("{topic}-other"))).to_string(),
        ),
        (
            "response-url",
            with("ResponseURL", json!("https://example.com/canary")).to_string(),
        ),
        ("expired", late.to_string()),
        ("stack", with("StackId", json!(stack("mine"))).to_string()),
        (
            "resource",
            with("ResourceType", json!("Custom::Other")).to_string(),
        ),
        (
            "other-account",
            with("ResourceProperties", foreign).to_string(),
        ),
        ("foreign-spot-account", not_theirs.to_string()),
    ])
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

/// What is logged within a run is of its trace.
fn ensure_logs(received: &Received, run: &Span) -> Result<()> {
    let said = "request served";
    let mut logs = received.logs.iter();
    let served = logs.find(|record| message(record) == Some(said));
    let served = served.with_context(|| format!("no {said:?} in {:?}", received.logs))?;
    ensure!(served.trace_id == run.trace_id, "{served:?}");
    let mut requests = received.named("provider.request");
    ensure!(
        requests.any(|request| request.span_id == served.span_id),
        "{served:?}"
    );
    ensure!(served.severity_text == "INFO", "{served:?}");
    Ok(())
}

/// Each request to Spot within the run names its own span.
fn ensure_followed(received: &Received, run: &Span, heard: &str) -> Result<()> {
    let heard = heard.to_ascii_lowercase();
    let requests = heard.matches("user-agent: ").count();
    let named: Vec<&str> = heard
        .lines()
        .filter_map(|line| line.strip_prefix("traceparent: "))
        .collect();
    ensure!(
        named.len() == requests && requests > 3,
        "{named:?} of {requests}"
    );
    let trace = hex::encode(&run.trace_id);
    let calls: BTreeSet<String> = received
        .spans
        .iter()
        .filter(|span| span.kind() == SpanKind::Client && span.name.contains(" /"))
        .map(|span| {
            format!(
                "00-{}-{}-01",
                hex::encode(&span.trace_id),
                hex::encode(&span.span_id)
            )
        })
        .collect();
    for parent in &named {
        ensure!(calls.contains(*parent), "{parent} is none of {calls:?}");
    }
    ensure!(
        named.iter().any(|parent| parent.contains(&trace)),
        "{named:?}"
    );
    Ok(())
}

/// Whether a span is below another, however far.
fn is_below(received: &Received, span: &Span, above: &Span) -> bool {
    let parent = |span: &Span| {
        let mut all = received.spans.iter();
        all.find(|other| other.span_id == span.parent_span_id)
    };
    let lineage = std::iter::successors(parent(span), |span| parent(span));
    let mut lineage = lineage.map(|span| &span.span_id);
    lineage.any(|id| *id == above.span_id)
}

/// Spans with these names are below the run, and calls are below each of them.
fn ensure_below(received: &Received, run: &Span, names: &[&str]) -> Result<()> {
    for name in names {
        let all: Vec<_> = received.named(name).collect();
        ensure!(!all.is_empty(), "no span {name}");
        ensure!(
            all.iter().all(|span| is_below(received, span, run)),
            "{name} is not below the run"
        );
        let mut calls = received
            .spans
            .iter()
            .filter(|span| span.kind() == SpanKind::Client);
        let below = |call: &Span| all.iter().any(|span| is_below(received, call, span));
        ensure!(calls.any(below), "no call below {name}");
    }
    Ok(())
}
