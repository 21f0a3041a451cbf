//! The deletion of a Spot account that nobody needs any more, which no stack asks for: who still holds or uses it.

use std::{convert::Infallible, time::Duration};

use jiff::Timestamp;
use onboarding_core::{custom_resource::Status, ids::StackId, inventory::SpotAccountRecord};
use onboarding_provider::{Claim, CleanUpError, Intents as _, Orphan, Owner};

use super::stack::{ACCOUNT, Home, OTHER, create_event, create_stack, in_time, request, role};

fn stack(name: &str) -> StackId {
    format!("arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/{name}/uuid")
        .parse()
        .unwrap()
}

fn orphan(id: &str, owner: &str) -> Orphan {
    Orphan {
        spot_account: id.parse().unwrap(),
        account: ACCOUNT.parse().unwrap(),
        owner: Some(stack(owner)),
        may_be_linked: true,
        is_account_gone: false,
    }
}

async fn clean_up(home: &Home, orphan: &Orphan) -> Result<bool, CleanUpError<Infallible>> {
    home.provider().clean_up(orphan, |_| async { Ok(()) }).await
}

/// An account with one stack that has linked it and another one that was given it.
async fn held_by_two() -> (Home, String) {
    let home = Home::new().await;
    let id = create_stack(&home, "owner", ACCOUNT).await;
    let event = create_event("other", ACCOUNT, "SpotAccount", "");
    let given = home.provider().handle(&request(&event), in_time()).await;
    assert_eq!(
        (given.status, &*given.physical_resource_id),
        (Status::Success, &*id)
    );
    (home, id)
}

#[tokio::test]
async fn what_another_stack_holds_stays_until_that_is_known_to_be_deleted() {
    let (home, id) = held_by_two().await;
    for status in [None, Some("CREATE_COMPLETE"), Some("DELETE_FAILED")] {
        home.says("other", status);
        let refused = clean_up(&home, &orphan(&id, "owner")).await.unwrap_err();
        assert!(matches!(refused, CleanUpError::Refused { .. }), "{refused}");
        assert!(
            refused.to_string().contains(stack("other").as_str()),
            "{refused}"
        );
    }
    assert_eq!(home.spot.world.lock().deleted, Vec::<String>::new());
    home.says("other", "DELETE_COMPLETE");
    assert!(clean_up(&home, &orphan(&id, "owner")).await.unwrap());
    assert_eq!(home.spot.world.lock().deleted, [id]);
}

#[tokio::test]
async fn what_somebody_begins_to_use_while_it_is_written_down_stays() {
    let home = Home::new().await;
    let id = create_stack(&home, "owner", ACCOUNT).await;
    let world = home.spot.world.clone();
    let begins = move |record: SpotAccountRecord| async move {
        let mut world = world.lock();
        let mut accounts = world.accounts.iter_mut();
        let account = accounts.find(|one| one.id == record.id.as_str()).unwrap();
        account.running.push("web");
        Ok::<(), Infallible>(())
    };
    let cleaned = home
        .provider()
        .clean_up(&orphan(&id, "owner"), begins)
        .await;
    let refused = cleaned.unwrap_err().to_string();
    assert!(refused.contains("web"), "{refused}");
    assert_eq!(home.spot.world.lock().deleted, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_linked_to_another_account_by_then_stays_although_one_call_does_not_say_so() {
    let home = Home::new().await;
    let id = create_stack(&home, "owner", ACCOUNT).await;
    {
        let mut world = home.spot.world.lock();
        let mut accounts = world.accounts.iter_mut();
        accounts.find(|one| one.id == id).unwrap().linked = Some(OTHER.to_owned());
    }
    let refused = clean_up(&home, &orphan(&id, "owner")).await.unwrap_err();
    assert!(
        refused.to_string().contains("linked to something else"),
        "{refused}"
    );
    // Nor what is there and not listed: who knows to what it is linked.
    home.spot.world.lock().left_out.insert(id.clone());
    let refused = clean_up(&home, &orphan(&id, "owner")).await.unwrap_err();
    assert!(matches!(refused, CleanUpError::Refused { .. }), "{refused}");
    assert_eq!(home.spot.world.lock().deleted, Vec::<String>::new());
}

#[tokio::test]
async fn in_an_account_that_is_gone_no_stack_holds_anything() {
    let (home, id) = held_by_two().await;
    let gone = Orphan {
        is_account_gone: true,
        ..orphan(&id, "owner")
    };
    assert!(clean_up(&home, &gone).await.unwrap());
    assert_eq!(home.spot.world.lock().deleted, [id]);
}

#[tokio::test]
async fn a_stack_that_has_linked_another_spot_account_does_not_hold_this_one() {
    let home = Home::new().await;
    create_stack(&home, "live", ACCOUNT).await;
    let second = home.spot.world.lock().add("second", Some(ACCOUNT));
    let account = ACCOUNT.parse().unwrap();
    let until = Timestamp::now()
        .checked_add(Duration::from_secs(60))
        .unwrap();
    let claim = home.intents.claim(account, "test", until).await.unwrap();
    assert!(matches!(claim, Claim::Held(_)));
    let owner = Owner {
        stack_id: stack("old"),
        account,
        role: role(ACCOUNT, "old").parse().unwrap(),
        adopted: false,
        linked_at: Timestamp::now(),
    };
    let id = second.parse().unwrap();
    home.intents.set_owner(&id, &owner, "test").await.unwrap();
    home.intents.release(account, "test").await.unwrap();
    assert!(clean_up(&home, &orphan(&second, "old")).await.unwrap());
    assert_eq!(home.spot.world.lock().deleted, [second]);
}
