//! Billing Engine for the management account: a step, a finding, or nothing.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use std::collections::BTreeMap;

use onboarding_core::{
    desired::{BillingSource, Desired},
    stackset_sync::{BillingRegistration, SyncAction, SyncObserved, plan},
};

use crate::world::*;

/// Account 1 is the management account; these Spot accounts are linked to it.
fn world(spot_accounts: &[&str]) -> (SyncObserved, Desired) {
    let mut observed = observed(organization(&[], &[(1, 0, ACTIVE)]));
    let profile = profile(root_targets());
    with_stack_set(&mut observed, &profile, true, Vec::new());
    observed.spot_accounts = spot_accounts.iter().map(|spot| linked(1, spot)).collect();
    let mut desired = desired(profile);
    desired.billing_engine = Some(BillingSource {
        bucket: "reports".to_owned(),
        region: "us-east-1".parse().unwrap(),
        path_prefix: "cur/hourly".to_owned(),
    });
    (observed, desired)
}

fn findings(observed: &SyncObserved, desired: &Desired) -> Vec<String> {
    let plan = plan(observed, desired).unwrap();
    assert_eq!(plan.steps, []);
    plan.findings.into_iter().map(|one| one.reason).collect()
}

#[test]
fn it_is_set_up_for_the_account_that_is_linked_and_only_when_asked_for() {
    let (observed, mut desired) = world(&["act-1"]);
    let planned = plan(&observed, &desired).unwrap();
    let [
        SyncAction::SetUpBillingEngine {
            spot_account,
            source,
        },
    ] = &actions(&planned)[..]
    else {
        panic!("{:?}", planned.steps);
    };
    assert_eq!(spot_account.as_str(), "act-1");
    assert_eq!(Some(source), desired.billing_engine.as_ref());
    desired.billing_engine = None;
    assert_eq!(findings(&observed, &desired), Vec::<String>::new());
}

#[test]
fn an_account_that_is_not_linked_once_is_a_finding() {
    let (observed, desired) = world(&[]);
    assert_eq!(findings(&observed, &desired), ["billing-engine-not-linked"]);
    let (observed, desired) = world(&["act-1", "act-2"]);
    assert_eq!(
        findings(&observed, &desired),
        ["billing-engine-several-links"]
    );
}

#[test]
fn data_that_does_not_arrive_is_a_finding_after_a_while() {
    let (mut observed, desired) = world(&["act-1", "act-2"]);
    for (connected, since, expected) in [
        (true, None, &[][..]),
        (true, Some(NOW - 30 * 86_400), &[]),
        (false, Some(NOW - 3600), &[]),
        (
            false,
            Some(NOW - 30 * 86_400),
            &["billing-engine-not-connected"],
        ),
        (false, None, &["billing-engine-not-connected"]),
    ] {
        let registration = BillingRegistration { connected, since };
        observed.billing_engine = BTreeMap::from([("act-2".parse().unwrap(), registration)]);
        assert_eq!(findings(&observed, &desired), expected, "{registration:?}");
    }
}
