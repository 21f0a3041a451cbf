//! A simulated AWS Organization and a simulated Spot over real HTTP, with the wire protocols of the
//! real ones: for the demonstration, rehearsals, tests and measurements.
//!
//! One server on one loopback port is Organizations, CloudFormation StackSets, IAM, STS, SNS, SQS and
//! the Spot API at once. A [`Scenario`] says what is in them and how they behave; the admin API under
//! `/_sandbox` changes and shows it while it runs. It depends on no other crate of this workspace, so
//! that a wrong idea cannot be right twice.

mod admin;
mod caller;
mod calls;
mod clock;
mod cloudformation;
mod config_service;
mod events;
mod faults;
mod iam;
mod ids;
mod messaging;
mod organizations;
mod scenario;
mod server;
mod spot;
mod stack_sets;
mod stacks;
mod sts;
mod template;
mod timers;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt as _;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use scenario::{
    ConfigScenario, Enrollment, EventsScenario, FaultKind, FaultRule, IamScenario, Latency,
    MessagingScenario, OrganizationScenario, ProviderScenario, Scenario, ScenarioError,
    SpotScenario, StackSetsScenario, TagScenario,
};

use world::{SharedWorld, World};

/// A running sandbox. It stops when it is dropped; [`Sandbox::shutdown`] also waits for its end.
#[derive(Debug)]
pub struct Sandbox {
    endpoint: String,
    environment: BTreeMap<String, String>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("listening on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

impl Sandbox {
    /// Starts a sandbox on an address, port 0 for a free one. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub async fn start(scenario: Scenario, address: SocketAddr) -> Result<Self, StartError> {
        let listen_error = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen_error)?;
        let bound = listener.local_addr().map_err(listen_error)?;
        let endpoint = format!("http://{bound}");
        let world = Arc::new(Mutex::new(World::new(scenario, endpoint.clone())));
        let environment = environment(&world.lock());
        let stop = CancellationToken::new();
        let router = Router::new()
            .fallback(server::serve)
            .with_state(world.clone());
        let served = stop.clone();
        let server = tokio::spawn(async move {
            // Small answers must not wait for the acknowledgement of earlier ones.
            let listener = listener.tap_io(|connection| {
                let _ = connection.set_nodelay(true);
            });
            let result = axum::serve(listener, router)
                .with_graceful_shutdown(served.cancelled_owned())
                .await;
            if let Err(error) = result {
                tracing::error!(%error, "the sandbox server ended");
            }
        });
        let timers = tokio::spawn(run_timers(world, stop.clone()));
        Ok(Self {
            endpoint,
            environment,
            stop,
            tasks: vec![server, timers],
        })
    }

    /// `http://ADDRESS:PORT`: the endpoint of every AWS service, of Spot and of the admin API.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The environment variables that point AWS SDKs and our own programs here, as the administrator
    /// of the management account.
    #[must_use]
    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// Stops listening and drops open connections.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        for task in &self.tasks {
            // An open keep-alive connection or long poll must not hold us up.
            task.abort();
        }
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn environment(world: &World) -> BTreeMap<String, String> {
    let region = &world.scenario.region;
    let endpoint = world.endpoint.trim_start_matches("http://");
    let response_host = endpoint
        .rsplit_once(':')
        .map_or(endpoint, |(host, _)| host)
        .to_owned();
    [
        ("AWS_ENDPOINT_URL", world.endpoint.clone()),
        ("AWS_REGION", region.clone()),
        ("AWS_DEFAULT_REGION", region.clone()),
        (
            "AWS_ACCESS_KEY_ID",
            caller::administrator_key(world.organization.management),
        ),
        ("AWS_SECRET_ACCESS_KEY", "sandbox".into()),
        ("SPOT_API_URL", world.endpoint.clone()),
        ("SPOTINST_TOKEN", world.scenario.spot.token.clone()),
        // Custom resources are answered here.
        ("PROVIDER_RESPONSE_HOSTS", response_host),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}

/// Runs each event when it is due.
async fn run_timers(world: SharedWorld, stop: CancellationToken) {
    let mut changed = world.lock().timers.subscribe();
    loop {
        let wait = {
            let mut world = world.lock();
            world.run_due();
            world.timers.next().map(|at| world.clock.real_until(at))
        };
        let due = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = changed.changed() => {}
            () = due => {}
        }
    }
}
