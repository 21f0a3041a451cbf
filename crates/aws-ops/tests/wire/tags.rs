//! Tags of accounts: pages, accounts that left, throttling, and a denial that ends the reading.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use aws_ops::{AwsError, ErrorClass};
use futures_util::TryStreamExt;
use onboarding_core::{ids::AwsAccountId, inventory::Tags};
use serde_json::{Value, json};

use crate::server::{Answer, Call, Server};

fn id(number: u64) -> AwsAccountId {
    AwsAccountId::from_number(number).unwrap()
}

fn tag(key: &str, value: &str) -> Value {
    json!({ "Key": key, "Value": value })
}

async fn read(
    server: &Server,
    accounts: u64,
) -> Result<BTreeMap<AwsAccountId, Option<Tags>>, AwsError> {
    let accounts = (1..=accounts).map(id).collect();
    server.aws.tags_of_accounts(accounts).try_collect().await
}

#[tokio::test]
async fn tags_are_read_to_their_last_page_whatever_its_size() {
    let server = Server::start(|call: &Call| {
        assert_eq!(call.operation, "ListTagsForResource");
        assert_eq!(call.json["ResourceId"], "000000000001");
        Answer::json(match call.json["NextToken"].as_str() {
            None => json!({ "Tags": [tag("stage", "prod")], "NextToken": "t1" }),
            Some("t1") => json!({ "Tags": [], "NextToken": "t2" }),
            Some("t2") => json!({ "Tags": [tag("owner", "")] }),
            Some(other) => panic!("{other}"),
        })
    })
    .await;
    let tags = server.aws.resource_tags("000000000001").await.unwrap();
    let tags: Vec<(String, String)> = tags.unwrap().into_iter().collect();
    let expected = [("owner", ""), ("stage", "prod")];
    assert_eq!(
        tags,
        expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    assert_eq!(server.count("ListTagsForResource"), 3);
}

#[tokio::test]
async fn a_token_that_repeats_is_an_error_and_not_the_end() {
    let server = Server::start(|_| Answer::json(json!({ "Tags": [], "NextToken": "again" }))).await;
    let error = server.aws.resource_tags("000000000001").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unexpected, "{error}");
}

#[tokio::test]
async fn an_account_that_left_has_no_tags_and_ends_nothing() {
    let server = Server::start(|call| match call.json["ResourceId"].as_str() {
        Some("000000000002") => Answer::json_error("TargetNotFoundException", "no such target"),
        _ => Answer::json(json!({ "Tags": [tag("stage", "prod")] })),
    })
    .await;
    let tags = read(&server, 3).await.unwrap();
    assert_eq!(tags[&id(2)], None);
    assert_eq!(tags.values().filter(|tags| tags.is_some()).count(), 2);
}

#[tokio::test]
async fn a_reading_that_is_throttled_goes_on() {
    let first = AtomicBool::new(true);
    let server = Server::start(move |_| {
        if first.swap(false, Ordering::SeqCst) {
            Answer::json_error("TooManyRequestsException", "slow down")
        } else {
            Answer::json(json!({ "Tags": [] }))
        }
    })
    .await;
    assert_eq!(read(&server, 2).await.unwrap().len(), 2);
    assert_eq!(server.count("ListTagsForResource"), 3);
}

#[tokio::test]
async fn the_first_denial_ends_the_reading_of_all_accounts() {
    let server = Server::start(|_| Answer::json_error("AccessDeniedException", "no")).await;
    let error = read(&server, 1_000).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Denied, "{error}");
    assert!(
        error
            .to_string()
            .contains("organizations:ListTagsForResource"),
        "{error}"
    );
    assert!(server.count("ListTagsForResource") <= 20);
}
