//! Rules for events, real on the simulated event bus.

use serde_json::Value;

use super::{Made, Place};
use crate::events::provisioned;
use crate::wire::errors::AwsError;
use crate::world::World;

/// Makes a rule, or gives it other properties.
pub(super) fn make(
    world: &mut World,
    place: &Place<'_>,
    name: String,
    properties: &Value,
) -> Result<Made, AwsError> {
    let stack = &world.stacks[place.key];
    let (account, region) = (stack.account, stack.region.clone());
    let arn = provisioned::put_rule(world, (account, &region), &name, properties)?;
    Ok((name, vec![("Arn".into(), arn.into())]))
}

/// Takes a rule away; one that is gone stays gone.
pub(super) fn remove(world: &mut World, place: &Place<'_>, name: &str) {
    let stack = &world.stacks[place.key];
    let (account, region) = (stack.account, stack.region.clone());
    provisioned::delete_rule(world, (account, &region), name);
}
