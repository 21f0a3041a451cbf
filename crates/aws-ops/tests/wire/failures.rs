//! Answers that are not AWS's, servers that are not there, credentials that are not good.

use std::time::Duration;

use aws_ops::{ErrorClass, identity::AssumeRole};

use crate::server::{Answer, Server, connect};

#[tokio::test]
async fn a_page_of_html_is_tried_twice_and_then_called_what_it_is() {
    let server = Server::start(|_| Answer::raw(500, "<html><body>Bad Gateway</body></html>")).await;
    let error = server.aws.trusted_access().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unexpected);
    assert_eq!(server.count("DescribeOrganizationsAccess"), 2);
    assert!(error.to_string().contains("HTTP 500"), "{error}");
}

#[tokio::test]
async fn a_server_error_passes_by_itself() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let server = Server::start(move |_| {
        if first.swap(false, std::sync::atomic::Ordering::SeqCst) {
            Answer::xml_error(503, "ServiceUnavailable", "try again")
        } else {
            Answer::xml(
                "GetCallerIdentity",
                "<UserId>u</UserId><Account>123456789012</Account><Arn>arn:aws:iam::123456789012:user/u</Arn>",
            )
        }
    })
    .await;
    let identity = server.aws.caller_identity().await.unwrap();
    assert_eq!(identity.account, "123456789012".parse().unwrap());
    assert_eq!(server.aws.api_calls()["sts:GetCallerIdentity"], 2);
}

#[tokio::test]
async fn an_endpoint_where_nobody_listens_is_unreachable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let aws = connect(format!("http://127.0.0.1:{port}")).await;
    let error = aws.caller_identity().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Unreachable, "{error}");
    assert!(error.to_string().contains("AWS_ENDPOINT_URL"), "{error}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_ambiguous_and_not_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let error = connect(url).await.caller_identity().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "{error}");
}

#[tokio::test]
async fn credentials_that_aws_refuses_say_what_to_do() {
    let server = Server::start(|_| {
        Answer::xml_error(
            403,
            "InvalidClientTokenId",
            "The security token included in the request is invalid.",
        )
    })
    .await;
    let error = server.aws.caller_identity().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Credentials);
    assert_eq!(
        server.aws.api_calls()["sts:GetCallerIdentity"],
        1,
        "not retried"
    );
    assert!(error.to_string().contains("AWS_PROFILE"), "{error}");
}

#[tokio::test]
async fn an_assumed_role_signs_with_its_own_credentials_and_shares_the_count() {
    let server = Server::start(|call| match call.operation.as_str() {
        "AssumeRole" => Answer::xml(
            "AssumeRole",
            "<Credentials><AccessKeyId>ASIAMEMBER</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
             <SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>",
        ),
        "ListAccountAliases" => Answer::xml(
            "ListAccountAliases",
            "<AccountAliases><member>payments-prod</member></AccountAliases><IsTruncated>false</IsTruncated>",
        ),
        other => panic!("{other}"),
    })
    .await;
    let member = server
        .aws
        .assume_role(&AssumeRole {
            role: "arn:aws:iam::123456789012:role/OrganizationAccountAccessRole"
                .parse()
                .unwrap(),
            session_name: "spot-onboarding".into(),
            external_id: None,
            duration: Duration::from_secs(900),
        })
        .await
        .unwrap();
    assert_eq!(
        member.account_alias().await.unwrap().as_deref(),
        Some("payments-prod")
    );
    let calls = server.calls.lock().unwrap().clone();
    assert!(calls[0].authorization.contains("AKIATEST/"));
    assert!(
        calls[1].authorization.contains("ASIAMEMBER/"),
        "{}",
        calls[1].authorization
    );
    assert_eq!(server.aws.api_calls()["iam:ListAccountAliases"], 1);
}
