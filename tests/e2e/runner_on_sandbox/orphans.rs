//! Spot accounts that nobody needs any more: when they are deleted, what keeps them, and how they are made again.

mod clocks;
mod leftovers;
mod moment;
mod outcomes;
mod terminal;

use super::{
    audits::{in_account, linked_role},
    plain_stacks::StateFile,
    *,
};

/// Thirty member accounts: three of them are less than a tenth of all.
const THIRTY: &str = "seed = 7\nclock_speed = 120.0\n\
                      [organization]\naccounts = 30\nous = 4\ndepth = 2\ntrusted_access = true\n";

/// Deletes what is due at once.
pub(super) const AT_ONCE: &str = "apply = true\ngrace_period = \"0s\"\nmax_percent = \"100%\"";

const DELETE: &str = "spot:DELETE /setup/account/{accountId}";

impl Rehearsal {
    /// An enrolled organization, of which the clean-up has seen both listings.
    fn enrolled(scenario: &str, sections: &str, profile: &str) -> Self {
        let rehearsal = Self::new(scenario);
        let sections = format!("[removal]\nclosed_grace = \"0s\"\n{sections}");
        rehearsal.configure(&sections, profile, "ous = [\"root\"]");
        rehearsal.sync_ends(0, &[]);
        rehearsal.cleanup_ends(0, "", &[]);
        rehearsal
    }

    /// `runner --output json exec orphan-cleanup …`, with these parameters, which must end so.
    #[track_caller]
    pub(super) fn cleanup_ends(&self, code: i32, params: &str, arguments: &[&str]) -> Value {
        self.define_cleanup(&format!("[params]\n{params}"));
        let command = [&["--output", "json", "exec", "orphan-cleanup"], arguments].concat();
        let ended = self.run(&command);
        let document = ended.json().unwrap_or_else(|error| panic!("{error:#}"));
        assert_adds_up(&document);
        assert_eq!(ended.code, code, "{document:#}\n{}", ended.stderr);
        document
    }

    fn define_cleanup(&self, settings: &str) {
        let job = format!("kind = \"orphan-cleanup\"\n{settings}\n");
        self.write("config/jobs/orphan-cleanup.toml", &job);
    }

    /// How many deletions Spot has seen.
    fn deletions(&self) -> u64 {
        self.calls().get(DELETE).copied().unwrap_or(0)
    }

    /// An account leaves the organization, and is out of the stack set. Its Spot account.
    #[track_caller]
    fn departs(&self, account: &str) -> SpotAccount {
        let [spot] = &self.links_of(account)[..] else {
            panic!("{account} is not linked once")
        };
        self.post(&format!("accounts/{account}/remove"), &json!({}));
        self.until_operations_end();
        spot.clone()
    }

    fn is_at_spot(&self, id: &str) -> bool {
        self.spot_accounts().iter().any(|spot| spot.id == id)
    }

    /// `runner --output json runs undo …`.
    #[track_caller]
    fn undo_ends(&self, code: i32, run: &str, arguments: &[&str]) -> Value {
        let command = [&["--output", "json", "runs", "undo", run], arguments].concat();
        let ended = self.run(&command);
        assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
        ended.json().unwrap()
    }

    /// Lets Spot into an account's role whatever the external ID.
    fn open_role(&self, account: &str) {
        let role = linked_role(self, account);
        let trust = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": { "AWS": "arn:aws:iam::922761411349:root" }
        }]});
        let trust = trust.to_string();
        let input = [("RoleName", &*role), ("PolicyDocument", &*trust)];
        in_account(self, account, "iam", "UpdateAssumeRolePolicy", &input).unwrap();
    }
}

/// The ids of findings of a reason.
fn found(document: &Value, reason: &str) -> Vec<String> {
    let findings = document["findings"].as_array().unwrap();
    let findings = findings.iter().filter(|one| one["reason"] == reason);
    findings.map(|one| text(&one["message"])).collect()
}

#[test]
fn a_departed_account_waits_loses_its_spot_account_and_gets_another_when_that_is_undone() {
    let rehearsal = Rehearsal::enrolled(THIRTY, "", "");
    let account = rehearsal.members()[0].clone();
    let spot = rehearsal.departs(&account);
    let calls = rehearsal.calls();

    // It is seen, and waits; with apply as well.
    let seen = rehearsal.cleanup_ends(0, "", &[]);
    assert_eq!(listed(&seen, "skipped", "grace-period"), [account.as_str()]);
    rehearsal.cleanup_ends(0, "apply = true", &["--yes"]);
    // It is due, and nothing is deleted without apply, in a dry run, or without a word of the operator.
    let due = rehearsal.cleanup_ends(3, "grace_period = \"0s\"", &[]);
    assert_eq!((count(&due, "planned"), count(&due, "unchanged")), (1, 29));
    rehearsal.cleanup_ends(3, AT_ONCE, &["--dry-run", "--yes"]);
    let asked = rehearsal.run(&["exec", "orphan-cleanup"]);
    assert_eq!(asked.code, 4, "{}", asked.stderr);
    assert!(
        asked.stderr.contains("delete 1 Spot accounts"),
        "{}",
        asked.stderr
    );
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    assert!(rehearsal.is_at_spot(&spot.id));

    let done = rehearsal.cleanup_ends(0, AT_ONCE, &["--yes"]);
    assert_eq!((count(&done, "changed"), rehearsal.deletions()), (1, 1));
    assert!(!rehearsal.is_at_spot(&spot.id));
    let run = text(&done["run_id"]);
    let again = rehearsal.cleanup_ends(0, AT_ONCE, &["--yes"]);
    assert_eq!(
        (again["steps"].clone(), rehearsal.deletions()),
        (json!([]), 1)
    );

    let calls = rehearsal.calls();
    let shown = rehearsal.undo_ends(3, &run, &["--dry-run"]);
    assert_eq!(count(&shown, "planned"), 1, "{shown:#}");
    let asked = rehearsal.run(&["runs", "undo", &run]);
    assert_eq!(asked.code, 4, "{}", asked.stderr);
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    // The role trusts the old external ID, and the account is out of reach.
    let undone = rehearsal.undo_ends(3, &run, &["--yes"]);
    assert_eq!(count(&undone, "changed"), 1, "{undone:#}");
    let all = rehearsal.spot_accounts();
    let made: Vec<_> = all.iter().filter(|other| other.name == spot.name).collect();
    let [made] = made[..] else { panic!("{made:?}") };
    assert!(made.id != spot.id && made.aws_account.is_none(), "{made:?}");
    let words = &found(&undone, "recreated-not-linked")[0];
    for part in [&*made.id, &*spot.id, "external ID", "deployed again"] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let again = rehearsal.undo_ends(3, &run, &["--yes"]);
    assert_eq!(again["steps"], json!([]));
    assert_eq!(rehearsal.spot_accounts().len(), all.len());
}

#[test]
fn a_closed_account_loses_instance_and_spot_account_and_is_linked_again_where_its_role_lets_spot_in()
 {
    let rehearsal = Rehearsal::enrolled(THIRTY, "", "deployment = \"runner\"");
    let account = rehearsal.members()[0].clone();
    let [spot] = &rehearsal.links_of(&account)[..] else {
        panic!("not linked once")
    };
    rehearsal.open_role(&account);
    rehearsal.post(&format!("accounts/{account}/close"), &json!({}));
    rehearsal.until("the account is closed", || {
        let closed = rehearsal.account_ids(|account| account["state"] == "CLOSED");
        (closed.len() == 1).then_some(())
    });
    let done = rehearsal.cleanup_ends(0, AT_ONCE, &["--yes"]);
    let actions: Vec<&Value> = done["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| &step["action"])
        .collect();
    assert_eq!(actions, ["delete-stack-instances", "delete-spot-account"]);
    assert!(!rehearsal.is_at_spot(&spot.id));
    assert_eq!(rehearsal.instances().values().sum::<u64>(), 29);

    // It was closed by mistake, and is reinstated.
    rehearsal.post(&format!("accounts/{account}/activate"), &json!({}));
    let undone = rehearsal.undo_ends(0, &text(&done["run_id"]), &["--yes"]);
    assert_eq!(count(&undone, "changed"), 1, "{undone:#}");
    let [link] = &rehearsal.links_of(&account)[..] else {
        panic!("not linked once")
    };
    assert!(link.id != spot.id && link.name == spot.name, "{link:?}");
    assert_eq!((&link.role, link.works), (&spot.role, true));
    let document = rehearsal.cleanup_ends(0, AT_ONCE, &["--yes"]);
    assert_eq!(count(&document, "unchanged"), 30, "{document:#}");
}

#[test]
fn three_hundred_accounts_vanish_from_a_listing_and_nothing_is_deleted() {
    let scenario = "seed = 7\nclock_speed = 120.0\n\
                    [organization]\naccounts = 330\nous = 12\ndepth = 1\ntrusted_access = true\nrates = false\n";
    let rehearsal = Rehearsal::new(scenario);
    let unit = text(&rehearsal.admin("ous", None)["ous"][1]["id"]);
    rehearsal.configure(
        "[removal]\nclosed_grace = \"0s\"\n",
        "deployment = \"runner\"",
        &format!("ous = [{unit:?}]"),
    );
    rehearsal.sync_ends(0, &[]);
    rehearsal.cleanup_ends(0, "", &[]);
    let all = rehearsal.spot_accounts();
    // All that are enrolled, and as many others as make three hundred.
    let ours: Vec<String> = all
        .iter()
        .filter_map(|spot| spot.aws_account.clone())
        .collect();
    assert!(ours.len() > 10, "{ours:?}");
    let others = rehearsal.members();
    let others = others.into_iter().filter(|account| !ours.contains(account));
    let gone: Vec<String> = ours.iter().cloned().chain(others).take(300).collect();
    let unlist = |kind: &str, ids: &[String], unlisted: bool| {
        for id in ids {
            let body = json!({ "unlisted": unlisted });
            rehearsal.post(&format!("{kind}/{id}/unlist"), &body);
        }
    };
    let refused = |words: &str| {
        let calls = rehearsal.calls();
        for _again in 0..2 {
            let document = rehearsal.cleanup_ends(4, AT_ONCE, &["--yes"]);
            let refusal = &document["refusals"][0];
            assert_eq!(refusal["guard"], "shrink-guard", "{document:#}");
            assert!(text(&refusal["message"]).contains(words), "{document:#}");
        }
        assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
        assert_eq!(rehearsal.deletions(), 0);
    };
    let ids: Vec<String> = all.iter().skip(1).map(|spot| spot.id.clone()).collect();
    unlist("spot", &ids, true);
    refused("the Spot organization lists 1 accounts");
    unlist("spot", &ids, false);
    let document = rehearsal.cleanup_ends(0, AT_ONCE, &["--yes"]);
    assert_eq!(count(&document, "unchanged"), ours.len());
    unlist("accounts", &gone, true);
    refused("the organization lists 31 accounts, 300 fewer");
    assert_eq!(rehearsal.spot_accounts(), all);
}

#[test]
fn an_account_that_only_a_listing_lacks_is_asked_for_by_itself() {
    let rehearsal = Rehearsal::enrolled(THIRTY, "", "deployment = \"runner\"");
    let account = rehearsal.members()[0].clone();
    rehearsal.post(&format!("accounts/{account}/unlist"), &json!({}));
    let calls = rehearsal.calls();
    let document = rehearsal.cleanup_ends(1, AT_ONCE, &["--yes"]);
    let [removal, deletion] = &document["steps"].as_array().unwrap()[..] else {
        panic!("{document:#}")
    };
    assert_eq!(
        (&removal["outcome"], &deletion["outcome"]),
        (&json!("failed"), &json!("skipped"))
    );
    assert!(text(&removal["note"]).contains("in the organization after all"));
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    assert_eq!(rehearsal.links_of(&account).len(), 1);
}

#[test]
fn what_runs_in_a_spot_account_keeps_it_and_is_named() {
    let rehearsal = Rehearsal::enrolled(THIRTY, "", "");
    let spot = rehearsal.departs(&rehearsal.members()[0].clone());
    let running = format!("spot/{}/running", spot.id);
    rehearsal.post(&running, &json!({ "running": true }));
    let document = rehearsal.cleanup_ends(3, AT_ONCE, &["--yes"]);
    let said = found(&document, "still-running");
    assert!(
        said[0].contains(&spot.id) && said[0].contains("run in it"),
        "{said:?}"
    );
    assert_eq!(
        (rehearsal.deletions(), document["steps"].clone()),
        (0, json!([]))
    );
    rehearsal.post(&running, &json!({ "running": false }));
    rehearsal.cleanup_ends(0, AT_ONCE, &["--yes"]);
    assert!(!rehearsal.is_at_spot(&spot.id));
}

#[test]
fn protection_suspension_and_limits_hold_accounts_back() {
    let rehearsal = Rehearsal::enrolled(THIRTY, "", "");
    let members = rehearsal.members();
    let name = |id: &String| {
        let accounts = rehearsal.accounts();
        let account = accounts.iter().find(|account| account["id"] == id.as_str());
        text(&account.unwrap()["name"])
    };
    let protected = name(&members[0]);
    for account in &members[..3] {
        rehearsal.departs(account);
    }
    rehearsal.post(&format!("accounts/{}/suspend", members[3]), &json!({}));
    let params = format!("{AT_ONCE}\nprotected_names = [{protected:?}]\nmax_deletions = 1");
    let first = rehearsal.cleanup_ends(4, &params, &["--yes"]);
    assert_eq!(first["refusals"][0]["guard"], "max-deletions", "{first:#}");
    assert_eq!((count(&first, "changed"), rehearsal.deletions()), (1, 1));
    assert_eq!(
        listed(&first, "skipped", "protected"),
        [members[0].as_str()]
    );
    assert_eq!(
        listed(&first, "skipped", "suspended"),
        [members[3].as_str()]
    );
    assert_eq!(listed(&first, "skipped", "over-limit").len(), 1);

    let today = rehearsal.cleanup_ends(4, &format!("{params}\nmax_per_day = 1"), &["--yes"]);
    assert_eq!(today["refusals"][0]["guard"], "max-per-day", "{today:#}");
    // A tenth of the 30 that were there before is three, but a thirtieth is one.
    let share = params.replace("100%", "3%");
    let share = rehearsal.cleanup_ends(4, &share, &["--yes"]);
    assert_eq!(share["refusals"][0]["guard"], "max-percent", "{share:#}");
    assert_eq!(rehearsal.deletions(), 1);
    rehearsal.cleanup_ends(0, &params, &["--yes"]);
    assert_eq!(rehearsal.deletions(), 2);
    assert_eq!(rehearsal.links_of(&members[0]).len(), 1);
    assert_eq!(rehearsal.links_of(&members[3]).len(), 1);
}

#[test]
fn no_limit_and_no_protection_is_loosened_on_the_command_line() {
    let rehearsal = Rehearsal::new(SMALL);
    for (job, set) in [
        ("orphan-cleanup", "params.apply=true"),
        ("orphan-cleanup", "params.max_deletions=100"),
        ("orphan-cleanup", "params.grace_period=0s"),
        ("orphan-cleanup", "params.protected_ous=[]"),
        ("orphan-cleanup", "params.duplicates=[]"),
        ("policy-rollout", "params.iam=false"),
        ("policy-rollout", "params.ask_spot=false"),
        ("policy-rollout", "params.waves=[{ name = \"all\" }]"),
        ("policy-rollout", "params={ iam = false }"),
        (
            "policy-rollout",
            "params.window={ hours = \"00:00-23:59\" }",
        ),
        ("drift-audit", "params.suppress=[]"),
        ("drift-audit", "params.aggregator.max_age=1000d"),
        ("drift-audit", "params.token_max_age=1000d"),
        ("enroll", "params.remake=[]"),
        ("enroll", "kind=drift-audit"),
    ] {
        let ended = rehearsal.run(&["exec", job, "--set", set]);
        assert_eq!(ended.code, 2, "{set}: {}", ended.stderr);
        let why = "it is a guard rail; edit";
        assert!(ended.stderr.contains(why), "{set}: {}", ended.stderr);
    }
}

#[test]
fn a_link_that_is_not_ours_and_a_second_one_are_reported_and_stay() {
    let scenario = format!("{THIRTY}[spot]\nlinked = 1\n");
    let rehearsal = Rehearsal::enrolled(&scenario, "", "adopt = \"relink\"");
    let first = &rehearsal.spot_accounts()[1];
    let adopted = first.aws_account.clone().unwrap();
    rehearsal.departs(&adopted);
    let twice = rehearsal
        .members()
        .into_iter()
        .find(|account| *account != adopted)
        .unwrap();
    rehearsal.open_role(&twice);
    let second = rehearsal.link_by_hand(&twice);
    let document = rehearsal.cleanup_ends(3, AT_ONCE, &["--yes"]);
    assert!(
        found(&document, "not-ours")[0].contains("before us"),
        "{document:#}"
    );
    assert!(
        found(&document, "linked-to-several")[0].contains(&second),
        "{document:#}"
    );
    // Who is told to take somebody else's does not.
    let params = format!("{AT_ONCE}\nduplicates = [{second:?}]");
    rehearsal.cleanup_ends(3, &params, &["--yes"]);
    assert_eq!(rehearsal.deletions(), 0);
    assert_eq!(rehearsal.links_of(&twice).len(), 2);
}

impl Rehearsal {
    /// Somebody links an AWS account to one more Spot account, by the role that it has. That Spot account's id.
    fn link_by_hand(&self, account: &str) -> String {
        let role = self.links_of(account)[0].role.clone().unwrap();
        let call = |method: reqwest::Method, path: String, body: Value| {
            let url = format!("{}{path}", self.environment["SPOT_API_URL"]);
            let token = &self.environment["SPOTINST_TOKEN"];
            self.runtime.block_on(async {
                let request = wire::client()
                    .unwrap()
                    .request(method, url)
                    .bearer_auth(token);
                let request = request.header("content-type", "application/json");
                let answer = request.body(body.to_string()).send().await.unwrap();
                serde_json::from_str::<Value>(&answer.text().await.unwrap()).unwrap()
            })
        };
        let done = |answer: &Value| answer["response"]["errors"].is_null();
        let post = reqwest::Method::POST;
        let named = json!({ "account": { "name": "by hand" } });
        let made = call(post.clone(), "/setup/account".to_owned(), named);
        let id = text(&made["response"]["items"][0]["id"]);
        let external = format!("/setup/credentials/aws/externalId?accountId={id}");
        assert!(done(&call(post.clone(), external, json!({}))));
        let credentials = json!({ "credentials": { "iamRole": role } });
        let link = format!("/setup/credentials/aws?accountId={id}");
        // Not before Spot sees the role's change, as everybody who links has to find out.
        self.until("Spot takes the credentials", || {
            done(&call(post.clone(), link.clone(), credentials.clone())).then_some(())
        });
        id
    }
}

#[test]
fn an_account_that_nobody_targets_loses_its_stack_and_then_its_spot_account() {
    let rehearsal = Rehearsal::enrolled(THIRTY, "", "deployment = \"runner\"");
    let account = rehearsal.members()[0].clone();
    let [spot] = &rehearsal.links_of(&account)[..] else {
        panic!("not linked once")
    };
    let role = linked_role(&rehearsal, &account);
    rehearsal.configure(
        "[removal]\nclosed_grace = \"0s\"\n",
        "deployment = \"runner\"",
        &format!("ous = [\"root\"]\nexclude_accounts = [{account:?}]"),
    );
    let kept = rehearsal.cleanup_ends(3, AT_ONCE, &["--yes"]);
    assert_eq!(found(&kept, "outside-targets").len(), 1, "{kept:#}");
    let params = format!("{AT_ONCE}\nremove_outside_targets = true");
    let done = rehearsal.cleanup_ends(0, &params, &["--yes"]);
    assert_eq!(
        steps(&done),
        [
            format!("delete-stack:default:{account}"),
            format!("delete-spot-account:{}", spot.id)
        ]
    );
    assert!(!rehearsal.is_at_spot(&spot.id));
    let gone = in_account(
        &rehearsal,
        &account,
        "iam",
        "GetRole",
        &[("RoleName", &role)],
    );
    assert!(gone.is_err(), "{gone:?}");
    assert_eq!(rehearsal.instances().values().sum::<u64>(), 29);
}

#[test]
fn nothing_is_deleted_while_everything_is_frozen() {
    let rehearsal = Rehearsal::enrolled(SMALL, "max_shrink = \"20%\"", "");
    let spot = rehearsal.departs(&rehearsal.members()[0].clone());
    let freeze = ["freeze", "on", "--reason", "incident 4711"];
    assert_eq!(rehearsal.run(&freeze).code, 0);
    let refused = rehearsal.cleanup_ends(4, AT_ONCE, &["--yes"]);
    assert_eq!(refused["refusals"][0]["guard"], "freeze", "{refused:#}");
    assert!(rehearsal.is_at_spot(&spot.id));
    assert_eq!(rehearsal.deletions(), 0);
}

#[test]
fn an_approved_plan_needs_no_other_word() {
    let rehearsal = Rehearsal::enrolled(THIRTY, "", "");
    let spot = rehearsal.departs(&rehearsal.members()[0].clone());
    rehearsal.define_cleanup(&format!("approval = \"required\"\n[params]\n{AT_ONCE}"));
    let held = rehearsal.run(&["--output", "json", "exec", "orphan-cleanup"]);
    assert_eq!(held.code, 4, "{}", held.stderr);
    assert_eq!(rehearsal.deletions(), 0);
    let run = text(&held.json().unwrap()["run_id"]);
    let approved = rehearsal.run(&["runs", "approve", &run, "--as", "ada"]);
    assert_eq!(approved.code, 0, "{}{}", approved.stdout, approved.stderr);
    assert!(!rehearsal.is_at_spot(&spot.id));
    let another = rehearsal.run(&["runs", "undo", "0"]);
    assert_eq!(another.code, 2, "{}", another.stderr);
}
