//! Guard rails of removals: nothing is taken out because a listing shrank.

use crate::desired::RemovalLimits;

/// Whose accounts are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lister {
    /// AWS Organizations, those of the AWS organization.
    Organization,
    /// Spot, those of the Spot organization.
    Spot,
}

impl Lister {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Organization => ("the organization", "AWS Organizations"),
            Self::Spot => ("the Spot organization", "Spot"),
        }
    }
}

/// Why removals are refused, by the organization's listing.
#[must_use]
pub fn shrink(limits: &RemovalLimits, previous: Option<usize>, now: usize) -> Option<String> {
    shrink_of(Lister::Organization, limits, previous, now)
}

/// Why removals are refused.
#[must_use]
pub fn shrink_of(
    lister: Lister,
    limits: &RemovalLimits,
    previous: Option<usize>,
    now: usize,
) -> Option<String> {
    let (organization, service) = lister.words();
    if now == 0 {
        return Some(format!(
            "{organization} lists no account at all; look at what {service} answers before removing anything"
        ));
    }
    let Some(previous) = previous else {
        return Some(format!(
            "there is no earlier listing of {organization} to compare this one with; the next run has one"
        ));
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
            "{organization} lists {now} accounts, {} fewer than the last run saw ({previous}); that is more than \
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
