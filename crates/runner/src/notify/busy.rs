//! Which targets are being sent to, and which rest: one for which nothing could be done is left alone for a while, longer each time, so
//! that a state that cannot be written is not asked again and again.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::{
    task::{Id, JoinSet},
    time::{Instant, sleep},
};

/// The least time between two looks, whatever ends meanwhile.
const LEAST: Duration = Duration::from_millis(50);

/// The first rest. It doubles with each further one.
const REST: Duration = Duration::from_secs(2);

/// The longest rest.
const LONGEST: Duration = Duration::from_secs(60);

/// See the module documentation.
#[derive(Default)]
pub(super) struct Busy {
    /// Each says whether anything could be done.
    tasks: JoinSet<bool>,
    targets: HashMap<Id, String>,
    rests: Rests,
}

impl Busy {
    /// Whether nothing goes on.
    pub(super) fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Whether a target is neither being sent to nor rests.
    pub(super) fn is_free(&self, target: &str) -> bool {
        let is_busy = self.targets.values().any(|busy| busy == target);
        !is_busy && !self.rests.has(target, Instant::now())
    }

    /// Begins what is done for a target, which says whether anything could be done.
    pub(super) fn begin(
        &mut self,
        target: String,
        work: impl Future<Output = bool> + Send + 'static,
    ) {
        let task = self.tasks.spawn(work);
        self.targets.insert(task.id(), target);
    }

    /// Waits so long, or until a target is done.
    pub(super) async fn wait(&mut self, at_most: Duration) {
        sleep(LEAST).await;
        tokio::select! {
            () = sleep(at_most.saturating_sub(LEAST)) => {}
            true = self.one_ends() => {}
        }
    }

    /// Waits until nothing goes on.
    pub(super) async fn join(&mut self) {
        while self.one_ends().await {}
    }

    /// Waits until one ends. Tells whether there was one.
    async fn one_ends(&mut self) -> bool {
        let (task, is_done) = match self.tasks.join_next_with_id().await {
            None => return false,
            Some(Ok(ended)) => ended,
            Some(Err(error)) => {
                tracing::error!(%error, "delivering ended badly; please report this with the log");
                (error.id(), false)
            }
        };
        if let Some(target) = self.targets.remove(&task) {
            self.rests.note(target, is_done, Instant::now());
        }
        true
    }
}

/// The targets that rest, until when, and for how long.
#[derive(Default)]
struct Rests(BTreeMap<String, (Instant, Duration)>);

impl Rests {
    fn has(&self, target: &str, now: Instant) -> bool {
        self.0.get(target).is_some_and(|(until, _)| *until > now)
    }

    /// A target that is done rests when nothing could be done for it, twice as long as the last time.
    fn note(&mut self, target: String, is_done: bool, now: Instant) {
        let before = self.0.remove(&target);
        if !is_done {
            let length = before.map_or(REST, |(_, length)| (length * 2).min(LONGEST));
            self.0.insert(target, (now + length, length));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_for_which_nothing_can_be_done_is_tried_less_and_less() {
        let begun = Instant::now();
        let (mut rests, mut tries) = (Rests::default(), Vec::new());
        for second in 0..300 {
            let now = begun + Duration::from_secs(second);
            if !rests.has("one", now) {
                rests.note("one".to_owned(), false, now);
                tries.push(second);
            }
            assert!(!rests.has("other", now));
        }
        assert_eq!(tries, [0, 2, 6, 14, 30, 62, 122, 182, 242]);
        // What succeeds begins anew.
        rests.note("one".to_owned(), true, begun);
        assert!(!rests.has("one", begun));
        rests.note("one".to_owned(), false, begun);
        assert!(rests.has("one", begun) && !rests.has("one", begun + REST));
    }

    #[tokio::test]
    async fn one_that_rests_or_hangs_keeps_no_other() {
        let mut busy = Busy::default();
        busy.begin("failing".to_owned(), async { false });
        busy.begin("hanging".to_owned(), std::future::pending());
        busy.wait(LONGEST).await;
        assert!(!busy.is_free("failing") && !busy.is_free("hanging"));
        assert!(busy.is_free("other") && !busy.is_idle());
    }

    #[tokio::test]
    async fn one_that_panics_rests_like_one_that_fails() {
        let mut busy = Busy::default();
        busy.begin("one".to_owned(), async { panic!("a bug") });
        busy.begin("other".to_owned(), async { true });
        busy.join().await;
        assert!(busy.is_idle() && !busy.is_free("one") && busy.is_free("other"));
    }
}
