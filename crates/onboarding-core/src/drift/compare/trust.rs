//! Whom the role lets in.

use super::{
    super::{
        CompareContext, Drift, DriftKind, Fix, RoleMeaning, commands,
        document::{Difference, Judgement},
        truth::RoleTruth,
    },
    drift, in_words,
};
use crate::{
    policy::compare::Verdict,
    trust::{TrustPolicy, Trusts},
};

/// Compares the trust policies: what each lets in, and whether Spot gets in as it should.
pub(super) fn compare(
    meaning: &RoleMeaning,
    truth: &RoleTruth,
    context: &CompareContext,
    found: &mut Vec<Drift>,
) {
    let role = &truth.role;
    let arn = role.arn.to_string();
    let unreadable = |reason: String| {
        let kind = DriftKind::TrustUnreadable;
        let expected = "a trust policy that can be compared".to_owned();
        drift(kind, arn.clone(), expected, reason, Fix::None)
    };
    let Ok(live) = TrustPolicy::parse(&role.trust_policy) else {
        let reason = "the trust policy is not a JSON object with statements".to_owned();
        found.push(unreadable(reason));
        return;
    };
    let spot = context.spot_principal.as_str();
    let is_open = live.trusts(spot, None) == Trusts::Yes;
    let is_shut = context
        .external_id
        .as_ref()
        .is_ok_and(|id| live.trusts(spot, Some(id.as_str())) == Trusts::No);
    let judgement = meaning.trust.judge(&role.trust_policy);
    let is_same = judgement == Judgement::Same;
    let difference = match judgement {
        Judgement::Same => None,
        Judgement::Differs(difference) => Some(difference),
        Judgement::Unreadable(reason) => {
            found.push(unreadable(reason));
            if !is_open {
                return;
            }
            None
        }
    };
    let fix = if is_same && is_open {
        // The template says so itself, and would say it again.
        Fix::NeedsPerson(commands::look(role.arn.role_name()))
    } else if is_same {
        Fix::Enroll
    } else if meaning.has_repair_nonce {
        Fix::ReDeploy
    } else {
        let command = commands::set_trust(role.arn.role_name(), meaning.trust.value());
        Fix::NeedsPerson(command)
    };
    let (verdict, changes) = match difference {
        Some(Difference { verdict, changes }) => (Some(verdict), changes),
        None => (None, Vec::new()),
    };
    let (kind, expected, actual) = if is_open {
        (
            DriftKind::TrustWithoutExternalId,
            format!("{spot} is let in with the external ID of this account only"),
            "it is let in without one".to_owned(),
        )
    } else if is_shut {
        (
            DriftKind::TrustDiffers,
            format!("{spot} is let in with the external ID that Spot uses"),
            "it is not let in with it".to_owned(),
        )
    } else if let Some(verdict) = verdict {
        (
            DriftKind::TrustDiffers,
            "whom the template lets in".to_owned(),
            in_words(verdict).to_owned(),
        )
    } else {
        // It is what the template says with whatever external ID is in it, and somebody may have put that there.
        if let (true, Err(why)) = (meaning.trust.has_unknown(), &context.external_id) {
            let kind = DriftKind::ExternalIdUntold;
            let known = "a trust policy with the external ID that Spot uses".to_owned();
            found.push(drift(kind, arn, known, why.clone(), Fix::None));
        }
        return;
    };
    found.push(Drift {
        verdict: verdict.or(is_open.then_some(Verdict::Widened)),
        changes,
        ..drift(kind, arn, expected, actual, fix)
    });
}
