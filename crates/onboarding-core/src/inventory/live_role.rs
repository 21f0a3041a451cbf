//! A role as IAM has it, and what its account's reading came to: CloudFormation does not notice a changed role.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ExternalId, RoleArn},
    trust::{TrustPolicy, Trusts},
};

/// A role as IAM has it (IAM API reference, GetRole).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveRole {
    /// Its ARN.
    pub arn: RoleArn,
    /// Its unique id (`AROA…`): another one after the role was deleted and made again.
    pub id: String,
    /// Its path.
    pub path: String,
    /// Its trust policy, as JSON text.
    pub trust_policy: String,
    /// The longest session, in seconds.
    pub max_session_seconds: Option<i32>,
    /// The ARN of its permissions boundary.
    pub permissions_boundary: Option<String>,
    /// When it was last used, in Unix seconds; AWS updates it with a delay of up to four hours.
    pub last_used: Option<i64>,
    /// Its tags. CloudFormation's own (`aws:cloudformation:stack-id`) tell which stack made it.
    pub tags: BTreeMap<String, String>,
}

impl LiveRole {
    /// The ARN of the stack that made it, when CloudFormation did.
    #[must_use]
    pub fn stack_id(&self) -> Option<&str> {
        let id = self.tags.get("aws:cloudformation:stack-id");
        id.map(String::as_str)
    }
}

/// What reading a role came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoleReading {
    /// There is no such role in the account.
    Absent,
    /// It could not be read, for this reason.
    Denied(String),
    /// It is there.
    Present(Box<LiveRole>),
}

/// What Spot uses an AWS account with, and what there is of it in the account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkEvidence {
    /// The role that Spot has stored for the account.
    pub stored_role: RoleArn,
    /// The external ID that Spot uses, when that is known.
    pub external_id: Option<ExternalId>,
    /// That role, as the account has it.
    pub role: RoleReading,
}

/// What the evidence says about a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkHealth {
    /// The role is there and lets Spot in.
    Sound,
    /// The role that Spot uses is not there, for this reason.
    RoleMissing(String),
    /// The role does not let Spot in, for this reason.
    TrustDiffers(String),
    /// It cannot be told, for this reason.
    Unknown(String),
}

impl LinkEvidence {
    /// Whether the role lets Spot's principal in as Spot asks.
    #[must_use]
    pub fn health(&self, spot_principal: &str) -> LinkHealth {
        let stored = &self.stored_role;
        let role = match &self.role {
            RoleReading::Absent => {
                return LinkHealth::RoleMissing(format!(
                    "Spot uses {stored}, which is not in the account"
                ));
            }
            RoleReading::Denied(reason) => {
                return LinkHealth::Unknown(format!("its role could not be read: {reason}"));
            }
            RoleReading::Present(role) => role,
        };
        if role.arn != *stored {
            return LinkHealth::RoleMissing(format!(
                "Spot uses {stored}, and the account has {}",
                role.arn
            ));
        }
        let Ok(trust) = TrustPolicy::parse(&role.trust_policy) else {
            return LinkHealth::Unknown("the trust policy of its role cannot be read".to_owned());
        };
        let Some(id) = &self.external_id else {
            return LinkHealth::Unknown(
                "nobody can tell which external ID Spot uses, so its role's trust policy was not compared".to_owned(),
            );
        };
        match trust.trusts(spot_principal, Some(id.as_str())) {
            Trusts::Yes if trust.trusts(spot_principal, None) == Trusts::Yes => {
                LinkHealth::TrustDiffers(format!("{stored} lets Spot in without an external ID"))
            }
            Trusts::Yes => LinkHealth::Sound,
            Trusts::No => LinkHealth::TrustDiffers(format!(
                "{stored} does not let Spot in with the external ID that Spot uses"
            )),
            Trusts::Unknown => LinkHealth::Unknown(format!(
                "the trust policy of {stored} has conditions that are not understood"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SPOT: &str = "arn:aws:iam::922761411349:root";
    const ROLE: &str = "arn:aws:iam::111111111111:role/SpotRole";

    fn evidence(arn: &str, condition: &serde_json::Value) -> LinkEvidence {
        let trust = json!({"Statement": {"Effect": "Allow", "Principal": {"AWS": SPOT},
            "Action": "sts:AssumeRole", "Condition": condition}});
        LinkEvidence {
            stored_role: ROLE.parse().unwrap(),
            external_id: Some("id".parse().unwrap()),
            role: RoleReading::Present(Box::new(LiveRole {
                arn: arn.parse().unwrap(),
                id: "AROA1".to_owned(),
                path: "/".to_owned(),
                trust_policy: trust.to_string(),
                max_session_seconds: None,
                permissions_boundary: None,
                last_used: None,
                tags: BTreeMap::new(),
            })),
        }
    }

    fn id(id: &str) -> serde_json::Value {
        json!({"StringEquals": {"sts:ExternalId": id}})
    }

    #[test]
    fn a_link_is_sound_when_the_role_that_spot_uses_lets_it_in() {
        let health = |evidence: LinkEvidence| evidence.health(SPOT);
        assert_eq!(health(evidence(ROLE, &id("id"))), LinkHealth::Sound);
        let elsewhere = "arn:aws:iam::111111111111:role/path/SpotRole";
        for (evidence, missing) in [
            (evidence(elsewhere, &id("id")), true),
            (
                LinkEvidence {
                    role: RoleReading::Absent,
                    ..evidence(ROLE, &id("id"))
                },
                true,
            ),
            (evidence(ROLE, &id("other")), false),
            (evidence(ROLE, &json!({})), false),
        ] {
            let found = health(evidence.clone());
            let is_missing = matches!(found, LinkHealth::RoleMissing(_));
            let differs = matches!(found, LinkHealth::TrustDiffers(_));
            assert_eq!((is_missing, differs), (missing, !missing), "{evidence:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_unknown_and_not_fine() {
        let mut unreadable = evidence(ROLE, &id("id"));
        if let RoleReading::Present(role) = &mut unreadable.role {
            role.trust_policy = "no policy".to_owned();
        }
        let no_id = LinkEvidence {
            external_id: None,
            ..evidence(ROLE, &id("id"))
        };
        let denied = LinkEvidence {
            role: RoleReading::Denied("no audit role".to_owned()),
            ..evidence(ROLE, &id("id"))
        };
        let conditional = evidence(
            ROLE,
            &json!({"StringEquals": {"sts:ExternalId": "id", "aws:SourceVpc": "vpc-1"}}),
        );
        for evidence in [unreadable, no_id, denied, conditional] {
            let health = evidence.health(SPOT);
            assert!(matches!(health, LinkHealth::Unknown(_)), "{health:?}");
        }
    }
}
