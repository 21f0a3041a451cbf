//! Which external ID an AWS account's role must demand.

use crate::ids::{ExternalId, SpotAccountId};

use super::account::Standing;

/// Where an external ID was found; the first one that is known counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownExternalIds {
    /// What Spot says is the current one.
    pub at_spot: Option<ExternalId>,
    /// What we made earlier for this Spot account.
    pub remembered: Option<ExternalId>,
    /// Whether the remembered one can no longer be used for a first link.
    pub remembered_expired: bool,
    /// What is in use on the AWS side: an old stack's output, or the live trust policy.
    pub in_use: Option<ExternalId>,
}

/// What to hand out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExternalIdDecision {
    /// This one.
    HandOut(ExternalId),
    /// A new one, made by Spot.
    Mint,
}

/// Decides for one Spot account. `linked`: whether it is linked now.
///
/// A linked account keeps its external ID: making a new one may end the validity of the old one, and with it the link.
/// When it is linked by somebody else, is to stay so, and nobody can tell its external ID, the role gets one that Spot
/// never sends, so that nobody can assume it.
#[must_use]
pub fn decide(
    spot_account: &SpotAccountId,
    standing: Standing,
    keep_link: bool,
    linked: bool,
    known: KnownExternalIds,
) -> ExternalIdDecision {
    let remembered = known
        .remembered
        .filter(|_| linked || !known.remembered_expired);
    if let Some(id) = known.at_spot.or(remembered).or(known.in_use) {
        return ExternalIdDecision::HandOut(id);
    }
    if standing == Standing::LinkedElsewhere
        && keep_link
        && let Ok(inert) = format!("onboarding:kept-link:{spot_account}").parse()
    {
        return ExternalIdDecision::HandOut(inert);
    }
    ExternalIdDecision::Mint
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(
        at_spot: Option<&str>,
        remembered: Option<&str>,
        in_use: Option<&str>,
    ) -> KnownExternalIds {
        let id = |text: &str| text.parse().unwrap();
        KnownExternalIds {
            at_spot: at_spot.map(id),
            remembered: remembered.map(id),
            remembered_expired: false,
            in_use: in_use.map(id),
        }
    }

    fn decided(
        standing: Standing,
        keep_link: bool,
        linked: bool,
        known: KnownExternalIds,
    ) -> String {
        match decide(
            &"act-1".parse().unwrap(),
            standing,
            keep_link,
            linked,
            known,
        ) {
            ExternalIdDecision::HandOut(id) => id.to_string(),
            ExternalIdDecision::Mint => "mint".to_owned(),
        }
    }

    #[test]
    fn the_first_known_one_is_handed_out() {
        let all = ids(Some("spot"), Some("state"), Some("aws"));
        assert_eq!(decided(Standing::Ours, true, true, all), "spot");
        assert_eq!(
            decided(
                Standing::Ours,
                true,
                true,
                ids(None, Some("state"), Some("aws"))
            ),
            "state"
        );
        assert_eq!(
            decided(Standing::Ours, true, true, ids(None, None, Some("aws"))),
            "aws"
        );
        assert_eq!(
            decided(Standing::Ours, true, false, ids(None, None, None)),
            "mint"
        );
    }

    #[test]
    fn an_expired_one_is_replaced_only_before_the_first_link() {
        let expired = KnownExternalIds {
            remembered_expired: true,
            ..ids(None, Some("state"), None)
        };
        assert_eq!(
            decided(Standing::Ours, true, false, expired.clone()),
            "mint"
        );
        assert_eq!(decided(Standing::Ours, true, true, expired), "state");
    }

    #[test]
    fn nothing_is_made_for_a_link_that_is_kept() {
        let none = ids(None, None, None);
        assert_eq!(
            decided(Standing::LinkedElsewhere, true, true, none.clone()),
            "onboarding:kept-link:act-1"
        );
        assert_eq!(
            decided(Standing::LinkedElsewhere, false, true, none),
            "mint"
        );
    }
}
