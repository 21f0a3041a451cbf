//! Who may see a Spot account: granted with its link, never the reason why a link fails.

use futures_util::future::join_all;
use onboarding_core::{custom_resource::Status, desired::AccessGrant};
use onboarding_provider::AdoptRule;
use serde_json::{Value, json};

use super::stack::{ACCOUNT, Home, create_event, in_time, request};

async fn home() -> Home {
    let home = Home::new().await;
    let grant = |policy: &str| AccessGrant {
        user_group: "ugr-1".parse().unwrap(),
        policy: policy.parse().unwrap(),
    };
    home.directory.details.lock().access = [grant("pol-viewer"), grant("pol-owner")].into();
    home.spot.world.lock().user_group = Some(json!([
        {"policyId": "pol-viewer", "policyType": "ACCOUNT", "accountIds": ["act-theirs"]},
        {"policyId": "pol-admin", "policyType": "ORGANIZATION"},
    ]));
    home
}

fn accounts_of(home: &Home, policy: &str) -> Vec<String> {
    let world = home.spot.world.lock();
    let policies = world.user_group.as_ref().unwrap().as_array().unwrap();
    let policy = policies.iter().find(|one| one["policyId"] == policy);
    let accounts = policy.and_then(|one| one["accountIds"].as_array());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    accounts.map_or_else(Vec::new, |all| all.iter().map(text).collect())
}

#[tokio::test]
async fn many_accounts_at_once_are_all_seen_and_what_the_group_had_stays() {
    let home = home().await;
    let provider = home.provider();
    let accounts: Vec<String> = (1..=30).map(|n| format!("{n:012}")).collect();
    let linked = join_all(accounts.iter().map(|account| async {
        let made = create_event("stack", account, "SpotAccount", "");
        let made = provider.handle(&request(&made), in_time()).await;
        let id = made.physical_resource_id;
        let link = create_event("stack", account, "SpotLinkedCredentials", &id);
        let linked = provider.handle(&request(&link), in_time()).await;
        assert_eq!((linked.status, &*linked.reason), (Status::Success, ""));
        id
    }))
    .await;
    let mut expected = linked.clone();
    expected.sort();
    assert_eq!(accounts_of(&home, "pol-owner"), expected);
    expected.push("act-theirs".to_owned());
    assert_eq!(accounts_of(&home, "pol-viewer"), expected);
    let world = home.spot.world.lock();
    assert!(
        world
            .user_group
            .as_ref()
            .unwrap()
            .to_string()
            .contains("pol-admin")
    );
    let changes = world
        .calls
        .iter()
        .filter(|call| call.ends_with("policyMapping"));
    assert!(changes.count() < 30, "one change for all that wait");
}

#[tokio::test]
async fn a_group_that_cannot_be_changed_fails_no_link() {
    let home = home().await;
    home.spot.world.lock().user_group = None;
    let provider = home.provider();
    let made = create_event("stack", ACCOUNT, "SpotAccount", "");
    let made = provider.handle(&request(&made), in_time()).await;
    let link = create_event(
        "stack",
        ACCOUNT,
        "SpotLinkedCredentials",
        &made.physical_resource_id,
    );
    let linked = provider.handle(&request(&link), in_time()).await;
    assert_eq!(linked.status, Status::Success);
    assert!(linked.reason.contains("no such group"), "{}", linked.reason);
}

#[tokio::test]
async fn a_link_that_was_kept_is_shown_to_nobody() {
    let home = home().await;
    home.directory.details.lock().adopt = AdoptRule::KeepLink;
    let id = home.spot.world.lock().add("theirs", Some(ACCOUNT));
    let link = create_event("stack", ACCOUNT, "SpotLinkedCredentials", &id);
    let linked = home.provider().handle(&request(&link), in_time()).await;
    assert_eq!(linked.status, Status::Success);
    assert_eq!(accounts_of(&home, "pol-viewer"), ["act-theirs"]);
}
