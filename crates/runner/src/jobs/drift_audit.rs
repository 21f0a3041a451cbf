//! `drift-audit`, configured: what differs from what it should be, and what mends that when it is asked to fix. What is decided is
//! [`onboarding_core::drift_audit`]; the accounts are looked at in [`accounts`](super::accounts).

use onboarding_core::drift_audit::{Detection, Suppression};
use parking_lot::Mutex;

use super::{
    accounts::{OnAccounts, Rule},
    stackset_sync::StackSetSync,
};
use crate::{
    config::DriftAuditParams,
    engine::{Asked, JobError},
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
            reason: suppress.reason.clone(),
            until: suppress.until.end(),
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
                fixes: params.fix || asked.fix,
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
            read: Mutex::default(),
        })
    }
}
