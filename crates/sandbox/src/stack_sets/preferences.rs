//! Operation preferences: how many instances at once, how many failures are too many. Pure.
//!
//! CloudFormation user guide, "Stack set operation options" and `StackSetOperationPreferences` of the API reference.

/// Instances that are worked on at once in one Region (CloudFormation quotas).
const MAX_AT_ONCE: usize = 10_000;

/// Preferences of an operation, as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preferences {
    /// `RegionConcurrencyType` is PARALLEL.
    pub(crate) parallel_regions: Option<bool>,
    /// `RegionOrder`.
    pub(crate) region_order: Vec<String>,
    /// `FailureToleranceCount`.
    pub(crate) tolerance_count: Option<u64>,
    /// `FailureTolerancePercentage`.
    pub(crate) tolerance_percentage: Option<u64>,
    /// `MaxConcurrentCount`.
    pub(crate) max_concurrent_count: Option<u64>,
    /// `MaxConcurrentPercentage`.
    pub(crate) max_concurrent_percentage: Option<u64>,
    /// `ConcurrencyMode` is SOFT_FAILURE_TOLERANCE.
    pub(crate) soft: Option<bool>,
}

impl Preferences {
    /// Preferences of operations that auto-deployment starts: the user's do not apply to those.
    pub(crate) fn auto_deployment() -> Self {
        Self {
            tolerance_percentage: Some(100),
            max_concurrent_percentage: Some(100),
            soft: Some(true),
            ..Self::default()
        }
    }

    /// Failures in one Region that are accepted, of this many targets. A percentage rounds down.
    pub(crate) fn tolerance(&self, targets: usize) -> usize {
        match (self.tolerance_count, self.tolerance_percentage) {
            (Some(count), _) => usize::try_from(count).unwrap_or(usize::MAX),
            (None, Some(percentage)) => share(targets, percentage),
            (None, None) => 0,
        }
    }

    /// How many instances of one Region may be worked on at once, after this many failures. Never
    /// zero as long as the failures are tolerated.
    pub(crate) fn concurrency(&self, targets: usize, failures: usize) -> usize {
        let asked = match (self.max_concurrent_count, self.max_concurrent_percentage) {
            (Some(count), _) => usize::try_from(count).unwrap_or(usize::MAX),
            (None, Some(percentage)) => share(targets, percentage).max(1),
            (None, None) => 1,
        };
        let asked = asked.min(MAX_AT_ONCE);
        if self.soft == Some(true) {
            return asked;
        }
        // Strict: what runs can fail altogether without exceeding the tolerance by more than one.
        asked.min(
            self.tolerance(targets)
                .saturating_add(1)
                .saturating_sub(failures),
        )
    }
}

fn share(targets: usize, percentage: u64) -> usize {
    targets.saturating_mul(usize::try_from(percentage).unwrap_or(100)) / 100
}

#[cfg(test)]
mod tests {
    use super::Preferences;

    #[test]
    fn the_default_is_one_at_a_time_and_no_failure() {
        let default = Preferences::default();
        assert_eq!(
            (default.concurrency(100, 0), default.tolerance(100)),
            (1, 0)
        );
    }

    #[test]
    fn strict_mode_lowers_concurrency_with_each_failure() {
        let strict = Preferences {
            tolerance_count: Some(5),
            max_concurrent_count: Some(10),
            ..Preferences::default()
        };
        assert_eq!(
            [0, 1, 3, 5].map(|failures| strict.concurrency(100, failures)),
            [6, 5, 3, 1]
        );
        let soft = Preferences {
            soft: Some(true),
            ..strict
        };
        assert_eq!(
            [0, 5].map(|failures| soft.concurrency(100, failures)),
            [10, 10]
        );
    }

    #[test]
    fn percentages_round_down_but_something_always_runs() {
        let preferences = Preferences {
            tolerance_percentage: Some(50),
            max_concurrent_percentage: Some(10),
            ..Preferences::default()
        };
        assert_eq!(preferences.tolerance(3), 1);
        assert_eq!(preferences.concurrency(3, 0), 1);
        assert_eq!(Preferences::auto_deployment().tolerance(1), 1);
    }
}
