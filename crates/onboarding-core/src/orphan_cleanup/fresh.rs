//! What must be true at the moment of deletion, of a Spot account or of a stack, whatever the plan said.

use super::verdict::Why;
use crate::{
    ids::{AwsAccountId, SpotAccountId, StackSetName},
    inventory::{AccountState, SpotAccountRecord},
};

/// What was read for one deletion alone, right before it.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Why nothing of the account is removed, by its name and place as they are now; none when it is not protected.
    pub protected: Option<String>,
    /// The account's state in the organization; none when it is not in it.
    pub state: Option<AccountState>,
    /// Whether it is active and a profile targets it.
    pub in_scope: bool,
    /// The stack set that has an instance of it, when one has.
    pub instance: Option<StackSetName>,
    /// The Spot accounts that are linked to it.
    pub linked: Vec<SpotAccountRecord>,
}

/// Whether a Spot account may still be deleted.
///
/// # Errors
/// Why not, for people.
pub fn still_orphan(
    why: Why,
    spot_account: &SpotAccountId,
    account: AwsAccountId,
    evidence: &Evidence,
) -> Result<(), String> {
    let Evidence {
        protected,
        state,
        in_scope,
        instance,
        linked,
    } = evidence;
    if let Some(by) = protected {
        return Err(format!("it is protected: {by}"));
    }
    let others = linked.iter().filter(|other| other.id != *spot_account);
    let others: Vec<String> = others.map(|other| other.id.to_string()).collect();
    let is_linked = linked.iter().any(|one| one.id == *spot_account);
    match why {
        Why::Departed | Why::Closed
            if !matches!(state, None | Some(AccountState::Closed)) || *in_scope =>
        {
            return Err(format!(
                "AWS account {account} is in the organization after all, although the listing did not have it or had it as closed"
            ));
        }
        Why::OutsideTargets if *state != Some(AccountState::Active) || *in_scope => {
            return Err(format!(
                "AWS account {account} is targeted again, or not active any more"
            ));
        }
        Why::NeverLinked | Why::Duplicate
            if !matches!(
                state,
                None | Some(AccountState::Active | AccountState::Closed)
            ) =>
        {
            return Err(format!(
                "AWS account {account} is suspended, or not active for another reason, and may come back"
            ));
        }
        Why::NeverLinked if !*in_scope && instance.is_some() => {
            return Err(format!(
                "AWS account {account} has a stack instance, whose stack may link it"
            ));
        }
        Why::NeverLinked if is_linked => {
            return Err(format!("it is linked to AWS account {account} by now"));
        }
        Why::NeverLinked if *in_scope && others.is_empty() => {
            return Err(format!(
                "AWS account {account} is targeted and has no other Spot account: its next enrollment takes this one"
            ));
        }
        Why::Duplicate if !is_linked || others.is_empty() => {
            return Err(format!(
                "AWS account {account} is not linked to several Spot accounts any more"
            ));
        }
        _ => {}
    }
    match why {
        Why::Duplicate | Why::NeverLinked => Ok(()),
        Why::Departed | Why::Closed | Why::OutsideTargets => match instance {
            Some(stack_set) => Err(format!(
                "stack set {stack_set} has an instance of AWS account {account}"
            )),
            None if is_linked && !others.is_empty() => Err(format!(
                "AWS account {account} is linked to {} as well",
                others.join(", ")
            )),
            None => Ok(()),
        },
    }
}

/// Whether a stack that was left in an account may still be deleted, before its Spot account. `running` is what runs in that.
///
/// # Errors
/// Why not, for people.
pub fn still_left(
    spot_account: &SpotAccountId,
    account: AwsAccountId,
    evidence: &Evidence,
    running: &[String],
) -> Result<(), String> {
    still_orphan(Why::OutsideTargets, spot_account, account, evidence)?;
    if !evidence.linked.iter().any(|one| one.id == *spot_account) {
        return Err(format!(
            "{spot_account} is not linked to AWS account {account} any more"
        ));
    }
    idle(running)
}

fn idle(running: &[String]) -> Result<(), String> {
    match running {
        [] => Ok(()),
        running => Err(format!(
            "{} run in its Spot account, which needs the role",
            running.join(", ")
        )),
    }
}

/// What was read for the removal of one account's stack alone, right before it.
#[derive(Debug, Clone)]
pub struct OutsideEvidence {
    /// As of [`Evidence::protected`].
    pub protected: Option<String>,
    /// The account's state in the organization; none when it is not in it.
    pub state: Option<AccountState>,
    /// Whether it is active and a profile targets it.
    pub in_scope: bool,
    /// What runs in the Spot accounts that are linked to it.
    pub running: Vec<String>,
}

/// Whether the stack of an account may still be deleted with its stack instance.
///
/// # Errors
/// Why not, for people.
pub fn still_outside(account: AwsAccountId, evidence: &OutsideEvidence) -> Result<(), String> {
    let OutsideEvidence {
        protected,
        state,
        in_scope,
        running,
    } = evidence;
    if let Some(by) = protected {
        return Err(format!("AWS account {account} is protected: {by}"));
    }
    if *in_scope {
        return Err(format!("AWS account {account} is targeted again"));
    }
    if *state != Some(AccountState::Active) {
        return Err(format!(
            "AWS account {account} is not active any more, and may come back"
        ));
    }
    idle(running)
}
