//! Which external ID an AWS account's role must demand.

use crate::{
    ids::{ExternalId, SpotAccountId},
    trust::TrustPolicy,
};

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

/// The external ID that a live role lets Spot in with: the one that the output of its stack names, or the only one. One that
/// does not let Spot in for certain is none, and of several nobody can tell which one Spot uses.
#[must_use]
pub fn in_use(
    trust: &TrustPolicy,
    spot_principal: &str,
    stack_output: Option<&str>,
) -> Option<ExternalId> {
    let trusted = trust.external_ids(spot_principal);
    let named = stack_output.and_then(|output| trusted.iter().find(|id| id.as_str() == output));
    match named {
        Some(id) => Some(id.clone()),
        None if trusted.len() == 1 => trusted.into_iter().next(),
        None => None,
    }
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

    #[test]
    fn only_an_external_id_that_lets_spot_in_is_in_use() {
        let spot = "arn:aws:iam::922761411349:root";
        let trust = |ids: &[&str], principal: &str| {
            let document = serde_json::json!({"Statement": {"Effect": "Allow", "Principal": {"AWS": principal},
                "Action": "sts:AssumeRole", "Condition": {"StringEquals": {"sts:ExternalId": ids}}}});
            TrustPolicy::parse(&document.to_string()).unwrap()
        };
        for (ids, output, expected) in [
            (&["one"][..], None, Some("one")),
            (&["one"], Some("another"), Some("one")),
            (&["one", "two"], None, None),
            (&["one", "two"], Some("two"), Some("two")),
            (&["one", "two"], Some("three"), None),
        ] {
            let found = in_use(&trust(ids, spot), spot, output);
            assert_eq!(
                found.as_ref().map(ExternalId::as_str),
                expected,
                "{ids:?} {output:?}"
            );
        }
        let of_others = trust(&["one"], "arn:aws:iam::111111111111:root");
        assert_eq!(in_use(&of_others, spot, Some("one")), None);
    }
}
