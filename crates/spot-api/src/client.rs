//! The client: one HTTP connection pool, one governor, one retry function, one count of calls, shared by all clones.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use onboarding_core::{governor::spot::WindowSnapshot, secret::SecretText};
use parking_lot::Mutex;
use url::Url;

use crate::{
    error::SpotError,
    observe::{CallEvent, CallObserver},
    token::TokenSource,
};

pub(crate) mod envelope;
mod exchange;
pub(crate) mod gate;
mod line;
pub mod locks;
pub(crate) mod retry;
pub mod route;
pub mod settings;
pub mod shared;

use gate::Gate;
use locks::Locks;
use route::Route;
use settings::SpotSettings;
use shared::SharedWindows;

/// A client of the Spot API. Clones share everything.
#[derive(Clone)]
pub struct SpotClient {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    http: reqwest::Client,
    base: Url,
    pub(crate) settings: SpotSettings,
    tokens: Arc<dyn TokenSource>,
    pub(crate) gate: Arc<Gate>,
    calls: Mutex<BTreeMap<Route, u64>>,
    observer: Option<Arc<dyn CallObserver>>,
    /// Held within this process while a user group is read, changed and read again.
    pub(crate) access: tokio::sync::Mutex<()>,
    /// Against other processes.
    locks: OnceLock<Locks>,
}

impl fmt::Debug for SpotClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpotClient")
            .field("base", &self.inner.base.as_str())
            .finish_non_exhaustive()
    }
}

impl SpotClient {
    /// The address of the API, without credentials.
    #[must_use]
    pub fn address(&self) -> &str {
        self.inner.base.as_str()
    }

    /// Sets up a client; nothing is sent yet.
    ///
    /// # Errors
    /// [`SpotError::Setup`] when the address is refused or TLS cannot be set up (no CA certificates on this machine).
    pub fn new(
        settings: SpotSettings,
        tokens: Arc<dyn TokenSource>,
        observer: Option<Arc<dyn CallObserver>>,
    ) -> Result<Self, SpotError> {
        let base = settings::base_url(&settings.base_url)?;
        let mut http = reqwest::Client::builder()
            .user_agent(&settings.user_agent)
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.call_timeout)
            // An idle connection that Spot closes under a POST would make a failure ambiguous.
            .pool_idle_timeout(Duration::from_secs(20))
            // A redirect could carry the token elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            // Only our own retries are governed and counted.
            .retry(reqwest::retry::never());
        if settings::is_loopback(&base) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| SpotError::Setup {
            reason: format!(
                "{}; is a CA certificate store installed (Debian: ca-certificates)?",
                exchange::causes(&error)
            ),
        })?;
        Ok(Self {
            inner: Arc::new(Inner {
                http,
                base,
                gate: Arc::new(Gate::new(settings.governor, settings.call_timeout)),
                settings,
                tokens,
                calls: Mutex::new(BTreeMap::new()),
                observer,
                access: tokio::sync::Mutex::default(),
                locks: OnceLock::new(),
            }),
        })
    }

    /// Requests sent since the start, by call, such as `spot:GET /setup/account`. Repeated requests count again.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<String, u64> {
        let calls = self.inner.calls.lock();
        calls
            .iter()
            .map(|(route, count)| (format!("spot:{route}"), *count))
            .collect()
    }

    /// From now on, requests also wait for rate windows that other processes use, too; see [`shared`]. What was named
    /// first stays.
    pub fn share_windows(&self, windows: Arc<dyn SharedWindows>) {
        self.inner.gate.share(windows);
    }

    /// The rate windows as they are now, for metrics.
    #[must_use]
    pub fn windows(&self) -> Vec<WindowSnapshot> {
        self.inner.gate.snapshot()
    }

    /// The time allowed for one request: after it, a request that was sent has ended on our side.
    #[must_use]
    pub fn call_timeout(&self) -> Duration {
        self.inner.settings.call_timeout
    }
}

impl Inner {
    pub(crate) async fn token(&self) -> Result<SecretText, SpotError> {
        Ok(self.tokens.token().await?)
    }

    fn observe(&self, event: CallEvent) {
        if let Some(observer) = &self.observer {
            observer.observe(event);
        }
    }
}
