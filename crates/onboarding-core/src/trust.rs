//! What the trust policy of a role says about one principal: whether it may assume the role, with which external IDs.
//!
//! A policy is written by people and evaluated by AWS; this reads as much of the language as trust policies for vendors
//! use (IAM User Guide, "IAM JSON policy elements reference"). Whatever it does not read makes the answer
//! [`Trusts::Unknown`], never a yes and never a no.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::ids::ExternalId;

/// The key of the external ID in a condition (AWS STS, condition context keys).
const EXTERNAL_ID: &str = "sts:externalid";

/// A trust policy that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustPolicy {
    statements: Vec<Map<String, Value>>,
}

/// A text that is no trust policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the trust policy is not a JSON object with statements")]
pub struct TrustError;

/// Whether a principal may assume the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trusts {
    /// Yes, as far as the trust policy decides.
    Yes,
    /// No.
    No,
    /// It depends on something that is not read here.
    Unknown,
}

impl Trusts {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            _ => Self::Unknown,
        }
    }

    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, Self::No) => Self::No,
            _ => Self::Unknown,
        }
    }

    fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
        }
    }
}

impl From<bool> for Trusts {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

impl TrustPolicy {
    /// Reads a policy document.
    ///
    /// # Errors
    /// The text is no JSON object with a statement or a list of them.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let document: Value = serde_json::from_str(text).map_err(|_| TrustError)?;
        let statements = match document.get("Statement") {
            Some(Value::Array(statements)) => statements.clone(),
            Some(statement @ Value::Object(_)) => vec![statement.clone()],
            _ => return Err(TrustError),
        };
        let statements = statements.into_iter().map(|statement| match statement {
            Value::Object(statement) => Ok(statement),
            _ => Err(TrustError),
        });
        Ok(Self {
            statements: statements.collect::<Result<_, _>>()?,
        })
    }

    /// Whether a principal (the ARN of an account's root, a role or a user) may assume the role with this external ID,
    /// or, with none, without sending any.
    #[must_use]
    pub fn trusts(&self, principal: &str, external_id: Option<&str>) -> Trusts {
        let decided = |effect: &str| {
            self.statements
                .iter()
                .filter(|statement| statement.get("Effect").is_some_and(|found| found == effect))
                .map(|statement| applies(statement, principal, external_id))
                .fold(Trusts::No, Trusts::or)
        };
        // A statement whose effect is not one of the two decides nothing, and AWS would not have taken it.
        decided("Allow").and(decided("Deny").not())
    }

    /// The external IDs, written out in the policy, with which a principal may assume the role for certain.
    #[must_use]
    pub fn external_ids(&self, principal: &str) -> BTreeSet<ExternalId> {
        self.statements
            .iter()
            .filter_map(|statement| statement.get("Condition")?.as_object())
            .flat_map(Map::values)
            .filter_map(Value::as_object)
            .flatten()
            .filter(|(key, _)| key.eq_ignore_ascii_case(EXTERNAL_ID))
            .flat_map(|(_, values)| one_or_many(values))
            .filter_map(|value| value.as_str()?.parse::<ExternalId>().ok())
            .filter(|id| self.trusts(principal, Some(id.as_str())) == Trusts::Yes)
            .collect()
    }
}

/// Whether a statement is about this principal, assuming the role, with this external ID.
fn applies(statement: &Map<String, Value>, principal: &str, external_id: Option<&str>) -> Trusts {
    names_principal(statement, principal)
        .and(names_action(statement))
        .and(conditions_hold(statement, external_id))
}

fn names_principal(statement: &Map<String, Value>, principal: &str) -> Trusts {
    let account = principal.split(':').nth(4).unwrap_or_default();
    // The account's root stands for every principal of the account that its own policies let.
    let named = |entry: &str| {
        entry == "*"
            || entry == principal
            || entry == account
            || (entry.ends_with(":root") && entry.split(':').nth(4) == Some(account))
    };
    match statement.get("Principal") {
        Some(Value::String(entry)) => (entry == "*").into(),
        Some(Value::Object(kinds)) => {
            let entries = kinds.get("AWS").map(one_or_many).unwrap_or_default();
            entries
                .into_iter()
                .filter_map(Value::as_str)
                .any(named)
                .into()
        }
        // NotPrincipal, or a form that IAM does not take.
        _ => Trusts::Unknown,
    }
}

fn names_action(statement: &Map<String, Value>) -> Trusts {
    let Some(actions) = statement.get("Action") else {
        return Trusts::Unknown;
    };
    let named = |pattern: &str| like(&pattern.to_ascii_lowercase(), "sts:assumerole");
    let mut actions = one_or_many(actions).into_iter().filter_map(Value::as_str);
    actions.any(named).into()
}

fn conditions_hold(statement: &Map<String, Value>, external_id: Option<&str>) -> Trusts {
    let operators = match statement.get("Condition") {
        None => return Trusts::Yes,
        Some(Value::Object(operators)) => operators,
        Some(_) => return Trusts::Unknown,
    };
    let conditions = operators.iter().flat_map(|(operator, keys)| {
        let keys = keys.as_object().into_iter().flatten();
        keys.map(move |(key, values)| (operator.as_str(), key.as_str(), values))
    });
    if operators.values().any(|keys| !keys.is_object()) {
        return Trusts::Unknown;
    }
    conditions
        .map(|(operator, key, values)| {
            if key.eq_ignore_ascii_case(EXTERNAL_ID) {
                condition_holds(operator, values, external_id)
            } else {
                Trusts::Unknown
            }
        })
        .fold(Trusts::Yes, Trusts::and)
}

/// Whether one condition on the external ID holds (IAM User Guide, "Condition operators", "Multivalued context keys").
fn condition_holds(operator: &str, values: &Value, external_id: Option<&str>) -> Trusts {
    let (set, operator) = match operator.split_once(':') {
        Some((set, operator)) => (Some(set), operator),
        None => (None, operator),
    };
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let Some(values) = one_or_many(values)
        .into_iter()
        .map(|value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
            _ => None,
        })
        .collect::<Option<Vec<String>>>()
    else {
        return Trusts::Unknown;
    };
    if operator == "Null" && set.is_none() && !if_exists {
        let absent = values
            .iter()
            .any(|value| value.eq_ignore_ascii_case("true"));
        let present = values
            .iter()
            .any(|value| value.eq_ignore_ascii_case("false"));
        return ((absent && external_id.is_none()) || (present && external_id.is_some())).into();
    }
    let (negated, operator) = match operator {
        "StringNotEquals" => (true, "StringEquals"),
        "StringNotEqualsIgnoreCase" => (true, "StringEqualsIgnoreCase"),
        "StringNotLike" => (true, "StringLike"),
        other => (false, other),
    };
    if !matches!(
        operator,
        "StringEquals" | "StringEqualsIgnoreCase" | "StringLike"
    ) || !matches!(set, None | Some("ForAnyValue" | "ForAllValues"))
    {
        return Trusts::Unknown;
    }
    let Some(sent) = external_id else {
        // "No value" matches every value that is not wanted, and all of none.
        return (if_exists
            || (negated && set != Some("ForAnyValue"))
            || set == Some("ForAllValues"))
        .into();
    };
    let matches = |wanted: &String| -> Trusts {
        // A policy variable: what it stands for is not known here.
        if wanted.contains("${") {
            return Trusts::Unknown;
        }
        match operator {
            "StringEquals" => wanted == sent,
            "StringEqualsIgnoreCase" => wanted.eq_ignore_ascii_case(sent),
            _ => like(wanted, sent),
        }
        .into()
    };
    // A request carries one external ID at most, so that "any of them" and "all of them" are the same.
    let any = values.iter().map(matches).fold(Trusts::No, Trusts::or);
    if negated { any.not() } else { any }
}

/// Matches `*` and `?`, as in policies.
fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, matched)) => {
                    star = Some((at, matched + 1));
                    (p, t) = (at + 1, matched + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

fn one_or_many(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        one => vec![one],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SPOT: &str = "arn:aws:iam::922761411349:root";

    fn policy(statements: &Value) -> TrustPolicy {
        let document = json!({"Version": "2012-10-17", "Statement": statements});
        TrustPolicy::parse(&document.to_string()).unwrap()
    }

    fn allow(principal: &Value, condition: &Value) -> Value {
        json!({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition})
    }

    fn spot(condition: &Value) -> TrustPolicy {
        policy(&allow(&json!({"AWS": SPOT}), condition))
    }

    fn ids(policy: &TrustPolicy) -> Vec<String> {
        let ids = policy.external_ids(SPOT);
        ids.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn conditions_on_the_external_id_are_read_as_aws_reads_them() {
        use Trusts::{No, Unknown, Yes};
        for (condition, with_one, with_another, without) in [
            (json!({}), Yes, Yes, Yes),
            (
                json!({"StringEquals": {"sts:ExternalId": "one"}}),
                Yes,
                No,
                No,
            ),
            (
                json!({"StringEquals": {"STS:externalid": ["zero", "one"]}}),
                Yes,
                No,
                No,
            ),
            (
                json!({"StringLike": {"sts:ExternalId": "o?e*"}}),
                Yes,
                No,
                No,
            ),
            (json!({"StringLike": {"sts:ExternalId": "*"}}), Yes, Yes, No),
            (
                json!({"StringEqualsIgnoreCase": {"sts:ExternalId": "ONE"}}),
                Yes,
                No,
                No,
            ),
            (
                json!({"StringEqualsIfExists": {"sts:ExternalId": "one"}}),
                Yes,
                No,
                Yes,
            ),
            (
                json!({"ForAnyValue:StringEquals": {"sts:ExternalId": ["one", "x"]}}),
                Yes,
                No,
                No,
            ),
            (
                json!({"ForAllValues:StringEquals": {"sts:ExternalId": "one"}}),
                Yes,
                No,
                Yes,
            ),
            (
                json!({"StringNotEquals": {"sts:ExternalId": "one"}}),
                No,
                Yes,
                Yes,
            ),
            (json!({"Null": {"sts:ExternalId": "false"}}), Yes, Yes, No),
            (
                json!({"StringEquals": {"sts:ExternalId": ["one", "two"]}, "StringLike": {"sts:ExternalId": "t*"}}),
                No,
                Yes,
                No,
            ),
            (
                json!({"StringEquals": {"sts:ExternalId": "one", "aws:SourceAccount": "1"}}),
                Unknown,
                No,
                No,
            ),
            (
                json!({"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
                Unknown,
                Unknown,
                Unknown,
            ),
            (
                json!({"StringEquals": {"sts:ExternalId": "${aws:PrincipalTag/id}"}}),
                Unknown,
                Unknown,
                No,
            ),
            (
                json!({"StringSounds": {"sts:ExternalId": "one"}}),
                Unknown,
                Unknown,
                Unknown,
            ),
            (
                json!({"StringEquals": {"sts:ExternalId": {"a": 1}}}),
                Unknown,
                Unknown,
                Unknown,
            ),
            (json!({"StringEquals": "one"}), Unknown, Unknown, Unknown),
            (json!("one"), Unknown, Unknown, Unknown),
        ] {
            let policy = spot(&condition);
            let found = [Some("one"), Some("two"), None].map(|id| policy.trusts(SPOT, id));
            assert_eq!(found, [with_one, with_another, without], "{condition}");
        }
    }

    #[test]
    fn only_the_principal_that_is_named_is_trusted() {
        for (principal, trusted) in [
            (json!("*"), true),
            (json!({"AWS": "*"}), true),
            (json!({"AWS": "922761411349"}), true),
            (
                json!({"AWS": ["arn:aws:iam::111111111111:root", SPOT]}),
                true,
            ),
            (json!({"AWS": "arn:aws:iam::111111111111:root"}), false),
            (json!({"AWS": "arn:aws:iam::922761411349:user/one"}), false),
            (json!({"Service": "ec2.amazonaws.com"}), false),
            (json!("922761411349"), false),
        ] {
            let policy = policy(&allow(&principal, &json!({})));
            assert_eq!(policy.trusts(SPOT, None), trusted.into(), "{principal}");
        }
        let role = "arn:aws:iam::922761411349:role/one";
        assert_eq!(spot(&json!({})).trusts(role, None), Trusts::Yes);
        let everybody_else =
            json!({"Effect": "Allow", "NotPrincipal": {"AWS": "1"}, "Action": "sts:AssumeRole"});
        assert_eq!(policy(&everybody_else).trusts(SPOT, None), Trusts::Unknown);
    }

    #[test]
    fn several_statements_add_up_and_a_denial_wins() {
        let one = allow(
            &json!({"AWS": SPOT}),
            &json!({"StringEquals": {"sts:ExternalId": "one"}}),
        );
        let two = allow(
            &json!({"AWS": SPOT}),
            &json!({"StringLike": {"sts:ExternalId": "two"}}),
        );
        let other =
            json!({"Effect": "Allow", "Principal": {"AWS": SPOT}, "Action": ["sts:TagSession"]});
        assert_eq!(ids(&policy(&json!([one, two, other]))), ["one", "two"]);
        let deny = json!({"Effect": "Deny", "Principal": "*", "Action": "sts:*",
            "Condition": {"StringEquals": {"sts:ExternalId": "one"}}});
        assert_eq!(ids(&policy(&json!([one, two, deny]))), ["two"]);
        let perhaps = json!({"Effect": "Deny", "Principal": "*", "Action": "*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}}});
        let unclear = policy(&json!([one, perhaps]));
        assert_eq!(unclear.trusts(SPOT, Some("one")), Trusts::Unknown);
        assert!(ids(&unclear).is_empty());
    }

    #[test]
    fn external_ids_of_others_do_not_count() {
        let theirs = allow(
            &json!({"AWS": "arn:aws:iam::111111111111:root"}),
            &json!({"StringEquals": {"sts:ExternalId": "theirs"}}),
        );
        assert!(ids(&policy(&json!([theirs]))).is_empty());
        let not = spot(&json!({"StringNotEquals": {"sts:ExternalId": "not-this"}}));
        assert!(ids(&not).is_empty());
    }

    #[test]
    fn what_is_no_policy_is_an_error() {
        for text in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"Statement":"x"}"#,
            r#"{"Statement":["x"]}"#,
        ] {
            assert_eq!(TrustPolicy::parse(text), Err(TrustError), "{text}");
        }
    }
}
