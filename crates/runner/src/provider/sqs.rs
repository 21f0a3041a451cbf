//! The provider's queue on Amazon SQS.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_ops::{Aws, AwsError};
use jiff::Timestamp;
use onboarding_provider::{Message, Queue, QueueError};

use super::Served;

/// One SQS queue.
pub(super) struct SqsQueue {
    aws: Aws,
    url: String,
    /// Told whether messages can be received.
    served: Option<Arc<Served>>,
}

impl SqsQueue {
    pub(super) fn new(aws: Aws, url: String) -> Self {
        Self {
            aws,
            url,
            served: None,
        }
    }

    pub(super) fn saying_so(mut self, served: Arc<Served>) -> Self {
        self.served = Some(served);
        self
    }
}

fn failed(action: &'static str) -> impl FnOnce(AwsError) -> QueueError {
    move |error| QueueError {
        action,
        gone: error.is_message_gone(),
        reason: error.to_string(),
    }
}

#[async_trait]
impl Queue for SqsQueue {
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Message>, QueueError> {
        let max = u8::try_from(max.clamp(1, 10)).unwrap_or(10);
        let messages = self.aws.receive_messages(&self.url, max, wait).await;
        if let Some(served) = &self.served {
            served.set(messages.is_ok());
        }
        Ok(messages
            .map_err(failed("receive"))?
            .into_iter()
            .map(|message| Message {
                id: message.id,
                sent_at: message
                    .sent_at_ms
                    .and_then(|millis| Timestamp::from_millisecond(millis).ok())
                    .unwrap_or_else(Timestamp::now),
                body: message.body,
                receipt: message.receipt,
                receive_count: message.receive_count,
            })
            .collect())
    }

    async fn delete(&self, receipt: &str) -> Result<(), QueueError> {
        self.aws
            .delete_message(&self.url, receipt)
            .await
            .map_err(failed("delete"))
    }

    async fn extend(&self, receipt: &str, invisible: Duration) -> Result<(), QueueError> {
        self.aws
            .change_message_visibility(&self.url, receipt, invisible)
            .await
            .map_err(failed("extend"))
    }

    async fn replace(&self, receipt: &str, body: &str) -> Result<(), QueueError> {
        let sent = self.aws.send_message(&self.url, body).await;
        sent.map_err(failed("replace"))?;
        let deleted = self.aws.delete_message(&self.url, receipt).await;
        deleted.map_err(failed("replace"))
    }
}
