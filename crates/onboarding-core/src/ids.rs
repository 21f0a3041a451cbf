//! Identifiers of AWS and Spot as types of their own, parsed once at the edge and trusted afterwards.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is not a valid identifier of the kind that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not {expected}")]
pub struct InvalidId {
    /// The text as it was given.
    pub value: String,
    /// What was expected, with its form.
    pub expected: &'static str,
}

/// The 12-digit id of an AWS account. Leading zeros are significant; kept as a number to stay small at 100,000 accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AwsAccountId(u64);

impl AwsAccountId {
    /// The id with this numeric value, when it has at most 12 digits.
    #[must_use]
    pub fn from_number(value: u64) -> Option<Self> {
        (value < 1_000_000_000_000).then_some(Self(value))
    }
}

impl fmt::Display for AwsAccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}", self.0)
    }
}

impl FromStr for AwsAccountId {
    type Err = InvalidId;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidId {
            value: s.to_owned(),
            expected: "an AWS account id (12 digits)",
        };
        if s.len() != 12 || !s.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        s.parse().map(Self).map_err(|_| invalid())
    }
}

impl Serialize for AwsAccountId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AwsAccountId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Defines a newtype over a boxed text with a validity check, parsing and serde.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                let valid: fn(&str) -> bool = $valid;
                if valid(s) {
                    Ok(Self(s.into()))
                } else {
                    Err(InvalidId { value: s.to_owned(), expected: $expected })
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// An organizational unit or the root of an organization: both are parents of accounts and targets of stack sets.
    /// Form from the CloudFormation API reference (DeploymentTargets).
    OuId,
    "an organizational unit or root id (ou-xxxx-xxxxxxxx or r-xxxx)",
    |s| match (s.strip_prefix("r-"), s.strip_prefix("ou-")) {
        (Some(root), _) => is_lower_alphanumeric(root, 4, 32),
        (_, Some(ou)) => ou
            .split_once('-')
            .is_some_and(|(root, own)| is_lower_alphanumeric(root, 4, 32) && is_lower_alphanumeric(own, 8, 32)),
        _ => false,
    }
);

impl OuId {
    /// Whether this is the root of the organization.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.starts_with("r-")
    }
}

text_id!(
    /// The id of an AWS Organization.
    OrganizationId,
    "an organization id (o-xxxxxxxxxx)",
    |s| s.strip_prefix("o-").is_some_and(|rest| is_lower_alphanumeric(rest, 10, 32))
);

text_id!(
    /// The id of a Spot account.
    SpotAccountId,
    "a Spot account id (act-xxxxxxxx)",
    |s| is_prefixed_alphanumeric(s, "act-")
);

text_id!(
    /// The id of a user group of Spot: users who are given access policies together.
    UserGroupId,
    "the id of a Spot user group (ugr-xxxxxxxx)",
    |s| is_prefixed_alphanumeric(s, "ugr-")
);

text_id!(
    /// The id of an access policy of Spot, which its console calls permission policy.
    AccessPolicyId,
    "the id of a Spot access policy (pol-xxxxxxxx)",
    |s| is_prefixed_alphanumeric(s, "pol-")
);

text_id!(
    /// The external ID that Spot generates for an AWS account. 2 to 1,224 characters, as sts:AssumeRole accepts them.
    ExternalId,
    "an external ID (2 to 1224 characters of letters, digits and _+=,.@:/-)",
    |s| (2..=1224).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&b))
);

text_id!(
    /// The ARN of an IAM role.
    RoleArn,
    "the ARN of an IAM role (arn:aws:iam::123456789012:role/name)",
    |s| {
        let parts: Vec<&str> = s.splitn(6, ':').collect();
        parts.len() == 6
            && parts[0] == "arn"
            && parts[1].starts_with("aws")
            && parts[2] == "iam"
            && parts[4].parse::<AwsAccountId>().is_ok()
            && parts[5].strip_prefix("role/").is_some_and(|name| !name.is_empty() && name.len() <= 576)
    }
);

impl RoleArn {
    /// The account that the role lives in.
    #[must_use]
    pub fn account(&self) -> Option<AwsAccountId> {
        self.0.split(':').nth(4)?.parse().ok()
    }

    /// The role's name, without its path.
    #[must_use]
    pub fn role_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

text_id!(
    /// The ARN of a standard SNS topic.
    TopicArn,
    "the ARN of an SNS topic (arn:aws:sns:us-east-1:123456789012:name)",
    |s| {
        let parts: Vec<&str> = s.split(':').collect();
        parts.len() == 6
            && parts[0] == "arn"
            && parts[1].starts_with("aws")
            && parts[2] == "sns"
            && parts[3].parse::<Region>().is_ok()
            && parts[4].parse::<AwsAccountId>().is_ok()
            && (1..=256).contains(&parts[5].len())
            && parts[5].bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    }
);

impl TopicArn {
    /// The partition that the topic is in.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.0.split(':').nth(1).unwrap_or_default()
    }

    /// The Region that the topic is in.
    #[must_use]
    pub fn region(&self) -> &str {
        self.0.split(':').nth(3).unwrap_or_default()
    }

    /// The account that owns the topic.
    #[must_use]
    pub fn account(&self) -> Option<AwsAccountId> {
        self.0.split(':').nth(4)?.parse().ok()
    }

    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit(':').next().unwrap_or_default()
    }
}

text_id!(
    /// The name of a stack set. CloudFormation allows 128 characters; 80 leave room for the names it derives.
    StackSetName,
    "a stack set name (a letter, then up to 79 letters, digits and hyphens)",
    |s| (1..=80).contains(&s.len())
        && s.as_bytes()[0].is_ascii_alphabetic()
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
);

text_id!(
    /// The id (ARN) of a CloudFormation stack.
    StackId,
    "the ARN of a CloudFormation stack",
    |s| {
        let parts: Vec<&str> = s.splitn(6, ':').collect();
        parts.len() == 6
            && parts[0] == "arn"
            && parts[2] == "cloudformation"
            && parts[4].parse::<AwsAccountId>().is_ok()
            && parts[5].starts_with("stack/")
    }
);

impl StackId {
    /// The account that the stack lives in.
    #[must_use]
    pub fn account(&self) -> Option<AwsAccountId> {
        self.0.split(':').nth(4)?.parse().ok()
    }

    /// The Region that the stack lives in.
    #[must_use]
    pub fn region(&self) -> &str {
        self.0.split(':').nth(3).unwrap_or_default()
    }

    /// The stack's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split('/').nth(1).unwrap_or_default()
    }

    /// Whether CloudFormation knows the stack by this id. What the runner asks for by itself has an id of our own in its place.
    #[must_use]
    pub fn is_real(&self) -> bool {
        !matches!(self.0.rsplit('/').next(), Some("direct" | "undo"))
    }
}

text_id!(
    /// An AWS Region.
    Region,
    "an AWS Region (such as us-east-1)",
    |s| (5..=32).contains(&s.len())
        && s.contains('-')
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);

impl Region {
    /// The partition that the Region belongs to (`aws`, `aws-cn` or `aws-us-gov`).
    #[must_use]
    pub fn partition(&self) -> &'static str {
        if self.0.starts_with("cn-") {
            "aws-cn"
        } else if self.0.starts_with("us-gov-") {
            "aws-us-gov"
        } else {
            "aws"
        }
    }
}

/// Whether the text is this prefix and 1 to 64 letters or digits behind it.
fn is_prefixed_alphanumeric(s: &str, prefix: &str) -> bool {
    s.strip_prefix(prefix).is_some_and(|rest| {
        (1..=64).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphanumeric())
    })
}

/// Whether the text has between `min` and `max` characters, all of them lower-case letters or digits.
fn is_lower_alphanumeric(s: &str, min: usize, max: usize) -> bool {
    (min..=max).contains(&s.len())
        && s.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_ids_keep_their_leading_zeros() {
        let id: AwsAccountId = "000123456789".parse().unwrap();
        assert_eq!(id.to_string(), "000123456789");
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"000123456789\"");
        for bad in [
            "12345678901",
            "1234567890123",
            "12345678901a",
            "",
            "１２３４５６７８９０１２",
        ] {
            assert!(bad.parse::<AwsAccountId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn parents_are_roots_or_organizational_units() {
        for good in ["r-ab12", "ou-ab12-abcdefgh", "ou-ab12-0123456789ab"] {
            assert!(good.parse::<OuId>().is_ok(), "{good}");
        }
        for bad in [
            "r-a",
            "ou-ab12",
            "ou-ab12-short",
            "OU-ab12-abcdefgh",
            "ou-ab12-ABCDEFGH",
        ] {
            assert!(bad.parse::<OuId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn arns_tell_their_account() {
        let role: RoleArn = "arn:aws:iam::123456789012:role/path/SpotRole"
            .parse()
            .unwrap();
        assert_eq!(role.account(), "123456789012".parse().ok());
        assert_eq!(role.role_name(), "SpotRole");
        let stack: StackId = "arn:aws:cloudformation:eu-west-1:123456789012:stack/s/uuid"
            .parse()
            .unwrap();
        assert_eq!(stack.account(), "123456789012".parse().ok());
        assert_eq!(stack.region(), "eu-west-1");
        assert!(
            "arn:aws:iam::123456789012:user/x"
                .parse::<RoleArn>()
                .is_err()
        );
    }
}
