//! A member account as the home account: a delegated administrator of StackSets.

use super::*;

const SERVICE: &str = "member.org.stacksets.cloudformation.amazonaws.com";

/// The variables of a member account's administrator.
fn credentials(rehearsal: &Rehearsal, account: &str) -> Vec<(String, String)> {
    let shown = rehearsal.admin(&format!("accounts/{account}"), None);
    let environment = shown["environment"].as_object().unwrap();
    let variables = environment.iter();
    variables
        .map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

fn as_seen(variables: &[(String, String)]) -> Vec<(&str, &str)> {
    let variables = variables.iter();
    variables
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

fn register(rehearsal: &Rehearsal, account: &str) {
    let input = json!({ "AccountId": account, "ServicePrincipal": SERVICE });
    let target = "AWSOrganizationsV20161128.RegisterDelegatedAdministrator";
    let registered = rehearsal.wire.json("organizations", target, &input);
    rehearsal.runtime.block_on(registered).unwrap();
}

fn configured(call_as: &str) -> String {
    format!(
        "[aws]\nregion = \"us-east-1\"\ncall_as = \"{call_as}\"\n[[profiles]]\nname = \"default\"\n\
         [profiles.targets]\nous = [\"root\"]\n[enrollment]\nserved_by = \"run\"\n"
    )
}

#[test]
fn a_delegated_administrator_bootstraps_and_enrolls_from_its_own_account() {
    let rehearsal = Rehearsal::new(&format!("{SMALL}[provider]\nenabled = false\n"));
    let home = rehearsal.members()[0].clone();
    let variables = credentials(&rehearsal, &home);
    let variables = as_seen(&variables);
    let before = rehearsal.spot_accounts();
    rehearsal.write("config/runner.toml", &configured("delegated-admin"));
    let sync = ["--output", "json", "exec", "stackset-sync"];

    // Nobody has made it one.
    let refused = rehearsal.run_with(&variables, &sync);
    assert_eq!(refused.code, 5, "{}", refused.stderr);

    register(&rehearsal, &home);
    let bootstrapped = rehearsal.run_with(&variables, &["bootstrap", "--yes"]);
    assert_eq!(bootstrapped.code, 0, "{}", bootstrapped.stderr);
    let first = rehearsal.run_with(&variables, &sync);
    let document = first.json().unwrap();
    assert_adds_up(&document);
    assert_eq!(
        (first.code, count(&document, "changed")),
        (0, 8),
        "{document:#}"
    );
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
    let calls = rehearsal.calls();
    let second = rehearsal.run_with(&variables, &sync);
    assert_eq!(second.code, 0, "{}", second.stderr);
    assert_eq!(second.json().unwrap()["steps"], json!([]));
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
}

#[test]
fn whose_credentials_they_are_must_be_what_the_configuration_says() {
    let rehearsal = Rehearsal::new(SMALL);
    let member = rehearsal.members()[0].clone();
    register(&rehearsal, &member);
    let theirs = credentials(&rehearsal, &member);
    let cases = [
        ("delegated-admin", &[][..], "\"self\""),
        ("self", &as_seen(&theirs)[..], "\"delegated-admin\""),
    ];
    for (call_as, variables, advice) in cases {
        rehearsal.write("config/runner.toml", &configured(call_as));
        let calls = rehearsal.calls();
        let ended = rehearsal.run_with(variables, &["exec", "stackset-sync"]);
        assert_eq!(ended.code, 5, "{call_as}: {}", ended.stderr);
        let said = ended.stdout + &ended.stderr;
        assert!(said.contains(advice), "{call_as}: {said}");
        assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    }
}
