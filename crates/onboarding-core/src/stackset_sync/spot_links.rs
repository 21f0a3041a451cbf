//! Which Spot accounts are linked to which AWS account, indexed once per plan.

use std::collections::HashMap;

use crate::{
    ids::{AwsAccountId, SpotAccountId},
    inventory::SpotAccountRecord,
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
