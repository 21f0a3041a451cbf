//! The typed payload of the steps of `orphan-cleanup`, and what they are about.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    KIND,
    candidates::{Candidate, Stand},
    named,
    verdict::Why,
};
use crate::{
    ids::{AwsAccountId, RoleArn, SpotAccountId, StackId},
    plan::{
        Estimate, Risk, Step,
        consent::{Consent, Exactly, Scope},
    },
    stackset_sync::{self, SyncConsent},
};

/// After everything that `stackset-sync` does.
pub(super) const LEFTOVER: u32 = 60;

/// The Spot account goes last.
const LAST: u32 = 100;

/// What a step does that is not one of `stackset-sync`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CleanupAction {
    /// Delete a Spot account.
    DeleteSpotAccount {
        /// The Spot account.
        spot_account: SpotAccountId,
        /// Its name at Spot.
        name: String,
        /// Its AWS account.
        account: AwsAccountId,
        /// That account's name, where it is known.
        account_name: Option<String>,
        /// Why nobody needs it.
        why: Why,
        /// Since when (Unix seconds).
        first_seen: i64,
        /// The stack that linked it last; none when it was never linked through us.
        owner: Option<StackId>,
    },
    /// Delete the stack that was left in an account which no profile targets, through the remediation role.
    DeleteLeftoverStack {
        /// The stack.
        stack: StackId,
        /// The role that it made.
        role: RoleArn,
        /// The account that it is in.
        account: AwsAccountId,
        /// That account's name, where it is known.
        account_name: Option<String>,
        /// The Spot account that it linked, which goes after it.
        spot_account: SpotAccountId,
        /// Since when nobody needs that (Unix seconds).
        first_seen: i64,
    },
}

impl CleanupAction {
    /// The name of the action that deletes a Spot account.
    pub const DELETE: &str = "delete-spot-account";

    /// The name of the action that deletes a stack that was left.
    pub const DELETE_LEFTOVER: &str = "delete-leftover-stack";

    /// The names of all actions.
    pub const NAMES: [&str; 2] = [Self::DELETE_LEFTOVER, Self::DELETE];
}

/// The step that deletes a Spot account that was chosen. `earlier` are the steps that take out stack instances and delete stacks, `stack_sets`
/// how many stack sets are looked at.
pub(super) fn deletion(
    candidate: &Candidate<'_>,
    stack_sets: usize,
    earlier: &[Step],
) -> Option<Step> {
    let Stand::Chosen { after_stack } = candidate.stand else {
        return None;
    };
    let (judged, why) = (candidate.judged, candidate.why);
    let (record, account) = (judged.record, judged.account);
    let owner = judged.known.owner.as_ref();
    let action = CleanupAction::DeleteSpotAccount {
        spot_account: record.id.clone(),
        name: record.name.to_string(),
        account,
        account_name: candidate.place.as_ref().map(|place| place.name.clone()),
        why,
        first_seen: candidate.since,
        owner: owner.map(|owner| owner.stack.clone()),
    };
    let mut preconditions = vec![
        format!("AWS account {account}: {why}"),
        match owner {
            Some(owner) => format!("the owner of {}: {}", record.id, owner.stack),
            None => format!("the owner of {}: none", record.id),
        },
    ];
    if after_stack {
        let earlier = earlier
            .iter()
            .filter(|step| step.accounts.contains(&account));
        preconditions.extend(earlier.map(|step| format!("step:{}", step.id)));
    }
    let mut changes = vec![format!(
        "- Spot account {} {:?}, for good: `runner runs undo` makes another one, with another id",
        record.id, record.name
    )];
    if let Some(owner) = owner {
        let role = &owner.role;
        changes.push(match why {
            Why::Departed | Why::Closed => format!(
                "  role {role} and its stack stay in the account, which we do not reach; nobody can use them through Spot"
            ),
            _ => format!("  role {role} is not used by it any more"),
        });
    }
    Some(Step {
        id: format!("delete-spot-account:{}", record.id),
        kind: KIND.to_owned(),
        action: CleanupAction::DELETE.to_owned(),
        accounts: vec![account],
        reason: format!("AWS account {} {}", named(candidate), why.words()),
        risk: Risk::High,
        order: LAST,
        preconditions,
        changes,
        estimate: Estimate {
            aws_calls: u64::try_from(stack_sets)
                .unwrap_or(u64::MAX)
                .saturating_add(1),
            spot_calls: 15,
            seconds: 10,
        },
        // Plain data with text keys, which JSON can always carry.
        payload: serde_json::to_value(action).unwrap_or_default(),
    })
}

/// The steps of `orphan-cleanup`: each deletion by itself, and those of `stackset-sync` as that has them.
#[derive(Debug, Clone, Copy)]
pub struct CleanupConsent;

impl Consent for CleanupConsent {
    fn scope(&self, step: &Step) -> Scope {
        if step.kind == stackset_sync::KIND {
            return SyncConsent.scope(step);
        }
        match serde_json::from_value(step.payload.clone()) {
            Ok(
                CleanupAction::DeleteSpotAccount { .. } | CleanupAction::DeleteLeftoverStack { .. },
            ) => Scope::Whole(step.id.clone()),
            Err(_) => Exactly.scope(step),
        }
    }

    fn narrowed(&self, step: &Step, accounts: &BTreeSet<AwsAccountId>) -> Option<Step> {
        SyncConsent.narrowed(step, accounts)
    }
}
