//! `runner bootstrap` and `runner iam-policy`: an account without anything gets what enrollment needs, the role that comes
//! with it is enough for the runner and no more, and what stacks rely on is left alone.

use e2e::moto::Moto;

use super::*;

/// Nothing of ours is in the account.
pub(super) fn bare() -> Rehearsal {
    Rehearsal::new(&format!("{SMALL}[provider]\nenabled = false\n"))
}

#[track_caller]
pub(super) fn bootstrapped(rehearsal: &Rehearsal) -> Value {
    let ended = rehearsal.run(&["--output", "json", "bootstrap", "--yes"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.json().unwrap()
}

impl Rehearsal {
    fn ask(&self, service: &str, action: &str, input: &[(&str, &str)]) -> String {
        self.runtime
            .block_on(self.wire.query(service, action, input))
            .unwrap_or_else(|error| panic!("{action}: {error:#}"))
    }

    fn sqs(&self, operation: &str, input: &Value) -> Value {
        let target = format!("AmazonSQS.{operation}");
        self.runtime
            .block_on(self.wire.json("sqs", &target, input))
            .unwrap_or_else(|error| panic!("{operation}: {error:#}"))
    }

    /// Names and statuses of the stacks that are not gone.
    fn stacks(&self) -> Vec<(String, String)> {
        let xml = self.ask(
            "cloudformation",
            "DescribeStacks",
            &[("Version", "2010-05-15")],
        );
        let names = elements(&xml, "StackName");
        let statuses = elements(&xml, "StackStatus");
        names.into_iter().zip(statuses).collect()
    }

    fn topics(&self) -> Vec<String> {
        let xml = self.ask("sns", "ListTopics", &[("Version", "2010-03-31")]);
        elements(&xml, "TopicArn")
    }

    /// The variables of a session of a role, as soon as it can be assumed.
    pub(super) fn session(&self, role: &str) -> [(&'static str, String); 3] {
        let input = [
            ("Version", "2011-06-15"),
            ("RoleArn", role),
            ("RoleSessionName", "rehearsal"),
        ];
        let xml = self.until("the role can be assumed", || {
            let asked = self.wire.query("sts", "AssumeRole", &input);
            self.runtime.block_on(asked).ok()
        });
        let one = |name| elements(&xml, name).remove(0);
        [
            ("AWS_ACCESS_KEY_ID", one("AccessKeyId")),
            ("AWS_SECRET_ACCESS_KEY", one("SecretAccessKey")),
            ("AWS_SESSION_TOKEN", one("SessionToken")),
        ]
    }
}

/// The texts of all elements with this name.
fn elements(xml: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let parts = xml.split(&open).skip(1);
    parts
        .filter_map(|part| Some(part.split_once(&close)?.0.to_owned()))
        .collect()
}

/// The actions that a policy allows.
fn allowed(policy: &Value) -> BTreeSet<String> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    let actions = statements.flat_map(|statement| statement["Action"].as_array().unwrap());
    actions.map(text).collect()
}

#[test]
fn a_bare_account_is_bootstrapped_and_the_role_that_comes_with_it_enrolls_everything() {
    let rehearsal = bare();
    let organization = "AWSOrganizationsV20161128.DescribeOrganization";
    let organization = rehearsal
        .runtime
        .block_on(
            rehearsal
                .wire
                .json("organizations", organization, &json!({})),
        )
        .unwrap();
    let organization = text(&organization["Organization"]["Id"]);
    rehearsal.configure(
        &format!(
            "[audit]\nenabled = true\nprincipals = [\"role/spot-onboarding-runner\"]\norganization_id = {organization:?}\n"
        ),
        "",
        "ous = [\"root\"]",
    );
    let before = rehearsal.spot_accounts();
    let made = bootstrapped(&rehearsal);
    assert_eq!(made["stacks"].as_array().unwrap().len(), 1, "{made:#}");
    assert_eq!(made["stacks"][0]["status"], "deployed");
    let role = text(&made["stacks"][0]["outputs"]["RunnerRoleArn"]);

    // Again: nothing to do, whoever asks.
    let again = bootstrapped(&rehearsal);
    assert_eq!(again["stacks"][0]["status"], "unchanged", "{again:#}");
    assert_eq!(rehearsal.run(&["bootstrap", "--plan"]).code, 0);

    // With nothing but its own role, the runner does all of its work, what it does in the accounts included.
    let session = rehearsal.session(&role);
    let session = session
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let arguments = ["--output", "json", "exec", "stackset-sync"];
    let ended = rehearsal.run_with(&session, &arguments);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    let document = ended.json().unwrap();
    assert_eq!(count(&document, "changed"), 8, "{document:#}");
    assert!(
        document["api_calls"]["sts:AssumeRole"].as_u64() >= Some(8),
        "{document:#}"
    );
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);

    // A removal and a status take nothing that the role does not have.
    let closed = rehearsal.members()[0].clone();
    rehearsal.post(&format!("accounts/{closed}/close"), &json!({}));
    let ended = rehearsal.run_with(&session, &["--output", "json", "status"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
}

#[test]
fn the_role_enrolls_the_management_account_through_cloudformation_and_cannot_write_iam_itself() {
    let rehearsal = bare();
    let profile = "management_account = true\npermissions_boundary = \"OrgBoundary\"";
    rehearsal.configure("", profile, "ous = [\"root\"]");
    let made = bootstrapped(&rehearsal);
    let role = text(&made["stacks"][0]["outputs"]["RunnerRoleArn"]);
    let account = role.split(':').nth(4).unwrap();
    let session = rehearsal.session(&role);
    let [id, _, token] = session.each_ref().map(|(_, value)| value.as_str());
    let session = session
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let arguments = ["--output", "json", "exec", "stackset-sync"];
    let ended = rehearsal.run_with(&session, &arguments);
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    assert_eq!(count(&ended.json().unwrap(), "changed"), 9);
    assert_eq!(rehearsal.links_of(account).len(), 1);

    // Another role, such as one without the boundary, CloudFormation does not make for the runner.
    rehearsal.configure("", "management_account = true", "ous = [\"root\"]");
    let ended = rehearsal.run_with(&session, &arguments);
    assert_eq!(ended.code, 1, "{}\n{}", ended.stdout, ended.stderr);
    assert!(
        ended.stdout.contains("iam:DeleteRolePermissionsBoundary"),
        "{}",
        ended.stdout
    );

    // And what it may do for the runner, the runner may not do by itself.
    let wire = rehearsal.wire.in_session(id, token);
    let spot_role = ("RoleName", "spot-onboarding-default-SpotRole");
    let anybody = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}"#;
    let admin = ("PolicyArn", "arn:aws:iam::aws:policy/AdministratorAccess");
    for (action, input) in [
        (
            "UpdateAssumeRolePolicy",
            &[spot_role, ("PolicyDocument", anybody)][..],
        ),
        ("AttachRolePolicy", &[spot_role, admin]),
        ("DeleteRole", &[spot_role]),
    ] {
        let input = [&[("Version", "2010-05-08")], input].concat();
        let asked = rehearsal
            .runtime
            .block_on(wire.query("iam", action, &input));
        let refused = format!("{:#}", asked.unwrap_err());
        assert!(refused.contains("AccessDenied"), "{action}: {refused}");
    }
}

#[test]
fn the_policy_is_what_the_runs_needed_and_what_the_operations_explain() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.configure(
        "[stack_set]\ntags = { team = \"platform\" }\n[prerequisites]\nactivate_trusted_access = true\n",
        "",
        "ous = [\"root\"]",
    );
    let policy = rehearsal.run(&["iam-policy"]).json().unwrap();
    let allowed = allowed(&policy);
    let first = rehearsal.sync_ends(0, &[]);
    let excluded = format!("{:?}", rehearsal.members()[0]);
    rehearsal.configure(
        "",
        "",
        &format!("ous = [\"root\"]\nexclude_accounts = [{excluded}]"),
    );
    let second = rehearsal.sync(&[]).1;
    let calls = |document: &Value| -> BTreeSet<String> {
        let calls = document["api_calls"].as_object().unwrap().keys();
        calls
            .filter(|call| !call.starts_with("spot:") && *call != "sts:GetCallerIdentity")
            .cloned()
            .collect()
    };
    let made: BTreeSet<_> = calls(&first).union(&calls(&second)).cloned().collect();
    assert!(
        made.contains("cloudformation:CreateStackInstances"),
        "{made:?}"
    );
    let missing: Vec<_> = made.difference(&allowed).collect();
    assert!(missing.is_empty(), "called, but not allowed: {missing:?}");

    // What no call of ours is named like is asked for by one that is: onboarding-core's table says by which.
    let table =
        fs::read_to_string(e2e::components::checkout().join("tests/operations.toml")).unwrap();
    let is_operation = |name: &str| table.contains(&format!("name = \"{name}\""));
    for action in &allowed {
        let by_name = is_operation(action);
        let asked = onboarding_core::iam_policy::PERMISSIONS.iter().any(|one| {
            one.actions.contains(&action.as_str()) && one.asked_by.is_some_and(is_operation)
        });
        assert!(by_name || asked, "{action}");
    }

    // The role of the home stack may do exactly that; without credentials, whoever is named stands for who we are.
    let account = text(
        &rehearsal
            .accounts()
            .iter()
            .find(|one| one["management"] == true)
            .unwrap()["id"],
    );
    let named = ["--home-account", &account, "--organization", "o-abcdefghij"];
    let render = [&["bootstrap", "--render", "--format", "json"][..], &named].concat();
    let nobody = [("AWS_ACCESS_KEY_ID", "")];
    let rendered = rehearsal.run_with(&nobody, &render).json().unwrap();
    let policy = rehearsal.run_with(&nobody, &[&["iam-policy"][..], &named].concat());
    let role = &rendered["spot-onboarding-home in us-east-1"]["Resources"]["RunnerRole"];
    assert_eq!(
        role["Properties"]["Policies"][0]["PolicyDocument"],
        policy.json().unwrap()
    );
}

#[test]
fn a_run_that_the_function_is_to_serve_needs_the_function() {
    let rehearsal = bare();
    // The sandbox has no secrets.
    let Some(moto) = Moto::start().unwrap() else {
        return;
    };
    let token = &rehearsal.environment["SPOTINST_TOKEN"];
    let secret = json!({ "Name": "spot/token", "SecretString": token, "ClientRequestToken": "0".repeat(32) });
    let wire = moto.wire();
    let put = wire.json("secretsmanager", "secretsmanager.CreateSecret", &secret);
    rehearsal.runtime.block_on(put).unwrap();
    let moto = moto.endpoint();
    let elsewhere = ("AWS_ENDPOINT_URL_SECRETS_MANAGER", moto.as_str());

    let code = "[bootstrap.lambda]\ns3_bucket = \"programs\"\ns3_key = \"bootstrap.zip\"\n";
    let token = "[spot]\ntoken = { secrets_manager = \"spot/token\" }\n";
    let runner = format!("{token}[enrollment]\nserved_by = \"run\"\n");
    let function =
        format!("{token}[enrollment]\nserved_by = \"lambda\"\nservice_timeout = \"14m\"\n{code}");
    let made = |configured: &str| {
        rehearsal.configure(configured, "", "ous = [\"root\"]");
        let made = rehearsal.run_with(&[elsewhere], &["--output", "json", "bootstrap", "--yes"]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        made.json().unwrap()
    };
    let role = text(&made(&runner)["stacks"][0]["outputs"]["RunnerRoleArn"]);
    let planned = |variables: &[(&str, &str)], code| {
        let variables = [variables, &[elsewhere]].concat();
        let dry_run = ["--output", "json", "exec", "stackset-sync", "--dry-run"];
        let ended = rehearsal.run_with(&variables, &dry_run);
        assert_eq!(ended.code, code, "{}", ended.stderr);
        ended.stderr
    };
    rehearsal.configure(&function, "", "ous = [\"root\"]");
    let refused = planned(&[], 5);
    assert!(
        refused.contains("spot-onboarding-home has no function"),
        "{refused}"
    );
    assert!(refused.contains("`runner bootstrap`"), "{refused}");

    made(&function);
    // The runner's own role is enough to see it.
    let session = rehearsal.session(&role);
    let session = session
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    planned(&session, 3);
}

#[test]
fn a_plan_leaves_nothing_behind_and_without_a_yes_nothing_is_done() {
    let rehearsal = bare();
    let plan = rehearsal.run(&["--output", "json", "bootstrap", "--plan"]);
    assert_eq!(plan.code, 3, "{}", plan.stderr);
    let changes = plan.json().unwrap()["stacks"][0]["changes"].clone();
    assert!(
        changes.as_array().unwrap().iter().any(|change| *change
            == json!({"action": "add", "logical_id": "Topic", "resource_type": "AWS::SNS::Topic", "retained": false, "properties": []})),
        "{changes:#}"
    );
    let unanswered = rehearsal.run(&["bootstrap"]);
    assert_eq!(unanswered.code, 4, "{}", unanswered.stderr);
    assert!(
        unanswered.stdout.contains("AWS::SQS::Queue"),
        "{}",
        unanswered.stdout
    );
    assert!(unanswered.stderr.contains("--yes"), "{}", unanswered.stderr);
    assert_eq!(rehearsal.stacks(), []);
    assert_eq!(rehearsal.topics(), Vec::<String>::new());

    bootstrapped(&rehearsal);
    let other = "--set=bootstrap.encryption=sqs-managed";
    let plan = rehearsal.run(&["--output", "json", other, "bootstrap", "--plan"]);
    assert_eq!(plan.code, 3, "{}", plan.stderr);
    let stack = &plan.json().unwrap()["stacks"][0];
    let changes = stack["changes"].as_array().unwrap();
    let of = |id: &str| changes.iter().find(|change| change["logical_id"] == id);
    assert_eq!(of("Queue").unwrap()["action"], "modify", "{stack:#}");
    assert_ne!(of("Queue").unwrap()["properties"], json!([]), "{stack:#}");
    assert_eq!(of("Key").unwrap()["action"], "remove", "{stack:#}");
    assert_eq!(of("Key").unwrap()["retained"], true, "{stack:#}");
    assert_eq!(bootstrapped(&rehearsal)["stacks"][0]["status"], "unchanged");
}

#[test]
fn a_topic_is_never_renamed_whether_stacks_name_it_already_or_not() {
    let rehearsal = bare();
    bootstrapped(&rehearsal);
    let topic = rehearsal.topics().remove(0);
    let account = topic.split(':').nth(4).unwrap();
    let other = format!("--set=enrollment.topic_arn=\"arn:aws:sns:us-east-1:{account}:another\"");
    for (stacks, words) in [(false, "replace its topic"), (true, "ServiceToken")] {
        if stacks {
            rehearsal.sync_ends(0, &[]);
        }
        let refused = rehearsal.run(&[&other, "bootstrap", "--yes"]);
        assert_eq!(refused.code, 4, "{}{}", refused.stdout, refused.stderr);
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
        assert!(refused.stderr.contains(&topic), "{}", refused.stderr);
    }
    assert_eq!(rehearsal.topics(), [topic]);
    assert_eq!(bootstrapped(&rehearsal)["stacks"][0]["status"], "unchanged");
}

#[test]
fn what_is_in_the_way_is_named_and_a_failed_creation_leaves_only_its_record() {
    let rehearsal = bare();
    // A queue of the provider's name, which no stack made.
    let made = rehearsal.sqs("CreateQueue", &json!({"QueueName": "spot-onboarding"}));
    let refused = rehearsal.run(&["bootstrap", "--yes"]);
    assert_eq!(refused.code, 4, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("queue spot-onboarding already"),
        "{}",
        refused.stderr
    );
    assert_eq!(rehearsal.stacks(), []);
    rehearsal.sqs("DeleteQueue", &json!({"QueueUrl": made["QueueUrl"]}));

    let made = rehearsal.sqs("CreateQueue", &json!({"QueueName": "spot-onboarding-dlq"}));
    let failed = rehearsal.run(&["bootstrap", "--yes"]);
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    for words in [
        "DeadLetters (AWS::SQS::Queue)",
        "already exists",
        "delete-stack",
    ] {
        assert!(failed.stderr.contains(words), "{words}: {}", failed.stderr);
    }
    assert_eq!(rehearsal.topics(), Vec::<String>::new());
    let again = rehearsal.run(&["bootstrap", "--yes"]);
    assert_eq!(again.code, 1, "{}", again.stderr);
    assert!(
        again.stderr.contains("ROLLBACK_COMPLETE"),
        "{}",
        again.stderr
    );

    rehearsal.sqs("DeleteQueue", &json!({"QueueUrl": made["QueueUrl"]}));
    let input = [
        ("Version", "2010-05-15"),
        ("StackName", "spot-onboarding-home"),
    ];
    rehearsal.ask("cloudformation", "DeleteStack", &input);
    rehearsal.until("the stack is gone", || {
        rehearsal.stacks().is_empty().then_some(())
    });
    assert_eq!(bootstrapped(&rehearsal)["stacks"][0]["status"], "deployed");
}

#[test]
fn a_review_that_was_left_behind_is_taken_up() {
    let rehearsal = bare();
    let template = r#"{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}"#;
    let input = [
        ("Version", "2010-05-15"),
        ("StackName", "spot-onboarding-home"),
        ("ChangeSetName", "left-behind"),
        ("ChangeSetType", "CREATE"),
        ("TemplateBody", template),
    ];
    rehearsal.ask("cloudformation", "CreateChangeSet", &input);
    let review = [(
        "spot-onboarding-home".to_owned(),
        "REVIEW_IN_PROGRESS".to_owned(),
    )];
    assert_eq!(rehearsal.run(&["bootstrap", "--plan"]).code, 3);
    assert_eq!(rehearsal.stacks(), review);
    assert_eq!(bootstrapped(&rehearsal)["stacks"][0]["status"], "deployed");
}

#[test]
fn events_of_other_regions_are_handed_on_by_a_stack_there() {
    let rehearsal = Rehearsal::new(&format!(
        "region = \"eu-west-1\"\n{SMALL}[provider]\nenabled = false\n"
    ));
    let arguments = [
        "--output",
        "json",
        "--set=aws.region=eu-west-1",
        "--set=bootstrap.control_tower_region=eu-central-1",
        "bootstrap",
        "--yes",
    ];
    let ended = rehearsal.run(&arguments);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let document = ended.json().unwrap();
    let stacks = document["stacks"].as_array().unwrap();
    let stacks: Vec<_> = stacks
        .iter()
        .map(|stack| {
            (
                text(&stack["name"]),
                text(&stack["region"]),
                text(&stack["status"]),
            )
        })
        .collect();
    let deployed =
        |name: &str, region: &str| (name.to_owned(), region.to_owned(), "deployed".to_owned());
    assert_eq!(
        stacks,
        [
            deployed("spot-onboarding-home", "eu-west-1"),
            deployed("spot-onboarding-events", "eu-central-1"),
            deployed("spot-onboarding-events", "us-east-1"),
        ]
    );
}

#[test]
fn the_function_is_deployed_when_its_code_is_there_and_goes_with_it() {
    let rehearsal = bare();
    let token = "[spot]\ntoken = { ssm_parameter = \"/spot/token\" }\n";
    let lambda = "[bootstrap.lambda]\ns3_bucket = \"programs\"\ns3_key = \"bootstrap.zip\"\n\
                  [enrollment]\nserved_by = \"lambda\"\n";
    rehearsal.configure(&format!("{lambda}{token}"), "", "ous = [\"root\"]");
    let made = bootstrapped(&rehearsal);
    let outputs = &made["stacks"][0]["outputs"];
    let function = text(&outputs["FunctionArn"]);
    assert!(
        function.starts_with("arn:aws:lambda:us-east-1:"),
        "{made:#}"
    );
    assert_eq!(bootstrapped(&rehearsal)["stacks"][0]["status"], "unchanged");

    // The runner serves again: the function goes, and what stacks rely on stays.
    rehearsal.configure(token, "", "ous = [\"root\"]");
    let plan = rehearsal.run(&["--output", "json", "bootstrap", "--plan"]);
    let plan = plan.json().unwrap();
    let changes = plan["stacks"][0]["changes"].as_array().unwrap();
    // The role that looked for the function need not do so any more.
    let mut removed: Vec<String> = changes
        .iter()
        .filter(|change| change["logical_id"] != "RunnerRole")
        .map(|change| {
            assert_eq!(change["action"], "remove", "{plan:#}");
            text(&change["logical_id"])
        })
        .collect();
    removed.sort();
    assert_eq!(
        removed,
        [
            "Function",
            "FunctionEvents",
            "FunctionLog",
            "FunctionQueue",
            "FunctionRefusedAlarm",
            "FunctionRole"
        ]
    );
    assert_eq!(bootstrapped(&rehearsal)["stacks"][0]["status"], "deployed");
}

#[test]
fn what_cannot_be_bootstrapped_is_a_configuration_error() {
    let rehearsal = bare();
    for (sets, words) in [
        (
            &[
                "--set=enrollment.provider=spot-hosted",
                "--set=enrollment.cost_intelligence_lambda=x",
            ][..],
            "nothing needs to be deployed",
        ),
        (
            &["--set=enrollment.queue_url=https://sqs.us-east-1.amazonaws.com/123456789012/mine"],
            "queue that you made yourself",
        ),
        (&["--set=stack_set.region=eu-west-1"], "two Regions"),
        (
            &["--set=enrollment.topic_arn=arn:aws:sns:us-east-1:123456789012:theirs"],
            "belongs to",
        ),
        (
            &["--set=bootstrap.alarm_topic_arn=arn:aws:sns:eu-west-1:123456789012:alarms"],
            "alarm topic",
        ),
        (
            &["--set=bootstrap.runner_principals=[\"*\"]"],
            "who may assume",
        ),
    ] {
        let ended = rehearsal.run(&[sets, &["bootstrap", "--plan"]].concat());
        assert_eq!(ended.code, 2, "{sets:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
}
