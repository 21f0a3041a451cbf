//! Rate windows that are shared: how often they are asked, and what happens without them.

use std::{
    collections::HashMap,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use async_trait::async_trait;
use onboarding_core::governor::spot::shared::SharedWindow;
use serde_json::json;
use spot_api::{SharedWindows, WindowChange};
use tokio::sync::Mutex;

use super::canned::{Server, items};

/// Windows in memory, as several processes would have them in a database.
#[derive(Default)]
struct Windows {
    windows: Mutex<HashMap<String, SharedWindow>>,
    changes: AtomicUsize,
}

#[async_trait]
impl SharedWindows for Windows {
    async fn change(
        &self,
        route: &str,
        change: WindowChange<'_>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut windows = self.windows.lock().await;
        let now = SystemTime::UNIX_EPOCH.elapsed()?;
        if change(windows.entry(route.to_owned()).or_default(), now) {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Windows whose store is gone.
struct Gone;

#[async_trait]
impl SharedWindows for Gone {
    async fn change(
        &self,
        _: &str,
        _: WindowChange<'_>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        Err("it is gone".into())
    }
}

/// A server that says so many calls are left.
async fn server(remaining: u32) -> Server {
    Server::start(move |_, _| {
        let mut response = items(json!([]));
        let headers = response.headers_mut();
        headers.insert("x-ratelimit-limit", 1000.into());
        headers.insert("x-ratelimit-remaining", remaining.into());
        headers.insert("x-ratelimit-reset", 1.into());
        response
    })
    .await
}

#[tokio::test]
async fn a_generous_limit_costs_a_change_for_many_calls_and_a_small_one_for_each() {
    for (remaining, calls, wanted) in [(900, 100, 3..=30), (2, 5, 5..=10)] {
        let (server, windows) = (server(remaining).await, Arc::new(Windows::default()));
        let client = server.client();
        client.share_windows(windows.clone());
        for _ in 0..calls {
            client.list_accounts().await.unwrap();
        }
        let changes = windows.changes.load(Ordering::Relaxed);
        assert!(wanted.contains(&changes), "{changes} for {remaining}");
    }
}

#[tokio::test]
async fn no_call_fails_for_windows_that_cannot_be_had() {
    let server = server(900).await;
    let client = server.client();
    client.share_windows(Arc::new(Gone));
    for _ in 0..3 {
        client.list_accounts().await.unwrap();
    }
    assert_eq!(server.calls().len(), 3);
}
