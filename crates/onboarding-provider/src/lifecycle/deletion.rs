//! The Delete of a resource. Only that of `Custom::SpotAccount` can have an effect at Spot: it deletes the Spot account
//! by the rules of onboarding-core's `deletion`, and only when its stack says that it deletes something.
//!
//! The order, each step committed before the next: wait for the rate governor; look at Spot; claim the AWS account;
//! check that nothing changed in our state since we looked; write the intent; send, unless the send deadline has passed; forget the
//! account. From the claim on nobody is given it. A deletion that is repeated names the same id, so it is harmless.

use std::time::Duration;

use jiff::Timestamp;
use onboarding_core::{
    custom_resource::{
        DeletionDecision, Holder, RequestType, ResourceRequest, ResourceResponse, TombstoneReason,
        deletes,
        deletion::{Held, Spared, decide, left_behind, veto},
        ends,
        response::is_marker,
        still_waits,
    },
    ids::{AwsAccountId, SpotAccountId},
    template::Deletion,
};
use spot_api::{DeleteSlot, ErrorClass, SendBy, SpotError};
use tokio::time::{Instant, timeout};

use super::{Patience, Trouble, asked_at, claim::holder_name};
use crate::{
    intents::{Claim, Departure, Intent, IntentsError, SendIntent, SentCall, Tombstone},
    provider::{Provider, after, from_now},
    refusal::Refusal,
};

/// The only resource whose Delete can have an effect at Spot.
const SPOT_ACCOUNT: &str = "Custom::SpotAccount";

/// How long the status of a stack may take whose Delete has no time left.
const STATUS_PATIENCE: Duration = Duration::from_secs(3);

/// A Spot account whose stack asks for its deletion.
struct Subject {
    id: SpotAccountId,
    intent: Intent,
    /// Whether the stack has linked it.
    owned: bool,
    decision: DeletionDecision,
}

impl Provider {
    pub(super) async fn delete(
        &self,
        request: &ResourceRequest,
    ) -> Result<ResourceResponse, Trouble> {
        let status = self.status_of_stack(request).await;
        if let Some(answer) = self.not_sent_by_its_stack(request, status.as_deref()) {
            return Ok(answer);
        }
        let departure = departure(request, status.as_deref());
        let Some(subject) = self.subject(request, &departure).await? else {
            self.let_go(request, &departure).await?;
            let reason = "there is nothing to delete at Spot";
            return Ok(ResourceResponse::unchanged(request, reason));
        };
        match subject.decision {
            DeletionDecision::Spare(why) => {
                self.count_foreign(request, &subject.id).await?;
                let after = self.let_go(request, &departure).await?;
                if why == Spared::OfAnotherResource {
                    still_stands(&departure.holder, &after)?;
                }
                let reason = format!("nothing was deleted at Spot: {why}");
                Ok(ResourceResponse::unchanged(request, reason))
            }
            DeletionDecision::Leave(reason) => {
                self.leave(request, &subject.id, &departure, reason, &[])
                    .await
            }
            DeletionDecision::Delete if !status.as_deref().is_some_and(deletes) => {
                // Whoever can write to the queue can ask for it; what is not done now stays, with a tombstone.
                Err(Trouble::PassingFor(
                    "nobody can tell whether its stack deletes it: the audit role cannot read the stack's status"
                        .to_owned(),
                    Patience::Refusal,
                ))
            }
            DeletionDecision::Delete => self.delete_account(request, &subject, &departure).await,
        }
    }

    /// The answer to a Delete whose stack, by its status, deletes nothing. Somebody else has sent it: not even the state is
    /// changed.
    fn not_sent_by_its_stack(
        &self,
        request: &ResourceRequest,
        status: Option<&str>,
    ) -> Option<ResourceResponse> {
        let status = status.filter(|status| !still_waits(status, RequestType::Delete))?;
        tracing::warn!(status, "a Delete that its stack cannot have sent");
        self.refused(request, Refusal::StackEnded);
        let reason =
            format!("its stack is {status} and deletes nothing; nothing was changed at Spot");
        Some(ResourceResponse::unchanged(request, reason))
    }

    /// The answer to a Delete that could not be done. It is a success: a stack that cannot be deleted helps nobody.
    ///
    /// It may not be its stack's: how long it may take is for its sender to say, so the status is asked for here as well.
    /// Where it has to be known and is not, the account is still held for the stack, whose later requests would be refused
    /// otherwise; the tombstone says that somebody asked.
    pub(crate) async fn not_deleted(
        &self,
        request: &ResourceRequest,
        trouble: &str,
    ) -> ResourceResponse {
        let asked = self.status_of_stack(request);
        let status = timeout(STATUS_PATIENCE, asked).await.ok().flatten();
        if let Some(answer) = self.not_sent_by_its_stack(request, status.as_deref()) {
            return answer;
        }
        let departure = departure(request, status.as_deref());
        let is_unverified =
            self.settings.deletion == Deletion::Stack && !status.as_deref().is_some_and(deletes);
        let left = async {
            let subject = self.subject(request, &departure).await?;
            let is_spared = |subject: &Subject| match subject.decision {
                DeletionDecision::Spare(why) => Some(why),
                DeletionDecision::Leave(_) | DeletionDecision::Delete => None,
            };
            let reason = TombstoneReason::NotDone;
            match subject.map(|subject| (is_spared(&subject), subject.id)) {
                Some((None, id)) if is_unverified => {
                    self.leave_tombstone(request, &id, reason).await?;
                    let reason = left_behind(&id, reason, &[]);
                    return Ok(ResourceResponse::unchanged(request, reason));
                }
                Some((None, id)) => {
                    return self.leave(request, &id, &departure, reason, &[]).await;
                }
                Some(_) | None if is_unverified => {}
                Some((Some(Spared::OfAnotherResource), _)) => {
                    let after = self.let_go(request, &departure).await?;
                    still_stands(&departure.holder, &after)?;
                }
                Some(_) | None => drop(self.let_go(request, &departure).await?),
            }
            let reason = "nothing was deleted at Spot";
            Ok::<_, Trouble>(ResourceResponse::unchanged(request, reason))
        };
        let why = match left.await {
            Ok(answer) => answer.reason,
            Err(error) => {
                tracing::error!(?error, "no tombstone could be left");
                "nothing was deleted at Spot".to_owned()
            }
        };
        ResourceResponse::unchanged(request, format!("{why}: {trouble}"))
    }

    /// What a Delete is about; none when there is nothing that it could delete.
    async fn subject(
        &self,
        request: &ResourceRequest,
        departure: &Departure,
    ) -> Result<Option<Subject>, Trouble> {
        let (stack, holder) = (&request.stack_id, &departure.holder);
        if !departure.is_account {
            return Ok(None);
        }
        let intent = self.intents.intent(request.account).await?;
        let created_by = intent.created_by.as_ref();
        let named = request.physical_id.as_deref();
        let named: Option<SpotAccountId> = named
            .filter(|id| !is_marker(id))
            .and_then(|id| id.parse().ok());
        // A Create that failed late, such as at its deadline, or was never answered, so that CloudFormation has made an id
        // up, may have created one. Another Create of the same stack may have been given it since, so it is never deleted
        // by this.
        let failed = named.is_none();
        let created = || {
            let created = intent.assigned.clone();
            created.filter(|_| created_by == Some(stack) && !holder.has_sibling(&intent.holders))
        };
        let Some(id) = named.or_else(created) else {
            return Ok(None);
        };
        let owner = self.intents.owner(&id).await?;
        let held = Held {
            owner: owner.as_ref().map(|owner| (&owner.stack_id, owner.adopted)),
            assigned: intent.assigned.as_ref(),
            created_by,
            holders: &intent.holders,
        };
        let rule = self.settings.deletion;
        let decision = match decide(rule, holder, departure.ends, &id, held) {
            _ if failed && owner.is_none() => {
                DeletionDecision::Leave(TombstoneReason::CreateFailed)
            }
            _ if failed => return Ok(None),
            decision => decision,
        };
        Ok(Some(Subject {
            decision,
            owned: owner.is_some(),
            id,
            intent,
        }))
    }

    async fn let_go(
        &self,
        request: &ResourceRequest,
        departure: &Departure,
    ) -> Result<Intent, Trouble> {
        Ok(self.intents.let_go(request.account, departure).await?)
    }

    async fn leave(
        &self,
        request: &ResourceRequest,
        id: &SpotAccountId,
        departure: &Departure,
        reason: TombstoneReason,
        running: &[String],
    ) -> Result<ResourceResponse, Trouble> {
        self.leave_tombstone(request, id, reason).await?;
        let after = self.let_go(request, departure).await?;
        if reason == TombstoneReason::HeldByAnotherResource {
            still_stands(&departure.holder, &after)?;
        }
        Ok(ResourceResponse::unchanged(
            request,
            left_behind(id, reason, running),
        ))
    }

    /// Remembers a Spot account that stays without the resource that asked.
    pub(super) async fn leave_tombstone(
        &self,
        request: &ResourceRequest,
        id: &SpotAccountId,
        reason: TombstoneReason,
    ) -> Result<(), Trouble> {
        let tombstone = Tombstone {
            spot_account: id.clone(),
            account: request.account,
            stack_id: request.stack_id.clone(),
            at: Timestamp::now(),
            reason,
        };
        self.intents.leave_tombstone(&tombstone).await?;
        tracing::warn!(spot_account = %id, reason = reason.as_str(), "tombstone left");
        Ok(())
    }

    /// Counts a Delete that names a Spot account which, as far as is known without asking Spot, is another AWS account's.
    async fn count_foreign(
        &self,
        request: &ResourceRequest,
        id: &SpotAccountId,
    ) -> Result<(), Trouble> {
        let owner = self.intents.owner(id).await?;
        let listing = self.listings.last();
        let listed = listing.and_then(|listing| listing.known.get(id)?.aws_account);
        let accounts = owner.map(|owner| owner.account).into_iter().chain(listed);
        if accounts
            .into_iter()
            .any(|account| account != request.account)
        {
            self.refused(request, Refusal::ForeignSpotAccount);
        }
        Ok(())
    }

    async fn delete_account(
        &self,
        request: &ResourceRequest,
        subject: &Subject,
        departure: &Departure,
    ) -> Result<ResourceResponse, Trouble> {
        let Subject { id, intent, .. } = subject;
        if let Some(sent) = &intent.sent
            && !sent.deletes(id)
            && !self.is_settled(request.account, intent).await?
        {
            return Err(Trouble::Passing(
                "a creation of a Spot account has not settled yet".to_owned(),
            ));
        }
        // The governor may hold us back for many minutes: nothing is looked at or claimed before it lets us through.
        let slot = self.spot.reserve_delete().await;
        let listing = self.listings.since(Instant::now()).await?;
        let Some(listed) = listing.known.get(id) else {
            if self.is_new(intent, id).await? || self.spot.account(id).await?.is_some() {
                return Err(Trouble::Passing(format!(
                    "Spot does not list account {id}, which it should"
                )));
            }
            self.let_go(request, departure).await?;
            let reason = format!("Spot account {id} is gone already");
            return Ok(ResourceResponse::unchanged(request, reason));
        };
        let mut running = self.spot.elastigroups(id).await?;
        running.extend(self.spot.ocean_clusters(id).await?);
        if let Some(reason) = veto(listed, request.account, subject.owned, running.len()) {
            let named = running.into_iter().map(|one| one.name.unwrap_or(one.id));
            let named: Vec<String> = named.collect();
            return self.leave(request, id, departure, reason, &named).await;
        }
        let deletion = SentDeletion {
            account: request.account,
            holder: &holder_name(request),
            spot_account: id,
            seen: intent,
            departure: Some(departure),
        };
        self.send_deletion(deletion, slot).await?;
        tracing::warn!(spot_account = %id, name = %listed.name, "Spot account deleted with its stack");
        Ok(ResourceResponse::unchanged(
            request,
            format!("Spot account {id} is deleted"),
        ))
    }

    /// Sends a deletion, unless somebody else has worked on the AWS account since `seen`, and forgets what it deleted.
    pub(super) async fn send_deletion(
        &self,
        deletion: SentDeletion<'_>,
        slot: DeleteSlot,
    ) -> Result<(), NotSent> {
        let SentDeletion {
            account,
            holder,
            spot_account: id,
            seen,
            departure,
        } = deletion;
        // Before anything is asked of the state, however long that takes.
        let send_by = SendBy::within(self.settings.send_window);
        let intent = SendIntent {
            call: SentCall::Delete {
                spot_account: id.clone(),
            },
            send_by: from_now(self.settings.send_window),
            look_after: after(self.intents.now().await?, self.doubt()),
        };
        let until = from_now(self.doubt());
        let claim = self.intents.claim(account, holder, until).await?;
        if claim != Claim::Held(seen.clone()) {
            self.intents.release(account, holder).await?;
            return Err(NotSent::Busy(
                "another request is working on the Spot account".to_owned(),
            ));
        }
        self.unsettled.note(account, self.doubt());
        self.intents.write_intent(account, holder, &intent).await?;
        let sent = slot.send(id, send_by).await;
        let result = match sent {
            Err(error) if !is_gone(&error) => {
                if is_without_effect(&error) {
                    self.unsettled.settle(account);
                    self.intents.clear_intent(account, holder).await?;
                } else {
                    // The request has ended on our side, so a listing tells earlier than after a crash.
                    self.unsettled.note(account, self.settings.settle);
                    let intent = SendIntent {
                        look_after: after(self.intents.now().await?, self.settings.settle),
                        ..intent
                    };
                    self.intents.write_intent(account, holder, &intent).await?;
                }
                Err(error.into())
            }
            _ => {
                self.intents.forget(account, id, departure).await?;
                self.unsettled.settle(account);
                self.listings.forget();
                Ok(())
            }
        };
        self.intents.release(account, holder).await?;
        result
    }
}

/// Why a deletion was not sent, or not carried out for all that is known.
pub(super) enum NotSent {
    /// Somebody else works on the AWS account.
    Busy(String),
    /// The state could not be used.
    State(IntentsError),
    /// Spot's answer, or that there was none.
    Spot(SpotError),
}

impl From<IntentsError> for NotSent {
    fn from(error: IntentsError) -> Self {
        Self::State(error)
    }
}

impl From<SpotError> for NotSent {
    fn from(error: SpotError) -> Self {
        Self::Spot(error)
    }
}

impl From<NotSent> for Trouble {
    fn from(why: NotSent) -> Self {
        match why {
            NotSent::Busy(reason) => Self::Passing(reason),
            NotSent::State(error) => error.into(),
            NotSent::Spot(error) => error.into(),
        }
    }
}

/// A deletion that is about to be sent.
pub(super) struct SentDeletion<'a> {
    pub(super) account: AwsAccountId,
    /// Who holds the claim on the AWS account meanwhile.
    pub(super) holder: &'a str,
    pub(super) spot_account: &'a SpotAccountId,
    /// What the state had for the AWS account when it was decided.
    pub(super) seen: &'a Intent,
    /// The end that it goes with, when a stack has asked for it.
    pub(super) departure: Option<&'a Departure>,
}

/// What a Delete ends, of a stack in this status.
fn departure(request: &ResourceRequest, status: Option<&str>) -> Departure {
    let is_account = request.resource_type == SPOT_ACCOUNT;
    Departure {
        holder: Holder::of(request),
        at: asked_at(request),
        is_account,
        ends: is_account && status.is_some_and(ends),
    }
}

/// Whether another resource of the stack still stands for the Spot account. When two of them end at the same time, none of
/// them may leave it to the other.
fn still_stands(holder: &Holder, after: &Intent) -> Result<(), Trouble> {
    if holder.has_sibling(&after.holders) {
        return Ok(());
    }
    Err(Trouble::Passing(
        "the stack's other resource has ended at the same time".to_owned(),
    ))
}

fn is_gone(error: &SpotError) -> bool {
    let status = error.refusal().map(|refusal| refusal.status);
    matches!(status, Some(404 | 410))
}

fn is_without_effect(error: &SpotError) -> bool {
    match error.class() {
        ErrorClass::Denied
        | ErrorClass::NotFound
        | ErrorClass::Invalid
        | ErrorClass::Conflict
        | ErrorClass::Throttled
        | ErrorClass::Unreachable => true,
        ErrorClass::Transient | ErrorClass::Ambiguous | ErrorClass::Bug => false,
    }
}
