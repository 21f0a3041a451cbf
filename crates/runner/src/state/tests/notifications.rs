//! What is to be told, on both databases: once, counted, held by one, and kept until it got through.

use std::collections::BTreeMap;

use onboarding_core::{
    notify::{Event, Notice, Notification},
    plan::Summary,
};

use super::{Place, on_both};
use crate::{
    engine::{Asked, Journal as _, NewRun, RunEnd, RunId, RunKey, RunStatus},
    state::{NotificationRow, State},
};

on_both! {
    what_happens_again_and_again_is_told_once_with_how_often,
    one_that_was_tried_is_told_as_it_was_and_counts_what_comes_after,
    a_notification_is_taken_by_one_and_comes_back_when_that_one_dies,
    what_waits_is_put_off_and_given_up,
    a_run_ends_with_what_is_told_of_it_or_not_at_all,
    a_job_whose_runs_die_again_and_again_is_known,
}

const HOUR: i64 = 3_600_000;

fn notification(target: &str, what: &str, cause: &str) -> Notification {
    Notification {
        target: target.to_owned(),
        notice: Notice::new(Event::RunFailed, "sync", 0, what.to_owned(), cause),
        quiet: HOUR,
    }
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
            notification("a", "again", "x"),
            notification("b", "again", "x"),
        ];
        state.notify(&both, at).await.unwrap();
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
    assert_eq!(one.targets_due(3_000).await.unwrap().len(), 2);

    // Several at the same time.
    let at_once = futures_util::future::join_all((0..8).map(|number| {
        let state = if number % 2 == 0 { &one } else { &other };
        async move {
            let again = [notification("c", "at once", "z")];
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
    let taken = state.take_notification("a", 2, 100).await.unwrap().unwrap();
    assert_eq!((taken.occurrences, &*taken.notice.what), (2, "second"));
    // While it is under way, and when it got through a while ago.
    state.notify(&again("third"), 3).await.unwrap();
    state.notification_failed(&taken.id, "no", 4).await.unwrap();
    let taken = state.take_notification("a", 5, 100).await.unwrap().unwrap();
    assert_eq!((taken.occurrences, &*taken.notice.what), (2, "second"));
    assert_eq!(taken.attempts, 2);
    state.notification_sent(&taken.id, 6).await.unwrap();
    state.notify(&again("fourth"), HOUR - 1).await.unwrap();
    assert_eq!(state.targets_due(HOUR).await.unwrap(), Vec::<String>::new());
    assert_eq!(rows(&state).await[0].repeats, 2);
    // When the quiet is over, the next one tells of those, too.
    state.notify(&again("fifth"), HOUR + 1).await.unwrap();
    let next = state
        .take_notification("a", HOUR + 2, HOUR + 100)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((next.occurrences, &*next.notice.what), (3, "fifth"));
    assert_ne!(next.id, taken.id);
    assert_eq!(state.told_since("a", 5).await.unwrap(), [6]);
}

async fn a_notification_is_taken_by_one_and_comes_back_when_that_one_dies(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let first = notification("a", "first", "x");
    let second = notification("a", "second", "y");
    one.notify(&[first], 0).await.unwrap();
    one.notify(&[second], 1).await.unwrap();
    let taken = one.take_notification("a", 10, 20).await.unwrap().unwrap();
    assert_eq!(taken.notice.what, "first");
    let next = other.take_notification("a", 10, 20).await.unwrap().unwrap();
    assert_eq!(next.notice.what, "second");
    assert_eq!(other.take_notification("a", 19, 30).await.unwrap(), None);
    assert_eq!(other.targets_due(19).await.unwrap(), Vec::<String>::new());
    let back = other.take_notification("a", 20, 30).await.unwrap().unwrap();
    assert_eq!((&*back.id, back.attempts), (&*taken.id, 2));
    other.notification_sent(&back.id, 21).await.unwrap();
    // What the first one says later changes nothing.
    one.notification_failed(&taken.id, "late", 22)
        .await
        .unwrap();
    assert_eq!(rows(&one).await[0].state, "sent");
}

async fn what_waits_is_put_off_and_given_up(place: Place) {
    let state = place.open().await;
    state
        .notify(&[notification("a", "old", "x")], 10)
        .await
        .unwrap();
    state
        .notify(&[notification("a", "new", "y")], 50)
        .await
        .unwrap();
    let given_up = state.put_off("a", 100, (20, "too many"), 60).await.unwrap();
    assert_eq!(given_up, 1);
    assert_eq!(state.take_notification("a", 99, 200).await.unwrap(), None);
    let taken = state
        .take_notification("a", 100, 200)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(taken.notice.what, "new");
    state
        .notification_given_up(&taken.id, "never", 101)
        .await
        .unwrap();
    let all: BTreeMap<String, Option<String>> = rows(&state)
        .await
        .into_iter()
        .map(|row| (row.state + " " + &row.attempts.to_string(), row.error))
        .collect();
    let wanted = [("given-up 0", "too many"), ("given-up 1", "never")];
    let wanted = wanted.map(|(state, why)| (state.to_owned(), Some(why.to_owned())));
    assert_eq!(all, BTreeMap::from(wanted));
    assert_eq!(state.told_since("a", 0).await.unwrap(), Vec::<i64>::new());
}

fn run(job: &str, at: i64) -> NewRun {
    NewRun {
        id: RunId::new(),
        claim: None,
        job: job.to_owned(),
        kind: "test",
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
        refusals: &[],
        accounts: Vec::new(),
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
