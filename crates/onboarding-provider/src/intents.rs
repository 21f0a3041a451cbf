//! The provider's state: what it is about to do, what it did, and for whom. Implemented in a database by `sql`, and in
//! memory by `memory`.
//!
//! Every method is one committed transaction when it returns. `claim` and `clear_intent` compare and change in one statement,
//! `write_intent` under the lock of the account's row.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use onboarding_core::{
    custom_resource::{Holder, ResourceResponse, TombstoneReason},
    ids::{AwsAccountId, ExternalId, RoleArn, SpotAccountId, StackId},
};
use serde::{Deserialize, Serialize};

/// An order of a person that nothing be changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Since when.
    pub since: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl std::fmt::Display for Freeze {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { since, by, reason } = self;
        write!(
            f,
            "everything is frozen since {since:.0} by {by}: {reason} (`runner freeze off` ends it)"
        )
    }
}

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
    /// From this moment on, by the clock of the state ([`Intents::now`]), a listing of Spot shows whether it took effect. Until then
    /// nobody may create again, or use what may be deleted.
    pub look_after: Timestamp,
}

impl SendIntent {
    /// Whether the call deletes this Spot account.
    #[must_use]
    pub fn deletes(&self, id: &SpotAccountId) -> bool {
        matches!(&self.call, SentCall::Delete { spot_account } if spot_account == id)
    }
}

/// A Spot account for an AWS account: one that was created for it, or that an earlier attempt had left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The Spot account.
    pub spot_account: SpotAccountId,
    /// Who is given it.
    pub holder: Holder,
    /// When the holder asked for it.
    pub asked: Timestamp,
    /// The stack whose request created it; none when that is not known.
    pub created_by: Option<StackId>,
}

/// The end of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// The resource.
    pub holder: Holder,
    /// When its Delete was asked for.
    pub at: Timestamp,
    /// Whether it is a `Custom::SpotAccount`, which is given a Spot account.
    pub is_account: bool,
    /// Whether its whole stack is known to end.
    pub ends: bool,
}

/// That a resource has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departed {
    /// When that was asked for, where it is known.
    pub at: Option<Timestamp>,
    /// Whether it was a `Custom::SpotAccount`.
    pub is_account: bool,
}

impl Departed {
    /// As a version wrote it down that knew stacks only.
    pub(crate) fn by_an_earlier_version() -> Self {
        Self {
            at: None,
            is_account: true,
        }
    }
}

/// For how long the end of a resource is remembered: longer than any request may be late.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

/// What the state has for one AWS account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intent {
    /// The Spot account that was created, or taken over from an earlier attempt, for it.
    pub assigned: Option<SpotAccountId>,
    /// Since when, by the clock of the state.
    pub assigned_at: Option<Timestamp>,
    /// Whether the assigned one was created, by Spot's answer, and nobody has seen it in a listing.
    pub unlisted: bool,
    /// The stack whose request created the assigned one; none when an earlier attempt had left it.
    pub created_by: Option<StackId>,
    /// Who was given its Spot account, and has not been deleted since.
    pub holders: BTreeSet<Holder>,
    /// The resources that have been deleted of late, of any type.
    pub departed: BTreeMap<Holder, Departed>,
    /// A creation or deletion that has not been settled.
    pub sent: Option<SendIntent>,
    /// The Spot account that was deleted last. Spot may list it for some more time.
    pub removed: Option<SpotAccountId>,
}

impl Intent {
    /// Assigns a Spot account now, which settles its creation: what exists, exists. False when its holder has been deleted since
    /// it asked, and so does not get it.
    pub fn assign(&mut self, assignment: &Assignment, now: Timestamp) -> bool {
        self.assigned = Some(assignment.spot_account.clone());
        self.assigned_at = Some(now);
        self.unlisted = false;
        self.created_by.clone_from(&assignment.created_by);
        self.sent = None;
        self.give(&assignment.holder, assignment.asked)
    }

    /// Assigns what was created under a claim, unless another one has been assigned since that was `seen`. `holds`: whether
    /// nobody else has had the claim since.
    pub fn assign_created(
        &mut self,
        holds: bool,
        seen: &Self,
        assignment: &Assignment,
        now: Timestamp,
    ) -> Assigned {
        let is_given_another = self.assigned.is_some() && self.assigned != seen.assigned;
        if !holds || is_given_another {
            return Assigned::Late(self.assigned.clone());
        }
        let holds = self.assign(assignment, now);
        self.unlisted = true;
        match holds {
            true => Assigned::Held,
            false => Assigned::Ended,
        }
    }

    /// Gives somebody the Spot account; false when that is deleted, or may be, or when who `asked` is. A deletion that has had
    /// no effect is settled by this, so a caller looks at Spot first.
    pub fn hold(
        &mut self,
        spot_account: &SpotAccountId,
        holder: &Holder,
        asked: Timestamp,
        now: Timestamp,
    ) -> bool {
        if self.removed.as_ref() == Some(spot_account) || self.is_late(holder, asked) {
            return false;
        }
        match &self.sent {
            Some(sent) if !sent.deletes(spot_account) => {}
            Some(sent) if now < sent.look_after => return false,
            _ => self.sent = None,
        }
        self.give(holder, asked)
    }

    fn give(&mut self, holder: &Holder, asked: Timestamp) -> bool {
        if self.is_late(holder, asked) {
            return false;
        }
        // A stack that links what one of its resources was given needs no hold of its own.
        let is_held = |other: &Holder| other.stack == holder.stack;
        if holder.resource.is_some() || !self.holders.iter().any(is_held) {
            self.holders.insert(holder.clone());
        }
        self.departed.remove(holder);
        true
    }

    /// Whether a request came after the end of who made it. A resource of the same name may be made again, and asks later
    /// than its Delete; a stack whose resources are all deleted has nothing that could ask.
    #[must_use]
    pub fn is_late(&self, holder: &Holder, asked: Timestamp) -> bool {
        if holder.resource.is_none() {
            return self.is_departed(&holder.stack);
        }
        let ended = self.departed.get(holder).and_then(|ended| ended.at);
        ended.is_some_and(|ended| asked <= ended)
    }

    /// Whether the resources of a stack that were given a Spot account are deleted.
    #[must_use]
    pub fn is_departed(&self, stack: &StackId) -> bool {
        let is_known = |holder: &Holder| holder.stack == *stack && holder.resource.is_some();
        let has_ended =
            |(holder, ended): (&Holder, &Departed)| holder.stack == *stack && ended.is_account;
        !self.holders.iter().any(is_known) && self.departed.iter().any(has_ended)
    }

    /// Notes the end of a resource. The other resources of its stack stay, and so does one that is not known, unless the
    /// whole stack ends.
    pub fn let_go(&mut self, departure: &Departure) {
        let Departure {
            holder,
            at,
            is_account,
            ends,
        } = departure;
        self.holders.remove(holder);
        if *ends {
            self.holders.remove(&Holder::stack(&holder.stack));
        }
        let is_late = |ended: Timestamp| at.duration_since(ended) > REMEMBERED;
        self.departed
            .retain(|_, ended| !ended.at.is_some_and(is_late));
        let before = self.departed.get(holder).and_then(|ended| ended.at);
        let departed = Departed {
            at: before.max(Some(*at)),
            is_account: *is_account,
        };
        self.departed.insert(holder.clone(), departed);
    }

    /// Forgets a Spot account that is deleted, and notes the end that it was deleted with.
    pub fn forget(&mut self, spot_account: &SpotAccountId, departure: Option<&Departure>) {
        if self.assigned.as_ref() == Some(spot_account) {
            self.assigned = None;
            self.assigned_at = None;
            self.unlisted = false;
            self.created_by = None;
        }
        self.sent.take_if(|sent| sent.deletes(spot_account));
        if let Some(departure) = departure {
            self.let_go(departure);
        }
        self.removed = Some(spot_account.clone());
    }
}

/// How far away a moment is that nobody means: whoever wrote it had a clock that was ahead, and has been set back since.
const FAR: SignedDuration = SignedDuration::from_hours(1);

/// The moment that takes the place of one that is too far away to be meant; none when it is near. Nothing that begins now takes longer
/// than `longest`, so neither does what is under way.
pub(crate) fn brought_near(
    moment: Timestamp,
    now: Timestamp,
    longest: Duration,
) -> Option<Timestamp> {
    let longest = SignedDuration::try_from(longest).unwrap_or(FAR);
    let far = FAR.max(longest.saturating_mul(2));
    let near = now.checked_add(longest).unwrap_or(Timestamp::MAX);
    (moment.duration_since(now) > far).then_some(near)
}

/// What became of the assignment of a Spot account that was created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assigned {
    /// It is assigned, and its holder has it.
    Held,
    /// It is assigned, and its holder does not get it: that has been deleted since it asked.
    Ended,
    /// Somebody else has had the AWS account since the creation was sent, so nothing is changed. This is assigned.
    Late(Option<SpotAccountId>),
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

/// The external ID of a Spot account: one that we made, or handed out while the account was linked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedExternalId {
    /// The external ID.
    pub external_id: ExternalId,
    /// Until when it can be used for a first link, when Spot said so; none for one that was in use.
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
    /// Whether the state is still what this code knows: another version of the program may have changed it since it was
    /// opened. Fails when it does not answer.
    async fn is_current(&self) -> Result<bool, IntentsError>;

    /// What time it is by the clock of the state, which is one for all who share it: theirs differ.
    async fn now(&self) -> Result<Timestamp, IntentsError>;

    /// The freeze that is in force: then nothing is changed at Spot. A state that nobody shares has none.
    async fn frozen(&self) -> Result<Option<Freeze>, IntentsError>;

    /// Takes the one claim on an AWS account until a moment, when nobody else holds an unexpired one. A holder that
    /// claims again prolongs.
    async fn claim(
        &self,
        account: AwsAccountId,
        holder: &str,
        until: Timestamp,
    ) -> Result<Claim, IntentsError>;

    /// Brings the end of a claim, and the moment from which the outcome of a call is known, within `longest` from now, where they are
    /// hours away: a clock that was ahead when they were written blocks an AWS account no longer than anything takes.
    async fn bring_near(
        &self,
        account: AwsAccountId,
        longest: Duration,
    ) -> Result<(), IntentsError>;

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

    /// Assigns a Spot account that was created for an AWS account, see [`Intent::assign_created`]. The claim may have run out
    /// meanwhile: only when somebody else has had it since, or the AWS account has got another one than was `seen`, it is late.
    async fn assign(
        &self,
        account: AwsAccountId,
        holder: &str,
        seen: &Intent,
        assignment: &Assignment,
    ) -> Result<Assigned, IntentsError>;

    /// Notes that Spot lists the Spot account that is assigned to an AWS account; nothing happens when that is another one by now.
    async fn note_listed(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
    ) -> Result<(), IntentsError>;

    /// Assigns a Spot account that was found, unless the state has anything else for the AWS account by now than was `seen`, or
    /// somebody holds the claim: then it may be gone. False then, and when its holder does not get it.
    async fn take_over(
        &self,
        account: AwsAccountId,
        seen: &Intent,
        assignment: &Assignment,
    ) -> Result<bool, IntentsError>;

    /// Gives somebody the Spot account of the AWS account, see [`Intent::hold`]. Also false while somebody holds the claim:
    /// it may be deleting.
    async fn hold(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
        holder: &Holder,
        asked: Timestamp,
    ) -> Result<bool, IntentsError>;

    /// Notes the end of a resource, which takes back what `hold` gave. Returns what the state has for the AWS account then.
    async fn let_go(
        &self,
        account: AwsAccountId,
        departure: &Departure,
    ) -> Result<Intent, IntentsError>;

    /// Forgets a Spot account that is deleted: see [`Intent::forget`]; its owner, external ID and tombstone go as well.
    async fn forget(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
        departure: Option<&Departure>,
    ) -> Result<(), IntentsError>;

    /// Leaves a tombstone. An earlier one of the same Spot account is replaced.
    async fn leave_tombstone(&self, tombstone: &Tombstone) -> Result<(), IntentsError>;

    /// The stack that a Spot account belongs to.
    async fn owner(&self, spot_account: &SpotAccountId) -> Result<Option<Owner>, IntentsError>;

    /// Makes a stack the owner, which also cancels a tombstone of the Spot account. Fails with [`IntentsError::ClaimLost`]
    /// unless `holder` has the claim on the AWS account, unexpired: who links later is to be the owner.
    async fn set_owner(
        &self,
        spot_account: &SpotAccountId,
        owner: &Owner,
        holder: &str,
    ) -> Result<(), IntentsError>;

    /// The external ID that was made, or handed out for a link, last for a Spot account.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn holder(stack: &str, resource: Option<&str>) -> Holder {
        Holder {
            stack: format!("arn:aws:cloudformation:us-east-1:111111111111:stack/{stack}/uuid")
                .parse()
                .unwrap(),
            resource: resource.map(str::to_owned),
        }
    }

    fn departure(holder: &Holder, second: i64, ends: bool) -> Departure {
        Departure {
            holder: holder.clone(),
            at: at(second),
            is_account: true,
            ends,
        }
    }

    /// Has `holder` hold it, who asked at this second.
    fn holds(intent: &mut Intent, holder: &Holder, second: i64) -> bool {
        intent.hold(&"act-1".parse().unwrap(), holder, at(second), at(1000))
    }

    #[test]
    fn a_stack_departs_with_the_last_of_its_resources() {
        let (old, new) = (holder("s", Some("Old")), holder("s", Some("New")));
        let link = holder("s", None);
        let mut intent = Intent::default();
        assert!(holds(&mut intent, &old, 1) && holds(&mut intent, &new, 2));
        assert!(holds(&mut intent, &link, 3));
        assert_eq!(intent.holders, [old.clone(), new.clone()].into());
        intent.let_go(&departure(&old, 4, false));
        assert!(!intent.is_departed(&old.stack) && holds(&mut intent, &link, 5));
        assert_eq!(intent.holders, [new.clone()].into());
        intent.let_go(&departure(&new, 6, true));
        assert!(intent.is_departed(&old.stack) && !holds(&mut intent, &link, 7));
        assert!(intent.holders.is_empty());
    }

    #[test]
    fn a_request_that_is_older_than_the_end_of_its_resource_gets_nothing() {
        let resource = holder("s", Some("A"));
        let mut intent = Intent::default();
        intent.let_go(&departure(&resource, 10, false));
        intent.let_go(&departure(&resource, 5, false));
        assert!(!holds(&mut intent, &resource, 9) && !holds(&mut intent, &resource, 10));
        assert!(intent.holders.is_empty());
        // One of the same name that is made later, and another one.
        assert!(holds(&mut intent, &holder("s", Some("B")), 9));
        assert!(holds(&mut intent, &resource, 11));
        assert!(!intent.departed.contains_key(&resource));
        let mut created = Intent::default();
        created.let_go(&departure(&resource, 10, false));
        let assignment = Assignment {
            spot_account: "act-1".parse().unwrap(),
            holder: resource,
            asked: at(9),
            created_by: None,
        };
        assert!(!created.assign(&assignment, at(12)) && created.holders.is_empty());
        assert_eq!(created.assigned, Some(assignment.spot_account));
        assert_eq!(created.assigned_at, Some(at(12)));
    }

    #[test]
    fn only_a_moment_that_nobody_means_is_brought_near() {
        let (now, longest) = (at(1_000_000), Duration::from_secs(190));
        let brought = |seconds: i64| brought_near(at(1_000_000 + seconds), now, longest);
        for meant in [-7200, 0, 190, 3600] {
            assert_eq!(brought(meant), None, "{meant}");
        }
        assert_eq!(brought(3601), Some(at(1_000_190)));
        assert_eq!(
            brought_near(Timestamp::MAX, now, longest),
            Some(at(1_000_190))
        );
        // Where calls may take very long, so may what waits for them.
        let slow = Duration::from_secs(7200);
        assert_eq!(brought_near(at(1_000_000 + 14_400), now, slow), None);
    }

    #[test]
    fn the_end_of_another_resource_ends_no_stack_and_is_not_remembered_for_ever() {
        let (account, link) = (holder("s", Some("A")), holder("s", Some("Link")));
        let mut intent = Intent::default();
        assert!(holds(&mut intent, &account, 1));
        let ended = |second: i64| Departure {
            is_account: false,
            ..departure(&link, second, false)
        };
        intent.let_go(&ended(5));
        assert!(intent.is_late(&link, at(4)) && !intent.is_late(&link, at(6)));
        intent.holders.clear();
        assert!(!intent.is_departed(&account.stack));
        intent.let_go(&departure(&account, 5 + 24 * 3600, false));
        assert!(intent.departed.contains_key(&link));
        intent.let_go(&departure(&account, 6 + 24 * 3600, false));
        assert!(!intent.departed.contains_key(&link) && intent.is_departed(&account.stack));
    }

    #[test]
    fn a_hold_of_an_earlier_version_stays_until_its_whole_stack_ends() {
        let (unknown, known) = (holder("s", None), holder("s", Some("A")));
        let mut intent = Intent {
            holders: [unknown.clone()].into(),
            ..Intent::default()
        };
        intent.let_go(&departure(&known, 1, false));
        assert_eq!(intent.holders, [unknown].into());
        // As before, the stack counts as departed.
        assert!(intent.is_departed(&known.stack));
        intent.let_go(&departure(&known, 2, true));
        assert!(intent.holders.is_empty());
        // A stack that departed in an earlier version comes again.
        let mut intent = Intent {
            departed: [(holder("s", None), Departed::by_an_earlier_version())].into(),
            ..Intent::default()
        };
        assert!(intent.is_departed(&known.stack) && !holds(&mut intent, &holder("s", None), 5));
        assert!(holds(&mut intent, &known, 5) && !intent.is_departed(&known.stack));
    }
}
