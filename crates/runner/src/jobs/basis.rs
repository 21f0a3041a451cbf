//! What a plan is made from: the digests that must be the same when it is applied.

use std::{collections::BTreeMap, path::Path};

use onboarding_core::canonical;
use serde_json::{Value, json};

use crate::{
    config::{DesiredOptions, JobFile, JobParams, Product, ProfileConfig},
    engine::{Asked, Basis, ErrorClass, JobError},
    home::Home,
};

/// Sections of `runner.toml` that do not decide what a job does: who is told, where the journal is, and how logs look.
const ELSEWHERE: [&str; 3] = ["notify", "state", "telemetry"];

/// Its guard rails, which have a digest of their own: who looked at a plan looked at it under these.
const GUARD_RAILS: [&str; 3] = ["removal", "remediation", "protected_accounts"];

/// What a plan of this job is made from now.
///
/// # Errors
/// [`ErrorClass::Invalid`] when the configuration cannot be mapped, or a policy cannot be read.
pub fn basis(home: &Home, job: &JobFile, asked: Asked) -> Result<Basis, JobError> {
    let config = &home.config;
    let mut sections = json(&config.runner)?;
    let mut guard_rails = BTreeMap::new();
    if let Value::Object(sections) = &mut sections {
        for name in ELSEWHERE {
            sections.remove(name);
        }
        for name in GUARD_RAILS {
            guard_rails.insert(name.to_owned(), sections.remove(name));
        }
    }
    guard_rails.insert("approval".to_owned(), Some(json(&job.approval)?));
    let params = match &job.params {
        JobParams::StacksetSync(params) => json(params)?,
        JobParams::DriftAudit(params) => json(params)?,
        JobParams::Enroll(params) => json(params)?,
        JobParams::OrphanCleanup(params) => json(params)?,
        JobParams::PolicyRollout(params) => json(params)?,
        JobParams::External(job) => json(&job.params)?,
    };
    let profiles = job.params.profiles();
    let mut digests = BTreeMap::from([
        ("the configuration".to_owned(), canonical::digest(&sections)),
        (
            "the guard rails".to_owned(),
            canonical::digest(&json(&guard_rails)?),
        ),
        (
            "the job's definition".to_owned(),
            canonical::digest(&json!({"kind": job.kind(), "params": params})),
        ),
    ]);
    let desired = config
        .desired(DesiredOptions {
            home_account: Some(home.identity.account),
            profiles,
            retry_failed: asked.retry_failed,
            pinned: Some(&home.pinned),
        })
        .map_err(|errors| JobError::new(ErrorClass::Invalid, errors.to_string()))?;
    for profile in desired.profiles.iter().chain(desired.roles()) {
        digests.insert(
            format!("the template of {}", profile.stack_set),
            profile.definition.template_digest.clone(),
        );
    }
    let is_planned =
        |profile: &&ProfileConfig| profiles.is_empty() || profiles.contains(&profile.name);
    for profile in config.runner.profiles.iter().filter(is_planned) {
        for product in &profile.products {
            let file = match product {
                Product::ElastigroupOcean => &profile.policies.elastigroup_ocean,
                Product::CostIntelligence => &profile.policies.cost_intelligence,
            };
            let digest = policy(&config.dir.join(file))?;
            digests.insert(format!("the policy {}", file.display()), digest);
        }
    }
    if let JobParams::External(job) = &job.params {
        let digest = program(&job.program)?;
        digests.insert(format!("the plugin {}", job.kind), digest);
    }
    Ok(Basis {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        job: job.name.clone(),
        kind: job.kind().to_owned(),
        home_account: home.identity.account,
        region: config.runner.aws.region.0.clone(),
        spot: home.spot.address().to_owned(),
        asked,
        digests,
    })
}

/// The digest of a plugin: another one may do something else with the same step.
fn program(file: &Path) -> Result<String, JobError> {
    let read = std::fs::read(file).map_err(|error| {
        JobError::new(
            ErrorClass::Invalid,
            format!("the plugin {} cannot be read", file.display()),
        )
        .with_source(error)
    });
    Ok(canonical::digest_of_bytes(&read?))
}

/// The digest of a policy by what it says, not how it is written.
fn policy(file: &Path) -> Result<String, JobError> {
    let invalid = |error: String| {
        JobError::new(
            ErrorClass::Invalid,
            format!("the policy {} cannot be read: {error}", file.display()),
        )
    };
    let text = std::fs::read_to_string(file).map_err(|error| invalid(error.to_string()))?;
    let value: Value = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
    Ok(canonical::digest(&value))
}

fn json(value: &impl serde::Serialize) -> Result<Value, JobError> {
    serde_json::to_value(value).map_err(|error| {
        JobError::new(
            ErrorClass::Bug,
            "the configuration cannot be written as JSON",
        )
        .with_source(error)
    })
}
