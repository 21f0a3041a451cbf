//! How long reading an organization takes at best, per strategy, from call counts, latency and rates. The governor
//! chooses the strategy with it, and the inventory benchmark measures against it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MAX_IN_FLIGHT, Rates};
use crate::inventory::OrganizationSnapshot;

/// AWS Organizations returns at most 20 entries a page (API reference, MaxResults).
pub const PAGE_SIZE: u64 = 20;

const LIST_ACCOUNTS: &str = "organizations:ListAccounts";
const ACCOUNTS_FOR_PARENT: &str = "organizations:ListAccountsForParent";
const UNITS_FOR_PARENT: &str = "organizations:ListOrganizationalUnitsForParent";

/// A way to read the accounts and their parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotStrategy {
    /// One chain of ListAccounts pages, whose accounts carry their `Paths`, beside a walk of the units for their names.
    ListAccounts,
    /// A concurrent walk of the tree: the accounts and the units of each parent.
    Walk,
}

/// How many pages an organization has, in each of the listings. The state keeps the last one, so that the next run
/// chooses its strategy well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingShape {
    /// Pages of ListAccounts.
    pub list_pages: u64,
    /// Pages of ListAccountsForParent over all parents.
    pub account_pages: u64,
    /// The most pages of ListAccountsForParent that one parent has.
    pub longest_account_chain: u64,
    /// Pages of ListOrganizationalUnitsForParent over all parents.
    pub unit_pages: u64,
    /// The longest chain of dependent pages of ListOrganizationalUnitsForParent (levels of the tree, roughly).
    pub unit_chain: u64,
}

impl ListingShape {
    /// An organization whose accounts are spread evenly over its root and its units, in two levels of few units each.
    #[must_use]
    pub fn even(accounts: u64, units: u64) -> Self {
        let parents = units + 1;
        let per_parent = pages(accounts.div_ceil(parents));
        Self {
            list_pages: pages(accounts),
            account_pages: parents * per_parent,
            longest_account_chain: per_parent,
            unit_pages: parents,
            unit_chain: if units == 0 { 1 } else { 3 },
        }
    }

    /// The shape of an organization that was read.
    #[must_use]
    pub fn of(snapshot: &OrganizationSnapshot) -> Self {
        let mut accounts = vec![0_u64; snapshot.units.len()];
        let mut children = vec![0_u64; snapshot.units.len()];
        for account in &snapshot.accounts {
            if let Some(count) = accounts.get_mut(account.parent as usize) {
                *count += 1;
            }
        }
        for unit in &snapshot.units {
            if let Some(count) = unit
                .parent
                .and_then(|parent| children.get_mut(parent as usize))
            {
                *count += 1;
            }
        }
        let chain_of = |index: usize| -> u64 {
            let Ok(index) = u32::try_from(index) else {
                return 0;
            };
            snapshot
                .lineage(index)
                .map(|(ancestor, _)| pages(children[ancestor as usize]))
                .sum()
        };
        Self {
            list_pages: pages(snapshot.accounts.len() as u64),
            account_pages: accounts.iter().map(|count| pages(*count)).sum(),
            longest_account_chain: accounts
                .iter()
                .map(|count| pages(*count))
                .max()
                .unwrap_or(1),
            unit_pages: children.iter().map(|count| pages(*count)).sum(),
            unit_chain: (0..snapshot.units.len()).map(chain_of).max().unwrap_or(1),
        }
    }

    /// The listing pages that a strategy needs.
    #[must_use]
    pub fn calls(&self, strategy: SnapshotStrategy, unit_names_known: bool) -> u64 {
        match strategy {
            SnapshotStrategy::ListAccounts if unit_names_known => self.list_pages,
            SnapshotStrategy::ListAccounts => self.list_pages + self.unit_pages,
            SnapshotStrategy::Walk => self.account_pages + self.unit_pages,
        }
    }
}

/// The least time that each strategy can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// For [`SnapshotStrategy::ListAccounts`].
    pub list_accounts: Duration,
    /// For [`SnapshotStrategy::Walk`].
    pub walk: Duration,
}

impl Bounds {
    /// The faster strategy; ListAccounts when they are equal, because it makes fewer calls.
    #[must_use]
    pub fn better(&self) -> SnapshotStrategy {
        if self.walk < self.list_accounts {
            SnapshotStrategy::Walk
        } else {
            SnapshotStrategy::ListAccounts
        }
    }

    /// The time of the faster strategy.
    #[must_use]
    pub fn best(&self) -> Duration {
        self.list_accounts.min(self.walk)
    }
}

/// The bounds for an organization of this shape with full buckets, [`MAX_IN_FLIGHT`] calls in flight and this latency
/// of a call. `unit_names_known`: the names of the units need no calls.
#[must_use]
pub fn bounds(
    shape: &ListingShape,
    unit_names_known: bool,
    latency: Duration,
    rates: Rates,
) -> Bounds {
    with(shape, unit_names_known, latency, |operation| {
        rates
            .of(operation)
            .map(|rate| (rate.per_second, rate.burst))
    })
}

/// The bounds with a given allowance (calls a second, tokens at hand) per operation.
pub(super) fn with(
    shape: &ListingShape,
    unit_names_known: bool,
    latency: Duration,
    allowance: impl Fn(&str) -> Option<(f64, f64)>,
) -> Bounds {
    let latency = latency.as_secs_f64();
    let in_flight = MAX_IN_FLIGHT as f64;
    // Sending `calls` takes at least: their dependent chain, their share of the connections, their tokens.
    let listing = |operation: &str, calls: u64, chain: u64| -> f64 {
        let calls = calls as f64;
        let by_rate = allowance(operation).map_or(0.0, |(rate, tokens)| {
            // The last call still has to be answered.
            ((calls - tokens).max(0.0) / rate) + latency
        });
        (chain as f64 * latency)
            .max(calls * latency / in_flight)
            .max(by_rate)
    };
    let units = listing(UNITS_FOR_PARENT, shape.unit_pages, shape.unit_chain);
    let list = listing(LIST_ACCOUNTS, shape.list_pages, shape.list_pages);
    let accounts = listing(
        ACCOUNTS_FOR_PARENT,
        shape.account_pages,
        shape.unit_chain + shape.longest_account_chain,
    );
    let together = (shape.account_pages + shape.unit_pages) as f64 * latency / in_flight;
    Bounds {
        list_accounts: Duration::from_secs_f64(if unit_names_known {
            list
        } else {
            list.max(units)
        }),
        walk: Duration::from_secs_f64(units.max(accounts).max(together)),
    }
}

/// The pages that a listing of so many entries has: an empty one has one.
fn pages(entries: u64) -> u64 {
    entries.div_ceil(PAGE_SIZE).max(1)
}
