//! What no single key can say: names that must be unique, settings that do not go together.

mod events;
mod notify;
mod roles;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use onboarding_provider::sql::{PostgresUrl, redacted};

use super::{
    desired::direct_role_name,
    drift_audit::AuditDepth,
    error::Problem,
    job::{JobFile, JobParams},
    lambda::StateSource,
    naming::RenameRule,
    nearest::nearest,
    policy_rollout::PolicyRolloutParams,
    profile::{DeploymentConfig, Product, ProfileConfig},
    runner::{CallAs, Deletion, ProviderKind, RunnerConfig, ServedBy, TokenSource},
    source::{Document, locate},
};

/// Most characters of a role's name (IAM API reference, CreateRole).
const LONGEST_ROLE_NAME: usize = 64;

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
    profiles(config, &mut checks);
    billing_engine(config, &mut checks);
    lambda(config, &mut checks);
    lambda_state(config, &mut checks);
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

fn profiles(config: &RunnerConfig, checks: &mut Checks<'_>) {
    if config.profiles.is_empty() {
        checks.report(
            &["profiles"],
            "there is no profile: no account would be enrolled".to_owned(),
            "add [[profiles]] with a name and targets, such as targets = { ous = [\"root\"] }",
        );
    }
    let mut names = BTreeSet::new();
    let mut stack_sets = BTreeMap::new();
    for (index, profile) in config.profiles.iter().enumerate() {
        let index = index.to_string();
        if !names.insert(profile.name.as_str()) {
            checks.report(
                &["profiles", &index, "name"],
                format!("there are two profiles with the name {:?}", profile.name),
                "give each a name of its own",
            );
            continue;
        }
        match config.stack_set_name(profile) {
            Err(error) => checks.report(
                &["profiles", &index, "name"],
                format!(
                    "the profile {:?} has no usable stack set name: {error}",
                    profile.name
                ),
                "set its stack_set, or change its name or stack_set.name_prefix",
            ),
            Ok(name) => {
                if let Some(other) = stack_sets.insert(name.clone(), profile.name.as_str()) {
                    let key = if profile.stack_set.is_some() {
                        "stack_set"
                    } else {
                        "name"
                    };
                    checks.report(
                        &["profiles", &index, key],
                        format!(
                            "the profiles {other:?} and {:?} have the same stack set {name}",
                            profile.name
                        ),
                        "give each a stack set of its own",
                    );
                }
            }
        }
        access(config, profile, &index, checks);
        targets(profile, &index, checks);
        direct(config, profile, &index, checks);
        naming(config, profile, &index, checks);
    }
}

fn lambda(config: &RunnerConfig, checks: &mut Checks<'_>) {
    let lambda = &config.bootstrap.lambda;
    if !lambda.is_deployed() {
        return;
    }
    let parts = [
        ("s3_bucket", lambda.s3_bucket.is_some()),
        (
            "s3_key",
            lambda.s3_key.as_ref().is_some_and(|key| !key.is_empty()),
        ),
    ];
    for (key, _) in parts.iter().filter(|(_, given)| !given) {
        checks.report(
            &["bootstrap", "lambda"],
            format!("`bootstrap.lambda.{key}` is missing"),
            "the function's code is a zip file in a bucket: give s3_bucket and s3_key",
        );
    }
    if config.enrollment.served_by != ServedBy::Lambda && !config.shares_state_with_function() {
        checks.report(
            &["bootstrap", "lambda"],
            "the function would serve the queue beside the runner, and neither knows of the other's work".to_owned(),
            "set enrollment.served_by = \"lambda\", give both one state (bootstrap.lambda.state), or take the function's code away",
        );
    }
}

/// Where the function is, and its state.
fn lambda_state(config: &RunnerConfig, checks: &mut Checks<'_>) {
    let lambda = &config.bootstrap.lambda;
    if lambda.subnets.is_empty() != lambda.security_groups.is_empty() {
        checks.report(
            &["bootstrap", "lambda"],
            "a function in a VPC has subnets and security groups, and one of them is missing"
                .to_owned(),
            "give both subnets and security_groups, or neither",
        );
    }
    let empty = |state: &StateSource| match state {
        StateSource::SecretsManager(name) | StateSource::SsmParameter(name) => name.is_empty(),
    };
    if lambda.state.as_ref().is_some_and(empty) {
        checks.report(
            &["bootstrap", "lambda", "state"],
            "`bootstrap.lambda.state` names nothing".to_owned(),
            "name the secret or the parameter that has the URL of the state",
        );
    }
    if lambda.state.is_some() && !config.shares_state_with_function() {
        checks.report(
            &["bootstrap", "lambda", "state"],
            "the function would have another state than the runner, which keeps a file".to_owned(),
            "set state.url to the same PostgreSQL database: the runner makes its tables and knows what the function did",
        );
    }
    if let Some(path) = &lambda.state_ca_file
        && (lambda.state.is_none() || !path.starts_with('/'))
    {
        checks.report(
            &["bootstrap", "lambda", "state_ca_file"],
            "`bootstrap.lambda.state_ca_file` is the path, from /, of a file that the state's server is verified with".to_owned(),
            "a file of the zip file is /var/task/NAME; it needs bootstrap.lambda.state",
        );
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

fn targets(profile: &ProfileConfig, index: &str, checks: &mut Checks<'_>) {
    let (name, targets) = (&profile.name, &profile.targets);
    if targets.ous.is_empty() && targets.accounts.is_empty() {
        checks.report(
            &["profiles", index, "targets"],
            format!("the profile {name:?} targets nothing"),
            "name organizational units in ous (\"root\" is all of them) or accounts in accounts",
        );
    }
    if let Some(account) = targets
        .accounts
        .iter()
        .find(|account| targets.exclude_accounts.contains(account))
    {
        checks.report(
            &["profiles", index, "targets", "exclude_accounts"],
            format!("the profile {name:?} both targets and excludes the account {account}"),
            "take it out of one of the two lists",
        );
    }
    if !targets.tags.is_empty() && targets.ous.is_empty() {
        checks.report(
            &["profiles", index, "targets", "tags"],
            format!("the profile {name:?} asks for tags, but names no organizational units whose accounts could carry them"),
            "name them in ous (\"root\" is all of them); accounts that are listed need no tags",
        );
    }
    // What a tag can be: AWS Organizations API reference, Tag and InvalidInputException (INVALID_SYSTEM_TAGS_PARAMETER).
    // The length of a value is checked where it is read.
    for key in targets.tags.keys() {
        let (wrong, help) = if !(1..=128).contains(&key.chars().count()) {
            ("which no tag can have", "a key has 1 to 128 characters")
        } else if key.to_ascii_lowercase().starts_with("aws:") {
            (
                "which only AWS can give, and gives to no account",
                "ask for a tag of your own: its key does not begin with aws:",
            )
        } else {
            continue;
        };
        checks.report(
            &["profiles", index, "targets", "tags", key],
            format!("the profile {name:?} asks for a tag with the key {key:?}, {wrong}"),
            help,
        );
    }
    let finer: Vec<&str> = [
        ("tags", targets.tags.is_empty()),
        ("accounts", targets.accounts.is_empty()),
        ("exclude_ous", targets.exclude_ous.is_empty()),
        ("exclude_accounts", targets.exclude_accounts.is_empty()),
    ]
    .into_iter()
    .filter_map(|(key, is_empty)| (!is_empty).then_some(key))
    .collect();
    if profile.deployment == Some(DeploymentConfig::Auto) && !finer.is_empty() {
        checks.report(
            &["profiles", index, "deployment"],
            format!(
                "the profile {name:?} asks for deployment = \"auto\" together with {}, which AWS ignores when it auto-deploys",
                finer.join(" and ")
            ),
            "either set deployment = \"runner\", or target organizational units only",
        );
    }
}

fn access(config: &RunnerConfig, profile: &ProfileConfig, index: &str, checks: &mut Checks<'_>) {
    if config.enrollment.provider == ProviderKind::SpotHosted && !profile.access.is_empty() {
        checks.report(
            &["profiles", index, "access"],
            format!(
                "the profile {:?} lets user groups see its accounts, which Spot's own Lambda functions do not do",
                profile.name
            ),
            "use provider = \"queue\"; or let the group have its policy in all accounts, in Spot's console",
        );
    }
}

/// What a profile must have whose accounts, or whose management account, have no custom resources.
fn direct(config: &RunnerConfig, profile: &ProfileConfig, index: &str, checks: &mut Checks<'_>) {
    let name = &profile.name;
    let is_direct = config.enrollment.provider == ProviderKind::Direct;
    if is_direct && profile.deployment == Some(DeploymentConfig::Auto) {
        checks.report(
            &["profiles", index, "deployment"],
            format!(
                "the profile {name:?} asks for deployment = \"auto\", but with the provider \"direct\" a stack that AWS deploys by \
                 itself gets no external ID"
            ),
            "leave deployment out or set it to \"runner\", or use provider = \"queue\"",
        );
    }
    if profile.management_account && config.aws.call_as == CallAs::DelegatedAdmin {
        checks.report(
            &["profiles", index, "management_account"],
            format!(
                "the profile {name:?} enrolls the management account, which a delegated administrator cannot change"
            ),
            "use the management account's credentials and aws.call_as = \"self\", or take it away",
        );
    }
    if (is_direct || profile.management_account)
        && let Ok(stack_set) = config.stack_set_name(profile)
        && direct_role_name(&stack_set).len() > LONGEST_ROLE_NAME
    {
        checks.report(
            &["profiles", index, "name"],
            format!(
                "the stack set {stack_set} of the profile {name:?} is named too long for the role {} to be named after it",
                direct_role_name(&stack_set)
            ),
            "IAM takes 64 characters: set a shorter stack_set",
        );
    }
}

fn naming(config: &RunnerConfig, profile: &ProfileConfig, index: &str, checks: &mut Checks<'_>) {
    let hosted = config.enrollment.provider == ProviderKind::SpotHosted;
    if hosted && matches!(profile.naming.rename.0, RenameRule::Template(_)) {
        checks.report(
            &["profiles", index, "naming", "rename"],
            format!(
                "the profile {:?} has a template for names, which Spot's own Lambda functions do not know",
                profile.name
            ),
            "use rename = \"alias\" or \"off\", or provider = \"queue\"",
        );
    }
}

/// Checks a job file as a whole, against `runner.toml`.
/// The longest jitter and catch-up window: what is due then is not wanted any more.
const LONGEST_DELAY: Duration = Duration::from_secs(30 * 86_400);

pub(super) fn job(job: &JobFile, config: &RunnerConfig, document: &Document<'_>) -> Vec<Problem> {
    let mut checks = Checks {
        document,
        problems: Vec::new(),
    };
    if job.retry.initial > job.retry.max {
        checks.report(
            &["retry", "initial"],
            format!(
                "`retry.initial` is {}, longer than `retry.max`, which is {}",
                job.retry.initial, job.retry.max
            ),
            "the wait begins with initial and doubles up to max",
        );
    }
    if let Some(schedule) = &job.schedule {
        for (name, delay) in [
            ("jitter", &schedule.jitter),
            ("catch_up", &schedule.catch_up),
        ] {
            if delay.get() > LONGEST_DELAY {
                checks.report(
                    &["schedule", name],
                    format!("`schedule.{name}` is {delay}, longer than 30 days"),
                    "a run that is so late is wanted no more: give it less",
                );
            }
        }
    }
    let known = || config.profiles.iter().map(|profile| profile.name.as_str());
    for (index, name) in job.params.profiles().iter().enumerate() {
        if !known().any(|profile| profile == name) {
            let help = match nearest(name, known()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known are {}", known().collect::<Vec<_>>().join(", ")),
            };
            let index = index.to_string();
            let path: &[&str] = match job.params {
                JobParams::PolicyRollout(_) => &["params", "profile"],
                _ => &["params", "profiles", &index],
            };
            checks.report(
                path,
                format!("there is no profile {name:?} in runner.toml"),
                &help,
            );
        }
    }
    if let JobParams::PolicyRollout(params) = &job.params {
        rollout(params, config, &mut checks);
    }
    let depth = match &job.params {
        JobParams::DriftAudit(params) => params.depth,
        JobParams::Enroll(params) => params.depth,
        JobParams::StacksetSync(_)
        | JobParams::OrphanCleanup(_)
        | JobParams::PolicyRollout(_)
        | JobParams::External(_) => AuditDepth::Coverage,
    };
    let keeps_spot_accounts = config.enrollment.deletion == Deletion::Reconcile
        && config.enrollment.provider != ProviderKind::SpotHosted;
    if let JobParams::OrphanCleanup(params) = &job.params
        && params.remove_outside_targets
        && !keeps_spot_accounts
    {
        checks.report(
            &["params", "remove_outside_targets"],
            "`remove_outside_targets` deletes stacks, and these take their Spot accounts along, past every limit and record"
                .to_owned(),
            "it needs enrollment.deletion = \"reconcile\" and another provider than \"spot-hosted\"",
        );
    }
    let aggregator = match &job.params {
        JobParams::DriftAudit(params) => params.aggregator.as_ref().map(|_| params.fix),
        _ => None,
    };
    if depth == AuditDepth::Full && config.audit.role().is_none() && aggregator.is_none() {
        checks.report(
            &["params", "depth"],
            "`depth = \"full\"` reads every account, and there is no role to read them through"
                .to_owned(),
            "set audit.enabled in runner.toml, name an aggregator of AWS Config in params.aggregator (drift-audit), or set depth = \
             \"coverage\"",
        );
    }
    if aggregator == Some(true) && config.audit.role().is_none() {
        checks.report(
            &["params", "fix"],
            "AWS Config tells of the past: what is mended must be read in the account, and there is no role to read it through"
                .to_owned(),
            "set audit.enabled in runner.toml, or fix = false",
        );
    }
    checks.problems
}

/// What a rollout's waves must be.
fn rollout(params: &PolicyRolloutParams, config: &RunnerConfig, checks: &mut Checks<'_>) {
    let at = |index: usize, key: &str| -> [String; 4] {
        [
            "params".to_owned(),
            "waves".to_owned(),
            index.to_string(),
            key.to_owned(),
        ]
    };
    let mut names = BTreeSet::new();
    let last = params.waves.len().saturating_sub(1);
    for (index, wave) in params.waves.iter().enumerate() {
        if !names.insert(&wave.name) {
            let path = at(index, "name");
            checks.report(
                &path.each_ref().map(String::as_str),
                format!("two waves are named {:?}", wave.name),
                "a rollout remembers its waves by their names: give each its own",
            );
        }
        if wave.has_selector() != (index < last) {
            let path = at(index, "name");
            let (message, help) = match index < last {
                true => (
                    format!(
                        "the wave {:?} selects nothing, and it is not the last one",
                        wave.name
                    ),
                    "give it ous, accounts, tags or percent; only the last wave is for all that are left",
                ),
                false => (
                    format!(
                        "the last wave, {:?}, selects accounts: nobody would be for the others",
                        wave.name
                    ),
                    "add a wave without ous, accounts, tags and percent, which is for all that are left",
                ),
            };
            checks.report(&path.each_ref().map(String::as_str), message, help);
        }
    }
    if params.waves.is_empty() {
        checks.report(
            &["params", "waves"],
            "a rollout needs a wave".to_owned(),
            "the last wave has no selector, and is for all that are left",
        );
    }
    if let Some(version) = &params.version
        && !((1..=12).contains(&version.len())
            && version.bytes().all(|b| b.is_ascii_alphanumeric()))
    {
        checks.report(
            &["params", "version"],
            format!("a version cannot be named {version:?}"),
            "give 1 to 12 letters and digits: it becomes part of statement ids",
        );
    }
    if params.iam && params.profile.is_some() && config.audit.role().is_none() {
        checks.report(
            &["params", "iam"],
            "the gates look into every account, and there is no role to read them through".to_owned(),
            "set audit.enabled in runner.toml, or iam = false, which leaves CloudFormation's word alone",
        );
    }
}
