//! The whole life of an account's stacks, in any order and with anything going wrong: at the end, after one good run of
//! the stack that is there, the account has exactly one Spot account, linked to the live role; and no Spot account is
//! ever deleted that another stack was given, or that was adopted.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use onboarding_core::{custom_resource::Status, template::Deletion};
use onboarding_provider::{
    AdoptRule, Intents as _, Provider, ProviderSettings, ResourceResponse, events::no_events,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    spot::Fault,
    stack::{
        ACCOUNT, Home, KINDS, OTHER, create_event, delete, delete_resource, in_time, request,
        resource_event, role, settings,
    },
};

/// What happens from now on.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Nothing,
    /// At a call of Spot, so many calls later.
    Call(usize, Fault),
    /// At a write of the state, likewise.
    Write(usize, Fault),
}

#[derive(Debug, Clone)]
enum Step {
    /// A stack is created. With fewer resources than there are, the next one fails, and it is rolled back.
    Create { resources: usize, fate: Fate },
    /// The stack that is there longest is deleted, its resources in the right order or in the wrong one.
    Delete { in_order: bool, fate: Fate },
    /// The account moves to another OU: the oldest stack is deleted while a new one is created.
    Move,
    /// The newest stack gets another role.
    Update { fate: Fate },
    /// The newest stack is updated with one more `Custom::SpotAccount`, which stays beside the others, takes the place of
    /// the first one (a new name), or goes again because the update is rolled back.
    Resource { then: Then, fate: Fate },
    /// An earlier request is delivered again.
    Repeat(prop::sample::Index),
    /// A request of a stack that is gone, or was never heard of, is delivered past its deadline.
    Late(prop::sample::Index),
    /// A request of a deleted stack, from before its end, that was never answered is delivered in time.
    Stray(prop::sample::Index),
}

#[derive(Debug, Clone, Copy)]
enum Then {
    Stays,
    Replaces,
    RollsBack,
}

#[derive(Debug, Clone)]
struct History {
    deletion: bool,
    adopt: AdoptRule,
    /// Somebody else's Spot account: none, linked, or left over under our name.
    before: u8,
    steps: Vec<Step>,
}

fn fates() -> impl Strategy<Value = Fate> {
    let faults = vec![
        Fault::DieBefore,
        Fault::DieAfter,
        Fault::ErrorBefore,
        Fault::ErrorAfter,
    ];
    let fault = prop::sample::select(faults);
    prop_oneof![
        4 => Just(Fate::Nothing),
        3 => (0..8_usize, fault.clone()).prop_map(|(after, fault)| Fate::Call(after, fault)),
        4 => (0..24_usize, fault).prop_map(|(after, fault)| Fate::Write(after, fault)),
    ]
}

fn resources() -> impl Strategy<Value = usize> {
    prop_oneof![3 => Just(KINDS.len()), 2 => 1..KINDS.len()]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (resources(), fates()).prop_map(|(resources, fate)| Step::Create { resources, fate }),
        3 => (any::<bool>(), fates()).prop_map(|(in_order, fate)| Step::Delete { in_order, fate }),
        2 => Just(Step::Move),
        2 => fates().prop_map(|fate| Step::Update { fate }),
        3 => (prop::sample::select(vec![Then::Stays, Then::Replaces, Then::RollsBack]), fates())
            .prop_map(|(then, fate)| Step::Resource { then, fate }),
        1 => any::<prop::sample::Index>().prop_map(Step::Repeat),
        1 => any::<prop::sample::Index>().prop_map(Step::Late),
        1 => any::<prop::sample::Index>().prop_map(Step::Stray),
    ]
}

fn histories() -> impl Strategy<Value = History> {
    let rules = vec![AdoptRule::KeepLink, AdoptRule::Relink];
    (
        prop::bool::weighted(0.8),
        prop::sample::select(rules),
        0..3_u8,
        prop::collection::vec(steps(), 1..7),
    )
        .prop_map(|(deletion, adopt, before, steps)| History {
            deletion,
            adopt,
            before,
            steps,
        })
}

/// A stack that is there.
struct Stack {
    name: String,
    /// The Spot account that it was given.
    id: String,
    /// The logical ids of its `Custom::SpotAccount`.
    resources: Vec<String>,
}

impl Stack {
    fn new(name: &str, id: &str) -> Self {
        Self {
            name: name.to_owned(),
            id: id.to_owned(),
            resources: vec!["SpotAccount".to_owned()],
        }
    }
}

/// An account's stacks as CloudFormation has them.
struct Account {
    home: Home,
    deletion: Deletion,
    /// Stacks that are there, oldest first.
    live: Vec<Stack>,
    /// The role that each stack has made last.
    roles: BTreeMap<String, String>,
    gone: Vec<String>,
    sent: Vec<Value>,
    made: usize,
    adopted: Option<String>,
}

impl Account {
    fn provider(&self) -> Provider {
        let settings = ProviderSettings {
            deletion: self.deletion,
            ..settings()
        };
        self.home.provider_with(settings, no_events())
    }

    fn new_stack(&mut self) -> String {
        self.made += 1;
        let stack = format!("stack{}", self.made);
        self.roles.insert(stack.clone(), role(ACCOUNT, &stack));
        stack
    }

    fn fate(&self, fate: Fate) {
        let mut world = self.home.spot.world.lock();
        world.faults.clear();
        if let Fate::Call(after, fault) = fate {
            let at = world.calls.len() + after;
            world.faults.insert(at, fault);
        }
        self.home.writes.fate(match fate {
            Fate::Write(after, fault) => Some((after, fault)),
            _ => None,
        });
    }

    /// Delivers a request, again to a new provider when the one that had it died.
    async fn deliver(&self, event: &Value) -> ResourceResponse {
        let request = request(event);
        let mut provider = self.provider();
        loop {
            tokio::select! {
                answer = provider.handle(&request, in_time()) => return answer,
                () = self.home.spot.died.notified() => provider = self.provider(),
            }
        }
    }

    /// Creates the first resources of a stack. The Spot account that it was given, and the requests.
    async fn create(&self, stack: &str, resources: usize) -> (String, Vec<Value>) {
        let (mut spot_account, mut sent) = (String::new(), Vec::new());
        for kind in &KINDS[..resources] {
            let event = create_event(stack, ACCOUNT, kind, &spot_account);
            let answer = self.deliver(&event).await;
            assert_eq!(answer.status, Status::Success, "{kind}: {}", answer.reason);
            if *kind == "SpotAccount" {
                spot_account = answer.physical_resource_id;
            }
            sent.push(event);
        }
        (spot_account, sent)
    }

    /// Deletes the first resources of a stack, in the right order or in the wrong one.
    async fn delete(&self, stack: &Stack, resources: usize, in_order: bool) -> Vec<Value> {
        let (name, id) = (&stack.name, &stack.id);
        let of = |kind: &&str| match *kind {
            "SpotAccount" => stack
                .resources
                .iter()
                .map(|resource| delete_resource(name, ACCOUNT, resource, id))
                .collect(),
            kind => vec![delete(name, ACCOUNT, kind, id)],
        };
        let mut sent: Vec<Value> = KINDS[..resources].iter().flat_map(of).collect();
        if in_order {
            sent.reverse();
        }
        self.home.says(name, "DELETE_IN_PROGRESS");
        for event in &sent {
            let answer = self.deliver(event).await;
            assert_eq!(answer.status, Status::Success, "{}", answer.reason);
        }
        // Later nobody can tell.
        self.home.says(name, None);
        sent
    }

    /// Updates the newest stack with another `Custom::SpotAccount`.
    async fn add_resource(&mut self, then: Then) {
        let Some(mut stack) = self.live.pop() else {
            return;
        };
        self.made += 1;
        let added = format!("SpotAccount{}", self.made);
        let name = &stack.name;
        let created = resource_event(name, ACCOUNT, &added, "Create");
        let answer = self.deliver(&created).await;
        assert_eq!(answer.status, Status::Success, "{}", answer.reason);
        assert_eq!(answer.physical_resource_id, stack.id);
        self.sent.push(created);
        let (ends, status) = match then {
            Then::Stays => (None, ""),
            Then::Replaces => (
                Some(stack.resources.remove(0)),
                "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
            ),
            Then::RollsBack => (
                Some(added.clone()),
                "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
            ),
        };
        if !matches!(then, Then::RollsBack) {
            stack.resources.push(added);
        }
        if let Some(ended) = ends {
            self.home.says(name, status);
            let event = delete_resource(name, ACCOUNT, &ended, &stack.id);
            let answer = self.deliver(&event).await;
            assert_eq!(answer.status, Status::Success, "{}", answer.reason);
            self.sent.push(event);
            self.home.says(name, None);
        }
        self.live.push(stack);
    }

    /// Nothing was deleted but, when `stack` was, what was given to it alone and not adopted.
    fn check_deletions(&self, before: usize, stack: Option<&Stack>) {
        let world = self.home.spot.world.lock();
        for id in &world.deleted[before..] {
            assert_eq!(self.deletion, Deletion::Stack);
            assert_ne!(Some(id), self.adopted.as_ref(), "adopted");
            assert_eq!(stack.map(|stack| &stack.id), Some(id));
            let other = self.live.iter().find(|stack| stack.id == *id);
            let other = other.map(|stack| &stack.name);
            assert_eq!(other, None, "{id} was given to it");
        }
        assert_eq!(world.account("act-1").linked.as_deref(), Some(OTHER));
    }

    async fn step(&mut self, step: &Step) {
        let deleted = self.home.spot.world.lock().deleted.len();
        let mut ended = None;
        match step {
            Step::Create { resources, fate } => {
                let stack = self.new_stack();
                self.fate(*fate);
                let (id, sent) = self.create(&stack, *resources).await;
                self.sent.extend(sent);
                let stack = Stack::new(&stack, &id);
                if *resources == KINDS.len() {
                    self.live.push(stack);
                } else {
                    let sent = self.delete(&stack, *resources, true).await;
                    self.sent.extend(sent);
                    self.gone.push(stack.name.clone());
                    ended = Some(stack);
                }
            }
            Step::Delete { in_order, fate } => {
                if self.live.is_empty() {
                    return;
                }
                let stack = self.live.remove(0);
                self.fate(*fate);
                let sent = self.delete(&stack, KINDS.len(), *in_order).await;
                self.sent.extend(sent);
                self.gone.push(stack.name.clone());
                ended = Some(stack);
            }
            Step::Move => {
                if self.live.is_empty() {
                    return;
                }
                let old = self.live.remove(0);
                let new = self.new_stack();
                self.fate(Fate::Nothing);
                let ((given, created), sent) = tokio::join!(
                    self.create(&new, KINDS.len()),
                    self.delete(&old, KINDS.len(), true)
                );
                self.sent.extend(created);
                self.sent.extend(sent);
                self.live.push(Stack::new(&new, &given));
                self.gone.push(old.name.clone());
                ended = Some(old);
            }
            Step::Update { fate } => {
                self.fate(*fate);
                self.update().await;
            }
            Step::Resource { then, fate } => {
                self.fate(*fate);
                self.add_resource(*then).await;
            }
            Step::Repeat(index) => {
                if self.sent.is_empty() {
                    return;
                }
                let event = &self.sent[index.index(self.sent.len())];
                let again = request(event);
                let answer = self.home.intents.answer(&again.stack_id, &again.request_id);
                // One whose answer could not be written down is evaluated again.
                if answer.await.unwrap().is_some() {
                    self.fate(Fate::Nothing);
                    let writes = self.home.spot.world.lock().writes().len();
                    self.deliver(event).await;
                    assert_eq!(self.home.spot.world.lock().writes().len(), writes);
                }
            }
            Step::Late(index) => {
                // What was to happen later would happen to a provider that nobody replaces.
                self.fate(Fate::Nothing);
                let kind = KINDS[index.index(KINDS.len())];
                let event = create_event("late", ACCOUNT, kind, "act-2");
                let late = in_time() - jiff::SignedDuration::from_secs(60);
                let writes = self.home.spot.world.lock().writes().len();
                let answer = self.provider().handle(&request(&event), late).await;
                assert_eq!(answer.status, Status::Failed);
                assert_eq!(self.home.spot.world.lock().writes().len(), writes);
            }
            Step::Stray(index) => {
                let Some(stack) = self.gone.last() else {
                    return;
                };
                self.fate(Fate::Nothing);
                let given = self.live.last().map_or("act-2", |stack| stack.id.as_str());
                let kind = KINDS[index.index(KINDS.len())];
                let mut event = create_event(stack, ACCOUNT, kind, given);
                event["Published"] = json!(1);
                event["RequestId"] = json!(format!("stray-{}", rand::random::<u64>()));
                let writes = self.home.spot.world.lock().writes().len();
                let answer = self.deliver(&event).await;
                assert_eq!(answer.status, Status::Failed, "{kind}: {}", answer.reason);
                assert_eq!(self.home.spot.world.lock().writes().len(), writes);
            }
        }
        self.check_deletions(deleted, ended.as_ref());
    }

    /// Gives the newest stack another role, when there is a stack.
    async fn update(&mut self) -> Option<String> {
        let Stack { name, id, .. } = self.live.last()?;
        let (stack, id) = (name.clone(), id.clone());
        self.made += 1;
        let old = self.roles[&stack].clone();
        let new = role(ACCOUNT, &format!("{stack}-{}", self.made));
        let properties = |role: &str| json!({"AccountId": id, "IamRoleArn": role});
        let mut event = create_event(&stack, ACCOUNT, "SpotLinkedCredentials", &id);
        event["RequestType"] = json!("Update");
        event["RequestId"] = json!(format!("update-{}", self.made));
        event["PhysicalResourceId"] = json!(id);
        event["OldResourceProperties"] = properties(&old);
        event["ResourceProperties"] = properties(&new);
        let answer = self.deliver(&event).await;
        assert_eq!(answer.status, Status::Success, "{}", answer.reason);
        self.roles.insert(stack, new.clone());
        self.sent.push(event);
        Some(new)
    }

    /// One good run of the stack that is there, and what must be true then.
    async fn end(&mut self, kept: bool) {
        self.fate(Fate::Nothing);
        let live_role = match self.update().await {
            Some(role) => role,
            None => {
                let stack = self.new_stack();
                let (id, _) = self.create(&stack, KINDS.len()).await;
                self.live.push(Stack::new(&stack, &id));
                self.roles[&stack].clone()
            }
        };
        let Stack {
            name: stack, id, ..
        } = self.live.last().unwrap();
        let owner = self.home.intents.owner(&id.parse().unwrap()).await.unwrap();
        let world = self.home.spot.world.lock();
        let ours: Vec<_> = world
            .accounts
            .iter()
            .filter(|account| account.linked.as_deref() != Some(OTHER))
            .collect();
        assert_eq!(ours.len(), 1, "{ours:?}: {:?}", world.calls);
        assert_eq!(&ours[0].id, id);
        assert_eq!(ours[0].linked.as_deref(), Some(ACCOUNT));
        if kept {
            assert_eq!(
                ours[0].role,
                Some(format!("arn:aws:iam::{ACCOUNT}:role/Theirs"))
            );
            assert_eq!(owner, None);
        } else {
            assert_eq!(ours[0].role, Some(live_role));
            let owner = owner.unwrap();
            assert!(owner.stack_id.as_str().contains(&format!("stack/{stack}/")));
            assert_eq!(owner.adopted, self.adopted.is_some());
        }
    }
}

async fn lived(history: &History) {
    let home = Home::with_rule(history.adopt).await;
    let adopted = {
        let mut world = home.spot.world.lock();
        world.add("another's", Some(OTHER));
        match history.before {
            0 => None,
            1 => {
                world.add(ACCOUNT, None);
                None
            }
            _ => Some(world.add("theirs", Some(ACCOUNT))),
        }
    };
    let kept = adopted.is_some() && history.adopt == AdoptRule::KeepLink;
    let mut account = Account {
        home,
        deletion: if history.deletion {
            Deletion::Stack
        } else {
            Deletion::Reconcile
        },
        live: Vec::new(),
        roles: BTreeMap::new(),
        gone: Vec::new(),
        sent: Vec::new(),
        made: 0,
        adopted,
    };
    for step in &history.steps {
        Box::pin(account.step(step)).await;
    }
    account.end(kept).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, max_shrink_iters: 0, ..ProptestConfig::default() })]

    // Most of a history is waiting, so many are lived at the same time. Shrinking would take longer than a test may.
    #[test]
    fn every_history_ends_with_one_spot_account(histories in prop::collection::vec(histories(), 12)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
        runtime.block_on(join_all(histories.iter().map(lived)));
    }
}
