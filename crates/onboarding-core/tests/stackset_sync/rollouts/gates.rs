//! The gates: what a wave passes by, and what it does not.

use onboarding_core::{
    drift::{Drift, DriftKind},
    policy_rollout::gates::{Evidence, ids, judge, judge_put_back},
};

use super::*;

/// A wave with these outcomes, for the accounts from 2 on.
fn of(outcomes: &[Outcome]) -> WaveProgress {
    let members = outcomes.iter().zip(2..).map(|(outcome, number)| {
        let member = Member {
            outcome: *outcome,
            ..Member::default()
        };
        (id(number), member)
    });
    WaveProgress {
        name: "canary".to_owned(),
        state: WaveState::Updated,
        sweep: Sweep {
            members: members.collect(),
            ..Sweep::default()
        },
        known: BTreeSet::new(),
        updated_at: Some(NOW),
    }
}

/// These accounts were read, and nothing differs.
fn sound(accounts: &[u64]) -> Evidence {
    let accounts = accounts.iter().map(|number| (id(*number), Vec::new()));
    Evidence {
        drifts: accounts.collect(),
        is_read: true,
        ..Evidence::default()
    }
}

#[test]
fn a_wave_that_nobody_has_tried_out_has_not_passed() {
    use Outcome::{Failed, Gone, Updated};
    let passes = |outcomes: &[Outcome], evidence: &Evidence, is_rest: bool| {
        judge(&of(outcomes), evidence, is_rest).passes(5)
    };
    let read = sound(&[2]);
    assert!(passes(&[Updated], &read, false));
    assert!(!passes(&[Gone], &read, false));
    assert!(!passes(&[Gone, Failed], &read, false));
    assert!(!passes(&[Failed, Failed], &read, true), "not even the last");
    assert!(passes(&[Gone, Gone], &read, true), "nobody is left");
    // Neither by CloudFormation's word alone.
    assert!(!passes(&[Gone], &Evidence::default(), false));
    // One that was closed since has not tried it out either.
    let mut closed = sound(&[]);
    closed.gone.insert(id(2));
    assert!(!passes(&[Updated], &closed, false));
    // Nor one that was moved since, and has another stack.
    let mut moved = sound(&[2]);
    moved.stacks.insert(id(2), Some("another".into()));
    assert!(!passes(&[Updated], &moved, false));
    let mut rollout = Rollout::new("r".to_owned(), "default", GOOD, NEXT, NOW);
    let mut wave = of(&[Updated]);
    moved.note_gone(&mut wave);
    rollout.waves.push(wave);
    rollout.halt(Vec::new());
    assert!(rollout.resume() && rollout.waves.is_empty(), "drawn anew");
    let verdict = judge(&of(&[Gone]), &read, false);
    assert!(verdict.reasons()[0].contains("nothing was tried out"));
}

#[test]
fn accounts_that_nobody_looks_into_have_tried_nothing_out() {
    use Outcome::{Failed, Gone, Updated};
    let with_kept = |read: &[u64]| Evidence {
        kept: BTreeSet::from([id(2)]),
        ..sound(read)
    };
    let kept = with_kept(&[]);
    let verdict = judge(&of(&[Updated]), &kept, false);
    assert!(!verdict.passes(5));
    assert!(verdict.reasons()[0].contains("link was kept"));
    assert!(!judge(&of(&[Updated, Gone]), &kept, false).passes(5));
    // One that was looked into is enough, and the last wave may be of such accounts alone.
    let both = of(&[Updated, Updated]);
    assert!(judge(&both, &with_kept(&[3]), false).passes(0));
    assert!(judge(&of(&[Updated, Gone]), &kept, true).passes(0));
    assert!(!judge(&of(&[Updated, Failed]), &kept, true).passes(5));
    // By CloudFormation's word alone, they count as any other.
    let unread = Evidence {
        is_read: false,
        ..with_kept(&[])
    };
    assert!(judge(&of(&[Updated]), &unread, false).passes(0));
    // A wave of them alone can be taken back.
    assert!(judge_put_back(&BTreeSet::from([id(2)]), &kept).passes(0));
}

#[test]
fn what_could_not_be_read_has_not_passed() {
    let wave = of(&[Outcome::Updated, Outcome::Updated]);
    assert!(!judge(&wave, &sound(&[2]), false).passes(0));
    let mut unreadable = sound(&[2, 3]);
    let drift = Drift::unreadable(id(3), "denied".to_owned());
    unreadable.drifts.insert(id(3), vec![drift]);
    assert!(!judge(&wave, &unreadable, false).passes(0));
    // Nor has an account been put back by it.
    let accounts = BTreeSet::from([id(2), id(3)]);
    assert!(judge_put_back(&accounts, &sound(&[2, 3])).passes(0));
    assert!(!judge_put_back(&accounts, &sound(&[2])).passes(0));
    assert!(!judge_put_back(&accounts, &unreadable).passes(0));
    assert!(
        judge_put_back(&accounts, &Evidence::default()).passes(0),
        "not asked for"
    );
}

#[test]
fn a_link_that_is_gone_is_no_reason_not_to_go_back() {
    let mut unlinked = sound(&[2]);
    unlinked.unlinked.insert(id(2));
    assert!(!judge(&of(&[Outcome::Updated]), &unlinked, false).passes(0));
    assert!(judge_put_back(&BTreeSet::from([id(2)]), &unlinked).passes(0));
}

#[test]
fn what_spot_found_wrong_before_a_wave_is_no_failure_of_it() {
    let mut wave = of(&[Outcome::Updated]);
    let mut evidence = sound(&[2]);
    evidence
        .validations
        .insert(id(2), "missing permission".to_owned());
    let verdict = judge(&wave, &evidence, false);
    assert!(!verdict.passes(0));
    assert!(verdict.reasons()[0].contains("missing permission"));
    wave.known = ids(&evidence);
    assert!(judge(&wave, &evidence, false).passes(0));
}

#[test]
fn an_external_id_that_nobody_told_before_a_wave_halts_nothing() {
    let untold = |kind: DriftKind| {
        let drift = Drift {
            kind,
            ..Drift::unreadable(id(2), "neither Spot nor the state tells it".to_owned())
        };
        let mut evidence = sound(&[2]);
        evidence.drifts.insert(id(2), vec![drift]);
        evidence
    };
    let mut wave = of(&[Outcome::Updated]);
    let evidence = untold(DriftKind::ExternalIdUntold);
    let verdict = judge(&wave, &evidence, false);
    assert!(!verdict.passes(0), "it was told before");
    let why = &verdict.reasons()[0];
    assert!(
        why.contains("resume") && why.contains("iam = false"),
        "{why}"
    );
    wave.known = ids(&evidence);
    assert!(judge(&wave, &evidence, false).passes(0));
    // What cannot be compared at all is of the version that was just given.
    let unreadable = untold(DriftKind::TrustUnreadable);
    wave.known = ids(&unreadable);
    assert!(!judge(&wave, &unreadable, false).passes(0));
}
