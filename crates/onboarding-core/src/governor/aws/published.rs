//! The rates that AWS publishes for Organizations (AWS Organizations User Guide, "Quotas", throttle limits per account).

/// A token bucket as AWS publishes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishedRate {
    /// Tokens added each second.
    pub per_second: f64,
    /// The most tokens that the bucket holds.
    pub burst: f64,
}

impl PublishedRate {
    /// A share of it, more than 1 where AWS has raised it. At least one call always fits into the burst, and the rate never becomes zero.
    #[must_use]
    pub fn scaled(self, share: f64) -> Self {
        let share = share.clamp(0.01, 100.0);
        Self {
            per_second: self.per_second * share,
            burst: (self.burst * share).floor().max(1.0),
        }
    }
}

/// The published rate of an operation that we call; none where AWS publishes nothing.
#[must_use]
pub fn rate(operation: &str) -> Option<PublishedRate> {
    let (per_second, burst) = match operation {
        "organizations:DescribeOrganization" | "organizations:ListRoots" => (1.0, 2.0),
        "organizations:ListAccounts" => (8.0, 12.0),
        "organizations:ListOrganizationalUnitsForParent"
        | "organizations:ListAccountsForParent"
        | "organizations:ListParents" => (5.0, 8.0),
        "organizations:DescribeAccount" => (20.0, 30.0),
        "organizations:ListTagsForResource" => (10.0, 15.0),
        _ => return None,
    };
    Some(PublishedRate { per_second, burst })
}
