//! The grace period: when it goes on, and when it begins anew.

use super::*;

const OLD: &str = "UPDATE orphans SET first_seen = first_seen - 1728000";

#[test]
fn the_grace_period_begins_anew_for_an_account_that_came_back_and_where_nobody_looked() {
    let rehearsal = Rehearsal::enrolled(THIRTY, "", "deployment = \"runner\"");
    let Some(state) = StateFile::of(&rehearsal) else {
        return;
    };
    let account = rehearsal.members()[0].clone();
    let close = |is_closed: bool| {
        let (action, expected) = match is_closed {
            true => ("close", "CLOSED"),
            false => ("activate", "ACTIVE"),
        };
        rehearsal.post(&format!("accounts/{account}/{action}"), &json!({}));
        rehearsal.until(expected, || {
            let all = rehearsal.account_ids(|one| one["state"] == expected);
            all.contains(&account).then_some(())
        });
    };
    let params = "apply = true\nmax_percent = \"100%\"";
    let waits = |words: &str| {
        let document = rehearsal.cleanup_ends(0, params, &["--yes"]);
        let skipped = document["skipped"].as_array().unwrap();
        assert_eq!(
            (skipped.len(), &skipped[0]["reason"]),
            (1, &json!("grace-period"))
        );
        let detail = text(&skipped[0]["detail"]);
        assert!(detail.contains(words), "{detail}");
        assert_eq!(document["steps"], json!([]));
        assert_eq!(rehearsal.deletions(), 0);
    };
    close(true);
    waits("in 14 d 0 h");
    // Somebody else than this job sees that it is back; then it is closed again. Its stack instance waits as well.
    state.rows(OLD);
    close(false);
    rehearsal.sync_ends(0, &[]);
    close(true);
    waits("in 14 d 0 h");
    assert_eq!(rehearsal.instances().values().sum::<u64>(), 30);
    // Nobody looked for four days: what was in between nobody knows.
    state.rows(OLD);
    state.rows("UPDATE orphans SET last_seen = last_seen - 345600");
    waits("no run had looked for 4 d 0 h (`max_gap`)");
    // A run that deletes nothing looks as well, and one that is only asked what it would do does not.
    state.rows(OLD);
    state.rows("UPDATE orphans SET last_seen = last_seen - 172800");
    rehearsal.cleanup_ends(3, "", &[]);
    state.rows("UPDATE orphans SET last_seen = last_seen - 172800");
    rehearsal.cleanup_ends(3, params, &["--dry-run"]);
    let done = rehearsal.cleanup_ends(0, params, &["--yes"]);
    assert_eq!((count(&done, "changed"), rehearsal.deletions()), (1, 1));
}

#[test]
fn instances_of_accounts_that_wait_stay_and_those_that_go_are_agreed_to() {
    let rehearsal = Rehearsal::enrolled(THIRTY, "", "deployment = \"runner\"");
    let members = rehearsal.members();
    for account in &members[..2] {
        rehearsal.post(&format!("accounts/{account}/close"), &json!({}));
    }
    rehearsal.until("the accounts are closed", || {
        let closed = rehearsal.account_ids(|one| one["state"] == "CLOSED");
        (closed.len() == 2).then_some(())
    });
    let accounts = rehearsal.accounts();
    let name = accounts.iter().find(|one| one["id"] == members[1].as_str());
    let params = format!("{AT_ONCE}\nprotected_names = [{}]", name.unwrap()["name"]);
    let calls = rehearsal.calls();
    rehearsal.define_cleanup(&format!("[params]\n{params}"));
    let asked = rehearsal.run(&["exec", "orphan-cleanup"]);
    assert_eq!(asked.code, 4, "{}", asked.stderr);
    let words = "delete 1 Spot accounts, take out 1 stack instances";
    assert!(asked.stderr.contains(words), "{}", asked.stderr);
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());

    rehearsal.cleanup_ends(0, &params, &["--yes"]);
    assert_eq!(rehearsal.instances().values().sum::<u64>(), 29);
    assert_eq!(rehearsal.links_of(&members[0]), []);
    assert_eq!(rehearsal.links_of(&members[1]).len(), 1);
}
