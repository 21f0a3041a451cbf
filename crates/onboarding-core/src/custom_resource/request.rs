//! A request of CloudFormation, read once into types.
//!
//! What is needed to answer is required; a request without it cannot be answered by anyone. The properties may be wrong:
//! that is answered with the reason. Only properties that we act on are read, so that a `Token` never gets further than
//! this parser.

use std::{fmt, str::FromStr, time::Duration};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    ids::{AwsAccountId, RoleArn, SpotAccountId, StackId},
    secret::SecretText,
};

/// How long CloudFormation waits for an answer when the template does not say: 3,600 seconds (CloudFormation user
/// guide, `AWS::CloudFormation::CustomResource`, ServiceTimeout).
pub const DEFAULT_SERVICE_TIMEOUT: Duration = Duration::from_secs(3600);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub enum RequestType {
    /// A new resource.
    Create,
    /// Changed properties.
    Update,
    /// Take the resource away.
    Delete,
}

/// A custom resource of the templates, with the properties that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// `Custom::SpotAccount`: the Spot account of an AWS account.
    SpotAccount {
        /// The AWS account.
        aws_account: AwsAccountId,
    },
    /// `Custom::SpotExternalId`: the external ID that the role must demand.
    SpotExternalId {
        /// The Spot account.
        spot_account: SpotAccountId,
    },
    /// `Custom::SpotLinkedCredentials`: the link of a Spot account to a role.
    SpotLinkedCredentials {
        /// The Spot account.
        spot_account: SpotAccountId,
        /// The role that Spot assumes.
        role: RoleArn,
    },
    /// `Custom::RenamedSpotAccountByAlias`: the Spot account's name.
    RenamedSpotAccount {
        /// The Spot account.
        spot_account: SpotAccountId,
        /// The AWS account that it is named after.
        aws_account: AwsAccountId,
    },
    /// `Custom::EnableCostIntelligence`: Cost Intelligence for a Spot account.
    CostIntelligence {
        /// The Spot account.
        spot_account: SpotAccountId,
    },
}

impl Resource {
    /// The Spot account that is named in the properties.
    #[must_use]
    pub fn spot_account(&self) -> Option<&SpotAccountId> {
        match self {
            Self::SpotAccount { .. } => None,
            Self::SpotExternalId { spot_account }
            | Self::SpotLinkedCredentials { spot_account, .. }
            | Self::RenamedSpotAccount { spot_account, .. }
            | Self::CostIntelligence { spot_account } => Some(spot_account),
        }
    }

    /// The AWS account that is named in the properties, by itself or as the account of the role.
    #[must_use]
    pub fn aws_account(&self) -> Option<AwsAccountId> {
        match self {
            Self::SpotAccount { aws_account } | Self::RenamedSpotAccount { aws_account, .. } => {
                Some(*aws_account)
            }
            Self::SpotLinkedCredentials { role, .. } => role.account(),
            Self::SpotExternalId { .. } | Self::CostIntelligence { .. } => None,
        }
    }

    fn read(resource_type: &str, properties: &Map<String, Value>) -> Result<Self, InvalidResource> {
        match resource_type {
            "Custom::SpotAccount" => Ok(Self::SpotAccount {
                aws_account: property(properties, "AwsAccountId")?,
            }),
            "Custom::SpotExternalId" => Ok(Self::SpotExternalId {
                spot_account: property(properties, "SpotAccountId")?,
            }),
            "Custom::SpotLinkedCredentials" => Ok(Self::SpotLinkedCredentials {
                spot_account: property(properties, "AccountId")?,
                role: property(properties, "IamRoleArn")?,
            }),
            "Custom::RenamedSpotAccountByAlias" => Ok(Self::RenamedSpotAccount {
                spot_account: property(properties, "SpotAccountId")?,
                aws_account: property(properties, "AwsAccountId")?,
            }),
            "Custom::EnableCostIntelligence" => Ok(Self::CostIntelligence {
                spot_account: property(properties, "SpotAccountId")?,
            }),
            other => Err(InvalidResource::UnknownType(shortened(other))),
        }
    }
}

/// A resource that cannot be served; the text is an answer to the stack's owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResource {
    /// The resource type is none of ours.
    #[error(
        "unknown resource type {0:?}: this provider serves Custom::SpotAccount, Custom::SpotExternalId, \
         Custom::SpotLinkedCredentials, Custom::RenamedSpotAccountByAlias and Custom::EnableCostIntelligence"
    )]
    UnknownType(String),
    /// A property is missing.
    #[error("property {0} is missing")]
    Missing(&'static str),
    /// A property has a wrong value.
    #[error("property {name}: {reason}")]
    Wrong {
        /// The property.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// A request that nobody can answer: what CloudFormation always sends is missing from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswerable {
    /// It is not a JSON object of the right form. The text tells the place, never the content.
    #[error("not a custom resource request: {0}")]
    NotARequest(String),
    /// An id has a form that CloudFormation's ids do not have.
    #[error("not a custom resource request of CloudFormation: {0} is empty, too long or malformed")]
    Malformed(&'static str),
}

/// A request. It holds no token, and its Debug form no answer address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceRequest {
    /// What is asked for.
    pub request_type: RequestType,
    /// CloudFormation's id of the request; with the stack's id it identifies the request.
    pub request_id: String,
    /// The stack.
    pub stack_id: StackId,
    /// The account that the stack is in: the only one that it may ask about.
    pub account: AwsAccountId,
    /// The name of the resource in the template.
    pub logical_id: String,
    /// The physical id that was answered to the Create; absent in a Create.
    pub physical_id: Option<String>,
    /// The resource type, as CloudFormation writes it; at most 100 characters of it.
    pub resource_type: String,
    /// The resource, or why it cannot be served.
    pub resource: Result<Resource, InvalidResource>,
    /// The resource before an Update, when it can be read.
    pub old_resource: Option<Resource>,
    /// Where the answer goes. The address is a permission by itself, so it is kept as a secret.
    pub response_url: SecretText,
    /// The topic or function that the template names.
    pub service_token: Option<String>,
    /// How long CloudFormation waits for the answer.
    pub service_timeout: Duration,
    /// When it was published, in Unix milliseconds, where who delivered it has said so. It is no part of the request itself.
    pub published: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wire {
    request_type: RequestType,
    request_id: String,
    stack_id: String,
    #[serde(rename = "ResponseURL")]
    response_url: String,
    resource_type: String,
    logical_resource_id: String,
    physical_resource_id: Option<String>,
    /// Seen here; documented only as a property of the resource.
    service_token: Option<String>,
    #[serde(default)]
    resource_properties: Map<String, Value>,
    old_resource_properties: Option<Map<String, Value>>,
}

impl ResourceRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// When it cannot even be answered. Wrong properties are in [`ResourceRequest::resource`].
    pub fn parse(json: &str) -> Result<Self, Unanswerable> {
        let wire: Wire = serde_json::from_str(json).map_err(|error| {
            // The error's own text quotes values, and a value may be a token.
            Unanswerable::NotARequest(format!(
                "{:?} error at line {}, column {}",
                error.classify(),
                error.line(),
                error.column()
            ))
        })?;
        let bounded = |what, text: String, longest: usize| {
            if (1..=longest).contains(&text.len()) && !text.contains(char::is_control) {
                Ok(text)
            } else {
                Err(Unanswerable::Malformed(what))
            }
        };
        // Our state marks what the runner has done by itself under ids with a space.
        let request_id = bounded("RequestId", wire.request_id, 128)?;
        if request_id.contains(char::is_whitespace) {
            return Err(Unanswerable::Malformed("RequestId"));
        }
        // The answer echoes these ids and must fit into 4,096 bytes even when every byte is escaped.
        let stack_id: StackId = bounded("StackId", wire.stack_id, 512)?
            .parse()
            .map_err(|_| Unanswerable::Malformed("StackId"))?;
        let account = stack_id
            .account()
            .ok_or(Unanswerable::Malformed("StackId"))?;
        Ok(Self {
            request_type: wire.request_type,
            request_id,
            account,
            stack_id,
            logical_id: bounded("LogicalResourceId", wire.logical_resource_id, 255)?,
            physical_id: match wire.physical_resource_id {
                None => None,
                Some(id) => Some(bounded("PhysicalResourceId", id, 1024)?),
            },
            resource: Resource::read(&wire.resource_type, &wire.resource_properties),
            old_resource: wire
                .old_resource_properties
                .and_then(|old| Resource::read(&wire.resource_type, &old).ok()),
            resource_type: shortened(&wire.resource_type),
            response_url: SecretText::new(&bounded("ResponseURL", wire.response_url, 16 * 1024)?),
            service_token: wire.service_token.or_else(|| {
                let token = wire.resource_properties.get("ServiceToken")?;
                token.as_str().map(str::to_owned)
            }),
            service_timeout: service_timeout(&wire.resource_properties),
            published: None,
        })
    }
}

/// The same request without the `Token` that Spot's own templates give to every custom resource; none when it has none. What
/// is JSON but no request loses its token all the same.
#[must_use]
pub fn without_token(json: &str) -> Option<String> {
    fn removed(value: &mut Value) -> bool {
        let mut any = false;
        match value {
            Value::Object(members) => {
                any |= members.remove("Token").is_some();
                for member in members.values_mut() {
                    any |= removed(member);
                }
            }
            Value::Array(items) => {
                for item in items {
                    any |= removed(item);
                }
            }
            _ => {}
        }
        any
    }
    let mut request: Value = serde_json::from_str(json).ok()?;
    removed(&mut request).then(|| request.to_string())
}

/// A text property, parsed. Values are quoted in errors only when they cannot be secrets: ids are checked by their form,
/// so a value that fails the check is not shown.
fn property<T: FromStr>(
    properties: &Map<String, Value>,
    name: &'static str,
) -> Result<T, InvalidResource>
where
    T::Err: ExpectedForm,
{
    match properties.get(name) {
        None | Some(Value::Null) => Err(InvalidResource::Missing(name)),
        Some(Value::String(text)) => {
            text.trim()
                .parse()
                .map_err(|error: T::Err| InvalidResource::Wrong {
                    name,
                    reason: format!("it is not {}", error.expected()),
                })
        }
        Some(_) => Err(InvalidResource::Wrong {
            name,
            reason: "it is not a text".to_owned(),
        }),
    }
}

/// An error that knows what was expected, apart from the value that was given.
trait ExpectedForm {
    fn expected(&self) -> &'static str;
}

impl ExpectedForm for crate::ids::InvalidId {
    fn expected(&self) -> &'static str {
        self.expected
    }
}

/// `ServiceTimeout`: 1 to 3,600 seconds, as a text or a number; anything else is the default.
fn service_timeout(properties: &Map<String, Value>) -> Duration {
    let seconds = match properties.get("ServiceTimeout") {
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(other) => other.as_u64(),
        None => None,
    };
    seconds
        .filter(|seconds| (1..=3600).contains(seconds))
        .map_or(DEFAULT_SERVICE_TIMEOUT, Duration::from_secs)
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

impl fmt::Display for RequestType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_loses_its_token_and_nothing_else() {
        let mut request = event(
            "Custom::SpotAccount",
            json!({"AwsAccountId": "111111111111"}),
        );
        assert_eq!(without_token(&request.to_string()), None);
        let expected = request.clone();
        request["ResourceProperties"]["Token"] = json!("canary");
        let without = without_token(&request.to_string()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&without).unwrap(), expected);
        let broken =
            json!({"a": [{"Token": 1}, {"OldResourceProperties": {"Token": {"b": "canary"}}}]});
        let without = without_token(&broken.to_string()).unwrap();
        assert!(!without.contains("canary"), "{without}");
        for nothing in ["", "[]", "{}", "{\"ResourceProperties\": {}}"] {
            assert_eq!(without_token(nothing), None);
        }
    }

    fn event(resource_type: &str, properties: Value) -> Value {
        json!({
            "RequestType": "Create",
            "RequestId": "req-1",
            "StackId": "arn:aws:cloudformation:us-east-1:111111111111:stack/StackSet-x/uuid",
            "ResponseURL": "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/x?Signature=canary",
            "ResourceType": resource_type,
            "LogicalResourceId": "SpotAccount",
            "ServiceToken": "arn:aws:sns:us-east-1:999999999999:spot",
            "ResourceProperties": properties,
        })
    }

    fn read(resource_type: &str, properties: Value) -> Result<Resource, InvalidResource> {
        ResourceRequest::parse(&event(resource_type, properties).to_string())
            .unwrap()
            .resource
    }

    #[test]
    fn every_resource_of_the_templates_is_read() {
        let spot_account: SpotAccountId = "act-1".parse().unwrap();
        let aws_account: AwsAccountId = "111111111111".parse().unwrap();
        let role: RoleArn = "arn:aws:iam::111111111111:role/SpotRole".parse().unwrap();
        let cases = [
            (
                "SpotAccount",
                json!({"AwsAccountId": "111111111111"}),
                Resource::SpotAccount { aws_account },
            ),
            (
                "SpotExternalId",
                json!({"SpotAccountId": "act-1"}),
                Resource::SpotExternalId {
                    spot_account: spot_account.clone(),
                },
            ),
            (
                "SpotLinkedCredentials",
                json!({"AccountId": "act-1", "IamRoleArn": role, "StackId": "any", "isTokenEncrypted": "false"}),
                Resource::SpotLinkedCredentials {
                    spot_account: spot_account.clone(),
                    role,
                },
            ),
            (
                "RenamedSpotAccountByAlias",
                json!({"SpotAccountId": "act-1", "AwsAccountId": "111111111111"}),
                Resource::RenamedSpotAccount {
                    spot_account: spot_account.clone(),
                    aws_account,
                },
            ),
            (
                "EnableCostIntelligence",
                json!({"SpotAccountId": "act-1"}),
                Resource::CostIntelligence { spot_account },
            ),
        ];
        for (name, properties, expected) in cases {
            assert_eq!(read(&format!("Custom::{name}"), properties), Ok(expected));
        }
    }

    #[test]
    fn wrong_properties_are_told_without_their_values() {
        let missing = read("Custom::SpotAccount", json!({})).unwrap_err();
        assert_eq!(missing.to_string(), "property AwsAccountId is missing");
        for value in [json!("canary"), json!(["canary"]), json!({"canary": 1})] {
            let wrong = read("Custom::SpotAccount", json!({"AwsAccountId": value})).unwrap_err();
            assert!(!wrong.to_string().contains("canary"), "{wrong}");
        }
        assert!(matches!(
            read("Custom::Other", json!({})),
            Err(InvalidResource::UnknownType(_))
        ));
    }

    #[test]
    fn a_token_and_the_answer_address_are_nowhere_in_the_request() {
        let mut event = event(
            "Custom::SpotAccount",
            json!({"AwsAccountId": "111111111111", "Token": "canary"}),
        );
        event["RequestType"] = json!("Update");
        event["PhysicalResourceId"] = json!("act-1");
        event["OldResourceProperties"] =
            json!({"AwsAccountId": "111111111111", "Token": "canary", "token": "canary"});
        let request = ResourceRequest::parse(&event.to_string()).unwrap();
        assert!(request.old_resource.is_some());
        assert!(!format!("{request:?}").contains("canary"));
    }

    #[test]
    fn the_service_token_is_read_from_either_place() {
        let topic = "arn:aws:sns:us-east-1:999999999999:spot";
        let mut event = event("Custom::SpotAccount", json!({"ServiceToken": topic}));
        for _ in 0..2 {
            let request = ResourceRequest::parse(&event.to_string()).unwrap();
            assert_eq!(request.service_token.as_deref(), Some(topic));
            event.as_object_mut().unwrap().remove("ServiceToken");
        }
    }

    #[test]
    fn a_request_that_cannot_be_answered_is_told_apart() {
        for field in [
            "RequestType",
            "RequestId",
            "StackId",
            "ResponseURL",
            "LogicalResourceId",
        ] {
            let mut broken = event("Custom::SpotAccount", json!({}));
            broken[field] = json!("");
            assert!(
                ResourceRequest::parse(&broken.to_string()).is_err(),
                "{field}"
            );
            broken.as_object_mut().unwrap().remove(field);
            assert!(
                ResourceRequest::parse(&broken.to_string()).is_err(),
                "{field}"
            );
        }
        for text in ["", "{}", "[]", "null", "{\"RequestType\":\"canary\"}"] {
            let error = ResourceRequest::parse(text).unwrap_err();
            assert!(!error.to_string().contains("canary"));
        }
    }

    #[test]
    fn the_service_timeout_is_a_text_or_a_number_within_its_bounds() {
        for (value, seconds) in [
            (json!("300"), 300),
            (json!(300), 300),
            (json!("0"), 3600),
            (json!("3601"), 3600),
            (json!("-1"), 3600),
            (json!(null), 3600),
        ] {
            let event = event("Custom::SpotAccount", json!({"ServiceTimeout": value}));
            let request = ResourceRequest::parse(&event.to_string()).unwrap();
            assert_eq!(request.service_timeout.as_secs(), seconds, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,400}") {
            let _ = ResourceRequest::parse(&text);
            let mut event = event("Custom::SpotAccount", json!({"AwsAccountId": text}));
            event["StackId"] = json!(text);
            let _ = ResourceRequest::parse(&event.to_string());
        }
    }
}
