//! Whether the state has been there for a while. Right after it was away, processes that live write down what they could not, and what
//! they had begun looks as if it had died.

use std::time::{Duration, Instant};

use crate::state::State;

/// How long those who live have for that: longer than they wait before they try again.
const GRACE: Duration = Duration::from_secs(10);

/// A state that takes so long to say what time it is was away.
const SLOW: Duration = Duration::from_secs(2);

/// For how long nobody is looked for at most: trouble that comes again and again must not put it off for ever.
const LONGEST: Duration = Duration::from_secs(60);

/// See the module documentation.
#[derive(Default)]
pub(super) struct Calm {
    away_at: Option<Instant>,
    /// Since when the look is put off.
    put_off_since: Option<Instant>,
    /// Whether it was told that it is taken all the same.
    is_told: bool,
}

impl Calm {
    /// The state did not answer just now.
    pub(super) fn was_away(&mut self) {
        self.away_at = Some(Instant::now());
    }

    /// Looks whether the state is there and has been; or is there, and the look was put off for as long as it may be.
    pub(super) async fn is_calm(&mut self, state: &State) -> bool {
        let begun = Instant::now();
        let answer = state.in_time(state.now()).await;
        if answer.is_err() || begun.elapsed() >= SLOW {
            self.was_away();
        }
        if self.away_at.is_none_or(|at| at.elapsed() >= GRACE) {
            (self.put_off_since, self.is_told) = (None, false);
            return true;
        }
        let since = *self.put_off_since.get_or_insert(begun);
        if answer.is_err() || since.elapsed() < LONGEST {
            return false;
        }
        self.put_off_since = None;
        if !self.is_told {
            self.is_told = true;
            tracing::warn!(
                "the state is away or slow again and again; runs that died are looked for all the same, each {} s",
                LONGEST.as_secs()
            );
        }
        true
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
            ..Calm::default()
        };
        assert!(calm.is_calm(&state).await);
    }

    #[tokio::test]
    async fn a_state_that_is_away_again_and_again_puts_the_look_off_for_a_minute_at_most() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("state.db").display());
        let state = State::open(&url).await.unwrap();
        let mut calm = Calm::default();
        for minute in 0..2 {
            calm.was_away();
            assert!(!calm.is_calm(&state).await, "{minute}");
            let since = calm.put_off_since.unwrap();
            calm.put_off_since = since.checked_sub(LONGEST);
            calm.was_away();
            assert!(calm.is_calm(&state).await, "{minute}");
            assert!(calm.is_told);
        }
        calm.away_at = None;
        assert!(calm.is_calm(&state).await);
        assert!(!calm.is_told, "what comes later is told again");
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
        // However long that lasts: nothing could be seen.
        calm.put_off_since = Instant::now().checked_sub(LONGEST);
        assert!(!calm.is_calm(&silent.state).await);
    }
}
