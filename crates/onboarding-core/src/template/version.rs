//! A version of the policies: named, with a digest, and divided over managed policies once and for all.
//!
//! Policies that fit into one managed policy or not: which managed policy has a statement makes no difference to IAM, but
//! CloudFormation changes one managed policy after the other. A statement that moves from one to another while a version
//! follows another would be missing for a moment. So a version is divided like the one before it ([`PolicyVersion::following`]),
//! and keeps its division for as long as it is deployed.

mod division;
mod reading;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

pub use reading::read_versions;

use super::{NamedPolicy, Partition, PolicyPurpose, TemplateError, permissions};
use crate::{
    canonical,
    policy::{PolicyDocument, PolicyError, Statement},
};

/// A version of all policies of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyVersion {
    /// Its name, 1 to 12 letters and digits: the value of the parameter `PolicyVersion`.
    pub name: String,
    /// Its policies, by what they are for.
    policies: BTreeMap<PolicyPurpose, Vec<Piece>>,
}

/// What one managed policy of a purpose has in a version; nothing when the version does without it.
type Piece = Option<PolicyDocument>;

/// The versions of the policies that a template has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedVersions {
    /// The one that a stack has unless it is told otherwise: the last good one.
    pub current: PolicyVersion,
    /// The one that a stack has when its parameter `PolicyVersion` names it: the one that is being rolled out.
    pub next: Option<PolicyVersion>,
}

impl PolicyVersion {
    /// The policies, each divided anew, as short as it can be. Without a name, it is named after its digest.
    ///
    /// # Errors
    /// [`TemplateError::Policy`] when one cannot be divided.
    pub fn new(
        name: Option<&str>,
        policies: &[NamedPolicy],
        partition: Partition,
    ) -> Result<Self, TemplateError> {
        Self::divided(name, policies, partition, |_, document| {
            let pieces = document.split(permissions::ROOM)?;
            Ok(pieces.into_iter().map(Some).collect())
        })
    }

    /// The policies, divided so that no statement moves from one managed policy to another when this version follows
    /// `earlier`.
    ///
    /// # Errors
    /// As [`PolicyVersion::new`], and [`PolicyError::StatementMoves`] in it when that cannot be.
    pub fn following(
        name: Option<&str>,
        policies: &[NamedPolicy],
        partition: Partition,
        earlier: &Self,
    ) -> Result<Self, TemplateError> {
        Self::divided(name, policies, partition, |purpose, document| {
            let earlier = earlier.pieces(purpose).unwrap_or_default();
            division::like(document, earlier, permissions::ROOM)
        })
    }

    fn divided(
        name: Option<&str>,
        policies: &[NamedPolicy],
        partition: Partition,
        divide: impl Fn(&PolicyPurpose, &PolicyDocument) -> Result<Vec<Piece>, PolicyError>,
    ) -> Result<Self, TemplateError> {
        let divided = policies.iter().map(|policy| {
            let document = permissions::in_partition(&policy.document, partition);
            let pieces = document.and_then(|document| divide(&policy.purpose, &document));
            let pieces = pieces.map_err(|source| TemplateError::Policy {
                purpose: policy.purpose.clone(),
                source,
            })?;
            Ok((policy.purpose.clone(), pieces))
        });
        let policies = divided.collect::<Result<_, TemplateError>>()?;
        let mut version = Self {
            name: String::new(),
            policies,
        };
        version.name = name.map_or_else(|| version.short_digest(), str::to_owned);
        Ok(version)
    }

    /// What the managed policies of a purpose have, in their order; none when the version has nothing for it.
    #[must_use]
    pub fn pieces(&self, purpose: &PolicyPurpose) -> Option<&[Option<PolicyDocument>]> {
        self.policies.get(purpose).map(Vec::as_slice)
    }

    /// What it has policies for.
    pub fn purposes(&self) -> impl Iterator<Item = &PolicyPurpose> {
        self.policies.keys()
    }

    /// The policy of a purpose as one document, however it is divided; none when the version has nothing for it.
    #[must_use]
    pub fn document(&self, purpose: &PolicyPurpose) -> Option<PolicyDocument> {
        let mut pieces = self.policies.get(purpose)?.iter().flatten();
        let first = pieces.next()?;
        let statements = first.statements().iter();
        let statements = statements.chain(pieces.flat_map(PolicyDocument::statements));
        Some(first.with_statements(statements.cloned().collect()))
    }

    /// The same policies under another name.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            policies: self.policies.clone(),
        }
    }

    /// How many managed policies it has.
    #[must_use]
    pub fn managed_policies(&self) -> usize {
        self.policies.values().flatten().flatten().count()
    }

    /// The SHA-256 over what it says, in 64 hexadecimal digits: neither its name, nor how it is divided, nor the order of
    /// statements changes it.
    #[must_use]
    pub fn digest(&self) -> String {
        let policies = self.policies.iter().map(|(purpose, pieces)| {
            let statements = pieces.iter().flatten().flat_map(PolicyDocument::statements);
            let mut statements: Vec<String> = statements.map(plain).collect();
            statements.sort_unstable();
            (purpose.key(), statements.into())
        });
        canonical::digest(&Value::Object(policies.collect()))
    }

    fn short_digest(&self) -> String {
        let digest = self.digest();
        digest
            .chars()
            .take(super::spec::MAX_POLICY_VERSION)
            .collect()
    }

    /// The policies of it as JSON: a list of documents for each purpose, null where it does without a managed policy.
    #[must_use]
    pub fn policies_to_value(&self) -> Value {
        let policies = self.policies.iter().map(|(purpose, pieces)| {
            let pieces = pieces
                .iter()
                .map(|piece| piece.as_ref().map_or(Value::Null, PolicyDocument::to_value));
            (purpose.key(), pieces.collect())
        });
        Value::Object(policies.collect::<Map<_, _>>())
    }

    /// Reads what [`PolicyVersion::policies_to_value`] wrote.
    ///
    /// # Errors
    /// The first document that is none, or what it is for when that is not known.
    pub fn from_value(name: &str, policies: &Value) -> Result<Self, VersionError> {
        let policies = policies.as_object().ok_or(VersionError::NotAnObject)?;
        let policies = policies.iter().map(|(key, pieces)| {
            let purpose = PolicyPurpose::from_key(key)
                .ok_or_else(|| VersionError::Purpose { key: key.clone() })?;
            let pieces = pieces.as_array().ok_or(VersionError::NotAnObject)?;
            let pieces = pieces.iter().map(|piece| match piece {
                Value::Null => Ok(None),
                document => PolicyDocument::from_value(document.clone()).map(Some),
            });
            Ok((purpose, pieces.collect::<Result<_, PolicyError>>()?))
        });
        Ok(Self {
            name: name.to_owned(),
            policies: policies.collect::<Result<_, VersionError>>()?,
        })
    }
}

/// What was kept of a version, or what a template has, is no version.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// It has another form.
    #[error("it is not a list of policy documents for each purpose")]
    NotAnObject,
    /// A purpose that is not known.
    #[error("it has a policy for {key:?}, which is not known")]
    Purpose {
        /// The purpose.
        key: String,
    },
    /// A document that is none.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The text is no template.
    #[error(transparent)]
    Body(#[from] super::BodyError),
}

/// A statement as one text; an empty id is none.
fn plain(statement: &Statement) -> String {
    let mut elements = statement.elements().clone();
    if statement.sid().is_none() {
        elements.remove("Sid");
    }
    canonical::to_canonical_json(&Value::Object(elements))
}
