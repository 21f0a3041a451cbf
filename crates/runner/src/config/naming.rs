//! How Spot accounts are named.

use std::{fmt, str::FromStr};

use onboarding_core::custom_resource::{Naming, NamingError};

use super::text::TextForm;

/// What a Spot account is called once it is linked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RenameRule {
    /// Like the AWS account in Organizations.
    #[default]
    AccountName,
    /// By the AWS account's alias, as Spot's own template does.
    Alias,
    /// Not renamed: it keeps the AWS account id.
    Off,
    /// A text with placeholders that the core's [`Naming`] knows.
    Template(String),
}

impl FromStr for RenameRule {
    type Err = NamingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "account-name" => Ok(Self::AccountName),
            "alias" => Ok(Self::Alias),
            "off" => Ok(Self::Off),
            template => template
                .parse::<Naming>()
                .map(|_| Self::Template(template.to_owned())),
        }
    }
}

impl fmt::Display for RenameRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AccountName => "account-name",
            Self::Alias => "alias",
            Self::Off => "off",
            Self::Template(text) => text,
        })
    }
}

impl TextForm for RenameRule {
    const FORMAT: &'static str = "rename-rule";
    const EXPECTED: &'static str =
        "\"account-name\", \"alias\", \"off\", or a template such as \"{account_name} (AWS)\"";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_rule_names_each_account_differently() {
        for good in [
            "account-name",
            "alias",
            "off",
            "{account_name} (CT)",
            "aws-{account_id}",
        ] {
            assert_eq!(good.parse::<RenameRule>().unwrap().to_string(), good);
        }
        for bad in ["acount-name", "{name}", "{account_name", ""] {
            assert!(bad.parse::<RenameRule>().is_err(), "{bad}");
        }
    }
}
