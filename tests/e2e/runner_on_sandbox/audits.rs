//! The audit role: deployed before accounts are enrolled, and what is read through it.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread::JoinHandle,
};

use super::*;

/// Switches the audit role on, which the sandbox's administrator may assume.
pub(super) fn audited(rehearsal: &Rehearsal, sections: &str, profile: &str) {
    let organization = rehearsal
        .runtime
        .block_on(rehearsal.wire.json(
            "organizations",
            "AWSOrganizationsV20161128.DescribeOrganization",
            &json!({}),
        ))
        .unwrap();
    let id = text(&organization["Organization"]["Id"]);
    let audit = format!(
        "[audit]\nenabled = true\nprincipals = [\"user/administrator\"]\norganization_id = {id:?}\n{sections}"
    );
    rehearsal.configure(&audit, profile, "ous = [\"root\"]");
}

/// Calls AWS as the administrator of an account.
pub(super) fn in_account(
    rehearsal: &Rehearsal,
    account: &str,
    service: &str,
    action: &str,
    input: &[(&str, &str)],
) -> anyhow::Result<String> {
    let endpoint = &rehearsal.environment["AWS_ENDPOINT_URL"];
    let wire = Wire::new(endpoint, format!("AKIA{account}ROOT"));
    let version = match service {
        "iam" => "2010-05-08",
        _ => "2010-05-15",
    };
    let input = [&[("Version", version)], input].concat();
    rehearsal
        .runtime
        .block_on(wire.query(service, action, &input))
}

/// The role of an account's link, by name.
pub(super) fn linked_role(rehearsal: &Rehearsal, account: &str) -> String {
    let role = rehearsal.links_of(account)[0].role.clone().unwrap();
    role.rsplit('/').next().unwrap().to_owned()
}

/// The trust policy of the role of an account's link, as it is sent.
fn trust_policy(rehearsal: &Rehearsal, account: &str) -> String {
    let name = linked_role(rehearsal, account);
    let role = in_account(rehearsal, account, "iam", "GetRole", &[("RoleName", &name)]);
    role.unwrap()
}

/// Changes a policy, so that the next run updates every stack and no role.
fn change_policy(rehearsal: &Rehearsal) {
    let path = "config/policies/cost-intelligence.json";
    let text = fs::read_to_string(rehearsal.path(path)).unwrap();
    let mut policy: Value = serde_json::from_str(&text).unwrap();
    policy["Statement"].as_array_mut().unwrap().push(
        json!({"Sid": "More", "Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}),
    );
    rehearsal.write(path, &policy.to_string());
}

#[test]
fn the_audit_role_is_deployed_first_and_a_second_run_asks_no_account() {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, "", "");
    let before = rehearsal.spot_accounts();
    let first = rehearsal.sync_ends(0, &[]);
    let ran = steps(&first);
    assert_eq!(
        ran[..2],
        [
            "create-stack-set:audit-role",
            "create-stack-instances:audit-role:1"
        ],
        "{ran:?}"
    );
    assert_eq!(count(&first, "changed"), 8);
    // Each changed account was looked at once.
    assert_eq!(first["api_calls"]["sts:AssumeRole"], 8);
    assert_eq!(first["api_calls"]["iam:GetRole"], 8);
    rehearsal.assert_enrolled_once(&rehearsal.members(), &before);
    let render = ["template", "render", "--audit-role", "--home-account"];
    let rendered = rehearsal.run(&[&render[..], &["111122223333"]].concat());
    assert_eq!(rendered.code, 0, "{}", rendered.stderr);
    assert!(rendered.stdout.contains("SpotOnboardingAuditRole"));
    for account in rehearsal.members() {
        let name = [("RoleName", "spot-onboarding-audit")];
        let role = in_account(&rehearsal, &account, "iam", "GetRole", &name).unwrap();
        assert!(!role.contains("922761411349"), "{role}");
    }
    let calls = rehearsal.calls();
    let second = rehearsal.sync_ends(0, &[]);
    assert_eq!(second["steps"], json!([]));
    assert_eq!(written(&second), Vec::<&String>::new());
    assert_eq!(rehearsal.writes_since(&calls), BTreeSet::new());
    assert_eq!(second["api_calls"].get("sts:AssumeRole"), None);
}

#[test]
fn an_account_that_joins_later_gets_the_audit_role_from_aws() {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let _provider = rehearsal.runner.start(&["provider"]).unwrap();
    let account = rehearsal.post("accounts", &json!({"name": "Newcomer"}));
    let account = text(&account["id"]);
    rehearsal.until("the audit role is there", || {
        let name = [("RoleName", "spot-onboarding-audit")];
        in_account(&rehearsal, &account, "iam", "GetRole", &name).ok()
    });
    rehearsal.until("it is linked", || rehearsal.links_of(&account).pop());
}

#[test]
fn an_account_is_named_by_its_alias_where_it_has_one() {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, "", "naming = { rename = \"alias\" }");
    let members = rehearsal.members();
    let (named, other) = (&members[0], &members[1]);
    let alias = [("AccountAlias", "payments-prod")];
    in_account(&rehearsal, named, "iam", "CreateAccountAlias", &alias).unwrap();
    rehearsal.sync_ends(0, &[]);
    assert_eq!(rehearsal.links_of(named)[0].name, "payments-prod");
    let accounts = rehearsal.accounts();
    let account = accounts.iter().find(|account| account["id"] == **other);
    assert_eq!(
        rehearsal.links_of(other)[0].name,
        text(&account.unwrap()["name"])
    );
}

#[test]
fn a_link_keeps_the_external_id_that_its_role_trusts_when_spot_does_not_tell_it() {
    for audit in [true, false] {
        let scenario = "seed = 3\nclock_speed = 120.0\n\
                        [organization]\naccounts = 5\nous = 2\ndepth = 1\ntrusted_access = true\n\
                        [spot]\nlinked = 1\nexternal_id_read = false\n";
        let rehearsal = Rehearsal::new(scenario);
        if audit {
            audited(&rehearsal, "", "adopt = \"relink\"");
        } else {
            rehearsal.configure("", "adopt = \"relink\"", "ous = [\"root\"]");
        }
        let spot = rehearsal.spot_accounts();
        let spot = spot.into_iter().find(|spot| spot.aws_account.is_some());
        let account = spot.unwrap().aws_account.unwrap();
        let before = trust_policy(&rehearsal, &account);
        rehearsal.sync_ends(0, &[]);
        let after = trust_policy(&rehearsal, &account);
        let id = |trust: &str| {
            let at = trust.find("spotinst").unwrap();
            let rest = &trust[at..];
            rest[..rest.find("%22").unwrap()].to_owned()
        };
        assert_ne!(before, after);
        assert_eq!(id(&before) == id(&after), audit, "{before}\n{after}");
        assert!(rehearsal.links_of(&account)[0].works);
    }
}

#[test]
fn a_role_that_does_not_let_spot_in_any_more_is_reported_when_its_account_is_changed() {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let members = rehearsal.members();
    let (tampered, gone, denied) = (&members[0], &members[1], &members[2]);
    let trust = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole",
        "Principal": {"AWS": "arn:aws:iam::922761411349:root"},
        "Condition": {"StringEquals": {"sts:ExternalId": "somebody-elses"}}}]});
    let name = linked_role(&rehearsal, tampered);
    let update = [
        ("RoleName", name.as_str()),
        ("PolicyDocument", &trust.to_string()),
    ];
    in_account(
        &rehearsal,
        tampered,
        "iam",
        "UpdateAssumeRolePolicy",
        &update,
    )
    .unwrap();
    let audit = [
        ("RoleName", "spot-onboarding-audit"),
        ("PolicyName", "read"),
    ];
    in_account(&rehearsal, denied, "iam", "DeleteRolePolicy", &audit).unwrap();
    let name = linked_role(&rehearsal, gone);
    let listed_policies = in_account(
        &rehearsal,
        gone,
        "iam",
        "ListAttachedRolePolicies",
        &[("RoleName", &name)],
    );
    for policy in listed_policies.unwrap().split("<PolicyArn>").skip(1) {
        let arn = policy.split('<').next().unwrap();
        let detach = [("RoleName", name.as_str()), ("PolicyArn", arn)];
        in_account(&rehearsal, gone, "iam", "DetachRolePolicy", &detach).unwrap();
    }
    in_account(
        &rehearsal,
        gone,
        "iam",
        "DeleteRole",
        &[("RoleName", &name)],
    )
    .unwrap();

    // A run that changes nothing does not look.
    let nothing = rehearsal.sync_ends(0, &[]);
    assert_eq!(count(&nothing, "unchanged"), 8);

    change_policy(&rehearsal);
    let document = rehearsal.sync_ends(3, &[]);
    assert_eq!(
        listed(&document, "skipped", "role-trust-differs"),
        [tampered.as_str()]
    );
    assert_eq!(
        listed(&document, "skipped", "role-missing"),
        [gone.as_str()]
    );
    assert_eq!(count(&document, "ok"), 6, "{document:#}");
    let findings = document["findings"].as_array().unwrap();
    let reasons: BTreeSet<_> = findings
        .iter()
        .map(|finding| text(&finding["reason"]))
        .collect();
    let expected = ["role-missing", "role-trust-differs"];
    assert_eq!(reasons, expected.map(str::to_owned).into());
}

/// An address for one answer, and the answer.
fn answer_box() -> (String, JoinHandle<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/answer", listener.local_addr().unwrap());
    let received = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
        loop {
            let read = stream.read(&mut part).unwrap();
            bytes.extend_from_slice(&part[..read]);
            let request = String::from_utf8_lossy(&bytes);
            let body = request.split_once("\r\n\r\n").map(|(_, body)| body);
            if let Some(Ok(answer)) = body.map(serde_json::from_str) {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                    .unwrap();
                return answer;
            }
            assert_ne!(read, 0, "{request}");
        }
    });
    (url, received)
}

#[test]
fn a_late_request_of_a_stack_that_was_rolled_back_changes_nothing() {
    let rehearsal = Rehearsal::new(SMALL);
    audited(&rehearsal, "", "");
    rehearsal.sync_ends(0, &[]);
    let account = &rehearsal.members()[0];
    let template = json!({"Resources": {"Role": {"Type": "AWS::IAM::Role",
        "Properties": {"AssumeRolePolicyDocument": {"Statement": []}}}}});
    let stack = "StackSet-spot-onboarding-default-late";
    let input = [
        ("StackName", stack),
        ("TemplateBody", &template.to_string()),
        ("Capabilities.member.1", "CAPABILITY_IAM"),
    ];
    let created = in_account(&rehearsal, account, "cloudformation", "CreateStack", &input).unwrap();
    let id = created.split("<StackId>").nth(1).unwrap();
    let id = id.split('<').next().unwrap().to_owned();
    rehearsal.until("the stack is rolled back", || {
        let name = [("StackName", id.as_str())];
        let stack = in_account(
            &rehearsal,
            account,
            "cloudformation",
            "DescribeStacks",
            &name,
        );
        stack.unwrap().contains("ROLLBACK_COMPLETE").then_some(())
    });
    let home = rehearsal.account_ids(|account| account["management"] == true);
    let ask = |minutes: i64| {
        let (url, answer) = answer_box();
        let sent = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes);
        let topic = format!("arn:aws:sns:us-east-1:{}:spot-onboarding", home[0]);
        let request = json!({
            "RequestType": "Create", "RequestId": format!("late-{minutes}"), "StackId": id, "ResponseURL": url,
            "ResourceType": "Custom::SpotAccount", "LogicalResourceId": "SpotAccount", "ServiceToken": topic,
            "ResourceProperties": {"ServiceToken": topic, "AwsAccountId": account},
        });
        let message = json!({"Type": "Notification", "Message": request.to_string(), "Timestamp": sent.to_string()});
        let queue = format!(
            "{}/{}/spot-onboarding",
            rehearsal.environment["AWS_ENDPOINT_URL"], home[0]
        );
        let input = json!({"QueueUrl": queue, "MessageBody": message.to_string()});
        let sent = rehearsal.wire.json("sqs", "AmazonSQS.SendMessage", &input);
        rehearsal.runtime.block_on(sent).unwrap();
        answer
    };
    let _provider = rehearsal.runner.start(&["provider"]).unwrap();
    let (late, fresh) = (ask(5), ask(0));
    let late = late.join().unwrap();
    assert_eq!(late["Status"], "FAILED", "{late}");
    let reason = text(&late["Reason"]);
    assert!(reason.contains("ROLLBACK_COMPLETE"), "{reason}");
    assert!(reason.contains("nothing was changed at Spot"), "{reason}");
    // A fresh request is not looked up: that its stack is over already is not known.
    assert_eq!(fresh.join().unwrap()["Status"], "SUCCESS");
}

#[test]
fn an_audit_role_without_what_it_needs_is_an_error_of_the_configuration() {
    let rehearsal = Rehearsal::new(SMALL);
    rehearsal.configure("[audit]\nenabled = true", "", "ous = [\"root\"]");
    let ended = rehearsal.run(&["exec", "stackset-sync"]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    for missing in ["audit.principals", "audit.organization_id"] {
        assert!(ended.stderr.contains(missing), "{}", ended.stderr);
    }
    // One that is there already needs neither, and nothing is deployed.
    let existing = "[audit]\nenabled = true\nrole_name = \"OrganizationAccountAccessRole\"";
    rehearsal.configure(
        existing,
        "naming = { rename = \"alias\" }",
        "ous = [\"root\"]",
    );
    let account = &rehearsal.members()[0];
    let alias = [("AccountAlias", "payments-prod")];
    in_account(&rehearsal, account, "iam", "CreateAccountAlias", &alias).unwrap();
    let document = rehearsal.sync_ends(0, &[]);
    assert!(
        !steps(&document)
            .iter()
            .any(|step| step.contains("audit-role"))
    );
    assert_eq!(rehearsal.links_of(account)[0].name, "payments-prod");
}
