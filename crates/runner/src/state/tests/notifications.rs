//! What is to be told, on both databases: once, counted, held by one, and kept until it got through.

use std::collections::BTreeMap;

use onboarding_core::{
    notify::{Event, Notice, Notification},
    plan::Summary,
};

use super::{Place, on_both};
use crate::{
    engine::{Asked, Journal as _, NewRun, RunEnd, RunId, RunKey, RunStatus},
    state::{GivenUp, NextNotification, NotificationRow, State, TakenNotification},
};

on_both! {
    what_happens_again_and_again_is_told_once_with_how_often,
    one_that_was_tried_is_told_as_it_was_and_counts_what_comes_after,
    a_notification_is_taken_by_one_and_comes_back_when_that_one_dies,
    a_run_is_told_of_once_and_what_was_given_up_is_told_again,
    quiet_begins_when_it_was_told,
    a_target_that_fails_is_left_alone_with_all_that_waits_for_it,
    a_target_is_asked_as_often_as_it_may_be_by_all_together,
    what_the_target_does_not_take_or_nobody_can_read_holds_up_nothing_else,
    what_was_not_told_in_time_is_given_up_whoever_looks,
    a_clock_that_was_set_back_keeps_nothing_waiting,
    a_run_ends_with_what_is_told_of_it_or_not_at_all,
    a_job_whose_runs_die_again_and_again_is_known,
}

const HOUR: i64 = 3_600_000;

fn notification(target: &str, what: &str, cause: &str) -> Notification {
    Notification {
        target: target.to_owned(),
        notice: Notice::new(Event::RunFailed, "sync", 0, what.to_owned(), cause),
        quiet: HOUR,
        give_up_after: 24 * HOUR,
    }
}

/// More than any test sends within an hour.
const MANY: u32 = 100;

/// Takes what is next for a target.
async fn take(state: &State, target: &str, now: i64, until: i64) -> Option<TakenNotification> {
    match state.take_notification(target, MANY, now, until).await {
        Ok(NextNotification::One(taken)) => Some(*taken),
        Ok(NextNotification::None) => None,
        other => panic!("{other:?}"),
    }
}

/// What a notification says.
fn what(taken: &TakenNotification) -> &str {
    &taken.notice.as_ref().unwrap().what
}

/// A notification of a run.
fn of_run(run: &str, quiet: i64) -> [Notification; 1] {
    let mut one = notification("a", "it broke", "x");
    one.notice.run = Some(run.to_owned());
    one.quiet = quiet;
    [one]
}

async fn rows(state: &State) -> Vec<NotificationRow> {
    let mut rows = state.notifications(100).await.unwrap();
    rows.reverse();
    rows
}

async fn what_happens_again_and_again_is_told_once_with_how_often(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    for (state, at) in [(&one, 1_000), (&other, 2_000)] {
        let both = [
            notification("a", &format!("again at {at}"), "x"),
            notification("b", &format!("again at {at}"), "x"),
        ];
        state.notify(&both, at).await.unwrap();
        // Two processes see the same.
        other.notify(&both, at).await.unwrap();
    }
    // Another cause, another target and another job are other things.
    let mut elsewhere = notification("a", "again", "x");
    elsewhere.notice.job = "audit".to_owned();
    let more = [notification("a", "other", "y"), elsewhere];
    one.notify(&more, 3_000).await.unwrap();
    let all = rows(&one).await;
    let counts: Vec<(&str, &str, i64)> = all
        .iter()
        .map(|row| (&*row.target, &*row.job, row.count))
        .collect();
    assert_eq!(counts.len(), 4, "{all:?}");
    assert!(counts.contains(&("a", "sync", 2)), "{all:?}");
    assert!(counts.contains(&("b", "sync", 2)), "{all:?}");
    assert!(counts.contains(&("a", "audit", 1)), "{all:?}");
    assert_eq!(one.targets_due(3_000).await.unwrap(), ["a", "b"]);

    // Several at the same time.
    let at_once = futures_util::future::join_all((0..8).map(|number| {
        let state = if number % 2 == 0 { &one } else { &other };
        async move {
            let again = [notification("c", &format!("number {number}"), "z")];
            state.notify(&again, 4_000).await.unwrap();
        }
    }));
    at_once.await;
    let all = rows(&one).await;
    let of_c: Vec<i64> = all
        .iter()
        .filter(|row| row.target == "c")
        .map(|row| row.count)
        .collect();
    assert_eq!(of_c, [8]);
}

async fn one_that_was_tried_is_told_as_it_was_and_counts_what_comes_after(place: Place) {
    let state = place.open().await;
    let again = |what: &str| [notification("a", what, "x")];
    state.notify(&again("first"), 0).await.unwrap();
    state.notify(&again("second"), 1).await.unwrap();
    let taken = take(&state, "a", 2, 100).await.unwrap();
    assert_eq!((taken.occurrences, what(&taken)), (2, "second"));
    // While it is under way, and when it got through a while ago.
    state.notify(&again("third"), 3).await.unwrap();
    state.notification_failed(&taken, "no", 4).await.unwrap();
    let taken = take(&state, "a", 5, 100).await.unwrap();
    assert_eq!((taken.occurrences, what(&taken)), (2, "second"));
    assert_eq!(taken.attempts, 2);
    state.notification_sent(&taken, 6).await.unwrap();
    state.notify(&again("fourth"), HOUR - 1).await.unwrap();
    assert_eq!(state.targets_due(HOUR).await.unwrap(), Vec::<String>::new());
    assert_eq!(rows(&state).await[0].repeats, 2);
    // When the quiet is over, the next one tells of those, too.
    state.notify(&again("fifth"), HOUR + 6).await.unwrap();
    let next = take(&state, "a", HOUR + 7, HOUR + 100).await.unwrap();
    assert_eq!((next.occurrences, what(&next)), (3, "fifth"));
    assert_ne!(next.id, taken.id);
}

async fn a_run_is_told_of_once_and_what_was_given_up_is_told_again(place: Place) {
    let state = place.open().await;
    state.notify(&of_run("1", 10), 0).await.unwrap();
    let taken = take(&state, "a", 1, 100).await.unwrap();
    state.notification_sent(&taken, 2).await.unwrap();
    // It died once, however often somebody sees that.
    state.notify(&of_run("1", 10), 1_000).await.unwrap();
    assert_eq!(rows(&state).await.len(), 1);
    state.notify(&of_run("2", 10), 2_000).await.unwrap();
    state.notify(&of_run("3", 10), 3_000).await.unwrap();
    let given_up = state.give_up_overdue(None, 25 * HOUR).await.unwrap();
    assert_eq!((given_up.len(), given_up[0].attempts), (1, 0));
    // Of those nobody was told: not even quiet keeps them.
    let at = 25 * HOUR + 1;
    state.notify(&of_run("4", HOUR), at).await.unwrap();
    let taken = take(&state, "a", at, at + 9).await.unwrap();
    assert_eq!(taken.occurrences, 3);
}

async fn quiet_begins_when_it_was_told(place: Place) {
    let state = place.open().await;
    state.notify(&of_run("1", HOUR), 0).await.unwrap();
    // It got through after two hours.
    let taken = take(&state, "a", 2 * HOUR, 2 * HOUR + 9).await.unwrap();
    state.notification_sent(&taken, 2 * HOUR).await.unwrap();
    state
        .notify(&of_run("2", HOUR), 3 * HOUR - 1)
        .await
        .unwrap();
    assert_eq!(rows(&state).await.len(), 1);
    state.notify(&of_run("3", HOUR), 3 * HOUR).await.unwrap();
    let taken = take(&state, "a", 3 * HOUR, 4 * HOUR).await.unwrap();
    assert_eq!(taken.occurrences, 2);
}

async fn a_notification_is_taken_by_one_and_comes_back_when_that_one_dies(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let first = notification("a", "first", "x");
    let second = notification("a", "second", "y");
    one.notify(&[first], 0).await.unwrap();
    one.notify(&[second], 1).await.unwrap();
    let taken = take(&one, "a", 10, 20).await.unwrap();
    assert_eq!(what(&taken), "first");
    let next = take(&other, "a", 10, 20).await.unwrap();
    assert_eq!(what(&next), "second");
    assert_eq!(take(&other, "a", 19, 30).await, None);
    assert_eq!(other.targets_due(19).await.unwrap(), Vec::<String>::new());
    let back = take(&other, "a", 20, 30).await.unwrap();
    assert_eq!((&*back.id, back.attempts), (&*taken.id, 2));
    // What the first one says later changes nothing, before and after the other one is done.
    one.notification_failed(&taken, "late", 25).await.unwrap();
    one.target_failed(&taken, "late", 25).await.unwrap();
    assert_eq!(rows(&one).await[0].error, None);
    assert_eq!(
        take(&one, "a", 26, 30).await.map(|next| next.id),
        Some(next.id)
    );
    other.notification_sent(&back, 27).await.unwrap();
    one.notification_failed(&taken, "late", 28).await.unwrap();
    assert_eq!(rows(&one).await[0].state, "sent");
}

async fn a_target_that_fails_is_left_alone_with_all_that_waits_for_it(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    for (number, cause) in ["x", "y"].into_iter().enumerate() {
        let first = notification("a", cause, cause);
        let at = i64::try_from(number).unwrap();
        one.notify(&[first, notification("b", cause, cause)], at)
            .await
            .unwrap();
    }
    let taken = take(&one, "a", 10, 100).await.unwrap();
    assert_eq!(taken.failures, 0);
    one.target_failed(&taken, "too fast", 60).await.unwrap();
    // What is written later waits, too, and nobody else asks; other targets do not wait.
    let later = notification("a", "z", "z");
    one.notify(&[later], 11).await.unwrap();
    assert_eq!(other.targets_due(59).await.unwrap(), ["b"]);
    assert_eq!(take(&other, "a", 59, 100).await, None);
    assert!(take(&other, "b", 59, 100).await.is_some());
    let shown: Vec<_> = rows(&one).await;
    let of_a = shown.iter().filter(|row| row.target == "a");
    assert!(of_a.clone().all(|row| row.due_at == Some(60)), "{shown:?}");
    assert_eq!(of_a.count(), 3);
    // The one that failed comes after those that nobody has tried; the failures of the target are counted over all of them.
    let next = take(&other, "a", 60, 100).await.unwrap();
    assert_eq!((what(&next), next.failures), ("y", 1));
    other.target_failed(&next, "still", 70).await.unwrap();
    // Who was asked to wait for less does not make others ask sooner.
    one.target_failed(&next, "sooner", 65).await.unwrap();
    assert_eq!(take(&one, "a", 69, 100).await, None);
    let next = take(&one, "a", 70, 100).await.unwrap();
    assert_eq!((what(&next), next.failures), ("z", 3));
    one.notification_sent(&next, 71).await.unwrap();
    assert_eq!(take(&one, "a", 72, 100).await.unwrap().failures, 0);
}

async fn a_target_is_asked_as_often_as_it_may_be_by_all_together(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    for number in 0..8 {
        let mut of_job = notification("a", "it broke", "x");
        of_job.notice.job = format!("job {number}");
        one.notify(&[of_job], number).await.unwrap();
    }
    let at_once = futures_util::future::join_all((0..8).map(|number| {
        let state = if number % 2 == 0 { &one } else { &other };
        async move { state.take_notification("a", 3, 1_000, 2_000).await.unwrap() }
    }));
    let all = at_once.await;
    let taken: Vec<_> = all
        .iter()
        .filter_map(|next| match next {
            NextNotification::One(taken) => Some(taken),
            NextNotification::None | NextNotification::Enough => None,
        })
        .collect();
    assert_eq!(taken.len(), 3);
    assert!(all.contains(&NextNotification::Enough));
    // Where nothing waits, nothing waits for its hour.
    let alone = notification("b", "it broke", "x");
    one.notify(&[alone], 1_000).await.unwrap();
    let next = one.take_notification("b", 1, 1_000, 2_000).await.unwrap();
    let NextNotification::One(alone) = next else {
        panic!("{next:?}");
    };
    one.notification_sent(&alone, 1_000).await.unwrap();
    let next = one.take_notification("b", 1, 1_000, 2_000).await.unwrap();
    assert_eq!(next, NextNotification::None);
    // Attempts that failed count as well.
    one.notification_failed(taken[0], "no", 1_100)
        .await
        .unwrap();
    let late = HOUR + 999;
    let next = other.take_notification("a", 3, late, late + 9).await;
    assert_eq!(next.unwrap(), NextNotification::None);
    assert_eq!(other.targets_due(late).await.unwrap(), Vec::<String>::new());
    assert!(take(&other, "a", late + 1, late + 9).await.is_some());
}

async fn what_the_target_does_not_take_or_nobody_can_read_holds_up_nothing_else(place: Place) {
    let state = place.open().await;
    for cause in ["x", "y", "z"] {
        let one = notification("a", cause, cause);
        state.notify(&[one], 0).await.unwrap();
    }
    let refused = take(&state, "a", 1, 100).await.unwrap();
    state
        .notification_failed(&refused, "it answered 422", 1_000)
        .await
        .unwrap();
    // A newer version wrote it.
    sqlx::query(
        "UPDATE notifications SET notice = '{\"event\":\"from-the-future\"}' WHERE id = $1",
    )
    .bind(&rows(&state).await[1].id)
    .execute(state.pool())
    .await
    .unwrap();
    let mut read = Vec::new();
    while let Some(taken) = take(&state, "a", 2, 100).await {
        match &taken.notice {
            Ok(notice) => read.push(notice.what.clone()),
            Err(why) => assert!(why.contains("from-the-future"), "{why}"),
        }
    }
    assert_eq!(read.len(), 1);
    assert_ne!(read[0], what(&refused));
    assert_eq!(take(&state, "a", 1_000, 1_100).await.unwrap().attempts, 2);
}

async fn what_was_not_told_in_time_is_given_up_whoever_looks(place: Place) {
    let state = place.open().await;
    for (target, cause, at) in [
        ("a", "x", 0),
        ("a", "y", 9),
        ("b", "x", 0),
        ("held", "x", 0),
        ("dead", "x", 0),
    ] {
        let one = notification(target, "old", cause);
        state.notify(&[one], at).await.unwrap();
    }
    // An earlier version wrote this one.
    sqlx::query("UPDATE notifications SET give_up_at = NULL WHERE target = 'b'")
        .execute(state.pool())
        .await
        .unwrap();
    let now = 24 * HOUR;
    let sent_to = take(&state, "held", now - 10, now + 10).await.unwrap();
    state
        .target_failed(&sent_to, "it answered 500", now)
        .await
        .unwrap();
    assert!(take(&state, "held", now, now + 10).await.is_some());
    // Whoever took this one was killed.
    assert!(take(&state, "dead", now - 20, now - 10).await.is_some());
    assert_eq!(state.give_up_overdue(None, now - 1).await.unwrap(), []);
    let of_a = state.give_up_overdue(Some("a"), now).await.unwrap();
    let targets = |given_up: &[GivenUp]| -> Vec<String> {
        let mut targets: Vec<String> = given_up.iter().map(|one| one.target.clone()).collect();
        targets.sort();
        targets
    };
    assert_eq!(targets(&of_a), ["a"]);
    assert_eq!(of_a[0].why, "nobody tried it in time");
    let all = state.give_up_overdue(None, now).await.unwrap();
    assert_eq!(targets(&all), ["b", "dead"]);
    let last = state.give_up_overdue(None, now + 10).await.unwrap();
    assert_eq!(targets(&last), ["a", "held"]);
    assert!(
        last.iter()
            .any(|one| one.why == "it answered 500" && one.attempts == 2),
        "{last:?}"
    );
    assert_eq!(state.give_up_overdue(None, 9_000 * HOUR).await.unwrap(), []);
}

async fn a_clock_that_was_set_back_keeps_nothing_waiting(place: Place) {
    let state = place.open().await;
    let (year, now) = (365 * 24 * HOUR, 10 * HOUR);
    // Everything that has a moment has it in a year.
    state.notify(&of_run("1", HOUR), year).await.unwrap();
    let taken = take(&state, "a", year, year + 60_000).await.unwrap();
    state
        .target_failed(&taken, "no", year + 1_000)
        .await
        .unwrap();
    assert!(
        take(&state, "a", year + 1_000, year + 60_000)
            .await
            .is_some()
    );
    assert_eq!(state.targets_due(now).await.unwrap(), ["a"]);
    let one = state
        .take_notification("a", 1, now, now + 60_000)
        .await
        .unwrap();
    let NextNotification::One(taken) = one else {
        panic!("{one:?}");
    };
    // It got through, by the clock that was wrong.
    state.notification_sent(&taken, year).await.unwrap();
    state.notify(&of_run("2", HOUR), now).await.unwrap();
    assert_eq!(rows(&state).await.len(), 2);
}

fn run(job: &str, at: i64) -> NewRun {
    NewRun {
        id: RunId::new(),
        claim: None,
        job: job.to_owned(),
        kind: "test".to_owned(),
        trigger: "operator".to_owned(),
        tick: None,
        dry_run: false,
        asked: Asked::default(),
        plan: None,
        at,
        trace_id: None,
    }
}

async fn end(
    state: &State,
    key: RunKey,
    notifications: &[Notification],
) -> Result<(), crate::engine::JournalError> {
    let end = RunEnd {
        status: RunStatus::Failed,
        exit: 1,
        summary: Summary::default(),
        findings: &[],
        looked: false,
        unjudged: None,
        refusals: &[],
        accounts: Vec::new(),
        ledger: &[],
        error: Some("it broke"),
        again: false,
        notifications,
        plan: None,
        at: 9_000,
    };
    state.end_run(key, end).await
}

async fn a_run_ends_with_what_is_told_of_it_or_not_at_all(place: Place) {
    let state = place.open().await;
    let begun = state.begin_run(&run("sync", 1_000)).await.unwrap();
    let told = [notification("a", "it broke", "x")];
    // Somebody else has taken the run over.
    let late = RunKey {
        fence: begun.key.fence - 1,
        ..begun.key
    };
    end(&state, late, &told).await.unwrap_err();
    assert_eq!(rows(&state).await, []);
    end(&state, begun.key, &told).await.unwrap();
    let all = rows(&state).await;
    assert_eq!((all.len(), all[0].created_at), (1, 9_000));
}

async fn a_job_whose_runs_die_again_and_again_is_known(place: Place) {
    let state = place.open().await;
    let mut last = RunId::new();
    for number in 0..4 {
        assert_eq!(
            state.dying_jobs(0).await.unwrap(),
            BTreeMap::new(),
            "{number}"
        );
        // Dropped without an end; the next one finds it dead.
        let begun = state.begin_run(&run("sync", 1_000 + number)).await.unwrap();
        if number < 3 {
            last = begun.key.id;
        }
    }
    let known = BTreeMap::from([("sync".to_owned(), last.to_string())]);
    assert_eq!(state.dying_jobs(0).await.unwrap(), known);
    assert_eq!(state.dying_jobs(5_000).await.unwrap(), BTreeMap::new());
    // One that ends, however, begins anew.
    let begun = state.begin_run(&run("sync", 2_000)).await.unwrap();
    end(&state, begun.key, &[]).await.unwrap();
    assert_eq!(state.dying_jobs(0).await.unwrap(), BTreeMap::new());
}
