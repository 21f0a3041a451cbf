//! Stacks that were left and could not be deleted, or not at once: who goes first then, what uses the day up, and what undoing tells.

use super::*;

/// Runs that delete one at most.
const ONE: &str = "max_deletions = 1\nmax_per_day = 1";

impl Left {
    fn asked(&self) -> u64 {
        let calls = self.rehearsal.calls();
        calls.get(DELETE_STACK).copied().unwrap_or(0)
    }

    /// What undoing a run would tell.
    fn undoing(&self, document: &Value) -> String {
        let run = text(&document["run_id"]);
        let undone = self.rehearsal.undo_ends(3, &run, &["--dry-run"]);
        undone.to_string()
    }

    /// A person deletes a Spot account in Spot.
    fn person_deletes(&self, spot_account: &str) {
        let environment = &self.rehearsal.environment;
        let url = format!(
            "{}/setup/account/{spot_account}",
            environment["SPOT_API_URL"]
        );
        let request = wire::client().unwrap().delete(url);
        let request = request.bearer_auth(&environment["SPOTINST_TOKEN"]);
        let sent = async { request.send().await };
        let answer = self.rehearsal.runtime.block_on(sent).unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
    }

    fn no_deletion_is_written_down(&self) {
        if let Some(state) = StateFile::of(&self.rehearsal) {
            let rows = state.rows("SELECT * FROM deletions");
            assert_eq!(rows, Vec::<Value>::new());
        }
    }
}

#[test]
fn a_stack_that_may_not_be_deleted_uses_no_day_up_and_lets_others_go_first() {
    let left = Left::new();
    let rehearsal = &left.rehearsal;
    let [denied, gone, ..] = &left.members[..] else {
        panic!("{:?}", left.members)
    };
    let stack = left.stack_of_moved(denied);
    // DeleteStack alone: how the stack is can be asked.
    let path = format!("accounts/{denied}/scp");
    rehearsal.post(&path, &json!({ "blocked": true }));
    let params = format!("{AT_ONCE}\n{OUTSIDE}\n{ONE}");
    let refused = rehearsal.cleanup_ends(1, &params, &["--yes"]);
    let said = super::super::moment::notes(&refused);
    assert!(
        said[0].contains("service control policy denies it"),
        "{refused:#}"
    );
    assert_eq!(left.asked(), 1);

    // The same day, and although it is the older one.
    let spot = rehearsal.departs(gone);
    let done = rehearsal.cleanup_ends(4, &params, &["--yes"]);
    assert_eq!(count(&done, "changed"), 1, "{done:#}");
    assert_eq!(
        listed(&done, "skipped", "over-limit"),
        [denied.as_str()],
        "{done:#}"
    );
    assert!(!rehearsal.is_at_spot(&spot.id));
    assert_eq!(
        left.status(denied, &stack).as_deref(),
        Some("CREATE_COMPLETE")
    );

    // It leaves the organization, and its stack stays: no run has deleted that.
    let spot = rehearsal.departs(denied);
    let params = format!("{AT_ONCE}\n{OUTSIDE}");
    let done = rehearsal.cleanup_ends(0, &params, &["--yes"]);
    assert!(!rehearsal.is_at_spot(&spot.id), "{done:#}");
    let told = left.undoing(&done);
    assert!(
        told.contains(&spot.id) && !told.contains("its parameters were"),
        "{told}"
    );
    assert_eq!(left.asked(), 1);
}

#[test]
fn a_spot_account_that_a_person_deleted_after_its_stack_could_not_be_is_not_our_deletion() {
    let left = Left::new();
    let rehearsal = &left.rehearsal;
    let [account, gone, ..] = &left.members[..] else {
        panic!("{:?}", left.members)
    };
    let spot = rehearsal.links_of(account)[0].clone();
    let role = linked_role(rehearsal, account);
    left.moves(account, &left.with_role);
    let input = [
        ("RoleName", &*role),
        ("PolicyArn", "arn:aws:iam::aws:policy/ReadOnlyAccess"),
    ];
    rehearsal.iam(account, "AttachRolePolicy", &input);
    let params = format!("{AT_ONCE}\n{OUTSIDE}\n{ONE}");
    let failed = rehearsal.cleanup_ends(1, &params, &["--yes"]);
    left.person_deletes(&spot.id);

    // The next run finds that out, and it does not use the day up either.
    rehearsal.cleanup_ends(0, &params, &["--yes"]);
    let other = rehearsal.departs(gone);
    let done = rehearsal.cleanup_ends(0, &params, &["--yes"]);
    assert_eq!(count(&done, "changed"), 1, "{done:#}");
    assert!(!rehearsal.is_at_spot(&other.id));
    let run = text(&failed["run_id"]);
    let undone = rehearsal.undo_ends(0, &run, &["--dry-run"]);
    assert_eq!(undone["steps"], json!([]), "{undone:#}");
}

#[test]
fn a_freeze_in_the_moment_leaves_nothing_begun() {
    let left = Left::new();
    let rehearsal = &left.rehearsal;
    let account = &left.members[0];
    let stack = left.stack_of_moved(account);
    let freeze = |arguments: &[&str]| {
        let ended = rehearsal.run(&[&["freeze"], arguments].concat());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    };
    let params = format!("{AT_ONCE}\n{OUTSIDE}\n{ONE}");
    let met = rehearsal.cleanup_meets(4, &params, || freeze(&["on", "--reason", "incident 4711"]));
    assert_eq!(met["refusals"][0]["guard"], "freeze", "{met:#}");
    let said = super::super::moment::notes(&met);
    for words in ["frozen before the stack was deleted", "incident 4711"] {
        assert!(said[0].contains(words), "{words}: {met:#}");
    }
    assert_eq!(left.asked(), 0);
    assert_eq!(
        left.status(account, &stack).as_deref(),
        Some("CREATE_COMPLETE")
    );
    left.no_deletion_is_written_down();

    freeze(&["off"]);
    let done = rehearsal.cleanup_ends(0, &params, &["--yes"]);
    assert_eq!(count(&done, "changed"), 1, "{done:#}");
    assert_eq!(left.asked(), 1);
}
