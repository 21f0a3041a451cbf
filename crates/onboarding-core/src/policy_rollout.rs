//! `policy-rollout`: from the version of the policies that accounts have to the one that the files say, in waves.
//!
//! There is one stack set, and while a version is rolled out its template has both: the one that was good last under no
//! condition but the parameter `PolicyVersion` naming another, and the next one when it is named. So staging it changes nothing
//! in any account, an account that joins meanwhile gets the good one, and a wave names the next one for its accounts only, by
//! overriding the parameter. At the end the next one becomes what all have.
//!
//! Guarantees: pure; a wave begins only after the gates of the one before were passed; accounts of a wave are chosen when it
//! begins and written down; nothing is judged by what was not read; one rollout of a profile at a time.

pub mod actions;
mod consent;
pub mod gates;
pub mod moment;
mod plan;
mod progress;
mod rows;
mod waves;

pub use actions::RolloutAction;
pub use consent::RolloutConsent;
pub use plan::{Candidate, RolloutObserved, RolloutSettings, Window, plan};
pub use progress::{Member, Outcome, Phase, Rollout, Sweep, WaveProgress, WaveState};
pub use waves::{Selector, WaveSettings, eligible, select};

/// The kind's name, as in job files.
pub const KIND: &str = "policy-rollout";
