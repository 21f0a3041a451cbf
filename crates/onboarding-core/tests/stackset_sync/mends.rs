//! What is mended beside what is accepted, and whose clocks stop.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::{
    drift::{DriftKind, Fix},
    drift_audit::{self, Suppression},
    enroll,
    inventory::AccountState,
    plan::{Plan, Severity},
    stackset_sync::{MendKind, RetryState},
    status::Standing,
};

use crate::{golden::World, world::*};

/// The plan of an audit that mends, with these findings accepted.
fn fixed(world: &World, accepted: &[&str]) -> Plan {
    let suppressions: Vec<Suppression> = accepted
        .iter()
        .map(|finding| Suppression {
            finding: (*finding).to_owned(),
            most: Severity::Error,
            reason: "CHG-1".to_owned(),
            until: NOW + 1,
        })
        .collect();
    drift_audit::plan(&world.observed, &world.desired, &suppressions, true).unwrap()
}

fn actions(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| &*step.action).collect()
}

/// Named otherwise, without Cost Intelligence, with another trust policy: three things, each with a mend of its own.
fn differing() -> World {
    let mut world = World::new();
    world.observed.sync.spot_accounts[0].name = "other".into();
    world.observed.cost_intelligence = Some(BTreeMap::new());
    world.drifts(DriftKind::TrustDiffers, Fix::ReDeploy);
    world
}

#[test]
fn a_finding_that_is_accepted_holds_back_its_own_mend_only() {
    let world = differing();
    let [rewrite, name, product] = [
        "repair-stack-instances",
        "rename-spot-account",
        "enable-cost-intelligence",
    ];
    let table: [(&[&str], &[&str]); 5] = [
        (&[], &[rewrite, product, name]),
        (&["misnamed:000000000002"], &[rewrite, product]),
        (&["product-off:000000000002"], &[rewrite, name]),
        (&["trust-differs:000000000002:*"], &[product, name]),
        (&["misnamed:*", "product-off:*", "trust-differs:*"], &[]),
    ];
    for (accepted, expected) in table {
        let plan = fixed(&world, accepted);
        assert_eq!(actions(&plan), expected, "{accepted:?}");
        let serious = plan.findings.iter();
        let serious = serious.filter(|one| one.severity > Severity::Info);
        assert_eq!(serious.count(), expected.len(), "{accepted:?}");
    }
}

#[test]
fn a_missing_instance_that_is_accepted_is_not_made() {
    let mut world = World::new();
    world.observed.sync.profiles[0].instances.clear();
    assert_eq!(actions(&fixed(&world, &[])), ["create-stack-instances"]);
    let plan = fixed(&world, &["missing-instance:*"]);
    assert_eq!(actions(&plan), [""; 0]);
}

#[test]
fn a_role_is_not_written_again_nor_made_anew_over_what_is_accepted_of_it() {
    let mut world = World::new();
    world.drifts(DriftKind::TrustDiffers, Fix::ReDeploy);
    world.drifts(DriftKind::PolicyDocumentDiffers, Fix::ReDeploy);
    let accepted = ["policy-document-differs:*"];
    let plan = fixed(&world, &accepted);
    assert_eq!(actions(&plan), [""; 0]);
    let left = plan
        .findings
        .iter()
        .find(|one| one.severity > Severity::Info);
    let left = left.unwrap();
    assert_eq!(left.reason, "trust-differs");
    let fix = left.fix.as_deref().unwrap();
    assert!(fix.starts_with("needs a person"), "{fix}");
    assert!(
        fix.contains("policy-document-differs:000000000002"),
        "{fix}"
    );

    // Nor does a Spot account that is gone take away an inline policy that is accepted.
    let mut world = World::new();
    world.observed.sync.spot_accounts.clear();
    assert_eq!(
        actions(&fixed(&world, &[])),
        ["delete-stacks", "create-stack-instances"]
    );
    let command = "aws iam delete-role-policy".to_owned();
    world.drifts(DriftKind::PolicyInlineExtra, Fix::NeedsPerson(command));
    let plan = fixed(&world, &["policy-inline-extra:*"]);
    assert_eq!(actions(&plan), [""; 0]);
}

#[test]
fn each_kind_of_mend_waits_by_its_own_clock() {
    let mut world = differing();
    world.waits(MendKind::Rename);
    let plan = enroll::plan(&world.observed, &world.desired).unwrap();
    assert_eq!(
        actions(&plan),
        ["repair-stack-instances", "enable-cost-intelligence"]
    );
    for kind in [MendKind::Rewrite, MendKind::CostIntelligence] {
        world.waits(kind);
    }
    let plan = enroll::plan(&world.observed, &world.desired).unwrap();
    assert_eq!(actions(&plan), [""; 0]);
    assert_eq!(plan.accounts[1].reason.code(), "retry-later");
    world.desired.retry_failed = true;
    let plan = enroll::plan(&world.observed, &world.desired).unwrap();
    assert_eq!(plan.steps.len(), 3);

    // One that failed in this run is told, whatever else waits.
    world.desired.retry_failed = false;
    let clocks = &mut world.observed.sync.profiles[0].mend_retries;
    let clock = clocks.get_mut(&(id(2), MendKind::Rewrite)).unwrap();
    *clock = RetryState {
        of_this_run: true,
        ..clock.clone()
    };
    let plan = enroll::plan(&world.observed, &world.desired).unwrap();
    assert_eq!(plan.accounts[1].standing, Standing::Failed);
}

#[test]
fn a_clock_stops_when_what_it_was_for_is_seen_fine_and_not_before() {
    let stopped = |happened: fn(&mut World)| {
        let mut world = World::new();
        happened(&mut world);
        for kind in MendKind::ALL {
            world.waits(kind);
        }
        let mended = enroll::mended(&world.observed, &world.desired);
        let kinds = mended.into_iter().map(|(profile, (account, kind))| {
            assert_eq!((&*profile, account), ("default", id(2)));
            kind
        });
        kinds.collect::<BTreeSet<MendKind>>()
    };
    let all = || {
        let all = MendKind::ALL.into_iter();
        all.filter(|kind| *kind != MendKind::TakenOver)
    };
    let but = |not: &[MendKind]| {
        let left = all().filter(|kind| !not.contains(kind));
        left.collect::<BTreeSet<MendKind>>()
    };
    assert_eq!(stopped(|_| {}), but(&[]));
    // Nobody looked into the account, or could.
    let in_iam = [MendKind::RoleGone, MendKind::Rewrite, MendKind::Relink];
    assert_eq!(stopped(|world| world.observed.drifts = None), but(&in_iam));
    assert_eq!(
        stopped(|world| world.drifts(DriftKind::RoleUnreadable, Fix::None)),
        but(&in_iam)
    );
    assert_eq!(
        stopped(|world| world.drifts(DriftKind::TrustDiffers, Fix::ReDeploy)),
        but(&[MendKind::Rewrite])
    );
    assert_eq!(
        stopped(|world| world.drifts(DriftKind::RoleMissing, Fix::Enroll)),
        but(&[MendKind::RoleGone])
    );
    assert_eq!(
        stopped(|world| world.drifts(DriftKind::StoredRoleDiffers, Fix::Enroll)),
        but(&[MendKind::Relink])
    );
    assert_eq!(
        stopped(|world| world.observed.sync.spot_accounts[0].name = "other".into()),
        but(&[MendKind::Rename])
    );
    assert_eq!(
        stopped(|world| world.observed.cost_intelligence = None),
        but(&[MendKind::CostIntelligence])
    );
    assert_eq!(
        stopped(|world| world.observed.sync.spot_accounts.clear()),
        BTreeSet::from(in_iam)
    );
    assert_eq!(
        stopped(|world| world.observed.sync.profiles[0].instances.clear()),
        BTreeSet::from([MendKind::TakenOver])
    );
    assert_eq!(
        stopped(|world| {
            let instance = &mut world.observed.sync.profiles[0].instances[0];
            instance.status = onboarding_core::inventory::InstanceStatus::Outdated;
        }),
        BTreeSet::new()
    );
    // Nobody mends what is gone, or is no target any more.
    let everything: BTreeSet<MendKind> = MendKind::ALL.into();
    assert_eq!(
        stopped(|world| world.state(AccountState::Closed)),
        everything
    );
    assert_eq!(
        stopped(|world| world.state(AccountState::Unknown)),
        BTreeSet::new()
    );
    assert_eq!(
        stopped(|world| {
            world.observed.sync.profiles[0].instances.clear();
            world.desired.profiles[0].targets.exclude_accounts = [id(2)].into();
        }),
        everything
    );
    // It is gone, unless the listing has shrunk too far to tell.
    assert_eq!(stopped(|world| without_it(world, 1)), everything);
    assert_eq!(stopped(|world| without_it(world, 100)), BTreeSet::new());
}

/// A listing without the account, after one of so many.
fn without_it(world: &mut World, previous: usize) {
    let mut organization = (*world.observed.sync.organization).clone();
    organization.accounts.retain(|account| account.id != id(2));
    world.observed.sync.organization = organization.into();
    world.observed.sync.previous_account_count = Some(previous);
}
