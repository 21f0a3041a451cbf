//! Writing down what targets are to be told, with what it is about.
//!
//! Of one event of a job with one cause, a target has one row that is the newest. What happens while that waits, or was told a while ago
//! only, is counted in it; what is seen once more is not. A row that was given up has told nobody: what happens then is told.

use onboarding_core::notify::Notification;
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::SKEW;
use crate::engine::RunId;

/// Writes down what targets are to be told, at a moment in Unix milliseconds.
pub(in crate::state) async fn note(
    tx: &mut Transaction<'static, Any>,
    all: &[Notification],
    now: i64,
) -> Result<(), sqlx::Error> {
    for notification in all {
        note_one(tx, notification, now).await?;
    }
    Ok(())
}

/// The newest row of a cause.
struct Newest {
    id: String,
    state: String,
    attempts: i64,
    occurrences: i64,
    repeats: i64,
    ended_at: i64,
    latest: Option<String>,
}

/// What becomes of something that happened.
#[derive(Debug, PartialEq, Eq)]
enum Becomes {
    /// Nothing: it was seen before.
    Known,
    /// The row, which nobody has tried yet, tells of it.
    Told,
    /// The row counts it, for the next one to tell.
    Counted,
    /// Another row tells of it, with so many that were not told yet.
    Anew(i64),
}

async fn note_one(
    tx: &mut Transaction<'static, Any>,
    notification: &Notification,
    now: i64,
) -> Result<(), sqlx::Error> {
    let notice = &notification.notice;
    let document =
        serde_json::to_string(notice).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let occurrence = notice.occurrence();
    let mut before = 0;
    if let Some(newest) = lock_newest(tx, notification).await? {
        match becomes(&newest, notification, &occurrence, now) {
            Becomes::Known => return Ok(()),
            Becomes::Told => {
                return sqlx::query(
                    "UPDATE notifications SET occurrences = occurrences + 1, notice = $2, latest = $3 WHERE id = $1",
                )
                .bind(newest.id)
                .bind(document)
                .bind(occurrence)
                .execute(&mut **tx)
                .await
                .map(drop);
            }
            Becomes::Counted => {
                return sqlx::query(
                    "UPDATE notifications SET repeats = repeats + 1, latest = $2 WHERE id = $1",
                )
                .bind(newest.id)
                .bind(occurrence)
                .execute(&mut **tx)
                .await
                .map(drop);
            }
            Becomes::Anew(untold) => {
                sqlx::query("UPDATE notifications SET newest = NULL WHERE id = $1")
                    .bind(newest.id)
                    .execute(&mut **tx)
                    .await?;
                before = untold;
            }
        }
    }
    // Another process may have been first.
    sqlx::query(
        "INSERT INTO notifications (id, target, event, job, cause, notice, occurrences, repeats, state, created_at, due_at, \
         attempts, newest, latest, give_up_at) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 'waiting', $8, $8, 0, 1, $9, $10) \
         ON CONFLICT (target, event, job, cause, newest) DO UPDATE SET \
         occurrences = notifications.occurrences + CASE WHEN notifications.attempts = 0 AND notifications.latest <> excluded.latest \
         THEN 1 ELSE 0 END, \
         repeats = notifications.repeats + CASE WHEN notifications.attempts > 0 AND notifications.latest <> excluded.latest \
         THEN 1 ELSE 0 END, latest = excluded.latest",
    )
    .bind(RunId::new().to_string())
    .bind(&notification.target)
    .bind(notice.event.code())
    .bind(&notice.job)
    .bind(&notice.cause)
    .bind(document)
    .bind(before.saturating_add(1))
    .bind(now)
    .bind(occurrence)
    .bind(now.saturating_add(notification.give_up_after))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Locks the newest row of the cause, and reads it.
async fn lock_newest(
    tx: &mut Transaction<'static, Any>,
    Notification { target, notice, .. }: &Notification,
) -> Result<Option<Newest>, sqlx::Error> {
    let row = sqlx::query(
        "UPDATE notifications SET newest = 1 WHERE target = $1 AND event = $2 AND job = $3 AND cause = $4 AND newest = 1 RETURNING *",
    )
    .bind(target)
    .bind(notice.event.code())
    .bind(&notice.job)
    .bind(&notice.cause)
    .fetch_optional(&mut **tx)
    .await?;
    row.as_ref().map(newest).transpose()
}

fn newest(row: &AnyRow) -> Result<Newest, sqlx::Error> {
    let ended_at: Option<i64> = row.try_get("ended_at")?;
    Ok(Newest {
        id: row.try_get("id")?,
        state: row.try_get("state")?,
        attempts: row.try_get("attempts")?,
        occurrences: row.try_get("occurrences")?,
        repeats: row.try_get("repeats")?,
        ended_at: ended_at.unwrap_or_default(),
        latest: row.try_get("latest")?,
    })
}

fn becomes(newest: &Newest, notification: &Notification, occurrence: &str, now: i64) -> Becomes {
    let is_known = newest.latest.as_deref() == Some(occurrence);
    // Of a run, nobody is told twice; what is wrong for long is told again when it is quiet.
    let is_of_run = notification.notice.run.is_some();
    let quiet_since = now.saturating_sub(notification.quiet);
    let is_quiet = newest.ended_at > quiet_since && newest.ended_at <= now.saturating_add(SKEW);
    match newest.state.as_str() {
        "given-up" => {
            let untold = newest.occurrences.saturating_add(newest.repeats);
            Becomes::Anew(untold.saturating_sub(i64::from(is_known)))
        }
        "waiting" if is_known => Becomes::Known,
        "waiting" if newest.attempts == 0 => Becomes::Told,
        "waiting" => Becomes::Counted,
        _ if is_known && (is_quiet || is_of_run) => Becomes::Known,
        _ if is_quiet => Becomes::Counted,
        _ => Becomes::Anew(newest.repeats),
    }
}

#[cfg(test)]
mod tests {
    use onboarding_core::notify::{Event, Notice};

    use super::*;

    const QUIET: i64 = 3_600_000;
    const NOW: i64 = 100 * QUIET;

    fn is(state: &str, attempts: i64, ended_at: i64, run: Option<&str>) -> Becomes {
        let newest = Newest {
            id: "1".to_owned(),
            state: state.to_owned(),
            attempts,
            occurrences: 4,
            repeats: 2,
            ended_at,
            latest: Some("seen".to_owned()),
        };
        let notification = Notification {
            target: "a".to_owned(),
            notice: Notice {
                run: run.map(str::to_owned),
                ..Notice::new(Event::RunFailed, "sync", 0, String::new(), "")
            },
            quiet: QUIET,
            give_up_after: QUIET,
        };
        let occurrence = run.unwrap_or("seen");
        becomes(&newest, &notification, occurrence, NOW)
    }

    #[test]
    fn what_happens_is_told_once_and_counted_and_what_was_not_told_is_told() {
        let (new, seen, still) = (Some("other"), Some("seen"), None);
        let (just_now, long_ago) = (NOW - 1, NOW - QUIET);
        for (state, attempts, ended_at, run, wanted) in [
            ("waiting", 0, 0, new, Becomes::Told),
            ("waiting", 0, 0, seen, Becomes::Known),
            ("waiting", 1, 0, new, Becomes::Counted),
            ("waiting", 1, 0, seen, Becomes::Known),
            ("sent", 1, just_now, new, Becomes::Counted),
            ("sent", 1, just_now, seen, Becomes::Known),
            ("sent", 1, just_now, still, Becomes::Known),
            ("sent", 1, long_ago, new, Becomes::Anew(2)),
            // The same run is not told of twice; a file that is still wrong is.
            ("sent", 1, long_ago, seen, Becomes::Known),
            ("sent", 1, long_ago, still, Becomes::Anew(2)),
            // A clock was set back: it is not quiet for a year.
            ("sent", 1, NOW + SKEW, new, Becomes::Counted),
            ("sent", 1, NOW + SKEW + 1, new, Becomes::Anew(2)),
            ("given-up", 9, just_now, new, Becomes::Anew(6)),
            ("given-up", 9, long_ago, seen, Becomes::Anew(5)),
            ("given-up", 0, just_now, still, Becomes::Anew(5)),
        ] {
            let case = format!("{state} {attempts} {ended_at} {run:?}");
            assert_eq!(is(state, attempts, ended_at, run), wanted, "{case}");
        }
    }
}
