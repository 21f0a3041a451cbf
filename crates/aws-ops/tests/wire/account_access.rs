//! Reading in member accounts: sessions are shared and bounded, and each denial is told from the others.

use aws_ops::{AccessError, AccessRole, AccountAccess, AccountRemediation};
use onboarding_core::ids::AwsAccountId;

use crate::server::{Answer, Call, Server};

const SESSION: &str = "<Credentials><AccessKeyId>ASIAMEMBER</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
                       <SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>";

const ALIAS: &str =
    "<AccountAliases><member>payments</member></AccountAliases><IsTruncated>false</IsTruncated>";

fn account(number: u64) -> AwsAccountId {
    AwsAccountId::from_number(number).unwrap()
}

fn role(name: &str) -> AccessRole {
    AccessRole {
        partition: "aws".to_owned(),
        path: "/spot/".to_owned(),
        name: name.to_owned(),
        session_name: "spot-onboarding".to_owned(),
    }
}

async fn served(
    answer: impl Fn(&Call) -> Answer + Send + Sync + 'static,
) -> (Server, AccountAccess) {
    let server = Server::start(answer).await;
    let access = AccountAccess::new(&server.aws, role("audit"));
    (server, access)
}

fn fine(call: &Call) -> Answer {
    match call.operation.as_str() {
        "AssumeRole" => Answer::xml("AssumeRole", SESSION),
        "ListAccountAliases" => Answer::xml("ListAccountAliases", ALIAS),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_role_is_assumed_once_for_everybody_who_asks_about_its_account() {
    let (server, access) = served(fine).await;
    let (one, another) = tokio::join!(access.alias(account(7)), access.alias(account(7)));
    assert_eq!(one.unwrap().as_deref(), Some("payments"));
    assert_eq!(another, Ok(Some("payments".to_owned())));
    access.clone().alias(account(7)).await.unwrap();
    assert_eq!(server.count("AssumeRole"), 1);
    assert_eq!(server.count("ListAccountAliases"), 3);
    let call = server.calls.lock().unwrap()[0].body.clone();
    assert!(
        call.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A000000000007%3Arole%2Fspot%2Faudit"),
        "{call}"
    );
    assert!(call.contains("DurationSeconds=900"), "{call}");
}

#[tokio::test]
async fn only_so_many_sessions_are_kept() {
    let (server, access) = served(fine).await;
    for number in 1..=257 {
        access.alias(account(number)).await.unwrap();
    }
    // The first one had to go for the last one; the second one is still there.
    access.alias(account(2)).await.unwrap();
    assert_eq!(server.count("AssumeRole"), 257);
    access.alias(account(1)).await.unwrap();
    assert_eq!(server.count("AssumeRole"), 258);
}

#[tokio::test]
async fn each_denial_is_told_from_the_others() {
    const SCP: &str =
        "User: x is not authorized to perform: y with an explicit deny in a service control policy";
    const PLAIN: &str = "User: x is not authorized to perform: y";
    let denied = |operation: &'static str, message: &'static str| async move {
        let (_server, access) = served(move |call| {
            if call.operation == operation {
                return Answer::xml_error(403, "AccessDenied", message);
            }
            fine(call)
        })
        .await;
        access.alias(account(7)).await.unwrap_err()
    };
    for (operation, message, expected) in [
        ("AssumeRole", PLAIN, "no role"),
        ("AssumeRole", SCP, "scp"),
        ("ListAccountAliases", PLAIN, "denied"),
        ("ListAccountAliases", SCP, "scp"),
    ] {
        let error = denied(operation, message).await;
        let kind = match &error {
            AccessError::NoRole { .. } => "no role",
            AccessError::DeniedByScp(_) => "scp",
            AccessError::Denied { .. } => "denied",
            AccessError::Failed(_) => "failed",
        };
        assert_eq!(kind, expected, "{error}");
        assert!(
            error.is_denial() && error.to_string().contains(message),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_failure_is_no_denial_and_is_tried_again_with_a_new_session() {
    let (server, access) = served(|call| match call.operation.as_str() {
        "ListAccountAliases" => Answer::xml_error(403, "ExpiredToken", "expired"),
        _ => fine(call),
    })
    .await;
    for _ in 0..2 {
        let error = access.alias(account(7)).await.unwrap_err();
        assert!(!error.is_denial(), "{error}");
    }
    assert_eq!(server.count("AssumeRole"), 2);
}

#[tokio::test]
async fn a_stack_is_read_in_its_own_region_and_a_missing_one_is_no_error() {
    let stack = "<Stacks><member><StackId>s</StackId><StackName>s</StackName><CreationTime>2026-01-01T00:00:00Z</CreationTime>\
                 <StackStatus>ROLLBACK_COMPLETE</StackStatus><StackStatusReason>why</StackStatusReason>\
                 <EnableTerminationProtection>true</EnableTerminationProtection>\
                 <Parameters><member><ParameterKey>Token</ParameterKey><ParameterValue>****</ParameterValue></member></Parameters><Outputs><member><OutputKey>ExternalId</OutputKey>\
                 <OutputValue>spotinst:aws:extid:1</OutputValue></member></Outputs></member></Stacks>";
    let (server, access) = served(move |call| match call.operation.as_str() {
        "DescribeStacks" if call.body.contains("gone") => {
            Answer::xml_error(400, "ValidationError", "Stack with id gone does not exist")
        }
        "DescribeStacks" => Answer::xml("DescribeStacks", stack),
        _ => fine(call),
    })
    .await;
    let id = |name: &str| {
        format!("arn:aws:cloudformation:eu-west-1:000000000007:stack/{name}/1")
            .parse()
            .unwrap()
    };
    let found = access.stack(&id("there")).await.unwrap().unwrap();
    assert_eq!(found.status, "ROLLBACK_COMPLETE");
    assert_eq!(found.outputs["ExternalId"], "spotinst:aws:extid:1");
    assert_eq!((&*found.name, found.is_protected), ("s", true));
    assert_eq!(found.status_reason.as_deref(), Some("why"));
    assert_eq!(found.parameters["Token"], "****");
    assert_eq!(access.stack(&id("gone")).await, Ok(None));
    let calls = server.calls.lock().unwrap().clone();
    let describe = calls.iter().find(|call| call.operation == "DescribeStacks");
    let signed = &describe.unwrap().authorization;
    assert!(
        signed.contains("ASIAMEMBER/") && signed.contains("/eu-west-1/cloudformation"),
        "{signed}"
    );
}

#[tokio::test]
async fn policies_are_taken_away_in_the_session_of_the_remediation_role() {
    let server = Server::start(|call| match call.operation.as_str() {
        "AssumeRole" => Answer::xml("AssumeRole", SESSION),
        operation => Answer::xml(operation, ""),
    })
    .await;
    let remediation = AccountRemediation::new(&server.aws, role("remediation"));
    let arn = "arn:aws:iam::aws:policy/AdministratorAccess";
    let deleted = remediation.delete_role_policy(account(7), "SpotRole", "mine@1");
    assert_eq!(deleted.await, Ok(true));
    let detached = remediation.detach_role_policy(account(7), "SpotRole", arn);
    assert_eq!(detached.await, Ok(true));
    assert_eq!(server.count("AssumeRole"), 1);
    let calls = server.calls.lock().unwrap().clone();
    assert!(
        calls[0].body.contains("role%2Fspot%2Fremediation"),
        "{calls:?}"
    );
    let sent = |operation: &str| {
        let call = calls.iter().find(|call| call.operation == operation);
        let call = call.unwrap();
        assert!(call.authorization.contains("ASIAMEMBER/"), "{call:?}");
        call.body.clone()
    };
    let delete = sent("DeleteRolePolicy");
    assert!(
        delete.contains("RoleName=SpotRole&PolicyName=mine%401"),
        "{delete}"
    );
    let detach = sent("DetachRolePolicy");
    let name = "PolicyArn=arn%3Aaws%3Aiam%3A%3Aaws%3Apolicy%2FAdministratorAccess";
    assert!(
        detach.contains(&format!("RoleName=SpotRole&{name}")),
        "{detach}"
    );
}

#[tokio::test]
async fn a_stack_is_deleted_in_its_own_region_in_the_session_of_the_remediation_role() {
    let server = Server::start(|call| match call.operation.as_str() {
        "AssumeRole" => Answer::xml("AssumeRole", SESSION),
        operation => Answer::xml(operation, ""),
    })
    .await;
    let remediation = AccountRemediation::new(&server.aws, role("remediation"));
    let stack = "arn:aws:cloudformation:eu-west-1:000000000007:stack/StackSet-a-1/1";
    let stack = stack.parse().unwrap();
    assert_eq!(remediation.delete_stack(&stack, "leftover-1").await, Ok(()));
    let calls = server.calls.lock().unwrap().clone();
    let [assume, delete] = &calls[..] else {
        panic!("{calls:?}")
    };
    assert!(
        assume.body.contains("role%2Fspot%2Fremediation"),
        "{assume:?}"
    );
    assert_eq!(delete.operation, "DeleteStack");
    for part in [
        "StackName=arn%3Aaws%3Acloudformation%3Aeu-west-1%3A000000000007%3Astack%2FStackSet-a-1%2F1",
        "ClientRequestToken=leftover-1",
    ] {
        assert!(delete.body.contains(part), "{delete:?}");
    }
    let signed = &delete.authorization;
    assert!(
        signed.contains("ASIAMEMBER/") && signed.contains("/eu-west-1/cloudformation"),
        "{signed}"
    );
}

#[tokio::test]
async fn what_is_not_there_any_more_is_away_and_a_denial_is_told() {
    let missing = "The role policy with name x cannot be found.";
    for (status, code, words) in [
        (404, "NoSuchEntity", missing),
        (403, "AccessDenied", "User: x is not authorized"),
    ] {
        let server = Server::start(move |call| match call.operation.as_str() {
            "AssumeRole" => Answer::xml("AssumeRole", SESSION),
            _ => Answer::xml_error(status, code, words),
        })
        .await;
        let remediation = AccountRemediation::new(&server.aws, role("remediation"));
        let deleted = remediation
            .delete_role_policy(account(7), "SpotRole", "x")
            .await;
        let detached =
            remediation.detach_role_policy(account(7), "SpotRole", "arn:aws:iam::aws:policy/x");
        for removed in [deleted, detached.await] {
            match status {
                404 => assert_eq!(removed, Ok(false)),
                _ => assert!(
                    matches!(removed, Err(AccessError::Denied { .. })),
                    "{removed:?}"
                ),
            }
        }
    }
}
