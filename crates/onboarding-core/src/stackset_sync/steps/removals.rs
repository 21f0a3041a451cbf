//! Stack instances that go: those of accounts that left or were closed, under the guard rails.

use std::collections::BTreeSet;

use super::{ProfileContext, order, push, root};
use crate::{
    ids::{AwsAccountId, OuId},
    inventory::AccountState,
    plan::{Plan, Refusal, Risk},
    stackset_sync::{actions::SyncAction, guard, ledger::LedgerRow, operation_targets::by_account},
};

/// Takes out instances of accounts that are gone, or closed for longer than the grace period, under the guard rails.
/// `removed` counts them over all profiles.
pub(in crate::stackset_sync) fn removals(
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
