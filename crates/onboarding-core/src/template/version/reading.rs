//! Reading the versions of the policies back from a template: what is deployed is what can be gone back to.

use serde_json::{Map, Value};

use super::{PinnedVersions, PolicyVersion, VersionError};
use crate::template::{
    POLICY_VERSION_PARAMETER, PolicyPurpose, parse_body,
    permissions::{self, NEXT_CONDITION, Side, logical_ids},
};

/// The versions of the policies in a template of ours, or of Spot's; none when it has no policy of a purpose that is known.
/// `deployed` is the value of the parameter `PolicyVersion` in the stack set: the name of the current one.
///
/// # Errors
/// [`VersionError`] when the text is no template, or a policy has parts that only CloudFormation knows.
pub fn read_versions(
    body: &str,
    deployed: Option<&str>,
) -> Result<Option<PinnedVersions>, VersionError> {
    let template = parse_body(body)?;
    let mut current = Map::new();
    let mut next = Map::new();
    for purpose in [
        PolicyPurpose::ElastigroupOcean,
        PolicyPurpose::CostIntelligence,
    ] {
        let (mut one, mut other) = (Vec::new(), Vec::new());
        for id in logical_ids(&purpose) {
            let policy = &template["Resources"][&id];
            if policy["Type"] != "AWS::IAM::ManagedPolicy" {
                one.push(Value::Null);
                other.push(Value::Null);
                continue;
            }
            let document = &policy["Properties"]["PolicyDocument"];
            let side = policy["Condition"].as_str().and_then(permissions::side);
            let (now, then) = match (&document["Fn::If"], side) {
                (Value::Array(choice), _) if choice.len() == 3 => (&choice[2], &choice[1]),
                (_, Some(Side::Current)) => (document, &Value::Null),
                (_, Some(Side::Next)) => (&Value::Null, document),
                _ => (document, document),
            };
            one.push(unstamped(now));
            other.push(unstamped(then));
        }
        for (pieces, policies) in [(one, &mut current), (other, &mut next)] {
            let last = pieces.iter().rposition(|piece| !piece.is_null());
            if let Some(last) = last {
                let pieces = pieces.into_iter().take(last + 1);
                policies.insert(purpose.key(), pieces.collect());
            }
        }
    }
    if current.is_empty() {
        return Ok(None);
    }
    let current = Value::Object(current);
    let declared = &template["Parameters"][POLICY_VERSION_PARAMETER]["Default"];
    let name = deployed.or(declared.as_str()).map(str::to_owned);
    let mut version = PolicyVersion::from_value(name.as_deref().unwrap_or_default(), &current)?;
    if name.is_none() {
        version.name = version.short_digest();
    }
    let staged = template["Conditions"][NEXT_CONDITION]["Fn::Equals"][1].as_str();
    let next = staged.map(|name| PolicyVersion::from_value(name, &Value::Object(next)));
    Ok(Some(PinnedVersions {
        current: version,
        next: next.transpose()?,
    }))
}

/// A document without the stamp in the id of its first statement.
fn unstamped(document: &Value) -> Value {
    let mut document = document.clone();
    let first = document
        .pointer_mut("/Statement/0")
        .and_then(Value::as_object_mut);
    let Some(first) = first else {
        return document;
    };
    let stamped = first.get("Sid").and_then(|sid| sid["Fn::Sub"].as_str());
    if let Some(sid) = stamped.and_then(permissions::without_stamp) {
        let sid = sid.to_owned();
        if sid.is_empty() {
            first.shift_remove("Sid");
        } else {
            first.insert("Sid".to_owned(), sid.into());
        }
    }
    document
}
