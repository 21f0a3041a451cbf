//! A plan that somebody looks at before it is applied: what it was made from, until when it holds, and its steps.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use onboarding_core::{
    ids::{AwsAccountId, Region},
    plan::{
        Estimate, Finding, Plan, Refusal, Summary,
        consent::{ConsentedStep, consented},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::journal::RunId;

/// The form of the document. A program reads no other than its own.
const FORMAT: u32 = 1;

/// Whether the steps of a run may be applied.
#[derive(Debug, Clone, Default)]
pub enum Consent {
    /// As they are planned.
    #[default]
    NotNeeded,
    /// Not before somebody has approved them: the plan is kept, and the run ends.
    Needed {
        /// What the plan is made from.
        basis: Basis,
        /// How long it can be approved.
        lifetime: Duration,
    },
    /// As far as this plan has them.
    Given {
        /// The plan that was looked at.
        plan: Arc<PlanDocument>,
        /// What a plan would be made from now.
        basis: Basis,
        /// Whether the journal keeps it, by the run that made it.
        is_kept: bool,
    },
}

impl Consent {
    /// The run whose plan is applied, where the journal keeps that plan.
    #[must_use]
    pub fn kept_plan(&self) -> Option<&str> {
        match self {
            Self::Given {
                plan,
                is_kept: true,
                ..
            } => Some(&plan.run_id),
            Self::NotNeeded | Self::Needed { .. } | Self::Given { .. } => None,
        }
    }
}

/// What an operator asks for beside the job's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Asked {
    /// Accounts that failed are tried again now, whatever their clock says.
    pub retry_failed: bool,
    /// What an audit finds is mended, where that can be done.
    #[serde(default)]
    pub fix: bool,
}

/// What a plan is made from. When any of it is another, the plan is void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// The version of this program.
    pub program: String,
    /// The job.
    pub job: String,
    /// The job's kind.
    pub kind: String,
    /// The home account.
    pub home_account: AwsAccountId,
    /// The home Region.
    pub region: Region,
    /// The address of Spot's API.
    pub spot: String,
    /// What was asked for beside the job's definition.
    #[serde(flatten)]
    pub asked: Asked,
    /// SHA-256 digests of the configuration, the job, the guard rails, each policy and each template, by what they are of.
    pub digests: BTreeMap<String, String>,
}

impl Basis {
    /// What is another now, in words.
    #[must_use]
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let mut words = Vec::new();
        let mut compare = |what: &str, then: &str, now: &str| {
            if then != now {
                words.push(format!("{what} (was {then}, is {now})"));
            }
        };
        compare("the program's version", &self.program, &now.program);
        compare("the job", &self.job, &now.job);
        compare("the job's kind", &self.kind, &now.kind);
        compare(
            "the home account",
            &self.home_account.to_string(),
            &now.home_account.to_string(),
        );
        compare(
            "the home Region",
            &self.region.to_string(),
            &now.region.to_string(),
        );
        compare("the address of Spot", &self.spot, &now.spot);
        let names = self.digests.keys().chain(now.digests.keys());
        let mut changed: Vec<String> = names
            .filter(|name| self.digests.get(*name) != now.digests.get(*name))
            .cloned()
            .collect();
        changed.sort_unstable();
        changed.dedup();
        words.extend(changed);
        words
    }
}

/// A plan as a document: `runner plan -o FILE` writes it, `runner apply FILE` takes it, and the state keeps those that wait
/// for an approval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanDocument {
    /// The form of the document.
    pub format: u32,
    /// The run that made it.
    pub run_id: String,
    /// What it was made from.
    pub basis: Basis,
    /// When it was made.
    pub made_at: Timestamp,
    /// From when on it is no longer applied.
    pub expires_at: Timestamp,
    /// The counts of accounts when it was made.
    pub summary: Summary,
    /// The steps, with why each of their accounts was due.
    pub steps: Vec<ConsentedStep>,
    /// What a person should know.
    pub findings: Vec<Finding>,
    /// What guard rails refused.
    pub refusals: Vec<Refusal>,
}

impl PlanDocument {
    /// The plan of a run that only looked.
    #[must_use]
    pub fn new(run: RunId, basis: Basis, plan: &Plan, now: Timestamp, lifetime: Duration) -> Self {
        Self {
            format: FORMAT,
            run_id: run.to_string(),
            basis,
            made_at: now,
            expires_at: now.checked_add(lifetime).unwrap_or(Timestamp::MAX),
            summary: Summary::of(&plan.accounts, &plan.accounts, true),
            steps: consented(plan),
            findings: plan.findings.clone(),
            refusals: plan.refusals.clone(),
        }
    }

    /// Reads one. The form is looked at first: another version's may have other parts.
    ///
    /// # Errors
    /// Why it cannot be read, for people.
    pub fn read(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        match value.get("format").and_then(Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(other) => {
                return Err(format!(
                    "it has form {other}, and this program reads form {FORMAT}"
                ));
            }
            None => return Err("it does not say what form it has".to_owned()),
        }
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    /// Whether another one would do the same, for the same reasons, under the same rules.
    #[must_use]
    pub fn does_the_same(&self, other: &Self) -> bool {
        let steps = |plan: &Self| -> Vec<ConsentedStep> {
            let mut steps = plan.steps.clone();
            for step in &mut steps {
                // How long it will take depends on what goes on beside it.
                step.step.estimate = Estimate::default();
            }
            steps
        };
        self.basis == other.basis && steps(self) == steps(other)
    }

    /// Why nothing of it may be applied, and what to do.
    #[must_use]
    pub fn void(&self, now: Timestamp, basis: &Basis) -> Option<(&'static str, String)> {
        let again = "plan again, and have the new plan looked at";
        if now >= self.expires_at {
            return Some((
                "plan-expired",
                format!("the plan expired at {}; {again}", self.expires_at),
            ));
        }
        if self.refusals.iter().any(|refusal| refusal.whole_plan) {
            return Some((
                "plan-refused",
                format!("a guard rail refused the plan when it was made; {again}"),
            ));
        }
        let differences = self.basis.differences(basis);
        (!differences.is_empty()).then(|| {
            let message = format!(
                "since the plan was made, this has changed: {}; {again}",
                differences.join(", ")
            );
            ("plan-void", message)
        })
    }
}
