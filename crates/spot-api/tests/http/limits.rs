//! The governor at work over HTTP.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::response::Response;
use onboarding_core::secret::SecretText;
use serde_json::json;
use spot_api::{
    ErrorClass, SpotClient,
    observe::{CallEvent, CallObserver, RetryReason},
};

use super::canned::{Server, TOKEN, items, json_answer, settings};

const WINDOW: Duration = Duration::from_millis(300);

/// A sliding window that pushes back, as Spot's does, only shorter.
#[derive(Default)]
struct Limit {
    counted: VecDeque<Instant>,
    blocked_until: Option<Instant>,
    refusals: usize,
}

impl Limit {
    fn answer(&mut self, limit: usize) -> Response {
        let now = Instant::now();
        while self.counted.front().is_some_and(|at| *at + WINDOW <= now) {
            self.counted.pop_front();
        }
        let blocked = self.blocked_until.is_some_and(|until| now < until);
        let (mut response, reset) = if blocked || self.counted.len() >= limit {
            self.blocked_until = Some(now + WINDOW);
            self.refusals += 1;
            (
                json_answer(429, json!({"response": {"data": "Rate limit exceeded"}})),
                WINDOW,
            )
        } else {
            self.counted.push_back(now);
            (items(json!([])), self.counted[0] + WINDOW - now)
        };
        let headers = response.headers_mut();
        headers.insert("x-ratelimit-limit", limit.into());
        headers.insert("x-ratelimit-remaining", (limit - self.counted.len()).into());
        headers.insert(
            "x-ratelimit-reset",
            reset.as_secs_f64().to_string().parse().unwrap(),
        );
        response
    }
}

#[tokio::test]
async fn many_callers_share_a_small_limit_without_one_refusal() {
    let limit = Arc::new(Mutex::new(Limit::default()));
    let shared = Arc::clone(&limit);
    let server = Server::start(move |_, _| shared.lock().unwrap().answer(20)).await;
    let client = server.client();
    let callers: Vec<_> = (0..50)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.list_accounts().await })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(limit.lock().unwrap().refusals, 0);
    assert_eq!(server.calls().len(), 50);
    assert_eq!(client.windows()[0].limit, Some(20));
}

#[derive(Default)]
struct Events(Mutex<Vec<CallEvent>>);

impl CallObserver for Events {
    fn observe(&self, event: CallEvent) {
        self.0.lock().unwrap().push(event);
    }
}

#[tokio::test]
async fn after_a_refusal_the_reset_is_waited_for_and_told() {
    let limit = Arc::new(Mutex::new(Limit::default()));
    let shared = Arc::clone(&limit);
    let server = Server::start(move |n, _| {
        let mut limit = shared.lock().unwrap();
        if n == 1 {
            limit.blocked_until = Some(Instant::now() + WINDOW);
        }
        limit.answer(5)
    })
    .await;
    let events = Arc::new(Events::default());
    let client = SpotClient::new(
        settings(server.address),
        Arc::new(SecretText::new(TOKEN)),
        Some(events.clone()),
    )
    .unwrap();
    let started = Instant::now();
    client
        .create_external_id(&"act-1".parse().unwrap())
        .await
        .unwrap_err();
    // Refused once (the second answer has no external ID in it), and the reset was waited for.
    assert!(started.elapsed() >= WINDOW);
    assert_eq!(limit.lock().unwrap().refusals, 1);
    let events = events.0.lock().unwrap();
    assert!(events.iter().any(|e| matches!(
        e,
        CallEvent::Retrying {
            reason: RetryReason::Throttled,
            ..
        }
    )));
    assert!(
        events
            .iter()
            .any(|e| matches!(e, CallEvent::Waited { waited, .. } if *waited >= WINDOW / 2))
    );
    assert_eq!(
        events
            .iter()
            .filter(|e| matches!(e, CallEvent::Ended { .. }))
            .count(),
        2
    );
}

#[tokio::test]
async fn a_limit_that_others_keep_used_up_ends_as_throttled() {
    let server = Server::start(|_, _| {
        let mut response = json_answer(429, json!({"response": {"data": "Rate limit exceeded"}}));
        response
            .headers_mut()
            .insert("x-ratelimit-reset", "0".parse().unwrap());
        response
    })
    .await;
    let error = server.client().list_accounts().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Throttled);
    assert_eq!(server.calls().len(), 4);
}
