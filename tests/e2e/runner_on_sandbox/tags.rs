//! Targets that ask for tags: who is enrolled, how often AWS is asked, and what happens when it does not answer.

use super::*;

/// Three units below the root; of twelve accounts, six are tagged as production.
const TAGGED: &str = "seed = 7\nclock_speed = 120.0\n\
                      [organization]\naccounts = 12\nous = 3\ndepth = 1\ntrusted_access = true\n\
                      [[organization.tags]]\nkey = \"stage\"\nvalue = \"prod\"\naccounts = 6\n\
                      [[organization.tags]]\nkey = \"stage\"\nvalue = \"test\"\naccounts = 6\n";

/// Reads all tags anew.
const NOW: [&str; 2] = ["--set", "aws.tags_max_age=0s"];

/// The accounts of two units, by whether they carry the tag.
struct Units {
    names: [String; 2],
    tagged: Vec<String>,
    others: Vec<String>,
}

impl Rehearsal {
    /// Targets the production accounts of two of the three units.
    fn of_production() -> (Self, Units) {
        let rehearsal = Self::new(TAGGED);
        let ous = rehearsal.admin("ous", None);
        let [first, second] = [1, 2].map(|index| text(&ous["ous"][index]["id"]));
        let in_units = |account: &Value| {
            account["parent"] == first.as_str() || account["parent"] == second.as_str()
        };
        let is_tagged = |account: &Value| account["tags"]["stage"] == "prod";
        let sorted = |wanted: &dyn Fn(&Value) -> bool| {
            let mut accounts = rehearsal.account_ids(wanted);
            accounts.sort();
            accounts
        };
        let units = Units {
            tagged: sorted(&|account| in_units(account) && is_tagged(account)),
            others: sorted(&|account| in_units(account) && !is_tagged(account)),
            names: [first.clone(), second.clone()],
        };
        let elsewhere = rehearsal.account_ids(|account| !in_units(account) && is_tagged(account));
        assert!(
            units.tagged.len() > 1 && units.others.len() > 2 && !elsewhere.is_empty(),
            "the scenario is too small"
        );
        rehearsal.configure(
            "",
            "",
            &format!("ous = {:?}\ntags = {{ stage = \"prod\" }}", units.names),
        );
        (rehearsal, units)
    }

    fn organizations(&self, operation: &str, input: &Value) -> Value {
        let target = format!("AWSOrganizationsV20161128.{operation}");
        self.runtime
            .block_on(self.wire.json("organizations", &target, input))
            .unwrap()
    }

    fn tag(&self, account: &str) {
        let tags = json!([{ "Key": "stage", "Value": "prod" }]);
        self.organizations(
            "TagResource",
            &json!({ "ResourceId": account, "Tags": tags }),
        );
    }

    fn query(&self, service: &str, action: &str, input: &[(&str, &str)]) -> String {
        self.runtime
            .block_on(self.wire.query(service, action, input))
            .unwrap_or_else(|error| panic!("{action}: {error:#}"))
    }
}

/// How often a run read tags.
fn tags_read(document: &Value) -> u64 {
    document["api_calls"]["organizations:ListTagsForResource"]
        .as_u64()
        .unwrap_or_default()
}

/// What stands in an element of an XML document.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

#[test]
fn only_accounts_with_the_tag_are_enrolled_and_a_new_tag_is_seen_when_the_old_ones_are_too_old() {
    let (rehearsal, mut units) = Rehearsal::of_production();
    let before = rehearsal.spot_accounts();
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&document, "changed"), units.tagged.len());
    assert_eq!(listed(&document, "skipped", "tag-mismatch"), units.others);
    // Of nobody else, and verifying reads nothing again.
    let candidates = (units.tagged.len() + units.others.len()) as u64;
    assert_eq!(tags_read(&document), candidates);
    assert_eq!(
        rehearsal.instances().values().sum::<u64>(),
        units.tagged.len() as u64
    );
    rehearsal.assert_enrolled_once(&units.tagged, &before);
    let set = ("StackSetName", "spot-onboarding-default");
    let version = ("Version", "2010-05-15");
    let operations = rehearsal.query("cloudformation", "ListStackSetOperations", &[set, version]);
    let id = ("OperationId", element(&operations, "OperationId").unwrap());
    let operation = rehearsal.query(
        "cloudformation",
        "DescribeStackSetOperation",
        &[set, version, id],
    );
    assert_eq!(
        element(&operation, "AccountFilterType"),
        Some("INTERSECTION")
    );

    // What was read is young enough: nobody is asked, so a tag of a moment ago is not known yet.
    let newcomer = units.others.remove(0);
    rehearsal.tag(&newcomer);
    let calls = rehearsal.calls();
    let document = rehearsal.sync_ends(0, &[]);
    assert_eq!((tags_read(&document), &document["steps"]), (0, &json!([])));
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    assert_eq!(rehearsal.standing(&newcomer)["reason"], "tag-mismatch");

    let document = rehearsal.sync_ends(0, &NOW);
    assert_eq!(tags_read(&document), candidates);
    assert_eq!(count(&document, "changed"), 1, "{document:#}");
    units.tagged.push(newcomer);
    rehearsal.assert_enrolled_once(&units.tagged, &before);

    // Who loses the tag keeps the stack; that is for a person to decide.
    let untagged = json!({ "ResourceId": units.tagged[0], "TagKeys": ["stage"] });
    rehearsal.organizations("UntagResource", &untagged);
    let calls = rehearsal.calls();
    let document = rehearsal.sync_ends(3, &NOW);
    assert_eq!(document["findings"][0]["reason"], "outside-targets");
    assert_eq!(document["findings"][0]["account"], units.tagged[0].as_str());
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    assert_eq!(rehearsal.links_of(&units.tagged[0]).len(), 1);
}

#[test]
fn without_the_permission_to_read_tags_the_run_names_it_and_changes_nothing() {
    let (rehearsal, units) = Rehearsal::of_production();
    rehearsal.sync_ends(0, &[]);
    // An identity that may do everything else.
    let management = rehearsal.account_ids(|account| account["management"] == true)[0].clone();
    let role = ("RoleName", "onboarding");
    let iam = ("Version", "2010-05-08");
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": { "AWS": format!("arn:aws:iam::{management}:root") },
        "Action": "sts:AssumeRole",
    }] })
    .to_string();
    let trust = ("AssumeRolePolicyDocument", trust.as_str());
    rehearsal.query("iam", "CreateRole", &[role, iam, trust]);
    let policy = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "*", "Resource": "*" },
        { "Effect": "Deny", "Action": "organizations:ListTagsForResource", "Resource": "*" },
    ] })
    .to_string();
    let policy = [("PolicyName", "all"), ("PolicyDocument", policy.as_str())];
    rehearsal.query(
        "iam",
        "PutRolePolicy",
        &[&[role, iam][..], &policy].concat(),
    );
    let arn = format!("arn:aws:iam::{management}:role/onboarding");
    let assume = [
        ("RoleArn", arn.as_str()),
        ("RoleSessionName", "test"),
        ("Version", "2011-06-15"),
    ];
    let session = rehearsal.until("the role can be assumed", || {
        let call = rehearsal.wire.query("sts", "AssumeRole", &assume);
        rehearsal.runtime.block_on(call).ok()
    });
    let variables = [
        (
            "AWS_ACCESS_KEY_ID",
            element(&session, "AccessKeyId").unwrap(),
        ),
        (
            "AWS_SECRET_ACCESS_KEY",
            element(&session, "SecretAccessKey").unwrap(),
        ),
        (
            "AWS_SESSION_TOKEN",
            element(&session, "SessionToken").unwrap(),
        ),
    ];

    // What is remembered needs no permission.
    let ended = rehearsal.run_with(&variables, &["exec", "stackset-sync"]);
    assert_eq!(ended.code, 0, "{}{}", ended.stdout, ended.stderr);

    // With the definition changed as well, there would be something to do for everybody.
    rehearsal.configure(
        "[stack_set]\ndescription = \"changed\"\n",
        "",
        &format!("ous = {:?}\ntags = {{ stage = \"test\" }}", units.names),
    );
    let calls = rehearsal.calls();
    let command = [&["exec", "stackset-sync"][..], &NOW].concat();
    let ended = rehearsal.run_with(&variables, &command);
    let said = ended.stdout + &ended.stderr;
    assert_eq!(ended.code, 5, "{said}");
    for word in [
        "permission organizations:ListTagsForResource",
        "nothing was changed",
    ] {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
}

#[test]
fn the_provider_serves_an_account_with_the_tag_and_refuses_one_without() {
    let (rehearsal, units) = Rehearsal::of_production();
    rehearsal.sync_ends(0, &[]);
    let [tagged, untagged] = [&units.others[0], &units.others[1]];
    rehearsal.tag(tagged);
    let mut provider = rehearsal.runner.start(&["provider"]).unwrap();
    // Not by a run: whoever makes a stack in an account, its tags as they are now decide.
    let filter = "DeploymentTargets.AccountFilterType";
    let input = [
        ("Version", "2010-05-15"),
        ("StackSetName", "spot-onboarding-default"),
        ("Regions.member.1", "us-east-1"),
        (
            "DeploymentTargets.OrganizationalUnitIds.member.1",
            &units.names[0],
        ),
        (
            "DeploymentTargets.OrganizationalUnitIds.member.2",
            &units.names[1],
        ),
        ("DeploymentTargets.Accounts.member.1", tagged),
        ("DeploymentTargets.Accounts.member.2", untagged),
        (filter, "INTERSECTION"),
        ("OperationPreferences.FailureToleranceCount", "2"),
        ("OperationPreferences.MaxConcurrentCount", "2"),
    ];
    rehearsal.query("cloudformation", "CreateStackInstances", &input);
    rehearsal.until("the account with the tag is linked", || {
        provider.check().unwrap();
        (rehearsal.links_of(tagged).len() == 1).then_some(())
    });
    rehearsal.until_operations_end();
    assert_eq!(rehearsal.links_of(untagged), []);
    provider.signal(rustix::process::Signal::TERM).unwrap();
    assert_eq!(
        provider.wait(LIMIT).unwrap(),
        0,
        "{}",
        provider.stderr().unwrap()
    );
}
