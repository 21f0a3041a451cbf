//! The consumer over a queue in memory, with real answers over HTTP.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use axum::{Router, body::Body, extract::Request, response::Response};
use jiff::{Timestamp, ToSpan as _};
use onboarding_provider::{
    ConsumeSettings, Contract, Event, Message, Phase, Queue, QueueError, Refusal, Responder,
    consume,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{Level, Metadata, span};

use super::stack::{ACCOUNT, Home, event, settings};

#[derive(Default)]
struct MemoryQueue {
    messages: Mutex<VecDeque<Message>>,
    deleted: Mutex<Vec<String>>,
    extended: Mutex<Vec<String>>,
    fail_receives: Mutex<u32>,
    /// Why messages cannot be replaced.
    fail_replacements: Mutex<Option<String>>,
    /// Every extension fails; true: because the queue does not know the message any more.
    fail_extensions: Mutex<Option<bool>>,
}

impl MemoryQueue {
    fn send(&self, receipt: &str, body: String) {
        self.messages.lock().push_back(Message {
            body,
            id: receipt.to_owned(),
            receipt: receipt.to_owned(),
            sent_at: Timestamp::now(),
            receive_count: 1,
        });
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn receive(&self, max: usize, wait: Duration) -> Result<Vec<Message>, QueueError> {
        {
            let mut failing = self.fail_receives.lock();
            if *failing > 0 {
                *failing -= 1;
                return Err(QueueError {
                    action: "receive",
                    reason: "test".to_owned(),
                    gone: false,
                });
            }
        }
        let received: Vec<Message> = {
            let mut messages = self.messages.lock();
            let n = max.min(messages.len());
            messages.drain(..n).collect()
        };
        if received.is_empty() {
            tokio::time::sleep(wait).await;
        }
        Ok(received)
    }

    async fn delete(&self, receipt: &str) -> Result<(), QueueError> {
        self.deleted.lock().push(receipt.to_owned());
        Ok(())
    }

    async fn extend(&self, receipt: &str, _: Duration) -> Result<(), QueueError> {
        self.extended.lock().push(receipt.to_owned());
        match *self.fail_extensions.lock() {
            None => Ok(()),
            Some(gone) => Err(QueueError {
                action: "extend",
                reason: "test".to_owned(),
                gone,
            }),
        }
    }

    async fn replace(&self, receipt: &str, body: &str) -> Result<(), QueueError> {
        if let Some(reason) = self.fail_replacements.lock().clone() {
            return Err(QueueError {
                action: "replace",
                reason,
                gone: false,
            });
        }
        self.send(&format!("{receipt} without"), body.to_owned());
        self.delete(receipt).await
    }
}

/// Content type and length.
type Headers = (Option<String>, Option<String>);

/// What CloudFormation's bucket got.
#[derive(Clone, Default)]
struct Bucket {
    answers: Arc<Mutex<Vec<(String, Value)>>>,
    headers: Arc<Mutex<Vec<Headers>>>,
    /// Statuses for the next answers; 200 when empty.
    statuses: Arc<Mutex<VecDeque<u16>>>,
}

impl Bucket {
    async fn start(&self) -> SocketAddr {
        let bucket = self.clone();
        let app = Router::new().fallback(move |request: Request| bucket.clone().take(request));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }

    async fn take(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        assert_eq!(parts.method, "PUT");
        let header = |name| {
            parts
                .headers
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        let headers = (header("content-type"), header("content-length"));
        self.headers.lock().push(headers);
        let body = axum::body::to_bytes(body, 5000).await.unwrap();
        let status = self.statuses.lock().pop_front().unwrap_or(200);
        if status == 200 {
            let answer = serde_json::from_slice(&body).unwrap();
            self.answers.lock().push((parts.uri.to_string(), answer));
        }
        Response::builder()
            .status(status)
            .body(Body::empty())
            .unwrap()
    }
}

fn notification(bucket: SocketAddr, stack: &str, account: &str) -> String {
    let mut request = event(
        stack,
        account,
        "SpotAccount",
        json!({"AwsAccountId": account, "Token": "canary"}),
    );
    request["ResponseURL"] = json!(format!(
        "http://{bucket}/arn%3Aaws%7C{stack}?Signature=a%2Bb"
    ));
    json!({"Type": "Notification", "Message": request.to_string(), "Timestamp": Timestamp::now().to_string()}).to_string()
}

struct Bench {
    home: Home,
    queue: MemoryQueue,
    bucket: Bucket,
    events: Arc<Mutex<Vec<Event>>>,
    address: SocketAddr,
}

impl Bench {
    async fn new() -> Self {
        let bucket = Bucket::default();
        Self {
            home: Home::new().await,
            queue: MemoryQueue::default(),
            address: bucket.start().await,
            bucket,
            events: Arc::default(),
        }
    }

    /// Consumes until the queue is empty.
    async fn run_once(&self) -> onboarding_provider::queue::Consumed {
        self.run(&CancellationToken::new(), &CancellationToken::new())
            .await
    }

    async fn run(
        &self,
        drain: &CancellationToken,
        abort: &CancellationToken,
    ) -> onboarding_provider::queue::Consumed {
        let log = Arc::clone(&self.events);
        let provider = self
            .home
            .provider_with(settings(), Arc::new(move |event| log.lock().push(event)));
        let responder = Responder::new("test").unwrap();
        let settings = ConsumeSettings {
            concurrency: 8,
            poll: Duration::from_millis(20),
            invisible: Duration::from_millis(40),
            retry: Duration::from_millis(5),
            contract: Contract {
                topic: Some("arn:aws:sns:us-east-1:999999999999:spot".parse().unwrap()),
                response_hosts: "127.0.0.1".parse().unwrap(),
                ..Contract::default()
            },
            once: true,
        };
        consume(&self.queue, &provider, &responder, &settings, drain, abort).await
    }

    /// Why anything was refused.
    fn refusals(&self) -> BTreeSet<&'static str> {
        let events = self.events.lock();
        events
            .iter()
            .filter_map(|event| event.refusal().map(Refusal::code))
            .collect()
    }

    fn phases(&self) -> Vec<Phase> {
        self.events
            .lock()
            .iter()
            .map(|event| event.phase.clone())
            .collect()
    }
}

#[tokio::test]
async fn requests_are_answered_once_each_and_deleted() {
    let bench = Bench::new().await;
    *bench.queue.fail_receives.lock() = 2;
    for i in 0..20 {
        let account = format!("3000000000{i:02}");
        let body = notification(bench.address, &format!("s{i}"), &account);
        bench.queue.send(&format!("r{i}"), body.clone());
        // At least once.
        bench.queue.send(&format!("again{i}"), body);
    }
    let consumed = bench.run_once().await;
    assert_eq!(consumed.delivered, 40);
    assert_eq!(bench.queue.deleted.lock().len(), 40);
    assert_eq!(bench.home.spot.world.lock().accounts.len(), 20);
    for (path, answer) in bench.bucket.answers.lock().iter() {
        assert_eq!(answer["Status"], "SUCCESS");
        // The presigned address arrives as it was given.
        assert!(
            path.starts_with("/arn%3Aaws%7Cs") && path.ends_with("?Signature=a%2Bb"),
            "{path}"
        );
    }
    for (content_type, length) in bench.bucket.headers.lock().iter() {
        assert_eq!(content_type.as_deref(), Some(""));
        assert!(length.as_deref().unwrap().parse::<usize>().unwrap() > 100);
    }
}

#[tokio::test]
async fn nothing_is_received_once_another_version_has_changed_the_state() {
    let bench = Bench::new().await;
    *bench.home.writes.current_for.lock() = Some(1);
    // As many as it takes with one receive, and one more.
    for i in 0..9 {
        let account = format!("3000000000{i:02}");
        let body = notification(bench.address, &format!("s{i}"), &account);
        bench.queue.send(&format!("r{i}"), body);
    }
    let consumed = bench.run_once().await;
    assert!(consumed.outdated);
    assert_eq!((consumed.delivered, consumed.left), (8, 0));
    assert_eq!(bench.queue.messages.lock().len(), 1);
}

#[tokio::test]
async fn a_poison_message_stays_and_shows_nothing() {
    let bench = Bench::new().await;
    bench
        .queue
        .send("poison", "{\"Token\": \"canary\"}".to_owned());
    let mut elsewhere = event("s", ACCOUNT, "SpotAccount", json!({"Token": "canary"}));
    bench.queue.send("elsewhere", elsewhere.to_string());
    elsewhere["ResponseURL"] = json!(format!("http://{}/x", bench.address));
    elsewhere["ServiceToken"] = json!("arn:aws:sns:us-east-1:999999999999:other");
    bench.queue.send("not-ours", elsewhere.to_string());
    bench
        .queue
        .send("good", notification(bench.address, "s", ACCOUNT));
    let consumed = bench.run_once().await;
    assert_eq!((consumed.delivered, consumed.left), (1, 3));
    assert_eq!(bench.bucket.answers.lock().len(), 1);
    assert_eq!(*bench.queue.deleted.lock(), ["good"]);
    assert_eq!(
        bench.refusals(),
        BTreeSet::from(["not-a-request", "response-url", "service-token"])
    );
    assert!(!format!("{:?}", bench.events.lock()).contains("canary"));
}

#[tokio::test]
async fn what_is_refused_is_kept_until_its_deadline_and_then_goes_with_its_token() {
    let bench = Bench::new().await;
    let mut other = event("s", ACCOUNT, "SpotAccount", json!({"Token": "canary"}));
    other["ResponseURL"] = json!(format!("http://{}/x", bench.address));
    other["ServiceToken"] = json!("arn:aws:sns:us-east-1:999999999999:other");
    let published = |at: Timestamp| {
        json!({"Type": "Notification", "Message": other.to_string(), "Timestamp": at}).to_string()
    };
    bench.queue.send("fresh", published(Timestamp::now()));
    bench
        .queue
        .send("late", published(Timestamp::now() - 2.hours()));
    let consumed = bench.run_once().await;
    assert_eq!((consumed.given_up, consumed.left), (1, 1));
    assert_eq!(*bench.queue.deleted.lock(), ["late"]);
    assert_eq!(bench.refusals(), BTreeSet::from(["service-token"]));
    assert!(bench.bucket.answers.lock().is_empty());
}

#[tokio::test]
async fn a_message_that_comes_back_loses_its_token_and_is_served() {
    let bench = Bench::new().await;
    let mut request = event(
        "s",
        ACCOUNT,
        "SpotAccount",
        json!({"AwsAccountId": ACCOUNT}),
    );
    request["ResourceProperties"]["Token"] = json!("canary");
    request["ResponseURL"] = json!(format!("http://{}/x", bench.address));
    // The second cannot be served: it is left, and comes back to be left again.
    let mut other = request.clone();
    other["ServiceToken"] = json!("arn:aws:sns:us-east-1:999999999999:other");
    bench.queue.send("served", request.to_string());
    bench.queue.send("left", other.to_string());
    for message in bench.queue.messages.lock().iter_mut() {
        message.receive_count = 2;
    }
    let consumed = bench.run_once().await;
    assert_eq!((consumed.delivered, consumed.left), (1, 1));
    let deleted = bench.queue.deleted.lock().clone();
    assert_eq!(deleted, ["served", "left", "served without"]);

    // A queue that takes no messages from us: served all the same.
    *bench.queue.fail_replacements.lock() = Some("denied".to_owned());
    bench.queue.send("again", request.to_string());
    bench.queue.messages.lock()[0].receive_count = 2;
    assert_eq!(bench.run_once().await.delivered, 1);
}

#[tokio::test]
async fn an_answer_is_sent_again_until_it_is_taken() {
    let bench = Bench::new().await;
    bench.bucket.statuses.lock().extend([503, 500]);
    bench
        .queue
        .send("r", notification(bench.address, "s", ACCOUNT));
    assert_eq!(bench.run_once().await.delivered, 1);
    assert_eq!(bench.bucket.headers.lock().len(), 3);
    // It took longer than the message was hidden for.
    assert!(
        bench
            .queue
            .extended
            .lock()
            .iter()
            .all(|receipt| receipt == "r")
    );
    assert!(!bench.queue.extended.lock().is_empty());
}

#[tokio::test]
async fn an_extension_that_fails_is_warned_of_once_and_not_tried_again_for_a_message_that_is_gone()
{
    for gone in [false, true] {
        let bench = Bench::new().await;
        *bench.queue.fail_extensions.lock() = Some(gone);
        bench.home.spot.world.lock().down = true;
        bench
            .queue
            .send("r", notification(bench.address, "s", ACCOUNT));
        let warnings = Warnings::default();
        let _guard = tracing::subscriber::set_default(warnings.clone());
        let (consumed, ()) = tokio::join!(bench.run_once(), async {
            let extended = async {
                while bench.queue.extended.lock().len() < if gone { 1 } else { 3 } {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), extended)
                .await
                .unwrap();
            // Attempts pause for longer and longer, up to more than extensions do.
            let calls = bench.home.spot.world.lock().calls.len();
            bench.home.spot.called(calls + 10).await;
            bench.home.spot.world.lock().down = false;
        });
        assert_eq!(consumed.delivered, 1);
        let extensions = bench.queue.extended.lock().len();
        assert!(
            if gone {
                extensions == 1
            } else {
                extensions >= 3
            },
            "{extensions}"
        );
        assert_eq!(*warnings.0.lock(), 1, "gone: {gone}");
    }
}

/// Counts the queue's warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<u32>>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target() == "onboarding_provider::queue"
    }
    fn event(&self, _: &tracing::Event<'_>) {
        *self.0.lock() += 1;
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn an_answer_that_is_refused_is_given_up() {
    let bench = Bench::new().await;
    bench.bucket.statuses.lock().push_back(403);
    bench
        .queue
        .send("r", notification(bench.address, "s", ACCOUNT));
    assert_eq!(bench.run_once().await.given_up, 1);
    assert_eq!(*bench.queue.deleted.lock(), ["r"]);
    assert!(
        bench
            .phases()
            .iter()
            .any(|phase| matches!(phase, Phase::Undeliverable { .. }))
    );
}

#[tokio::test]
async fn a_request_past_its_deadline_changes_nothing() {
    let bench = Bench::new().await;
    let mut envelope: Value =
        serde_json::from_str(&notification(bench.address, "s", ACCOUNT)).unwrap();
    envelope["Timestamp"] = json!("2020-01-01T00:00:00.000Z");
    bench.queue.send("r", envelope.to_string());
    assert_eq!(bench.run_once().await.given_up, 1);
    assert_eq!(bench.home.spot.world.lock().calls.len(), 0);
    assert_eq!(bench.phases(), [Phase::Expired]);
}

#[tokio::test]
async fn a_drain_answers_what_was_taken_up_and_an_abort_leaves_it() {
    let bench = Bench::new().await;
    bench.home.spot.world.lock().down = true;
    bench
        .queue
        .send("r", notification(bench.address, "s", ACCOUNT));
    let (drain, abort) = (CancellationToken::new(), CancellationToken::new());
    let (consumed, ()) = tokio::join!(bench.run(&drain, &abort), async {
        bench.home.spot.called(1).await;
        drain.cancel();
        bench.home.spot.world.lock().down = false;
    });
    assert_eq!(consumed.delivered, 1);

    bench.home.spot.world.lock().down = true;
    bench
        .queue
        .send("second", notification(bench.address, "t", "300000000001"));
    let (drain, abort) = (CancellationToken::new(), CancellationToken::new());
    let calls = bench.home.spot.world.lock().calls.len();
    let (consumed, ()) = tokio::join!(bench.run(&drain, &abort), async {
        bench.home.spot.called(calls + 1).await;
        abort.cancel();
    });
    assert_eq!((consumed.delivered, consumed.left), (0, 1));
    assert!(!bench.queue.deleted.lock().contains(&"second".to_owned()));
}
