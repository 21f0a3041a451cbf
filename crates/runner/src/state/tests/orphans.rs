//! What a clean-up remembers: since when, where, how many, and what it deleted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use onboarding_core::{
    custom_resource::Holder,
    ids::{AwsAccountId, SpotAccountId, StackId},
    orphan_cleanup::{
        Place as AccountPlace, Why,
        undo::{DeletionRecord, Undone},
    },
};
use onboarding_provider::{Assignment, Intents as _};

use super::{Place, on_both};

fn account() -> AwsAccountId {
    AwsAccountId::from_number(1).unwrap()
}

fn spot(number: u64) -> SpotAccountId {
    format!("act-{number:08}").parse().unwrap()
}

fn record(number: u64) -> DeletionRecord {
    DeletionRecord {
        spot_account: spot(number),
        name: "payments".to_owned(),
        account: account(),
        account_name: None,
        role: Some("arn:aws:iam::000000000001:role/SpotRole".parse().unwrap()),
        external_id: None,
        stack: None,
        cost_intelligence: false,
        user_groups: BTreeMap::new(),
        why: Why::Departed,
        first_seen: 5,
        by: "arn:aws:iam::000000000001:user/ada".to_owned(),
        deleted_at: None,
        undone: None,
    }
}

on_both! {
    an_orphan_that_comes_back_loses_its_clock,
    a_place_is_the_last_one_that_was_seen,
    who_made_a_spot_account_is_known,
    a_deletion_is_written_down_counted_once_and_undone_once,
}

async fn an_orphan_that_comes_back_loses_its_clock(place: Place) {
    let state = place.open().await;
    let both = BTreeMap::from([(spot(1), 10), (spot(2), 20)]);
    state.remember_orphans(&both).await.unwrap();
    assert_eq!(place.open().await.orphans_since().await.unwrap(), both);
    let one = BTreeMap::from([(spot(2), 20)]);
    state.remember_orphans(&one).await.unwrap();
    assert_eq!(state.orphans_since().await.unwrap(), one);
}

async fn a_place_is_the_last_one_that_was_seen(place: Place) {
    let state = place.open().await;
    let at = |path: &str| {
        let place = AccountPlace {
            name: "payments".to_owned(),
            units: vec!["r-root".parse().unwrap()],
            path: path.to_owned(),
        };
        BTreeMap::from([(account(), place)])
    };
    let (first, second) = (at("Root/A"), at("Root/B"));
    state
        .remember_places(&BTreeMap::new(), &first)
        .await
        .unwrap();
    state.remember_places(&first, &second).await.unwrap();
    // It left: nothing new is seen of it.
    state
        .remember_places(&second, &BTreeMap::new())
        .await
        .unwrap();
    assert_eq!(state.places().await.unwrap(), second);
}

async fn who_made_a_spot_account_is_known(place: Place) {
    let state = place.open().await;
    let stack: StackId = "arn:aws:cloudformation:us-east-1:000000000001:stack/s/u"
        .parse()
        .unwrap();
    for (number, created_by) in [(1, Some(stack.clone())), (2, None)] {
        let assignment = Assignment {
            spot_account: spot(number),
            at: Timestamp::now(),
            holder: Holder::stack(&stack),
            asked: Timestamp::now(),
            created_by: created_by.clone(),
        };
        let account = AwsAccountId::from_number(number).unwrap();
        let assigned = state.database().assign(account, &assignment);
        assert!(assigned.await.unwrap());
        let known = state.known_spot_accounts().await.unwrap();
        let known = &known[&spot(number)];
        assert_eq!(
            (known.account, known.is_created),
            (Some(account), created_by.is_some())
        );
        assert_eq!((&known.owner, &known.tombstone), (&None, &None));
    }
}

async fn a_deletion_is_written_down_counted_once_and_undone_once(place: Place) {
    let state = place.open().await;
    state.remember_spot_count(10, 1).await.unwrap();
    state.begin_deletion("run", &record(1), 90).await.unwrap();
    state.begin_deletion("run", &record(2), 90).await.unwrap();
    let unsettled = state.unsettled_deletions().await.unwrap();
    assert_eq!(unsettled.len(), 2);
    assert_eq!(state.deletions_of("run").await.unwrap(), []);
    assert!(state.end_deletion(&spot(1), 100).await.unwrap());
    assert!(!state.end_deletion(&spot(1), 200).await.unwrap());
    assert_eq!(state.spot_count().await.unwrap(), Some(9));
    // What is deleted is not written over by a later attempt.
    let later = DeletionRecord {
        name: "another".to_owned(),
        ..record(1)
    };
    state.begin_deletion("later", &later, 300).await.unwrap();
    let deleted = DeletionRecord {
        deleted_at: Some(100),
        ..record(1)
    };
    let of_run = state.deletions_of("run").await.unwrap();
    assert_eq!(of_run, std::slice::from_ref(&deleted));
    assert_eq!(state.deletions_since(99).await.unwrap().len(), 1);
    assert_eq!(state.deletions_since(100).await.unwrap(), []);

    let undone = Undone {
        spot_account: spot(9),
        not_linked: None,
    };
    state
        .note_undone(&spot(1), &undone, "ada", 400)
        .await
        .unwrap();
    let kept = DeletionRecord {
        undone: Some(undone),
        ..deleted
    };
    assert_eq!(
        place.open().await.deletions_of("run").await.unwrap(),
        [kept]
    );
}
