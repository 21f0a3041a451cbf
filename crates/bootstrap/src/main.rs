//! The program `bootstrap`: the enrollment provider as an AWS Lambda function (runtime `provided.al2023`).
//!
//! This file reads the environment, builds a runtime of one thread, serves, exits. Whatever costs time or memory (clients,
//! TLS roots, AWS's configuration) is made when the first request needs it: a cold start is waited for by a stack.

mod aws;
mod batch;
mod config;
mod directory;
mod function;
mod metrics;
mod state;
mod token;

use std::{process::ExitCode, sync::Arc};

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;

use config::Config;
use function::Function;

fn main() -> ExitCode {
    // Lambda adds the time to each line.
    tracing_subscriber::fmt()
        .json()
        .without_time()
        .with_writer(std::io::stderr)
        .with_max_level(config::log_level(|name| std::env::var(name).ok()))
        .init();
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error, "the function cannot serve");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), String> {
    let config =
        Config::read(|name| std::env::var(name).ok()).map_err(|error| error.to_string())?;
    let name = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default();
    // One crypto provider for every TLS client in the process.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the async runtime could not be started: {error}"))?;
    let function = Arc::new(Function::new(config, &name));
    let handler = service_fn(move |event: LambdaEvent<Value>| {
        let function = Arc::clone(&function);
        async move { function.invoke(event).await }
    });
    runtime
        .block_on(lambda_runtime::run(handler))
        .map_err(|error| error.to_string())
}
