//! Stacks of ours that were left in active accounts which no profile targets: the step that deletes one through the remediation role,
//! and what a stack must be like to be the one that was left.

use super::{
    KIND,
    action::{CleanupAction, LEFTOVER},
    candidates::{Candidate, Stand},
    named,
};
use crate::{
    ids::{RoleArn, SpotAccountId, StackId},
    plan::{Estimate, Risk, Step},
};

/// The step that deletes the stack that was left in the account of a Spot account that was chosen.
pub(super) fn step(candidate: &Candidate<'_>) -> Option<Step> {
    let (Stand::Chosen { .. }, judged) = (&candidate.stand, candidate.judged) else {
        return None;
    };
    let (stack, owner) = (judged.leftover.as_ref()?, judged.known.owner.as_ref()?);
    let (account, role) = (judged.account, &owner.role);
    let action = CleanupAction::DeleteLeftoverStack {
        stack: stack.clone(),
        role: role.clone(),
        account,
        account_name: candidate.place.as_ref().map(|place| place.name.clone()),
        spot_account: judged.record.id.clone(),
        first_seen: candidate.since,
    };
    Some(Step {
        id: format!("{}:{account}", CleanupAction::DELETE_LEFTOVER),
        kind: KIND.to_owned(),
        action: CleanupAction::DELETE_LEFTOVER.to_owned(),
        accounts: vec![account],
        reason: format!(
            "no profile targets AWS account {} any more, and its stack was left there",
            named(candidate)
        ),
        risk: Risk::High,
        order: LEFTOVER,
        preconditions: vec![
            format!("AWS account {account}: {}", candidate.why),
            format!("the owner of {}: {stack}", judged.record.id),
        ],
        changes: vec![
            format!(
                "- stack {} in {}, through the remediation role",
                stack.name(),
                stack.region()
            ),
            format!("- role {role}, and the policies that the stack made"),
        ],
        estimate: Estimate {
            aws_calls: 12,
            spot_calls: 12,
            seconds: 120,
        },
        // Plain data with text keys, which JSON can always carry.
        payload: serde_json::to_value(action).unwrap_or_default(),
    })
}

/// What CloudFormation tells of a stack.
#[derive(Debug, Clone, Copy)]
pub struct LeftStack<'a> {
    /// Its name.
    pub name: &'a str,
    /// The output that names its role; none while it has no outputs.
    pub role: Option<&'a str>,
    /// The output that names its Spot account; none while it has no outputs, or when it does not ask for one.
    pub spot_account: Option<&'a str>,
    /// Whether it is protected from being deleted.
    pub is_protected: bool,
}

/// Why a stack is not deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// It has another name.
    #[error("it is named {0:?} in its account")]
    Name(String),
    /// It made another role than the one that our state has.
    #[error("its role is {0}, and our state has another one")]
    Role(String),
    /// It is another Spot account's.
    #[error("it names Spot account {0:?}, and our state has another one")]
    SpotAccount(String),
    /// Somebody protected it.
    #[error(
        "its termination protection is on: somebody wants it kept; if not, aws cloudformation update-termination-protection \
         --no-enable-termination-protection --region {region} --stack-name {0}, in the account",
        region = .0.region()
    )]
    Protected(StackId),
}

/// Whether a stack is the one that was left, as far as CloudFormation tells, and nobody protects it.
///
/// # Errors
/// Why it is not deleted.
pub fn is_the_left_one(
    stack: &StackId,
    role: &RoleArn,
    spot_account: &SpotAccountId,
    found: LeftStack<'_>,
) -> Result<(), Foreign> {
    if found.name != stack.name() {
        return Err(Foreign::Name(found.name.to_owned()));
    }
    if let Some(other) = found.role.filter(|found| *found != role.as_str()) {
        return Err(Foreign::Role(other.to_owned()));
    }
    let other = found.spot_account;
    if let Some(other) = other.filter(|found| *found != spot_account.as_str()) {
        return Err(Foreign::SpotAccount(other.to_owned()));
    }
    match found.is_protected {
        true => Err(Foreign::Protected(stack.clone())),
        false => Ok(()),
    }
}
