//! From configuration to what should be: the core's [`Desired`], with the template of each profile rendered.

mod roles;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use onboarding_core::{
    custom_resource::ServedStacks,
    desired::{
        Deployment, Desired, DirectEnrollment, ManagementStack, Profile, Purpose, RemovalLimits,
        StackSetDefinition, Targets,
    },
    ids::{AwsAccountId, InvalidId, Region, StackSetName, TopicArn},
    policy::PolicyDocument,
    stackset_sync::StackRemoval,
    template::{
        self, Format, NamedPolicy, Partition, PinnedVersions, PolicyPurpose, Products, Provider,
        RoleSettings, SpotPrincipal, Template, TemplateSpec,
    },
};

use super::{
    error::{ConfigError, ConfigErrors, Problem},
    load::Loaded,
    naming::RenameRule,
    nearest::nearest,
    profile::{DeploymentConfig, Product, ProfileConfig, TargetsConfig},
    runner::{ProviderKind, RunnerConfig},
    source::locate,
};

/// The name of the topic and the queue when configuration names none.
pub const DEFAULT_TOPIC: &str = "spot-onboarding";

/// The name under which the audit role's stack set is planned, beside the profiles.
pub(super) const AUDIT_PROFILE: &str = "audit-role";

/// The name under which the remediation role's stack set is planned.
pub(super) const REMEDIATION_PROFILE: &str = "remediation-role";

/// The name of Spot's role where the runner enrolls by itself: it must know the name, and no two profiles may share it, or
/// an account that moves between them would have two stacks with one role.
pub(super) fn direct_role_name(stack_set: &StackSetName) -> String {
    format!("{stack_set}-SpotRole")
}

/// What is known only when a run starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DesiredOptions<'a> {
    /// The account that stack sets are managed from, when it is known: the owner of the default topic.
    pub home_account: Option<AwsAccountId>,
    /// The profiles that are wanted, by name; all when empty.
    pub profiles: &'a [String],
    /// `--retry-failed`.
    pub retry_failed: bool,
    /// The versions of the policies that profiles keep until a rollout changes them, by profile; those of profiles that no
    /// `policy-rollout` job is for do not count.
    pub pinned: Option<&'a BTreeMap<String, PinnedVersions>>,
}

impl RunnerConfig {
    /// The Region that stacks are made in.
    #[must_use]
    pub fn stack_set_region(&self) -> &Region {
        self.stack_set.region.as_ref().unwrap_or(&self.aws.region)
    }

    /// The stack set of a profile.
    ///
    /// # Errors
    /// The name made from the prefix and the profile's name is not a stack set's.
    pub fn stack_set_name(&self, profile: &ProfileConfig) -> Result<StackSetName, InvalidId> {
        match &profile.stack_set {
            Some(name) => Ok(name.0.clone()),
            None => format!("{}-{}", self.stack_set.name_prefix, profile.name).parse(),
        }
    }

    /// The stacks whose requests are served: those of our stack sets, and those that are named.
    #[must_use]
    pub fn served_stacks(&self) -> ServedStacks {
        let named = ServedStacks::named(self.enrollment.other_stacks.iter().cloned());
        let stack_sets = self.profiles.iter();
        // A name that is none was refused when the configuration was read.
        let stack_sets = stack_sets.filter_map(|profile| self.stack_set_name(profile).ok());
        stack_sets.fold(named, |served, name| served.and_of_stack_set(name.as_str()))
    }

    /// The audit role's stack set.
    ///
    /// # Errors
    /// The name made from the prefix is not a stack set's.
    pub fn audit_stack_set_name(&self) -> Result<StackSetName, InvalidId> {
        format!("{}-{AUDIT_PROFILE}", self.stack_set.name_prefix).parse()
    }

    /// The remediation role's stack set.
    ///
    /// # Errors
    /// The name made from the prefix is not a stack set's.
    pub fn remediation_stack_set_name(&self) -> Result<StackSetName, InvalidId> {
        format!("{}-{REMEDIATION_PROFILE}", self.stack_set.name_prefix).parse()
    }

    /// The topic of the custom resources: the one that is configured, or the default one of the home account.
    #[must_use]
    pub fn topic(&self, home_account: Option<AwsAccountId>) -> Option<TopicArn> {
        if let Some(topic) = &self.enrollment.topic_arn {
            return Some(topic.0.clone());
        }
        let region = self.stack_set_region();
        format!(
            "arn:{}:sns:{region}:{}:{DEFAULT_TOPIC}",
            region.partition(),
            home_account?
        )
        .parse()
        .ok()
    }

    /// The name of the queue behind the topic, for when `enrollment.queue_url` is not configured.
    #[must_use]
    pub fn queue_name(&self) -> &str {
        let topic = self.enrollment.topic_arn.as_ref();
        topic
            .and_then(|topic| topic.as_str().rsplit(':').next())
            .unwrap_or(DEFAULT_TOPIC)
    }

    /// The partition of the organization.
    #[must_use]
    pub fn partition(&self) -> Partition {
        match self.aws.region.partition() {
            "aws-cn" => Partition::AwsCn,
            "aws-us-gov" => Partition::AwsUsGov,
            _ => Partition::Aws,
        }
    }

    /// The principal that Spot assumes the role with; none outside the partition `aws` unless it is configured.
    #[must_use]
    pub fn spot_principal(&self) -> Option<SpotPrincipal> {
        self.spot
            .principal
            .as_ref()
            .map(|principal| principal.0.0.clone())
            .or(self.partition().spot_principal())
    }
}

impl TargetsConfig {
    /// The targets as the core takes them.
    #[must_use]
    pub fn resolved(&self) -> Targets {
        Targets {
            ous: self.ous.iter().map(|ou| ou.0.clone()).collect(),
            tags: self
                .tags
                .iter()
                .map(|(key, values)| (key.clone(), values.0.clone()))
                .collect(),
            accounts: self.accounts.iter().map(|account| account.0).collect(),
            exclude_ous: self.exclude_ous.iter().map(|ou| ou.0.clone()).collect(),
            exclude_accounts: self
                .exclude_accounts
                .iter()
                .map(|account| account.0)
                .collect(),
        }
    }
}

impl Loaded {
    /// What should be, with the policies read and the templates rendered.
    ///
    /// # Errors
    /// A policy file cannot be read or used, a template cannot be rendered, or the topic is not known.
    pub fn desired(&self, options: DesiredOptions<'_>) -> Result<Desired, ConfigErrors> {
        let config = &self.runner;
        let wanted = |name: &String| options.profiles.is_empty() || options.profiles.contains(name);
        let mut profiles = Vec::new();
        let mut errors = Vec::new();
        for (index, profile) in config
            .profiles
            .iter()
            .enumerate()
            .filter(|(_, profile)| wanted(&profile.name))
        {
            let pinned = options.pinned.and_then(|pinned| pinned.get(&profile.name));
            let pinned = pinned.filter(|_| self.keeps_versions(&profile.name));
            match self.profile(index, profile, options.home_account, pinned) {
                Ok(profile) => profiles.push(profile),
                Err(error) if errors.contains(&error) => {}
                Err(error) => errors.push(error),
            }
        }
        let audit = match self.audit_profile(options.home_account) {
            Ok(audit) => audit,
            Err(error) => {
                errors.push(error);
                None
            }
        };
        let remediation = match self.remediation(options.home_account) {
            Ok(remediation) => remediation,
            Err(error) => {
                errors.push(error);
                None
            }
        };
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        profiles.sort_by(|a, b| a.name.cmp(&b.name));
        let other_profiles = config
            .profiles
            .iter()
            .filter(|profile| !wanted(&profile.name))
            .map(|profile| (profile.name.clone(), profile.targets.resolved()))
            .collect();
        Ok(Desired {
            profiles,
            audit,
            remediation,
            billing_engine: config.billing_engine.source(),
            spot_principal: config
                .spot_principal()
                .map(|principal| principal.as_str().to_owned())
                .unwrap_or_default(),
            other_profiles,
            protected_accounts: config
                .protected_accounts
                .iter()
                .map(|account| account.0)
                .collect(),
            direct_ceiling: usize::try_from(config.enrollment.direct_ceiling).unwrap_or(usize::MAX),
            removal: RemovalLimits {
                closed_grace_seconds: i64::try_from(config.removal.closed_grace.get().as_secs())
                    .unwrap_or(i64::MAX),
                max_removals: usize::try_from(config.removal.max_removals).unwrap_or(usize::MAX),
                max_shrink: config.removal.max_shrink.as_fraction(),
            },
            remakes: BTreeSet::from([StackRemoval::RoleGone, StackRemoval::SpotAccountGone]),
            quarantine_after: config.retry_failed.quarantine_after,
            retry_failed: options.retry_failed,
            activate_trusted_access: config.prerequisites.activate_trusted_access,
        })
    }

    /// Checks what reading alone cannot find: policy files that are missing or refused, templates that are too large.
    /// Needs no credentials: where the home account is not known yet, any account stands for it.
    ///
    /// # Errors
    /// As [`Loaded::desired`].
    pub fn check(&self) -> Result<(), ConfigErrors> {
        let home_account = AwsAccountId::from_number(0);
        self.desired(DesiredOptions {
            home_account,
            ..DesiredOptions::default()
        })
        .map(drop)
    }

    /// The template of the profile of this name, for `runner template render`.
    ///
    /// # Errors
    /// As [`Loaded::desired`]; or there is no such profile.
    pub fn template(
        &self,
        profile: &str,
        home_account: Option<AwsAccountId>,
    ) -> Result<Template, ConfigErrors> {
        let profiles = &self.runner.profiles;
        match profiles
            .iter()
            .position(|candidate| candidate.name == profile)
        {
            Some(index) => {
                let provider = self.provider(home_account)?;
                Ok(self.profile_template(index, &profiles[index], provider, None)?)
            }
            None => {
                let names = || profiles.iter().map(|profile| profile.name.as_str());
                let help = match nearest(profile, names()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("known are {}", names().collect::<Vec<_>>().join(", ")),
                };
                Err(ConfigError::without_place(
                    format!("there is no profile {profile:?} in runner.toml"),
                    &help,
                )
                .into())
            }
        }
    }

    fn profile(
        &self,
        index: usize,
        profile: &ProfileConfig,
        home_account: Option<AwsAccountId>,
        pinned: Option<&PinnedVersions>,
    ) -> Result<Profile, ConfigError> {
        let config = &self.runner;
        let provider = self.provider(home_account)?;
        let is_direct = provider == Provider::Direct;
        let stack_set = config
            .stack_set_name(profile)
            .map_err(|error| self.error_at(index, &["name"], &error))?;
        let enrollment = DirectEnrollment {
            role_name: direct_role_name(&stack_set),
            rename: match &profile.naming.rename.0 {
                RenameRule::Off => None,
                rule => Some(rule.to_string()),
            },
            cost_intelligence: profile.products.contains(&Product::CostIntelligence),
        };
        let definition = self.definition(index, profile, provider, pinned)?;
        // Its plain stack is no part of a rollout: it gets a version when that has become good.
        let good = pinned.map(|pinned| PinnedVersions {
            current: pinned.current.clone(),
            next: None,
        });
        let management = match profile.management_account {
            true => Some(ManagementStack {
                definition: self.definition(index, profile, Provider::Direct, good.as_ref())?,
                enrollment: enrollment.clone(),
            }),
            false => None,
        };
        Ok(Profile {
            name: profile.name.clone(),
            purpose: Purpose::Enrollment,
            stack_set,
            region: config.stack_set_region().clone(),
            targets: profile.targets.resolved(),
            deployment: match profile.deployment {
                Some(DeploymentConfig::Auto) => Some(Deployment::Auto),
                Some(DeploymentConfig::Runner) => Some(Deployment::Runner),
                None => is_direct.then_some(Deployment::Runner),
            },
            adopt: profile.adopt.into(),
            access: profile.access_grants(),
            deletion: deletion(config),
            managed_execution: config.stack_set.managed_execution,
            definition,
            direct: is_direct.then_some(enrollment),
            management,
        })
    }

    /// The definition of a profile's stack set, or of the management account's stack, with this provider.
    fn definition(
        &self,
        index: usize,
        profile: &ProfileConfig,
        provider: Provider,
        pinned: Option<&PinnedVersions>,
    ) -> Result<StackSetDefinition, ConfigError> {
        let config = &self.runner;
        let rendered = self
            .profile_template(index, profile, provider, pinned)?
            .render(Format::CompactJson)
            .map_err(|error| self.error_at(index, &["name"], &error))?;
        Ok(StackSetDefinition {
            description: config.stack_set.description.clone(),
            template_body: rendered.body,
            template_digest: rendered.digest,
            parameters: rendered.parameters,
            secret_parameters: rendered.secret_parameters,
            tags: config.stack_set.tags.clone(),
            capabilities: rendered.capabilities,
        })
    }

    fn profile_template(
        &self,
        index: usize,
        profile: &ProfileConfig,
        provider: Provider,
        pinned: Option<&PinnedVersions>,
    ) -> Result<Template, ConfigError> {
        let config = &self.runner;
        let partition = config.partition();
        let role_name = match &provider {
            Provider::Direct => {
                let stack_set = config.stack_set_name(profile);
                let stack_set =
                    stack_set.map_err(|error| self.error_at(index, &["name"], &error))?;
                Some(direct_role_name(&stack_set))
            }
            Provider::Queue { .. } | Provider::SpotHosted { .. } => None,
        };
        let policies = self.policies(index, profile)?;
        let spec = TemplateSpec {
            description: template::DEFAULT_DESCRIPTION.to_owned(),
            partition,
            provider,
            spot_principal: config.spot_principal().ok_or_else(|| {
                self.error(
                    &["aws", "region"],
                    "Spot's principal is not known",
                    "set spot.principal",
                )
            })?,
            policy_version: template::default_policy_version(&policies),
            policies,
            products: Products {
                cost_intelligence: profile.products.contains(&Product::CostIntelligence),
            },
            rename: profile.naming.rename.0 != RenameRule::Off,
            service_timeout_seconds: u32::try_from(
                config.enrollment.service_timeout.get().as_secs(),
            )
            .unwrap_or(u32::MAX),
            deletion: deletion(config),
            role: RoleSettings {
                name: role_name,
                permissions_boundary: profile
                    .permissions_boundary
                    .as_ref()
                    .map(|boundary| boundary.template_arn(partition.as_str())),
                ..RoleSettings::default()
            },
            pinned: pinned.cloned(),
        };
        Template::new(&spec).map_err(|error| self.error_at(index, &["name"], &error))
    }

    fn provider(&self, home_account: Option<AwsAccountId>) -> Result<Provider, ConfigError> {
        let enrollment = &self.runner.enrollment;
        match enrollment.provider {
            ProviderKind::Queue => {
                let topic_arn = self.runner.topic(home_account).ok_or_else(|| {
                    self.error(
                        &["enrollment"],
                        "the provider \"queue\" needs a topic, and the account that owns the default one is not known",
                        "set enrollment.topic_arn to the ARN of the topic that `runner bootstrap` made",
                    )
                })?;
                Ok(Provider::Queue { topic_arn })
            }
            ProviderKind::Direct => Ok(Provider::Direct),
            ProviderKind::SpotHosted => Ok(Provider::SpotHosted {
                cost_intelligence_function: enrollment
                    .cost_intelligence_lambda
                    .as_ref()
                    .map(|name| name.as_str().to_owned()),
            }),
        }
    }

    /// The policies of the profile of this name, as its files say.
    ///
    /// # Errors
    /// As [`Loaded::desired`]; or there is no such profile.
    pub fn profile_policies(&self, profile: &str) -> Result<Vec<NamedPolicy>, ConfigErrors> {
        let profiles = &self.runner.profiles;
        let found = profiles
            .iter()
            .position(|candidate| candidate.name == profile);
        match found {
            Some(index) => Ok(self.policies(index, &profiles[index])?),
            None => Err(ConfigError::without_place(
                format!("there is no profile {profile:?} in runner.toml"),
                "name one that is there",
            )
            .into()),
        }
    }

    /// Reads the policies of the profile's products.
    fn policies(
        &self,
        index: usize,
        profile: &ProfileConfig,
    ) -> Result<Vec<NamedPolicy>, ConfigError> {
        profile
            .products
            .iter()
            .map(|product| {
                let (purpose, key, path) = match product {
                    Product::ElastigroupOcean => (
                        PolicyPurpose::ElastigroupOcean,
                        "elastigroup-ocean",
                        &profile.policies.elastigroup_ocean,
                    ),
                    Product::CostIntelligence => (
                        PolicyPurpose::CostIntelligence,
                        "cost-intelligence",
                        &profile.policies.cost_intelligence,
                    ),
                };
                let path = self.dir.join(path);
                let at = index.to_string();
                let at = ["profiles", &at, "policies", key];
                let text = fs::read_to_string(&path).map_err(|error| {
                    let message = format!("could not read the policy {}: {error}", path.display());
                    self.error(
                        &at,
                        &message,
                        "paths of policies are relative to the configuration directory",
                    )
                })?;
                let document = PolicyDocument::parse(&text).map_err(|error| {
                    let message = format!(
                        "the policy {} cannot be used: {}",
                        path.display(),
                        describe(&error)
                    );
                    self.error(&at, &message, "mend the file; IAM would refuse it as well")
                })?;
                Ok(NamedPolicy { purpose, document })
            })
            .collect()
    }

    /// An error of the template, at a key of a profile.
    fn error_at(&self, index: usize, path: &[&str], error: &dyn std::error::Error) -> ConfigError {
        let index = index.to_string();
        let path = [&["profiles", index.as_str()], path].concat();
        self.error(
            &path,
            &describe(error),
            "nothing was changed; mend the configuration and run again",
        )
    }

    fn error(&self, path: &[&str], message: &str, help: &str) -> ConfigError {
        let span = self
            .source
            .parse()
            .map_or(0..0, |document| locate(&document, path));
        self.source.error(Problem {
            span,
            message: message.to_owned(),
            help: Some(help.to_owned()),
        })
    }
}

fn deletion(config: &RunnerConfig) -> template::Deletion {
    config.enrollment.deletion.into()
}

/// An error with its causes.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
