//! Which stray policies an audit that is asked to fix takes away, and which it leaves to a person.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "scaffolding of tests fails the test by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use onboarding_core::{
    desired::{Deployment, Profile, Purpose, Remediation, Targets},
    drift::{Drift, DriftKind, Fix, Stray, StrayPolicy},
    drift_audit::{self, Suppression},
    enroll,
    plan::{Finding, Plan, Risk, Severity, Step, consent},
    policy::compare::Verdict,
    stackset_sync::{ObservedProfile, RunningOperation, SyncAction, SyncConsent, stray_policies},
    status::{Reason, Standing},
};

use proptest::prelude::*;

use crate::{golden::World, world::*};

const NAME: &str = "StackSet-spot-onboarding-0b1c-SpotRole-A1B2C3D4E5F6";
const ROLE: &str =
    "arn:aws:iam::000000000002:role/StackSet-spot-onboarding-0b1c-SpotRole-A1B2C3D4E5F6";
const READER: &str = "arn:aws:iam::000000000002:policy/reader";
const DOCUMENT: &str = r#"{"Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"*"}]}"#;

fn inline(name: &str, document: &str) -> StrayPolicy {
    StrayPolicy::Inline {
        name: name.to_owned(),
        document: document.into(),
    }
}

fn attached(arn: &str) -> StrayPolicy {
    StrayPolicy::Attached {
        arn: arn.to_owned(),
        document: DOCUMENT.into(),
    }
}

fn drift(policy: StrayPolicy) -> Drift {
    let kind = match policy {
        StrayPolicy::Inline { .. } => DriftKind::PolicyInlineExtra,
        StrayPolicy::Attached { .. } => DriftKind::PolicyAttachedExtra,
    };
    Drift {
        kind,
        resource: policy.name().to_owned(),
        expected: "no such policy".to_owned(),
        actual: "there is one".to_owned(),
        verdict: Some(Verdict::Widened),
        changes: vec!["+ iam:* on *".to_owned()],
        fix: Fix::Remove(Box::new(Stray {
            role: ROLE.parse().unwrap(),
            role_id: "AROAEXAMPLE".to_owned(),
            stack: None,
            policy,
        })),
    }
}

/// The role of an account, as its stack makes it.
fn role_of(account: u64) -> String {
    ROLE.replace("000000000002", &id(account).to_string())
}

/// What makes it not ours for certain, by what it is called.
type Situation = (&'static str, fn(&mut World));

impl World {
    /// With a remediation role, and an inline and an attached policy that somebody added to the account's role.
    fn with_strays() -> Self {
        let mut world = Self::new();
        world.desired.remediation = Some(Remediation {
            profile: Profile {
                name: "remediation-role".to_owned(),
                purpose: Purpose::RemediationRole,
                stack_set: "spot-onboarding-remediation-role".parse().unwrap(),
                deployment: Some(Deployment::Runner),
                ..profile(Targets::default())
            },
            max_roles: 5,
            leftover_units: Vec::new(),
        });
        world.observed.sync.remediation = Some(ObservedProfile::default());
        let owned = world.observed.owned.get_mut(&id(2)).unwrap();
        owned.role = ROLE.parse().unwrap();
        world.strays(vec![
            drift(inline("debug", DOCUMENT)),
            drift(attached(READER)),
        ]);
        world
    }

    fn strays(&mut self, drifts: Vec<Drift>) {
        self.observed.drifts = Some(Arc::new([(id(2), drifts)].into()));
    }

    fn stray(&mut self, change: impl Fn(&mut Stray)) {
        let drifts = self.observed.drifts.as_mut().unwrap();
        for drift in Arc::make_mut(drifts).values_mut().flatten() {
            if let Fix::Remove(stray) = &mut drift.fix {
                change(stray);
            }
        }
    }

    fn audit(&self, fixes: bool) -> Plan {
        drift_audit::plan(&self.observed, &self.desired, &[], fixes).unwrap()
    }
}

fn of_strays(plan: &Plan) -> Vec<&Step> {
    let steps = plan.steps.iter();
    steps
        .filter(|step| step.action == "remove-stray-policies")
        .collect()
}

/// The names of the policies that a plan takes away.
fn taken(plan: &Plan) -> Vec<String> {
    let steps = of_strays(plan).into_iter();
    steps
        .flat_map(
            |step| match serde_json::from_value(step.payload.clone()).unwrap() {
                SyncAction::RemoveStrayPolicies { policies, .. } => policies,
                other => panic!("{other:?}"),
            },
        )
        .map(|policy| policy.name().to_owned())
        .collect()
}

fn fix_of<'a>(plan: &'a Plan, name: &str) -> &'a str {
    let mut findings = plan.findings.iter();
    let of = |finding: &&Finding| finding.resource.as_deref() == Some(name);
    findings.find(of).unwrap().fix.as_deref().unwrap()
}

#[test]
fn a_step_for_the_account_takes_both_away_and_says_what_goes() {
    let world = World::with_strays();
    let plan = world.audit(true);
    let [step] = of_strays(&plan)[..] else {
        panic!("{:#?}", plan.steps);
    };
    assert_eq!(step.id, "remove-stray-policies:000000000002");
    assert_eq!(step.kind, drift_audit::KIND);
    assert_eq!(step.risk, Risk::High);
    assert_eq!(step.accounts, [id(2)]);
    assert_eq!(
        step.changes,
        [
            "take away inline policy debug: - iam:* on *",
            "take away attached policy arn:aws:iam::000000000002:policy/reader: - iam:* on *",
        ]
    );
    assert_eq!(step.preconditions.len(), 2);
    for name in ["debug", READER] {
        assert_eq!(fix_of(&plan, name), "drift-audit --fix");
    }
    let row = plan.accounts.iter().find(|row| row.account == id(2));
    let row = row.unwrap();
    assert_eq!((row.standing, row.reason), (Standing::Due, Reason::Drifted));
    // Who looks at the journal can put it back.
    assert_eq!(
        stray_policies::put_back(&step.payload),
        [
            format!(
                "aws iam put-role-policy --role-name {NAME} --policy-name debug --policy-document '{DOCUMENT}'"
            ),
            format!("aws iam attach-role-policy --role-name {NAME} --policy-arn {READER}"),
        ]
    );
}

#[test]
fn who_only_looks_or_enrolls_takes_nothing_away() {
    let world = World::with_strays();
    assert_eq!(world.audit(false).steps, []);
    let enrolls = enroll::plan(&world.observed, &world.desired).unwrap();
    assert_eq!(taken(&enrolls), Vec::<String>::new());
}

#[test]
fn without_the_role_a_person_gets_the_commands() {
    let mut world = World::with_strays();
    world.desired.remediation = None;
    let plan = world.audit(true);
    assert_eq!(plan.steps, []);
    assert_eq!(
        fix_of(&plan, "debug"),
        format!(
            "needs a person, in the account: aws iam delete-role-policy --role-name {NAME} --policy-name debug"
        )
    );
    assert_eq!(
        fix_of(&plan, READER),
        format!(
            "needs a person, in the account: aws iam detach-role-policy --role-name {NAME} --policy-arn {READER}"
        )
    );
}

#[test]
fn what_is_not_ours_for_certain_is_left_to_a_person() {
    let situations: [Situation; 7] = [
        ("the account is protected", |world| {
            world.desired.protected_accounts = [id(2)].into();
        }),
        ("another role than the one that we linked", |world| {
            let owned = world.observed.owned.get_mut(&id(2)).unwrap();
            owned.role =
                "arn:aws:iam::000000000002:role/StackSet-spot-onboarding-0b1c-SpotRole-ANOTHER"
                    .parse()
                    .unwrap();
        }),
        ("nobody knows which role we linked", |world| {
            world.observed.owned.clear();
        }),
        ("a name that our stacks do not give", |world| {
            let other = "arn:aws:iam::000000000002:role/Admin";
            world.stray(|stray| stray.role = other.parse().unwrap());
            let owned = world.observed.owned.get_mut(&id(2)).unwrap();
            owned.role = other.parse().unwrap();
        }),
        ("a role of another account", |world| {
            let other = ROLE.replace("000000000002", "000000000003");
            world.stray(|stray| stray.role = other.parse().unwrap());
            let owned = world.observed.owned.get_mut(&id(2)).unwrap();
            owned.role = other.parse().unwrap();
        }),
        ("a role that another stack made", |world| {
            world.stray(|stray| {
                let other = "arn:aws:cloudformation:us-east-1:000000000002:stack/another/1";
                stray.stack = Some(other.to_owned());
            });
        }),
        ("policies that our own stacks made", |world| {
            let own = "arn:aws:iam::000000000002:policy/StackSet-spot-onboarding-0b1c-SpotManagedPolicy-A1B2C3D4E5F6";
            world.strays(vec![drift(attached(own))]);
        }),
    ];
    for (name, change) in situations {
        let mut world = World::with_strays();
        change(&mut world);
        let plan = world.audit(true);
        assert_eq!(taken(&plan), Vec::<String>::new(), "{name}");
        let findings = plan.findings.iter();
        let of_policies = findings.filter(|one| one.reason.starts_with("policy-"));
        for finding in of_policies {
            let fix = finding.fix.as_deref().unwrap();
            assert!(fix.starts_with("needs a person"), "{name}: {fix}");
        }
    }
    // The stack of the instance itself may have made it.
    let mut world = World::with_strays();
    let stack = world.observed.sync.profiles[0].instances[0]
        .stack_id
        .clone();
    world.stray(|stray| stray.stack = stack.as_deref().map(str::to_owned));
    assert_eq!(taken(&world.audit(true)).len(), 2);
}

#[test]
fn what_was_accepted_stays_and_the_rest_goes() {
    let world = World::with_strays();
    let accepted = Suppression {
        finding: "policy-inline-extra:000000000002:debug".to_owned(),
        most: Severity::Error,
        reason: "CHG-1".to_owned(),
        until: NOW + 1,
    };
    let plan = |now: i64| {
        let mut observed = world.observed.clone();
        observed.sync.now = now;
        let accepted = std::slice::from_ref(&accepted);
        drift_audit::plan(&observed, &world.desired, accepted, true).unwrap()
    };
    assert_eq!(taken(&plan(NOW)), [READER]);
    assert_eq!(taken(&plan(NOW + 1)), ["debug", READER]);
}

#[test]
fn more_roles_than_may_lose_policies_in_one_run_lose_none() {
    let mut world = World::with_strays();
    world.desired.remediation.as_mut().unwrap().max_roles = 0;
    let plan = world.audit(true);
    assert_eq!(taken(&plan), Vec::<String>::new());
    let [refusal] = &plan.refusals[..] else {
        panic!("{:#?}", plan.refusals);
    };
    assert_eq!(refusal.guard, "max-remediations");
    assert!(refusal.message.contains("remediation.max_roles"));
    assert!(!refusal.whole_plan);
}

#[test]
fn while_an_operation_works_on_its_stack_set_a_role_is_left_alone() {
    let mut world = World::with_strays();
    world.observed.sync.profiles[0].running = vec![RunningOperation {
        id: "1".to_owned(),
        action: "UPDATE".to_owned(),
    }];
    let plan = world.audit(true);
    assert_eq!(taken(&plan), Vec::<String>::new());
    assert_eq!(fix_of(&plan, "debug"), "drift-audit --fix");
}

#[test]
fn a_role_that_goes_with_its_stack_loses_nothing_before() {
    let mut world = World::with_strays();
    let missing = Drift {
        kind: DriftKind::RoleMissing,
        fix: Fix::Enroll,
        ..drift(inline("x", DOCUMENT))
    };
    let mut drifts = vec![drift(inline("debug", DOCUMENT))];
    drifts.push(missing);
    world.strays(drifts);
    let plan = world.audit(true);
    assert!(plan.steps.iter().any(|step| step.action == "delete-stacks"));
    assert_eq!(taken(&plan), Vec::<String>::new());
}

#[test]
fn an_approved_plan_covers_what_it_saw_and_nothing_that_says_something_else_by_now() {
    let world = World::with_strays();
    let approved = consent::consented(&world.audit(true));
    let left = |drifts: Vec<Drift>| {
        let mut now = World::with_strays();
        now.strays(drifts);
        let mut plan = now.audit(true);
        let moved = consent::limit(&mut plan, &approved, &SyncConsent);
        let due: Vec<String> = moved
            .into_iter()
            .filter(|moved| moved.is_due)
            .map(|moved| moved.why)
            .collect();
        (taken(&plan), due)
    };
    let same = || drift(inline("debug", DOCUMENT));
    assert_eq!(
        left(vec![same(), drift(attached(READER))]),
        (vec!["debug".to_owned(), READER.to_owned()], Vec::new())
    );
    // Somebody has detached the other one by now.
    assert_eq!(left(vec![same()]), (vec!["debug".to_owned()], Vec::new()));
    let why = vec!["what it was planned on is not so any more".to_owned()];
    let changed = drift(inline("debug", &DOCUMENT.replace("iam:*", "*")));
    assert_eq!(
        left(vec![changed, drift(attached(READER))]),
        (Vec::new(), why.clone())
    );
    let one_more = drift(inline("another", DOCUMENT));
    assert_eq!(left(vec![same(), one_more]), (Vec::new(), why.clone()));
    let mut anew = same();
    if let Fix::Remove(stray) = &mut anew.fix {
        stray.role_id = "AROAANOTHER".to_owned();
    }
    assert_eq!(left(vec![anew]), (Vec::new(), why));
}

#[test]
fn the_role_is_deployed_like_the_audit_role_and_missed_where_it_is_not() {
    let world = World::with_strays();
    let sync = onboarding_core::stackset_sync::plan(&world.observed.sync, &world.desired);
    let ids: Vec<String> = sync
        .unwrap()
        .steps
        .into_iter()
        .map(|step| step.id)
        .collect();
    assert_eq!(
        ids,
        [
            "create-stack-set:remediation-role",
            "create-stack-instances:remediation-role:1"
        ]
    );
    let plan = world.audit(false);
    let reasons: Vec<&str> = plan.findings.iter().map(|one| &*one.reason).collect();
    assert!(reasons.contains(&"remediation-role-missing"), "{reasons:?}");
    assert!(reasons.contains(&"stack-set-missing"), "{reasons:?}");
}

/// What somebody added to a role.
#[derive(Debug, Clone, Copy)]
enum Added {
    Nothing,
    Inline,
    Attached,
    /// One that denies, which a person takes away.
    Denying,
}

/// Accounts from 2 on with these policies in their roles.
fn with_added(added: &[Added]) -> World {
    let mut world = World::with_strays();
    let numbers = (2..).take(added.len());
    let accounts = [1].into_iter().chain(numbers.clone());
    let accounts: Vec<_> = accounts.map(|number| (number, 0, ACTIVE)).collect();
    let owned = world.observed.owned[&id(2)].clone();
    let sync = &mut world.observed.sync;
    sync.organization = Arc::new(organization(&[], &accounts));
    sync.previous_account_count = Some(accounts.len());
    let first = sync.profiles[0].instances.remove(0);
    sync.spot_accounts.clear();
    sync.owned_links.clear();
    let mut drifts = BTreeMap::new();
    for (number, added) in numbers.zip(added) {
        let mut instance = first.clone();
        instance.account = id(number);
        sync.profiles[0].instances.push(instance);
        let mut spot = linked(number, &format!("act-{number:08}"));
        spot.name = format!("account {number}").into();
        sync.owned_links.insert(id(number), spot.id.clone());
        sync.spot_accounts.push(spot);
        let mut link = owned.clone();
        link.role = role_of(number).parse().unwrap();
        world.observed.owned.insert(id(number), link);
        let mut found = match added {
            Added::Nothing => None,
            Added::Inline => Some(drift(inline("debug", DOCUMENT))),
            Added::Attached => Some(drift(attached(READER))),
            Added::Denying => Some(Drift {
                fix: Fix::NeedsPerson("aws iam delete-role-policy".to_owned()),
                ..drift(inline("debug", DOCUMENT))
            }),
        };
        if let Some(Fix::Remove(stray)) = found.as_mut().map(|found| &mut found.fix) {
            stray.role = role_of(number).parse().unwrap();
        }
        drifts.insert(id(number), found.into_iter().collect());
    }
    world.observed.cost_intelligence = None;
    world.observed.wants_cost_intelligence.clear();
    world.observed.drifts = Some(Arc::new(drifts));
    world
}

fn additions() -> impl Strategy<Value = Vec<Added>> {
    let one = prop::sample::select(vec![
        Added::Nothing,
        Added::Inline,
        Added::Attached,
        Added::Denying,
    ]);
    prop::collection::vec(one, 1..12)
}

proptest! {
    #[test]
    fn after_the_steps_nothing_is_left_to_take_away_and_nothing_protected_was(
        added in additions(),
        protected in prop::collection::btree_set(2..14_u64, 0..5),
        max_roles in 0..12_usize,
    ) {
        let mut world = with_added(&added);
        world.desired.remediation.as_mut().unwrap().max_roles = max_roles;
        world.desired.protected_accounts = protected.iter().map(|number| id(*number)).collect();
        let plan = world.audit(true);
        let touched: BTreeSet<_> = plan.steps.iter().flat_map(|step| step.accounts.clone()).collect();
        let expected = (2..).zip(&added).filter(|(number, added)| {
            matches!(added, Added::Inline | Added::Attached) && !protected.contains(number)
        });
        let expected: BTreeSet<_> = expected.map(|(number, _)| id(number)).collect();
        if expected.len() > max_roles {
            prop_assert!(touched.is_empty(), "{:#?}", plan.steps);
            prop_assert_eq!(&plan.refusals[0].guard, "max-remediations");
            return Ok(());
        }
        prop_assert_eq!(&touched, &expected);
        prop_assert_eq!(plan.steps.len(), expected.len());
        // IAM has them no more.
        let drifts = world.observed.drifts.as_mut().unwrap();
        for account in touched {
            Arc::make_mut(drifts).insert(account, Vec::new());
        }
        let after = world.audit(true);
        prop_assert!(after.steps.is_empty(), "{:#?}", after.steps);
    }
}
