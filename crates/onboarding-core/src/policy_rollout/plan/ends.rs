//! What begins a rollout, ends it, and turns it back: the steps that are about all accounts.

use std::collections::BTreeSet;

use super::{CHANGE, NO_CHANGE, Planner};
use crate::{
    ids::AwsAccountId,
    inventory::{AccountState, InstanceStatus},
    plan::Risk,
    policy_rollout::{Outcome, Phase, Rollout, RolloutAction},
    stackset_sync::definition,
};

impl Planner<'_, '_> {
    /// Both versions into the template.
    pub(super) fn stage(&mut self, rollout: &Rollout) {
        let action = RolloutAction::Stage {
            profile: rollout.profile.clone(),
            from: rollout.from.clone(),
            to: rollout.to.clone(),
            kept_parameters: self.difference.kept_parameters.clone(),
        };
        let reason = format!(
            "version {} comes into the template beside {}, which all accounts keep",
            rollout.to, rollout.from
        );
        let accounts = self.state.instances.len() as u64;
        let estimate = self.operation(accounts, NO_CHANGE, self.settings.concurrency);
        self.push(&action, Vec::new(), reason, Risk::Low, estimate);
        let fact = format!(
            "the definition of {}: {}",
            self.profile.stack_set,
            definition::digest(self.state)
        );
        if let Some(step) = self.plan.steps.last_mut() {
            step.preconditions.push(fact);
        }
    }

    pub(super) fn finish(&mut self, rollout: &Rollout) {
        let accounts = self.state.instances.len() as u64;
        if rollout.phase != Phase::Finishing || self.difference.definition || self.is_behind() {
            let action = RolloutAction::Promote {
                profile: rollout.profile.clone(),
                to: rollout.to.clone(),
                kept_parameters: self.difference.kept_parameters.clone(),
            };
            let reason = format!(
                "version {} becomes what every account has, and {} leaves the template",
                rollout.to, rollout.from
            );
            let estimate = self.operation(accounts, NO_CHANGE, self.settings.concurrency);
            self.push(&action, Vec::new(), reason, Risk::Medium, estimate);
        }
        let action = RolloutAction::ClearOverrides {
            profile: rollout.profile.clone(),
        };
        let reason =
            "what the waves' accounts were told by themselves, all are told now".to_owned();
        let mut estimate = self.operation(accounts, NO_CHANGE, self.settings.concurrency);
        estimate.aws_calls += accounts;
        self.push(&action, Vec::new(), reason, Risk::Low, estimate);
    }

    /// Whether an account has not got what the stack set says: the update of all was interrupted, or failed there. CloudFormation
    /// keeps the definition either way.
    fn is_behind(&self) -> bool {
        let organization = &self.observed.sync.organization;
        let mut instances = self.state.instances.iter();
        instances.any(|instance| {
            let account = organization.account(instance.account);
            instance.status == InstanceStatus::Outdated
                && account.is_some_and(|account| account.state == AccountState::Active)
        })
    }

    pub(super) fn revert(&mut self, rollout: &Rollout) {
        let Some(reset) = &rollout.reset else { return };
        let instances = self.state.instances.iter();
        let there: BTreeSet<AwsAccountId> = instances.map(|instance| instance.account).collect();
        let members = reset.members.iter();
        let left = members
            .filter(|(_, member)| !matches!(member.outcome, Outcome::Updated | Outcome::Gone));
        let left: Vec<AwsAccountId> = left.map(|(account, _)| *account).collect();
        let back: Vec<AwsAccountId> = left
            .iter()
            .filter(|account| there.contains(account))
            .copied()
            .collect();
        for account in &back {
            self.due
                .insert(*account, format!("back to {}", rollout.from));
        }
        let mut estimate = self.operation(back.len() as u64, CHANGE, self.settings.concurrency);
        estimate.aws_calls += back.len() as u64;
        let reason = format!(
            "{} accounts that got version {}, or were about to, get {} back",
            back.len(),
            rollout.to,
            rollout.from
        );
        let members = back.len();
        // Also for those alone that have left meanwhile: that is to be noted.
        if !left.is_empty() {
            let action = RolloutAction::Revert {
                profile: rollout.profile.clone(),
                to: rollout.from.clone(),
            };
            self.push(&action, back, reason, Risk::Medium, estimate);
            if let Some(step) = self.plan.steps.last_mut() {
                step.changes.clone_from(&self.observed.changes);
            }
        }
        if self.settings.reads_accounts && !reset.members.is_empty() {
            let action = RolloutAction::CheckRevert {
                profile: rollout.profile.clone(),
            };
            let reason = format!("see in IAM that they have version {}", rollout.from);
            let estimate = self.look(members);
            self.push(&action, Vec::new(), reason, Risk::Low, estimate);
        }
    }

    pub(super) fn unstage(&mut self, rollout: &Rollout) {
        let action = RolloutAction::Unstage {
            profile: rollout.profile.clone(),
            version: rollout.to.clone(),
            kept_parameters: self.difference.kept_parameters.clone(),
        };
        let reason = format!(
            "version {} leaves the template; all accounts have {}",
            rollout.to, rollout.from
        );
        let accounts = self.state.instances.len() as u64;
        let estimate = self.operation(accounts, NO_CHANGE, self.settings.concurrency);
        self.push(&action, Vec::new(), reason, Risk::Low, estimate);
    }
}
