//! Providers that share no state: each request may be served by a process that knows nothing.

use std::{sync::Arc, time::Duration};

use onboarding_core::custom_resource::Status;
use onboarding_provider::{
    AdoptRule, MemoryIntents, Provider, ProviderSettings, ResourceResponse, events::no_events,
};
use serde_json::json;

use super::spot::{Account, World};
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

/// What another process does while the answer to our creation is on its way.
async fn created_while(change: impl Fn(&mut World)) -> (Home, ResourceResponse) {
    let home = Home::new().await;
    let slow = ("POST /setup/account".to_owned(), Duration::from_millis(200));
    home.spot.world.lock().answers_take.extend([slow]);
    let request = request(&create_event("spot", ACCOUNT, "SpotAccount", ""));
    let process = new_process(&home);
    let (answer, ()) = tokio::join!(process.handle(&request, in_time()), async {
        home.spot.called(3).await;
        change(&mut home.spot.world.lock());
    });
    assert_eq!(answer.status, Status::Success, "{}", answer.reason);
    (home, answer)
}

/// An account of that other process.
fn another(id: &str, linked: Option<&str>) -> Account {
    Account {
        id: id.to_owned(),
        name: ACCOUNT.to_owned(),
        linked: linked.map(str::to_owned),
        ..Account::default()
    }
}

#[tokio::test]
async fn of_two_that_were_created_at_once_the_lowest_id_is_kept_unless_one_is_linked() {
    // Ours is act-1.
    for (other, linked, kept) in [
        ("act-0", None, "act-0"),
        ("act-2", None, "act-1"),
        ("act-0", Some(ACCOUNT), "act-0"),
        ("act-2", Some(ACCOUNT), "act-2"),
    ] {
        let (home, answer) =
            created_while(|world| world.accounts.push(another(other, linked))).await;
        assert_eq!(answer.physical_resource_id, kept, "{other} {linked:?}");
        let deleted = home.spot.world.lock().deleted.clone();
        let ours = (kept != "act-1").then(|| "act-1".to_owned());
        assert_eq!(deleted, Vec::from_iter(ours), "{other} {linked:?}");
    }
    // Somebody has found ours, and linked it.
    let (home, answer) = created_while(|world| {
        world.accounts[0].linked = Some(ACCOUNT.to_owned());
        world.accounts.push(another("act-0", None));
    })
    .await;
    assert_eq!(answer.physical_resource_id, "act-1");
    assert_eq!(home.spot.world.lock().deleted, Vec::<String>::new());
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
