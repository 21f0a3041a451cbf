//! What runs remember: retry clocks and the organization.

use std::collections::BTreeMap;

use onboarding_core::{
    governor::aws::ListingShape,
    ids::AwsAccountId,
    inventory::{AccountTags, Tags},
};

use super::{Place, on_both};
use crate::{
    engine::RunId,
    state::{OperationResults, OrganizationCache},
};

/// The wait after a first failure, in seconds.
const FIRST_WAIT: i64 = 900;

fn account(number: u64) -> AwsAccountId {
    AwsAccountId::from_number(number).unwrap()
}

fn results<'a>(
    operation: &'a str,
    failed: &'a [(AwsAccountId, Option<&'a str>)],
    succeeded: &'a [AwsAccountId],
) -> OperationResults<'a> {
    OperationResults {
        operation,
        failed,
        succeeded,
    }
}

on_both! {
    a_failure_winds_the_clock_once_per_operation_and_success_clears_it,
    a_failure_is_of_the_run_that_counted_it_even_when_another_begins_at_the_same_moment,
    the_organization_is_remembered_as_last_listed,
    deployed_units_add_up_until_the_stack_set_is_made_anew,
    tags_are_remembered_until_they_are_too_old_or_the_account_left,
}

async fn a_failure_winds_the_clock_once_per_operation_and_success_clears_it(place: Place) {
    let state = place.open().await;
    let run = RunId::new();
    let failed = [(account(1), Some("denied")), (account(2), None)];
    for _again in 0..2 {
        state
            .record_results(
                "default",
                run,
                results("op-1", &failed, &[]),
                FIRST_WAIT,
                1_000,
            )
            .await
            .unwrap();
    }
    let clocks = place.open().await.retries("default", None).await.unwrap();
    assert_eq!(clocks.len(), 2);
    assert_eq!(
        (clocks[&account(1)].failures, clocks[&account(1)].next_due),
        (1, 1_000 + FIRST_WAIT)
    );
    state
        .record_results(
            "default",
            run,
            results("op-2", &failed[..1], &[account(2), account(3)]),
            FIRST_WAIT,
            5_000,
        )
        .await
        .unwrap();
    let clocks = state.retries("default", None).await.unwrap();
    assert_eq!(clocks.keys().copied().collect::<Vec<_>>(), [account(1)]);
    let clock = &clocks[&account(1)];
    assert_eq!(
        (clock.failures, clock.next_due),
        (2, 5_000 + 2 * FIRST_WAIT)
    );
    assert!(state.retries("another", None).await.unwrap().is_empty());
}

async fn a_failure_is_of_the_run_that_counted_it_even_when_another_begins_at_the_same_moment(
    place: Place,
) {
    let state = place.open().await;
    let failed = [(account(1), None)];
    let (first, second) = (RunId::new(), RunId::new());
    let is_of = async |run| {
        let clocks = state.retries("default", run).await.unwrap();
        clocks[&account(1)].of_this_run
    };
    for (run, operation) in [(first, "op-1"), (second, "op-2")] {
        state
            .record_results(
                "default",
                run,
                results(operation, &failed, &[]),
                FIRST_WAIT,
                1_000,
            )
            .await
            .unwrap();
        assert_eq!(is_of(Some(first)).await, run == first);
        assert_eq!(is_of(Some(second)).await, run == second);
    }
    assert!(!is_of(None).await);
    // As it is after the migration of an older state.
    sqlx::query("UPDATE account_retry SET run_id = NULL")
        .execute(state.pool())
        .await
        .unwrap();
    assert!(!is_of(None).await);
}

async fn the_organization_is_remembered_as_last_listed(place: Place) {
    let state = place.open().await;
    assert_eq!(
        state.organization_cache().await.unwrap(),
        OrganizationCache::default()
    );
    let unit = |id: &str, name: &str| (id.parse().unwrap(), name.into());
    let first = OrganizationCache {
        unit_names: BTreeMap::from([unit("r-ab12", "Root"), unit("ou-ab12-abcdefgh", "Prod")]),
        shape: Some(ListingShape {
            list_pages: 3,
            account_pages: 4,
            longest_account_chain: 2,
            unit_pages: 5,
            unit_chain: 3,
        }),
        closed_since: BTreeMap::from([(account(1), 100), (account(2), 200)]),
        account_count: Some(60),
    };
    state.remember_organization(&first, 1_000).await.unwrap();
    assert_eq!(
        place.open().await.organization_cache().await.unwrap(),
        first
    );
    let second = OrganizationCache {
        unit_names: BTreeMap::from([
            unit("r-ab12", "Root"),
            unit("ou-ab12-abcdefgh", "Production"),
        ]),
        closed_since: BTreeMap::from([(account(2), 200)]),
        account_count: Some(59),
        ..first
    };
    state.remember_organization(&second, 2_000).await.unwrap();
    assert_eq!(state.organization_cache().await.unwrap(), second);
}

async fn deployed_units_add_up_until_the_stack_set_is_made_anew(place: Place) {
    let state = place.open().await;
    let (ours, other) = ("ours".parse().unwrap(), "other".parse().unwrap());
    let units = ["ou-root-00000001", "ou-root-00000002"].map(|unit| unit.parse().unwrap());
    state
        .remember_deployed_units(&ours, &units[..1], 1_000)
        .await
        .unwrap();
    state
        .remember_deployed_units(&ours, &units, 2_000)
        .await
        .unwrap();
    let state = place.open().await;
    assert!(
        state
            .deployed_units(&ours)
            .await
            .unwrap()
            .into_iter()
            .eq(units)
    );
    assert!(state.deployed_units(&other).await.unwrap().is_empty());
    state.forget_deployed_units(&ours).await.unwrap();
    assert!(state.deployed_units(&ours).await.unwrap().is_empty());
}

async fn tags_are_remembered_until_they_are_too_old_or_the_account_left(place: Place) {
    let state = place.open().await;
    let prod = Tags::from([("stage".to_owned(), "prod".to_owned())]);
    let read = [
        (account(1), Some(prod.clone())),
        (account(2), Some(Tags::new())),
        (account(3), Some(prod.clone())),
    ];
    state.remember_tags(&read, 1_000).await.unwrap();
    let again = [(account(1), Some(Tags::new())), (account(3), None)];
    state.remember_tags(&again, 2_000).await.unwrap();
    let known = async |since| place.open().await.account_tags(since).await.unwrap();
    let (one, two) = ((account(1), Tags::new()), (account(2), Tags::new()));
    assert_eq!(known(0).await, AccountTags::from([one.clone(), two]));
    assert_eq!(known(1_000).await, AccountTags::from([one]));
    assert_eq!(known(2_000).await, AccountTags::new());
}
