//! Consumes requests from a queue that delivers at least once and in any order.
//!
//! A message is deleted only after CloudFormation has its answer (or can have none any more). While it is worked on, its
//! visibility is extended, until the queue no longer knows this delivery of it. A message that is no request stays for the
//! dead-letter queue; so does a request that is refused, for as long as it could be served under another configuration. A message
//! that comes back may end there, so at its second delivery one with a token of Spot's own templates is replaced by one without.
//! One task does it all: it spawns nothing, so dropping it ends everything.

use std::{collections::HashSet, convert::Infallible, time::Duration};

use async_trait::async_trait;
use futures_util::{
    future::OptionFuture,
    stream::{FuturesUnordered, StreamExt as _},
};
use jiff::Timestamp;
use onboarding_core::custom_resource::{RequestType, ResourceRequest, ResourceResponse};
use tokio_util::sync::CancellationToken;

use crate::{
    events::{Event, Phase},
    provider::{Provider, time_until},
    refusal::Refusal,
    responder::{Responder, ResponderError},
    wire::{self, Contract, WireError},
};

/// A received message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The queue's id of it, the same at each delivery.
    pub id: String,
    /// The body.
    pub body: String,
    /// What deletes and extends it.
    pub receipt: String,
    /// When the queue got it.
    pub sent_at: Timestamp,
    /// How often it was received, this time included.
    pub receive_count: u32,
}

/// A call of the queue failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} messages of the provider queue: {reason}")]
pub struct QueueError {
    /// What was tried: receive, delete, extend or replace.
    pub action: &'static str,
    /// Why it failed.
    pub reason: String,
    /// Whether the queue does not know this delivery of the message any more: its visibility ran out, or it was deleted.
    pub gone: bool,
}

/// A queue such as SQS.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Receives up to `max` (1 to 10) messages, waiting up to `wait` (at most 20 seconds) for the first.
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Message>, QueueError>;

    /// Deletes a message.
    async fn delete(&self, receipt: &str) -> Result<(), QueueError>;

    /// Hides a message from other consumers for this long from now.
    async fn extend(&self, receipt: &str, invisible: Duration) -> Result<(), QueueError>;

    /// Sends another body and deletes the message. Both may be delivered when that fails in between.
    async fn replace(&self, receipt: &str, body: &str) -> Result<(), QueueError>;
}

/// How to consume.
#[derive(Debug, Clone)]
pub struct ConsumeSettings {
    /// Requests worked on at the same time. Waiting ones cost little, and a role that cannot be assumed for an hour
    /// must not hold the others back.
    pub concurrency: usize,
    /// How long a poll waits for messages.
    pub poll: Duration,
    /// For how long a message in work is hidden; it is extended at half of that.
    pub invisible: Duration,
    /// The pause after the queue failed.
    pub retry: Duration,
    /// What the templates ask for.
    pub contract: Contract,
    /// Stop when a poll brings nothing new and nothing is in work.
    pub once: bool,
}

impl Default for ConsumeSettings {
    fn default() -> Self {
        Self {
            concurrency: 1024,
            poll: Duration::from_secs(20),
            invisible: Duration::from_secs(60),
            retry: Duration::from_secs(5),
            contract: Contract::default(),
            once: false,
        }
    }
}

/// What a consumer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consumed {
    /// Messages whose answer CloudFormation has.
    pub delivered: u64,
    /// Messages that were past their deadline, ours or not, or whose answer was refused.
    pub given_up: u64,
    /// Messages left in the queue: no request, or not answered before the consumer was stopped.
    pub left: u64,
    /// It stopped by itself, because another version of the program has changed the state.
    pub outdated: bool,
}

/// Consumes until `drain` is cancelled and what was taken up is answered, or until `abort` is cancelled, which leaves at
/// once: what was in work is delivered again to the next consumer. Once another version of the program has changed the
/// state, `drain` is cancelled.
pub async fn consume(
    queue: &dyn Queue,
    provider: &Provider,
    responder: &Responder,
    settings: &ConsumeSettings,
    drain: &CancellationToken,
    abort: &CancellationToken,
) -> Consumed {
    let mut consumed = Consumed::default();
    // What is left comes back for as long as the queue keeps it: not something new for a consumer that is to end.
    let mut left = HashSet::new();
    let mut work = FuturesUnordered::new();
    let mut draining = false;
    let mut polling = None;
    loop {
        let free = settings.concurrency.saturating_sub(work.len()).min(10);
        if draining {
            polling = None;
            if work.is_empty() {
                return consumed;
            }
        } else if polling.is_none() && free > 0 {
            // One poll at a time, kept across rounds: a poll that is dropped may lose what it has received for a while.
            polling = Some(poll(queue, provider, free, settings));
        }
        tokio::select! {
            biased;
            () = abort.cancelled() => {
                consumed.left += work.len() as u64;
                return consumed;
            }
            () = drain.cancelled(), if !draining => draining = true,
            Some(end) = work.next() => match end {
                End::Delivered => consumed.delivered += 1,
                End::GivenUp => consumed.given_up += 1,
                End::Left(id) => {
                    consumed.left += 1;
                    if settings.once {
                        left.insert(id);
                    }
                }
                End::Replaced => {}
            },
            messages = async { OptionFuture::from(polling.as_mut()).await.unwrap_or(Polled::Failed) }, if polling.is_some() => {
                polling = None;
                match messages {
                    Polled::Outdated => {
                        tracing::error!(
                            "another version of the program has changed the state: nothing more is served by this one"
                        );
                        consumed.outdated = true;
                        draining = true;
                        drain.cancel();
                    }
                    Polled::Failed => {}
                    Polled::Messages(messages) if messages.iter().all(|message| left.contains(&message.id)) => {
                        draining |= settings.once && work.is_empty();
                    }
                    Polled::Messages(messages) => work.extend(
                        messages.into_iter().map(|message| serve(queue, provider, responder, settings, message)),
                    ),
                }
            }
        }
    }
}

enum Polled {
    Messages(Vec<Message>),
    /// The queue failed, and was given a pause.
    Failed,
    /// The state is not what we know any more.
    Outdated,
}

fn poll<'a>(
    queue: &'a dyn Queue,
    provider: &'a Provider,
    max: usize,
    settings: &'a ConsumeSettings,
) -> std::pin::Pin<Box<dyn Future<Output = Polled> + Send + 'a>> {
    Box::pin(async move {
        // One that does not answer may do so before the deadline of what is received; if not, that is answered all the same.
        if let Ok(false) = provider.state_is_current().await {
            return Polled::Outdated;
        }
        match queue.receive(max, settings.poll).await {
            Ok(messages) => Polled::Messages(messages),
            Err(error) => {
                tracing::warn!(%error, "provider queue");
                tokio::time::sleep(settings.retry).await;
                Polled::Failed
            }
        }
    })
}

/// Answers a request that nobody can work on, for a reason of ours: a Create or Update fails with it, a Delete succeeds and
/// changes nothing. False when CloudFormation could not be told.
pub async fn decline(
    message: &Message,
    responder: &Responder,
    contract: &Contract,
    reason: &str,
) -> bool {
    let Ok(delivered) = wire::read(&message.body, message.sent_at, contract) else {
        return false;
    };
    tell(&delivered.request, responder, delivered.deadline, reason).await
}

/// Tells CloudFormation so. False when it could not be told.
async fn tell(
    request: &ResourceRequest,
    responder: &Responder,
    deadline: Timestamp,
    reason: &str,
) -> bool {
    let response = match request.request_type {
        RequestType::Delete => ResourceResponse::unchanged(request, reason),
        RequestType::Create | RequestType::Update => ResourceResponse::failure(request, reason),
    };
    let body = response.body();
    let sent = responder.put(&request.response_url, &body, deadline);
    sent.await.is_ok()
}

/// How long telling CloudFormation of a request that is past its deadline may take.
const LAST_WORD: Duration = Duration::from_secs(5);

enum End {
    Delivered,
    GivenUp,
    Left(String),
    /// Another message is in its place.
    Replaced,
}

/// Serves one message while extending its visibility.
async fn serve(
    queue: &dyn Queue,
    provider: &Provider,
    responder: &Responder,
    settings: &ConsumeSettings,
    message: Message,
) -> End {
    if replaced(queue, &message).await {
        return End::Replaced;
    }
    let work = Box::pin(answer(provider, responder, settings, &message));
    let end = tokio::select! {
        end = work => end,
        never = keep_hidden(queue, &message.receipt, settings.invisible) => match never {},
    };
    if !matches!(end, End::Left(_))
        && let Err(error) = queue.delete(&message.receipt).await
    {
        // It comes back, and gets the same answer.
        tracing::warn!(%error, "provider queue");
    }
    end
}

/// Whether a message that was delivered before was replaced by one without its token. Whoever did not finish with it may have
/// been killed, and the next one may be, too; a dead-letter queue keeps messages as they are.
async fn replaced(queue: &dyn Queue, message: &Message) -> bool {
    if message.receive_count < 2 {
        return false;
    }
    let Some(body) = wire::without_token(&message.body, message.sent_at) else {
        return false;
    };
    let replaced = queue.replace(&message.receipt, &body).await;
    if let Err(error) = &replaced {
        tracing::warn!(%error, "a token stays in a message that may get into the dead-letter queue: see docs/provider.md");
    }
    replaced.is_ok()
}

/// Extends a message's visibility for as long as the queue knows this delivery of it. What fails is said once: the message
/// will be delivered a second time, which is harmless, and a warning at each extension would hide others.
async fn keep_hidden(queue: &dyn Queue, receipt: &str, invisible: Duration) -> Infallible {
    let mut warned = false;
    loop {
        tokio::time::sleep(invisible / 2).await;
        let Err(error) = queue.extend(receipt, invisible).await else {
            continue;
        };
        if !warned {
            tracing::warn!(%error, "provider queue; the message may be delivered a second time");
            warned = true;
        }
        if error.gone {
            return std::future::pending().await;
        }
    }
}

/// What becomes of a message that is not served. A request that is not ours is kept while it may be one after all (the topic
/// may be configured wrongly). After its deadline nobody could answer it any more, so it goes, and what it carries does not
/// get into the dead-letter queue: with Spot's own templates that is a token.
fn refused(message: &Message, error: &WireError) -> End {
    match error {
        WireError::Origin { refused, .. } if time_until(refused.deadline).is_zero() => {
            let request = &refused.request;
            tracing::warn!(
                request_id = request.request_id, account = %request.account, stack_id = %request.stack_id, %error,
                "refused, and past its deadline"
            );
            End::GivenUp
        }
        WireError::Origin { refused, .. } => {
            let request = &refused.request;
            tracing::warn!(
                request_id = request.request_id, account = %request.account, stack_id = %request.stack_id, %error,
                receive_count = message.receive_count, "refused, and left until its deadline"
            );
            End::Left(message.id.clone())
        }
        WireError::TooLong(_) | WireError::Unanswerable(_) => {
            tracing::warn!(
                receive_count = message.receive_count, %error, "poison message left for the dead-letter queue"
            );
            End::Left(message.id.clone())
        }
    }
}

async fn answer(
    provider: &Provider,
    responder: &Responder,
    settings: &ConsumeSettings,
    message: &Message,
) -> End {
    let delivered = match wire::read(&message.body, message.sent_at, &settings.contract) {
        Ok(delivered) => delivered,
        Err(error) => {
            provider.emit(Event::poison(Refusal::from(&error), error.to_string()));
            return refused(message, &error);
        }
    };
    let request = &delivered.request;
    // The next one who serves still has time.
    let early = settings.contract.ends == Some(delivered.deadline);
    if time_until(delivered.deadline).is_zero() {
        if early {
            return End::Left(message.id.clone());
        }
        tracing::warn!(request_id = request.request_id, account = %request.account, "request past its deadline");
        provider.emit(Event::of(request, Phase::Expired));
        // By a clock that may be wrong: a stack that still waits is told, and whoever waits no more does not listen.
        let reason = "The request was past its deadline when it was looked at. Is the clock of the provider's machine right?";
        tell(request, responder, Timestamp::now() + LAST_WORD, reason).await;
        return End::GivenUp;
    }
    let response = provider.handle(request, delivered.deadline).await;
    let sent = responder
        .put(&request.response_url, &response.body(), delivered.deadline)
        .await;
    let (phase, end) = match sent {
        Ok(()) => (Phase::Delivered, End::Delivered),
        Err(error) => {
            tracing::warn!(request_id = request.request_id, account = %request.account, %error, "answer not delivered");
            let end = match error {
                ResponderError::Setup(_) => End::Left(message.id.clone()),
                ResponderError::TooLate(_) if early => End::Left(message.id.clone()),
                _ => End::GivenUp,
            };
            (
                Phase::Undeliverable {
                    reason: error.to_string(),
                },
                end,
            )
        }
    };
    provider.emit(Event::of(request, phase));
    end
}
