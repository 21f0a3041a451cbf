//! What an aggregator of AWS Config has of the accounts' IAM: where it has it from, which accounts it has roles of, and how roles and
//! managed policies were captured last. All by pages: no call for any single account.
//!
//! An aggregator is a copy of what the recorders of its accounts captured, so that all of it is from earlier. An advanced query finds
//! resources by name, and does not document that it has their policies (AWS Config resource schema, AWS::IAM::Role); a batch of
//! configuration items has them (AWS Config API reference, BatchGetAggregateResourceConfig).

mod items;
mod query;

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_config::types::{
    AggregatedSourceStatus, AggregatedSourceStatusType, AggregatedSourceType, ResourceCountFilters,
    ResourceCountGroupKey, ResourceType,
};
pub use items::Captured;
use onboarding_core::{
    ids::{AwsAccountId, Region, RoleArn},
    inventory::{AggregatedSource, SourceStatus},
};
pub use query::{Found, Named};

use crate::{Aws, AwsError, ErrorClass, identity::AssumeRole};

const DESCRIBE: &str = "config:DescribeConfigurationAggregators";
const SOURCES: &str = "config:DescribeConfigurationAggregatorSourcesStatus";
const COUNTS: &str = "config:GetAggregateDiscoveredResourceCounts";

/// Most sources on a page (AWS Config API reference, DescribeConfigurationAggregatorSourcesStatus).
const SOURCES_A_PAGE: i32 = 100;

/// Most counts on a page (AWS Config API reference, GetAggregateDiscoveredResourceCounts).
const COUNTS_A_PAGE: i32 = 1_000;

/// The longest session that one role may have of another's session (STS API reference, AssumeRole).
const SESSION: Duration = Duration::from_secs(3_600);

/// Where an aggregator is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregatorPlace {
    /// Its name.
    pub name: String,
    /// Its Region.
    pub region: Region,
    /// The role of its account that it is asked through; none when it is in our own account.
    pub role: Option<RoleArn>,
    /// The name of that role's session, which CloudTrail shows in its account.
    pub session_name: String,
}

/// An aggregator that is there; see the module documentation.
#[derive(Debug, Clone)]
pub struct Aggregator {
    aws: Aws,
    name: String,
}

/// A resource that an aggregator has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Listed {
    /// Its account.
    pub account: AwsAccountId,
    /// Its unique id in IAM (`AROA…`, `ANPA…`), by which AWS Config knows it.
    pub id: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its ARN.
    pub arn: Box<str>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Role,
    Policy,
}

impl Kind {
    fn resource_type(self) -> ResourceType {
        match self {
            Self::Role => ResourceType::from("AWS::IAM::Role"),
            Self::Policy => ResourceType::from("AWS::IAM::Policy"),
        }
    }
}

impl Aggregator {
    /// Looks whether it is there; none when it is not. Assumes its role where it has one: the session lasts an hour.
    ///
    /// # Errors
    /// As any call.
    pub async fn open(aws: &Aws, place: &AggregatorPlace) -> Result<Option<Self>, AwsError> {
        let mut aws = aws.in_region(&place.region);
        if let Some(role) = &place.role {
            let request = AssumeRole {
                role: role.clone(),
                session_name: place.session_name.clone(),
                external_id: None,
                duration: SESSION,
            };
            aws = aws.assume_role(&request).await?;
        }
        let name = &place.name;
        let described = aws
            .governed
            .call(DESCRIBE, || {
                let describe = aws
                    .clients
                    .recordings()
                    .describe_configuration_aggregators();
                describe.configuration_aggregator_names(name).send()
            })
            .await;
        let is_there = match described {
            Err(error) if error.class() == ErrorClass::NotFound => false,
            described => !described?.configuration_aggregators().is_empty(),
        };
        Ok(is_there.then(|| Self {
            aws,
            name: place.name.clone(),
        }))
    }

    /// Where it collects from, and how that went. A source that is not understood is left out, so that nothing is known of it.
    ///
    /// # Errors
    /// As any call.
    pub async fn sources(&self) -> Result<Vec<AggregatedSource>, AwsError> {
        let mut sources = Vec::new();
        self.aws
            .governed
            .pages(
                SOURCES,
                |token| {
                    let clients = &self.aws.clients;
                    let describe = clients
                        .recordings()
                        .describe_configuration_aggregator_sources_status();
                    describe
                        .configuration_aggregator_name(&self.name)
                        .limit(SOURCES_A_PAGE)
                        .set_next_token(token)
                        .send()
                },
                |output| {
                    for status in output.aggregated_source_status_list.unwrap_or_default() {
                        sources.extend(source(status));
                    }
                    Ok(output.next_token)
                },
            )
            .await?;
        Ok(sources)
    }

    /// The accounts of which it has roles that were recorded in a Region.
    ///
    /// # Errors
    /// As any call.
    pub async fn accounts_with_roles(
        &self,
        region: &Region,
    ) -> Result<BTreeSet<AwsAccountId>, AwsError> {
        let filters = ResourceCountFilters::builder()
            .resource_type(Kind::Role.resource_type())
            .region(region.as_str())
            .build();
        let mut accounts = BTreeSet::new();
        self.aws
            .governed
            .pages(
                COUNTS,
                |token| {
                    let clients = &self.aws.clients;
                    let count = clients
                        .recordings()
                        .get_aggregate_discovered_resource_counts();
                    count
                        .configuration_aggregator_name(&self.name)
                        .filters(filters.clone())
                        .group_by_key(ResourceCountGroupKey::AccountId)
                        .limit(COUNTS_A_PAGE)
                        .set_next_token(token)
                        .send()
                },
                |output| {
                    for count in output.grouped_resource_counts() {
                        match count.group_name().parse() {
                            Ok(account) if count.resource_count() > 0 => {
                                accounts.insert(account);
                            }
                            Ok(_) => {}
                            Err(_) => tracing::warn!(
                                group = count.group_name(),
                                "AWS Config counts roles of no account"
                            ),
                        }
                    }
                    Ok(output.next_token)
                },
            )
            .await?;
        Ok(accounts)
    }
}

/// None when it is not understood.
fn source(status: AggregatedSourceStatus) -> Option<AggregatedSource> {
    let is_account = status.source_type == Some(AggregatedSourceType::Account);
    let id = status.source_id.filter(|_| is_account);
    let account: Option<Option<AwsAccountId>> = match &id {
        Some(id) => id.parse().ok().map(Some),
        None => Some(None),
    };
    let region = status.aws_region.and_then(|region| region.parse().ok());
    let (Some(account), Some(region)) = (account, region) else {
        tracing::warn!(
            source = id,
            "a source of the aggregator has no account or Region"
        );
        return None;
    };
    let error = [status.last_error_code, status.last_error_message];
    let error: Vec<String> = error.into_iter().flatten().collect();
    Some(AggregatedSource {
        account,
        region,
        status: match status.last_update_status {
            Some(AggregatedSourceStatusType::Succeeded) => SourceStatus::Succeeded,
            Some(AggregatedSourceStatusType::Outdated) => SourceStatus::Outdated,
            _ => SourceStatus::Failed,
        },
        updated: status.last_update_time.map(|at| at.secs()),
        error: (!error.is_empty()).then(|| error.join(": ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_not_understood_is_left_out() {
        let row = |id: &str, region: Option<&str>| {
            let row = AggregatedSourceStatus::builder()
                .source_type(AggregatedSourceType::Account)
                .source_id(id)
                .set_aws_region(region.map(str::to_owned));
            source(row.build())
        };
        let whole = row("111122223333", Some("us-east-1")).unwrap();
        assert_eq!(whole.account, "111122223333".parse().ok());
        assert_eq!(row("somebody", Some("us-east-1")), None);
        assert_eq!(row("111122223333", None), None);
    }
}
