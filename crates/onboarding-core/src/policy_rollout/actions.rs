//! The typed payloads of this kind's steps. The plan carries them erased, as JSON.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::AwsAccountId;

/// What a step of `policy-rollout` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RolloutAction {
    /// Put both versions into the template. Changes nothing in any account.
    Stage {
        /// The profile.
        profile: String,
        /// The version that accounts have.
        from: String,
        /// The version that they will get.
        to: String,
        /// Parameters whose value stays as it is in the stack set (UsePreviousValue).
        kept_parameters: Vec<String>,
    },
    /// Give the accounts of a wave the next version.
    UpdateWave {
        /// The profile.
        profile: String,
        /// The wave.
        wave: String,
        /// The version.
        to: String,
        /// Its accounts.
        members: BTreeSet<AwsAccountId>,
    },
    /// Ask the gates of a wave.
    CheckWave {
        /// The profile.
        profile: String,
        /// The wave.
        wave: String,
    },
    /// Make the next version everybody's, and take the other one out of the template.
    Promote {
        /// The profile.
        profile: String,
        /// The version.
        to: String,
        /// Parameters whose value stays as it is in the stack set (UsePreviousValue).
        kept_parameters: Vec<String>,
    },
    /// Take the overrides of the accounts away, which now say what all have, and end the rollout.
    ClearOverrides {
        /// The profile.
        profile: String,
    },
    /// Give the accounts that have the next version the good one back.
    Revert {
        /// The profile.
        profile: String,
        /// The good version.
        to: String,
    },
    /// See that they have it.
    CheckRevert {
        /// The profile.
        profile: String,
    },
    /// Take the next version out of the template, and end the rollout. Changes nothing in any account.
    Unstage {
        /// The profile.
        profile: String,
        /// The version that leaves it.
        version: String,
        /// Parameters whose value stays as it is in the stack set (UsePreviousValue).
        kept_parameters: Vec<String>,
    },
}

impl RolloutAction {
    /// The names of all actions.
    pub const NAMES: [&str; 8] = [
        "stage",
        "update-wave",
        "check-wave",
        "promote",
        "clear-overrides",
        "revert",
        "check-revert",
        "unstage",
    ];

    /// The action's name in kebab case.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stage { .. } => "stage",
            Self::UpdateWave { .. } => "update-wave",
            Self::CheckWave { .. } => "check-wave",
            Self::Promote { .. } => "promote",
            Self::ClearOverrides { .. } => "clear-overrides",
            Self::Revert { .. } => "revert",
            Self::CheckRevert { .. } => "check-revert",
            Self::Unstage { .. } => "unstage",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::RolloutAction;

    #[test]
    fn every_action_has_its_name_in_the_list() {
        let unknown = serde_json::json!({ "do": "?" });
        let known = serde_json::from_value::<RolloutAction>(unknown).unwrap_err();
        let known = known.to_string();
        let known: BTreeSet<&str> = known.split('`').skip(3).step_by(2).collect();
        assert_eq!(known, RolloutAction::NAMES.into());
    }
}
