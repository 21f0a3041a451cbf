//! Since when findings are there: as long as every run that looks has them.

use std::collections::BTreeMap;

use onboarding_core::plan::{Finding, Summary};

use super::{Place, on_both};
use crate::{
    engine::{Asked, Begun, Journal as _, NewRun, RunEnd, RunId, RunStatus},
    state::State,
};

/// A run of a job that finds these, and ends at this second.
async fn finds(state: &State, job: &str, ids: &[&str], second: i64, looked: bool) {
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
        ..Finding::default()
    };
    let findings: Vec<Finding> = ids.iter().map(of).collect();
    let end = RunEnd {
        status: RunStatus::Done,
        exit: 3,
        summary: Summary::default(),
        findings: &findings,
        looked,
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
}

async fn a_finding_is_as_old_as_the_first_of_all_runs_that_have_it(place: Place) {
    let state = place.open().await;
    finds(&state, "audit", &["a", "b"], 100, true).await;
    finds(&state, "other", &["b"], 150, true).await;
    finds(&state, "audit", &["b", "c"], 200, true).await;
    let known = state.findings_since("audit").await.unwrap();
    assert_eq!(known, since(&[("b", 100), ("c", 200)]));
    // One that did not look at everything takes nothing away.
    finds(&state, "audit", &[], 300, false).await;
    assert_eq!(state.findings_since("audit").await.unwrap(), known);
    // What was gone begins anew.
    finds(&state, "audit", &["a"], 400, true).await;
    let known = state.findings_since("audit").await.unwrap();
    assert_eq!(known, since(&[("a", 400)]));
    let other = state.findings_since("other").await.unwrap();
    assert_eq!(other, since(&[("b", 150)]));
}
