//! Clocks that differ, jump, or were set back: what is not known of a call that was sent goes by the clock of the state.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use onboarding_core::custom_resource::Status;
use onboarding_provider::{
    Intents as _, Provider, ProviderSettings, ResourceResponse, SendIntent, SentCall,
    events::no_events,
};

use super::{
    spot::Fault,
    stack::{ACCOUNT, Home, create_event, create_stack, in_time, request, settings},
    state::Clocks,
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// The call of a Create that creates: it has asked for two listings by then.
const CREATION: usize = 2;

/// Nothing is known of a creation, or listed of an account, for longer than a test waits.
fn patient() -> ProviderSettings {
    ProviderSettings {
        settle: Duration::from_secs(60),
        listing_lag: Duration::from_secs(60),
        ..settings()
    }
}

/// Spot makes the account, its answer is lost, and it is not listed yet.
async fn lost_answer() -> Home {
    let home = Home::new().await;
    {
        let mut world = home.spot.world.lock();
        world.faults.insert(CREATION, Fault::ErrorAfter);
        world.hidden.insert("act-1".to_owned());
    }
    home
}

/// Asks for the Spot account of a stack, which cannot wait for long.
async fn asks(provider: &Provider, stack: &str) -> ResourceResponse {
    let request = request(&create_event(stack, ACCOUNT, "SpotAccount", ""));
    let soon = Timestamp::now() + Duration::from_secs(2);
    provider.handle(&request, soon).await
}

fn assert_not_settled(response: &ResourceResponse, home: &Home) {
    assert_eq!(response.status, Status::Failed, "{}", response.reason);
    assert!(
        response.reason.contains("has not settled yet"),
        "{}",
        response.reason
    );
    assert_eq!(home.spot.world.lock().accounts.len(), 1);
}

/// What is there after all is used at once, however long nothing was known of it.
async fn assert_used_at_once(provider: &Provider, home: &Home) {
    home.spot.world.lock().hidden.clear();
    let given = asks(provider, "third").await;
    assert_eq!(given.status, Status::Success, "{}", given.reason);
    assert_eq!(given.physical_resource_id, "act-1");
    assert_eq!(home.spot.world.lock().accounts.len(), 1);
}

#[tokio::test]
async fn a_process_whose_clock_is_ahead_creates_nothing_that_another_one_may_have_created() {
    let home = lost_answer().await;
    let provider = home.provider_with(patient(), no_events());
    assert_not_settled(&asks(&provider, "first").await, &home);

    *home.writes.clocks.lock() = Clocks {
        ahead: HOUR,
        ..Clocks::default()
    };
    let ahead = home.provider_with(patient(), no_events());
    assert_not_settled(&asks(&ahead, "second").await, &home);
    assert_used_at_once(&ahead, &home).await;
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_settles_nothing_that_this_process_has_sent() {
    let home = lost_answer().await;
    *home.writes.clocks.lock() = Clocks {
        jumped: HOUR,
        ..Clocks::default()
    };
    let provider = home.provider_with(patient(), no_events());
    assert_not_settled(&asks(&provider, "first").await, &home);
    assert_not_settled(&asks(&provider, "second").await, &home);
    assert_used_at_once(&provider, &home).await;
}

#[tokio::test]
async fn an_account_that_is_new_by_the_clock_of_the_state_is_waited_for() {
    let home = Home::new().await;
    let id = create_stack(&home, "first", ACCOUNT).await;
    {
        let mut world = home.spot.world.lock();
        world.hidden.insert(id);
        world.accounts[0].linked = None;
    }
    *home.writes.clocks.lock() = Clocks {
        ahead: HOUR,
        ..Clocks::default()
    };
    let ahead = home.provider_with(patient(), no_events());
    let waits = asks(&ahead, "second").await;
    assert_eq!(waits.status, Status::Failed, "{}", waits.reason);
    assert!(waits.reason.contains("which it should"), "{}", waits.reason);
    assert_eq!(home.spot.world.lock().accounts.len(), 1);
}

#[tokio::test]
async fn a_clock_that_was_years_ahead_blocks_an_account_no_longer_than_a_call_takes() {
    let home = Home::new().await;
    let account = ACCOUNT.parse().unwrap();
    let years = "2099-01-01T00:00:00Z".parse().unwrap();
    let other = request(&create_event("gone", ACCOUNT, "SpotAccount", ""));
    let sent = SendIntent {
        call: SentCall::Create {
            name: ACCOUNT.to_owned(),
            stack: other.stack_id,
        },
        send_by: years,
        look_after: years,
    };
    home.intents.claim(account, "gone", years).await.unwrap();
    let written = home.intents.write_intent(account, "gone", &sent);
    written.await.unwrap();
    let begun = Timestamp::now();
    let request = request(&create_event("stack", ACCOUNT, "SpotAccount", ""));
    let given = home.provider().handle(&request, in_time()).await;
    assert_eq!(given.status, Status::Success, "{}", given.reason);
    // Not before it: the process that wrote them may be in the middle of its call.
    let doubt = settings().send_window + home.spot.call_timeout + settings().settle;
    assert!(Timestamp::now().duration_since(begun).unsigned_abs() >= doubt);
    assert_eq!(home.spot.world.lock().accounts.len(), 1);
}
