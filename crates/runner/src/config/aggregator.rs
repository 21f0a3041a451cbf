//! `params.aggregator`: an aggregator of AWS Config, which tells what IAM has in the accounts.

use std::{fmt, str::FromStr};

use onboarding_core::ids::{Region, RoleArn};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    duration::{self, HumanDuration},
    text::{Text, TextForm},
};

/// An aggregator of AWS Config that IAM is read from at full depth, by pages, instead of through the audit role in each account. It is
/// asked with our own credentials, or through a role of its account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AggregatorConfig {
    /// Its name.
    pub name: Text<AggregatorName>,
    /// Its Region. Without it, `aws.region`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Text<Region>>,
    /// A role of its account that our identity may assume, where that is not the home account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Text<RoleArn>>,
    /// How old the status of an account's source may be; an account with an older one cannot be read.
    #[serde(default = "max_age")]
    pub max_age: Text<HumanDuration>,
}

fn max_age() -> Text<HumanDuration> {
    duration::seconds(24 * 3600)
}

/// The name of an aggregator (AWS Config API reference, ConfigurationAggregator).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregatorName(pub String);

impl FromStr for AggregatorName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = (1..=256).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        if is_name {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{text:?} cannot be the name of an aggregator"))
        }
    }
}

impl fmt::Display for AggregatorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TextForm for AggregatorName {
    const FORMAT: &'static str = "config-aggregator";
    const EXPECTED: &'static str = "the name of an AWS Config aggregator (\"organization\")";
}

impl TextForm for RoleArn {
    const FORMAT: &'static str = "role-arn";
    const EXPECTED: &'static str =
        "the ARN of a role (\"arn:aws:iam::123456789012:role/config-reader\")";
}
