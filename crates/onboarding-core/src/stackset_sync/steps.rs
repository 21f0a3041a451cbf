//! The steps of a plan, from what differs.

pub(super) mod direct;
mod instances;
mod removals;
mod stack_set;

pub(super) use instances::instances;
pub(super) use removals::removals;
pub(super) use stack_set::{as_it_is as stack_set_as_it_is, left_to_stackset_sync, stack_set};

use std::collections::BTreeSet;

use super::{
    KIND, PlanError,
    actions::SyncAction,
    observed::{ObservedProfile, SyncObserved},
    targets::ResolvedProfile,
};
use crate::{
    desired::{Deployment, Desired, Profile, Purpose},
    ids::{AwsAccountId, OuId},
    inventory::StackInstance,
    plan::{Estimate, Plan, Risk, Step},
};

/// Everything about one profile that planning looks at.
#[derive(Debug, Clone, Copy)]
pub struct ProfileContext<'a> {
    /// The whole observation.
    pub observed: &'a SyncObserved,
    /// The whole desired state.
    pub desired: &'a Desired,
    /// The profile.
    pub profile: &'a Profile,
    /// What was observed for it.
    pub state: &'a ObservedProfile,
    /// Its targets, resolved.
    pub resolved: &'a ResolvedProfile,
    /// Who deploys to accounts that appear later.
    pub deployment: Deployment,
}

/// The order of steps: what later ones build on comes first.
pub(super) mod order {
    pub(super) const TRUSTED_ACCESS: u32 = 0;
    pub(super) const AWAIT: u32 = 10;
    pub(super) const STACK_SET: u32 = 20;
    /// What is made anew goes before it is created.
    pub(in crate::stackset_sync) const REDEPLOY: u32 = 25;
    pub(super) const CREATE: u32 = 30;
    pub(in crate::stackset_sync) const UPDATE: u32 = 40;
    pub(in crate::stackset_sync) const REMOVE: u32 = 50;
    /// What is done at Spot alone, for accounts that are linked.
    pub(in crate::stackset_sync) const AT_SPOT: u32 = 60;
    /// The policies that only somebody else can have added, once the template's own are as they should be.
    pub(in crate::stackset_sync) const STRAY_POLICIES: u32 = 55;
    /// The audit role is deployed before anything else is: enrolling an account reads through it. The remediation role goes
    /// with it.
    pub(super) const ACCOUNT_ROLES: [(u32, u32); 3] = [(STACK_SET, 12), (CREATE, 14), (UPDATE, 16)];
}

impl ProfileContext<'_> {
    /// The order of a step of this profile.
    pub(in crate::stackset_sync) fn order(&self, of: u32) -> u32 {
        match self.profile.purpose {
            Purpose::Enrollment => of,
            Purpose::AuditRole | Purpose::RemediationRole => {
                let mut earlier = order::ACCOUNT_ROLES.into_iter();
                earlier
                    .find(|(from, _)| *from == of)
                    .map_or(of, |(_, earlier)| earlier)
            }
        }
    }
}

/// Switches on trusted access where that is allowed.
pub(super) fn trusted_access(
    observed: &SyncObserved,
    desired: &Desired,
    plan: &mut Plan,
) -> Result<(), PlanError> {
    if observed.trusted_access {
        return Ok(());
    }
    if !desired.activate_trusted_access {
        return Err(PlanError::TrustedAccessOff);
    }
    push(
        plan,
        "activate-trusted-access".to_owned(),
        &SyncAction::ActivateTrustedAccess,
        Vec::new(),
        "trusted access between StackSets and AWS Organizations is off".to_owned(),
        Risk::Low,
        order::TRUSTED_ACCESS,
    );
    Ok(())
}

/// Makes each step depend on the ones that it builds on: nothing is created with a definition that could not be set.
pub(super) fn connect(plan: &mut Plan) {
    let ids: BTreeSet<String> = plan.steps.iter().map(|step| step.id.clone()).collect();
    for step in &mut plan.steps {
        let profile = step
            .payload
            .get("profile")
            .and_then(serde_json::Value::as_str);
        let mut needed = vec!["activate-trusted-access".to_owned()];
        let works_on_instances =
            step.action.ends_with("-stack-instances") || step.action == "enroll-account";
        if let Some(profile) = profile.filter(|_| works_on_instances) {
            needed.push(format!("create-stack-set:{profile}"));
            needed.push(format!("update-stack-set:{profile}"));
        }
        let needed = needed.into_iter();
        let needed = needed.filter(|id| *id != step.id && ids.contains(id));
        step.preconditions
            .extend(needed.map(|id| format!("step:{id}")));
    }
}

/// Tells each operation how many accounts those work on that may run beside it: the steps of one order are applied side by
/// side.
pub(super) fn share_accounts(plan: &mut Plan) {
    for beside in plan.steps.chunk_by_mut(|one, next| one.order == next.order) {
        let accounts: usize = beside.iter().map(|step| step.accounts.len()).sum();
        for step in beside {
            if let Some(at_once) = step.payload.get_mut("accounts_at_once") {
                *at_once = accounts.into();
            }
        }
    }
}

/// Whether this is the management account, which stack sets pass by.
fn is_management(context: &ProfileContext<'_>, account: AwsAccountId) -> bool {
    account == context.observed.organization.management_account
}

/// The root of the organization.
pub(super) fn root(context: &ProfileContext<'_>) -> Option<OuId> {
    context
        .observed
        .organization
        .units
        .iter()
        .find(|unit| unit.parent.is_none())
        .map(|unit| unit.id.clone())
}

/// The units by which an operation reaches a stack instance: the one that it was deployed to, and, where its account was moved out
/// of that, the one that it is in now. CloudFormation's documents do not say by which of them it looks.
pub(super) fn units_of(context: &ProfileContext<'_>, instance: &StackInstance) -> Vec<OuId> {
    let organization = &context.observed.organization;
    let deployed = instance.targeted_ou.clone().or_else(|| root(context));
    let account = organization.account(instance.account);
    let now = account.and_then(|account| {
        let above = || organization.lineage(account.parent);
        if above().any(|(_, unit)| Some(&unit.id) == deployed.as_ref()) {
            return None;
        }
        let named = above().find(|(index, _)| context.resolved.ous.contains(index));
        named
            .map(|(_, unit)| unit.id.clone())
            .or_else(|| root(context))
    });
    deployed.into_iter().chain(now).collect()
}

/// Adds a step.
pub(super) fn push(
    plan: &mut Plan,
    id: String,
    action: &SyncAction,
    accounts: Vec<AwsAccountId>,
    reason: String,
    risk: Risk,
    order: u32,
) {
    // Our payloads are plain data with text keys, which JSON can always carry.
    let payload = serde_json::to_value(action).unwrap_or_default();
    plan.steps.push(Step {
        id,
        kind: KIND.to_owned(),
        action: action.name().to_owned(),
        accounts,
        reason,
        risk,
        order,
        preconditions: Vec::new(),
        changes: Vec::new(),
        estimate: Estimate::default(),
        payload,
    });
}
