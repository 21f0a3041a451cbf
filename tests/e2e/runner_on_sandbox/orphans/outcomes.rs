//! What becomes of a deletion: its answer is lost, its end is never written down, or it is undone.

use super::*;

#[test]
fn a_deletion_whose_answer_is_lost_is_settled_by_looking() {
    for (kind, number) in [("drop_after", 0), ("drop_before", 1), ("server_error", 2)] {
        let rehearsal = Rehearsal::enrolled(SMALL, "max_shrink = \"20%\"", "");
        let account = rehearsal.members()[number].clone();
        let spot = rehearsal.departs(&account);
        let fault = json!({ "service": "spot", "operation": "DELETE /setup/account/{accountId}",
            "kind": kind, "times": 1 });
        rehearsal.post("faults", &fault);
        let done = rehearsal.cleanup_ends(0, AT_ONCE, &["--yes"]);
        assert_eq!(count(&done, "changed"), 1, "{kind}: {done:#}");
        assert!(!rehearsal.is_at_spot(&spot.id), "{kind}");
        let shown = rehearsal.undo_ends(3, &text(&done["run_id"]), &["--dry-run"]);
        assert_eq!(count(&shown, "planned"), 1, "{kind}: {shown:#}");
    }
}

#[test]
fn a_deletion_whose_end_was_never_written_down_is_settled_by_the_next_run() {
    let rehearsal = Rehearsal::enrolled(SMALL, "max_shrink = \"20%\"", "");
    let Some(state) = StateFile::of(&rehearsal) else {
        return;
    };
    rehearsal.departs(&rehearsal.members()[0].clone());
    let done = rehearsal.cleanup_ends(0, AT_ONCE, &["--yes"]);
    let run = text(&done["run_id"]);
    // As when the process had died between Spot's answer and this note.
    state.rows("UPDATE deletions SET deleted_at = NULL");
    state.rows(
        "UPDATE kv SET value = json_set(value, '$.count', json_extract(value, '$.count') + 1) WHERE name = 'spot-accounts'",
    );
    rehearsal.undo_ends(0, &run, &["--dry-run"]);
    // Until that is found out it counts as one: another one may not go that day.
    let other = rehearsal.departs(&rehearsal.members()[1].clone());
    let one_a_day = format!("{AT_ONCE}\nmax_per_day = 1");
    let held = rehearsal.cleanup_ends(4, &one_a_day, &["--dry-run"]);
    assert_eq!(held["refusals"][0]["guard"], "max-per-day", "{held:#}");
    rehearsal.cleanup_ends(4, &one_a_day, &["--yes"]);
    assert!(rehearsal.is_at_spot(&other.id));
    // What we deleted is counted as missing once.
    let listed = state.rows(
        "SELECT json_extract(value, '$.count') AS count FROM kv WHERE name = 'spot-accounts'",
    );
    assert_eq!(listed[0]["count"], json!(rehearsal.spot_accounts().len()));
    let shown = rehearsal.undo_ends(3, &run, &["--dry-run"]);
    assert_eq!(count(&shown, "planned"), 1, "{shown:#}");
    assert_eq!(rehearsal.deletions(), 1);
}

const POLICY: &str = "pol-b1b2c3d4";

#[test]
fn undoing_takes_no_spot_account_that_is_there_and_shows_it_to_nobody() {
    let rehearsal = Rehearsal::new(&format!("{THIRTY}[spot]\nuser_groups = 1\n"));
    let Some(state) = StateFile::of(&rehearsal) else {
        return;
    };
    let group = text(&rehearsal.admin("spot", None)["user_groups"][0]["id"]);
    let access = format!("access = [{{ user_group = {group:?}, policy = {POLICY:?} }}]");
    rehearsal.configure(
        "[removal]\nclosed_grace = \"0s\"\n",
        &access,
        "ous = [\"root\"]",
    );
    rehearsal.sync_ends(0, &[]);
    rehearsal.cleanup_ends(0, "", &[]);
    // We made two for this account, and the second was linked by somebody; a group sees both.
    let account = rehearsal.members()[0].clone();
    let first = rehearsal.links_of(&account)[0].clone();
    rehearsal.open_role(&account);
    let second = rehearsal.link_by_hand(&account);
    state.rows(&format!(
        "UPDATE intents SET assigned = '{second}', created_by = 'arn:aws:cloudformation:us-east-1:{account}:stack/s/u' \
         WHERE account = '{account}'"
    ));
    let params = format!("{AT_ONCE}\nduplicates = [{second:?}]");
    let done = rehearsal.cleanup_ends(0, &params, &["--yes"]);
    assert!(!rehearsal.is_at_spot(&second));
    // As when another group had seen it.
    state.rows(&format!(
        "UPDATE deletions SET record = json_set(record, '$.user_groups', json_object('{group}', json_array('pol-c1b2c3d4')))"
    ));
    let run = text(&done["run_id"]);
    let (calls, before) = (rehearsal.calls(), rehearsal.spot_accounts());
    let undone = rehearsal.undo_ends(3, &run, &["--yes"]);
    let said = &found(&undone, "not-recreated")[0];
    for id in [&second, &first.id] {
        assert!(said.contains(id.as_str()), "{said}");
    }
    assert_eq!(undone["steps"], json!([]));
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    assert_eq!(rehearsal.spot_accounts(), before);
    // And its own stack still owns it alone.
    let rows = state.rows("SELECT * FROM owners WHERE stack_id LIKE '%/undo'");
    assert_eq!(rows, Vec::<Value>::new());
}

#[test]
fn an_account_that_got_another_spot_account_meanwhile_keeps_it_when_its_deletion_is_undone() {
    let rehearsal = Rehearsal::enrolled(THIRTY, "", "deployment = \"runner\"");
    let account = rehearsal.members()[0].clone();
    let old = rehearsal.links_of(&account)[0].clone();
    rehearsal.post(&format!("accounts/{account}/close"), &json!({}));
    rehearsal.until("the account is closed", || {
        let closed = rehearsal.account_ids(|one| one["state"] == "CLOSED");
        (closed.len() == 1).then_some(())
    });
    let done = rehearsal.cleanup_ends(0, AT_ONCE, &["--yes"]);
    rehearsal.post(&format!("accounts/{account}/activate"), &json!({}));
    rehearsal.sync_ends(0, &[]);
    let new = rehearsal.links_of(&account);
    assert!(new.len() == 1 && new[0].id != old.id, "{new:?}");
    let undone = rehearsal.undo_ends(3, &text(&done["run_id"]), &["--yes"]);
    assert!(found(&undone, "not-recreated")[0].contains(&new[0].id));
    assert_eq!(rehearsal.links_of(&account), new);
}

#[test]
fn nothing_is_deleted_while_the_default_account_that_is_named_is_not_listed() {
    let rehearsal = Rehearsal::enrolled(SMALL, "max_shrink = \"20%\"", "");
    let spot = rehearsal.departs(&rehearsal.members()[0].clone());
    let typo = format!("{AT_ONCE}\ndefault_account = \"act-nobody00\"");
    let refused = rehearsal.cleanup_ends(4, &typo, &["--yes"]);
    assert_eq!(
        refused["refusals"][0]["guard"], "default-account",
        "{refused:#}"
    );
    assert!(rehearsal.is_at_spot(&spot.id));
    let oldest = rehearsal.spot_accounts()[0].id.clone();
    let named = format!("{AT_ONCE}\ndefault_account = {oldest:?}");
    rehearsal.cleanup_ends(0, &named, &["--yes"]);
    assert!(!rehearsal.is_at_spot(&spot.id));
}
