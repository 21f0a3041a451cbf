//! What `orphan-cleanup` observes before it plans, and the rules that it is given.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::clock::OrphanClock;
use crate::{
    custom_resource::TombstoneReason,
    desired::OuRef,
    ids::{AwsAccountId, OrganizationId, OuId, RoleArn, SpotAccountId, StackId},
    stackset_sync::SyncObserved,
};

/// The time for which a try is followed of which nobody has seen the end, in seconds.
const DAY: i64 = 24 * 60 * 60;

/// Everything that one run knows.
#[derive(Debug, Clone)]
pub struct CleanupObserved {
    /// What `stackset-sync` looks at, of all profiles.
    pub sync: SyncObserved,
    /// How many accounts Spot listed in the last run that looked, less those that we deleted since; none when nobody looked.
    pub previous_spot_count: Option<usize>,
    /// The organization that the last run saw; none when nobody looked.
    pub previous_organization: Option<OrganizationId>,
    /// What our state has of Spot accounts. One that is not in here is not ours.
    pub known: BTreeMap<SpotAccountId, Known>,
    /// The grace period of each Spot account that was an orphan when the last run looked. That of another one begins now.
    pub clocks: BTreeMap<SpotAccountId, OrphanClock>,
    /// Where each AWS account was when it was last in the organization.
    pub places: BTreeMap<AwsAccountId, Place>,
    /// The names of what runs in the Spot accounts that were asked, empty where nothing does. One that was not asked is not
    /// deleted.
    pub running: BTreeMap<SpotAccountId, Vec<String>>,
    /// What is to be known of the stack that was left in the account, by Spot account; none where it can be deleted through the
    /// remediation role.
    pub reach: BTreeMap<SpotAccountId, Reach>,
    /// The Spot accounts that this job deleted, or may have deleted, in the last 24 hours, by whichever run.
    pub deleted: Vec<Deleted>,
    /// The Spot accounts before which a run has begun to delete the stack that was left in the account, however long ago, and has
    /// not gone on to them.
    pub tried: BTreeMap<SpotAccountId, Tried>,
}

impl CleanupObserved {
    /// When the stack that was left in the account of a Spot account was last tried (Unix seconds), if that came to nothing. A try of
    /// which nobody has seen the end is followed for a day: whoever began it may have died right after.
    #[must_use]
    pub fn failed_at(&self, id: &SpotAccountId) -> Option<i64> {
        let tried = self.tried.get(id)?;
        let is_followed = !tried.has_failed && tried.is_of_the_day(self.sync.now);
        (!is_followed).then_some(tried.at)
    }
}

/// The last try to delete a stack that was left in an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// When, in Unix seconds.
    pub at: i64,
    /// Whether it is known to have failed; else nobody has seen what became of it.
    pub has_failed: bool,
}

impl Tried {
    /// Whether that was in the 24 hours before a moment (Unix seconds).
    #[must_use]
    pub fn is_of_the_day(&self, now: i64) -> bool {
        self.at > now.saturating_sub(DAY)
    }
}

/// What a look at a stack that was left in an account told, unless that it can be deleted through the remediation role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// The role cannot do it, for this reason.
    Denied(String),
    /// The stack is not to be deleted as it is, for this reason.
    Kept(String),
    /// Nobody knows in this run, for this reason.
    Unknown(String),
    /// It can be tried again: CloudFormation could not delete it before.
    FailedBefore,
}

/// What our state has of a Spot account that we made or linked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The AWS account that it was made for, or linked to.
    pub account: Option<AwsAccountId>,
    /// Whether we sent its creation: then it cannot be the default account of the Spot organization, which is the oldest.
    pub is_created: bool,
    /// The link that was made last through us.
    pub owner: Option<KnownOwner>,
    /// Since when and why it stays although its stack was deleted.
    pub tombstone: Option<KnownTombstone>,
}

/// A link that was made through us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOwner {
    /// The stack that it was made for.
    pub stack: StackId,
    /// The role.
    pub role: RoleArn,
    /// Whether somebody else had linked the Spot account before us.
    pub is_adopted: bool,
}

/// That a Spot account stays although its stack was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownTombstone {
    /// The stack.
    pub stack: StackId,
    /// When, in Unix seconds.
    pub at: i64,
    /// Why the Spot account stays.
    pub reason: TombstoneReason,
}

/// A creation of a Spot account that was sent, and whose outcome nobody has seen: Spot may have taken it, or take it yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentCreation {
    /// The AWS account that it was sent for.
    pub account: AwsAccountId,
    /// The name that the Spot account was to get.
    pub name: String,
    /// When it was sent at the latest, or given up, in Unix seconds.
    pub at: i64,
}

/// Where an AWS account is, or was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// The units that it is in, from its own up to the root.
    pub units: Vec<OuId>,
    /// Their names, from the root down.
    pub path: String,
}

/// A Spot account that this job deleted, or may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deleted {
    /// The Spot account.
    pub spot_account: SpotAccountId,
    /// Its AWS account.
    pub account: AwsAccountId,
    /// Whether the run that looks now did it.
    pub of_this_run: bool,
    /// Whether it is known to be gone. One whose outcome nobody has seen uses the limits up like any other.
    pub is_settled: bool,
}

/// What is asked of a clean-up.
#[derive(Debug, Clone, PartialEq)]
pub struct CleanupRules {
    /// How long something must have been an orphan before it is deleted, in seconds.
    pub grace_seconds: i64,
    /// Longest time without a look, in seconds: after a longer one nobody knows that it was an orphan all the time, and the grace
    /// period begins anew.
    pub max_gap_seconds: i64,
    /// Most Spot accounts that a run deletes.
    pub max_deletions: usize,
    /// Most that are deleted in 24 hours.
    pub max_per_day: usize,
    /// Most of our Spot accounts that a run deletes, and that are deleted in 24 hours, as a share (0.0 to 1.0) that is rounded
    /// up.
    pub max_share: f64,
    /// Nothing of accounts below these is removed, also not after they left.
    pub protected_ous: Vec<OuRef>,
    /// Nothing of accounts with such a name is removed, in AWS or Spot.
    pub protected_names: Vec<NamePattern>,
    /// The default account of the Spot organization, where somebody has told.
    pub default_account: Option<SpotAccountId>,
    /// Whether accounts that no profile targets lose their stack and then their Spot account.
    pub remove_outside_targets: bool,
    /// Of AWS accounts that several Spot accounts are linked to, those that go.
    pub duplicates: BTreeSet<SpotAccountId>,
}

/// A name, in which `*` stands for any characters. Upper and lower case are the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamePattern(String);

/// A pattern without any character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pattern of names is empty; \"*\" fits every name")]
pub struct EmptyPattern;

impl FromStr for NamePattern {
    type Err = EmptyPattern;

    fn from_str(text: &str) -> Result<Self, EmptyPattern> {
        match text.trim() {
            "" => Err(EmptyPattern),
            text => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl NamePattern {
    /// Whether a name is one of these.
    #[must_use]
    pub fn fits(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.to_lowercase(), name.to_lowercase());
        let mut parts = pattern.split('*');
        let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
            return false;
        };
        let mut parts: Vec<&str> = parts.collect();
        let Some(last) = parts.pop() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.split_once(part) {
                Some((_, after)) => rest = after,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, name, fits) in [
            ("prod-*", "Prod-payments", true),
            ("prod-*", "preprod-payments", false),
            ("*prod*", "preprod-payments", true),
            ("*-dr", "billing-dr", true),
            ("*-dr", "billing-drill", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*a", "a", false),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("*", "", true),
        ] {
            let pattern: NamePattern = pattern.parse().unwrap();
            assert_eq!(pattern.fits(name), fits, "{pattern} {name}");
        }
        assert_eq!(" ".parse::<NamePattern>(), Err(EmptyPattern));
    }
}
