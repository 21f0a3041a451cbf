//! Where the accounts stand in a rollout.

use std::collections::BTreeMap;

use super::{Outcome, Phase, Rollout, RolloutObserved};
use crate::{
    ids::AwsAccountId,
    inventory::StackInstance,
    plan::{AccountRow, Plan},
    status::{Reason, Standing},
};

/// Lets the rows say where the accounts stand: `due` has those that a step works on, `waits` for what the others wait.
pub(super) fn settle(
    plan: &mut Plan,
    observed: &RolloutObserved,
    eligible: &BTreeMap<AwsAccountId, &StackInstance>,
    due: &BTreeMap<AwsAccountId, String>,
    waits: Option<&str>,
) {
    let is_same = observed
        .good
        .as_ref()
        .is_some_and(|good| good.digest == observed.candidate.digest);
    for row in plan.accounts.iter_mut().filter(|row| row.targeted) {
        if let Some(why) = due.get(&row.account) {
            set(row, Standing::Due, Reason::PolicyOutdated, Some(why));
            continue;
        }
        let Some(instance) = eligible.get(&row.account) else {
            left_out(row, observed.rollout.as_ref());
            continue;
        };
        let stack = instance.stack_id.as_deref();
        let is_done = match &observed.rollout {
            // What was rolled back is not what they should have.
            None => is_same || observed.rejected || observed.good.is_none(),
            Some(rollout) => match rollout.phase {
                Phase::Staging | Phase::Rolling | Phase::Halted => {
                    rollout.has_next(row.account, stack)
                }
                Phase::RollingBack => !rollout.has_next(row.account, stack),
                Phase::Finishing | Phase::Unstaging | Phase::Done | Phase::RolledBack => true,
            },
        };
        if is_done {
            row.standing = Standing::Ok;
        } else {
            set(row, Standing::Pending, Reason::WaitsForWave, waits);
        }
    }
}

/// One that no wave can update: for its own reason, or because its update went wrong.
fn left_out(row: &mut AccountRow, rollout: Option<&Rollout>) {
    let mut members = rollout.into_iter().flat_map(Rollout::members);
    let failed = members
        .find(|(account, member)| *account == row.account && member.outcome == Outcome::Failed);
    match failed {
        Some((_, member)) => {
            let why = member.reason.as_deref();
            set(row, Standing::Failed, Reason::PolicyOutdated, why);
        }
        // What `stackset-sync` does about it is not this job's.
        None => row.standing = Standing::Skipped,
    }
}

fn set(row: &mut AccountRow, standing: Standing, reason: Reason, detail: Option<&str>) {
    row.standing = standing;
    row.reason = reason;
    row.detail = detail.map(Into::into);
}
