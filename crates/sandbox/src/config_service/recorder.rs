//! The recorders of the accounts: what they captured of IAM, and when.
//!
//! A recorder looks at its account from time to time (`capture`), or, where that is zero, whenever AWS Config is asked. What it has
//! seen stays as it was until it looks again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::clock::SimTime;
use crate::iam::{ManagedPolicy, Role, prepare};
use crate::ids::AccountId;
use crate::organizations::Organization;
use crate::scenario::Scenario;
use crate::world::World;

/// What all recorders have captured, and what is wrong with some.
#[derive(Debug)]
pub(crate) struct Recordings {
    /// The account that the aggregator is in.
    pub(super) owner: AccountId,
    accounts: HashMap<AccountId, Recording>,
    unrecorded: HashSet<AccountId>,
    failing: HashSet<AccountId>,
    stale: HashSet<AccountId>,
    stopped: HashSet<AccountId>,
    untold: HashSet<AccountId>,
}

/// What the recorder of one account has captured.
#[derive(Debug, Default)]
pub(super) struct Recording {
    pub(super) roles: Vec<Captured<Role>>,
    pub(super) policies: Vec<Captured<ManagedPolicy>>,
}

/// Something as it was at a moment.
#[derive(Clone, Debug)]
pub(super) struct Captured<T> {
    pub(super) item: T,
    pub(super) at: SimTime,
    /// Whether it was captured once before.
    pub(super) is_known: bool,
}

/// What happens by itself.
#[derive(Debug)]
pub(crate) enum Event {
    /// The recorders look at their accounts.
    Capture,
}

impl Recordings {
    /// Draws the accounts that something is wrong with, from the end of the scenario's order.
    pub(crate) fn new(scenario: &Scenario, organization: &Organization) -> Self {
        let config = &scenario.config;
        let mut drawn = organization.drawn_members(scenario.seed).into_iter().rev();
        let owner = match config.in_member {
            true => drawn.next(),
            false => None,
        };
        let mut draw = |count: usize| drawn.by_ref().take(count).collect();
        Self {
            owner: owner.unwrap_or(organization.management),
            unrecorded: draw(config.unrecorded),
            failing: draw(config.failing),
            stale: draw(config.stale),
            stopped: draw(config.stopped),
            untold: draw(config.untold),
            accounts: HashMap::new(),
        }
    }

    /// What was captured in an account that can be collected from.
    pub(super) fn of(&self, account: AccountId) -> Option<&Recording> {
        self.accounts.get(&account)
    }

    /// The accounts that were captured, in the order of their ids.
    pub(super) fn accounts(&self) -> Vec<AccountId> {
        let mut accounts: Vec<AccountId> = self.accounts.keys().copied().collect();
        accounts.sort_unstable();
        accounts
    }

    /// How many roles and policies were captured in each account.
    pub(super) fn counts(&self) -> impl Iterator<Item = (AccountId, usize, usize)> {
        self.accounts().into_iter().filter_map(|id| {
            let recording = self.accounts.get(&id)?;
            Some((id, recording.roles.len(), recording.policies.len()))
        })
    }

    pub(super) fn is_failing(&self, account: AccountId) -> bool {
        self.failing.contains(&account)
    }

    pub(super) fn is_stale(&self, account: AccountId) -> bool {
        self.stale.contains(&account)
    }

    /// Whether the recorder of an account records; none where AWS Config has no item of it.
    pub(super) fn is_recording(&self, account: AccountId) -> Option<bool> {
        let has_item = !self.unrecorded.contains(&account)
            && !self.failing.contains(&account)
            && !self.untold.contains(&account);
        has_item.then(|| !self.stopped.contains(&account))
    }

    pub(super) fn stopped(&self) -> Vec<AccountId> {
        self.stopped.iter().copied().collect()
    }

    pub(super) fn untold(&self) -> Vec<AccountId> {
        self.untold.iter().copied().collect()
    }

    pub(super) fn unrecorded(&self) -> Vec<AccountId> {
        self.unrecorded.iter().copied().collect()
    }

    pub(super) fn failing(&self) -> Vec<AccountId> {
        self.failing.iter().copied().collect()
    }

    pub(super) fn stale(&self) -> Vec<AccountId> {
        self.stale.iter().copied().collect()
    }
}

/// Starts the recorders that look from time to time.
pub(crate) fn set_up(world: &mut World) {
    let config = &world.scenario.config;
    if config.enabled && config.capture > Duration::ZERO {
        on_event(world, Event::Capture);
    }
}

/// The recorders look, and will look again.
pub(crate) fn on_event(world: &mut World, event: Event) {
    let Event::Capture = event;
    look(world, None);
    let after = world.scenario.config.capture;
    world.schedule(after, crate::timers::Event::Config(Event::Capture));
}

/// Has all recorders look now.
pub(crate) fn look_now(world: &mut World) {
    look(world, None);
}

/// Has recorders look that look all the time: that of one account, or all.
pub(super) fn capture(world: &mut World, only: Option<AccountId>) {
    if world.scenario.config.capture == Duration::ZERO {
        look(world, only);
    }
}

fn look(world: &mut World, only: Option<AccountId>) {
    let ids: Vec<AccountId> = match only {
        Some(id) => vec![id],
        None => world.organization.accounts().map(|one| one.id).collect(),
    };
    let now = world.now();
    for id in ids {
        let recordings = &world.recordings;
        let is_blind = recordings.unrecorded.contains(&id) || recordings.failing.contains(&id);
        // It was stopped after its first look.
        let is_stopped = recordings.stopped.contains(&id) && recordings.of(id).is_some();
        if is_blind || is_stopped {
            continue;
        }
        prepare(world, id);
        let Some(account) = world.iam.account(id) else {
            continue;
        };
        let recording = world.recordings.accounts.entry(id).or_default();
        update(
            &mut recording.roles,
            account.roles(),
            now,
            |role| &role.id,
            is_same_role,
        );
        update(
            &mut recording.policies,
            account.policies(),
            now,
            |policy| &policy.id,
            is_same_policy,
        );
    }
}

/// Takes over what is new, what differs, and what is gone. Both are in the order of their names.
fn update<'a, T: Clone + 'a>(
    captured: &mut Vec<Captured<T>>,
    live: impl Iterator<Item = &'a T>,
    now: SimTime,
    id: impl Fn(&T) -> &str,
    is_same: impl Fn(&T, &T) -> bool,
) {
    let mut before: HashMap<String, Captured<T>> = std::mem::take(captured)
        .into_iter()
        .map(|one| (id(&one.item).to_owned(), one))
        .collect();
    for item in live {
        let known = before.remove(id(item));
        captured.push(match known {
            Some(known) if is_same(&known.item, item) => known,
            known => Captured {
                item: item.clone(),
                at: now,
                is_known: known.is_some(),
            },
        });
    }
}

fn is_same_role(one: &Role, other: &Role) -> bool {
    one.trust == other.trust
        && one.attached == other.attached
        && one.inline == other.inline
        && one.tags == other.tags
        && one.boundary == other.boundary
        && one.description == other.description
}

fn is_same_policy(one: &ManagedPolicy, other: &ManagedPolicy) -> bool {
    let versions = |policy: &ManagedPolicy| -> Vec<u32> {
        policy
            .versions
            .iter()
            .map(|version| version.number)
            .collect()
    };
    one.default == other.default && versions(one) == versions(other)
}
