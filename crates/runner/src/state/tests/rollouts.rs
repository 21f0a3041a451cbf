//! Versions of policies and their rollouts: what is good stays good until a rollout has come to its end, and of two who change a
//! rollout at the same time, one is refused.

use onboarding_core::{
    policy::PolicyDocument,
    policy_rollout::{Phase, Rollout},
    template::{NamedPolicy, Partition, PolicyPurpose, PolicyVersion},
};
use serde_json::json;

use super::{Place, on_both};
use crate::state::State;

fn version(name: &str, action: &str) -> PolicyVersion {
    let statement = json!({"Effect": "Allow", "Action": action, "Resource": "*"});
    let document = json!({"Version": "2012-10-17", "Statement": [statement]});
    let policy = NamedPolicy {
        purpose: PolicyPurpose::ElastigroupOcean,
        document: PolicyDocument::from_value(document).unwrap(),
    };
    PolicyVersion::new(Some(name), &[policy], Partition::Aws).unwrap()
}

async fn pinned(state: &State) -> (String, Option<String>) {
    let pinned = state.pinned_versions().await.unwrap();
    let pinned = &pinned["default"];
    let next = pinned.next.as_ref().map(|next| next.name.clone());
    (pinned.current.name.clone(), next)
}

on_both! {
    a_version_becomes_good_when_its_rollout_ends,
    what_was_rolled_back_is_rejected_until_somebody_allows_it,
    of_two_who_change_a_rollout_one_is_refused,
}

async fn a_version_becomes_good_when_its_rollout_ends(place: Place) {
    let state = place.open().await;
    assert!(state.pinned_versions().await.unwrap().is_empty());
    state
        .adopt_version("default", &version("one", "s3:GetObject"), 1)
        .await
        .unwrap();
    // What is good already stays so.
    state
        .adopt_version("default", &version("zero", "s3:PutObject"), 2)
        .await
        .unwrap();
    assert_eq!(pinned(&state).await, ("one".to_owned(), None));
    let rollout = Rollout::new("r1".to_owned(), "default", "one", "two", 3);
    let next = version("two", "s3:ListBucket");
    assert!(state.begin_rollout(&rollout, &next).await.unwrap());
    let second = Rollout::new("r2".to_owned(), "default", "one", "two", 3);
    assert!(
        !state.begin_rollout(&second, &next).await.unwrap(),
        "one at a time"
    );
    assert_eq!(
        pinned(&state).await,
        ("one".to_owned(), Some("two".to_owned()))
    );
    // Another process, later.
    let state = place.open().await;
    let mut row = state.open_rollout("default").await.unwrap().unwrap();
    assert_eq!(row.rollout, rollout);
    row.rollout.phase = Phase::Finishing;
    assert!(state.keep_rollout(&row, 4).await.unwrap());
    assert_eq!(pinned(&state).await, ("two".to_owned(), None));
    row.revision += 1;
    row.rollout.phase = Phase::Done;
    assert!(state.keep_rollout(&row, 5).await.unwrap());
    assert_eq!(state.open_rollout("default").await.unwrap(), None);
    assert_eq!(state.rollouts("default").await.unwrap().len(), 1);
    assert_eq!(
        state.pinned_versions().await.unwrap()["default"].current,
        next
    );
    assert!(
        state.begin_rollout(&second, &next).await.unwrap(),
        "the next one"
    );
}

async fn what_was_rolled_back_is_rejected_until_somebody_allows_it(place: Place) {
    let state = place.open().await;
    state
        .adopt_version("default", &version("one", "s3:GetObject"), 1)
        .await
        .unwrap();
    let rollout = Rollout::new("r1".to_owned(), "default", "one", "two", 2);
    let next = version("two", "s3:ListBucket");
    state.begin_rollout(&rollout, &next).await.unwrap();
    let mut row = state.open_rollout("default").await.unwrap().unwrap();
    row.rollout.phase = Phase::RolledBack;
    row.decided_by = Some("ada".to_owned());
    assert!(state.keep_rollout(&row, 3).await.unwrap());
    let rejected = async || {
        let versions = state.policy_versions("default").await.unwrap();
        let rejected = versions.into_iter().filter(|one| one.rejected_at.is_some());
        rejected.map(|one| (one.name, one.good)).collect::<Vec<_>>()
    };
    assert_eq!(rejected().await, [("two".to_owned(), false)]);
    assert_eq!(pinned(&state).await, ("one".to_owned(), None));
    assert_eq!(state.allow_rejected("default").await.unwrap(), 1);
    assert_eq!(rejected().await, []);
}

async fn of_two_who_change_a_rollout_one_is_refused(place: Place) {
    let state = place.open().await;
    state
        .adopt_version("default", &version("one", "s3:GetObject"), 1)
        .await
        .unwrap();
    let rollout = Rollout::new("r1".to_owned(), "default", "one", "two", 2);
    state
        .begin_rollout(&rollout, &version("two", "s3:ListBucket"))
        .await
        .unwrap();
    let mut one = state.open_rollout("default").await.unwrap().unwrap();
    let mut other = one.clone();
    assert!(other.rollout.roll_back());
    assert!(state.keep_rollout(&other, 3).await.unwrap());
    one.rollout.phase = Phase::Rolling;
    assert!(!state.keep_rollout(&one, 3).await.unwrap());
    let kept = state.open_rollout("default").await.unwrap().unwrap();
    assert_eq!(kept.rollout.phase, Phase::RollingBack);
}
