//! What is read once more right before something is removed: the world changes between a run's look and its deletions.

use super::*;

/// Answered late: whoever asks for one account by itself waits, while the test changes the world.
const ASKED: &str = "organizations:DescribeAccount";

impl Rehearsal {
    /// Runs the clean-up, and lets this happen when everything is planned and the first account is asked for by itself.
    /// The run's document; it must end so.
    #[track_caller]
    pub(super) fn cleanup_meets(&self, code: i32, params: &str, happens: impl FnOnce()) -> Value {
        self.define_cleanup(&format!("[params]\n{params}"));
        let (service, operation) = ASKED.split_once(':').unwrap();
        let fault = json!({ "service": service, "operation": operation, "kind": "throttle" });
        self.post("faults", &fault);
        let asked = |calls: &BTreeMap<String, u64>| calls.get(ASKED).copied().unwrap_or(0);
        let before = asked(&self.calls());
        let arguments = ["--output", "json", "exec", "orphan-cleanup", "--yes"];
        let mut run = self.runner.start(&arguments).unwrap();
        self.until("an account is asked for by itself", || {
            run.check().unwrap();
            (asked(&self.calls()) > before).then_some(())
        });
        happens();
        let cleared = self.wire.admin_delete("faults");
        self.runtime.block_on(cleared).unwrap();
        let ended = run.wait(COMMAND_LIMIT).unwrap();
        let document: Value = serde_json::from_str(&run.stdout().unwrap()).unwrap();
        assert_eq!(ended, code, "{document:#}");
        assert_adds_up(&document);
        document
    }

    /// A unit that an account is not in, below the root.
    fn other_unit(&self, account: &str) -> String {
        let accounts = self.accounts();
        let account = accounts.iter().find(|one| one["id"] == account).unwrap();
        let units = self.admin("ous", None);
        let mut units = units["ous"].as_array().unwrap().iter();
        let other = |unit: &&Value| !unit["parent"].is_null() && unit["id"] != account["parent"];
        text(&units.find(other).unwrap()["id"])
    }

    fn moves(&self, account: &str, unit: &str) {
        self.post(&format!("accounts/{account}/move"), &json!({ "ou": unit }));
    }

    fn closes(&self, account: &str) {
        self.post(&format!("accounts/{account}/close"), &json!({}));
        self.until("the account is closed", || {
            let closed = self.account_ids(|one| one["state"] == "CLOSED" && one["id"] == account);
            (closed.len() == 1).then_some(())
        });
    }
}

/// The notes of a run's steps.
pub(super) fn notes(document: &Value) -> Vec<String> {
    let steps = document["steps"].as_array().unwrap();
    steps.iter().map(|step| text(&step["note"])).collect()
}

#[test]
fn an_account_that_is_protected_by_then_keeps_its_instance_and_its_spot_account() {
    // Its stack instance goes first, or went before.
    for has_instance in [true, false] {
        let rehearsal = Rehearsal::enrolled(THIRTY, "", "deployment = \"runner\"");
        let account = rehearsal.members()[0].clone();
        rehearsal.closes(&account);
        if !has_instance {
            rehearsal.sync_ends(0, &[]);
            assert_eq!(rehearsal.instances().values().sum::<u64>(), 29);
        }
        let unit = rehearsal.other_unit(&account);
        let calls = rehearsal.calls();
        let params = format!("{AT_ONCE}\nprotected_ous = [{unit:?}]");
        let document = rehearsal.cleanup_meets(1, &params, || rehearsal.moves(&account, &unit));
        let notes = notes(&document);
        assert_eq!(notes.len(), 1 + usize::from(has_instance), "{document:#}");
        assert!(notes[0].contains("`protected_ous` has"), "{notes:?}");
        assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
        assert_eq!(rehearsal.links_of(&account).len(), 1);
        // Once it is listed there, nothing is planned any more.
        let later = rehearsal.cleanup_ends(0, &params, &["--yes"]);
        assert_eq!(listed(&later, "skipped", "protected"), [account.as_str()]);
    }
}

#[test]
fn a_stack_stays_where_something_runs_or_its_account_is_protected_by_then() {
    let rehearsal = Rehearsal::enrolled(THIRTY, "", "deployment = \"runner\"");
    let account = rehearsal.members()[0].clone();
    let spot = rehearsal.links_of(&account)[0].clone();
    rehearsal.configure(
        "[removal]\nclosed_grace = \"0s\"\n",
        "deployment = \"runner\"",
        &format!("ous = [\"root\"]\nexclude_accounts = [{account:?}]"),
    );
    let unit = rehearsal.other_unit(&account);
    let params = format!("{AT_ONCE}\nremove_outside_targets = true\nprotected_ous = [{unit:?}]");
    let running = format!("spot/{}/running", spot.id);
    let runs = |running_now: bool| rehearsal.post(&running, &json!({ "running": running_now }));
    let calls = rehearsal.calls();

    let met = rehearsal.cleanup_meets(1, &params, || drop(runs(true)));
    assert!(
        notes(&met)[0].contains("run in its Spot account"),
        "{met:#}"
    );
    runs(false);
    let suspend = format!("accounts/{account}/suspend");
    let met = rehearsal.cleanup_meets(1, &params, || drop(rehearsal.post(&suspend, &json!({}))));
    assert!(notes(&met)[0].contains("not active any more"), "{met:#}");
    rehearsal.post(&format!("accounts/{account}/activate"), &json!({}));
    let met = rehearsal.cleanup_meets(1, &params, || rehearsal.moves(&account, &unit));
    assert!(notes(&met)[0].contains("`protected_ous` has"), "{met:#}");

    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    assert_eq!(rehearsal.instances().values().sum::<u64>(), 30);
    assert_eq!(rehearsal.links_of(&account), [spot]);
}
