//! What IAM says about a role: the role, the policies that are attached to it and those in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::inventory::{AttachedPolicy, LiveRole, RolePolicies};

/// A role as IAM has it, with its policies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleTruth {
    /// The role itself.
    pub role: LiveRole,
    /// The managed policies that are attached to it (IAM API reference, ListAttachedRolePolicies).
    pub attached: Vec<AttachedPolicy>,
    /// Its inline policies by name, each as JSON text (IAM API reference, GetRolePolicy).
    pub inline: BTreeMap<String, String>,
}

impl RoleTruth {
    /// A role and its policies, as they were read.
    #[must_use]
    pub fn new(role: LiveRole, policies: RolePolicies) -> Self {
        let RolePolicies { attached, inline } = policies;
        Self {
            role,
            attached,
            inline,
        }
    }
}

/// What reading a role and its policies came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TruthReading {
    /// There is no such role in the account.
    Absent,
    /// It could not be read, for this reason.
    Denied(String),
    /// It is there.
    Present(Box<RoleTruth>),
}
