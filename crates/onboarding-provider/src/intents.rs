//! The provider's state: what it is about to do, what it did, and for whom. Implemented over SQL by the runner, and in
//! memory for tests.
//!
//! Every method is one committed transaction when it returns. `claim`, `write_intent` and `clear_intent` compare and
//! change in one statement.

use async_trait::async_trait;
use jiff::Timestamp;
use onboarding_core::{
    custom_resource::ResourceResponse,
    ids::{AwsAccountId, ExternalId, RoleArn, SpotAccountId, StackId},
};
use serde::{Deserialize, Serialize};

/// A request to create a Spot account that is about to be sent, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendIntent {
    /// The name that the account is to get.
    pub name: String,
    /// It is not sent after this moment.
    pub send_by: Timestamp,
    /// From this moment on a listing of Spot shows whether it took effect. Until then nobody may create again.
    pub look_after: Timestamp,
}

/// What the state has for one AWS account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// The Spot account that was created, or taken over from an earlier attempt, for it.
    pub assigned: Option<SpotAccountId>,
    /// Since when.
    pub assigned_at: Option<Timestamp>,
    /// A creation that has not been settled.
    pub sent: Option<SendIntent>,
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

    /// Writes down that a Spot account is about to be created. Fails with [`IntentsError::ClaimLost`] unless the claim
    /// is held and unexpired.
    async fn write_intent(
        &self,
        account: AwsAccountId,
        holder: &str,
        intent: &SendIntent,
    ) -> Result<(), IntentsError>;

    /// Writes down that the creation certainly had no effect; nothing happens when the claim is not held any more.
    async fn clear_intent(&self, account: AwsAccountId, holder: &str) -> Result<(), IntentsError>;

    /// Assigns a Spot account to an AWS account, and settles its creation. No claim is needed: what exists, exists.
    async fn assign(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
        at: Timestamp,
    ) -> Result<(), IntentsError>;

    /// The stack that a Spot account belongs to.
    async fn owner(&self, spot_account: &SpotAccountId) -> Result<Option<Owner>, IntentsError>;

    /// Makes a stack the owner; it also cancels a tombstone of the account, if the store keeps such.
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
