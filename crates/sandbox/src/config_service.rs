//! AWS Config, as far as an aggregator of it is read (JSON 1.1): recorders in the accounts capture IAM's roles and managed policies,
//! and one aggregator has copies of what they captured. It is there from the start where the scenario says so.

mod items;
mod pages;
mod query;
mod recorder;

use serde_json::{Value, json};

use self::pages::Page;
use self::recorder::capture;
pub(crate) use self::recorder::{Event, Recordings, look_now, on_event, set_up};
use crate::ids::AccountId;
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::json::JsonReply;
use crate::world::World;

/// Answers one call.
pub(crate) fn handle(
    world: &mut World,
    call: &Call,
    operation: &str,
    input: &Value,
) -> Result<JsonReply, AwsError> {
    let action = format!("config:{operation}");
    let resource = match operation {
        "DescribeConfigurationAggregators" => "*".to_owned(),
        _ => arn(world),
    };
    crate::iam::authorize(world, &call.caller, &action, &resource)
        .map_err(|error| AwsError::new(400, "AccessDeniedException", error.message))?;
    let reply = match operation {
        "DescribeConfigurationAggregators" => aggregators(world, call, input),
        "DescribeConfigurationAggregatorSourcesStatus" => {
            find(world, call, input)?;
            sources(world, input)
        }
        "GetAggregateDiscoveredResourceCounts" => {
            find(world, call, input)?;
            capture(world, None);
            counts(world, input)
        }
        "SelectAggregateResourceConfig" => {
            find(world, call, input)?;
            capture(world, None);
            query::select(world, input)
        }
        "BatchGetAggregateResourceConfig" => {
            find(world, call, input)?;
            items::batch(world, input)
        }
        _ => Err(AwsError::new(400, "UnknownOperationException", "")),
    };
    reply.map(JsonReply::Done)
}

/// What the admin API shows.
pub(crate) fn state(world: &World) -> Value {
    let scenario = &world.scenario.config;
    if !scenario.enabled {
        return Value::Null;
    }
    let ids = |accounts: Vec<AccountId>| -> Vec<String> {
        accounts.iter().map(AccountId::to_string).collect()
    };
    json!({
        "aggregator": scenario.aggregator,
        "account": world.recordings.owner.to_string(),
        "region": world.scenario.region,
        "unrecorded": ids(world.recordings.unrecorded()),
        "failing": ids(world.recordings.failing()),
        "stale": ids(world.recordings.stale()),
        "stopped": ids(world.recordings.stopped()),
        "untold": ids(world.recordings.untold()),
    })
}

/// The aggregator's ARN, whose last part is not its name.
fn arn(world: &World) -> String {
    format!(
        "arn:aws:config:{}:{}:config-aggregator/config-aggregator-sandboxx",
        world.scenario.region, world.recordings.owner
    )
}

fn is_here(world: &World, call: &Call, name: &str) -> bool {
    let scenario = &world.scenario.config;
    scenario.enabled
        && scenario.aggregator == name
        && call.caller.account == world.recordings.owner
        && call.region == world.scenario.region
}

/// Asks whether the aggregator of a request is in the caller's account and Region.
fn find(world: &World, call: &Call, input: &Value) -> Result<(), AwsError> {
    let name = required(input, "ConfigurationAggregatorName")?;
    match is_here(world, call, name) {
        true => Ok(()),
        false => Err(no_such_aggregator()),
    }
}

fn no_such_aggregator() -> AwsError {
    AwsError::new(
        400,
        "NoSuchConfigurationAggregatorException",
        "The configuration aggregator does not exist. Check the configuration aggregator name and try again.",
    )
}

fn validation(message: impl Into<String>) -> AwsError {
    AwsError::new(400, "ValidationException", message)
}

fn required<'a>(input: &'a Value, name: &str) -> Result<&'a str, AwsError> {
    let text = input[name].as_str().filter(|text| !text.is_empty());
    text.ok_or_else(|| {
        validation(format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
        ))
    })
}

fn aggregators(world: &World, call: &Call, input: &Value) -> Result<Value, AwsError> {
    let scenario = &world.scenario.config;
    let named = input["ConfigurationAggregatorNames"].as_array();
    let named: Vec<&str> = named
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if named.iter().any(|name| !is_here(world, call, name)) {
        return Err(no_such_aggregator());
    }
    let owner = world.organization.account(world.recordings.owner);
    let created = owner.map_or(0.0, |owner| owner.joined.epoch_seconds());
    let ours = json!({
        "ConfigurationAggregatorName": scenario.aggregator,
        "ConfigurationAggregatorArn": arn(world),
        "OrganizationAggregationSource": {
            "RoleArn": format!("arn:aws:iam::{}:role/aws-service-role/organizations.amazonaws.com/config", world.recordings.owner),
            "AwsRegions": scenario.regions,
            "AllAwsRegions": false,
        },
        "CreationTime": created,
        "LastUpdatedTime": created,
    });
    let all = if is_here(world, call, &scenario.aggregator) {
        vec![ours]
    } else {
        Vec::new()
    };
    Ok(json!({ "ConfigurationAggregators": all }))
}

/// A row for each account and Region that is collected from.
fn sources(world: &World, input: &Value) -> Result<Value, AwsError> {
    const DAY: u64 = 24 * 3600;
    let wanted = input["UpdateStatus"].as_array();
    let now = world.now();
    let mut rows = Vec::new();
    for account in world.organization.accounts() {
        let recordings = &world.recordings;
        let (status, updated) = match account.id {
            id if recordings.is_failing(id) => ("FAILED", now),
            id if recordings.is_stale(id) => {
                ("SUCCEEDED", now - std::time::Duration::from_secs(3 * DAY))
            }
            _ => ("SUCCEEDED", now),
        };
        if wanted.is_some_and(|wanted| !wanted.iter().any(|one| one == status)) {
            continue;
        }
        for region in &world.scenario.config.regions {
            let mut row = json!({
                "SourceId": account.id.to_string(),
                "SourceType": "ACCOUNT",
                "AwsRegion": region,
                "LastUpdateStatus": status,
                "LastUpdateTime": updated.epoch_seconds(),
            });
            if status == "FAILED" {
                row["LastErrorCode"] = "ResourceNotFound".into();
                row["LastErrorMessage"] =
                    "AWS Config is not set up in the source account and Region.".into();
            }
            rows.push(row);
        }
    }
    let page = Page::of(input, (100, 100))?;
    let (rows, next) = page.cut(rows);
    Ok(with_token(
        json!({ "AggregatedSourceStatusList": rows }),
        next,
    ))
}

fn counts(world: &World, input: &Value) -> Result<Value, AwsError> {
    let filters = &input["Filters"];
    let account = filters["AccountId"].as_str();
    let region = filters["Region"].as_str();
    let regions = world.scenario.config.iam_regions.iter();
    let regions = regions.filter(|one| region.is_none_or(|region| region == *one));
    let regions = regions.count();
    let kind = filters["ResourceType"].as_str();
    let mut total = 0;
    let mut groups = Vec::new();
    for (id, roles, policies) in world.recordings.counts() {
        if account.is_some_and(|account| account != id.to_string())
            || world.organization.account(id).is_none()
        {
            continue;
        }
        let count = regions
            * match kind {
                None => roles + policies,
                Some("AWS::IAM::Role") => roles,
                Some("AWS::IAM::Policy") => policies,
                Some(_) => 0,
            };
        if count > 0 {
            total += count;
            groups.push(json!({ "GroupName": id.to_string(), "ResourceCount": count }));
        }
    }
    let mut answer = json!({ "TotalDiscoveredResources": total });
    match input["GroupByKey"].as_str() {
        None => Ok(answer),
        Some("ACCOUNT_ID") => {
            let page = Page::of(input, (1_000, 1_000))?;
            let (groups, next) = page.cut(groups);
            answer["GroupByKey"] = "ACCOUNT_ID".into();
            answer["GroupedResourceCounts"] = groups.into();
            Ok(with_token(answer, next))
        }
        Some(other) => Err(validation(format!("the sandbox does not group by {other}"))),
    }
}

fn with_token(mut answer: Value, next: Option<String>) -> Value {
    if let Some(next) = next {
        answer["NextToken"] = next.into();
    }
    answer
}
