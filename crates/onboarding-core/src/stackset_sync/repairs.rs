//! What brings an account right that has its stack, and yet is not as it should be. Who plans accounts alone ([`Mender`]) says
//! what that is; here it becomes the row's standing and the plan's steps, under the retry clock and the limits of removals.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    KIND, ledger,
    ledger::LedgerRow,
    observed::{ObservedProfile, SyncObserved},
    steps::{ProfileContext, order, push, root},
};
use crate::{
    desired::{Desired, Profile},
    ids::{AwsAccountId, OuId, RoleArn, SpotAccountId},
    inventory::StackInstance,
    plan::{AccountRow, Plan, Refusal, Risk},
    stackset_sync::{
        actions::{StackRemoval, SyncAction},
        guard,
        operation_targets::by_account,
    },
    status::{Reason, Standing},
};

/// What mends something about one account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mend {
    /// Its stack is removed and made anew: the role is not there, or cannot be the one that Spot uses any more.
    Redeploy,
    /// Its stack is removed: another profile's has taken its Spot account over.
    Retire,
    /// The role's trust policy and the managed policies are written again, in place.
    Rewrite,
    /// Its Spot account is linked to its role again.
    Link {
        /// The Spot account.
        spot_account: SpotAccountId,
        /// The role.
        role: RoleArn,
    },
    /// Its Spot account is named by the profile's rule.
    Rename(SpotAccountId),
    /// Cost Intelligence is switched on.
    CostIntelligence(SpotAccountId),
}

impl Mend {
    /// Why, for people.
    fn reason(&self) -> &'static str {
        match self {
            Self::Redeploy => {
                "the role, or the Spot account that it trusts, is gone; the stack is made anew, and a Spot account that is there stays"
            }
            Self::Retire => {
                "another profile's stack takes the account over, and the one from before goes"
            }
            Self::Rewrite => {
                "the role was changed behind CloudFormation's back, which writes role and policies again"
            }
            Self::Link { .. } => "it has its role, and Spot is not linked to it",
            Self::Rename(_) => "its Spot account has another name than its profile gives it",
            Self::CostIntelligence(_) => "Cost Intelligence is not switched on",
        }
    }

    fn is_removal(&self) -> bool {
        matches!(self, Self::Redeploy | Self::Retire)
    }
}

/// Says what mends an account.
pub trait Mender {
    /// Whether this plan is about the account at all.
    fn includes(&self, account: AwsAccountId) -> bool;

    /// What mends it, at most one thing of each kind. `is_targeted` says whether any profile targets it.
    fn mends(
        &self,
        profile: &Profile,
        state: &ObservedProfile,
        row: &AccountRow,
        instance: Option<&StackInstance>,
        is_targeted: bool,
    ) -> BTreeSet<Mend>;
}

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
            if !mender.includes(row.row.account) {
                if row.row.standing == Standing::Due {
                    row.row.standing = Standing::Skipped;
                }
                continue;
            }
            let index = accounts.binary_search_by_key(&row.row.account, |account| account.id);
            let is_targeted = index.is_ok_and(|index| targeted.get(index) == Some(&true));
            let mends = mender.mends(
                context.profile,
                context.state,
                &row.row,
                row.instance,
                is_targeted,
            );
            if mends.is_empty() {
                continue;
            }
            let waits = ledger::by_the_clock(context, row.row.account);
            match waits.filter(|_| row.row.targeted) {
                Some((standing, reason, detail)) => {
                    row.row.standing = standing;
                    row.row.reason = reason;
                    row.row.detail = Some(detail.into());
                }
                None => {
                    repairs.mends.insert(row.row.account, mends);
                }
            }
        }
        repairs.limit_removals(context, removed, plan);
        for row in rows {
            let mends = repairs.mends.get(&row.row.account);
            row.redeploys = mends.is_some_and(|mends| mends.contains(&Mend::Redeploy));
            if row.redeploys {
                due(row, &BTreeSet::from([Mend::Redeploy]));
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
        let removals = self.mends.values().flatten();
        let wanted = removals.filter(|mend| mend.is_removal()).count();
        if wanted == 0 {
            return;
        }
        *removed += wanted;
        let limits = &context.desired.removal;
        let observed = context.observed;
        let accounts = observed.organization.accounts.len();
        let shrunk = guard::shrink(limits, observed.previous_account_count, accounts);
        let refusal = match shrunk.or_else(|| spot_shrank(observed, context.desired)) {
            Some(message) => Some(("shrink-guard", message)),
            None if *removed > limits.max_removals => Some((
                "max-removals",
                format!(
                    "{removed} stacks would be removed in this run, those of stack set {} among them, to be made anew or because \
                     another profile's took over; that is more than removal.max_removals allows ({}); look at why so many at \
                     once (does Spot list all accounts?), then raise the limit",
                    context.profile.stack_set, limits.max_removals
                ),
            )),
            None => None,
        };
        let Some((guard, message)) = refusal else {
            return;
        };
        plan.refusals.push(Refusal {
            guard: guard.to_owned(),
            message,
            whole_plan: false,
        });
        for mends in self.mends.values_mut() {
            mends.retain(|mend| !mend.is_removal());
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
        for (mend, because) in [
            (Mend::Redeploy, StackRemoval::Redeploy),
            (Mend::Retire, StackRemoval::TakenOver),
        ] {
            self.remove(context, rows, &mend, because, plan);
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

    /// The instances of the accounts that this mends, by the unit that they were deployed to.
    fn by_unit(
        &self,
        context: &ProfileContext<'_>,
        rows: &[LedgerRow<'_>],
        mend: &Mend,
    ) -> BTreeMap<OuId, Vec<AwsAccountId>> {
        let mut units: BTreeMap<OuId, Vec<AwsAccountId>> = BTreeMap::new();
        for row in rows {
            let mends = self.mends.get(&row.row.account);
            let Some(instance) = row
                .instance
                .filter(|_| mends.is_some_and(|mends| mends.contains(mend)))
            else {
                continue;
            };
            if let Some(unit) = instance.targeted_ou.clone().or_else(|| root(context)) {
                units.entry(unit).or_default().push(instance.account);
            }
        }
        units
    }

    fn remove(
        &self,
        context: &ProfileContext<'_>,
        rows: &[LedgerRow<'_>],
        mend: &Mend,
        because: StackRemoval,
        plan: &mut Plan,
    ) {
        let profile = &context.profile.name;
        let mut number = 0;
        for (unit, accounts) in self.by_unit(context, rows, mend) {
            for targets in by_account(std::slice::from_ref(&unit), &accounts) {
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
                        StackRemoval::Redeploy => order::REDEPLOY,
                        StackRemoval::TakenOver | StackRemoval::OutsideTargets => order::REMOVE,
                    },
                );
            }
        }
    }

    fn rewrite(&self, context: &ProfileContext<'_>, rows: &[LedgerRow<'_>], plan: &mut Plan) {
        let profile = &context.profile.name;
        let mut number = 0;
        for (unit, accounts) in self.by_unit(context, rows, &Mend::Rewrite) {
            // An override that is left out goes back to the stack set's value, so those that have the same are on their own.
            let mut alike: BTreeMap<Vec<String>, Vec<AwsAccountId>> = BTreeMap::new();
            for account in accounts {
                let kept = context.state.overridden(account);
                alike.entry(kept).or_default().push(account);
            }
            for (kept_parameters, accounts) in alike {
                for targets in by_account(std::slice::from_ref(&unit), &accounts) {
                    number += 1;
                    let action = SyncAction::RepairStackInstances {
                        profile: profile.clone(),
                        targets,
                        kept_parameters: kept_parameters.clone(),
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
        Mend::Redeploy | Mend::Retire | Mend::Rewrite => return,
        Mend::Link { spot_account, role } => (
            SyncAction::LinkSpotAccount {
                profile,
                account,
                stack,
                spot_account: spot_account.clone(),
                role: role.clone(),
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
