//! Who creates stack instances: AWS by itself, or the runner when the targets are finer than organizational units.

use super::*;

#[test]
fn excludes_make_the_runner_deploy_and_keep_excluded_accounts_without_a_stack() {
    let rehearsal = Rehearsal::new(SMALL);
    let members = rehearsal.members();
    let excluded = &members[0];
    rehearsal.configure(
        "",
        "",
        &format!("ous = [\"root\"]\nexclude_accounts = [{excluded:?}]"),
    );
    let before = rehearsal.spot_accounts();
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(
        listed(&document, "skipped", "excluded"),
        [excluded.as_str()]
    );
    assert_eq!(count(&document, "changed"), 7);
    assert_eq!(rehearsal.instances().values().sum::<u64>(), 7);
    rehearsal.assert_enrolled_once(&members[1..], &before);

    // Auto-deployment is off: an account that joins waits for the next run.
    let unit = text(&rehearsal.admin("ous", None)["ous"][1]["id"]);
    let joined = rehearsal.post("accounts", &json!({ "name": "newcomer", "ou": unit }));
    let joined = text(&joined["id"]);
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&document, "changed"), 1, "{document:#}");
    assert_eq!(rehearsal.standing(&joined)["reason"], "enrolled");
}

#[test]
fn listed_accounts_alone_are_enrolled_and_nobody_else() {
    let rehearsal = Rehearsal::new(SMALL);
    let members = rehearsal.members();
    let (wanted, _) = members.split_at(2);
    rehearsal.configure("", "", &format!("accounts = {wanted:?}"));
    let before = rehearsal.spot_accounts();
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&document, "targeted"), 2);
    assert_eq!(rehearsal.instances().values().sum::<u64>(), 2);
    rehearsal.assert_enrolled_once(wanted, &before);
}

#[test]
fn auto_deployment_with_excludes_is_refused_with_both_ways_out() {
    let rehearsal = Rehearsal::new(SMALL);
    let excluded = &rehearsal.members()[0];
    let targets = format!("ous = [\"root\"]\nexclude_accounts = [{excluded:?}]");
    rehearsal.configure("", "deployment = \"auto\"", &targets);
    let calls = rehearsal.calls();
    let ended = rehearsal.run(&["exec", "stackset-sync"]);
    assert_eq!(ended.code, 2, "{}", ended.stdout);
    let said = ended.stdout + &ended.stderr;
    assert!(
        said.contains("runner.toml") || said.contains("profile"),
        "{said}"
    );
    assert!(said.contains("deployment = \"runner\""), "{said}");
    assert!(said.contains("exclude"), "{said}");
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
}

#[test]
fn an_account_that_joins_is_enrolled_by_auto_deployment_while_the_provider_serves() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.sync_ends(0, &[]);
    let before = rehearsal.spot_accounts();
    let mut provider = rehearsal.runner.start(&["provider"]).unwrap();
    let unit = text(&rehearsal.admin("ous", None)["ous"][1]["id"]);
    let joined = rehearsal.post("accounts", &json!({ "name": "newcomer", "ou": unit }));
    let joined = text(&joined["id"]);
    rehearsal.until("the newcomer is linked", || {
        provider.check().unwrap();
        let links = rehearsal.links_of(&joined);
        (links.len() == 1 && links[0].works && links[0].name == "newcomer").then_some(())
    });
    rehearsal.until_operations_end();
    let ended = rehearsal.run(&["--output", "json", "status"]);
    assert_eq!(ended.code, 0);
    let status = ended.json().unwrap();
    let accounts = status["accounts"].as_array().unwrap();
    let row = accounts
        .iter()
        .find(|row| row["account"] == joined.as_str());
    assert_eq!(row.unwrap()["reason"], "enrolled", "{status:#}");
    assert_eq!(status["total"]["enrolled"], 9, "{status:#}");
    rehearsal.assert_enrolled_once(&[joined], &before);

    provider.signal(rustix::process::Signal::TERM).unwrap();
    assert_eq!(
        provider.wait(LIMIT).unwrap(),
        0,
        "{}",
        provider.stderr().unwrap()
    );
}
