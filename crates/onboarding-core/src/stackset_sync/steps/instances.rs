//! Stack instances: those that are missing, failed or outdated.

use std::collections::BTreeSet;

use super::{ProfileContext, is_management, order, push, root, units_of};
use crate::{
    desired::Deployment,
    ids::{AwsAccountId, OuId},
    plan::{Plan, Risk},
    stackset_sync::{
        actions::SyncAction,
        ledger::LedgerRow,
        operation_targets::{
            MAX_OUS_PER_CALL, OperationTargets, OuMembers, TargetFilter, by_account, by_ou,
        },
    },
    status::{Reason, Standing},
};

/// Creates missing instances, tries failed ones again, and updates outdated ones. Creating with a new operation id tries
/// every targeted instance again that is not current (CloudFormation API reference, `OperationId`), whether its stack was
/// never made or an update of it failed.
pub(in crate::stackset_sync) fn instances(
    context: &ProfileContext<'_>,
    rows: &[LedgerRow<'_>],
    definition_changes: bool,
    plan: &mut Plan,
) {
    let is_creation = |row: &LedgerRow<'_>| match row.row.reason {
        _ if row.redeploys => true,
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
            .filter(|row| row.row.reason == Reason::InstanceOutdated && !row.redeploys)
    };
    let updates: Vec<AwsAccountId> = outdated().map(|row| row.row.account).collect();
    let mut units: Vec<OuId> = outdated()
        .filter_map(|row| row.instance)
        .flat_map(|instance| units_of(context, instance))
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
