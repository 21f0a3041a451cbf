//! Finding resources of an aggregator by name or ARN, and the recorders, through its advanced queries: a subset of SQL's SELECT, of
//! 4,096 characters at most, that answers 100 resources at a time (AWS Config API reference, SelectAggregateResourceConfig). A
//! resource that several Regions record is answered for each of them. A row that is not understood says nothing of its account, and
//! takes nothing from the others.

use std::collections::BTreeSet;

use onboarding_core::{
    ids::{AwsAccountId, Region},
    inventory::{Recorder, RecorderState},
};
use serde_json::Value;

use super::{Aggregator, Kind, Listed};
use crate::AwsError;

const SELECT: &str = "config:SelectAggregateResourceConfig";

/// Which recorders there are. That they record is a property that can be queried (AWS Config resource schema,
/// AWS::Config::ConfigurationRecorder).
const RECORDERS: &str = "SELECT accountId, awsRegion, resourceName, configurationItemStatus, configuration.Recording \
                         WHERE resourceType = 'AWS::Config::ConfigurationRecorder' AND awsRegion IN (";

/// What the names of the recorders of services of AWS begin with, and no other's (AWS Config API reference,
/// PutServiceLinkedConfigurationRecorder and PutConfigurationRecorder).
const OF_SERVICE: &str = "AWSConfigurationRecorderFor";

/// Most results on a page, and most characters of an expression.
const RESULTS_A_PAGE: i32 = 100;
const MOST_CHARACTERS: usize = 4_096;

/// Which resources are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// Those whose names begin so.
    Beginning(String),
    /// Those with one of these names.
    One(Vec<String>),
    /// Those with one of these ARNs.
    Arns(Vec<String>),
}

/// What a query has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// The resources.
    pub resources: BTreeSet<Listed>,
    /// Whose resources there are that were not understood; none of an account that nobody can tell.
    pub odd: BTreeSet<Option<AwsAccountId>>,
}

impl Aggregator {
    /// The roles of all accounts with these names.
    ///
    /// # Errors
    /// As any call.
    pub async fn roles(&self, named: &Named) -> Result<Found, AwsError> {
        self.list(Kind::Role, named).await
    }

    /// The managed policies of the accounts' own with these names.
    ///
    /// # Errors
    /// As any call.
    pub async fn policies(&self, named: &Named) -> Result<Found, AwsError> {
        self.list(Kind::Policy, named).await
    }

    /// The recorders of all accounts in these Regions, as far as AWS Config has them.
    ///
    /// # Errors
    /// As any call.
    pub async fn recorders(&self, regions: &BTreeSet<Region>) -> Result<Vec<Recorder>, AwsError> {
        let mut recorders = Vec::new();
        if regions.is_empty() {
            return Ok(recorders);
        }
        let names = regions.iter().map(|region| quoted(region.as_str()));
        let names: Vec<String> = names.collect();
        let expression = format!("{RECORDERS}{})", names.join(", "));
        self.select(&expression, |result| match recorder(result) {
            Some(recorder) => recorders.push(recorder),
            None => tracing::warn!("AWS Config's item of a recorder was not understood"),
        })
        .await?;
        Ok(recorders)
    }

    async fn list(&self, kind: Kind, named: &Named) -> Result<Found, AwsError> {
        let mut found = Found::default();
        for expression in expressions(kind, named) {
            self.select(&expression, |result| match resource(result) {
                Ok(listed) => {
                    found.resources.insert(listed);
                }
                Err(account) => {
                    tracing::warn!(
                        ?account,
                        "AWS Config lists a resource without id, name or ARN"
                    );
                    found.odd.insert(account);
                }
            })
            .await?;
        }
        Ok(found)
    }

    /// Each result of a query, as JSON text.
    async fn select(
        &self,
        expression: &str,
        mut each: impl FnMut(&str) + Send,
    ) -> Result<(), AwsError> {
        self.aws
            .governed
            .pages(
                SELECT,
                |token| {
                    let clients = &self.aws.clients;
                    let select = clients.recordings().select_aggregate_resource_config();
                    select
                        .configuration_aggregator_name(&self.name)
                        .expression(expression)
                        .limit(RESULTS_A_PAGE)
                        .set_next_token(token)
                        .send()
                },
                |output| {
                    output.results().iter().for_each(|result| each(result));
                    Ok(output.next_token)
                },
            )
            .await
    }
}

/// A resource; where that is not understood, whose it is.
fn resource(result: &str) -> Result<Listed, Option<AwsAccountId>> {
    let result: Value = serde_json::from_str(result).map_err(|_| None)?;
    let text = |name: &str| result[name].as_str();
    let account = text("accountId").and_then(|account| account.parse().ok());
    let listed = || {
        Some(Listed {
            account: account?,
            id: text("resourceId")?.into(),
            name: text("resourceName")?.into(),
            arn: text("arn")?.into(),
        })
    };
    listed().ok_or(account)
}

/// A recorder. One that does not say whether it records is as if it was not there.
fn recorder(result: &str) -> Option<Recorder> {
    let result: Value = serde_json::from_str(result).ok()?;
    let is_deleted = result["configurationItemStatus"]
        .as_str()
        .is_some_and(|status| status.starts_with("ResourceDeleted"));
    let records = match &result["configuration"]["Recording"] {
        Value::Bool(records) => Some(*records),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let state = match (is_deleted, records) {
        (true, _) => RecorderState::Deleted,
        (false, Some(true)) => RecorderState::Running,
        (false, Some(false)) => RecorderState::Stopped,
        (false, None) => return None,
    };
    let name = result["resourceName"].as_str();
    Some(Recorder {
        account: result["accountId"].as_str()?.parse().ok()?,
        region: result["awsRegion"].as_str()?.parse().ok()?,
        state,
        is_of_service: name.is_some_and(|name| name.starts_with(OF_SERVICE)),
    })
}

/// The queries for these resources, none of them too long.
fn expressions(kind: Kind, named: &Named) -> Vec<String> {
    let kind = kind.resource_type();
    let select = format!(
        "SELECT accountId, resourceId, resourceName, arn WHERE resourceType = '{}' AND ",
        kind.as_str()
    );
    let (field, values) = match named {
        Named::Beginning(beginning) => {
            let pattern = quoted(&format!("{beginning}%"));
            return vec![format!("{select}resourceName LIKE {pattern}")];
        }
        Named::One(names) => ("resourceName", names),
        Named::Arns(arns) => ("arn", arns),
    };
    let open = format!("{select}{field} IN (");
    let mut expressions: Vec<String> = Vec::new();
    for value in values {
        let value = quoted(value);
        match expressions.last_mut() {
            // A comma, a blank, and the bracket at the end.
            Some(last) if last.len() + value.len() + 3 <= MOST_CHARACTERS => {
                last.push_str(", ");
                last.push_str(&value);
            }
            _ => expressions.push(format!("{open}{value}")),
        }
    }
    for expression in &mut expressions {
        expression.push(')');
    }
    expressions
}

/// A text as SQL writes it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_asked_for_in_as_few_queries_as_fit() {
        let beginning = Named::Beginning("StackSet-spot-".to_owned());
        assert_eq!(
            expressions(Kind::Role, &beginning),
            [
                "SELECT accountId, resourceId, resourceName, arn WHERE resourceType = 'AWS::IAM::Role' AND resourceName LIKE \
                 'StackSet-spot-%'"
            ]
        );
        assert!(expressions(Kind::Role, &Named::One(Vec::new())).is_empty());
        let names: Vec<String> = (0..200).map(|n| format!("{n:0>64}")).collect();
        let asked = expressions(Kind::Policy, &Named::One(names.clone()));
        assert_eq!(asked.len(), 4, "{asked:?}");
        assert!(
            asked
                .iter()
                .all(|one| one.len() <= MOST_CHARACTERS && one.ends_with("')"))
        );
        let all = asked.join("");
        assert!(names.iter().all(|name| all.contains(&quoted(name))));
        let odd = Named::Arns(vec!["it's".to_owned()]);
        assert!(expressions(Kind::Policy, &odd)[0].ends_with("arn IN ('it''s')"));
    }

    #[test]
    fn a_result_that_is_not_understood_says_whose_it_is() {
        let whole = r#"{"accountId":"111122223333","resourceId":"AROA1","resourceName":"r","arn":"arn:aws:iam::111122223333:role/r"}"#;
        assert_eq!(&*resource(whole).unwrap().id, "AROA1");
        let whose = "111122223333".parse().ok();
        assert_eq!(resource(r#"{"accountId":"111122223333"}"#), Err(whose));
        assert_eq!(resource(r#"{"resourceId":"AROA1"}"#), Err(None));
        assert_eq!(resource("none"), Err(None));
    }

    #[test]
    fn a_recorder_says_whether_it_records() {
        let item = |more: &str| {
            let text = format!(r#"{{"accountId":"111122223333","awsRegion":"us-east-1"{more}}}"#);
            recorder(&text).map(|recorder| recorder.state)
        };
        for (more, expected) in [
            (
                r#","configuration":{"Recording":true}"#,
                Some(RecorderState::Running),
            ),
            (
                r#","configuration":{"Recording":"false"}"#,
                Some(RecorderState::Stopped),
            ),
            (
                r#","configurationItemStatus":"OK","configuration":{"Recording":false}"#,
                Some(RecorderState::Stopped),
            ),
            (
                r#","configurationItemStatus":"ResourceDeleted","configuration":{"Recording":true}"#,
                Some(RecorderState::Deleted),
            ),
            (r#","configuration":{}"#, None),
            ("", None),
        ] {
            assert_eq!(item(more), expected, "{more}");
        }
        for (name, is_of_service) in [
            ("default", false),
            ("AWSConfigurationRecorderForSecurityHubCSPM", true),
        ] {
            let text = format!(
                r#"{{"accountId":"111122223333","awsRegion":"us-east-1","resourceName":"{name}","configuration":{{"Recording":true}}}}"#
            );
            assert_eq!(recorder(&text).unwrap().is_of_service, is_of_service);
        }
    }
}
