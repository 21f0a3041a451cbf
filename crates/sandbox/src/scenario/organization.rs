//! `[organization]`: size and shape of the organization, and how its API behaves.

use std::time::Duration;

use serde::Deserialize;

use super::duration::duration;

/// The organization. Accounts are spread unevenly but deterministically over the units and the root.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OrganizationScenario {
    /// Member accounts; the management account comes on top.
    pub accounts: usize,
    /// Organizational units.
    pub ous: usize,
    /// Levels of organizational units below the root, at most 5 (AWS's quota).
    pub depth: usize,
    /// Accounts that AWS suspended (`State` SUSPENDED).
    pub suspended: usize,
    /// Accounts that were closed (`State` CLOSED, `Status` SUSPENDED) and are still listed.
    pub closed: usize,
    /// Accounts in which a service control policy denies `scp_denied_actions`.
    pub scp_blocked: usize,
    /// What the service control policy denies, as IAM action patterns.
    pub scp_denied_actions: Vec<String>,
    /// Tags on accounts, drawn for each entry anew.
    pub tags: Vec<TagScenario>,
    /// Accounts that were invited instead of created: they have no OrganizationAccountAccessRole.
    pub invited: usize,
    /// False makes it an organization with consolidated billing only.
    pub all_features: bool,
    /// Token buckets with the published rates of the Organizations API.
    pub rates: bool,
    /// Probability that a listing answers an empty page with a token, as AWS may.
    pub empty_pages: f64,
    /// Whether ListAccounts and DescribeAccount carry `Paths`, and units their `Path`.
    pub paths: bool,
    /// Whether accounts still carry the `Status` that AWS replaced by `State`.
    pub legacy_status: bool,
    /// Whether accounts carry `State`; false is an API of before 2025.
    pub state: bool,
    /// Whether StackSets' trusted access is activated from the start.
    pub trusted_access: bool,
    /// Simulated time that CreateAccount takes.
    #[serde(deserialize_with = "duration")]
    pub create_account_time: Duration,
    /// Simulated time that CloseAccount takes.
    #[serde(deserialize_with = "duration")]
    pub close_account_time: Duration,
    /// Simulated time that a closed account stays listed (AWS: about 90 days).
    #[serde(deserialize_with = "duration")]
    pub closed_account_stays: Duration,
    /// Accounts that the organization may have, closed ones included (AWS: 10,000 at most; more here
    /// for measuring).
    pub account_limit: usize,
}

/// A tag that some member accounts carry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagScenario {
    /// Its key.
    pub key: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
    /// How many accounts carry it. Entries with one key are of different accounts.
    pub accounts: usize,
}

impl Default for OrganizationScenario {
    fn default() -> Self {
        Self {
            accounts: 12,
            ous: 4,
            depth: 2,
            suspended: 0,
            closed: 0,
            scp_blocked: 0,
            scp_denied_actions: vec![
                "iam:CreateRole".into(),
                "iam:CreatePolicy".into(),
                "iam:PutRolePolicy".into(),
                "iam:AttachRolePolicy".into(),
            ],
            tags: Vec::new(),
            invited: 0,
            all_features: true,
            rates: true,
            empty_pages: 0.0,
            paths: true,
            legacy_status: true,
            state: true,
            trusted_access: false,
            create_account_time: Duration::from_secs(60),
            close_account_time: Duration::from_secs(120),
            closed_account_stays: Duration::from_secs(90 * 24 * 3600),
            account_limit: 200_000,
        }
    }
}
