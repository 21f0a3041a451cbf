//! SNS topics: publishing to one.

use std::collections::BTreeMap;

use aws_sdk_sns::types::MessageAttributeValue;
use onboarding_core::ids::TopicArn;

use crate::{Aws, AwsError, ErrorClass};

const PUBLISH: &str = "sns:Publish";

impl Aws {
    /// Publishes a message in the topic's own Region. `subject` has at most 100 printable ASCII characters (SNS API reference, Publish);
    /// `attributes` are texts that subscriptions can filter by. It may be published twice when the answer to the first call is lost.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::NotFound`] when there is no such topic.
    pub async fn publish(
        &self,
        topic: &TopicArn,
        subject: &str,
        message: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<(), AwsError> {
        let region = topic.region().parse();
        let region = region.map_err(|_| {
            AwsError::new(
                PUBLISH,
                ErrorClass::Invalid,
                "the topic's ARN has no Region; name it as SNS shows it",
            )
        })?;
        let attributes = attributes.iter().map(|(name, value)| {
            let value = MessageAttributeValue::builder()
                .data_type("String")
                .string_value(value)
                .build();
            Ok((name.clone(), value.map_err(|_| unusable(name))?))
        });
        let attributes: std::collections::HashMap<_, _> =
            attributes.collect::<Result<_, AwsError>>()?;
        let there = self.in_region(&region);
        there
            .governed
            .call(PUBLISH, || {
                there
                    .clients
                    .topics()
                    .publish()
                    .topic_arn(topic.as_str())
                    .subject(subject)
                    .message(message)
                    .set_message_attributes(Some(attributes.clone()))
                    .send()
            })
            .await?;
        Ok(())
    }
}

fn unusable(name: &str) -> AwsError {
    AwsError::new(
        PUBLISH,
        ErrorClass::Invalid,
        format!("the attribute {name} of the message cannot be sent"),
    )
}
