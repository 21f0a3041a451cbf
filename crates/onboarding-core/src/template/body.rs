//! Reading a template's text back: ours or another's, JSON or YAML, with long or short forms of functions.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use serde_saphyr::Tagged;

use crate::canonical;

/// A text that is not a template.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It begins like JSON and is none.
    #[error("the template is not well-formed JSON")]
    Json(#[source] serde_json::Error),
    /// It is not YAML either.
    #[error("the template is not well-formed YAML")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// It is not an object.
    #[error("the template is not an object with sections such as Resources")]
    NotAnObject,
}

/// The digest of a template that was read back from AWS, to be compared with
/// [`super::RenderedTemplate::digest`]. White space, the order of keys and the form of functions do not change it.
///
/// # Errors
/// [`BodyError`] when the text is no template.
pub fn template_digest_of(body: &str) -> Result<String, BodyError> {
    parse_body(body).map(|value| canonical::digest(&value))
}

/// Reads a template as JSON with long-form functions.
///
/// # Errors
/// [`BodyError`] when the text is no template.
pub fn parse_body(body: &str) -> Result<Value, BodyError> {
    let value = if body.trim_start().starts_with('{') {
        serde_json::from_str(body).map_err(BodyError::Json)?
    } else {
        let options = serde_saphyr::options! { leading_zero_numbers_as_strings: true };
        let node: Node = serde_saphyr::from_str_with_options(body, options)
            .map_err(|error| BodyError::Yaml(Box::new(error)))?;
        node.0
    };
    if !value.is_object() {
        return Err(BodyError::NotAnObject);
    }
    Ok(value)
}

/// A YAML node whose local tag, if any, became a long-form function.
struct Node(Value);

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Tagged(Untagged(value), tag) = Tagged::deserialize(deserializer)?;
        let function = tag.as_deref().and_then(|tag| tag.strip_prefix('!'));
        Ok(Self(match function {
            Some(function) if !function.is_empty() => long_form(function, value),
            _ => value,
        }))
    }
}

fn long_form(function: &str, argument: Value) -> Value {
    let (name, argument) = match (function, argument) {
        ("Ref" | "Condition", argument) => (function.to_owned(), argument),
        ("GetAtt", Value::String(text)) => {
            let parts = text
                .split_once('.')
                .map(|(resource, name)| vec![resource, name]);
            (
                "Fn::GetAtt".to_owned(),
                parts.map_or(Value::from(text.as_str()), Value::from),
            )
        }
        (_, argument) => (format!("Fn::{function}"), argument),
    };
    Value::Object(Map::from_iter([(name, argument)]))
}

/// A YAML node without its own tag; the nodes in it have theirs.
struct Untagged(Value);

impl<'de> Deserialize<'de> for Untagged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UntaggedVisitor)
    }
}

struct UntaggedVisitor;

impl<'de> Visitor<'de> for UntaggedVisitor {
    type Value = Untagged;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML node")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Untagged, E> {
        Ok(Untagged(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Untagged, E> {
        Ok(Untagged(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Untagged, E> {
        Ok(Untagged(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Untagged, E> {
        Ok(Untagged(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Untagged, E> {
        Ok(Untagged(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Untagged, E> {
        Ok(Untagged(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Untagged, E> {
        Ok(Untagged(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Untagged, D::Error> {
        Untagged::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Untagged, A::Error> {
        let mut items = Vec::new();
        while let Some(Node(item)) = access.next_element()? {
            items.push(item);
        }
        Ok(Untagged(Value::Array(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Untagged, A::Error> {
        let mut map = Map::new();
        while let Some((key, Node(value))) = access.next_entry::<String, Node>()? {
            map.insert(key, value);
        }
        Ok(Untagged(Value::Object(map)))
    }
}

/// The name that a template gives Spot's role, where it gives one.
#[must_use]
pub fn role_name(body: &str) -> Option<String> {
    let template = parse_body(body).ok()?;
    let name = &template["Resources"]["SpotRole"]["Properties"]["RoleName"];
    name.as_str().map(str::to_owned)
}

/// Whether a template enrolls accounts in Spot: it has the custom resource that every one of Spot's and ours has. Text that
/// is no template does not.
#[must_use]
pub fn is_enrollment(body: &str) -> bool {
    parse_body(body).is_ok_and(|template| {
        template
            .get("Resources")
            .and_then(|resources| resources.get("SpotAccount"))
            .and_then(|resource| resource.get("Type"))
            .is_some_and(|kind| kind == "Custom::SpotAccount")
    })
}
