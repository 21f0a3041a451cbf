//! Finding resources of an aggregator by name or ARN, through its advanced queries: a subset of SQL's SELECT, of 4,096 characters at
//! most, that answers 100 resources at a time (AWS Config API reference, SelectAggregateResourceConfig). A resource that several
//! Regions record is answered for each of them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Aggregator, Kind, Listed};
use crate::AwsError;

const SELECT: &str = "config:SelectAggregateResourceConfig";

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

impl Aggregator {
    /// The roles of all accounts with these names.
    ///
    /// # Errors
    /// As any call.
    pub async fn roles(&self, named: &Named) -> Result<BTreeSet<Listed>, AwsError> {
        self.list(Kind::Role, named).await
    }

    /// The managed policies of the accounts' own with these names.
    ///
    /// # Errors
    /// As any call.
    pub async fn policies(&self, named: &Named) -> Result<BTreeSet<Listed>, AwsError> {
        self.list(Kind::Policy, named).await
    }

    async fn list(&self, kind: Kind, named: &Named) -> Result<BTreeSet<Listed>, AwsError> {
        let mut listed = BTreeSet::new();
        for expression in expressions(kind, named) {
            self.aws
                .governed
                .pages(
                    SELECT,
                    |token| {
                        let clients = &self.aws.clients;
                        let select = clients.recordings().select_aggregate_resource_config();
                        select
                            .configuration_aggregator_name(&self.name)
                            .expression(&expression)
                            .limit(RESULTS_A_PAGE)
                            .set_next_token(token)
                            .send()
                    },
                    |output| {
                        for result in output.results() {
                            listed.insert(resource(result).ok_or_else(|| {
                                AwsError::malformed(
                                    SELECT,
                                    "a resource without account, id, name or ARN",
                                )
                            })?);
                        }
                        Ok(output.next_token)
                    },
                )
                .await?;
        }
        Ok(listed)
    }
}

fn resource(result: &str) -> Option<Listed> {
    let result: Value = serde_json::from_str(result).ok()?;
    let text = |name: &str| result[name].as_str();
    Some(Listed {
        account: text("accountId")?.parse().ok()?,
        id: text("resourceId")?.into(),
        name: text("resourceName")?.into(),
        arn: text("arn")?.into(),
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
    fn a_result_without_what_identifies_it_is_none() {
        let whole = r#"{"accountId":"111122223333","resourceId":"AROA1","resourceName":"r","arn":"arn:aws:iam::111122223333:role/r"}"#;
        assert_eq!(&*resource(whole).unwrap().id, "AROA1");
        assert_eq!(resource(r#"{"accountId":"111122223333"}"#), None);
    }
}
