//! The tree: accounts and organizational units, compact enough for 100,000 accounts.

use std::collections::{BTreeMap, HashMap};

use super::rates::Rates;
use crate::clock::SimTime;
use crate::ids::AccountId;
use crate::organizations::accounts::Creation;

/// The index of an organizational unit, or of the root, which is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OuIndex(pub(crate) u32);

/// The service principal of StackSets, for trusted access and delegated administrators.
pub(crate) const STACK_SETS_PRINCIPAL: &str = "member.org.stacksets.cloudformation.amazonaws.com";

/// The root.
pub(crate) const ROOT: OuIndex = OuIndex(0);

/// The state of an account (`State` in the API).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// In use.
    Active,
    /// Suspended by AWS.
    Suspended,
    /// Being closed.
    PendingClosure,
    /// Closed by the customer; listed for about 90 days more.
    Closed,
}

impl State {
    /// The value of `State`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Suspended => "SUSPENDED",
            Self::PendingClosure => "PENDING_CLOSURE",
            Self::Closed => "CLOSED",
        }
    }

    /// The value of the older `Status`, which has no CLOSED.
    pub(crate) fn legacy_name(self) -> &'static str {
        match self {
            Self::Closed => "SUSPENDED",
            other => other.name(),
        }
    }
}

/// One account of the organization.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// Its id.
    pub(crate) id: AccountId,
    /// The unit, or root, that holds it.
    pub(crate) parent: OuIndex,
    /// Its state.
    pub(crate) state: State,
    /// Whether service control policies deny the scenario's `scp_denied_actions` here.
    pub(crate) scp_blocked: bool,
    /// Whether lists leave it out, although it is there.
    pub(crate) unlisted: bool,
    /// Whether it was invited rather than created.
    pub(crate) invited: bool,
    /// Since when it is a member.
    pub(crate) joined: SimTime,
    /// Its name.
    pub(crate) name: Box<str>,
    /// Its address, where it is not the generated one.
    pub(super) custom_email: Option<Box<str>>,
    /// Its tags.
    pub(crate) tags: BTreeMap<String, String>,
}

impl Account {
    /// Its e-mail address.
    pub(crate) fn email(&self, organization: &str) -> String {
        match &self.custom_email {
            Some(email) => email.to_string(),
            None => format!("aws+{}@{organization}.example.com", self.id),
        }
    }
}

/// The root or an organizational unit.
#[derive(Clone, Debug)]
pub(crate) struct Ou {
    /// `r-…` or `ou-…`.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// None for the root.
    pub(crate) parent: Option<OuIndex>,
    /// `o-x/r-y/ou-…/`, with a slash at the end.
    pub(crate) path: String,
    /// Units below it.
    pub(crate) units: Vec<OuIndex>,
    /// Slots of the accounts directly in it, ascending.
    pub(super) accounts: Vec<u32>,
    /// Its tags.
    pub(super) tags: BTreeMap<String, String>,
}

/// The organization.
#[derive(Debug)]
pub(crate) struct Organization {
    /// `o-…`.
    pub(crate) id: String,
    /// The management account.
    pub(crate) management: AccountId,
    /// Whether trusted access was activated from StackSets, too; see [`Organization::stack_sets_access`].
    stack_sets_activated: bool,
    /// Services with trusted access, by principal.
    pub(crate) trusted_services: BTreeMap<String, SimTime>,
    /// Delegated administrators: the service principals of each.
    pub(crate) delegated: BTreeMap<AccountId, BTreeMap<String, SimTime>>,
    /// CreateAccount requests, by id.
    pub(super) creations: BTreeMap<String, Creation>,
    /// Token buckets of the API.
    pub(crate) rates: Rates,
    slots: Vec<Option<Account>>,
    index: HashMap<AccountId, u32>,
    ous: Vec<Ou>,
    ou_index: HashMap<String, OuIndex>,
    /// Makes page tokens unique.
    pub(super) tokens: u64,
}

impl Organization {
    /// An organization with a root and the management account in it.
    pub(super) fn with_root(id: String, root_id: String, management: Account) -> Self {
        let root = Ou {
            path: format!("{id}/{root_id}/"),
            id: root_id.clone(),
            name: "Root".into(),
            parent: None,
            units: Vec::new(),
            accounts: Vec::new(),
            tags: BTreeMap::new(),
        };
        let mut organization = Self {
            id,
            management: management.id,
            stack_sets_activated: false,
            trusted_services: BTreeMap::new(),
            delegated: BTreeMap::new(),
            creations: BTreeMap::new(),
            rates: Rates::default(),
            slots: Vec::new(),
            index: HashMap::new(),
            ous: vec![root],
            ou_index: HashMap::from([(root_id, ROOT)]),
            tokens: 0,
        };
        organization.insert(management);
        organization
    }

    /// Whether StackSets has trusted access. Enabling its principal in Organizations alone is not
    /// enough: AWS documents that it must be activated from CloudFormation, which also does the former.
    pub(crate) fn stack_sets_access(&self) -> bool {
        self.stack_sets_activated && self.trusted_services.contains_key(STACK_SETS_PRINCIPAL)
    }

    /// Activates or deactivates the trusted access of StackSets, as CloudFormation does.
    pub(crate) fn set_stack_sets_access(&mut self, active: bool, now: SimTime) {
        self.stack_sets_activated = active;
        if active {
            self.trusted_services
                .entry(STACK_SETS_PRINCIPAL.to_owned())
                .or_insert(now);
        } else {
            self.trusted_services.remove(STACK_SETS_PRINCIPAL);
        }
    }

    /// `r-…`.
    pub(crate) fn root_id(&self) -> &str {
        &self.ous[0].id
    }

    /// An account by id.
    pub(crate) fn account(&self, id: AccountId) -> Option<&Account> {
        self.slots[*self.index.get(&id)? as usize].as_ref()
    }

    /// An account by id, to be changed; not its parent, see [`Organization::relocate`].
    pub(super) fn account_mut(&mut self, id: AccountId) -> Option<&mut Account> {
        self.slots[*self.index.get(&id)? as usize].as_mut()
    }

    /// Makes service control policies deny the scenario's actions in an account, or stop doing so.
    pub(crate) fn set_scp_blocked(&mut self, id: AccountId, blocked: bool) {
        if let Some(account) = self.account_mut(id) {
            account.scp_blocked = blocked;
        }
    }

    /// Leaves an account out of lists, or ends that.
    pub(crate) fn set_unlisted(&mut self, id: AccountId, unlisted: bool) {
        if let Some(account) = self.account_mut(id) {
            account.unlisted = unlisted;
        }
    }

    /// Suspends an account, as AWS does, or ends that.
    pub(crate) fn set_state(&mut self, id: AccountId, state: State) {
        if let Some(account) = self.account_mut(id) {
            account.state = state;
        }
    }

    /// All accounts, the management account included.
    pub(crate) fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.slots.iter().flatten()
    }

    /// How many accounts there are.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The slots from `start` on, for a listing that survives changes between its pages.
    pub(super) fn slots_from(&self, start: u32) -> impl Iterator<Item = (u32, &Account)> {
        let start = (start as usize).min(self.slots.len());
        self.slots[start..]
            .iter()
            .zip(start as u32..)
            .filter_map(|(slot, number)| slot.as_ref().map(|account| (number, account)))
    }

    /// The accounts directly in a unit, from slot `start` on.
    pub(super) fn slots_in(
        &self,
        ou: OuIndex,
        start: u32,
    ) -> impl Iterator<Item = (u32, &Account)> {
        let members = &self.ou(ou).accounts;
        let from = members.partition_point(|slot| *slot < start);
        members[from..].iter().filter_map(|slot| {
            self.slots[*slot as usize]
                .as_ref()
                .map(|account| (*slot, account))
        })
    }

    /// A unit or the root.
    pub(crate) fn ou(&self, index: OuIndex) -> &Ou {
        &self.ous[index.0 as usize]
    }

    /// The same, for its tags.
    pub(super) fn ou_mut(&mut self, index: OuIndex) -> &mut Ou {
        &mut self.ous[index.0 as usize]
    }

    /// All units, the root first.
    pub(crate) fn ous(&self) -> &[Ou] {
        &self.ous
    }

    /// A unit, or the root, by id.
    pub(crate) fn find_ou(&self, id: &str) -> Option<OuIndex> {
        self.ou_index.get(id).copied()
    }

    /// How deep a unit is: 0 for the root.
    pub(crate) fn depth(&self, mut ou: OuIndex) -> usize {
        let mut depth = 0;
        while let Some(parent) = self.ou(ou).parent {
            ou = parent;
            depth += 1;
        }
        depth
    }

    /// Whether `ou` is `ancestor` or below it.
    pub(crate) fn is_under(&self, mut ou: OuIndex, ancestor: OuIndex) -> bool {
        loop {
            if ou == ancestor {
                return true;
            }
            match self.ou(ou).parent {
                Some(parent) => ou = parent,
                None => return false,
            }
        }
    }

    /// Every account in or below a unit, whatever its state, the management account included.
    pub(crate) fn accounts_under(&self, ou: OuIndex) -> Vec<AccountId> {
        let mut found = Vec::new();
        let mut pending = vec![ou];
        while let Some(ou) = pending.pop() {
            found.extend(self.slots_in(ou, 0).map(|(_, account)| account.id));
            pending.extend(self.ou(ou).units.iter().rev());
        }
        found
    }

    /// Adds an account; a known id is replaced.
    pub(super) fn insert(&mut self, account: Account) {
        let slot = self.slots.len() as u32;
        self.index.insert(account.id, slot);
        // Slots only grow, so the list stays ascending.
        self.ous[account.parent.0 as usize].accounts.push(slot);
        self.slots.push(Some(account));
    }

    /// Moves an account below another unit.
    pub(super) fn relocate(&mut self, id: AccountId, to: OuIndex) {
        let Some(slot) = self.index.get(&id).copied() else {
            return;
        };
        let Some(account) = self.slots[slot as usize].as_mut() else {
            return;
        };
        let from = std::mem::replace(&mut account.parent, to);
        self.ous[from.0 as usize]
            .accounts
            .retain(|other| *other != slot);
        let members = &mut self.ous[to.0 as usize].accounts;
        let at = members.partition_point(|other| *other < slot);
        members.insert(at, slot);
    }

    /// Takes an account out; what depends on it (tags, delegation) goes with it.
    pub(super) fn remove(&mut self, id: AccountId) -> Option<Account> {
        let slot = self.index.remove(&id)?;
        let account = self.slots[slot as usize].take()?;
        self.ous[account.parent.0 as usize]
            .accounts
            .retain(|other| *other != slot);
        self.delegated.remove(&id);
        Some(account)
    }

    /// Adds a unit.
    pub(super) fn insert_ou(&mut self, id: String, name: String, parent: OuIndex) -> OuIndex {
        let index = OuIndex(self.ous.len() as u32);
        self.ou_index.insert(id.clone(), index);
        self.ous[parent.0 as usize].units.push(index);
        let path = format!("{}{id}/", self.ou(parent).path);
        self.ous.push(Ou {
            id,
            name,
            parent: Some(parent),
            path,
            units: Vec::new(),
            accounts: Vec::new(),
            tags: BTreeMap::new(),
        });
        index
    }
}
