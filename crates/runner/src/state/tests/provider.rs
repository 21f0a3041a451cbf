//! The provider's state: one claim per account, intents, owners, answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::{Timestamp, ToSpan as _};
use onboarding_core::{
    custom_resource::{Holder, TombstoneReason},
    desired::DirectEnrollment,
    ids::{AwsAccountId, SpotAccountId, StackId},
    stackset_sync::spot_links::HostedLink,
};
use onboarding_provider::{
    Assigned, Assignment, Claim, Departed, Departure, Intent, Intents as _, IntentsError, Owner,
    RememberedExternalId, ResourceResponse, SendIntent, SentCall, Tombstone,
};

use sqlx::Connection as _;

use super::{Place, State, on_both};

const STACK: &str = "arn:aws:cloudformation:eu-west-1:000000000001:stack/s/uuid";

fn account() -> AwsAccountId {
    "000000000001".parse().unwrap()
}

fn spot_account() -> SpotAccountId {
    "act-1234abcd".parse().unwrap()
}

fn stack() -> StackId {
    STACK.parse().unwrap()
}

/// A resource of a stack.
fn holder(stack: StackId) -> Holder {
    Holder {
        stack,
        resource: Some("SpotAccount".to_owned()),
    }
}

fn assignment(created_by: Option<StackId>) -> Assignment {
    Assignment {
        spot_account: spot_account(),
        holder: holder(stack()),
        asked: now(),
        created_by,
    }
}

fn departure(stack: StackId) -> Departure {
    Departure {
        holder: holder(stack),
        at: now(),
        is_account: true,
        ends: true,
    }
}

fn departed(at: Option<Timestamp>) -> Departed {
    Departed {
        at,
        is_account: true,
    }
}

/// Makes a stack the owner, as a link does.
async fn link(state: &State, owner: &Owner) {
    let database = state.database();
    let until = now() + 1.minute();
    database.claim(account(), "link", until).await.unwrap();
    let owned = database.set_owner(&spot_account(), owner, "link").await;
    owned.unwrap();
    database.release(account(), "link").await.unwrap();
}

/// Now, in the precision of the state.
fn now() -> Timestamp {
    Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap()
}

fn send_intent() -> SendIntent {
    SendIntent {
        call: SentCall::Create {
            name: "000000000001".to_owned(),
            stack: stack(),
        },
        send_by: now(),
        look_after: now() + 30.seconds(),
    }
}

on_both! {
    one_holder_at_a_time_works_on_an_account,
    a_claim_for_longer_than_there_is_time_is_one,
    a_claim_that_ran_out_is_lost_to_the_next_with_its_intent,
    an_assignment_settles_the_creation_and_makes_the_account_ours,
    an_assignment_is_late_when_somebody_else_has_had_the_account,
    owners_and_external_ids_are_the_last_ones,
    the_first_answer_stays_and_an_adoption_is_known_until_we_link,
    a_hosted_link_is_remembered_and_a_newer_one_wins,
    nobody_is_given_what_is_being_deleted_and_what_is_deleted_is_forgotten,
    a_link_cancels_a_tombstone,
    stacks_that_are_given_an_account_at_the_same_time_are_all_known,
    what_an_earlier_version_wrote_about_stacks_is_kept,
    a_leftover_is_taken_over_only_from_what_was_seen,
    answers_that_nobody_can_ask_for_any_more_are_forgotten,
    one_of_many_claims_is_held,
    a_moment_that_is_too_far_away_is_brought_near,
}

async fn one_holder_at_a_time_works_on_an_account(place: Place) {
    let state = place.open().await;
    let other = place.open().await;
    let later = now() + 1.minute();
    let held = state
        .database()
        .claim(account(), "one", later)
        .await
        .unwrap();
    assert_eq!(held, Claim::Held(Intent::default()));
    let busy = other.database().claim(account(), "two", later).await;
    let Claim::Busy { until } = busy.unwrap() else {
        panic!("two hold it")
    };
    assert!(
        (later.as_second() - until.as_second()).abs() < 10,
        "{until}"
    );
    assert!(matches!(
        other
            .database()
            .write_intent(account(), "two", &send_intent())
            .await,
        Err(IntentsError::ClaimLost(_))
    ));
    other.database().release(account(), "two").await.unwrap();
    assert!(matches!(
        other
            .database()
            .claim(account(), "two", later)
            .await
            .unwrap(),
        Claim::Busy { .. }
    ));
    state
        .database()
        .claim(account(), "one", later + 1.minute())
        .await
        .unwrap();
    state.database().release(account(), "one").await.unwrap();
    assert!(matches!(
        other
            .database()
            .claim(account(), "two", later)
            .await
            .unwrap(),
        Claim::Held(_)
    ));
}

async fn a_claim_for_longer_than_there_is_time_is_one(place: Place) {
    let state = place.open().await;
    let (database, until) = (state.database(), now() + 1.minute());
    database.claim(account(), "one", until).await.unwrap();
    // As a clock may leave it that was far ahead.
    sqlx::query("UPDATE intents SET held_until = 9223372036854775807")
        .execute(state.pool())
        .await
        .unwrap();
    let busy = database.claim(account(), "two", until).await.unwrap();
    let until = Timestamp::MAX;
    assert_eq!(busy, Claim::Busy { until });
}

async fn a_moment_that_is_too_far_away_is_brought_near(place: Place) {
    let state = place.open().await;
    let (database, longest) = (state.database(), Duration::from_secs(60));
    let near = async || database.bring_near(account(), longest).await.unwrap();
    let moments = async || {
        let claim = database.claim(account(), "two", now() + 1.minute()).await;
        let Claim::Busy { until } = claim.unwrap() else {
            panic!("two hold it")
        };
        let intent = database.intent(account()).await.unwrap();
        (until, intent.sent.unwrap().look_after)
    };
    near().await;
    let soon = now() + 50.minutes();
    database.claim(account(), "one", soon).await.unwrap();
    let meant = SendIntent {
        look_after: soon,
        ..send_intent()
    };
    let written = database.write_intent(account(), "one", &meant);
    written.await.unwrap();
    near().await;
    let (held, look_after) = moments().await;
    assert_eq!(look_after, soon);
    assert!(held > now() + 45.minutes(), "{held}");

    // A clock was ahead by years, or a row is damaged.
    let never = SendIntent {
        look_after: Timestamp::MAX,
        ..meant
    };
    let written = database.write_intent(account(), "one", &never);
    written.await.unwrap();
    sqlx::query("UPDATE intents SET held_until = 9223372036854775807")
        .execute(state.pool())
        .await
        .unwrap();
    near().await;
    let (held, look_after) = moments().await;
    for moment in [held, look_after] {
        assert!(moment > now() + 50.seconds(), "{moment}");
        assert!(moment <= now() + 1.minute(), "{moment}");
    }
    // Its holder goes on meanwhile, and nothing else has changed.
    let intent = database.intent(account()).await.unwrap();
    let sent = SendIntent {
        look_after,
        ..never
    };
    assert_eq!(
        intent,
        Intent {
            sent: Some(sent.clone()),
            ..Intent::default()
        }
    );
    let written = database.write_intent(account(), "one", &sent);
    written.await.unwrap();
}

async fn a_claim_that_ran_out_is_lost_to_the_next_with_its_intent(place: Place) {
    let state = place.open().await;
    let sent = send_intent();
    state
        .database()
        .claim(account(), "one", now() + 1.minute())
        .await
        .unwrap();
    state
        .database()
        .write_intent(account(), "one", &sent)
        .await
        .unwrap();
    // The holder gives itself a moment that has passed already.
    state
        .database()
        .claim(account(), "one", now() - 1.second())
        .await
        .unwrap();
    assert!(matches!(
        state.database().write_intent(account(), "one", &sent).await,
        Err(IntentsError::ClaimLost(_))
    ));
    let taken = state
        .database()
        .claim(account(), "two", now() + 1.minute())
        .await
        .unwrap();
    assert_eq!(
        taken,
        Claim::Held(Intent {
            sent: Some(sent.clone()),
            ..Intent::default()
        })
    );
    state
        .database()
        .clear_intent(account(), "one")
        .await
        .unwrap();
    assert_eq!(
        state.database().intent(account()).await.unwrap().sent,
        Some(sent),
        "only its holder clears it"
    );
    state
        .database()
        .clear_intent(account(), "two")
        .await
        .unwrap();
    assert_eq!(
        state.database().intent(account()).await.unwrap(),
        Intent::default()
    );
}

async fn an_assignment_settles_the_creation_and_makes_the_account_ours(place: Place) {
    let state = place.open().await;
    state
        .database()
        .claim(account(), "one", now() + 1.minute())
        .await
        .unwrap();
    state
        .database()
        .write_intent(account(), "one", &send_intent())
        .await
        .unwrap();
    let created = assignment(Some(stack()));
    let seen = Intent::default();
    let assigned = state.database().assign(account(), "one", &seen, &created);
    assert_eq!(assigned.await.unwrap(), Assigned::Held);
    let intent = state.database().intent(account()).await.unwrap();
    let at = intent.assigned_at.unwrap();
    assert!(now().duration_since(at).as_secs().abs() < 10, "{at}");
    let expected = Intent {
        assigned: Some(spot_account()),
        assigned_at: Some(at),
        unlisted: true,
        created_by: Some(stack()),
        holders: [holder(stack())].into(),
        ..Intent::default()
    };
    assert_eq!(intent, expected);
    let other = "act-00000002".parse().unwrap();
    for (listed, unlisted) in [(&other, true), (&spot_account(), false)] {
        let noted = state.database().note_listed(account(), listed);
        noted.await.unwrap();
        let intent = state.database().intent(account()).await.unwrap();
        assert_eq!(
            intent,
            Intent {
                unlisted,
                ..expected.clone()
            }
        );
    }
    assert!(
        state
            .spot_links()
            .await
            .unwrap()
            .owned
            .contains_key(&account())
    );
}

async fn an_assignment_is_late_when_somebody_else_has_had_the_account(place: Place) {
    let state = place.open().await;
    let (database, later) = (state.database(), now() + 1.minute());
    let (seen, created) = (Intent::default(), assignment(Some(stack())));
    let assign = async |holder: &str, created: &Assignment| {
        let assigned = database.assign(account(), holder, &seen, created);
        assigned.await.unwrap()
    };
    let late = |assigned: Option<&SpotAccountId>| Assigned::Late(assigned.cloned());
    // The claim of the first one has run out, and the other one is about to create.
    let past = now() - 1.second();
    database.claim(account(), "one", past).await.unwrap();
    database.claim(account(), "two", later).await.unwrap();
    let sent = send_intent();
    let written = database.write_intent(account(), "two", &sent);
    written.await.unwrap();
    assert_eq!(assign("one", &created).await, late(None));
    let intent = database.intent(account()).await.unwrap();
    assert_eq!((intent.assigned, intent.sent), (None, Some(sent)));
    // It has created, and given the claim back.
    let other = Assignment {
        spot_account: "act-5678efab".parse().unwrap(),
        ..created.clone()
    };
    assert_eq!(assign("two", &other).await, Assigned::Held);
    database.release(account(), "two").await.unwrap();
    let before = database.intent(account()).await.unwrap();
    assert_eq!(
        assign("one", &created).await,
        late(Some(&other.spot_account))
    );
    assert_eq!(database.intent(account()).await.unwrap(), before);
    // A leftover was taken over without a claim.
    database.claim(account(), "three", past).await.unwrap();
    assert_eq!(
        assign("three", &created).await,
        late(Some(&other.spot_account))
    );
    // Nobody has worked on it since the claim ran out.
    let assigned = database.assign(account(), "three", &before, &created);
    assert_eq!(assigned.await.unwrap(), Assigned::Held);
}

async fn owners_and_external_ids_are_the_last_ones(place: Place) {
    let state = place.open().await;
    assert_eq!(state.database().owner(&spot_account()).await.unwrap(), None);
    let mut owner = Owner {
        stack_id: STACK.parse().unwrap(),
        account: account(),
        role: "arn:aws:iam::000000000001:role/SpotRole".parse().unwrap(),
        adopted: true,
        linked_at: now(),
    };
    link(&state, &owner).await;
    owner.adopted = false;
    link(&state, &owner).await;
    // Who does not hold the claim any more has been overtaken by another one that links.
    let overtaken = state.database();
    let overtaken = overtaken.set_owner(&spot_account(), &owner, "link").await;
    assert!(matches!(overtaken, Err(IntentsError::ClaimLost(_))));
    assert_eq!(
        state.database().owner(&spot_account()).await.unwrap(),
        Some(owner)
    );
    let mut external_id = RememberedExternalId {
        external_id: "spot-1".parse().unwrap(),
        valid_until: Some(now()),
    };
    state
        .database()
        .remember_external_id(&spot_account(), &external_id)
        .await
        .unwrap();
    external_id.valid_until = None;
    state
        .database()
        .remember_external_id(&spot_account(), &external_id)
        .await
        .unwrap();
    assert_eq!(
        state.database().external_id(&spot_account()).await.unwrap(),
        Some(external_id.clone())
    );
    // What Spot says is in use is noted where nothing is known, and takes the place of nothing.
    let known_one = spot_account();
    let unknown = "act-unknown".parse().unwrap();
    let (first, second) = ("spot-2".parse().unwrap(), "spot-3".parse().unwrap());
    for (noted, told) in [
        (&unknown, &first),
        (&unknown, &second),
        (&known_one, &second),
    ] {
        state
            .database()
            .note_external_id(noted, told)
            .await
            .unwrap();
    }
    let known = async |of| state.database().external_id(of).await.unwrap();
    assert_eq!(known(&known_one).await, Some(external_id));
    let first = RememberedExternalId {
        external_id: first,
        valid_until: None,
    };
    assert_eq!(known(&unknown).await, Some(first));
}

async fn the_first_answer_stays_and_an_adoption_is_known_until_we_link(place: Place) {
    let state = place.open().await;
    let stack: StackId = STACK.parse().unwrap();
    let answer = |physical_id: &str| -> ResourceResponse {
        serde_json::from_value(serde_json::json!({
            "Status": "SUCCESS",
            "PhysicalResourceId": physical_id,
            "StackId": STACK,
            "RequestId": "request-1",
            "LogicalResourceId": "SpotAccount",
            "Data": {"AccountId": "act-1234abcd", "Adopted": "true"},
        }))
        .unwrap()
    };
    assert_eq!(
        state.database().answer(&stack, "request-1").await.unwrap(),
        None
    );
    assert_eq!(
        state
            .database()
            .remember_answer(&answer("first"))
            .await
            .unwrap(),
        answer("first")
    );
    assert_eq!(
        state
            .database()
            .remember_answer(&answer("second"))
            .await
            .unwrap(),
        answer("first")
    );
    assert_eq!(
        state.database().answer(&stack, "request-1").await.unwrap(),
        Some(answer("first"))
    );
    let named = BTreeMap::from([(account(), BTreeSet::from(["request-1".to_owned()]))]);
    assert_eq!(state.answered("request-").await.unwrap(), named);
    assert_eq!(state.answered("other-").await.unwrap(), BTreeMap::new());
    assert!(state.spot_links().await.unwrap().kept.contains(&account()));
    let owner = Owner {
        stack_id: stack,
        account: account(),
        role: "arn:aws:iam::000000000001:role/SpotRole".parse().unwrap(),
        adopted: true,
        linked_at: now(),
    };
    link(&state, &owner).await;
    let links = state.spot_links().await.unwrap();
    assert!(links.kept.is_empty() && links.owned.contains_key(&account()));
}

async fn a_hosted_link_is_remembered_and_a_newer_one_wins(place: Place) {
    let state = place.open().await;
    for operation in ["first", "second"] {
        let link = HostedLink {
            spot_account: format!("act-{operation}").parse().unwrap(),
            operation: operation.into(),
        };
        let links = BTreeMap::from([(account(), link.clone())]);
        state.remember_hosted_links(&links).await.unwrap();
        assert_eq!(state.hosted_links().await.unwrap(), links);
        let owned = state.spot_links().await.unwrap().owned;
        assert_eq!(owned, BTreeMap::from([(account(), link.spot_account)]));
    }
}

async fn nobody_is_given_what_is_being_deleted_and_what_is_deleted_is_forgotten(place: Place) {
    let state = place.open().await;
    let (id, other): (_, StackId) = (spot_account(), format!("{STACK}-2").parse().unwrap());
    let hold = async |stack: &StackId| {
        state
            .database()
            .hold(account(), &id, &holder(stack.clone()), now() + 1.minute())
            .await
            .unwrap()
    };
    let (database, given) = (state.database(), assignment(None));
    let until = now() + 1.minute();
    database.claim(account(), "one", until).await.unwrap();
    let seen = Intent::default();
    let assigned = database.assign(account(), "one", &seen, &given);
    assert_eq!(assigned.await.unwrap(), Assigned::Held);
    database.release(account(), "one").await.unwrap();
    assert!(hold(&other).await);
    let intent = state.database().intent(account()).await.unwrap();
    assert_eq!(intent.holders.len(), 2);
    let ended = departure(other.clone());
    let after = state.database().let_go(account(), &ended).await.unwrap();
    assert_eq!(after.holders, [holder(stack())].into());
    assert_eq!(after, state.database().intent(account()).await.unwrap());
    for (late, asked) in [
        (holder(other.clone()), ended.at),
        (Holder::stack(&other), now() + 1.minute()),
    ] {
        let late = state.database().hold(account(), &id, &late, asked);
        assert!(!late.await.unwrap(), "its stack is deleted");
    }

    let later = now() + 1.minute();
    state
        .database()
        .claim(account(), "one", later)
        .await
        .unwrap();
    assert!(!hold(&other).await, "claimed");
    let mut intent = SendIntent {
        call: SentCall::Delete {
            spot_account: id.clone(),
        },
        send_by: now(),
        look_after: later,
    };
    state
        .database()
        .write_intent(account(), "one", &intent)
        .await
        .unwrap();
    state.database().release(account(), "one").await.unwrap();
    assert!(!hold(&other).await, "not settled");
    intent.look_after = now() - 1.second();
    state
        .database()
        .claim(account(), "one", later)
        .await
        .unwrap();
    state
        .database()
        .write_intent(account(), "one", &intent)
        .await
        .unwrap();
    state.database().release(account(), "one").await.unwrap();
    assert!(hold(&other).await, "settled, and it is still there");
    assert_eq!(state.database().intent(account()).await.unwrap().sent, None);

    let ended = departure(stack());
    state
        .database()
        .forget(account(), &id, Some(&ended))
        .await
        .unwrap();
    assert!(!hold(&other).await, "deleted");
    let expected = Intent {
        holders: [holder(other)].into(),
        departed: [(ended.holder, departed(Some(ended.at)))].into(),
        removed: Some(id.clone()),
        ..Intent::default()
    };
    assert_eq!(state.database().intent(account()).await.unwrap(), expected);
    assert!(state.spot_links().await.unwrap().owned.is_empty());
}

async fn a_link_cancels_a_tombstone(place: Place) {
    let state = place.open().await;
    let tombstone = |reason| Tombstone {
        spot_account: spot_account(),
        account: account(),
        stack_id: stack(),
        at: now(),
        reason,
    };
    let first = tombstone(TombstoneReason::Reconcile);
    state.database().leave_tombstone(&first).await.unwrap();
    let second = tombstone(TombstoneReason::Running);
    state.database().leave_tombstone(&second).await.unwrap();
    assert_eq!(state.tombstones().await.unwrap(), [second]);
    let owner = Owner {
        stack_id: stack(),
        account: account(),
        role: "arn:aws:iam::000000000001:role/SpotRole".parse().unwrap(),
        adopted: false,
        linked_at: now(),
    };
    link(&state, &owner).await;
    assert_eq!(state.tombstones().await.unwrap(), []);
}

async fn stacks_that_are_given_an_account_at_the_same_time_are_all_known(place: Place) {
    let states = [place.open().await, place.open().await];
    let holders: BTreeSet<Holder> = (0..24)
        .map(|n| holder(format!("{STACK}-{n}").parse().unwrap()))
        .collect();
    let id = spot_account();
    let given = holders
        .iter()
        .zip(states.iter().cycle())
        .map(|(holder, state)| {
            let id = &id;
            async move { state.database().hold(account(), id, holder, now()).await }
        });
    for given in futures_util::future::join_all(given).await {
        assert!(given.unwrap());
    }
    let intent = states[0].database().intent(account()).await.unwrap();
    assert_eq!(intent.holders, holders);
}

async fn what_an_earlier_version_wrote_about_stacks_is_kept(place: Place) {
    let state = place.open().await;
    let gone: StackId = format!("{STACK}-gone").parse().unwrap();
    sqlx::query(
        "INSERT INTO intents (account, assigned, stacks, departed) VALUES ($1, $2, $3, $4)",
    )
    .bind(account().to_string())
    .bind(spot_account().as_str())
    .bind(serde_json::json!([STACK]).to_string())
    .bind(serde_json::json!([gone]).to_string())
    .execute(state.pool())
    .await
    .unwrap();
    let mut expected = Intent {
        assigned: Some(spot_account()),
        holders: [Holder::stack(&stack())].into(),
        departed: [(Holder::stack(&gone), departed(None))].into(),
        ..Intent::default()
    };
    let claim = state.database().claim(account(), "one", now()).await;
    assert_eq!(claim.unwrap(), Claim::Held(expected.clone()));
    // The next change writes it down anew, with what it adds.
    let (id, known) = (spot_account(), holder(stack()));
    let given = state.database().hold(account(), &id, &known, now());
    assert!(given.await.unwrap());
    expected.holders.insert(holder(stack()));
    assert_eq!(state.database().intent(account()).await.unwrap(), expected);
    let left: (Option<String>, Option<String>) =
        sqlx::query_as("SELECT stacks, departed FROM intents")
            .fetch_one(state.pool())
            .await
            .unwrap();
    assert_eq!(left, (None, None));
}

async fn one_of_many_claims_is_held(place: Place) {
    let states = [place.open().await, place.open().await];
    let until = now() + 1.minute();
    let claims = (0..24)
        .zip(states.iter().cycle())
        .map(|(n, state)| async move {
            let holder = format!("holder {n}");
            state.database().claim(account(), &holder, until).await
        });
    let claims = futures_util::future::join_all(claims).await;
    let held = claims
        .into_iter()
        .filter(|claim| matches!(claim, Ok(Claim::Held(_))));
    assert_eq!(held.count(), 1);
}

async fn a_leftover_is_taken_over_only_from_what_was_seen(place: Place) {
    let state = place.open().await;
    let found = assignment(None);
    let taken = async |seen: &Intent| {
        let taken = state.database().take_over(account(), seen, &found);
        taken.await.unwrap()
    };
    let before = Intent::default();
    let claimed = state.database();
    claimed
        .claim(account(), "one", now() + 1.minute())
        .await
        .unwrap();
    assert!(!taken(&before).await, "claimed");
    claimed.release(account(), "one").await.unwrap();
    let ended = departure(format!("{STACK}-other").parse().unwrap());
    let after = state.database().let_go(account(), &ended).await.unwrap();
    assert!(!taken(&before).await, "changed since");
    assert!(taken(&after).await);
    let intent = state.database().intent(account()).await.unwrap();
    assert_eq!(intent.assigned, Some(spot_account()));
    assert_eq!(intent.holders, [found.holder.clone()].into());
}

async fn answers_that_nobody_can_ask_for_any_more_are_forgotten(place: Place) {
    let state = place.open().await;
    let answer = |request_id: &str| -> ResourceResponse {
        serde_json::from_value(serde_json::json!({
            "Status": "SUCCESS",
            "PhysicalResourceId": "act-1234abcd",
            "StackId": STACK,
            "RequestId": request_id,
            "LogicalResourceId": "SpotAccount",
        }))
        .unwrap()
    };
    // What `direct` has finished is written down in the same table, for good.
    let finished = format!("{}role SpotRole", DirectEnrollment::MARK);
    for (request_id, age) in [("old", 16), (&*finished, 400), ("recent", 14)] {
        sqlx::query(
            "INSERT INTO answered_requests (stack_id, request_id, answer, answered_at) VALUES ($1, $2, $3, $4)",
        )
        .bind(STACK)
        .bind(request_id)
        .bind(serde_json::to_string(&answer(request_id)).unwrap())
        .bind((now() - (24 * age).hours()).as_millisecond())
        .execute(state.pool())
        .await
        .unwrap();
    }
    let database = state.database();
    database.remember_answer(&answer("new")).await.unwrap();
    for (request_id, kept) in [
        ("old", false),
        (&finished, true),
        ("recent", true),
        ("new", true),
    ] {
        let found = database.answer(&stack(), request_id).await.unwrap();
        assert_eq!(found.is_some(), kept, "{request_id}");
    }
    let marks = state.answered(DirectEnrollment::MARK).await.unwrap();
    assert_eq!(marks[&account()], BTreeSet::from([finished]));
}

#[tokio::test]
async fn a_claim_goes_by_the_clock_of_the_database() {
    let Some(place) = Place::server().await else {
        return;
    };
    place.open().await.close().await;
    // Its clock is an hour ahead of ours from the next connection on.
    let mut connection = sqlx::PgConnection::connect(&place.url()).await.unwrap();
    let ahead = "CREATE SCHEMA ahead; CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS \
                 $$ SELECT pg_catalog.clock_timestamp() + interval '1 hour' $$";
    sqlx::raw_sql(ahead).execute(&mut connection).await.unwrap();
    let search = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, ahead, pg_catalog', current_database()); END $$";
    sqlx::raw_sql(search)
        .execute(&mut connection)
        .await
        .unwrap();
    let state = place.open().await;
    let database = state.database();
    let until = now() + 1.minute();
    let held = database.claim(account(), "one", until).await.unwrap();
    assert!(matches!(held, Claim::Held(_)));
    let by_the_database: i64 = sqlx::query_scalar("SELECT held_until FROM intents")
        .fetch_one(state.pool())
        .await
        .unwrap();
    let ahead = by_the_database - until.as_millisecond();
    assert!((3_500_000..3_700_000).contains(&ahead), "{ahead}");
    // By the same clock it is told what time it is, and when calls are settled.
    let later = database.now().await.unwrap().duration_since(now());
    assert!((later.as_secs() - 3600).abs() < 100, "{later}");
    // What it holds is told and asked by the same clock.
    let sent = send_intent();
    let written = database.write_intent(account(), "one", &sent);
    written.await.unwrap();
    let busy = database.claim(account(), "two", until).await.unwrap();
    let Claim::Busy { until: busy } = busy else {
        panic!("two hold it")
    };
    assert!((until.as_second() - busy.as_second()).abs() < 10, "{busy}");
    let found = assignment(None);
    let intent = database.intent(account()).await.unwrap();
    assert!(
        !database
            .take_over(account(), &intent, &found)
            .await
            .unwrap()
    );
    // One that is over by the database's clock, and an hour ahead of ours.
    let ended = "UPDATE intents SET held_until = held_until - 120000";
    sqlx::query(ended).execute(state.pool()).await.unwrap();
    let lost = database.write_intent(account(), "one", &sent).await;
    assert!(matches!(lost, Err(IntentsError::ClaimLost(_))));
    // What it found is its own since now, and what it deletes is nobody's until then.
    let taken = database.take_over(account(), &intent, &found).await;
    assert!(taken.unwrap());
    let at = database.intent(account()).await.unwrap().assigned_at;
    let ahead = at.unwrap().duration_since(now());
    assert!((ahead.as_secs() - 3600).abs() < 100, "{ahead}");
    let deleting = SendIntent {
        call: SentCall::Delete {
            spot_account: spot_account(),
        },
        look_after: now() + 61.minutes(),
        ..sent
    };
    database.claim(account(), "one", until).await.unwrap();
    let written = database.write_intent(account(), "one", &deleting);
    written.await.unwrap();
    database.release(account(), "one").await.unwrap();
    let other = holder(format!("{STACK}-2").parse().unwrap());
    let hold = async || {
        let spot_account = spot_account();
        let held = database.hold(account(), &spot_account, &other, now());
        held.await.unwrap()
    };
    assert!(!hold().await, "not settled");
    let settled = SendIntent {
        look_after: now() + 59.minutes(),
        ..deleting
    };
    database.claim(account(), "one", until).await.unwrap();
    let written = database.write_intent(account(), "one", &settled);
    written.await.unwrap();
    database.release(account(), "one").await.unwrap();
    assert!(hold().await, "settled by the database's clock");
}
