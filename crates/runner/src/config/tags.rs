//! The values of a tag that targets ask for: one, `"prod"`, or a list of those that are allowed, `["prod", "test"]`.

use std::{borrow::Cow, collections::BTreeSet, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// See the module documentation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagValues(pub BTreeSet<String>);

impl Serialize for TagValues {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.first() {
            Some(only) if self.0.len() == 1 => serializer.serialize_str(only),
            _ => serializer.collect_seq(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for TagValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = TagValues;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TagValues, E> {
                Ok(TagValues(BTreeSet::from([text.to_owned()])))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<TagValues, A::Error> {
                let mut values = BTreeSet::new();
                while let Some(value) = list.next_element()? {
                    values.insert(value);
                }
                Ok(TagValues(values))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for TagValues {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "tag-values".into()
    }

    /// A value has up to 256 characters and may be empty (AWS Organizations API reference, Tag).
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "array"],
            "maxLength": 256,
            "items": { "type": "string", "maxLength": 256 },
            "minItems": 1,
        })
    }
}
