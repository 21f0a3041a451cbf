//! What must be true at the moment of deletion.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use onboarding_core::{
    inventory::AccountState::{self, Active, Closed, Suspended},
    orphan_cleanup::{Evidence, Why, still_orphan},
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
