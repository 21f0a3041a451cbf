//! The deletion of a Spot account that nobody needs any more, which no stack asks for.
//!
//! The same order as where a stack asks ([`super::deletion`]): wait for the rate governor, then look at everything again, then
//! claim the AWS account, check that nothing changed in our state meanwhile, write the intent, send. An answer that says
//! nothing is settled by looking.

use std::collections::BTreeSet;

use onboarding_core::{
    custom_resource::{TombstoneReason, deletion::veto},
    ids::{AwsAccountId, SpotAccountId, StackId},
    inventory::SpotAccountRecord,
};
use spot_api::{ErrorClass, SpotError};

use super::deletion::{NotSent, SentDeletion};
use crate::{
    intents::{Intent, IntentsError},
    provider::Provider,
};

/// A Spot account that is to be deleted, as it was seen when that was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The Spot account.
    pub spot_account: SpotAccountId,
    /// Its AWS account, as our state has it.
    pub account: AwsAccountId,
    /// The stack that linked it last; none when none did through us.
    pub owner: Option<StackId>,
    /// Whether it may be linked to its AWS account.
    pub may_be_linked: bool,
    /// Whether its AWS account left the organization or is closed: then nobody of ours has stacks in it.
    pub is_account_gone: bool,
}

/// Why a Spot account was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum CleanUpError<E> {
    /// It must not be, for this reason.
    #[error("Spot account {spot_account} is not deleted: {reason}")]
    Refused {
        /// The Spot account.
        spot_account: SpotAccountId,
        /// What speaks against it.
        reason: String,
    },
    /// Something is going on that passes by itself.
    #[error("Spot account {spot_account} is not deleted yet: {reason}")]
    Busy {
        /// The Spot account.
        spot_account: SpotAccountId,
        /// What goes on.
        reason: String,
    },
    /// Spot could not be asked, or refused.
    #[error(transparent)]
    Spot(#[from] SpotError),
    /// The state could not be used.
    #[error(transparent)]
    State(#[from] IntentsError),
    /// What was to be done before the deletion did not succeed.
    #[error("what has to be done before a deletion failed")]
    Before(#[source] E),
}

impl Provider {
    /// Deletes a Spot account, after everything was looked at once more: that it is there and still of its AWS account, that its
    /// owner is the same and no other stack holds it, and that nothing runs in it. `before` gets the Spot account as it is now, and is awaited when nothing
    /// else stands against it. False when it was gone already.
    ///
    /// # Errors
    /// [`CleanUpError`]; nothing was deleted then, but for an error of Spot's whose outcome is not known: called again, it looks.
    pub async fn clean_up<E, F>(
        &self,
        orphan: &Orphan,
        before: impl FnOnce(SpotAccountRecord) -> F + Send,
    ) -> Result<bool, CleanUpError<E>>
    where
        F: Future<Output = Result<(), E>> + Send,
        E: Send,
    {
        let done = self.cleaned_up(orphan, before).await;
        if let Err(CleanUpError::Busy { .. }) = &done {
            self.bring_near(orphan.account).await;
        }
        done
    }

    async fn cleaned_up<E, F>(
        &self,
        orphan: &Orphan,
        before: impl FnOnce(SpotAccountRecord) -> F + Send,
    ) -> Result<bool, CleanUpError<E>>
    where
        F: Future<Output = Result<(), E>> + Send,
        E: Send,
    {
        let (id, account) = (&orphan.spot_account, orphan.account);
        let busy = |reason: String| CleanUpError::Busy {
            spot_account: id.clone(),
            reason,
        };
        // The governor may hold us back for many minutes: nothing is looked at or claimed before it lets us through.
        let slot = self.spot.reserve_delete().await;
        let seen = self.intents.intent(account).await?;
        let Some(record) = self.unopposed(orphan, &seen).await? else {
            self.intents.forget(account, id, None).await?;
            self.listings.forget();
            return Ok(false);
        };
        before(record).await.map_err(CleanUpError::Before)?;
        // That may have taken minutes, in which somebody may have begun to use it.
        let Some(record) = self.record_now(id).await? else {
            self.intents.forget(account, id, None).await?;
            self.listings.forget();
            return Ok(false);
        };
        self.check_idle(orphan, &record).await?;
        if let Some(freeze) = self.intents.frozen().await? {
            return Err(busy(freeze.to_string()));
        }
        let holder = format!("orphan-cleanup/{:032x}", rand::random::<u128>());
        let deletion = SentDeletion {
            account,
            holder: &holder,
            spot_account: id,
            seen: &seen,
            departure: None,
        };
        match self.send_deletion(deletion, slot).await {
            Ok(()) => Ok(true),
            Err(NotSent::Busy(reason)) => Err(busy(reason)),
            Err(NotSent::State(error)) => Err(error.into()),
            Err(NotSent::Spot(error)) if is_unknown(&error) => match self.record_now(id).await {
                Ok(None) => {
                    self.intents.forget(account, id, None).await?;
                    self.listings.forget();
                    Ok(true)
                }
                _ => Err(error.into()),
            },
            Err(NotSent::Spot(error)) => Err(error.into()),
        }
    }

    /// Looks at everything that [`Provider::clean_up`] looks at, and deletes nothing: for what has to go before the Spot account. The Spot
    /// account as it is now; none when it is gone.
    ///
    /// # Errors
    /// [`CleanUpError`]: something speaks against the deletion.
    pub async fn may_clean_up<E>(
        &self,
        orphan: &Orphan,
    ) -> Result<Option<SpotAccountRecord>, CleanUpError<E>> {
        let seen = self.intents.intent(orphan.account).await?;
        self.unopposed(orphan, &seen).await
    }

    /// The Spot account as it is now, when nothing but what the caller itself looks at speaks against its deletion; none when it is gone.
    async fn unopposed<E>(
        &self,
        orphan: &Orphan,
        seen: &Intent,
    ) -> Result<Option<SpotAccountRecord>, CleanUpError<E>> {
        let (id, account) = (&orphan.spot_account, orphan.account);
        let refused = |reason: String| CleanUpError::Refused {
            spot_account: id.clone(),
            reason,
        };
        if let Some(sent) = &seen.sent
            && !sent.deletes(id)
            && !self.is_settled(account, seen).await?
        {
            return Err(CleanUpError::Busy {
                spot_account: id.clone(),
                reason: "the creation of a Spot account of its AWS account has not settled yet"
                    .to_owned(),
            });
        }
        let Some(record) = self.record_now(id).await? else {
            return Ok(None);
        };
        let owner = self.intents.owner(id).await?;
        if owner.as_ref().map(|owner| &owner.stack_id) != orphan.owner.as_ref() {
            return Err(refused("another stack has linked it since".to_owned()));
        }
        if owner.is_some_and(|owner| owner.adopted) {
            return Err(refused(TombstoneReason::Adopted.explanation().to_owned()));
        }
        if let Some(stack) = self.other_holder(orphan, seen).await? {
            let reason = TombstoneReason::HeldByAnother.explanation();
            return Err(refused(format!(
                "{reason} ({stack}), and nothing tells that this is deleted; delete it in the account"
            )));
        }
        self.check_idle(orphan, &record).await?;
        Ok(Some(record))
    }

    /// Checks that a Spot account is still of its AWS account, and that nothing runs in it.
    async fn check_idle<E>(
        &self,
        orphan: &Orphan,
        record: &SpotAccountRecord,
    ) -> Result<(), CleanUpError<E>> {
        let id = &orphan.spot_account;
        let mut running = self.spot.elastigroups(id).await?;
        running.extend(self.spot.ocean_clusters(id).await?);
        let Some(reason) = veto(record, orphan.account, orphan.may_be_linked, running.len()) else {
            return Ok(());
        };
        let named = running.into_iter().map(|one| one.name.unwrap_or(one.id));
        let named: Vec<String> = named.collect();
        Err(CleanUpError::Refused {
            spot_account: id.clone(),
            reason: match named.as_slice() {
                [] => reason.explanation().to_owned(),
                named => format!("{} ({})", reason.explanation(), named.join(", ")),
            },
        })
    }

    /// Another stack than the owner that was given the Spot account, and may be there: one that is not known to be deleted.
    async fn other_holder<E>(
        &self,
        orphan: &Orphan,
        seen: &Intent,
    ) -> Result<Option<StackId>, CleanUpError<E>> {
        if orphan.is_account_gone {
            return Ok(None);
        }
        // What is linked to nothing is used only by those whose AWS account has it assigned.
        let assigned = seen.assigned.as_ref();
        let has_another = assigned.is_some_and(|assigned| *assigned != orphan.spot_account);
        if has_another && !orphan.may_be_linked {
            return Ok(None);
        }
        let stacks = seen.holders.iter().map(|holder| &holder.stack);
        // What the runner asked for by itself is no stack that would stay.
        let is_other = |stack: &&StackId| stack.is_real() && Some(*stack) != orphan.owner.as_ref();
        let mut others: BTreeSet<&StackId> = stacks.filter(is_other).collect();
        if others.is_empty() {
            return Ok(None);
        }
        // A stack that has linked another Spot account of the AWS account was given that one.
        let linked = self.spot.list_accounts_of(orphan.account).await?;
        for one in linked.iter().filter(|one| one.id != orphan.spot_account) {
            if let Some(owner) = self.intents.owner(&one.id).await? {
                others.remove(&owner.stack_id);
            }
        }
        for stack in others {
            let status = self.directory.stack_status(stack).await;
            if status.as_deref() != Some("DELETE_COMPLETE") {
                return Ok(Some(stack.clone()));
            }
        }
        Ok(None)
    }

    /// A Spot account as it is now; none when it is not there. Spot does not document the call for one account: what it does not
    /// find there, the listing must not have either, and to what an account is linked, that may not say.
    async fn record_now(&self, id: &SpotAccountId) -> Result<Option<SpotAccountRecord>, SpotError> {
        let read = self.spot.account(id).await?;
        if read.as_ref().is_some_and(|read| read.aws_account.is_some()) {
            return Ok(read);
        }
        let all = self.spot.list_accounts().await?;
        let listed = all.into_iter().find(|record| record.id == *id);
        // Of one that is not listed, nobody knows that it is linked to nothing.
        let unclear = |read| SpotAccountRecord {
            unlinked: false,
            ..read
        };
        Ok(listed.or_else(|| read.map(unclear)))
    }
}

/// Whether the call may have taken effect.
fn is_unknown(error: &SpotError) -> bool {
    matches!(
        error.class(),
        ErrorClass::Transient | ErrorClass::Ambiguous | ErrorClass::Bug
    )
}
