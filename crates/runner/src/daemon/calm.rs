//! Whether the state has been there for a while. Right after it was away, processes that live write down what they could not, and what
//! they had begun looks as if it had died.

use std::time::{Duration, Instant};

use crate::state::State;

/// How long those who live have for that: longer than they wait before they try again.
const GRACE: Duration = Duration::from_secs(10);

/// A state that takes so long to say what time it is was away.
const SLOW: Duration = Duration::from_secs(2);

/// See the module documentation.
#[derive(Default)]
pub(super) struct Calm {
    away_at: Option<Instant>,
}

impl Calm {
    /// The state did not answer just now.
    pub(super) fn was_away(&mut self) {
        self.away_at = Some(Instant::now());
    }

    /// Looks whether the state is there, and has been.
    pub(super) async fn is_calm(&mut self, state: &State) -> bool {
        let begun = Instant::now();
        let answer = state.in_time(state.now()).await;
        if answer.is_err() || begun.elapsed() >= SLOW {
            self.was_away();
        }
        self.away_at.is_none_or(|at| at.elapsed() >= GRACE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_state_that_was_away_is_not_calm_for_a_while() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("state.db").display());
        let state = State::open(&url).await.unwrap();
        let mut calm = Calm::default();
        assert!(calm.is_calm(&state).await);
        calm.was_away();
        assert!(!calm.is_calm(&state).await);
        let long_ago = Instant::now().checked_sub(GRACE);
        let mut calm = Calm {
            away_at: Some(long_ago.unwrap()),
        };
        assert!(calm.is_calm(&state).await);
    }

    #[tokio::test]
    async fn a_state_that_does_not_answer_is_not_calm() {
        let Some(silent) = State::silent("runs").await else {
            return;
        };
        let mut calm = Calm::default();
        assert!(calm.is_calm(&silent.state).await);
        silent.state.close().await;
        assert!(!calm.is_calm(&silent.state).await);
    }
}
