//! IAM's truth from an aggregator of AWS Config: the same is found as in the accounts, by pages and without a role, and as of when
//! AWS Config saw it; what it does not have is not known; and nothing is mended on its word.

use super::*;

const AGGREGATOR: &str = "[params]\ndepth = \"full\"\naggregator = { name = \"organization\" }\n";

/// The same, where a role that was linked a second ago may be missing.
const AT_ONCE: &str =
    "[params]\ndepth = \"full\"\naggregator = { name = \"organization\", max_age = \"1s\" }\n";

/// Recorders that look when the test says so.
const WHEN_TOLD: &str = "[config]\nenabled = true\ncapture = \"1000h\"\n";

impl Rehearsal {
    fn recorders_look(&self) {
        self.post("recorders", &json!({}));
    }

    /// Adds an inline policy to the role of an account.
    fn add_stray(&self, account: &str) {
        let role = linked_role(self, account);
        let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]});
        let policy = policy.to_string();
        let input = [
            ("RoleName", &*role),
            ("PolicyName", "stray"),
            ("PolicyDocument", &*policy),
        ];
        self.iam(account, "PutRolePolicy", &input);
    }

    /// Lets somebody else in as well.
    fn widen_trust(&self, account: &str) {
        let mut trust = self.trust(account);
        let other = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::999999999999:root"}});
        trust["Statement"].as_array_mut().unwrap().push(other);
        self.set_trust(account, &trust);
    }

    fn management(&self) -> String {
        let management = self.account_ids(|account| account["management"] == true);
        management[0].clone()
    }
}

/// The calls of a run to AWS Config, and asserts that no account was looked into.
#[track_caller]
fn calls_of(document: &Value) -> BTreeMap<String, u64> {
    let mut calls: BTreeMap<String, u64> =
        serde_json::from_value(document["api_calls"].clone()).unwrap();
    let looks = |call: &&String| call.starts_with("iam:") || *call == "sts:AssumeRole";
    assert_eq!(calls.keys().find(looks), None, "{calls:?}");
    calls.retain(|call, _| call.starts_with("config:"));
    calls
}

/// How many accounts were asked, without as of when.
#[track_caller]
fn audited_of(document: &Value) -> Value {
    let mut audited = document["audited"].clone();
    let oldest = audited.as_object_mut().unwrap().remove("oldest_status");
    let some_read = audited["read"] != 0;
    assert_eq!(
        oldest.is_some_and(|at| at.is_i64()),
        some_read,
        "{document:#}"
    );
    audited
}

/// The findings without when AWS Config saw them.
fn timeless(document: &Value) -> Vec<Value> {
    let mut findings = document["findings"].as_array().unwrap().clone();
    for finding in &mut findings {
        let finding = finding.as_object_mut().unwrap();
        finding.remove("recorded");
        finding.remove("last_seen");
    }
    findings
}

/// The accounts that the sandbox says something is wrong with.
fn drawn(rehearsal: &Rehearsal, what: &str) -> Vec<String> {
    let state = rehearsal.admin("state", None);
    let accounts = state["config"][what].as_array().unwrap();
    accounts.iter().map(text).collect()
}

#[test]
fn what_is_found_in_the_accounts_is_found_through_the_aggregator_and_no_account_is_asked() {
    let rehearsal = Rehearsal::new(&format!(
        "{TWELVE}[config]\nenabled = true\nbatch = 5\nregions = [\"us-east-1\", \"eu-west-1\", \"us-west-2\"]\n\
         iam_regions = [\"us-east-1\", \"eu-west-1\"]\n"
    ));
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let members = rehearsal.members();
    let [inline, attached, detached, changed, widened, gone, ..] = &members[..] else {
        panic!("{members:?}");
    };
    rehearsal.add_stray(inline);
    // One of the account's own, with a name that no stack gives.
    let anything = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]});
    let input = [
        ("PolicyName", "somebody-elses"),
        ("PolicyDocument", &*anything.to_string()),
    ];
    rehearsal.iam(attached, "CreatePolicy", &input);
    let (role, arn) = (
        linked_role(&rehearsal, attached),
        format!("arn:aws:iam::{attached}:policy/somebody-elses"),
    );
    let input = [("RoleName", &*role), ("PolicyArn", &*arn)];
    rehearsal.iam(attached, "AttachRolePolicy", &input);
    let arn = rehearsal.attached(detached, "SpotinstCostIntelligence");
    let role = linked_role(&rehearsal, detached);
    let input = [("RoleName", &*role), ("PolicyArn", &*arn)];
    rehearsal.iam(detached, "DetachRolePolicy", &input);
    let arn = rehearsal.attached(changed, "SpotinstCostIntelligence");
    let mut wider = rehearsal.document(changed, &arn);
    let statement = json!({"Sid": "Stray", "Effect": "Allow", "Action": "iam:*", "Resource": "*"});
    wider["Statement"].as_array_mut().unwrap().push(statement);
    rehearsal.new_version(changed, &arn, &wider);
    rehearsal.widen_trust(widened);
    rehearsal.delete_role(gone);

    let by_role = rehearsal.audit_ends(3, &["--set", FULL]);
    let expected = pairs(&[
        (inline, "policy-inline-extra"),
        (attached, "policy-attached-extra"),
        (detached, "policy-detached"),
        (changed, "policy-document-differs"),
        (widened, "trust-differs"),
        (gone, "role-missing"),
    ]);
    let told = pairs(&[(gone, "cost-intelligence-not-connected")]);
    let told: BTreeSet<_> = told.union(&expected).cloned().collect();
    assert_eq!(found(&by_role), told, "{by_role:#}");

    rehearsal.define_audit(AT_ONCE);
    let by_aggregator = rehearsal.audit_ends(3, &[]);
    println!("through the aggregator: {:?}", calls_of(&by_aggregator));
    // First seen by the audit before: it is the same finding, whoever tells it.
    assert_eq!(timeless(&by_aggregator), timeless(&by_role));
    let all = json!({"asked": 12, "read": 12, "unreadable": 0, "by_aggregator": true});
    assert_eq!(audited_of(&by_aggregator), all);
    for (account, reason) in &expected {
        let recorded = &finding(&by_aggregator, account, reason)["recorded"];
        assert!(recorded["collected_at"].is_i64(), "{recorded:#}");
        assert_eq!(
            recorded["captured_at"].is_i64(),
            account != gone,
            "{recorded:#}"
        );
    }
    let shown = rehearsal.run(&["exec", "drift-audit", "--report", "report.html"]);
    assert!(
        shown.stdout.contains("as AWS Config saw it at 2")
            && shown
                .stdout
                .contains("AWS Config told what IAM has in 12 of the 12 accounts"),
        "{}",
        shown.stdout
    );
    let html = fs::read_to_string(rehearsal.path("report.html")).unwrap();
    assert!(html.contains("as AWS Config saw it at 2"), "{html}");

    // It was linked a moment ago, so that its absence means nothing yet.
    rehearsal.define_audit(AGGREGATOR);
    let doubtful = rehearsal.audit_ends(3, &[]);
    let unreadable = finding(&doubtful, gone, "role-unreadable");
    assert!(
        text(&unreadable["actual"]).contains("too short a while ago"),
        "{unreadable:#}"
    );
    assert_eq!(doubtful["audited"]["unreadable"], 1);
}

#[test]
fn what_aws_config_does_not_have_is_not_known_with_its_reason() {
    let rehearsal = Rehearsal::new(&format!(
        "{TWELVE}[config]\nenabled = true\nunrecorded = 2\nfailing = 1\nstale = 1\n"
    ));
    // There is no role to read the accounts through.
    rehearsal.configure("", "", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    rehearsal.define_audit(AGGREGATOR);
    let members = rehearsal.members();
    let [unrecorded, failing, stale] =
        ["unrecorded", "failing", "stale"].map(|what| drawn(&rehearsal, what));
    for account in [&unrecorded[0], &failing[0], &stale[0]] {
        rehearsal.add_stray(account);
    }
    let document = rehearsal.audit_ends(3, &[]);
    let all = [&unrecorded[..], &failing, &stale].concat();
    let expected: Vec<_> = all.iter().map(|one| (one, "role-unreadable")).collect();
    assert_eq!(found(&document), pairs(&expected), "{document:#}");
    for (accounts, reason) in [
        (
            &unrecorded,
            "AWS Config records none of this account's roles in us-east-1",
        ),
        (
            &failing,
            "us-east-1 FAILED (ResourceNotFound: AWS Config is not set up",
        ),
        (&stale, "its status in us-east-1 is from"),
    ] {
        for account in accounts {
            let finding = finding(&document, account, "role-unreadable");
            assert!(text(&finding["actual"]).contains(reason), "{finding:#}");
            assert_eq!(finding["severity"], "warning");
        }
    }
    let audited = json!({"asked": 12, "read": 8, "unreadable": 4, "by_aggregator": true});
    assert_eq!(audited_of(&document), audited);
    assert_eq!(count(&document, "unchanged"), members.len() - all.len());
    assert_eq!(listed(&document, "skipped", "drifted").len(), all.len());
    calls_of(&document);
}

#[test]
fn a_recorder_that_was_stopped_makes_no_account_green() {
    let rehearsal = Rehearsal::new(&format!(
        "{SMALL}[config]\nenabled = true\nstopped = 1\nuntold = 1\n"
    ));
    rehearsal.configure("", "", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    rehearsal.define_audit(AGGREGATOR);
    let [stopped, untold] = ["stopped", "untold"].map(|what| drawn(&rehearsal, what));
    let (stopped, untold) = (&stopped[0], &untold[0]);
    let run = String::new();
    let expected = pairs(&[(stopped, "role-unreadable"), (&run, "recorders-untold")]);
    // All was as meant when it looked last. Since then nobody knows.
    let before = rehearsal.audit_ends(3, &[]);
    assert_eq!(found(&before), expected, "{before:#}");
    rehearsal.add_stray(stopped);
    let document = rehearsal.audit_ends(3, &[]);
    assert_eq!(found(&document), expected, "{document:#}");
    let unreadable = finding(&document, stopped, "role-unreadable");
    let why = "its recorder in us-east-1 is stopped";
    assert!(text(&unreadable["actual"]).contains(why), "{unreadable:#}");
    let audited = json!({"asked": 8, "read": 7, "unreadable": 1, "by_aggregator": true, "untold_recorders": 1});
    assert_eq!(audited_of(&document), audited);

    // Of one whose recorder AWS Config does not tell, what it has counts, and that is said.
    rehearsal.add_stray(untold);
    let document = rehearsal.audit_ends(3, &[]);
    finding(&document, untold, "policy-inline-extra");
    let shown = rehearsal.run(&["exec", "drift-audit"]);
    for words in [
        "of 1 accounts AWS Config does not tell whether their recorders run",
        "the oldest source status is as of 2",
    ] {
        assert!(shown.stdout.contains(words), "{}", shown.stdout);
    }
}

#[test]
fn a_recorder_that_nobody_tells_of_makes_no_audit_green() {
    let rehearsal = Rehearsal::new(&format!("{SMALL}{WHEN_TOLD}untold = 1\n"));
    rehearsal.configure("", "", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    rehearsal.define_audit(AGGREGATOR);
    rehearsal.recorders_look();
    // What is done after a recorder has stopped, AWS Config does not see; of this one, it does not tell that it has.
    rehearsal.add_stray(&drawn(&rehearsal, "untold")[0]);
    let document = rehearsal.audit_ends(3, &[]);
    let run = String::new();
    assert_eq!(found(&document), pairs(&[(&run, "recorders-untold")]));
    assert_eq!(document["audited"]["untold_recorders"], 1);
    let untold = &document["findings"][0];
    assert_eq!(untold["id"], "recorders-untold:aws-config", "{untold:#}");
    for (file, words) in [
        ("report.html", "does not tell whether their recorders run"),
        ("report.html", "the oldest source status is as of 2"),
        ("report.xml", "name=\"recorders-untold:aws-config\""),
        ("report.xml", "the oldest source status is as of 2"),
    ] {
        let shown = rehearsal.run(&["exec", "drift-audit", "--report", file]);
        assert!(
            shown.stdout.contains("recorders-untold"),
            "{}",
            shown.stdout
        );
        let report = fs::read_to_string(rehearsal.path(file)).unwrap();
        assert!(report.contains(words), "{report}");
    }
}

#[test]
fn a_change_is_found_once_aws_config_has_captured_it_and_it_says_when_that_was() {
    let rehearsal = Rehearsal::new(&format!("{SMALL}{WHEN_TOLD}"));
    rehearsal.configure("", "", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    rehearsal.define_audit(AGGREGATOR);
    let account = &rehearsal.members()[0];

    // No recorder has looked since the accounts were enrolled: that is no missing role.
    let early = rehearsal.audit_ends(3, &[]);
    assert_eq!(early["audited"]["unreadable"], 8, "{early:#}");
    rehearsal.recorders_look();
    let clean = rehearsal.audit_ends(0, &[]);
    assert_eq!(clean["audited"]["read"], 8);

    rehearsal.add_stray(account);
    rehearsal.audit_ends(0, &[]);
    let captured = rehearsal.until("a second of the sandbox's clock passes", || {
        let time = rehearsal.admin("state", None)["time"].clone();
        let time: jiff::Timestamp = text(&time).parse().unwrap();
        Some(time.as_second())
    });
    rehearsal.recorders_look();
    let late = rehearsal.audit_ends(3, &[]);
    let stray = finding(&late, account, "policy-inline-extra");
    let at = stray["recorded"]["captured_at"].as_i64().unwrap();
    assert!(at >= captured, "{stray:#}");
    assert!(stray["recorded"]["collected_at"].as_i64().unwrap() >= at);

    // Nobody has looked since it went, either.
    let role = linked_role(&rehearsal, account);
    let input = [("RoleName", &*role), ("PolicyName", "stray")];
    rehearsal.iam(account, "DeleteRolePolicy", &input);
    let stale = rehearsal.audit_ends(3, &[]);
    assert_eq!(
        finding(&stale, account, "policy-inline-extra")["recorded"]["captured_at"],
        at
    );
    rehearsal.recorders_look();
    rehearsal.audit_ends(0, &[]);
}

#[test]
fn nothing_is_mended_or_said_to_be_on_the_word_of_aws_config() {
    let rehearsal = Rehearsal::new(&format!("{SMALL}{WHEN_TOLD}"));
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    rehearsal.define_audit(AGGREGATOR);
    let members = rehearsal.members();
    let [tampered, mended, closed, ..] = &members[..] else {
        panic!("{members:?}");
    };
    for account in [tampered, mended, closed] {
        rehearsal.widen_trust(account);
    }
    rehearsal.recorders_look();
    // Since then, somebody has mended one, and let the audit role see nothing of another.
    let mut trust = rehearsal.trust(mended);
    trust["Statement"].as_array_mut().unwrap().pop();
    rehearsal.set_trust(mended, &trust);
    let audit = [
        ("RoleName", "spot-onboarding-audit"),
        ("PolicyName", "read"),
    ];
    rehearsal.iam(closed, "DeleteRolePolicy", &audit);

    let told = rehearsal.audit_ends(3, &[]);
    let differs = [tampered, mended, closed].map(|account| (account, "trust-differs"));
    assert_eq!(found(&told), pairs(&differs));

    let fixed = rehearsal.run(&["--output", "json", "exec", "drift-audit", "--fix"]);
    let document = fixed.json().unwrap();
    assert_adds_up(&document);
    assert_eq!(fixed.code, 3, "{document:#}\n{}", fixed.stderr);
    // Only what is still so was worked on, and it is mended because IAM says so: AWS Config knows nothing of it.
    let steps = document["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 1, "{document:#}");
    assert_eq!(steps[0]["accounts"], 1, "{document:#}");
    assert_eq!(count(&document, "changed"), 1);
    assert_eq!(
        found(&document),
        pairs(&[(closed, "role-unreadable")]),
        "{document:#}"
    );
    let unconfirmed = finding(&document, closed, "role-unreadable");
    assert!(
        text(&unconfirmed["actual"]).contains("AWS Config told of trust-differs"),
        "{unconfirmed:#}"
    );
    // Three accounts were looked into, and none of the others.
    assert_eq!(document["api_calls"]["sts:AssumeRole"], 3, "{document:#}");
    assert_eq!(
        rehearsal.trust(tampered)["Statement"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    // AWS Config goes on telling what it saw, and says as of when.
    let stale = rehearsal.audit_ends(3, &[]);
    assert_eq!(found(&stale), pairs(&differs));
    rehearsal.recorders_look();
    let seen = rehearsal.audit_ends(3, &[]);
    assert_eq!(found(&seen), pairs(&[(closed, "trust-differs")]));
}

#[test]
fn without_a_role_to_read_the_accounts_through_nothing_is_mended() {
    let rehearsal = Rehearsal::new(&format!("{SMALL}[config]\nenabled = true\n"));
    rehearsal.configure("", "", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    rehearsal.define_audit(AGGREGATOR);
    rehearsal.widen_trust(&rehearsal.members()[0]);
    let before = rehearsal.calls();
    let ended = rehearsal.run(&["exec", "drift-audit", "--fix"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("audit.enabled"), "{}", ended.stderr);
    rehearsal.define_audit(&format!("{AGGREGATOR}fix = true\n"));
    let ended = rehearsal.run(&["exec", "drift-audit"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("params.fix") || ended.stderr.contains("fix = false"),
        "{}",
        ended.stderr
    );
    assert_eq!(rehearsal.writes_since(&before), BTreeSet::new());
}

#[test]
fn an_aggregator_of_another_account_is_asked_through_its_role_and_one_that_is_not_there_is_told() {
    let rehearsal = Rehearsal::new(&format!(
        "{SMALL}[config]\nenabled = true\nin_member = true\n"
    ));
    rehearsal.configure("", "management_account = true", "ous = [\"root\"]");
    rehearsal.sync_ends(0, &[]);
    let owner = text(&rehearsal.admin("state", None)["config"]["account"]);
    let through = |name: &str, role: &str| {
        format!(
            "[params]\ndepth = \"full\"\naggregator = {{ name = \"{name}\", role = \"arn:aws:iam::{owner}:role/{role}\" }}\n"
        )
    };
    rehearsal.add_stray(&rehearsal.members()[0]);
    rehearsal.define_audit(&through("organization", "OrganizationAccountAccessRole"));
    let document = rehearsal.audit_ends(3, &[]);
    let stray = (&rehearsal.members()[0], "policy-inline-extra");
    assert_eq!(found(&document), pairs(&[stray]), "{document:#}");
    // The one session is in the aggregator's account. The management account is read as ourselves.
    assert_eq!(document["api_calls"]["sts:AssumeRole"], 1);
    assert_eq!(document["api_calls"]["iam:GetRole"], 1);
    let all = json!({"asked": 9, "read": 9, "unreadable": 0, "by_aggregator": true});
    assert_eq!(audited_of(&document), all);

    for (params, says) in [
        (
            AGGREGATOR.to_owned(),
            format!(
                "there is no AWS Config aggregator \"organization\" in us-east-1 of account {}",
                rehearsal.management()
            ),
        ),
        (
            through("another", "OrganizationAccountAccessRole"),
            format!(
                "there is no AWS Config aggregator \"another\" in us-east-1 of account {owner}"
            ),
        ),
        (
            through("organization", "nobody"),
            "cannot be asked through arn:aws:iam".to_owned(),
        ),
    ] {
        rehearsal.define_audit(&params);
        let ended = rehearsal.run(&["exec", "drift-audit"]);
        assert_eq!(ended.code, 5, "{params}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(&says) || ended.stdout.contains(&says),
            "{says}: {}\n{}",
            ended.stderr,
            ended.stdout
        );
    }
}

#[test]
fn three_hundred_accounts_are_audited_by_pages() {
    let rehearsal = Rehearsal::new(
        "seed = 7\nclock_speed = 120.0\n\
         [organization]\naccounts = 300\nous = 10\ndepth = 2\ntrusted_access = true\nrates = false\n\
         [stack_sets]\noperation_start = \"0s\"\nresource_time = \"0s\"\n\
         [spot]\nrate_limit = 0\n[config]\nenabled = true\n",
    );
    rehearsal.configure(
        "[stack_set]\nmax_concurrent = 300\n",
        "",
        "ous = [\"root\"]",
    );
    rehearsal.sync_ends(0, &[]);
    rehearsal.define_audit(AGGREGATOR);
    let account = &rehearsal.members()[0];
    rehearsal.add_stray(account);
    let document = rehearsal.audit_ends(3, &[]);
    assert_eq!(found(&document), pairs(&[(account, "policy-inline-extra")]));
    let all = json!({"asked": 300, "read": 300, "unreadable": 0, "by_aggregator": true});
    assert_eq!(audited_of(&document), all);
    let calls = calls_of(&document);
    println!(
        "300 accounts through the aggregator: {} calls to AWS Config, {calls:?}",
        calls.values().sum::<u64>()
    );
    // A role and two managed policies in each account, 100 a page.
    let expected = [
        ("config:BatchGetAggregateResourceConfig", 9),
        ("config:DescribeConfigurationAggregatorSourcesStatus", 4),
        ("config:DescribeConfigurationAggregators", 1),
        ("config:GetAggregateDiscoveredResourceCounts", 1),
        // And of the recorders, of the management account's, too.
        ("config:SelectAggregateResourceConfig", 13),
    ];
    let expected = expected.map(|(call, count)| (call.to_owned(), count));
    assert_eq!(calls, BTreeMap::from(expected));
}
