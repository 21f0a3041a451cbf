//! How Spot accounts are named.

use std::{fmt, str::FromStr};

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
    /// A text with placeholders.
    Template(String),
}

/// What a template may hold in braces.
const PLACEHOLDERS: [&str; 3] = ["account-name", "account-id", "alias"];

impl FromStr for RenameRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "account-name" => return Ok(Self::AccountName),
            "alias" => return Ok(Self::Alias),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        let mut rest = text;
        let mut placeholders = 0;
        while let Some((_, after)) = rest.split_once('{') {
            let (name, after) = after
                .split_once('}')
                .ok_or_else(|| format!("{text:?} has an open brace without a closing one"))?;
            if !PLACEHOLDERS.contains(&name) {
                return Err(format!(
                    "{text:?} has the unknown placeholder {{{name}}}; known are {{account-name}}, {{account-id}} and {{alias}}"
                ));
            }
            placeholders += 1;
            rest = after;
        }
        if placeholders == 0 {
            return Err(format!(
                "{text:?} is neither a known rule nor a template: every account would have the same name"
            ));
        }
        Ok(Self::Template(text.to_owned()))
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
        "\"account-name\", \"alias\", \"off\", or a template such as \"{account-name} (AWS)\"";
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
            "{account-name} (CT)",
            "aws-{account-id}",
        ] {
            assert_eq!(good.parse::<RenameRule>().unwrap().to_string(), good);
        }
        for bad in ["acount-name", "{name}", "{account-name", ""] {
            assert!(bad.parse::<RenameRule>().is_err(), "{bad}");
        }
    }
}
