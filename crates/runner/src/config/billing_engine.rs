//! `[billing_engine]`: where the billing data of the management account is.

use std::{fmt, str::FromStr};

use onboarding_core::{
    desired::BillingSource,
    ids::{InvalidId, Region},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{Text, TextForm};

/// Spot's Billing Engine for the management account: the Cost and Usage Report that it reads. Off without a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BillingEngineConfig {
    /// The S3 bucket that AWS delivers the report to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<Text<BucketName>>,
    /// The bucket's Region.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Text<Region>>,
    /// The report's S3 path prefix, with the name of the report.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
}

impl BillingEngineConfig {
    /// Where the billing data is; none when Billing Engine is not asked for.
    #[must_use]
    pub fn source(&self) -> Option<BillingSource> {
        Some(BillingSource {
            bucket: self.bucket.as_ref()?.0.0.to_string(),
            region: self.region.as_ref()?.0.clone(),
            path_prefix: self.path_prefix.clone()?,
        })
    }
}

/// The name of an S3 bucket (Amazon S3 User Guide, "General purpose bucket naming rules").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketName(pub Box<str>);

impl FromStr for BucketName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b);
        let outer = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        let valid = (3..=63).contains(&bytes.len())
            && bytes.iter().copied().all(inner)
            && bytes.first().is_some_and(outer)
            && bytes.last().is_some_and(outer);
        if valid {
            return Ok(Self(text.into()));
        }
        Err(InvalidId {
            value: text.to_owned(),
            expected: Self::EXPECTED,
        })
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TextForm for BucketName {
    const FORMAT: &'static str = "s3-bucket-name";
    const EXPECTED: &'static str =
        "the name of an S3 bucket (3 to 63 lower-case letters, digits, dots and hyphens)";
}
