//! What IAM says about a role: the role, the policies that are attached to it and those in it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::inventory::LiveRole;

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

/// A managed policy that is attached to a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedPolicy {
    /// Its ARN.
    pub arn: String,
    /// Its name.
    pub name: String,
    /// What it says.
    pub document: PolicyReading,
}

/// What reading a managed policy came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyReading {
    /// Its default version, which is the one in force.
    Document {
        /// The version's id, such as `v3`.
        version: String,
        /// The document, as JSON text.
        text: String,
    },
    /// It was not read, for this reason. AWS managed policies are not read.
    Unread(String),
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
