//! Plans that wait for an approval, and freezes.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use onboarding_core::plan::{Plan, Summary};
use onboarding_provider::{Freeze, Intents as _};

use super::{Place, on_both};
use crate::{
    engine::{
        Asked, Basis, Journal as _, JournalError, NewRun, PlanDocument, RunEnd, RunId, RunKey,
        RunStatus,
    },
    state::{ApprovalRow, State},
};

on_both! {
    the_same_plan_keeps_its_name_and_another_replaces_it,
    one_of_two_approvals_counts_and_the_plan_is_applied_once,
    an_approval_that_came_to_nothing_is_withdrawn,
    one_freeze_is_in_force_at_most,
}

fn run(plan: Option<&str>) -> NewRun {
    NewRun {
        id: RunId::new(),
        claim: None,
        job: "job".to_owned(),
        kind: "test".to_owned(),
        trigger: "operator".to_owned(),
        tick: None,
        dry_run: false,
        asked: Asked::default(),
        plan: plan.map(str::to_owned),
        at: 1_000,
        trace_id: None,
    }
}

fn document(run: RunId, digest: &str) -> PlanDocument {
    let basis = Basis {
        program: "1".to_owned(),
        job: "job".to_owned(),
        kind: "test".to_owned(),
        home_account: "000000000001".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        spot: "https://spot.example.com/".to_owned(),
        asked: Asked::default(),
        digests: BTreeMap::from([("the configuration".to_owned(), digest.to_owned())]),
    };
    let hour = Duration::from_secs(3600);
    PlanDocument::new(run, basis, &Plan::default(), Timestamp::now(), hour)
}

async fn end(state: &State, run: RunKey, plan: Option<(&str, &'static str)>) {
    let end = RunEnd {
        status: RunStatus::Done,
        exit: 0,
        summary: Summary::default(),
        findings: &[],
        looked: false,
        unjudged: None,
        refusals: &[],
        accounts: Vec::new(),
        ledger: &[],
        error: None,
        again: false,
        notifications: &[],
        plan,
        at: 9_000,
    };
    state.end_run(run, end).await.unwrap();
}

/// A run that keeps a plan; the run whose plan waits then.
async fn held(state: &State, digest: &str) -> String {
    let begun = state.begin_run(&run(None)).await.unwrap();
    let plan = document(begun.key.id, digest);
    let waiting = state.hold_plan(begun.key, &plan).await.unwrap();
    end(state, begun.key, None).await;
    waiting.run_id
}

fn approval() -> ApprovalRow {
    ApprovalRow {
        by: "ada".to_owned(),
        at: 5_000,
        comment: Some("CHG-1234".to_owned()),
    }
}

async fn the_same_plan_keeps_its_name_and_another_replaces_it(place: Place) {
    let state = place.open().await;
    let first = held(&state, "one").await;
    assert_eq!(held(&state, "one").await, first);
    let second = held(&state, "two").await;
    assert_ne!(second, first);
    assert_eq!(state.plan(&first).await.unwrap().state, "replaced");
    assert_eq!(state.plan(&second).await.unwrap().state, "waiting");
    assert!(
        !state
            .approve_plan(&first, "job", &approval())
            .await
            .unwrap()
    );
}

async fn one_of_two_approvals_counts_and_the_plan_is_applied_once(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let plan = held(&one, "one").await;
    let approval = approval();
    let (first, second) = tokio::join!(
        one.approve_plan(&plan, "job", &approval),
        other.approve_plan(&plan, "job", &approval)
    );
    assert!(first.unwrap() ^ second.unwrap());
    let approved = one.approved_plan("job", Timestamp::now()).await.unwrap();
    assert_eq!(approved.unwrap().run_id, plan);

    let begun = one.begin_run(&run(Some(&plan))).await.unwrap();
    end(&one, begun.key, Some((&plan, "applied"))).await;
    drop(begun);
    let again = one.begin_run(&run(Some(&plan))).await;
    assert!(matches!(again, Err(JournalError::PlanEnded { .. })));
    let shown = one.show_run(&plan).await.unwrap().plan.unwrap();
    assert_eq!(shown.state, "applied");
    assert_eq!(shown.approval, Some(approval));
    assert_eq!(
        one.approved_plan("job", Timestamp::now()).await.unwrap(),
        None
    );
}

async fn an_approval_that_came_to_nothing_is_withdrawn(place: Place) {
    let state = place.open().await;
    let plan = held(&state, "one").await;
    assert!(state.approve_plan(&plan, "job", &approval()).await.unwrap());
    // Another run has begun to apply it: it is not withdrawn under its feet.
    let begun = state.begin_run(&run(Some(&plan))).await.unwrap();
    let withdraw = state.withdraw_approval(&plan, RunId::new());
    withdraw.await.unwrap();
    assert_eq!(state.plan(&plan).await.unwrap().state, "approved");
    let withdraw = state.withdraw_approval(&plan, begun.key.id);
    withdraw.await.unwrap();
    let stored = state.plan(&plan).await.unwrap();
    assert_eq!((stored.state.as_str(), stored.approval), ("waiting", None));
    assert!(state.approve_plan(&plan, "job", &approval()).await.unwrap());
    // An expired one is not continued.
    let later = Timestamp::now() + jiff::SignedDuration::from_hours(2);
    assert_eq!(state.approved_plan("job", later).await.unwrap(), None);
}

async fn one_freeze_is_in_force_at_most(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let freeze = |by: &str| Freeze {
        since: Timestamp::from_second(1_800_000_000).unwrap(),
        by: by.to_owned(),
        reason: "CHG-1234".to_owned(),
    };
    let (ada, bob) = (freeze("ada"), freeze("bob"));
    let (first, second) = tokio::join!(
        one.database().begin_freeze("1", &ada),
        other.database().begin_freeze("2", &bob)
    );
    let is_first = first.unwrap();
    assert!(is_first ^ second.unwrap());
    let in_force = if is_first { ada } else { bob };
    assert_eq!(one.database().frozen().await.unwrap(), Some(in_force));
    assert!(one.frozen().await.unwrap().unwrap().contains("CHG-1234"));
    assert!(
        other
            .database()
            .end_freeze(Timestamp::now(), "bob")
            .await
            .unwrap()
    );
    assert!(
        !other
            .database()
            .end_freeze(Timestamp::now(), "bob")
            .await
            .unwrap()
    );
    assert_eq!(one.frozen().await.unwrap(), None);
    assert!(
        one.database()
            .begin_freeze("3", &freeze("ada"))
            .await
            .unwrap()
    );
}
