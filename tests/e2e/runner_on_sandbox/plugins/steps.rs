//! The steps of plugins: planned, guarded, approved, applied, retried, remembered and reported like those of any kind.

use rustix::process::Signal;

use super::*;

#[test]
fn a_plugin_plans_and_applies_like_any_kind() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    let kind = rehearsal.rogue("fine", "");
    let given = rehearsal.given();
    let calls = rehearsal.calls();

    let planned = rehearsal.exec_ends(&kind, 3, &["--dry-run"]);
    assert_eq!(planned["kind"], *kind);
    assert_eq!(count(&planned, "planned"), given.len());
    assert_eq!(rehearsal.log(), "", "a dry run does nothing");

    let document = rehearsal.exec_ends(&kind, 0, &[]);
    assert_eq!(count(&document, "changed"), given.len());
    assert_eq!(rehearsal.files("made"), given);
    let again = rehearsal.exec_ends(&kind, 0, &[]);
    assert_eq!(count(&again, "unchanged"), given.len());
    assert_eq!(steps(&again), Vec::<String>::new());
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());

    // The journal has each step and attempt.
    let shown = rehearsal.run(&[
        "--output",
        "json",
        "runs",
        "show",
        &text(&document["run_id"]),
    ]);
    let shown = shown.json().unwrap();
    assert_eq!(shown["run"]["kind"], *kind, "{shown:#}");
    assert!(
        shown.to_string().contains(&format!("make:{}", given[0])),
        "{shown:#}"
    );
    let said = rehearsal.run(&["exec", &kind]).stdout;
    assert!(
        said.contains("SETTLED") && !said.contains("ENROLLED"),
        "{said}"
    );
}

#[test]
fn a_plan_that_was_looked_at_is_applied_and_nothing_else() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    let kind = rehearsal.rogue("fine", "");
    let given = rehearsal.given();
    rehearsal.write(&format!("made/{}", given[0]), "");
    let planned = rehearsal.run(&["plan", &kind, "-o", "plan.json"]);
    assert_eq!(planned.code, 3, "{}", planned.stderr);
    for words in ["make:", "why: there is no file", "risk: low", "step-due"] {
        assert!(
            planned.stdout.contains(words),
            "{words}: {}",
            planned.stdout
        );
    }
    // What came up since was not looked at.
    fs::remove_file(rehearsal.path(&format!("made/{}", given[0]))).unwrap();
    let applied = rehearsal.run(&["--output", "json", "apply", "plan.json"]);
    assert_eq!(applied.code, 3, "{}", applied.stderr);
    let document = applied.json().unwrap();
    assert_adds_up(&document);
    assert_eq!(listed(&document, "skipped", "moved"), given[..1]);
    assert_eq!(rehearsal.files("made"), given[1..]);

    // Another program under the same name is another plan.
    let planned = rehearsal.run(&["plan", &kind, "-o", "plan.json"]);
    assert_eq!(planned.code, 3);
    let program = rehearsal.path(&format!("config/plugins/runner-job-{kind}"));
    let replaced = fs::read_to_string(&program).unwrap() + "\n# another version\n";
    let rights = fs::metadata(&program).unwrap().permissions();
    fs::remove_file(&program).unwrap();
    fs::write(&program, replaced).unwrap();
    fs::set_permissions(&program, rights).unwrap();
    let applied = rehearsal.run(&["--output", "json", "apply", "plan.json"]);
    assert_eq!(applied.code, 4, "{}", applied.stderr);
    assert!(
        applied.stdout.contains(&format!("the plugin {kind}")),
        "{}",
        applied.stdout
    );
    assert_eq!(rehearsal.files("made"), given[1..]);
}

#[test]
fn a_plan_that_needs_an_approval_waits_for_it() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    let kind = rehearsal.rogue("fine", "");
    rehearsal.define_plugin_job(&kind, "approval = \"required\"", "");
    let held = rehearsal.exec_ends(&kind, 4, &[]);
    assert_eq!(held["status"], "waiting");
    assert_eq!(rehearsal.log(), "");
    let approve = [
        "--output",
        "json",
        "runs",
        "approve",
        &text(&held["run_id"]),
        "--as",
        "ada",
    ];
    let approved = rehearsal.run(&approve);
    assert_eq!(approved.code, 0, "{}{}", approved.stdout, approved.stderr);
    assert_eq!(rehearsal.files("made"), rehearsal.given());
}

#[test]
fn a_removal_needs_the_jobs_word_and_a_protected_account_gets_no_step() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    let given = rehearsal.given();
    let kind = rehearsal.rogue("removal", "");
    let refused = rehearsal.exec_ends(&kind, 4, &[]);
    assert_eq!(
        refused["refusals"][0]["guard"], "removals-off",
        "{refused:#}"
    );
    assert!(text(&refused["refusals"][0]["message"]).contains("apply_removals"));
    assert_eq!(listed(&refused, "skipped", "plugin-skipped"), given[..1]);
    assert_eq!(count(&refused, "changed"), given.len() - 1);
    assert!(!rehearsal.log().contains("removed"));

    // The command line cannot say that.
    let set = rehearsal.run(&["--set", "params.apply_removals=true", "exec", &kind]);
    assert_eq!(set.code, 2, "{}", set.stderr);
    rehearsal.define_plugin_job(&kind, "", "apply_removals = true");
    rehearsal.exec_ends(&kind, 0, &[]);
    assert!(rehearsal.log().contains("removed"));

    let kind = rehearsal.rogue("fine", "");
    fs::remove_dir_all(rehearsal.path("made")).unwrap();
    fs::create_dir(rehearsal.path("made")).unwrap();
    rehearsal.bound(LIMITS, &format!("protected_accounts = [{:?}]", given[2]));
    let refused = rehearsal.exec_ends(&kind, 4, &[]);
    assert_eq!(
        refused["refusals"][0]["guard"], "protected-accounts",
        "{refused:#}"
    );
    assert_eq!(listed(&refused, "skipped", "protected"), given[2..3]);
    assert!(!rehearsal.files("made").contains(&given[2]));
    assert_eq!(rehearsal.files("made").len(), given.len() - 1);
}

#[test]
fn steps_are_tried_again_and_asked_again_as_their_answers_say() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    let given = rehearsal.given();
    let leave_one = || {
        fs::remove_dir_all(rehearsal.path("made")).unwrap();
        fs::create_dir(rehearsal.path("made")).unwrap();
        for account in &given[1..] {
            rehearsal.write(&format!("made/{account}"), "");
        }
    };
    let kind = rehearsal.rogue("throttled", "");
    leave_one();
    let document = rehearsal.exec_ends(&kind, 0, &[]);
    assert_eq!(document["steps"][0]["attempts"], 2, "{document:#}");

    let kind = rehearsal.rogue("requeue", "");
    leave_one();
    let document = rehearsal.exec_ends(&kind, 0, &[]);
    assert_eq!(document["steps"][0]["attempts"], 1, "{document:#}");
    assert_eq!(
        rehearsal.log().matches("make:").count(),
        4,
        "{}",
        rehearsal.log()
    );

    let kind = rehearsal.rogue("refused", "");
    leave_one();
    let document = rehearsal.exec_ends(&kind, 1, &[]);
    assert_eq!(document["steps"][0]["error"], "denied", "{document:#}");
    assert_eq!(
        document["failed"][0]["reason"], "step-failed",
        "{document:#}"
    );
    assert!(text(&document["failed"][0]["detail"]).contains("ask the owner"));

    // To be asked again at once, again and again, or in thirty years, is no answer; neither is one to something else.
    for (what, words) in [
        ("busy", "`after_seconds` is 0, and must be 1 to 86400"),
        (
            "far",
            "`retry_after_seconds` is 1000000000, and must be 1 to 86400",
        ),
        ("stray", "answered request"),
    ] {
        let kind = rehearsal.rogue(what, "");
        leave_one();
        let document = rehearsal.exec_ends(&kind, 1, &[]);
        let note = text(&document["steps"][0]["note"]);
        assert!(note.contains(words), "{note}");
    }

    // What is said to be done and is not is found by looking again.
    let kind = rehearsal.rogue("idle", "");
    leave_one();
    let document = rehearsal.exec_ends(&kind, 1, &[]);
    assert_eq!(document["steps"][0]["outcome"], "changed");
    assert_eq!(
        listed(&document, "pending", "step-due"),
        given[..1],
        "{document:#}"
    );
}

#[test]
fn what_a_step_wrote_down_before_it_died_is_told_to_the_next_run() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    let given = rehearsal.given();
    let kind = rehearsal.rogue("memo", "");
    for account in &given[1..] {
        rehearsal.write(&format!("made/{account}"), "");
    }
    let mut run = rehearsal.runner.start(&["exec", &kind]).unwrap();
    rehearsal.until("the step has written it down", || {
        run.check().unwrap();
        rehearsal.log().contains("kept").then_some(())
    });
    run.signal(Signal::KILL).unwrap();
    assert!(run.wait(LIMIT).is_err(), "a signal ended it");

    rehearsal.exec_ends(&kind, 0, &[]);
    let (log, step) = (rehearsal.log(), format!("make:{}", given[0]));
    for words in [
        "memos {}".to_owned(),
        format!("{step} 1 null"),
        format!("memos {{\"{step}\": {{\"ticket\": 17}}}}"),
        format!("{step} 1 {{\"ticket\": 17}}"),
    ] {
        assert!(log.contains(&words), "{words}: {log}");
    }
    assert_eq!(rehearsal.files("made"), given);
}

/// The plugin dies in the middle of the effect that it has written down: the next run does not begin it again.
#[test]
fn what_a_step_wrote_down_before_its_plugin_died_is_told_to_the_next_run() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    let kind = rehearsal.rogue("ticket", "");
    let given = rehearsal.given();
    let failed = rehearsal.exec_ends(&kind, 1, &[]);
    assert_eq!(count(&failed, "failed"), given.len(), "{failed:#}");
    // A guard rail takes one of them out of the next plan, which is not its end.
    let protected = format!("protected_accounts = [{:?}]", given[0]);
    rehearsal.bound(LIMITS, &protected);
    rehearsal.exec_ends(&kind, 4, &[]);
    assert_eq!(rehearsal.files("made"), given[1..]);
    rehearsal.bound(LIMITS, "");
    rehearsal.exec_ends(&kind, 0, &[]);
    assert_eq!(rehearsal.files("made"), given);
    let log = rehearsal.log();
    for account in &given {
        let opened = format!("opened make:{account}\n");
        assert_eq!(log.matches(&opened).count(), 1, "{log}");
    }
}

/// It would be asked again in an hour.
#[test]
fn a_step_that_goes_on_elsewhere_does_not_keep_a_run_that_is_interrupted() {
    let many = SMALL.replace("accounts = 8", "accounts = 12");
    let rehearsal = Rehearsal::with_plugins(&many, LIMITS);
    let kind = rehearsal.rogue("long", "");
    let given = rehearsal.given();
    let mut run = rehearsal
        .runner
        .start(&["--output", "json", "exec", &kind])
        .unwrap();
    // One that goes on elsewhere leaves its process and its place to the others, however many wait.
    assert!(given.len() > 8, "{given:?}");
    rehearsal.until("all are begun", || {
        run.check().unwrap();
        let begun = rehearsal.log().matches("opened ").count();
        (begun == given.len()).then_some(())
    });
    run.signal(Signal::INT).unwrap();
    assert_eq!(run.wait(LIMIT).unwrap(), 130, "{}", run.stderr().unwrap());
    let document: Value = serde_json::from_str(&run.stdout().unwrap()).unwrap();
    assert_eq!(count(&document, "pending"), given.len(), "{document:#}");

    rehearsal.write("log.over", "");
    rehearsal.exec_ends(&kind, 0, &[]);
    assert_eq!(rehearsal.files("made"), given);
    let log = rehearsal.log();
    assert_eq!(log.matches("opened ").count(), given.len(), "{log}");
}

#[test]
fn steps_go_side_by_side_where_the_plugin_says_so() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    let kind = rehearsal.rogue("parallel", "");
    fs::create_dir(rehearsal.path("log.d")).unwrap();
    let document = rehearsal.exec_ends(&kind, 0, &[]);
    assert_eq!(count(&document, "changed"), rehearsal.given().len());
}
