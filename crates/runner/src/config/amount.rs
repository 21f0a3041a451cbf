//! Shares and counts: `"10%"`, `50`, `"25%"`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::text::TextForm;

/// A share of a whole in percent, from 0 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u8);

impl Share {
    /// A share of so many percent; more than 100 is 100.
    #[must_use]
    pub const fn percent(percent: u8) -> Self {
        Self(if percent > 100 { 100 } else { percent })
    }

    /// The share between 0.0 and 1.0.
    #[must_use]
    pub fn as_fraction(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_suffix('%')
            .and_then(|number| number.trim().parse().ok())
            .filter(|percent| *percent <= 100)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a share between \"0%\" and \"100%\""))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl TextForm for Share {
    const FORMAT: &'static str = "percentage";
    const EXPECTED: &'static str = "a share in quotes (\"10%\")";
}

/// How many accounts an operation works on at the same time: a count, or a share of the accounts of the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Concurrency {
    /// So many accounts (MaxConcurrentCount).
    Count(u32),
    /// So many percent of the accounts, 1 to 100 (MaxConcurrentPercentage).
    Percent(u8),
}

impl FromStr for Concurrency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = match text.strip_suffix('%') {
            Some(percent) => percent
                .trim()
                .parse()
                .ok()
                .filter(|p| (1..=100).contains(p))
                .map(Self::Percent),
            None => text
                .trim()
                .parse()
                .ok()
                .filter(|count| *count > 0)
                .map(Self::Count),
        };
        parsed.ok_or_else(|| {
            format!(
                "{text:?} is neither a count of at least 1 nor a share between \"1%\" and \"100%\""
            )
        })
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl TextForm for Concurrency {
    const FORMAT: &'static str = "count-or-percentage";
    const EXPECTED: &'static str = "a count (50) or a share in quotes (\"25%\")";
}

impl Serialize for Concurrency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Concurrency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Concurrency;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(Concurrency::EXPECTED)
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<Concurrency, E> {
                count.to_string().parse().map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Concurrency, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for Concurrency {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Self::FORMAT.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": 1, "format": Self::FORMAT })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_concurrency_is_a_positive_count_or_a_share() {
        assert_eq!("50".parse(), Ok(Concurrency::Count(50)));
        assert_eq!("25%".parse(), Ok(Concurrency::Percent(25)));
        for bad in ["0", "0%", "101%", "-1", "many", ""] {
            assert!(bad.parse::<Concurrency>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_share_stays_between_nothing_and_all() {
        assert!(("10%".parse::<Share>().unwrap().as_fraction() - 0.1).abs() < f64::EPSILON);
        for bad in ["101%", "-1%", "10", "%"] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }
}
