//! What a step will take, roughly: so that a person who approves a plan knows whether it is minutes or hours.
//!
//! Calls per account are those that enrolling one takes of the provider; how long CloudFormation works on a
//! stack, AWS does not publish: a minute for a change and two for a creation is what is usual for a role, a few policies and
//! five custom resources that are answered at once.

use super::actions::SyncAction;
use crate::plan::{Estimate, Plan, Step};

/// How fast things go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Requests per minute and route that Spot allows.
    pub requests_per_minute: u32,
    /// Accounts that an operation works on at the same time.
    pub concurrent: u32,
    /// Whether the custom resources are served by us, so that their calls are ours.
    pub serves: bool,
}

/// Calls to Spot for an account that is enrolled for the first time: it is looked for, created and looked at, given an
/// external ID, linked, and renamed.
const SPOT_CALLS_PER_ENROLLMENT: u64 = 6;

/// Seconds that CloudFormation takes to make a stack, and to change one.
const CREATION: u64 = 120;
const CHANGE: u64 = 60;

/// Seconds between two looks at an operation, on average.
const LOOK: u64 = 20;

/// Calls that reading a role with its policies takes.
const READS: u64 = 8;

/// Accounts on a page of an operation's results.
const PAGE: u64 = 100;

/// Fills in what each step of a plan will take.
pub fn fill(plan: &mut Plan, pace: Pace) {
    let mut alone: u64 = 0;
    for step in &mut plan.steps {
        step.estimate = of(step, pace);
        if step.action == "enroll-account" {
            // So many at a time: the last one is done when all waves are.
            let waves = alone / u64::from(pace.concurrent).max(1) + 1;
            step.estimate.seconds *= waves;
            alone += 1;
        }
    }
}

fn of(step: &Step, pace: Pace) -> Estimate {
    let Ok(action) = serde_json::from_value::<SyncAction>(step.payload.clone()) else {
        return Estimate::default();
    };
    let accounts = step.accounts.len() as u64;
    let operation = |each: u64, enrolls: bool| {
        let at_once = u64::from(pace.concurrent).max(1);
        let waves = accounts.div_ceil(at_once) * each;
        // Each account needs one request of the route that has the most.
        let at_spot = accounts * 60 / u64::from(pace.requests_per_minute).max(1);
        let seconds = if enrolls { waves.max(at_spot) } else { waves };
        // The call itself, looks at it, and its results twice: on the way and at the end.
        let looks = 1 + seconds / LOOK + 2 * accounts.div_ceil(PAGE);
        Estimate {
            aws_calls: looks,
            spot_calls: if enrolls && pace.serves {
                accounts * SPOT_CALLS_PER_ENROLLMENT
            } else {
                0
            },
            seconds,
        }
    };
    let calls = |aws_calls, spot_calls, seconds| Estimate {
        aws_calls,
        spot_calls,
        seconds,
    };
    match &action {
        SyncAction::ActivateTrustedAccess => calls(1, 0, 10),
        SyncAction::CreateStackSet { .. } => calls(2, 0, 5),
        SyncAction::UpdateStackSet { definition, .. } if *definition => operation(CHANGE, false),
        SyncAction::UpdateStackSet { .. } => calls(3, 0, LOOK),
        // AWS says nothing of how long it looks.
        SyncAction::AwaitOperation { .. } | SyncAction::DetectDrift { .. } => Estimate::default(),
        SyncAction::CreateStackInstances { .. } => operation(CREATION, true),
        // What each instance overrides is read before.
        SyncAction::RepairStackInstances { .. } => {
            let change = operation(CHANGE, false);
            calls(change.aws_calls + accounts, 0, change.seconds)
        }
        SyncAction::UpdateStackInstances { .. }
        | SyncAction::DeleteStackInstances { .. }
        | SyncAction::DeleteStacks { .. } => operation(CHANGE, false),
        SyncAction::LinkSpotAccount { .. } => calls(0, 3, 10),
        SyncAction::RenameSpotAccount { .. } => calls(0, 2, 5),
        SyncAction::EnableCostIntelligence { .. } => calls(0, 3, 10),
        // The role is read before and after.
        SyncAction::RemoveStrayPolicies { policies, .. } => {
            calls(2 * READS + 1 + policies.len() as u64, 0, 10)
        }
        SyncAction::EnrollAccount { .. } => calls(8, SPOT_CALLS_PER_ENROLLMENT, CREATION),
        SyncAction::EnrollManagementAccount { .. } => {
            calls(12, SPOT_CALLS_PER_ENROLLMENT, CREATION)
        }
        SyncAction::GrantAccess { .. } => calls(0, 2, 5),
        SyncAction::SetUpBillingEngine { .. } => calls(0, 2, 5),
    }
}
