//! The checks of a specification before anything is rendered: what CloudFormation or IAM would refuse later.

use super::{
    Partition, PolicyPurpose, Provider, RoleSettings, TemplateError, TemplateSpec,
    spec::MAX_POLICY_VERSION,
};

impl TemplateSpec {
    pub(super) fn check(&self) -> Result<(), TemplateError> {
        let partition = self.partition.as_str();
        if self.description.len() > 1_024 {
            return Err(TemplateError::Description {
                size: self.description.len(),
            });
        }
        if !(1..=3_600).contains(&self.service_timeout_seconds) {
            return Err(TemplateError::ServiceTimeout {
                seconds: self.service_timeout_seconds,
            });
        }
        let pinned = self.pinned.iter();
        let pinned = pinned.flat_map(|pinned| [Some(&pinned.current), pinned.next.as_ref()]);
        let names = pinned.flatten().map(|version| &version.name);
        for name in names.chain([&self.policy_version]) {
            if !is_text(name, MAX_POLICY_VERSION, b"") {
                return Err(TemplateError::PolicyVersion {
                    value: name.clone(),
                });
            }
        }
        self.check_partition("Spot's principal", self.spot_principal.partition())?;
        match &self.provider {
            Provider::Queue { topic_arn } => {
                self.check_partition("the provider's topic", topic_arn.partition())?;
            }
            Provider::SpotHosted { .. } if self.partition != Partition::Aws => {
                return Err(TemplateError::SpotHostedPartition { partition });
            }
            Provider::SpotHosted {
                cost_intelligence_function: Some(name),
            } if !is_text(name, 64, b"-_") => {
                return Err(TemplateError::FunctionName {
                    value: name.clone(),
                });
            }
            Provider::SpotHosted { .. } => {}
            Provider::Direct if self.role.name.is_none() => {
                return Err(TemplateError::DirectRoleName);
            }
            Provider::Direct => {}
        }
        self.role.check(partition)?;
        self.check_policies()
    }

    fn check_partition(&self, what: &'static str, found: &str) -> Result<(), TemplateError> {
        let partition = self.partition.as_str();
        if found == partition {
            return Ok(());
        }
        Err(TemplateError::OtherPartition {
            what,
            found: found.to_owned(),
            partition,
        })
    }

    fn check_policies(&self) -> Result<(), TemplateError> {
        if self.policies.is_empty() {
            return Err(TemplateError::NoPolicy);
        }
        for (index, policy) in self.policies.iter().enumerate() {
            let purpose = &policy.purpose;
            if self.policies[..index].iter().any(|p| p.purpose == *purpose) {
                return Err(TemplateError::DuplicatePolicy {
                    purpose: purpose.clone(),
                });
            }
            if let PolicyPurpose::Extra(name) = purpose
                && !(is_text(name, 64, b"") && name.as_bytes()[0].is_ascii_alphabetic())
            {
                return Err(TemplateError::ExtraPolicyName {
                    value: name.clone(),
                });
            }
        }
        let has_cost_policy = self
            .policies
            .iter()
            .any(|policy| policy.purpose == PolicyPurpose::CostIntelligence);
        if self.products.cost_intelligence && !has_cost_policy {
            return Err(TemplateError::CostIntelligencePolicyMissing);
        }
        Ok(())
    }
}

impl RoleSettings {
    pub(super) fn check(&self, partition: &'static str) -> Result<(), TemplateError> {
        if let Some(name) = &self.name
            && !is_text(name, 64, b"_+=,.@-")
        {
            return Err(TemplateError::RoleName {
                value: name.clone(),
            });
        }
        if let Some(path) = &self.path {
            let valid = path.len() <= 512
                && path.starts_with('/')
                && path.ends_with('/')
                && path.bytes().all(|b| b.is_ascii_graphic());
            if !valid {
                return Err(TemplateError::RolePath {
                    value: path.clone(),
                });
            }
        }
        if let Some(boundary) = &self.permissions_boundary {
            let rest = boundary.strip_prefix(&format!("arn:{partition}:iam::"));
            let valid = rest
                .and_then(|rest| rest.split_once(":policy/"))
                .is_some_and(|(account, name)| {
                    (account == "aws" || account == "${AWS::AccountId}" || is_account(account))
                        && is_text(name, 640, b"_+=,.@-/")
                });
            if !valid {
                return Err(TemplateError::PermissionsBoundary {
                    value: boundary.clone(),
                    partition,
                });
            }
        }
        Ok(())
    }
}

pub(super) fn is_account(text: &str) -> bool {
    text.parse::<crate::ids::AwsAccountId>().is_ok()
}

/// Whether the text has 1 to `max` characters, all of them ASCII letters, digits or one of `others`.
pub(super) fn is_text(text: &str, max: usize, others: &[u8]) -> bool {
    (1..=max).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || others.contains(&b))
}
