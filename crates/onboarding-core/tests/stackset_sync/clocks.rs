//! For which accounts retry clocks go on.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use std::collections::BTreeSet;

use onboarding_core::{
    desired::{AdoptRule, Purpose},
    ids::AwsAccountId,
    inventory::{
        AccountState,
        InstanceDetailedStatus::{self, Cancelled, Inoperable, Running, Succeeded},
        InstanceStatus,
    },
    stackset_sync::{
        ObservedProfile,
        clocks::{profiles, tells_of_absence, unsettled},
    },
};

use crate::{golden::World, world::*};

/// The accounts of the profile whose clocks go on after this has happened to one that failed.
fn of_a_failed_one(happened: impl FnOnce(&mut World)) -> BTreeSet<AwsAccountId> {
    let mut world = World::new();
    world.failed("denied");
    happened(&mut world);
    let sync = &world.observed.sync;
    let unsettled = unsettled(sync, &world.desired).unwrap();
    unsettled["default"].clone()
}

#[test]
fn a_clock_goes_on_until_the_account_is_enrolled_or_nobody_enrolls_it() {
    let goes_on = BTreeSet::from([id(2)]);
    let over = BTreeSet::new();
    assert_eq!(of_a_failed_one(|_| {}), goes_on);
    let is = |status, detailed| {
        of_a_failed_one(|world| {
            world.observed.sync.profiles[0].instances = vec![instance(2, status, detailed)];
        })
    };
    // Tried again, and left out of an operation that was stopped.
    assert_eq!(is(InstanceStatus::Outdated, Running), goes_on);
    assert_eq!(is(InstanceStatus::Outdated, Cancelled), goes_on);
    assert_eq!(is(InstanceStatus::Inoperable, Inoperable), goes_on);
    // Mended, by whoever's doing.
    assert_eq!(is(InstanceStatus::Current, Succeeded), over);
    let state = |state| of_a_failed_one(|world| world.state(state));
    for gone in [
        AccountState::Suspended,
        AccountState::PendingClosure,
        AccountState::Closed,
    ] {
        assert_eq!(state(gone), over, "{gone:?}");
    }
    assert_eq!(state(AccountState::Unknown), goes_on);
    assert_eq!(
        of_a_failed_one(|world| {
            world.desired.profiles[0].targets.exclude_accounts = [id(2)].into();
        }),
        over
    );
    // Its instance was taken out: it gets another one, unless it is somebody else's by now.
    assert_eq!(
        of_a_failed_one(|world| world.observed.sync.profiles[0].instances.clear()),
        goes_on
    );
    assert_eq!(
        of_a_failed_one(|world| {
            world.observed.sync.profiles[0].instances.clear();
            world.observed.sync.owned_links.clear();
            world.desired.profiles[0].adopt = AdoptRule::Refuse;
        }),
        over
    );
}

#[test]
fn what_is_done_at_spot_without_custom_resources_has_to_be_finished() {
    let direct = |world: &mut World| {
        world.observed.sync.profiles[0].instances = vec![instance(
            2,
            InstanceStatus::Current,
            InstanceDetailedStatus::Succeeded,
        )];
        world.observed.sync.profiles[0].external_ids = [(id(2), external_id())].into();
        world.desired.profiles[0].direct = Some(enrollment());
    };
    assert_eq!(of_a_failed_one(direct), BTreeSet::from([id(2)]));
    let finished = |world: &mut World| {
        direct(world);
        enroll(&mut world.observed.sync, &enrollment(), 2);
    };
    assert_eq!(of_a_failed_one(finished), BTreeSet::new());
}

#[test]
fn a_role_of_ours_that_failed_has_nothing_to_do_with_links() {
    let mut world = World::new();
    let mut audit = world.desired.profiles[0].clone();
    audit.name = "audit-role".to_owned();
    audit.purpose = Purpose::AuditRole;
    let sync = &mut world.observed.sync;
    sync.spot_accounts.push(linked(2, "act-0000beef"));
    let failed = instance(2, InstanceStatus::Outdated, InstanceDetailedStatus::Failed);
    sync.audit = Some(ObservedProfile {
        instances: vec![failed],
        ..sync.profiles[0].clone()
    });
    world.desired.audit = Some(audit);
    let unsettled = unsettled(&world.observed.sync, &world.desired).unwrap();
    assert_eq!(unsettled["audit-role"], BTreeSet::from([id(2)]));
    assert_eq!(unsettled["default"], BTreeSet::new());
}

#[test]
fn clocks_are_of_profiles_that_there_are_and_not_stopped_by_a_listing_that_shrank() {
    let mut world = World::new();
    let elsewhere = ("other".to_owned(), root_targets());
    world.desired.other_profiles.extend([elsewhere]);
    let names: Vec<_> = profiles(&world.desired).into_iter().collect();
    assert_eq!(names, ["default", "other"]);
    assert!(tells_of_absence(&world.observed.sync, &world.desired));
    world.observed.sync.previous_account_count = Some(100);
    assert!(!tells_of_absence(&world.observed.sync, &world.desired));
}
