//! The history of links.

use jiff::{Timestamp, ToSpan as _};
use onboarding_core::{
    ids::{AwsAccountId, SpotAccountId},
    stackset_sync::past_links::{LinkRecord, StackNow},
};
use onboarding_provider::{Intents as _, Owner, RememberedExternalId};

use super::{Place, on_both};
use crate::state::State;

on_both! {
    a_link_ends_when_another_takes_its_place_and_one_that_is_made_again_goes_on,
    the_links_of_a_spot_account_end_with_it,
    a_stack_that_is_gone_stays_gone,
}

fn account() -> AwsAccountId {
    AwsAccountId::from_number(1).unwrap()
}

fn spot(number: u8) -> SpotAccountId {
    format!("act-0000000{number}").parse().unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A stack by number, with its role.
fn owner(stack: u8, linked_at: i64) -> Owner {
    let arn = format!("arn:aws:cloudformation:us-east-1:000000000001:stack/s-{stack}/0b1c");
    Owner {
        stack_id: arn.parse().unwrap(),
        account: account(),
        role: format!("arn:aws:iam::000000000001:role/r-{stack}")
            .parse()
            .unwrap(),
        adopted: false,
        linked_at: at(linked_at),
    }
}

async fn link(state: &State, spot_account: &SpotAccountId, owner: &Owner) {
    let database = state.database();
    let until = Timestamp::now() + 1.minute();
    database.claim(account(), "link", until).await.unwrap();
    let owned = database.set_owner(spot_account, owner, "link").await;
    owned.unwrap();
    database.release(account(), "link").await.unwrap();
}

async fn remember(state: &State, spot_account: &SpotAccountId, id: &str) {
    let external_id = RememberedExternalId {
        external_id: id.parse().unwrap(),
        valid_until: None,
    };
    let database = state.database();
    let written = database.remember_external_id(spot_account, &external_id);
    written.await.unwrap();
}

async fn records(state: &State) -> Vec<LinkRecord> {
    let mut records = state.link_records().await.unwrap();
    records.remove(&account()).unwrap_or_default()
}

/// Stack, external ID, and since when until when, in seconds.
fn told(records: &[LinkRecord]) -> Vec<(&str, Option<&str>, i64, Option<i64>)> {
    let told = records.iter().map(|record| {
        let stack = record.stack.as_str().split('/').nth(1).unwrap();
        let external_id = record.external_id.as_ref().map(|id| id.as_str());
        let ended = record.ended_at.map(|at| at / 1000);
        (stack, external_id, record.linked_at / 1000, ended)
    });
    told.collect()
}

async fn a_link_ends_when_another_takes_its_place_and_one_that_is_made_again_goes_on(place: Place) {
    let state = place.open().await;
    remember(&state, &spot(1), "spot-1").await;
    link(&state, &spot(1), &owner(1, 10)).await;
    link(&state, &spot(1), &owner(1, 20)).await;
    assert_eq!(
        told(&records(&state).await),
        [("s-1", Some("spot-1"), 10, None)]
    );
    link(&state, &spot(1), &owner(2, 30)).await;
    let expected = [
        ("s-1", Some("spot-1"), 10, Some(30)),
        ("s-2", Some("spot-1"), 30, None),
    ];
    assert_eq!(told(&records(&state).await), expected);
    // A rollback gives it back; and a role that is another one is another link.
    link(&state, &spot(1), &owner(1, 40)).await;
    let renamed = Owner {
        role: "arn:aws:iam::000000000001:role/other".parse().unwrap(),
        ..owner(1, 50)
    };
    let expected = [("s-2", 30, Some(40)), ("s-1", 40, None)];
    let short = |records: &[LinkRecord]| {
        let told = told(records);
        let short = told.iter();
        short
            .map(|(stack, _, since, until)| ((*stack).to_owned(), *since, *until))
            .collect::<Vec<_>>()
    };
    let expected = expected.map(|(stack, since, until)| (stack.to_owned(), since, until));
    assert_eq!(short(&records(&state).await), expected);
    link(&state, &spot(1), &renamed).await;
    assert_eq!(
        short(&records(&state).await)[1],
        ("s-1".to_owned(), 50, None)
    );
}

async fn the_links_of_a_spot_account_end_with_it(place: Place) {
    let state = place.open().await;
    link(&state, &spot(1), &owner(1, 10)).await;
    let before = Timestamp::now().as_second();
    let database = state.database();
    let forgotten = database.forget(account(), &spot(1), None).await;
    forgotten.unwrap();
    let now = Timestamp::now().as_second();
    link(&state, &spot(2), &owner(2, now + 5)).await;
    let records = records(&state).await;
    let [old, new] = &told(&records)[..] else {
        panic!("{records:?}")
    };
    let ended = old.3.unwrap();
    assert!((before..=now).contains(&ended), "{old:?}");
    assert_eq!(*new, ("s-2", None, now + 5, None));
}

async fn a_stack_that_is_gone_stays_gone(place: Place) {
    let state = place.open().await;
    link(&state, &spot(1), &owner(1, 10)).await;
    link(&state, &spot(1), &owner(2, 20)).await;
    let stack = owner(1, 10).stack_id.to_string();
    let gone = [(stack, Some(15_500))].into();
    state.remember_gone_stacks(&gone).await.unwrap();
    let records = records(&place.open().await).await;
    assert_eq!(records[0].now, StackNow::Gone { at: Some(15_500) });
    assert!(matches!(records[1].now, StackNow::Unknown(_)));
    let stack = owner(2, 20).stack_id;
    for at in [25_000, 30_000] {
        state.note_broken_link(&stack, at).await.unwrap();
    }
    let broken = |records: Vec<LinkRecord>| {
        let records = records.into_iter();
        records.map(|record| record.broken_at).collect::<Vec<_>>()
    };
    assert_eq!(broken(self::records(&state).await), [None, Some(25_000)]);
    // Linked again, it works again.
    link(&state, &spot(1), &owner(2, 40)).await;
    assert_eq!(broken(self::records(&state).await), [None, None]);
}
