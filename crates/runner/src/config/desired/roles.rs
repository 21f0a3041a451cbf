//! The roles that the runner itself uses in accounts, the audit role and the remediation role: their templates and stack sets.

use std::collections::BTreeSet;

use onboarding_core::{
    desired::{
        AdoptRule, Deployment, OuRef, Profile, Purpose, Remediation, StackSetDefinition, Targets,
    },
    ids::{AwsAccountId, InvalidId, StackSetName},
    template::{
        self, AuditRoleSpec, Format, OurNames, RemediationRoleSpec, RoleSettings, Template,
    },
};

use super::{
    super::{error::ConfigError, load::Loaded, profile::DeploymentConfig, runner::ProviderKind},
    AUDIT_PROFILE, REMEDIATION_PROFILE, describe, direct_role_name,
};

/// The stack set of one of the roles that the runner itself uses in accounts.
struct RoleStackSet {
    /// Its section of the configuration.
    section: &'static str,
    /// The name under which it is planned.
    name: &'static str,
    purpose: Purpose,
    stack_set: Result<StackSetName, InvalidId>,
    description: &'static str,
}

impl Loaded {
    /// The audit role's stack set, as it is planned; none when we deploy none.
    pub(super) fn audit_profile(
        &self,
        home_account: Option<AwsAccountId>,
    ) -> Result<Option<Profile>, ConfigError> {
        let template = self.audit_template(home_account)?;
        let profile = |template| {
            let role = RoleStackSet {
                section: "audit",
                name: AUDIT_PROFILE,
                purpose: Purpose::AuditRole,
                stack_set: self.runner.audit_stack_set_name(),
                description: template::AUDIT_ROLE_DESCRIPTION,
            };
            self.role_profile(role, &template)
        };
        template.map(profile).transpose()
    }

    /// The remediation role; none when stray policies are left to a person.
    pub(super) fn remediation(
        &self,
        home_account: Option<AwsAccountId>,
    ) -> Result<Option<Remediation>, ConfigError> {
        let Some(template) = self.remediation_template(home_account)? else {
            return Ok(None);
        };
        let role = RoleStackSet {
            section: "remediation",
            name: REMEDIATION_PROFILE,
            purpose: Purpose::RemediationRole,
            stack_set: self.runner.remediation_stack_set_name(),
            description: template::REMEDIATION_ROLE_DESCRIPTION,
        };
        Ok(Some(Remediation {
            profile: self.role_profile(role, &template)?,
            max_roles: usize::try_from(self.runner.remediation.max_roles).unwrap_or(usize::MAX),
            leftover_units: self.leftover_units(),
        }))
    }

    /// The units beside all targets whose accounts have the remediation role.
    fn leftover_units(&self) -> Vec<OuRef> {
        let remediation = &self.runner.remediation;
        if !remediation.deletes_leftover_stacks() {
            return Vec::new();
        }
        let units = remediation.organizational_units.iter();
        units.map(|unit| unit.0.clone()).collect()
    }

    /// The stack set of one of the roles that the runner itself uses in accounts.
    fn role_profile(
        &self,
        role: RoleStackSet,
        template: &Template,
    ) -> Result<Profile, ConfigError> {
        let config = &self.runner;
        let failed = |error: &dyn std::error::Error| self.role_error(role.section, error);
        let rendered = template
            .render(Format::CompactJson)
            .map_err(|error| failed(&error))?;
        let is_direct = config.enrollment.provider == ProviderKind::Direct;
        let is_finer = config.profiles.iter().any(|profile| {
            is_direct
                || profile.deployment == Some(DeploymentConfig::Runner)
                || profile.targets.resolved().is_finer_than_ous()
        });
        let accounts = config
            .profiles
            .iter()
            .flat_map(|profile| &profile.targets.accounts);
        Ok(Profile {
            name: role.name.to_owned(),
            purpose: role.purpose,
            stack_set: role.stack_set.map_err(|error| failed(&error))?,
            region: config.stack_set_region().clone(),
            targets: Targets {
                accounts: accounts.map(|account| account.0).collect(),
                ..Targets::default()
            },
            // AWS deploys it where AWS deploys every profile.
            deployment: Some(if is_finer {
                Deployment::Runner
            } else {
                Deployment::Auto
            }),
            adopt: AdoptRule::default(),
            access: BTreeSet::new(),
            // The role has a fixed name: a stack that is left behind would be in the way of the next one.
            deletion: template::Deletion::Stack,
            managed_execution: config.stack_set.managed_execution,
            definition: StackSetDefinition {
                description: role.description.to_owned(),
                template_body: rendered.body,
                template_digest: rendered.digest,
                parameters: rendered.parameters,
                secret_parameters: rendered.secret_parameters,
                tags: config.stack_set.tags.clone(),
                capabilities: rendered.capabilities,
            },
            direct: None,
            management: None,
        })
    }

    /// The template of the audit role; none when we deploy none.
    ///
    /// # Errors
    /// The home account is not known, or IAM would refuse the role.
    pub fn audit_template(
        &self,
        home_account: Option<AwsAccountId>,
    ) -> Result<Option<Template>, ConfigError> {
        let config = &self.runner;
        let audit = &config.audit;
        if !audit.is_deployed() {
            return Ok(None);
        }
        let missing = |what: &str, help: &str| {
            self.error(
                &["audit"],
                &format!("the audit role cannot be made: {what} is not known"),
                help,
            )
        };
        let partition = config.partition();
        let mut stack_sets = config
            .profiles
            .iter()
            .map(|profile| config.stack_set_name(profile))
            .collect::<Result<BTreeSet<_>, _>>()
            .map_err(|error| self.role_error("audit", &error))?;
        stack_sets.extend(config.audit_stack_set_name().ok());
        let spec = AuditRoleSpec {
            partition,
            region: config.stack_set_region().clone(),
            role: RoleSettings {
                name: Some(audit.name.0.0.clone()),
                path: (audit.path.0.0 != "/").then(|| audit.path.0.0.clone()),
                permissions_boundary: audit
                    .permissions_boundary
                    .as_ref()
                    .map(|boundary| boundary.template_arn(partition.as_str())),
            },
            home_account: home_account
                .ok_or_else(|| missing("the home account", "give --home-account"))?,
            principals: audit
                .principals
                .iter()
                .map(|principal| principal.0.0.clone())
                .collect(),
            organization: audit
                .organization_id
                .as_ref()
                .map(|id| id.0.clone())
                .ok_or_else(|| missing("the organization", "set audit.organization_id"))?,
            stack_sets,
        };
        spec.template()
            .map(Some)
            .map_err(|error| self.role_error("audit", &error))
    }

    /// The template of the remediation role; none when stray policies are left to a person.
    ///
    /// # Errors
    /// The home account is not known, or IAM would refuse the role.
    pub fn remediation_template(
        &self,
        home_account: Option<AwsAccountId>,
    ) -> Result<Option<Template>, ConfigError> {
        let config = &self.runner;
        let remediation = &config.remediation;
        if !remediation.enabled {
            return Ok(None);
        }
        let missing = |what: &str, help: &str| {
            self.error(
                &["remediation"],
                &format!("the remediation role cannot be made: {what} is not known"),
                help,
            )
        };
        let partition = config.partition();
        let is_direct = config.enrollment.provider == ProviderKind::Direct;
        let names = config.profiles.iter().map(|profile| {
            let stack_set = config.stack_set_name(profile)?;
            Ok(match is_direct {
                true => OurNames::Given {
                    role: direct_role_name(&stack_set),
                    stack_set,
                },
                false => OurNames::OfStackSet(stack_set),
            })
        });
        let names: Result<BTreeSet<_>, InvalidId> = names.collect();
        let spec = RemediationRoleSpec {
            partition,
            role: RoleSettings {
                name: Some(remediation.name.0.0.clone()),
                path: (remediation.path.0.0 != "/").then(|| remediation.path.0.0.clone()),
                permissions_boundary: remediation
                    .permissions_boundary
                    .as_ref()
                    .map(|boundary| boundary.template_arn(partition.as_str())),
            },
            home_account: home_account
                .ok_or_else(|| missing("the home account", "give --home-account"))?,
            principals: remediation
                .principals
                .iter()
                .map(|principal| principal.0.0.clone())
                .collect(),
            organization: remediation
                .organization_id
                .as_ref()
                .or(config.audit.organization_id.as_ref())
                .map(|id| id.0.clone())
                .ok_or_else(|| missing("the organization", "set remediation.organization_id"))?,
            names: names.map_err(|error| self.role_error("remediation", &error))?,
            deletes_leftover_stacks: remediation.deletes_leftover_stacks(),
        };
        spec.template()
            .map(Some)
            .map_err(|error| self.role_error("remediation", &error))
    }

    fn role_error(&self, section: &str, error: &dyn std::error::Error) -> ConfigError {
        self.error(
            &[section],
            &describe(error),
            "nothing was changed; mend the configuration and run again",
        )
    }
}
