//! Whatever happens to accounts between two looks, and wherever a run breaks off: `stackset-sync` and `enroll` bring every active
//! account to exactly one linked Spot account with a role, and then have nothing left to do.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::{
    custom_resource::Naming,
    desired::{Deployment, Desired, Profile},
    drift::{Drift, DriftKind, Fix},
    drift_audit::{AuditObserved, HomePlace, OwnedLink, TokenAge},
    enroll,
    ids::AwsAccountId,
    inventory::{
        AccountState, InstanceDetailedStatus, InstanceStatus, SpotAccountRecord, StackInstance,
    },
    plan::Plan,
    stackset_sync::{self, OperationTargets, SyncAction, TargetFilter},
    status::Reason,
};
use proptest::prelude::*;

use crate::world::*;

/// What may happen to an account, by number; those that are not there join.
#[derive(Debug, Clone, Copy)]
enum Event {
    Join(u64),
    Move(u64),
    Rename(u64),
    Suspend(u64),
    Activate(u64),
    Close(u64),
    Leave(u64),
    /// At Spot: the link is taken away, the account deleted, renamed, its product switched off.
    Unlink(u64),
    DeleteAtSpot(u64),
    RenameAtSpot(u64),
    SwitchOff(u64),
    /// In the account: the role deleted, or changed.
    DeleteRole(u64),
    ChangeRole(u64),
    /// A run of one job breaks off after so many steps.
    Run {
        enrolls: bool,
        steps: usize,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let account = || 2..6_u64;
    prop_oneof![
        4 => account().prop_map(Event::Join),
        1 => account().prop_map(Event::Move),
        1 => account().prop_map(Event::Rename),
        1 => account().prop_map(Event::Suspend),
        1 => account().prop_map(Event::Activate),
        1 => account().prop_map(Event::Close),
        1 => account().prop_map(Event::Leave),
        1 => account().prop_map(Event::Unlink),
        1 => account().prop_map(Event::DeleteAtSpot),
        1 => account().prop_map(Event::RenameAtSpot),
        1 => account().prop_map(Event::SwitchOff),
        1 => account().prop_map(Event::DeleteRole),
        1 => account().prop_map(Event::ChangeRole),
        6 => (any::<bool>(), 0..4_usize).prop_map(|(enrolls, steps)| Event::Run { enrolls, steps }),
    ]
}

struct Member {
    unit: usize,
    state: AccountState,
    name: String,
}

#[derive(Default)]
struct AtSpot {
    linked: Option<u64>,
    name: String,
    cost_intelligence: bool,
}

/// AWS and Spot, as far as plans look at them.
struct Model {
    desired: Desired,
    members: BTreeMap<u64, Member>,
    /// Stack instances, with the number of each one's stack.
    instances: BTreeMap<u64, u64>,
    roles: BTreeSet<u64>,
    changed_roles: BTreeSet<u64>,
    spot: BTreeMap<String, AtSpot>,
    owned: BTreeMap<u64, (String, u64)>,
    has_stack_set: bool,
    made: u64,
}

impl Model {
    fn new() -> Self {
        let profile = Profile {
            deployment: Some(Deployment::Runner),
            ..profile(root_targets())
        };
        let mut desired = desired(profile);
        desired.removal.max_removals = 100;
        desired.removal.max_shrink = 1.0;
        desired.removal.closed_grace_seconds = 0;
        Self {
            desired,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            roles: BTreeSet::new(),
            changed_roles: BTreeSet::new(),
            spot: BTreeMap::new(),
            owned: BTreeMap::new(),
            has_stack_set: false,
            made: 0,
        }
    }

    fn happens(&mut self, event: Event) {
        let of = |number: u64, owned: &BTreeMap<u64, (String, u64)>| {
            owned.get(&number).map(|(spot, _)| spot.clone())
        };
        match event {
            Event::Join(number) => {
                self.members.entry(number).or_insert_with(|| Member {
                    unit: 0,
                    state: ACTIVE,
                    name: format!("account {number}"),
                });
            }
            Event::Move(number) => {
                if let Some(member) = self.members.get_mut(&number) {
                    member.unit = 1 - member.unit;
                }
            }
            Event::Rename(number) => {
                if let Some(member) = self.members.get_mut(&number) {
                    member.name.push('x');
                }
            }
            Event::Suspend(number) => self.state(number, AccountState::Suspended),
            Event::Activate(number) => self.state(number, ACTIVE),
            Event::Close(number) => self.state(number, AccountState::Closed),
            Event::Leave(number) => {
                self.members.remove(&number);
            }
            Event::Unlink(number) => {
                if let Some(spot) = of(number, &self.owned).and_then(|id| self.spot.get_mut(&id)) {
                    spot.linked = None;
                }
            }
            Event::DeleteAtSpot(number) => {
                if let Some(id) = of(number, &self.owned) {
                    self.spot.remove(&id);
                }
            }
            Event::RenameAtSpot(number) => {
                if let Some(spot) = of(number, &self.owned).and_then(|id| self.spot.get_mut(&id)) {
                    spot.name = "somebody's".to_owned();
                }
            }
            Event::SwitchOff(number) => {
                if let Some(spot) = of(number, &self.owned).and_then(|id| self.spot.get_mut(&id)) {
                    spot.cost_intelligence = false;
                }
            }
            Event::DeleteRole(number) => {
                self.roles.remove(&number);
            }
            Event::ChangeRole(number) => {
                if self.roles.contains(&number) {
                    self.changed_roles.insert(number);
                }
            }
            Event::Run { enrolls, steps } => {
                self.run(enrolls, steps);
            }
        }
    }

    fn state(&mut self, number: u64, state: AccountState) {
        if let Some(member) = self.members.get_mut(&number) {
            member.state = state;
        }
    }

    /// Runs a job up to so many steps. Returns what it had planned.
    fn run(&mut self, enrolls: bool, steps: usize) -> Plan {
        let observed = self.observe();
        let plan = match enrolls {
            true => enroll::plan(&observed, &self.desired),
            false => stackset_sync::plan(&observed.sync, &self.desired),
        };
        let plan = plan.unwrap();
        for action in actions(&plan).iter().take(steps) {
            self.apply(action);
        }
        plan
    }

    fn observe(&self) -> AuditObserved {
        let mut accounts = vec![(1, 0, ACTIVE)];
        let members = self.members.iter();
        accounts.extend(members.map(|(number, member)| (*number, member.unit, member.state)));
        let mut organization = organization(&[0], &accounts);
        for account in &mut organization.accounts {
            let number: u64 = account.id.to_string().parse().unwrap();
            if let Some(member) = self.members.get(&number) {
                account.name = member.name.as_str().into();
            }
        }
        let mut sync = observed(organization);
        let closed = self
            .members
            .iter()
            .filter(|(_, one)| one.state == AccountState::Closed);
        sync.closed_since = closed.map(|(number, _)| (id(*number), 0)).collect();
        let instances = self.instances.iter().map(|(number, stack)| StackInstance {
            stack_id: Some(stack_id(*number, *stack).into()),
            ..instance(
                *number,
                InstanceStatus::Current,
                InstanceDetailedStatus::Succeeded,
            )
        });
        let instances = instances.collect();
        if self.has_stack_set {
            with_stack_set(&mut sync, &self.desired.profiles[0], false, instances);
        }
        let records = self.spot.iter().map(|(spot, at_spot)| SpotAccountRecord {
            id: spot.parse().unwrap(),
            name: at_spot.name.as_str().into(),
            aws_account: at_spot.linked.map(id),
            unlinked: at_spot.linked.is_none(),
        });
        sync.spot_accounts = records.collect();
        let owned = self.owned.iter();
        sync.owned_links = owned
            .map(|(number, (spot, _))| (id(*number), spot.parse().unwrap()))
            .collect();
        let mut drifts = BTreeMap::new();
        for number in self.instances.keys() {
            let is_active = self
                .members
                .get(number)
                .is_some_and(|one| one.state == ACTIVE);
            // Whether one that was unlinked can be linked again depends on its role.
            let ours = self.owned.get(number).is_some_and(|(spot, _)| {
                self.spot
                    .get(spot)
                    .is_some_and(|spot| spot.linked.is_none())
            });
            if is_active && (self.link(*number).is_some() || ours) {
                drifts.insert(id(*number), self.drifts(*number));
            }
        }
        let on = self.spot.iter().filter(|(_, one)| one.cost_intelligence);
        AuditObserved {
            sync,
            drifts: Some(drifts),
            cost_intelligence: Some(on.map(|(spot, _)| spot.parse().unwrap()).collect()),
            namings: [("default".to_owned(), Naming::default())].into(),
            wants_cost_intelligence: ["default".to_owned()].into(),
            owned: self
                .owned
                .iter()
                .map(|(number, (_, stack))| {
                    let link = OwnedLink {
                        role: role(*number, *stack).parse().unwrap(),
                        stack: stack_id(*number, *stack).parse().unwrap(),
                        adopted: false,
                    };
                    (id(*number), link)
                })
                .collect(),
            home: HomePlace {
                region: "us-east-1".parse().unwrap(),
                is_delegated: false,
            },
            detection: None,
            token: TokenAge::default(),
        }
    }

    fn link(&self, number: u64) -> Option<&str> {
        let mut spot = self.spot.iter();
        let linked = spot.find(|(_, at_spot)| at_spot.linked == Some(number));
        linked.map(|(spot, _)| spot.as_str())
    }

    fn drifts(&self, number: u64) -> Vec<Drift> {
        let (kind, fix) = if !self.roles.contains(&number) {
            (DriftKind::RoleMissing, Fix::Enroll)
        } else if self.changed_roles.contains(&number) {
            (DriftKind::TrustDiffers, Fix::ReDeploy)
        } else {
            return Vec::new();
        };
        vec![Drift {
            kind,
            resource: role(number, self.instances[&number]),
            expected: String::new(),
            actual: String::new(),
            verdict: None,
            changes: Vec::new(),
            fix,
        }]
    }

    fn apply(&mut self, action: &SyncAction) {
        match action {
            SyncAction::CreateStackSet { .. } => self.has_stack_set = true,
            SyncAction::CreateStackInstances { targets, .. } => {
                for number in self.reached(targets) {
                    assert_eq!(self.members[&number].state, ACTIVE);
                    if !self.instances.contains_key(&number) {
                        self.deploy(number);
                    }
                }
            }
            SyncAction::RepairStackInstances { targets, .. } => {
                for number in self.reached(targets) {
                    self.changed_roles.remove(&number);
                }
            }
            SyncAction::DeleteStacks { targets, .. } => {
                for number in self.reached(targets) {
                    // No way in of Spot's goes that works.
                    assert!(!self.roles.contains(&number) || self.link(number).is_none());
                    self.instances.remove(&number);
                    self.roles.remove(&number);
                    self.changed_roles.remove(&number);
                }
            }
            SyncAction::DeleteStackInstances { targets, .. } => {
                for account in &targets.accounts {
                    self.instances.remove(&number_of(*account));
                }
            }
            SyncAction::LinkSpotAccount {
                account,
                spot_account,
                ..
            } => {
                let number = number_of(*account);
                // Spot assumes the role before it links.
                assert!(self.instances.contains_key(&number));
                if self.roles.contains(&number) {
                    self.spot.get_mut(spot_account.as_str()).unwrap().linked = Some(number);
                }
            }
            SyncAction::RenameSpotAccount {
                account,
                spot_account,
                ..
            } => {
                let name = self.members[&number_of(*account)].name.clone();
                self.spot.get_mut(spot_account.as_str()).unwrap().name = name;
            }
            SyncAction::EnableCostIntelligence { spot_account, .. } => {
                self.spot
                    .get_mut(spot_account.as_str())
                    .unwrap()
                    .cost_intelligence = true;
            }
            other => assert_eq!(other.name(), "a step that this model knows"),
        }
    }

    /// The members that an operation reaches.
    fn reached(&self, targets: &OperationTargets) -> Vec<u64> {
        assert_eq!(targets.filter, TargetFilter::Intersection);
        let listed = targets.accounts.iter().map(|account| number_of(*account));
        listed
            .filter(|number| self.members.contains_key(number))
            .collect()
    }

    /// What a new stack asks the provider for.
    fn deploy(&mut self, number: u64) {
        self.made += 1;
        self.instances.insert(number, self.made);
        self.roles.insert(number);
        let name = self.members[&number].name.clone();
        let linked = self.link(number).map(str::to_owned);
        let ours = self.owned.get(&number).map(|(spot, _)| spot.clone());
        let spot = linked
            .or_else(|| ours.filter(|spot| self.spot.contains_key(spot)))
            .unwrap_or_else(|| format!("act-{:08}", self.made));
        let at_spot = self.spot.entry(spot.clone()).or_default();
        at_spot.linked = Some(number);
        at_spot.name = name;
        at_spot.cost_intelligence = true;
        self.owned.insert(number, (spot, self.made));
    }
}

fn number_of(account: AwsAccountId) -> u64 {
    account.to_string().parse().unwrap()
}

fn stack_id(number: u64, stack: u64) -> String {
    format!(
        "arn:aws:cloudformation:us-east-1:{}:stack/StackSet-spot-onboarding-{stack}/0b1c",
        id(number)
    )
}

fn role(number: u64, stack: u64) -> String {
    format!("arn:aws:iam::{}:role/SpotRole-{stack}", id(number))
}

proptest! {
    #[test]
    fn any_interleaving_converges(events in prop::collection::vec(event(), 0..40)) {
        let mut model = Model::new();
        for event in &events {
            model.happens(*event);
            // Never two of ours for one account.
            let mut linked = BTreeSet::new();
            for at_spot in model.spot.values() {
                prop_assert!(at_spot.linked.is_none_or(|number| linked.insert(number)));
            }
        }
        // Once nothing happens any more, a few whole runs of both settle it.
        for _ in 0..3 {
            for enrolls in [false, true] {
                model.run(enrolls, usize::MAX);
            }
        }
        let rest = model.run(true, usize::MAX);
        prop_assert!(rest.steps.is_empty(), "{:#?}", rest.steps);
        prop_assert!(model.run(false, usize::MAX).steps.is_empty());
        for row in &rest.accounts {
            let number = number_of(row.account);
            if model.members.get(&number).is_some_and(|one| one.state == ACTIVE) {
                prop_assert_eq!(row.reason, Reason::Enrolled, "{:?}", row);
                let spot = model.link(number).unwrap();
                prop_assert_eq!(&model.spot[spot].name, &model.members[&number].name);
                prop_assert!(model.roles.contains(&number) && model.spot[spot].cost_intelligence);
            }
        }
        // Nobody who is active is missing from the rows.
        let rows: BTreeSet<u64> = rest.accounts.iter().map(|row| number_of(row.account)).collect();
        prop_assert!(model.members.keys().all(|number| rows.contains(number)));
    }
}
