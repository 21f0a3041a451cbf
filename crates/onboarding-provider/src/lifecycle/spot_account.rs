//! `Custom::SpotAccount`: finds the Spot account of an AWS account, or creates it, once.
//!
//! The order of creation, each step committed before the next: wait for the rate governor; claim the AWS account; check
//! that nothing changed since we looked; write the intent; send, unless the send deadline has passed; assign, unless somebody
//! else has had the AWS account meanwhile: a process may be paused past its claim, and Spot may take its one call late. What
//! that made is left with a tombstone then, for orphan-cleanup. Whoever finds an unsettled intent looks at Spot first: what is there is used at once, what is not there counts as missing only
//! after the moment from which a listing shows the outcome.

use onboarding_core::{
    custom_resource::{
        AdoptRule, Holder, ResourceRequest, ResourceResponse, TombstoneReason,
        account::{AccountDecision, OurState, decide},
        deletion::left_behind,
        naming::creation_names,
    },
    ids::{AwsAccountId, SpotAccountId, StackId},
};
use spot_api::{CreatedAccount, ErrorClass, SendBy, SpotError};
use tokio::time::Instant;

use super::{Patience, Trouble, asked_at, claim::holder_name};
use crate::{
    directory::AccountDetails,
    intents::{Assigned, Assignment, Claim, Intent, SendIntent, SentCall},
    listings::Listing,
    provider::{Provider, after, from_now},
};

impl Provider {
    pub(super) async fn spot_account(
        &self,
        request: &ResourceRequest,
        details: &AccountDetails,
    ) -> Result<ResourceResponse, Trouble> {
        let (account, holder) = (request.account, Holder::of(request));
        let intent = self.intents.intent(account).await?;
        self.check_not_late(request, &intent)?;
        let asked = Instant::now();
        let listing = self.listing_after(request, &intent).await?;
        let linked_by_us = match listing.known.linked_to(account).next() {
            Some(linked) => {
                self.owner_of(account, &linked.id).await?.is_some()
                    || self.is_link_of(request, &linked.id).await?
            }
            None => false,
        };
        let ours = OurState {
            assigned: intent.assigned.as_ref(),
            removed: intent.removed.as_ref(),
            linked_by_us,
        };
        let response = |id: &SpotAccountId, adopted: bool| {
            ResourceResponse::success(request, id.as_str())
                .with("AccountId", id.as_str())
                .with("Adopted", adopted.to_string())
        };
        match decide(account, &listing.known, ours, details.adopt) {
            AccountDecision::Ours(id) => {
                self.take_hold(request, &id, &holder).await?;
                Ok(response(&id, false))
            }
            AccountDecision::Adopt(id) => {
                self.take_hold(request, &id, &holder).await?;
                let mut response = response(&id, true);
                response.reason = match details.adopt {
                    AdoptRule::Relink => {
                        format!("Spot account {id} is taken over (adopt = \"relink\")")
                    }
                    _ => format!(
                        "Spot account {id} was linked by somebody else and stays as it is (adopt = \"keep-link\")"
                    ),
                };
                Ok(response)
            }
            AccountDecision::Leftover(id) => {
                self.take_over(request, &intent, &id, asked).await?;
                Ok(response(&id, false))
            }
            AccountDecision::Refuse(refusal) => Err(Trouble::Refused(refusal.to_string())),
            AccountDecision::Create => {
                // A second question in other words: a list that lacks the link would end in a second account.
                if let Some(linked) = self.asked_for(account, &intent).await? {
                    self.listings.forget();
                    return Err(Trouble::Passing(format!(
                        "Spot does not list account {linked}, which is linked to AWS account {account}"
                    )));
                }
                let created = self.create(request, &intent).await?;
                self.confirm_creation(request, &created.id).await?;
                Ok(response(&created.id, false))
            }
        }
    }

    /// Gives somebody the Spot account, so that nobody else's end deletes it.
    pub(super) async fn take_hold(
        &self,
        request: &ResourceRequest,
        id: &SpotAccountId,
        holder: &Holder,
    ) -> Result<(), Trouble> {
        let (account, asked) = (request.account, asked_at(request));
        if self.intents.hold(account, id, holder, asked).await? {
            return Ok(());
        }
        Err(Trouble::Passing(format!(
            "another request is working on Spot account {id}"
        )))
    }

    /// Gives the resource a Spot account that an earlier attempt had left, when it is there in a listing that was asked for at
    /// this moment or later, and nobody has worked on the AWS account since `seen`.
    async fn take_over(
        &self,
        request: &ResourceRequest,
        seen: &Intent,
        id: &SpotAccountId,
        asked: Instant,
    ) -> Result<(), Trouble> {
        let listing = self.listings.since(asked).await?;
        let left = listing.known.get(id).filter(|left| left.unlinked);
        let Some(left) = left else {
            return Err(Trouble::Passing(format!(
                "Spot account {id}, which an earlier attempt had left, is not there any more"
            )));
        };
        // With the name of a creation whose answer was lost, it is what that creation made.
        let created_by = match seen.sent.as_ref().map(|sent| &sent.call) {
            Some(SentCall::Create { name, stack }) if *name == *left.name => Some(stack.clone()),
            _ => None,
        };
        let assignment = assignment(request, id, created_by);
        let taken = self.intents.take_over(request.account, seen, &assignment);
        if taken.await? {
            return Ok(());
        }
        Err(Trouble::Passing(
            "another request has worked on the Spot account".to_owned(),
        ))
    }

    /// A Spot account that is linked to an AWS account, by a question about that account alone.
    async fn asked_for(
        &self,
        account: AwsAccountId,
        intent: &Intent,
    ) -> Result<Option<SpotAccountId>, Trouble> {
        let linked = self.spot.list_accounts_of(account).await?;
        let mut linked = linked.into_iter().map(|linked| linked.id);
        Ok(linked.find(|id| intent.removed.as_ref() != Some(id)))
    }

    /// A listing that is new enough to decide by what the state has.
    async fn listing_after(
        &self,
        request: &ResourceRequest,
        intent: &Intent,
    ) -> Result<Listing, Trouble> {
        if let Some(sent) = &intent.sent {
            let settled = self.is_settled(request.account, intent).await?;
            let creates = matches!(sent.call, SentCall::Create { .. });
            if !settled && !creates {
                return Err(Trouble::Passing(
                    "the Spot account is being deleted with its stack".to_owned(),
                ));
            }
            // Asked for before the outcome is settled, a listing tells that the account is there, but not that it is not.
            let listing = self.listings.since(Instant::now()).await?;
            let account = request.account;
            let found = listing
                .known
                .linked_to(account)
                .chain(listing.known.leftovers_of(account))
                .any(|found| intent.removed.as_ref() != Some(&found.id));
            if settled || found {
                return Ok(listing);
            }
            return Err(Trouble::Passing(
                "an earlier attempt to create the Spot account has not settled yet".to_owned(),
            ));
        }
        let listing = match self.settings.shared_state {
            true => self.listings.recent().await?,
            // What another process has created a moment ago is only there.
            false => self.listings.since(Instant::now()).await?,
        };
        let Some(assigned) = &intent.assigned else {
            return Ok(listing);
        };
        let mut listing = listing;
        if listing.known.get(assigned).is_none() {
            listing = self.listings.since(Instant::now()).await?;
        }
        if listing.known.get(assigned).is_some() {
            self.note_listed(request.account, intent, assigned).await?;
            return Ok(listing);
        }
        // Deleted at Spot, or the listing is late or partial: no second account before that is certain.
        let other = self.asked_for(request.account, intent).await?;
        if other.is_some() || self.is_new(intent, assigned).await? {
            return Err(Trouble::Passing(format!(
                "Spot does not list account {assigned}, which it should"
            )));
        }
        Ok(listing)
    }

    async fn create(
        &self,
        request: &ResourceRequest,
        seen: &Intent,
    ) -> Result<CreatedAccount, Trouble> {
        let account = request.account;
        // Until one creation has shown which names Spot takes, the others wait for it: each would be refused.
        let need_letters = || *self.names_need_letters.lock();
        let _first = match need_letters() {
            Some(_) => None,
            None => Some(self.first_name.lock().await).filter(|_| need_letters().is_none()),
        };
        let [plain, lettered] = creation_names(account);
        let name = match need_letters() {
            Some(true) => &lettered,
            _ => &plain,
        };
        // The governor may hold us back for many minutes: nothing is claimed before it lets us through.
        let slot = self.spot.reserve_create().await;
        let holder = holder_name(request);
        // Before anything is asked of the state, however long that takes.
        let send_by = SendBy::within(self.settings.send_window);
        let intent = SendIntent {
            call: SentCall::Create {
                name: name.clone(),
                stack: request.stack_id.clone(),
            },
            send_by: from_now(self.settings.send_window),
            look_after: after(self.intents.now().await?, self.doubt()),
        };
        let until = from_now(self.doubt());
        match self.intents.claim(account, &holder, until).await? {
            Claim::Busy { until } => {
                tracing::debug!(%until, "claimed by another request");
                return Err(Trouble::Passing(
                    "another request is creating the Spot account".to_owned(),
                ));
            }
            Claim::Held(now) if now != *seen => {
                self.intents.release(account, &holder).await?;
                return Err(Trouble::Passing(
                    "another request has worked on the Spot account".to_owned(),
                ));
            }
            Claim::Held(_) => {}
        }
        self.unsettled.note(account, self.doubt());
        self.intents.write_intent(account, &holder, &intent).await?;
        let result = slot.send(name, send_by).await;
        let mut assigned = Assigned::Held;
        match &result {
            Ok(created) => {
                *self.names_need_letters.lock() = Some(*name == lettered);
                let created_by = Some(request.stack_id.clone());
                let assignment = assignment(request, &created.id, created_by);
                let assigning = self.intents.assign(account, &holder, seen, &assignment);
                assigned = assigning.await?;
                self.unsettled.settle(account);
            }
            Err(error) if error.class() == ErrorClass::Ambiguous => {
                // The request has ended on our side, so a listing tells earlier than after a crash.
                self.unsettled.note(account, self.settings.settle);
                let intent = SendIntent {
                    look_after: after(self.intents.now().await?, self.settings.settle),
                    ..intent
                };
                self.intents.write_intent(account, &holder, &intent).await?;
            }
            Err(_) => {
                self.unsettled.settle(account);
                self.intents.clear_intent(account, &holder).await?;
            }
        }
        self.intents.release(account, &holder).await?;
        let created = result.map_err(|error| self.not_created(error, *name == plain))?;
        match assigned {
            Assigned::Held => Ok(created),
            Assigned::Ended => Err(self.created_too_late(request, created.id).await?),
            Assigned::Late(assigned) => Err(self.overtaken(request, created.id, assigned).await?),
        }
    }

    /// Leaves a Spot account behind that was created while somebody else worked on its AWS account. The next attempt takes what
    /// the AWS account has; this one only when it has no other.
    async fn overtaken(
        &self,
        request: &ResourceRequest,
        created: SpotAccountId,
        assigned: Option<SpotAccountId>,
    ) -> Result<Trouble, Trouble> {
        self.listings.forget();
        if assigned.as_ref() != Some(&created) {
            self.leave_tombstone(request, &created, TombstoneReason::Late)
                .await?;
        }
        Ok(Trouble::Passing(format!(
            "Spot account {created} was created while another request worked on the AWS account"
        )))
    }

    /// Leaves a Spot account to the next stack that was created while its resource was deleted.
    async fn created_too_late(
        &self,
        request: &ResourceRequest,
        spot_account: SpotAccountId,
    ) -> Result<Trouble, Trouble> {
        let reason = TombstoneReason::CreateFailed;
        let trouble = Trouble::Refused(format!(
            "its resource was deleted meanwhile; {}",
            left_behind(&spot_account, reason, &[])
        ));
        self.leave_tombstone(request, &spot_account, reason).await?;
        Ok(trouble)
    }

    fn not_created(&self, error: SpotError, plain: bool) -> Trouble {
        match error.class() {
            ErrorClass::Invalid if plain => {
                *self.names_need_letters.lock() = Some(true);
                Trouble::Passing(error.to_string())
            }
            ErrorClass::Denied if error.is_about_the_token() => Trouble::PassingFor(
                format!(
                    "{error}; the Spot token must be valid and an organization administrator's"
                ),
                Patience::Refusal,
            ),
            // Waiting changes nothing: who is not permitted to create an account now is not in two minutes either.
            ErrorClass::Denied => Trouble::Refused(format!(
                "{error}; the Spot token must be an organization administrator's, and the Spot organization must be \
                 permitted to enroll more accounts (Spot's support raises the limit)"
            )),
            _ => error.into(),
        }
    }
}

/// A Spot account for the requesting AWS account, which is given to the resource that asks.
fn assignment(
    request: &ResourceRequest,
    id: &SpotAccountId,
    created_by: Option<StackId>,
) -> Assignment {
    Assignment {
        spot_account: id.clone(),
        holder: Holder::of(request),
        asked: asked_at(request),
        created_by,
    }
}
