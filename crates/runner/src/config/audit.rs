//! `[audit]`: the role that the runner reads accounts through.

use std::{fmt, str::FromStr};

use onboarding_core::ids::OrganizationId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    arn::PermissionsBoundary,
    text::{Text, TextForm},
};

/// The audit role: what is really in an account can only be read with a role in it. With it, the runner knows the alias of
/// an account, the external ID that a role trusts, whether a late request's stack still waits, whether a stack really is
/// being deleted, and whether the role of a link lets Spot in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// Whether accounts are read.
    pub enabled: bool,
    /// A role that every account has already, by its name: it must let the runner's identity in. Without it, the runner
    /// deploys its own, as the stack set `<stack_set.name_prefix>-audit-role` in the accounts of all profiles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_name: Option<Text<RoleName>>,
    /// The name of the role that the runner deploys.
    pub name: Text<RoleName>,
    /// The path of the role, be it the runner's own or one that is there.
    pub path: Text<RolePath>,
    /// The policy that bounds what the role that the runner deploys can ever do: the ARN of an AWS managed policy, or the
    /// name of a policy that every account has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions_boundary: Option<Text<PermissionsBoundary>>,
    /// Who of the home account may assume the role that the runner deploys: the runner's own role, and whoever else runs it.
    /// Needed for it.
    pub principals: Vec<Text<HomePrincipal>>,
    /// The organization that they must belong to. Needed for the role that the runner deploys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<Text<OrganizationId>>,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            role_name: None,
            name: Text(RoleName("spot-onboarding-audit".to_owned())),
            path: Text(RolePath("/".to_owned())),
            permissions_boundary: None,
            principals: Vec::new(),
            organization_id: None,
        }
    }
}

impl AuditConfig {
    /// The name of the role that accounts are read through; none when they are not.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        let name = self.role_name.as_ref().unwrap_or(&self.name);
        self.enabled.then_some(name.0.0.as_str())
    }

    /// Whether the runner deploys the role.
    #[must_use]
    pub fn is_deployed(&self) -> bool {
        self.enabled && self.role_name.is_none()
    }

    /// The path and name of the role that accounts are read through.
    #[must_use]
    pub fn role_path_and_name(&self) -> Option<String> {
        self.role().map(|role| format!("{}{role}", self.path.0))
    }

    /// Whether the role that the runner deploys lets this role of the home account in, by its path and name.
    #[must_use]
    pub fn lets_in(&self, role: &str) -> bool {
        let principal = format!("role/{role}");
        let mut principals = self.principals.iter();
        principals.any(|pattern| covers(&pattern.0.0, &principal))
    }
}

/// Whether a pattern, in which `*` stands for any characters, covers a text.
fn covers(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    text.strip_prefix(head).is_some_and(|text| {
        let mut tails = text.char_indices().map(|(at, _)| &text[at..]);
        covers(rest, "") || tails.any(|tail| covers(rest, tail))
    })
}

/// A text of letters, digits and some others.
fn is_text(text: &str, max: usize, others: &[u8]) -> bool {
    (1..=max).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || others.contains(&b))
}

macro_rules! audit_text {
    ($(#[$doc:meta])* $name:ident, $format:literal, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(pub String);

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(format!("{text:?} cannot be used"))
                }
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

audit_text!(
    /// The name of a role (IAM API reference, CreateRole).
    RoleName,
    "iam-role-name",
    "the name of a role (\"spot-onboarding-audit\")",
    |text| is_text(text, 64, b"_+=,.@-")
);

audit_text!(
    /// The path of a role (IAM API reference, CreateRole).
    RolePath,
    "iam-path",
    "the path of a role (\"/\" or \"/security/\")",
    |text| text == "/"
        || (text.starts_with('/') && text.ends_with('/') && is_text(text, 512, b"_+=,.@-/"))
);

audit_text!(
    /// A role or user of the home account, with its path; `*` stands for any characters.
    HomePrincipal,
    "home-principal",
    "a role or user of the home account (\"role/spot-onboarding-runner\")",
    |text| ["role/", "user/"].iter().any(|kind| {
        text.strip_prefix(kind)
            .is_some_and(|name| is_text(name, 576, b"_+=,.@-/*"))
    })
);

impl TextForm for OrganizationId {
    const FORMAT: &'static str = "organization-id";
    const EXPECTED: &'static str = "the id of an AWS Organization (\"o-a1b2c3d4e5\")";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_off_unless_it_is_asked_for() {
        let off = AuditConfig::default();
        assert_eq!((off.role(), off.is_deployed()), (None, false));
        let ours = AuditConfig {
            enabled: true,
            ..AuditConfig::default()
        };
        assert_eq!(ours.role(), Some("spot-onboarding-audit"));
        assert!(ours.is_deployed());
        let theirs = AuditConfig {
            role_name: Some(Text("Auditor".parse().unwrap())),
            ..ours
        };
        assert_eq!(
            (theirs.role(), theirs.is_deployed()),
            (Some("Auditor"), false)
        );
    }

    #[test]
    fn who_is_let_in_is_told_by_name_or_pattern() {
        for (pattern, lets_in) in [
            ("role/spot-function", true),
            ("role/*", true),
            ("role/s*-fun*", true),
            ("role/spot-function*", true),
            ("role/spot", false),
            ("role/*-runner", false),
            ("user/*", false),
        ] {
            let config = AuditConfig {
                principals: vec![Text(pattern.parse().unwrap())],
                ..AuditConfig::default()
            };
            assert_eq!(config.lets_in("spot-function"), lets_in, "{pattern}");
        }
        assert!(!AuditConfig::default().lets_in("spot-function"));
    }

    #[test]
    fn principals_are_of_the_home_account() {
        for good in ["role/runner", "role/aws-reserved/*", "user/ops/ann"] {
            assert!(good.parse::<HomePrincipal>().is_ok(), "{good}");
        }
        for bad in ["*", "role/", "arn:aws:iam::111122223333:role/x", "runner"] {
            assert!(bad.parse::<HomePrincipal>().is_err(), "{bad}");
        }
        for bad in ["", "x", "/x", "//\n"] {
            assert!(bad.parse::<RolePath>().is_err(), "{bad}");
        }
    }
}
