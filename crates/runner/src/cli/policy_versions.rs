//! Versions of a profile's policies and their rollouts: what the state knows of them, and what a person decides.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use jiff::Timestamp;
use onboarding_core::{
    plan::AccountRow,
    policy_rollout::{Outcome, Phase, Sweep, WaveState},
};
use serde::Serialize;

use super::{Failure, Global, freeze::named, load, print, print_json, telemetry};
use crate::{
    config::{JobFile, Loaded},
    home::Home,
    jobs::stackset_sync::StackSetSync,
    report::{Output, table},
    state::{RolloutRow, State, VersionRow},
};

/// What a person decides about a rollout.
#[derive(Debug, clap::Args)]
pub struct Decision {
    /// The profile.
    profile: String,
    /// Who decides it. Without it, the user of this machine.
    #[arg(long = "as", value_name = "NAME")]
    by: Option<String>,
    /// Why, or on whose word.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
}

impl Decision {
    pub(super) async fn roll_back(self, global: &Global) -> Result<u8, Failure> {
        let (state, job) = self.open(global).await?;
        let Some(mut row) = state.open_rollout(&self.profile).await? else {
            return Err(Failure::Refused(format!(
                "no rollout of profile {:?} is under way; to go back to an earlier version, put its policy back into the files: it \
                 is rolled out like any other",
                self.profile
            )));
        };
        if !row.rollout.roll_back() {
            return Err(Failure::Refused(format!(
                "the rollout of version {} is {}, and cannot be turned back any more: {}",
                row.rollout.to,
                row.rollout.phase.code(),
                "let it end, then put the earlier policy back into the files, which is rolled out like any other version"
            )));
        }
        self.keep(&state, &mut row).await?;
        let next = format!(
            "version {} gives way to {} with the next run: `runner plan {job}` shows how, `runner exec {job}` does it\n",
            row.rollout.to, row.rollout.from
        );
        tell(global, &row, &next)
    }

    pub(super) async fn resume(self, global: &Global) -> Result<u8, Failure> {
        let (state, job) = self.open(global).await?;
        let Some(mut row) = state.open_rollout(&self.profile).await? else {
            let allowed = state.allow_rejected(&self.profile).await?;
            if allowed == 0 {
                return Err(Failure::Refused(format!(
                    "no rollout of profile {:?} is halted, and none of its versions was rolled back",
                    self.profile
                )));
            }
            print(&format!(
                "{allowed} versions that were rolled back can be tried again: `runner exec {job}`\n"
            ));
            return Ok(0);
        };
        if !row.rollout.resume() {
            return Err(Failure::Refused(format!(
                "the rollout of version {} is {}, not halted: `runner exec {job}` goes on with it",
                row.rollout.to,
                row.rollout.phase.code()
            )));
        }
        self.keep(&state, &mut row).await?;
        let next = format!("the rollout goes on with the next run: `runner exec {job}`\n");
        tell(global, &row, &next)
    }

    /// The state, and the name of the job that rolls the profile's policies out.
    async fn open(&self, global: &Global) -> Result<(State, String), Failure> {
        let config = load(global)?;
        let job = job_of(&config, &self.profile)?.name.clone();
        let state = State::open(&config.runner.state.url).await?;
        if let Some(freeze) = state.database().freeze().await.map_err(|error| {
            Failure::Failed(format!(
                "the state could not be asked for a freeze: {error}"
            ))
        })? {
            return Err(Failure::Refused(format!(
                "everything is frozen by {}: {}; `runner freeze off` ends it",
                freeze.by, freeze.reason
            )));
        }
        Ok((state, job))
    }

    async fn keep(&self, state: &State, row: &mut RolloutRow) -> Result<(), Failure> {
        let comment = self.comment.as_deref();
        let comment = comment.map_or_else(String::new, |comment| format!(": {comment}"));
        row.decided_by = Some(format!("{}{comment}", named(self.by.clone())));
        let now = Timestamp::now().as_second();
        if state.keep_rollout(row, now).await? {
            return Ok(());
        }
        Err(Failure::Refused(
            "a run has changed the rollout at this very moment; look at it again, and decide again"
                .to_owned(),
        ))
    }
}

fn job_of<'a>(config: &'a Loaded, profile: &str) -> Result<&'a JobFile, Failure> {
    config.rollout_job(profile).ok_or_else(|| {
        Failure::Config(format!(
            "no job of the kind policy-rollout is for the profile {profile:?}; docs/jobs/policy-rollout.md says how to make one"
        ))
    })
}

async fn state(global: &Global) -> Result<State, Failure> {
    let config = load(global)?;
    Ok(State::open(&config.runner.state.url).await?)
}

pub(super) async fn versions(global: &Global, profile: &str) -> Result<u8, Failure> {
    let rows = state(global).await?.policy_versions(profile).await?;
    if global.output == Output::Json {
        return print_json(&rows);
    }
    let mut text = table::table(&["version", "digest", "noted", "standing"]);
    for row in &rows {
        text.add_row(vec![
            row.name.clone(),
            row.digest.chars().take(16).collect(),
            moment(row.noted_at),
            standing(row),
        ]);
    }
    print(&table::render(&text));
    Ok(0)
}

fn standing(row: &VersionRow) -> String {
    match (row.good, row.rejected_at) {
        (true, _) => "good: what accounts have".to_owned(),
        (false, Some(at)) => format!("rolled back {}", moment(at)),
        (false, None) => "-".to_owned(),
    }
}

pub(super) async fn rollouts(global: &Global, profile: &str) -> Result<u8, Failure> {
    let rows = state(global).await?.rollouts(profile).await?;
    if global.output == Output::Json {
        return print_json(&rows);
    }
    let text: Vec<String> = rows.iter().map(words).collect();
    print(&text.join("\n"));
    Ok(0)
}

fn tell(global: &Global, row: &RolloutRow, next: &str) -> Result<u8, Failure> {
    match global.output {
        Output::Json => print_json(row),
        Output::Table => {
            print(&words(row));
            print(next);
            Ok(0)
        }
    }
}

/// A rollout, for people.
fn words(row: &RolloutRow) -> String {
    let rollout = &row.rollout;
    let mut text = format!(
        "version {} in place of {}: {}, begun {}, changed {}\n",
        rollout.to,
        rollout.from,
        rollout.phase.code(),
        moment(rollout.opened_at),
        moment(row.changed_at)
    );
    if let Some(decided) = &row.decided_by {
        let _ = writeln!(text, "  decided by {decided}");
    }
    for why in rollout
        .halted
        .iter()
        .filter(|_| rollout.phase == Phase::Halted)
    {
        let _ = writeln!(text, "  halted: {why}");
    }
    for wave in &rollout.waves {
        let state = match wave.state {
            WaveState::Begun => "begun",
            WaveState::Updated => "updated, gates not passed",
            WaveState::Passed => "passed",
        };
        let _ = writeln!(
            text,
            "  wave {}: {state}; {}",
            wave.name,
            counted(&wave.sweep)
        );
    }
    if let Some(reset) = &rollout.reset {
        let _ = writeln!(text, "  overrides taken away: {}", counted(reset));
    }
    text
}

/// What became of accounts; the numbers add up.
fn counted(sweep: &Sweep) -> String {
    let count = |outcome| sweep.with(outcome).count();
    format!(
        "{} accounts = {} updated + {} due + {} failed + {} not reached + {} gone or moved",
        sweep.members.len(),
        count(Outcome::Updated),
        count(Outcome::Due),
        count(Outcome::Failed),
        count(Outcome::Cancelled),
        count(Outcome::Gone)
    )
}

/// A line of the ledger.
#[derive(Serialize)]
struct Line<'a> {
    account: String,
    name: &'a str,
    ou_path: &'a str,
    profile: &'a str,
    policy_version: Option<&'a str>,
}

pub(super) async fn ledger(global: &Global, profile: Option<&str>) -> Result<u8, Failure> {
    let config = load(global)?;
    let guard = telemetry(global, &config)?;
    let home = Home::connect(Arc::new(config)).await?;
    let sync = StackSetSync::new(home, &[], false)?;
    let (_, plan) = Box::pin(sync.look()).await?;
    guard.shutdown().await;
    let is_asked_for =
        |row: &&AccountRow| row.targeted && profile.is_none_or(|profile| *row.profile == *profile);
    let rows: Vec<&AccountRow> = plan.accounts.iter().filter(is_asked_for).collect();
    let lines = rows.iter().map(|row| Line {
        account: row.account.to_string(),
        name: &row.name,
        ou_path: &row.ou_path,
        profile: &row.profile,
        policy_version: row.policy_version.as_deref(),
    });
    if global.output == Output::Json {
        return print_json(&lines.collect::<Vec<_>>());
    }
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut text = table::table(&["account", "name", "organizational unit", "version"]);
    for line in lines {
        let version = line.policy_version.unwrap_or("-");
        *counts.entry((line.profile, version)).or_default() += 1;
        text.add_row(vec![
            line.account,
            line.name.to_owned(),
            line.ou_path.to_owned(),
            version.to_owned(),
        ]);
    }
    let mut summary = table::render(&text);
    summary.push('\n');
    for ((profile, version), count) in counts {
        let _ = writeln!(
            summary,
            "{profile}: {count} accounts have version {version}"
        );
    }
    print(&summary);
    Ok(0)
}

/// A moment in Unix seconds, as UTC.
fn moment(at: i64) -> String {
    Timestamp::from_second(at).map_or_else(
        |_| at.to_string(),
        |moment| moment.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}
