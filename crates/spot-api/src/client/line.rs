//! A line before a narrow place: one at a time, the most urgent first, then first come, first served.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

/// A line of callers.
#[derive(Debug, Default)]
pub(crate) struct Line(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    occupied: bool,
    arrivals: u64,
    /// By deadline, then by arrival.
    waiting: BTreeMap<(Instant, u64), oneshot::Sender<()>>,
}

/// The place at the head of a line; the next one has it when this is dropped.
#[derive(Debug)]
pub(crate) struct Head(Arc<Line>);

impl Line {
    /// Waits for the place at the head.
    pub(crate) async fn head(self: &Arc<Self>, deadline: Instant) -> Head {
        let (key, called) = {
            let mut state = self.0.lock();
            if !state.occupied {
                state.occupied = true;
                return Head(Arc::clone(self));
            }
            state.arrivals += 1;
            let key = (deadline, state.arrivals);
            let (call, called) = oneshot::channel();
            state.waiting.insert(key, call);
            (key, called)
        };
        let mut place = Place {
            line: self,
            key,
            called,
        };
        // The sender is kept until it is used: there is no other end.
        let _ = (&mut place.called).await;
        Head(Arc::clone(self))
    }

    fn next(&self) {
        let mut state = self.0.lock();
        while let Some((_, call)) = state.waiting.pop_first() {
            if call.send(()).is_ok() {
                return;
            }
        }
        state.occupied = false;
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        self.0.next();
    }
}

/// A place in the line. Who gives up leaves it, and passes on a call that it has not seen.
struct Place<'a> {
    line: &'a Arc<Line>,
    key: (Instant, u64),
    called: oneshot::Receiver<()>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.line.0.lock().waiting.remove(&self.key);
        if self.called.try_recv().is_ok() {
            self.line.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::{FutureExt as _, future};

    use super::*;

    #[tokio::test]
    async fn the_most_urgent_is_next_and_the_first_of_equals() {
        let line = Arc::new(Line::default());
        let start = Instant::now();
        let head = line.head(start).await;
        let order = Mutex::new(Vec::new());
        let caller = |name: &'static str, seconds: u64| {
            let (line, order) = (&line, &order);
            async move {
                let _head = line.head(start + Duration::from_secs(seconds)).await;
                order.lock().push(name);
            }
        };
        let callers = future::join_all([
            caller("late", 90),
            caller("first", 60),
            caller("second", 60),
            caller("urgent", 10),
        ]);
        let mut callers = Box::pin(callers);
        assert!((&mut callers).now_or_never().is_none());
        drop(head);
        callers.await;
        assert_eq!(*order.lock(), ["urgent", "first", "second", "late"]);
    }

    #[tokio::test]
    async fn who_gives_up_is_passed_over_even_when_just_called() {
        let line = Arc::new(Line::default());
        let start = Instant::now();
        let head = line.head(start).await;
        let mut gives_up = Box::pin(line.head(start));
        let mut called_and_gone = Box::pin(line.head(start));
        let mut stays = Box::pin(line.head(start));
        for waiting in [&mut gives_up, &mut called_and_gone, &mut stays] {
            assert!(waiting.now_or_never().is_none());
        }
        drop(gives_up);
        drop(head);
        drop(called_and_gone);
        let head = stays.now_or_never().expect("the only one left is called");
        drop(head);
        assert!(line.head(start).now_or_never().is_some());
    }
}
