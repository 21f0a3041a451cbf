//! Whether the Spot token is about to be useless, as far as that can be known. Spot documents no call that tells when a token
//! expires, whose it is, or what it may do: what is known is how long it has been where it is stored, and what it still sees.

use super::{AuditObserved, AuditReason};
use crate::{desired::Desired, plan::Finding, stackset_sync::repairs};

/// What is known of the token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenAge {
    /// Where it is, for people.
    pub place: String,
    /// Since when it is there, in Unix seconds, where that place tells.
    pub since: Option<i64>,
    /// How old it may be, in seconds; none when its age is not judged.
    pub max_age: Option<i64>,
}

const DAY: i64 = 24 * 60 * 60;

const RENEW: &str = "needs a person: make a new token in Spot, of a programmatic user that is an organization admin, store it there, \
                     and delete the old one";

/// What there is to say of it.
pub(super) fn findings(observed: &AuditObserved, desired: &Desired) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(age(observed));
    if let Some(message) = repairs::spot_shrank(&observed.sync, desired) {
        let fix = "needs a person: give the runner the token of an organization admin of Spot, or find out who deleted the accounts";
        found.push(AuditReason::TokenSeesLess.of("spot", message, Some(fix)));
    }
    found
}

fn age(observed: &AuditObserved) -> Option<Finding> {
    let TokenAge {
        place,
        since,
        max_age,
    } = &observed.token;
    let max_age = (*max_age)?;
    let about = |finding: Finding| Finding {
        resource: Some(place.clone()),
        ..finding
    };
    let Some(since) = since else {
        let message = format!(
            "token_max_age is set, and {place} does not tell since when the Spot token is there: keep it in AWS Secrets Manager or in \
             Systems Manager Parameter Store"
        );
        let fix =
            "needs a person: keep the token where its age is known, or take token_max_age away";
        return Some(about(AuditReason::TokenAgeUnknown.of(
            "spot",
            message,
            Some(fix),
        )));
    };
    let old = observed.sync.now.saturating_sub(*since);
    if old <= max_age {
        return None;
    }
    let message = format!(
        "the Spot token in {place} has not been renewed for {} days; token_max_age allows {}. Spot does not tell when a token ends: it \
         does with its user, or when somebody revokes it",
        old / DAY,
        max_age / DAY
    );
    Some(about(Finding {
        expected: Some(format!("a token of at most {} days", max_age / DAY)),
        actual: Some(format!("one of {} days", old / DAY)),
        ..AuditReason::TokenOld.of("spot", message, Some(RENEW))
    }))
}
