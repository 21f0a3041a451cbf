//! IAM policy documents: parsing, size as IAM counts it, and splitting one document over several managed policies.
//!
//! Only identity policies are read here (what a role may do). Whom a role trusts is written by the template alone.

mod document;
mod error;
mod split;
mod statement;

pub use document::PolicyDocument;
pub use error::{PolicyError, StatementProblem};
pub use statement::Statement;

/// Most characters of one managed policy, white space not counted (IAM User Guide, "IAM and STS quotas").
pub const MANAGED_POLICY_MAX_SIZE: usize = 6_144;

/// Most managed policies attached to one role, the default quota (IAM User Guide, "IAM and STS quotas").
pub const MAX_MANAGED_POLICIES_PER_ROLE: usize = 10;
