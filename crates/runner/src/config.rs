//! Configuration: the files `runner.toml` and `jobs/*.toml` and the `--set` options, read, checked and mapped.
//!
//! Owns TOML: nothing outside this module parses it. Guarantees: what [`Config::load`] returns is valid as a whole;
//! what is wrong is reported with file, line, column and what to do, as much at once as can be found; a broken job file
//! disables that job only; `--set` cannot loosen a guard rail. It reads files and nothing else.

mod aggregator;
mod amount;
mod arn;
mod audit;
mod billing_engine;
mod bootstrap;
mod checks;
mod desired;
mod drift_audit;
mod duration;
mod enroll;
mod error;
mod events;
mod external;
mod home;
mod job;
mod lambda;
mod load;
mod naming;
mod nearest;
mod notify;
mod orphan_cleanup;
mod overrides;
mod plugins;
mod policy_rollout;
mod profile;
pub mod reference;
mod remediation;
mod retry;
mod runner;
mod schedule;
pub mod schema;
mod source;
mod tags;
#[cfg(test)]
mod tests;
mod text;

pub use aggregator::AggregatorConfig;
pub use amount::{Concurrency, Share};
pub use arn::{FunctionName, PermissionsBoundary, Principal};
pub use audit::AuditConfig;
pub use billing_engine::{BillingEngineConfig, BucketName};
pub use bootstrap::{BootstrapConfig, Encryption};
pub use desired::{DEFAULT_TOPIC, DesiredOptions};
pub use drift_audit::{Accepted, AuditDepth, Day, DriftAuditParams, SuppressConfig};
pub use duration::HumanDuration;
pub use enroll::{EnrollParams, Remake};
pub use error::{ConfigError, ConfigErrors, Place, SetError};
pub use events::{EventsConfig, WakeOn, WakeUpQueue};
pub(crate) use external::OWN_VARIABLES;
pub use external::{Asking, ExternalJob, ExternalParams, Grant};
pub use home::HomePlace;
pub use job::{Approval, JobFile, JobKind, JobParams, Overlap, StacksetSyncParams};
pub use lambda::LambdaConfig;
pub use load::{BrokenJob, Config, Loaded};
pub use naming::RenameRule;
pub use nearest::nearest;
pub use notify::{EventName, NotifyConfig, SeverityName, TemplatesConfig, WebhookUrl};
pub use orphan_cleanup::OrphanCleanupParams;
pub use overrides::{GUARD_RAILS, free_params};
pub use plugins::PluginsConfig;
pub use policy_rollout::{
    DayName, Hours, PolicyRolloutParams, ToleranceConfig, WaveConfig, WindowConfig,
};
pub use profile::{
    AccessConfig, AdoptConfig, DeploymentConfig, NamingConfig, PoliciesConfig, Product,
    ProfileConfig, TargetsConfig,
};
pub use remediation::RemediationConfig;
pub use retry::{RetryConfig, StepRetry};
pub use runner::{
    AwsConfig, CallAs, DaemonConfig, Deletion, EnrollmentConfig, ListenAddress, LogFormat,
    PrerequisitesConfig, ProviderKind, RemovalConfig, RetryFailedConfig, RunnerConfig, ServedBy,
    SpotConfig, StackSetConfig, StateConfig, TelemetryConfig, TokenSource,
};
pub use schedule::{Cron, Rule, Schedule, TimeZoneName};
pub use tags::TagValues;
pub use text::{Text, TextForm};
