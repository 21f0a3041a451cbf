//! What no single key of a job's file can say.

use std::{collections::BTreeSet, time::Duration};

use super::Checks;
use crate::config::{
    drift_audit::AuditDepth,
    error::Problem,
    job::{JobFile, JobParams},
    nearest::nearest,
    policy_rollout::PolicyRolloutParams,
    retry::RetryConfig,
    runner::{Deletion, ProviderKind, RunnerConfig},
    source::Document,
};

/// The longest jitter and catch-up window: what is due then is not wanted any more.
const LONGEST_DELAY: Duration = Duration::from_secs(30 * 86_400);

/// Checks a job file as a whole, against `runner.toml`.
pub(in crate::config) fn job(
    job: &JobFile,
    config: &RunnerConfig,
    document: &Document<'_>,
) -> Vec<Problem> {
    let mut checks = Checks {
        document,
        problems: Vec::new(),
    };
    waits(&job.retry, &["retry"], &mut checks);
    for (action, step) in &job.retry.steps {
        waits(
            &job.retry.of(step),
            &["retry", "steps", action],
            &mut checks,
        );
    }
    if let Some(schedule) = &job.schedule {
        for (name, delay) in [
            ("jitter", &schedule.jitter),
            ("catch_up", &schedule.catch_up),
        ] {
            if delay.get() > LONGEST_DELAY {
                checks.report(
                    &["schedule", name],
                    format!("`schedule.{name}` is {delay}, longer than 30 days"),
                    "a run that is so late is wanted no more: give it less",
                );
            }
        }
    }
    let known = || config.profiles.iter().map(|profile| profile.name.as_str());
    for (index, name) in job.params.profiles().iter().enumerate() {
        if !known().any(|profile| profile == name) {
            let help = match nearest(name, known()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("known are {}", known().collect::<Vec<_>>().join(", ")),
            };
            let index = index.to_string();
            let path: &[&str] = match job.params {
                JobParams::PolicyRollout(_) => &["params", "profile"],
                _ => &["params", "profiles", &index],
            };
            checks.report(
                path,
                format!("there is no profile {name:?} in runner.toml"),
                &help,
            );
        }
    }
    if let JobParams::PolicyRollout(params) = &job.params {
        rollout(params, config, &mut checks);
    }
    let depth = match &job.params {
        JobParams::DriftAudit(params) => params.depth,
        JobParams::Enroll(params) => params.depth,
        JobParams::StacksetSync(_)
        | JobParams::OrphanCleanup(_)
        | JobParams::PolicyRollout(_)
        | JobParams::External(_) => AuditDepth::Coverage,
    };
    let keeps_spot_accounts = config.enrollment.deletion == Deletion::Reconcile
        && config.enrollment.provider != ProviderKind::SpotHosted;
    if let JobParams::OrphanCleanup(params) = &job.params
        && params.remove_outside_targets
        && !keeps_spot_accounts
    {
        checks.report(
            &["params", "remove_outside_targets"],
            "`remove_outside_targets` deletes stacks, and these take their Spot accounts along, past every limit and record"
                .to_owned(),
            "it needs enrollment.deletion = \"reconcile\" and another provider than \"spot-hosted\"",
        );
    }
    let aggregator = match &job.params {
        JobParams::DriftAudit(params) => params.aggregator.as_ref().map(|_| params.fix),
        _ => None,
    };
    if depth == AuditDepth::Full && config.audit.role().is_none() && aggregator.is_none() {
        checks.report(
            &["params", "depth"],
            "`depth = \"full\"` reads every account, and there is no role to read them through"
                .to_owned(),
            "set audit.enabled in runner.toml, name an aggregator of AWS Config in params.aggregator (drift-audit), or set depth = \
             \"coverage\"",
        );
    }
    if aggregator == Some(true) && config.audit.role().is_none() {
        checks.report(
            &["params", "fix"],
            "AWS Config tells of the past: what is mended must be read in the account, and there is no role to read it through"
                .to_owned(),
            "set audit.enabled in runner.toml, or fix = false",
        );
    }
    checks.problems
}

/// What the waits between attempts must be, of the section at this path.
fn waits(retry: &RetryConfig, path: &[&str], checks: &mut Checks<'_>) {
    if retry.initial > retry.max {
        let name = path.join(".");
        checks.report(
            &[path, &["initial"]].concat(),
            format!(
                "`{name}.initial` is {}, longer than `{name}.max`, which is {}",
                retry.initial, retry.max
            ),
            "the wait begins with initial and doubles up to max",
        );
    }
}

/// What a rollout's waves must be.
fn rollout(params: &PolicyRolloutParams, config: &RunnerConfig, checks: &mut Checks<'_>) {
    let at = |index: usize, key: &str| -> [String; 4] {
        [
            "params".to_owned(),
            "waves".to_owned(),
            index.to_string(),
            key.to_owned(),
        ]
    };
    let mut names = BTreeSet::new();
    let last = params.waves.len().saturating_sub(1);
    for (index, wave) in params.waves.iter().enumerate() {
        if !names.insert(&wave.name) {
            let path = at(index, "name");
            checks.report(
                &path.each_ref().map(String::as_str),
                format!("two waves are named {:?}", wave.name),
                "a rollout remembers its waves by their names: give each its own",
            );
        }
        if wave.has_selector() != (index < last) {
            let path = at(index, "name");
            let (message, help) = match index < last {
                true => (
                    format!(
                        "the wave {:?} selects nothing, and it is not the last one",
                        wave.name
                    ),
                    "give it ous, accounts, tags or percent; only the last wave is for all that are left",
                ),
                false => (
                    format!(
                        "the last wave, {:?}, selects accounts: nobody would be for the others",
                        wave.name
                    ),
                    "add a wave without ous, accounts, tags and percent, which is for all that are left",
                ),
            };
            checks.report(&path.each_ref().map(String::as_str), message, help);
        }
    }
    if params.waves.is_empty() {
        checks.report(
            &["params", "waves"],
            "a rollout needs a wave".to_owned(),
            "the last wave has no selector, and is for all that are left",
        );
    }
    if let Some(version) = &params.version
        && !((1..=12).contains(&version.len())
            && version.bytes().all(|b| b.is_ascii_alphanumeric()))
    {
        checks.report(
            &["params", "version"],
            format!("a version cannot be named {version:?}"),
            "give 1 to 12 letters and digits: it becomes part of statement ids",
        );
    }
    if params.iam && params.profile.is_some() && config.audit.role().is_none() {
        checks.report(
            &["params", "iam"],
            "the gates look into every account, and there is no role to read them through".to_owned(),
            "set audit.enabled in runner.toml, or iam = false, which leaves CloudFormation's word alone",
        );
    }
}
