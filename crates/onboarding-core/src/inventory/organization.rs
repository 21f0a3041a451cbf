//! The organization as AWS Organizations tells it: organizational units and accounts, compact enough for 100,000 accounts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::{AwsAccountId, OrganizationId, OuId};

/// The state of an account in its organization, from `State`, or the older `Status` where AWS does not send `State`
/// (AWS Organizations API reference, Account). Only [`AccountState::Active`] accounts are deployed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AccountState {
    /// Usable.
    Active,
    /// Not usable yet.
    PendingActivation,
    /// Suspended by AWS.
    Suspended,
    /// Being closed (minutes).
    PendingClosure,
    /// Closed; stays listed for about 90 days.
    Closed,
    /// AWS sent neither `State` nor `Status`, or a value that we do not know. Never treated as active.
    Unknown,
}

/// Tags of an account: values by key.
pub type Tags = BTreeMap<String, String>;

/// The tags of accounts, as far as they are known. An account that is not in here may have any.
pub type AccountTags = BTreeMap<AwsAccountId, Tags>;

/// An account of the organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its 12-digit id.
    pub id: AwsAccountId,
    /// Its name in Organizations.
    pub name: Box<str>,
    /// Its state.
    pub state: AccountState,
    /// Its parent, as an index into [`OrganizationSnapshot::units`].
    pub parent: u32,
    /// When it joined the organization, in Unix seconds, when AWS says so.
    pub joined_at: Option<i64>,
}

/// An organizational unit, or the root (which is the unit without a parent).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationalUnit {
    /// Its id (`r-…` for the root).
    pub id: OuId,
    /// Its name.
    pub name: Box<str>,
    /// Its parent, as an index into [`OrganizationSnapshot::units`]; none for the root.
    pub parent: Option<u32>,
}

/// The whole organization at one moment. Accounts are sorted by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrganizationSnapshot {
    /// The organization's id.
    pub id: OrganizationId,
    /// The management account.
    pub management_account: AwsAccountId,
    /// The root (index 0) and all organizational units.
    pub units: Vec<OrganizationalUnit>,
    /// All accounts, the management account included, sorted by id.
    pub accounts: Vec<Account>,
}

impl OrganizationSnapshot {
    /// The account with this id.
    #[must_use]
    pub fn account(&self, id: AwsAccountId) -> Option<&Account> {
        self.accounts
            .binary_search_by_key(&id, |account| account.id)
            .ok()
            .map(|index| &self.accounts[index])
    }

    /// The index of the unit with this id.
    #[must_use]
    pub fn unit_index(&self, id: &OuId) -> Option<u32> {
        self.units
            .iter()
            .position(|unit| &unit.id == id)
            .and_then(|index| u32::try_from(index).ok())
    }

    /// The unit at this index.
    #[must_use]
    pub fn unit(&self, index: u32) -> Option<&OrganizationalUnit> {
        self.units.get(index as usize)
    }

    /// The unit and all its ancestors, from the unit up to the root.
    pub fn lineage(&self, index: u32) -> impl Iterator<Item = (u32, &OrganizationalUnit)> {
        let mut next = Some(index);
        std::iter::from_fn(move || {
            let index = next?;
            let unit = self.unit(index)?;
            next = unit.parent;
            Some((index, unit))
        })
        // A malformed tree (a cycle) must not hang us; OUs nest at most five levels below the root.
        .take(64)
    }

    /// The names from the root down to the unit, joined by `/` (`Root/Workloads/Prod`).
    #[must_use]
    pub fn path(&self, index: u32) -> String {
        let mut names: Vec<&str> = self.lineage(index).map(|(_, unit)| &*unit.name).collect();
        names.reverse();
        names.join("/")
    }

    /// Every unit's name by id: what the state caches between runs.
    #[must_use]
    pub fn unit_names(&self) -> BTreeMap<OuId, Box<str>> {
        self.units
            .iter()
            .map(|unit| (unit.id.clone(), unit.name.clone()))
            .collect()
    }
}
