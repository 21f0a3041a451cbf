//! Events of AWS that say "look now": what one tells, and when the look that it asks for is due.
//!
//! An event is a hint. It may be lost, late, repeated, or wrong, so nothing that it says goes into a plan: whoever is woken observes
//! anew. What is not understood is nobody's failure.

mod read;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::ids::{AwsAccountId, OuId};

pub use read::{LONGEST, read};

/// What has happened, as far as it matters to jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// An account was created or invited, or AWS Control Tower has made it.
    AccountJoined,
    /// An account has another parent, or AWS Control Tower has changed it.
    AccountMoved,
    /// An account was closed or removed, or has left.
    AccountLeft,
    /// An account has other tags.
    AccountTagged,
    /// An organizational unit came, went, has another name, or AWS Control Tower governs it by now.
    UnitChanged,
    /// A stack set, one of its instances or an operation came to an end.
    StackSetChanged,
}

impl EventKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::AccountJoined,
        Self::AccountMoved,
        Self::AccountLeft,
        Self::AccountTagged,
        Self::UnitChanged,
        Self::StackSetChanged,
    ];

    /// Its name in job files, metrics and logs.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::AccountJoined => "account-joined",
            Self::AccountMoved => "account-moved",
            Self::AccountLeft => "account-left",
            Self::AccountTagged => "account-tagged",
            Self::UnitChanged => "unit-changed",
            Self::StackSetChanged => "stack-set-changed",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What an event is about, when it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// An account.
    Account(AwsAccountId),
    /// An organizational unit or the root.
    Unit(OuId),
    /// Nothing in particular.
    Nothing,
}

impl About {
    /// The account, when it is about one.
    #[must_use]
    pub fn account(&self) -> Option<AwsAccountId> {
        match self {
            Self::Account(account) => Some(*account),
            Self::Unit(_) | Self::Nothing => None,
        }
    }
}

/// An event that may be of interest to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// What has happened.
    pub kind: EventKind,
    /// To what.
    pub about: About,
    /// What tells it from others: CloudTrail's id of it, or else EventBridge's. The same event may come again under it.
    pub id: Option<Box<str>>,
    /// When it happened, in the source's words (ISO 8601).
    pub time: Option<Box<str>>,
}

/// What a message of the wake-up queue turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Something has happened.
    Hint(Hint),
    /// An event that asks nobody to look: it tells of a beginning, a failure, or something else.
    OfNoInterest,
    /// No event, and why it is none.
    NotUnderstood(&'static str),
}

/// Accounts that are kept of what woke a run: for people, who look at the ledger for more.
const NAMED: usize = 20;

/// What woke a run: how many events of which kind, about whom, and since when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Woken {
    /// How many events of each kind.
    pub kinds: BTreeMap<EventKind, u64>,
    /// The accounts that they were about; the first few of them.
    pub accounts: Vec<AwsAccountId>,
    /// When the first of them was heard of, in Unix milliseconds.
    pub since: i64,
}

impl Woken {
    /// By these events, heard of at `now`.
    pub fn by<'a>(hints: impl IntoIterator<Item = &'a Hint>, now: i64) -> Self {
        let mut woken = Self {
            since: now,
            ..Self::default()
        };
        for hint in hints {
            *woken.kinds.entry(hint.kind).or_default() += 1;
            woken.name(hint.about.account());
        }
        woken
    }

    /// By these and those that came later.
    #[must_use]
    pub fn and(mut self, later: Self) -> Self {
        for (kind, count) in later.kinds {
            let known = self.kinds.entry(kind).or_default();
            *known = known.saturating_add(count);
        }
        self.name(later.accounts);
        self.since = self.since.min(later.since);
        self
    }

    fn name(&mut self, accounts: impl IntoIterator<Item = AwsAccountId>) {
        for account in accounts {
            if self.accounts.len() < NAMED && !self.accounts.contains(&account) {
                self.accounts.push(account);
            }
        }
    }

    /// How many events.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.kinds.values().copied().fold(0, u64::saturating_add)
    }
}

impl fmt::Display for Woken {
    /// `3 account-joined, 1 account-moved`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (kind, count)) in self.kinds.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{count} {kind}")?;
        }
        Ok(())
    }
}

/// When the run is due that events ask for, all in milliseconds: `quiet` after the last of them, and `longest` after the first at the
/// latest, so that five hundred of them ask for one run, and a stream of them cannot put it off.
#[must_use]
pub fn due_at(first: i64, last: i64, quiet: i64, longest: i64) -> i64 {
    last.saturating_add(quiet)
        .min(first.saturating_add(longest))
}
