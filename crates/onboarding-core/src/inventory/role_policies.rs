//! What a role may do, as IAM has it: CloudFormation does not notice a policy that was changed, attached or put into a role
//! behind its back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The policies of a role as IAM has them (IAM API reference, ListAttachedRolePolicies and ListRolePolicies). Its
/// permissions boundary is no policy of the role: [`LiveRole`](super::LiveRole) names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolePolicies {
    /// The managed policies that are attached to it, by ARN.
    pub attached: Vec<AttachedPolicy>,
    /// Its inline policies: each document as JSON text, by the policy's name.
    pub inline: BTreeMap<String, String>,
}

/// A managed policy that is attached to a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedPolicy {
    /// Its ARN.
    pub arn: String,
    /// Its name, without its path.
    pub name: String,
    /// What it says.
    pub document: PolicyReading,
}

/// What reading a managed policy came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyReading {
    /// Its default version, which is the one in force (IAM API reference, GetPolicy and GetPolicyVersion).
    Document {
        /// The version's id, such as `v3`.
        version: String,
        /// The document, as JSON text.
        text: String,
    },
    /// It was not read, or could not be, for this reason: what it allows is not known.
    Unread(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_is_the_same_after_it_was_kept() {
        let attached = |name: &str, document| AttachedPolicy {
            arn: format!("arn:aws:iam::111122223333:policy/{name}"),
            name: name.to_owned(),
            document,
        };
        let document = PolicyReading::Document {
            version: "v3".to_owned(),
            text: r#"{"Statement":[]}"#.to_owned(),
        };
        let policies = RolePolicies {
            attached: vec![
                attached("read", document),
                attached("hidden", PolicyReading::Unread("not allowed".to_owned())),
            ],
            inline: [("stray".to_owned(), "{}".to_owned())].into(),
        };
        let kept = serde_json::to_value(&policies).unwrap();
        assert_eq!(
            kept["attached"][0]["document"]["document"]["version"], "v3",
            "{kept}"
        );
        assert_eq!(
            kept["attached"][1]["document"]["unread"], "not allowed",
            "{kept}"
        );
        assert_eq!(
            serde_json::from_value::<RolePolicies>(kept).unwrap(),
            policies
        );
    }
}
