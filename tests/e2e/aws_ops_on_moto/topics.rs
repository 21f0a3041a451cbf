//! SNS.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use e2e::moto::Moto;
use onboarding_core::ids::TopicArn;
use serde_json::{Value, json};

use super::{ACCOUNT, assert_sent, with_moto};

const TOPIC: &str = "arn:aws:sns:us-east-1:123456789012:alerts";

/// Makes a topic and a queue that gets what is published, and returns the queue's URL.
async fn subscribed(moto: &Moto) -> Result<String> {
    let wire = moto.wire();
    wire.query("sns", "CreateTopic", &[("Name", "alerts")])
        .await?;
    let queue = json!({ "QueueName": "told" });
    let queue = wire.json("sqs", "AmazonSQS.CreateQueue", &queue).await?;
    let endpoint = format!("arn:aws:sqs:us-east-1:{ACCOUNT}:told");
    let subscription = [
        ("TopicArn", TOPIC),
        ("Protocol", "sqs"),
        ("Endpoint", &*endpoint),
    ];
    wire.query("sns", "Subscribe", &subscription).await?;
    Ok(queue["QueueUrl"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_message_is_published_with_its_attributes() {
    with_moto(async |moto, aws| {
        let queue = subscribed(&moto).await?;
        let topic: TopicArn = TOPIC.parse()?;
        let attributes = BTreeMap::from([("event".to_owned(), "run-failed".to_owned())]);
        aws.publish(&topic, "about <&>", "it broke <&> é", &attributes)
            .await?;
        assert_sent(&aws, &["sns:Publish"]);
        let messages = aws.receive_messages(&queue, 10, Duration::ZERO).await?;
        let [message] = messages.as_slice() else {
            panic!("{messages:?}")
        };
        let told: Value = serde_json::from_str(&message.body)?;
        assert_eq!(told["Subject"], "about <&>");
        assert_eq!(told["Message"], "it broke <&> é");
        assert_eq!(told["MessageAttributes"]["event"]["Value"], "run-failed");

        let gone: TopicArn = format!("{TOPIC}-gone").parse()?;
        let error = aws.publish(&gone, "s", "m", &attributes).await.unwrap_err();
        assert_eq!(error.class(), aws_ops::ErrorClass::NotFound, "{error}");
        Ok(())
    });
}
