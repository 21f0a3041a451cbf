//! Parameters of a kind `enroll` job.

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
}

impl Default for EnrollParams {
    fn default() -> Self {
        Self {
            profiles: Vec::new(),
            depth: AuditDepth::Coverage,
            ask_spot: false,
            concurrency: 32,
        }
    }
}
