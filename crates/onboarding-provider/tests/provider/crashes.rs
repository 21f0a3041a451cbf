//! Whatever dies between any two calls, and whoever comes at the same time: exactly one Spot account per AWS account,
//! linked to the live role.

use std::{convert::Infallible, sync::atomic::Ordering, time::Duration};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use onboarding_core::custom_resource::{Status, TombstoneReason};
use onboarding_provider::{Intents as _, Orphan, ProviderSettings, events::no_events};
use proptest::prelude::*;

use super::{
    spot::Fault,
    stack::{ACCOUNT, Home, create_event, create_stack, delete, in_time, request, role, settings},
};

const FAULTS: [Fault; 4] = [
    Fault::DieBefore,
    Fault::DieAfter,
    Fault::ErrorBefore,
    Fault::ErrorAfter,
];

/// More calls than a stack makes.
const CALLS: usize = 10;

async fn enrolled_once(faults: &[(usize, Fault)]) {
    let home = Home::new().await;
    home.spot.world.lock().faults = faults.iter().copied().collect();
    let id = create_stack(&home, "stack", ACCOUNT).await;
    let world = home.spot.world.lock();
    assert_eq!(world.accounts.len(), 1, "{faults:?}: {:?}", world.calls);
    assert_eq!(
        world.account(&id).role,
        Some(role(ACCOUNT, "stack")),
        "{faults:?}"
    );
    assert_eq!(world.account(&id).name, "Payments", "{faults:?}");
    assert!(world.account(&id).cost_intelligence, "{faults:?}");
}

#[tokio::test]
async fn a_fault_at_any_one_call_leaves_one_account() {
    let runs = (0..CALLS)
        .flat_map(|call| FAULTS.map(|fault| async move { enrolled_once(&[(call, fault)]).await }));
    futures_util::future::join_all(runs).await;
}

#[tokio::test]
async fn a_fault_at_any_one_write_of_the_state_leaves_one_account() {
    // As many as a stack makes when nothing goes wrong, and a few more.
    let home = Home::new().await;
    create_stack(&home, "stack", ACCOUNT).await;
    let runs = (0..home.writes.made() + 3).flat_map(|write| {
        FAULTS.map(|fault| async move {
            let home = Home::new().await;
            home.writes.fate(Some((write, fault)));
            let id = create_stack(&home, "stack", ACCOUNT).await;
            let owner = home.intents.owner(&id.parse().unwrap()).await.unwrap();
            let world = home.spot.world.lock();
            assert_eq!(
                world.accounts.len(),
                1,
                "{write} {fault:?}: {:?}",
                world.calls
            );
            let live = role(ACCOUNT, "stack");
            assert_eq!(
                world.account(&id).role.as_ref(),
                Some(&live),
                "{write} {fault:?}"
            );
            let owned = owner.map(|owner| owner.role.to_string());
            assert_eq!(owned, Some(live), "{write} {fault:?}");
        })
    });
    // Not all at once: a call that takes a second counts as lost.
    let runs = futures_util::stream::iter(runs).buffer_unordered(16);
    Box::pin(runs.collect::<()>()).await;
}

#[tokio::test]
async fn two_stacks_at_once_with_a_fault_share_one_account() {
    let runs = (0..CALLS * 2).flat_map(|call| {
        [Fault::ErrorBefore, Fault::ErrorAfter].map(|fault| async move {
            let mut home = Home::new().await;
            // A claim that ran out because the machine was slow would let the other stack make one too.
            home.spot.call_timeout = Duration::from_secs(5);
            home.spot.world.lock().faults.insert(call, fault);
            let (old, new) = tokio::join!(
                create_stack(&home, "old", ACCOUNT),
                create_stack(&home, "new", ACCOUNT)
            );
            assert_eq!(old, new, "{call} {fault:?}");
            let world = home.spot.world.lock();
            assert_eq!(
                world.accounts.len(),
                1,
                "{call} {fault:?}: {:?}",
                world.calls
            );
            // Only one whose answer was lost is made again.
            let made = world.accounts[0].external_ids.len();
            let lost = fault == Fault::ErrorAfter;
            assert!(made == 1 || (made == 2 && lost), "{call} {fault:?}: {made}");
        })
    });
    let runs = futures_util::stream::iter(runs).buffer_unordered(16);
    Box::pin(runs.collect::<()>()).await;
}

#[tokio::test]
async fn who_hears_of_its_creation_when_another_one_was_made_leaves_its_own_to_be_cleaned_up() {
    let home = Home::new().await;
    let (late, ours) = ("act-1", "act-2");
    // Spot takes it when the other one has looked.
    home.spot.world.lock().hidden.insert(late.to_owned());
    home.writes.stopped.store(true, Ordering::Relaxed);
    let provider = home.provider();
    let asked = request(&create_event("stopped", ACCOUNT, "SpotAccount", ""));
    let (given, other) = tokio::join!(provider.handle(&asked, in_time()), async {
        home.spot.called(3).await;
        let other = create_stack(&home, "other", ACCOUNT).await;
        home.spot.world.lock().hidden.clear();
        home.writes.go_on.notify_one();
        other
    });
    assert_eq!((&*given.physical_resource_id, &*other), (ours, ours));
    let account = ACCOUNT.parse().unwrap();
    let intent = home.intents.intent(account).await.unwrap();
    assert_eq!(intent.assigned, Some(ours.parse().unwrap()));
    assert_eq!(intent.created_by.unwrap().name(), "other");
    assert_eq!(home.spot.world.lock().accounts.len(), 2);
    let left = home.intents.tombstone(&late.parse().unwrap()).unwrap();
    assert_eq!(
        (left.account, left.reason),
        (account, TombstoneReason::Late)
    );

    // The stack that was stopped is there, but has the other one.
    let orphan = Orphan {
        spot_account: late.parse().unwrap(),
        account,
        owner: None,
        may_be_linked: false,
        is_account_gone: false,
    };
    let provider = home.provider();
    let cleaned = provider.clean_up(&orphan, |_| async { Ok::<(), Infallible>(()) });
    assert!(cleaned.await.unwrap());
    assert_eq!(home.spot.world.lock().deleted, [late]);
    assert_eq!(home.intents.tombstone(&late.parse().unwrap()), None);
    let intent = home.intents.intent(account).await.unwrap();
    assert_eq!(intent.assigned, Some(ours.parse().unwrap()));
}

#[tokio::test]
async fn a_state_that_does_not_answer_keeps_nobody_from_the_answer() {
    let home = Home::new().await;
    let id = create_stack(&home, "stack", ACCOUNT).await;
    home.writes.gone.store(true, Ordering::Relaxed);
    home.says("stack", "DELETE_IN_PROGRESS");
    let settings = ProviderSettings {
        answer_margin: Duration::from_secs(1),
        ..settings()
    };
    let answered = async |event, expected| {
        let provider = home.provider_with(settings.clone(), no_events());
        let limit = Duration::from_secs(8);
        let deadline = Timestamp::now() + limit;
        let request = request(&event);
        let answered = provider.handle(&request, deadline);
        let answered = tokio::time::timeout(2 * limit, answered).await.unwrap();
        assert!(Timestamp::now() < deadline, "{}", answered.reason);
        assert_eq!(answered.status, expected, "{}", answered.reason);
    };
    let create = create_event("other", ACCOUNT, "SpotAccount", "");
    let delete = delete("stack", ACCOUNT, "SpotAccount", &id);
    tokio::join!(
        answered(create, Status::Failed),
        answered(delete, Status::Success)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 20, ..ProptestConfig::default() })]

    #[test]
    fn any_faults_at_any_calls_leave_one_account(
        faults in prop::collection::vec((0..CALLS * 2, prop::sample::select(FAULTS.to_vec())), 0..5)
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build().unwrap();
        runtime.block_on(enrolled_once(&faults));
    }
}
