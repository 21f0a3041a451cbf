//! Plugins that hang, crash, flood or lie: each is named, ended, and changes nothing.

use rustix::process::Signal;

use super::*;

/// A run of a rogue that must fail as a whole, with these words.
#[track_caller]
fn fails(rehearsal: &Rehearsal, what: &str, code: i32, words: &[&str]) -> Value {
    let kind = rehearsal.rogue(what, "");
    let calls = rehearsal.calls();
    let (ended, document) = rehearsal.exec(&kind, &[]);
    let said = text(&document["error"]);
    assert_eq!(ended.code, code, "{document:#}\n{}", ended.stderr);
    for word in [&[&format!("the plugin {kind} ")[..]], words].concat() {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert_eq!(rehearsal.files("made"), Vec::<String>::new(), "{what}");
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new(), "{what}");
    assert_eq!(count(&document, "targeted"), 0, "{document:#}");
    document
}

#[test]
fn a_plugin_that_lies_about_its_plan_is_refused_by_name() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    let lie = "planned what cannot be acted on";
    fails(
        &rehearsal,
        "twice",
        1,
        &[lie, "two steps with the id \"make:"],
    );
    fails(
        &rehearsal,
        "stranger",
        1,
        &[lie, "999999999999, which it was not given"],
    );
    fails(
        &rehearsal,
        "other-kind",
        1,
        &[lie, "of the kind \"orphan-cleanup\""],
    );
    fails(
        &rehearsal,
        "count",
        1,
        &[lie, "settled, and what it said has 1"],
    );
    fails(&rehearsal, "escape", 1, &[lie, "\\u{1b}"]);
}

#[test]
fn what_is_no_answer_is_named_with_its_line_and_an_excerpt() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    fails(
        &rehearsal,
        "prose",
        1,
        &["line 2 of its stdout, \"Planning...\"", "not JSON"],
    );
    fails(
        &rehearsal,
        "done",
        1,
        &[
            "\"done\"",
            "line 2 of its stdout",
            "answers nothing while it planned",
        ],
    );
    fails(
        &rehearsal,
        "echo",
        1,
        &["answered request 9", "asked was request 2"],
    );
    fails(
        &rehearsal,
        "version",
        2,
        &["speaks version 2", "speaks version 1"],
    );
    fails(&rehearsal, "name", 2, &["the kind \"other\""]);
    fails(&rehearsal, "schema", 2, &["`settings.log`", "\"pattern\""]);
}

#[test]
fn a_plugin_that_floods_is_stopped() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    fails(
        &rehearsal,
        "flood",
        1,
        &[
            "more than 1048576 bytes without the end of a line",
            "line 2",
        ],
    );
    rehearsal.bound(
        &format!("{LIMITS}max_answer_bytes = 100000\nmax_steps = 20\n"),
        "",
    );
    fails(
        &rehearsal,
        "torrent",
        1,
        &["more than 100000 bytes (up to line ", "while it planned"],
    );
    let many = "[params.settings]\ndirectory = \"made\"\nlog = \"log\"\nsize = 21\n";
    let kind = rehearsal.rogue("many", many);
    let document = rehearsal.exec_ends(&kind, 1, &[]);
    assert!(
        text(&document["error"]).contains("more than 20 steps"),
        "{document:#}"
    );
    rehearsal.define_plugin_job(&kind, "", &many.replace("21", "20"));
    assert_eq!(
        steps(&rehearsal.exec_ends(&kind, 3, &["--dry-run"])).len(),
        20
    );
    // So are findings, and accounts that are left out.
    let given = rehearsal.given().len();
    let of_accounts = format!("more than the {given} accounts that it was given");
    for (what, words) in [
        ("findings", "more than 20 findings"),
        ("skips", of_accounts.as_str()),
    ] {
        let kind = rehearsal.rogue(what, many);
        let document = rehearsal.exec_ends(&kind, 1, &[]);
        let error = text(&document["error"]);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_plugin_that_crashes_is_told_with_its_exit_code_and_last_words() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    fails(
        &rehearsal,
        "crash",
        1,
        &[
            "ended while it planned: exit code 3",
            "about to fall / Traceback: it was the disk",
        ],
    );
    // In the middle of a step, nobody knows what came of it; the other steps have a process of their own again.
    let kind = rehearsal.rogue("crash-apply", "");
    let document = rehearsal.exec_ends(&kind, 1, &[]);
    let given = rehearsal.given().len();
    assert_eq!(count(&document, "failed"), given, "{document:#}");
    let failed = document["steps"].as_array().unwrap();
    assert_eq!(failed.len(), given);
    for step in failed {
        assert_eq!(step["error"], "ambiguous", "{step:#}");
        let note = text(&step["note"]);
        assert!(
            note.contains("exit code 7") && note.contains("out of luck"),
            "{note}"
        );
        assert_eq!(step["attempts"], 1);
    }
    assert!(
        text(&document["failed"][0]["detail"]).contains("exit code 7"),
        "{document:#}"
    );
    // What it started may hold its stdout: it has ended all the same, long before its time is up.
    rehearsal.bound("call_timeout = \"10m\"\n", "");
    let kind = rehearsal.rogue("orphan", "");
    let document = rehearsal.exec_ends(&kind, 1, &[]);
    for step in document["steps"].as_array().unwrap() {
        let note = text(&step["note"]);
        assert!(note.contains("exit code 7"), "{note}");
    }
}

#[test]
fn a_plugin_that_hangs_is_killed_with_its_children() {
    let rehearsal = Rehearsal::with_plugins(SMALL, SHORT);
    fails(
        &rehearsal,
        "hang",
        1,
        &[
            "did not answer within 2s while it planned, nor 1s after it was told to cancel",
            "plugins.call_timeout",
        ],
    );
    rehearsal.until_gone();
    rehearsal.bound(&SHORT.replace("30s", "2s"), "");
    fails(
        &rehearsal,
        "silent",
        1,
        &[
            "within 2s while it described itself",
            "plugins.start_timeout",
        ],
    );
    rehearsal.bound(SHORT, "");
    for account in &rehearsal.given()[1..] {
        rehearsal.write(&format!("made/{account}"), "");
    }
    let kind = rehearsal.rogue("hang-apply", "");
    let document = rehearsal.exec_ends(&kind, 1, &[]);
    let step = &document["steps"][0];
    assert_eq!(step["error"], "ambiguous", "{document:#}");
    let note = text(&step["note"]);
    assert!(note.contains("while it did step make:"), "{note}");
    rehearsal.until_gone();
    // One that listens is not killed, and was no success either.
    let kind = rehearsal.rogue("slow-apply", "");
    let document = rehearsal.exec_ends(&kind, 1, &[]);
    let step = &document["steps"][0];
    assert_eq!(step["error"], "failed", "{document:#}");
    let note = text(&step["note"]);
    assert!(note.contains("as it was told to after 2s"), "{note}");
}

#[test]
fn a_run_that_is_interrupted_tells_its_plugin_to_cancel_and_kills_one_that_does_not() {
    let rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    let interrupted = |kind: &str, sign: &str, file: &str| {
        let mut run = rehearsal
            .runner
            .start(&["--output", "json", "exec", kind])
            .unwrap();
        rehearsal.until(sign, || {
            run.check().unwrap();
            let said = fs::read_to_string(rehearsal.path(file)).unwrap_or_default();
            said.contains(sign).then_some(())
        });
        run.signal(Signal::INT).unwrap();
        assert_eq!(run.wait(LIMIT).unwrap(), 130, "{}", run.stderr().unwrap());
        let document: Value = serde_json::from_str(&run.stdout().unwrap()).unwrap();
        assert_adds_up(&document);
        assert_eq!(document["status"], "interrupted", "{document:#}");
        document
    };
    // One that listens ends what it does.
    let kind = rehearsal.rogue("slow-apply", "");
    let document = interrupted(&kind, "make:", "log");
    assert!(rehearsal.log().contains("cancel\n"), "{}", rehearsal.log());
    let first = &document["steps"][0];
    assert_eq!(first["outcome"], "pending", "{document:#}");
    assert_eq!(first["note"], "half of it is done");
    assert_eq!(count(&document, "pending"), rehearsal.given().len());

    let kind = rehearsal.rogue("slow-plan", "");
    interrupted(&kind, "planning", "log");
    assert!(
        rehearsal.log().ends_with("planning\ncancel\n"),
        "{}",
        rehearsal.log()
    );

    // One that does not is killed.
    rehearsal.bound("cancel_grace = \"1s\"\n", "");
    let kind = rehearsal.rogue("hang-apply", "");
    let document = interrupted(&kind, " ", "pids");
    let notes: Vec<String> = document["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| text(&step["note"]))
        .collect();
    assert!(
        notes[0].contains("did not end 1s after it was told to cancel"),
        "{notes:?}"
    );
    rehearsal.until_gone();
}

#[test]
fn a_second_signal_leaves_a_plugin_that_hangs_no_grace() {
    let rehearsal = Rehearsal::with_plugins(SMALL, "cancel_grace = \"5m\"\n");
    let kind = rehearsal.rogue("hang-apply", "");
    let mut run = rehearsal.runner.start(&["exec", &kind]).unwrap();
    rehearsal.until("it hangs", || {
        run.check().unwrap();
        rehearsal.path("pids").exists().then_some(())
    });
    // Two of one kind that come at once would be one.
    run.signal(Signal::INT).unwrap();
    run.signal(Signal::TERM).unwrap();
    assert_eq!(run.wait(LIMIT).unwrap(), 130);
    let said = run.stdout().unwrap();
    assert!(
        said.contains("was killed in the middle of step make:"),
        "{said}"
    );
    rehearsal.until_gone();
}

#[test]
fn what_a_plugin_says_is_bounded_and_what_it_was_granted_is_not_shown() {
    let mut rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    let secret = "gr4nted-s3cr3t";
    let mut environment = rehearsal.environment.clone();
    environment.insert("GRANTED".to_owned(), secret.to_owned());
    rehearsal.runner.set_environment(environment);
    let kind = rehearsal.rogue("noisy", "grants = [\"env:GRANTED\"]");
    let ended = rehearsal.run(&["-v", "exec", &kind]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("not json [redacted]"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("line 0 [redacted]"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("the rest was left out"),
        "{}",
        ended.stderr
    );
    assert!(!(ended.stdout.clone() + &ended.stderr).contains(secret));
    let logged = ended
        .stderr
        .lines()
        .filter(|line| line.contains("plugin="))
        .count();
    assert!((10..1000).contains(&logged), "{logged} lines");
    assert!(!any_file_contains(&rehearsal.path("made"), secret));
}

#[test]
fn what_a_plugin_was_granted_is_in_nothing_that_it_plans() {
    let mut rehearsal = Rehearsal::with_plugins(SMALL, LIMITS);
    // Several lines, as a key has.
    let secret = "gr4nted-s3cr3t\nand-its-s3cond-line";
    let mut environment = rehearsal.environment.clone();
    environment.insert("GRANTED".to_owned(), secret.to_owned());
    rehearsal.runner.set_environment(environment);
    let is_told = |ended: &Ended| {
        let said = ended.stdout.clone() + &ended.stderr;
        ["gr4nted", "s3cond"].iter().any(|part| said.contains(part))
    };
    let grants = "grants = [\"env:GRANTED\"]";
    // What is for people is shown without it.
    let kind = rehearsal.rogue("leak-prose", grants);
    let planned = rehearsal.run(&["plan", &kind, "-o", "plan.json"]);
    assert_eq!(planned.code, 3, "{}", planned.stderr);
    assert!(
        planned.stdout.contains("for [redacted]"),
        "{}",
        planned.stdout
    );
    assert!(!is_told(&planned), "{}", planned.stdout);
    let (ended, document) = rehearsal.exec(&kind, &[]);
    assert!(!is_told(&ended), "{document:#}");
    assert_eq!(document["findings"][0]["message"], "it is [redacted]");
    assert_eq!(document["skipped"][0]["detail"], "it is [redacted]");
    // What steps are told by and done with is refused.
    for (what, words) in [
        ("leak-id", "into the id of a step"),
        ("leak-payload", "into the payload of step make:"),
    ] {
        fs::remove_dir_all(rehearsal.path("made")).unwrap();
        let kind = rehearsal.rogue(what, grants);
        let (ended, document) = rehearsal.exec(&kind, &[]);
        assert_eq!(ended.code, 1, "{document:#}");
        let error = text(&document["error"]);
        assert!(error.contains(words), "{error}");
        assert!(!is_told(&ended), "{document:#}");
    }
    let kind = rehearsal.rogue("leak-memo", grants);
    let (ended, document) = rehearsal.exec(&kind, &[]);
    assert_eq!(ended.code, 1, "{document:#}");
    let note = text(&document["steps"][0]["note"]);
    assert!(note.contains("into a memo"), "{note}");
    assert!(!is_told(&ended), "{document:#}");
    // Neither the state nor a plan in a file has it.
    for part in ["gr4nted", "s3cond"] {
        assert!(!any_file_contains(&rehearsal.path("."), part));
    }
}
