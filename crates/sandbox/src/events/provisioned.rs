//! What CloudFormation does with rules, as the account that they belong to.

use serde_json::Value;

use super::{Rule, pattern};
use crate::ids::AccountId;
use crate::wire::errors::AwsError;
use crate::world::World;

/// Makes a rule on the default event bus, or gives it other properties; returns its ARN.
///
/// # Errors
/// What EventBridge refuses (`ValidationException`, `InvalidEventPatternException`, `ResourceNotFoundException`).
pub(crate) fn put_rule(
    world: &mut World,
    (account, region): (AccountId, &str),
    name: &str,
    properties: &Value,
) -> Result<String, AwsError> {
    let invalid = |message: &str| AwsError::new(400, "ValidationException", message);
    if let Some(bus) = properties["EventBusName"].as_str()
        && bus != "default"
    {
        return Err(AwsError::new(
            400,
            "ResourceNotFoundException",
            format!("Event bus {bus} does not exist."),
        ));
    }
    let wanted = &properties["EventPattern"];
    if wanted.is_null() {
        return Err(match properties["ScheduleExpression"].is_null() {
            true => invalid("Parameter(s) EventPattern or ScheduleExpression must be specified."),
            false => invalid("only rules with an event pattern are simulated"),
        });
    }
    pattern::check(wanted)
        .map_err(|message| AwsError::new(400, "InvalidEventPatternException", message))?;
    let targets = properties["Targets"].as_array().into_iter().flatten();
    let arn = format!("arn:aws:events:{region}:{account}:rule/{name}");
    let rule = Rule {
        account,
        region: region.to_owned(),
        pattern: wanted.clone(),
        is_enabled: properties["State"].as_str() != Some("DISABLED"),
        targets: targets
            .filter_map(|target| target["Arn"].as_str().map(str::to_owned))
            .collect(),
    };
    world.events.rules.insert(arn.clone(), rule);
    Ok(arn)
}

/// Deletes a rule; one that is gone stays gone.
pub(crate) fn delete_rule(world: &mut World, (account, region): (AccountId, &str), name: &str) {
    let arn = format!("arn:aws:events:{region}:{account}:rule/{name}");
    world.events.rules.remove(&arn);
}
