//! Accounts that are suspended, closed or gone: who keeps a place in the stack set, and what holds a removal back.

use super::*;

/// An enrolled organization of thirteen accounts with a configuration that waits for nothing.
fn enrolled() -> Rehearsal {
    let rehearsal = Rehearsal::new(&SMALL.replace("accounts = 8", "accounts = 12"));
    rehearsal.configure(
        "[removal]\nclosed_grace = \"0s\"\n",
        // Auto-deployment would take departed accounts out by itself.
        "deployment = \"runner\"",
        "ous = [\"root\"]",
    );
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&document, "changed"), 12);
    rehearsal
}

#[test]
fn a_suspended_account_keeps_its_place_and_is_reported() {
    let rehearsal = enrolled();
    let account = rehearsal.members()[0].clone();
    rehearsal.post(&format!("accounts/{account}/suspend"), &json!({}));
    let calls = rehearsal.calls();
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(
        listed(&document, "skipped", "suspended"),
        [account.as_str()]
    );
    assert_eq!(document["steps"], json!([]));
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    assert_eq!(rehearsal.links_of(&account).len(), 1);
}

#[test]
fn a_closed_account_is_taken_out_past_its_grace_and_its_spot_account_stays() {
    let rehearsal = enrolled();
    let [protected, closed, ..] = &rehearsal.members()[..] else {
        panic!("too few members")
    };
    for account in [protected, closed] {
        rehearsal.post(&format!("accounts/{account}/close"), &json!({}));
    }
    rehearsal.until("the accounts are closed", || {
        let closed = rehearsal.account_ids(|account| account["state"] == "CLOSED");
        (closed.len() == 2).then_some(())
    });
    rehearsal.configure("", "deployment = \"runner\"", "ous = [\"root\"]");
    let waiting = rehearsal.sync_ends(0, &[]);
    assert_eq!(
        waiting["steps"],
        json!([]),
        "the grace period has not passed"
    );

    rehearsal.configure(
        &format!("protected_accounts = [{protected:?}]\n[removal]\nclosed_grace = \"0s\"\n"),
        "deployment = \"runner\"",
        "ous = [\"root\"]",
    );
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(
        document["steps"][0]["action"], "delete-stack-instances",
        "{document:#}"
    );
    assert_eq!(document["steps"][0]["accounts"], 1);
    assert_eq!(rehearsal.instances().values().sum::<u64>(), 11);
    assert_eq!(rehearsal.links_of(closed).len(), 1);
    assert_eq!(rehearsal.sync_ends(0, &[])["steps"], json!([]));
}

#[test]
fn a_departed_account_is_taken_out_but_not_when_too_many_left() {
    let rehearsal = enrolled();
    let members = rehearsal.members();
    rehearsal.post(&format!("accounts/{}/remove", members[0]), &json!({}));
    rehearsal.until_operations_end();
    let document = rehearsal.sync_ends(0, &[]);
    let mut left = rehearsal.instances().values().sum::<u64>();
    assert_eq!(left, 11, "{document:#}");
    assert_eq!(rehearsal.links_of(&members[0]).len(), 1);

    for account in &members[1..4] {
        rehearsal.post(&format!("accounts/{account}/remove"), &json!({}));
    }
    rehearsal.until_operations_end();
    left = rehearsal.instances().values().sum::<u64>();
    let calls = rehearsal.calls();
    let document = rehearsal.sync_ends(4, &[]);
    assert_eq!(
        document["refusals"][0]["guard"], "shrink-guard",
        "{document:#}"
    );
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    assert_eq!(rehearsal.instances().values().sum::<u64>(), left);
    // The smaller listing does not become the measure by being seen twice.
    rehearsal.sync_ends(4, &[]);
}
