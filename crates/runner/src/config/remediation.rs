//! `[remediation]`: the role that stray policies are taken away through, and stacks that were left.

use onboarding_core::{desired::OuRef, ids::OrganizationId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    arn::PermissionsBoundary,
    audit::{HomePrincipal, RoleName, RolePath},
    text::Text,
};

/// The remediation role: inline and attached policies that somebody gave our roles and that their template does not have are
/// taken away through it, by an audit that is asked to fix (`drift-audit --fix`). It may do nothing else, and only to roles
/// with the names that our stacks give. Without it, such policies are left to a person. It needs the audit role, which finds them.
/// With `leftover_stacks`, `orphan-cleanup` deletes stacks of ours through it that were left in accounts which no profile targets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RemediationConfig {
    /// Whether the runner deploys the role, as the stack set `<stack_set.name_prefix>-remediation-role` in the accounts of all
    /// profiles, and uses it.
    pub enabled: bool,
    /// Its name.
    pub name: Text<RoleName>,
    /// Its path.
    pub path: Text<RolePath>,
    /// The policy that bounds what it can ever do: the ARN of an AWS managed policy, or the name of a policy that every account
    /// has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions_boundary: Option<Text<PermissionsBoundary>>,
    /// Who of the home account may assume it: the runner's own role, and whoever else runs it. Needed for it.
    pub principals: Vec<Text<HomePrincipal>>,
    /// The organization that they must belong to. Without it, `audit.organization_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<Text<OrganizationId>>,
    /// At most this many roles lose policies in one run; where it would be more, none does.
    #[schemars(range(min = 1))]
    pub max_roles: u32,
    /// Whether `orphan-cleanup` with `remove_outside_targets` deletes stacks of ours through it that were left in active accounts
    /// which no profile targets, with their roles and policies. Without it, a person gets the command.
    pub leftover_stacks: bool,
    /// Where else than in the profiles' targets the role is deployed with `leftover_stacks`, so that it is there once an account has left
    /// them: "root", ids or paths of names. Needed for it.
    pub organizational_units: Vec<Text<OuRef>>,
}

impl Default for RemediationConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            name: Text(RoleName("spot-onboarding-remediation".to_owned())),
            path: Text(RolePath("/".to_owned())),
            permissions_boundary: None,
            principals: Vec::new(),
            organization_id: None,
            max_roles: 10,
            leftover_stacks: false,
            organizational_units: Vec::new(),
        }
    }
}

impl RemediationConfig {
    /// Whether stacks that were left are deleted through the role.
    #[must_use]
    pub fn deletes_leftover_stacks(&self) -> bool {
        self.enabled && self.leftover_stacks
    }

    /// The path and name of the role; none when stray policies are left to a person.
    #[must_use]
    pub fn role_path_and_name(&self) -> Option<String> {
        self.enabled
            .then(|| format!("{}{}", self.path.0, self.name.0))
    }
}
