//! Whether the Delete of a stack's `Custom::SpotAccount` deletes the Spot account.
//!
//! A Delete that must not have an effect still succeeds: the stack goes, the Spot account stays, and what nobody owns
//! any more is left to reconciling with a tombstone.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    str::FromStr,
};

use super::Holder;
use crate::{
    ids::{AwsAccountId, SpotAccountId, StackId},
    inventory::SpotAccountRecord,
    template::Deletion,
};

/// What the state has about a Spot account whose stack asks for its deletion.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// The stack that linked it last, and whether somebody else had linked it before us.
    pub owner: Option<(&'a StackId, bool)>,
    /// The Spot account that is assigned to the AWS account of the stack.
    pub assigned: Option<&'a SpotAccountId>,
    /// The stack whose request created the assigned Spot account; none when it was left by an earlier attempt.
    pub created_by: Option<&'a StackId>,
    /// Who was given the Spot account of this AWS account and has not been deleted since.
    pub holders: &'a BTreeSet<Holder>,
}

/// Why a Delete has nothing to do at Spot, and nothing is left behind either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Spared {
    /// Another stack linked it later.
    #[error("another stack owns the Spot account")]
    OwnedByAnother,
    /// No stack has linked it, and it was not made for this one.
    #[error("the Spot account was neither linked by this stack nor created for it")]
    NotOfThisStack,
    /// Only one of several resources of its stack ends, such as the old one of two names.
    #[error("another resource of this stack stands for the Spot account")]
    OfAnotherResource,
}

/// Why a Spot account stays although the stack that owned it is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TombstoneReason {
    /// The rule is that deletions are decided by reconciling.
    Reconcile,
    /// Somebody else had linked it before us.
    Adopted,
    /// Another stack was given it as well.
    HeldByAnother,
    /// Its stack is deleted, and another of its resources was given it as well: that is deleted next, or was retained.
    HeldByAnotherResource,
    /// Its stack may have another resource that was given it.
    UnclearResource,
    /// It is not the one that our state has for the AWS account.
    NotAssigned,
    /// It was created for the stack, which did not link it; but it is linked.
    LinkedAfterAll,
    /// It is linked to another AWS account, or to another cloud.
    LinkedElsewhere,
    /// Elastigroups or Ocean clusters run in it.
    Running,
    /// Its creation was answered with a failure, or not at all.
    CreateFailed,
    /// Spot refused, or could not be asked in time.
    NotDone,
    /// Spot made it after somebody else had worked on its AWS account.
    Late,
}

impl TombstoneReason {
    const ALL: [Self; 12] = [
        Self::Reconcile,
        Self::Adopted,
        Self::HeldByAnother,
        Self::HeldByAnotherResource,
        Self::UnclearResource,
        Self::NotAssigned,
        Self::LinkedAfterAll,
        Self::LinkedElsewhere,
        Self::Running,
        Self::CreateFailed,
        Self::NotDone,
        Self::Late,
    ];

    /// Its name in the state and in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reconcile => "reconcile",
            Self::Adopted => "adopted",
            Self::HeldByAnother => "held-by-another-stack",
            Self::HeldByAnotherResource => "held-by-another-resource",
            Self::UnclearResource => "unclear-resource",
            Self::NotAssigned => "not-assigned",
            Self::LinkedAfterAll => "linked-after-all",
            Self::LinkedElsewhere => "linked-elsewhere",
            Self::Running => "running",
            Self::CreateFailed => "create-failed",
            Self::NotDone => "not-done",
            Self::Late => "late",
        }
    }

    /// The same for a person.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Reconcile => "deletions are decided by reconciling",
            Self::Adopted => "somebody else had linked it before us",
            Self::HeldByAnother => "another stack was given it as well",
            Self::HeldByAnotherResource => "another resource of its stack was given it as well",
            Self::UnclearResource => {
                "an earlier version of this program gave it to the stack, which may have another resource for it"
            }
            Self::NotAssigned => "it is not the one that our state has for the AWS account",
            Self::LinkedAfterAll => "it is linked, though not by this stack",
            Self::LinkedElsewhere => "it is linked to something else by now",
            Self::Running => "Elastigroups or Ocean clusters run in it",
            Self::CreateFailed => "its creation had failed; the next one takes it",
            Self::NotDone => "Spot did not delete it",
            Self::Late => "it was made after another request had worked on its AWS account",
        }
    }
}

impl fmt::Display for TombstoneReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no reason of a tombstone")]
pub struct UnknownReason(String);

impl FromStr for TombstoneReason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str() == text)
            .ok_or_else(|| UnknownReason(text.to_owned()))
    }
}

/// What a Delete does, as far as the state can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletionDecision {
    /// Nothing.
    Spare(Spared),
    /// Nothing at Spot; what stays is remembered.
    Leave(TombstoneReason),
    /// It deletes the Spot account, when [`veto`] has nothing against it.
    Delete,
}

/// Decides for the resource `holder`, which ends, and the Spot account `spot_account` that it got. `ends`: whether its whole
/// stack is known to end with it.
///
/// A Spot account is deleted with the stack that owns it: that linked it last, or that created it when it was never
/// linked. The stack ends for it with the last of its resources that were given it. Nothing is deleted that was adopted, or
/// that another stack was given: its link may be in the making.
#[must_use]
pub fn decide(
    rule: Deletion,
    holder: &Holder,
    ends: bool,
    spot_account: &SpotAccountId,
    held: Held<'_>,
) -> DeletionDecision {
    let stack = &holder.stack;
    let is_assigned = held.assigned == Some(spot_account);
    match held.owner {
        Some((owner, _)) if owner != stack => {
            return DeletionDecision::Spare(Spared::OwnedByAnother);
        }
        Some(_) => {}
        None if is_assigned && held.created_by == Some(stack) => {}
        None => return DeletionDecision::Spare(Spared::NotOfThisStack),
    }
    let is_adopted = held.owner.is_some_and(|(_, adopted)| adopted);
    if holder.has_sibling(held.holders) {
        if ends {
            DeletionDecision::Leave(TombstoneReason::HeldByAnotherResource)
        } else {
            DeletionDecision::Spare(Spared::OfAnotherResource)
        }
    } else if is_adopted {
        DeletionDecision::Leave(TombstoneReason::Adopted)
    } else if rule == Deletion::Reconcile {
        DeletionDecision::Leave(TombstoneReason::Reconcile)
    } else if !is_assigned {
        DeletionDecision::Leave(TombstoneReason::NotAssigned)
    } else if holder.has_rival(held.holders) {
        DeletionDecision::Leave(TombstoneReason::HeldByAnother)
    } else if holder.is_unclear(held.holders) && !ends {
        DeletionDecision::Leave(TombstoneReason::UnclearResource)
    } else {
        DeletionDecision::Delete
    }
}

/// What Spot's own view has against a deletion. `owned`: whether the stack linked the Spot account; one that it only
/// created must be linked to nothing. `running`: how many groups and clusters it has.
#[must_use]
pub fn veto(
    listed: &SpotAccountRecord,
    account: AwsAccountId,
    owned: bool,
    running: usize,
) -> Option<TombstoneReason> {
    match listed.aws_account {
        Some(linked) if linked != account => return Some(TombstoneReason::LinkedElsewhere),
        Some(_) if !owned => return Some(TombstoneReason::LinkedAfterAll),
        None if !listed.unlinked => return Some(TombstoneReason::LinkedElsewhere),
        Some(_) | None => {}
    }
    (running > 0).then_some(TombstoneReason::Running)
}

/// The sentence for a Spot account that stays. `running`: names of what runs in it, when that is why.
#[must_use]
pub fn left_behind(
    spot_account: &SpotAccountId,
    reason: TombstoneReason,
    running: &[String],
) -> String {
    let mut text = format!(
        "Spot account {spot_account} stays: {}",
        reason.explanation()
    );
    if !running.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(text, " ({})", running.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(name: &str) -> StackId {
        format!("arn:aws:cloudformation:us-east-1:111111111111:stack/{name}/uuid")
            .parse()
            .unwrap()
    }

    fn id(text: &str) -> SpotAccountId {
        text.parse().unwrap()
    }

    /// The resource `A` of the stack `me`, or another one by `stack/resource`; one that is not known by `stack`.
    fn holder(name: &str) -> Holder {
        let (name, resource) = match name.split_once('/') {
            Some((name, resource)) => (name, Some(resource.to_owned())),
            None => (name, None),
        };
        Holder {
            stack: stack(name),
            resource,
        }
    }

    /// The decision for `me/A`, by the names of stacks and of holders.
    fn decided(
        rule: Deletion,
        ends: bool,
        owner: Option<(&str, bool)>,
        created_by: Option<&str>,
        holders: &[&str],
    ) -> DeletionDecision {
        let owner = owner.map(|(name, adopted)| (stack(name), adopted));
        let created_by = created_by.map(stack);
        let holders = holders.iter().map(|name| holder(name)).collect();
        let held = Held {
            owner: owner.as_ref().map(|(stack, adopted)| (stack, *adopted)),
            assigned: Some(&id("act-1")),
            created_by: created_by.as_ref(),
            holders: &holders,
        };
        decide(rule, &holder("me/A"), ends, &id("act-1"), held)
    }

    #[test]
    fn only_what_the_stack_owns_and_did_not_adopt_is_deleted() {
        use DeletionDecision::{Delete, Leave, Spare};
        let owned = Some(("me", false));
        for (owner, created_by, holders, expected) in [
            (owned, None, &["me/A"][..], Delete),
            (owned, Some("me"), &["me/A"], Delete),
            (owned, Some("other"), &[], Delete),
            (None, Some("me"), &["me/A"], Delete),
            (
                Some(("me", true)),
                Some("me"),
                &["me/A"],
                Leave(TombstoneReason::Adopted),
            ),
            (
                owned,
                None,
                &["me/A", "new/A"],
                Leave(TombstoneReason::HeldByAnother),
            ),
            (
                owned,
                None,
                &["me/A", "new"],
                Leave(TombstoneReason::HeldByAnother),
            ),
            (
                None,
                Some("me"),
                &["me/A", "new/A"],
                Leave(TombstoneReason::HeldByAnother),
            ),
            (
                Some(("new", false)),
                Some("me"),
                &["me/A"],
                Spare(Spared::OwnedByAnother),
            ),
            (
                Some(("new", true)),
                Some("me"),
                &["me/A"],
                Spare(Spared::OwnedByAnother),
            ),
            (None, Some("new"), &["me/A"], Spare(Spared::NotOfThisStack)),
            (None, None, &["me/A"], Spare(Spared::NotOfThisStack)),
        ] {
            let case = format!("{owner:?} {created_by:?} {holders:?}");
            for ends in [true, false] {
                assert_eq!(
                    decided(Deletion::Stack, ends, owner, created_by, holders),
                    expected,
                    "{case}"
                );
            }
            let reconciled = match expected {
                Delete | Leave(TombstoneReason::HeldByAnother) => Leave(TombstoneReason::Reconcile),
                other => other,
            };
            assert_eq!(
                decided(Deletion::Reconcile, true, owner, created_by, holders),
                reconciled,
                "{case}"
            );
        }
    }

    #[test]
    fn a_spot_account_stays_as_long_as_a_resource_of_its_stack_stands_for_it() {
        use DeletionDecision::{Delete, Leave, Spare};
        let of_another = Spare(Spared::OfAnotherResource);
        let until_it_ends = Leave(TombstoneReason::HeldByAnotherResource);
        for (adopted, holders, ends, expected) in [
            // A new name, or a second resource; whoever else holds it, and whatever the stack does.
            (false, &["me/A", "me/B"][..], true, until_it_ends),
            (false, &["me/A", "me/B"], false, of_another),
            (false, &["me/B", "new/A"], true, until_it_ends),
            (false, &["me/B", "me"], false, of_another),
            (true, &["me/A", "me/B"], true, until_it_ends),
            (true, &["me/A", "me/B"], false, of_another),
            // A stack of an earlier version: its resource may be this one or another.
            (
                false,
                &["me"],
                false,
                Leave(TombstoneReason::UnclearResource),
            ),
            (
                false,
                &["me", "me/A"],
                false,
                Leave(TombstoneReason::UnclearResource),
            ),
            (false, &["me"], true, Delete),
            (false, &["me", "me/A"], true, Delete),
        ] {
            for rule in [Deletion::Stack, Deletion::Reconcile] {
                for (owner, created_by) in [
                    (Some(("me", adopted)), None),
                    (Some(("me", adopted)), Some("me")),
                ] {
                    let is_unclear = expected == Leave(TombstoneReason::UnclearResource);
                    let expected = match rule {
                        Deletion::Reconcile if is_unclear || expected == Delete => {
                            Leave(TombstoneReason::Reconcile)
                        }
                        _ => expected,
                    };
                    assert_eq!(
                        decided(rule, ends, owner, created_by, holders),
                        expected,
                        "{rule:?} {holders:?} {ends}"
                    );
                }
            }
        }
    }

    #[test]
    fn only_what_the_state_has_for_the_account_is_deleted() {
        let (me, holders) = (holder("me/A"), BTreeSet::new());
        let held = Held {
            owner: Some((&me.stack, false)),
            assigned: Some(&id("act-2")),
            created_by: Some(&me.stack),
            holders: &holders,
        };
        assert_eq!(
            decide(Deletion::Stack, &me, true, &id("act-1"), held),
            DeletionDecision::Leave(TombstoneReason::NotAssigned)
        );
        let held = Held {
            owner: None,
            ..held
        };
        assert_eq!(
            decide(Deletion::Stack, &me, true, &id("act-1"), held),
            DeletionDecision::Spare(Spared::NotOfThisStack)
        );
    }

    #[test]
    fn spots_view_may_be_against_it() {
        let account = "111111111111";
        let record = |linked: Option<&str>, unlinked| SpotAccountRecord {
            id: id("act-1"),
            name: "x".into(),
            aws_account: linked.map(|linked| linked.parse().unwrap()),
            unlinked,
        };
        for (linked, unlinked, owned, running, expected) in [
            (Some(account), false, true, 0, None),
            (None, true, true, 0, None),
            (None, true, false, 0, None),
            (
                Some(account),
                false,
                false,
                0,
                Some(TombstoneReason::LinkedAfterAll),
            ),
            (
                Some("222222222222"),
                false,
                true,
                0,
                Some(TombstoneReason::LinkedElsewhere),
            ),
            (None, false, true, 0, Some(TombstoneReason::LinkedElsewhere)),
            (
                Some(account),
                false,
                true,
                2,
                Some(TombstoneReason::Running),
            ),
        ] {
            let vetoed = veto(
                &record(linked, unlinked),
                account.parse().unwrap(),
                owned,
                running,
            );
            assert_eq!(vetoed, expected, "{linked:?} {unlinked} {owned} {running}");
        }
    }

    #[test]
    fn every_reason_is_read_back() {
        for reason in TombstoneReason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(reason));
        }
        assert!("other".parse::<TombstoneReason>().is_err());
    }
}
