//! What brings an account right that has its stack, and yet is not as it should be. Who plans accounts alone ([`Mender`]) says
//! what that is; here it becomes the row's standing and the plan's steps, under the retry clock and the limits of removals.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    KIND, ledger,
    ledger::LedgerRow,
    mend::{Mend, Mender},
    observed::SyncObserved,
    steps::{ProfileContext, order, push, units_of},
};
use crate::{
    desired::Desired,
    ids::{AwsAccountId, OuId, SpotAccountId},
    plan::{Plan, Refusal, Risk},
    stackset_sync::{
        actions::{StackRemoval, SyncAction},
        guard,
        operation_targets::by_account,
    },
    status::{Reason, Standing},
};

/// What is mended of a profile's accounts.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    mends: BTreeMap<AwsAccountId, BTreeSet<Mend>>,
}

impl Repairs {
    /// Asks for each account. Those that failed wait, as after any failure; removals obey their limits.
    pub(super) fn decide(
        context: &ProfileContext<'_>,
        mender: &dyn Mender,
        rows: &mut [LedgerRow<'_>],
        targeted: &[bool],
        removed: &mut usize,
        plan: &mut Plan,
    ) -> Self {
        let mut repairs = Self::default();
        let accounts = &context.observed.organization.accounts;
        for row in rows.iter_mut() {
            if !mender.includes(&row.row) {
                if row.row.standing == Standing::Due {
                    row.row.standing = Standing::Skipped;
                }
                continue;
            }
            let index = accounts.binary_search_by_key(&row.row.account, |account| account.id);
            let is_targeted = index.is_ok_and(|index| targeted.get(index) == Some(&true));
            let mut mends = mender.mends(
                context.profile,
                context.state,
                &row.row,
                row.instance,
                is_targeted,
            );
            // Each kind waits by its own clock: what fails at Spot holds nothing back in IAM.
            let mut waits = None;
            mends.retain(|mend| {
                let waiting = ledger::by_its_clock(context, (row.row.account, mend.kind()));
                let is_due = waiting.is_none();
                // What failed in this run says more than what waits from an earlier one.
                let fails = waiting
                    .as_ref()
                    .is_some_and(|one| one.0 == Standing::Failed);
                if waits.is_none() || fails {
                    waits = waiting.or(waits.take());
                }
                is_due
            });
            if !mends.is_empty() {
                repairs.mends.insert(row.row.account, mends);
            } else if let Some((standing, reason, detail)) = waits.filter(|_| row.row.targeted) {
                row.row.standing = standing;
                row.row.reason = reason;
                row.row.detail = Some(detail.into());
            }
        }
        repairs.limit_removals(context, removed, plan);
        for row in rows {
            let mends = repairs.mends.get(&row.row.account).into_iter().flatten();
            let remakes = |mend: &&Mend| mend.removal().is_some_and(StackRemoval::is_remake);
            let remake: BTreeSet<Mend> = mends.filter(remakes).cloned().collect();
            row.redeploys = !remake.is_empty();
            if row.redeploys {
                due(row, &remake);
            }
        }
        repairs
    }

    /// Stacks are removed under the same limits as any removal: a source that suddenly says that everything is wrong is wrong
    /// itself.
    fn limit_removals(
        &mut self,
        context: &ProfileContext<'_>,
        removed: &mut usize,
        plan: &mut Plan,
    ) {
        let removals = || self.mends.values().flatten().filter_map(Mend::removal);
        if removals().next().is_none() {
            return;
        }
        let limits = &context.desired.removal;
        let observed = context.observed;
        let accounts = observed.organization.accounts.len();
        let shrunk = guard::shrink(limits, observed.previous_account_count, accounts);
        // That a role is gone is IAM's word, whatever Spot lists.
        let by_spot = spot_shrank(observed, context.desired)
            .filter(|_| removals().any(StackRemoval::is_by_spots_listing));
        let is_refused: fn(StackRemoval) -> bool = match (&shrunk, &by_spot) {
            (Some(_), _) => |_| true,
            (None, Some(_)) => StackRemoval::is_by_spots_listing,
            (None, None) => |_| false,
        };
        let left = removals().filter(|because| !is_refused(*because)).count();
        *removed += left;
        let is_over = left > 0 && *removed > limits.max_removals;
        let mut refuse = |guard: &str, message: String| {
            plan.refusals.push(Refusal {
                guard: guard.to_owned(),
                message,
                whole_plan: false,
            });
        };
        if let Some(message) = shrunk.or(by_spot) {
            refuse("shrink-guard", message);
        }
        if is_over {
            let reasons: BTreeSet<&str> = removals().map(StackRemoval::words).collect();
            let reasons: Vec<&str> = reasons.into_iter().collect();
            refuse(
                "max-removals",
                format!(
                    "{removed} stacks would be removed in this run, those of stack set {} among them, because {}; that is more than \
                     removal.max_removals allows ({}); look at why so many at once (does Spot list all accounts?), then raise the \
                     limit",
                    context.profile.stack_set,
                    reasons.join(", or "),
                    limits.max_removals
                ),
            );
        }
        for mends in self.mends.values_mut() {
            mends.retain(|mend| {
                let removal = mend.removal();
                removal.is_none_or(|because| !is_over && !is_refused(because))
            });
        }
        self.mends.retain(|_, mends| !mends.is_empty());
    }

    /// Makes the rows due, and the steps.
    pub(super) fn plan(
        &self,
        context: &ProfileContext<'_>,
        rows: &mut [LedgerRow<'_>],
        plan: &mut Plan,
    ) {
        for because in StackRemoval::ALL {
            self.remove(context, rows, because, plan);
        }
        self.rewrite(context, rows, plan);
        for row in rows {
            let Some(mends) = self.mends.get(&row.row.account) else {
                continue;
            };
            for mend in mends {
                at_spot(context, row, mend, plan);
            }
            if row.row.targeted {
                due(row, mends);
            }
        }
    }

    /// The instances of the accounts that this mends, by the units that reach them.
    fn by_units(
        &self,
        context: &ProfileContext<'_>,
        rows: &[LedgerRow<'_>],
        mend: &Mend,
    ) -> BTreeMap<Vec<OuId>, Vec<AwsAccountId>> {
        let mut by_units: BTreeMap<Vec<OuId>, Vec<AwsAccountId>> = BTreeMap::new();
        for row in rows {
            let mends = self.mends.get(&row.row.account);
            let Some(instance) = row
                .instance
                .filter(|_| mends.is_some_and(|mends| mends.contains(mend)))
            else {
                continue;
            };
            let units = units_of(context, instance);
            by_units.entry(units).or_default().push(instance.account);
        }
        by_units
    }

    fn remove(
        &self,
        context: &ProfileContext<'_>,
        rows: &[LedgerRow<'_>],
        because: StackRemoval,
        plan: &mut Plan,
    ) {
        let profile = &context.profile.name;
        let mend = &Mend::Remove(because);
        let mut number = 0;
        for (units, accounts) in self.by_units(context, rows, mend) {
            for targets in by_account(&units, &accounts) {
                number += 1;
                let stacks = rows.iter().filter_map(|row| {
                    let stack = row.instance?.stack_id.as_deref()?.parse().ok()?;
                    Some((row.row.account, stack))
                });
                let action = SyncAction::DeleteStacks {
                    profile: profile.clone(),
                    accounts_at_once: 0,
                    because,
                    stacks: stacks
                        .filter(|(account, _)| targets.accounts.contains(account))
                        .collect(),
                    targets,
                };
                push(
                    plan,
                    format!("{}:{profile}:{}:{number}", action.name(), because.code()),
                    &action,
                    accounts.clone(),
                    mend.reason().to_owned(),
                    Risk::High,
                    match because {
                        StackRemoval::RoleGone | StackRemoval::SpotAccountGone => order::REDEPLOY,
                        StackRemoval::TakenOver | StackRemoval::OutsideTargets => order::REMOVE,
                    },
                );
            }
        }
    }

    fn rewrite(&self, context: &ProfileContext<'_>, rows: &[LedgerRow<'_>], plan: &mut Plan) {
        let profile = &context.profile.name;
        let mut number = 0;
        for (units, accounts) in self.by_units(context, rows, &Mend::Rewrite) {
            for targets in by_account(&units, &accounts) {
                number += 1;
                let action = SyncAction::RepairStackInstances {
                    profile: profile.clone(),
                    targets,
                    accounts_at_once: 0,
                };
                push(
                    plan,
                    format!("{}:{profile}:{number}", action.name()),
                    &action,
                    accounts.clone(),
                    Mend::Rewrite.reason().to_owned(),
                    Risk::Medium,
                    context.order(order::UPDATE),
                );
            }
        }
    }
}

/// Whether Spot lists too few of the accounts that we linked: then its listing is what is wrong. One may always be missing.
pub(crate) fn spot_shrank(observed: &SyncObserved, desired: &Desired) -> Option<String> {
    let listed: BTreeSet<&SpotAccountId> =
        observed.spot_accounts.iter().map(|spot| &spot.id).collect();
    let owned = observed.owned_links.values();
    let missing = owned.filter(|spot| !listed.contains(spot)).count();
    let limit = desired.removal.max_shrink;
    #[expect(
        clippy::cast_precision_loss,
        reason = "account counts are far below 2^52"
    )]
    let share = missing as f64 / observed.owned_links.len().max(1) as f64;
    (missing > 1 && share > limit).then(|| {
        format!(
            "Spot does not list {missing} of the {} accounts that we linked; that is more than removal.max_shrink allows ({:.1} %). \
             Look whether the token still sees all accounts; if they were really deleted, raise the limit for one run",
            observed.owned_links.len(),
            limit * 100.0
        )
    })
}

/// Lets a row be due, for its own reason where it had one.
fn due(row: &mut LedgerRow<'_>, mends: &BTreeSet<Mend>) {
    let was_fine = row.row.standing == Standing::Ok;
    row.row.standing = Standing::Due;
    if was_fine {
        row.row.reason = Reason::Drifted;
        let why: Vec<&str> = mends.iter().map(Mend::reason).collect();
        row.row.detail = Some(why.join("; ").into());
    }
}

/// The step of what is done at Spot.
fn at_spot(context: &ProfileContext<'_>, row: &LedgerRow<'_>, mend: &Mend, plan: &mut Plan) {
    let account = row.row.account;
    let profile = context.profile.name.clone();
    // Without custom resources, one id stands for the stack.
    let stack = row
        .instance
        .filter(|_| context.profile.direct.is_none())
        .and_then(|instance| instance.stack_id.as_deref())
        .and_then(|stack| stack.parse().ok());
    let (action, words) = match mend {
        Mend::Remove(_) | Mend::Rewrite => return,
        Mend::Link {
            spot_account,
            role,
            relinks,
        } => (
            SyncAction::LinkSpotAccount {
                profile,
                account,
                stack,
                spot_account: spot_account.clone(),
                role: role.clone(),
                relinks: *relinks,
            },
            format!("link Spot account {spot_account} to {role}"),
        ),
        Mend::Rename(spot_account) => (
            SyncAction::RenameSpotAccount {
                profile,
                account,
                stack,
                spot_account: spot_account.clone(),
            },
            format!("rename Spot account {spot_account}"),
        ),
        Mend::CostIntelligence(spot_account) => (
            SyncAction::EnableCostIntelligence {
                profile,
                account,
                stack,
                spot_account: spot_account.clone(),
            },
            format!("switch on Cost Intelligence for Spot account {spot_account}"),
        ),
    };
    push(
        plan,
        format!("{}:{account}", action.name()),
        &action,
        vec![account],
        mend.reason().to_owned(),
        Risk::Low,
        order::AT_SPOT,
    );
    if let Some(step) = plan.steps.last_mut() {
        step.changes.push(words);
    }
}

/// Lets the steps say who plans them.
pub fn of_kind(plan: &mut Plan, kind: &str) {
    for step in plan.steps.iter_mut().filter(|step| step.kind == KIND) {
        kind.clone_into(&mut step.kind);
    }
}
