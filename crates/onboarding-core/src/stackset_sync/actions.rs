//! The typed payloads of this kind's steps. The plan carries them erased, as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::operation_targets::OperationTargets;
use crate::{
    access::Accounts,
    desired::BillingSource,
    drift::StrayPolicy,
    ids::{AwsAccountId, ExternalId, OuId, RoleArn, SpotAccountId, StackId, UserGroupId},
};

/// What a step of `stackset-sync` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SyncAction {
    /// Switch on trusted access for StackSets.
    ActivateTrustedAccess,
    /// Make the profile's stack set.
    CreateStackSet {
        /// The profile.
        profile: String,
        /// Whether AWS deploys to accounts that appear later.
        auto_deployment: bool,
    },
    /// Bring the stack set's definition up to date; rolls out to its instances.
    UpdateStackSet {
        /// The profile.
        profile: String,
        /// Whether AWS deploys to accounts that appear later.
        auto_deployment: bool,
        /// The template or a parameter changes, so that every instance is updated.
        definition: bool,
        /// Deployment settings (auto-deployment) change; CloudFormation takes them in a call without targets.
        deployment: bool,
        /// Parameters whose value stays as it is in the stack set (UsePreviousValue).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        kept_parameters: Vec<String>,
        /// Managed execution changes; CloudFormation refuses that while operations run or queue.
        managed_execution: bool,
        /// How many accounts all operations of the plan work on that may run at the same time as this one, its own
        /// included: they share Spot's rate limit.
        accounts_at_once: usize,
    },
    /// Wait for an operation that already runs and read its results.
    AwaitOperation {
        /// The profile.
        profile: String,
        /// The operation.
        operation_id: String,
    },
    /// Let CloudFormation look for drift in the stacks of a stack set. It changes nothing.
    DetectDrift {
        /// The profile.
        profile: String,
        /// How many instances the stack set has.
        instances: usize,
    },
    /// Create missing instances, and those whose creation failed.
    CreateStackInstances {
        /// The profile.
        profile: String,
        /// The targets.
        targets: OperationTargets,
        /// How many accounts all operations of the plan work on that may run at the same time as this one, its own
        /// included: they share Spot's rate limit.
        accounts_at_once: usize,
    },
    /// Update instances that lack the current definition.
    UpdateStackInstances {
        /// The profile.
        profile: String,
        /// The targets.
        targets: OperationTargets,
        /// How many accounts all operations of the plan work on that may run at the same time as this one, its own
        /// included: they share Spot's rate limit.
        accounts_at_once: usize,
    },
    /// Enroll one account without custom resources: find or make its Spot account and external ID, give them to its stack
    /// instance, and finish at Spot once the role is there.
    EnrollAccount {
        /// The profile.
        profile: String,
        /// The account.
        account: AwsAccountId,
        /// The root or organizational unit that the operation names.
        unit: OuId,
        /// Its stack instance, when there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        instance: Option<DeployedInstance>,
    },
    /// Enroll the management account: the same, with a plain stack that is changed as it was previewed.
    EnrollManagementAccount {
        /// The profile.
        profile: String,
        /// The account.
        account: AwsAccountId,
        /// What the preview of the stack said, one resource each; empty when nothing would change.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changes: Vec<String>,
    },
    /// Take instances out of the stack set, keeping their stacks (accounts that are closed or gone).
    DeleteStackInstances {
        /// The profile.
        profile: String,
        /// The targets.
        targets: OperationTargets,
    },
    /// Write the role's trust policy and the managed policies again, in place: a `RepairNonce` that the stacks never had makes
    /// CloudFormation do it, which sees no difference by itself. What else the instances override stays as it is: it is read right
    /// before.
    RepairStackInstances {
        /// The profile.
        profile: String,
        /// The targets.
        targets: OperationTargets,
        /// How many accounts all operations of the plan work on that may run at the same time as this one, its own
        /// included: they share Spot's rate limit.
        accounts_at_once: usize,
    },
    /// Take instances out together with their stacks.
    DeleteStacks {
        /// The profile.
        profile: String,
        /// The targets.
        targets: OperationTargets,
        /// Why.
        because: StackRemoval,
        /// The stack of each, or the id that stands for it (enrollment without custom resources). It must still be its instance's
        /// when it is removed.
        stacks: BTreeMap<AwsAccountId, StackId>,
        /// How many accounts all operations of the plan work on that may run at the same time as this one, its own
        /// included: they share Spot's rate limit.
        accounts_at_once: usize,
    },
    /// Link a Spot account of ours to the role that its account has.
    LinkSpotAccount {
        /// The profile.
        profile: String,
        /// The account.
        account: AwsAccountId,
        /// Its stack; none where one id stands for it (enrollment without custom resources).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stack: Option<StackId>,
        /// The Spot account.
        spot_account: SpotAccountId,
        /// The role.
        role: RoleArn,
        /// Whether Spot is linked to another role.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        relinks: bool,
    },
    /// Name a Spot account of ours by its profile's rule.
    RenameSpotAccount {
        /// The profile.
        profile: String,
        /// The account.
        account: AwsAccountId,
        /// As of [`SyncAction::LinkSpotAccount`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stack: Option<StackId>,
        /// The Spot account.
        spot_account: SpotAccountId,
    },
    /// Switch on Cost Intelligence for a Spot account of ours.
    EnableCostIntelligence {
        /// The profile.
        profile: String,
        /// The account.
        account: AwsAccountId,
        /// As of [`SyncAction::LinkSpotAccount`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stack: Option<StackId>,
        /// The Spot account.
        spot_account: SpotAccountId,
    },
    /// Take policies out of a role of ours that its template does not have. What they say is here, so that the journal has it
    /// before any of them goes.
    RemoveStrayPolicies {
        /// The account.
        account: AwsAccountId,
        /// The role.
        role: RoleArn,
        /// The role's unique id, which must still be the same.
        role_id: String,
        /// The policies, each of which must still say the same.
        policies: Vec<StrayPolicy>,
    },
    /// Let the members of a user group of Spot see accounts that we have linked.
    GrantAccess {
        /// The user group.
        user_group: UserGroupId,
        /// The access policies, with the Spot accounts in which they are added.
        policies: Accounts,
    },
    /// Validate Billing Engine for the management account's Spot account, and switch it on.
    SetUpBillingEngine {
        /// The Spot account.
        spot_account: SpotAccountId,
        /// Where the billing data is.
        source: BillingSource,
    },
}

/// Why a stack is removed together with its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StackRemoval {
    /// It is made anew, for the role that Spot uses is gone.
    RoleGone,
    /// It is made anew, for the Spot account that its role trusts is gone: another one is made.
    SpotAccountGone,
    /// Another profile's stack has taken the Spot account over.
    TakenOver,
    /// No profile targets the account any more, and `orphan-cleanup` deletes its Spot account next.
    OutsideTargets,
}

impl StackRemoval {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::RoleGone, Self::SpotAccountGone, Self::TakenOver];

    /// In kebab case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::RoleGone => "role-gone",
            Self::SpotAccountGone => "spot-account-gone",
            Self::TakenOver => "taken-over",
            Self::OutsideTargets => "outside-targets",
        }
    }

    /// For people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::RoleGone => "their roles are gone",
            Self::SpotAccountGone => "their Spot accounts are gone",
            Self::TakenOver => "another profile's stack took over",
            Self::OutsideTargets => "no profile targets their accounts any more",
        }
    }

    /// Whether another stack is made in its place, by the same stack set.
    #[must_use]
    pub fn is_remake(self) -> bool {
        match self {
            Self::RoleGone | Self::SpotAccountGone => true,
            Self::TakenOver | Self::OutsideTargets => false,
        }
    }

    /// Whether what Spot lists says so.
    #[must_use]
    pub fn is_by_spots_listing(self) -> bool {
        match self {
            Self::SpotAccountGone | Self::TakenOver => true,
            Self::RoleGone | Self::OutsideTargets => false,
        }
    }
}

/// What a stack instance was given, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployedInstance {
    /// Its external ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<ExternalId>,
    /// Whether it is current.
    pub is_current: bool,
}

/// What brings a stack instance to have an external ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceOperation {
    /// Create it, or try it again: a new operation id tries one again that is not current (CloudFormation API reference,
    /// `OperationId`).
    Create,
    /// Update it, with the external ID as parameter override.
    Update,
    /// Nothing: it has it already.
    None,
}

impl InstanceOperation {
    /// What to do about an instance as it was seen, so that it gets this external ID.
    #[must_use]
    pub fn for_external_id(instance: Option<&DeployedInstance>, wanted: &ExternalId) -> Self {
        match instance {
            None => Self::Create,
            Some(instance) if instance.external_id.as_ref() != Some(wanted) => Self::Update,
            Some(instance) if !instance.is_current => Self::Create,
            Some(_) => Self::None,
        }
    }
}

impl SyncAction {
    /// The names of all actions.
    pub const NAMES: [&str; 18] = [
        "activate-trusted-access",
        "create-stack-set",
        "update-stack-set",
        "await-operation",
        "detect-drift",
        "create-stack-instances",
        "update-stack-instances",
        "enroll-account",
        "enroll-management-account",
        "delete-stack-instances",
        "repair-stack-instances",
        "delete-stacks",
        "link-spot-account",
        "rename-spot-account",
        "enable-cost-intelligence",
        "remove-stray-policies",
        "grant-access",
        "set-up-billing-engine",
    ];

    /// The action's name in kebab case.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ActivateTrustedAccess => "activate-trusted-access",
            Self::CreateStackSet { .. } => "create-stack-set",
            Self::UpdateStackSet { .. } => "update-stack-set",
            Self::AwaitOperation { .. } => "await-operation",
            Self::DetectDrift { .. } => "detect-drift",
            Self::CreateStackInstances { .. } => "create-stack-instances",
            Self::UpdateStackInstances { .. } => "update-stack-instances",
            Self::EnrollAccount { .. } => "enroll-account",
            Self::EnrollManagementAccount { .. } => "enroll-management-account",
            Self::DeleteStackInstances { .. } => "delete-stack-instances",
            Self::RepairStackInstances { .. } => "repair-stack-instances",
            Self::DeleteStacks { .. } => "delete-stacks",
            Self::LinkSpotAccount { .. } => "link-spot-account",
            Self::RenameSpotAccount { .. } => "rename-spot-account",
            Self::EnableCostIntelligence { .. } => "enable-cost-intelligence",
            Self::RemoveStrayPolicies { .. } => "remove-stray-policies",
            Self::GrantAccess { .. } => "grant-access",
            Self::SetUpBillingEngine { .. } => "set-up-billing-engine",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::SyncAction;

    #[test]
    fn every_action_has_its_name_in_the_list() {
        let unknown = serde_json::json!({ "do": "?" });
        let known = serde_json::from_value::<SyncAction>(unknown).unwrap_err();
        let known = known.to_string();
        let known: BTreeSet<&str> = known.split('`').skip(3).step_by(2).collect();
        assert_eq!(known, SyncAction::NAMES.into());
    }
}
