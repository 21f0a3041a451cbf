//! What stays in Spot when its stack is deleted is written down, until another stack links it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{
    plain_stacks::{Member, PLAIN, StateFile},
    *,
};

/// Milliseconds of the clock that the state has as well.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_millis().try_into().unwrap()
}

/// Deletes the stack of an account and makes another one.
fn departs_and_comes_back(linked_before: bool, reason: &str) {
    let linked = usize::from(linked_before);
    let rehearsal = Rehearsal::new(&format!("{PLAIN}linked = {linked}\n"));
    let Some(state) = StateFile::of(&rehearsal) else {
        return;
    };
    let members = rehearsal.members();
    let is_wanted = |account: &&String| rehearsal.links_of(account).len() == linked;
    let account = members.iter().find(is_wanted).unwrap();
    let member = Member::of(&rehearsal, account);
    let mut provider = rehearsal.runner.start(&["provider"]).unwrap();

    member.create("plain-first");
    member.until_created("plain-first");
    let (spot, owner) = (member.link(), state.owner(account));
    assert_eq!(owner["spot_account"], spot.id.as_str());
    assert!(text(&owner["stack_id"]).contains(":stack/plain-first/"));
    assert_eq!(state.tombstones(account), Vec::<Value>::new());

    let before = now();
    member.delete("plain-first");
    let left = state.tombstones(account);
    let [left] = &left[..] else {
        panic!("{left:?}")
    };
    assert_eq!(left["spot_account"], spot.id.as_str());
    assert_eq!(left["stack_id"], owner["stack_id"]);
    assert_eq!(left["reason"], reason);
    let at = left["left_at"].as_u64().unwrap();
    assert!((before..=now()).contains(&at), "{left}");
    let all = rehearsal.spot_accounts();
    assert!(all.iter().any(|other| other.id == spot.id), "{all:?}");

    member.create("plain-second");
    member.until_created("plain-second");
    assert_eq!(state.tombstones(account), Vec::<Value>::new());
    let (link, owner) = (member.link(), state.owner(account));
    assert_eq!(link.id, spot.id);
    assert!(link.works && link.role != spot.role, "{link:?}");
    assert_eq!(owner["role"], link.role.unwrap().as_str());
    assert!(text(&owner["stack_id"]).contains(":stack/plain-second/"));
    assert_eq!(owner["adopted"], linked);
    assert_eq!(rehearsal.spot_accounts().len(), all.len());
    provider.check().unwrap();
}

#[test]
fn a_departed_account_leaves_a_tombstone_that_the_next_stack_takes_away() {
    departs_and_comes_back(false, "reconcile");
}

#[test]
fn a_departed_account_that_was_taken_over_has_a_tombstone_that_says_so() {
    departs_and_comes_back(true, "adopted");
}
