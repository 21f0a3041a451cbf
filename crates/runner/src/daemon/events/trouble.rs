//! Something that is tried again and again while it fails: when it is told, and how long to wait.

use std::time::Duration;

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Trouble {
    first: Duration,
    longest: Duration,
    failures: u32,
    /// What was told last.
    told: Option<String>,
}

impl Trouble {
    /// The first wait, and the longest one.
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            failures: 0,
            told: None,
        }
    }

    /// It failed once more. Whether that is to be told: it is when what went wrong is another thing than before.
    pub(super) fn is_news(&mut self, what: String) -> bool {
        self.failures = self.failures.saturating_add(1);
        let is_news = self.told.as_ref() != Some(&what);
        self.told = Some(what);
        is_news
    }

    /// How long to wait before it is tried again: twice as long with each failure.
    pub(super) fn wait(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }

    /// It works. Whether it had not until now.
    pub(super) fn is_over(&mut self) -> bool {
        self.failures = 0;
        self.told.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_once_until_it_changes_and_the_waits_double_up_to_the_longest() {
        let seconds = Duration::from_secs;
        let mut trouble = Trouble::new(seconds(5), seconds(60));
        let mut fails = |what: &str| (trouble.is_news(what.to_owned()), trouble.wait());
        assert_eq!(fails("denied"), (true, seconds(5)));
        assert_eq!(fails("denied"), (false, seconds(10)));
        assert_eq!(fails("reset"), (true, seconds(20)));
        assert_eq!(fails("denied"), (true, seconds(40)));
        for _ in 0..100 {
            assert_eq!(fails("denied"), (false, seconds(60)));
        }
        assert!(trouble.is_over());
        assert!(!trouble.is_over());
        assert!(trouble.is_news("denied".to_owned()));
        assert_eq!(trouble.wait(), seconds(5));
    }
}
