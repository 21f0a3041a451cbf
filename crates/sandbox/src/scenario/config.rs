//! `[config]`: AWS Config, whose aggregator has copies of what recorders in the accounts captured of IAM.

use std::time::Duration;

use serde::Deserialize;

use super::ZERO;
use super::duration::duration;

/// AWS Config. The accounts that something is wrong with are drawn from the end of the order in which special accounts are drawn.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigScenario {
    /// Whether recorders and aggregator exist.
    pub enabled: bool,
    /// The name of the aggregator, which is in the home Region.
    pub aggregator: String,
    /// Whether it is in a member account instead of the management account.
    pub in_member: bool,
    /// The Regions that it collects from.
    pub regions: Vec<String>,
    /// Those of them in which IAM is recorded.
    pub iam_regions: Vec<String>,
    /// Simulated time between two looks of a recorder; zero sees every change at once.
    #[serde(deserialize_with = "duration")]
    pub capture: Duration,
    /// Accounts without a recorder.
    pub unrecorded: usize,
    /// Accounts that cannot be collected from.
    pub failing: usize,
    /// Accounts that were collected from three days ago, and not since.
    pub stale: usize,
    /// Accounts whose recorder was stopped after its first look: what it saw stays as it is.
    pub stopped: usize,
    /// Accounts of whose recorder AWS Config has nothing.
    pub untold: usize,
    /// Most resources of a batch that are processed; the others come back unprocessed.
    pub batch: usize,
}

impl Default for ConfigScenario {
    fn default() -> Self {
        Self {
            enabled: false,
            aggregator: "organization".into(),
            in_member: false,
            regions: vec!["us-east-1".into()],
            iam_regions: vec!["us-east-1".into()],
            capture: ZERO,
            unrecorded: 0,
            failing: 0,
            stale: 0,
            stopped: 0,
            untold: 0,
            batch: 100,
        }
    }
}
