//! Tags of accounts, units and the root.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::input::{constraint, invalid_input, optional, required};
use super::lists::empty_page;
use super::pages::Page;
use crate::events;
use crate::wire::errors::AwsError;
use crate::wire::json::JsonReply;
use crate::world::World;

/// ListTagsForResource. It has no MaxResults; at most 50 tags fit in one answer.
pub(super) fn list(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let page = Page::of(
        input,
        &format!("tags of {}", required(input, "ResourceId")?),
    )?;
    let tags = tags_of(world, input)?;
    if let Some(reply) = empty_page(world, &page, "Tags") {
        return Ok(reply);
    }
    let tags: Vec<Value> = tags
        .iter()
        .map(|(key, value)| json!({ "Key": key, "Value": value }))
        .collect();
    Ok(JsonReply::Done(json!({ "Tags": tags })))
}

/// TagResource.
pub(super) fn tag(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let new = read(input)?;
    let mut tags = tags_of(world, input)?;
    tags.extend(new);
    if tags.len() > 50 {
        return Err(constraint(
            "MAX_TAG_LIMIT_EXCEEDED",
            "You have exceeded the number of tags allowed on this resource.",
        ));
    }
    let keys: Vec<Value> = tags_in(input)
        .map(|tag| json!({ "key": tag["Key"] }))
        .collect();
    let asked = json!({ "resourceId": input["ResourceId"], "tags": keys });
    let reply = replace(world, input, tags)?;
    events::called(world, "TagResource", asked, Value::Null);
    Ok(reply)
}

/// UntagResource.
pub(super) fn untag(world: &mut World, input: &Value) -> Result<JsonReply, AwsError> {
    let mut tags = tags_of(world, input)?;
    for key in input
        .get("TagKeys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if let Some(key) = key.as_str() {
            refuse_system_tag(key)?;
            tags.remove(key);
        }
    }
    let asked = json!({ "resourceId": input["ResourceId"], "tagKeys": input["TagKeys"] });
    let reply = replace(world, input, tags)?;
    events::called(world, "UntagResource", asked, Value::Null);
    Ok(reply)
}

/// The `Tags` member of a request.
pub(super) fn read(input: &Value) -> Result<BTreeMap<String, String>, AwsError> {
    let mut tags = BTreeMap::new();
    for tag in tags_in(input) {
        let (key, value) = (
            required(tag, "Key")?,
            optional(tag, "Value")?.unwrap_or_default(),
        );
        refuse_system_tag(key)?;
        if key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(invalid_input(
                "MAX_LENGTH_EXCEEDED",
                "You provided a tag whose key has more than 128 or whose value more than 256 characters.",
            ));
        }
        if tags.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(invalid_input(
                "DUPLICATE_TAG_KEY",
                "You specified duplicate tag keys.",
            ));
        }
    }
    Ok(tags)
}

fn tags_in(input: &Value) -> impl Iterator<Item = &Value> {
    let tags = input.get("Tags").and_then(Value::as_array);
    tags.into_iter().flatten()
}

/// Keys that begin with `aws:` are AWS's own.
fn refuse_system_tag(key: &str) -> Result<(), AwsError> {
    if key.to_ascii_lowercase().starts_with("aws:") {
        return Err(invalid_input(
            "INVALID_SYSTEM_TAGS_PARAMETER",
            "You specified a tag key that is a system tag. You can't add, edit, or delete system tag keys because \
             they're reserved for AWS use.",
        ));
    }
    Ok(())
}

fn tags_of(world: &World, input: &Value) -> Result<BTreeMap<String, String>, AwsError> {
    let id = required(input, "ResourceId")?;
    let organization = &world.organization;
    if let Some(account) = id.parse().ok().and_then(|id| organization.account(id)) {
        return Ok(account.tags.clone());
    }
    organization
        .find_ou(id)
        .map(|ou| organization.ou(ou).tags.clone())
        .ok_or_else(|| {
            AwsError::new(
                400,
                "TargetNotFoundException",
                "You specified a target that doesn't exist.",
            )
        })
}

fn replace(
    world: &mut World,
    input: &Value,
    tags: BTreeMap<String, String>,
) -> Result<JsonReply, AwsError> {
    let id = required(input, "ResourceId")?;
    let organization = &mut world.organization;
    if let Some(account) = id.parse().ok().and_then(|id| organization.account_mut(id)) {
        account.tags = tags;
    } else if let Some(ou) = organization.find_ou(id) {
        organization.ou_mut(ou).tags = tags;
    }
    Ok(JsonReply::Done(json!({})))
}
