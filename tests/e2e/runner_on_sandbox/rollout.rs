//! Versions of the policies, rolled out in waves: what each account has in IAM at every moment, gates that are not passed, the way
//! back, accounts that come, go and move meanwhile, and runs that die.

mod decisions;
mod halts;

use rustix::process::Signal;

use super::{
    audits::{audited, in_account, linked_role},
    *,
};

/// Twelve member accounts.
const TWELVE: &str = "seed = 11\nclock_speed = 120.0\n\
                      [organization]\naccounts = 12\nous = 3\ndepth = 2\ntrusted_access = true\n";

const COSTS: &str = "config/policies/cost-intelligence.json";

/// What a role's policies say, by the beginning of the policy's name, and the version of each that is its default.
type Policies = BTreeMap<String, (String, Value)>;

impl Rehearsal {
    /// The job has these waves.
    fn define_rollout(&self, params: &str, waves: &[(&str, &str)]) {
        let waves: String = waves
            .iter()
            .map(|(name, settings)| format!("[[params.waves]]\nname = {name:?}\n{settings}\n"))
            .collect();
        let job = format!(
            "kind = \"policy-rollout\"\n[params]\nprofile = \"default\"\n{params}\n{waves}"
        );
        self.write("config/jobs/policy-rollout.toml", &job);
    }

    /// `runner --output json exec policy-rollout`, which must end so and add up.
    #[track_caller]
    fn roll(&self, code: i32) -> Value {
        let ended = self.run(&["--output", "json", "exec", "policy-rollout"]);
        assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
        let document = ended.json().unwrap();
        assert_adds_up(&document);
        document
    }

    /// A run that did what was due, and waits for the rest: nothing is wrong.
    #[track_caller]
    fn waits(&self) -> Value {
        let document = self.roll(3);
        assert_eq!(document["status"], "pending", "{document:#}");
        assert!(document["waits"].is_string(), "{document:#}");
        document
    }

    /// `runner … policy …`, with its document.
    #[track_caller]
    fn policy(&self, code: i32, arguments: &[&str]) -> Ended {
        let ended = self.run(&[&["--output", "json", "policy"], arguments].concat());
        assert_eq!(ended.code, code, "{}{}", ended.stdout, ended.stderr);
        ended
    }

    /// The rollout that was begun last.
    fn rollout(&self) -> Value {
        let rollouts = self.policy(0, &["rollouts", "default"]).json().unwrap();
        rollouts[0].clone()
    }

    /// The ARN of the Cost Intelligence policy of an account's role.
    fn policy_arn(&self, account: &str) -> String {
        let role = linked_role(self, account);
        let input = [("RoleName", &*role)];
        let attached =
            in_account(self, account, "iam", "ListAttachedRolePolicies", &input).unwrap();
        let mut arns = attached.split("<PolicyArn>").skip(1);
        let arns = arns.find(|arn| arn.contains("SpotinstCostIntelligence"));
        arns.unwrap().split('<').next().unwrap().to_owned()
    }

    /// Which version each account has, as the ledger says.
    fn ledger(&self) -> BTreeMap<String, Option<String>> {
        let ledger = self.policy(0, &["ledger"]).json().unwrap();
        let members = self.members();
        let lines = ledger.as_array().unwrap().iter();
        lines
            .filter(|line| members.contains(&text(&line["account"])))
            .map(|line| {
                let version = line["policy_version"].as_str().map(str::to_owned);
                (text(&line["account"]), version)
            })
            .collect()
    }

    /// What IAM has in an account.
    fn in_iam(&self, account: &str) -> Policies {
        let iam = |action: &str, input: &[(&str, &str)]| {
            in_account(self, account, "iam", action, input).unwrap()
        };
        let between = |text: &str, element: &str| -> Vec<String> {
            let begin = format!("<{element}>");
            let parts = text.split(&begin).skip(1);
            parts
                .map(|rest| rest.split('<').next().unwrap().to_owned())
                .collect()
        };
        let role = linked_role(self, account);
        let attached = iam("ListAttachedRolePolicies", &[("RoleName", &role)]);
        let arns = between(&attached, "PolicyArn");
        arns.iter()
            .map(|arn| {
                let policy = iam("GetPolicy", &[("PolicyArn", arn)]);
                let version = between(&policy, "DefaultVersionId").remove(0);
                let input = [("PolicyArn", &**arn), ("VersionId", &*version)];
                let document = between(&iam("GetPolicyVersion", &input), "Document").remove(0);
                let pairs = format!("d={}", document.replace('+', "%20"));
                let (_, document) = url::form_urlencoded::parse(pairs.as_bytes())
                    .next()
                    .unwrap();
                let name = arn.rsplit('/').next().unwrap();
                // StackSet-spot-onboarding-default-<uuid>-<logical id>-<suffix>
                let name = name.rsplit('-').nth(1).unwrap().to_owned();
                (name, (version, serde_json::from_str(&document).unwrap()))
            })
            .collect()
    }

    fn all_in_iam(&self) -> BTreeMap<String, Policies> {
        let accounts = self.members().into_iter();
        accounts
            .map(|account| (account.clone(), self.in_iam(&account)))
            .collect()
    }

    /// Lets Cost Intelligence do one thing more, and Elastigroup, whose policy is full, another.
    fn widen(&self) {
        for (file, action) in [
            (COSTS, "glacier:ListVaults"),
            (
                "config/policies/spot-elastigroup-ocean.json",
                "glacier:ListJobs",
            ),
        ] {
            let text = fs::read_to_string(self.path(file)).unwrap();
            let mut document: Value = serde_json::from_str(&text).unwrap();
            let statements = document["Statement"].as_array_mut().unwrap();
            statements.push(
                json!({"Sid": "Glacier", "Effect": "Allow", "Action": action, "Resource": "*"}),
            );
            self.write(file, &document.to_string());
        }
    }
}

/// Whether a role may do what the new version lets it.
fn is_next(policies: &Policies) -> bool {
    let mut documents = policies.values();
    let has = |(_, document): &(String, Value)| document.to_string().contains("glacier:");
    let next = documents.clone().filter(|one| has(one)).count();
    assert!(next == 0 || next == 2, "half of a version: {policies:#?}");
    documents.any(has)
}

fn having_next(all: &BTreeMap<String, Policies>) -> BTreeSet<String> {
    let next = all.iter().filter(|(_, policies)| is_next(policies));
    next.map(|(account, _)| account.clone()).collect()
}

/// Enrolled, with a job of these waves, and a wider policy in the files.
fn enrolled(waves: &[(&str, &str)]) -> Rehearsal {
    let rehearsal = Rehearsal::new(TWELVE);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    rehearsal.define_rollout("", waves);
    rehearsal
}

#[test]
fn three_waves_one_after_the_other_and_only_theirs_are_touched() {
    let rehearsal = enrolled(&[]);
    let members = rehearsal.members();
    let canary = &members[3];
    let canary_wave = format!("accounts = [{canary:?}]\nsoak = \"1h\"");
    let waves = |first: &str, second: &str| {
        rehearsal.define_rollout(
            "version = \"2027a\"",
            &[("canary", first), ("early", second), ("all", "")],
        );
    };
    waves(&canary_wave, "percent = 30\nsoak = \"1h\"");
    // Nothing has changed: there is nothing to do, and the version that is deployed is noted.
    assert_eq!(count(&rehearsal.roll(0), "unchanged"), 12);
    let before = rehearsal.all_in_iam();
    let good = rehearsal.ledger()[canary].clone().unwrap();
    rehearsal.widen();

    // What accounts have and what the files say are compared without asking AWS.
    let differ = rehearsal.policy(3, &["diff", "deployed", "files"]);
    let differ = differ.json().unwrap();
    assert_eq!(differ["verdict"], "widened", "{differ:#}");
    assert_eq!(differ["before"]["name"], json!(good), "{differ:#}");
    assert_eq!(differ["policies"][1]["purpose"], "cost-intelligence");
    assert!(
        differ.to_string().contains("glacier:ListVaults"),
        "{differ:#}"
    );
    // Nobody else gives the changed policy to anybody.
    assert_eq!(count(&rehearsal.sync_ends(0, &[]), "unchanged"), 12);
    let planned = rehearsal.run(&["plan", "policy-rollout"]);
    assert_eq!(planned.code, 3, "{}{}", planned.stdout, planned.stderr);
    for words in [
        "stage:default",
        "update-wave:default:canary",
        "check-wave:default:canary",
        "+ glacier:ListVaults on *",
        "+ glacier:ListJobs on *",
        "widened",
    ] {
        assert!(
            planned.stdout.contains(words),
            "{words}: {}",
            planned.stdout
        );
    }
    assert!(!planned.stdout.contains("early"), "{}", planned.stdout);

    // The first wave. Staging updated all stacks, and changed nothing in any other account: not even a version of a policy.
    let first = rehearsal.waits();
    assert_eq!(count(&first, "changed"), 1, "{first:#}");
    assert_eq!(count(&first, "pending"), 11, "{first:#}");
    let waits = &first["findings"][0];
    assert_eq!(waits["reason"], "rollout-waits", "{first:#}");
    assert!(
        text(&waits["message"]).contains("soaks until 20"),
        "{waits:#}"
    );
    let after = rehearsal.all_in_iam();
    assert_eq!(having_next(&after), BTreeSet::from([canary.clone()]));
    for account in members.iter().filter(|account| *account != canary) {
        assert_eq!(before[account], after[account]);
    }
    let ledger = rehearsal.ledger();
    assert_eq!(ledger[canary].as_deref(), Some("2027a"));
    let others = ledger.iter().filter(|(account, _)| *account != canary);
    assert!(
        others
            .clone()
            .all(|(_, version)| version.as_ref() == Some(&good)),
        "{ledger:?}"
    );
    // It soaks: another run does nothing, and the other jobs agree with what there is.
    let calls = rehearsal.calls();
    assert_eq!(rehearsal.waits()["steps"], json!([]));
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    assert_eq!(count(&rehearsal.sync_ends(0, &[]), "unchanged"), 12);
    let audit = rehearsal.run(&[
        "--output",
        "json",
        "exec",
        "drift-audit",
        "--set",
        "params.depth=full",
    ]);
    assert_eq!(audit.code, 0, "{}{}", audit.stdout, audit.stderr);

    // A repair of the account writes the version again that it has, and not the other one.
    let arn = rehearsal.policy_arn(canary);
    let stray = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]});
    let input = [
        ("PolicyArn", &*arn),
        ("PolicyDocument", &*stray.to_string()),
        ("SetAsDefault", "true"),
    ];
    in_account(&rehearsal, canary, "iam", "CreatePolicyVersion", &input).unwrap();
    let fix = ["exec", "drift-audit", "--fix", "--set", "params.depth=full"];
    let fixed = rehearsal.run(&fix);
    assert_eq!(fixed.code, 0, "{}{}", fixed.stdout, fixed.stderr);
    assert_eq!(
        rehearsal.overrides(canary),
        ["PolicyVersion", "RepairNonce"]
    );
    assert!(is_next(&rehearsal.in_iam(canary)));

    // The second wave: four of twelve, one of which has it already or not.
    waves(
        &canary_wave.replace("1h", "0s"),
        "percent = 30\nsoak = \"1h\"",
    );
    let second = rehearsal.waits();
    let having = having_next(&rehearsal.all_in_iam());
    assert_eq!(count(&second, "ok"), having.len(), "{second:#}");
    assert_eq!(having.len(), 5, "{having:?}");

    // The rest, and the end.
    waves(&canary_wave.replace("1h", "0s"), "percent = 30");
    let third = rehearsal.roll(0);
    assert_eq!(count(&third, "ok"), 12, "{third:#}");
    assert_eq!(steps(&third).last().unwrap(), "clear-overrides:default");
    let all = rehearsal.all_in_iam();
    assert_eq!(having_next(&all).len(), 12);
    // Those that had it got no other version of it.
    for account in having.iter().filter(|account| *account != canary) {
        assert_eq!(
            all[account]
                .values()
                .map(|(version, _)| version.clone())
                .max(),
            Some("v2".to_owned())
        );
    }
    let rollout = rehearsal.rollout();
    assert_eq!(rollout["phase"], "done", "{rollout:#}");
    let versions = rehearsal
        .policy(0, &["versions", "default"])
        .json()
        .unwrap();
    let of = |name: &str| {
        let mut all = versions.as_array().unwrap().iter();
        all.find(|one| one["name"] == name).unwrap().clone()
    };
    assert_eq!(of("2027a")["good"], true, "{versions:#}");
    rehearsal.policy(0, &["diff", "deployed", "files"]);
    rehearsal.policy(0, &["diff", "2027a", &text(&of("2027a")["digest"])[..8]]);
    let back = rehearsal.policy(3, &["diff", "2027a", &good, "--profile", "default"]);
    assert_eq!(
        back.json().unwrap()["verdict"],
        "narrowed",
        "{}",
        back.stdout
    );
    let mixed = rehearsal.policy(2, &["diff", "2027a", COSTS]);
    assert!(mixed.stderr.contains("two versions"), "{}", mixed.stderr);
    let unknown = rehearsal.policy(2, &["diff", "2027a", "2027z"]);
    assert!(
        unknown.stderr.contains("known are deployed"),
        "{}",
        unknown.stderr
    );
    assert_eq!(of(&good)["good"], false, "{versions:#}");
    // Nothing is left to do, for anybody, and no override and no second version is left.
    let calls = rehearsal.calls();
    assert_eq!(count(&rehearsal.roll(0), "unchanged"), 12);
    assert_eq!(count(&rehearsal.sync_ends(0, &[]), "unchanged"), 12);
    let writes = rehearsal.writes_since(&calls);
    assert!(
        !writes
            .iter()
            .any(|call| call.starts_with("cloudformation:")),
        "{writes:?}"
    );
    let template = rehearsal.template();
    assert!(!template.contains("PolicyVersionIsNext"), "{template}");
    for account in &members {
        let kept = if account == canary {
            &["RepairNonce"][..]
        } else {
            &[]
        };
        assert_eq!(
            rehearsal.overrides(account),
            kept,
            "only what others gave it"
        );
    }
}

impl Rehearsal {
    fn cloudformation(&self, action: &str, input: &[(&str, &str)]) -> String {
        let set = ("StackSetName", "spot-onboarding-default");
        let input = [&[("Version", "2010-05-15"), set], input].concat();
        let asked = self.wire.query("cloudformation", action, &input);
        self.runtime.block_on(asked).unwrap()
    }

    /// The stack set's template.
    fn template(&self) -> String {
        self.cloudformation("DescribeStackSet", &[])
    }

    /// Gives an account's stack instance an override, and takes those away that it had.
    pub(super) fn give_override(&self, account: &str, name: &str, value: &str) {
        let units = self.admin("ous", None);
        let mut units = units["ous"].as_array().unwrap().iter();
        let root = text(&units.find(|unit| unit["parent"].is_null()).unwrap()["id"]);
        let input = [
            ("DeploymentTargets.OrganizationalUnitIds.member.1", &*root),
            ("DeploymentTargets.Accounts.member.1", account),
            ("DeploymentTargets.AccountFilterType", "INTERSECTION"),
            ("Regions.member.1", "us-east-1"),
            ("ParameterOverrides.member.1.ParameterKey", name),
            ("ParameterOverrides.member.1.ParameterValue", value),
        ];
        self.cloudformation("UpdateStackInstances", &input);
        self.until_operations_end();
    }

    /// The parameters that an account's stack instance overrides.
    pub(super) fn overrides(&self, account: &str) -> Vec<String> {
        let input = [
            ("StackInstanceAccount", account),
            ("StackInstanceRegion", "us-east-1"),
        ];
        let instance = self.cloudformation("DescribeStackInstance", &input);
        let keys = instance.split("<ParameterKey>").skip(1);
        keys.map(|rest| rest.split('<').next().unwrap().to_owned())
            .collect()
    }
}

#[test]
fn a_run_that_dies_in_a_wave_is_continued_where_it_was() {
    let slow = TWELVE.replace("120.0", "20.0");
    let rehearsal = Rehearsal::new(&slow);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let first = "percent = 50\nconcurrency = 1";
    rehearsal.define_rollout("", &[("half", first), ("all", "")]);
    rehearsal.roll(0);
    rehearsal.widen();
    let mut run = rehearsal.runner.start(&["exec", "policy-rollout"]).unwrap();
    rehearsal.until("the wave is under way", || {
        run.check().unwrap();
        rehearsal
            .calls()
            .contains_key("cloudformation:UpdateStackInstances")
            .then_some(())
    });
    run.signal(Signal::KILL).unwrap();
    assert!(run.wait(LIMIT).is_err(), "a signal ended it");
    let members =
        |rehearsal: &Rehearsal| rehearsal.rollout()["waves"][0]["sweep"]["members"].clone();
    let chosen: BTreeSet<String> = members(&rehearsal)
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(chosen.len(), 6, "{chosen:?}");
    // Who is half-way between two versions has no drift that could be mended; that nobody looked is told.
    rehearsal.until_operations_end();
    let calls = rehearsal.calls();
    let fix = ["exec", "drift-audit", "--fix", "--set", "params.depth=full"];
    let fixed = rehearsal.run(&fix);
    assert_eq!(fixed.code, 3, "{}{}", fixed.stdout, fixed.stderr);
    assert!(
        fixed.stdout.contains("warning: role-unreadable"),
        "{}",
        fixed.stdout
    );
    let writes = rehearsal.writes_since(&calls);
    assert!(
        !writes.contains("cloudformation:UpdateStackInstances"),
        "{writes:?}"
    );
    let done = rehearsal.roll(0);
    assert_eq!(count(&done, "ok"), 12, "{done:#}");
    let after: BTreeSet<String> = members(&rehearsal)
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect();
    assert_eq!(chosen, after, "the same accounts were in the wave");
    assert_eq!(having_next(&rehearsal.all_in_iam()).len(), 12);
}

#[test]
fn accounts_that_join_move_and_leave_meanwhile_get_the_good_version_first() {
    let rehearsal = Rehearsal::new(&TWELVE.replace("depth = 2", "depth = 1"));
    audited(&rehearsal, "", "");
    let units = rehearsal.admin("ous", None);
    let units = units["ous"].as_array().unwrap().iter();
    let units: Vec<String> = units
        .filter(|unit| unit["parent"].is_string())
        .map(|unit| text(&unit["id"]))
        .collect();
    let [one, other, ..] = &units[..] else {
        panic!("{units:?}")
    };
    for account in rehearsal.members() {
        rehearsal.post(&format!("accounts/{account}/move"), &json!({"ou": one}));
    }
    // Two units, so that a move between them takes the stack away and makes another.
    let config = fs::read_to_string(rehearsal.path("config/runner.toml")).unwrap();
    let targets = format!("ous = [{one:?}, {other:?}]");
    rehearsal.write(
        "config/runner.toml",
        &config.replace("ous = [\"root\"]", &targets),
    );
    rehearsal.sync_ends(0, &[]);
    let members = rehearsal.members();
    let [moved, left, stays, ..] = &members[..] else {
        panic!("{members:?}")
    };
    let waves = |soak: &str| {
        let canary = format!("accounts = [{moved:?}, {left:?}, {stays:?}]\nsoak = {soak:?}");
        rehearsal.define_rollout("", &[("canary", &canary), ("all", "")]);
    };
    waves("1h");
    rehearsal.roll(0);
    rehearsal.widen();
    rehearsal.waits();
    assert_eq!(having_next(&rehearsal.all_in_iam()).len(), 3);

    let _provider = rehearsal.runner.start(&["provider"]).unwrap();
    let joined = rehearsal.post("accounts", &json!({ "name": "newcomer", "ou": one }));
    let joined = text(&joined["id"]);
    let role = linked_role(&rehearsal, moved);
    rehearsal.post(&format!("accounts/{moved}/move"), &json!({"ou": other}));
    rehearsal.post(&format!("accounts/{left}/remove"), &json!({}));
    rehearsal.until("the newcomer is linked, and the moved one again", || {
        let is_joined = rehearsal.links_of(&joined).len() == 1;
        (is_joined && linked_role(&rehearsal, moved) != role).then_some(())
    });
    rehearsal.until_operations_end();
    // The canary has not leaked: who joins or comes again has the good version, and the ledger knows.
    let having = having_next(&rehearsal.all_in_iam());
    assert_eq!(having, BTreeSet::from([stays.clone()]));
    let ledger = rehearsal.ledger();
    let next = ledger[stays].clone();
    assert_ne!(ledger[moved], next, "{ledger:?}");
    assert_ne!(ledger[&joined], next, "{ledger:?}");
    assert!(!ledger.contains_key(left), "{ledger:?}");

    waves("0s");
    let done = rehearsal.roll(0);
    assert_eq!(count(&done, "ok"), 12, "{done:#}");
    let all = rehearsal.all_in_iam();
    assert_eq!(having_next(&all).len(), 12);
    assert!(all.contains_key(&joined) && all.contains_key(moved));
    // And who joins now has it at once.
    let last = rehearsal.post("accounts", &json!({ "name": "last", "ou": one }));
    let last = text(&last["id"]);
    rehearsal.until("the last one is linked", || {
        (rehearsal.links_of(&last).len() == 1).then_some(())
    });
    rehearsal.until_operations_end();
    assert!(is_next(&rehearsal.in_iam(&last)));
}
