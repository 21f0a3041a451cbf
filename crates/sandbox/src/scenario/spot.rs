//! `[spot]`: the Spot organization.

use std::time::Duration;

use serde::Deserialize;

use super::RouteLimits;
use super::duration::duration;

/// The Spot organization and how its API behaves.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpotScenario {
    /// The token that is accepted.
    pub token: String,
    /// Whether the token is an organization administrator's: others may not list all accounts, nor
    /// create, rename or delete any.
    pub token_is_admin: bool,
    /// AWS accounts that are linked to one Spot account by somebody else's role from the start.
    pub linked: usize,
    /// AWS accounts that are linked to two Spot accounts.
    pub linked_twice: usize,
    /// AWS accounts that are linked, but whose role no longer trusts Spot.
    pub linked_drifted: usize,
    /// AWS accounts for which an unlinked Spot account exists, named by the account id: what an
    /// interrupted attempt leaves.
    pub orphaned: usize,
    /// How many of the linked Spot accounts run an Elastigroup and an Ocean cluster.
    pub running_groups: usize,
    /// Whether the management account is linked, with a role that may read billing data.
    pub link_management: bool,
    /// User groups that exist from the start; they may see the organization's default account.
    pub user_groups: usize,
    /// Whether an account's name must contain a letter, as the API document says.
    pub name_needs_letter: bool,
    /// Whether the organization may create accounts.
    pub enrollment: Enrollment,
    /// With `enrollment = "limited"`: how many accounts it may have, existing ones included.
    pub enrollment_limit: usize,
    /// Calls per window, organization, method and route; other routes have `rate_limit`. The route is
    /// written with its placeholders: `"PUT /setup/account/{accountId}"`.
    pub rate_limits: RouteLimits,
    /// Calls per window of a route that `rate_limits` does not name; 0 means unlimited.
    pub rate_limit: u32,
    /// The sliding window of the rate limit, in real time.
    #[serde(deserialize_with = "duration")]
    pub window: Duration,
    /// How long a new external id can be used for a first link, in simulated time.
    #[serde(deserialize_with = "duration")]
    pub external_id_validity: Duration,
    /// Whether only the newest external id of a Spot account works; otherwise each one that is still valid.
    pub only_newest_external_id: bool,
    /// Whether `GET /setup/credentials/aws/externalId/{accountId}` exists (undocumented).
    pub external_id_read: bool,
    /// Whether `GET /setup/credentials/aws` exists (undocumented).
    pub credentials_read: bool,
    /// A resource control policy denies sts:AssumeRole from outside the organization: no link works.
    pub rcp_blocked: bool,
    /// The AWS account of Spot's principal.
    pub principal_account: String,
}

/// `spot.enrollment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enrollment {
    /// As many accounts as one likes.
    Allowed,
    /// Up to `enrollment_limit`.
    Limited,
    /// None.
    Denied,
}

impl Default for SpotScenario {
    fn default() -> Self {
        Self {
            token: "sandboxspottoken".into(),
            token_is_admin: true,
            linked: 0,
            linked_twice: 0,
            linked_drifted: 0,
            orphaned: 0,
            running_groups: 0,
            link_management: false,
            user_groups: 0,
            name_needs_letter: true,
            enrollment: Enrollment::Allowed,
            enrollment_limit: 0,
            rate_limits: RouteLimits::new(),
            rate_limit: 300,
            window: Duration::from_secs(60),
            external_id_validity: Duration::from_secs(24 * 3600),
            only_newest_external_id: true,
            external_id_read: true,
            credentials_read: true,
            rcp_blocked: false,
            principal_account: "922761411349".into(),
        }
    }
}
