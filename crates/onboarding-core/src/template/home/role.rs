//! The runner's role: what `runner iam-policy` prints, and nothing more.

use serde_json::{Map, Value, json};

use super::{HomeSpec, RunnerPrincipal, policy::document, resource};
use crate::template::Resource;

/// What the name of the runner's role ends with.
const RUNNER: &str = "-runner";

/// What the name of the function's role ends with.
const FUNCTION: &str = "-function";

/// The longest beginning of names: a role's name has at most 64 characters.
pub(super) const MAX_PREFIX: usize = 64 - FUNCTION.len();

pub(super) fn role(spec: &HomeSpec) -> Resource {
    resource(
        "RunnerRole",
        "AWS::IAM::Role",
        [
            ("RoleName", spec.runner_role_name().into()),
            (
                "Description",
                "The Spot onboarding runner; printed by `runner iam-policy`".into(),
            ),
            ("AssumeRolePolicyDocument", trust(spec)),
            (
                "Policies",
                json!([{"PolicyName": "runner", "PolicyDocument": spec.runner_policy.to_value()}]),
            ),
        ],
    )
}

/// The name of the function's role: known beforehand, for the trust policy of the audit role. `prefix` is the beginning of
/// the home stack's name.
#[must_use]
pub fn function_role_name(prefix: &str) -> String {
    format!("{prefix}{FUNCTION}")
}

impl HomeSpec {
    /// The name of the runner's role: known beforehand, for the trust policy of the audit role.
    fn runner_role_name(&self) -> String {
        format!("{}{RUNNER}", self.stack_name_prefix)
    }
}

fn trust(spec: &HomeSpec) -> Value {
    let mut arns = Vec::new();
    let mut services = Vec::new();
    for principal in &spec.runner_principals {
        match principal {
            RunnerPrincipal::Arn(arn) => arns.push(arn.as_str().to_owned()),
            RunnerPrincipal::Service(name) => services.push(name.to_string()),
        }
    }
    if arns.is_empty() && services.is_empty() {
        // Whom the account's own policies let, and nobody else.
        arns.push(format!(
            "arn:{}:iam::{}:root",
            spec.partition(),
            spec.account
        ));
    }
    let mut principal = Map::new();
    if !arns.is_empty() {
        principal.insert("AWS".into(), arns.into());
    }
    if !services.is_empty() {
        principal.insert("Service".into(), services.into());
    }
    document(vec![json!({
        "Effect": "Allow",
        "Principal": principal,
        "Action": "sts:AssumeRole",
    })])
}
