//! What should be: profiles (which organizational units get which policies, products, names and adopt rule), mapped
//! from configuration by the program.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AccessPolicyId, AwsAccountId, InvalidId, OuId, Region, StackSetName, UserGroupId},
    inventory::Tags,
    stackset_sync::StackRemoval,
    template::{Deletion, OurNames},
};

/// A parent named in configuration: the root, an id, or a path of names below the root (`Workloads/Prod`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OuRef {
    /// The root of the organization, whatever its id (`root`).
    Root,
    /// By id.
    Id(OuId),
    /// By the names from below the root down to it, joined by `/`.
    Path(String),
}

impl FromStr for OuRef {
    type Err = InvalidId;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if s.eq_ignore_ascii_case("root") {
            return Ok(Self::Root);
        }
        if s.starts_with("ou-") || s.starts_with("r-") {
            return s.parse().map(Self::Id);
        }
        let path = s.trim_matches('/');
        let path = path.strip_prefix("Root/").unwrap_or(path);
        if path.is_empty() || path.split('/').any(|name| name.trim().is_empty()) {
            return Err(InvalidId {
                value: s.to_owned(),
                expected: "\"root\", an organizational unit id (ou-…), a root id (r-…) or a path of names (Workloads/Prod)",
            });
        }
        Ok(Self::Path(path.to_owned()))
    }
}

impl std::fmt::Display for OuRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => f.write_str("root"),
            Self::Id(id) => id.fmt(f),
            Self::Path(path) => f.write_str(path),
        }
    }
}

/// Which accounts a profile is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Targets {
    /// All accounts below these parents.
    pub ous: Vec<OuRef>,
    /// Of those, only accounts that carry every one of these tags, with one of its values; all when empty.
    pub tags: BTreeMap<String, BTreeSet<String>>,
    /// Accounts beside those, whatever their tags.
    pub accounts: BTreeSet<AwsAccountId>,
    /// Except all accounts below these parents.
    pub exclude_ous: Vec<OuRef>,
    /// Except these accounts.
    pub exclude_accounts: BTreeSet<AwsAccountId>,
}

impl Targets {
    /// Whether the selection is finer than organizational units, which AWS's auto-deployment ignores.
    #[must_use]
    pub fn is_finer_than_ous(&self) -> bool {
        !(self.accounts.is_empty()
            && self.tags.is_empty()
            && self.exclude_ous.is_empty()
            && self.exclude_accounts.is_empty())
    }

    /// Whether an account with these tags carries every one that is asked for. Keys and values are compared as they are
    /// written, as AWS does (AWS Organizations User Guide, "Tagging AWS Organizations resources").
    #[must_use]
    pub fn tags_match(&self, tags: &Tags) -> bool {
        self.tags
            .iter()
            .all(|(key, values)| tags.get(key).is_some_and(|value| values.contains(value)))
    }
}

/// Who creates stack instances for accounts that appear later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deployment {
    /// AWS's auto-deployment. It ignores excludes, account lists and tags.
    Auto,
    /// This program, on schedule and on events; auto-deployment is off.
    Runner,
}

/// What to do with an account that is already linked to a Spot account which we did not link.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum AdoptRule {
    /// Keep that link: report the account as enrolled elsewhere and change nothing.
    #[default]
    KeepLink,
    /// Take it over: our role, policies, link and name.
    Relink,
    /// Refuse, with a finding.
    Refuse,
}

/// Who may see the accounts of a profile in Spot: the members of a user group, as far as an access policy lets them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AccessGrant {
    /// The user group.
    pub user_group: UserGroupId,
    /// The access policy that its members have in these accounts; one of accounts, not of the organization.
    pub policy: AccessPolicyId,
}

/// Where the billing data of the management account is: its Cost and Usage Report (Spot's OpenAPI document,
/// `BERegisteredSetupAccountAwsConfigBillingSource`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillingSource {
    /// The S3 bucket that AWS delivers the report to.
    pub bucket: String,
    /// The bucket's Region.
    pub region: Region,
    /// The report's path prefix and name.
    pub path_prefix: String,
}

/// A stack set's definition as it should be, ready to be compared and sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackSetDefinition {
    /// Its description.
    pub description: String,
    /// The rendered template, as it is sent.
    pub template_body: String,
    /// The template's digest ([`crate::template`]).
    pub template_digest: String,
    /// Parameters whose values we know, by name.
    pub parameters: BTreeMap<String, String>,
    /// NoEcho parameters: given when the stack set is made, kept with UsePreviousValue afterwards.
    pub secret_parameters: BTreeSet<String>,
    /// Tags on the stack set and its stacks.
    pub tags: BTreeMap<String, String>,
    /// Capabilities that the template needs.
    pub capabilities: BTreeSet<String>,
}

/// What the stacks of a stack set are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Purpose {
    /// They enroll their accounts in Spot.
    #[default]
    Enrollment,
    /// They make the audit role, in the accounts of all profiles.
    AuditRole,
    /// They make the remediation role, in the accounts of all profiles and of [`Remediation::leftover_units`].
    RemediationRole,
}

/// What the runner does at Spot by itself for an account whose stack has no custom resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectEnrollment {
    /// The name of the role that the stack makes: with it the role's ARN is known without asking the account.
    pub role_name: String,
    /// The rule by which the Spot account is named; none when it is not.
    pub rename: Option<String>,
    /// Whether Cost Intelligence is switched on.
    pub cost_intelligence: bool,
}

impl DirectEnrollment {
    /// How every [`DirectEnrollment::mark`] begins.
    pub const MARK: &str = "direct: ";

    /// Names what is done. An account for which something else was done before is not finished.
    #[must_use]
    pub fn mark(&self) -> String {
        format!(
            "{}role {}, name {}, cost intelligence {}",
            Self::MARK,
            self.role_name,
            self.rename.as_deref().unwrap_or("off"),
            self.cost_intelligence
        )
    }
}

/// The plain stack that enrolls the management account, which stack sets never deploy to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagementStack {
    /// What it is made from. Its name is that of the stack set.
    pub definition: StackSetDefinition,
    /// What is done at Spot for it.
    pub enrollment: DirectEnrollment,
}

/// One profile: a set of accounts and how they are enrolled, through a stack set of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name in configuration.
    pub name: String,
    /// What its stacks are for.
    pub purpose: Purpose,
    /// Its stack set.
    pub stack_set: StackSetName,
    /// The one Region that it deploys to: IAM is global, and a custom resource's topic must be in the stack's Region.
    pub region: Region,
    /// Which accounts it is for.
    pub targets: Targets,
    /// Who deploys to accounts that appear later; none: decided by [`Targets::is_finer_than_ous`].
    pub deployment: Option<Deployment>,
    /// What to do with accounts that are already linked.
    pub adopt: AdoptRule,
    /// Who may see its accounts in Spot.
    pub access: BTreeSet<AccessGrant>,
    /// What deleting a stack does to its Spot account.
    pub deletion: Deletion,
    /// Whether non-conflicting operations may run together.
    pub managed_execution: bool,
    /// The definition of the stack set.
    pub definition: StackSetDefinition,
    /// What the runner does at Spot by itself; none when custom resources ask for it.
    pub direct: Option<DirectEnrollment>,
    /// How the management account is enrolled; none when it is left alone.
    pub management: Option<ManagementStack>,
}

impl Profile {
    /// Whether accounts that leave the targets keep their stacks: what becomes of them is then decided by reconciling,
    /// not by a move.
    #[must_use]
    pub fn retains_stacks(&self) -> bool {
        self.deletion == Deletion::Reconcile
    }

    /// What its stacks name the roles and policies that they make.
    #[must_use]
    pub fn names(&self) -> OurNames {
        let stack_set = self.stack_set.clone();
        match &self.direct {
            Some(direct) => OurNames::Given {
                stack_set,
                role: direct.role_name.clone(),
            },
            None => OurNames::OfStackSet(stack_set),
        }
    }
}

/// The role through which stray policies are taken away, and stacks that were left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remediation {
    /// Its stack set. As the audit role's, it is for the accounts of all profiles, and for those of the units below.
    pub profile: Profile,
    /// At most this many roles lose policies in one run.
    pub max_roles: usize,
    /// The units beside the profiles' targets whose accounts have the role as well, so that stacks which were left in accounts that
    /// moved there are deleted through it. Empty where a person deletes them.
    pub leftover_units: Vec<OuRef>,
}

/// Limits that every removal obeys.
#[derive(Debug, Clone, PartialEq)]
pub struct RemovalLimits {
    /// How long a closed account keeps its stack instance, in seconds.
    pub closed_grace_seconds: i64,
    /// At most this many removals per run.
    pub max_removals: usize,
    /// Refuse removals when the organization lists fewer accounts than last time by more than this share (0.0 to 1.0).
    pub max_shrink: f64,
}

/// Everything that should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// The profiles, sorted by name.
    pub profiles: Vec<Profile>,
    /// The audit role's stack set, when we deploy one. It is for the accounts of all profiles: its own targets only say how
    /// fine those are.
    pub audit: Option<Profile>,
    /// The role through which stray policies are taken away, and stacks that were left; none when a person does that.
    pub remediation: Option<Remediation>,
    /// The billing data that Billing Engine shall read; none when Billing Engine is not asked for.
    pub billing_engine: Option<BillingSource>,
    /// The principal that Spot assumes its roles with, an ARN.
    pub spot_principal: String,
    /// The targets of the profiles that are not asked for, by name: no account may be in two profiles, whichever of them
    /// are planned.
    pub other_profiles: BTreeMap<String, Targets>,
    /// Accounts that nothing is ever removed from.
    pub protected_accounts: BTreeSet<AwsAccountId>,
    /// Most accounts that profiles without custom resources may target together: each is one operation.
    pub direct_ceiling: usize,
    /// Limits that every removal obeys.
    pub removal: RemovalLimits,
    /// For the loss of what a stack may be removed to be made anew.
    pub remakes: BTreeSet<StackRemoval>,
    /// Failed attempts after which an account is quarantined.
    pub quarantine_after: u32,
    /// Whether failed accounts are retried now, whatever their clock says (`--retry-failed`).
    pub retry_failed: bool,
    /// Whether trusted access may be switched on.
    pub activate_trusted_access: bool,
}

impl Desired {
    /// The stack sets of the roles that the runner itself uses in accounts.
    pub fn roles(&self) -> impl Iterator<Item = &Profile> {
        let remediation = self.remediation.iter();
        let remediation = remediation.map(|remediation| &remediation.profile);
        self.audit.iter().chain(remediation)
    }

    /// The units beside all targets whose accounts have the remediation role.
    #[must_use]
    pub fn leftover_units(&self) -> &[OuRef] {
        let remediation = self.remediation.as_ref();
        remediation.map_or(&[], |remediation| &remediation.leftover_units)
    }

    /// The targets of all profiles, asked for or not.
    pub fn all_targets(&self) -> impl Iterator<Item = &Targets> {
        let asked_for = self.profiles.iter().map(|profile| &profile.targets);
        asked_for.chain(self.other_profiles.values())
    }
}
