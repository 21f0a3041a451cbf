//! The steps of accounts that the runner enrolls by itself: one for each, since each stack gets an external ID of its own;
//! and the management account, through a plain stack.

use super::{super::PlanError, ProfileContext, is_management, order, push, root};
use crate::{
    desired::Desired,
    ids::OuId,
    inventory::{Account, InstanceStatus},
    plan::{Plan, Risk},
    stackset_sync::{
        actions::{DeployedInstance, SyncAction},
        ledger::LedgerRow,
        refuse_all,
    },
    status::{Reason, Standing},
};

/// Checks that the management account is targeted where it is to be enrolled.
pub(in crate::stackset_sync) fn check(context: &ProfileContext<'_>) -> Result<(), PlanError> {
    let organization = &context.observed.organization;
    let management = organization.management_account;
    let mut accounts = organization.accounts.iter().zip(&context.resolved.targeted);
    let is_targeted = accounts.any(|(account, targeted)| *targeted && account.id == management);
    if context.profile.management.is_some() && !is_targeted {
        return Err(PlanError::ManagementNotTargeted {
            profile: context.profile.name.clone(),
            account: management.to_string(),
        });
    }
    Ok(())
}

/// One step for each account that is not enrolled, or that an operation works on: it is followed to its end.
pub(in crate::stackset_sync) fn accounts(
    context: &ProfileContext<'_>,
    rows: &[LedgerRow<'_>],
    plan: &mut Plan,
) {
    let profile = &context.profile.name;
    for row in rows {
        let is_worked_on = matches!(row.row.standing, Standing::Due | Standing::Pending);
        let Some(account) = row.account.filter(|_| is_worked_on) else {
            continue;
        };
        let (action, reason, changes) = if is_management(context, account.id) {
            if context.profile.management.is_none() {
                continue;
            }
            let changes = context.state.management_changes.clone();
            let reason = match changes.is_empty() {
                true => row.row.reason.explanation().to_owned(),
                false => format!(
                    "the stack {} of the management account would change: {}",
                    context.profile.stack_set,
                    changes.join(", ")
                ),
            };
            let action = SyncAction::EnrollManagementAccount {
                profile: profile.clone(),
                account: account.id,
                changes: changes.clone(),
            };
            (action, reason, changes)
        } else {
            // One that is linked and only lacks the current definition keeps its external ID.
            if context.profile.direct.is_none() || row.row.reason == Reason::InstanceOutdated {
                continue;
            }
            let Some(unit) = unit_of(context, account) else {
                continue;
            };
            let instance = row.instance.map(|instance| DeployedInstance {
                external_id: context.state.external_ids.get(&account.id).cloned(),
                is_current: instance.status == InstanceStatus::Current,
            });
            let action = SyncAction::EnrollAccount {
                profile: profile.clone(),
                account: account.id,
                unit,
                instance,
            };
            (action, row.row.reason.explanation().to_owned(), Vec::new())
        };
        push(
            plan,
            format!("{}:{profile}:{}", action.name(), account.id),
            &action,
            vec![account.id],
            reason,
            Risk::Medium,
            context.order(order::CREATE),
        );
        if let Some(step) = plan.steps.last_mut().filter(|_| !changes.is_empty()) {
            step.preconditions.push(format!(
                "what the stack would change: {}",
                changes.join(", ")
            ));
            step.changes = changes;
        }
    }
}

/// Refuses everything when profiles without custom resources target more accounts than the ceiling: one operation each is
/// not how so many are enrolled.
pub(in crate::stackset_sync) fn ceiling(desired: &Desired, plan: &mut Plan) {
    let is_direct = |name: &str| {
        let mut profiles = desired.profiles.iter();
        profiles.any(|profile| profile.name == name && profile.direct.is_some())
    };
    let counts = |reason: Reason| {
        !reason.is_left_out()
            && !matches!(
                reason,
                Reason::Suspended
                    | Reason::Closed
                    | Reason::PendingClosure
                    | Reason::PendingActivation
                    | Reason::StateUnknown
                    | Reason::ManagementAccount
                    | Reason::EnrolledElsewhere
            )
    };
    let rows = plan
        .targeted()
        .filter(|row| counts(row.reason) && is_direct(&row.profile));
    let targeted = rows.count();
    if targeted > desired.direct_ceiling {
        refuse_all(
            plan,
            "direct-ceiling",
            format!(
                "{targeted} accounts would be enrolled with enrollment.provider = \"direct\", which takes an operation of its own \
                 for each, and enrollment.direct_ceiling allows {}; use provider = \"queue\" in new stack sets, target fewer \
                 accounts, or raise the ceiling in the file",
                desired.direct_ceiling
            ),
        );
    }
}

/// The profile's unit above an account, or the root when the account is listed by itself.
fn unit_of(context: &ProfileContext<'_>, account: &Account) -> Option<OuId> {
    let organization = &context.observed.organization;
    let named = organization
        .lineage(account.parent)
        .find(|(index, _)| context.resolved.ous.contains(index));
    named
        .map(|(_, unit)| unit.id.clone())
        .or_else(|| root(context))
}
