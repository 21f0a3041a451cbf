//! `runner policy`: IAM policy documents, and the versions that they make; what is done with them is in modules of their own.

use std::time::{Duration, Instant};

use onboarding_core::policy::compare::{Verdict, compare};
use serde::Serialize;

use super::{
    Failure, Global,
    policy_diff::{self, Document},
    policy_versions, print_json,
};

/// IAM policy documents.
#[derive(Debug, clap::Subcommand)]
pub enum Policy {
    /// Say what a policy, or a version of a profile's policies, grants more or less than another one. Needs no credentials.
    ///
    /// Wildcards, conditions and denials are read as IAM reads them; order, letter case, duplicates and Sids make no
    /// difference. Exit code 0 when both grant the same, 3 when they do not.
    Diff {
        /// The earlier one. A policy: a JSON file, or the name of one in policies/ of the configuration directory. Or a version: its
        /// name, the first digits of its digest, `deployed` for the one that accounts have, or `files` for what the files say.
        #[arg(value_name = "A")]
        before: String,
        /// The later one, of the same sort.
        #[arg(value_name = "B")]
        after: String,
        /// The profile whose versions they are; without it, the only one, or the one that has them.
        #[arg(long, value_name = "NAME")]
        profile: Option<String>,
    },
    /// List the versions of a profile's policies that were deployed or rolled out, and which is good. Needs no credentials.
    Versions {
        /// The profile.
        profile: String,
    },
    /// Show the rollouts of a profile's policies: their phase, their waves, and why one was halted. Needs no credentials.
    Rollouts {
        /// The profile.
        profile: String,
    },
    /// Show which version of the policies each account has.
    Ledger {
        /// Only accounts of this profile.
        profile: Option<String>,
    },
    /// Turn the rollout of a profile back: the next run of its job plans the way back to the last good version.
    ///
    /// Nothing is changed in AWS by this command itself: `runner plan` shows the way back, and `runner exec` goes it.
    Rollback(policy_versions::Decision),
    /// Let a halted rollout of a profile go on: what failed is tried again, and the gates are asked again. Without one, let a
    /// version that was rolled back be tried again.
    Resume(policy_versions::Decision),
    /// Compare two policies again and again and print what that took, for `cargo xtask bench policy`.
    #[command(hide = true)]
    Bench {
        /// The earlier policy.
        before: String,
        /// The later policy.
        after: String,
        /// How often.
        #[arg(long, default_value_t = 1_000)]
        rounds: usize,
    },
}

impl Policy {
    pub(super) async fn run(self, global: &Global) -> Result<u8, Failure> {
        match self {
            Self::Versions { profile } => policy_versions::versions(global, &profile).await,
            Self::Rollouts { profile } => policy_versions::rollouts(global, &profile).await,
            Self::Ledger { profile } => policy_versions::ledger(global, profile.as_deref()).await,
            Self::Rollback(decision) => decision.roll_back(global).await,
            Self::Resume(decision) => decision.resume(global).await,
            Self::Diff {
                before,
                after,
                profile,
            } => policy_diff::diff(global, &before, &after, profile.as_deref()).await,
            Self::Bench {
                before,
                after,
                rounds,
            } => bench(global, &before, &after, rounds),
        }
    }
}

/// What comparing took.
#[derive(Serialize)]
struct Figures {
    verdict: Verdict,
    /// White space not counted, as IAM counts.
    characters: [usize; 2],
    rounds: usize,
    median_us: f64,
    p99_us: f64,
    max_us: f64,
}

/// Reads and compares both policies, `rounds` times.
fn bench(global: &Global, before: &str, after: &str, rounds: usize) -> Result<u8, Failure> {
    let before = Document::find(&global.config, before)?;
    let after = Document::find(&global.config, after)?;
    let size = |document: &Document| {
        let characters = document.text.chars();
        characters.filter(|c| !c.is_whitespace()).count()
    };
    let mut verdict = Verdict::Equal;
    let mut took = Vec::new();
    for _ in 0..rounds.max(1) {
        let started = Instant::now();
        verdict = compare(&before.grants()?, &after.grants()?).verdict;
        took.push(started.elapsed());
    }
    took.sort_unstable();
    let at = |share: usize| micros(took[(took.len() - 1) * share / 100]);
    print_json(&Figures {
        verdict,
        characters: [size(&before), size(&after)],
        rounds: took.len(),
        median_us: at(50),
        p99_us: at(99),
        max_us: at(100),
    })
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
