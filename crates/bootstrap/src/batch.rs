//! The messages of one invocation as a queue of their own, which ends with them.
//!
//! Lambda receives, hides and deletes the messages of a real queue itself: a message that is not deleted here is one that
//! the function reports as failed.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use async_trait::async_trait;
use onboarding_provider::{Message, Queue, QueueError};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// See the module documentation.
pub(crate) struct Batch {
    waiting: Mutex<VecDeque<Message>>,
    /// Receipts of messages that were not answered (yet).
    unanswered: Mutex<BTreeSet<String>>,
    /// After this moment nothing more is taken up.
    until: Instant,
    /// Cancelled with the last message that is handed out: there will be no more.
    drain: CancellationToken,
}

impl Batch {
    pub(crate) fn new(messages: Vec<Message>, until: Instant) -> Self {
        let unanswered = messages.iter().map(|message| message.receipt.clone());
        Self {
            unanswered: Mutex::new(unanswered.collect()),
            waiting: Mutex::new(messages.into()),
            until,
            drain: CancellationToken::new(),
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

    #[tokio::test]
    async fn nothing_is_taken_up_when_its_time_is_over() {
        let batch = batch(Duration::ZERO);
        assert_eq!(batch.receive(2, Duration::ZERO).await.unwrap(), []);
        assert!(batch.drain().is_cancelled());
        assert_eq!(batch.unanswered().len(), 3);
    }
}
