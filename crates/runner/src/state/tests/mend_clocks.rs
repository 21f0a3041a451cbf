//! The retry clocks of mends.

use onboarding_core::{ids::AwsAccountId, stackset_sync::MendKind};

use super::{Place, on_both};
use crate::{engine::RunId, state::MendFailure};

/// The wait after a first failure, in seconds.
const FIRST_WAIT: i64 = 900;

on_both! {
    each_kind_of_mend_has_its_own_clock_which_a_run_winds_once,
}

async fn each_kind_of_mend_has_its_own_clock_which_a_run_winds_once(place: Place) {
    let state = place.open().await;
    let account = AwsAccountId::from_number(1).unwrap();
    let failure = |kind| MendFailure {
        of: (account, kind),
        reason: "refused",
    };
    let (first, second) = (RunId::new(), RunId::new());
    for _again in 0..2 {
        let failures = [failure(MendKind::Link), failure(MendKind::Rewrite)];
        let recorded = state.record_mend_failures("default", first, &failures, FIRST_WAIT, 1_000);
        recorded.await.unwrap();
    }
    let failures = [failure(MendKind::Link)];
    let recorded = state.record_mend_failures("default", second, &failures, FIRST_WAIT, 5_000);
    recorded.await.unwrap();
    let clocks = place.open().await;
    let clocks = clocks.mend_retries("default", Some(second)).await.unwrap();
    let told: Vec<_> = clocks
        .iter()
        .map(|((_, kind), clock)| (*kind, clock.failures, clock.next_due, clock.of_this_run))
        .collect();
    let expected = [
        (MendKind::Rewrite, 1, 1_000 + FIRST_WAIT, false),
        (MendKind::Link, 2, 5_000 + 2 * FIRST_WAIT, true),
    ];
    assert_eq!(told, expected);
    assert_eq!(
        clocks[&(account, MendKind::Link)].reason.as_deref(),
        Some("refused")
    );

    let mended = [("default".to_owned(), (account, MendKind::Link))];
    state.forget_mend_retries(&mended).await.unwrap();
    let left = state.mend_retries("default", None).await.unwrap();
    let left: Vec<_> = left.into_keys().collect();
    assert_eq!(left, [(account, MendKind::Rewrite)]);
    let other = state.mend_retries("other", None).await.unwrap();
    assert!(other.is_empty());
}
