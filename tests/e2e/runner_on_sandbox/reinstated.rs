//! Accounts that come back, or move, and have a stack of ours from before: what is taken over, and what the report says of it.

use super::{audits::in_account, repairs::names, *};

/// Two member accounts and nothing that takes time, in real time: what AWS and the runner note of moments can be compared.
const PROMPT: &str = "seed = 7\n\
                      [organization]\naccounts = 2\nous = 2\ndepth = 1\ntrusted_access = true\nclose_account_time = \"0s\"\n\
                      [stack_sets]\noperation_start = \"0s\"\nresource_time = \"0s\"\nlist_lag = \"0s\"\nauto_deployment_delay = \"0s\"\n\
                      [iam]\npropagation = \"0s\"\n";

/// A role that every account has is what accounts are read through.
const AUDIT: &str = "[audit]\nenabled = true\nrole_name = \"OrganizationAccountAccessRole\"\n";

impl Rehearsal {
    /// The findings of a document with a reason.
    pub(super) fn found(document: &Value, reason: &str) -> Vec<Value> {
        let findings = document["findings"].as_array().unwrap().iter();
        let findings = findings.filter(|one| one["reason"] == reason);
        findings.cloned().collect()
    }

    /// Takes an account's instance out, with its stack kept, by closing the account, and brings the account back.
    fn closes_and_comes_back(&self, account: &str) {
        self.post(&format!("accounts/{account}/close"), &json!({}));
        self.until("the account is closed", || {
            let closed = self.account_ids(|account| account["state"] == "CLOSED");
            (!closed.is_empty()).then_some(())
        });
        let left = self.sync_ends(0, &[]);
        assert_eq!(
            left["steps"][0]["action"], "delete-stack-instances",
            "{left:#}"
        );
        self.post(&format!("accounts/{account}/activate"), &json!({}));
    }

    /// Deletes a stack as the account's administrator.
    fn delete_stack(&self, account: &str, stack: &str) {
        let name = [("StackName", stack)];
        in_account(self, account, "cloudformation", "DeleteStack", &name).unwrap();
        self.until("the stack is deleted", || {
            let described = in_account(self, account, "cloudformation", "DescribeStacks", &name);
            described.unwrap().contains("DELETE_COMPLETE").then_some(())
        });
    }

    /// The external ID that a role demands.
    fn demanded(&self, role: &str) -> String {
        let account = role.split(':').nth(4).unwrap();
        let name = role.rsplit('/').next().unwrap();
        let role = in_account(self, account, "iam", "GetRole", &[("RoleName", name)]).unwrap();
        let policy = role.split("ExternalId").nth(1).unwrap();
        let policy = policy.replace("%3A", ":");
        let at = policy.find("spotinst:").unwrap();
        policy[at..].split(['%', '"']).next().unwrap().to_owned()
    }
}

#[test]
fn an_account_that_comes_back_gets_another_stack_beside_the_one_from_before_and_both_are_told() {
    let rehearsal = Rehearsal::new(PROMPT);
    let sections = format!("{AUDIT}[removal]\nclosed_grace = \"0s\"\n");
    rehearsal.configure(&sections, "deployment = \"runner\"", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    let account = rehearsal.members()[0].clone();
    let before = rehearsal.links_of(&account)[0].clone();
    rehearsal.closes_and_comes_back(&account);
    // Nobody is told to delete the stack whose role Spot uses.
    let planned = rehearsal.enroll_ends(3, &["--dry-run"]);
    let changes = planned["steps"][0]["changes"].to_string();
    assert!(
        changes.contains("stays beside the new stack"),
        "{planned:#}"
    );
    assert_eq!(
        Rehearsal::found(&planned, "leftover-stack"),
        [] as [Value; 0]
    );

    let done = rehearsal.enroll_ends(3, &[]);
    assert_eq!(count(&done, "changed"), 1, "{done:#}");
    assert_eq!(count(&done, "ok"), 2, "{done:#}");
    let after = rehearsal.links_of(&account)[0].clone();
    assert_eq!(after.id, before.id);
    assert!(after.works && after.role != before.role, "{after:?}");
    let [old, new] = [&before, &after].map(|link| link.role.clone().unwrap());
    assert_eq!(rehearsal.demanded(&old), rehearsal.demanded(&new));
    let kept = Rehearsal::found(&done, "link-kept");
    let told = text(&kept[0]["message"]);
    assert!(
        told.contains("so did its external ID") && told.contains("without a gap"),
        "{told}"
    );
    let [leftover] = &Rehearsal::found(&done, "leftover-stack")[..] else {
        panic!("{done:#}");
    };
    let stack = text(&leftover["resource"]);
    assert!(
        text(&leftover["fix"]).contains(&format!("--stack-name {stack}")),
        "{leftover:#}"
    );
    assert!(text(&leftover["message"]).contains(&old), "{leftover:#}");

    // Whoever does what is said, ends it: nothing is taken from Spot with the stack.
    let calls = rehearsal.calls();
    rehearsal.delete_stack(&account, &stack);
    let clean = rehearsal.enroll_ends(0, &[]);
    assert_eq!(Rehearsal::found(&clean, "leftover-stack"), [] as [Value; 0]);
    assert_eq!(Rehearsal::found(&clean, "link-kept").len(), 1, "{clean:#}");
    assert_eq!(rehearsal.links_of(&account), [after]);
    let writes = rehearsal.writes_since(&calls);
    assert!(
        !writes.iter().any(|call| call.starts_with("spot:")),
        "{writes:?}"
    );
    // What is known to be gone is not asked for again.
    let again = rehearsal.enroll_ends(0, &[]);
    assert_eq!(again["api_calls"].get("sts:AssumeRole"), None, "{again:#}");
}

#[test]
fn a_role_from_before_that_has_the_new_ones_name_is_told_before_a_stack_fails_for_it() {
    let rehearsal = Rehearsal::new(&format!("{PROMPT}[provider]\nenabled = false\n"));
    let sections =
        format!("{AUDIT}[enrollment]\nprovider = \"direct\"\n[removal]\nclosed_grace = \"0s\"\n");
    rehearsal.configure(&sections, "", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    let account = rehearsal.members()[0].clone();
    let before = rehearsal.links_of(&account)[0].clone();
    rehearsal.closes_and_comes_back(&account);

    let calls = rehearsal.calls();
    let held = rehearsal.enroll_ends(3, &[]);
    assert_eq!(
        listed(&held, "skipped", "stack-remains"),
        [account.as_str()]
    );
    let writes = rehearsal.writes_since(&calls);
    assert_eq!(writes, names(&["sts:AssumeRole"]), "{held:#}");
    let rows = held["skipped"].as_array().unwrap();
    let row = rows.iter().find(|row| row["account"] == account.as_str());
    let detail = text(&row.unwrap()["detail"]);
    let stack = detail.split("--stack-name ").nth(1).unwrap();
    assert!(rehearsal.links_of(&account)[0].works);

    rehearsal.delete_stack(&account, stack);
    let done = rehearsal.enroll_ends(0, &[]);
    assert_eq!(count(&done, "changed"), 1, "{done:#}");
    let after = rehearsal.links_of(&account)[0].clone();
    assert!(after.works, "{after:?}");
    assert_eq!((after.id, after.role), (before.id, before.role));
}

/// An organization with one profile that AWS deploys to by itself, and a provider; the unit of an account and another one.
fn followed(deletion: &str) -> (Rehearsal, Background, String, String) {
    let rehearsal = Rehearsal::new(PROMPT);
    let units = rehearsal.admin("ous", None);
    let units = units["ous"].as_array().unwrap().iter();
    let units: Vec<String> = units
        .filter(|unit| unit["parent"].is_string())
        .map(|unit| text(&unit["id"]))
        .collect();
    let sections = format!("{AUDIT}[enrollment]\nserved_by = \"run\"\ndeletion = {deletion:?}\n");
    rehearsal.configure(&sections, "", &format!("ous = {:?}", &units[..2]));
    let account = rehearsal.members()[0].clone();
    let path = format!("accounts/{account}/move");
    rehearsal.post(&path, &json!({"ou": units[0]}));
    rehearsal.until_operations_end();
    rehearsal.sync_ends(0, &[]);
    let provider = rehearsal.runner.start(&["provider"]).unwrap();
    (rehearsal, provider, account, units[1].clone())
}

/// Moves an account, and waits until its new stack has linked it.
fn moves(rehearsal: &Rehearsal, account: &str, unit: &str) -> (SpotAccount, SpotAccount) {
    let before = rehearsal.links_of(account)[0].clone();
    let path = format!("accounts/{account}/move");
    rehearsal.post(&path, &json!({ "ou": unit }));
    let after = rehearsal.until("the new stack links it", || {
        match &rehearsal.links_of(account)[..] {
            [one] if one.role != before.role && one.role.is_some() => Some(one.clone()),
            _ => None,
        }
    });
    rehearsal.until_operations_end();
    (before, after)
}

#[test]
fn an_account_that_aws_moves_keeps_spot_account_and_external_id_without_a_gap() {
    let (rehearsal, _provider, account, unit) = followed("reconcile");
    let (before, after) = moves(&rehearsal, &account, &unit);
    assert_eq!(after.id, before.id);
    let told = rehearsal.enroll_ends(3, &[]);
    assert_eq!(told["steps"], json!([]), "{told:#}");
    assert_eq!(count(&told, "ok"), 2, "{told:#}");
    let kept = Rehearsal::found(&told, "link-kept");
    let message = text(&kept[0]["message"]);
    for role in [&before.role, &after.role] {
        assert!(message.contains(role.as_deref().unwrap()), "{message}");
    }
    assert_eq!(
        Rehearsal::found(&told, "leftover-stack").len(),
        1,
        "{told:#}"
    );
}

#[test]
fn a_move_that_takes_the_stack_along_is_told_with_its_gap_in_seconds() {
    let (rehearsal, _provider, account, unit) = followed("stack");
    let (_, after) = moves(&rehearsal, &account, &unit);
    assert!(after.works, "{after:?}");
    let told = rehearsal.enroll_ends(0, &[]);
    let [relinked] = &Rehearsal::found(&told, "relinked")[..] else {
        panic!("{told:#}");
    };
    let message = text(&relinked["message"]);
    let gap = message.split("with a gap of ").nth(1).unwrap();
    let gap: u64 = gap.split(' ').next().unwrap().parse().unwrap();
    assert!((1..=60).contains(&gap), "{message}");
    assert_eq!(Rehearsal::found(&told, "leftover-stack"), [] as [Value; 0]);
}

#[test]
fn an_account_that_moves_within_its_profile_is_updated_and_mended_where_it_is_now() {
    let rehearsal = Rehearsal::new(PROMPT);
    let units = rehearsal.admin("ous", None);
    let units = units["ous"].as_array().unwrap().iter();
    let units: Vec<String> = units
        .filter(|unit| unit["parent"].is_string())
        .map(|unit| text(&unit["id"]))
        .collect();
    let targets = format!("ous = {:?}", &units[..2]);
    rehearsal.configure(AUDIT, "deployment = \"runner\"", &targets);
    let account = rehearsal.members()[0].clone();
    let path = format!("accounts/{account}/move");
    rehearsal.post(&path, &json!({"ou": units[0]}));
    rehearsal.sync_ends(0, &[]);
    let before = rehearsal.links_of(&account);
    rehearsal.post(&path, &json!({"ou": units[1]}));
    // Its stack stays where it is.
    assert_eq!(rehearsal.enroll_ends(0, &[])["steps"], json!([]));

    rehearsal.let_others_in(&account);
    let done = rehearsal.enroll_ends(0, &["--set", "params.depth=full"]);
    assert_eq!(steps(&done), ["repair-stack-instances:default:1"]);
    assert_eq!(
        rehearsal.trust(&account)["Statement"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(rehearsal.links_of(&account), before);
}
