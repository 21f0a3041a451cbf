//! Writing a plan down: steps, findings, refusals, and what they take.

use super::Planner;
use crate::{
    ids::AwsAccountId,
    plan::{Estimate, Finding, Refusal, Risk, Severity, Step},
    policy_rollout::{KIND, RolloutAction},
};

/// Calls that looking into one account takes.
pub(super) const CALLS_PER_LOOK: u64 = 9;

impl Planner<'_, '_> {
    /// Whether nothing may be changed now; says so.
    pub(super) fn is_closed(&mut self) -> bool {
        let window = self.observed.window;
        if !window.is_open {
            let until = window.opens_at.map(self.settings.moment);
            self.wait(match until {
                Some(until) => format!("the change window opens at {until}"),
                None => "the change window never opens".to_owned(),
            });
        }
        !window.is_open
    }

    pub(super) fn wait(&mut self, why: String) {
        if self.waits.is_none() {
            self.find("rollout-waits", Severity::Info, why.clone());
            self.plan.waits = Some(why.clone());
            self.waits = Some(why);
        }
    }

    pub(super) fn find(&mut self, reason: &str, severity: Severity, message: String) {
        self.plan.findings.push(Finding {
            id: format!("{reason}:{}", self.profile.name),
            severity,
            reason: reason.to_owned(),
            message,
            ..Finding::default()
        });
    }

    pub(super) fn refuse(&mut self, guard: &str, message: String) {
        self.plan.refusals.push(Refusal {
            guard: guard.to_owned(),
            message,
            whole_plan: true,
        });
    }

    /// An operation on so many accounts.
    pub(super) fn operation(&self, accounts: u64, each: u64, concurrency: u32) -> Estimate {
        let seconds = accounts.div_ceil(u64::from(concurrency.max(1))) * each;
        Estimate {
            aws_calls: 1 + seconds / 20 + 2 * accounts.div_ceil(100),
            spot_calls: 0,
            seconds,
        }
    }

    pub(super) fn look(&self, accounts: usize) -> Estimate {
        if !self.settings.reads_accounts {
            return Estimate::default();
        }
        Estimate {
            aws_calls: CALLS_PER_LOOK * accounts as u64,
            spot_calls: 0,
            seconds: 1 + accounts as u64 / 100,
        }
    }

    /// Adds a step, which builds on the one before.
    pub(super) fn push(
        &mut self,
        action: &RolloutAction,
        accounts: Vec<AwsAccountId>,
        reason: String,
        risk: Risk,
        estimate: Estimate,
    ) {
        let profile = &self.profile.name;
        let id = match action {
            RolloutAction::UpdateWave { wave, .. } | RolloutAction::CheckWave { wave, .. } => {
                format!("{}:{profile}:{wave}", action.name())
            }
            _ => format!("{}:{profile}", action.name()),
        };
        let before = self.plan.steps.last();
        let preconditions = before.map(|before| format!("step:{}", before.id));
        let order = before.map_or(10, |before| before.order + 10);
        self.plan.steps.push(Step {
            id,
            kind: KIND.to_owned(),
            action: action.name().to_owned(),
            accounts,
            reason,
            risk,
            order,
            preconditions: preconditions.into_iter().collect(),
            changes: Vec::new(),
            estimate,
            // Our payloads are plain data with text keys, which JSON can always carry.
            payload: serde_json::to_value(action).unwrap_or_default(),
        });
    }
}
