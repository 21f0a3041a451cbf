//! Advanced queries, as far as roles, managed policies and recorders are found with them: `SELECT fields WHERE field = '…' AND field LIKE
//! '…%' AND field IN ('…', …)`, over the fields that say what a resource is, and whether a recorder records. A resource is answered
//! once for each Region that records it.

use std::sync::LazyLock;

use regex_lite::Regex;
use serde_json::{Map, Value, json};

use super::pages::Page;
use super::{required, with_token};
use crate::wire::errors::AwsError;
use crate::world::World;

/// The fields that can be asked for.
const FIELDS: [&str; 9] = [
    "accountId",
    "arn",
    "awsRegion",
    RECORDING,
    "configurationItemCaptureTime",
    "configurationItemStatus",
    "resourceId",
    "resourceName",
    "resourceType",
];

/// Whether a recorder records.
const RECORDING: &str = "configuration.Recording";

/// A word, a text in quotes (a quote in it is written twice), or one of the signs.
static TOKEN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"'(?:[^']|'')*'|[A-Za-z][A-Za-z0-9.]*|[=,()]").ok());

/// What a row must have.
enum Condition {
    One(String, Vec<String>),
    Like(String, String),
}

struct Query {
    fields: Vec<String>,
    conditions: Vec<Condition>,
}

/// Answers SelectAggregateResourceConfig.
pub(super) fn select(world: &World, input: &Value) -> Result<Value, AwsError> {
    let expression = required(input, "Expression")?;
    let query = (expression.len() <= 4_096)
        .then(|| Query::parse(expression))
        .flatten()
        .ok_or_else(|| {
            AwsError::new(
                400,
                "InvalidExpressionException",
                "The syntax of the query is incorrect",
            )
        })?;
    let page = Page::of(input, (25, 100))?;
    let mut results = Vec::new();
    for row in rows(world).filter(|row| query.has(row)) {
        let mut chosen = Map::new();
        for field in &query.fields {
            match field.split_once('.') {
                Some((parent, child)) => {
                    let value = json!({ child: row[field] });
                    chosen.insert(parent.to_owned(), value);
                }
                None => {
                    chosen.insert(field.clone(), row[field].clone());
                }
            }
        }
        results.push(Value::Object(chosen).to_string());
    }
    let (results, next) = page.cut(results);
    let fields = query.fields.iter().map(|name| json!({ "Name": name }));
    let answer = json!({
        "Results": results,
        "QueryInfo": { "SelectFields": fields.collect::<Vec<_>>() },
    });
    Ok(with_token(answer, next))
}

/// Everything that was captured.
fn rows(world: &World) -> impl Iterator<Item = Value> {
    let accounts = world.recordings.accounts().into_iter();
    let accounts = accounts.filter(|id| world.organization.account(*id).is_some());
    let of_iam = accounts.flat_map(|account| {
        let recording = world.recordings.of(account);
        let roles = recording.into_iter().flat_map(|one| &one.roles).map(|one| {
            let role = &one.item;
            (
                "AWS::IAM::Role",
                &role.id,
                &role.name,
                role.arn(account),
                one.at,
            )
        });
        let policies = recording
            .into_iter()
            .flat_map(|one| &one.policies)
            .map(|one| {
                let policy = &one.item;
                (
                    "AWS::IAM::Policy",
                    &policy.id,
                    &policy.name,
                    policy.arn(account),
                    one.at,
                )
            });
        let all: Vec<Value> = roles
            .chain(policies)
            .flat_map(|(kind, id, name, arn, at)| {
                let item = json!({
                    "accountId": account.to_string(),
                    "arn": arn,
                    "awsRegion": "global",
                    "configurationItemCaptureTime": at.to_string(),
                    "configurationItemStatus": "OK",
                    "resourceId": id,
                    "resourceName": name,
                    "resourceType": kind,
                });
                std::iter::repeat_n(item, world.scenario.config.iam_regions.len())
            })
            .collect();
        all
    });
    of_iam.chain(recorders(world))
}

/// The recorders, which record themselves whether they record anything else or not.
fn recorders(world: &World) -> impl Iterator<Item = Value> {
    let accounts = world.organization.accounts();
    let accounts = accounts.filter_map(|account| {
        let records = world.recordings.is_recording(account.id)?;
        Some((account.id.to_string(), records))
    });
    accounts.flat_map(|(account, records)| {
        let regions = world.scenario.config.regions.iter();
        regions.map(move |region| {
            json!({
                "accountId": account,
                "arn": format!("arn:aws:config:{region}:{account}:configuration-recorder/default/sandbox"),
                "awsRegion": region,
                RECORDING: records,
                "configurationItemStatus": "OK",
                "resourceId": "default",
                "resourceName": "default",
                "resourceType": "AWS::Config::ConfigurationRecorder",
            })
        })
    })
}

impl Query {
    fn parse(expression: &str) -> Option<Self> {
        let regex = TOKEN.as_ref()?;
        let mut tokens = regex
            .find_iter(expression)
            .map(|token| token.as_str())
            .peekable();
        let is = |token: Option<&str>, word: &str| {
            token.is_some_and(|token| token.eq_ignore_ascii_case(word))
        };
        let known = |field: &str| FIELDS.contains(&field).then(|| field.to_owned());
        if !is(tokens.next(), "SELECT") {
            return None;
        }
        let mut fields = vec![known(tokens.next()?)?];
        while tokens.next_if_eq(&",").is_some() {
            fields.push(known(tokens.next()?)?);
        }
        if !is(tokens.next(), "WHERE") {
            return None;
        }
        let mut conditions = Vec::new();
        loop {
            let field = known(tokens.next()?)?;
            let operator = tokens.next()?;
            conditions.push(if operator == "=" {
                Condition::One(field, vec![text(tokens.next()?)?])
            } else if operator.eq_ignore_ascii_case("LIKE") {
                let pattern = text(tokens.next()?)?;
                Condition::Like(field, pattern.strip_suffix('%')?.to_owned())
            } else if operator.eq_ignore_ascii_case("IN") {
                tokens.next_if_eq(&"(")?;
                let mut values = vec![text(tokens.next()?)?];
                while tokens.next_if_eq(&",").is_some() {
                    values.push(text(tokens.next()?)?);
                }
                tokens.next_if_eq(&")")?;
                Condition::One(field, values)
            } else {
                return None;
            });
            match tokens.next() {
                None => return Some(Self { fields, conditions }),
                token if is(token, "AND") => {}
                Some(_) => return None,
            }
        }
    }

    fn has(&self, row: &Value) -> bool {
        self.conditions.iter().all(|condition| match condition {
            Condition::One(field, values) => values.iter().any(|value| row[field] == **value),
            Condition::Like(field, beginning) => {
                let text = row[field].as_str();
                text.is_some_and(|text| text.starts_with(beginning))
            }
        })
    }
}

/// What is in quotes.
fn text(token: &str) -> Option<String> {
    let inner = token.strip_prefix('\'')?.strip_suffix('\'')?;
    Some(inner.replace("''", "'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_is_understood_and_what_is_not_is_refused() {
        let row = json!({"resourceType": "AWS::IAM::Role", "resourceName": "StackSet-it's", "accountId": "1"});
        for (expression, expected) in [
            (
                "SELECT accountId WHERE resourceType = 'AWS::IAM::Role'",
                Some(true),
            ),
            (
                "select accountId, arn where resourceType = 'AWS::IAM::Role' and resourceName like 'StackSet-%'",
                Some(true),
            ),
            (
                "SELECT arn WHERE resourceName IN ('a', 'StackSet-it''s')",
                Some(true),
            ),
            ("SELECT arn WHERE resourceName IN ('a')", Some(false)),
            (
                "SELECT arn WHERE resourceName LIKE 'stackset-%'",
                Some(false),
            ),
            ("SELECT * WHERE resourceType = 'AWS::IAM::Role'", None),
            ("SELECT secret WHERE resourceType = 'AWS::IAM::Role'", None),
            ("SELECT arn WHERE resourceName LIKE '%role'", None),
            (
                "SELECT arn WHERE resourceName = 'a' OR resourceName = 'b'",
                None,
            ),
            ("SELECT arn", None),
        ] {
            let query = Query::parse(expression);
            assert_eq!(query.map(|query| query.has(&row)), expected, "{expression}");
        }
    }
}
