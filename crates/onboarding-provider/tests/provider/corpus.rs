//! A corpus of broken and hostile events, as a function or a queue gets them: each is answered or refused, and nothing is
//! written at Spot.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, http::StatusCode, response::IntoResponse as _, routing::any};
use jiff::{Timestamp, ToSpan as _};
use onboarding_core::{custom_resource::Status, ids::TopicArn, secret::SecretText};
use onboarding_provider::{
    AdoptRule, Contract, Invocation, Responder, ResponderError, lambda, wire,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::stack::{ACCOUNT, Home, OTHER, event, in_time, role};

const BUCKET: &str = "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/x";

fn contract() -> Contract {
    let topic: TopicArn = "arn:aws:sns:us-east-1:999999999999:spot".parse().unwrap();
    Contract {
        topic: Some(topic),
        ..Contract::default()
    }
}

/// A request that would be served.
fn good(kind: &str, properties: Value) -> Value {
    let mut event = event("stack", ACCOUNT, kind, properties);
    event["ResponseURL"] = json!(BUCKET);
    event
}

fn create() -> Value {
    good(
        "SpotAccount",
        json!({"AwsAccountId": ACCOUNT, "Token": "canary"}),
    )
}

fn with(key: &str, value: Value) -> Value {
    let mut event = create();
    event[key] = value;
    event
}

fn read(event: &Value) -> Result<wire::Delivered, String> {
    wire::read(&event.to_string(), Timestamp::now(), &contract()).map_err(|error| error.to_string())
}

#[test]
fn events_without_what_cloudformation_always_sends_are_refused() {
    assert!(read(&create()).is_ok());
    for key in [
        "RequestType",
        "RequestId",
        "StackId",
        "ResponseURL",
        "ResourceType",
        "LogicalResourceId",
        "ServiceToken",
    ] {
        let mut event = create();
        event.as_object_mut().unwrap().shift_remove(key);
        assert!(read(&event).is_err(), "without {key}");
        for value in [json!(null), json!(7), json!([]), json!({}), json!(true)] {
            assert!(read(&with(key, value.clone())).is_err(), "{key} is {value}");
        }
        if key != "ResourceType" {
            assert!(read(&with(key, json!(""))).is_err(), "{key} is empty");
        }
    }
    for (key, value) in [
        ("RequestType", json!("create")),
        ("RequestId", json!("x".repeat(200))),
        ("RequestId", json!("a\u{0}b")),
        ("RequestId", json!("direct: role SpotRole")),
        ("LogicalResourceId", json!("x\n".repeat(10))),
        ("PhysicalResourceId", json!("x".repeat(2000))),
        (
            "StackId",
            json!("arn:aws:cloudformation:us-east-1::stack/s/uuid"),
        ),
        (
            "StackId",
            json!("arn:aws:cloudformation:us-east-1:１１１１１１１１１１１１:stack/s/uuid"),
        ),
        ("StackId", json!(ACCOUNT)),
        (
            "ServiceToken",
            json!("arn:aws:sns:us-east-1:999999999999:other"),
        ),
        ("ResourceProperties", json!([1])),
        ("OldResourceProperties", json!("x")),
    ] {
        let error = read(&with(key, value.clone())).expect_err(&format!("{key} is {value}"));
        assert!(!error.contains("canary"), "{error}");
    }
}

#[test]
fn answers_go_to_cloudformations_bucket_and_nowhere_else() {
    for address in [
        "https://example.com/x",
        "http://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/x",
        "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com.example.com/x",
        "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com@example.com/x",
        "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com:444/x",
        "https://cloudformation-custom-resource-response-euwest1.s3.amazonaws.com/x",
        "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.cоm/x",
        "https://s3.amazonaws.com/another-bucket/x",
        "https://127.0.0.1/x",
        "http://127.0.0.1:9001/2018-06-01/runtime/invocation/x/response",
        "http://localhost/x",
        "http://2130706433/x",
        "http://0x7f000001/x",
        "http://0177.0.0.1/x",
        "https://[::1]/x",
        "http://[::ffff:169.254.169.254]/latest",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "ftp://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/x",
        "//example.com/x",
        "x",
    ] {
        assert!(
            read(&with("ResponseURL", json!(address))).is_err(),
            "{address}"
        );
    }
}

#[test]
fn bodies_are_refused_for_their_length_and_depth() {
    let long = with(
        "ResourceProperties",
        json!({"Token": "x".repeat(wire::LONGEST_BODY)}),
    );
    assert!(read(&long).is_err());
    let nearly = "x".repeat(wire::LONGEST_BODY - 2000);
    let properties = json!({"AwsAccountId": ACCOUNT, "Token": nearly});
    let delivered = read(&with("ResourceProperties", properties)).unwrap();
    assert!(format!("{delivered:?}").len() < 2000);
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert!(wire::read(&deep, Timestamp::now(), &contract()).is_err());
    let text = create().to_string();
    let cut: Vec<usize> = (0..text.len())
        .filter(|at| text.is_char_boundary(*at))
        .collect();
    for at in cut {
        assert!(
            wire::read(&text[..at], Timestamp::now(), &contract()).is_err(),
            "{at}"
        );
    }
}

/// Requests that are read, and fail.
fn refused() -> Vec<(&'static str, Value)> {
    let account = |value: Value| good("SpotAccount", json!({"AwsAccountId": value}));
    let of_theirs = |kind: &str, name: &str| good(kind, json!({name: "act-1"}));
    let mut theirs = of_theirs("SpotLinkedCredentials", "AccountId");
    theirs["ResourceProperties"]["IamRoleArn"] = json!(role(ACCOUNT, "stack"));
    let mut relink = theirs.clone();
    relink["RequestType"] = json!("Update");
    relink["PhysicalResourceId"] = json!("act-1");
    relink["OldResourceProperties"] = json!({"AccountId": "act-1", "IamRoleArn": role(OTHER, "x")});
    let update = |kind: &str, physical_id: &str, old: Value, new: Value| {
        let mut update = good(kind, new);
        update["RequestType"] = json!("Update");
        update["PhysicalResourceId"] = json!(physical_id);
        update["OldResourceProperties"] = old;
        update
    };
    let own = json!({"AwsAccountId": ACCOUNT});
    let of = |id: &str| json!({"SpotAccountId": id});
    let link = |id: &str| json!({"AccountId": id, "IamRoleArn": role(ACCOUNT, "stack")});
    let named = |id: &str| json!({"SpotAccountId": id, "AwsAccountId": ACCOUNT});
    let mut huge = of_theirs("SpotExternalId", "SpotAccountId");
    huge["ResourceProperties"]["Token"] = json!("x".repeat(900_000));
    vec![
        ("no account", good("SpotAccount", json!({}))),
        ("a number", account(json!(111_111_111_111_u64))),
        ("an array", account(json!([ACCOUNT]))),
        ("an object", account(json!({"Ref": "AWS::AccountId"}))),
        ("nothing", account(json!(null))),
        (
            "digits of another script",
            account(json!("１１１１１１１１１１１１")),
        ),
        ("eleven digits", account(json!("11111111111"))),
        (
            "a text with a zero byte",
            account(json!("111111111111\u{0}")),
        ),
        ("an emoji", account(json!("😀"))),
        ("another account", account(json!(OTHER))),
        (
            "their external ID",
            of_theirs("SpotExternalId", "SpotAccountId"),
        ),
        ("a huge request about theirs", huge),
        (
            "their product",
            of_theirs("EnableCostIntelligence", "SpotAccountId"),
        ),
        ("their link", theirs),
        ("their link, as an update", relink),
        (
            "an update of theirs",
            update("SpotAccount", "act-1", own.clone(), own.clone()),
        ),
        (
            "an update of no account",
            update("SpotAccount", "../act-1", own.clone(), own),
        ),
        (
            "an update that leaves their external ID as it is",
            update("SpotExternalId", "ext", of("act-1"), of("act-1")),
        ),
        (
            "an update from their external ID",
            update("SpotExternalId", "ext", of("act-1"), of("act-404")),
        ),
        (
            "an update that leaves their link as it is",
            update(
                "SpotLinkedCredentials",
                "act-404",
                link("act-1"),
                link("act-1"),
            ),
        ),
        (
            "an update of their link",
            update(
                "SpotLinkedCredentials",
                "act-1",
                link("act-404"),
                link("act-404"),
            ),
        ),
        (
            "an update of their name",
            update(
                "RenamedSpotAccountByAlias",
                "act-1",
                named("act-404"),
                named("act-404"),
            ),
        ),
        (
            "an update of their product",
            update(
                "EnableCostIntelligence",
                "act-404",
                of("act-1"),
                of("act-404"),
            ),
        ),
        (
            "an id with a path",
            good("SpotExternalId", json!({"SpotAccountId": "act-1/../act-2"})),
        ),
        ("an unknown type", good("SpotAccount\u{202e}", json!({}))),
    ]
}

#[tokio::test]
async fn hostile_requests_fail_and_write_nothing() {
    let home = Home::with_rule(AdoptRule::Relink).await;
    home.spot.world.lock().add("theirs", Some(OTHER));
    let provider = home.provider();
    for (what, event) in refused() {
        let mut event = event;
        event["RequestId"] = json!(what.replace(' ', "-"));
        let delivered = read(&event).unwrap_or_else(|error| panic!("{what}: {error}"));
        let response = provider
            .handle(&delivered.request, delivered.deadline)
            .await;
        assert_eq!(response.status, Status::Failed, "{what}");
        assert!(!response.reason.is_empty() && !response.physical_resource_id.is_empty());
        assert!(response.body().len() <= 4096, "{what}");
    }
    assert_eq!(home.spot.world.lock().writes(), Vec::<String>::new());
}

#[tokio::test]
async fn deletes_of_what_is_not_theirs_or_never_was_succeed_and_write_nothing() {
    let home = Home::new().await;
    let theirs = home.spot.world.lock().add("theirs", Some(OTHER));
    let provider = home.provider();
    for (n, id) in [
        theirs.as_str(),
        "act-404",
        "SpotAccount-CREATE_FAILED",
        "../x",
        "😀",
    ]
    .into_iter()
    .enumerate()
    {
        for kind in super::stack::KINDS {
            let mut delete = good(
                kind,
                json!({"AwsAccountId": OTHER, "SpotAccountId": theirs}),
            );
            delete["RequestType"] = json!("Delete");
            delete["RequestId"] = json!(format!("{kind}-{n}"));
            delete["PhysicalResourceId"] = json!(id);
            let delivered = read(&delete).unwrap();
            let response = provider
                .handle(&delivered.request, delivered.deadline)
                .await;
            assert_eq!(response.status, Status::Success, "{kind} {id}");
            assert_eq!(response.physical_resource_id, id);
        }
    }
    assert_eq!(home.spot.world.lock().writes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_stale_request_writes_nothing_and_a_replayed_one_nothing_more() {
    let home = Home::new().await;
    let provider = home.provider();
    let signed = Timestamp::now().checked_sub(2.hours()).unwrap();
    let date = signed.strftime("%Y%m%dT%H%M%SZ");
    let stale = with("ResponseURL", json!(format!("{BUCKET}?X-Amz-Date={date}")));
    let delivered = read(&stale).unwrap();
    assert!(delivered.deadline < Timestamp::now());
    let response = provider
        .handle(&delivered.request, delivered.deadline)
        .await;
    assert_eq!(response.status, Status::Failed);
    assert_eq!(home.spot.world.lock().writes(), Vec::<String>::new());

    let mut replayed = create();
    replayed["RequestId"] = json!("replayed");
    let request = read(&replayed).unwrap().request;
    let first = provider.handle(&request, in_time()).await;
    let writes = home.spot.world.lock().writes();
    for _ in 0..3 {
        assert_eq!(provider.handle(&request, in_time()).await, first);
    }
    assert_eq!(home.spot.world.lock().writes(), writes);
}

#[test]
fn events_of_lambda_are_read_or_refused() {
    for event in [
        json!(null),
        json!([]),
        json!("text"),
        json!({"Records": null}),
        json!({"Records": [null]}),
        json!({"Records": [{"eventSource": "aws:sqs", "messageId": 7}]}),
        json!({"Records": [{"eventSource": "aws:sqs", "messageId": "1"}, {"EventSource": "aws:sns"}]}),
        json!({"Records": [{"EventSource": "aws:sns", "Sns": null}]}),
        json!({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": "x"}}, {"EventSource": "aws:sns", "Sns": {"Message": "x"}}]}),
    ] {
        let messages = match lambda::read(&event, Timestamp::now()) {
            Ok(Invocation::Queue { messages, .. }) => messages,
            Ok(Invocation::Topic(message) | Invocation::Function(message)) => vec![message],
            Err(_) => continue,
        };
        for message in messages {
            assert!(
                wire::read(&message.body, message.sent_at, &contract()).is_err(),
                "{event}"
            );
        }
    }
}

#[tokio::test]
async fn a_redirect_of_an_answer_is_not_followed() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let app = Router::new().fallback(any(move |uri: axum::http::Uri| {
        seen.lock().push(uri.path().to_owned());
        async { (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]).into_response() }
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let responder = Responder::when_needed("test");
    let url = SecretText::new(&format!("http://{address}/answer"));
    let sent = responder.put(&url, "{}", in_time()).await;
    assert_eq!(sent, Err(ResponderError::Refused(307)));
    assert_eq!(*asked.lock(), ["/answer"]);
}
