//! The guard rails over what a plugin plans: protected accounts, and the limits that every removal obeys.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    desired::RemovalLimits,
    ids::AwsAccountId,
    plan::{Refusal, Risk, Step},
    stackset_sync::guard,
    status::Reason,
};

/// How many steps a refusal names before it says how many more there are.
const MOST_NAMED: usize = 5;

/// What bounds a plugin.
#[derive(Debug, Clone, Copy)]
pub struct Guards<'a> {
    /// Accounts that no step works on.
    pub protected: &'a BTreeSet<AwsAccountId>,
    /// The limits of removals.
    pub removal: &'a RemovalLimits,
    /// Whether the job says that steps that remove something are applied.
    pub applies_removals: bool,
    /// How many accounts the organization had when it was listed before.
    pub previous_account_count: Option<usize>,
    /// How many it has now.
    pub account_count: usize,
}

/// What guard rails leave of the steps.
pub(super) struct Guarded {
    pub(super) steps: Vec<Step>,
    pub(super) refusals: Vec<Refusal>,
    /// The steps that were taken out.
    pub(super) withheld: BTreeSet<String>,
    /// The accounts of steps that were taken out, with why.
    pub(super) left_out: BTreeMap<AwsAccountId, (Reason, &'static str)>,
}

impl Guards<'_> {
    /// Takes out what is refused, and what builds on it.
    pub(super) fn leave(&self, steps: Vec<Step>) -> Guarded {
        let mut guarded = Guarded {
            steps,
            refusals: Vec::new(),
            withheld: BTreeSet::new(),
            left_out: BTreeMap::new(),
        };
        let is_protected = |step: &Step| {
            let mut accounts = step.accounts.iter();
            accounts.any(|account| self.protected.contains(account))
        };
        let say = |steps: &str| {
            format!(
                "{steps} would work on accounts of protected_accounts; the plugin must leave these out, as it was told which they are"
            )
        };
        guarded.take_out(
            "protected-accounts",
            Reason::Protected,
            "it is protected, and so are accounts that share a step with it",
            is_protected,
            say,
        );
        let removing = guarded.steps.iter().filter(|step| removes(step));
        // One that names no account removes something all the same.
        let removals = removing.map(|step| step.accounts.len().max(1)).sum();
        if let Some((guard, why)) = self.against_removals(removals) {
            guarded.take_out(
                guard,
                Reason::PluginSkipped,
                "something would be removed, which is refused",
                removes,
                |steps| format!("{steps} would remove something: {why}"),
            );
        }
        guarded
    }

    /// The guard rail that refuses removals in so many accounts, and why.
    fn against_removals(&self, removals: usize) -> Option<(&'static str, String)> {
        if removals == 0 {
            return None;
        }
        if !self.applies_removals {
            let why = "the job does not say that removals are applied; look at them, then set params.apply_removals = true in its file";
            return Some(("removals-off", why.to_owned()));
        }
        let shrunk = guard::shrink(
            self.removal,
            self.previous_account_count,
            self.account_count,
        );
        if let Some(why) = shrunk {
            return Some(("shrink-guard", why));
        }
        let most = self.removal.max_removals;
        (removals > most).then(|| {
            let why = format!(
                "{removals} accounts, where a step that names none counts as one, are more than removal.max_removals allows ({most}); \
                 look at them, then raise the limit"
            );
            ("max-removals", why)
        })
    }
}

fn removes(step: &Step) -> bool {
    step.risk == Risk::High
}

impl Guarded {
    fn take_out(
        &mut self,
        guard: &str,
        reason: Reason,
        why: &'static str,
        is_refused: impl Fn(&Step) -> bool,
        say: impl Fn(&str) -> String,
    ) {
        let (refused, mut kept): (Vec<Step>, Vec<Step>) = std::mem::take(&mut self.steps)
            .into_iter()
            .partition(is_refused);
        let mut gone: BTreeSet<String> = refused.iter().map(|step| step.id.clone()).collect();
        let mut groundless = Vec::new();
        // Orders rise from what is built on to what builds on it.
        kept.sort_by_key(|step| step.order);
        for step in kept {
            let needed = step.preconditions.iter();
            let mut needed = needed.filter_map(|one| one.strip_prefix("step:"));
            if needed.any(|id| gone.contains(id)) {
                gone.insert(step.id.clone());
                groundless.push(step);
            } else {
                self.steps.push(step);
            }
        }
        if refused.is_empty() {
            return;
        }
        let mut message = say(&named(&refused));
        if !groundless.is_empty() {
            message.push_str(&format!(
                "; {} that build on that are left out with it",
                named(&groundless)
            ));
        }
        self.refusals.push(Refusal {
            guard: guard.to_owned(),
            message,
            whole_plan: false,
        });
        for step in refused.iter().chain(&groundless) {
            self.withheld.insert(step.id.clone());
            for account in &step.accounts {
                self.left_out.insert(*account, (reason, why));
            }
        }
    }
}

/// Steps by their ids: the first few, and how many more.
fn named(steps: &[Step]) -> String {
    let ids: Vec<&str> = steps
        .iter()
        .take(MOST_NAMED)
        .map(|step| step.id.as_str())
        .collect();
    let noun = if steps.len() == 1 { "step" } else { "steps" };
    let more = steps.len() - ids.len();
    match more {
        0 => format!("{noun} {}", ids.join(", ")),
        more => format!("{noun} {} and {more} more", ids.join(", ")),
    }
}
