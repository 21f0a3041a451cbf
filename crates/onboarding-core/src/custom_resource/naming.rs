//! Names of Spot accounts: the first one, given at creation, and the lasting one, given by rule.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::AwsAccountId;

/// The names that a Spot account is created under, in the order in which they are tried: the AWS account id, as Spot's
/// own templates do it, and `aws-<id>`, where Spot refuses a name without a letter (its OpenAPI document demands one).
#[must_use]
pub fn creation_names(account: AwsAccountId) -> [String; 2] {
    [account.to_string(), format!("aws-{account}")]
}

/// The rule for the lasting name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Naming(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    AccountName,
    AccountId,
    Alias,
}

/// What an account is named by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AccountNames<'a> {
    /// Its name in AWS Organizations.
    pub account_name: Option<&'a str>,
    /// Its IAM alias, when it has one that could be read.
    pub alias: Option<&'a str>,
}

/// A naming rule that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "naming rule {rule:?}: {reason}; use account-name, alias, or a text with {{account_name}} or {{account_id}}"
)]
pub struct NamingError {
    /// The rule as it was given.
    pub rule: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Default for Naming {
    /// `account-name`: the name in AWS Organizations.
    fn default() -> Self {
        Self(vec![Part::AccountName])
    }
}

impl Naming {
    /// Whether the account's alias is needed.
    #[must_use]
    pub fn needs_alias(&self) -> bool {
        self.0.contains(&Part::Alias)
    }

    /// The name for an account. Control characters are removed, and a name without a letter gets `aws-` before it, as
    /// Spot demands a letter. Where an alias is needed and not known, the account's name stands for it. None when the
    /// account's name is needed and not known.
    #[must_use]
    pub fn render(&self, account: AwsAccountId, names: AccountNames<'_>) -> Option<String> {
        let given = |name: Option<&'_ str>| {
            name.filter(|name| !name.trim().is_empty())
                .map(str::to_owned)
        };
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                Part::AccountName => name.push_str(&given(names.account_name)?),
                Part::Alias => {
                    name.push_str(&given(names.alias).or_else(|| given(names.account_name))?);
                }
                Part::AccountId => name.push_str(&account.to_string()),
            }
        }
        name.retain(|c| !c.is_control());
        let name = name.trim();
        if name.chars().any(|c| c.is_ascii_alphabetic()) {
            Some(name.to_owned())
        } else {
            Some(format!("aws-{name}"))
        }
    }
}

impl FromStr for Naming {
    type Err = NamingError;

    fn from_str(rule: &str) -> Result<Self, NamingError> {
        let wrong = |reason: &str| NamingError {
            rule: rule.to_owned(),
            reason: reason.to_owned(),
        };
        if rule == "account-name" {
            return Ok(Self::default());
        }
        if rule == "alias" {
            return Ok(Self(vec![Part::Alias]));
        }
        let mut parts = Vec::new();
        let mut rest = rule;
        while let Some((text, after)) = rest.split_once('{') {
            let (placeholder, after) =
                after.split_once('}').ok_or_else(|| wrong("a { has no }"))?;
            if !text.is_empty() {
                parts.push(Part::Text(text.to_owned()));
            }
            parts.push(match placeholder {
                "account_name" => Part::AccountName,
                "account_id" => Part::AccountId,
                _ => return Err(wrong("it has an unknown placeholder")),
            });
            rest = after;
        }
        if parts.is_empty() || parts.iter().all(|part| matches!(part, Part::Text(_))) {
            return Err(wrong("it gives every account the same name"));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }
}

impl TryFrom<String> for Naming {
    type Error = NamingError;

    fn try_from(rule: String) -> Result<Self, NamingError> {
        rule.parse()
    }
}

impl From<Naming> for String {
    fn from(naming: Naming) -> Self {
        if naming == Naming::default() {
            return "account-name".to_owned();
        }
        if naming.needs_alias() {
            return "alias".to_owned();
        }
        let parts = naming.0.into_iter().map(|part| match part {
            Part::Text(text) => text,
            Part::AccountName => "{account_name}".to_owned(),
            Part::AccountId => "{account_id}".to_owned(),
            Part::Alias => "{alias}".to_owned(),
        });
        parts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_gives_each_account_its_name() {
        let account = "012345678901".parse().unwrap();
        for (rule, name, expected) in [
            ("account-name", Some("Payments"), Some("Payments")),
            (
                "{account_name} ({account_id})",
                Some("Payments"),
                Some("Payments (012345678901)"),
            ),
            ("prod-{account_id}", None, Some("prod-012345678901")),
            ("{account_id}", None, Some("aws-012345678901")),
            ("account-name", Some("2024 \n"), Some("aws-2024")),
            ("account-name", None, None),
            ("account-name", Some("  "), None),
        ] {
            let naming: Naming = rule.parse().unwrap();
            let names = AccountNames {
                account_name: name,
                alias: None,
            };
            assert_eq!(naming.render(account, names).as_deref(), expected, "{rule}");
            assert_eq!(String::from(naming), rule);
        }
        let alias: Naming = "alias".parse().unwrap();
        for (account_name, alias_of, expected) in [
            (Some("Payments"), Some("pay-prod"), Some("pay-prod")),
            (Some("Payments"), None, Some("Payments")),
            (None, None, None),
        ] {
            let names = AccountNames {
                account_name,
                alias: alias_of,
            };
            assert_eq!(alias.render(account, names).as_deref(), expected);
        }
        assert_eq!(String::from(alias), "alias");
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_refused() {
        for bad in ["", "same for all", "{account_name", "{alias}", "{}"] {
            assert!(bad.parse::<Naming>().is_err(), "{bad}");
        }
    }
}
