//! Spot accounts: the store, and making, renaming and deleting them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use super::SpotError;
use super::products::Billing;
use super::rates::RateLimits;
use super::user_groups::UserGroup;
use crate::clock::SimTime;
use crate::ids::{AccountId, Ids};
use crate::scenario::{Enrollment, Scenario};
use crate::world::World;

/// `act-` and eight hexadecimal digits, kept in four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SpotId(pub(super) u32);

impl fmt::Display for SpotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "act-{:08x}", self.0)
    }
}

impl FromStr for SpotId {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        s.strip_prefix("act-")
            .filter(|hex| hex.len() == 8)
            .and_then(|hex| u32::from_str_radix(hex, 16).ok())
            .map(Self)
            .ok_or(())
    }
}

/// A Spot account.
#[derive(Clone, Debug)]
pub(crate) struct SpotAccount {
    /// Its id.
    pub(super) id: SpotId,
    /// Its name; several accounts may have the same.
    pub(super) name: Box<str>,
    /// The linked AWS account.
    pub(super) cloud: Option<AccountId>,
    /// ARN of the role that was given as credentials.
    pub(super) role: Option<Box<str>>,
    /// External ids, oldest first.
    pub(super) external_ids: Vec<ExternalId>,
    /// Since when Cost Intelligence is on, and when that was last changed.
    pub(super) cost_intelligence: Option<(SimTime, SimTime)>,
    /// The Billing Engine's configuration.
    pub(super) billing: Option<Box<Billing>>,
    /// Whether an Elastigroup and an Ocean cluster run in it.
    pub(super) running: bool,
    /// Whether the list of all accounts leaves it out, although it is there.
    pub(super) unlisted: bool,
}

/// An external id that Spot made for an account.
#[derive(Clone, Debug)]
pub(crate) struct ExternalId {
    /// `spotinst:aws:extid:<16 hex>`.
    pub(super) value: Box<str>,
    /// Until when it can be used for a first link.
    pub(super) valid_until: SimTime,
    /// Whether the account is linked with it.
    pub(super) linked: bool,
}

/// The Spot organization.
#[derive(Debug)]
pub(crate) struct Spot {
    /// Its number.
    pub(super) organization: u64,
    /// The rate limits of its API.
    pub(crate) rates: RateLimits,
    /// Its user groups, oldest first.
    pub(super) user_groups: Vec<UserGroup>,
    accounts: BTreeMap<u32, SpotAccount>,
    index: HashMap<SpotId, u32>,
    sequence: u32,
    pub(super) ids: Ids,
}

impl Spot {
    /// An organization with nothing but its default account.
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut ids = Ids::new(scenario.seed, "spot");
        let mut spot = Self {
            organization: 606_000_000_000 + ids.below(1_000_000_000),
            rates: RateLimits::new(&scenario.spot),
            user_groups: Vec::new(),
            accounts: BTreeMap::new(),
            index: HashMap::new(),
            sequence: 0,
            ids,
        };
        spot.insert("default");
        spot
    }

    /// All accounts, oldest first.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &SpotAccount> {
        self.accounts.values()
    }

    /// How many accounts there are.
    pub(crate) fn len(&self) -> usize {
        self.accounts.len()
    }

    /// The account that calls without an accountId are about: the oldest.
    pub(super) fn default_account(&self) -> Option<SpotId> {
        self.accounts.values().next().map(|account| account.id)
    }

    /// An account by id.
    pub(super) fn account(&self, id: SpotId) -> Option<&SpotAccount> {
        self.accounts.get(self.index.get(&id)?)
    }

    /// The same, to be changed.
    pub(super) fn account_mut(&mut self, id: SpotId) -> Option<&mut SpotAccount> {
        self.accounts.get_mut(self.index.get(&id)?)
    }

    /// Adds an account that is not linked.
    pub(super) fn insert(&mut self, name: &str) -> SpotId {
        let id = loop {
            let id = SpotId(self.ids.bits() as u32);
            if !self.index.contains_key(&id) {
                break id;
            }
        };
        self.index.insert(id, self.sequence);
        let account = SpotAccount {
            id,
            name: name.into(),
            cloud: None,
            role: None,
            external_ids: Vec::new(),
            cost_intelligence: None,
            billing: None,
            running: false,
            unlisted: false,
        };
        self.accounts.insert(self.sequence, account);
        self.sequence += 1;
        id
    }

    fn remove(&mut self, id: SpotId) {
        if let Some(sequence) = self.index.remove(&id) {
            self.accounts.remove(&sequence);
        }
        for group in &mut self.user_groups {
            group.forget(id);
        }
    }
}

/// Whether Spot accepts a token.
pub(crate) fn token_is_valid(world: &World, token: &str) -> bool {
    token == world.scenario.spot.token
}

/// Creates an account; returns its id. The API asks for a letter in the name, Spot's own hosted
/// functions, which name accounts by the AWS account id, get by without.
pub(crate) fn create_account(world: &mut World, name: &str) -> Result<String, SpotError> {
    if name.trim().is_empty() {
        return Err(SpotError::of_field(
            "name",
            "account name cannot be null or empty",
        ));
    }
    let scenario = &world.scenario.spot;
    match scenario.enrollment {
        Enrollment::Allowed => {}
        Enrollment::Limited if world.spot.len() < scenario.enrollment_limit => {}
        Enrollment::Limited => {
            return Err(SpotError::new(
                403,
                "ACCOUNTS_LIMIT_EXCEEDED",
                "the organization has reached its maximum number of accounts",
            ));
        }
        Enrollment::Denied => {
            return Err(SpotError::new(
                403,
                "FORBIDDEN",
                "the organization is not permitted to create accounts",
            ));
        }
    }
    Ok(world.spot.insert(name).to_string())
}

/// Renames an account.
pub(crate) fn rename_account(world: &mut World, id: &str, name: &str) -> Result<(), SpotError> {
    check_name(world, name)?;
    let account = find_mut(world, id)?;
    account.name = name.into();
    Ok(())
}

/// Deletes an account for good.
pub(crate) fn delete_account(world: &mut World, id: &str) -> Result<(), SpotError> {
    let id = find(world, id)?.id;
    if Some(id) == world.spot.default_account() {
        return Err(SpotError::new(
            400,
            "CANT_DELETE_DEFAULT_ACCOUNT",
            "the default account of the organization cannot be deleted",
        ));
    }
    world.spot.remove(id);
    Ok(())
}

/// The API's rules for a name.
pub(super) fn check_name(world: &World, name: &str) -> Result<(), SpotError> {
    if name.trim().is_empty() {
        return Err(SpotError::of_field(
            "name",
            "account name cannot be null or empty",
        ));
    }
    if world.scenario.spot.name_needs_letter && !name.bytes().any(|b| b.is_ascii_alphabetic()) {
        return Err(SpotError::of_field(
            "name",
            "account name must contain at least one character that is a-z or A-Z",
        ));
    }
    Ok(())
}

/// An account by its id as text.
pub(super) fn find<'a>(world: &'a World, id: &str) -> Result<&'a SpotAccount, SpotError> {
    id.parse()
        .ok()
        .and_then(|id| world.spot.account(id))
        .ok_or_else(|| not_found(id))
}

/// The same, to be changed.
pub(super) fn find_mut<'a>(
    world: &'a mut World,
    id: &str,
) -> Result<&'a mut SpotAccount, SpotError> {
    id.parse()
        .ok()
        .and_then(|id| world.spot.account_mut(id))
        .ok_or_else(|| not_found(id))
}

fn not_found(id: &str) -> SpotError {
    SpotError::new(
        404,
        "ACCOUNT_DOES_NOT_EXIST",
        format!("account {id} does not exist"),
    )
}
