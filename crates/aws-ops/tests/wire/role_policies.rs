//! What a role may do, from answers as IAM gives them: page by page, percent-encoded, and some of them refused.

use std::collections::BTreeMap;

use aws_ops::{AccessError, AccessRole, AccountAccess, ErrorClass};
use onboarding_core::{
    ids::AwsAccountId,
    inventory::{PolicyReading, RolePolicies},
};

use crate::server::{Answer, Call, Server};

const SESSION: &str = "<Credentials><AccessKeyId>ASIAMEMBER</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
                       <SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>";

const ACCOUNT: u64 = 111_122_223_333;

fn account() -> AwsAccountId {
    AwsAccountId::from_number(ACCOUNT).unwrap()
}

/// What the request's form has under a name, still encoded.
fn field<'a>(call: &'a Call, name: &str) -> Option<&'a str> {
    let mut pairs = call.body.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn attached(arns: &[&str]) -> String {
    let members: String = arns
        .iter()
        .map(|arn| {
            let name = arn.rsplit('/').next().unwrap();
            format!("<member><PolicyName>{name}</PolicyName><PolicyArn>{arn}</PolicyArn></member>")
        })
        .collect();
    format!("<AttachedPolicies>{members}</AttachedPolicies>")
}

fn names(names: &[&str]) -> String {
    let members: String = names
        .iter()
        .map(|name| format!("<member>{name}</member>"))
        .collect();
    format!("<PolicyNames>{members}</PolicyNames>")
}

const MORE: &str = "<IsTruncated>true</IsTruncated><Marker>second</Marker>";
const END: &str = "<IsTruncated>false</IsTruncated>";

/// A role with three policies of its account, one of AWS's, one of another account, and two inline ones.
fn fine(call: &Call) -> Answer {
    let second = field(call, "Marker").is_some();
    let operation = call.operation.as_str();
    let own = |name: &str| format!("arn:aws:iam::{ACCOUNT}:policy/{name}");
    match operation {
        "AssumeRole" => Answer::xml(operation, SESSION),
        // An empty page is not the end.
        "ListAttachedRolePolicies" if !second => {
            Answer::xml(operation, &format!("{}{MORE}", attached(&[])))
        }
        "ListAttachedRolePolicies" => {
            let (read, hidden, gone) = (own("path/read"), own("hidden"), own("gone"));
            let aws = "arn:aws:iam::aws:policy/SecurityAudit";
            let other = "arn:aws:iam::444455556666:policy/shared";
            let list = attached(&[&read, aws, &hidden, &gone, other]);
            Answer::xml(operation, &format!("{list}{END}"))
        }
        "GetPolicy" => Answer::xml(
            operation,
            "<Policy><DefaultVersionId>v7</DefaultVersionId></Policy>",
        ),
        "GetPolicyVersion" => {
            assert_eq!(field(call, "VersionId"), Some("v7"));
            Answer::xml(
                operation,
                "<PolicyVersion><Document>%7B%22Id%22%3A%22a+b%2Bc%22%7D</Document><VersionId>v7</VersionId>\
                 <IsDefaultVersion>true</IsDefaultVersion></PolicyVersion>",
            )
        }
        "ListRolePolicies" if !second => {
            Answer::xml(operation, &format!("{}{MORE}", names(&["one"])))
        }
        "ListRolePolicies" => Answer::xml(operation, &format!("{}{END}", names(&["two"]))),
        "GetRolePolicy" => {
            let name = field(call, "PolicyName").unwrap();
            Answer::xml(
                operation,
                &format!(
                    "<RoleName>SpotRole</RoleName><PolicyName>{name}</PolicyName>\
                     <PolicyDocument>%7B%22Id%22%3A%22{name}%22%7D</PolicyDocument>"
                ),
            )
        }
        other => panic!("{other}"),
    }
}

async fn read(
    answer: impl Fn(&Call) -> Answer + Send + Sync + 'static,
) -> (Server, Result<Option<RolePolicies>, AccessError>) {
    let server = Server::start(answer).await;
    let role = AccessRole {
        partition: "aws".to_owned(),
        path: "/".to_owned(),
        name: "audit".to_owned(),
        session_name: "spot-onboarding".to_owned(),
    };
    let access = AccountAccess::new(&server.aws, role);
    let policies = access.role_policies(account(), "SpotRole").await;
    (server, policies)
}

fn readings(policies: &RolePolicies) -> BTreeMap<&str, &PolicyReading> {
    let policies = policies.attached.iter();
    policies
        .map(|policy| (policy.name.as_str(), &policy.document))
        .collect()
}

#[tokio::test]
async fn every_page_and_document_is_read_and_one_that_is_not_hides_no_other() {
    const WORDS: &str = "User: x is not authorized to perform: iam:GetPolicy";
    let (server, policies) = read(|call| match call.operation.as_str() {
        "GetPolicy" if call.body.contains("hidden") => {
            Answer::xml_error(403, "AccessDenied", WORDS)
        }
        "GetPolicyVersion" if call.body.contains("gone") => {
            Answer::xml_error(404, "NoSuchEntity", "gone")
        }
        _ => fine(call),
    })
    .await;
    let policies = policies.unwrap().unwrap();
    let readings = readings(&policies);
    let document = PolicyReading::Document {
        version: "v7".to_owned(),
        text: r#"{"Id":"a+b+c"}"#.to_owned(),
    };
    let unread = |why: &str| PolicyReading::Unread(why.to_owned());
    assert_eq!(*readings["read"], document);
    assert_eq!(*readings["SecurityAudit"], unread("an AWS managed policy"));
    assert_eq!(
        *readings["hidden"],
        unread(&format!("it may not be read ({WORDS})"))
    );
    assert_eq!(*readings["gone"], unread("it was deleted meanwhile"));
    assert_eq!(*readings["shared"], unread("a policy of another account"));
    assert!(policies.attached.is_sorted_by_key(|policy| &policy.arn));
    let inline = [("one", r#"{"Id":"one"}"#), ("two", r#"{"Id":"two"}"#)];
    let inline = inline.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(policies.inline, inline.into());
    for (operation, sent) in [
        ("AssumeRole", 1),
        ("ListAttachedRolePolicies", 2),
        ("GetPolicy", 3),
        ("GetPolicyVersion", 2),
        ("ListRolePolicies", 2),
        ("GetRolePolicy", 2),
    ] {
        assert_eq!(server.count(operation), sent, "{operation}");
    }
    let counts = server.aws.call_counts();
    assert_eq!(counts["iam:GetPolicy"].sent, 3, "{counts:?}");
}

#[tokio::test]
async fn a_role_that_is_gone_has_no_policies_and_an_inline_policy_that_goes_is_left_out() {
    for list in ["ListAttachedRolePolicies", "ListRolePolicies"] {
        let (_, policies) = read(move |call| {
            if call.operation == list {
                return Answer::xml_error(404, "NoSuchEntity", "no such role");
            }
            fine(call)
        })
        .await;
        assert_eq!(policies, Ok(None), "{list}");
    }
    let (_, policies) = read(|call| {
        if call.operation == "GetRolePolicy" && call.body.contains("PolicyName=one") {
            return Answer::xml_error(404, "NoSuchEntity", "no such policy");
        }
        fine(call)
    })
    .await;
    let policies = policies.unwrap().unwrap();
    assert_eq!(policies.inline.into_keys().collect::<Vec<_>>(), ["two"]);
}

#[tokio::test]
async fn lists_and_inline_policies_that_may_not_be_read_make_the_whole_unknown() {
    for operation in [
        "ListAttachedRolePolicies",
        "ListRolePolicies",
        "GetRolePolicy",
    ] {
        let (_, policies) = read(move |call| {
            if call.operation == operation {
                return Answer::xml_error(403, "AccessDenied", "User: x is not authorized");
            }
            fine(call)
        })
        .await;
        let error = policies.unwrap_err();
        assert!(
            matches!(&error, AccessError::Denied { .. }),
            "{operation}: {error}"
        );
    }
    // Nor is a failure of one policy taken for a policy that cannot be read.
    let (_, policies) = read(|call| match call.operation.as_str() {
        "GetPolicy" => Answer::xml_error(400, "InvalidInput", "no"),
        _ => fine(call),
    })
    .await;
    assert!(!policies.unwrap_err().is_denial());
}

#[tokio::test]
async fn a_list_that_goes_on_without_saying_where_is_an_error_and_throttling_passes() {
    let (_, policies) = read(|call| match call.operation.as_str() {
        "ListRolePolicies" => {
            let truncated = format!("{}<IsTruncated>true</IsTruncated>", names(&["one"]));
            Answer::xml("ListRolePolicies", &truncated)
        }
        _ => fine(call),
    })
    .await;
    let error = policies.unwrap_err();
    let AccessError::Failed(error) = error else {
        panic!("{error}")
    };
    assert_eq!(error.class(), ErrorClass::Unexpected);
    let first = std::sync::atomic::AtomicBool::new(true);
    let (server, policies) = read(move |call| {
        let throttled = call.operation == "GetRolePolicy"
            && first.swap(false, std::sync::atomic::Ordering::SeqCst);
        if throttled {
            return Answer::xml_error(400, "Throttling", "Rate exceeded");
        }
        fine(call)
    })
    .await;
    assert_eq!(policies.unwrap().unwrap().inline.len(), 2);
    let counts = server.aws.call_counts()["iam:GetRolePolicy"];
    assert_eq!((counts.sent, counts.throttled), (3, 1));
}
