//! Versions of the policies, and their rollouts.
//!
//! A rollout is one document, and each change of it takes the revision that was read: of two who change it at the same time,
//! one is refused.

use std::collections::BTreeMap;

use onboarding_core::{
    policy_rollout::{Phase, Rollout},
    template::{PinnedVersions, PolicyVersion},
};
use serde_json::Value;
use sqlx::{Any, Row as _, Transaction, any::AnyRow};

use super::{State, StateError};

/// A version of the policies in the state.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct VersionRow {
    /// The profile.
    pub profile: String,
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: String,
    /// When it was noted, in Unix seconds.
    pub noted_at: i64,
    /// When it was rolled back, in Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected_at: Option<i64>,
    /// Whether it is the last good one.
    pub good: bool,
    /// Its documents.
    #[serde(skip)]
    pub policies: Value,
}

impl VersionRow {
    /// The version itself.
    ///
    /// # Errors
    /// When its documents are not what this program writes.
    pub fn version(&self) -> Result<PolicyVersion, StateError> {
        PolicyVersion::from_value(&self.name, &self.policies)
            .map_err(StateError::value("a version of the policies"))
    }
}

/// A rollout in the state.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RolloutRow {
    /// The rollout.
    #[serde(flatten)]
    pub rollout: Rollout,
    /// How often it was changed.
    pub revision: i64,
    /// When it was changed last, in Unix seconds.
    pub changed_at: i64,
    /// Who let it go on or turned it back last, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
}

const READING: &str = "reading rollouts";
const WRITING: &str = "writing a rollout";

impl State {
    /// The versions of a profile, the newest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn policy_versions(&self, profile: &str) -> Result<Vec<VersionRow>, StateError> {
        let failed = StateError::query("reading versions of policies");
        let rows = sqlx::query(
            "SELECT * FROM policy_versions WHERE profile = $1 ORDER BY noted_at DESC, name",
        )
        .bind(profile)
        .fetch_all(self.pool())
        .await
        .map_err(&failed)?;
        rows.iter().map(version_row).collect()
    }

    /// The last good version of each profile that has one, with the one that is staged beside it.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn pinned_versions(&self) -> Result<BTreeMap<String, PinnedVersions>, StateError> {
        let failed = StateError::query("reading versions of policies");
        let rows = sqlx::query("SELECT * FROM policy_versions WHERE good = 1")
            .fetch_all(self.pool())
            .await
            .map_err(&failed)?;
        let mut pinned = BTreeMap::new();
        for row in &rows {
            let row = version_row(row)?;
            let staged = self.open_rollout(&row.profile).await?;
            let staged = staged.filter(|open| open.rollout.phase.is_staged());
            let next = match staged {
                Some(open) => {
                    let versions = self.policy_versions(&row.profile).await?;
                    let next = versions.iter().find(|one| one.name == open.rollout.to);
                    next.map(VersionRow::version).transpose()?
                }
                None => None,
            };
            let current = row.version()?;
            pinned.insert(row.profile, PinnedVersions { current, next });
        }
        Ok(pinned)
    }

    /// Notes a version that a profile has deployed as the good one, unless it has a good one already. `now` is in Unix seconds.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn adopt_version(
        &self,
        profile: &str,
        version: &PolicyVersion,
        now: i64,
    ) -> Result<(), StateError> {
        let failed = StateError::query("noting a version of the policies");
        let mut tx = self.write().await.map_err(&failed)?;
        note(&mut tx, profile, version, now)
            .await
            .map_err(&failed)?;
        let good: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM policy_versions WHERE profile = $1 AND good = 1",
        )
        .bind(profile)
        .fetch_one(&mut *tx)
        .await
        .map_err(&failed)?;
        if good == 0 {
            make_good(&mut tx, profile, &version.name)
                .await
                .map_err(&failed)?;
        }
        tx.commit().await.map_err(failed)
    }

    /// The rollout of a profile that is not over.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn open_rollout(&self, profile: &str) -> Result<Option<RolloutRow>, StateError> {
        let failed = StateError::query(READING);
        let row = sqlx::query("SELECT * FROM rollouts WHERE profile = $1 AND open = 1")
            .bind(profile)
            .fetch_optional(self.pool())
            .await
            .map_err(&failed)?;
        row.as_ref().map(rollout_row).transpose()
    }

    /// The rollouts of a profile, the newest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn rollouts(&self, profile: &str) -> Result<Vec<RolloutRow>, StateError> {
        let failed = StateError::query(READING);
        let rows = sqlx::query(
            "SELECT * FROM rollouts WHERE profile = $1 ORDER BY opened_at DESC, id DESC",
        )
        .bind(profile)
        .fetch_all(self.pool())
        .await
        .map_err(&failed)?;
        rows.iter().map(rollout_row).collect()
    }

    /// Opens a rollout to a version, and notes the version. False when one of the profile is open already.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn begin_rollout(
        &self,
        rollout: &Rollout,
        version: &PolicyVersion,
    ) -> Result<bool, StateError> {
        let failed = StateError::query(WRITING);
        let document = written(rollout)?;
        let mut tx = self.write().await.map_err(&failed)?;
        note(&mut tx, &rollout.profile, version, rollout.opened_at)
            .await
            .map_err(&failed)?;
        let begun = sqlx::query(
            "INSERT INTO rollouts (id, profile, phase, document, revision, opened_at, changed_at, open) \
             VALUES ($1, $2, $3, $4, 1, $5, $5, 1) ON CONFLICT (profile, open) DO NOTHING",
        )
        .bind(&rollout.id)
        .bind(&rollout.profile)
        .bind(rollout.phase.code())
        .bind(document)
        .bind(rollout.opened_at)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(begun.rows_affected() > 0)
    }

    /// Writes a rollout down as it is now, with what follows from its phase: the next version is the good one as soon as it
    /// becomes everybody's, and rejected once it was rolled back. False when somebody else has changed it since it was read.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn keep_rollout(&self, row: &RolloutRow, now: i64) -> Result<bool, StateError> {
        let failed = StateError::query(WRITING);
        let rollout = &row.rollout;
        let document = written(rollout)?;
        let mut tx = self.write().await.map_err(&failed)?;
        let kept = sqlx::query(
            "UPDATE rollouts SET phase = $3, document = $4, revision = revision + 1, changed_at = $5, open = $6, decided_by = $7 \
             WHERE id = $1 AND revision = $2",
        )
        .bind(&rollout.id)
        .bind(row.revision)
        .bind(rollout.phase.code())
        .bind(document)
        .bind(now)
        .bind((!rollout.phase.is_over()).then_some(1_i64))
        .bind(row.decided_by.as_deref())
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        if kept.rows_affected() == 0 {
            return Ok(false);
        }
        match rollout.phase {
            Phase::Finishing => make_good(&mut tx, &rollout.profile, &rollout.to)
                .await
                .map_err(&failed)?,
            Phase::RolledBack => {
                reject(&mut tx, &rollout.profile, &rollout.to, Some(now))
                    .await
                    .map_err(&failed)?;
            }
            _ => {}
        }
        tx.commit().await.map_err(failed)?;
        Ok(true)
    }

    /// Lets the versions of a profile that were rolled back be tried again. Tells how many there were.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn allow_rejected(&self, profile: &str) -> Result<u64, StateError> {
        let failed = StateError::query("allowing a version again");
        let mut tx = self.write().await.map_err(&failed)?;
        let allowed = sqlx::query(
            "UPDATE policy_versions SET rejected_at = NULL WHERE profile = $1 AND rejected_at IS NOT NULL",
        )
        .bind(profile)
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(allowed.rows_affected())
    }
}

async fn note(
    tx: &mut Transaction<'static, Any>,
    profile: &str,
    version: &PolicyVersion,
    now: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO policy_versions (profile, name, digest, policies, noted_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (profile, name) DO UPDATE SET digest = excluded.digest, policies = excluded.policies, \
         noted_at = excluded.noted_at",
    )
    .bind(profile)
    .bind(&version.name)
    .bind(version.digest())
    .bind(version.policies_to_value().to_string())
    .bind(now)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn make_good(
    tx: &mut Transaction<'static, Any>,
    profile: &str,
    name: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE policy_versions SET good = NULL WHERE profile = $1 AND good = 1 AND name <> $2",
    )
    .bind(profile)
    .bind(name)
    .execute(&mut **tx)
    .await?;
    sqlx::query(
        "UPDATE policy_versions SET good = 1, rejected_at = NULL WHERE profile = $1 AND name = $2",
    )
    .bind(profile)
    .bind(name)
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn reject(
    tx: &mut Transaction<'static, Any>,
    profile: &str,
    name: &str,
    at: Option<i64>,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE policy_versions SET rejected_at = $3 WHERE profile = $1 AND name = $2")
        .bind(profile)
        .bind(name)
        .bind(at)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

fn written(rollout: &Rollout) -> Result<String, StateError> {
    serde_json::to_string(rollout).map_err(StateError::value("a rollout"))
}

fn version_row(row: &AnyRow) -> Result<VersionRow, StateError> {
    let failed = StateError::query("reading versions of policies");
    let policies: String = row.try_get("policies").map_err(&failed)?;
    let good: Option<i64> = row.try_get("good").map_err(&failed)?;
    Ok(VersionRow {
        profile: row.try_get("profile").map_err(&failed)?,
        name: row.try_get("name").map_err(&failed)?,
        digest: row.try_get("digest").map_err(&failed)?,
        noted_at: row.try_get("noted_at").map_err(&failed)?,
        rejected_at: row.try_get("rejected_at").map_err(&failed)?,
        good: good == Some(1),
        policies: serde_json::from_str(&policies)
            .map_err(StateError::value("a version of the policies"))?,
    })
}

fn rollout_row(row: &AnyRow) -> Result<RolloutRow, StateError> {
    let failed = StateError::query(READING);
    let document: String = row.try_get("document").map_err(&failed)?;
    Ok(RolloutRow {
        rollout: serde_json::from_str(&document).map_err(StateError::value("a rollout"))?,
        revision: row.try_get("revision").map_err(&failed)?,
        changed_at: row.try_get("changed_at").map_err(&failed)?,
        decided_by: row.try_get("decided_by").map_err(&failed)?,
    })
}
