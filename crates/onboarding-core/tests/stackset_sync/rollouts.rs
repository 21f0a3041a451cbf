//! Plans of `policy-rollout`: tables, and the property that matters: whoever joins, moves or leaves between any two looks, nobody gets
//! the next version but by a wave or at the end, and at the end everybody has it, or nobody.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

mod gates;
mod golden;
mod guards;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use onboarding_core::{
    desired::Desired,
    ids::AwsAccountId,
    inventory::{Account, InstanceDetailedStatus, InstanceStatus, StackInstance},
    plan::{Plan, Summary},
    policy_rollout::{
        Candidate, Member, Outcome, Phase, Rollout, RolloutAction, RolloutObserved,
        RolloutSettings, Selector, Sweep, WaveProgress, WaveSettings, WaveState, Window, plan,
    },
    stackset_sync::SyncObserved,
    status::{Reason, Standing},
};
use proptest::prelude::*;

use crate::world::*;

const GOOD: &str = "good";
const NEXT: &str = "next";

/// A stack set with its instances, what they override, and what IAM has in their accounts.
struct World {
    sync: SyncObserved,
    rollout: Option<Rollout>,
    /// What the stack set says.
    set: &'static str,
    overrides: BTreeSet<AwsAccountId>,
    /// What accounts have.
    has: BTreeMap<AwsAccountId, &'static str>,
    good: &'static str,
    rejected: bool,
    settings: RolloutSettings,
    stacks: u32,
}

fn current(account: u64, stack: u32) -> StackInstance {
    StackInstance {
        stack_id: Some(format!("stack-{stack}").into()),
        ..instance(
            account,
            InstanceStatus::Current,
            InstanceDetailedStatus::Succeeded,
        )
    }
}

fn wave(name: &str, selector: Option<Selector>) -> WaveSettings {
    WaveSettings {
        name: name.to_owned(),
        selector,
        ..WaveSettings::default()
    }
}

fn share(percent: u8) -> Option<Selector> {
    Some(Selector {
        percent: Some(percent),
        ..Selector::default()
    })
}

fn listed(accounts: &[u64]) -> Option<Selector> {
    Some(Selector {
        accounts: accounts.iter().map(|number| id(*number)).collect(),
        ..Selector::default()
    })
}

impl World {
    /// The management account and so many enrolled members.
    fn new(members: u64, waves: Vec<WaveSettings>) -> Self {
        let mut accounts = vec![(1, 0, ACTIVE)];
        accounts.extend((2..members + 2).map(|number| (number, 1, ACTIVE)));
        let mut world = Self {
            sync: observed(organization(&[0, 0], &accounts)),
            rollout: None,
            set: GOOD,
            overrides: BTreeSet::new(),
            has: BTreeMap::new(),
            good: GOOD,
            rejected: false,
            settings: RolloutSettings {
                waves,
                concurrency: 10,
                reads_accounts: true,
                moment: |at| at.to_string(),
            },
            stacks: 0,
        };
        let profile = world.desired().profiles.remove(0);
        with_stack_set(&mut world.sync, &profile, true, Vec::new());
        for number in 2..members + 2 {
            world.deploy(number);
        }
        world
    }

    /// An instance as auto-deployment makes it: with what the stack set says.
    fn deploy(&mut self, number: u64) {
        self.stacks += 1;
        let instances = &mut self.sync.profiles[0].instances;
        instances.retain(|instance| instance.account != id(number));
        instances.push(current(number, self.stacks));
        instances.sort_by_key(|instance| instance.account);
        self.overrides.remove(&id(number));
        self.has.insert(id(number), self.set);
        let spot = &mut self.sync.spot_accounts;
        if !spot.iter().any(|one| one.aws_account == Some(id(number))) {
            spot.push(linked(number, &format!("act-{number:08}")));
        }
    }

    fn join(&mut self, number: u64) {
        let organization = Arc::make_mut(&mut self.sync.organization);
        if organization.account(id(number)).is_some() {
            return;
        }
        organization.accounts.push(Account {
            id: id(number),
            name: "new".into(),
            state: ACTIVE,
            parent: 1,
            joined_at: None,
        });
        organization.accounts.sort_by_key(|account| account.id);
        self.deploy(number);
    }

    fn leave(&mut self, number: u64) {
        let organization = Arc::make_mut(&mut self.sync.organization);
        organization
            .accounts
            .retain(|account| account.id != id(number));
        let instances = &mut self.sync.profiles[0].instances;
        instances.retain(|instance| instance.account != id(number));
        self.has.remove(&id(number));
        self.overrides.remove(&id(number));
    }

    fn is_there(&self, number: u64) -> bool {
        number > 1 && self.sync.organization.account(id(number)).is_some()
    }

    /// What should be, by what is written down.
    fn desired(&self) -> Desired {
        let mut profile = profile(root_targets());
        let is_staged = self
            .rollout
            .as_ref()
            .is_some_and(|one| one.phase.is_staged());
        let good = match &self.rollout {
            Some(rollout) if rollout.phase == Phase::Finishing => NEXT,
            _ => self.good,
        };
        profile.definition.template_digest = if is_staged { "both" } else { good }.to_owned();
        profile.definition.parameters =
            BTreeMap::from([("PolicyVersion".to_owned(), good.to_owned())]);
        desired(profile)
    }

    fn observed(&self) -> RolloutObserved {
        let version = |name: &str| Candidate {
            name: name.to_owned(),
            digest: name.to_owned(),
        };
        let mut sync = self.sync.clone();
        sync.profiles[0].rollout.clone_from(&self.rollout);
        RolloutObserved {
            sync,
            good: Some(version(self.good)),
            candidate: version(NEXT),
            unfit: None,
            rejected: self.rejected,
            changes: Vec::new(),
            rollout: self.rollout.clone(),
            window: Window {
                is_open: true,
                opens_at: None,
            },
        }
    }

    fn plan(&self) -> Plan {
        let planned = plan(&self.observed(), &self.desired(), &self.settings).unwrap();
        let summary = Summary::of(&planned.accounts, &planned.accounts, true);
        assert!(summary.adds_up(), "{summary:?}");
        planned
    }

    /// One run: every step of a plan, with these accounts failing. Ends early when the rollout is halted.
    fn run(&mut self, failing: &BTreeSet<AwsAccountId>) -> Plan {
        let planned = self.plan();
        for step in &planned.steps {
            let action = serde_json::from_value(step.payload.clone()).unwrap();
            if !self.apply(action, failing) {
                break;
            }
        }
        planned
    }

    fn define(&mut self) {
        let profile = self.desired().profiles.remove(0);
        let state = &mut self.sync.profiles[0];
        state.template_digest = Some(profile.definition.template_digest);
        let stack_set = state.stack_set.as_mut().unwrap();
        stack_set.parameters = profile.definition.parameters;
    }

    fn apply(&mut self, action: RolloutAction, failing: &BTreeSet<AwsAccountId>) -> bool {
        let now = self.sync.now;
        match action {
            RolloutAction::Stage { from, to, .. } => {
                let mut rollout = Rollout::new("r".to_owned(), "default", &from, &to, now);
                rollout.phase = Phase::Rolling;
                self.rollout = Some(rollout);
                self.define();
            }
            RolloutAction::UpdateWave { wave, members, .. } => {
                for account in &members {
                    assert_ne!(
                        self.has.get(account),
                        Some(&NEXT),
                        "updated twice: {account}"
                    );
                }
                let mut sweep = Sweep::over(members);
                for (account, member) in &mut sweep.members {
                    let instance = self.instance(*account);
                    let outcome = match &instance {
                        None => Outcome::Gone,
                        Some(_) if failing.contains(account) => Outcome::Failed,
                        Some(_) => Outcome::Updated,
                    };
                    *member = Member {
                        outcome,
                        reason: None,
                        stack: instance.and_then(|instance| instance.stack_id),
                    };
                    self.overrides.insert(*account);
                    if outcome == Outcome::Updated {
                        self.has.insert(*account, NEXT);
                    }
                }
                let went_wrong = sweep.with(Outcome::Failed).next().is_some();
                let rollout = self.rollout.as_mut().unwrap();
                rollout.waves.push(WaveProgress {
                    name: wave,
                    state: WaveState::Updated,
                    sweep,
                    known: BTreeSet::new(),
                    updated_at: Some(now),
                });
                if went_wrong {
                    rollout.halt(vec!["an account failed".to_owned()]);
                    return false;
                }
            }
            RolloutAction::CheckWave { wave, .. } => {
                let settings = self.settings.waves.iter().find(|one| one.name == wave);
                let soak = settings.unwrap().soak;
                let progress = self.rollout.as_mut().unwrap().wave_mut(&wave).unwrap();
                if now >= progress.updated_at.unwrap() + soak {
                    progress.state = WaveState::Passed;
                }
            }
            RolloutAction::Promote { .. } => {
                let rollout = self.rollout.as_mut().unwrap();
                let waves = rollout.waves.iter();
                assert!(waves.clone().all(|wave| wave.state == WaveState::Passed));
                rollout.phase = Phase::Finishing;
                self.set = NEXT;
                for (account, has) in &mut self.has {
                    if !self.overrides.contains(account) {
                        *has = NEXT;
                    }
                }
                self.define();
            }
            RolloutAction::ClearOverrides { .. } => {
                self.overrides.clear();
                self.good = NEXT;
                self.rollout = None;
            }
            RolloutAction::Revert { .. } => {
                let reset = self.rollout.as_mut().unwrap().reset.as_mut().unwrap();
                for (account, member) in &mut reset.members {
                    member.outcome = Outcome::Updated;
                    self.overrides.remove(account);
                    if let Some(has) = self.has.get_mut(account) {
                        *has = self.set;
                    }
                }
            }
            RolloutAction::CheckRevert { .. } => {}
            RolloutAction::Unstage { .. } => {
                self.rollout = None;
                self.rejected = true;
                self.define();
            }
        }
        true
    }

    fn instance(&self, account: AwsAccountId) -> Option<StackInstance> {
        let mut instances = self.sync.profiles[0].instances.iter();
        instances.find(|one| one.account == account).cloned()
    }

    fn having(&self, version: &str) -> BTreeSet<AwsAccountId> {
        let having = self.has.iter().filter(|(_, has)| **has == version);
        having.map(|(account, _)| *account).collect()
    }
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| &*step.id).collect()
}

#[test]
fn without_soaking_everything_is_one_plan() {
    let waves = vec![
        wave("one", listed(&[3])),
        wave("two", share(50)),
        wave("all", None),
    ];
    let mut world = World::new(9, waves);
    let planned = world.run(&BTreeSet::new());
    assert_eq!(
        ids(&planned),
        [
            "stage:default",
            "update-wave:default:one",
            "check-wave:default:one",
            "update-wave:default:two",
            "check-wave:default:two",
            "update-wave:default:all",
            "check-wave:default:all",
            "promote:default",
            "clear-overrides:default",
        ]
    );
    let accounts: Vec<usize> = planned
        .steps
        .iter()
        .map(|step| step.accounts.len())
        .collect();
    // A share of all nine, rounded up, whether or not an earlier wave has some of them.
    assert_eq!(accounts[1], 1);
    assert_eq!(accounts[3], 5);
    assert_eq!(accounts[5], 3);
    let chained = planned.steps.windows(2).all(|two| {
        two[1]
            .preconditions
            .contains(&format!("step:{}", two[0].id))
            && two[0].order < two[1].order
    });
    assert!(chained, "each builds on the one before");
    assert_eq!(world.having(NEXT).len(), 9);
    assert!(world.plan().steps.is_empty());
}

#[test]
fn a_wave_that_soaks_is_waited_for_and_asked_again() {
    let mut canary = wave("canary", listed(&[3]));
    canary.soak = 600;
    let mut world = World::new(4, vec![canary, wave("all", None)]);
    let first = world.run(&BTreeSet::new());
    assert_eq!(
        ids(&first),
        [
            "stage:default",
            "update-wave:default:canary",
            "check-wave:default:canary"
        ]
    );
    world.sync.now += 599;
    let second = world.run(&BTreeSet::new());
    assert!(second.steps.is_empty());
    assert_eq!(second.findings[0].reason, "rollout-waits");
    assert_eq!(second.waits.as_ref(), Some(&second.findings[0].message));
    let row = |number| {
        second
            .accounts
            .iter()
            .find(|row| row.account == id(number))
            .unwrap()
    };
    assert_eq!(row(3).standing, Standing::Ok);
    assert_eq!(
        (row(4).standing, row(4).reason),
        (Standing::Pending, Reason::WaitsForWave)
    );
    world.sync.now += 1;
    let third = world.run(&BTreeSet::new());
    assert_eq!(ids(&third)[0], "check-wave:default:canary");
    assert_eq!(world.having(NEXT).len(), 4);
}

#[test]
fn what_is_halted_stays_so_until_somebody_decides() {
    let mut world = World::new(4, vec![wave("canary", listed(&[3, 4])), wave("all", None)]);
    world.run(&BTreeSet::from([id(4)]));
    for _ in 0..3 {
        let planned = world.run(&BTreeSet::new());
        assert!(planned.steps.is_empty());
        assert_eq!(planned.refusals[0].guard, "rollout-halted");
        assert_eq!(planned.waits, None, "it waits for a person");
    }
    assert_eq!(world.having(NEXT), BTreeSet::from([id(3)]));
    let mut resumed = world.rollout.clone().unwrap();
    assert!(resumed.resume() && !resumed.resume());
    assert_eq!(
        resumed.waves[0].state,
        WaveState::Begun,
        "what failed is tried again"
    );
    assert_eq!(
        resumed.waves[0]
            .sweep
            .with(Outcome::Due)
            .collect::<Vec<_>>(),
        [id(4)]
    );
    assert!(world.rollout.as_mut().unwrap().roll_back());
    let back = world.run(&BTreeSet::new());
    assert_eq!(
        ids(&back),
        ["revert:default", "check-revert:default", "unstage:default"]
    );
    assert_eq!(world.having(NEXT), BTreeSet::new());
    assert_eq!(world.plan().refusals[0].guard, "version-rejected");
}

#[test]
fn nothing_begins_where_a_guard_rail_stands() {
    let mut world = World::new(3, vec![wave("nobody", listed(&[99])), wave("all", None)]);
    assert_eq!(world.plan().refusals[0].guard, "empty-wave");
    world.settings.waves.remove(0);
    let mut observed = world.observed();
    observed.window.is_open = false;
    observed.window.opens_at = Some(NOW + 60);
    let closed = plan(&observed, &world.desired(), &world.settings).unwrap();
    assert!(closed.steps.is_empty());
    assert!(closed.findings[0].message.contains(&(NOW + 60).to_string()));
    observed.unfit = Some("it is too large".to_owned());
    let unfit = plan(&observed, &world.desired(), &world.settings).unwrap();
    assert_eq!(unfit.refusals[0].guard, "versions-do-not-fit");
    let stack_set = world.sync.profiles[0].stack_set.as_mut().unwrap();
    stack_set
        .tags
        .insert("owner".to_owned(), "another".to_owned());
    assert_eq!(world.plan().refusals[0].guard, "definition-differs");
}

/// What happens between two runs.
#[derive(Debug, Clone)]
enum Event {
    Join(u64),
    Move(u64),
    Leave(u64),
    Later(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (20_u64..40).prop_map(Event::Join),
        (2_u64..40).prop_map(Event::Move),
        (2_u64..40).prop_map(Event::Leave),
        (0_i64..400).prop_map(Event::Later),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nobody_gets_the_next_version_but_by_a_wave_or_at_the_end(
        members in 3_u64..15,
        percents in prop::collection::vec(1_u8..100, 0..4),
        soak in 0_i64..500,
        between in prop::collection::vec(prop::collection::vec(event(), 0..4), 8),
        failing in prop::option::weighted(0.4, 2_u64..15),
    ) {
        let waves = percents.iter().enumerate().map(|(n, percent)| WaveSettings {
            soak,
            ..wave(&format!("w{n}"), share(*percent))
        });
        let waves = waves.chain([wave("all", None)]).collect();
        let mut world = World::new(members, waves);
        let failing: BTreeSet<AwsAccountId> = failing.into_iter().map(id).collect();
        let mut rounds = between.into_iter().chain(std::iter::repeat_with(|| vec![Event::Later(1_000)]));
        for round in 0.. {
            prop_assert!(round < 40, "it does not end: {:#?}", world.rollout);
            world.run(&failing);
            let halted = world.rollout.as_ref().is_some_and(|rollout| rollout.phase == Phase::Halted);
            if halted {
                prop_assert!(world.rollout.as_mut().unwrap().roll_back());
                world.run(&BTreeSet::new());
                prop_assert_eq!(world.having(NEXT), BTreeSet::new());
                prop_assert!(world.overrides.is_empty());
                prop_assert!(world.plan().steps.is_empty());
                break;
            }
            let in_waves: BTreeSet<AwsAccountId> = world.rollout.iter()
                .flat_map(|rollout| rollout.members().map(|(account, _)| account).collect::<Vec<_>>())
                .collect();
            if world.set == GOOD {
                prop_assert!(world.having(NEXT).is_subset(&in_waves));
            }
            if world.rollout.is_none() {
                prop_assert_eq!(world.having(GOOD), BTreeSet::new());
                prop_assert!(world.overrides.is_empty());
                prop_assert!(world.plan().steps.is_empty());
                break;
            }
            for event in rounds.next().unwrap() {
                match event {
                    Event::Join(number) => {
                        let is_new = !world.is_there(number);
                        world.join(number);
                        prop_assert!(!is_new || world.has[&id(number)] == world.set);
                    }
                    Event::Move(number) if world.is_there(number) => {
                        world.deploy(number);
                        prop_assert_eq!(world.has[&id(number)], world.set);
                    }
                    Event::Leave(number) if world.is_there(number) => world.leave(number),
                    Event::Later(seconds) => world.sync.now += seconds,
                    Event::Move(_) | Event::Leave(_) => {}
                }
            }
        }
    }
}
