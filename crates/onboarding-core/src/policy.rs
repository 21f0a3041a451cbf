//! IAM policy documents: parsing, size as IAM counts it, splitting one document over several managed policies, and comparing
//! two by what they grant.
//!
//! Only identity policies (what a role may do) are deployed from documents: whom a role trusts is written by the template
//! alone. Trust policies can be compared too.

pub mod compare;
mod document;
mod error;
mod split;
mod statement;

pub use compare::compare;
pub use document::PolicyDocument;
pub use error::{PolicyError, StatementProblem};
pub use statement::Statement;

/// Most characters of one managed policy, white space not counted (IAM User Guide, "IAM and STS quotas").
pub const MANAGED_POLICY_MAX_SIZE: usize = 6_144;

/// Most managed policies attached to one role, the default quota (IAM User Guide, "IAM and STS quotas").
pub const MAX_MANAGED_POLICIES_PER_ROLE: usize = 10;
