//! Parameters of a kind `drift-audit` job.

use std::{fmt, str::FromStr};

use jiff::{civil::Date, tz::TimeZone};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    aggregator::AggregatorConfig,
    duration::{self, HumanDuration},
    enroll::Remake,
    text::{Text, TextForm},
};

/// Parameters of a kind `drift-audit` job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DriftAuditParams {
    /// The profiles that it audits, by name; all when empty.
    pub profiles: Vec<String>,
    /// What is looked at.
    pub depth: AuditDepth,
    /// Whether Spot is asked which role and external ID it uses for each account, at full depth, and whether its validation of Cost
    /// Intelligence succeeds where that is on: two or three calls per account, at about 60 a minute.
    /// Otherwise the role is the one that was linked last, as the state remembers it, and Spot is asked for the others only.
    pub ask_spot: bool,
    /// An aggregator of AWS Config that tells at full depth what IAM has, instead of the audit role: by pages, without a role in the
    /// accounts, and as AWS Config saw it last. What `fix` mends is read in the account before and after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregator: Option<AggregatorConfig>,
    /// Accounts that are read at the same time, at full depth.
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: u32,
    /// How long a role may go unused, at full depth: Spot uses one all the time, and IAM tells it with a delay of up to four hours.
    /// AWS Config does not tell it.
    pub unused_after: Text<HumanDuration>,
    /// Whether CloudFormation's own drift detection is asked as well, so that both verdicts stand side by side. It is an operation
    /// of the stack set, which others wait for, and is never started while another one is going on.
    pub cloudformation_drift: bool,
    /// How old CloudFormation's last look may be before it is asked to look again.
    pub cloudformation_drift_max_age: Text<HumanDuration>,
    /// How long the Spot token may stay unchanged in AWS Secrets Manager or Systems Manager Parameter Store before that is a
    /// finding. Spot does not tell when a token ends. Not judged without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_max_age: Option<Text<HumanDuration>>,
    /// Whether what is found is mended, where `enroll` or the remediation role can. `--set` cannot change it; `--fix` asks for one run.
    pub fix: bool,
    /// For the loss of what a stack is removed and made anew, where it mends; the other is left to a person. `--set` cannot change it.
    pub remake: Vec<Remake>,
    /// Findings that are accepted.
    pub suppress: Vec<SuppressConfig>,
}

impl Default for DriftAuditParams {
    fn default() -> Self {
        Self {
            profiles: Vec::new(),
            depth: AuditDepth::Coverage,
            ask_spot: false,
            aggregator: None,
            concurrency: 32,
            unused_after: duration::seconds(7 * 24 * 3600),
            cloudformation_drift: false,
            cloudformation_drift_max_age: duration::seconds(12 * 3600),
            token_max_age: None,
            fix: false,
            remake: Remake::ALL.into(),
            suppress: Vec::new(),
        }
    }
}

/// What an audit looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditDepth {
    /// What AWS Organizations, CloudFormation and Spot list: no call for any single account.
    #[default]
    Coverage,
    /// That, and what IAM has in each enrolled account, read through the audit role (`audit.enabled`): about eight calls per
    /// account. `drift-audit` can read it from an aggregator of AWS Config instead (`params.aggregator`), by pages.
    Full,
}

/// Findings that are accepted: they are only worth knowing until that day, and are told again after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SuppressConfig {
    /// The finding's id, as reports have it; a `*` at the end stands for any characters.
    #[schemars(length(min = 2))]
    pub finding: String,
    /// How bad they may be. What was accepted as a warning is told when it becomes an error, such as a policy of the same name that
    /// grants more.
    #[serde(default)]
    pub severity: Accepted,
    /// Why.
    #[schemars(length(min = 1))]
    pub reason: String,
    /// The last day on which it is accepted (UTC).
    pub until: Text<Day>,
}

/// How bad a finding may be that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Accepted {
    /// A warning: an error is told all the same.
    #[default]
    Warning,
    /// A warning or an error.
    Error,
}

/// A day of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(Date);

impl Day {
    /// The first moment after it, in Unix seconds (UTC).
    #[must_use]
    pub fn end(self) -> i64 {
        let next = self.0.tomorrow().unwrap_or(self.0);
        next.to_zoned(TimeZone::UTC)
            .map_or(i64::MAX, |moment| moment.timestamp().as_second())
    }
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .map(Self)
            .map_err(|_| format!("{text:?} is not a day such as 2026-12-31"))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TextForm for Day {
    const FORMAT: &'static str = "day";
    const EXPECTED: &'static str = "a day in quotes (\"2026-12-31\")";
}
