//! Providers that share no state: each request may be served by a process that knows nothing.

use std::sync::Arc;

use onboarding_core::custom_resource::Status;
use onboarding_provider::{
    AdoptRule, MemoryIntents, Provider, ProviderSettings, events::no_events,
};
use serde_json::json;

use super::stack::{
    ACCOUNT, Home, KINDS, OTHER, create_event, delete, event, in_time, properties, request, role,
    settings,
};

/// A process that has just started.
fn new_process(home: &Home) -> Provider {
    let home = Home {
        intents: Arc::new(MemoryIntents::default()),
        ..home.clone()
    };
    let settings = ProviderSettings {
        shared_state: false,
        ..settings()
    };
    home.provider_with(settings, no_events())
}

/// Creates a whole stack, each request by a new process. Returns the Spot account.
async fn create_stack(home: &Home, stack: &str) -> String {
    let mut spot_account = String::new();
    for kind in KINDS {
        let request = request(&create_event(stack, ACCOUNT, kind, &spot_account));
        let response = new_process(home).handle(&request, in_time()).await;
        assert_eq!(
            response.status,
            Status::Success,
            "{kind}: {}",
            response.reason
        );
        if kind == "SpotAccount" {
            spot_account = response.physical_resource_id;
        }
    }
    spot_account
}

#[tokio::test]
async fn a_stack_is_served_by_a_new_process_for_each_request() {
    for rule in [AdoptRule::KeepLink, AdoptRule::Refuse] {
        let home = Home::with_rule(rule).await;
        let id = create_stack(&home, "spot").await;
        let world = home.spot.world.lock();
        let account = world.account(&id);
        assert_eq!(account.name, "Payments");
        assert_eq!(account.linked.as_deref(), Some(ACCOUNT));
        assert_eq!(account.role.as_deref(), Some(&*role(ACCOUNT, "spot")));
        assert_eq!(world.accounts.len(), 1);
    }
}

#[tokio::test]
async fn a_role_that_is_replaced_is_linked_by_a_process_that_did_not_link_the_old_one() {
    let home = Home::new().await;
    let id = create_stack(&home, "spot").await;
    let mut update = create_event("spot", ACCOUNT, "SpotLinkedCredentials", &id);
    update["RequestType"] = json!("Update");
    update["RequestId"] = json!("update");
    update["PhysicalResourceId"] = json!(id);
    update["OldResourceProperties"] = update["ResourceProperties"].clone();
    let replaced = format!("arn:aws:iam::{ACCOUNT}:role/of-another-name");
    update["ResourceProperties"]["IamRoleArn"] = json!(replaced);
    let response = new_process(&home)
        .handle(&request(&update), in_time())
        .await;
    assert_eq!(response.status, Status::Success, "{}", response.reason);
    let world = home.spot.world.lock();
    assert_eq!(world.account(&id).role.as_deref(), Some(&*replaced));
}

#[tokio::test]
async fn a_link_of_somebody_else_is_told_from_ours() {
    let home = Home::new().await;
    let id = home.spot.world.lock().add("theirs", Some(ACCOUNT));
    for kind in KINDS {
        let request = request(&create_event("spot", ACCOUNT, kind, &id));
        let response = new_process(&home).handle(&request, in_time()).await;
        assert_eq!(response.status, Status::Success, "{kind}");
    }
    let world = home.spot.world.lock();
    assert_eq!(world.account(&id).name, "theirs");
    assert_eq!(
        world.account(&id).role.as_deref(),
        Some(&*format!("arn:aws:iam::{ACCOUNT}:role/Theirs"))
    );
}

#[tokio::test]
async fn an_account_that_was_created_for_another_is_nobody_elses() {
    let home = Home::new().await;
    let id = home.spot.world.lock().add(OTHER, None);
    for kind in &KINDS[1..] {
        let event = event(
            "spot",
            ACCOUNT,
            kind,
            properties(kind, "spot", ACCOUNT, &id),
        );
        let response = new_process(&home).handle(&request(&event), in_time()).await;
        assert_eq!(response.status, Status::Failed, "{kind}");
    }
    assert_eq!(home.spot.world.lock().writes(), Vec::<String>::new());
}

#[tokio::test]
async fn two_processes_that_create_at_the_same_time_end_with_one_account() {
    for _ in 0..20 {
        let home = Home::new().await;
        let request = request(&create_event("spot", ACCOUNT, "SpotAccount", ""));
        let (one, two) = (new_process(&home), new_process(&home));
        let (one, two) = tokio::join!(
            one.handle(&request, in_time()),
            two.handle(&request, in_time())
        );
        assert_eq!((one.status, two.status), (Status::Success, Status::Success));
        assert_eq!(one.physical_resource_id, two.physical_resource_id);
        assert_eq!(home.spot.world.lock().accounts.len(), 1);
    }
}

#[tokio::test]
async fn the_end_of_a_stack_deletes_nothing() {
    let home = Home::new().await;
    let id = create_stack(&home, "spot").await;
    let before = home.spot.world.lock().writes().len();
    for kind in KINDS {
        let request = request(&delete("spot", ACCOUNT, kind, &id));
        let response = new_process(&home).handle(&request, in_time()).await;
        assert_eq!(response.status, Status::Success, "{kind}");
    }
    assert_eq!(home.spot.world.lock().writes().len(), before);
}
