//! What an earlier version has written is read after its tables were brought up to date.

use std::collections::BTreeMap;

use onboarding_provider::{Intents as _, SentCall};
use sqlx::{AnyPool, migrate::Migrator};

use super::{MIGRATIONS, Place, State, on_both};
use crate::engine::Journal as _;

on_both! {
    what_a_state_of_the_seventeenth_migration_has_is_there_afterwards,
}

const STACK: &str = "arn:aws:cloudformation:eu-west-1:000000000001:stack/s/uuid";

/// As that version wrote it: a run that is done, one whose process died in the middle of a step, and the creation of a Spot account whose
/// outcome nobody knows.
const WRITTEN: &str = "\
    INSERT INTO runs (id, job, kind, woken_by, dry_run, state, started_at, ended_at, exit_code, summary, fence) VALUES \
    ('01890000-0000-7000-8000-000000000001', 'sync', 'stackset-sync', 'operator', 0, 'done', 100, 200, 0, \
    '{\"targeted\":1,\"ok\":1,\"changed\":1,\"unchanged\":0,\"planned\":0,\"pending\":0,\"failed\":0,\"skipped\":0}', 1); \
    INSERT INTO runs (id, job, kind, woken_by, dry_run, state, started_at, lease_owner, fence) VALUES \
    ('01890000-0000-7000-8000-000000000002', 'sync', 'stackset-sync', 'operator', 0, 'running', 300, 'process 7', 1); \
    INSERT INTO steps (run_id, step_id, position, action, reason, risk, accounts, payload, state, memo, started_at) VALUES \
    ('01890000-0000-7000-8000-000000000002', 'create:1', 0, 'create', 'it is due', 'low', '[\"000000000001\"]', '{}', 'running', \
    '{\"operation\":\"o-1\"}', 310); \
    INSERT INTO attempts (run_id, step_id, attempt, started_at) VALUES ('01890000-0000-7000-8000-000000000002', 'create:1', 1, 310); \
    INSERT INTO intents (account, assigned, assigned_at, sent) VALUES ('000000000001', 'act-1234abcd', 50, \
    '{\"call\":{\"create\":{\"name\":\"000000000001\",\"stack\":\"STACK\"}},\"send_by\":\"2026-01-01T00:00:00Z\",\"look_after\":\"2026-01-01T00:02:00Z\"}'); \
    INSERT INTO findings (job, id, first_seen, last_seen, run_id) VALUES ('sync', 'misnamed:000000000001', 5, 6, \
    '01890000-0000-7000-8000-000000000001'); \
    INSERT INTO tombstones (spot_account, account, stack_id, reason, left_at) VALUES \
    ('act-5678efab', '000000000001', 'STACK', 'reconcile', 60)";

async fn what_a_state_of_the_seventeenth_migration_has_is_there_afterwards(place: Place) {
    // The first to open a state installs sqlx's drivers for the whole process.
    State::open("").await.unwrap_err();
    let url = match &place {
        Place::File(_) => format!("{}?mode=rwc", place.url()),
        Place::Server(_) => place.url(),
    };
    let then = MIGRATIONS
        .iter()
        .filter(|migration| migration.version <= 17);
    let then = Migrator::with_migrations(then.cloned().collect());
    let pool = AnyPool::connect(&url).await.unwrap();
    then.run(&pool).await.unwrap();
    let written = sqlx::AssertSqlSafe(WRITTEN.replace("STACK", STACK));
    sqlx::raw_sql(written).execute(&pool).await.unwrap();
    pool.close().await;

    let state = place.open().await;
    let runs = state.list_runs(None, 10).await.unwrap();
    let states: Vec<&str> = runs.iter().map(|run| run.state.as_str()).collect();
    assert_eq!(states, ["running", "done"]);
    assert_eq!(
        runs[1].summary.as_ref().map(|summary| summary.changed),
        Some(1)
    );
    let shown = state.show_run(&runs[0].id).await.unwrap();
    let [step] = &shown.steps[..] else {
        panic!("{shown:?}")
    };
    assert_eq!((step.id.as_str(), step.attempts.len()), ("create:1", 1));
    let ends = state.figures().await.unwrap().jobs["sync"].ends.clone();
    assert_eq!((ends.ended_at, ends.exit_code), (Some(200), Some(0)));
    let account = "000000000001".parse().unwrap();
    let intent = state.database().intent(account).await.unwrap();
    assert_eq!(intent.assigned, Some("act-1234abcd".parse().unwrap()));
    let call = intent.sent.unwrap().call;
    assert!(matches!(call, SentCall::Create { name, .. } if name == "000000000001"));
    assert_eq!(state.tombstones().await.unwrap().len(), 1);
    let known = state.known_findings("sync").await.unwrap();
    let known = &known["misnamed:000000000001"].finding;
    assert_eq!((&*known.reason, known.account), ("misnamed", Some(account)));
    assert_eq!((known.first_seen, known.last_seen), (Some(5), Some(6)));
    // The next run of the job takes up what that one had begun.
    let run = super::requests::new_run("sync");
    let begun = state.begin_run(&run).await.unwrap();
    assert_eq!(begun.interrupted.len(), 1);
    let memo = serde_json::json!({ "operation": "o-1" });
    assert_eq!(begun.memos, BTreeMap::from([("create:1".to_owned(), memo)]));
}
