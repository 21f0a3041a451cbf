//! Guard rails of removals: nothing is taken out because a listing shrank.

use crate::desired::RemovalLimits;

/// Why removals are refused.
#[must_use]
pub fn shrink(limits: &RemovalLimits, previous: Option<usize>, now: usize) -> Option<String> {
    if now == 0 {
        return Some("the organization lists no account at all; look at what AWS Organizations answers before removing anything".to_owned());
    }
    let Some(previous) = previous else {
        return Some(
            "there is no earlier listing of the organization to compare this one with; the next run has one".to_owned(),
        );
    };
    if previous <= now {
        return None;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "account counts are far below 2^52"
    )]
    let lost = (previous - now) as f64 / previous as f64;
    (lost > limits.max_shrink).then(|| {
        format!(
            "the organization lists {now} accounts, {} fewer than the last run saw ({previous}); that is more than \
             removal.max_shrink allows ({:.1} %). If the accounts really left, raise the limit for one run",
            previous - now,
            limits.max_shrink * 100.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shrunken_listing_stops_removals() {
        let limits = RemovalLimits {
            closed_grace_seconds: 0,
            max_removals: 10,
            max_shrink: 0.1,
        };
        assert!(shrink(&limits, None, 0).is_some());
        assert!(shrink(&limits, None, 5).is_some());
        assert!(shrink(&limits, Some(100), 90).is_none());
        assert!(shrink(&limits, Some(100), 89).is_some());
        assert!(shrink(&limits, Some(100), 200).is_none());
    }
}
