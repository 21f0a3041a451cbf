//! The closed set of reasons beside the golden plans: whatever an account can stand for has a plan that somebody has read.

use std::{
    fs,
    path::{Path, PathBuf},
};

use onboarding_core::{
    drift_audit,
    inventory::{LinkEvidence, LiveRole, RoleReading},
    plan::consent::{consented, limit},
    policy_rollout::{Phase, Rollout, Sweep, WaveProgress, WaveState},
    stackset_sync::SyncConsent,
    status::Reason,
};

use super::*;

fn links(world: &mut World, role: RoleReading) {
    let evidence = LinkEvidence {
        stored_role: ROLE.parse().unwrap(),
        external_id: Some(external_id()),
        role,
    };
    let evidence = Arc::new(evidence);
    world.observed.sync.live_roles.insert(id(2), evidence);
}

fn trusts_another_external_id() -> RoleReading {
    RoleReading::Present(Box::new(LiveRole {
        arn: ROLE.parse().unwrap(),
        id: "AROA1".to_owned(),
        path: "/".to_owned(),
        trust_policy: format!(
            r#"{{"Statement": [{{"Effect": "Allow", "Principal": {{"AWS": "{SPOT}"}}, "Action": "sts:AssumeRole", "Condition": {{"StringEquals": {{"sts:ExternalId": "another"}}}}}}]}}"#
        ),
        max_session_seconds: None,
        permissions_boundary: None,
        last_used: None,
        tags: BTreeMap::new(),
    }))
}

/// Enrolled by the runner, with all that is done at Spot.
fn direct(world: &mut World) {
    world.desired.profiles[0].direct = Some(enrollment());
    let sync = &mut world.observed.sync;
    sync.profiles[0].is_direct = true;
    sync.profiles[0].external_ids.insert(id(2), external_id());
    enroll(sync, &enrollment(), 2);
}

/// The profile asks for a tag.
fn asks_for_a_tag(world: &mut World) {
    world.desired.profiles[0].targets.tags = asks(&[("stage", &["prod"])]);
    world.observed.sync.profiles[0].instances.clear();
}

/// Situations of reasons that no other golden plan has.
const MORE: [Situation; 16] = [
    ("being closed", |world| {
        world.state(AccountState::PendingClosure);
    }),
    ("not activated yet", |world| {
        world.state(AccountState::PendingActivation);
    }),
    ("AWS does not say what state it is in", |world| {
        world.state(AccountState::Unknown);
    }),
    ("excluded", |world| {
        world.desired.profiles[0].targets.exclude_accounts = [id(2)].into();
        world.observed.sync.profiles[0].instances.clear();
        world.observed.sync.spot_accounts.clear();
        world.observed.sync.owned_links.clear();
    }),
    ("without the tag that its profile asks for", |world| {
        asks_for_a_tag(world);
        world.observed.sync.account_tags = Arc::new(tags(&[(2, &[])]));
    }),
    ("its tags could not be read", |world| {
        asks_for_a_tag(world);
    }),
    ("the audit role sees no role of its link", |world| {
        links(world, RoleReading::Absent);
    }),
    ("the audit role sees another external ID", |world| {
        links(world, trusts_another_external_id());
    }),
    (
        "Spot could not assume its role by a resource control policy",
        |world| {
            world.failed("denied by a resource control policy");
            world.retries(1, NOW + 600);
        },
    ),
    ("enrolled by the runner", direct),
    ("enrolled by the runner, without an external ID", |world| {
        direct(world);
        world.observed.sync.profiles[0].external_ids.clear();
    }),
    ("enrolled by the runner, and not finished", |world| {
        direct(world);
        world.observed.sync.finished.clear();
    }),
    ("enrolled by the runner, and Spot refused", |world| {
        direct(world);
        world.observed.sync.finished.clear();
        world.retries(1, NOW - 1);
    }),
    ("a wave of a rollout has left it half-way", |world| {
        let mut rollout = Rollout::new("r".to_owned(), "default", "good", "next", NOW);
        rollout.phase = Phase::Rolling;
        rollout.waves.push(WaveProgress {
            name: "canary".to_owned(),
            state: WaveState::Begun,
            sweep: Sweep::over([id(2)]),
            known: BTreeSet::new(),
            updated_at: None,
        });
        world.observed.sync.profiles[0].rollout = Some(rollout);
        world.instance().status = InstanceStatus::Outdated;
        world.instance().detailed_status = InstanceDetailedStatus::Cancelled;
    }),
    ("the management account's stack is blocked", |world| {
        let profile = &mut world.desired.profiles[0];
        profile.management = Some(management(profile));
        world.observed.sync.profiles[0].management = Some(PlainStack {
            status: "ROLLBACK_COMPLETE".to_owned(),
            blocked: Some("delete it".to_owned()),
            ..plain_stack()
        });
    }),
    ("the role was changed, and an audit says so", |world| {
        world.drifts(DriftKind::TrustDiffers, Fix::ReDeploy);
    }),
];

/// Both accounts, as a plan says that they stand.
fn rows(plan: &Plan) -> String {
    let mut text = String::new();
    for row in &plan.accounts {
        let number = row.account.to_string();
        let number = number.trim_start_matches('0');
        writeln!(
            text,
            "    account {number}: {} ({:?})",
            row.reason, row.standing
        )
        .unwrap();
    }
    text
}

#[test]
fn every_other_reason_has_its_plan() {
    let mut text = String::new();
    for (name, happened) in MORE {
        let mut world = World::new();
        happened(&mut world);
        writeln!(text, "{name}").unwrap();
        let (observed, desired) = (&world.observed, &world.desired);
        for (kind, plan) in [
            (
                stackset_sync::KIND,
                stackset_sync::plan(&observed.sync, desired).unwrap(),
            ),
            (enroll::KIND, enroll::plan(observed, desired).unwrap()),
            (
                drift_audit::KIND,
                drift_audit::plan(observed, desired, &[], false).unwrap(),
            ),
        ] {
            writeln!(text, "  {kind}").unwrap();
            text.push_str(&rows(&plan));
            text.push_str(&written(&plan));
        }
    }
    // What somebody approved had nothing for it.
    let mut world = World::new();
    let approved = stackset_sync::plan(&world.observed.sync, &world.desired).unwrap();
    world.observed.sync.profiles[0].instances.clear();
    let mut now = stackset_sync::plan(&world.observed.sync, &world.desired).unwrap();
    limit(&mut now, &consented(&approved), &SyncConsent);
    writeln!(
        text,
        "due since a plan was approved\n  {}",
        stackset_sync::KIND
    )
    .unwrap();
    text.push_str(&rows(&now));
    text.push_str(&written(&now));
    insta::assert_snapshot!(text);
}

/// The golden plans of this crate's tests, of every job.
fn golden_plans(directory: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            text.push_str(&golden_plans(&path));
        } else if name.contains("golden") && name.ends_with(".snap") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
    text
}

/// A reason that is added gets a situation here, or among those of its job.
#[test]
fn no_reason_of_the_closed_set_is_without_a_golden_plan() {
    let golden = golden_plans(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"));
    // What a plugin says of an account is its own.
    let reasons = Reason::ALL
        .into_iter()
        .filter(|reason| !reason.is_of_plugin());
    let without = reasons.filter(|reason| !golden.contains(&format!(": {reason} (")));
    assert_eq!(without.collect::<Vec<_>>(), []);
}
