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

    fn protect(&self, account: &str, stack: &str, protected: &str) {
        let input = [
            ("StackName", stack),
            ("EnableTerminationProtection", protected),
        ];
        let (service, action) = ("cloudformation", "UpdateTerminationProtection");
        in_account(&self.rehearsal, account, service, action, &input).unwrap();
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

#[test]
fn a_run_that_is_told_to_end_leaves_a_deletion_to_cloudformation_and_the_next_one_goes_on() {
    let left = Left::new();
    let rehearsal = &left.rehearsal;
    let account = &left.members[0];
    let stack = left.stack_of_moved(account);
    rehearsal.define_cleanup(&format!("[params]\n{AT_ONCE}\n{OUTSIDE}\n{ONE}"));
    rehearsal.post("clock", &json!({ "speed": 1.0 }));
    let arguments = ["--output", "json", "exec", "orphan-cleanup", "--yes"];
    let mut run = rehearsal.runner.start(&arguments).unwrap();
    rehearsal.until("CloudFormation is asked", || {
        run.check().unwrap();
        (left.asked() > 0).then_some(())
    });
    run.signal(Signal::TERM).unwrap();
    let ended = run.wait(COMMAND_LIMIT).unwrap();
    let told: Value = serde_json::from_str(&run.stdout().unwrap()).unwrap();
    assert_eq!(ended, 130, "{told:#}");
    let said = super::super::moment::notes(&told);
    let words = format!("CloudFormation goes on deleting stack {stack}; the next run looks");
    assert_eq!(said[0], words, "{told:#}");
    assert_eq!(rehearsal.links_of(account).len(), 1);

    rehearsal.post("clock", &json!({ "speed": 120.0 }));
    let params = format!("{AT_ONCE}\n{OUTSIDE}\n{ONE}");
    let done = rehearsal.cleanup_ends(0, &params, &["--yes"]);
    assert_eq!(count(&done, "changed"), 1, "{done:#}");
    assert_eq!((left.asked(), rehearsal.links_of(account).len()), (1, 0));
    let told = left.undoing(&done);
    assert!(
        told.contains(&stack) && told.contains("its parameters were"),
        "{told}"
    );
}

#[test]
fn a_spot_account_whose_stack_is_gone_goes_with_a_later_run_and_undoing_tells_of_the_stack() {
    let left = Left::new();
    let rehearsal = &left.rehearsal;
    let account = &left.members[0];
    let stack = left.stack_of_moved(account);
    let (service, operation) = DELETE.split_once(':').unwrap();
    let fault = json!({ "service": service, "operation": operation, "kind": "server_error" });
    rehearsal.post("faults", &fault);
    let params = format!("{AT_ONCE}\n{OUTSIDE}\n{ONE}");
    let failed = rehearsal.cleanup_ends(1, &params, &["--yes"]);
    assert_eq!(failed["steps"][0]["outcome"], "changed", "{failed:#}");
    assert_eq!(failed["steps"][1]["outcome"], "failed", "{failed:#}");
    assert_eq!(
        left.status(account, &stack).as_deref(),
        Some("DELETE_COMPLETE")
    );
    let cleared = rehearsal.wire.admin_delete("faults");
    rehearsal.runtime.block_on(cleared).unwrap();

    let done = rehearsal.cleanup_ends(0, &params, &["--yes"]);
    assert_eq!(count(&done, "changed"), 1, "{done:#}");
    assert_eq!((left.asked(), rehearsal.links_of(account).len()), (1, 0));
    let first = text(&failed["run_id"]);
    let words = format!("run {first} deleted stack {stack}; its parameters were");
    let told = left.undoing(&done);
    assert!(told.contains(&words), "{words}: {told}");
}

#[test]
fn a_stack_that_somebody_protects_is_kept_and_uses_no_limit_up() {
    let left = Left::new();
    let rehearsal = &left.rehearsal;
    let [account, gone, ..] = &left.members[..] else {
        panic!("{:?}", left.members)
    };
    let stack = left.stack_of_moved(account);
    left.protect(account, &stack, "true");
    let params = format!("{AT_ONCE}\n{OUTSIDE}\n{ONE}");
    // From now on it is the older one.
    let kept = rehearsal.cleanup_ends(3, &params, &["--yes"]);
    assert_eq!(kept["steps"], json!([]), "{kept:#}");
    let said = &found(&kept, "stack-remains")[0];
    let command = format!(
        "aws cloudformation update-termination-protection --no-enable-termination-protection --region us-east-1 --stack-name {stack}"
    );
    assert!(said.contains(&command), "{said}");
    let spot = rehearsal.departs(gone);
    // What keeps the other one is told all the same.
    let done = rehearsal.cleanup_ends(3, &params, &["--yes"]);
    assert_eq!(found(&done, "stack-remains").len(), 1, "{done:#}");
    assert_eq!(count(&done, "changed"), 1, "{done:#}");
    assert!(!rehearsal.is_at_spot(&spot.id));
    assert_eq!(
        (left.asked(), rehearsal.links_of(account).len()),
        (0, 1),
        "{done:#}"
    );

    left.protect(account, &stack, "false");
    let done = rehearsal.cleanup_ends(0, &format!("{AT_ONCE}\n{OUTSIDE}"), &["--yes"]);
    assert_eq!(count(&done, "changed"), 1, "{done:#}");
    assert_eq!(
        left.status(account, &stack).as_deref(),
        Some("DELETE_COMPLETE")
    );
}
