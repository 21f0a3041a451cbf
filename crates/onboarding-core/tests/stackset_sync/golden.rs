//! What is planned for each situation that one account can be in, as text to be read: by `stackset-sync`, which brings stack sets
//! and instances in line, and by `enroll`, which also puts right what has its stack.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

mod reasons;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use onboarding_core::{
    custom_resource::Naming,
    desired::{AdoptRule, Deployment, Desired, Profile},
    drift::{Drift, DriftKind, Fix},
    drift_audit::{AuditObserved, Connection, HomePlace, OwnedLink, TokenAge},
    enroll,
    ids::AwsAccountId,
    inventory::{AccountState, InstanceDetailedStatus, InstanceStatus, StackInstance},
    plan::{AccountRow, Plan, Summary},
    stackset_sync::{
        self, MendKind, PlainStack, RetryState, RunningOperation, StackRemoval,
        past_links::{LinkRecord, StackNow},
    },
    status::Standing,
};
use proptest::prelude::*;

use crate::world::*;

pub(crate) const SPOT_ACCOUNT: &str = "act-00000002";
const STACK: &str =
    "arn:aws:cloudformation:us-east-1:000000000002:stack/StackSet-spot-onboarding-1/0b1c";
const ROLE: &str = "arn:aws:iam::000000000002:role/SpotRole";

/// An account of ours, as it should be, beside the management account.
pub(crate) struct World {
    pub(crate) observed: AuditObserved,
    pub(crate) desired: Desired,
}

impl World {
    pub(crate) fn new() -> Self {
        let profile = Profile {
            deployment: Some(Deployment::Runner),
            ..profile(root_targets())
        };
        let mut sync = observed(organization(&[], &[(1, 0, ACTIVE), (2, 0, ACTIVE)]));
        with_stack_set(&mut sync, &profile, false, vec![current()]);
        sync.spot_accounts = vec![linked(2, SPOT_ACCOUNT)];
        sync.spot_accounts[0].name = "account 2".into();
        sync.owned_links = [(id(2), SPOT_ACCOUNT.parse().unwrap())].into();
        let owned = OwnedLink {
            role: ROLE.parse().unwrap(),
            stack: STACK.parse().unwrap(),
            adopted: false,
        };
        Self {
            observed: AuditObserved {
                sync,
                drifts: Some(Arc::new([(id(2), Vec::new())].into())),
                seen: None,
                cost_intelligence: Some(
                    [(SPOT_ACCOUNT.parse().unwrap(), Connection::Connected)].into(),
                ),
                asks_spot: false,
                validations: BTreeMap::new(),
                namings: [("default".to_owned(), Naming::default())].into(),
                wants_cost_intelligence: ["default".to_owned()].into(),
                owned: [(id(2), owned)].into(),
                home: HomePlace {
                    region: "us-east-1".parse().unwrap(),
                    is_delegated: false,
                },
                detection: None,
                token: TokenAge::default(),
            },
            desired: desired(profile),
        }
    }

    fn instance(&mut self) -> &mut StackInstance {
        &mut self.observed.sync.profiles[0].instances[0]
    }

    pub(crate) fn failed(&mut self, words: &str) {
        *self.instance() = instance(2, InstanceStatus::Outdated, InstanceDetailedStatus::Failed);
        self.instance().status_reason = Some(words.into());
    }

    pub(crate) fn state(&mut self, state: AccountState) {
        let mut organization = (*self.observed.sync.organization).clone();
        organization.accounts[1].state = state;
        self.observed.sync.organization = Arc::new(organization);
    }

    fn retries(&mut self, failures: u32, next_due: i64) {
        let clock = RetryState {
            failures,
            next_due,
            of_this_run: false,
            reason: None,
        };
        self.observed.sync.profiles[0].retries = [(id(2), clock)].into();
    }

    /// A mend failed once, and waits.
    pub(crate) fn waits(&mut self, kind: MendKind) {
        let clock = RetryState {
            failures: 1,
            next_due: NOW + 600,
            of_this_run: false,
            reason: Some("refused".into()),
        };
        let clocks = &mut self.observed.sync.profiles[0].mend_retries;
        clocks.insert((id(2), kind), clock);
    }

    /// A stack from before is in the account, whose role has this name.
    fn left_over(&mut self, role: &str, ended_at: Option<i64>) {
        self.observed.sync.links = [(
            id(2),
            vec![LinkRecord {
                spot_account: SPOT_ACCOUNT.parse().unwrap(),
                stack: STACK.replace("-1/", "-0/").parse().unwrap(),
                role: format!("arn:aws:iam::{}:role/{role}", id(2))
                    .parse()
                    .unwrap(),
                external_id: None,
                linked_at: 0,
                ended_at,
                broken_at: None,
                now: StackNow::There { has_role: true },
            }],
        )]
        .into();
    }

    fn unlinked(&mut self) {
        let record = &mut self.observed.sync.spot_accounts[0];
        record.aws_account = None;
        record.unlinked = true;
    }

    pub(crate) fn drifts(&mut self, kind: DriftKind, fix: Fix) {
        let drift = Drift {
            kind,
            resource: ROLE.to_owned(),
            expected: "this".to_owned(),
            actual: "that".to_owned(),
            verdict: None,
            changes: Vec::new(),
            fix,
        };
        let drifts = self.observed.drifts.get_or_insert_default();
        let drifts = Arc::make_mut(drifts);
        drifts.entry(id(2)).or_default().push(drift);
    }
}

fn current() -> StackInstance {
    StackInstance {
        stack_id: Some(STACK.into()),
        ..instance(
            2,
            InstanceStatus::Current,
            InstanceDetailedStatus::Succeeded,
        )
    }
}

/// What happened to the account, by what it is called.
type Situation = (&'static str, fn(&mut World));

const SITUATIONS: [Situation; 38] = [
    ("as it should be", |_| {}),
    ("no stack instance", |world| {
        world.observed.sync.profiles[0].instances.clear();
        world.observed.sync.spot_accounts.clear();
    }),
    ("no stack instance, our link is left (it moved)", |world| {
        world.observed.sync.profiles[0].instances.clear();
    }),
    (
        "no stack instance, and the stack from before is there",
        |world| {
            world.observed.sync.profiles[0].instances.clear();
            world.left_over("SpotRole-0", None);
        },
    ),
    (
        "no stack instance, and the stack from before has the role",
        |world| {
            world.observed.sync.profiles[0].instances.clear();
            world.left_over("SpotRole", None);
            world.desired.profiles[0].definition.template_body =
                r#"{"Resources": {"SpotRole": {"Properties": {"RoleName": "SpotRole"}}}}"#
                    .to_owned();
        },
    ),
    (
        "a stack from before is there, whose link has ended",
        |world| world.left_over("SpotRole-0", Some(1)),
    ),
    ("its stack failed", |world| world.failed("no reason")),
    ("its stack failed and it waits", |world| {
        world.failed("no reason");
        world.retries(1, NOW + 600);
    }),
    ("its stack failed too often", |world| {
        world.failed("no reason");
        world.retries(3, NOW - 1);
    }),
    ("its stack failed by a service control policy", |world| {
        world.failed("with an explicit deny in a service control policy");
        world.retries(1, NOW + 600);
    }),
    ("its external ID expired before the first link", |world| {
        world.failed(
                "The external ID of Spot account act-00000002 expired at 2026-01-02T03:04:05Z, before the first link: create \
                 the stack again, which makes a new one",
            );
        world.observed.sync.spot_accounts[0].aws_account = None;
        world.observed.sync.owned_links.clear();
        world.observed.owned.clear();
        world.observed.drifts = Some(Arc::default());
    }),
    ("its stack is outdated", |world| {
        world.instance().status = InstanceStatus::Outdated;
        world.instance().detailed_status = InstanceDetailedStatus::Cancelled;
    }),
    ("its stack cannot be deleted", |world| {
        world.instance().status = InstanceStatus::Inoperable;
    }),
    ("an operation works on it", |world| {
        world.instance().status = InstanceStatus::Outdated;
        world.instance().detailed_status = InstanceDetailedStatus::Running;
        world.observed.sync.profiles[0].running = vec![RunningOperation {
            id: "1".to_owned(),
            action: "CREATE".to_owned(),
        }];
    }),
    ("its Spot account was unlinked", World::unlinked),
    (
        "its Spot account was unlinked, and linking failed",
        |world| {
            world.unlinked();
            world.waits(MendKind::Link);
        },
    ),
    (
        "its Spot account was unlinked, linking failed, and its trust policy was changed",
        |world| {
            world.unlinked();
            world.waits(MendKind::Link);
            world.drifts(DriftKind::TrustDiffers, Fix::ReDeploy);
        },
    ),
    ("its Spot account is gone", |world| {
        world.observed.sync.spot_accounts.clear();
    }),
    (
        "its Spot account is gone, and no stack is remade for that",
        |world| {
            world.observed.sync.spot_accounts.clear();
            world.desired.remakes = [StackRemoval::RoleGone].into();
            world.drifts(DriftKind::RoleMissing, Fix::Enroll);
        },
    ),
    ("its Spot account is gone, and it is protected", |world| {
        world.observed.sync.spot_accounts.clear();
        world.desired.protected_accounts = [id(2)].into();
    }),
    (
        "its Spot account is gone, and its stack would take one along",
        |world| {
            world.observed.sync.spot_accounts.clear();
            world.desired.profiles[0].deletion = onboarding_core::template::Deletion::Stack;
        },
    ),
    ("two Spot accounts are linked to it", |world| {
        let other = linked(2, "act-00000009");
        world.observed.sync.spot_accounts.push(other);
    }),
    ("another Spot account is linked to it", |world| {
        world.observed.sync.spot_accounts = vec![linked(2, "act-00000009")];
    }),
    ("linked before us, with no stack", |world| {
        world.observed.sync.profiles[0].instances.clear();
        world.observed.sync.owned_links.clear();
        world.observed.owned.clear();
    }),
    ("linked before us, and adoption is refused", |world| {
        world.observed.sync.profiles[0].instances.clear();
        world.observed.sync.owned_links.clear();
        world.observed.owned.clear();
        world.desired.profiles[0].adopt = AdoptRule::Refuse;
    }),
    ("named otherwise", |world| {
        world.observed.sync.spot_accounts[0].name = "other".into();
    }),
    ("Cost Intelligence is off", |world| {
        world.observed.cost_intelligence = Some(BTreeMap::new());
    }),
    ("its role is gone", |world| {
        world.drifts(DriftKind::RoleMissing, Fix::Enroll);
    }),
    (
        "its role is gone, and no stack is remade for that",
        |world| {
            world.drifts(DriftKind::RoleMissing, Fix::Enroll);
            world.desired.remakes = [StackRemoval::SpotAccountGone].into();
        },
    ),
    ("its trust policy was changed", |world| {
        world.drifts(DriftKind::TrustDiffers, Fix::ReDeploy);
    }),
    ("Spot uses another role", |world| {
        world.drifts(DriftKind::StoredRoleDiffers, Fix::Enroll);
    }),
    ("an inline policy was added", |world| {
        let command = "aws iam delete-role-policy".to_owned();
        world.drifts(DriftKind::PolicyInlineExtra, Fix::NeedsPerson(command));
    }),
    ("suspended", |world| world.state(AccountState::Suspended)),
    ("closed a moment ago", |world| {
        world.state(AccountState::Closed);
        world.observed.sync.closed_since = [(id(2), NOW)].into();
    }),
    ("closed for long", |world| {
        world.state(AccountState::Closed);
        world.observed.sync.closed_since = [(id(2), NOW - 1000)].into();
    }),
    ("left the organization", |world| {
        world.observed.sync.organization = Arc::new(organization(&[], &[(1, 0, ACTIVE)]));
        world.observed.sync.previous_account_count = Some(1);
    }),
    ("no profile targets it any more", |world| {
        world.desired.profiles[0].targets.exclude_accounts = [id(2)].into();
    }),
    ("the stack set is gone", |world| {
        world.observed.sync.profiles[0] = onboarding_core::stackset_sync::ObservedProfile {
            is_ours: true,
            ..Default::default()
        };
    }),
];

fn written(plan: &Plan) -> String {
    let mut text = String::new();
    for step in &plan.steps {
        let accounts = step.accounts.len();
        writeln!(
            text,
            "    {:?} {}, {accounts} accounts: {}",
            step.risk,
            step.action,
            step.told()
        )
        .unwrap();
    }
    for refusal in &plan.refusals {
        writeln!(text, "    refused by {}", refusal.guard).unwrap();
    }
    for finding in &plan.findings {
        let fix = finding.fix.as_deref().unwrap_or("-");
        writeln!(
            text,
            "    {:?} {} (fix: {fix})",
            finding.severity, finding.reason
        )
        .unwrap();
    }
    text
}

fn row(plan: &Plan) -> Option<&AccountRow> {
    plan.accounts.iter().find(|row| row.account == id(2))
}

#[test]
fn every_situation_has_its_plan() {
    let mut text = String::new();
    for (name, happened) in SITUATIONS {
        let mut world = World::new();
        happened(&mut world);
        let plans = [
            (
                stackset_sync::KIND,
                stackset_sync::plan(&world.observed.sync, &world.desired).unwrap(),
            ),
            (
                enroll::KIND,
                enroll::plan(&world.observed, &world.desired).unwrap(),
            ),
        ];
        writeln!(text, "{name}").unwrap();
        for (kind, plan) in &plans {
            let standing = row(plan).map_or_else(
                || "not listed".to_owned(),
                |row| format!("{} ({:?})", row.reason, row.standing),
            );
            writeln!(text, "  {kind}: {standing}").unwrap();
            text.push_str(&written(plan));
            assert!(Summary::of(&plan.accounts, &plan.accounts, false).adds_up());
        }
    }
    insta::assert_snapshot!(text);
}

/// These have come over as many accounts, beside the management account.
fn together(happened: &[usize]) -> World {
    let mut accounts = vec![(1, 0, ACTIVE)];
    let mut all = World::new();
    all.observed.sync.profiles[0].instances.clear();
    all.observed.sync.spot_accounts.clear();
    all.observed.sync.owned_links.clear();
    all.observed.owned.clear();
    let mut drifts = BTreeMap::new();
    for (index, situation) in happened.iter().enumerate() {
        let number = index as u64 + 2;
        let mut one = World::new();
        SITUATIONS[*situation].1(&mut one);
        let sync = &one.observed.sync;
        if let Some(account) = sync.organization.account(id(2)) {
            accounts.push((number, 0, account.state));
        }
        for found in &sync.profiles[0].instances {
            all.observed.sync.profiles[0].instances.push(StackInstance {
                account: id(number),
                ..found.clone()
            });
        }
        for record in &sync.spot_accounts {
            let spot: String = format!("{}{number:02}", &record.id.as_str()[..10]);
            let mut record = record.clone();
            record.id = spot.parse().unwrap();
            record.aws_account = record.aws_account.map(|_| id(number));
            all.observed.sync.spot_accounts.push(record);
        }
        for (owner, spot) in &sync.owned_links {
            assert_eq!(*owner, id(2));
            let spot = format!("{}{number:02}", &spot.as_str()[..10]);
            let links = &mut all.observed.sync.owned_links;
            links.insert(id(number), spot.parse().unwrap());
        }
        for owned in one.observed.owned.values() {
            all.observed.owned.insert(id(number), owned.clone());
        }
        for found in one.observed.drifts.iter().flat_map(|all| all.values()) {
            drifts.insert(id(number), found.clone());
        }
    }
    all.observed.drifts = Some(Arc::new(drifts));
    all.observed.sync.previous_account_count = Some(accounts.len());
    all.observed.sync.organization = Arc::new(organization(&[], &accounts));
    all
}

/// What `stackset-sync` and `enroll` would do.
fn both(world: &World) -> [Plan; 2] {
    [
        stackset_sync::plan(&world.observed.sync, &world.desired).unwrap(),
        enroll::plan(&world.observed, &world.desired).unwrap(),
    ]
}

/// The accounts that steps of these actions remove something of.
fn removed(plan: &Plan, action: &str) -> Vec<AwsAccountId> {
    let steps = plan.steps.iter();
    let steps = steps.filter(|step| step.action.starts_with(action));
    steps.flat_map(|step| step.accounts.clone()).collect()
}

/// What a listing is that is not to be trusted.
#[derive(Debug, Clone, Copy)]
enum Listing {
    AwsEmpty,
    AwsWithoutMembers,
    SpotEmpty,
    SpotHalved,
}

#[test]
fn a_stack_whose_spot_account_is_gone_is_removed_when_spot_lists_the_others() {
    let position = |name: &str| SITUATIONS.iter().position(|one| one.0 == name).unwrap();
    let mut happened = vec![position("as it should be"); 30];
    happened.push(position("its Spot account is gone"));
    let mut all = together(&happened);
    let [_, plan] = both(&all);
    assert_eq!(removed(&plan, "delete-stacks"), [id(32)]);
    all.observed.sync.spot_accounts.clear();
    let [_, plan] = both(&all);
    assert_eq!(removed(&plan, "delete-stacks"), []);
    assert_eq!(plan.refusals[0].guard, "shrink-guard");
}

proptest! {
    #[test]
    fn nothing_is_removed_on_the_word_of_a_listing_that_is_empty_or_shrank(
        happened in prop::collection::vec(0..SITUATIONS.len(), 3..14),
        listing in prop::sample::select(vec![
            Listing::AwsEmpty, Listing::AwsWithoutMembers, Listing::SpotEmpty, Listing::SpotHalved,
        ]),
    ) {
        let mut all = together(&happened);
        let sync = &mut all.observed.sync;
        let before = happened.len() + 1;
        sync.previous_account_count = Some(before);
        // What may go: only by what the listing says.
        let mut action = "delete-";
        match listing {
            Listing::AwsEmpty => sync.organization = Arc::new(organization(&[], &[])),
            Listing::AwsWithoutMembers => {
                sync.organization = Arc::new(organization(&[], &[(1, 0, ACTIVE)]));
            }
            Listing::SpotEmpty => sync.spot_accounts.clear(),
            Listing::SpotHalved => {
                let kept = sync.spot_accounts.len() / 2;
                sync.spot_accounts.truncate(kept);
            }
        }
        if let Listing::SpotEmpty | Listing::SpotHalved = listing {
            let listed: BTreeSet<_> = sync.spot_accounts.iter().map(|spot| &spot.id).collect();
            let missing = sync.owned_links.values().filter(|spot| !listed.contains(spot)).count();
            // One may always be missing.
            prop_assume!(missing > 1);
            sync.previous_account_count = Some(sync.organization.accounts.len());
            all.desired.remakes = [StackRemoval::SpotAccountGone].into();
            action = "delete-stacks";
        }
        all.desired.removal.max_removals = 100;
        for plan in both(&all) {
            prop_assert_eq!(removed(&plan, action), [], "{:?}: {}", listing, written(&plan));
        }
    }

    /// Whatever came over several accounts at once.
    #[test]
    fn no_plan_removes_what_is_protected_or_more_than_the_limit(
        happened in prop::collection::vec(0..SITUATIONS.len(), 1..12),
        protected in prop::collection::btree_set(2..14_u64, 0..4),
        max_removals in 0..4_usize,
        shrinks in any::<bool>(),
    ) {
        let mut all = together(&happened);
        let listed = all.observed.sync.organization.accounts.len();
        all.observed.sync.previous_account_count = Some(if shrinks { listed * 2 } else { listed });
        all.desired.removal.max_removals = max_removals;
        all.desired.protected_accounts = protected.iter().map(|number| id(*number)).collect();
        for plan in both(&all) {
            let removed = removed(&plan, "delete-");
            let is_protected = |account: &&_| all.desired.protected_accounts.contains(*account);
            prop_assert_eq!(removed.iter().find(is_protected), None);
            prop_assert!(removed.len() <= max_removals, "{}", written(&plan));
            prop_assert!(!shrinks || removed.is_empty(), "{}", written(&plan));
            prop_assert!(Summary::of(&plan.accounts, &plan.accounts, false).adds_up());
            // What is due is worked on, and nothing else is.
            let worked_on = enroll::worked_on(&plan);
            for row in plan.targeted().filter(|row| row.standing == Standing::Due) {
                prop_assert!(worked_on.contains(&row.account), "{row:?}: {}", written(&plan));
            }
        }
    }
}
