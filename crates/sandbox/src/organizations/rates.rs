//! The token buckets of the Organizations API.
//!
//! Rates and bursts are those that AWS publishes ("Quotas and service limits for AWS Organizations",
//! API throttling limits): per calling account, and for the whole organization.

use std::collections::HashMap;
use std::time::Instant;

use crate::ids::AccountId;

/// One bucket: tokens per second, and how many it holds.
#[derive(Clone, Copy, Debug)]
struct Limit {
    rate: f64,
    burst: f64,
}

/// Buckets by operation and account (`None`: the organization).
#[derive(Debug, Default)]
pub(crate) struct Rates {
    buckets: HashMap<(&'static str, Option<AccountId>), Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    refilled: Instant,
}

impl Rates {
    /// Takes a token of the caller's and of the organization's bucket; false when one is empty.
    pub(crate) fn take(&mut self, operation: &str, account: AccountId, now: Instant) -> bool {
        let Some((operation, own, shared)) = limits(operation) else {
            return true;
        };
        let keys = [
            Some((Some(account), own)),
            shared.map(|limit| (None, limit)),
        ];
        let mut enough = true;
        for (of, limit) in keys.into_iter().flatten() {
            let bucket = self.buckets.entry((operation, of)).or_insert(Bucket {
                tokens: limit.burst,
                refilled: now,
            });
            let passed = now.saturating_duration_since(bucket.refilled).as_secs_f64();
            bucket.tokens = (bucket.tokens + passed * limit.rate).min(limit.burst);
            bucket.refilled = now;
            enough &= bucket.tokens >= 1.0;
        }
        if enough {
            for (of, _) in keys.into_iter().flatten() {
                if let Some(bucket) = self.buckets.get_mut(&(operation, of)) {
                    bucket.tokens -= 1.0;
                }
            }
        }
        enough
    }
}

/// An operation's limits: per account, and per organization where there is one.
fn limits(operation: &str) -> Option<(&'static str, Limit, Option<Limit>)> {
    TABLE
        .iter()
        .find(|row| row.0 == operation)
        .map(|(name, rate, burst, shared)| {
            (
                *name,
                Limit {
                    rate: *rate,
                    burst: *burst,
                },
                shared.map(|(rate, burst)| Limit { rate, burst }),
            )
        })
}

type Row = (&'static str, f64, f64, Option<(f64, f64)>);

const TABLE: &[Row] = &[
    ("DescribeOrganization", 1.0, 2.0, None),
    ("ListRoots", 1.0, 2.0, Some((1.0, 3.0))),
    (
        "ListOrganizationalUnitsForParent",
        5.0,
        8.0,
        Some((6.0, 10.0)),
    ),
    ("ListAccountsForParent", 5.0, 8.0, Some((6.0, 10.0))),
    ("ListAccounts", 8.0, 12.0, Some((9.0, 15.0))),
    ("ListParents", 5.0, 8.0, Some((6.0, 10.0))),
    ("ListChildren", 6.0, 10.0, Some((7.0, 12.0))),
    ("DescribeAccount", 20.0, 30.0, Some((24.0, 36.0))),
    ("DescribeOrganizationalUnit", 2.0, 2.0, Some((2.0, 3.0))),
    ("ListTagsForResource", 10.0, 15.0, Some((12.0, 18.0))),
    ("MoveAccount", 2.0, 3.0, None),
    ("CreateAccount", 0.1, 3.0, None),
    ("DescribeCreateAccountStatus", 2.0, 2.0, Some((2.0, 3.0))),
    ("ListCreateAccountStatus", 5.0, 8.0, Some((6.0, 10.0))),
    ("CloseAccount", 0.05, 1.0, None),
    ("RemoveAccountFromOrganization", 2.0, 2.0, None),
    ("EnableAWSServiceAccess", 1.0, 2.0, None),
    ("DisableAWSServiceAccess", 1.0, 2.0, None),
    (
        "ListAWSServiceAccessForOrganization",
        1.0,
        3.0,
        Some((1.0, 4.0)),
    ),
    ("ListDelegatedAdministrators", 5.0, 8.0, Some((6.0, 10.0))),
    (
        "ListDelegatedServicesForAccount",
        1.0,
        3.0,
        Some((1.0, 4.0)),
    ),
    ("RegisterDelegatedAdministrator", 1.0, 2.0, None),
    ("DeregisterDelegatedAdministrator", 1.0, 2.0, None),
    ("TagResource", 4.0, 6.0, None),
    ("UntagResource", 4.0, 6.0, None),
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let account = AccountId(1);
        let at_once = (0..20)
            .filter(|_| rates.take("ListAccounts", account, start))
            .count();
        assert_eq!(at_once, 12);
        let later = start + Duration::from_secs(1);
        let refilled = (0..20)
            .filter(|_| rates.take("ListAccounts", account, later))
            .count();
        assert_eq!(refilled, 8);
    }

    #[test]
    fn callers_share_the_organization_bucket() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let first = (0..20)
            .filter(|_| rates.take("ListAccounts", AccountId(1), start))
            .count();
        let second = (0..20)
            .filter(|_| rates.take("ListAccounts", AccountId(2), start))
            .count();
        assert_eq!((first, second), (12, 3));
    }
}
