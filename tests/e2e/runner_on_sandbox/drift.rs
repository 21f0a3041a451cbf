//! Drift: what is changed behind CloudFormation's back, in IAM and in Spot, is found, and nothing is changed by looking.

mod aggregator;
mod detection;
mod external_ids;
mod management;

use super::{
    audits::{audited, in_account, linked_role},
    *,
};

/// Twelve member accounts.
const TWELVE: &str = "seed = 11\nclock_speed = 120.0\n\
                      [organization]\naccounts = 12\nous = 3\ndepth = 2\ntrusted_access = true\n";

const FULL: &str = "params.depth=full";

impl Rehearsal {
    /// `runner --output json exec drift-audit …`, which must end so, add up, and write nothing.
    #[track_caller]
    pub(super) fn audit_ends(&self, code: i32, arguments: &[&str]) -> Value {
        let before = self.calls();
        let command = [&["--output", "json", "exec", "drift-audit"], arguments].concat();
        let ended = self.run(&command);
        let document = ended.json().unwrap();
        assert_adds_up(&document);
        assert_eq!(ended.code, code, "{document:#}\n{}", ended.stderr);
        assert_eq!(document["steps"], json!([]));
        let mut writes = self.writes_since(&before);
        // A session is no change.
        writes.remove("sts:AssumeRole");
        assert_eq!(writes, BTreeSet::new());
        document
    }

    /// Calls IAM as the administrator of an account.
    #[track_caller]
    pub(super) fn iam(&self, account: &str, action: &str, input: &[(&str, &str)]) -> String {
        in_account(self, account, "iam", action, input).unwrap()
    }

    /// The ARN of an attached policy of an account's role.
    fn attached(&self, account: &str, part: &str) -> String {
        let role = linked_role(self, account);
        let attached = self.iam(account, "ListAttachedRolePolicies", &[("RoleName", &role)]);
        let policies = attached.split("<PolicyArn>").skip(1);
        let mut arns = policies.map(|rest| rest.split('<').next().unwrap());
        let arn = arns.find(|arn| arn.contains(part));
        arn.unwrap_or_else(|| panic!("{part}: {attached}"))
            .to_owned()
    }

    /// The default version of a policy, as JSON.
    fn document(&self, account: &str, arn: &str) -> Value {
        let input = [("PolicyArn", arn), ("VersionId", "v1")];
        let version = self.iam(account, "GetPolicyVersion", &input);
        json_in(&version, "Document")
    }

    /// The trust policy of an account's role.
    pub(super) fn trust(&self, account: &str) -> Value {
        let role = linked_role(self, account);
        let role = self.iam(account, "GetRole", &[("RoleName", &role)]);
        json_in(&role, "AssumeRolePolicyDocument")
    }

    pub(super) fn set_trust(&self, account: &str, trust: &Value) {
        let (role, trust) = (linked_role(self, account), trust.to_string());
        let input = [("RoleName", &*role), ("PolicyDocument", &*trust)];
        self.iam(account, "UpdateAssumeRolePolicy", &input);
    }

    fn new_version(&self, account: &str, arn: &str, document: &Value) {
        let document = document.to_string();
        let input = [
            ("PolicyArn", arn),
            ("PolicyDocument", &*document),
            ("SetAsDefault", "true"),
        ];
        self.iam(account, "CreatePolicyVersion", &input);
    }

    /// Takes an account's role away, with all that is in it.
    pub(super) fn delete_role(&self, account: &str) {
        let role = linked_role(self, account);
        let name = ("RoleName", role.as_str());
        let attached = self.iam(account, "ListAttachedRolePolicies", &[name]);
        for policy in attached.split("<PolicyArn>").skip(1) {
            let arn = policy.split('<').next().unwrap();
            self.iam(account, "DetachRolePolicy", &[name, ("PolicyArn", arn)]);
        }
        self.iam(account, "DeleteRole", &[name]);
    }

    /// Calls Spot as a person with its console does.
    pub(super) fn at_spot(&self, method: reqwest::Method, path: &str, body: &Value) {
        assert!(self.try_at_spot(method, path, body), "{path}: {body}");
    }

    /// The same; whether Spot did it.
    pub(super) fn try_at_spot(&self, method: reqwest::Method, path: &str, body: &Value) -> bool {
        let url = format!("{}{path}", self.environment["SPOT_API_URL"]);
        let token = &self.environment["SPOTINST_TOKEN"];
        self.runtime.block_on(async {
            let request = wire::client()
                .unwrap()
                .request(method, url)
                .bearer_auth(token);
            let request = request.header("content-type", "application/json");
            let answer = request.body(body.to_string()).send().await.unwrap();
            answer.status().is_success()
        })
    }

    /// The job has this besides its kind.
    pub(super) fn define_audit(&self, settings: &str) {
        let job = format!("kind = \"drift-audit\"\n{settings}\n");
        self.write("config/jobs/drift-audit.toml", &job);
    }
}

/// A percent-encoded JSON document in an answer of IAM.
pub(super) fn json_in(answer: &str, element: &str) -> Value {
    let text = answer.split(&format!("<{element}>")).nth(1).unwrap();
    let text = text.split('<').next().unwrap().replace('+', "%20");
    let pairs = format!("d={text}");
    let (_, decoded) = url::form_urlencoded::parse(pairs.as_bytes())
        .next()
        .unwrap();
    serde_json::from_str(&decoded).unwrap()
}

/// The findings that somebody should look at, as account and reason.
pub(super) fn found(document: &Value) -> BTreeSet<(String, String)> {
    let findings = document["findings"].as_array().unwrap();
    let serious = findings.iter().filter(|one| one["severity"] != "info");
    // One about no account has an empty one.
    serious
        .map(|one| (text(&one["account"]), text(&one["reason"])))
        .collect()
}

pub(super) fn pairs(expected: &[(&String, &str)]) -> BTreeSet<(String, String)> {
    let expected = expected.iter();
    expected
        .map(|(account, reason)| ((*account).clone(), (*reason).to_owned()))
        .collect()
}

/// The finding about an account.
#[track_caller]
pub(super) fn finding<'a>(document: &'a Value, account: &str, reason: &str) -> &'a Value {
    let findings = document["findings"].as_array().unwrap();
    let mut all = findings.iter();
    all.find(|one| one["account"] == account && one["reason"] == reason)
        .unwrap_or_else(|| panic!("{account} {reason}: {document:#}"))
}

#[test]
fn what_is_enrolled_audits_clean_and_at_coverage_no_account_is_asked() {
    let rehearsal = Rehearsal::new(TWELVE);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let coverage = rehearsal.audit_ends(0, &[]);
    assert_eq!(coverage["findings"], json!([]), "{coverage:#}");
    assert_eq!(coverage["audited"], Value::Null);
    assert_eq!(count(&coverage, "unchanged"), 12);
    let calls: BTreeMap<String, u64> =
        serde_json::from_value(coverage["api_calls"].clone()).unwrap();
    println!("coverage of 12 accounts: {calls:?}");
    // By pages: none is made once per account.
    assert!(calls.values().all(|calls| *calls < 12), "{calls:?}");
    let of_accounts = |call: &&String| call.starts_with("iam:") || call.starts_with("sts:Assume");
    assert_eq!(calls.keys().find(of_accounts), None, "{calls:?}");

    let full = rehearsal.audit_ends(0, &["--set", FULL]);
    assert_eq!(full["findings"], json!([]), "{full:#}");
    let audited = json!({"asked": 12, "read": 12, "unreadable": 0});
    assert_eq!(full["audited"], audited, "{full:#}");
    println!("full, of 12 accounts: {}", full["api_calls"]);
    assert_eq!(full["api_calls"]["sts:AssumeRole"], 12);
}

#[test]
fn what_cloudformation_does_not_see_is_found_with_what_mends_it() {
    let rehearsal = Rehearsal::new(TWELVE);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let members = rehearsal.members();
    let [
        inline,
        stray,
        detached,
        changed,
        widened,
        open,
        gone,
        cosmetic,
        denied,
        cut,
        ..,
    ] = &members[..]
    else {
        panic!("{members:?}");
    };
    let role = |account: &str| linked_role(&rehearsal, account);
    let anything = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]});
    let admin = "arn:aws:iam::aws:policy/AdministratorAccess";

    let (name, policy) = (role(inline), anything.to_string());
    let input = [
        ("RoleName", &*name),
        ("PolicyName", "stray"),
        ("PolicyDocument", &*policy),
    ];
    rehearsal.iam(inline, "PutRolePolicy", &input);
    let name = role(stray);
    let input = [("RoleName", &*name), ("PolicyArn", admin)];
    rehearsal.iam(stray, "AttachRolePolicy", &input);
    let (name, arn) = (
        role(detached),
        rehearsal.attached(detached, "SpotinstCostIntelligence"),
    );
    let input = [("RoleName", &*name), ("PolicyArn", &*arn)];
    rehearsal.iam(detached, "DetachRolePolicy", &input);
    // CloudFormation cuts the logical id in the name of the second.
    for (account, policy) in [
        (changed, "SpotManagedPolicy"),
        (cut, "SpotinstCostIntelligence"),
    ] {
        let arn = rehearsal.attached(account, policy);
        let mut wider = rehearsal.document(account, &arn);
        let statements = wider["Statement"].as_array_mut().unwrap();
        // A policy has 6,144 characters at most, which the first one nearly has.
        statements.truncate(1);
        statements
            .push(json!({"Sid": "Stray", "Effect": "Allow", "Action": "iam:*", "Resource": "*"}));
        rehearsal.new_version(account, &arn, &wider);
    }
    let mut trust = rehearsal.trust(widened);
    let statements = trust["Statement"].as_array_mut().unwrap();
    let other = json!({"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "arn:aws:iam::999999999999:root"}});
    statements.push(other);
    rehearsal.set_trust(widened, &trust);
    let mut trust = rehearsal.trust(open);
    let statement = trust["Statement"][0].as_object_mut().unwrap();
    assert!(statement.remove("Condition").is_some());
    rehearsal.set_trust(open, &trust);
    rehearsal.delete_role(gone);
    // The same, written otherwise: the order of statements and actions, upper case, a list of one.
    let arn = rehearsal.attached(cosmetic, "SpotinstCostIntelligence");
    let mut same = rehearsal.document(cosmetic, &arn);
    let statements = same["Statement"].as_array_mut().unwrap();
    statements.reverse();
    for statement in statements {
        if let Value::Array(actions) = &mut statement["Action"] {
            actions.reverse();
            actions[0] = text(&actions[0]).to_uppercase().into();
        }
        if statement["Resource"].is_string() {
            statement["Resource"] = json!([statement["Resource"]]);
        }
    }
    rehearsal.new_version(cosmetic, &arn, &same);
    let audit = [
        ("RoleName", "spot-onboarding-audit"),
        ("PolicyName", "read"),
    ];
    rehearsal.iam(denied, "DeleteRolePolicy", &audit);

    // Without looking into the accounts, nobody sees it but Spot, which has no way into one of them any more.
    let coverage = rehearsal.audit_ends(3, &[]);
    let not_connected = "cost-intelligence-not-connected";
    assert_eq!(
        found(&coverage),
        pairs(&[(gone, not_connected)]),
        "{coverage:#}"
    );
    assert_eq!(listed(&coverage, "skipped", "drifted"), [gone.as_str()]);
    let fix = text(&finding(&coverage, gone, not_connected)["fix"]);
    assert!(fix.contains("depth=full"), "{fix}");
    let first = rehearsal.audit_ends(3, &["--set", FULL]);
    let expected = pairs(&[
        (inline, "policy-inline-extra"),
        (stray, "policy-attached-extra"),
        (detached, "policy-detached"),
        (changed, "policy-document-differs"),
        (cut, "policy-document-differs"),
        (widened, "trust-differs"),
        (open, "trust-without-external-id"),
        (gone, "role-missing"),
        (gone, not_connected),
        (denied, "role-unreadable"),
    ]);
    assert_eq!(found(&first), expected, "{first:#}");
    let audited = json!({"asked": 12, "read": 11, "unreadable": 1});
    assert_eq!(first["audited"], audited);
    assert_eq!(count(&first, "unchanged"), 3);
    assert_eq!(listed(&first, "skipped", "drifted").len(), 9, "{first:#}");
    for (account, reason, severity, fix) in [
        (
            inline,
            "policy-inline-extra",
            "error",
            "aws iam delete-role-policy",
        ),
        (
            stray,
            "policy-attached-extra",
            "error",
            "aws iam detach-role-policy",
        ),
        (
            detached,
            "policy-detached",
            "error",
            "aws iam attach-role-policy",
        ),
        (changed, "policy-document-differs", "error", "enroll"),
        (widened, "trust-differs", "error", "enroll"),
        (open, "trust-without-external-id", "error", "enroll"),
        (gone, "role-missing", "error", "enroll"),
        (
            denied,
            "role-unreadable",
            "warning",
            "see that it can be read",
        ),
    ] {
        let finding = finding(&first, account, reason);
        assert_eq!(finding["severity"], severity, "{finding:#}");
        assert!(text(&finding["fix"]).contains(fix), "{finding:#}");
        assert!(finding["account_name"].is_string() && finding["ou_path"].is_string());
    }
    // To CloudFormation all is well.
    let sets = rehearsal.admin("state", None);
    for set in sets["stack_sets"].as_array().unwrap() {
        assert_eq!(
            set["instances"],
            json!({"CURRENT/SUCCEEDED": 12}),
            "{set:#}"
        );
    }

    // Asked to fix, it mends what enroll can, and reads IAM again before it says so; the rest is as old as it was.
    let before = rehearsal.spot_accounts();
    let fixed = rehearsal.run(&[
        "--output",
        "json",
        "exec",
        "drift-audit",
        "--fix",
        "--set",
        FULL,
    ]);
    let second = fixed.json().unwrap();
    assert_adds_up(&second);
    assert_eq!(fixed.code, 3, "{second:#}\n{}", fixed.stderr);
    let mended = [changed, cut, widened, open, gone];
    assert_eq!(count(&second, "changed"), mended.len(), "{second:#}");
    let left: BTreeSet<_> = expected
        .into_iter()
        .filter(|(account, _)| !mended.contains(&account))
        .collect();
    assert_eq!(found(&second), left, "{second:#}");
    for (account, reason) in &left {
        let [before, now] = [&first, &second].map(|run| finding(run, account, reason).clone());
        assert!(before["first_seen"].is_i64(), "{before:#}");
        let last = |finding: &Value| finding["last_seen"].as_i64().unwrap();
        assert!(last(&before) >= before["first_seen"].as_i64().unwrap());
        assert!(last(&now) >= last(&before));
        assert_eq!(before["first_seen"], now["first_seen"]);
        assert_eq!(before["id"], now["id"]);
    }
    // Nobody lost its Spot account, and the role that was gone is another one.
    let after = rehearsal.spot_accounts();
    let ids = |all: &[SpotAccount]| all.iter().map(|one| one.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&after), ids(&before));
    assert!(
        after
            .iter()
            .filter(|one| one.role.is_some())
            .all(|one| one.works),
        "{after:#?}"
    );
    let third = rehearsal.audit_ends(3, &["--set", FULL]);
    assert_eq!(found(&third), left, "{third:#}");

    // Suppressed until a day, until a day that is over, and as a warning, which it is not.
    rehearsal.define_audit(&format!(
        "[params]\ndepth = \"full\"\nsuppress = [\n\
         {{ finding = \"policy-inline-extra:{inline}:*\", severity = \"error\", reason = \"CHG-1\", until = \"2999-12-31\" }},\n\
         {{ finding = \"policy-attached-extra:*\", severity = \"error\", reason = \"CHG-2\", until = \"2020-12-31\" }},\n\
         {{ finding = \"policy-detached:*\", reason = \"CHG-3\", until = \"2999-12-31\" }},\n]"
    ));
    let last = rehearsal.audit_ends(3, &[]);
    let accepted = finding(&last, inline, "policy-inline-extra");
    assert_eq!(accepted["severity"], "info");
    assert!(text(&accepted["message"]).contains("CHG-1"), "{accepted:#}");
    let worse = finding(&last, detached, "policy-detached");
    assert_eq!(worse["severity"], "error", "{worse:#}");
    assert!(text(&worse["message"]).contains("CHG-3"), "{worse:#}");
    let expected = pairs(&[
        (stray, "policy-attached-extra"),
        (detached, "policy-detached"),
        (denied, "role-unreadable"),
        (&String::new(), "suppression-expired"),
    ]);
    assert_eq!(found(&last), expected, "{last:#}");
    assert_eq!(count(&last, "unchanged"), 9);
}

#[test]
fn what_is_wrong_at_spot_or_was_never_deployed_is_found_without_asking_accounts() {
    let rehearsal = Rehearsal::new(&format!("{TWELVE}[spot]\nlinked_twice = 1\n"));
    rehearsal.configure("", "deployment = \"runner\"", "ous = [\"root\"]");
    let first = rehearsal.sync_ends(3, &[]);
    let [twice] = &listed(&first, "skipped", "linked-to-several")[..] else {
        panic!("{first:#}");
    };
    let mut others = rehearsal.members();
    others.retain(|account| account != twice);
    let (renamed, unlinked) = (&others[0], &others[1]);
    let spot = |account: &str| rehearsal.links_of(account)[0].id.clone();
    let path = format!("/setup/account/{}", spot(renamed));
    let name = json!({"account": {"name": "somebody-elses"}});
    rehearsal.at_spot(reqwest::Method::PUT, &path, &name);
    let path = format!("/setup/account/{}", spot(unlinked));
    rehearsal.at_spot(reqwest::Method::DELETE, &path, &json!({}));
    let unit = text(&rehearsal.admin("ous", None)["ous"][1]["id"]);
    let joined = rehearsal.post("accounts", &json!({ "name": "newcomer", "ou": unit }));
    let joined = text(&joined["id"]);

    let document = rehearsal.audit_ends(3, &[]);
    let expected = pairs(&[
        (twice, "linked-to-several"),
        (renamed, "misnamed"),
        (unlinked, "not-linked"),
        (&joined, "missing-instance"),
    ]);
    assert_eq!(found(&document), expected, "{document:#}");
    let misnamed = finding(&document, renamed, "misnamed");
    assert_eq!(misnamed["actual"], "somebody-elses", "{misnamed:#}");
    let missing = finding(&document, &joined, "missing-instance");
    assert_eq!(missing["fix"], "stackset-sync");
}

#[test]
fn an_audit_is_read_by_people_and_by_other_programs() {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let account = &rehearsal.members()[0];
    let role = linked_role(&rehearsal, account);
    let policy = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]});
    let policy = policy.to_string();
    let input = [
        ("RoleName", &*role),
        ("PolicyName", "stray"),
        ("PolicyDocument", &*policy),
    ];
    rehearsal.iam(account, "PutRolePolicy", &input);
    let files = ["report.csv", "report.xml", "report.html"];
    let mut arguments = vec!["exec", "drift-audit", "--set", FULL];
    for file in files {
        arguments.extend(["--report", file]);
    }
    let ended = rehearsal.run(&arguments);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    for file in files {
        let text = fs::read_to_string(rehearsal.path(file)).unwrap();
        assert!(text.contains("policy-inline-extra"), "{file}: {text}");
        assert!(text.contains("error"), "{file}: {text}");
    }
    let html = fs::read_to_string(rehearsal.path("report.html")).unwrap();
    assert!(html.contains("Last seen"), "{html}");
    insta::with_settings!({ filters => vec![
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[uuid]"),
        (r"-[0-9a-f]{8}-SpotRole-[0-9A-Z]{12}", "-[stack]-SpotRole-[suffix]"),
        (r"since \d{4}-\d\d-\d\d \d\d:\d\d", "since [time]"),
        (r"took [0-9.]+ s and \d+ API calls", "took [time] and [count] API calls"),
    ]}, {
        insta::assert_snapshot!(ended.stdout);
    });
}

#[test]
fn a_role_with_which_cost_intelligence_does_not_work_is_found_where_spot_is_asked() {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, "", "products = [\"cost-intelligence\"]");
    rehearsal.sync_ends(0, &[]);
    let account = &rehearsal.members()[0];
    let role = linked_role(&rehearsal, account);
    let deny = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "ec2:DescribeInstances", "Resource": "*"}]});
    let policy = deny.to_string();
    let input = [
        ("RoleName", &*role),
        ("PolicyName", "deny"),
        ("PolicyDocument", &*policy),
    ];
    rehearsal.iam(account, "PutRolePolicy", &input);
    let asked = ["--set", FULL, "--set", "params.ask_spot=true"];
    let ended = rehearsal.run(&[&["--output", "json", "exec", "drift-audit"][..], &asked].concat());
    let document = ended.json().unwrap();
    assert_adds_up(&document);
    assert_eq!(ended.code, 3, "{document:#}");
    let expected = pairs(&[
        (account, "policy-inline-extra"),
        (account, "cost-intelligence-invalid"),
    ]);
    assert_eq!(found(&document), expected, "{document:#}");
    let invalid = finding(&document, account, "cost-intelligence-invalid");
    assert!(
        text(&invalid["message"]).contains("missing permission"),
        "{invalid:#}"
    );
    let calls = &document["api_calls"];
    assert_eq!(calls["spot:POST /cbi/v1/setup/account/validation"], 8);
    // Spot is not asked otherwise.
    let unasked = rehearsal.audit_ends(3, &["--set", FULL]);
    let expected = pairs(&[(account, "policy-inline-extra")]);
    assert_eq!(found(&unasked), expected, "{unasked:#}");
}

#[test]
fn full_depth_without_a_role_to_read_through_is_an_error_of_the_configuration() {
    let rehearsal = Rehearsal::new(SMALL);
    let ended = rehearsal.run(&["exec", "drift-audit", "--set", FULL]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("audit.enabled"), "{}", ended.stderr);
}
