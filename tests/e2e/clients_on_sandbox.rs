//! Our clients against our simulator, each operation once at least: that the two agree. That the simulator agrees with
//! AWS and Spot is for other people's clients to say, in `tests/python`.

mod aws;
mod config;
mod roles;
mod spot;
mod stacks;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use aws_ops::{Aws, AwsSettings, StaticCredentials};
use e2e::tls;
use e2e::wire::Wire;
use onboarding_core::secret::SecretText;
use sandbox::{Sandbox, Scenario};
use tokio::time::{Instant, sleep};

/// How long anything may take to come about.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs a test with a sandbox of its own.
fn with_sandbox<F: Future<Output = Result<()>>>(scenario: &str, test: impl FnOnce(Sandbox) -> F) {
    tls::install();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let outcome = runtime.block_on(async {
        let address: SocketAddr = "127.0.0.1:0".parse()?;
        test(Sandbox::start(Scenario::parse(scenario)?, address).await?).await
    });
    outcome.unwrap();
}

/// Our client, as the administrator of the management account.
async fn aws(sandbox: &Sandbox) -> Result<Aws> {
    let environment = sandbox.environment();
    Ok(Aws::connect(AwsSettings {
        region: Some(environment["AWS_REGION"].parse()?),
        rates_off: true,
        endpoint_url: Some(sandbox.endpoint().to_owned()),
        credentials: Some(StaticCredentials {
            access_key_id: environment["AWS_ACCESS_KEY_ID"].clone(),
            secret_access_key: SecretText::new(&environment["AWS_SECRET_ACCESS_KEY"]),
            session_token: None,
        }),
        ..AwsSettings::default()
    })
    .await?)
}

/// Plain requests, as the administrator of the management account.
fn wire(sandbox: &Sandbox) -> Wire {
    Wire::new(
        sandbox.endpoint(),
        &sandbox.environment()["AWS_ACCESS_KEY_ID"],
    )
}

/// Asks until there is a value, or the time is up.
async fn until<T, F: Future<Output = Result<Option<T>>>>(
    what: &str,
    mut probe: impl FnMut() -> F,
) -> Result<T> {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(value) = probe().await? {
            return Ok(value);
        }
        if Instant::now() > deadline {
            bail!("not within {} s: {what}", LIMIT.as_secs());
        }
        sleep(Duration::from_millis(50)).await;
    }
}
