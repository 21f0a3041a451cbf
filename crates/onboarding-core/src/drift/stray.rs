//! A policy of a role that the template does not have, and that may be taken away by itself: it is known what it says, so that a
//! person can put it back, and it only allows, so that the role can do no more without it.
//!
//! A policy that denies anything is somebody's restriction: an incident response that has revoked sessions looks just so. It is
//! never one of these.

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{commands, truth::RoleTruth, truth::TruthReading};
use crate::{canonical, ids::RoleArn, inventory::PolicyReading};

/// A stray policy, and the role that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stray {
    /// The role.
    pub role: RoleArn,
    /// The role's unique id: another one after it was deleted and made again.
    pub role_id: String,
    /// The ARN of the stack that made the role, when its tags tell.
    pub stack: Option<String>,
    /// The policy.
    pub policy: StrayPolicy,
}

/// A stray policy with what it says, as JSON text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", deny_unknown_fields)]
pub enum StrayPolicy {
    /// One in the role itself.
    Inline {
        /// Its name.
        name: String,
        /// Its document, which goes with it.
        document: Arc<str>,
    },
    /// A managed one that is attached. It stays when it is detached.
    Attached {
        /// Its ARN.
        arn: String,
        /// The document of its default version.
        document: Arc<str>,
    },
}

impl Stray {
    /// The policy as a stray one of this role; none when it denies anything, or is not understood.
    pub(super) fn of(truth: &RoleTruth, policy: StrayPolicy) -> Option<Self> {
        only_allows(policy.document()).then(|| Self {
            role: truth.role.arn.clone(),
            role_id: truth.role.id.clone(),
            stack: truth.role.stack_id().map(str::to_owned),
            policy,
        })
    }
}

impl StrayPolicy {
    /// What it is called: an inline policy's name, an attached one's ARN.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Inline { name, .. } => name,
            Self::Attached { arn, .. } => arn,
        }
    }

    /// Takes the same document from those of others, so that what somebody gave every account is in memory once.
    pub fn share(&mut self, documents: &mut BTreeSet<Arc<str>>) {
        let (Self::Inline { document, .. } | Self::Attached { document, .. }) = self;
        match documents.get(&**document) {
            Some(known) => *document = known.clone(),
            None => {
                documents.insert(document.clone());
            }
        }
    }

    fn document(&self) -> &str {
        match self {
            Self::Inline { document, .. } | Self::Attached { document, .. } => document,
        }
    }

    /// What it is, in words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Inline { name, .. } => format!("inline policy {name}"),
            Self::Attached { arn, .. } => format!("attached policy {arn}"),
        }
    }

    /// The fact that a step is planned on: this very policy, with this very document, in this very role.
    #[must_use]
    pub fn fact(&self, role: &RoleArn, role_id: &str) -> String {
        format!(
            "{} of {role} ({role_id}): {}",
            self.words(),
            canonical::digest(&Value::from(self.document()))
        )
    }

    /// The AWS CLI command that takes it away.
    #[must_use]
    pub fn removal(&self, role: &RoleArn) -> String {
        match self {
            Self::Inline { name, .. } => commands::delete_inline(role.role_name(), name),
            Self::Attached { arn, .. } => commands::detach(role.role_name(), arn),
        }
    }

    /// The AWS CLI command with which a person puts it back as it was.
    #[must_use]
    pub fn put_back(&self, role: &RoleArn) -> String {
        match self {
            Self::Inline { name, document } => {
                commands::put_inline_text(role.role_name(), name, document)
            }
            Self::Attached { arn, .. } => commands::attach(role.role_name(), arn),
        }
    }
}

/// Why a role's stray policies are not taken away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Changed {
    /// There is no such role.
    #[error("the role {0} is not in the account any more")]
    Gone(RoleArn),
    /// It could not be read.
    #[error("the role could not be read again: {0}")]
    Unread(String),
    /// There is another role in its place.
    #[error("the role {0} is another one than was looked at: somebody made it anew")]
    AnotherRole(RoleArn),
    /// A policy says something else.
    #[error("{0} does not say what it said when it was looked at")]
    Document(String),
}

/// Which of these policies are still there, each exactly as it was looked at.
///
/// # Errors
/// [`Changed`] when anything is not as it was. None of them may be taken away then.
pub fn still_there<'a>(
    role: &RoleArn,
    role_id: &str,
    policies: &'a [StrayPolicy],
    truth: &TruthReading,
) -> Result<Vec<&'a StrayPolicy>, Changed> {
    let truth = match truth {
        TruthReading::Absent => return Err(Changed::Gone(role.clone())),
        TruthReading::Denied(reason) => return Err(Changed::Unread(reason.clone())),
        TruthReading::Present(truth) => truth,
    };
    if truth.role.arn != *role || truth.role.id != role_id {
        return Err(Changed::AnotherRole(role.clone()));
    }
    let mut there = Vec::new();
    for policy in policies {
        let document = match policy {
            StrayPolicy::Inline { name, .. } => truth.inline.get(name).map(Some),
            StrayPolicy::Attached { arn, .. } => {
                let mut attached = truth.attached.iter();
                let attached = attached.find(|attached| attached.arn == *arn);
                attached.map(|attached| match &attached.document {
                    PolicyReading::Document { text, .. } => Some(text),
                    PolicyReading::Unread(_) => None,
                })
            }
        };
        match document {
            None => {}
            Some(Some(document)) if **document == *policy.document() => there.push(policy),
            Some(_) => return Err(Changed::Document(policy.words())),
        }
    }
    Ok(there)
}

/// Whether a document allows, and denies nothing.
fn only_allows(document: &str) -> bool {
    let Ok(document) = serde_json::from_str::<Value>(document) else {
        return false;
    };
    let statements = match &document["Statement"] {
        Value::Array(statements) => statements.as_slice(),
        one => std::slice::from_ref(one),
    };
    !statements.is_empty() && statements.iter().all(|one| one["Effect"] == "Allow")
}
