//! Whatever dies between any two calls, and whoever comes at the same time: exactly one Spot account per AWS account,
//! linked to the live role.

use std::time::Duration;

use futures_util::StreamExt as _;
use onboarding_provider::Intents as _;
use proptest::prelude::*;

use super::{
    spot::Fault,
    stack::{ACCOUNT, Home, create_stack, role},
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
