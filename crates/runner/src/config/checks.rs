//! What no single key can say: names that must be unique, settings that do not go together.

mod events;
mod function;
mod jobs;
mod notify;
mod profiles;
mod roles;

use std::time::Duration;

use onboarding_provider::sql::{PostgresUrl, redacted};

use super::{
    error::Problem,
    profile::Product,
    runner::{Deletion, ProviderKind, RunnerConfig, TokenSource},
    source::{Document, locate},
};

pub(super) use jobs::job;

/// How long SQS holds a ReceiveMessage at most (SQS API reference, WaitTimeSeconds).
const LONGEST_POLL: Duration = Duration::from_secs(20);

/// The shortest time that ended runs are kept for.
const LEAST_KEPT: Duration = Duration::from_secs(86_400);

/// Where a check found something, what, and what to do.
struct Checks<'a> {
    document: &'a Document<'a>,
    problems: Vec<Problem>,
}

impl Checks<'_> {
    fn report(&mut self, path: &[&str], message: String, help: &str) {
        let span = locate(self.document, path);
        self.problems.push(Problem {
            span,
            message,
            help: Some(help.to_owned()),
        });
    }
}

/// Checks `runner.toml` as a whole.
pub(super) fn runner(config: &RunnerConfig, document: &Document<'_>) -> Vec<Problem> {
    let mut checks = Checks {
        document,
        problems: Vec::new(),
    };
    reach(config, &mut checks);
    enrollment(config, &mut checks);
    stack_set(config, &mut checks);
    profiles::profiles(config, &mut checks);
    billing_engine(config, &mut checks);
    function::code(config, &mut checks);
    function::state(config, &mut checks);
    roles::audit(config, &mut checks);
    roles::remediation(config, &mut checks);
    notify::targets(config, &mut checks);
    events::waits(config, &mut checks);
    checks.problems
}

fn reach(config: &RunnerConfig, checks: &mut Checks<'_>) {
    let partition = config.aws.region.partition();
    if partition != "aws" && config.spot.principal.is_none() {
        checks.report(
            &["aws", "region"],
            format!("in the partition {partition} nobody has published the principal that Spot assumes roles with"),
            "ask Spot's support and set spot.principal",
        );
    }
    if config.aws.call_timeout.get() <= LONGEST_POLL {
        checks.report(
            &["aws", "call_timeout"],
            format!(
                "`aws.call_timeout` is {}, too short for a queue that is empty",
                config.aws.call_timeout
            ),
            "SQS holds a request for 20 seconds: give more, such as \"40s\"",
        );
    }
    let timeouts = [
        (["aws", "connect_timeout"], config.aws.connect_timeout),
        (["spot", "connect_timeout"], config.spot.connect_timeout),
        (["spot", "call_timeout"], config.spot.call_timeout),
    ];
    for (path, timeout) in timeouts {
        if timeout.get().is_zero() {
            checks.report(
                &path,
                format!("`{}` is zero: no call could be made", path.join(".")),
                "leave it out for the default",
            );
        }
    }
    state(config, checks);
    listen(config, checks);
}

/// What is served tells of every account, so that nobody elsewhere gets it for nothing.
fn listen(config: &RunnerConfig, checks: &mut Checks<'_>) {
    let daemon = &config.daemon;
    if daemon
        .token
        .as_ref()
        .is_some_and(TokenSource::names_nothing)
    {
        checks.report(
            &["daemon", "token"],
            "`daemon.token` names nothing".to_owned(),
            "write where the token is, such as { file = \"/run/secrets/daemon-token\" }",
        );
    }
    if !daemon.listen.0.0.ip().is_loopback() && daemon.token.is_none() {
        checks.report(
            &["daemon", "listen"],
            format!(
                "`daemon.listen` is {}, beyond this machine, without a token that protects it",
                daemon.listen
            ),
            "set `daemon.token`, or listen on the loopback interface, \"127.0.0.1:9464\"",
        );
    }
}

/// No password is shown: a line that may have one is not pointed at.
fn state(config: &RunnerConfig, checks: &mut Checks<'_>) {
    if config.state.keep_runs.get() < LEAST_KEPT {
        checks.report(
            &["state", "keep_runs"],
            format!(
                "`state.keep_runs` is {}: what happened would be forgotten before anybody looks",
                config.state.keep_runs
            ),
            "keep a day at least, \"1d\"",
        );
    }
    let url = &config.state.url;
    let place: &[&str] = match url.contains('@') || url.contains("password") {
        true => &[],
        false => &["state", "url"],
    };
    if PostgresUrl::is_meant(url) {
        if let Err(error) = url.parse::<PostgresUrl>() {
            checks.report(
                place,
                format!("`state.url` cannot be used: {error}"),
                "write postgres://USER@HOST/DATABASE; PGPASSWORD or ~/.pgpass can have the password",
            );
        }
    } else if url.strip_prefix("sqlite://").is_none_or(str::is_empty) {
        checks.report(
            place,
            format!(
                "`state.url` is {:?}, which is not a state that the runner can open",
                redacted(url)
            ),
            "write sqlite:// and the path of a file, such as \"sqlite://runner.db\", or postgres://USER@HOST/DATABASE",
        );
    }
    if config.state.lease.get() < SHORTEST_LEASE {
        checks.report(
            &["state", "lease"],
            format!(
                "`state.lease` is {}, which is too short",
                config.state.lease
            ),
            "give it at least 5 seconds, such as \"30s\"",
        );
    }
}

/// Shorter, a machine that is busy for a moment would lose its jobs.
const SHORTEST_LEASE: Duration = Duration::from_secs(5);

fn is_url(text: &str) -> bool {
    url::Url::parse(text)
        .is_ok_and(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
}

fn enrollment(config: &RunnerConfig, checks: &mut Checks<'_>) {
    let enrollment = &config.enrollment;
    let region = config.stack_set_region();
    if let Some(topic) = enrollment
        .topic_arn
        .as_ref()
        .filter(|topic| topic.region() != region.as_str())
    {
        checks.report(
            &["enrollment", "topic_arn"],
            format!("the topic is in {}, but stacks are made in {region}", topic.region()),
            "a custom resource's topic must be in the Region of the stack: name a topic there, or set stack_set.region",
        );
    }
    if let Some(url) = &enrollment.queue_url
        && !is_url(url)
    {
        checks.report(
            &["enrollment", "queue_url"],
            format!("{url:?} is not the URL of a queue"),
            "it looks like https://sqs.us-east-1.amazonaws.com/123456789012/spot-onboarding",
        );
    }
    let timeout = enrollment.service_timeout.get();
    if timeout.subsec_nanos() != 0 || !(1..=3600).contains(&timeout.as_secs()) {
        checks.report(
            &["enrollment", "service_timeout"],
            format!(
                "CloudFormation does not wait {} for a custom resource",
                enrollment.service_timeout
            ),
            "give whole seconds from \"1s\" to \"1h\"",
        );
    }
    if enrollment.provider == ProviderKind::Direct && enrollment.deletion == Deletion::Stack {
        checks.report(
            &["enrollment", "deletion"],
            "with the provider \"direct\" no stack can delete its Spot account: it has no custom resource".to_owned(),
            "leave deletion out, or use provider = \"queue\"",
        );
    }
    if enrollment.provider == ProviderKind::Queue
        && enrollment.deletion == Deletion::Stack
        && config.audit.role().is_none()
    {
        checks.report(
            &["enrollment", "deletion"],
            "`enrollment.deletion` is \"stack\", but without an audit role nobody can tell whether a stack is really being \
             deleted: a forged or stale Delete would take a Spot account with it"
                .to_owned(),
            "set audit.enabled = true, with audit.role_name for a role that every account has already; or leave deletion \
             at \"reconcile\"",
        );
    }
    if enrollment.provider == ProviderKind::SpotHosted
        && enrollment.cost_intelligence_lambda.is_none()
    {
        for (index, profile) in config.profiles.iter().enumerate() {
            if profile.products.contains(&Product::CostIntelligence) {
                checks.report(
                    &["profiles", &index.to_string(), "products"],
                    format!(
                        "the profile {:?} has the product cost-intelligence, but Spot's Lambda function for it is not known",
                        profile.name
                    ),
                    "set enrollment.cost_intelligence_lambda, or products = [\"elastigroup-ocean\"], or provider = \"queue\"",
                );
            }
        }
    }
}

fn stack_set(config: &RunnerConfig, checks: &mut Checks<'_>) {
    let tags = &config.stack_set.tags;
    if tags.len() > 50 {
        checks.report(
            &["stack_set", "tags"],
            format!("{} tags are too many for a stack set", tags.len()),
            "CloudFormation takes 50",
        );
    }
    for (key, value) in tags {
        let valid_key = (1..=128).contains(&key.chars().count())
            && !key.to_ascii_lowercase().starts_with("aws:");
        if !valid_key || !(1..=256).contains(&value.chars().count()) {
            checks.report(
                &["stack_set", "tags", key],
                format!("CloudFormation does not take the tag {key:?} = {value:?}"),
                "a key has 1 to 128 characters and does not begin with aws:, a value has 1 to 256",
            );
        }
    }
}

/// All of it or nothing: Spot needs each part to find the report.
fn billing_engine(config: &RunnerConfig, checks: &mut Checks<'_>) {
    let billing = &config.billing_engine;
    let parts = [
        ("bucket", billing.bucket.is_some()),
        ("region", billing.region.is_some()),
        ("path_prefix", billing.path_prefix.is_some()),
    ];
    let Some((given, _)) = parts.iter().find(|(_, given)| *given) else {
        return;
    };
    for (key, _) in parts.iter().filter(|(_, given)| !given) {
        checks.report(
            &["billing_engine", given],
            format!("`billing_engine.{key}` is missing"),
            "Billing Engine reads one Cost and Usage Report: give its bucket, region and path_prefix, or none of them",
        );
    }
    let prefix = billing.path_prefix.as_deref();
    if prefix.is_some_and(|prefix| {
        prefix.trim_matches('/').is_empty() || prefix.contains("://") || prefix.starts_with('/')
    }) {
        checks.report(
            &["billing_engine", "path_prefix"],
            format!(
                "{:?} is not the path of a report in its bucket",
                prefix.unwrap_or_default()
            ),
            "it is the S3 path prefix and the name of the report, such as \"cur/hourly\"",
        );
    }
}
