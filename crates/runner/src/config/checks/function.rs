//! What no single key of `[bootstrap.lambda]` can say.

use super::Checks;
use crate::config::{
    lambda::StateSource,
    runner::{RunnerConfig, ServedBy},
};

pub(super) fn code(config: &RunnerConfig, checks: &mut Checks<'_>) {
    let lambda = &config.bootstrap.lambda;
    if !lambda.is_deployed() {
        return;
    }
    let parts = [
        ("s3_bucket", lambda.s3_bucket.is_some()),
        (
            "s3_key",
            lambda.s3_key.as_ref().is_some_and(|key| !key.is_empty()),
        ),
    ];
    for (key, _) in parts.iter().filter(|(_, given)| !given) {
        checks.report(
            &["bootstrap", "lambda"],
            format!("`bootstrap.lambda.{key}` is missing"),
            "the function's code is a zip file in a bucket: give s3_bucket and s3_key",
        );
    }
    if config.enrollment.served_by != ServedBy::Lambda && !config.shares_state_with_function() {
        checks.report(
            &["bootstrap", "lambda"],
            "the function would serve the queue beside the runner, and neither knows of the other's work".to_owned(),
            "set enrollment.served_by = \"lambda\", give both one state (bootstrap.lambda.state), or take the function's code away",
        );
    }
}

/// Where the function is, and its state.
pub(super) fn state(config: &RunnerConfig, checks: &mut Checks<'_>) {
    let lambda = &config.bootstrap.lambda;
    if lambda.subnets.is_empty() != lambda.security_groups.is_empty() {
        checks.report(
            &["bootstrap", "lambda"],
            "a function in a VPC has subnets and security groups, and one of them is missing"
                .to_owned(),
            "give both subnets and security_groups, or neither",
        );
    }
    let empty = |state: &StateSource| match state {
        StateSource::SecretsManager(name) | StateSource::SsmParameter(name) => name.is_empty(),
    };
    if lambda.state.as_ref().is_some_and(empty) {
        checks.report(
            &["bootstrap", "lambda", "state"],
            "`bootstrap.lambda.state` names nothing".to_owned(),
            "name the secret or the parameter that has the URL of the state",
        );
    }
    if lambda.state.is_some() && !config.shares_state_with_function() {
        checks.report(
            &["bootstrap", "lambda", "state"],
            "the function would have another state than the runner, which keeps a file".to_owned(),
            "set state.url to the same PostgreSQL database: the runner makes its tables and knows what the function did",
        );
    }
    if let Some(path) = &lambda.state_ca_file
        && (lambda.state.is_none() || !path.starts_with('/'))
    {
        checks.report(
            &["bootstrap", "lambda", "state_ca_file"],
            "`bootstrap.lambda.state_ca_file` is the path, from /, of a file that the state's server is verified with".to_owned(),
            "a file of the zip file is /var/task/NAME; it needs bootstrap.lambda.state",
        );
    }
}
