//! What the steps of this kind are about: what must be the same for an earlier plan to still cover them.

use std::collections::BTreeSet;

use super::RolloutAction;
use crate::{
    canonical::to_canonical_json,
    ids::AwsAccountId,
    plan::{
        Step,
        consent::{Consent, Scope},
    },
};

/// The steps of `policy-rollout`.
#[derive(Debug, Clone, Copy)]
pub struct RolloutConsent;

impl Consent for RolloutConsent {
    fn scope(&self, step: &Step) -> Scope {
        match serde_json::from_value(step.payload.clone()) {
            // Looking changes nothing.
            Ok(RolloutAction::CheckWave { .. } | RolloutAction::CheckRevert { .. }) => Scope::Free,
            Ok(RolloutAction::UpdateWave { wave, to, .. }) => {
                Scope::Accounts(format!("update-wave:{to}:{wave}"))
            }
            _ => Scope::Whole(to_canonical_json(&step.payload)),
        }
    }

    fn narrowed(&self, step: &Step, accounts: &BTreeSet<AwsAccountId>) -> Option<Step> {
        let mut action: RolloutAction = serde_json::from_value(step.payload.clone()).ok()?;
        let RolloutAction::UpdateWave { members, .. } = &mut action else {
            return None;
        };
        members.retain(|account| accounts.contains(account));
        Some(Step {
            accounts: members.iter().copied().collect(),
            payload: serde_json::to_value(&action).ok()?,
            ..step.clone()
        })
    }
}
