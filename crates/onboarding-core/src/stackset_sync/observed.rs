//! What `stackset-sync` observes before it plans.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{mend::MendOf, past_links::LinkRecords};
use crate::{
    access::GroupPolicy,
    ids::{AwsAccountId, ExternalId, OuId, SpotAccountId, UserGroupId},
    inventory::{
        AccountTags, InstanceStatus, LinkEvidence, ObservedStackSet, OrganizationSnapshot,
        SpotAccountRecord, StackInstance,
    },
    policy_rollout::Rollout,
    template::POLICY_VERSION_PARAMETER,
};

/// Everything that one run knows.
#[derive(Debug, Clone)]
pub struct SyncObserved {
    /// The organization, whole: a partial listing is an error before it gets here.
    pub organization: Arc<OrganizationSnapshot>,
    /// The tags of the accounts that tags decide about ([`super::targets::decided_by_tags`]). One that is missing left the
    /// organization between its listing and the reading of its tags.
    pub account_tags: Arc<AccountTags>,
    /// How many accounts the organization listed in the last run that listed it.
    pub previous_account_count: Option<usize>,
    /// Since when (Unix seconds) each closed account has been seen closed.
    pub closed_since: BTreeMap<AwsAccountId, i64>,
    /// Whether trusted access for StackSets is on.
    pub trusted_access: bool,
    /// What was observed for each profile, in the order of the desired profiles.
    pub profiles: Vec<ObservedProfile>,
    /// All accounts of the Spot organization.
    pub spot_accounts: Vec<SpotAccountRecord>,
    /// AWS accounts whose earlier Spot link was kept by the adopt rule, from our state.
    pub kept_links: BTreeSet<AwsAccountId>,
    /// AWS accounts whose Spot link is ours, with the Spot account that we linked, from our state.
    pub owned_links: BTreeMap<AwsAccountId, SpotAccountId>,
    /// The links that accounts had, oldest first: of accounts that have or had a link of a stack that is no instance.
    pub links: LinkRecords,
    /// The Spot accounts that Billing Engine is switched on for; not asked for unless it is wanted.
    pub billing_engine: BTreeMap<SpotAccountId, BillingRegistration>,
    /// The access policies of the user groups that profiles name, or why Spot does not tell them.
    pub user_groups: BTreeMap<UserGroupId, Result<Vec<GroupPolicy>, String>>,
    /// For which accounts the runner has finished what it does at Spot by itself, by what it did
    /// ([`crate::desired::DirectEnrollment::mark`]), from our state.
    pub finished: BTreeMap<AwsAccountId, BTreeSet<String>>,
    /// Nobody serves the requests of accounts that AWS adds by itself, although the configuration says who does.
    pub unserved: bool,
    /// What was observed of the audit role's stack set, when there is to be one.
    pub audit: Option<ObservedProfile>,
    /// What was observed of the remediation role's stack set, when there is to be one.
    pub remediation: Option<ObservedProfile>,
    /// The live roles that were looked at, of the accounts that this run changed.
    pub live_roles: BTreeMap<AwsAccountId, Arc<LinkEvidence>>,
    /// Now, in Unix seconds.
    pub now: i64,
}

/// A Spot account that Billing Engine is switched on for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BillingRegistration {
    /// Whether all of its data arrives.
    pub connected: bool,
    /// Since when it is switched on, in Unix seconds, where Spot says so.
    pub since: Option<i64>,
}

/// What was observed for one profile.
#[derive(Debug, Clone, Default)]
pub struct ObservedProfile {
    /// Its stack set, when there is one.
    pub stack_set: Option<ObservedStackSet>,
    /// The digest of the stack set's template, when it can be read as a template.
    pub template_digest: Option<String>,
    /// What the desired template changes in the stack set's, in words: what its policies grant, and its other resources.
    pub definition_changes: Vec<String>,
    /// Whether the stack set's template is of its purpose at all: it enrolls accounts in Spot, or makes one of our own roles.
    /// Another program's is not.
    pub is_ours: bool,
    /// Logical ids whose ServiceToken the desired template would change: CloudFormation refuses that.
    pub service_token_changes: Vec<String>,
    /// Its instances, sorted by account.
    pub instances: Vec<StackInstance>,
    /// Its operations that run, queue or stop right now, oldest first.
    pub running: Vec<RunningOperation>,
    /// Units that its operations deployed to before, from our state. AWS follows them when it deploys by itself, whether or
    /// not it lists one that has no account yet among the stack set's units.
    pub deployed_units: BTreeSet<OuId>,
    /// The retry clock of its failed accounts: of their stacks, and of what is done at Spot where the runner does it.
    pub retries: BTreeMap<AwsAccountId, RetryState>,
    /// The retry clocks of what could not be mended.
    pub mend_retries: BTreeMap<MendOf, RetryState>,
    /// Whether the stack set's template enrolls without custom resources.
    pub is_direct: bool,
    /// The external IDs that its instances were given as parameter overrides, where the profile gives any.
    pub external_ids: BTreeMap<AwsAccountId, ExternalId>,
    /// The rollout of policies that is not over.
    pub rollout: Option<Rollout>,
    /// The plain stack of the management account, when the profile asks for one and it is there.
    pub management: Option<PlainStack>,
    /// What making that stack, or bringing it up to date, would change, one resource each, in words. Empty when nothing
    /// would, or when nobody looked.
    pub management_changes: Vec<String>,
}

impl ObservedProfile {
    /// The version of the policies that an instance was told to have by a rollout, beside what the stack set says: its
    /// override of the parameter `PolicyVersion`.
    #[must_use]
    pub fn overridden_version(&self, instance: &StackInstance) -> Option<&str> {
        let rollout = self.rollout.as_ref()?;
        let has_next = rollout.has_next(instance.account, instance.stack_id.as_deref());
        has_next.then_some(&*rollout.to)
    }

    /// The version of the policies that an instance has; none when it is not current, or its stack set has no versions.
    #[must_use]
    pub fn policy_version(&self, instance: &StackInstance) -> Option<&str> {
        if instance.status != InstanceStatus::Current {
            return None;
        }
        let parameters = &self.stack_set.as_ref()?.parameters;
        self.overridden_version(instance)
            .or_else(|| parameters.get(POLICY_VERSION_PARAMETER).map(String::as_str))
    }
}

/// The plain stack of the management account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainStack {
    /// Its status, such as `CREATE_COMPLETE`.
    pub status: String,
    /// What to do before it can be changed; none when it can be.
    pub blocked: Option<String>,
    /// Whether it is as it should be, but for its external ID.
    pub is_current: bool,
    /// The external ID that it was given.
    pub external_id: Option<ExternalId>,
    /// The template that it has now.
    pub template_body: String,
    /// The parameters that it has now.
    pub parameters: BTreeMap<String, String>,
}

/// A stack set operation that has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningOperation {
    /// Its id.
    pub id: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `DETECT_DRIFT`.
    pub action: String,
}

/// The retry clock of one failed account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryState {
    /// Failures in a row.
    pub failures: u32,
    /// When it is tried again, in Unix seconds.
    pub next_due: i64,
    /// Whether the run that looks now counted the last failure itself: then the account failed in it, and does not wait
    /// from an earlier one.
    pub of_this_run: bool,
    /// Why it failed last, in AWS's or Spot's words.
    pub reason: Option<Box<str>>,
}
