//! From configuration to the home account: its stacks, and what the runner's identity must be allowed.

use std::fmt::Write as _;

use onboarding_core::{
    iam_policy::{
        self, AggregatorAccess, ManagementStackAccess, QueueAccess, RunnerPolicySpec, SecretPlace,
        WakeUpAccess,
    },
    ids::{AwsAccountId, OrganizationId, StackSetName},
    policy::PolicyDocument,
    template::home::HomeSpec,
};

use super::{
    bootstrap::Encryption,
    desired::direct_role_name,
    error::{ConfigError, ConfigErrors},
    events::WakeUpQueue,
    external::Grant,
    job::{JobKind, JobParams},
    load::Loaded,
    notify::NotifyConfig,
    policy_rollout::PolicyRolloutParams,
    runner::{CallAs, ProviderKind, TokenSource},
};

/// Where the home account is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomePlace {
    /// The home account.
    pub account: AwsAccountId,
    /// The management account; none when it is not known.
    pub management_account: Option<AwsAccountId>,
    /// The organization; none when it is not known.
    pub organization: Option<OrganizationId>,
}

impl Loaded {
    /// What the runner's identity must be allowed for the jobs that there are and the provider, nothing broader.
    ///
    /// # Errors
    /// A name in the configuration has a form that no ARN can have.
    pub fn runner_policy(&self, place: &HomePlace) -> Result<PolicyDocument, ConfigErrors> {
        iam_policy::document(&self.policy_spec(place))
            .map_err(|error| unusable("the runner's policy", &error))
    }

    fn policy_spec(&self, place: &HomePlace) -> RunnerPolicySpec {
        let config = &self.runner;
        let partition = config.aws.region.partition();
        let has = |kind: JobKind| self.jobs.iter().any(|job| job.kind() == kind.name());
        let syncs = self.jobs.iter().any(|job| match &job.params {
            JobParams::StacksetSync(_) | JobParams::Enroll(_) => true,
            JobParams::DriftAudit(params) => params.fix,
            JobParams::OrphanCleanup(_) | JobParams::External(_) => false,
            JobParams::PolicyRollout(params) => params.profile.is_some(),
        });
        RunnerPolicySpec {
            region: config.aws.region.0.clone(),
            account: place.account,
            management_account: place
                .management_account
                .or_else(|| (config.aws.call_as == CallAs::Management).then_some(place.account)),
            organization: place.organization.clone(),
            // Every kind of job looks at them.
            stack_sets: if self.jobs.is_empty() {
                Vec::new()
            } else {
                self.stack_sets()
            },
            manages_stack_sets: syncs,
            cleans_up: has(JobKind::OrphanCleanup),
            detects_drift: self.jobs.iter().any(|job| match &job.params {
                JobParams::DriftAudit(params) => params.cloudformation_drift,
                _ => false,
            }),
            is_direct: config.enrollment.provider == ProviderKind::Direct,
            rolls_out: self.rollouts().next().is_some(),
            management_stacks: config
                .profiles
                .iter()
                .filter(|profile| profile.management_account)
                .filter_map(|profile| {
                    let name = config.stack_set_name(profile).ok()?;
                    let boundary = profile.permissions_boundary.as_ref();
                    Some(ManagementStackAccess {
                        role: direct_role_name(&name),
                        boundary: boundary
                            .map(|boundary| boundary.arn_in(partition, place.account)),
                        name,
                    })
                })
                .collect(),
            tags_stack_sets: !config.stack_set.tags.is_empty(),
            activates_trusted_access: config.prerequisites.activate_trusted_access,
            reads_account_tags: self.reads_account_tags(),
            audit_role: config.audit.role_path_and_name(),
            remediation_role: config.remediation.role_path_and_name(),
            aggregators: {
                let jobs = self.jobs.iter().filter_map(|job| match &job.params {
                    JobParams::DriftAudit(params) => params.aggregator.as_ref(),
                    _ => None,
                });
                jobs.map(|aggregator| match (&aggregator.role, &aggregator.region) {
                    (Some(role), _) => AggregatorAccess::Through(role.0.clone()),
                    (None, Some(region)) => AggregatorAccess::Home(region.0.clone()),
                    (None, None) => AggregatorAccess::Home(config.aws.region.0.clone()),
                })
                .collect()
            },
            queue: (config.enrollment.provider == ProviderKind::Queue)
                .then(|| self.queue(place.account)),
            wake_up_queue: config.wake_up_queue().map(|queue| match queue {
                WakeUpQueue::Named(name) => WakeUpAccess {
                    account: place.account,
                    name,
                },
                WakeUpQueue::Url(url) => {
                    let (account, name) = of_queue(&url);
                    WakeUpAccess {
                        account: account.unwrap_or(place.account),
                        name: name.to_owned(),
                    }
                }
            }),
            token: place_in_aws(&config.spot.token),
            topics: {
                let targets = config.notify.iter();
                targets
                    .filter_map(|target| Some(target.sns.as_ref()?.0.clone()))
                    .collect()
            },
            further_secrets: {
                let secrets = config.notify.iter().flat_map(NotifyConfig::secrets);
                let secrets = secrets.chain(&config.daemon.token);
                secrets.filter_map(place_in_aws).collect()
            },
            function: config.function_access(),
        }
    }

    /// What the stacks of the home account are made from.
    ///
    /// # Errors
    /// Nothing needs to be deployed for the provider, or the topic and the queue would not be where they must be.
    pub fn home_spec(
        &self,
        place: &HomePlace,
        organization: OrganizationId,
    ) -> Result<HomeSpec, ConfigErrors> {
        let config = &self.runner;
        let refuse = |message: &str, help: &str| {
            ConfigErrors::from(ConfigError::without_place(message.to_owned(), help))
        };
        if config.enrollment.provider != ProviderKind::Queue {
            return Err(refuse(
                "enrollment.provider is not \"queue\": nothing needs to be deployed for it",
                "with provider = \"queue\", this makes the topic and the queue",
            ));
        }
        if config.enrollment.queue_url.is_some() {
            return Err(refuse(
                "enrollment.queue_url names a queue that you made yourself",
                "take it away, so that the queue gets the name of its topic, or keep your own topic and queue",
            ));
        }
        if config.stack_set_region() != &*config.aws.region {
            return Err(refuse(
                "stack_set.region is not aws.region: topic and queue would have to be in two Regions",
                "manage the stack sets from the Region of their stacks: set aws.region to it",
            ));
        }
        let topic = config.topic(Some(place.account)).ok_or_else(|| {
            refuse(
                "the topic has no usable name",
                "set enrollment.topic_arn to the ARN that it shall have",
            )
        })?;
        let bootstrap = &config.bootstrap;
        let function = self.function(&self.policy_spec(place), topic.as_str())?;
        Ok(HomeSpec {
            account: place.account,
            region: config.aws.region.0.clone(),
            organization,
            topic,
            stack_name_prefix: config.stack_set.name_prefix.clone(),
            stack_sets: self.stack_sets(),
            encryption: bootstrap.encryption.into(),
            alarm_topic: bootstrap.alarm_topic_arn.as_ref().map(|arn| arn.0.clone()),
            organization_events: place.management_account == Some(place.account),
            control_tower_region: bootstrap
                .control_tower_region
                .as_ref()
                .map(|region| region.0.clone()),
            runner_principals: bootstrap
                .runner_principals
                .iter()
                .map(|principal| principal.0.clone())
                .collect(),
            runner_policy: self.runner_policy(place)?,
            function,
        })
    }

    /// Whether anything depends on the tags of accounts.
    #[must_use]
    pub fn reads_account_tags(&self) -> bool {
        let mut profiles = self.runner.profiles.iter();
        profiles.any(|profile| !profile.targets.tags.is_empty())
            || self
                .rollouts()
                .any(|params| params.waves.iter().any(|wave| !wave.tags.is_empty()))
            || self.jobs.iter().any(|job| match &job.params {
                JobParams::External(job) => job.grants().contains(&Grant::AccountTags),
                _ => false,
            })
    }

    /// The rollouts that are for a profile.
    fn rollouts(&self) -> impl Iterator<Item = &PolicyRolloutParams> {
        self.jobs.iter().filter_map(|job| match &job.params {
            JobParams::PolicyRollout(params) => params.profile.as_ref().and(Some(params)),
            _ => None,
        })
    }

    /// The stack sets of all profiles, and those of our own roles that we deploy.
    fn stack_sets(&self) -> Vec<StackSetName> {
        let config = &self.runner;
        let audit = config
            .audit
            .is_deployed()
            .then(|| config.audit_stack_set_name().ok());
        let remediation = config
            .remediation
            .enabled
            .then(|| config.remediation_stack_set_name().ok());
        let profiles = config.profiles.iter();
        profiles
            .filter_map(|profile| config.stack_set_name(profile).ok())
            .chain(audit.flatten())
            .chain(remediation.flatten())
            .collect()
    }

    fn queue(&self, home_account: AwsAccountId) -> QueueAccess {
        let config = &self.runner;
        let url = config.enrollment.queue_url.as_deref().unwrap_or_default();
        let (name, account) = match of_queue(url) {
            (Some(account), name) if !name.is_empty() => (name, account),
            _ => (config.queue_name(), home_account),
        };
        QueueAccess {
            account,
            name: name.to_owned(),
            key_of_topic: (config.bootstrap.encryption == Encryption::Cmk)
                .then(|| config.queue_name().to_owned()),
        }
    }
}

/// The account and the name of a queue: the last two parts of its URL.
fn of_queue(url: &str) -> (Option<AwsAccountId>, &str) {
    let mut parts = url.trim_end_matches('/').rsplit('/');
    let name = parts.next().unwrap_or_default();
    let account = parts.next().and_then(|account| account.parse().ok());
    (account, name)
}

/// Where in AWS a secret is; none when it is somewhere else.
fn place_in_aws(source: &TokenSource) -> Option<SecretPlace> {
    match source {
        TokenSource::SecretsManager(id) => Some(SecretPlace::Secret(id.clone())),
        TokenSource::SsmParameter(name) => Some(SecretPlace::Parameter(name.clone())),
        TokenSource::Env(_) | TokenSource::File(_) => None,
    }
}

/// A policy that IAM would refuse.
pub(super) fn unusable(policy: &str, error: &dyn std::error::Error) -> ConfigErrors {
    let mut message = format!("{policy} cannot be made: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a String cannot fail.
        let _ = write!(message, ": {cause}");
        source = cause.source();
    }
    ConfigError::without_place(
        message,
        "mend the names in [spot] token, [daemon] token, [[notify]], [enrollment] queue_url and [bootstrap.lambda] state",
    )
    .into()
}
