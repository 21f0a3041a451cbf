//! Parameters of a kind `orphan-cleanup` job.

use onboarding_core::{
    desired::OuRef,
    ids::SpotAccountId,
    orphan_cleanup::{CleanupRules, NamePattern},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    amount::Share,
    duration::{self, HumanDuration},
    text::{Text, TextForm},
};

/// Parameters of a kind `orphan-cleanup` job. `--set` cannot change any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OrphanCleanupParams {
    /// Whether anything is deleted. Without it, a run only says what it would delete, and counts the grace period.
    pub apply: bool,
    /// How long nobody must have needed a Spot account before it is deleted, counted from the first run that saw it.
    pub grace_period: Text<HumanDuration>,
    /// The longest time between two runs that look. After a longer one the grace period begins anew: an account may have come back
    /// and left again meanwhile. Longer than the time between two runs, and much shorter than `grace_period`.
    pub max_gap: Text<HumanDuration>,
    /// Most Spot accounts that a run deletes.
    pub max_deletions: u32,
    /// Most Spot accounts that are deleted in 24 hours.
    pub max_per_day: u32,
    /// Most that are deleted in a run, and in 24 hours, as a share of our Spot accounts, rounded up.
    pub max_percent: Text<Share>,
    /// Nothing of accounts in or below these is removed, also not after they left the organization: "root", ids or paths of names.
    pub protected_ous: Vec<Text<OuRef>>,
    /// Nothing of accounts with such a name is removed, in AWS or Spot; `*` stands for any characters.
    pub protected_names: Vec<Text<NamePattern>>,
    /// The default account of the Spot organization, which Spot's API does not tell. Without it, only Spot accounts that we made
    /// ourselves are deleted; a run is refused while Spot does not list it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_account: Option<Text<SpotAccountId>>,
    /// Whether accounts that no profile targets any more lose their stack, with role and policies, and then their Spot account.
    pub remove_outside_targets: bool,
    /// Of AWS accounts that several Spot accounts are linked to, those that go. Without an entry here, none does.
    pub duplicates: Vec<Text<SpotAccountId>>,
}

impl Default for OrphanCleanupParams {
    fn default() -> Self {
        Self {
            apply: false,
            grace_period: duration::seconds(14 * 86_400),
            max_gap: duration::seconds(3 * 86_400),
            max_deletions: 5,
            max_per_day: 10,
            max_percent: Text(Share::percent(5)),
            protected_ous: Vec::new(),
            protected_names: Vec::new(),
            default_account: None,
            remove_outside_targets: false,
            duplicates: Vec::new(),
        }
    }
}

impl OrphanCleanupParams {
    /// As the core takes them.
    #[must_use]
    pub fn rules(&self) -> CleanupRules {
        let count = |limit: u32| usize::try_from(limit).unwrap_or(usize::MAX);
        let seconds =
            |time: &Text<HumanDuration>| i64::try_from(time.get().as_secs()).unwrap_or(i64::MAX);
        CleanupRules {
            grace_seconds: seconds(&self.grace_period),
            max_gap_seconds: seconds(&self.max_gap),
            max_deletions: count(self.max_deletions),
            max_per_day: count(self.max_per_day),
            max_share: self.max_percent.as_fraction(),
            protected_ous: self
                .protected_ous
                .iter()
                .map(|unit| unit.0.clone())
                .collect(),
            protected_names: self
                .protected_names
                .iter()
                .map(|name| name.0.clone())
                .collect(),
            default_account: self.default_account.as_ref().map(|id| id.0.clone()),
            remove_outside_targets: self.remove_outside_targets,
            duplicates: self.duplicates.iter().map(|id| id.0.clone()).collect(),
        }
    }
}

impl TextForm for NamePattern {
    const FORMAT: &'static str = "name-pattern";
    const EXPECTED: &'static str =
        "a name in quotes, in which `*` stands for any characters (\"prod-*\")";
}

impl TextForm for SpotAccountId {
    const FORMAT: &'static str = "spot-account-id";
    const EXPECTED: &'static str = "the id of a Spot account in quotes (\"act-a1b2c3d4\")";
}
