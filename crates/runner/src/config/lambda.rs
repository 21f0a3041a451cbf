//! `[bootstrap.lambda]`: the provider as a Lambda function of the home stack, with the environment that follows from the rest
//! of the configuration.
//!
//! The function has one set of rules for all accounts and no profiles. What it could not do as configured is refused, rather
//! than served by other rules.

use std::collections::BTreeMap;

use onboarding_core::{
    desired::{AdoptRule, OuRef},
    iam_policy::{self, FunctionAccess, RunnerPolicySpec, SecretPlace},
    template::home::{self, FunctionSpec, FunctionVpc, function_role_name},
};
use onboarding_provider::sql::PostgresUrl;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    arn::{SecurityGroupId, SubnetId},
    billing_engine::BucketName,
    error::{ConfigError, ConfigErrors},
    home::unusable,
    load::Loaded,
    naming::RenameRule,
    runner::{Deletion, ProviderKind, RunnerConfig, ServedBy, TokenSource},
    text::Text,
};

/// The provider as a Lambda function that serves the queue (`enrollment.served_by = "lambda"`). None without its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LambdaConfig {
    /// The S3 bucket, in the home Region, with the zip file of the program `bootstrap`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_bucket: Option<Text<BucketName>>,
    /// The zip file's key in that bucket. A new program needs a new key, or its version below: CloudFormation does not look
    /// into the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_key: Option<String>,
    /// The zip file's version, in a bucket that keeps versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3_object_version: Option<String>,
    /// The function's memory in MiB. Lambda gives computing power in proportion to it.
    #[schemars(range(min = 128, max = 10240))]
    pub memory: u32,
    /// For how many days its log is kept: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365 or more, as CloudWatch Logs has it.
    #[schemars(range(min = 1))]
    pub log_retention_days: u32,
    /// How many batches of the queue are worked on at the same time, each by a process of its own. Without `state`, 2: AWS
    /// allows no less, and processes that share no state must not be more.
    #[schemars(range(min = 2, max = 1000))]
    pub maximum_concurrency: u32,
    /// Where in AWS the URL of the runner's PostgreSQL state is, `postgres://USER:PASSWORD@HOST/DATABASE`: the function then
    /// shares it. Without it, what a process of the function knows is lost with the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<StateSource>,
    /// The file with the certificates of the state's server, where the function has it: `/var/task/NAME` is a file of the zip
    /// file. For Amazon RDS and Aurora, whose certificates are of AWS's own authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state_ca_file: Option<String>,
    /// The subnets of the VPC that the function is connected to, such as the state's. From them it must reach Spot, AWS's APIs
    /// and CloudFormation's buckets, too.
    pub subnets: Vec<Text<SubnetId>>,
    /// The function's security groups in that VPC.
    pub security_groups: Vec<Text<SecurityGroupId>>,
}

/// Where in AWS the URL of the function's state is. With its password, it is never in the function's environment itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateSource {
    /// A secret in AWS Secrets Manager, by name or ARN.
    SecretsManager(String),
    /// A parameter in AWS Systems Manager Parameter Store, by name or ARN; it is decrypted.
    SsmParameter(String),
}

impl Default for LambdaConfig {
    fn default() -> Self {
        Self {
            s3_bucket: None,
            s3_key: None,
            s3_object_version: None,
            memory: 256,
            log_retention_days: 30,
            maximum_concurrency: 2,
            state: None,
            state_ca_file: None,
            subnets: Vec::new(),
            security_groups: Vec::new(),
        }
    }
}

impl LambdaConfig {
    /// Whether the home stack shall have the function.
    #[must_use]
    pub fn is_deployed(&self) -> bool {
        self.s3_bucket.is_some() || self.s3_key.is_some()
    }

    fn vpc(&self) -> Option<FunctionVpc> {
        (!self.subnets.is_empty()).then(|| FunctionVpc {
            subnets: self.subnets.iter().map(ToString::to_string).collect(),
            security_groups: self
                .security_groups
                .iter()
                .map(ToString::to_string)
                .collect(),
        })
    }
}

impl RunnerConfig {
    /// Whether the function and the runner have one state, so that each knows of the other's work.
    #[must_use]
    pub fn shares_state_with_function(&self) -> bool {
        self.bootstrap.lambda.state.is_some() && PostgresUrl::is_meant(&self.state.url)
    }

    /// The stack that has the function, where only the function serves and `runner bootstrap` deploys it.
    #[must_use]
    pub fn function_stack(&self) -> Option<String> {
        let serves = self.enrollment.provider == ProviderKind::Queue
            && self.enrollment.served_by == ServedBy::Lambda;
        (serves && self.bootstrap.lambda.is_deployed())
            .then(|| home::stack_name(&self.stack_set.name_prefix))
    }

    /// What the function needs beside the runner's own, and what tells the runner that it is there.
    pub(super) fn function_access(&self) -> FunctionAccess {
        let lambda = &self.bootstrap.lambda;
        FunctionAccess {
            state: lambda.state.as_ref().map(|state| match state {
                StateSource::SecretsManager(id) => SecretPlace::Secret(id.clone()),
                StateSource::SsmParameter(name) => SecretPlace::Parameter(name.clone()),
            }),
            in_vpc: !lambda.subnets.is_empty(),
            stack: self.function_stack(),
        }
    }
}

impl Loaded {
    /// The function that serves the queue; none when it is not deployed.
    ///
    /// # Errors
    /// The function could not do what is configured.
    pub(super) fn function(
        &self,
        policy: &RunnerPolicySpec,
        topic: &str,
    ) -> Result<Option<FunctionSpec>, ConfigErrors> {
        let lambda = &self.runner.bootstrap.lambda;
        let (Some(bucket), Some(key)) = (&lambda.s3_bucket, &lambda.s3_key) else {
            return Ok(None);
        };
        let policy = iam_policy::function_document(policy)
            .map_err(|error| unusable("the function's policy", &error))?;
        Ok(Some(FunctionSpec {
            bucket: bucket.to_string(),
            key: key.clone(),
            object_version: lambda.s3_object_version.clone(),
            memory: lambda.memory,
            log_retention_days: lambda.log_retention_days,
            maximum_concurrency: lambda.maximum_concurrency,
            shares_state: lambda.state.is_some(),
            service_timeout: service_timeout(&self.runner),
            vpc: lambda.vpc(),
            environment: environment(&self.runner, topic)?,
            policy,
        }))
    }
}

/// In whole seconds, of which an hour has few.
fn service_timeout(config: &RunnerConfig) -> u32 {
    let seconds = config.enrollment.service_timeout.get().as_secs();
    u32::try_from(seconds).unwrap_or(u32::MAX)
}

/// The function's configuration; docs/provider.md lists the variables.
fn environment(
    config: &RunnerConfig,
    topic: &str,
) -> Result<BTreeMap<String, String>, ConfigErrors> {
    let enrollment = &config.enrollment;
    let lambda = &config.bootstrap.lambda;
    let deletion = match enrollment.deletion {
        Deletion::Reconcile => "reconcile",
        Deletion::Stack if lambda.state.is_some() => "stack",
        Deletion::Stack => {
            return Err(refused(
                "enrollment.deletion is \"stack\"",
                "give it the runner's state (bootstrap.lambda.state), or leave deletion at \"reconcile\": only a durable state \
                 knows which stack owns a Spot account",
            ));
        }
    };
    let role = function_role_name(&config.stack_set.name_prefix);
    if config.audit.is_deployed() && !config.audit.lets_in(&role) {
        return Err(refused(
            "the audit role does not let it in",
            &format!("add \"role/{role}\" to audit.principals"),
        ));
    }
    let state = lambda.state.as_ref().map(|state| match state {
        StateSource::SecretsManager(id) => ("PROVIDER_STATE_SECRET_ARN", id.clone()),
        StateSource::SsmParameter(name) => ("PROVIDER_STATE_PARAMETER", name.clone()),
    });
    let ca_file = lambda.state_ca_file.clone();
    let token = match &config.spot.token {
        TokenSource::SecretsManager(id) => ("SPOT_TOKEN_SECRET_ARN", id.clone()),
        TokenSource::SsmParameter(name) => ("SPOT_TOKEN_PARAMETER", name.clone()),
        TokenSource::Env(_) | TokenSource::File(_) => {
            return Err(refused(
                "spot.token is not in AWS, where the function could read it",
                "keep it in AWS: token = { secrets_manager = \"…\" } or { ssm_parameter = \"…\" }",
            ));
        }
    };
    let timeout = service_timeout(config).to_string();
    let variables = [
        Some(token),
        Some(("PROVIDER_TOPIC_ARN", topic.to_owned())),
        Some(("PROVIDER_SERVICE_TIMEOUT", timeout)),
        Some(("PROVIDER_DELETION", deletion.to_owned())),
        config
            .audit
            .role_path_and_name()
            .map(|role| ("PROVIDER_AUDIT_ROLE", role)),
        config
            .spot
            .principal
            .as_ref()
            .map(|principal| ("PROVIDER_SPOT_PRINCIPAL", principal.0.0.as_str().to_owned())),
        state,
        ca_file.map(|path| ("PROVIDER_STATE_CA_FILE", path)),
        Some(("PROVIDER_STACKS", config.served_stacks().names().join(","))),
        adopt(config)?.map(|rule| ("PROVIDER_ADOPT", rule)),
        rename(config)?.map(|rule| ("PROVIDER_RENAME", rule)),
        access(config)?.map(|grants| ("PROVIDER_ACCESS", grants)),
        targets(config)?.map(|targets| ("PROVIDER_TARGETS", targets)),
    ];
    let variables = variables.into_iter().flatten();
    Ok(variables
        .map(|(name, value)| (name.to_owned(), value))
        .collect())
}

fn adopt(config: &RunnerConfig) -> Result<Option<String>, ConfigErrors> {
    let rules = config.profiles.iter().map(|profile| {
        match AdoptRule::from(profile.adopt) {
            AdoptRule::KeepLink => "keep-link",
            AdoptRule::Relink => "relink",
            AdoptRule::Refuse => "refuse",
        }
        .to_owned()
    });
    common("adopt", rules)
}

/// A profile whose accounts are not renamed asks for nothing.
fn rename(config: &RunnerConfig) -> Result<Option<String>, ConfigErrors> {
    let rules = config
        .profiles
        .iter()
        .map(|profile| &profile.naming.rename.0);
    common(
        "naming.rename",
        rules
            .filter(|rule| **rule != RenameRule::Off)
            .map(ToString::to_string),
    )
}

fn access(config: &RunnerConfig) -> Result<Option<String>, ConfigErrors> {
    let grants = config.profiles.iter().map(|profile| {
        let pairs: Vec<String> = profile
            .access_grants()
            .iter()
            .map(|grant| format!("{}={}", grant.user_group, grant.policy))
            .collect();
        pairs.join(",")
    });
    Ok(common("access", grants)?.filter(|grants| !grants.is_empty()))
}

/// What all profiles say alike.
fn common(
    key: &str,
    mut values: impl Iterator<Item = String>,
) -> Result<Option<String>, ConfigErrors> {
    let first = values.next();
    if values.any(|value| Some(&value) != first.as_ref()) {
        return Err(refused(
            &format!(
                "the profiles differ in {key}, and the function has one rule for all accounts"
            ),
            "give them the same, or let `runner provider` serve",
        ));
    }
    Ok(first)
}

/// The accounts that the profiles target; none for all.
fn targets(config: &RunnerConfig) -> Result<Option<String>, ConfigErrors> {
    let mut named = Vec::new();
    let mut all = false;
    for profile in &config.profiles {
        let targets = &profile.targets;
        let is_narrowed = !(targets.tags.is_empty()
            && targets.exclude_ous.is_empty()
            && targets.exclude_accounts.is_empty());
        if is_narrowed {
            return Err(refused(
                &format!(
                    "the profile {:?} has tags or excludes, which the function does not know",
                    profile.name
                ),
                "target organizational units and accounts only, or let `runner provider` serve",
            ));
        }
        for unit in &targets.ous {
            match &unit.0 {
                OuRef::Root => all = true,
                OuRef::Id(id) => named.push(id.to_string()),
                OuRef::Path(path) => {
                    return Err(refused(
                        &format!(
                            "the profile {:?} targets {path:?} by its name",
                            profile.name
                        ),
                        "name the organizational unit by its id (ou-…): the function reads no names",
                    ));
                }
            }
        }
        named.extend(targets.accounts.iter().map(ToString::to_string));
    }
    Ok((!all).then(|| named.join(",")))
}

fn refused(message: &str, help: &str) -> ConfigErrors {
    ConfigError::without_place(
        format!("the Lambda function cannot serve as configured: {message}"),
        help,
    )
    .into()
}
