//! Whether this process serves the provider's queue as it should, for metrics and whoever asks whether it is ready.

use std::time::Instant;

use parking_lot::Mutex;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct Served(Mutex<Option<(bool, Instant)>>);

impl Served {
    /// Nothing where this process need not serve it.
    #[must_use]
    pub fn is_served(&self) -> Option<bool> {
        self.0.lock().map(|(is_served, _)| is_served)
    }

    /// Since when it is not served that should be; nothing where it is, or need not be.
    #[must_use]
    pub fn unserved_since(&self) -> Option<Instant> {
        let at = self.0.lock().filter(|(is_served, _)| !is_served);
        at.map(|(_, since)| since)
    }

    /// It should be served, and is, or is not.
    pub fn set(&self, is_served: bool) {
        let mut known = self.0.lock();
        if known.is_none_or(|(before, _)| before != is_served) {
            *known = Some((is_served, Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_since_when_it_is_not_served() {
        let served = Served::default();
        assert_eq!((served.is_served(), served.unserved_since()), (None, None));
        served.set(false);
        let since = served.unserved_since();
        assert!(since.is_some());
        while Some(Instant::now()) <= since {}
        // Tried again in vain.
        served.set(false);
        assert_eq!(served.unserved_since(), since);
        served.set(true);
        assert_eq!(
            (served.is_served(), served.unserved_since()),
            (Some(true), None)
        );
        served.set(false);
        assert!(served.unserved_since() > since);
    }
}
