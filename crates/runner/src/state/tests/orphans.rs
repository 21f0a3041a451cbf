//! What a clean-up remembers: since when, where, how many, and what it deleted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use onboarding_core::{
    custom_resource::{Holder, TombstoneReason},
    ids::{AwsAccountId, SpotAccountId, StackId},
    inventory::{Account, AccountState, OrganizationSnapshot},
    orphan_cleanup::{
        OrphanClock, Place as AccountPlace, Why,
        undo::{DeletionRecord, Undone},
    },
};
use onboarding_provider::{
    Assigned, Assignment, Intent, Intents as _, SendIntent, SentCall, Tombstone,
};

use super::{
    super::{SpotListing, State, StateError},
    Place, on_both,
};

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
        deleted_stack: None,
        only_stack: false,
        stack_failed_at: None,
        tried_before: None,
        by_others: false,
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
    whoever_lists_the_organization_sees_that_an_account_came_back,
    a_place_is_the_last_one_that_was_seen,
    who_made_a_spot_account_is_known,
    a_creation_that_nobody_saw_the_end_of_accounts_for_one_spot_account,
    a_deletion_is_written_down_counted_once_and_undone_once,
    a_deletion_of_an_unknown_outcome_counts_for_a_day,
    what_is_deleted_by_several_at_once_stays_within_the_day,
    a_stack_that_could_not_be_deleted_is_known_and_uses_no_day_up_where_nothing_was,
    what_somebody_else_deleted_is_not_counted_as_deleted_by_us,
}

const JOB: &str = "orphan-cleanup";

fn clock(why: Why, number: u64, owner: Option<&str>) -> OrphanClock {
    OrphanClock {
        first_seen: 10,
        last_seen: 20,
        why,
        account: AwsAccountId::from_number(number).unwrap(),
        owner: owner.map(|owner| owner.parse().unwrap()),
    }
}

async fn an_orphan_that_comes_back_loses_its_clock(place: Place) {
    let state = place.open().await;
    let stack = "arn:aws:cloudformation:us-east-1:000000000002:stack/s/u";
    let one = clock(Why::Departed, 1, None);
    let two = clock(Why::Duplicate, 2, Some(stack));
    let both = BTreeMap::from([(spot(1), one), (spot(2), two.clone())]);
    state.remember_orphans(JOB, &both).await.unwrap();
    assert_eq!(place.open().await.orphan_clocks(JOB).await.unwrap(), both);
    // Another job has rules of its own, by which these are none.
    let (other, third) = ("cleanup-outside", clock(Why::OutsideTargets, 3, None));
    let others = BTreeMap::from([(spot(3), third)]);
    state.remember_orphans(other, &others).await.unwrap();
    assert_eq!(state.orphan_clocks(JOB).await.unwrap(), both);
    let later = OrphanClock {
        last_seen: 30,
        ..two
    };
    let one = BTreeMap::from([(spot(2), later)]);
    state.remember_orphans(JOB, &one).await.unwrap();
    assert_eq!(state.orphan_clocks(JOB).await.unwrap(), one);
    assert_eq!(state.orphan_clocks(other).await.unwrap(), others);
}

async fn whoever_lists_the_organization_sees_that_an_account_came_back(place: Place) {
    let state = place.open().await;
    let clocks = [
        (1, Why::Departed),
        (2, Why::Departed),
        (3, Why::Closed),
        (4, Why::Closed),
        (5, Why::OutsideTargets),
    ];
    let clocks = clocks.map(|(number, why)| (spot(number), clock(why, number, None)));
    let clocks = BTreeMap::from(clocks);
    state.remember_orphans(JOB, &clocks).await.unwrap();
    let member = |number, state| Account {
        id: AwsAccountId::from_number(number).unwrap(),
        name: "payments".into(),
        state,
        parent: 0,
        joined_at: None,
    };
    let organization = OrganizationSnapshot {
        id: "o-abcdefghij".parse().unwrap(),
        management_account: account(),
        units: Vec::new(),
        accounts: vec![
            member(2, AccountState::Suspended),
            member(3, AccountState::Closed),
            member(4, AccountState::Active),
            member(5, AccountState::Active),
        ],
    };
    state.forget_returned(&organization).await.unwrap();
    let left = state.orphan_clocks(JOB).await.unwrap();
    assert_eq!(left.into_keys().collect::<Vec<_>>(), [1, 3, 5].map(spot));
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

async fn a_creation_that_nobody_saw_the_end_of_accounts_for_one_spot_account(place: Place) {
    let state = place.open().await;
    let database = state.database();
    let moment = |second: i64| Timestamp::from_second(second).unwrap();
    let create = |name: &str, second: i64| SendIntent {
        call: SentCall::Create {
            name: name.to_owned(),
            stack: "arn:aws:cloudformation:us-east-1:000000000001:stack/s/u"
                .parse()
                .unwrap(),
        },
        send_by: moment(second),
        look_after: moment(second + 30),
    };
    let names = async || {
        let sent = state.sent_creations().await.unwrap();
        sent.into_iter().map(|sent| sent.name).collect::<Vec<_>>()
    };
    let hour = jiff::SignedDuration::from_hours(1);
    let until = Timestamp::now().checked_add(hour).unwrap();
    database.claim(account(), "one", until).await.unwrap();
    let write = async |sent: &SendIntent| database.write_intent(account(), "one", sent).await;

    // Sent, waited for longer, and then another one is sent in its place, which is seen.
    write(&create("one", 100)).await.unwrap();
    assert_eq!(names().await, ["one"]);
    let longer = SendIntent {
        look_after: moment(900),
        ..create("one", 100)
    };
    write(&longer).await.unwrap();
    assert_eq!(names().await, ["one"]);
    write(&create("two", 200)).await.unwrap();
    assert_eq!(names().await, ["two", "one"]);
    let seen = database.intent(account()).await.unwrap();
    let assignment = Assignment {
        spot_account: spot(7),
        holder: Holder::stack(
            &"arn:aws:cloudformation:us-east-1:000000000001:stack/s/u"
                .parse()
                .unwrap(),
        ),
        asked: moment(200),
        created_by: None,
    };
    let made = Assignment {
        created_by: Some(assignment.holder.stack.clone()),
        ..assignment.clone()
    };
    let assigned = database.assign(account(), "one", &seen, &made).await;
    assert_eq!(assigned.unwrap(), Assigned::Held);
    assert_eq!(names().await, ["one"]);

    // Something else is found in the place of a third one.
    write(&create("three", 300)).await.unwrap();
    database.release(account(), "one").await.unwrap();
    let seen = database.intent(account()).await.unwrap();
    assert!(
        database
            .take_over(account(), &seen, &assignment)
            .await
            .unwrap()
    );
    assert_eq!(names().await, ["one", "three"]);

    // What the first one made is deleted: another one of its name is a stranger's.
    let unlinked = DeletionRecord {
        name: "one".to_owned(),
        role: None,
        ..record(8)
    };
    let now = Timestamp::now().as_second();
    state
        .begin_deletion("run", &unlinked, 10, now)
        .await
        .unwrap();
    assert_eq!(names().await, ["one", "three"]);
    state.end_deletion(&spot(8), now).await.unwrap();
    assert_eq!(names().await, ["three"]);

    // The third one is answered after all.
    let late = Tombstone {
        spot_account: spot(9),
        account: account(),
        stack_id: assignment.holder.stack,
        at: Timestamp::now(),
        reason: TombstoneReason::Late,
    };
    database.leave_tombstone(&late).await.unwrap();
    assert!(names().await.is_empty());
}

async fn who_made_a_spot_account_is_known(place: Place) {
    let state = place.open().await;
    let stack: StackId = "arn:aws:cloudformation:us-east-1:000000000001:stack/s/u"
        .parse()
        .unwrap();
    for (number, created_by) in [(1, Some(stack.clone())), (2, None)] {
        let assignment = Assignment {
            spot_account: spot(number),
            holder: Holder::stack(&stack),
            asked: Timestamp::now(),
            created_by: created_by.clone(),
        };
        let account = AwsAccountId::from_number(number).unwrap();
        let (database, until) = (state.database(), Timestamp::MAX);
        database.claim(account, "one", until).await.unwrap();
        let seen = Intent::default();
        let assigned = database.assign(account, "one", &seen, &assignment);
        assert_eq!(assigned.await.unwrap(), Assigned::Held);
        let known = state.known_spot_accounts().await.unwrap();
        let known = &known[&spot(number)];
        assert_eq!(
            (known.account, known.is_created),
            (Some(account), created_by.is_some())
        );
        assert_eq!((&known.owner, &known.tombstone), (&None, &None));
    }
    // What was made too late is ours as well.
    for (number, reason) in [(3, TombstoneReason::Late), (4, TombstoneReason::Reconcile)] {
        let tombstone = Tombstone {
            spot_account: spot(number),
            account: account(),
            stack_id: stack.clone(),
            at: Timestamp::now(),
            reason,
        };
        let left = state.database().leave_tombstone(&tombstone);
        left.await.unwrap();
        let known = state.known_spot_accounts().await.unwrap();
        let is_late = reason == TombstoneReason::Late;
        assert_eq!(known[&spot(number)].is_created, is_late);
    }
}

/// More than any test deletes.
const MANY: usize = 100;

const DAY: i64 = 24 * 60 * 60;

async fn listed(state: &State) -> usize {
    state.spot_listing().await.unwrap().unwrap().count
}

async fn a_deletion_is_written_down_counted_once_and_undone_once(place: Place) {
    let state = place.open().await;
    let listing = SpotListing {
        count: 10,
        organization: Some("o-abcdefghij".parse().unwrap()),
    };
    state.remember_spot_listing(&listing, 1).await.unwrap();
    for number in [1, 2] {
        let begun = state.begin_deletion("run", &record(number), MANY, 90).await;
        begun.unwrap();
    }
    let unsettled = state.unsettled_deletions().await.unwrap();
    assert_eq!(unsettled.len(), 2);
    assert_eq!(state.deletions_of("run").await.unwrap(), []);
    assert!(state.end_deletion(&spot(1), 100).await.unwrap());
    assert!(!state.end_deletion(&spot(1), 200).await.unwrap());
    let fewer = SpotListing {
        count: 9,
        ..listing
    };
    assert_eq!(state.spot_listing().await.unwrap(), Some(fewer));
    // What is deleted is not written over by a later attempt, which must not go on.
    let later = DeletionRecord {
        name: "another".to_owned(),
        ..record(1)
    };
    let refused = state.begin_deletion("later", &later, MANY, 300).await;
    assert!(matches!(
        refused.unwrap_err(),
        StateError::DeletedBefore { .. }
    ));
    let deleted = DeletionRecord {
        deleted_at: Some(100),
        ..record(1)
    };
    let of_run = state.deletions_of("run").await.unwrap();
    assert_eq!(of_run, std::slice::from_ref(&deleted));

    let undone = Undone {
        spot_account: spot(9),
        not_linked: None,
    };
    state
        .note_undone(&spot(1), &undone, "ada", 400)
        .await
        .unwrap();
    let unknown = state.note_undone(&spot(3), &undone, "ada", 400).await;
    assert!(matches!(
        unknown.unwrap_err(),
        StateError::NoSuchDeletion { .. }
    ));
    let kept = DeletionRecord {
        undone: Some(undone),
        ..deleted
    };
    assert_eq!(
        place.open().await.deletions_of("run").await.unwrap(),
        [kept]
    );
}

async fn a_deletion_of_an_unknown_outcome_counts_for_a_day(place: Place) {
    let state = place.open().await;
    let of_the_day = async |now| {
        let rows = state.deletions_of_the_day(now).await.unwrap();
        let settled = rows.iter().filter(|row| row.record.deleted_at.is_some());
        (rows.len(), settled.count())
    };
    for number in [1, 2] {
        let begun = state.begin_deletion("run", &record(number), 2, 100).await;
        begun.unwrap();
    }
    state.end_deletion(&spot(1), 110).await.unwrap();
    assert_eq!(of_the_day(200).await, (2, 1));
    // Two in a day are the limit, whoever asks; the same one again is not a third.
    let third = state.begin_deletion("run", &record(3), 2, 200).await;
    assert!(matches!(
        third.unwrap_err(),
        StateError::DayUsedUp { most_a_day: 2, .. }
    ));
    assert_eq!(state.unsettled_deletions().await.unwrap().len(), 1);
    let again = state.begin_deletion("later", &record(2), 2, 100).await;
    again.unwrap();
    assert_eq!(of_the_day(100 + DAY).await, (1, 1));
    assert_eq!(of_the_day(110 + DAY).await, (0, 0));
    let third = state.begin_deletion("run", &record(3), 2, 110 + DAY).await;
    third.unwrap();
}

async fn a_stack_that_could_not_be_deleted_is_known_and_uses_no_day_up_where_nothing_was(
    place: Place,
) {
    let state = place.open().await;
    // Later than the day that begins with 0.
    let at = 10 * DAY;
    let only_stack = |number| DeletionRecord {
        only_stack: true,
        ..record(number)
    };
    let tried = async |number: u64| {
        let rows = state.unsettled_deletions().await.unwrap();
        let mut begun = rows.iter().filter(|row| row.record == only_stack(number));
        let failed = DeletionRecord {
            stack_failed_at: Some(at + 120),
            ..only_stack(number)
        };
        let has_failed = rows.iter().any(|row| row.record == failed);
        (begun.next().map(|row| row.written_at - at), has_failed)
    };
    let note = async |run: &str, number: u64, nothing_was_deleted: bool, now: i64| {
        let (state, id) = (&state, spot(number));
        let noted = state.note_failed_try(run, &id, nothing_was_deleted, at + now);
        noted.await.unwrap();
    };
    let begin = async |run: &str, number: u64, now: i64| {
        let record = only_stack(number);
        let begun = state.begin_deletion(run, &record, 3, at + now).await;
        begun.unwrap();
    };
    let of_the_day = async || state.deletions_of_the_day(at + 200).await.unwrap().len();
    for number in [1, 2] {
        begin("run", number, 100).await;
    }
    assert_eq!(tried(1).await, (Some(100), false));
    // Another run was refused before it asked: that is a try as well, and what the first has used up stays so.
    note("other", 1, true, 120).await;
    assert_eq!((tried(1).await, of_the_day().await), ((None, true), 2));
    note("run", 1, false, 120).await;
    assert_eq!((tried(1).await, of_the_day().await), ((None, true), 2));
    let third = state.begin_deletion("run", &record(3), 2, at + 200).await;
    assert!(matches!(third.unwrap_err(), StateError::DayUsedUp { .. }));
    // Nothing was deleted, and what is told later of the same try does not change that.
    for nothing_was_deleted in [true, false] {
        note("run", 2, nothing_was_deleted, 120).await;
        assert_eq!((tried(2).await, of_the_day().await), ((None, true), 1));
    }
    let third = state.begin_deletion("run", &record(3), 2, at + 200).await;
    third.unwrap();
    // Of a Spot account that Spot was asked to delete, nothing is known of a stack.
    note("run", 3, true, 210).await;
    assert_eq!(of_the_day().await, 2);
    // The next try begins anew.
    begin("later", 2, 300).await;
    assert_eq!(tried(2).await, (Some(300), false));
}

async fn what_somebody_else_deleted_is_not_counted_as_deleted_by_us(place: Place) {
    let state = place.open().await;
    let listing = SpotListing {
        count: 10,
        organization: None,
    };
    state.remember_spot_listing(&listing, 1).await.unwrap();
    let only_stack = DeletionRecord {
        only_stack: true,
        ..record(1)
    };
    let of_a_stack = DeletionRecord {
        only_stack: true,
        ..record(2)
    };
    let begun = state.begin_deletion("run", &only_stack, MANY, 100);
    begun.await.unwrap();
    let (first, second) = (spot(1), spot(2));
    let noted = state.note_failed_try("run", &first, false, 105);
    noted.await.unwrap();
    assert!(state.end_try(&spot(1)).await.unwrap());
    assert!(!state.end_try(&spot(1)).await.unwrap());
    assert!(!state.end_deletion(&spot(1), 110).await.unwrap());
    assert_eq!(state.deletions_of("run").await.unwrap(), []);
    assert_eq!(listed(&state).await, 10);
    // What Spot was asked to delete is ours.
    for record in [only_stack, record(1)] {
        let begun = state.begin_deletion("run", &record, MANY, 120);
        begun.await.unwrap();
    }
    assert!(!state.end_try(&spot(1)).await.unwrap());
    assert!(state.end_deletion(&spot(1), 130).await.unwrap());
    assert_eq!(listed(&state).await, 9);
    // Of a stack that is gone the record stays, and counts in its day, although something had gone wrong on the way.
    let begun = state.begin_deletion("later", &of_a_stack, MANY, 140);
    begun.await.unwrap();
    let noted = state.note_failed_try("later", &second, false, 150);
    noted.await.unwrap();
    state.note_stack_gone(&spot(2)).await.unwrap();
    assert!(state.end_try(&spot(2)).await.unwrap());
    assert_eq!(listed(&state).await, 9);
    let kept = DeletionRecord {
        by_others: true,
        deleted_at: Some(140),
        ..of_a_stack
    };
    assert_eq!(state.deletions_of("later").await.unwrap(), [kept]);
    let of_the_day = state.deletions_of_the_day(200).await.unwrap();
    assert_eq!(of_the_day.len(), 2);
}

async fn what_is_deleted_by_several_at_once_stays_within_the_day(place: Place) {
    let listing = SpotListing {
        count: 10,
        organization: None,
    };
    let state = place.open().await;
    state.remember_spot_listing(&listing, 1).await.unwrap();
    let begun = (1..=6).map(|number| {
        let state = state.clone();
        async move { state.begin_deletion("run", &record(number), 3, 100).await }
    });
    let begun = futures_util::future::join_all(begun).await;
    assert_eq!(begun.iter().filter(|begun| begun.is_ok()).count(), 3);
    assert_eq!(listed(&state).await, 10);
}
