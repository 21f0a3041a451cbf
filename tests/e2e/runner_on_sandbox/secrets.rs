//! The Spot token: in no output, no file, no argument, however much is logged.

use std::fs;

use super::*;

#[test]
fn at_full_verbosity_stdout_is_one_document_and_the_token_is_nowhere() {
    let rehearsal = Rehearsal::new(SMALL);
    let token = &rehearsal.environment["SPOTINST_TOKEN"];
    let arguments = ["-vv", "--output", "json", "exec", "stackset-sync"];
    let mut run = rehearsal.runner.start(&arguments).unwrap();
    rehearsal.until("the run calls Spot", || {
        run.check().unwrap();
        rehearsal
            .calls()
            .contains_key("spot:POST /setup/account")
            .then_some(())
    });
    let id = run.id();
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap();
    assert!(!String::from_utf8_lossy(&line).contains(token.as_str()));
    assert_eq!(run.wait(LIMIT).unwrap(), 0, "{}", run.stderr().unwrap());

    let (stdout, stderr) = (run.stdout().unwrap(), run.stderr().unwrap());
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_adds_up(&document);
    assert!(stderr.lines().count() > 50, "-vv logs every call: {stderr}");
    assert!(!stdout.contains(token.as_str()));
    assert!(!stderr.contains(token.as_str()));
    assert!(rehearsal.path("runner.db").exists());
    assert!(!any_file_contains(rehearsal.runner.directory(), token));
}

#[test]
fn a_refused_token_is_not_repeated_in_the_error() {
    let rehearsal = Rehearsal::new(SMALL);
    let wrong = "not-the-token-of-anybody";
    let ended = rehearsal.run_with(
        &[("SPOTINST_TOKEN", wrong)],
        &["-vv", "exec", "stackset-sync"],
    );
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    assert!(!ended.stdout.contains(wrong) && !ended.stderr.contains(wrong));
    assert!(!any_file_contains(rehearsal.runner.directory(), wrong));
}
