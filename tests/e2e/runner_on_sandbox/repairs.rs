//! `enroll`: whatever an account lacks, it gets, by what costs the account least.

use super::{
    audits::{audited, in_account, linked_role},
    drift::{found, pairs},
    *,
};

const FULL: [&str; 2] = ["--set", "params.depth=full"];

const PRODUCTS: &str = "products = [\"cost-intelligence\"]";

impl Rehearsal {
    /// `runner --output json exec enroll …`, which must end so and add up.
    #[track_caller]
    pub(super) fn enroll_ends(&self, code: i32, arguments: &[&str]) -> Value {
        let command = [&["--output", "json", "exec", "enroll"], arguments].concat();
        let ended = self.run(&command);
        let document = ended.json().unwrap();
        assert_adds_up(&document);
        assert_eq!(ended.code, code, "{document:#}\n{}", ended.stderr);
        document
    }

    /// Changes what the state remembers, as if it were longer ago.
    fn time_passes(&self, what: &str) {
        self.in_state(&format!("UPDATE {what}"));
    }

    /// Changes what the state remembers.
    pub(super) fn in_state(&self, statement: &str) {
        let code =
            "import sqlite3, sys\nwith sqlite3.connect(sys.argv[1]) as c: c.execute(sys.argv[2])";
        let mut python = std::process::Command::new("python3");
        python.args(["-c", code]).arg(self.path("runner.db"));
        let done = python.arg(statement).status().unwrap();
        assert!(done.success());
    }

    /// Names an account's Spot account as a person does.
    fn rename_at_spot(&self, account: &str, name: &str) {
        let body = json!({"account": {"name": name}});
        let path = format!("/setup/account/{}", self.links_of(account)[0].id);
        self.at_spot(reqwest::Method::PUT, &path, &body);
    }

    /// Lets somebody else into the role that Spot uses.
    pub(super) fn let_others_in(&self, account: &str) {
        let mut trust = self.trust(account);
        let statements = trust["Statement"].as_array_mut().unwrap();
        let other = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::999999999999:root"}});
        statements.push(other);
        self.set_trust(account, &trust);
    }

    fn spot_is_told(&self, account: &str, what: &str) {
        let spot = &self.links_of(account)[0].id;
        self.post(&format!("spot/{spot}/{what}"), &json!({}));
    }
}

/// The actions of a run's steps, each once.
fn actions(document: &Value) -> BTreeSet<String> {
    let steps = document["steps"].as_array().unwrap();
    steps.iter().map(|step| text(&step["action"])).collect()
}

pub(super) fn names(expected: &[&str]) -> BTreeSet<String> {
    expected.iter().map(|one| (*one).to_owned()).collect()
}

#[test]
fn what_was_undone_at_spot_is_done_again_and_no_stack_is_touched() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.configure("", PRODUCTS, "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    let members = rehearsal.members();
    let before = rehearsal.spot_accounts();
    let [renamed, unlinked, off, ..] = &members[..] else {
        panic!("{members:?}");
    };
    rehearsal.rename_at_spot(renamed, "somebody-elses");
    rehearsal.spot_is_told(unlinked, "unlink");
    rehearsal.spot_is_told(off, "cost-intelligence-off");

    let planned = rehearsal.enroll_ends(3, &["--dry-run"]);
    assert_eq!(count(&planned, "planned"), 3, "{planned:#}");
    let calls = rehearsal.calls();
    let done = rehearsal.enroll_ends(0, &[]);
    assert_eq!(count(&done, "changed"), 3, "{done:#}");
    let expected = [
        "enable-cost-intelligence",
        "link-spot-account",
        "rename-spot-account",
    ];
    assert_eq!(actions(&done), names(&expected));
    let mut writes = rehearsal.writes_since(&calls);
    writes.retain(|call| !call.starts_with("spot:"));
    // It would serve what stacks ask for.
    assert_eq!(writes, names(&["sqs:ReceiveMessage"]));
    assert_eq!(rehearsal.spot_accounts(), before);
    let again = rehearsal.enroll_ends(0, &[]);
    assert_eq!(again["steps"], json!([]), "{again:#}");
}

#[test]
fn a_spot_account_that_is_gone_and_a_role_that_is_gone_cost_their_stack_alone() {
    let rehearsal = Rehearsal::new(&format!("{SMALL}[spot]\nlinked = 1\n"));
    let others = rehearsal.spot_accounts();
    // One that was not created a moment ago: of such a one, Spot's listing may be late.
    let deleted = others
        .iter()
        .find_map(|one| one.aws_account.as_ref())
        .unwrap();
    audited(&rehearsal, "", "adopt = \"relink\"");
    rehearsal.sync_ends(0, &[]);
    let members = rehearsal.members();
    let roleless = members.iter().find(|account| *account != deleted).unwrap();
    let kept = rehearsal.links_of(roleless)[0].clone();
    let path = format!("/setup/account/{}", rehearsal.links_of(deleted)[0].id);
    rehearsal.at_spot(reqwest::Method::DELETE, &path, &json!({}));
    rehearsal.delete_role(roleless);

    // Without looking into the accounts, the role is not missed. And what was linked a moment ago, Spot may not list yet.
    let calls = rehearsal.calls();
    let early = rehearsal.enroll_ends(1, &[]);
    assert_eq!(count(&early, "failed"), 1, "{early:#}");
    let writes = rehearsal.writes_since(&calls);
    assert!(
        !writes.contains("cloudformation:DeleteStackInstances"),
        "{writes:?}"
    );
    rehearsal.time_passes("owners SET linked_at = linked_at - 600000");
    rehearsal.time_passes("mend_retry SET next_due = 0");
    let done = rehearsal.enroll_ends(0, &FULL);
    assert_eq!(count(&done, "changed"), 2, "{done:#}");
    let ran = [
        "delete-stacks:default:role-gone:1",
        "delete-stacks:default:spot-account-gone:1",
        "create-stack-instances:default:1",
    ];
    assert_eq!(steps(&done), ran);
    rehearsal.assert_enrolled_once(&members, &others);
    // Nobody knows for how long Spot had no role: what is told is since when it was seen.
    let relinked = Rehearsal::found(&done, "relinked");
    assert_eq!(relinked.len(), 2, "{done:#}");
    for finding in &relinked {
        let message = text(&finding["message"]);
        assert!(message.contains(", and longer"), "{message}");
    }
    let link = &rehearsal.links_of(roleless)[0];
    assert_eq!(link.id, kept.id);
    assert_ne!(link.role, kept.role);
    let again = rehearsal.enroll_ends(0, &FULL);
    assert_eq!(again["steps"], json!([]), "{again:#}");
}

#[test]
fn each_loss_is_made_good_only_where_the_job_may() {
    let rehearsal = Rehearsal::new(&format!("{SMALL}[spot]\nlinked = 1\n"));
    // One that was not created a moment ago, as above.
    let others = rehearsal.spot_accounts();
    let mut linked = others.iter().filter_map(|one| one.aws_account.clone());
    let account = linked.next().unwrap();
    rehearsal.configure("", "adopt = \"relink\"", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    let path = format!("/setup/account/{}", rehearsal.links_of(&account)[0].id);
    rehearsal.at_spot(reqwest::Method::DELETE, &path, &json!({}));
    rehearsal.time_passes("owners SET linked_at = linked_at - 600000");
    let job = "kind = \"enroll\"\n[params]\nremake = [\"role-gone\"]\n";
    rehearsal.write("config/jobs/enroll.toml", job);
    let calls = rehearsal.calls();
    let left = rehearsal.enroll_ends(3, &[]);
    assert_eq!(listed(&left, "skipped", "not-linked"), [account.as_str()]);
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    let set = "params.remake=[\"spot-account-gone\"]";
    let refused = rehearsal.run(&["exec", "enroll", "--set", set]);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("guard rail"), "{}", refused.stderr);

    rehearsal.write(
        "config/jobs/enroll.toml",
        &job.replace("role-gone", "spot-account-gone"),
    );
    let done = rehearsal.enroll_ends(0, &[]);
    assert!(steps(&done).contains(&"delete-stacks:default:spot-account-gone:1".to_owned()));
    assert_eq!(rehearsal.links_of(&account).len(), 1);
}

#[test]
fn what_waits_at_spot_holds_nothing_back_in_iam_and_is_forgotten_once_somebody_mends_it() {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let account = rehearsal.members()[0].clone();
    let name = rehearsal.links_of(&account)[0].name.clone();
    rehearsal.in_state(&format!(
        "INSERT INTO mend_retry (profile, account, mend, failures, next_due, reason, run_id) \
         VALUES ('default', '{account}', 'rename', 1, 9999999999, 'refused', 'another run')"
    ));
    rehearsal.rename_at_spot(&account, "somebody-elses");
    rehearsal.let_others_in(&account);
    let done = rehearsal.enroll_ends(3, &FULL);
    assert_eq!(actions(&done), names(&["repair-stack-instances"]));
    assert_eq!(listed(&done, "skipped", "retry-later"), [account.as_str()]);
    assert_eq!(rehearsal.links_of(&account)[0].name, "somebody-elses");

    rehearsal.rename_at_spot(&account, &name);
    let fine = rehearsal.enroll_ends(0, &[]);
    assert_eq!(fine["steps"], json!([]), "{fine:#}");
    rehearsal.rename_at_spot(&account, "somebody-elses");
    let again = rehearsal.enroll_ends(0, &[]);
    assert_eq!(actions(&again), names(&["rename-spot-account"]));
}

#[test]
fn a_finding_that_is_accepted_is_not_mended_and_the_others_of_its_account_are() {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let account = rehearsal.members()[0].clone();
    rehearsal.rename_at_spot(&account, "accepted");
    rehearsal.let_others_in(&account);
    let job = format!(
        "kind = \"drift-audit\"\n[params]\ndepth = \"full\"\nfix = true\n\
         suppress = [{{ finding = \"misnamed:{account}\", reason = \"CHG-1\", until = \"2099-01-01\" }}]\n"
    );
    rehearsal.write("config/jobs/drift-audit.toml", &job);
    let ended = rehearsal.run(&["--output", "json", "exec", "drift-audit"]);
    let fixed = ended.json().unwrap();
    assert_eq!(ended.code, 0, "{fixed:#}\n{}", ended.stderr);
    assert_eq!(actions(&fixed), names(&["repair-stack-instances"]));
    assert_eq!(
        rehearsal.trust(&account)["Statement"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(rehearsal.links_of(&account)[0].name, "accepted");
}

#[test]
fn a_role_that_somebody_pointed_spot_at_is_told_and_the_stacks_own_is_compared() {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let account = rehearsal.members()[0].clone();
    let before = rehearsal.links_of(&account)[0].clone();
    let trust = rehearsal.trust(&account).to_string();
    let input = [
        ("RoleName", "theirs"),
        ("AssumeRolePolicyDocument", &*trust),
    ];
    in_account(&rehearsal, &account, "iam", "CreateRole", &input).unwrap();
    let role = format!("arn:aws:iam::{account}:role/theirs");
    let path = format!("/setup/credentials/aws?accountId={}", before.id);
    rehearsal.until("IAM has told everybody", || {
        let body = json!({"credentials": {"iamRole": role}});
        rehearsal
            .try_at_spot(reqwest::Method::POST, &path, &body)
            .then_some(())
    });
    assert_eq!(rehearsal.links_of(&account)[0].role, Some(role));

    let asked = [&FULL[..], &["--set", "params.ask_spot=true"]].concat();
    let planned = rehearsal.enroll_ends(3, &[&asked[..], &["--dry-run"]].concat());
    // Its own role is as it should be: nothing is said of its policies, nor of those of the other.
    let told = planned["findings"].as_array().unwrap().iter();
    let told: Vec<String> = told.map(|one| text(&one["reason"])).collect();
    assert_eq!(told, [""; 0], "{planned:#}");
    let changes = planned["steps"][0]["changes"].to_string();
    assert!(
        changes.contains(before.role.as_deref().unwrap()),
        "{planned:#}"
    );
    let done = rehearsal.enroll_ends(0, &asked);
    assert_eq!(actions(&done), names(&["link-spot-account"]));
    assert_eq!(rehearsal.links_of(&account), [before]);
}

#[test]
fn many_stacks_at_once_are_not_removed_on_the_word_of_a_listing() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.configure("[removal]\nmax_removals = 2\n", "", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    let members = rehearsal.members();
    for account in &members[..3] {
        let path = format!("/setup/account/{}", rehearsal.links_of(account)[0].id);
        rehearsal.at_spot(reqwest::Method::DELETE, &path, &json!({}));
    }
    let calls = rehearsal.calls();
    let refused = rehearsal.enroll_ends(4, &[]);
    let writes = rehearsal.writes_since(&calls);
    assert_eq!(writes, BTreeSet::new(), "{refused:#}");
    assert_eq!(listed(&refused, "skipped", "not-linked").len(), 3);
}

#[test]
fn what_was_changed_in_a_role_is_written_again_in_place_and_verified() {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let account = rehearsal.members()[0].clone();
    let before = rehearsal.links_of(&account);
    let role = linked_role(&rehearsal, &account);
    let right = rehearsal.trust(&account);
    rehearsal.let_others_in(&account);

    rehearsal.enroll_ends(0, &[]);
    let done = rehearsal.enroll_ends(0, &["--set", "params.depth=full"]);
    assert_eq!(actions(&done), names(&["repair-stack-instances"]));
    assert_eq!(count(&done, "changed"), 1);
    assert_eq!(linked_role(&rehearsal, &account), role);
    assert_eq!(rehearsal.links_of(&account), before);
    let statements = |trust: &Value| trust["Statement"].as_array().unwrap().len();
    assert_eq!(statements(&rehearsal.trust(&account)), statements(&right));
}

#[test]
fn an_account_that_a_step_has_worked_on_is_read_again_whatever_was_read_before() {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let members = rehearsal.members();
    rehearsal.spot_is_told(&members[0], "unlink");
    let planned = rehearsal.enroll_ends(3, &[&FULL[..], &["--dry-run"]].concat());
    let reads = |document: &Value| document["api_calls"]["iam:GetRole"].as_u64().unwrap();
    assert_eq!(reads(&planned), members.len() as u64);
    let done = rehearsal.enroll_ends(0, &FULL);
    assert_eq!(actions(&done), names(&["link-spot-account"]));
    assert_eq!(reads(&done), reads(&planned) + 1, "{done:#}");
}

#[test]
fn what_one_account_was_given_as_a_parameter_is_no_difference_and_outlives_a_repair() {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let members = rehearsal.members();
    let [apart, other, ..] = &members[..] else {
        panic!("{members:?}");
    };
    let has_policy = |account: &str| {
        let role = linked_role(&rehearsal, account);
        let role = [("RoleName", &*role)];
        let attached = rehearsal.iam(account, "ListAttachedRolePolicies", &role);
        attached.contains("SpotManagedPolicy")
    };
    let parameter = "IncludeElastigroupOceanPolicy";
    rehearsal.give_override(apart, parameter, "false");
    assert!(!has_policy(apart) && has_policy(other));
    rehearsal.let_others_in(apart);
    rehearsal.let_others_in(other);

    let reads =
        |document: &Value| document["api_calls"]["cloudformation:DescribeStackInstance"].clone();
    let audit = rehearsal.audit_ends(3, &FULL);
    let expected = pairs(&[(apart, "trust-differs"), (other, "trust-differs")]);
    assert_eq!(found(&audit), expected, "{audit:#}");
    // Of the others, nobody asks what they override.
    assert_eq!(reads(&audit), 2, "{audit:#}");

    let fix = [
        &["--output", "json", "exec", "drift-audit", "--fix"],
        &FULL[..],
    ]
    .concat();
    let fixed = rehearsal.run(&fix);
    let document = fixed.json().unwrap();
    assert_eq!(fixed.code, 0, "{document:#}\n{}", fixed.stderr);
    assert_eq!(count(&document, "changed"), 2, "{document:#}");
    // They override different things: two operations, and what both came to.
    let mut steps = document["steps"].as_array().unwrap().iter();
    let note = "1 succeeded; 1 succeeded";
    assert!(steps.any(|step| step["note"] == note), "{document:#}");
    assert_eq!(rehearsal.overrides(apart), [parameter, "RepairNonce"]);
    assert_eq!(rehearsal.overrides(other), ["RepairNonce"]);
    assert!(!has_policy(apart) && has_policy(other));
    let clean = rehearsal.audit_ends(0, &FULL);
    assert_eq!(clean["findings"], json!([]), "{clean:#}");
    assert_eq!(reads(&clean), 1, "{clean:#}");

    // Nor is its stack made anew, without what it was given.
    rehearsal.delete_role(apart);
    let calls = rehearsal.calls();
    let left = rehearsal.enroll_ends(1, &FULL);
    let rows = left["failed"].to_string();
    assert!(rows.contains(parameter), "{left:#}");
    let writes = rehearsal.writes_since(&calls);
    assert!(
        !writes.contains("cloudformation:DeleteStackInstances"),
        "{writes:?}"
    );
}

#[test]
fn stack_sets_are_left_to_stackset_sync() {
    let rehearsal = Rehearsal::new(SMALL);
    let before = rehearsal.spot_accounts();
    rehearsal.configure("", "", "ous = [\"root\"]");
    let calls = rehearsal.calls();
    let nothing = rehearsal.enroll_ends(3, &[]);
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    let [finding] = &nothing["findings"].as_array().unwrap()[..] else {
        panic!("{nothing:#}");
    };
    assert_eq!(finding["reason"], "stack-set-missing");
    assert_eq!(finding["fix"], "stackset-sync");
    assert_eq!(count(&nothing, "skipped"), count(&nothing, "targeted"));

    // A definition that differs is no reason to leave out an account that lacks its stack.
    rehearsal.configure("", "deployment = \"runner\"", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    let unit = text(&rehearsal.admin("ous", None)["ous"][1]["id"]);
    rehearsal.post("accounts", &json!({ "name": "newcomer", "ou": unit }));
    rehearsal.configure(
        "",
        "deployment = \"runner\"\nproducts = [\"cost-intelligence\"]",
        "ous = [\"root\"]",
    );
    let done = rehearsal.enroll_ends(3, &[]);
    assert!(
        actions(&done).contains("create-stack-instances"),
        "{done:#}"
    );
    assert!(!actions(&done).contains("update-stack-set"), "{done:#}");
    let findings = done["findings"].as_array().unwrap();
    assert!(
        findings
            .iter()
            .any(|one| one["reason"] == "stack-set-differs"),
        "{done:#}"
    );
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
}

#[test]
fn only_an_audit_is_asked_to_fix() {
    let rehearsal = Rehearsal::new(SMALL);
    let ended = rehearsal.run(&["exec", "enroll", "--fix"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("drift-audit"), "{}", ended.stderr);
    let ended = rehearsal.run(&["exec", "drift-audit", "--set", "params.fix=true"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
}

#[test]
fn an_account_that_moves_between_profiles_keeps_its_spot_account_and_the_old_stack_goes() {
    let rehearsal = Rehearsal::new(&SMALL.replace("depth = 2", "depth = 1"));
    let units = rehearsal.admin("ous", None);
    let units = units["ous"].as_array().unwrap().iter();
    let units: Vec<String> = units
        .filter(|unit| unit["parent"].is_string())
        .map(|unit| text(&unit["id"]))
        .collect();
    let profile = |name: &str, unit: &str| {
        format!(
            "[[profiles]]\nname = {name:?}\ndeployment = \"runner\"\ntargets = {{ ous = [{unit:?}] }}\n"
        )
    };
    let text = format!(
        "[enrollment]\nserved_by = \"run\"\n[aws]\nregion = \"us-east-1\"\n{}{}",
        profile("first", &units[0]),
        profile("second", &units[1])
    );
    rehearsal.write("config/runner.toml", &text);
    let account = rehearsal.members()[0].clone();
    let path = format!("accounts/{account}/move");
    rehearsal.post(&path, &json!({"ou": units[0]}));
    rehearsal.sync_ends(0, &[]);
    let before = rehearsal.links_of(&account)[0].clone();
    rehearsal.post(&path, &json!({"ou": units[1]}));

    // Its new stack first: until that has taken the Spot account over, the old one stays.
    let moved_on = rehearsal.enroll_ends(0, &[]);
    let expected = names(&["create-stack-instances", "delete-stacks"]);
    assert_eq!(actions(&moved_on), expected, "{moved_on:#}");
    let moved = rehearsal.links_of(&account)[0].clone();
    assert_eq!(moved.id, before.id);
    assert!(moved.works && moved.role != before.role, "{moved:?}");
    let again = rehearsal.enroll_ends(0, &[]);
    assert_eq!(again["steps"], json!([]), "{again:#}");
    assert_eq!(rehearsal.links_of(&account), [moved]);
}

#[test]
fn a_suspended_account_is_left_alone_and_enrolled_again_once_it_is_reinstated() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.configure("", "deployment = \"runner\"", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    let account = rehearsal.members()[0].clone();
    let before = rehearsal.links_of(&account);
    rehearsal.post(&format!("accounts/{account}/suspend"), &json!({}));
    // Somebody tidied up at Spot meanwhile: nothing is done about it before the account is back.
    rehearsal.spot_is_told(&account, "unlink");
    let left = rehearsal.enroll_ends(0, &[]);
    assert_eq!(left["steps"], json!([]), "{left:#}");
    assert_eq!(
        listed(&left, "skipped", "suspended"),
        std::slice::from_ref(&account)
    );
    rehearsal.post(&format!("accounts/{account}/activate"), &json!({}));
    let done = rehearsal.enroll_ends(0, &[]);
    assert_eq!(actions(&done), names(&["link-spot-account"]));
    assert_eq!(rehearsal.links_of(&account), before);
}
