//! Names of AWS resources that configuration holds, each parsed as far as we rely on it.

use std::{fmt, str::FromStr};

use onboarding_core::{
    ids::{AwsAccountId, TopicArn},
    template::SpotPrincipal,
};

use super::text::TextForm;

/// The policy that bounds what the role can ever do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PermissionsBoundary {
    /// A policy by its ARN.
    Arn(String),
    /// A policy of this path and name, which every account has.
    InEveryAccount(String),
}

impl PermissionsBoundary {
    /// Its ARN in a template, where `${AWS::AccountId}` stands for the account of the stack.
    #[must_use]
    pub fn template_arn(&self, partition: &str) -> String {
        match self {
            Self::Arn(arn) => arn.clone(),
            Self::InEveryAccount(name) => {
                format!("arn:{partition}:iam::${{AWS::AccountId}}:policy/{name}")
            }
        }
    }

    /// Its ARN in one account.
    #[must_use]
    pub fn arn_in(&self, partition: &str, account: AwsAccountId) -> String {
        self.template_arn(partition)
            .replace("${AWS::AccountId}", &account.to_string())
    }
}

impl FromStr for PermissionsBoundary {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = |name: &str| {
            (1..=640).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&b))
        };
        let named = text
            .strip_prefix("arn:aws")
            .and_then(|rest| rest.split_once(":policy/"));
        if let Some((_, name)) = named.filter(|(before, _)| before.contains(":iam::"))
            && is_name(name)
        {
            return Ok(Self::Arn(text.to_owned()));
        }
        if is_name(text) {
            return Ok(Self::InEveryAccount(text.to_owned()));
        }
        Err(format!("{text:?} is not a policy"))
    }
}

impl fmt::Display for PermissionsBoundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arn(text) | Self::InEveryAccount(text) => f.write_str(text),
        }
    }
}

impl TextForm for PermissionsBoundary {
    const FORMAT: &'static str = "permissions-boundary";
    const EXPECTED: &'static str = "the ARN of a policy (\"arn:aws:iam::aws:policy/PowerUserAccess\"), or the name of one that every account has (\"OrgBoundary\")";
}

/// The AWS principal that Spot assumes the role with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal(pub SpotPrincipal);

impl FromStr for Principal {
    type Err = onboarding_core::template::TemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl TextForm for Principal {
    const FORMAT: &'static str = "aws-principal";
    const EXPECTED: &'static str =
        "the ARN of an account's root, a role or a user (\"arn:aws:iam::922761411349:root\")";
}

impl TextForm for TopicArn {
    const FORMAT: &'static str = "sns-topic-arn";
    const EXPECTED: &'static str =
        "the ARN of an SNS topic (\"arn:aws:sns:us-east-1:123456789012:spot-onboarding\")";
}

/// The name of a Lambda function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionName(String);

impl FunctionName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for FunctionName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("{text:?} is not the name of a Lambda function"))
        }
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TextForm for FunctionName {
    const FORMAT: &'static str = "lambda-function-name";
    const EXPECTED: &'static str =
        "the name of a Lambda function (1 to 64 letters, digits, - and _)";
}

/// Names a resource of Amazon EC2: a prefix, a hyphen, and 8 or 17 hexadecimal digits (Amazon EC2 User Guide, "Resource
/// IDs").
macro_rules! ec2_id {
    ($(#[$meta:meta])* $name:ident, $prefix:literal, $format:literal, $expected:literal) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(Box<str>);

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let digits = text.strip_prefix($prefix).filter(|digits| {
                    matches!(digits.len(), 8 | 17)
                        && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
                });
                digits
                    .map(|_| Self(text.into()))
                    .ok_or_else(|| format!("{text:?} is not {}", $expected))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TextForm for $name {
            const FORMAT: &'static str = $format;
            const EXPECTED: &'static str = $expected;
        }
    };
}

ec2_id!(
    /// A subnet of a VPC.
    SubnetId,
    "subnet-",
    "subnet-id",
    "the id of a subnet (\"subnet-0123456789abcdef0\")"
);

ec2_id!(
    /// A security group of a VPC.
    SecurityGroupId,
    "sg-",
    "security-group-id",
    "the id of a security group (\"sg-0123456789abcdef0\")"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_resources_are_told_from_others() {
        let arn = |text: &str| {
            text.parse::<PermissionsBoundary>()
                .unwrap()
                .template_arn("aws")
        };
        assert_eq!(
            arn("team/OrgBoundary"),
            "arn:aws:iam::${AWS::AccountId}:policy/team/OrgBoundary"
        );
        let named: PermissionsBoundary = "OrgBoundary".parse().unwrap();
        assert_eq!(
            named.arn_in("aws-cn", "123456789012".parse().unwrap()),
            "arn:aws-cn:iam::123456789012:policy/OrgBoundary"
        );
        assert_eq!(
            arn("arn:aws:iam::aws:policy/PowerUserAccess"),
            "arn:aws:iam::aws:policy/PowerUserAccess"
        );
        for good in ["subnet-0123abcd", "subnet-0123456789abcdef0"] {
            assert_eq!(good.parse::<SubnetId>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "subnet-",
            "sg-0123abcd",
            "subnet-0123ABCD",
            "subnet-0123abc",
        ] {
            assert!(bad.parse::<SubnetId>().is_err(), "{bad}");
        }
        for bad in ["", "arn:aws:iam::123456789012:role/OrgBoundary", "a b"] {
            assert!(bad.parse::<PermissionsBoundary>().is_err(), "{bad}");
        }
    }
}
