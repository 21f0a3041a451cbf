//! aws-ops against moto, an AWS that we did not write: what we send is understood, what comes back is parsed. Each test
//! also asks which calls were sent, which is what `tests/operations.toml` relies on.
//!
//! What moto cannot do is listed there too, and tested in `tests/python/test_emulator_gaps.py`.

mod config;
mod identity;
mod organization;
mod queue;
mod stack_sets;
mod stacks;
mod topics;

use std::future::Future;

use anyhow::Result;
use aws_ops::{Aws, AwsSettings, StaticCredentials};
use e2e::moto::Moto;
use e2e::tls;
use onboarding_core::secret::SecretText;

/// The account that moto gives to whoever asks.
const ACCOUNT: &str = "123456789012";

/// Runs a test with a moto of its own and our client for it; a moto that cannot be had skips the test, loudly.
fn with_moto<F: Future<Output = Result<()>>>(test: impl FnOnce(Moto, Aws) -> F) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(moto) = Moto::start().unwrap() else {
        return;
    };
    let outcome = runtime.block_on(async {
        tls::install();
        let aws = Aws::connect(AwsSettings {
            region: Some("us-east-1".parse()?),
            rates_off: true,
            endpoint_url: Some(moto.endpoint()),
            credentials: Some(StaticCredentials {
                access_key_id: "AKIATEST".to_owned(),
                secret_access_key: SecretText::new("test"),
                session_token: None,
            }),
            ..AwsSettings::default()
        })
        .await?;
        test(moto, aws).await
    });
    outcome.unwrap();
}

/// Asserts that these operations were sent, and no others.
#[track_caller]
fn assert_sent(aws: &Aws, operations: &[&str]) {
    let sent = aws.api_calls();
    let sent: Vec<_> = sent.keys().map(String::as_str).collect();
    assert_eq!(sent, operations);
}
