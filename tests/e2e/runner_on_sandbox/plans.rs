//! Plans that somebody looks at before they are applied: written to a file, or kept until they are approved.

use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use super::*;

impl Rehearsal {
    /// `runner plan stackset-sync -o plan.json`, which has something to do.
    #[track_caller]
    fn planned(&self) -> Ended {
        let file = self.path("plan.json");
        let ended = self.run(&["plan", "stackset-sync", "-o", file.to_str().unwrap()]);
        assert_eq!(ended.code, 3, "{}{}", ended.stdout, ended.stderr);
        ended
    }

    /// `runner --output json apply plan.json`, with its document.
    #[track_caller]
    fn apply_ends(&self, code: i32) -> Value {
        let file = self.path("plan.json");
        let ended = self.run(&["--output", "json", "apply", file.to_str().unwrap()]);
        assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
        let document = ended.json().unwrap();
        assert_adds_up(&document);
        document
    }

    /// The job has this besides its kind.
    fn define(&self, settings: &str) {
        let job = format!("kind = \"stackset-sync\"\n{settings}\n");
        self.write("config/jobs/stackset-sync.toml", &job);
    }

    /// `runner --output json runs approve …`.
    #[track_caller]
    fn approve(&self, run: &str, code: i32) -> Ended {
        let approve = [
            "--output",
            "json",
            "runs",
            "approve",
            run,
            "--as",
            "ada",
            "--comment",
            "looked at it",
        ];
        let ended = self.run(&approve);
        assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
        ended
    }
}

#[test]
fn a_plan_is_read_written_down_and_applied_as_it_was() {
    let rehearsal = Rehearsal::new(SMALL);
    let (calls, before) = (rehearsal.calls(), rehearsal.spot_accounts());
    let planned = rehearsal.planned().stdout;
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    let member = &rehearsal.members()[0];
    for words in [
        "create-stack-set:default",
        "create-stack-instances:default:1",
        "risk: medium",
        member,
        "missing-instance",
        "takes: about",
        "runner apply",
    ] {
        assert!(planned.contains(words), "{words}: {planned}");
    }
    let mode = fs::metadata(rehearsal.path("plan.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let applied = rehearsal.apply_ends(0);
    assert_eq!(count(&applied, "changed"), 8);
    assert_eq!(applied["moved"], Value::Null, "{applied:#}");
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);

    // Once more, there is nothing of it to do.
    let calls = rehearsal.calls();
    let again = rehearsal.apply_ends(0);
    let moved = again["moved"].as_array().unwrap();
    assert!(moved.iter().all(|one| one["is_due"] == false), "{again:#}");
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
}

#[test]
fn what_nobody_looked_at_is_left_to_the_next_plan() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.configure("", "deployment = \"runner\"", "ous = [\"root\"]");
    rehearsal.planned();
    let unit = text(&rehearsal.admin("ous", None)["ous"][1]["id"]);
    let joined = rehearsal.post("accounts", &json!({ "name": "newcomer", "ou": unit }));
    let joined = text(&joined["id"]);
    let closed = rehearsal
        .members()
        .into_iter()
        .find(|account| *account != joined)
        .unwrap();
    rehearsal.post(&format!("accounts/{closed}/close"), &json!({}));

    let applied = rehearsal.apply_ends(3);
    assert_eq!(count(&applied, "changed"), 7, "{applied:#}");
    assert_eq!(
        listed(&applied, "skipped", "moved"),
        std::slice::from_ref(&joined),
        "{applied:#}"
    );
    assert_eq!(
        applied["moved"][0]["accounts"],
        json!([joined]),
        "{applied:#}"
    );
    assert_eq!(rehearsal.links_of(&joined), []);
    assert_eq!(rehearsal.links_of(&closed), []);

    let next = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&next, "changed"), 1, "{next:#}");
}

#[test]
fn a_plan_is_void_when_what_it_was_made_from_is_another() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.planned();
    let calls = rehearsal.calls();
    let refused = |words: &str, guard: &str| {
        let applied = rehearsal.apply_ends(4);
        assert_eq!(applied["refusals"][0]["guard"], guard, "{applied:#}");
        let message = text(&applied["refusals"][0]["message"]);
        assert!(message.contains(words), "{message}");
        assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    };
    let policy = "config/policies/spot-elastigroup-ocean.json";
    let text = fs::read_to_string(rehearsal.path(policy)).unwrap();
    rehearsal.write(
        policy,
        &text.replace("ec2:RunInstances", "ec2:RunScheduledInstances"),
    );
    refused(
        "the policy policies/spot-elastigroup-ocean.json, the template of",
        "plan-void",
    );
    rehearsal.write(policy, &text);

    rehearsal.configure("[removal]\nmax_removals = 20\n", "", "ous = [\"root\"]");
    refused("the guard rails", "plan-void");
    rehearsal.configure("", "", "ous = [\"root\"]");
    rehearsal.define("[params]\nprofiles = [\"default\"]");
    refused("the job's definition", "plan-void");
    rehearsal.define("");

    let file = rehearsal.path("plan.json");
    let file = file.to_str().unwrap();
    let short = ["plan", "stackset-sync", "-o", file, "--valid-for", "0s"];
    assert_eq!(rehearsal.run(&short).code, 3);
    refused("expired", "plan-expired");
    rehearsal.write("plan.json", "{}");
    let unreadable = rehearsal.run(&["apply", file]);
    assert_eq!(unreadable.code, 2, "{}", unreadable.stderr);
    assert!(
        unreadable.stderr.contains("runner plan"),
        "{}",
        unreadable.stderr
    );
}

#[test]
fn a_changed_policy_is_planned_in_words() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.sync_ends(0, &[]);
    let policy = "config/policies/spot-elastigroup-ocean.json";
    let mut document: Value =
        serde_json::from_str(&fs::read_to_string(rehearsal.path(policy)).unwrap()).unwrap();
    let statements = document["Statement"].as_array_mut().unwrap();
    statements.push(json!({"Sid": "Another", "Effect": "Allow", "Action": "glacier:ListVaults", "Resource": "*"}));
    rehearsal.write(policy, &document.to_string());
    let planned = rehearsal.planned().stdout;
    for words in [
        "update-stack-set:default",
        "widened",
        "Another",
        "+ glacier:ListVaults on *",
        "is the same",
    ] {
        assert!(planned.contains(words), "{words}: {planned}");
    }
    assert_eq!(count(&rehearsal.apply_ends(0), "changed"), 8);
}

#[test]
fn a_job_that_needs_an_approval_waits_for_it_and_does_exactly_that() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.define("approval = \"required\"");
    let calls = rehearsal.calls();
    let first = rehearsal.sync_ends(4, &[]);
    let waiting = rehearsal.sync_ends(4, &[]);
    assert_eq!(waiting["status"], "waiting");
    assert_eq!(waiting["steps"][0]["outcome"], "planned", "{waiting:#}");
    assert!(waiting["waits_until"].is_string(), "{waiting:#}");
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());

    // The same plan keeps its name; another one replaces it, and a plan in a file does not go past the approval.
    assert_eq!(waiting["plan_of"], first["run_id"], "{waiting:#}");
    let unit = text(&rehearsal.admin("ous", None)["ous"][1]["id"]);
    rehearsal.post("accounts", &json!({ "name": "newcomer", "ou": unit }));
    let waiting = rehearsal.sync_ends(4, &[]);
    assert_eq!(waiting["plan_of"], waiting["run_id"], "{waiting:#}");
    let replaced = rehearsal.approve(&text(&first["run_id"]), 4);
    assert!(replaced.stderr.contains("newer run"), "{}", replaced.stderr);
    let planned = rehearsal.planned().stdout;
    assert!(!planned.contains("runner apply"), "{planned}");
    let file = rehearsal.path("plan.json");
    let refused = rehearsal.run(&["apply", file.to_str().unwrap()]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("runs approve"),
        "{}",
        refused.stderr
    );
    assert_eq!(rehearsal.run(&["runs", "approve", "none"]).code, 2);
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());

    // Who approves it sees what it does.
    let run = text(&waiting["run_id"]);
    let shown = rehearsal.run(&["runs", "show", &run]).stdout;
    for words in [
        "create-stack-instances:default",
        "missing-instance",
        "takes: about",
        &rehearsal.members()[0],
        "waiting",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }

    // An approval that comes to nothing is none for later.
    let freeze = |arguments: &[&str]| {
        let ended = rehearsal.run(&[&["freeze"], arguments].concat());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
    };
    freeze(&["on", "--reason", "CHG-1234"]);
    let frozen = rehearsal.approve(&run, 4).json().unwrap();
    assert_eq!(frozen["refusals"][0]["guard"], "freeze", "{frozen:#}");
    freeze(&["off"]);
    assert_eq!(rehearsal.sync_ends(4, &[])["plan_of"], run.as_str());
    let applied = rehearsal.approve(&run, 0).json().unwrap();
    assert_eq!(count(&applied, "changed"), 9, "{applied:#}");
    let twice = rehearsal.approve(&run, 4);
    assert!(twice.stderr.contains("ada (arn:aws:"), "{}", twice.stderr);
    let shown = rehearsal
        .run(&["--output", "json", "runs", "show", &run])
        .json()
        .unwrap();
    assert_eq!(shown["run"]["state"], "waiting");
    assert_eq!(shown["plan"]["state"], "applied", "{shown:#}");
    assert_eq!(shown["plan"]["approval"]["comment"], "looked at it");
    assert_eq!(shown["plan"]["applied_by"], applied["run_id"]);
    // Nothing is left to approve.
    assert_eq!(rehearsal.sync_ends(0, &[])["status"], "done");
}

#[test]
fn an_approved_plan_is_continued_after_a_crash_without_another_approval() {
    let rehearsal = Rehearsal::new(&SMALL.replace("120.0", "30.0"));
    rehearsal.define("approval = \"required\"");
    let before = rehearsal.spot_accounts();
    let waiting = rehearsal.sync_ends(4, &[]);
    let run = text(&waiting["run_id"]);
    let mut approving = rehearsal.runner.start(&["runs", "approve", &run]).unwrap();
    rehearsal.until("the stack set is there", || {
        approving.check().unwrap();
        rehearsal
            .calls()
            .contains_key("cloudformation:CreateStackSet")
            .then_some(())
    });
    approving.signal(Signal::KILL).unwrap();
    assert!(approving.wait(LIMIT).is_err(), "a signal ended it");
    let continued = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&continued, "ok"), 8, "{continued:#}");
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
}

#[test]
fn a_freeze_stops_runs_and_requests_until_it_ends() {
    let rehearsal = Rehearsal::new(SMALL);
    let freeze = |arguments: &[&str]| {
        let ended = rehearsal.run(&[&["--output", "json", "freeze"], arguments].concat());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.json().unwrap()
    };
    let on = freeze(&["on", "--reason", "CHG-1234", "--as", "ada"]);
    assert_eq!(on["freeze"]["reason"], "CHG-1234", "{on:#}");
    let second = rehearsal.run(&["freeze", "on", "--reason", "another", "--as", "bob"]);
    assert_eq!(second.code, 4, "the first one stands");
    assert!(second.stderr.contains("ada"), "{}", second.stderr);
    let calls = rehearsal.calls();
    let refused = rehearsal.sync_ends(4, &[]);
    assert_eq!(refused["refusals"][0]["guard"], "freeze");
    assert!(text(&refused["refusals"][0]["message"]).contains("CHG-1234"));
    rehearsal.sync_ends(3, &["--dry-run"]);
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());

    // AWS goes on deploying; its stacks are answered, and nothing happens at Spot.
    freeze(&["off"]);
    rehearsal.sync_ends(0, &[]);
    freeze(&["on", "--reason", "CHG-1235"]);
    let before = rehearsal.spot_accounts();
    let unit = text(&rehearsal.admin("ous", None)["ous"][1]["id"]);
    let joined = rehearsal.post("accounts", &json!({ "name": "newcomer", "ou": unit }));
    let joined = text(&joined["id"]);
    rehearsal.until("the newcomer's stack is answered", || {
        assert_eq!(rehearsal.run(&["provider", "--once"]).code, 0);
        let row = rehearsal.standing(&joined);
        text(&row["detail"]).contains("CHG-1235").then_some(())
    });
    assert_eq!(rehearsal.spot_accounts(), before);
    assert_eq!(freeze(&["off"])["frozen"], false);
    rehearsal.sync_ends(0, &["--retry-failed"]);
    assert_eq!(rehearsal.links_of(&joined).len(), 1);
}

#[test]
fn a_freeze_in_the_middle_of_an_update_leaves_no_stack_beyond_repair() {
    let rehearsal = Rehearsal::new(&SMALL.replace("120.0", "15.0"));
    rehearsal.sync_ends(0, &[]);
    let policy = "config/policies/spot-elastigroup-ocean.json";
    let text = fs::read_to_string(rehearsal.path(policy)).unwrap();
    rehearsal.write(
        policy,
        &text.replace("ec2:RunInstances", "ec2:RunScheduledInstances"),
    );
    // One account after the other, so that there is a middle.
    rehearsal.configure("[stack_set]\nmax_concurrent = 1\n", "", "ous = [\"root\"]");
    let calls = rehearsal.calls();
    let mut run = rehearsal
        .runner
        .start(&["--output", "json", "exec", "stackset-sync"])
        .unwrap();
    rehearsal.until("the update begins", || {
        run.check().unwrap();
        rehearsal
            .writes_since(&calls)
            .contains("cloudformation:UpdateStackSet")
            .then_some(())
    });
    let frozen = rehearsal.run(&["freeze", "on", "--reason", "CHG-1234"]);
    assert_eq!(frozen.code, 0, "{}", frozen.stderr);
    assert_eq!(run.wait(LIMIT).unwrap(), 4, "{}", run.stderr().unwrap());
    let document: Value = serde_json::from_str(&run.stdout().unwrap()).unwrap();
    assert_eq!(document["refusals"][0]["guard"], "freeze", "{document:#}");
    rehearsal.until_operations_end();
    assert_eq!(rehearsal.run(&["freeze", "off"]).code, 0);
    let after = rehearsal.sync_ends(0, &["--retry-failed"]);
    assert_eq!(count(&after, "ok"), 8, "{after:#}");
}
