//! SQS.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::moto::Moto;
use serde_json::json;

use super::{assert_sent, with_moto};

/// Makes a queue with one message and returns its URL.
async fn queue(moto: &Moto) -> Result<String> {
    let queue =
        json!({ "QueueName": "spot-onboarding", "Attributes": { "VisibilityTimeout": "600" } });
    let queue = moto
        .wire()
        .json("sqs", "AmazonSQS.CreateQueue", &queue)
        .await?;
    let url = queue["QueueUrl"]
        .as_str()
        .context("no queue URL")?
        .to_owned();
    let message = json!({ "QueueUrl": url, "MessageBody": "{\"RequestType\": \"Create\"} <&>" });
    moto.wire()
        .json("sqs", "AmazonSQS.SendMessage", &message)
        .await?;
    Ok(url)
}

#[test]
fn a_message_is_received_hidden_given_back_and_deleted() {
    with_moto(async |moto, aws| {
        let url = queue(&moto).await?;
        let messages = aws.receive_messages(&url, 10, Duration::ZERO).await?;
        let [message] = messages.as_slice() else {
            panic!("{messages:?}")
        };
        assert_eq!(message.body, "{\"RequestType\": \"Create\"} <&>");
        assert_eq!(message.receive_count, 1);
        assert!(message.sent_at_ms.is_some());
        assert_eq!(aws.receive_messages(&url, 10, Duration::ZERO).await?, []);

        aws.change_message_visibility(&url, &message.receipt, Duration::ZERO)
            .await?;
        let messages = aws.receive_messages(&url, 10, Duration::ZERO).await?;
        let [message] = messages.as_slice() else {
            panic!("{messages:?}")
        };
        assert_eq!(message.receive_count, 2);

        aws.delete_message(&url, &message.receipt).await?;
        let extended = aws
            .change_message_visibility(&url, &message.receipt, Duration::from_secs(60))
            .await;
        assert!(extended.unwrap_err().is_message_gone());
        let attributes = aws.queue_attributes(&url).await?;
        assert_eq!(attributes["ApproximateNumberOfMessagesNotVisible"], "0");
        assert_eq!(attributes["ApproximateNumberOfMessages"], "0");
        assert_eq!(attributes["VisibilityTimeout"], "600");

        aws.send_message(&url, "ours <&>").await?;
        let messages = aws.receive_messages(&url, 10, Duration::ZERO).await?;
        assert_eq!(messages[0].body, "ours <&>");
        assert_sent(
            &aws,
            &[
                "sqs:ChangeMessageVisibility",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage",
                "sqs:SendMessage",
            ],
        );
        Ok(())
    });
}

#[test]
fn a_queue_that_does_not_exist_is_not_found() {
    with_moto(async |moto, aws| {
        let url = format!("{}/123456789012/none", moto.endpoint());
        let error = aws.queue_attributes(&url).await.unwrap_err();
        assert_eq!(error.class(), aws_ops::ErrorClass::NotFound, "{error}");
        Ok(())
    });
}

#[test]
fn a_queue_is_found_by_its_name() {
    with_moto(async |moto, aws| {
        let url = queue(&moto).await?;
        assert_eq!(aws.queue_url("spot-onboarding").await?, url);
        let error = aws.queue_url("none").await.unwrap_err();
        assert_eq!(error.class(), aws_ops::ErrorClass::NotFound, "{error}");
        assert_sent(&aws, &["sqs:GetQueueUrl"]);
        Ok(())
    });
}
