//! Taking stray policies away in member accounts, and deleting stacks that were left there, through the remediation role, and what is
//! read for that alone.

use std::{collections::BTreeMap, sync::Arc};

use aws_ops::{AccessRole, AccountRemediation, Aws};
use onboarding_core::{
    drift::{RoleTruth, TruthReading},
    inventory::PolicyReading,
};
use parking_lot::Mutex;

use crate::config::RunnerConfig;

/// See the module documentation. Clones share what was read.
#[derive(Clone)]
pub struct Remediation {
    /// The remediation role of the accounts.
    pub role: AccountRemediation,
    /// Whether stacks that were left are deleted through it.
    pub deletes_leftover_stacks: bool,
    aws: Aws,
    /// What AWS's own managed policies say, by ARN: the same in every account.
    policies: Arc<Mutex<BTreeMap<String, PolicyReading>>>,
}

impl Remediation {
    /// As configured; none when stray policies are left to a person. Asks AWS nothing.
    pub(super) fn of(config: &RunnerConfig, aws: &Aws) -> Option<Self> {
        let remediation = &config.remediation;
        let role = AccessRole {
            partition: config.partition().as_str().to_owned(),
            path: remediation.path.0.0.clone(),
            name: remediation.name.0.0.clone(),
            session_name: "spot-onboarding-remediation".to_owned(),
        };
        remediation.enabled.then(|| Self {
            role: AccountRemediation::new(aws, role),
            deletes_leftover_stacks: remediation.leftover_stacks,
            aws: aws.clone(),
            policies: Arc::default(),
        })
    }

    /// The same with what AWS's own managed policies say that are attached: only what is known to deny nothing is taken away.
    /// One that cannot be read stays unread.
    pub async fn complete(&self, truth: TruthReading) -> TruthReading {
        let TruthReading::Present(mut truth) = truth else {
            return truth;
        };
        let RoleTruth { attached, .. } = &mut *truth;
        for policy in attached {
            if is_of_aws(&policy.arn) && matches!(policy.document, PolicyReading::Unread(_)) {
                policy.document = self.policy(&policy.arn).await;
            }
        }
        TruthReading::Present(truth)
    }

    async fn policy(&self, arn: &str) -> PolicyReading {
        let known = self.policies.lock().get(arn).cloned();
        if let Some(known) = known {
            return known;
        }
        match self.aws.default_version(arn).await {
            Ok(read) => {
                self.policies.lock().insert(arn.to_owned(), read.clone());
                read
            }
            Err(error) => PolicyReading::Unread(error.to_string()),
        }
    }
}

/// Whether a managed policy is one of AWS's: `arn:aws:iam::aws:policy/…`.
fn is_of_aws(arn: &str) -> bool {
    arn.split(':').nth(4) == Some("aws")
}
