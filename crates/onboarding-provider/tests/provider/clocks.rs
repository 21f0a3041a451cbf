//! Clocks that differ, jump, or were set back: what is not known of a call that was sent goes by the clock of the state.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use onboarding_core::custom_resource::Status;
use onboarding_provider::{
    Intents as _, Provider, ProviderSettings, ResourceResponse, SendIntent, SentCall,
    events::{Event, Phase},
};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

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

/// A process that serves, and why its requests wait.
struct Process<'a> {
    home: &'a Home,
    provider: Provider,
    waits: UnboundedReceiver<String>,
}

impl<'a> Process<'a> {
    fn of(home: &'a Home, settings: ProviderSettings) -> Self {
        let (told, waits) = unbounded_channel();
        let events = Arc::new(move |event: Event| {
            if let Phase::Waiting { reason } = event.phase {
                // Nobody listens any more once the test is over.
                let _ = told.send(reason);
            }
        });
        Self {
            home,
            provider: home.provider_with(settings, events),
            waits,
        }
    }

    /// One that is patient.
    fn patient(home: &'a Home) -> Self {
        Self::of(home, patient())
    }

    /// Asks for the Spot account of a stack.
    async fn asks(&self, stack: &str) -> ResourceResponse {
        let request = request(&create_event(stack, ACCOUNT, "SpotAccount", ""));
        self.provider.handle(&request, in_time()).await
    }

    /// Asks for it, and waits until it waits for this reason. There is one account then, and no more.
    async fn waits(&mut self, stack: &str, why: &str) {
        let request = request(&create_event(stack, ACCOUNT, "SpotAccount", ""));
        let told = async {
            while let Some(reason) = self.waits.recv().await {
                if reason.contains(why) {
                    return;
                }
            }
        };
        tokio::select! {
            answer = self.provider.handle(&request, in_time()) => panic!("{why}: {answer:?}"),
            () = told => {}
        }
        assert_eq!(self.home.spot.world.lock().accounts.len(), 1);
    }

    /// What is there after all is used at once, however long nothing was known of it.
    async fn uses_at_once(&self) {
        self.home.spot.world.lock().hidden.clear();
        let given = self.asks("third").await;
        assert_eq!(given.status, Status::Success, "{}", given.reason);
        assert_eq!(given.physical_resource_id, "act-1");
        assert_eq!(self.home.spot.world.lock().accounts.len(), 1);
    }
}

/// Why nothing is created while the outcome of a creation is not known.
const NOT_SETTLED: &str = "has not settled yet";

/// Why nothing is created while an account is not listed that should be.
const NOT_LISTED: &str = "which it should";

#[tokio::test]
async fn a_process_whose_clock_is_ahead_creates_nothing_that_another_one_may_have_created() {
    let home = lost_answer().await;
    Process::patient(&home).waits("first", NOT_SETTLED).await;

    *home.writes.clocks.lock() = Clocks {
        ahead: HOUR,
        ..Clocks::default()
    };
    let mut ahead = Process::patient(&home);
    ahead.waits("second", NOT_SETTLED).await;
    ahead.uses_at_once().await;
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_settles_nothing_that_this_process_has_sent() {
    let home = lost_answer().await;
    *home.writes.clocks.lock() = Clocks {
        jumped: HOUR,
        ..Clocks::default()
    };
    let mut process = Process::patient(&home);
    process.waits("first", NOT_SETTLED).await;
    process.waits("second", NOT_SETTLED).await;
    process.uses_at_once().await;
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
    Process::patient(&home).waits("second", NOT_LISTED).await;
}

/// Spot has answered a creation, and does not list the account yet; then the process ends.
async fn not_listed_yet() -> Home {
    let home = Home::new().await;
    home.spot.world.lock().hidden.insert("act-1".to_owned());
    let created = Process::patient(&home).asks("first").await;
    assert_eq!(created.physical_resource_id, "act-1", "{}", created.reason);
    *home.writes.clocks.lock() = Clocks {
        jumped: HOUR,
        ..Clocks::default()
    };
    home
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_makes_no_second_account_of_one_that_nobody_has_seen_listed() {
    let home = not_listed_yet().await;
    let mut process = Process::patient(&home);
    process.waits("second", NOT_LISTED).await;
    process.uses_at_once().await;
    // It was seen: without it in a listing, it is gone.
    home.spot.world.lock().hidden.insert("act-1".to_owned());
    let made = Process::patient(&home).asks("fourth").await;
    assert_eq!(made.physical_resource_id, "act-2", "{}", made.reason);
}

#[tokio::test]
async fn an_account_that_nobody_has_seen_listed_and_spot_does_not_know_is_made_anew_in_the_end() {
    let home = not_listed_yet().await;
    let begun = Instant::now();
    let made = Process::of(&home, settings()).asks("second").await;
    assert_eq!(made.physical_resource_id, "act-2", "{}", made.reason);
    assert!(begun.elapsed() >= settings().listing_lag);
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
