//! The steps of a plan, from what differs.

pub(super) mod direct;

use std::collections::BTreeSet;

use super::{
    KIND, PlanError,
    actions::SyncAction,
    definition, guard,
    ledger::LedgerRow,
    observed::{ObservedProfile, SyncObserved},
    operation_targets::{
        MAX_OUS_PER_CALL, OperationTargets, OuMembers, TargetFilter, by_account, by_ou,
    },
    refuse_all,
    targets::ResolvedProfile,
};
use crate::{
    desired::{Deployment, Desired, Profile, Purpose},
    ids::{AwsAccountId, OuId},
    inventory::AccountState,
    plan::{Finding, Plan, Refusal, Risk, Severity, Step},
    status::{Reason, Standing},
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
    pub(super) const CREATE: u32 = 30;
    pub(super) const UPDATE: u32 = 40;
    pub(super) const REMOVE: u32 = 50;
    /// What is done at Spot alone, for accounts that are linked.
    pub(in crate::stackset_sync) const AT_SPOT: u32 = 60;
    /// The audit role is deployed before anything else is: enrolling an account reads through it.
    pub(super) const AUDIT: [(u32, u32); 3] = [(STACK_SET, 12), (CREATE, 14), (UPDATE, 16)];
}

impl ProfileContext<'_> {
    /// The order of a step of this profile.
    fn order(&self, of: u32) -> u32 {
        match self.profile.purpose {
            Purpose::Enrollment => of,
            Purpose::AuditRole => {
                let mut earlier = order::AUDIT.into_iter();
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

/// Creates or updates the stack set, and waits for what already runs on it. Tells whether every instance is updated.
pub(super) fn stack_set(context: &ProfileContext<'_>, plan: &mut Plan) -> bool {
    let profile = context.profile.name.clone();
    let auto_deployment = context.deployment == Deployment::Auto;
    if context.state.stack_set.is_none() {
        push(
            plan,
            format!("create-stack-set:{profile}"),
            &SyncAction::CreateStackSet {
                profile: profile.clone(),
                auto_deployment,
            },
            Vec::new(),
            format!("stack set {} does not exist", context.profile.stack_set),
            Risk::Low,
            context.order(order::STACK_SET),
        );
        return false;
    }
    for running in &context.state.running {
        push(
            plan,
            format!("await-operation:{profile}:{}", running.id),
            &SyncAction::AwaitOperation {
                profile: profile.clone(),
                operation_id: running.id.clone(),
            },
            Vec::new(),
            format!(
                "a {} operation of stack set {} has not ended",
                running.action, context.profile.stack_set
            ),
            Risk::Low,
            order::AWAIT,
        );
    }
    if !context.state.is_ours {
        refuse_all(
            plan,
            "foreign-stack-set",
            format!(
                "stack set {} exists and its template {}: it is another program's, and updating it would replace what it \
                 deploys; {}",
                context.profile.stack_set,
                match context.profile.purpose {
                    Purpose::Enrollment => "does not enroll accounts in Spot",
                    Purpose::AuditRole => "does not make our audit role",
                },
                match context.profile.purpose {
                    Purpose::Enrollment => format!("give profile {profile:?} another stack_set"),
                    Purpose::AuditRole =>
                        "give our stack sets another stack_set.name_prefix".to_owned(),
                }
            ),
        );
        return false;
    }
    if context.state.is_direct != context.profile.direct.is_some()
        && context.profile.purpose == Purpose::Enrollment
    {
        refuse_all(
            plan,
            "provider-changed",
            format!(
                "stack set {} enrolls {} custom resources and enrollment.provider says otherwise: the update would take Spot's \
                 role from every account; keep enrollment.provider as it was, or give profile {profile:?} another stack_set \
                 and retire this one",
                context.profile.stack_set,
                if context.state.is_direct {
                    "without"
                } else {
                    "with"
                }
            ),
        );
        return false;
    }
    if !context.state.service_token_changes.is_empty() {
        refuse_all(
            plan,
            "service-token-immutable",
            format!(
                "stack set {} already has {} with another ServiceToken, which CloudFormation can never change in place; keep \
                 enrollment.provider and enrollment.topic_arn as they were, or deploy a new stack set under another name and \
                 retire this one",
                context.profile.stack_set,
                context.state.service_token_changes.join(", ")
            ),
        );
        return false;
    }
    let difference = definition::compare(context.profile, context.state, context.deployment);
    if auto_deployment {
        targets_beyond_the_profile(context, difference.deployment, plan);
    }
    if difference.any() {
        push(
            plan,
            format!("update-stack-set:{profile}"),
            &SyncAction::UpdateStackSet {
                profile: profile.clone(),
                auto_deployment,
                definition: difference.definition || difference.settings,
                deployment: difference.deployment,
                kept_parameters: difference.kept_parameters,
                managed_execution: difference.managed_execution,
                accounts_at_once: 0,
            },
            context
                .state
                .instances
                .iter()
                .map(|instance| instance.account)
                .collect(),
            format!(
                "stack set {} differs in {}",
                context.profile.stack_set,
                difference.words.join(", ")
            ),
            if difference.definition {
                Risk::Medium
            } else {
                Risk::Low
            },
            context.order(order::STACK_SET),
        );
    }
    difference.definition
}

/// Auto-deployment follows every unit that the stack set was ever deployed to. One that is not the profile's (any more)
/// gets accounts enrolled that nobody targets.
fn targets_beyond_the_profile(context: &ProfileContext<'_>, switching_on: bool, plan: &mut Plan) {
    let organization = &context.observed.organization;
    let is_targeted = |unit: &OuId| {
        organization.unit_index(unit).is_none_or(|index| {
            organization
                .lineage(index)
                .any(|(above, _)| context.resolved.ous.contains(&above))
        })
    };
    let beyond: Vec<String> = context
        .state
        .stack_set
        .iter()
        .flat_map(|stack_set| &stack_set.organizational_units)
        .filter(|unit| !is_targeted(unit))
        .map(ToString::to_string)
        .collect();
    if beyond.is_empty() {
        return;
    }
    let message = format!(
        "stack set {} also targets {}, which profile {:?} does not: AWS's auto-deployment enrolls new accounts there; set \
         deployment = \"runner\", target them again, or take the stack set's instances out of them",
        context.profile.stack_set,
        beyond.join(", "),
        context.profile.name
    );
    if switching_on {
        refuse_all(plan, "auto-deployment-targets", message);
    } else {
        plan.findings.push(Finding {
            id: format!("stack-set-targets-more:{}", context.profile.name),
            severity: Severity::Warning,
            account: None,
            account_name: None,
            ou_path: None,
            reason: "stack-set-targets-more".to_owned(),
            message,
        });
    }
}

/// Creates missing instances, tries failed ones again, and updates outdated ones. Creating with a new operation id tries
/// every targeted instance again that is not current (CloudFormation API reference, `OperationId`), whether its stack was
/// never made or an update of it failed.
pub(super) fn instances(
    context: &ProfileContext<'_>,
    rows: &[LedgerRow<'_>],
    definition_changes: bool,
    plan: &mut Plan,
) {
    let is_creation = |row: &LedgerRow<'_>| match row.row.reason {
        Reason::MissingInstance => true,
        // The update of the stack set reaches every instance, failed ones too.
        Reason::InstanceFailed => !definition_changes,
        _ => false,
    };
    let due = |row: &&LedgerRow<'_>| {
        row.row.standing == Standing::Due && !is_management(context, row.row.account)
    };
    let creations: BTreeSet<AwsAccountId> = rows
        .iter()
        .filter(due)
        .filter(|row| is_creation(row) && context.profile.direct.is_none())
        .map(|row| row.row.account)
        .collect();
    let groups = match context.deployment {
        Deployment::Auto => by_ou(&members(context, rows, &creations)),
        Deployment::Runner => by_account(
            &runner_units(context),
            &creations.iter().copied().collect::<Vec<_>>(),
        ),
    };
    let single = groups.len() == 1;
    for (number, targets) in groups.into_iter().enumerate() {
        let accounts = if single {
            creations.iter().copied().collect()
        } else {
            of_group(context, &targets, &creations)
        };
        let reason = if accounts.is_empty() {
            "the stack set does not target all organizational units of the profile yet".to_owned()
        } else {
            format!("{} accounts lack their stack instance", accounts.len())
        };
        push(
            plan,
            format!(
                "create-stack-instances:{}:{}",
                context.profile.name,
                number + 1
            ),
            &SyncAction::CreateStackInstances {
                profile: context.profile.name.clone(),
                targets,
                accounts_at_once: 0,
            },
            accounts,
            reason,
            Risk::Medium,
            context.order(order::CREATE),
        );
    }
    if definition_changes {
        return;
    }
    let outdated = || {
        rows.iter()
            .filter(due)
            .filter(|row| row.row.reason == Reason::InstanceOutdated)
    };
    let updates: Vec<AwsAccountId> = outdated().map(|row| row.row.account).collect();
    // As they were targeted when they were made: an account's parent may be another one by now.
    let mut units: Vec<OuId> = outdated()
        .filter_map(|row| row.instance?.targeted_ou.clone().or_else(|| root(context)))
        .collect();
    units.sort();
    units.dedup();
    if units.len() > MAX_OUS_PER_CALL {
        units = root(context).into_iter().collect();
    }
    for (number, targets) in by_account(&units, &updates).into_iter().enumerate() {
        let reason = format!(
            "{} stack instances lack the current definition or failed to get it",
            targets.accounts.len()
        );
        let accounts = targets.accounts.clone();
        push(
            plan,
            format!(
                "update-stack-instances:{}:{}",
                context.profile.name,
                number + 1
            ),
            &SyncAction::UpdateStackInstances {
                profile: context.profile.name.clone(),
                targets,
                accounts_at_once: 0,
            },
            accounts,
            reason,
            Risk::Medium,
            context.order(order::UPDATE),
        );
    }
}

/// Takes out instances of accounts that are gone, or closed for longer than the grace period, under the guard rails.
/// `removed` counts them over all profiles.
pub(super) fn removals(
    context: &ProfileContext<'_>,
    rows: &[LedgerRow<'_>],
    removed: &mut usize,
    plan: &mut Plan,
) {
    let limits = &context.desired.removal;
    let past_grace = |id: AwsAccountId| {
        context.observed.closed_since.get(&id).is_some_and(|since| {
            context.observed.now.saturating_sub(*since) >= limits.closed_grace_seconds
        })
    };
    let mut removable: Vec<(OuId, AwsAccountId)> = Vec::new();
    for row in rows {
        let Some(instance) = row.instance else {
            continue;
        };
        let gone = match row.account {
            None => true,
            Some(account) => account.state == AccountState::Closed && past_grace(account.id),
        };
        if !gone
            || context
                .desired
                .protected_accounts
                .contains(&row.row.account)
        {
            continue;
        }
        if let Some(ou) = instance.targeted_ou.clone().or_else(|| root(context)) {
            removable.push((ou, instance.account));
        }
    }
    if removable.is_empty() {
        return;
    }
    let refuse = |plan: &mut Plan, guard: &str, message: String| {
        plan.refusals.push(Refusal {
            guard: guard.to_owned(),
            message,
            whole_plan: false,
        });
    };
    if let Some(message) = guard::shrink(
        limits,
        context.observed.previous_account_count,
        context.observed.organization.accounts.len(),
    ) {
        refuse(plan, "shrink-guard", message);
        return;
    }
    *removed += removable.len();
    if *removed > limits.max_removals {
        refuse(
            plan,
            "max-removals",
            format!(
                "{removed} stack instances of departed or closed accounts would be taken out in this run, those of stack set {} \
                 among them, more than removal.max_removals allows ({}); look at the accounts, then raise the limit",
                context.profile.stack_set, limits.max_removals
            ),
        );
        return;
    }
    removable.sort();
    let ous: BTreeSet<OuId> = removable.iter().map(|(ou, _)| ou.clone()).collect();
    for (number, ou) in ous.into_iter().enumerate() {
        let accounts: Vec<AwsAccountId> = removable
            .iter()
            .filter(|(target, _)| *target == ou)
            .map(|(_, account)| *account)
            .collect();
        for targets in by_account(std::slice::from_ref(&ou), &accounts) {
            push(
                plan,
                format!(
                    "delete-stack-instances:{}:{}",
                    context.profile.name,
                    number + 1
                ),
                &SyncAction::DeleteStackInstances {
                    profile: context.profile.name.clone(),
                    targets,
                },
                accounts.clone(),
                format!(
                    "{} accounts left the organization or are closed past the grace period; their stacks are kept",
                    accounts.len()
                ),
                Risk::High,
                order::REMOVE,
            );
        }
    }
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
        step.preconditions = needed
            .into_iter()
            .filter(|id| *id != step.id && ids.contains(id))
            .map(|id| format!("step:{id}"))
            .collect();
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

/// The profile's units with the accounts below them that are due or must be left alone.
fn members(
    context: &ProfileContext<'_>,
    rows: &[LedgerRow<'_>],
    due: &BTreeSet<AwsAccountId>,
) -> Vec<OuMembers> {
    let organization = &context.observed.organization;
    let known: BTreeSet<&OuId> = context
        .state
        .stack_set
        .iter()
        .flat_map(|stack_set| &stack_set.organizational_units)
        .chain(&context.state.deployed_units)
        .collect();
    // The profile's unit above each unit of the tree.
    let above: Vec<Option<usize>> = (0..organization.units.len())
        .map(|index| {
            let index = u32::try_from(index).ok()?;
            let unit = organization
                .lineage(index)
                .map(|(unit, _)| unit)
                .find(|unit| context.resolved.ous.contains(unit))?;
            context.resolved.ous.iter().position(|ou| *ou == unit)
        })
        .collect();
    let mut members: Vec<OuMembers> = context
        .resolved
        .ous
        .iter()
        .filter_map(|index| organization.unit(*index))
        .map(|unit| OuMembers {
            ou: unit.id.clone(),
            due: Vec::new(),
            exceptions: Vec::new(),
            required: !known.contains(&unit.id),
        })
        .collect();
    for row in rows {
        let Some(account) = row.account else { continue };
        let Some(entry) = above
            .get(account.parent as usize)
            .copied()
            .flatten()
            .and_then(|at| members.get_mut(at))
        else {
            continue;
        };
        if due.contains(&account.id) {
            entry.due.push(account.id);
        } else if !is_management(context, account.id) && !has_working_instance(row) {
            entry.exceptions.push(account.id);
        }
    }
    members
}

/// Whether creating instances again passes this account by: its instance is there and did not fail.
fn has_working_instance(row: &LedgerRow<'_>) -> bool {
    row.instance.is_some()
        && matches!(
            row.row.reason,
            Reason::Enrolled | Reason::EnrolledElsewhere | Reason::Enrolling | Reason::NotLinked
        )
}

/// The units that runner-driven operations name: the profile's own, or the root as soon as accounts are listed.
fn runner_units(context: &ProfileContext<'_>) -> Vec<OuId> {
    let organization = &context.observed.organization;
    let own: Vec<OuId> = context
        .resolved
        .ous
        .iter()
        .filter_map(|index| organization.unit(*index))
        .map(|unit| unit.id.clone())
        .collect();
    if own.is_empty()
        || own.len() > MAX_OUS_PER_CALL
        || !context.profile.targets.accounts.is_empty()
    {
        root(context).into_iter().collect()
    } else {
        own
    }
}

/// Whether this is the management account, which stack sets pass by.
fn is_management(context: &ProfileContext<'_>, account: AwsAccountId) -> bool {
    account == context.observed.organization.management_account
}

/// The root of the organization.
fn root(context: &ProfileContext<'_>) -> Option<OuId> {
    context
        .observed
        .organization
        .units
        .iter()
        .find(|unit| unit.parent.is_none())
        .map(|unit| unit.id.clone())
}

/// Which of the due accounts one of several operations works on.
fn of_group(
    context: &ProfileContext<'_>,
    targets: &OperationTargets,
    due: &BTreeSet<AwsAccountId>,
) -> Vec<AwsAccountId> {
    let organization = &context.observed.organization;
    let below = |id: &AwsAccountId| {
        organization.account(*id).is_some_and(|account| {
            organization
                .lineage(account.parent)
                .any(|(_, unit)| targets.organizational_units.contains(&unit.id))
        })
    };
    match targets.filter {
        TargetFilter::Intersection => targets.accounts.clone(),
        TargetFilter::None => due.iter().copied().filter(below).collect(),
        TargetFilter::Difference => due
            .iter()
            .copied()
            .filter(|id| below(id) && !targets.accounts.contains(id))
            .collect(),
    }
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
        payload,
    });
}
