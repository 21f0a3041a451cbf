//! Who still needs a Spot account, and which ones nobody does.
//!
//! Only what our state has is judged: a Spot account that we neither made nor linked is at most a finding.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::observed::{CleanupObserved, CleanupRules, Known, KnownOwner};
use crate::{
    custom_resource::TombstoneReason,
    desired::{Desired, Purpose},
    ids::{AwsAccountId, SpotAccountId, StackId},
    inventory::{AccountState, SpotAccountRecord},
    stackset_sync::{
        PlanError,
        spot_links::{Link, SpotLinks},
        targets,
    },
    status::Reason,
};

/// Why nobody needs a Spot account any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Its AWS account left the organization.
    Departed,
    /// Its AWS account is closed.
    Closed,
    /// No profile targets its AWS account any more, and that is to be cleaned up.
    OutsideTargets,
    /// We made it and it was never linked, and its AWS account does not need it.
    NeverLinked,
    /// Its AWS account is linked to another one as well, and a person has said that this one goes.
    Duplicate,
}

impl Why {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::Departed,
        Self::Closed,
        Self::OutsideTargets,
        Self::NeverLinked,
        Self::Duplicate,
    ];

    /// In kebab case, as in the state and in reports.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Departed => "departed",
            Self::Closed => "closed",
            Self::OutsideTargets => "outside-targets",
            Self::NeverLinked => "never-linked",
            Self::Duplicate => "duplicate",
        }
    }

    /// For people, after "its AWS account …".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Departed => "left the organization",
            Self::Closed => "is closed",
            Self::OutsideTargets => "is in no profile's targets any more",
            Self::NeverLinked => "does not need it, and it was never linked",
            Self::Duplicate => {
                "is linked to another Spot account as well, and `duplicates` names this one"
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What becomes of a Spot account of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is needed.
    InUse,
    /// Nobody needs it.
    Orphan(Why),
    /// It stays, for this reason, in these words.
    Kept(Reason, String),
}

/// A Spot account of ours, judged.
#[derive(Debug, Clone)]
pub struct Judged<'a> {
    /// As Spot lists it.
    pub record: &'a SpotAccountRecord,
    /// What our state has of it.
    pub known: &'a Known,
    /// Its AWS account, as our state has it.
    pub account: AwsAccountId,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Of one that nobody targets, the stack that was left in its account, when that is deleted through the remediation role before
    /// it.
    pub leftover: Option<StackId>,
}

/// Judges all Spot accounts of ours that Spot lists, in the order of their ids.
///
/// # Errors
/// The targets of the profiles contradict themselves or the organization.
pub fn judge<'a>(
    observed: &'a CleanupObserved,
    desired: &Desired,
    rules: &CleanupRules,
) -> Result<Vec<Judged<'a>>, PlanError> {
    let sync = &observed.sync;
    let resolved = targets::resolve(&sync.organization, &sync.account_tags, desired)?;
    // What its tags would say is not known: it may well be targeted.
    let unknown = resolved.profiles.iter().flat_map(|profile| {
        let left_out = profile.left_out.iter();
        left_out.filter(|(_, reason)| *reason == Reason::TagsUnknown)
    });
    let mut targeted = resolved.union.targeted;
    for (index, _) in unknown {
        if let Some(targeted) = targeted.get_mut(*index as usize) {
            *targeted = true;
        }
    }
    let world = World {
        links: SpotLinks::new(&sync.spot_accounts),
        instances: instances(observed, desired),
        targeted,
        observed,
        desired,
        rules,
    };
    let mut judged: Vec<Judged<'a>> = sync
        .spot_accounts
        .iter()
        .filter_map(|record| {
            let known = observed.known.get(&record.id)?;
            let account = known.account?;
            let verdict = world.verdict(record, known, account);
            let leftover = match verdict {
                Verdict::Orphan(Why::OutsideTargets) => world.leftover(record, known, account),
                _ => None,
            };
            Some(Judged {
                record,
                known,
                account,
                verdict,
                leftover: leftover.cloned(),
            })
        })
        .collect();
    judged.sort_by(|one, other| one.record.id.cmp(&other.record.id));
    judged.dedup_by(|one, other| one.record.id == other.record.id);
    Ok(judged)
}

/// The stacks that stack sets of ours have in each account, where a stack instance says so.
pub(super) fn instances<'a>(
    observed: &'a CleanupObserved,
    desired: &Desired,
) -> BTreeMap<AwsAccountId, Vec<Option<&'a str>>> {
    let mut instances: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let profiles = desired.profiles.iter().zip(&observed.sync.profiles);
    for (_, state) in profiles.filter(|(profile, _)| profile.purpose == Purpose::Enrollment) {
        for instance in &state.instances {
            let stacks = instances.entry(instance.account).or_default();
            stacks.push(instance.stack_id.as_deref());
        }
    }
    instances
}

struct World<'a> {
    observed: &'a CleanupObserved,
    desired: &'a Desired,
    rules: &'a CleanupRules,
    links: SpotLinks<'a>,
    instances: BTreeMap<AwsAccountId, Vec<Option<&'a str>>>,
    /// Per account of the organization, whether any profile targets it.
    targeted: Vec<bool>,
}

impl World<'_> {
    fn verdict(&self, record: &SpotAccountRecord, known: &Known, account: AwsAccountId) -> Verdict {
        let organization = &self.observed.sync.organization;
        let member = organization.account(account);
        let state = member.map(|member| member.state);
        if account == organization.management_account {
            return Verdict::InUse;
        }
        let is_linked = match record.aws_account {
            Some(linked) if linked == account => true,
            Some(linked) => {
                return Verdict::Kept(
                    Reason::LinkedElsewhere,
                    format!("it was of AWS account {account}, and is linked to {linked} now"),
                );
            }
            None if !record.unlinked => {
                return Verdict::Kept(
                    Reason::LinkedElsewhere,
                    format!("it was of AWS account {account}, and is linked to another cloud now"),
                );
            }
            None => false,
        };
        let is_gone = matches!(state, None | Some(AccountState::Closed));
        if let Some(kept) = self.not_ours(record, known, is_gone) {
            return kept;
        }
        if let Link::Several(ids) = self.links.of(account)
            && is_linked
        {
            return self.one_of_several(record, known, account, &ids);
        }
        let wait = |reason: Reason| Verdict::Kept(reason, reason.explanation().to_owned());
        match state {
            None => Verdict::Orphan(Why::Departed),
            Some(AccountState::Closed) => Verdict::Orphan(Why::Closed),
            Some(AccountState::Suspended) => wait(Reason::Suspended),
            Some(AccountState::PendingClosure) => wait(Reason::PendingClosure),
            Some(AccountState::PendingActivation) => wait(Reason::PendingActivation),
            Some(AccountState::Unknown) => wait(Reason::StateUnknown),
            Some(AccountState::Active) => self.active(record, known, account, is_linked),
        }
    }

    /// What speaks against its being ours to delete. While its AWS account is there, that is nobody's concern.
    fn not_ours(
        &self,
        record: &SpotAccountRecord,
        known: &Known,
        is_gone: bool,
    ) -> Option<Verdict> {
        let id = &record.id;
        let is_adopted = known.owner.as_ref().is_some_and(|owner| owner.is_adopted);
        let words = if is_adopted {
            "somebody else had linked it before us".to_owned()
        } else if self.rules.default_account.as_ref() == Some(id) {
            "it is the default account of the Spot organization, which is never deleted".to_owned()
        } else if !known.is_created && self.rules.default_account.is_none() {
            format!(
                "we linked it and did not make it, so it may be the default account of the Spot organization, which Spot's API \
                 does not tell; name that one in `default_account`, and {id} is cleaned up"
            )
        } else {
            return None;
        };
        Some(match is_gone {
            true => Verdict::Kept(Reason::NotOurs, words),
            false => Verdict::InUse,
        })
    }

    fn one_of_several(
        &self,
        record: &SpotAccountRecord,
        known: &Known,
        account: AwsAccountId,
        ids: &[&SpotAccountId],
    ) -> Verdict {
        let names = ids.iter().map(ToString::to_string);
        let names = names.collect::<Vec<_>>().join(", ");
        let kept = |words: String| Verdict::Kept(Reason::StackRemains, words);
        let is_chosen = |id: &SpotAccountId| self.rules.duplicates.contains(id);
        if !is_chosen(&record.id) {
            return Verdict::Kept(
                Reason::LinkedToSeveral,
                format!(
                    "AWS account {account} is linked to {names}; `duplicates` says which of them go"
                ),
            );
        }
        if ids.iter().all(|id| is_chosen(id)) {
            return Verdict::Kept(
                Reason::LinkedToSeveral,
                format!("`duplicates` names all that AWS account {account} is linked to: {names}"),
            );
        }
        // Only where it is known which one the account's stack uses, it is known that it does not use the others.
        let is_live = |id: &SpotAccountId| {
            let owner = self
                .observed
                .known
                .get(id)
                .and_then(|known| known.owner.as_ref());
            owner.is_some_and(|owner| self.has_instance_of(account, owner))
        };
        if is_live(&record.id) {
            return kept(format!(
                "the stack of AWS account {account} has linked it; of {names}, name another one in `duplicates`"
            ));
        }
        match ids.iter().any(|id| is_live(id)) || is_stack_gone(known) {
            true => Verdict::Orphan(Why::Duplicate),
            false => kept(format!(
                "nothing tells which of {names} the stack of AWS account {account} uses, so this may be the one; a person who \
                 knows deletes the other in Spot"
            )),
        }
    }

    /// Whether a stack set of ours has the stack that made a link.
    fn has_instance_of(&self, account: AwsAccountId, owner: &KnownOwner) -> bool {
        let mut stacks = self.instances.get(&account).into_iter().flatten();
        stacks.any(|stack| *stack == Some(owner.stack.as_str()))
    }

    /// Of an active account.
    fn active(
        &self,
        record: &SpotAccountRecord,
        known: &Known,
        account: AwsAccountId,
        is_linked: bool,
    ) -> Verdict {
        let has_instance = self.instances.contains_key(&account);
        // With another stack's instance, the one that linked it would stay. Which stack a link of the runner's own belongs to is
        // not known: it is the one that is there.
        let goes_with_instance = match &known.owner {
            Some(owner) if owner.stack.is_real() => self.has_instance_of(account, owner),
            Some(_) => has_instance,
            None => has_instance && !is_linked,
        };
        match (self.is_targeted(account), is_linked) {
            (true, true) => Verdict::InUse,
            // It is taken by the next enrollment, unless the account has got another one.
            (true, false) => match self.links.of(account) {
                Link::None => Verdict::InUse,
                // Somebody has changed the link, and may change it back.
                Link::One(_) | Link::Several(_) if known.owner.is_some() => Verdict::Kept(
                    Reason::LinkedElsewhere,
                    format!(
                        "we had linked it, and another one is linked to AWS account {account} now; decide about it in Spot"
                    ),
                ),
                Link::One(_) | Link::Several(_) => Verdict::Orphan(Why::NeverLinked),
            },
            (false, false) if !has_instance && known.owner.is_none() => {
                Verdict::Orphan(Why::NeverLinked)
            }
            (false, _) if !self.rules.remove_outside_targets => Verdict::Kept(
                Reason::OutsideTargets,
                format!(
                    "no profile targets AWS account {account} any more; target it again, or let \
                     `remove_outside_targets` clean it up"
                ),
            ),
            (false, _) if goes_with_instance || is_stack_gone(known) => {
                Verdict::Orphan(Why::OutsideTargets)
            }
            (false, _) if self.leftover(record, known, account).is_some() => {
                Verdict::Orphan(Why::OutsideTargets)
            }
            (false, _) => {
                let by_role = !self.desired.leftover_units().is_empty();
                Verdict::Kept(
                    Reason::StackRemains,
                    leftover(record, known, account, by_role),
                )
            }
        }
    }

    /// The stack that was left in an account, and that may be deleted through the remediation role: it is that of the link, one of
    /// a stack set of ours, in that account, and the account has no stack instance that it could be the stack of.
    fn leftover<'k>(
        &self,
        record: &SpotAccountRecord,
        known: &'k Known,
        account: AwsAccountId,
    ) -> Option<&'k StackId> {
        let stack = &known.owner.as_ref()?.stack;
        let mut tombstone = known.tombstone.iter();
        let is_left = stack.is_real()
            && tombstone.all(|tombstone| tells_the_end(tombstone.reason))
            && stack.account() == Some(account)
            && record.aws_account == Some(account)
            && !self.instances.contains_key(&account)
            && !is_stack_gone(known);
        let mut profiles = self.desired.profiles.iter();
        let is_ours = profiles.any(|profile| profile.names().has_stack(stack));
        (is_left && is_ours && !self.desired.leftover_units().is_empty()).then_some(stack)
    }

    fn is_targeted(&self, account: AwsAccountId) -> bool {
        let accounts = &self.observed.sync.organization.accounts;
        let index = accounts.binary_search_by_key(&account, |account| account.id);
        index.is_ok_and(|index| self.targeted.get(index) == Some(&true))
    }
}

/// Whether the stack was to be deleted, and nothing more is said; other reasons say that somebody else may use the Spot account.
fn tells_the_end(reason: TombstoneReason) -> bool {
    use TombstoneReason::{NotDone, Reconcile, Running};
    matches!(reason, Reconcile | Running | NotDone)
}

/// Whether the stack that linked it is known to be deleted.
fn is_stack_gone(known: &Known) -> bool {
    let owner: Option<&StackId> = known.owner.as_ref().map(|owner| &owner.stack);
    match (owner, &known.tombstone) {
        (_, Some(tombstone)) if !tells_the_end(tombstone.reason) => false,
        (Some(owner), Some(tombstone)) => *owner == tombstone.stack,
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

/// The command that deletes a stack, for a person in its account (AWS CLI Command Reference, cloudformation).
#[must_use]
pub fn delete_stack_command(stack: &StackId) -> String {
    let region = stack.region();
    format!("aws cloudformation delete-stack --region {region} --stack-name {stack}")
}

/// What a person does about a stack that is left in an account that nobody targets. `by_role` says that those which can be are deleted
/// through the remediation role.
pub(super) fn leftover(
    record: &SpotAccountRecord,
    known: &Known,
    account: AwsAccountId,
    by_role: bool,
) -> String {
    match known.owner.as_ref().filter(|owner| owner.stack.is_real()) {
        Some(owner) => {
            let hint = match by_role {
                true => "",
                false => {
                    "; with remediation.leftover_stacks, a run does both where the remediation role is"
                }
            };
            format!(
                "its stack was kept when AWS account {account} left the targets, with its role and policies; delete it in the \
                 account: {}; then {} is cleaned up where the audit role can see that the stack is gone, and else deleted in Spot by a \
                 person{hint}",
                delete_stack_command(&owner.stack),
                record.id
            )
        }
        None => format!(
            "nothing tells which stack of AWS account {account} has linked it; look for it there, delete it, then delete {} in \
             Spot",
            record.id
        ),
    }
}
