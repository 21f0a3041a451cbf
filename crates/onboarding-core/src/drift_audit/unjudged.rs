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
        // Which role Spot uses is the state's own word, where it has one.
        for account in observed.owned.keys() {
            let stored = DriftKind::StoredRoleDiffers.code();
            unjudged.parts.entry(*account).or_default().insert(stored);
        }
    }
    if observed.detection.is_none() {
        let drifted = AuditReason::CloudFormationDrifted;
        unjudged.reasons.insert(drifted.code());
    }
    let in_iam = DriftKind::ALL.into_iter().map(DriftKind::code);
    let Some(drifts) = &observed.drifts else {
        unjudged.reasons.extend(in_iam);
        unjudged.reasons.insert(AuditReason::RecordersUntold.code());
        return unjudged;
    };
    match observed.seen {
        // AWS Config does not tell of it.
        Some(_) => unjudged.reasons.insert(DriftKind::RoleUnused.code()),
        None => unjudged.reasons.insert(AuditReason::RecordersUntold.code()),
    };
    for row in &plan.accounts {
        let account = row.account;
        let drifts = match drifts.get(&account) {
            Some(drifts) if !has(drifts, UNREADABLE) => drifts,
            // An account outside the targets is looked into as long as it has a stack.
            None if !row.targeted => continue,
            _ => {
                unjudged.accounts.insert(account);
                continue;
            }
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
            unjudged.parts.entry(account).or_default().extend(unread);
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
