//! Secrets are never printed, whatever AWS or something in between answers.

use aws_ops::AwsError;
use onboarding_core::secret::SecretText;

use crate::server::{Answer, Server};

const CANARY: &str = "c4n4ry-t0k3n-d0-n0t-pr1nt";

async fn read(answer: impl Fn() -> Answer + Send + Sync + 'static) -> Result<SecretText, AwsError> {
    let server = Server::start(move |_| answer()).await;
    server.aws.secret_value("spot/token").await
}

#[tokio::test]
async fn a_secret_is_read() {
    let secret = read(|| Answer::json(serde_json::json!({"SecretString": CANARY})))
        .await
        .unwrap();
    assert_eq!(secret.expose(), CANARY);
    assert!(!format!("{secret:?}").contains(CANARY));
}

#[tokio::test]
async fn since_when_a_secret_is_there_is_read_with_it() {
    let answer = serde_json::json!({"SecretString": CANARY, "CreatedDate": 1_700_000_000.25});
    let server = Server::start(move |_| Answer::json(answer.clone())).await;
    let secret = server.aws.stored_secret("spot/token").await.unwrap();
    assert_eq!(secret.since, Some(1_700_000_000));
    assert!(!format!("{secret:?}").contains(CANARY));
    let answer =
        serde_json::json!({"Parameter": {"Value": CANARY, "LastModifiedDate": 1_700_000_001}});
    let server = Server::start(move |_| Answer::json(answer.clone())).await;
    let parameter = server.aws.stored_parameter("/spot/token").await.unwrap();
    assert_eq!(parameter.since, Some(1_700_000_001));
    // What AWS does not say is not made up.
    let server = Server::start(|_| Answer::json(serde_json::json!({"SecretString": CANARY}))).await;
    let unknown = server.aws.stored_secret("spot/token").await.unwrap();
    assert_eq!(unknown.since, None);
}

#[tokio::test]
async fn broken_answers_never_show_what_was_in_them() {
    let truncated = format!("{{\"Name\":\"spot/token\",\"SecretString\":\"{CANARY}");
    let wrong_type = format!("{{\"SecretString\":[\"{CANARY}\"]}}");
    let html = format!("<html>{CANARY}</html>");
    let half_error = format!("{{\"SecretString\":\"{CANARY}\"}}");
    let cases = [
        (200, truncated.clone()),
        (200, wrong_type),
        (500, html),
        (400, half_error),
        (400, truncated),
    ];
    for (status, body) in cases {
        let text = body.clone();
        let error = read(move || Answer::raw(status, text.clone()))
            .await
            .unwrap_err();
        let printed = format!("{error} {error:?} {error:#?}");
        assert!(!printed.contains("c4n4ry"), "{status} {body}: {printed}");
    }
}

#[tokio::test]
async fn a_parameter_is_asked_for_decrypted() {
    let server = Server::start(|_| {
        Answer::json(serde_json::json!({"Parameter": {"Name": "/spot/token", "Value": CANARY}}))
    })
    .await;
    let secret = server.aws.parameter_value("/spot/token").await.unwrap();
    assert_eq!(secret.expose(), CANARY);
    assert_eq!(server.calls.lock().unwrap()[0].json["WithDecryption"], true);
}

#[tokio::test]
async fn queue_messages_are_received_deleted_and_hidden() {
    let server = Server::start(|call| {
        Answer::json(match call.operation.as_str() {
            "ReceiveMessage" => serde_json::json!({"Messages": [{
                "MessageId": "m-1", "ReceiptHandle": "r-1", "Body": "{}", "MD5OfBody": "99914b932bd37a50b983c5e7c90ae93b",
                "Attributes": {"ApproximateReceiveCount": "3", "SentTimestamp": "1700000000000"}}]}),
            _ => serde_json::json!({}),
        })
    })
    .await;
    let queue = "http://sqs.us-east-1.localhost/123456789012/requests";
    let wait = std::time::Duration::from_secs(1);
    let messages = server.aws.receive_messages(queue, 10, wait).await.unwrap();
    assert_eq!(
        (messages[0].receive_count, messages[0].sent_at_ms),
        (3, Some(1_700_000_000_000))
    );
    server
        .aws
        .delete_message(queue, &messages[0].receipt)
        .await
        .unwrap();
    server
        .aws
        .change_message_visibility(queue, "r-1", wait)
        .await
        .unwrap();
    let calls = server.calls.lock().unwrap().clone();
    assert_eq!(calls[1].json["ReceiptHandle"], "r-1");
    assert_eq!(calls[2].json["VisibilityTimeout"], 1);
}
