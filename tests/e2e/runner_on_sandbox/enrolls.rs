//! What `stackset-sync` is for: every account is enrolled or explained, once; doing it again does nothing.

use std::fs;

use serde_json::json;

use super::*;

#[test]
fn a_clean_organization_is_enrolled_and_a_second_run_changes_nothing() {
    let rehearsal = Rehearsal::new(SMALL);
    let before = rehearsal.spot_accounts();

    let first = rehearsal.sync_ends(0, &[]);
    assert_eq!(first["status"], "done");
    assert_eq!(count(&first, "changed"), 8);
    assert_eq!(listed(&first, "skipped", "management-account").len(), 1);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);

    let calls = rehearsal.calls();
    let second = rehearsal.sync_ends(0, &[]);
    assert_eq!(second["steps"], json!([]));
    assert_eq!(count(&second, "unchanged"), 8);
    assert_eq!(written(&second), Vec::<&String>::new());
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    assert_eq!(second["api_calls"]["organizations:ListAccounts"], 1);
}

#[test]
fn every_account_is_enrolled_or_explained_and_the_journal_tells_the_same() {
    let rehearsal = Rehearsal::new(
        "seed = 20\nclock_speed = 120.0\n\
         [organization]\naccounts = 14\nous = 4\ndepth = 2\nsuspended = 2\nscp_blocked = 1\ntrusted_access = true\n\
         [spot]\nlinked = 1\nlinked_twice = 1\norphaned = 1\n",
    );
    let spot_before = rehearsal.spot_accounts();
    let orphan = |spot: &SpotAccount| rehearsal.members().contains(&spot.name);
    let orphan = spot_before.iter().find(|spot| orphan(spot)).unwrap();

    let document = rehearsal.sync_ends(3, &[]);
    assert_eq!(count(&document, "targeted"), 15);
    assert_eq!(count(&document, "ok"), 9);
    for (reason, accounts) in [
        ("management-account", 1),
        ("suspended", 2),
        ("blocked-by-scp", 1),
        ("enrolled-elsewhere", 1),
        ("linked-to-several", 1),
    ] {
        let found = listed(&document, "skipped", reason);
        assert_eq!(found.len(), accounts, "{reason}: {document:#}");
    }
    let findings = document["findings"].as_array().unwrap();
    let reasons: BTreeSet<_> = findings
        .iter()
        .map(|finding| text(&finding["reason"]))
        .collect();
    let expected = ["blocked-by-scp", "linked-to-several"];
    assert_eq!(reasons, expected.map(str::to_owned).into());

    // What was linked before stays as it was; what an earlier attempt left is used.
    let enrolled: Vec<String> = rehearsal
        .members()
        .into_iter()
        .filter(|account| {
            !spot_before
                .iter()
                .any(|spot| spot.aws_account.as_ref() == Some(account))
        })
        .collect();
    rehearsal.assert_enrolled_once(&enrolled, &spot_before);
    let spot_after = rehearsal.spot_accounts();
    for linked in spot_before.iter().filter(|spot| spot.aws_account.is_some()) {
        assert!(spot_after.contains(linked), "{linked:?}");
    }
    assert_eq!(rehearsal.links_of(&orphan.name)[0].id, orphan.id);

    let runs = rehearsal.run(&["--output", "json", "runs", "list"]);
    let runs = runs.json().unwrap();
    assert_eq!(runs.as_array().unwrap().len(), 1);
    assert_eq!(runs[0]["id"], document["run_id"]);
    assert_eq!(runs[0]["exit_code"], 3);
    assert_eq!(runs[0]["summary"], document["summary"]);
    let id = text(&document["run_id"]);
    let shown = rehearsal.run(&["--output", "json", "runs", "show", &id]);
    let shown = shown.json().unwrap();
    assert_eq!(steps(&shown), steps(&document));
    let table = rehearsal.run(&["runs", "show", &id]);
    assert!(table.stdout.contains("exit code 3"), "{}", table.stdout);
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_it_would_do() {
    let rehearsal = Rehearsal::new(SMALL);
    let calls = rehearsal.calls();
    let document = rehearsal.sync_ends(3, &["--dry-run"]);
    assert_eq!(document["status"], "planned");
    assert_eq!(document["dry_run"], true);
    assert_eq!(count(&document, "planned"), 8);
    assert_eq!(
        steps(&document),
        [
            "create-stack-set:default",
            "create-stack-instances:default:1"
        ]
    );
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
}

#[test]
fn a_changed_policy_is_rolled_out_by_one_update_of_the_stack_set() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.sync_ends(0, &[]);
    let spot_before = rehearsal.spot_accounts();
    let policy = rehearsal.path("config/policies/cost-intelligence.json");
    let mut document: Value = serde_json::from_str(&fs::read_to_string(&policy).unwrap()).unwrap();
    let statements = document["Statement"].as_array_mut().unwrap();
    statements.push(json!({
        "Sid": "Rehearsal", "Effect": "Allow", "Action": ["ec2:DescribeRegions"], "Resource": ["*"]
    }));
    fs::write(&policy, document.to_string()).unwrap();

    let dry = rehearsal.sync_ends(3, &["--dry-run"]);
    assert_eq!(steps(&dry), ["update-stack-set:default"]);
    assert_eq!(count(&dry, "planned"), 8);

    let calls = rehearsal.calls();
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&document, "changed"), 8);
    let writes: Vec<String> = rehearsal
        .writes_since(&calls)
        .into_iter()
        .filter(|call| call.starts_with("cloudformation:"))
        .collect();
    assert_eq!(writes, ["cloudformation:UpdateStackSet"]);
    assert_eq!(
        rehearsal.calls()["cloudformation:UpdateStackSet"],
        calls.get("cloudformation:UpdateStackSet").unwrap_or(&0) + 1
    );
    assert_eq!(rehearsal.spot_accounts(), spot_before);
    let again = rehearsal.sync_ends(0, &[]);
    assert_eq!(again["steps"], json!([]));
}

#[test]
fn spot_hosted_enrolls_without_a_queue_and_keeps_the_token_in_an_update() {
    let rehearsal = Rehearsal::new(&format!("{SMALL}[provider]\nenabled = false\n"));
    let hosted = "[enrollment]\nprovider = \"spot-hosted\"\n\
                  [stack_set]\ndescription = \"DESCRIPTION\"\ntags = TAGS\n";
    let configure = |description: &str, tags: &str| {
        let sections = hosted
            .replace("DESCRIPTION", description)
            .replace("TAGS", tags);
        rehearsal.configure(
            &sections,
            "products = [\"elastigroup-ocean\"]\nnaming = { rename = \"alias\" }",
            "ous = [\"root\"]",
        );
    };
    configure("first", "{}");
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&document, "changed"), 8);
    for account in rehearsal.members() {
        let links = rehearsal.links_of(&account);
        assert!(matches!(&links[..], [one] if one.works), "{links:?}");
    }
    // Spot's Lambda functions are handed the token again by the update: with a wrong one they would refuse.
    configure("second", "{ team = \"platform\" }");
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(steps(&document), ["update-stack-set:default"]);
    assert_eq!(count(&document, "changed"), 8);
    assert_eq!(rehearsal.sync_ends(0, &[])["steps"], json!([]));
}
