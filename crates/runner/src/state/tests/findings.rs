//! Since when findings are there: as long as every run that looks has them.

use std::collections::BTreeMap;

use onboarding_core::plan::{Finding, Summary, Unjudged};

use super::{Place, on_both};
use crate::{
    engine::{Asked, Begun, Journal as _, NewRun, RunEnd, RunId, RunStatus},
    state::State,
};

/// A run of a job that finds these, and ends at this second.
async fn finds(state: &State, job: &str, ids: &[&str], second: i64, looked: bool) {
    end(state, job, ids, second, (looked, None)).await;
}

/// One that did not look at this.
async fn ends(state: &State, job: &str, ids: &[&str], second: i64, unjudged: Option<&Unjudged>) {
    end(state, job, ids, second, (true, unjudged)).await;
}

async fn end(
    state: &State,
    job: &str,
    ids: &[&str],
    second: i64,
    (looked, unjudged): (bool, Option<&Unjudged>),
) {
    let run = NewRun {
        id: RunId::new(),
        claim: None,
        job: job.to_owned(),
        kind: "test".to_owned(),
        trigger: "operator".to_owned(),
        tick: None,
        dry_run: false,
        asked: Asked::default(),
        plan: None,
        at: second * 1_000,
        trace_id: None,
    };
    let Begun { key, .. } = state.begin_run(&run).await.unwrap();
    let of = |id: &&str| Finding {
        id: (*id).to_owned(),
        reason: id.split(':').next().unwrap().to_owned(),
        message: format!("what {id} says"),
        ..Finding::default()
    };
    let findings: Vec<Finding> = ids.iter().map(of).collect();
    let end = RunEnd {
        status: RunStatus::Done,
        exit: 3,
        summary: Summary::default(),
        findings: &findings,
        looked,
        unjudged,
        refusals: &[],
        accounts: Vec::new(),
        ledger: &[],
        error: None,
        again: false,
        notifications: &[],
        plan: None,
        at: second * 1_000 + 999,
    };
    state.end_run(key, end).await.unwrap();
}

fn since(expected: &[(&str, i64)]) -> BTreeMap<String, i64> {
    let expected = expected.iter();
    expected.map(|(id, at)| ((*id).to_owned(), *at)).collect()
}

on_both! {
    a_finding_is_as_old_as_the_first_of_all_runs_that_have_it,
    a_finding_that_was_not_looked_at_stays_as_it_was_seen_last,
}

/// Since when the findings of a job are there.
async fn known(state: &State, job: &str) -> BTreeMap<String, i64> {
    let known = state.known_findings(job).await.unwrap().into_iter();
    known
        .map(|(id, known)| (id, known.finding.first_seen.unwrap()))
        .collect()
}

async fn a_finding_is_as_old_as_the_first_of_all_runs_that_have_it(place: Place) {
    let state = place.open().await;
    finds(&state, "audit", &["a", "b"], 100, true).await;
    finds(&state, "other", &["b"], 150, true).await;
    finds(&state, "audit", &["b", "c"], 200, true).await;
    let both = since(&[("b", 100), ("c", 200)]);
    assert_eq!(known(&state, "audit").await, both);
    // One that did not look at everything takes nothing away.
    finds(&state, "audit", &[], 300, false).await;
    assert_eq!(known(&state, "audit").await, both);
    // What was gone begins anew.
    finds(&state, "audit", &["a"], 400, true).await;
    assert_eq!(known(&state, "audit").await, since(&[("a", 400)]));
    assert_eq!(known(&state, "other").await, since(&[("b", 150)]));
}

async fn a_finding_that_was_not_looked_at_stays_as_it_was_seen_last(place: Place) {
    let state = place.open().await;
    let of_iam = "policy-inline-extra:000000000002:debug";
    let names = "misnamed:000000000002";
    let profile = |name: &str| Unjudged {
        only_profiles: [name.to_owned()].into(),
        ..Unjudged::default()
    };
    let coverage = Unjudged {
        reasons: ["policy-inline-extra"].into(),
        ..Unjudged::default()
    };
    ends(
        &state,
        "audit",
        &[of_iam, names],
        100,
        Some(&Unjudged::default()),
    )
    .await;
    ends(&state, "audit", &[], 200, Some(&coverage)).await;
    let left = state.known_findings("audit").await.unwrap();
    let [left] = &left.values().collect::<Vec<_>>()[..] else {
        panic!("{left:?}");
    };
    assert_eq!(
        (left.finding.first_seen, left.finding.last_seen),
        (Some(100), Some(100))
    );
    assert_eq!(left.finding.message, format!("what {of_iam} says"));
    // What all profiles had is not gone because one of them does not have it.
    ends(&state, "audit", &[names], 300, Some(&profile("a"))).await;
    assert_eq!(
        known(&state, "audit").await,
        since(&[(of_iam, 100), (names, 300)])
    );
    ends(&state, "audit", &[], 400, Some(&profile("b"))).await;
    assert_eq!(
        known(&state, "audit").await,
        since(&[(of_iam, 100), (names, 300)])
    );
    ends(&state, "audit", &[], 500, Some(&profile("a"))).await;
    assert_eq!(known(&state, "audit").await, since(&[(of_iam, 100)]));
    // A plan that is refused as a whole says nothing.
    let refused = Unjudged {
        is_everything: true,
        ..Unjudged::default()
    };
    ends(&state, "audit", &[], 600, Some(&refused)).await;
    assert_eq!(known(&state, "audit").await, since(&[(of_iam, 100)]));
    ends(&state, "audit", &[of_iam], 700, Some(&Unjudged::default())).await;
    assert_eq!(known(&state, "audit").await, since(&[(of_iam, 100)]));
    ends(&state, "audit", &[], 800, Some(&Unjudged::default())).await;
    assert_eq!(known(&state, "audit").await, since(&[]));
}
