//! AWS and Spot, as far as plans look at them, for each way of enrolling accounts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use onboarding_core::{
    custom_resource::Naming,
    desired::{Deployment, Desired, OuRef, Profile, Targets},
    drift::{Drift, DriftKind, Fix},
    drift_audit::{AuditObserved, Connection, HomePlace, OwnedLink, TokenAge},
    enroll,
    ids::AwsAccountId,
    inventory::{
        AccountState, InstanceDetailedStatus, InstanceStatus, SpotAccountRecord, StackInstance,
    },
    plan::Plan,
    stackset_sync::{
        self, ObservedProfile, OperationTargets, SyncAction, TargetFilter,
        past_links::{LinkRecord, LinkRecords, StackNow},
    },
};

use super::{Change, Event, Job};
use crate::world::*;

/// How accounts are enrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setting {
    /// By custom resources that we serve.
    Queue,
    /// By custom resources that Spot serves: who linked what is only known from its listing.
    Hosted,
    /// By the runner, with one role name for all stacks.
    Direct,
    /// By custom resources, with a profile for each of two units.
    Two,
    /// By custom resources, in one of two units; where accounts leave it, the remediation role deletes the stacks that were left.
    Outside,
}

pub(super) struct Member {
    pub(super) unit: usize,
    pub(super) state: AccountState,
    pub(super) name: String,
}

#[derive(Default)]
pub(super) struct AtSpot {
    pub(super) linked: Option<u64>,
    pub(super) name: String,
    pub(super) cost_intelligence: bool,
}

/// A stack of ours in an account.
pub(super) struct Stack {
    pub(super) account: u64,
    /// When it linked last, and when that ended, in made-up seconds.
    linked_at: i64,
    pub(super) ended_at: Option<i64>,
    pub(super) spot: String,
    pub(super) is_deleted: bool,
    pub(super) has_role: bool,
    is_changed: bool,
}

pub(super) struct Model {
    pub(super) setting: Setting,
    pub(super) desired: Desired,
    pub(super) members: BTreeMap<u64, Member>,
    /// The stack of each instance, by profile and account.
    pub(super) instances: BTreeMap<(usize, u64), u64>,
    pub(super) stacks: BTreeMap<u64, Stack>,
    pub(super) spot: BTreeMap<String, AtSpot>,
    /// Spot account and stack of the link that was made last, by account.
    pub(super) owned: BTreeMap<u64, (String, u64)>,
    /// The account that each Spot account was made for.
    pub(super) made_for: BTreeMap<String, u64>,
    /// Deletions of Spot accounts that were sent, and whose run broke off then.
    pub(super) unsettled: Vec<String>,
    stack_sets: BTreeSet<usize>,
    made: u64,
    pub(super) clock: i64,
    /// How many accounts the step that breaks off still reaches.
    reaches: Option<usize>,
    /// Whether something has happened since the run planned: what AWS, Spot and the steps look at themselves then counts.
    is_met: bool,
}

impl Model {
    pub(super) fn new(setting: Setting) -> Self {
        let one = |name: &str, stack_set: &str, targets: Targets| Profile {
            name: name.to_owned(),
            stack_set: stack_set.parse().unwrap(),
            deployment: Some(Deployment::Runner),
            direct: (setting == Setting::Direct).then(enrollment),
            ..profile(targets)
        };
        let unit = |number: usize| Targets {
            ous: vec![OuRef::Id(ou(number))],
            ..Targets::default()
        };
        let mut profiles = match setting {
            Setting::Two => vec![
                one("first", "spot-onboarding-a", unit(1)),
                one("second", "spot-onboarding-b", unit(2)),
            ],
            Setting::Outside => vec![one("default", "spot-onboarding", unit(1))],
            Setting::Queue | Setting::Hosted | Setting::Direct => {
                vec![one("default", "spot-onboarding", root_targets())]
            }
        };
        if setting == Setting::Direct {
            let role = enrollment().role_name;
            profiles[0].definition.template_body = format!(
                r#"{{"Resources": {{"SpotRole": {{"Properties": {{"RoleName": "{role}"}}}}}}}}"#
            );
        }
        let mut desired = desired(profiles[0].clone());
        desired.profiles = profiles;
        desired.removal.max_removals = 100;
        desired.removal.max_shrink = 1.0;
        desired.removal.closed_grace_seconds = 0;
        Self {
            setting,
            desired,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            stacks: BTreeMap::new(),
            spot: BTreeMap::new(),
            owned: BTreeMap::new(),
            made_for: BTreeMap::new(),
            unsettled: Vec::new(),
            stack_sets: BTreeSet::new(),
            made: 0,
            clock: 0,
            reaches: None,
            is_met: false,
        }
    }

    pub(super) fn happens(&mut self, event: Event) {
        match event {
            Event::To(change) => self.changes(change),
            Event::Run {
                job,
                steps,
                reaches,
            } => {
                self.run(job, steps, reaches, None);
            }
            Event::Meets { job, change, after } => {
                self.run(job, usize::MAX, None, Some((after, change)));
                self.is_met = false;
            }
        }
    }

    pub(super) fn changes(&mut self, change: Change) {
        match change {
            Change::Join(number) => {
                self.members.entry(number).or_insert_with(|| Member {
                    unit: 0,
                    state: ACTIVE,
                    name: format!("account {number}"),
                });
            }
            Change::Move(number) => {
                if let Some(member) = self.members.get_mut(&number) {
                    member.unit = 1 - member.unit;
                }
            }
            Change::Rename(number) => {
                if let Some(member) = self.members.get_mut(&number) {
                    member.name.push('x');
                }
            }
            Change::Suspend(number) => self.state(number, AccountState::Suspended),
            Change::Activate(number) => self.state(number, ACTIVE),
            Change::Close(number) => self.state(number, AccountState::Closed),
            Change::Leave(number) => {
                self.members.remove(&number);
            }
            Change::Unlink(number) => {
                if let Some(spot) = self.ours(number) {
                    spot.linked = None;
                }
            }
            Change::DeleteAtSpot(number) => {
                if let Some((id, _)) = self.owned.get(&number) {
                    self.spot.remove(id);
                }
            }
            Change::RenameAtSpot(number) => {
                if let Some(spot) = self.ours(number) {
                    spot.name = "somebody's".to_owned();
                }
            }
            Change::SwitchOff(number) => {
                if let Some(spot) = self.ours(number) {
                    spot.cost_intelligence = false;
                }
            }
            Change::DeleteRole(number) => {
                if let Some(stack) = self.linked_stack(number) {
                    stack.has_role = false;
                }
            }
            Change::TamperWithRole(number) => {
                if let Some(stack) = self.linked_stack(number) {
                    stack.is_changed = stack.has_role;
                }
            }
            Change::DeleteLeftovers(number) => {
                let instances: BTreeSet<u64> = self.instances.values().copied().collect();
                let stacks = self.stacks.iter_mut();
                for (_, stack) in
                    stacks.filter(|(id, stack)| stack.account == number && !instances.contains(*id))
                {
                    (stack.is_deleted, stack.has_role) = (true, false);
                }
            }
            Change::TakeOut(number) => self.instances.retain(|(_, of), _| *of != number),
        }
    }

    /// Whether an account is where no profile targets it.
    pub(super) fn is_untargeted(&self, number: u64) -> bool {
        let member = self.members.get(&number);
        self.setting == Setting::Outside && member.is_some_and(|one| one.unit == 1)
    }

    /// Whether it is, and is active.
    pub(super) fn is_outside(&self, number: u64) -> bool {
        let member = self.members.get(&number);
        self.is_untargeted(number) && member.is_some_and(|one| one.state == ACTIVE)
    }

    fn ours(&mut self, number: u64) -> Option<&mut AtSpot> {
        let (id, _) = self.owned.get(&number)?;
        self.spot.get_mut(id)
    }

    /// The stack whose role Spot uses.
    fn linked_stack(&mut self, number: u64) -> Option<&mut Stack> {
        let (_, stack) = self.owned.get(&number)?;
        self.stacks.get_mut(stack)
    }

    fn state(&mut self, number: u64, state: AccountState) {
        if let Some(member) = self.members.get_mut(&number) {
            member.state = state;
        }
    }

    /// Runs a job from its beginning to its end.
    pub(super) fn whole(&mut self, job: Job) -> Plan {
        self.run(job, usize::MAX, None, None)
    }

    /// Runs a job up to so many steps, and lets the next one reach so many accounts. After so many steps, something may happen.
    /// Returns what it had planned.
    fn run(
        &mut self,
        job: Job,
        steps: usize,
        reaches: Option<usize>,
        meets: Option<(usize, Change)>,
    ) -> Plan {
        let observed = self.observe();
        let plan = match job {
            Job::Enroll => enroll::plan(&observed, &self.desired),
            Job::Sync => stackset_sync::plan(&observed.sync, &self.desired),
            Job::CleanUp => return self.clean_up(observed.sync, steps, reaches, meets),
        };
        let plan = plan.unwrap();
        for (index, action) in actions(&plan).iter().enumerate() {
            if let Some((after, change)) = meets
                && after == index
            {
                self.changes(change);
                self.is_met = true;
            }
            match reaches {
                _ if index < steps => self.apply(action),
                Some(reaches) if index == steps => self.apply_to_some(action, reaches),
                _ => break,
            }
        }
        plan
    }

    /// Does what a run that breaks off in the middle of a step has done of it.
    pub(super) fn apply_to_some(&mut self, action: &SyncAction, reaches: usize) {
        self.reaches = Some(reaches);
        self.apply(action);
        self.reaches = None;
    }

    /// How far below the root the accounts are. Where one profile targets the root, units do not matter.
    fn below(&self) -> usize {
        usize::from(matches!(self.setting, Setting::Two | Setting::Outside))
    }

    fn observe(&self) -> AuditObserved {
        let mut accounts = vec![(1, 0, ACTIVE)];
        let below = self.below();
        let members = self.members.iter();
        accounts.extend(members.map(|(number, one)| (*number, one.unit + below, one.state)));
        let mut organization = organization(&[0, 0], &accounts);
        for account in &mut organization.accounts {
            if let Some(member) = self.members.get(&number_of(account.id)) {
                account.name = member.name.as_str().into();
            }
        }
        let mut sync = observed(organization);
        let closed = self
            .members
            .iter()
            .filter(|(_, one)| one.state == AccountState::Closed);
        sync.closed_since = closed.map(|(number, _)| (id(*number), 0)).collect();
        let profiles = self.desired.profiles.iter().enumerate();
        sync.profiles = profiles
            .map(|(index, profile)| self.observed_profile(index, profile))
            .collect();
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
        sync.links = self.links();
        if self.setting == Setting::Direct {
            let owned = self.owned.keys();
            let finished = owned.map(|number| (id(*number), [enrollment().mark()].into()));
            sync.finished = finished.collect();
        }
        let on = self.spot.iter().filter(|(_, one)| one.cost_intelligence);
        let names = self.desired.profiles.iter();
        let names = names.map(|profile| profile.name.clone());
        AuditObserved {
            sync,
            drifts: Some(Arc::new(self.all_drifts())),
            seen: None,
            cost_intelligence: Some(
                on.map(|(spot, _)| (spot.parse().unwrap(), Connection::Connected))
                    .collect(),
            ),
            asks_spot: false,
            validations: BTreeMap::new(),
            namings: names
                .clone()
                .map(|name| (name, Naming::default()))
                .collect(),
            wants_cost_intelligence: names.collect(),
            owned: self.owned_links(),
            home: HomePlace {
                region: "us-east-1".parse().unwrap(),
                is_delegated: false,
            },
            detection: None,
            token: TokenAge::default(),
        }
    }

    fn observed_profile(&self, index: usize, profile: &Profile) -> ObservedProfile {
        let mut state = ObservedProfile {
            is_ours: true,
            ..ObservedProfile::default()
        };
        if !self.stack_sets.contains(&index) {
            return state;
        }
        state.stack_set = Some(stack_set(profile, false, vec![ou(0)]));
        state.template_digest = Some(profile.definition.template_digest.clone());
        state.is_direct = profile.direct.is_some();
        let instances = self.instances.iter().filter(|((of, _), _)| *of == index);
        for ((_, number), stack) in instances {
            state.instances.push(StackInstance {
                stack_id: Some(stack_id(*number, *stack).into()),
                ..instance(
                    *number,
                    InstanceStatus::Current,
                    InstanceDetailedStatus::Succeeded,
                )
            });
            if profile.direct.is_some() {
                state.external_ids.insert(id(*number), external_id());
            }
        }
        state
    }

    /// What the state knows of links; of those that Spot's functions made, nothing.
    fn owned_links(&self) -> BTreeMap<AwsAccountId, OwnedLink> {
        if self.setting == Setting::Hosted {
            return BTreeMap::new();
        }
        let owned = self.owned.iter().map(|(number, (_, stack))| {
            let link = OwnedLink {
                role: self.role(*number, *stack).parse().unwrap(),
                stack: stack_id(*number, *stack).parse().unwrap(),
                adopted: false,
            };
            (id(*number), link)
        });
        owned.collect()
    }

    /// The history of links, with what the audit role would say of their stacks.
    fn links(&self) -> LinkRecords {
        let mut records = LinkRecords::new();
        if self.setting == Setting::Hosted {
            return records;
        }
        for (number, stack) in &self.stacks {
            let record = LinkRecord {
                spot_account: stack.spot.parse().unwrap(),
                stack: stack_id(stack.account, *number).parse().unwrap(),
                role: self.role(stack.account, *number).parse().unwrap(),
                external_id: None,
                linked_at: stack.linked_at * 1000,
                ended_at: stack.ended_at.map(|at| at * 1000),
                broken_at: None,
                now: match stack.is_deleted {
                    true => StackNow::Gone { at: None },
                    false => StackNow::There {
                        has_role: stack.has_role,
                    },
                },
            };
            records.entry(id(stack.account)).or_default().push(record);
        }
        records
    }

    pub(super) fn link(&self, number: u64) -> Option<&str> {
        let mut spot = self.spot.iter();
        let linked = spot.find(|(_, at_spot)| at_spot.linked == Some(number));
        linked.map(|(spot, _)| spot.as_str())
    }

    /// Whether the role of an account's link is there, as its stack made it.
    pub(super) fn has_sound_role(&self, number: u64) -> bool {
        let stack = self.owned.get(&number);
        let stack = stack.and_then(|(_, stack)| self.stacks.get(stack));
        stack.is_some_and(|stack| stack.has_role && !stack.is_changed)
    }

    /// Whether the account was moved and moved back, and its own stack has lost its role meanwhile: no plan knows that.
    pub(super) fn lost_its_own_role(&self, number: u64) -> bool {
        let unit = self.members.get(&number).map(|member| member.unit);
        let own = unit.and_then(|unit| self.instances.get(&(unit, number)));
        let own = own.and_then(|own| self.stacks.get(own));
        self.setting == Setting::Two && own.is_some_and(|own| !own.has_role)
    }

    /// The stacks that are in an account, no instance, and not those of its link.
    pub(super) fn leftovers(&self, number: u64) -> Vec<String> {
        let instances: BTreeSet<u64> = self.instances.values().copied().collect();
        let stacks = self.stacks.iter();
        let left = stacks.filter(|(id, stack)| {
            let is_left = !stack.is_deleted && !instances.contains(*id);
            stack.account == number && is_left && stack.ended_at.is_some()
        });
        left.map(|(id, _)| stack_id(number, *id)).collect()
    }

    fn all_drifts(&self) -> BTreeMap<AwsAccountId, Vec<Drift>> {
        let mut drifts = BTreeMap::new();
        for (_, number) in self.instances.keys() {
            let member = self.members.get(number);
            let is_active = member.is_some_and(|one| one.state == ACTIVE);
            // Whether one that was unlinked can be linked again depends on its role.
            let ours = self.owned.get(number).is_some_and(|(spot, _)| {
                let spot = self.spot.get(spot);
                spot.is_some_and(|spot| spot.linked.is_none())
            });
            if is_active && (self.link(*number).is_some() || ours) {
                drifts.insert(id(*number), self.drifts(*number));
            }
        }
        drifts
    }

    fn drifts(&self, number: u64) -> Vec<Drift> {
        let Some((_, stack_number)) = self.owned.get(&number) else {
            return Vec::new();
        };
        let stack = &self.stacks[stack_number];
        let (kind, fix) = match (stack.has_role, stack.is_changed) {
            (false, _) => (DriftKind::RoleMissing, Fix::Enroll),
            (true, true) => (DriftKind::TrustDiffers, Fix::ReDeploy),
            (true, false) => return Vec::new(),
        };
        vec![Drift {
            kind,
            resource: self.role(number, *stack_number),
            expected: String::new(),
            actual: String::new(),
            verdict: None,
            changes: Vec::new(),
            fix,
        }]
    }

    pub(super) fn role(&self, number: u64, stack: u64) -> String {
        let name = match self.setting {
            Setting::Direct => enrollment().role_name,
            _ => format!("SpotRole-{stack}"),
        };
        format!("arn:aws:iam::{}:role/{name}", id(number))
    }

    fn index(&self, profile: &str) -> usize {
        let mut profiles = self.desired.profiles.iter();
        profiles.position(|one| one.name == profile).unwrap()
    }

    pub(super) fn apply(&mut self, action: &SyncAction) {
        match action {
            SyncAction::CreateStackSet { profile, .. } => {
                self.stack_sets.insert(self.index(profile));
            }
            SyncAction::CreateStackInstances {
                profile, targets, ..
            } => {
                assert_ne!(self.setting, Setting::Direct);
                for number in self.reached(targets) {
                    let member = &self.members[&number];
                    // CloudFormation deploys to active accounts that are in the unit.
                    let units = &targets.organizational_units;
                    let unit = ou(member.unit + self.below());
                    let is_there = units.contains(&ou(0)) || units.contains(&unit);
                    if self.is_met && (member.state != ACTIVE || !is_there) {
                        continue;
                    }
                    assert_eq!(member.state, ACTIVE);
                    self.deploy(self.index(profile), number);
                }
            }
            SyncAction::EnrollAccount {
                profile, account, ..
            } => {
                assert_eq!(self.setting, Setting::Direct);
                let number = number_of(*account);
                let state = self.members.get(&number).map(|member| member.state);
                // Else its stack would fail: "already exists".
                let mut stacks = self.stacks.values();
                let is_taken = stacks.any(|stack| stack.account == number && stack.has_role);
                let may = !is_taken || self.instances.contains_key(&(0, number));
                if self.is_met && (state != Some(ACTIVE) || !may) {
                    return;
                }
                assert_eq!(state, Some(ACTIVE));
                assert!(may);
                self.deploy(self.index(profile), number);
            }
            SyncAction::RepairStackInstances {
                profile, targets, ..
            } => {
                for number in self.reached(targets) {
                    let instance = self.instances.get(&(self.index(profile), number));
                    assert!(instance.is_some() || self.is_met);
                    if let Some(instance) = instance {
                        self.stacks.get_mut(instance).unwrap().is_changed = false;
                    }
                }
            }
            SyncAction::DeleteStacks {
                profile, targets, ..
            } => {
                // These take their Spot account along, or get their external ID from us.
                assert!(!matches!(self.setting, Setting::Hosted | Setting::Direct));
                for number in self.reached(targets) {
                    let key = (self.index(profile), number);
                    let Some(instance) = self.instances.get(&key).copied() else {
                        assert!(self.is_met);
                        continue;
                    };
                    // No way in of Spot's goes that works, where somebody targets the account.
                    let is_used = !self.is_outside(number)
                        && self.owned.get(&number).is_some_and(|(spot, stack)| {
                            *stack == instance && self.link(number) == Some(spot)
                        });
                    let stack = self.stacks.get_mut(&instance).unwrap();
                    // The step looks itself.
                    if self.is_met && stack.has_role && is_used {
                        continue;
                    }
                    assert!(!stack.has_role || !is_used);
                    self.instances.remove(&key);
                    (stack.is_deleted, stack.has_role) = (true, false);
                }
            }
            SyncAction::DeleteStackInstances { profile, targets } => {
                let most = self.reaches.unwrap_or(usize::MAX);
                for account in targets.accounts.iter().take(most) {
                    let number = number_of(*account);
                    // Likewise.
                    let member = self.members.get(&number);
                    let is_back = member.is_some_and(|one| one.state != AccountState::Closed);
                    if !(self.is_met && is_back) {
                        self.instances.remove(&(self.index(profile), number));
                    }
                }
            }
            SyncAction::LinkSpotAccount {
                account,
                stack,
                spot_account,
                role,
                ..
            } => {
                let (number, stack) = (number_of(*account), stack.as_ref());
                let stack = stack.map(|stack| stack_number(stack.as_str()));
                let stack = stack.unwrap_or_else(|| self.owned[&number].1);
                assert_eq!(*role.as_str(), *self.role(number, stack));
                let is_there = self.spot.contains_key(spot_account.as_str());
                let link = self.link(number);
                let is_other = link.is_some_and(|link| link != spot_account.as_str());
                if self.is_met && (!is_there || is_other) {
                    return;
                }
                // Spot assumes the role before it links.
                if self.stacks[&stack].has_role {
                    let at_spot = self.spot.get_mut(spot_account.as_str()).unwrap();
                    at_spot.linked = Some(number);
                    self.owns(number, spot_account.as_str().to_owned(), stack);
                }
            }
            SyncAction::RenameSpotAccount {
                account,
                spot_account,
                ..
            } => {
                let member = self.members.get(&number_of(*account));
                let at_spot = self.spot.get_mut(spot_account.as_str());
                assert!(self.is_met || (member.is_some() && at_spot.is_some()));
                if let (Some(member), Some(at_spot)) = (member, at_spot) {
                    at_spot.name.clone_from(&member.name);
                }
            }
            SyncAction::EnableCostIntelligence { spot_account, .. } => {
                let at_spot = self.spot.get_mut(spot_account.as_str());
                assert!(self.is_met || at_spot.is_some());
                if let Some(at_spot) = at_spot {
                    at_spot.cost_intelligence = true;
                }
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
            .take(self.reaches.unwrap_or(usize::MAX))
            .collect()
    }

    /// What a new stack asks for, or the runner for it.
    fn deploy(&mut self, profile: usize, number: u64) {
        if self.instances.contains_key(&(profile, number)) {
            return;
        }
        self.made += 1;
        self.instances.insert((profile, number), self.made);
        let name = self.members[&number].name.clone();
        let linked = self.link(number).map(str::to_owned);
        let ours = self.owned.get(&number).map(|(spot, _)| spot.clone());
        let spot = linked
            .or_else(|| ours.filter(|spot| self.spot.contains_key(spot)))
            .unwrap_or_else(|| format!("act-{:08}", self.made));
        self.made_for.entry(spot.clone()).or_insert(number);
        let at_spot = self.spot.entry(spot.clone()).or_default();
        at_spot.linked = Some(number);
        at_spot.name = name;
        at_spot.cost_intelligence = true;
        let stack = Stack {
            account: number,
            linked_at: 0,
            ended_at: None,
            spot: spot.clone(),
            is_deleted: false,
            has_role: true,
            is_changed: false,
        };
        self.stacks.insert(self.made, stack);
        self.owns(number, spot, self.made);
    }

    /// A stack has the link now, and no other has.
    fn owns(&mut self, number: u64, spot: String, owner: u64) {
        self.clock += 1;
        for (id, stack) in &mut self.stacks {
            if *id == owner {
                stack.spot.clone_from(&spot);
                stack.linked_at = self.clock;
                stack.ended_at = None;
            } else if stack.account == number && stack.ended_at.is_none() {
                stack.ended_at = Some(self.clock);
            }
        }
        self.owned.insert(number, (spot, owner));
    }
}

pub(super) fn number_of(account: AwsAccountId) -> u64 {
    account.to_string().parse().unwrap()
}

pub(super) fn stack_id(number: u64, stack: u64) -> String {
    format!(
        "arn:aws:cloudformation:us-east-1:{}:stack/StackSet-spot-onboarding-00000000-0000-4000-8000-{stack:012}/0b1c",
        id(number)
    )
}

pub(super) fn stack_number(id: &str) -> u64 {
    let name = id.split('/').nth(1).unwrap();
    name.rsplit('-').next().unwrap().parse().unwrap()
}
