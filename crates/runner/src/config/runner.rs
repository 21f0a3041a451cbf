//! `runner.toml`: where AWS, Spot and the state are, and what should be.
//!
//! The doc comments here are the reference page and the descriptions in the JSON Schema.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use onboarding_core::{
    ids::{AwsAccountId, Region, TopicArn},
    template,
};
use onboarding_provider::sql::redacted;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    amount::{Concurrency, Share},
    arn::{FunctionName, Principal},
    audit::AuditConfig,
    billing_engine::BillingEngineConfig,
    bootstrap::BootstrapConfig,
    duration::{self, HumanDuration},
    events::EventsConfig,
    notify::NotifyConfig,
    plugins::PluginsConfig,
    profile::ProfileConfig,
    remediation::RemediationConfig,
    text::{Text, TextForm},
};

/// The configuration of the runner: `runner.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunnerConfig {
    /// Accounts that nothing is ever removed from, whatever else is configured.
    #[serde(default)]
    pub protected_accounts: Vec<Text<AwsAccountId>>,
    /// How AWS is reached.
    pub aws: AwsConfig,
    /// How Spot is reached.
    #[serde(default)]
    pub spot: SpotConfig,
    /// Where the runner keeps its journal.
    #[serde(default)]
    pub state: StateConfig,
    /// How an account becomes a Spot account.
    #[serde(default)]
    pub enrollment: EnrollmentConfig,
    /// Settings of the stack sets of all profiles.
    #[serde(default)]
    pub stack_set: StackSetConfig,
    /// The role that the runner reads accounts through.
    #[serde(default)]
    pub audit: AuditConfig,
    /// The role that stray policies are taken away through.
    #[serde(default)]
    pub remediation: RemediationConfig,
    /// Sets of accounts and how they are enrolled, each through a stack set of its own.
    #[serde(default)]
    pub profiles: Vec<ProfileConfig>,
    /// Spot's Billing Engine for the management account.
    #[serde(default)]
    pub billing_engine: BillingEngineConfig,
    /// What `runner bootstrap` deploys into the home account.
    #[serde(default)]
    pub bootstrap: BootstrapConfig,
    /// Limits that every removal obeys.
    #[serde(default)]
    pub removal: RemovalConfig,
    /// When an account that failed is tried again.
    #[serde(default)]
    pub retry_failed: RetryFailedConfig,
    /// What the runner may switch on when it is missing.
    #[serde(default)]
    pub prerequisites: PrerequisitesConfig,
    /// `runner daemon`.
    #[serde(default)]
    pub daemon: DaemonConfig,
    /// Executables that are job kinds of their own.
    #[serde(default)]
    pub plugins: PluginsConfig,
    /// Events of AWS that wake jobs.
    #[serde(default)]
    pub events: EventsConfig,
    /// Who is told what about jobs.
    #[serde(default)]
    pub notify: Vec<NotifyConfig>,
    /// Logs. What goes to a collector follows the OTEL_* environment variables of the OpenTelemetry specification.
    #[serde(default)]
    pub telemetry: TelemetryConfig,
}

impl RunnerConfig {
    /// The digest of all of it, which tells whether two processes have the same.
    #[must_use]
    pub fn digest(&self) -> String {
        // What was read from TOML can be written as JSON.
        let config = serde_json::to_value(self).unwrap_or_default();
        onboarding_core::canonical::digest(&config)
    }
}

/// How AWS is reached. Credentials and endpoints come from the AWS SDK's own environment variables and files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwsConfig {
    /// The Region that stack sets are managed from.
    pub region: Text<Region>,
    /// Whether the credentials are of the management account or of a delegated administrator of StackSets.
    #[serde(default)]
    pub call_as: CallAs,
    /// The share of AWS's published Organizations request rates that the runner takes; other tools need the rest. More than 1 only
    /// where AWS has raised them.
    #[serde(default = "half")]
    #[schemars(range(min = 0.01, max = 100.0))]
    pub organizations_share: f64,
    /// How long the tags of an account that were read are trusted, when a profile's targets ask for tags. AWS tells the
    /// tags of one account per call, at 10 calls a second for everybody: 10,000 accounts take 17 minutes, and 34 with
    /// half of that rate. `"0s"` reads them in every run.
    #[serde(default = "tags_max_age")]
    pub tags_max_age: Text<HumanDuration>,
    /// How long connecting may take.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Text<HumanDuration>,
    /// How long one call may take. More than 20 seconds: a queue holds a request for so long while it is empty.
    #[serde(default = "aws_call_timeout")]
    pub call_timeout: Text<HumanDuration>,
}

fn half() -> f64 {
    0.5
}

fn tags_max_age() -> Text<HumanDuration> {
    duration::seconds(6 * 3600)
}

fn connect_timeout() -> Text<HumanDuration> {
    duration::seconds(5)
}

fn aws_call_timeout() -> Text<HumanDuration> {
    duration::seconds(40)
}

/// Who calls the StackSets API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CallAs {
    /// The management account.
    #[default]
    #[serde(rename = "self")]
    Management,
    /// A member account that is a delegated administrator of StackSets.
    DelegatedAdmin,
}

/// How Spot is reached. `SPOT_API_URL` in the environment overrides the address of its API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpotConfig {
    /// Where the token of an organization admin comes from; exactly one source.
    pub token: TokenSource,
    /// The AWS principal that Spot assumes the role with. In the partition `aws` it is Spot's own account,
    /// `arn:aws:iam::922761411349:root`; in any other it must be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<Text<Principal>>,
    /// Requests per minute and route that Spot is assumed to allow before it has told its limit. It bounds how many
    /// accounts are enrolled at the same time.
    #[schemars(range(min = 1))]
    pub requests_per_minute: u32,
    /// The length of the window that Spot counts requests in, for each route.
    pub rate_window: Text<HumanDuration>,
    /// How long connecting may take.
    pub connect_timeout: Text<HumanDuration>,
    /// How long one call may take.
    pub call_timeout: Text<HumanDuration>,
}

impl Default for SpotConfig {
    fn default() -> Self {
        Self {
            token: TokenSource::default(),
            principal: None,
            requests_per_minute: 60,
            rate_window: duration::seconds(60),
            connect_timeout: connect_timeout(),
            call_timeout: duration::seconds(30),
        }
    }
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenSource {
    /// An environment variable, by name.
    Env(String),
    /// A file. A relative path is looked up from the working directory.
    File(PathBuf),
    /// A secret in AWS Secrets Manager, by name or ARN.
    SecretsManager(String),
    /// A parameter in AWS Systems Manager Parameter Store, by name or ARN; it is decrypted.
    SsmParameter(String),
}

impl TokenSource {
    /// Whether it names no place at all.
    pub(super) fn names_nothing(&self) -> bool {
        match self {
            Self::Env(name) | Self::SecretsManager(name) | Self::SsmParameter(name) => {
                name.is_empty()
            }
            Self::File(path) => path.as_os_str().is_empty(),
        }
    }
}

impl fmt::Display for TokenSource {
    /// For people: never the token itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::SecretsManager(id) => write!(f, "the secret {id} of AWS Secrets Manager"),
            Self::SsmParameter(name) => write!(f, "the parameter {name} of AWS Systems Manager"),
        }
    }
}

impl Default for TokenSource {
    fn default() -> Self {
        Self::Env("SPOTINST_TOKEN".to_owned())
    }
}

/// Where the runner keeps its journal: runs, steps, intents and what it knows about accounts.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StateConfig {
    /// An SQLite file (`sqlite://PATH`), made when it is missing; a relative path is looked up from the working directory.
    /// Or a PostgreSQL database (`postgres://USER@HOST/DATABASE`), which several replicas and the Lambda function can share;
    /// PGPASSWORD or ~/.pgpass can have its password.
    pub url: String,
    /// For how long a runner that was killed, hangs, is paused, or does not reach the database keeps its job from others; its own
    /// run ends then. At least 5 seconds. With a file, such a runner keeps it until its process ends.
    pub lease: Text<HumanDuration>,
    /// How long runs that have ended are kept, with their steps and attempts. What safety needs of them is kept longer
    /// (`docs/state.md`).
    pub keep_runs: Text<HumanDuration>,
}

impl fmt::Debug for StateConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateConfig")
            .field("url", &redacted(&self.url))
            .field("lease", &self.lease)
            .field("keep_runs", &self.keep_runs)
            .finish()
    }
}

impl Default for StateConfig {
    fn default() -> Self {
        Self {
            url: "sqlite://runner.db".to_owned(),
            lease: duration::seconds(30),
            keep_runs: duration::seconds(90 * 86_400),
        }
    }
}

/// How an account becomes a Spot account: who serves the custom resources of the stacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnrollmentConfig {
    /// Who serves the custom resources.
    pub provider: ProviderKind,
    /// Most accounts that may be enrolled with the provider `direct`, over all profiles that are synchronized together: each
    /// takes a stack set operation of its own. With more of them targeted, a run is refused.
    #[schemars(range(min = 1))]
    pub direct_ceiling: u32,
    /// The SNS topic that custom resources are sent to (provider `queue`). CloudFormation never lets it change under a
    /// stack. Without it, the topic `spot-onboarding` of the account and Region that stack sets are managed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_arn: Option<Text<TopicArn>>,
    /// The SQS queue behind that topic, by URL. Without it, the queue with the name of the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_url: Option<String>,
    /// Other stacks that may ask, beside those of our stack sets: names, with a `*` at the end for any characters, such as
    /// `["StackSet-spot-official-*"]` for an official Spot template with our topic.
    pub other_stacks: Vec<String>,
    /// How long CloudFormation waits for the answer of a custom resource: `1s` to `1h`. With the provider `direct`, how long the
    /// runner tries what it does at Spot, before or after a stack, at most 25 minutes of it.
    pub service_timeout: Text<HumanDuration>,
    /// What deleting a stack does to the Spot account.
    pub deletion: Deletion,
    /// Who serves requests when no run does: those of accounts that AWS adds by itself (`deployment = "auto"`).
    pub served_by: ServedBy,
    /// Requests of custom resources that are served at the same time. Most of them only wait, such as for Spot's rate limit
    /// or for a new role to spread through IAM, and one that waits must not hold the others back: with fewer of these than
    /// stacks at a time, the first requests of all stacks go before the second of any.
    #[schemars(range(min = 1, max = 4096))]
    pub consumers: u32,
    /// The name of Spot's Lambda function that enrolls in Cost Intelligence (provider `spot-hosted` with the product
    /// `cost-intelligence`). Spot does not publish it: ask Spot's support.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_intelligence_lambda: Option<Text<FunctionName>>,
}

impl Default for EnrollmentConfig {
    fn default() -> Self {
        Self {
            provider: ProviderKind::Queue,
            direct_ceiling: 500,
            topic_arn: None,
            queue_url: None,
            other_stacks: Vec::new(),
            service_timeout: duration::seconds(3600),
            deletion: Deletion::Reconcile,
            served_by: ServedBy::Provider,
            consumers: 1024,
            cost_intelligence_lambda: None,
        }
    }
}

/// Who serves the custom resources of the stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderKind {
    /// The runner, or the Lambda function `bootstrap`, from a queue. No token leaves the home account.
    Queue,
    /// Spot's own Lambda functions. The Spot token becomes a NoEcho parameter of the stack set.
    SpotHosted,
    /// Nobody: stacks have no custom resources. A run makes each Spot account and external ID itself, gives them to the stack
    /// as a parameter, and links. Needs no topic and no queue, and takes an operation for each account.
    Direct,
}

/// Who serves the provider's queue between runs. Without anybody, the stack of an account that AWS adds by itself hangs for
/// `service_timeout` and is rolled back; so a run that would have AWS do that is refused, unless it is said to be meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServedBy {
    /// A `runner provider` on the same state: a run with auto-deployment is refused without a live one.
    Provider,
    /// Nobody, and that is meant: only runs serve, while they wait for stacks. A run with auto-deployment warns when no
    /// `runner provider` runs beside it.
    Run,
    /// The Lambda function `bootstrap`. Only it serves: no run does, and no `runner provider`, unless both have one state
    /// (`bootstrap.lambda.state`). Without the function that `[bootstrap.lambda]` describes, a run is refused; one that is
    /// deployed otherwise no run can see.
    Lambda,
}

/// What deleting a stack does to the Spot account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Deletion {
    /// Nothing: custom resources are retained, and what is left over is found and decided by reconciling.
    Reconcile,
    /// It is deleted with its stack, as Spot's own template does; also when an account moves to another OU. Ours (the
    /// provider `queue`) deletes only what the stack owns, did not adopt, and nothing runs in, and needs the audit role: see
    /// `docs/provider.md`.
    Stack,
}

impl From<Deletion> for template::Deletion {
    fn from(deletion: Deletion) -> Self {
        match deletion {
            Deletion::Reconcile => Self::Reconcile,
            Deletion::Stack => Self::Stack,
        }
    }
}

/// Settings of the stack sets of all profiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StackSetConfig {
    /// A profile without `stack_set` gets the stack set `<name_prefix>-<profile name>`.
    pub name_prefix: String,
    /// The description of the stack sets.
    #[schemars(length(max = 1024))]
    pub description: String,
    /// Tags on the stack sets and on everything that their stacks create.
    pub tags: BTreeMap<String, String>,
    /// Lets operations that do not conflict run at the same time, and queues the others.
    pub managed_execution: bool,
    /// Accounts that an operation works on at the same time: a count, or a share of the accounts. The runner takes
    /// fewer when Spot's request limit could not serve so many within `enrollment.service_timeout`.
    pub max_concurrent: Concurrency,
    /// The one Region that stacks are made in; IAM is global. Without it, `aws.region`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Text<Region>>,
}

impl Default for StackSetConfig {
    fn default() -> Self {
        Self {
            name_prefix: "spot-onboarding".to_owned(),
            description: "Enrolls AWS accounts in Spot".to_owned(),
            tags: BTreeMap::new(),
            managed_execution: true,
            max_concurrent: Concurrency::Count(50),
            region: None,
        }
    }
}

/// Limits that every removal obeys. `--set` cannot change them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RemovalConfig {
    /// How long a closed account keeps its stack instance.
    pub closed_grace: Text<HumanDuration>,
    /// At most this many removals per run.
    pub max_removals: u32,
    /// Nothing is removed when the organization lists fewer accounts than last time by more than this share.
    pub max_shrink: Text<Share>,
}

impl Default for RemovalConfig {
    fn default() -> Self {
        Self {
            closed_grace: duration::seconds(14 * 86_400),
            max_removals: 10,
            max_shrink: Text(Share::percent(10)),
        }
    }
}

/// When an account that failed is tried again by itself. `--retry-failed` tries all of them at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryFailedConfig {
    /// The wait after the first failure; it doubles with every further one.
    pub first: Text<HumanDuration>,
    /// Failures after which only a person starts it again.
    #[schemars(range(min = 1))]
    pub quarantine_after: u32,
}

impl Default for RetryFailedConfig {
    fn default() -> Self {
        Self {
            first: duration::seconds(15 * 60),
            quarantine_after: 5,
        }
    }
}

/// What the runner may switch on when it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrerequisitesConfig {
    /// Whether it may activate trusted access between CloudFormation StackSets and AWS Organizations.
    pub activate_trusted_access: bool,
}

/// Logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetryConfig {
    /// The form of the log lines on stderr.
    pub log_format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// `runner daemon`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DaemonConfig {
    /// Where it answers `/healthz`, `/readyz` and `/metrics`: an address and a port; port 0 takes a free one. Beyond this machine's
    /// loopback it needs `token`.
    pub listen: Text<ListenAddress>,
    /// Where the bearer token comes from that whoever asks has to show, read when the daemon starts. Without it, everybody on this
    /// machine may ask. `/healthz` and `/readyz` need none; they then say how it is by their status alone.
    pub token: Option<TokenSource>,
    /// How many jobs run at the same time. One job never runs twice at the same time.
    #[schemars(range(min = 1, max = 64))]
    pub max_runs: u32,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self {
            listen: Text(ListenAddress(SocketAddr::from(([127, 0, 0, 1], 9464)))),
            token: None,
            max_runs: 4,
        }
    }
}

/// An address to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("{text:?} is not an IP address and a port"))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TextForm for ListenAddress {
    const FORMAT: &'static str = "listen-address";
    const EXPECTED: &'static str = "an address and a port (\"127.0.0.1:9464\")";
}
