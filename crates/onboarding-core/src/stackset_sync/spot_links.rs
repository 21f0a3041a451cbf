//! Which Spot accounts are linked to which AWS account, indexed once per plan.

use std::collections::{BTreeMap, HashMap};

use crate::{
    ids::{AwsAccountId, SpotAccountId},
    inventory::{DETECTION_PREFIX, InstanceStatus, SpotAccountRecord, StackInstance},
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

/// A link that Spot's own Lambda functions made for a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostedLink {
    /// The Spot account.
    pub spot_account: SpotAccountId,
    /// The operation that had touched the stack instance last.
    pub operation: Box<str>,
}

/// The index.
#[derive(Debug)]
pub struct SpotLinks<'a> {
    first: HashMap<AwsAccountId, &'a SpotAccountId>,
    several: HashMap<AwsAccountId, Vec<&'a SpotAccountId>>,
}

impl<'a> SpotLinks<'a> {
    /// Indexes a listing.
    #[must_use]
    pub fn new(accounts: &'a [SpotAccountRecord]) -> Self {
        let mut links = Self {
            first: HashMap::with_capacity(accounts.len()),
            several: HashMap::new(),
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

    /// The links that are new and a profile's own, although its stacks' requests do not pass us (Spot's own Lambda
    /// functions): the one Spot account that is linked to the account of a current instance, when an operation has
    /// touched the instance since the last link of it that we know. What changed without one was not the stack's doing, and a
    /// drift detection of ours only looks.
    #[must_use]
    pub fn hosted(
        &self,
        instances: &[StackInstance],
        known: &BTreeMap<AwsAccountId, HostedLink>,
    ) -> BTreeMap<AwsAccountId, HostedLink> {
        instances
            .iter()
            .filter(|instance| instance.status == InstanceStatus::Current)
            .filter_map(|instance| match self.of(instance.account) {
                Link::One(id) => Some((
                    instance.account,
                    HostedLink {
                        spot_account: id.clone(),
                        operation: instance.last_operation_id.clone().unwrap_or_default(),
                    },
                )),
                Link::None | Link::Several(_) => None,
            })
            .filter(|(account, link)| {
                known.get(account).is_none_or(|known| {
                    known.operation != link.operation
                        && !link.operation.starts_with(DETECTION_PREFIX)
                })
            })
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
    use crate::inventory::{InstanceDetailedStatus, StackDrift};

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
            last_operation_id: Some("second".into()),
            drift: StackDrift::default(),
        }
    }

    fn link(id: &str, operation: &str) -> HostedLink {
        HostedLink {
            spot_account: spot(id),
            operation: operation.into(),
        }
    }

    #[test]
    fn a_link_is_the_stacks_when_an_operation_touched_the_instance_since_the_last_one() {
        let listed = [
            linked("act-1", Some(1)),
            linked("act-2", Some(2)),
            linked("act-3", Some(3)),
            linked("act-3b", Some(3)),
            linked("act-4", Some(4)),
            linked("act-5", Some(5)),
        ];
        let mut instances: Vec<_> = (1..=6)
            .map(|n| instance(n, InstanceStatus::Current))
            .collect();
        instances[1].status = InstanceStatus::Outdated;
        // Account 4 was linked anew by a later operation; account 5 by somebody else.
        let known = BTreeMap::from([
            (account(4), link("act-4before", "first")),
            (account(5), link("act-5before", "second")),
        ]);
        let hosted = SpotLinks::new(&listed).hosted(&instances, &known);
        let expected = BTreeMap::from([
            (account(1), link("act-1", "second")),
            (account(4), link("act-4", "second")),
        ]);
        assert_eq!(hosted, expected);
        // Looking for drift makes nobody's link ours.
        for instance in &mut instances {
            instance.last_operation_id = Some(format!("{DETECTION_PREFIX}1").into());
        }
        let hosted = SpotLinks::new(&listed).hosted(&instances, &known);
        assert_eq!(hosted.keys().collect::<Vec<_>>(), [&account(1)]);
    }
}
