//! How roles and policies were captured last: configuration items, a hundred a call (AWS Config API reference,
//! BatchGetAggregateResourceConfig). Their configuration is what IAM's API tells, as JSON in a text, with policies percent-encoded.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use aws_sdk_config::types::{
    AggregateResourceIdentifier, BaseConfigurationItem, ConfigurationItemStatus,
};
use onboarding_core::{
    ids::{AwsAccountId, Region},
    inventory::{LiveRole, PolicyReading, RecordedPolicy, RecordedRole},
};
use serde_json::Value;

use super::{Aggregator, Kind, Listed};
use crate::{AwsError, iam::policy_document};

const BATCH: &str = "config:BatchGetAggregateResourceConfig";

/// Most resources of one call.
const RESOURCES_A_CALL: usize = 100;

/// How often what AWS Config did not process is asked for again when a call has brought nothing: it says so of what it does not have,
/// too.
const IDLE_ROUNDS: u32 = 3;

/// How long to wait after such a call; after the next one twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// What was captured, by account and the resource's unique id: none of what AWS Config says was deleted, and where it was not
/// understood, what is wrong with it. What AWS Config gave nothing of is not in it.
pub type Captured<T> = HashMap<(AwsAccountId, Box<str>), Result<Option<T>, String>>;

/// One of them.
type Entry<T> = ((AwsAccountId, Box<str>), Result<Option<T>, String>);

impl Aggregator {
    /// Roles as they were captured last in a Region. One that AWS Config gives nothing of there is left out.
    ///
    /// # Errors
    /// As any call.
    pub async fn captured_roles(
        &self,
        region: &Region,
        roles: &[&Listed],
    ) -> Result<Captured<RecordedRole>, AwsError> {
        self.captured(Kind::Role, region, roles, role).await
    }

    /// Managed policies as they were captured last in a Region. One that AWS Config gives nothing of there is left out.
    ///
    /// # Errors
    /// As any call.
    pub async fn captured_policies(
        &self,
        region: &Region,
        policies: &[&Listed],
    ) -> Result<Captured<RecordedPolicy>, AwsError> {
        self.captured(Kind::Policy, region, policies, policy).await
    }

    async fn captured<T>(
        &self,
        kind: Kind,
        region: &Region,
        resources: &[&Listed],
        read: impl Fn(i64, &Value) -> Option<T>,
    ) -> Result<Captured<T>, AwsError> {
        let mut captured = HashMap::new();
        for resources in resources.chunks(RESOURCES_A_CALL) {
            let identifiers = resources
                .iter()
                .map(|resource| identifier(kind, region, resource));
            let mut left = identifiers.collect::<Result<Vec<_>, _>>()?;
            let mut idle = 0;
            while !left.is_empty() && idle < IDLE_ROUNDS {
                let output = self
                    .aws
                    .governed
                    .call(BATCH, || {
                        let clients = &self.aws.clients;
                        let batch = clients.recordings().batch_get_aggregate_resource_config();
                        batch
                            .configuration_aggregator_name(&self.name)
                            .set_resource_identifiers(Some(left.clone()))
                            .send()
                    })
                    .await?;
                let items = output.base_configuration_items.unwrap_or_default();
                captured.extend(items.iter().filter_map(|item| understood(item, &read)));
                left = output.unprocessed_resource_identifiers.unwrap_or_default();
                if items.is_empty() {
                    idle += 1;
                    if !left.is_empty() && idle < IDLE_ROUNDS {
                        tokio::time::sleep(PAUSE * 2_u32.pow(idle - 1)).await;
                    }
                }
            }
        }
        Ok(captured)
    }
}

fn identifier(
    kind: Kind,
    region: &Region,
    resource: &Listed,
) -> Result<AggregateResourceIdentifier, AwsError> {
    AggregateResourceIdentifier::builder()
        .source_account_id(resource.account.to_string())
        .source_region(region.as_str())
        .resource_id(&*resource.id)
        .resource_type(kind.resource_type())
        .build()
        .map_err(|error| AwsError::malformed(BATCH, &error.to_string()))
}

/// One item, by what it is of; none where that is not understood.
fn understood<T>(
    item: &BaseConfigurationItem,
    read: impl Fn(i64, &Value) -> Option<T>,
) -> Option<Entry<T>> {
    let account = item.account_id().and_then(|account| account.parse().ok());
    let (Some(account), Some(id)) = (account, item.resource_id()) else {
        tracing::warn!("AWS Config gives a configuration item without account or id");
        return None;
    };
    let status = item.configuration_item_status();
    let read = match status {
        Some(
            ConfigurationItemStatus::ResourceDeleted
            | ConfigurationItemStatus::ResourceDeletedNotRecorded,
        ) => Ok(None),
        Some(ConfigurationItemStatus::Ok | ConfigurationItemStatus::ResourceDiscovered) => {
            let captured = item.configuration_item_capture_time().map(|at| at.secs());
            let configuration = item
                .configuration()
                .and_then(|text| serde_json::from_str::<Value>(text).ok());
            let read = captured
                .zip(configuration)
                .and_then(|(captured, configuration)| read(captured, &configuration));
            match read {
                Some(read) => Ok(Some(read)),
                None => Err("AWS Config's item of it was not understood".to_owned()),
            }
        }
        status => Err(format!(
            "AWS Config's item of it is {}",
            status.map_or("of no status", ConfigurationItemStatus::as_str)
        )),
    };
    Some(((account, id.into()), read))
}

fn role(captured: i64, configuration: &Value) -> Option<RecordedRole> {
    let text = |name: &str| configuration[name].as_str();
    let boundary = &configuration["permissionsBoundary"]["permissionsBoundaryArn"];
    Some(RecordedRole {
        captured,
        role: LiveRole {
            arn: text("arn")?.parse().ok()?,
            id: text("roleId")?.to_owned(),
            path: text("path")?.to_owned(),
            trust_policy: policy_document(text("assumeRolePolicyDocument")?),
            max_session_seconds: None,
            permissions_boundary: boundary.as_str().map(str::to_owned),
            last_used: None,
            tags: pairs(configuration.get("tags")?, "key", "value")?,
        },
        attached: pairs(
            configuration.get("attachedManagedPolicies")?,
            "policyArn",
            "policyName",
        )?,
        inline: pairs(
            configuration.get("rolePolicyList")?,
            "policyName",
            "policyDocument",
        )?
        .into_iter()
        .map(|(name, document)| (name, policy_document(&document)))
        .collect(),
    })
}

fn policy(captured: i64, configuration: &Value) -> Option<RecordedPolicy> {
    let versions = configuration["policyVersionList"].as_array()?;
    let mut versions = versions.iter();
    let default = versions.find(|version| version["isDefaultVersion"] == true)?;
    Some(RecordedPolicy {
        captured,
        arn: configuration["arn"].as_str()?.to_owned(),
        document: PolicyReading::Document {
            version: default["versionId"].as_str()?.to_owned(),
            text: policy_document(default["document"].as_str()?),
        },
    })
}

/// A list of objects as texts by texts; empty when AWS Config has null for it. None when it is something else.
fn pairs(list: &Value, key: &str, value: &str) -> Option<BTreeMap<String, String>> {
    let Value::Array(items) = list else {
        return list.is_null().then(BTreeMap::new);
    };
    let text = |item: &Value, name: &str| Some(item[name].as_str()?.to_owned());
    let pairs = items
        .iter()
        .map(|item| Some((text(item, key)?, text(item, value)?)));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use aws_smithy_types::DateTime;
    use serde_json::json;

    use super::*;

    fn item(status: ConfigurationItemStatus, configuration: &Value) -> BaseConfigurationItem {
        BaseConfigurationItem::builder()
            .account_id("111122223333")
            .resource_id("AROA1")
            .configuration_item_status(status)
            .configuration_item_capture_time(DateTime::from_secs(1_790_000_000))
            .configuration(configuration.to_string())
            .build()
    }

    fn role_configuration() -> Value {
        json!({
            "path": "/",
            "roleName": "r",
            "roleId": "AROA1",
            "arn": "arn:aws:iam::111122223333:role/r",
            "createDate": "2026-01-01T00:00:00.000Z",
            "assumeRolePolicyDocument": "%7B%22Version%22%3A%222012-10-17%22%7D",
            "instanceProfileList": [],
            "rolePolicyList": [{"policyName": "debug", "policyDocument": "%7B%22a%22%3A%22b+c%22%7D"}],
            "attachedManagedPolicies": [{"policyArn": "arn:aws:iam::111122223333:policy/p", "policyName": "p"}],
            "permissionsBoundary": {"permissionsBoundaryType": "Policy", "permissionsBoundaryArn": "arn:aws:iam::aws:policy/B"},
            "tags": [{"key": "aws:cloudformation:stack-id", "value": "arn:stack"}],
            "roleLastUsed": null
        })
    }

    #[test]
    fn a_role_is_read_with_all_that_is_compared() {
        let found = understood(
            &item(ConfigurationItemStatus::Ok, &role_configuration()),
            role,
        );
        let ((account, id), found) = found.unwrap();
        assert_eq!(
            (account.to_string().as_str(), &*id),
            ("111122223333", "AROA1")
        );
        let found = found.unwrap().unwrap();
        assert_eq!(found.captured, 1_790_000_000);
        assert_eq!(found.role.trust_policy, r#"{"Version":"2012-10-17"}"#);
        assert_eq!(
            found.role.permissions_boundary.as_deref(),
            Some("arn:aws:iam::aws:policy/B")
        );
        assert_eq!(found.role.stack_id(), Some("arn:stack"));
        assert_eq!(found.inline["debug"], r#"{"a":"b+c"}"#);
        assert_eq!(found.attached["arn:aws:iam::111122223333:policy/p"], "p");
    }

    #[test]
    fn lists_that_are_null_are_empty_and_no_boundary_is_none() {
        let mut configuration = role_configuration();
        for name in [
            "rolePolicyList",
            "attachedManagedPolicies",
            "permissionsBoundary",
            "tags",
        ] {
            configuration[name] = Value::Null;
        }
        let found = role(1, &configuration).unwrap();
        assert!(found.inline.is_empty() && found.attached.is_empty());
        assert_eq!(found.role.permissions_boundary, None);
    }

    #[test]
    fn a_list_that_is_not_told_at_all_is_not_empty() {
        for name in ["rolePolicyList", "attachedManagedPolicies", "tags"] {
            let mut configuration = role_configuration();
            configuration.as_object_mut().unwrap().remove(name);
            assert_eq!(role(1, &configuration), None, "{name}");
        }
    }

    #[test]
    fn what_is_gone_is_told_and_what_is_not_recorded_or_broken_is_not_known() {
        use ConfigurationItemStatus as Status;
        let of = |status| {
            let found = understood(&item(status, &role_configuration()), role);
            found.unwrap().1
        };
        for status in [Status::ResourceDeleted, Status::ResourceDeletedNotRecorded] {
            assert_eq!(of(status), Ok(None));
        }
        let why = of(Status::ResourceNotRecorded).unwrap_err();
        assert!(why.contains("ResourceNotRecorded"), "{why}");
        let mut broken = role_configuration();
        broken["rolePolicyList"] = json!([{"policyName": "debug"}]);
        let found = understood(&item(Status::ResourceDiscovered, &broken), role);
        assert!(found.unwrap().1.is_err());
        let nobodys = BaseConfigurationItem::builder()
            .resource_id("AROA1")
            .build();
        assert!(understood(&nobodys, role).is_none());
    }

    #[test]
    fn the_default_version_of_a_policy_is_the_one_in_force() {
        let configuration = json!({
            "arn": "arn:aws:iam::111122223333:policy/p",
            "policyVersionList": [
                {"versionId": "v2", "isDefaultVersion": false, "document": "%7B%22n%22%3A2%7D"},
                {"versionId": "v1", "isDefaultVersion": true, "document": "%7B%22n%22%3A1%7D"}
            ]
        });
        let found = policy(1, &configuration).unwrap();
        let expected = PolicyReading::Document {
            version: "v1".to_owned(),
            text: r#"{"n":1}"#.to_owned(),
        };
        assert_eq!(found.document, expected);
    }
}
