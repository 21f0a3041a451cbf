//! Targets of stack set operations: as few operations as possible, each with the shorter list of accounts.

use serde::{Deserialize, Serialize};

use crate::ids::{AwsAccountId, OuId};

/// Organizational units per call (CloudFormation API reference, DeploymentTargets).
pub const MAX_OUS_PER_CALL: usize = 50;

/// Accounts per call. CloudFormation publishes no limit; this keeps a form-encoded request around half a megabyte.
pub const MAX_ACCOUNTS_PER_CALL: usize = 10_000;

/// How a list of accounts narrows the organizational units of an operation (CloudFormation's `AccountFilterType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TargetFilter {
    /// All accounts below the organizational units; none is listed.
    #[default]
    None,
    /// Only the listed ones.
    Intersection,
    /// All but the listed ones.
    Difference,
}

/// The accounts that one stack set operation is for. The management account is never among them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OperationTargets {
    /// The root or organizational units, with all that is below them: 1 to [`MAX_OUS_PER_CALL`].
    pub organizational_units: Vec<OuId>,
    /// How `accounts` narrows them.
    pub filter: TargetFilter,
    /// The accounts of the filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<AwsAccountId>,
}

/// One organizational unit with the accounts below it that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OuMembers {
    /// The organizational unit or root.
    pub ou: OuId,
    /// Accounts below it that should be worked on.
    pub due: Vec<AwsAccountId>,
    /// Accounts below it that must be left alone.
    pub exceptions: Vec<AwsAccountId>,
    /// Whether the operation must name it even though nothing below it is due.
    pub required: bool,
}

/// Targets by organizational unit, for auto-deployment: whoever joins meanwhile belongs to the unit anyway, so leaving
/// out the few exceptions is as good as naming everybody.
#[must_use]
pub fn by_ou(members: &[OuMembers]) -> Vec<OperationTargets> {
    let wanted: Vec<&OuMembers> = members
        .iter()
        .filter(|ou| ou.required || !ou.due.is_empty())
        .collect();
    wanted
        .chunks(MAX_OUS_PER_CALL)
        .flat_map(|chunk| {
            let organizational_units: Vec<OuId> = chunk.iter().map(|ou| ou.ou.clone()).collect();
            let due: Vec<AwsAccountId> =
                chunk.iter().flat_map(|ou| ou.due.iter().copied()).collect();
            let exceptions: Vec<AwsAccountId> = chunk
                .iter()
                .flat_map(|ou| ou.exceptions.iter().copied())
                .collect();
            let required = chunk.iter().any(|ou| ou.required);
            if exceptions.is_empty() {
                vec![OperationTargets {
                    organizational_units,
                    filter: TargetFilter::None,
                    accounts: Vec::new(),
                }]
            } else if required || exceptions.len() <= due.len() {
                vec![OperationTargets {
                    organizational_units,
                    filter: TargetFilter::Difference,
                    accounts: exceptions,
                }]
            } else {
                by_account(&organizational_units, &due)
            }
        })
        .collect()
}

/// Targets by account: exactly these, whatever else happens below the units meanwhile.
#[must_use]
pub fn by_account(
    organizational_units: &[OuId],
    accounts: &[AwsAccountId],
) -> Vec<OperationTargets> {
    accounts
        .chunks(MAX_ACCOUNTS_PER_CALL)
        .map(|accounts| OperationTargets {
            organizational_units: organizational_units.to_vec(),
            filter: TargetFilter::Intersection,
            accounts: accounts.to_vec(),
        })
        .collect()
}

/// What Spot's rate limit lets an enrollment do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpotPace {
    /// The limit of the tightest route.
    pub requests_per_minute: u32,
    /// How many requests one account needs of it.
    pub requests_per_account: u32,
    /// How long custom resources wait, in seconds.
    pub service_timeout: u32,
}

/// How many accounts an operation may work on at once: as configured, but no more than its share, by its `accounts` among
/// the `accounts_at_once` of all operations that run at the same time, of what the Spot rate limit lets finish within half
/// of the custom resources' timeout.
#[must_use]
pub fn max_concurrent(
    configured: u32,
    pace: SpotPace,
    accounts: usize,
    accounts_at_once: usize,
) -> u32 {
    let finishing = u64::from(pace.requests_per_minute) * u64::from(pace.service_timeout)
        / 120
        / u64::from(pace.requests_per_account.max(1));
    let share = match accounts_at_once.max(accounts) {
        0 => finishing,
        all => finishing.saturating_mul(accounts as u64) / all as u64,
    };
    configured
        .min(u32::try_from(share).unwrap_or(u32::MAX))
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(number: u64) -> AwsAccountId {
        AwsAccountId::from_number(number).unwrap()
    }

    fn members(ou: usize, due: &[u64], exceptions: &[u64], required: bool) -> OuMembers {
        OuMembers {
            ou: format!("ou-root-{ou:08}").parse().unwrap(),
            due: due.iter().copied().map(account).collect(),
            exceptions: exceptions.iter().copied().map(account).collect(),
            required,
        }
    }

    #[test]
    fn units_without_due_accounts_are_left_out_unless_required() {
        assert!(by_ou(&[members(1, &[], &[5], false)]).is_empty());
        let required = by_ou(&[members(1, &[], &[5], true)]);
        assert_eq!(required[0].filter, TargetFilter::Difference);
        assert_eq!(required[0].accounts, vec![account(5)]);
    }

    #[test]
    fn the_shorter_list_is_sent() {
        let few_exceptions = by_ou(&[members(1, &[1, 2, 3], &[5], false)]);
        assert_eq!(few_exceptions[0].filter, TargetFilter::Difference);
        let few_due = by_ou(&[members(1, &[1], &[5, 6, 7], false)]);
        assert_eq!(few_due[0].filter, TargetFilter::Intersection);
        assert_eq!(few_due[0].accounts, vec![account(1)]);
        assert_eq!(
            by_ou(&[members(1, &[1], &[], false)])[0].filter,
            TargetFilter::None
        );
    }

    #[test]
    fn calls_name_at_most_fifty_units() {
        let many: Vec<OuMembers> = (0..120)
            .map(|ou| members(ou, &[ou as u64], &[], false))
            .collect();
        let sizes: Vec<usize> = by_ou(&many)
            .iter()
            .map(|targets| targets.organizational_units.len())
            .collect();
        assert_eq!(sizes, [50, 50, 20]);
    }

    fn pace(requests_per_minute: u32, requests_per_account: u32, service_timeout: u32) -> SpotPace {
        SpotPace {
            requests_per_minute,
            requests_per_account,
            service_timeout,
        }
    }

    #[test]
    fn concurrency_is_bounded_by_what_spot_lets_finish() {
        assert_eq!(max_concurrent(50, pace(60, 2, 3600), 9000, 9000), 50);
        assert_eq!(max_concurrent(5000, pace(60, 2, 3600), 9000, 9000), 900);
        assert_eq!(max_concurrent(50, pace(1, 10, 60), 9000, 9000), 1);
        assert_eq!(max_concurrent(50, pace(60, 2, 3600), 0, 0), 50);
    }

    #[test]
    fn operations_that_run_at_the_same_time_share_what_spot_lets_finish() {
        let pace = pace(60, 2, 3600);
        let each = [6000, 2000, 999, 1].map(|accounts| max_concurrent(5000, pace, accounts, 9000));
        assert_eq!(each, [600, 200, 99, 1]);
        assert!(each.iter().sum::<u32>() <= max_concurrent(5000, pace, 9000, 9000));
        assert_eq!(max_concurrent(50, pace, 6000, 9000), 50, "as configured");
    }
}
