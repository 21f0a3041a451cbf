//! The least time in which an organization of a given shape can be read, from the number of calls, the latency of one
//! call and the token buckets of the Organizations API.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// Entries on a page of every Organizations listing.
const PAGE: usize = 20;

/// The two ways to read an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    /// One chain of ListAccounts pages, whose `Paths` say where accounts are, beside a walk for the units' names.
    Accounts,
    /// A concurrent walk of the tree that lists the units and the accounts of each parent.
    Tree,
}

/// A token bucket: calls a second, and calls at once.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: f64,
    burst: f64,
}

/// The published buckets of one account (AWS Organizations user guide, "Throttling limits").
fn bucket(operation: &str) -> Bucket {
    match operation {
        "organizations:ListAccounts" => Bucket {
            rate: 8.0,
            burst: 12.0,
        },
        "organizations:ListAccountsForParent"
        | "organizations:ListOrganizationalUnitsForParent" => Bucket {
            rate: 5.0,
            burst: 8.0,
        },
        _ => Bucket {
            rate: 1.0,
            burst: 2.0,
        },
    }
}

/// The shape of an organization: per parent (the root and each unit) its child units and its accounts.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Parent id → number of child units, number of accounts directly in it.
    pub(super) parents: BTreeMap<String, (usize, usize)>,
    /// Levels of units below the root.
    pub(super) depth: usize,
}

impl Shape {
    /// The shape of an organization, from the lists of the sandbox's admin API.
    pub(super) fn of(units: &[Value], accounts: &[Value]) -> Result<Self> {
        let mut shape = Self::default();
        let field = |entry: &Value, name: &str| entry[name].as_str().map(str::to_owned);
        let mut parents = BTreeMap::new();
        for unit in units {
            let id = field(unit, "id").context("a unit without an id")?;
            shape.parents.entry(id.clone()).or_default();
            if let Some(parent) = field(unit, "parent") {
                shape.parents.entry(parent.clone()).or_default().0 += 1;
                parents.insert(id, parent);
            }
        }
        for unit in parents.keys() {
            let lineage = std::iter::successors(Some(unit), |unit| parents.get(*unit));
            shape.depth = shape.depth.max(lineage.count() - 1);
        }
        for account in accounts {
            let parent = field(account, "parent").context("an account without a parent")?;
            shape.parents.entry(parent).or_default().1 += 1;
        }
        Ok(shape)
    }

    /// How many accounts there are, the management account included.
    pub(super) fn accounts(&self) -> usize {
        self.parents.values().map(|(_, accounts)| accounts).sum()
    }

    fn pages(&self, strategy: Strategy) -> BTreeMap<&'static str, usize> {
        let pages = |entries: usize| entries.div_ceil(PAGE).max(1);
        let units = self.parents.values().map(|(units, _)| pages(*units)).sum();
        let accounts = match strategy {
            Strategy::Accounts => ("organizations:ListAccounts", pages(self.accounts())),
            Strategy::Tree => {
                let pages = self
                    .parents
                    .values()
                    .map(|(_, accounts)| pages(*accounts))
                    .sum();
                ("organizations:ListAccountsForParent", pages)
            }
        };
        BTreeMap::from([
            ("organizations:DescribeOrganization", 1),
            ("organizations:ListRoots", 1),
            ("organizations:ListOrganizationalUnitsForParent", units),
            accounts,
        ])
    }

    /// Calls that a strategy cannot do without.
    pub(super) fn calls(&self, strategy: Strategy) -> usize {
        self.pages(strategy).values().sum()
    }

    /// The bound: the longest of what one after the other takes, what so many at a time take, and what the buckets let
    /// through. `share` is the part of the published rates that we take, `None` when there are no rates.
    pub(super) fn bound(
        &self,
        strategy: Strategy,
        latency: Duration,
        share: Option<f64>,
        concurrency: usize,
    ) -> Duration {
        let latency = latency.as_secs_f64();
        let pages = self.pages(strategy);
        // The organization and the root come first, then a level of the tree is known only after the one above it.
        let chain = match strategy {
            Strategy::Accounts => pages
                .get("organizations:ListAccounts")
                .copied()
                .unwrap_or(0)
                .max(self.depth + 1),
            Strategy::Tree => self.depth + 1,
        };
        let one_after_the_other = (1 + chain) as f64 * latency;
        // Until the root's units are known, there is nothing to do at a time.
        const FIRST: usize = 3;
        let first = self.calls(strategy).min(FIRST);
        let rounds =
            (self.calls(strategy) - first).div_ceil(concurrency.max(1)) + first.saturating_sub(1);
        let at_a_time = rounds as f64 * latency;
        let buckets = share.map_or(0.0, |share| {
            let wait = |(operation, calls): (&&str, &usize)| {
                let Bucket { rate, burst } = bucket(operation);
                (*calls as f64 - burst * share) / (rate * share)
            };
            pages.iter().map(wait).fold(0.0, f64::max) + latency
        });
        Duration::from_secs_f64(one_after_the_other.max(at_a_time).max(buckets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 10,000 accounts in 400 units below the root, as the bench has it.
    fn large() -> Shape {
        let mut shape = Shape {
            depth: 3,
            ..Shape::default()
        };
        shape.parents.insert("r-root".into(), (20, 1));
        for unit in 0..400 {
            shape.parents.insert(format!("ou-{unit}"), (1, 25));
        }
        shape
    }

    #[test]
    fn needed_calls_are_counted_by_page() {
        assert_eq!(large().calls(Strategy::Accounts), 1 + 1 + 401 + 501);
        assert_eq!(large().calls(Strategy::Tree), 1 + 1 + 401 + 1 + 400 * 2);
    }

    #[test]
    fn the_chain_of_pages_binds_without_rates() {
        let bound = large().bound(Strategy::Accounts, Duration::from_millis(25), None, 16);
        assert_eq!(bound, Duration::from_millis(502 * 25));
    }

    #[test]
    fn names_of_units_bind_with_the_published_rates() {
        let bound = large().bound(Strategy::Accounts, Duration::from_millis(25), Some(1.0), 16);
        assert!(
            (bound.as_secs_f64() - (401.0 - 8.0) / 5.0).abs() < 0.1,
            "{bound:?}"
        );
    }

    #[test]
    fn the_walk_is_faster_without_rates_and_slower_with_them() {
        let latency = Duration::from_millis(25);
        let bound = |strategy, share| large().bound(strategy, latency, share, 32);
        assert!(bound(Strategy::Tree, None) < bound(Strategy::Accounts, None));
        assert!(bound(Strategy::Tree, Some(1.0)) > bound(Strategy::Accounts, Some(1.0)));
    }
}
