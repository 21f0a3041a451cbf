//! The messages of one invocation as a queue of their own, which ends with them.
//!
//! Lambda receives, hides and deletes the messages of a real queue itself: a message that is not deleted here is one that
//! the function reports as failed. Only what takes a message's place is sent to the real queue.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use onboarding_provider::{Message, Queue, QueueError};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::aws::LazyAws;

/// The queue that Lambda received the messages from.
pub(crate) struct Source {
    aws: Arc<LazyAws>,
    url: String,
}

impl Source {
    /// None when the ARN is not a queue's.
    pub(crate) fn new(aws: Arc<LazyAws>, arn: &str) -> Option<Self> {
        let url = url(arn)?;
        Some(Self { aws, url })
    }
}

/// The URL of a queue (SQS developer guide, "Queue and message identifiers"): https://sqs.<Region>.<domain>/<account>/<name>.
fn url(arn: &str) -> Option<String> {
    let parts: Vec<&str> = arn.split(':').collect();
    let [_, partition, "sqs", region, account, name] = parts.as_slice() else {
        return None;
    };
    let domain = match *partition {
        "aws-cn" => "amazonaws.com.cn",
        _ => "amazonaws.com",
    };
    Some(format!("https://sqs.{region}.{domain}/{account}/{name}"))
}

/// See the module documentation.
pub(crate) struct Batch {
    waiting: Mutex<VecDeque<Message>>,
    /// Receipts of messages that were not answered (yet).
    unanswered: Mutex<BTreeSet<String>>,
    /// After this moment nothing more is taken up.
    until: Instant,
    /// Cancelled with the last message that is handed out: there will be no more.
    drain: CancellationToken,
    /// None when they are not a queue's.
    source: Option<Source>,
}

impl Batch {
    pub(crate) fn new(messages: Vec<Message>, until: Instant, source: Option<Source>) -> Self {
        let unanswered = messages.iter().map(|message| message.receipt.clone());
        Self {
            unanswered: Mutex::new(unanswered.collect()),
            waiting: Mutex::new(messages.into()),
            until,
            drain: CancellationToken::new(),
            source,
        }
    }

    /// Says when nothing more will come.
    pub(crate) fn drain(&self) -> &CancellationToken {
        &self.drain
    }

    /// The receipts of the messages that are left.
    pub(crate) fn unanswered(self) -> BTreeSet<String> {
        self.unanswered.into_inner()
    }
}

#[async_trait]
impl Queue for Batch {
    async fn receive(&self, max: usize, _: Duration) -> Result<Vec<Message>, QueueError> {
        let mut waiting = self.waiting.lock();
        if Instant::now() >= self.until {
            waiting.clear();
        }
        let taken = max.min(waiting.len());
        let messages: Vec<Message> = waiting.drain(..taken).collect();
        if waiting.is_empty() {
            self.drain.cancel();
        }
        Ok(messages)
    }

    async fn delete(&self, receipt: &str) -> Result<(), QueueError> {
        self.unanswered.lock().remove(receipt);
        Ok(())
    }

    async fn extend(&self, _: &str, _: Duration) -> Result<(), QueueError> {
        Ok(())
    }

    async fn replace(&self, receipt: &str, body: &str) -> Result<(), QueueError> {
        let failed = |reason: String| QueueError {
            action: "replace",
            reason,
            gone: false,
        };
        let source = self.source.as_ref();
        let source = source.ok_or_else(|| failed("they came from no queue".to_owned()))?;
        let aws = source.aws.get().await;
        let aws = aws.map_err(|error| failed(error.to_string()))?;
        let sent = aws.send_message(&source.url, body).await;
        sent.map_err(|error| failed(error.to_string()))?;
        self.delete(receipt).await
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn batch(left: Duration) -> Batch {
        let message = |receipt: &str| Message {
            id: receipt.to_owned(),
            body: String::new(),
            receipt: receipt.to_owned(),
            sent_at: Timestamp::now(),
            receive_count: 1,
        };
        Batch::new(
            vec![message("a"), message("b"), message("c")],
            Instant::now() + left,
            None,
        )
    }

    #[tokio::test]
    async fn what_is_not_deleted_is_left() {
        let batch = batch(Duration::from_secs(60));
        assert_eq!(batch.receive(2, Duration::ZERO).await.unwrap().len(), 2);
        assert!(!batch.drain().is_cancelled());
        assert_eq!(batch.receive(2, Duration::ZERO).await.unwrap().len(), 1);
        assert!(batch.drain().is_cancelled());
        batch.delete("b").await.unwrap();
        assert_eq!(batch.unanswered(), ["a", "c"].map(str::to_owned).into());
    }

    #[test]
    fn a_queue_is_reached_by_its_arn() {
        assert_eq!(
            url("arn:aws:sqs:us-east-1:999999999999:spot").unwrap(),
            "https://sqs.us-east-1.amazonaws.com/999999999999/spot"
        );
        assert_eq!(
            url("arn:aws-cn:sqs:cn-north-1:999999999999:spot").unwrap(),
            "https://sqs.cn-north-1.amazonaws.com.cn/999999999999/spot"
        );
        for none in ["", "spot", "arn:aws:sns:us-east-1:999999999999:spot"] {
            assert_eq!(url(none), None);
        }
    }

    #[tokio::test]
    async fn nothing_is_taken_up_when_its_time_is_over() {
        let batch = batch(Duration::ZERO);
        assert_eq!(batch.receive(2, Duration::ZERO).await.unwrap(), []);
        assert!(batch.drain().is_cancelled());
        assert_eq!(batch.unanswered().len(), 3);
    }
}
