//! A difference between an account's role and what the template means, and what puts it right.

use std::fmt;

use serde::Serialize;

use super::Stray;
use crate::{ids::AwsAccountId, plan::Severity, policy::compare::Verdict};

/// What kind of difference it is. A closed set: reports and suppressions name it by its [`code`](DriftKind::code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftKind {
    /// The role is not in the account.
    RoleMissing,
    /// The role could not be read.
    RoleUnreadable,
    /// The role has another name than the template gives it.
    RoleNameDiffers,
    /// Spot uses another role than this one.
    StoredRoleDiffers,
    /// The trust policy lets others in, or does not let Spot in as it should.
    TrustDiffers,
    /// The trust policy lets Spot in without an external ID.
    TrustWithoutExternalId,
    /// The trust policy was not understood.
    TrustUnreadable,
    /// Nobody tells which external ID the trust policy should have.
    ExternalIdUntold,
    /// A managed policy of the template grants something else.
    PolicyDocumentDiffers,
    /// A managed policy of the template is not attached.
    PolicyDetached,
    /// A managed policy is attached that the template does not have.
    PolicyAttachedExtra,
    /// A policy of the template was not read or not understood.
    PolicyUnreadable,
    /// There is an inline policy that the template does not have.
    PolicyInlineExtra,
    /// An inline policy of the template grants something else.
    PolicyInlineDiffers,
    /// An inline policy of the template is not there.
    PolicyInlineMissing,
    /// The permissions boundary is another one.
    BoundaryDiffers,
    /// The role has another path.
    PathDiffers,
    /// A tag that the template gives is not there or has another value.
    TagDiffers,
    /// It is long ago that anybody used the role.
    RoleUnused,
}

impl DriftKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 19] = [
        Self::RoleMissing,
        Self::RoleUnreadable,
        Self::RoleNameDiffers,
        Self::StoredRoleDiffers,
        Self::TrustDiffers,
        Self::TrustWithoutExternalId,
        Self::TrustUnreadable,
        Self::ExternalIdUntold,
        Self::PolicyDocumentDiffers,
        Self::PolicyDetached,
        Self::PolicyAttachedExtra,
        Self::PolicyUnreadable,
        Self::PolicyInlineExtra,
        Self::PolicyInlineDiffers,
        Self::PolicyInlineMissing,
        Self::BoundaryDiffers,
        Self::PathDiffers,
        Self::TagDiffers,
        Self::RoleUnused,
    ];

    /// The reason code: kebab case, as in reports.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::RoleMissing => "role-missing",
            Self::RoleUnreadable => "role-unreadable",
            Self::RoleNameDiffers => "role-name-differs",
            Self::StoredRoleDiffers => "stored-role-differs",
            Self::TrustDiffers => "trust-differs",
            Self::TrustWithoutExternalId => "trust-without-external-id",
            Self::TrustUnreadable => "trust-unreadable",
            Self::ExternalIdUntold => "external-id-untold",
            Self::PolicyDocumentDiffers => "policy-document-differs",
            Self::PolicyDetached => "policy-detached",
            Self::PolicyAttachedExtra => "policy-attached-extra",
            Self::PolicyUnreadable => "policy-unreadable",
            Self::PolicyInlineExtra => "policy-inline-extra",
            Self::PolicyInlineDiffers => "policy-inline-differs",
            Self::PolicyInlineMissing => "policy-inline-missing",
            Self::BoundaryDiffers => "boundary-differs",
            Self::PathDiffers => "path-differs",
            Self::TagDiffers => "tag-differs",
            Self::RoleUnused => "role-unused",
        }
    }

    /// Whether it is about what a version of the policies says, so that it is never so after an update to that version, whatever
    /// was before.
    #[must_use]
    pub fn is_of_a_version(self) -> bool {
        matches!(
            self,
            Self::RoleMissing
                | Self::RoleUnreadable
                | Self::StoredRoleDiffers
                | Self::TrustDiffers
                | Self::TrustWithoutExternalId
                | Self::TrustUnreadable
                | Self::PolicyDocumentDiffers
                | Self::PolicyDetached
                | Self::PolicyUnreadable
        )
    }

    /// Whether it is about what the template says, which an account's own parameters can say otherwise.
    #[must_use]
    pub fn is_of_the_template(self) -> bool {
        !matches!(
            self,
            Self::RoleMissing
                | Self::RoleUnreadable
                | Self::StoredRoleDiffers
                | Self::ExternalIdUntold
                | Self::PolicyInlineExtra
                | Self::PathDiffers
                | Self::TagDiffers
                | Self::RoleUnused
        )
    }

    /// What it means, for people.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::RoleMissing => "the role that Spot should use is not in the account",
            Self::RoleUnreadable => "the role could not be read, so nothing is known about it",
            Self::RoleNameDiffers => "the role has another name than the template gives it",
            Self::StoredRoleDiffers => "Spot uses another role than the template's",
            Self::TrustDiffers => "the role's trust policy does not say what the template says",
            Self::TrustWithoutExternalId => "the role lets Spot in without an external ID",
            Self::TrustUnreadable => "the role's trust policy could not be compared",
            Self::ExternalIdUntold => {
                "nobody tells which external ID the role's trust policy should have, so that the one in it may be somebody else's"
            }
            Self::PolicyDocumentDiffers => "a managed policy does not grant what the template says",
            Self::PolicyDetached => "a managed policy of the template is not attached to the role",
            Self::PolicyAttachedExtra => {
                "a managed policy is attached to the role that the template does not have"
            }
            Self::PolicyUnreadable => "a policy of the template could not be compared",
            Self::PolicyInlineExtra => {
                "the role has an inline policy that the template does not have"
            }
            Self::PolicyInlineDiffers => "an inline policy does not grant what the template says",
            Self::PolicyInlineMissing => "an inline policy of the template is not in the role",
            Self::BoundaryDiffers => "the role's permissions boundary is not the template's",
            Self::PathDiffers => {
                "the role has another path than the template gives it; a path never changes, so somebody made the role anew"
            }
            Self::TagDiffers => "a tag that the template gives the role is missing or changed",
            Self::RoleUnused => {
                "nobody has used the role for long: look in Spot whether it still gets data of the account"
            }
        }
    }

    /// How bad it is, unless it only takes something away: see [`Drift::severity`].
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::RoleMissing
            | Self::StoredRoleDiffers
            | Self::TrustDiffers
            | Self::TrustWithoutExternalId
            | Self::PolicyDocumentDiffers
            | Self::PolicyDetached
            | Self::PolicyAttachedExtra
            | Self::PolicyInlineExtra
            | Self::PolicyInlineDiffers
            | Self::PolicyInlineMissing
            | Self::BoundaryDiffers => Severity::Error,
            Self::RoleUnreadable
            | Self::RoleNameDiffers
            | Self::TrustUnreadable
            | Self::ExternalIdUntold
            | Self::PolicyUnreadable
            | Self::PathDiffers
            | Self::RoleUnused => Severity::Warning,
            Self::TagDiffers => Severity::Info,
        }
    }
}

impl fmt::Display for DriftKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// What kind it is.
    pub kind: DriftKind,
    /// What it is about: the ARN or the name of a role, policy or tag.
    pub resource: String,
    /// What the template means, in words.
    pub expected: String,
    /// What there is, in words.
    pub actual: String,
    /// Which way it differs, when that is known: whether the role can do, or lets in, more or less.
    pub verdict: Option<Verdict>,
    /// What is granted otherwise, such as `+ ec2:RunInstances on *`: as much as a person reads, and how much more there is.
    pub changes: Vec<String>,
    /// What puts it right.
    pub fix: Fix,
}

impl Drift {
    /// That nothing can be said about an account's role, for this reason.
    #[must_use]
    pub fn unreadable(account: AwsAccountId, reason: String) -> Self {
        Self {
            kind: DriftKind::RoleUnreadable,
            resource: format!("the role of account {account}"),
            expected: "a role that can be read".to_owned(),
            actual: reason,
            verdict: None,
            changes: Vec::new(),
            fix: Fix::None,
        }
    }

    /// What puts it right, in words.
    #[must_use]
    pub fn remedy(&self) -> String {
        match self.kind {
            DriftKind::ExternalIdUntold => EXTERNAL_ID_REMEDY.to_owned(),
            _ => self.fix.to_string(),
        }
    }

    /// Whether nothing can be said about the role.
    #[must_use]
    pub fn is_unread(&self) -> bool {
        self.kind == DriftKind::RoleUnreadable
    }

    /// The id of its finding, which stays the same as long as it does.
    #[must_use]
    pub fn id(&self, account: AwsAccountId) -> String {
        format!("{}:{account}:{}", self.kind, self.resource)
    }

    /// How bad it is. What only takes away from Spot is a warning where more would be an error, but for the trust policy
    /// and whole policies, without which Spot does not work.
    #[must_use]
    pub fn severity(&self) -> Severity {
        let is_lesser = matches!(
            self.kind,
            DriftKind::PolicyDocumentDiffers
                | DriftKind::PolicyAttachedExtra
                | DriftKind::PolicyInlineExtra
                | DriftKind::PolicyInlineDiffers
                | DriftKind::BoundaryDiffers
        ) && matches!(self.verdict, Some(Verdict::Narrowed | Verdict::Cosmetic));
        if is_lesser {
            Severity::Warning
        } else {
            self.kind.severity()
        }
    }
}

/// What a person does about an external ID that nobody tells.
const EXTERNAL_ID_REMEDY: &str = "needs a person: when Spot fails, it is asked again by the next run; where it never tells external IDs, and another \
                                  program than ours handed them out, look in Spot's console whether the account's data arrives, and accept it \
                                  (params.suppress). A rollout passes by what was so before its wave";

/// What puts a difference right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fix {
    /// A new `RepairNonce` through the stack set: CloudFormation then writes the role's trust policy and the managed
    /// policies again, in place.
    ReDeploy,
    /// Another stack: it makes the role, and links Spot to it.
    Enroll,
    /// Taking this policy away: through the remediation role where it may, else by a person.
    Remove(Box<Stray>),
    /// A person, with these AWS CLI commands in the account, one a line. Where the template leaves something open, they
    /// have `<name>` in its place.
    NeedsPerson(String),
    /// Nothing that is known before it could be read.
    None,
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReDeploy => f.write_str("redeploy it with a new repair nonce"),
            Self::Enroll => f.write_str(
                "take its stack instance out together with its stack, and deploy it again",
            ),
            Self::NeedsPerson(commands) => write!(f, "needs a person, in the account: {commands}"),
            Self::Remove(stray) => {
                let command = stray.policy.removal(&stray.role);
                write!(f, "needs a person, in the account: {command}")
            }
            Self::None => f.write_str("see that it can be read"),
        }
    }
}
