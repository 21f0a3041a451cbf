//! What mends one thing about one account, and the clock that it waits by when it failed.

use std::collections::BTreeSet;

use super::{actions::StackRemoval, observed::ObservedProfile};
use crate::{
    desired::Profile,
    ids::{AwsAccountId, RoleArn, SpotAccountId},
    inventory::StackInstance,
    plan::AccountRow,
};

/// What mends something about one account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mend {
    /// Its stack is removed, for this reason.
    Remove(StackRemoval),
    /// The role's trust policy and the managed policies are written again, in place.
    Rewrite,
    /// Its Spot account is linked to its role again.
    Link {
        /// The Spot account.
        spot_account: SpotAccountId,
        /// The role.
        role: RoleArn,
        /// Whether Spot is linked to another role.
        relinks: bool,
    },
    /// Its Spot account is named by the profile's rule.
    Rename(SpotAccountId),
    /// Cost Intelligence is switched on.
    CostIntelligence(SpotAccountId),
}

impl Mend {
    /// Why, for people.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Remove(StackRemoval::RoleGone) => {
                "the role that Spot uses is gone; the stack is made anew, and the Spot account and its external ID stay"
            }
            Self::Remove(StackRemoval::SpotAccountGone) => {
                "its Spot account is gone; the stack is made anew, and with it another Spot account, whose external ID the new role \
                 trusts"
            }
            Self::Remove(StackRemoval::TakenOver) => {
                "another profile's stack takes the account over, and the one from before goes"
            }
            Self::Remove(StackRemoval::OutsideTargets) => {
                "no profile targets the account any more, and its stack goes"
            }
            Self::Rewrite => {
                "the role was changed behind CloudFormation's back, which writes role and policies again"
            }
            Self::Link { relinks: false, .. } => "it has its role, and Spot is not linked to it",
            Self::Link { relinks: true, .. } => "Spot is linked to another role than its stack's",
            Self::Rename(_) => "its Spot account has another name than its profile gives it",
            Self::CostIntelligence(_) => "Cost Intelligence is not switched on",
        }
    }

    /// Why its stack is removed; none when it stays.
    #[must_use]
    pub fn removal(&self) -> Option<StackRemoval> {
        match self {
            Self::Remove(because) => Some(*because),
            _ => None,
        }
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> MendKind {
        match self {
            Self::Remove(StackRemoval::RoleGone) => MendKind::RoleGone,
            Self::Remove(StackRemoval::SpotAccountGone) => MendKind::SpotAccountGone,
            // The second is nothing that mends an account: orphan-cleanup plans it.
            Self::Remove(StackRemoval::TakenOver | StackRemoval::OutsideTargets) => {
                MendKind::TakenOver
            }
            Self::Rewrite => MendKind::Rewrite,
            Self::Link { relinks: false, .. } => MendKind::Link,
            Self::Link { relinks: true, .. } => MendKind::Relink,
            Self::Rename(_) => MendKind::Rename,
            Self::CostIntelligence(_) => MendKind::CostIntelligence,
        }
    }
}

/// A kind of mend. An account that could not be mended waits, for that kind alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MendKind {
    /// A stack made anew for its role.
    RoleGone,
    /// A stack made anew for its Spot account.
    SpotAccountGone,
    /// A stack removed that another took over from.
    TakenOver,
    /// Role and policies written again.
    Rewrite,
    /// A link.
    Link,
    /// A link in place of another.
    Relink,
    /// A name.
    Rename,
    /// Cost Intelligence.
    CostIntelligence,
}

impl MendKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::RoleGone,
        Self::SpotAccountGone,
        Self::TakenOver,
        Self::Rewrite,
        Self::Link,
        Self::Relink,
        Self::Rename,
        Self::CostIntelligence,
    ];

    /// In kebab case.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::RoleGone => "role-gone",
            Self::SpotAccountGone => "spot-account-gone",
            Self::TakenOver => "taken-over",
            Self::Rewrite => "rewrite",
            Self::Link => "link",
            Self::Relink => "relink",
            Self::Rename => "rename",
            Self::CostIntelligence => "cost-intelligence",
        }
    }

    /// The kind that has this [`code`](MendKind::code).
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

impl From<StackRemoval> for MendKind {
    fn from(because: StackRemoval) -> Self {
        Mend::Remove(because).kind()
    }
}

/// Says what mends an account.
pub trait Mender {
    /// Whether this plan is about the account, and about what it is due for.
    fn includes(&self, row: &AccountRow) -> bool;

    /// What mends it, at most one thing of each kind. `is_targeted` says whether any profile targets it.
    fn mends(
        &self,
        profile: &Profile,
        state: &ObservedProfile,
        row: &AccountRow,
        instance: Option<&StackInstance>,
        is_targeted: bool,
    ) -> BTreeSet<Mend>;
}

/// An account and a kind of mend.
pub type MendOf = (AwsAccountId, MendKind);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_its_code() {
        for kind in MendKind::ALL {
            assert_eq!(MendKind::of_code(kind.code()), Some(kind));
        }
    }
}
