//! User groups: read, added to as a whole, read again.

use std::{collections::BTreeSet, sync::Mutex};

use onboarding_core::access::{Accounts, PolicyAccounts};
use serde_json::{Value, json};
use spot_api::AccessError;

use super::canned::{Server, items, refused};

const GROUP: &str = "ugr-1";

fn wanted(account: &str) -> Accounts {
    let accounts = BTreeSet::from([account.parse().unwrap()]);
    Accounts::from([("pol-viewer".parse().unwrap(), accounts)])
}

/// A group whose stored policies are these, and become what is written as long as `keeps`.
async fn group(policies: Value, keeps: bool) -> Server {
    let stored = std::sync::Arc::new(Mutex::new(policies));
    Server::start(move |_, seen| {
        let mut stored = stored.lock().unwrap();
        if seen.call.starts_with("PUT") {
            if keeps {
                *stored = seen.body["policies"].clone();
            }
            return items(json!([]));
        }
        items(json!([{"id": GROUP, "name": "Developers", "policies": *stored}]))
    })
    .await
}

#[tokio::test]
async fn an_account_is_added_beside_all_that_a_group_has() {
    let server = group(
        json!([
            {"policyId": "pol-viewer", "policyName": "V", "policyType": "ACCOUNT", "accountIds": ["act-9"]},
            {"policyId": "pol-admin", "policyName": "A", "policyType": "ORGANIZATION"},
            {"policyId": "pol-all", "policyType": "ACCOUNT", "accountIds": ["*"]},
        ]),
        true,
    )
    .await;
    let client = server.client();
    let id = GROUP.parse().unwrap();
    assert!(client.grant_access(&id, &wanted("act-1")).await.unwrap());
    assert!(!client.grant_access(&id, &wanted("act-1")).await.unwrap());
    let read = "GET /setup/access/userGroup/ugr-1";
    let write = "PUT /setup/access/userGroup/ugr-1/policyMapping";
    // Without a lock it is looked at once more, a little later.
    assert_eq!(server.calls(), [read, write, read, read, read]);
    assert_eq!(
        server.seen.lock().unwrap()[1].body,
        json!({"policies": [
            {"policyId": "pol-viewer", "accountIds": ["act-1", "act-9"]},
            {"policyId": "pol-admin"},
            {"policyId": "pol-all", "accountIds": ["*"]},
        ]})
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_not_overwritten() {
    // Spot's document has the names of the accounts in one place, and their ids in another.
    let server = group(
        json!([{"policyId": "pol-other", "policyType": "ACCOUNT", "accountNames": ["Payments"]}]),
        true,
    )
    .await;
    let id = GROUP.parse().unwrap();
    let read = server.client().user_group(&id).await.unwrap();
    assert_eq!(read[0].accounts, PolicyAccounts::Unknown);
    let error = server.client().grant_access(&id, &wanted("act-1")).await;
    assert!(matches!(error, Err(AccessError::Unknown(_))), "{error:?}");
    for answer in [json!([{"id": GROUP}]), json!([])] {
        let server = Server::start(move |_, _| items(answer.clone())).await;
        let error = server.client().grant_access(&id, &wanted("act-1")).await;
        assert!(matches!(error, Err(AccessError::Spot(_))), "{error:?}");
        assert_eq!(server.calls().len(), 1);
    }
    let server = Server::start(|_, _| refused(400, "NOT_FOUND", "no such group")).await;
    let error = server.client().user_group(&id).await.unwrap_err();
    assert!(error.to_string().contains("no such group"), "{error}");
}

#[tokio::test]
async fn an_addition_that_is_overwritten_is_made_again_and_not_for_ever() {
    let server = group(json!([]), false).await;
    let id = GROUP.parse().unwrap();
    let error = server.client().grant_access(&id, &wanted("act-1")).await;
    assert!(matches!(error, Err(AccessError::NotKept(_))), "{error:?}");
    let writes = server
        .calls()
        .into_iter()
        .filter(|call| call.starts_with("PUT"));
    assert_eq!(writes.count(), 3);
}
