//! Comparing two policy documents by what they grant, and saying the difference in words.
//!
//! IAM's reading decides, not the text: the order of statements and entries, a text or a list of one, the case of actions,
//! operators and condition keys, duplicates, Sids, an entry that a wildcard covers already, a statement moved, split or
//! merged make no difference. Actions, resources and principals are divided into the classes that the patterns of both
//! documents tell apart. For each combination of classes, the conditions of the statements that match are compared as
//! formulas.
//!
//! Guarantee: two documents that grant different things are never called equal or cosmetic. Where coverage cannot be decided
//! within the limits of [`Comparison::undecided`], the verdict is [`Verdict::Changed`]. The other way round it is careful:
//! conditions are only known to imply each other where [`compare`] says so, so that documents that grant the same through
//! related conditions may be called widened, narrowed or changed.
//!
//! What is compared is the documents. Boundaries, service control policies and whether an action exists are not looked at.

mod cells;
mod classes;
mod condition;
mod pairs;
mod pattern;
mod read;
mod rules;
mod satisfy;
mod words;

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

pub use self::read::Grants;
use self::{cells::Found, pairs::Pair, rules::Rules};

/// What became of a policy or of one of its statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The same JSON, white space and the order of elements within an object aside.
    Equal,
    /// Written differently, and the whole policy grants the same because of it.
    Cosmetic,
    /// Something is granted that was not, and nothing was taken away.
    Widened,
    /// Something is not granted that was, and nothing was added.
    Narrowed,
    /// Both, or it cannot be decided.
    Changed,
}

impl Verdict {
    /// Whether something else is granted, or may be.
    #[must_use]
    pub fn is_real(self) -> bool {
        !matches!(self, Self::Equal | Self::Cosmetic)
    }

    fn of(widens: bool, narrows: bool, is_equal: bool) -> Self {
        match (widens, narrows) {
            (true, true) => Self::Changed,
            (true, false) => Self::Widened,
            (false, true) => Self::Narrowed,
            (false, false) if is_equal => Self::Equal,
            (false, false) => Self::Cosmetic,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Equal => "equal",
            Self::Cosmetic => "cosmetic",
            Self::Widened => "widened",
            Self::Narrowed => "narrowed",
            Self::Changed => "changed",
        })
    }
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Effect {
    /// It grants.
    Allow,
    /// It takes away, whatever else grants.
    Deny,
}

/// Two policies compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// What became of the policy as a whole.
    pub verdict: Verdict,
    /// Whether something was too intricate to decide: a hundred thousand combinations of wildcards or thousands of
    /// combinations of conditions. What it concerns is shown on both sides.
    pub undecided: bool,
    /// Every statement of both, those of the later policy in its order, then those that have no counterpart there.
    pub statements: Vec<StatementComparison>,
}

/// A statement before and after. Its counterpart is the statement with its Sid, or else the most similar one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StatementComparison {
    /// Where it was; none when it is new.
    pub before: Option<Place>,
    /// Where it is; none when it is gone.
    pub after: Option<Place>,
    /// What it contributes to the difference between the whole policies: a statement that is gone while another grants the
    /// same is cosmetic.
    pub verdict: Verdict,
    /// What it contributes, line by line.
    pub changes: Vec<Change>,
}

/// Where a statement is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Which statement of the policy, from 1.
    pub position: usize,
    /// Its Sid, when it has a non-empty one.
    pub sid: Option<String>,
}

/// Whether something is only in the later or only in the earlier policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sign {
    /// In the later one.
    Added,
    /// In the earlier one.
    Removed,
}

/// One line of a difference, such as `+ ec2:RunInstances on *`. Its [`Display`](fmt::Display) is this line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Which policy has it.
    pub sign: Sign,
    /// What the statement does with it.
    pub effect: Effect,
    /// The action, or all but some.
    pub actions: Names,
    /// The resources; none in a trust policy.
    pub resources: Names,
    /// The principals; none in an identity policy.
    pub principals: Names,
    /// The statement's conditions, as they are written.
    pub condition: Option<Map<String, Value>>,
    /// Whether only a part of it makes the difference: the other policy has the rest too, by another pattern or under other
    /// conditions, or a denial takes it away.
    pub in_part: bool,
}

impl Change {
    /// Whether more is granted by it; otherwise less.
    #[must_use]
    pub fn widens(&self) -> bool {
        (self.sign == Sign::Added) == (self.effect == Effect::Allow)
    }
}

/// Actions, resources or principals, as they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Names {
    /// Whether everything but these is meant (`NotAction` and the like).
    pub except: bool,
    /// The names. Principals begin with their kind, such as `AWS:`.
    pub names: Vec<String>,
}

/// Compares what two policies grant.
///
/// Conditions: an operator with several values is any of them, a negated one none of them; `IfExists` and `Null` are about
/// the key's presence; a value implies a wildcard that covers it. Numbers, dates and address ranges are compared as texts,
/// and so is what a policy variable stands for. A resource without six fields is completed, and a wildcard crosses a colon
/// only at the end of a field (IAM User Guide, "IAM JSON policy elements: Resource").
#[must_use]
pub fn compare(before: &Grants, after: &Grants) -> Comparison {
    let pairs = pairs::pairs(before, after);
    let is_same = before.is_same(after);
    let found = if is_same {
        Some(Found::default())
    } else {
        cells::differences(&Rules::new(before, after))
    };
    let (found, undecided) = match found {
        Some(found) => {
            let undecided = found.undecided;
            (found, undecided)
        }
        None => (pairs::all_that_differ(before, after, &pairs), true),
    };
    let statements = pairs
        .iter()
        .map(|pair| statement(before, after, *pair, &found))
        .collect();
    let changes = || found.before.values().chain(found.after.values()).flatten();
    let verdict = Verdict::of(
        undecided || changes().any(Change::widens),
        undecided || !changes().all(Change::widens),
        is_same,
    );
    Comparison {
        verdict,
        undecided,
        statements,
    }
}

fn statement(before: &Grants, after: &Grants, pair: Pair, found: &Found) -> StatementComparison {
    let place = |grants: &Grants, index: usize| Place {
        position: index + 1,
        sid: grants.statements()[index].sid.clone(),
    };
    let removed = pair.before.and_then(|index| found.before.get(&index));
    let added = pair.after.and_then(|index| found.after.get(&index));
    let changes: Vec<Change> = removed
        .into_iter()
        .chain(added)
        .flatten()
        .cloned()
        .collect();
    StatementComparison {
        before: pair.before.map(|index| place(before, index)),
        after: pair.after.map(|index| place(after, index)),
        verdict: Verdict::of(
            changes.iter().any(Change::widens),
            !changes.iter().all(Change::widens),
            pair.is_equal,
        ),
        changes,
    }
}
