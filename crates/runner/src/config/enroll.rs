//! Parameters of a kind `enroll` job.

use onboarding_core::stackset_sync::StackRemoval;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::drift_audit::AuditDepth;

/// Parameters of a kind `enroll` job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnrollParams {
    /// The profiles whose accounts it enrolls, by name; all when empty.
    pub profiles: Vec<String>,
    /// What is looked at. At full depth, what was changed in IAM is put right, too.
    pub depth: AuditDepth,
    /// Whether Spot is asked which role it uses for each account, at full depth: two calls per account, at about 60 a minute.
    /// Otherwise the role is the one that was linked last, as the state remembers it, and Spot is asked for the others only.
    pub ask_spot: bool,
    /// Accounts that are read at the same time, at full depth.
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: u32,
    /// For the loss of what a stack is removed and made anew; the other is left to a person. `--set` cannot change it.
    pub remake: Vec<Remake>,
}

/// What an account has lost, so that nothing mends it but another stack.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Remake {
    /// The role that Spot uses is gone: Spot has no way in. Its Spot account and external ID stay.
    RoleGone,
    /// Its Spot account is gone: another one is made, with another external ID, and what the old one knew is lost.
    SpotAccountGone,
}

impl Remake {
    /// Each.
    pub const ALL: [Self; 2] = [Self::RoleGone, Self::SpotAccountGone];
}

impl From<Remake> for StackRemoval {
    fn from(remake: Remake) -> Self {
        match remake {
            Remake::RoleGone => Self::RoleGone,
            Remake::SpotAccountGone => Self::SpotAccountGone,
        }
    }
}

impl Default for EnrollParams {
    fn default() -> Self {
        Self {
            profiles: Vec::new(),
            depth: AuditDepth::Coverage,
            ask_spot: false,
            concurrency: 32,
            remake: Remake::ALL.into(),
        }
    }
}
