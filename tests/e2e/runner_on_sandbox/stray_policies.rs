//! Policies that somebody gave our roles behind CloudFormation's back: an audit that is asked to fix takes them away through the
//! remediation role, looks again, and what they said is in the journal.

use super::{
    audits::{in_account, linked_role},
    bootstraps::{bare, bootstrapped},
    drift::{finding, found, json_in, pairs},
    *,
};

const ADMIN: &str = "arn:aws:iam::aws:policy/AdministratorAccess";
const FULL: &str = "depth = \"full\"";

/// With an audit role, and these sections; each lets this principal in.
fn configured(rehearsal: &Rehearsal, principal: &str, remediation: &str) {
    let organization = rehearsal
        .runtime
        .block_on(rehearsal.wire.json(
            "organizations",
            "AWSOrganizationsV20161128.DescribeOrganization",
            &json!({}),
        ))
        .unwrap();
    let id = text(&organization["Organization"]["Id"]);
    let sections = format!(
        "[audit]\nenabled = true\nprincipals = [{principal:?}]\norganization_id = {id:?}\n{remediation}"
    );
    rehearsal.configure(&sections, "", "ous = [\"root\"]");
    rehearsal.define_audit(&format!("[params]\n{FULL}"));
}

/// The same with the remediation role.
fn remedied(rehearsal: &Rehearsal, principal: &str, more: &str) {
    let remediation =
        format!("[remediation]\nenabled = true\nprincipals = [{principal:?}]\n{more}");
    configured(rehearsal, principal, &remediation);
}

fn document(effect: &str, action: &str) -> String {
    let statement = json!({"Effect": effect, "Action": action, "Resource": "*"});
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

impl Rehearsal {
    fn put_inline(&self, account: &str, name: &str, document: &str) {
        let role = linked_role(self, account);
        let input = [
            ("RoleName", &*role),
            ("PolicyName", name),
            ("PolicyDocument", document),
        ];
        self.iam(account, "PutRolePolicy", &input);
    }

    fn attach(&self, account: &str, arn: &str) {
        let role = linked_role(self, account);
        let input = [("RoleName", &*role), ("PolicyArn", arn)];
        self.iam(account, "AttachRolePolicy", &input);
    }

    /// The names of an account's role's inline policies, and the ARNs of those that are attached.
    fn policies(&self, account: &str) -> (Vec<String>, Vec<String>) {
        let role = linked_role(self, account);
        let name = [("RoleName", role.as_str())];
        let list = |xml: &str, open: &str| -> Vec<String> {
            let parts = xml.split(open).skip(1);
            parts
                .map(|part| part.split('<').next().unwrap().to_owned())
                .collect()
        };
        let inline = self.iam(account, "ListRolePolicies", &name);
        let attached = self.iam(account, "ListAttachedRolePolicies", &name);
        (list(&inline, "<member>"), list(&attached, "<PolicyArn>"))
    }

    /// `runner --output json exec drift-audit --fix …`, which must end so and add up.
    #[track_caller]
    fn fix_ends(&self, session: &[(&str, &str)], code: i32, arguments: &[&str]) -> Value {
        let command = ["--output", "json", "exec", "drift-audit", "--fix"];
        let ended = self.run_with(session, &[&command[..], arguments].concat());
        let document = ended.json().unwrap();
        assert_adds_up(&document);
        assert_eq!(ended.code, code, "{document:#}\n{}", ended.stderr);
        document
    }

    /// The calls since, without sessions and what serves the queue.
    fn iam_writes_since(&self, calls: &BTreeMap<String, u64>) -> BTreeSet<String> {
        let mut writes = self.writes_since(calls);
        writes.retain(|call| call.starts_with("iam:"));
        writes
    }
}

fn names(expected: &[&str]) -> BTreeSet<String> {
    expected.iter().map(|one| (*one).to_owned()).collect()
}

/// The words of a POSIX shell's command, as far as ours use its quotes.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => quoted = !quoted,
            '\\' if !quoted => word.extend(characters.next()),
            ' ' if !quoted => words.push(std::mem::take(&mut word)),
            other => word.push(other),
        }
    }
    words.push(word);
    words
}

#[test]
fn what_somebody_added_goes_with_the_runners_own_permissions_and_can_be_put_back() {
    let rehearsal = bare();
    remedied(&rehearsal, "role/spot-onboarding-runner", "");
    let made = bootstrapped(&rehearsal);
    let role = text(&made["stacks"][0]["outputs"]["RunnerRoleArn"]);
    let session = rehearsal.session(&role);
    let [id, _, token] = session.each_ref().map(|(_, value)| value.as_str());
    let variables = session
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let sync = ["--output", "json", "exec", "stackset-sync"];
    let synced = rehearsal.run_with(&variables, &sync);
    assert_eq!(synced.code, 0, "{}\n{}", synced.stdout, synced.stderr);
    let ran = steps(&synced.json().unwrap());
    let deployed = "create-stack-instances:remediation-role:1".to_owned();
    assert!(ran.contains(&deployed), "{ran:?}");

    let members = rehearsal.members();
    let [both, other, denied, fine, ..] = &members[..] else {
        panic!("{members:?}");
    };
    let as_it_was = rehearsal.policies(both);
    // With a character that a shell's quotes end at.
    let debug = document("Allow", "iam:*").replace("\"Version\"", "\"Id\":\"it's\",\"Version\"");
    let deny = document("Deny", "ec2:*");
    rehearsal.put_inline(both, "debug@1+1", &debug);
    rehearsal.attach(both, ADMIN);
    let policy = [
        ("PolicyName", "reader"),
        ("PolicyDocument", &*document("Allow", "s3:*")),
    ];
    rehearsal.iam(other, "CreatePolicy", &policy);
    let reader = format!("arn:aws:iam::{other}:policy/reader");
    rehearsal.attach(other, &reader);
    // An incident response looks like this: what it forbids, nothing of ours allows again.
    rehearsal.put_inline(denied, "AWSRevokeOlderSessions", &deny);

    let audit = ["--output", "json", "exec", "drift-audit"];
    let looked = rehearsal.run_with(&variables, &audit);
    assert_eq!(looked.code, 3, "{}", looked.stderr);
    let looked = looked.json().unwrap();
    let left = pairs(&[(denied, "policy-inline-extra")]);
    let expected: BTreeSet<_> = pairs(&[
        (both, "policy-inline-extra"),
        (both, "policy-attached-extra"),
        (other, "policy-attached-extra"),
    ])
    .union(&left)
    .cloned()
    .collect();
    assert_eq!(found(&looked), expected, "{looked:#}");
    for account in [both, other] {
        let stray = finding(&looked, account, "policy-attached-extra");
        assert_eq!(stray["fix"], "drift-audit --fix", "{stray:#}");
    }
    let kept = finding(&looked, denied, "policy-inline-extra");
    let command = "needs a person, in the account: aws iam delete-role-policy";
    assert!(text(&kept["fix"]).starts_with(command), "{kept:#}");

    // Who only looks, or asks what would be done, changes nothing.
    let calls = rehearsal.calls();
    let planned = rehearsal.fix_ends(&variables, 3, &["--dry-run"]);
    assert_eq!(rehearsal.iam_writes_since(&calls), BTreeSet::new());
    assert_eq!(count(&planned, "planned"), 2, "{planned:#}");
    let step = &planned["steps"][0];
    assert_eq!(step["action"], "remove-stray-policies", "{step:#}");
    assert_eq!(step["risk"], "high");
    let planned = planned["steps"].to_string();
    for words in [
        "take away inline policy debug@1+1: - iam:* on *",
        "take away attached policy arn:aws:iam::aws:policy/AdministratorAccess: - ",
    ] {
        assert!(planned.contains(words), "{words}: {planned}");
    }

    let fixed = rehearsal.fix_ends(&variables, 3, &[]);
    assert_eq!(
        rehearsal.iam_writes_since(&calls),
        names(&["iam:DeleteRolePolicy", "iam:DetachRolePolicy"])
    );
    assert_eq!(fixed["api_calls"]["iam:DeleteRolePolicy"], 1, "{fixed:#}");
    assert_eq!(fixed["api_calls"]["iam:DetachRolePolicy"], 2, "{fixed:#}");
    assert_eq!(count(&fixed, "changed"), 2, "{fixed:#}");
    assert_eq!(found(&fixed), left, "{fixed:#}");
    assert_eq!(rehearsal.policies(both), as_it_was);
    let managed = [("PolicyArn", &*reader)];
    rehearsal.iam(other, "GetPolicy", &managed);
    // The next look finds it so, and nothing to do.
    let calls = rehearsal.calls();
    let again = rehearsal.fix_ends(&variables, 3, &[]);
    assert_eq!(again["steps"], json!([]), "{again:#}");
    assert_eq!(found(&again), left);
    assert_eq!(rehearsal.iam_writes_since(&calls), BTreeSet::new());

    // With what the journal has, a person puts back what was taken away, as it was.
    let run = text(&fixed["run_id"]);
    let shown = rehearsal.run(&["--output", "json", "runs", "show", &run]);
    let shown = shown.json().unwrap();
    let of_both = format!("remove-stray-policies:{both}");
    let mut of_steps = shown["steps"].as_array().unwrap().iter();
    let step = of_steps.find(|step| step["id"] == *of_both).unwrap();
    let commands = step["put_back"].as_array().unwrap();
    assert_eq!(commands.len(), 2, "{step:#}");
    for command in commands {
        let words = words(&text(command));
        let value = |name: &str| {
            let at = words.iter().position(|word| word == name);
            at.map(|at| words[at + 1].clone())
        };
        let pairs = [
            ("RoleName", "--role-name"),
            ("PolicyName", "--policy-name"),
            ("PolicyDocument", "--policy-document"),
            ("PolicyArn", "--policy-arn"),
        ];
        let input: Vec<(&str, String)> = pairs
            .into_iter()
            .filter_map(|(field, name)| Some((field, value(name)?)))
            .collect();
        let input: Vec<(&str, &str)> = input
            .iter()
            .map(|(field, value)| (*field, value.as_str()))
            .collect();
        let action = match &*words[2] {
            "put-role-policy" => "PutRolePolicy",
            "attach-role-policy" => "AttachRolePolicy",
            other => panic!("{other}"),
        };
        rehearsal.iam(both, action, &input);
    }
    let (inline, attached) = rehearsal.policies(both);
    assert_eq!(inline, ["debug@1+1"]);
    assert!(attached.contains(&ADMIN.to_owned()), "{attached:?}");
    let role = linked_role(&rehearsal, both);
    let read = [("RoleName", &*role), ("PolicyName", "debug@1+1")];
    let back = rehearsal.iam(both, "GetRolePolicy", &read);
    let debug: Value = serde_json::from_str(&debug).unwrap();
    assert_eq!(json_in(&back, "PolicyDocument"), debug);
    let shown = rehearsal.run(&["runs", "show", &run]);
    assert!(
        shown
            .stdout
            .contains("to put back what remove-stray-policies:"),
        "{}",
        shown.stdout
    );

    // The runner can take away nothing by itself, and through the role nothing but that, from no other role.
    let wire = rehearsal.wire.in_session(id, token);
    let asked = wire.query(
        "iam",
        "DeleteRolePolicy",
        &[
            ("Version", "2010-05-08"),
            ("RoleName", "spot-onboarding-runner"),
            ("PolicyName", "runner"),
        ],
    );
    let refused = format!("{:#}", rehearsal.runtime.block_on(asked).unwrap_err());
    assert!(refused.contains("AccessDenied"), "{refused}");
    let role = format!("arn:aws:iam::{fine}:role/spot-onboarding-remediation");
    let assume = [
        ("Version", "2011-06-15"),
        ("RoleArn", &*role),
        ("RoleSessionName", "rehearsal"),
    ];
    let issued = rehearsal
        .runtime
        .block_on(wire.query("sts", "AssumeRole", &assume))
        .unwrap();
    let part = |name: &str| {
        let rest = issued.split(&format!("<{name}>")).nth(1).unwrap();
        rest.split('<').next().unwrap().to_owned()
    };
    let inside = rehearsal
        .wire
        .in_session(&part("AccessKeyId"), &part("SessionToken"));
    let spot_role = linked_role(&rehearsal, fine);
    let own = rehearsal.policies(fine).1.remove(0);
    let ours = ("RoleName", &*spot_role);
    for (action, input) in [
        ("DetachRolePolicy", &[ours, ("PolicyArn", &*own)][..]),
        ("AttachRolePolicy", &[ours, ("PolicyArn", ADMIN)]),
        (
            "PutRolePolicy",
            &[ours, ("PolicyName", "x"), ("PolicyDocument", &*deny)],
        ),
        ("GetRole", &[ours]),
        ("DeleteRole", &[ours]),
        (
            "DeleteRolePolicy",
            &[
                ("RoleName", "spot-onboarding-audit"),
                ("PolicyName", "read"),
            ],
        ),
        (
            "DetachRolePolicy",
            &[
                ("RoleName", "OrganizationAccountAccessRole"),
                ("PolicyArn", ADMIN),
            ],
        ),
    ] {
        let input = [&[("Version", "2010-05-08")], input].concat();
        let asked = rehearsal
            .runtime
            .block_on(inside.query("iam", action, &input));
        let refused = format!("{:#}", asked.unwrap_err());
        assert!(refused.contains("AccessDenied"), "{action}: {refused}");
    }
}

#[test]
fn without_the_remediation_role_a_person_gets_the_commands_and_nothing_is_written() {
    let rehearsal = Rehearsal::new(SMALL);
    configured(&rehearsal, "user/administrator", "");
    rehearsal.sync_ends(0, &[]);
    let account = &rehearsal.members()[0];
    rehearsal.put_inline(account, "debug", &document("Allow", "iam:*"));
    rehearsal.attach(account, ADMIN);
    let calls = rehearsal.calls();
    let fixed = rehearsal.fix_ends(&[], 3, &[]);
    assert_eq!(fixed["steps"], json!([]), "{fixed:#}");
    assert_eq!(rehearsal.iam_writes_since(&calls), BTreeSet::new());
    let role = linked_role(&rehearsal, account);
    for (reason, command) in [
        (
            "policy-inline-extra",
            format!("aws iam delete-role-policy --role-name {role} --policy-name debug"),
        ),
        (
            "policy-attached-extra",
            format!("aws iam detach-role-policy --role-name {role} --policy-arn {ADMIN}"),
        ),
    ] {
        let stray = finding(&fixed, account, reason);
        let fix = format!("needs a person, in the account: {command}");
        assert_eq!(stray["fix"], fix, "{stray:#}");
    }
    // Nor is AWS asked for what its own policies say.
    assert_eq!(fixed["api_calls"].get("iam:DeleteRolePolicy"), None);
    let policy = rehearsal.run(&["iam-policy"]).stdout;
    assert!(!policy.contains("remediation"), "{policy}");
}

#[test]
fn what_was_changed_since_somebody_looked_is_left_to_the_next_plan() {
    let rehearsal = Rehearsal::new(SMALL);
    remedied(&rehearsal, "user/administrator", "");
    rehearsal.sync_ends(0, &[]);
    let members = rehearsal.members();
    let [changed, same, ..] = &members[..] else {
        panic!("{members:?}");
    };
    for account in [changed, same] {
        rehearsal.put_inline(account, "debug", &document("Allow", "iam:*"));
    }
    let file = rehearsal.path("plan.json");
    let file = file.to_str().unwrap();
    let planned = rehearsal.run(&["plan", "drift-audit", "--fix", "-o", file]);
    assert_eq!(planned.code, 3, "{}{}", planned.stdout, planned.stderr);
    for words in ["risk: HIGH", "take away inline policy debug", "is the same"] {
        assert!(
            planned.stdout.contains(words),
            "{words}: {}",
            planned.stdout
        );
    }
    rehearsal.put_inline(changed, "debug", &document("Allow", "s3:*"));
    let applied = rehearsal.run(&["--output", "json", "apply", file]);
    let document = applied.json().unwrap();
    assert_adds_up(&document);
    assert_eq!(applied.code, 3, "{document:#}\n{}", applied.stderr);
    assert_eq!(count(&document, "changed"), 1, "{document:#}");
    assert_eq!(
        listed(&document, "skipped", "moved"),
        std::slice::from_ref(changed),
        "{document:#}"
    );
    assert_eq!(rehearsal.policies(changed).0, ["debug"]);
    assert_eq!(rehearsal.policies(same).0, Vec::<String>::new());
}

#[test]
fn more_at_once_than_is_allowed_or_a_role_that_may_not_takes_nothing_away() {
    let rehearsal = Rehearsal::new(SMALL);
    remedied(&rehearsal, "user/administrator", "max_roles = 1\n");
    rehearsal.sync_ends(0, &[]);
    let members = rehearsal.members();
    let [first, second, ..] = &members[..] else {
        panic!("{members:?}");
    };
    for account in [first, second] {
        rehearsal.put_inline(account, "debug", &document("Allow", "iam:*"));
    }
    let calls = rehearsal.calls();
    let refused = rehearsal.fix_ends(&[], 4, &[]);
    assert_eq!(refused["refusals"][0]["guard"], "max-remediations");
    assert_eq!(rehearsal.iam_writes_since(&calls), BTreeSet::new());

    // Somebody has taken the remediation role's own policy in one of the accounts.
    remedied(&rehearsal, "user/administrator", "");
    let remedy = [
        ("RoleName", "spot-onboarding-remediation"),
        ("PolicyName", "remedy"),
    ];
    in_account(&rehearsal, first, "iam", "DeleteRolePolicy", &remedy).unwrap();
    let failed = rehearsal.fix_ends(&[], 1, &[]);
    let expected = pairs(&[(first, "policy-inline-extra")]);
    assert_eq!(found(&failed), expected, "{failed:#}");
    let mut steps = failed["steps"].as_array().unwrap().iter();
    let step = steps.find(|step| step["outcome"] == "failed").unwrap();
    assert_eq!(step["error"], "denied", "{step:#}");
    assert_eq!(rehearsal.policies(first).0, ["debug"]);
    assert_eq!(rehearsal.policies(second).0, Vec::<String>::new());
}
