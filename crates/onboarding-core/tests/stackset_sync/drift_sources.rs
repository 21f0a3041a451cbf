//! What audits hear beside IAM of members: CloudFormation's own drift detection, the management account, and the Spot token.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use onboarding_core::{
    drift::{Collected, Drift, DriftKind, Fix},
    drift_audit::{self, Connection, Detection, Seen, Suppression, TokenAge},
    enroll,
    inventory::{AccountState, DriftStatus, InstanceDetailedStatus, InstanceStatus, StackDrift},
    plan::{Finding, IamVerdict, Plan, Severity},
    policy_rollout::{Phase, Rollout, Sweep, WaveProgress, WaveState},
    stackset_sync::{PlainStack, RunningOperation},
};

use crate::{
    golden::{SPOT_ACCOUNT, World},
    world::*,
};

const HOUR: i64 = 3_600;

fn plan_of(world: &World) -> Plan {
    drift_audit::plan(&world.observed, &world.desired, &[], false).unwrap()
}

fn asks(world: &mut World, max_age: i64) {
    world.observed.detection = Some(Detection { max_age });
}

/// When CloudFormation looked last, and what it said of the account.
fn checked(world: &mut World, at: i64, status: DriftStatus) {
    let state = &mut world.observed.sync.profiles[0];
    state.stack_set.as_mut().unwrap().drift_checked_at = Some(at);
    state.instances[0].drift = StackDrift {
        status,
        checked_at: Some(at),
    };
}

fn differs(world: &mut World, account: u64, kind: DriftKind, fix: Fix) {
    let drift = Drift {
        kind,
        resource: "role".to_owned(),
        expected: "this".to_owned(),
        actual: "that".to_owned(),
        verdict: None,
        changes: Vec::new(),
        fix,
    };
    let drifts = world.observed.drifts.get_or_insert_default();
    Arc::make_mut(drifts).insert(id(account), vec![drift]);
}

fn finding<'a>(plan: &'a Plan, reason: &str) -> Option<&'a Finding> {
    plan.findings.iter().find(|one| one.reason == reason)
}

#[test]
fn cloudformation_looks_again_when_its_word_is_old_and_nothing_else_is_going_on() {
    let mut world = World::new();
    assert!(plan_of(&world).steps.is_empty());
    asks(&mut world, 12 * HOUR);
    let [step] = &plan_of(&world).steps[..] else {
        panic!("nobody has looked yet");
    };
    assert_eq!(
        (&*step.id, &*step.kind),
        ("detect-drift:default", "drift-audit")
    );
    assert!(step.accounts.is_empty());

    checked(&mut world, NOW - 12 * HOUR + 1, DriftStatus::InSync);
    assert!(plan_of(&world).steps.is_empty());
    // A clock that is ahead of ours.
    checked(&mut world, NOW + 1, DriftStatus::InSync);
    assert!(plan_of(&world).steps.is_empty());
    asks(&mut world, 0);
    assert_eq!(plan_of(&world).steps.len(), 1);
    asks(&mut world, 12 * HOUR);
    checked(&mut world, NOW - 12 * HOUR, DriftStatus::InSync);
    assert_eq!(plan_of(&world).steps.len(), 1);
    world.observed.sync.profiles[0].running = vec![RunningOperation {
        id: "1".to_owned(),
        action: "UPDATE".to_owned(),
    }];
    assert!(plan_of(&world).steps.is_empty());
    world.observed.sync.profiles[0].running.clear();
    // Another program's stack set is none of ours to look at.
    world.observed.sync.profiles[0].is_ours = false;
    assert!(plan_of(&world).steps.is_empty());
}

#[test]
fn what_cloudformation_says_hides_nothing_that_iam_has() {
    let mut world = World::new();
    checked(&mut world, NOW - 1, DriftStatus::InSync);
    assert!(plan_of(&world).verdicts.is_empty());
    asks(&mut world, HOUR);
    let said = |world: &World| {
        let verdicts = plan_of(world).verdicts[&id(2)];
        (verdicts.iam, verdicts.cloudformation.status)
    };
    assert_eq!(said(&world), (IamVerdict::AsMeant, DriftStatus::InSync));
    differs(&mut world, 2, DriftKind::PolicyInlineExtra, Fix::None);
    assert_eq!(said(&world), (IamVerdict::Differs, DriftStatus::InSync));
    let plan = plan_of(&world);
    let extra = finding(&plan, "policy-inline-extra").unwrap();
    assert_eq!(extra.severity, Severity::Error);
    assert_eq!(extra.cloudformation.unwrap().status, DriftStatus::InSync);

    differs(&mut world, 2, DriftKind::RoleUnreadable, Fix::None);
    assert_eq!(said(&world), (IamVerdict::Unreadable, DriftStatus::InSync));
    world.observed.drifts = None;
    assert_eq!(said(&world), (IamVerdict::NotRead, DriftStatus::InSync));

    // What only CloudFormation sees is a finding, too, and the account is not fine.
    world.observed.drifts = Some(Arc::new(BTreeMap::from([(id(2), Vec::new())])));
    checked(&mut world, NOW - 1, DriftStatus::Drifted);
    let plan = plan_of(&world);
    let drifted = finding(&plan, "cloudformation-drifted").unwrap();
    assert_eq!(drifted.severity, Severity::Warning);
    let row = plan.accounts.iter().find(|row| row.account == id(2));
    assert_eq!(row.unwrap().reason.code(), "drifted");
}

#[test]
fn an_account_that_was_not_looked_at_says_what_to_do_about_that() {
    let mut world = World::new();
    world.observed.drifts = Some(Arc::default());
    let plan = plan_of(&world);
    let unread = finding(&plan, "role-unreadable").unwrap();
    assert!(unread.message.contains("was not looked at"), "{unread:?}");
    let fix = unread.fix.as_deref().unwrap();
    assert!(fix.contains("`runner exec stackset-sync`"), "{fix}");
}

#[test]
fn recorders_that_nobody_tells_of_are_a_finding_with_their_number() {
    let mut world = World::new();
    let told = |untold_recorders| {
        Some(Seen {
            collected: Collected {
                oldest: Some(NOW),
                untold_recorders,
            },
            ..Seen::default()
        })
    };
    world.observed.seen = told(0);
    assert!(finding(&plan_of(&world), "recorders-untold").is_none());
    world.observed.seen = told(3);
    let plan = plan_of(&world);
    let untold = finding(&plan, "recorders-untold").unwrap();
    assert_eq!((untold.severity, untold.account), (Severity::Warning, None));
    assert!(untold.message.starts_with("of 3 of the 1 "), "{untold:?}");
    assert!(untold.fix.as_deref().unwrap().contains("params.suppress"));
    let accepted = Suppression {
        finding: "recorders-untold:*".to_owned(),
        most: Severity::Warning,
        reason: "they are watched elsewhere".to_owned(),
        until: NOW + HOUR,
    };
    let plan = drift_audit::plan(&world.observed, &world.desired, &[accepted], false).unwrap();
    let untold = finding(&plan, "recorders-untold").unwrap();
    assert_eq!(untold.severity, Severity::Info);
}

#[test]
fn the_management_account_is_mended_by_commands_of_its_own_stack() {
    let mut world = World::new();
    let profile = &mut world.desired.profiles[0];
    profile.management = Some(management(profile));
    profile.targets.accounts = [id(1)].into();
    let stack = |nonce: &str| PlainStack {
        parameters: [
            ("ExternalId".to_owned(), "x".to_owned()),
            ("RepairNonce".to_owned(), nonce.to_owned()),
        ]
        .into(),
        ..plain_stack()
    };
    let fix = |world: &World, reason: &str| {
        let plan = plan_of(world);
        let found = finding(&plan, reason);
        found
            .unwrap_or_else(|| panic!("{plan:#?}"))
            .fix
            .clone()
            .unwrap()
    };
    for (nonce, other) in [("0", "1"), ("1", "2"), ("2", "1")] {
        world.observed.sync.profiles[0].management = Some(stack(nonce));
        differs(&mut world, 1, DriftKind::TrustDiffers, Fix::ReDeploy);
        let again = fix(&world, "trust-differs");
        let command = format!(
            "aws cloudformation update-stack --region us-east-1 --stack-name spot-onboarding --use-previous-template \
             --capabilities CAPABILITY_IAM --parameters ParameterKey=RepairNonce,ParameterValue={other} \
             ParameterKey=ExternalId,UsePreviousValue=true"
        );
        assert!(again.ends_with(&command), "{again}");
    }
    differs(&mut world, 1, DriftKind::TrustDiffers, Fix::Enroll);
    let other = fix(&world, "trust-differs");
    assert!(
        other.contains("ParameterKey=ExternalId,ParameterValue=<"),
        "{other}"
    );
    assert!(other.contains("ParameterKey=RepairNonce,UsePreviousValue"));
    differs(&mut world, 1, DriftKind::RoleMissing, Fix::Enroll);
    let anew = fix(&world, "role-missing");
    assert!(anew.contains("aws cloudformation delete-stack"), "{anew}");
    let look = Fix::NeedsPerson("aws iam get-role".to_owned());
    differs(&mut world, 1, DriftKind::RoleUnused, look);
    assert!(fix(&world, "role-unused").contains("aws iam get-role"));
}

#[test]
fn a_token_is_judged_by_what_is_known_of_it() {
    let mut world = World::new();
    let mut token = |since: Option<i64>, max_age: Option<i64>| {
        world.observed.token = TokenAge {
            place: "the secret x".to_owned(),
            since,
            max_age,
        };
        let plan = plan_of(&world);
        let mut found = plan.findings.iter();
        found.next().map(|one| one.reason.clone())
    };
    assert_eq!(token(None, None), None);
    assert_eq!(token(Some(0), None), None);
    assert_eq!(token(Some(NOW - HOUR), Some(HOUR)), None);
    let old = token(Some(NOW - HOUR - 1), Some(HOUR));
    assert_eq!(old.as_deref(), Some("token-old"));
    let unknown = token(None, Some(HOUR));
    assert_eq!(unknown.as_deref(), Some("token-age-unknown"));
}

#[test]
fn an_account_that_counts_as_enrolled_and_was_not_looked_at_is_not_known() {
    let mut world = World::new();
    let plan = plan_of(&world);
    assert!(finding(&plan, "role-unreadable").is_none());
    world.observed.drifts = Some(Arc::default());
    let plan = plan_of(&world);
    let unread = finding(&plan, "role-unreadable").unwrap();
    assert_eq!(
        (unread.account, unread.severity),
        (Some(id(2)), Severity::Warning)
    );
    let actual = unread.actual.as_deref().unwrap();
    assert!(actual.contains("it was not looked at"), "{actual}");
    let audited = plan.audited.unwrap();
    assert_eq!((audited.asked, audited.read, audited.unreadable), (1, 0, 1));
    // At coverage depth, nobody was to be looked at.
    world.observed.drifts = None;
    assert!(finding(&plan_of(&world), "role-unreadable").is_none());
}

/// How bad it is what an audit says, for the reason for which it did not look into an account, and because it did not.
fn unread(world: &World, reason: &str) -> [Option<Severity>; 2] {
    let plan = plan_of(world);
    assert_eq!(plan.accounts[1].reason.code(), reason);
    let unread = finding(&plan, "role-unreadable");
    if let Some(audited) = plan.audited {
        let counts = (audited.asked, audited.read, audited.unreadable);
        let is_unread = usize::from(unread.is_some());
        assert_eq!(counts, (is_unread, 0, is_unread));
    }
    if let Some(unread) = unread {
        let told = unread.actual.as_deref().unwrap();
        assert!(told.contains("it was not looked at: "), "{told}");
        assert!(unread.fix.is_some());
    }
    [finding(&plan, reason), unread].map(|found| found.map(|one| one.severity))
}

#[test]
fn an_account_that_an_operation_works_on_or_is_to_is_not_known() {
    use InstanceDetailedStatus::{Pending, Running};
    for detailed in [Running, Pending] {
        let mut world = World::new();
        let state = &mut world.observed.sync.profiles[0];
        state.instances = vec![instance(2, InstanceStatus::Outdated, detailed)];
        state.running = vec![RunningOperation {
            id: "somebody's".to_owned(),
            action: "UPDATE".to_owned(),
        }];
        world.observed.drifts = Some(Arc::default());
        let worth_knowing = Some(Severity::Info);
        let warned = Some(Severity::Warning);
        assert_eq!(unread(&world, "enrolling"), [worth_knowing, warned]);
        // One whose link is somebody else's is not ours to look into, nor is one that is not linked yet.
        let mut kept = world.observed.clone();
        kept.sync.kept_links.insert(id(2));
        let mut unlinked = world.observed.clone();
        unlinked.sync.spot_accounts.clear();
        unlinked.sync.owned_links.clear();
        let mut coverage = world.observed.clone();
        coverage.drifts = None;
        for observed in [kept, unlinked, coverage] {
            world.observed = observed;
            assert_eq!(unread(&world, "enrolling"), [worth_knowing, None]);
        }
    }
}

#[test]
fn an_account_that_a_rollout_left_half_way_is_told_at_both_depths() {
    let warned = Some(Severity::Warning);
    let mut world = World::new();
    world.failed("denied by a service control policy");
    let mut rollout = Rollout::new("r".to_owned(), "default", "good", "next", NOW);
    rollout.waves.push(WaveProgress {
        name: "canary".to_owned(),
        state: WaveState::Begun,
        sweep: Sweep::over([id(2)]),
        known: BTreeSet::new(),
        updated_at: None,
    });
    rollout.halt(vec!["one went wrong".to_owned()]);
    let sync = &mut world.observed.sync;
    sync.profiles[0].rollout = Some(rollout.clone());
    world.observed.drifts = Some(Arc::default());
    assert_eq!(unread(&world, "rolling-out"), [warned, warned]);
    let told = finding(&plan_of(&world), "role-unreadable")
        .cloned()
        .unwrap();
    let why = told.actual.unwrap();
    assert!(
        why.contains("half-way") && why.contains("service control"),
        "{why}"
    );
    assert!(told.fix.unwrap().starts_with("policy-rollout"));
    world.observed.drifts = None;
    assert_eq!(unread(&world, "rolling-out"), [warned, None]);

    // While it works on the account, that it does is only worth knowing; what the role may do is not known all the same.
    rollout.phase = Phase::Rolling;
    rollout.waves[0].sweep.asked = [id(2)].into();
    let state = &mut world.observed.sync.profiles[0];
    state.rollout = Some(rollout);
    let operation = RunningOperation {
        id: "ours".to_owned(),
        action: "UPDATE".to_owned(),
    };
    state.running = vec![operation];
    assert_eq!(unread(&world, "rolling-out"), [Some(Severity::Info), None]);
    world.observed.drifts = Some(Arc::default());
    assert_eq!(
        unread(&world, "rolling-out"),
        [Some(Severity::Info), warned]
    );
    // That operation is over, and nobody has looked what became of it.
    world.observed.sync.profiles[0].running.clear();
    assert_eq!(unread(&world, "rolling-out"), [warned, warned]);
    let told = finding(&plan_of(&world), "role-unreadable").cloned();
    assert!(told.unwrap().fix.unwrap().starts_with("policy-rollout"));
    // Whoever enrolls leaves that to an audit.
    let enrolled = enroll::plan(&world.observed, &world.desired).unwrap();
    assert_eq!(finding(&enrolled, "role-unreadable"), None);
    // A link that somebody else made, or that is not made yet, is none of ours to read.
    let owned = std::mem::take(&mut world.observed.sync.owned_links);
    assert_eq!(unread(&world, "rolling-out"), [warned, None]);
    world.observed.sync.owned_links = owned;
    world.observed.sync.spot_accounts[0].aws_account = None;
    world.observed.sync.spot_accounts[0].unlinked = true;
    assert_eq!(unread(&world, "rolling-out")[1], None);
}

#[test]
fn what_spot_lists_as_not_connected_is_told_at_both_depths_with_what_mends_it() {
    let reason = "cost-intelligence-not-connected";
    for (connection, is_told) in [
        (Connection::Connected, false),
        (Connection::Partly, true),
        (Connection::Not, true),
        (Connection::Unknown, true),
    ] {
        let mut world = World::new();
        let known = [(SPOT_ACCOUNT.parse().unwrap(), connection)];
        world.observed.cost_intelligence = Some(known.into());
        let mut fixes = Vec::new();
        let mut look = |world: &World| {
            let plan = plan_of(world);
            let told = finding(&plan, reason);
            assert_eq!(told.is_some(), is_told, "{connection:?}");
            if let Some(told) = told {
                assert_eq!(told.severity, Severity::Warning);
                assert_eq!(plan.accounts[1].reason.code(), "drifted");
                fixes.push(told.fix.clone().unwrap());
            }
            let enrolled = enroll::plan(&world.observed, &world.desired).unwrap();
            assert_eq!(finding(&enrolled, reason).is_some(), is_told);
        };
        look(&world);
        differs(&mut world, 2, DriftKind::TrustDiffers, Fix::ReDeploy);
        look(&world);
        world.observed.drifts = None;
        look(&world);
        let [fine, differs, unread] = &fixes[..] else {
            assert!(!is_told);
            continue;
        };
        assert!(fine.starts_with("needs a person"), "{fine}");
        assert!(differs.contains("its other findings"), "{differs}");
        assert!(unread.contains("params.depth=full"), "{unread}");
        // One that somebody else linked is not ours to judge.
        let mut others = World::new();
        others.observed.cost_intelligence = world.observed.cost_intelligence.clone();
        others.observed.sync.owned_links.clear();
        assert_eq!(finding(&plan_of(&others), reason), None);
    }
}

#[test]
fn a_spot_account_of_ours_is_told_of_whatever_became_of_its_link_when_its_aws_account_is_gone() {
    let departed = "departed-spot-account";
    let gone = |happened: fn(&mut World)| {
        let mut world = World::new();
        let mut organization = (*world.observed.sync.organization).clone();
        organization.accounts.retain(|account| account.id != id(2));
        world.observed.sync.organization = organization.into();
        happened(&mut world);
        let plan = plan_of(&world);
        let found = finding(&plan, departed);
        found.map(|found| (found.message.clone(), found.fix.clone().unwrap()))
    };
    let (there, fix) = gone(|_| {}).unwrap();
    assert!(there.contains("left the organization"), "{there}");
    assert_eq!(fix, "orphan-cleanup");
    let (unlinked, fix) = gone(|world| {
        let spot = &mut world.observed.sync.spot_accounts[0];
        (spot.aws_account, spot.unlinked) = (None, true);
    })
    .unwrap();
    assert!(unlinked.ends_with("unlinked"), "{unlinked}");
    assert_eq!(fix, "orphan-cleanup");
    let (_, fix) = gone(|world| {
        let spots = &mut world.observed.sync.spot_accounts;
        spots.push(linked(2, "act-00000099"));
    })
    .unwrap();
    assert!(fix.starts_with("needs a person"), "{fix}");
    assert_eq!(
        gone(|world| world.observed.sync.spot_accounts.clear()),
        None
    );

    for (state, is_told) in [
        (AccountState::Closed, true),
        (AccountState::Suspended, false),
        (AccountState::Active, false),
    ] {
        let mut world = World::new();
        world.state(state);
        let plan = plan_of(&world);
        assert_eq!(finding(&plan, departed).is_some(), is_told, "{state:?}");
    }
}
