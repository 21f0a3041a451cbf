//! Accounts that are linked to Spot before the runner comes: kept, taken over, refused, or for a person to decide.

use super::*;

const LINKED: &str = "seed = 3\nclock_speed = 120.0\n\
                      [organization]\naccounts = 5\nous = 2\ndepth = 1\ntrusted_access = true\n\
                      [spot]\nlinked = 1\n";

/// A sandbox with one linked account, a runner with this rule, the account, and its Spot account.
fn linked(rule: &str) -> (Rehearsal, String, SpotAccount) {
    let rehearsal = Rehearsal::new(LINKED);
    rehearsal.configure("", &format!("adopt = {rule:?}"), "ous = [\"root\"]");
    let spot = rehearsal.spot_accounts();
    let spot = spot.into_iter().find(|spot| spot.aws_account.is_some());
    let spot = spot.unwrap();
    let account = spot.aws_account.clone().unwrap();
    (rehearsal, account, spot)
}

#[test]
fn keep_link_leaves_a_linked_account_as_it_is_and_counts_it() {
    let (rehearsal, account, spot) = linked("keep-link");
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(
        listed(&document, "skipped", "enrolled-elsewhere"),
        [account.as_str()]
    );
    assert_eq!(rehearsal.links_of(&account), [spot]);
    assert_eq!(count(&document, "changed"), 4);
}

#[test]
fn relink_takes_a_linked_account_over_and_keeps_its_spot_account() {
    let (rehearsal, account, spot) = linked("relink");
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&document, "changed"), 5);
    let links = rehearsal.links_of(&account);
    assert_eq!(links.len(), 1);
    assert_eq!(links[0].id, spot.id);
    assert!(links[0].works);
    assert_ne!(links[0].role, spot.role);
}

#[test]
fn refuse_leaves_a_linked_account_to_a_person() {
    let (rehearsal, account, spot) = linked("refuse");
    let document = rehearsal.sync_ends(3, &[]);
    assert_eq!(
        listed(&document, "skipped", "adoption-refused"),
        [account.as_str()]
    );
    assert_eq!(rehearsal.links_of(&account), [spot]);
    assert_eq!(count(&document, "changed"), 4);
}

#[test]
fn an_account_that_is_linked_twice_is_named_with_both_spot_accounts_and_left_alone() {
    let rehearsal = Rehearsal::new(&LINKED.replace("linked = 1", "linked_twice = 1"));
    let before = rehearsal.spot_accounts();
    let document = rehearsal.sync_ends(3, &[]);
    let account = &listed(&document, "skipped", "linked-to-several")[0];
    let links = rehearsal.links_of(account);
    assert_eq!(links.len(), 2);
    let message = text(&document["findings"][0]["message"]);
    for link in &links {
        assert!(before.contains(link));
        assert!(message.contains(&link.id), "{message}");
    }
}
