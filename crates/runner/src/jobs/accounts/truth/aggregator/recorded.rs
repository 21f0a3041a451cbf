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
    /// The managed policies of each account by ARN.
    pub(super) policies: HashMap<AwsAccountId, BTreeMap<String, RecordedPolicy>>,
}

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
        let listed: Vec<&Listed> = ours.chain(&others).collect();
        let mut policies: HashMap<AwsAccountId, BTreeMap<String, RecordedPolicy>> = HashMap::new();
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
                let Ok(policy) = policy else { continue };
                let known = policies.entry(account).or_default();
                let older = known.get(&policy.arn).map(|known| known.captured);
                if older.is_none_or(|older| older < policy.captured) {
                    known.insert(policy.arn.clone(), policy);
                }
            }
        }
        Ok(Self { roles, policies })
    }

    /// An account's role by name in each Region that has it: where it was made anew, the one that was captured last.
    pub(super) fn roles(
        &self,
        known: &Known,
        account: AwsAccountId,
        name: &str,
        regions: &BTreeMap<Region, i64>,
    ) -> Result<BTreeMap<Region, RecordedRole>, String> {
        let mut found: BTreeMap<Region, RecordedRole> = BTreeMap::new();
        for (region, captured) in &self.roles {
            if !regions.contains_key(region) {
                continue;
            }
            for listed in known.roles_of(account, name) {
                let Some(role) = captured.get(&(account, listed.id.clone())) else {
                    continue;
                };
                let role = role.as_ref().map_err(Clone::clone)?;
                let older = found.get(region).map(|found| found.captured);
                if older.is_none_or(|older| older < role.captured) {
                    found.insert(region.clone(), role.clone());
                }
            }
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
    let roles = roles.filter_map(|((account, _), role)| Some((account, role.as_ref().ok()?)));
    roles
        .flat_map(|(account, role)| {
            let owner = format!(":{account}:");
            let arns = role.attached.keys();
            arns.filter(move |arn| arn.contains(&owner)).cloned()
        })
        .collect()
}
