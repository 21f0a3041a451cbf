//! What may still be applied of a plan that was made earlier and looked at since.
//!
//! The world is observed and planned again, and of the new plan only what the earlier one has is kept: a step about the same
//! thing, for accounts that are due for the same reason. So nothing is done that nobody looked at, and an account that
//! joined, left or changed meanwhile does not take the rest with it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{AccountRow, Plan, Step};
use crate::{
    canonical::to_canonical_json,
    ids::AwsAccountId,
    status::{Reason, Standing},
};

/// A step as it was planned, with why each of its accounts was due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConsentedStep {
    /// The step.
    #[serde(flatten)]
    pub step: Step,
    /// Why each account was due, of those that were.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub due: BTreeMap<AwsAccountId, Reason>,
}

/// The steps of a plan, as they are looked at.
#[must_use]
pub fn consented(plan: &Plan) -> Vec<ConsentedStep> {
    let reasons = reasons(&plan.accounts);
    let steps = plan.steps.iter();
    steps
        .map(|step| ConsentedStep {
            due: step
                .accounts
                .iter()
                .filter_map(|account| Some((*account, *reasons.get(account)?)))
                .collect(),
            step: step.clone(),
        })
        .collect()
}

/// What a step is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// It changes nothing, so nobody has to look at it.
    Free,
    /// This one thing, whichever accounts it reaches.
    Whole(String),
    /// This thing, for some accounts and not for others.
    Accounts(String),
}

/// What a job kind knows of its steps.
pub trait Consent {
    /// What a step is about. Steps about the same are the same step, whatever their ids.
    fn scope(&self, step: &Step) -> Scope;

    /// What whoever looked at this step has looked at as well, for its accounts and whatever their reason is then: what is left
    /// of it when it was interrupted.
    fn also(&self, _step: &Step) -> Option<String> {
        None
    }

    /// The same step for these of its accounts only; none when that cannot be.
    fn narrowed(&self, step: &Step, accounts: &BTreeSet<AwsAccountId>) -> Option<Step>;
}

/// Steps of which nothing is known: only the very same one is the same.
#[derive(Debug, Clone, Copy)]
pub struct Exactly;

impl Consent for Exactly {
    fn scope(&self, step: &Step) -> Scope {
        Scope::Whole(format!("{}:{}", step.id, to_canonical_json(&step.payload)))
    }

    fn narrowed(&self, _step: &Step, _accounts: &BTreeSet<AwsAccountId>) -> Option<Step> {
        None
    }
}

/// A step, or a part of one, that is left alone because it is not what was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The step's id.
    pub step: String,
    /// What it does.
    pub action: String,
    /// The accounts that are concerned.
    pub accounts: BTreeSet<AwsAccountId>,
    /// What differs.
    pub why: String,
    /// Whether it is still to be done, by another plan.
    pub is_due: bool,
}

/// Takes out of a plan what the earlier one does not have, and tells what that is, as well as what the earlier one has and
/// this one does not. Accounts that nothing is done for because of that are [`Reason::Moved`].
pub fn limit(plan: &mut Plan, earlier: &[ConsentedStep], kind: &dyn Consent) -> Vec<Moved> {
    let mut by_scope: BTreeMap<String, Earlier<'_>> = BTreeMap::new();
    for step in earlier {
        let (Scope::Whole(scope) | Scope::Accounts(scope)) = kind.scope(&step.step) else {
            continue;
        };
        let entry = by_scope.entry(scope).or_default();
        entry.steps.push(&step.step);
        entry
            .due
            .extend(step.due.iter().map(|(account, reason)| (*account, *reason)));
        if let Some(scope) = kind.also(&step.step) {
            let rest = by_scope.entry(scope).or_default();
            rest.whatever.extend(&step.step.accounts);
        }
    }
    let reasons = reasons(&plan.accounts);
    let mut moved = Vec::new();
    let mut kept = Vec::new();
    for step in std::mem::take(&mut plan.steps) {
        kept.extend(one(step, &mut by_scope, &reasons, kind, &mut moved));
    }
    // A step that builds on one that is left out would find its ground missing.
    let ids: BTreeSet<String> = kept.iter().map(|step| step.id.clone()).collect();
    let gone: BTreeSet<String> = moved
        .iter()
        .map(|moved| moved.step.clone())
        .filter(|id| !ids.contains(id))
        .collect();
    let ground = |step: &Step| {
        let needed = step.preconditions.iter();
        let mut needed = needed.filter_map(|one| one.strip_prefix("step:"));
        needed.find(|id| gone.contains(*id)).map(str::to_owned)
    };
    for step in kept {
        match ground(&step) {
            Some(needed) => moved.push(Moved {
                accounts: step.accounts.iter().copied().collect(),
                why: format!("it builds on {needed}, which is left out"),
                step: step.id,
                action: step.action,
                is_due: true,
            }),
            None => plan.steps.push(step),
        }
    }
    let worked_on: BTreeSet<AwsAccountId> = plan
        .steps
        .iter()
        .flat_map(|step| step.accounts.iter().copied())
        .collect();
    let left: BTreeSet<AwsAccountId> = moved
        .iter()
        .flat_map(|moved| moved.accounts.iter().copied())
        .collect();
    for row in &mut plan.accounts {
        let is_left = left.contains(&row.account) && !worked_on.contains(&row.account);
        if is_left && row.standing == Standing::Due {
            row.standing = Standing::Skipped;
            row.detail = Some(format!("due as {}", row.reason).into());
            row.reason = Reason::Moved;
        }
    }
    for (_, entry) in by_scope.into_iter().filter(|(_, entry)| !entry.met) {
        moved.extend(entry.steps.into_iter().map(|step| Moved {
            step: step.id.clone(),
            action: step.action.clone(),
            accounts: BTreeSet::new(),
            why: "it is not due any more".to_owned(),
            is_due: false,
        }));
    }
    moved
}

/// What the earlier plan has about one thing.
#[derive(Default)]
struct Earlier<'a> {
    steps: Vec<&'a Step>,
    due: BTreeMap<AwsAccountId, Reason>,
    /// Accounts that are covered whatever their reason is.
    whatever: BTreeSet<AwsAccountId>,
    met: bool,
}

/// A step of the new plan, as far as the earlier one has it.
fn one(
    step: Step,
    earlier: &mut BTreeMap<String, Earlier<'_>>,
    reasons: &BTreeMap<AwsAccountId, Reason>,
    kind: &dyn Consent,
    moved: &mut Vec<Moved>,
) -> Option<Step> {
    let mut leave = |step: &Step, accounts: BTreeSet<AwsAccountId>, why: &str| {
        moved.push(Moved {
            step: step.id.clone(),
            action: step.action.clone(),
            accounts,
            why: why.to_owned(),
            is_due: true,
        });
    };
    let all = |step: &Step| step.accounts.iter().copied().collect();
    let (scope, is_whole) = match kind.scope(&step) {
        Scope::Free => return Some(step),
        Scope::Whole(scope) => (scope, true),
        Scope::Accounts(scope) => (scope, false),
    };
    let Some(entry) = earlier.get_mut(&scope) else {
        leave(
            &step,
            all(&step),
            "the plan that was approved does not have it",
        );
        return None;
    };
    let facts = |step: &Step| -> BTreeSet<String> {
        let facts = step.preconditions.iter();
        let facts = facts.filter(|fact| !fact.starts_with("step:"));
        facts.cloned().collect()
    };
    let now = facts(&step);
    let mut steps = entry.steps.iter();
    if !entry.steps.is_empty() && !steps.any(|earlier| now.is_subset(&facts(earlier))) {
        entry.met = true;
        leave(
            &step,
            all(&step),
            "what it was planned on is not so any more",
        );
        return None;
    }
    entry.met = true;
    if is_whole {
        return Some(step);
    }
    let is_consented = |account: &&AwsAccountId| {
        let reason = entry.due.get(account);
        entry.whatever.contains(account) || (reason.is_some() && reason == reasons.get(account))
    };
    let consented: BTreeSet<AwsAccountId> =
        step.accounts.iter().filter(is_consented).copied().collect();
    if consented.len() == step.accounts.len() && !step.accounts.is_empty() {
        return Some(step);
    }
    let others: BTreeSet<AwsAccountId> = step
        .accounts
        .iter()
        .filter(|account| !consented.contains(account))
        .copied()
        .collect();
    let why = "these accounts are not in the plan that was approved, or are due for another reason";
    if consented.is_empty() {
        leave(&step, others, why);
        return None;
    }
    match kind.narrowed(&step, &consented) {
        Some(narrowed) => {
            leave(&step, others, why);
            Some(narrowed)
        }
        None => {
            leave(&step, all(&step), why);
            None
        }
    }
}

/// Why each account that is due is due.
fn reasons(rows: &[AccountRow]) -> BTreeMap<AwsAccountId, Reason> {
    let due = rows.iter().filter(|row| {
        // Accounts whose instance is taken out are not due themselves: they are gone.
        matches!(row.standing, Standing::Due | Standing::Skipped)
    });
    due.map(|row| (row.account, row.reason)).collect()
}
