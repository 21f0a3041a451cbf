//! The configuration items of some accounts' roles and of the managed policies that are attached to these.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use aws_ops::{
    AwsError,
    aggregator::{Aggregator, Captured, Listed, Named},
};
use onboarding_core::{
    ids::{AwsAccountId, Region},
    inventory::{RecordedPolicy, RecordedRole},
};

use super::{Known, Readable};

/// See the module documentation.
pub(super) struct Recorded {
    roles: BTreeMap<Region, Captured<RecordedRole>>,
    /// The managed policies of each account by ARN, as each Region recorded them.
    pub(super) policies: HashMap<AwsAccountId, Policies>,
}

/// An account's managed policies by ARN, as each Region recorded them.
pub(super) type Policies = BTreeMap<String, BTreeMap<Region, RecordedPolicy>>;

impl Recorded {
    /// Reads them, in each Region that can be read.
    pub(super) async fn read(
        aggregator: &Aggregator,
        known: &Known,
        accounts: &[Readable<'_>],
    ) -> Result<Self, AwsError> {
        let mut roles = BTreeMap::new();
        for (region, accounts) in by_region(accounts) {
            let listed = accounts.iter().flat_map(|account| {
                let name = account.meant.name.as_str();
                known.roles_of(account.subject.account, name)
            });
            let listed: Vec<&Listed> = listed.collect();
            let captured = aggregator.captured_roles(&region, &listed).await?;
            roles.insert(region, captured);
        }
        let attached = attached(&roles);
        let others: Vec<String> = attached
            .iter()
            .filter(|arn| !known.policies.contains_key(arn.as_str()))
            .cloned()
            .collect();
        let others = aggregator.policies(&Named::Arns(others)).await?;
        let ours = attached
            .iter()
            .filter_map(|arn| known.policies.get(arn.as_str()));
        let listed: Vec<&Listed> = ours.chain(&others.resources).collect();
        let mut policies: HashMap<AwsAccountId, Policies> = HashMap::new();
        for (region, accounts) in by_region(accounts) {
            let accounts: BTreeSet<AwsAccountId> = accounts
                .iter()
                .map(|account| account.subject.account)
                .collect();
            let listed = listed.iter().copied();
            let listed: Vec<&Listed> = listed
                .filter(|policy| accounts.contains(&policy.account))
                .collect();
            let captured = aggregator.captured_policies(&region, &listed).await?;
            // What was not understood is as good as not recorded.
            for ((account, _), policy) in captured {
                let Ok(Some(policy)) = policy else { continue };
                let known = policies.entry(account).or_default();
                let known = known.entry(policy.arn.clone()).or_default();
                let older = known.get(&region).map(|known| known.captured);
                if older.is_none_or(|older| older < policy.captured) {
                    known.insert(region.clone(), policy);
                }
            }
        }
        Ok(Self { roles, policies })
    }

    /// An account's role by name in each Region that has it: where it was made anew, the one that was captured last.
    ///
    /// # Errors
    /// Why nobody can tell: AWS Config lists one that it gives nothing of, not even that it was deleted.
    pub(super) fn roles(
        &self,
        known: &Known,
        account: AwsAccountId,
        name: &str,
        regions: &BTreeMap<Region, i64>,
    ) -> Result<BTreeMap<Region, RecordedRole>, String> {
        let mut found: BTreeMap<Region, RecordedRole> = BTreeMap::new();
        let mut is_told = true;
        for listed in known.roles_of(account, name) {
            let mut is_this_told = false;
            for region in regions.keys() {
                let captured = self.roles.get(region);
                let Some(role) = captured.and_then(|all| all.get(&(account, listed.id.clone())))
                else {
                    continue;
                };
                is_this_told = true;
                let Some(role) = role.as_ref().map_err(Clone::clone)? else {
                    continue;
                };
                let older = found.get(region).map(|found| found.captured);
                if older.is_none_or(|older| older < role.captured) {
                    found.insert(region.clone(), role.clone());
                }
            }
            is_told &= is_this_told;
        }
        if !is_told && found.is_empty() {
            return Err("AWS Config lists the role and did not give its item".to_owned());
        }
        Ok(found)
    }
}

impl Known {
    fn roles_of(&self, account: AwsAccountId, name: &str) -> &[Listed] {
        let roles = self.roles.get(&(account, name.into()));
        roles.map_or(&[], Vec::as_slice)
    }
}

/// The accounts that can be read in each Region.
fn by_region<'a, 'b>(accounts: &'a [Readable<'b>]) -> BTreeMap<Region, Vec<&'a Readable<'b>>> {
    let mut regions: BTreeMap<Region, Vec<&Readable<'_>>> = BTreeMap::new();
    for account in accounts {
        for region in account.regions.keys() {
            regions.entry(region.clone()).or_default().push(account);
        }
    }
    regions
}

/// The ARNs of the policies of the accounts' own that are attached to any of the roles.
fn attached(roles: &BTreeMap<Region, Captured<RecordedRole>>) -> BTreeSet<String> {
    let roles = roles.values().flatten();
    let roles =
        roles.filter_map(|((account, _), role)| Some((account, role.as_ref().ok()?.as_ref()?)));
    roles
        .flat_map(|(account, role)| {
            let owner = format!(":{account}:");
            let arns = role.attached.keys();
            arns.filter(move |arn| arn.contains(&owner)).cloned()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use onboarding_core::drift::AggregatorCoverage;

    use super::*;

    const NAME: &str = "StackSet-spot-SpotRole-1";

    /// What is made of a role that AWS Config lists by these ids, when it says of some of them, in one of two Regions, that they were
    /// deleted.
    fn found(listed: &[&str], deleted: &[&str]) -> Result<usize, String> {
        let account: AwsAccountId = "111122223333".parse().unwrap();
        let listed = listed.iter().map(|id| Listed {
            account,
            id: (*id).into(),
            name: NAME.into(),
            arn: format!("arn:aws:iam::{account}:role/{NAME}").into(),
        });
        let known = Known {
            coverage: AggregatorCoverage::new(Vec::new(), 0, 0),
            roles: HashMap::from([((account, NAME.into()), listed.collect())]),
            policies: HashMap::new(),
            odd: BTreeSet::new(),
        };
        let [east, west]: [Region; 2] =
            ["us-east-1", "us-west-2"].map(|name| name.parse().unwrap());
        let gone = deleted.iter().map(|id| ((account, (*id).into()), Ok(None)));
        let recorded = Recorded {
            roles: BTreeMap::from([
                (east.clone(), gone.collect()),
                (west.clone(), HashMap::new()),
            ]),
            policies: HashMap::new(),
        };
        let regions = BTreeMap::from([(east, 0), (west, 0)]);
        let roles = recorded.roles(&known, account, NAME, &regions);
        roles.map(|roles| roles.len())
    }

    #[test]
    fn a_role_that_is_listed_and_not_given_is_not_known_and_one_that_was_deleted_is_gone() {
        assert_eq!(found(&[], &[]), Ok(0));
        assert_eq!(found(&["AROA1"], &["AROA1"]), Ok(0));
        let unknown = Err("AWS Config lists the role and did not give its item".to_owned());
        assert_eq!(found(&["AROA1"], &[]), unknown);
        assert_eq!(found(&["AROA1", "AROA2"], &["AROA1"]), unknown);
    }
}
