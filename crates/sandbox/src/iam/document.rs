//! Policy documents: their form, their size, and what they allow.
//!
//! Used for identity policies, trust policies, topic and queue policies alike.

use serde_json::Value;

use super::limit_exceeded;
use crate::ids::AccountId;
use crate::wire::errors::AwsError;

/// Who asks, when a document names principals.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Principal<'a> {
    /// An AWS principal: its account, and the ARNs it goes by (session and role).
    Aws {
        /// The account.
        account: AccountId,
        /// Its ARNs.
        arns: &'a [&'a str],
    },
    /// A service, such as `sns.amazonaws.com`.
    Service(&'a str),
    /// An identity policy has no principal: it is that of whoever it is attached to.
    Identity,
}

/// One question to a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// Who.
    pub(crate) principal: Principal<'a>,
    /// What, such as `sns:Publish`.
    pub(crate) action: &'a str,
    /// On which ARN; `""` for a trust policy, which has no Resource.
    pub(crate) resource: &'a str,
    /// Condition keys and their values; a key that is not here is absent.
    pub(crate) context: &'a [(&'a str, &'a str)],
}

/// What a document says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// A statement allows it and none denies it.
    Allow,
    /// A statement denies it.
    Deny,
    /// No statement speaks of it.
    Silent,
}

/// Evaluates a document given as JSON text; text that is no document says nothing.
pub(crate) fn evaluate(document: &str, request: &Request<'_>) -> Decision {
    let Ok(document) = serde_json::from_str::<Value>(document) else {
        return Decision::Silent;
    };
    let mut decision = Decision::Silent;
    for statement in one_or_many(&document["Statement"]) {
        if !applies(statement, request) {
            continue;
        }
        if statement["Effect"] == "Deny" {
            return Decision::Deny;
        }
        decision = Decision::Allow;
    }
    decision
}

/// Checks that a text is a policy document: `MalformedPolicyDocument`/400 otherwise.
pub(super) fn check_form(text: &str) -> Result<(), AwsError> {
    let malformed = |message: &str| Err(AwsError::new(400, "MalformedPolicyDocument", message));
    let Ok(Value::Object(document)) = serde_json::from_str::<Value>(text) else {
        return malformed("This policy contains invalid Json");
    };
    let statements: Vec<&Value> = document
        .get("Statement")
        .map(one_or_many)
        .unwrap_or_default();
    if statements.is_empty() {
        return malformed("Syntax errors in policy.");
    }
    for statement in statements {
        let effect = statement["Effect"].as_str();
        let action = statement.get("Action").or(statement.get("NotAction"));
        if !matches!(effect, Some("Allow" | "Deny")) || action.is_none() {
            return malformed("Syntax errors in policy.");
        }
    }
    Ok(())
}

/// The same for a trust policy, which names principals and no resources.
pub(super) fn check_trust(text: &str) -> Result<(), AwsError> {
    check_form(text)?;
    let document: Value = serde_json::from_str(text).unwrap_or_default();
    for statement in one_or_many(&document["Statement"]) {
        if statement.get("Principal").is_none() && statement.get("NotPrincipal").is_none() {
            return Err(AwsError::new(
                400,
                "MalformedPolicyDocument",
                "AssumeRole policy must contain a principal",
            ));
        }
        if statement.get("Resource").is_some() {
            return Err(AwsError::new(
                400,
                "MalformedPolicyDocument",
                "Has prohibited field Resource",
            ));
        }
    }
    check_size(text, 2048, "ACLSizePerRole")
}

/// Checks a quota of characters, white space not counted: `LimitExceeded`/409.
pub(super) fn check_size(text: &str, limit: usize, quota: &str) -> Result<(), AwsError> {
    if size(text) > limit {
        return Err(limit_exceeded(format!(
            "Cannot exceed quota for {quota}: {limit}"
        )));
    }
    Ok(())
}

/// Characters that count.
pub(super) fn size(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

fn applies(statement: &Value, request: &Request<'_>) -> bool {
    principal_applies(statement, request.principal)
        && listed(statement, "Action", |pattern| {
            like(&pattern.to_lowercase(), &request.action.to_lowercase())
        })
        && (request.resource.is_empty()
            || listed(statement, "Resource", |pattern| {
                like(pattern, request.resource)
            }))
        && conditions_hold(&statement["Condition"], request.context)
}

fn listed(statement: &Value, field: &str, matches: impl Fn(&str) -> bool) -> bool {
    let any = |value: &Value| {
        one_or_many(value)
            .iter()
            .filter_map(|v| v.as_str())
            .any(&matches)
    };
    match (statement.get(field), statement.get(format!("Not{field}"))) {
        (Some(value), _) => any(value),
        (None, Some(value)) => !any(value),
        (None, None) => false,
    }
}

fn principal_applies(statement: &Value, principal: Principal<'_>) -> bool {
    let named = |value: &Value| match principal {
        Principal::Identity => true,
        _ if value == "*" => true,
        Principal::Service(name) => one_or_many(&value["Service"])
            .iter()
            .any(|service| **service == *name),
        Principal::Aws { account, arns } => one_or_many(&value["AWS"])
            .iter()
            .filter_map(|v| v.as_str())
            .any(|entry| {
                entry == "*"
                    || entry == account.to_string()
                    || entry == format!("arn:aws:iam::{account}:root")
                    || arns.contains(&entry)
            }),
    };
    match (statement.get("Principal"), statement.get("NotPrincipal")) {
        (Some(value), _) => named(value),
        (None, Some(value)) => !named(value),
        (None, None) => matches!(principal, Principal::Identity),
    }
}

fn conditions_hold(conditions: &Value, context: &[(&str, &str)]) -> bool {
    let Some(operators) = conditions.as_object() else {
        return true;
    };
    operators.iter().all(|(operator, keys)| {
        keys.as_object().is_none_or(|keys| {
            keys.iter().all(|(key, wanted)| {
                let actual = context
                    .iter()
                    .find(|(k, _)| k.eq_ignore_ascii_case(key))
                    .map(|(_, v)| *v);
                condition_holds(operator, actual, &one_or_many(wanted))
            })
        })
    })
}

fn condition_holds(operator: &str, actual: Option<&str>, wanted: &[&Value]) -> bool {
    let operator = operator
        .rsplit_once(':')
        .map_or(operator, |(_, operator)| operator);
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let text = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    if operator == "Null" {
        return wanted
            .iter()
            .any(|value| (text(value) == "true") == actual.is_none());
    }
    let Some(actual) = actual else {
        return if_exists || operator.contains("Not");
    };
    let any = |matches: &dyn Fn(&str) -> bool| wanted.iter().any(|value| matches(&text(value)));
    match operator {
        "StringEquals" => any(&|value| value == actual),
        "StringNotEquals" => !any(&|value| value == actual),
        "StringEqualsIgnoreCase" | "Bool" => any(&|value| value.eq_ignore_ascii_case(actual)),
        "StringLike" | "ArnLike" | "ArnEquals" => any(&|value| like(value, actual)),
        "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => !any(&|value| like(value, actual)),
        // An operator that we do not know must not open a door.
        _ => false,
    }
}

/// Matches `*` and `?`.
pub(crate) fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) && pattern[p] != b'*'
        {
            (p, t) = (p + 1, t + 1);
        } else if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if let Some((at, matched)) = star {
            star = Some((at, matched + 1));
            (p, t) = (at + 1, matched + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

fn one_or_many(value: &Value) -> Vec<&Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().collect(),
        value => vec![value],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOT: AccountId = AccountId(922_761_411_349);
    const TRUST: &str = r#"{"Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",
        "Principal":{"AWS":"arn:aws:iam::922761411349:root"},
        "Condition":{"StringEquals":{"sts:ExternalId":"spotinst:aws:extid:1"}}}]}"#;

    fn assume(document: &str, account: AccountId, external_id: Option<&str>) -> Decision {
        let context: Vec<(&str, &str)> = external_id
            .map(|id| ("sts:ExternalId", id))
            .into_iter()
            .collect();
        evaluate(
            document,
            &Request {
                principal: Principal::Aws { account, arns: &[] },
                action: "sts:AssumeRole",
                resource: "",
                context: &context,
            },
        )
    }

    #[test]
    fn a_trust_policy_asks_for_principal_and_external_id() {
        assert_eq!(
            assume(TRUST, SPOT, Some("spotinst:aws:extid:1")),
            Decision::Allow
        );
        assert_eq!(
            assume(TRUST, SPOT, Some("spotinst:aws:extid:2")),
            Decision::Silent
        );
        assert_eq!(assume(TRUST, SPOT, None), Decision::Silent);
        assert_eq!(
            assume(TRUST, AccountId(1), Some("spotinst:aws:extid:1")),
            Decision::Silent
        );
    }

    #[test]
    fn deny_wins_and_wildcards_match() {
        let document = r#"{"Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"*"},
            {"Effect":"Deny","Action":"IAM:delete*","Resource":"arn:aws:iam::1:role/?"}]}"#;
        let ask = |action, resource| {
            evaluate(
                document,
                &Request {
                    principal: Principal::Identity,
                    action,
                    resource,
                    context: &[],
                },
            )
        };
        assert_eq!(ask("iam:GetRole", "x"), Decision::Allow);
        assert_eq!(
            ask("iam:DeleteRole", "arn:aws:iam::1:role/a"),
            Decision::Deny
        );
        assert_eq!(
            ask("iam:DeleteRole", "arn:aws:iam::1:role/ab"),
            Decision::Allow
        );
        assert_eq!(ask("s3:GetObject", "x"), Decision::Silent);
    }

    #[test]
    fn patterns_match_as_iam_does() {
        assert!(like("a*c?e", "abbbcde"));
        assert!(!like("a*c?e", "abbbce"));
        assert!(like("*", ""));
        assert!(!like("", "x"));
    }
}
