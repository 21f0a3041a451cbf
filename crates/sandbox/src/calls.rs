//! Counts the calls that arrived, by operation.

use std::collections::BTreeMap;

/// Calls by `service:Operation` (AWS) or `spot:METHOD /route` (Spot), throttled ones included.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    arrived: BTreeMap<String, u64>,
    throttled: BTreeMap<String, u64>,
}

impl Calls {
    /// Counts one call.
    pub(crate) fn count(&mut self, name: &str) {
        increment(&mut self.arrived, name);
    }

    /// Counts one call that was refused because of its rate.
    pub(crate) fn count_throttled(&mut self, name: &str) {
        increment(&mut self.throttled, name);
    }

    /// All calls since the last reset.
    pub(crate) fn arrived(&self) -> &BTreeMap<String, u64> {
        &self.arrived
    }

    /// The throttled ones among them.
    pub(crate) fn throttled(&self) -> &BTreeMap<String, u64> {
        &self.throttled
    }

    /// Starts again from zero.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

fn increment(counts: &mut BTreeMap<String, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.to_owned(), 1);
        }
    }
}
