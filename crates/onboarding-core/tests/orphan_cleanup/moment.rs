//! What must be true at the moment of deletion.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use onboarding_core::{
    inventory::AccountState::{self, Active, Closed, Suspended},
    orphan_cleanup::{
        Evidence, OutsideEvidence, Why, protection::Protection, still_orphan, still_outside,
    },
};

use super::world::*;

/// Whether Spot account 7 of AWS account 7 may go. `linked` are the Spot accounts that are linked to it then.
fn may_go(
    why: Why,
    state: Option<AccountState>,
    in_scope: bool,
    has_instance: bool,
    linked_now: &[u64],
) -> bool {
    let evidence = Evidence {
        protected: None,
        state,
        in_scope,
        instance: has_instance.then(|| "spot-onboarding".parse().unwrap()),
        linked: linked_now
            .iter()
            .map(|number| linked(7, spot(*number)))
            .collect(),
    };
    let judged = still_orphan(why, &spot(7), id(7), &evidence);
    assert!(judged.as_ref().err().is_none_or(|why| !why.is_empty()));
    // What is protected by then stays, whatever else is so.
    let protected = Evidence {
        protected: Some("`protected_names` has it".to_owned()),
        ..evidence
    };
    let kept = still_orphan(why, &spot(7), id(7), &protected);
    assert!(kept.unwrap_err().contains("`protected_names`"));
    judged.is_ok()
}

#[test]
fn what_is_read_right_before_has_the_last_word() {
    use Why::{Closed as IsClosed, Departed, Duplicate, NeverLinked, OutsideTargets};
    for (why, state, in_scope, has_instance, linked, expected) in [
        (Departed, None, false, false, &[7][..], true),
        (Departed, None, false, false, &[], true),
        (Departed, Some(Active), true, false, &[7], false),
        (Departed, Some(Active), false, false, &[7], false),
        (Departed, Some(Suspended), false, false, &[7], false),
        (Departed, None, false, true, &[7], false),
        (Departed, None, false, false, &[7, 8], false),
        (IsClosed, Some(Closed), false, false, &[7], true),
        (IsClosed, None, false, false, &[7], true),
        (IsClosed, Some(Active), false, false, &[7], false),
        (OutsideTargets, Some(Active), false, false, &[7], true),
        (OutsideTargets, Some(Active), true, false, &[7], false),
        (OutsideTargets, Some(Suspended), false, false, &[7], false),
        (OutsideTargets, Some(Active), false, true, &[7], false),
        (NeverLinked, Some(Active), true, true, &[8], true),
        (NeverLinked, Some(Active), true, false, &[], false),
        (NeverLinked, Some(Active), false, false, &[], true),
        (NeverLinked, None, false, false, &[7], false),
        (NeverLinked, Some(Suspended), false, false, &[], false),
        (NeverLinked, Some(Active), false, true, &[], false),
        (Duplicate, Some(Suspended), true, true, &[7, 8], false),
        (Duplicate, Some(Active), true, true, &[7, 8], true),
        (Duplicate, Some(Active), true, true, &[7], false),
        (Duplicate, Some(Active), true, true, &[8], false),
    ] {
        assert_eq!(
            may_go(why, state, in_scope, has_instance, linked),
            expected,
            "{why} {state:?} {in_scope} {has_instance} {linked:?}"
        );
    }
}

#[test]
fn a_stack_is_deleted_only_in_an_active_account_that_nobody_targets_and_where_nothing_runs() {
    let outside = OutsideEvidence {
        protected: None,
        state: Some(Active),
        in_scope: false,
        running: Vec::new(),
    };
    let refused = |evidence: &OutsideEvidence| still_outside(id(7), evidence).unwrap_err();
    assert_eq!(still_outside(id(7), &outside), Ok(()));
    let protected = Some("`protected_ous` has Prod".to_owned());
    let protected = OutsideEvidence {
        protected,
        ..outside.clone()
    };
    assert!(refused(&protected).contains("`protected_ous`"));
    let targeted = OutsideEvidence {
        in_scope: true,
        ..outside.clone()
    };
    assert!(refused(&targeted).contains("targeted again"));
    for state in [Some(Suspended), Some(Closed), None] {
        let gone = OutsideEvidence {
            state,
            ..outside.clone()
        };
        assert!(refused(&gone).contains("not active"), "{state:?}");
    }
    let running = OutsideEvidence {
        running: vec!["Elastigroup web".to_owned()],
        ..outside
    };
    assert!(refused(&running).contains("Elastigroup web"));
}

#[test]
fn a_protected_unit_is_known_by_its_id_wherever_an_account_is_by_then() {
    let mut world = World::new(30);
    world.rules.protected_ous = vec!["Unit2".parse().unwrap()];
    let organization = world.observed.sync.organization.clone();
    let protection = Protection::new(&organization, &world.desired, &world.rules).unwrap();
    let at = |unit: usize| onboarding_core::orphan_cleanup::Place {
        name: "account 7".to_owned(),
        units: vec![ou(unit), ou(0)],
        // Nobody asks for the names of units at that moment.
        path: String::new(),
    };
    assert_eq!(protection.of(id(7), &["name 7"], Some(&at(1))), None);
    let moved = protection.of(id(7), &["name 7"], Some(&at(2))).unwrap();
    assert!(moved.contains("`protected_ous` has Unit2"), "{moved}");
    // The unit that it had left was moved into the protected one since.
    let mut moved = (*organization).clone();
    moved.units[1].parent = Some(2);
    let inside = Protection::new(&moved, &world.desired, &world.rules).unwrap();
    assert!(inside.of(id(7), &["name 7"], Some(&at(1))).is_some());
    // A name that it was given meanwhile, in AWS or at Spot.
    world.rules.protected_names = vec!["prod-*".parse().unwrap()];
    let protection = Protection::new(&organization, &world.desired, &world.rules).unwrap();
    let renamed = onboarding_core::orphan_cleanup::Place {
        name: "prod-payments".to_owned(),
        ..at(1)
    };
    assert!(protection.of(id(7), &["name 7"], Some(&renamed)).is_some());
    assert!(protection.of(id(7), &["prod-7"], Some(&at(1))).is_some());
    assert_eq!(protection.of(id(7), &["name 7"], Some(&at(1))), None);
}
