//! The Spot token: in no output, no file, no argument, however much is logged.

use std::fs;

use e2e::moto::Moto;

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

#[test]
fn the_token_is_taken_from_a_file_a_secret_or_a_parameter() {
    let rehearsal = Rehearsal::new(SMALL);
    let token = &rehearsal.environment["SPOTINST_TOKEN"];
    let enrolls = |place: &str, variables: &[(&str, &str)]| {
        rehearsal.configure(
            &format!("[spot]\ntoken = {place}\n"),
            "",
            "ous = [\"root\"]",
        );
        let variables = [variables, &[("SPOTINST_TOKEN", "")]].concat();
        rehearsal.run_with(&variables, &["exec", "stackset-sync"])
    };
    rehearsal.write("token", &format!("{token}\n"));
    let file = enrolls("{ file = \"token\" }", &[]);
    assert_eq!(file.code, 0, "{}", file.stderr);
    let none = enrolls("{ file = \"no-such-file\" }", &[]);
    assert_eq!(none.code, 5, "{}", none.stderr);
    assert!(none.stderr.contains("no-such-file"), "{}", none.stderr);

    // The sandbox has neither service: these two are asked of moto.
    let Some(moto) = Moto::start().unwrap() else {
        return;
    };
    let put = |service, target, input: Value| {
        let put = moto.wire();
        rehearsal
            .runtime
            .block_on(put.json(service, target, &input))
            .unwrap();
    };
    put(
        "secretsmanager",
        "secretsmanager.CreateSecret",
        json!({ "Name": "spot/token", "SecretString": token, "ClientRequestToken": "0".repeat(32) }),
    );
    put(
        "ssm",
        "AmazonSSM.PutParameter",
        json!({ "Name": "/spot/token", "Value": token, "Type": "SecureString" }),
    );
    let elsewhere = moto.endpoint();
    for (place, variable) in [
        (
            "{ secrets_manager = \"spot/token\" }",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER",
        ),
        (
            "{ ssm_parameter = \"/spot/token\" }",
            "AWS_ENDPOINT_URL_SSM",
        ),
    ] {
        let ended = enrolls(place, &[(variable, elsewhere.as_str())]);
        assert_eq!(ended.code, 0, "{place}: {}", ended.stderr);
        assert!(!(ended.stdout + &ended.stderr).contains(token.as_str()));
    }
    let missing = enrolls(
        "{ ssm_parameter = \"/spot/none\" }",
        &[("AWS_ENDPOINT_URL_SSM", elsewhere.as_str())],
    );
    assert_eq!(missing.code, 5, "{}", missing.stderr);
    assert!(missing.stderr.contains("/spot/none"), "{}", missing.stderr);
}

#[test]
fn a_token_that_was_not_renewed_for_too_long_is_a_finding_and_so_is_one_whose_age_nobody_tells() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.configure("", "", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    let token = &rehearsal.environment["SPOTINST_TOKEN"];
    let audit = |place: &str, age: &str, variables: &[(&str, &str)]| {
        let spot = format!("[spot]\ntoken = {place}\n");
        rehearsal.configure(&spot, "", "ous = [\"root\"]");
        let job = format!("kind = \"drift-audit\"\n[params]\n{age}\n");
        rehearsal.write("config/jobs/drift-audit.toml", &job);
        let command = ["--output", "json", "exec", "drift-audit"];
        let ended = rehearsal.run_with(variables, &command);
        let document = ended.json().unwrap();
        let findings = document["findings"].as_array().unwrap().clone();
        assert_eq!(ended.code == 3, !findings.is_empty(), "{document:#}");
        assert!(!(ended.stdout + &ended.stderr).contains(token.as_str()));
        findings
    };
    let day = "token_max_age = \"1d\"";
    let here = "{ env = \"SPOTINST_TOKEN\" }";
    assert_eq!(audit(here, "", &[]), Vec::<Value>::new());
    let [unknown] = &audit(here, day, &[])[..] else {
        panic!("one finding is expected");
    };
    assert_eq!(unknown["reason"], "token-age-unknown");
    assert!(text(&unknown["resource"]).contains("SPOTINST_TOKEN"));

    // The sandbox has neither service: these two are asked of moto.
    let Some(moto) = Moto::start().unwrap() else {
        return;
    };
    let put = |service, target, input: Value| {
        let wire = moto.wire();
        let put = wire.json(service, target, &input);
        rehearsal.runtime.block_on(put).unwrap();
    };
    put(
        "secretsmanager",
        "secretsmanager.CreateSecret",
        json!({ "Name": "spot/token", "SecretString": token, "ClientRequestToken": "0".repeat(32) }),
    );
    put(
        "ssm",
        "AmazonSSM.PutParameter",
        json!({ "Name": "/spot/token", "Value": token, "Type": "SecureString" }),
    );
    let elsewhere = moto.endpoint();
    for (place, variable) in [
        (
            "{ secrets_manager = \"spot/token\" }",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER",
        ),
        (
            "{ ssm_parameter = \"/spot/token\" }",
            "AWS_ENDPOINT_URL_SSM",
        ),
    ] {
        let variables = [(variable, elsewhere.as_str()), ("SPOTINST_TOKEN", "")];
        assert_eq!(
            audit(place, day, &variables),
            Vec::<Value>::new(),
            "{place}"
        );
        let old = rehearsal.until("the token is older than nothing", || {
            audit(place, "token_max_age = \"0s\"", &variables).pop()
        });
        assert_eq!(old["reason"], "token-old", "{old:#}");
        assert_eq!(old["severity"], "warning");
        assert!(text(&old["fix"]).contains("organization admin"), "{old:#}");
    }
}

#[test]
fn a_token_that_sees_less_than_we_linked_is_told_as_such() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.configure("", "", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    let linked: Vec<String> = rehearsal
        .members()
        .iter()
        .map(|account| rehearsal.links_of(account)[0].id.clone())
        .collect();
    let reasons = |unlisted: &[String]| -> BTreeSet<String> {
        for id in &linked {
            let body = json!({ "unlisted": unlisted.contains(id) });
            rehearsal.post(&format!("spot/{id}/unlist"), &body);
        }
        let ended = rehearsal.run(&["--output", "json", "exec", "drift-audit"]);
        let document = ended.json().unwrap();
        let findings = document["findings"].as_array().unwrap().iter();
        findings.map(|finding| text(&finding["reason"])).collect()
    };
    assert_eq!(reasons(&[]), BTreeSet::new());
    // One may always be missing, or have been deleted.
    assert!(!reasons(&linked[..1]).contains("token-sees-less"));
    assert!(reasons(&linked[..4]).contains("token-sees-less"));
    assert_eq!(reasons(&[]), BTreeSet::new());
}
