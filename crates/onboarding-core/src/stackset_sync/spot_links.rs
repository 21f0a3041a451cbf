//! Which Spot accounts are linked to which AWS account, indexed once per plan.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    ids::{AwsAccountId, SpotAccountId},
    inventory::{InstanceStatus, SpotAccountRecord, StackInstance},
};

/// How an AWS account is linked in Spot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link<'a> {
    /// No Spot account is linked to it.
    None,
    /// Exactly one.
    One(&'a SpotAccountId),
    /// Several, sorted.
    Several(Vec<&'a SpotAccountId>),
}

/// The index.
#[derive(Debug)]
pub struct SpotLinks<'a> {
    first: HashMap<AwsAccountId, &'a SpotAccountId>,
    several: HashMap<AwsAccountId, Vec<&'a SpotAccountId>>,
    listed: HashSet<&'a SpotAccountId>,
}

impl<'a> SpotLinks<'a> {
    /// Indexes a listing.
    #[must_use]
    pub fn new(accounts: &'a [SpotAccountRecord]) -> Self {
        let mut links = Self {
            first: HashMap::with_capacity(accounts.len()),
            several: HashMap::new(),
            listed: accounts.iter().map(|account| &account.id).collect(),
        };
        for account in accounts {
            let Some(aws) = account.aws_account else {
                continue;
            };
            if let Some(first) = links.first.insert(aws, &account.id) {
                let several = links.several.entry(aws).or_insert_with(|| vec![first]);
                several.push(&account.id);
                several.sort();
                several.dedup();
            }
        }
        links.several.retain(|_, ids| ids.len() > 1);
        links
    }

    /// The links that are this profile's, because its stacks' requests do not pass us (Spot's own Lambda functions): of
    /// every current instance, the one Spot account that is linked, unless we know one that is still there.
    #[must_use]
    pub fn hosted(
        &self,
        instances: &[StackInstance],
        known: &BTreeMap<AwsAccountId, SpotAccountId>,
    ) -> BTreeMap<AwsAccountId, SpotAccountId> {
        instances
            .iter()
            .filter(|instance| instance.status == InstanceStatus::Current)
            .filter_map(|instance| match self.of(instance.account) {
                Link::One(id) => Some((instance.account, id)),
                Link::None | Link::Several(_) => None,
            })
            .filter(|(account, _)| {
                known
                    .get(account)
                    .is_none_or(|known| !self.listed.contains(known))
            })
            .map(|(account, id)| (account, id.clone()))
            .collect()
    }

    /// How this AWS account is linked.
    #[must_use]
    pub fn of(&self, account: AwsAccountId) -> Link<'a> {
        match (self.several.get(&account), self.first.get(&account)) {
            (Some(ids), _) => Link::Several(ids.clone()),
            (None, Some(id)) => Link::One(id),
            (None, None) => Link::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::InstanceDetailedStatus;

    fn account(n: u64) -> AwsAccountId {
        AwsAccountId::from_number(n).unwrap()
    }

    fn spot(id: &str) -> SpotAccountId {
        id.parse().unwrap()
    }

    fn linked(id: &str, to: Option<u64>) -> SpotAccountRecord {
        SpotAccountRecord {
            id: spot(id),
            name: "n".into(),
            unlinked: to.is_none(),
            aws_account: to.map(account),
        }
    }

    fn instance(n: u64, status: InstanceStatus) -> StackInstance {
        StackInstance {
            account: account(n),
            region: "us-east-1".parse().unwrap(),
            status,
            detailed_status: InstanceDetailedStatus::Succeeded,
            status_reason: None,
            stack_id: Some("stack".into()),
            targeted_ou: None,
            last_operation_id: None,
        }
    }

    #[test]
    fn a_current_instance_of_spots_functions_makes_a_link_ours_until_it_is_gone() {
        let listed = [
            linked("act-1", Some(1)),
            linked("act-2", Some(2)),
            linked("act-3", Some(3)),
            linked("act-3b", Some(3)),
            linked("act-4", Some(4)),
            linked("act-5", Some(5)),
            linked("act-5before", None),
        ];
        let instances = [
            instance(1, InstanceStatus::Current),
            instance(2, InstanceStatus::Outdated),
            instance(3, InstanceStatus::Current),
            instance(4, InstanceStatus::Current),
            instance(5, InstanceStatus::Current),
            instance(6, InstanceStatus::Current),
        ];
        // The one that was account 4's is gone at Spot; account 5's is still there, though it lost its link.
        let known = BTreeMap::from([
            (account(4), spot("act-4before")),
            (account(5), spot("act-5before")),
        ]);
        let hosted = SpotLinks::new(&listed).hosted(&instances, &known);
        let expected = BTreeMap::from([(account(1), spot("act-1")), (account(4), spot("act-4"))]);
        assert_eq!(hosted, expected);
    }
}
