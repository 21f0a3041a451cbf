//! The retry clocks of mends.

use std::collections::BTreeSet;

use onboarding_core::{ids::AwsAccountId, stackset_sync::MendKind};

use super::{Place, on_both};
use crate::{
    engine::RunId,
    state::{MendFailure, OperationResults},
};

/// The wait after a first failure, in seconds.
const FIRST_WAIT: i64 = 900;

on_both! {
    each_kind_of_mend_has_its_own_clock_which_a_run_winds_once,
    clocks_of_profiles_that_are_not_configured_stop,
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

async fn clocks_of_profiles_that_are_not_configured_stop(place: Place) {
    let state = place.open().await;
    let account = AwsAccountId::from_number(1).unwrap();
    let run = RunId::new();
    for profile in ["default", "gone"] {
        let results = OperationResults {
            operation: "op-1",
            failed: &[(account, None)],
            succeeded: &[],
        };
        let recorded = state.record_results(profile, run, results, FIRST_WAIT, 1_000);
        recorded.await.unwrap();
        let failures = [MendFailure {
            of: (account, MendKind::Link),
            reason: "refused",
        }];
        let recorded = state.record_mend_failures(profile, run, &failures, FIRST_WAIT, 1_000);
        recorded.await.unwrap();
    }
    let configured = BTreeSet::from(["default", "new"]);
    state.forget_clocks_of_others(&configured).await.unwrap();
    let left = async |profile| {
        let clocks = state.retries(profile, None).await.unwrap();
        let mends = state.mend_retries(profile, None).await.unwrap();
        (clocks.len(), mends.len())
    };
    assert_eq!(left("default").await, (1, 1));
    assert_eq!(left("gone").await, (0, 0));
    state.forget_retries("default", &[account]).await.unwrap();
    assert_eq!(left("default").await, (0, 1));
}
