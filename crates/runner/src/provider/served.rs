//! Whether this process serves the provider's queue as it should, for metrics.

use parking_lot::Mutex;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Served(Mutex<Option<bool>>);

impl Served {
    /// Nothing where this process need not serve it.
    #[must_use]
    pub fn is_served(&self) -> Option<bool> {
        *self.0.lock()
    }

    /// It should be served, and is, or is not.
    pub fn set(&self, is_served: bool) {
        *self.0.lock() = Some(is_served);
    }
}
