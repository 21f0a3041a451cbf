//! Each verb sends what Spot documents and reads what Spot answers.

use serde_json::json;
use spot_api::{
    BillingSource, ErrorClass, Product, RegistrationStatus, SpotError, ValidationStatus,
};

use super::canned::{Server, TOKEN, items, json_answer, raw, refused};

#[tokio::test]
async fn accounts_are_listed_created_renamed_and_deleted() {
    let server = Server::start(|_, seen| match seen.call.split_once(' ').unwrap().0 {
        "GET" => items(json!([
            {"accountId": "act-1", "organizationId": 6060, "name": "one", "providerExternalId": "111111111111"},
            {"accountId": "act-2", "organizationId": 6060, "name": "two"}
        ])),
        "POST" => items(json!([{"id": "act-3", "name": "three", "organizationId": "6060"}])),
        _ => json_answer(200, json!({"request": {"id": "r"}, "response": {"status": {"code": 200}}})),
    })
    .await;
    let client = server.client();
    let all = client.list_accounts().await.unwrap();
    assert_eq!(all[0].aws_account, "111111111111".parse().ok());
    assert!(all[1].unlinked);
    client
        .list_accounts_of("111111111111".parse().unwrap())
        .await
        .unwrap();
    let created = client.create_account("three").await.unwrap();
    assert_eq!(created.id.as_str(), "act-3");
    client.rename_account(&created.id, "four").await.unwrap();
    client.delete_account(&created.id).await.unwrap();
    assert_eq!(
        server.calls(),
        [
            "GET /setup/account",
            "GET /setup/account?cloudAccountId=111111111111",
            "POST /setup/account",
            "PUT /setup/account/act-3?accountId=act-3",
            "DELETE /setup/account/act-3?accountId=act-3",
        ]
    );
    let seen = server.seen.lock().unwrap().clone();
    assert_eq!(seen[2].body, json!({"account": {"name": "three"}}));
    assert_eq!(seen[3].body, json!({"account": {"name": "four"}}));
    assert!(
        seen.iter()
            .all(|seen| seen.authorization == format!("Bearer {TOKEN}"))
    );
    let calls = client.calls();
    assert_eq!(calls["spot:GET /setup/account"], 2);
    assert_eq!(calls["spot:DELETE /setup/account/{accountId}"], 1);
}

#[tokio::test]
async fn external_ids_and_credentials_go_with_their_account() {
    let server = Server::start(|_, seen| match seen.call.as_str() {
        "POST /setup/credentials/aws/externalId?accountId=act-1" => items(json!([
            {"externalId": "spotinst:aws:extid:0123456789abcdef", "maxValidUntil": "2026-11-22T00:00:00.000Z"}
        ])),
        "GET /setup/credentials/aws/externalId/act-1?accountId=act-1" => {
            items(json!([{"accountId": "act-1", "externalId": "spotinst:aws:extid:0123456789abcdef"}]))
        }
        "POST /setup/credentials/aws?accountId=act-1" => items(json!([])),
        "GET /setup/credentials/aws?accountId=act-1" => items(json!([{"iamRole": "arn:aws:iam::111111111111:role/S"}])),
        other => raw(404, other.to_owned()),
    })
    .await;
    let client = server.client();
    let account = "act-1".parse().unwrap();
    let created = client.create_external_id(&account).await.unwrap();
    assert_eq!(
        created.max_valid_until.as_deref(),
        Some("2026-11-22T00:00:00.000Z")
    );
    assert_eq!(
        client.external_id(&account).await.unwrap(),
        Some(created.external_id)
    );
    let role = "arn:aws:iam::111111111111:role/S".parse().unwrap();
    client.set_aws_credentials(&account, &role).await.unwrap();
    assert_eq!(
        server.seen.lock().unwrap()[2].body,
        json!({"credentials": {"iamRole": role}})
    );
    assert_eq!(client.stored_role(&account).await.unwrap(), Some(role));
}

#[tokio::test]
async fn reads_that_spot_lacks_are_none() {
    for status in [404, 405] {
        let server = Server::start(move |_, _| raw(status, "nothing here")).await;
        let client = server.client();
        let account = "act-1".parse().unwrap();
        assert_eq!(client.external_id(&account).await.unwrap(), None);
        assert_eq!(client.stored_role(&account).await.unwrap(), None);
    }
    let server = Server::start(|_, _| refused(403, "DENIED", "no")).await;
    let error = server
        .client()
        .external_id(&"act-1".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.class(), ErrorClass::Denied);
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed_yet_is_told_from_other_refusals() {
    let server = Server::start(|n, _| match n {
        1 => refused(400, "CANNOT_ASSUME_ROLE", "Failed to assume the given role"),
        _ => refused(400, "INVALID_ROLE", "The ARN is malformed"),
    })
    .await;
    let client = server.client();
    let (account, role) = (
        "act-1".parse().unwrap(),
        "arn:aws:iam::111111111111:role/S".parse().unwrap(),
    );
    let not_yet = client
        .set_aws_credentials(&account, &role)
        .await
        .unwrap_err();
    assert!(not_yet.is_role_not_assumable());
    let never = client
        .set_aws_credentials(&account, &role)
        .await
        .unwrap_err();
    assert!(!never.is_role_not_assumable());
    assert_eq!(never.class(), ErrorClass::Invalid);
    assert_eq!(
        (never.code(), never.field()),
        (Some("INVALID_ROLE"), Some("name"))
    );
    assert_eq!(never.request_id(), Some("req-1"));
}

#[tokio::test]
async fn registrations_are_read_to_the_last_page() {
    let server = Server::start(|n, _| {
        let page = |key: Option<&str>, id: &str| {
            json_answer(
                200,
                json!({"response": {
                "items": [{"accountId": id, "statusSummary": "partiallyConnected"}],
                "paginationInfo": {"nextKey": key}}}),
            )
        };
        match n {
            1 => page(Some("k1"), "act-1"),
            2 => page(Some("k2"), "act-2"),
            _ => page(None, "act-3"),
        }
    })
    .await;
    let all = server.client().cost_intelligence().await.unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(all[0].status, RegistrationStatus::PartiallyConnected);
    assert_eq!(
        server.calls()[2],
        "GET /cbi/v1/setup/account?paginationSize=500&paginationKey=k2"
    );
}

#[tokio::test]
async fn a_repeated_page_is_an_error_and_not_a_partial_list() {
    let server = Server::start(|_, _| {
        json_answer(
            200,
            json!({"response": {"items": [], "paginationInfo": {"nextKey": "again"}}}),
        )
    })
    .await;
    let error = server.client().billing_engine().await.unwrap_err();
    assert!(matches!(error, SpotError::RepeatedPage { .. }), "{error}");
}

#[tokio::test]
async fn products_are_validated_and_set_up_in_their_own_forms() {
    let server = Server::start(|_, seen| {
        if seen.call.ends_with("/validation") {
            items(json!([{"id": "creds", "status": "failed", "validationInfo": "no"}, {"id": "x", "status": "new!"}]))
        } else {
            items(json!([]))
        }
    })
    .await;
    let client = server.client();
    let account = "act-1".parse().unwrap();
    let steps = client
        .validate_product(&Product::CostIntelligence, &account)
        .await
        .unwrap();
    assert_eq!(steps[0].status, ValidationStatus::Failed);
    assert_eq!(steps[1].status, ValidationStatus::Unknown);
    let billing = Product::BillingEngine(BillingSource {
        bucket: "b".into(),
        region: "us-east-1".parse().unwrap(),
        path_prefix: "p".into(),
    });
    client.set_up_product(&billing, &account).await.unwrap();
    let seen = server.seen.lock().unwrap().clone();
    assert_eq!(seen[0].body, json!({"account": {"accountId": "act-1"}}));
    assert_eq!(seen[1].call, "POST /cloudBilling/v1/setup/account");
    assert_eq!(
        seen[1].body,
        json!({"accountId": "act-1", "config": {"billingSource": {"bucket": "b", "region": "us-east-1", "pathPrefix": "p"}}})
    );
}

#[tokio::test]
async fn workloads_of_both_kinds_are_counted() {
    let server = Server::start(|_, seen| {
        assert!(seen.call.ends_with("?accountId=act-1"));
        items(json!([{"id": "x-1", "name": "n", "capacity": {"target": 3}}]))
    })
    .await;
    let client = server.client();
    let account = "act-1".parse().unwrap();
    assert_eq!(client.elastigroups(&account).await.unwrap().len(), 1);
    assert_eq!(client.ocean_clusters(&account).await.unwrap().len(), 2);
}
