//! The SQS queue that brings custom-resource requests.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_sqs::types::{MessageSystemAttributeName, QueueAttributeName};

use crate::{Aws, AwsError};

/// A message that was received and must be deleted, or it comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMessage {
    /// Its id.
    pub id: String,
    /// Its text.
    pub body: String,
    /// What deletes this delivery of it or changes its visibility.
    pub receipt: String,
    /// How often it was delivered, this time included.
    pub receive_count: u32,
    /// When it was sent, in Unix milliseconds.
    pub sent_at_ms: Option<i64>,
}

/// A queue's attributes by AWS's names (`QueueArn`, `ApproximateNumberOfMessages`, `VisibilityTimeout`, …).
pub type QueueAttributes = BTreeMap<String, String>;

impl Aws {
    /// The URL of a queue of our own account, by its name.
    ///
    /// # Errors
    /// As any call; [`crate::ErrorClass::NotFound`] when there is no such queue.
    pub async fn queue_url(&self, name: &str) -> Result<String, AwsError> {
        const OPERATION: &str = "sqs:GetQueueUrl";
        let output = self
            .governed
            .call(OPERATION, || {
                self.clients
                    .queues()
                    .get_queue_url()
                    .queue_name(name)
                    .send()
            })
            .await?;
        output
            .queue_url
            .ok_or_else(|| AwsError::malformed(OPERATION, "no queue URL"))
    }

    /// Receives up to `max` (1 to 10) messages and waits up to `wait` (0 to 20 s) for the first.
    ///
    /// # Errors
    /// As any call.
    pub async fn receive_messages(
        &self,
        queue_url: &str,
        max: u8,
        wait: Duration,
    ) -> Result<Vec<QueueMessage>, AwsError> {
        const OPERATION: &str = "sqs:ReceiveMessage";
        let wait = i32::try_from(wait.as_secs().min(20)).unwrap_or(20);
        let output = self
            .governed
            .call(OPERATION, || {
                self.clients
                    .queues()
                    .receive_message()
                    .queue_url(queue_url)
                    .max_number_of_messages(i32::from(max.clamp(1, 10)))
                    .wait_time_seconds(wait)
                    .message_system_attribute_names(
                        MessageSystemAttributeName::ApproximateReceiveCount,
                    )
                    .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                    .send()
            })
            .await?;
        output
            .messages
            .unwrap_or_default()
            .into_iter()
            .map(|message| {
                let number = |name: &MessageSystemAttributeName| -> Option<i64> {
                    message.attributes()?.get(name)?.parse().ok()
                };
                let receive_count = number(&MessageSystemAttributeName::ApproximateReceiveCount)
                    .and_then(|count| u32::try_from(count).ok());
                let sent_at_ms = number(&MessageSystemAttributeName::SentTimestamp);
                Ok(QueueMessage {
                    receive_count: receive_count.unwrap_or(1),
                    sent_at_ms,
                    id: message.message_id.unwrap_or_default(),
                    body: message.body.unwrap_or_default(),
                    receipt: message.receipt_handle.ok_or_else(|| {
                        AwsError::malformed(OPERATION, "a message without a receipt handle")
                    })?,
                })
            })
            .collect()
    }

    /// Sends a message. It may be sent twice when the answer to the first call is lost.
    ///
    /// # Errors
    /// As any call.
    pub async fn send_message(&self, queue_url: &str, body: &str) -> Result<(), AwsError> {
        self.governed
            .call("sqs:SendMessage", || {
                self.clients
                    .queues()
                    .send_message()
                    .queue_url(queue_url)
                    .message_body(body)
                    .send()
            })
            .await?;
        Ok(())
    }

    /// Deletes a message that was dealt with. Deleting it again is no error.
    ///
    /// # Errors
    /// As any call.
    pub async fn delete_message(&self, queue_url: &str, receipt: &str) -> Result<(), AwsError> {
        self.governed
            .call("sqs:DeleteMessage", || {
                self.clients
                    .queues()
                    .delete_message()
                    .queue_url(queue_url)
                    .receipt_handle(receipt)
                    .send()
            })
            .await?;
        Ok(())
    }

    /// Hides a message for this long from now (at most 12 h); zero gives it back at once.
    ///
    /// # Errors
    /// As any call.
    pub async fn change_message_visibility(
        &self,
        queue_url: &str,
        receipt: &str,
        hidden_for: Duration,
    ) -> Result<(), AwsError> {
        let seconds = i32::try_from(hidden_for.as_secs().min(43_200)).unwrap_or(43_200);
        self.governed
            .call("sqs:ChangeMessageVisibility", || {
                self.clients
                    .queues()
                    .change_message_visibility()
                    .queue_url(queue_url)
                    .receipt_handle(receipt)
                    .visibility_timeout(seconds)
                    .send()
            })
            .await?;
        Ok(())
    }

    /// All attributes of a queue.
    ///
    /// # Errors
    /// As any call; [`crate::ErrorClass::NotFound`] when there is no such queue.
    pub async fn queue_attributes(&self, queue_url: &str) -> Result<QueueAttributes, AwsError> {
        let output = self
            .governed
            .call("sqs:GetQueueAttributes", || {
                self.clients
                    .queues()
                    .get_queue_attributes()
                    .queue_url(queue_url)
                    .attribute_names(QueueAttributeName::All)
                    .send()
            })
            .await?;
        Ok(output
            .attributes
            .unwrap_or_default()
            .into_iter()
            .map(|(name, value)| (name.as_str().to_owned(), value))
            .collect())
    }
}
