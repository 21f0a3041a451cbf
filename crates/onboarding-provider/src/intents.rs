//! The provider's state: what it is about to do, what it did, and for whom. Implemented in a database by `sql`, and in
//! memory by `memory`.
//!
//! Every method is one committed transaction when it returns. `claim`, `write_intent` and `clear_intent` compare and
//! change in one statement.

use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use onboarding_core::{
    custom_resource::{ResourceResponse, TombstoneReason},
    ids::{AwsAccountId, ExternalId, RoleArn, SpotAccountId, StackId},
};
use serde::{Deserialize, Serialize};

/// A call of Spot that must not happen twice, or too late.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SentCall {
    /// The creation of a Spot account.
    Create {
        /// The name that the account is to get.
        name: String,
        /// The stack that asked for it.
        stack: StackId,
    },
    /// The deletion of a Spot account.
    Delete {
        /// Which one.
        spot_account: SpotAccountId,
    },
}

/// A call that is about to be sent, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendIntent {
    /// The call.
    pub call: SentCall,
    /// It is not sent after this moment.
    pub send_by: Timestamp,
    /// From this moment on a listing of Spot shows whether it took effect. Until then nobody may create again, or use
    /// what may be deleted.
    pub look_after: Timestamp,
}

impl SendIntent {
    /// Whether the call deletes this Spot account.
    #[must_use]
    pub fn deletes(&self, id: &SpotAccountId) -> bool {
        matches!(&self.call, SentCall::Delete { spot_account } if spot_account == id)
    }
}

/// What the state has for one AWS account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The Spot account that was created, or taken over from an earlier attempt, for it.
    pub assigned: Option<SpotAccountId>,
    /// Since when.
    pub assigned_at: Option<Timestamp>,
    /// The stack whose request created the assigned one; none when an earlier attempt had left it.
    pub created_by: Option<StackId>,
    /// The stacks that were given its Spot account, and have not been deleted since.
    pub stacks: BTreeSet<StackId>,
    /// The stacks that have been deleted. A request of theirs that comes later is not served.
    pub departed: BTreeSet<StackId>,
    /// A creation or deletion that has not been settled.
    pub sent: Option<SendIntent>,
    /// The Spot account that was deleted last. Spot may list it for some more time.
    pub removed: Option<SpotAccountId>,
}

impl Intent {
    /// Assigns a Spot account, which settles its creation.
    pub fn assign(
        &mut self,
        spot_account: &SpotAccountId,
        at: Timestamp,
        stack: &StackId,
        created_by: Option<&StackId>,
    ) {
        self.assigned = Some(spot_account.clone());
        self.assigned_at = Some(at);
        self.created_by = created_by.cloned();
        self.stacks.insert(stack.clone());
        self.departed.remove(stack);
        self.sent = None;
    }

    /// Gives a stack the Spot account; false when that is deleted, or may be, or when the stack is deleted and does not
    /// ask for it `anew`. A deletion that has had no effect is settled by this, so a caller looks at Spot first.
    pub fn hold(
        &mut self,
        spot_account: &SpotAccountId,
        stack: &StackId,
        anew: bool,
        now: Timestamp,
    ) -> bool {
        if self.removed.as_ref() == Some(spot_account) || (!anew && self.departed.contains(stack)) {
            return false;
        }
        match &self.sent {
            Some(sent) if !sent.deletes(spot_account) => {}
            Some(sent) if now < sent.look_after => return false,
            _ => self.sent = None,
        }
        self.stacks.insert(stack.clone());
        self.departed.remove(stack);
        true
    }

    /// Notes that a stack is deleted.
    pub fn let_go(&mut self, stack: &StackId) {
        self.stacks.remove(stack);
        self.departed.insert(stack.clone());
    }

    /// Forgets a Spot account that is deleted.
    pub fn forget(&mut self, spot_account: &SpotAccountId, stack: &StackId) {
        if self.assigned.as_ref() == Some(spot_account) {
            self.assigned = None;
            self.assigned_at = None;
            self.created_by = None;
        }
        self.sent.take_if(|sent| sent.deletes(spot_account));
        self.let_go(stack);
        self.removed = Some(spot_account.clone());
    }
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The claimant holds the account now; this is what the state has for it.
    Held(Intent),
    /// Somebody else holds it.
    Busy {
        /// At the longest until then.
        until: Timestamp,
    },
}

/// The stack that a Spot account belongs to: the one whose link succeeded last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The stack.
    pub stack_id: StackId,
    /// The AWS account.
    pub account: AwsAccountId,
    /// The role that was linked.
    pub role: RoleArn,
    /// Whether somebody else had linked the account before us, so that deleting the stack must not delete it.
    pub adopted: bool,
    /// When the link was made.
    pub linked_at: Timestamp,
}

/// A Spot account that stays although its stack is deleted, until somebody decides about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// The Spot account.
    pub spot_account: SpotAccountId,
    /// Its AWS account.
    pub account: AwsAccountId,
    /// The stack that was deleted.
    pub stack_id: StackId,
    /// When.
    pub at: Timestamp,
    /// Why the Spot account stays.
    pub reason: TombstoneReason,
}

/// An external ID that we made for a Spot account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedExternalId {
    /// The external ID.
    pub external_id: ExternalId,
    /// Until when it can be used for a first link, when Spot said so.
    pub valid_until: Option<Timestamp>,
}

/// The state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IntentsError {
    /// The claim ran out, and somebody else has the account now.
    #[error("the claim on AWS account {0} was lost")]
    ClaimLost(AwsAccountId),
    /// The store failed; it will be tried again.
    #[error("the provider's state cannot be used")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The provider's state.
#[async_trait]
pub trait Intents: Send + Sync {
    /// Takes the one claim on an AWS account until a moment, when nobody else holds an unexpired one. A holder that
    /// claims again prolongs.
    async fn claim(
        &self,
        account: AwsAccountId,
        holder: &str,
        until: Timestamp,
    ) -> Result<Claim, IntentsError>;

    /// Gives a claim back; nothing happens when it is not held.
    async fn release(&self, account: AwsAccountId, holder: &str) -> Result<(), IntentsError>;

    /// What the state has for an AWS account; empty when it has nothing.
    async fn intent(&self, account: AwsAccountId) -> Result<Intent, IntentsError>;

    /// Writes down that a Spot account is about to be created or deleted. Fails with [`IntentsError::ClaimLost`] unless
    /// the claim is held and unexpired.
    async fn write_intent(
        &self,
        account: AwsAccountId,
        holder: &str,
        intent: &SendIntent,
    ) -> Result<(), IntentsError>;

    /// Writes down that the call certainly had no effect; nothing happens when the claim is not held any more.
    async fn clear_intent(&self, account: AwsAccountId, holder: &str) -> Result<(), IntentsError>;

    /// Assigns a Spot account to the AWS account of a stack, see [`Intent::assign`]. No claim is needed: what exists,
    /// exists.
    async fn assign(
        &self,
        stack: &StackId,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
        at: Timestamp,
        created_by: Option<&StackId>,
    ) -> Result<(), IntentsError>;

    /// Gives a stack the Spot account of its AWS account, see [`Intent::hold`]. Also false while somebody holds the claim:
    /// it may be deleting.
    async fn hold(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
        stack: &StackId,
        anew: bool,
    ) -> Result<bool, IntentsError>;

    /// Notes that a stack is deleted: takes back what `hold` gave.
    async fn let_go(&self, account: AwsAccountId, stack: &StackId) -> Result<(), IntentsError>;

    /// Forgets a Spot account that is deleted: see [`Intent::forget`]; its owner, external ID and tombstone go as well.
    async fn forget(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
        stack: &StackId,
    ) -> Result<(), IntentsError>;

    /// Leaves a tombstone. An earlier one of the same Spot account is replaced.
    async fn leave_tombstone(&self, tombstone: &Tombstone) -> Result<(), IntentsError>;

    /// The stack that a Spot account belongs to.
    async fn owner(&self, spot_account: &SpotAccountId) -> Result<Option<Owner>, IntentsError>;

    /// Makes a stack the owner, which also cancels a tombstone of the Spot account.
    async fn set_owner(
        &self,
        spot_account: &SpotAccountId,
        owner: &Owner,
    ) -> Result<(), IntentsError>;

    /// The external ID that was made last for a Spot account.
    async fn external_id(
        &self,
        spot_account: &SpotAccountId,
    ) -> Result<Option<RememberedExternalId>, IntentsError>;

    /// Remembers an external ID.
    async fn remember_external_id(
        &self,
        spot_account: &SpotAccountId,
        external_id: &RememberedExternalId,
    ) -> Result<(), IntentsError>;

    /// The answer that a request got before.
    async fn answer(
        &self,
        stack_id: &StackId,
        request_id: &str,
    ) -> Result<Option<ResourceResponse>, IntentsError>;

    /// Remembers an answer, by its stack's and request's ids, unless the request has one already. Returns the one that
    /// stays, so that a request that was served twice at the same time gets one answer.
    async fn remember_answer(
        &self,
        answer: &ResourceResponse,
    ) -> Result<ResourceResponse, IntentsError>;
}
