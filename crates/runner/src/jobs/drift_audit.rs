//! `drift-audit`, configured: what differs from what it should be, and what mends that when it is asked to fix. What is decided is
//! [`onboarding_core::drift_audit`]; the accounts are looked at in [`accounts`](super::accounts).

use aws_ops::aggregator::AggregatorPlace;
use onboarding_core::{
    drift_audit::{Detection, Suppression},
    plan::Severity,
};
use parking_lot::Mutex;

use super::{
    accounts::{OnAccounts, Rule, truth::AggregatorSource},
    stackset_sync::StackSetSync,
};
use crate::{
    config::{Accepted, DriftAuditParams},
    engine::{Asked, ErrorClass, JobError},
    home::Home,
};

impl OnAccounts {
    /// Configures an audit.
    ///
    /// # Errors
    /// As [`StackSetSync::new`].
    pub fn audit(home: Home, params: &DriftAuditParams, asked: Asked) -> Result<Self, JobError> {
        let suppressions = params.suppress.iter().map(|suppress| Suppression {
            finding: suppress.finding.clone(),
            most: match suppress.severity {
                Accepted::Warning => Severity::Warning,
                Accepted::Error => Severity::Error,
            },
            reason: suppress.reason.clone(),
            until: suppress.until.end(),
        });
        let fixes = params.fix || asked.fix;
        if fixes && params.aggregator.is_some() && home.access.is_none() {
            return Err(JobError::new(
                ErrorClass::Invalid,
                "--fix needs a role to read the accounts through: AWS Config tells of the past, and what is mended must be read in the \
                 account before and after; set audit.enabled in runner.toml",
            ));
        }
        let aggregator = params.aggregator.as_ref().map(|aggregator| {
            let home_region = &home.config.runner.aws.region;
            AggregatorSource {
                place: AggregatorPlace {
                    name: aggregator.name.0.0.clone(),
                    region: aggregator.region.as_ref().unwrap_or(home_region).0.clone(),
                    role: aggregator.role.as_ref().map(|role| role.0.clone()),
                    session_name: "spot-onboarding".to_owned(),
                },
                max_age: i64::try_from(aggregator.max_age.get().as_secs()).unwrap_or(i64::MAX),
            }
        });
        let mut sync = StackSetSync::new(home, &params.profiles, asked.retry_failed)?;
        sync.desired.remakes = params
            .remake
            .iter()
            .map(|remake| (*remake).into())
            .collect();
        Ok(Self {
            rule: Rule::Audit {
                suppressions: suppressions.collect(),
                fixes,
            },
            sync,
            profiles: params.profiles.clone(),
            depth: params.depth,
            ask_spot: params.ask_spot,
            concurrency: params.concurrency,
            unused_after: i64::try_from(params.unused_after.get().as_secs()).ok(),
            detection: params.cloudformation_drift.then(|| {
                let max_age = params.cloudformation_drift_max_age.get().as_secs();
                Detection {
                    max_age: i64::try_from(max_age).unwrap_or(i64::MAX),
                }
            }),
            token_max_age: params
                .token_max_age
                .and_then(|age| i64::try_from(age.get().as_secs()).ok()),
            aggregator,
            read: Mutex::default(),
            worked_on: Mutex::default(),
            documents: Mutex::default(),
        })
    }
}
