//! Configuration and arguments that cannot be: each is said with its place and a way out, ends with 2, and changes nothing.

use std::fs;

use super::*;

/// A run that must be refused as a usage error with these words, and without a call that changes anything.
#[track_caller]
fn refused(rehearsal: &Rehearsal, arguments: &[&str], words: &[&str]) {
    let calls = rehearsal.calls();
    let ended = rehearsal.run(arguments);
    let said = ended.stdout + &ended.stderr;
    assert_eq!(ended.code, 2, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
}

const SYNC: [&str; 2] = ["exec", "stackset-sync"];

#[test]
fn configuration_that_cannot_be_read_is_named_with_its_line_and_the_nearest_key() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.write("config/runner.toml", "[aws]\nregion = \n");
    refused(&rehearsal, &SYNC, &["runner.toml:2:10"]);

    rehearsal.configure("", "adpot = \"relink\"", "ous = [\"root\"]");
    refused(&rehearsal, &SYNC, &["runner.toml:6:1", "adpot", "adopt"]);

    rehearsal.configure(
        "[stack_set]\nmax_concurrent = \"many\"",
        "",
        "ous = [\"root\"]",
    );
    refused(&rehearsal, &SYNC, &["runner.toml:2:18", "max_concurrent"]);

    rehearsal.configure("", "", "ous = [\"ou-nonsense\"]");
    refused(&rehearsal, &SYNC, &["runner.toml:8:8", "ou-nonsense"]);

    rehearsal.configure("", "", "accounts = [\"12345\"]");
    refused(&rehearsal, &SYNC, &["runner.toml:8:13", "12345"]);

    fs::remove_file(rehearsal.path("config/runner.toml")).unwrap();
    refused(&rehearsal, &SYNC, &["runner.toml"]);
}

#[test]
fn units_and_accounts_that_are_not_in_the_organization_are_named() {
    let rehearsal = Rehearsal::new(SMALL);
    let root = text(&rehearsal.admin("state", None)["organization"]["root"]);
    let unit = format!("ou-{}-00000000", &root[2..]);
    rehearsal.configure("", "", &format!("ous = [{unit:?}]"));
    refused(&rehearsal, &SYNC, &[&unit, "default"]);

    let names = rehearsal.admin("ous", None);
    let name = names["ous"]
        .as_array()
        .unwrap()
        .iter()
        .find(|ou| ou["parent"] == root.as_str());
    let name = text(&name.unwrap()["name"]);
    let misspelt = name.to_lowercase();
    rehearsal.configure("", "", &format!("ous = [{misspelt:?}]"));
    refused(
        &rehearsal,
        &SYNC,
        &[&misspelt, &format!("nearest: {name:?}")],
    );

    rehearsal.configure("", "", "accounts = [\"111122223333\"]");
    refused(&rehearsal, &SYNC, &["111122223333"]);
}

#[test]
fn unknown_jobs_and_arguments_are_named_with_what_is_known() {
    let rehearsal = Rehearsal::new(SMALL);
    refused(
        &rehearsal,
        &["exec", "stackset-snyc"],
        &["stackset-snyc", "stackset-sync"],
    );
    refused(
        &rehearsal,
        &["exec", "stackset-sync", "--dryrun"],
        &["--dry-run"],
    );
    refused(
        &rehearsal,
        &[
            "--set",
            "removal.max_removals=1000",
            "exec",
            "stackset-sync",
        ],
        &["removal.max_removals"],
    );
    rehearsal.write(
        "config/jobs/stackset-sync.toml",
        "kind = \"stackset-sync\"\nschedul = 1\n",
    );
    refused(&rehearsal, &SYNC, &["stackset-sync.toml:2:1", "schedule"]);
}

#[test]
fn a_policy_that_is_missing_malformed_or_too_long_stops_before_anything_is_sent() {
    let rehearsal = Rehearsal::new(SMALL);
    let policy = "config/policies/cost-intelligence.json";
    let actions: Vec<String> = (0..400)
        .map(|n| format!("ec2:DescribeSomething{n}"))
        .collect();
    let long = json!({ "Version": "2012-10-17", "Statement": [
        { "Sid": "Long", "Effect": "Allow", "Action": actions, "Resource": "*" }
    ]});
    rehearsal.write(policy, &long.to_string());
    refused(&rehearsal, &SYNC, &["Long", "divide its actions"]);
    rehearsal.write(policy, "{");
    refused(&rehearsal, &SYNC, &["cost-intelligence.json"]);
    fs::remove_file(rehearsal.path(policy)).unwrap();
    refused(
        &rehearsal,
        &SYNC,
        &["cost-intelligence.json", "could not read"],
    );
}

#[test]
fn a_topic_that_would_change_under_the_stacks_is_refused_with_the_reason() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.sync_ends(0, &[]);
    let management = text(&rehearsal.admin("state", None)["organization"]["management"]);
    rehearsal.configure(
        &format!(
            "[enrollment]\ntopic_arn = \"arn:aws:sns:us-east-1:{management}:other\"\n\
             queue_url = \"{}/{management}/spot-onboarding\"\n",
            rehearsal.environment["AWS_ENDPOINT_URL"]
        ),
        "",
        "ous = [\"root\"]",
    );
    let calls = rehearsal.calls();
    let document = rehearsal.sync_ends(4, &[]);
    assert_eq!(document["refusals"][0]["guard"], "service-token-immutable");
    assert!(text(&document["refusals"][0]["message"]).contains("ServiceToken"));
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
}
