//! What an audit did not look at: IAM at the depth `coverage`, accounts that could not be read, questions that nobody asked Spot or
//! CloudFormation.

use std::collections::BTreeSet;

use super::{AuditObserved, AuditReason};
use crate::{
    drift::{Drift, DriftKind},
    plan::{Plan, Unjudged},
};

/// What stays unknown when a policy of the template was not read.
const OF_POLICIES: [DriftKind; 2] = [DriftKind::PolicyDocumentDiffers, DriftKind::PolicyDetached];

/// And when the trust policy, or the external ID that it should have, was not.
const OF_TRUST: [DriftKind; 2] = [DriftKind::TrustDiffers, DriftKind::TrustWithoutExternalId];

/// What this plan does not say anything about.
pub(crate) fn unjudged(observed: &AuditObserved, plan: &Plan) -> Unjudged {
    let mut unjudged = Unjudged::default();
    if !observed.asks_spot {
        let invalid = AuditReason::CostIntelligenceInvalid;
        unjudged.reasons.insert(invalid.code());
        // The state's own word on which role Spot uses.
        if !observed.owned.is_empty() {
            unjudged.reasons.insert(DriftKind::StoredRoleDiffers.code());
        }
    }
    if observed.detection.is_none() {
        let drifted = AuditReason::CloudFormationDrifted;
        unjudged.reasons.insert(drifted.code());
    }
    let in_iam = DriftKind::ALL.into_iter().map(DriftKind::code);
    let Some(drifts) = &observed.drifts else {
        unjudged.reasons.extend(in_iam);
        return unjudged;
    };
    if observed.seen.is_some() {
        // AWS Config does not tell of it.
        unjudged.reasons.insert(DriftKind::RoleUnused.code());
    }
    for row in plan.targeted() {
        let account = row.account;
        let Some(drifts) = drifts
            .get(&account)
            .filter(|drifts| !has(drifts, UNREADABLE))
        else {
            unjudged.accounts.insert(account);
            continue;
        };
        let mut unread: BTreeSet<&'static str> = BTreeSet::new();
        if has(drifts, &[DriftKind::PolicyUnreadable]) {
            unread.extend(OF_POLICIES.map(DriftKind::code));
        }
        if has(
            drifts,
            &[DriftKind::TrustUnreadable, DriftKind::ExternalIdUntold],
        ) {
            unread.extend(OF_TRUST.map(DriftKind::code));
        }
        if !unread.is_empty() {
            unjudged.parts.insert(account, unread);
        }
    }
    let unreadable = DriftKind::RoleUnreadable.code();
    unjudged
        .in_accounts
        .extend(in_iam.filter(|code| *code != unreadable));
    unjudged
}

const UNREADABLE: &[DriftKind] = &[DriftKind::RoleUnreadable];

fn has(drifts: &[Drift], kinds: &[DriftKind]) -> bool {
    drifts.iter().any(|drift| kinds.contains(&drift.kind))
}
