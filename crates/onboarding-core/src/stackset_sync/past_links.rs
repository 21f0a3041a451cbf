//! The links that accounts had before the one that they have, from our state: a stack of ours that is still in an account although
//! no stack set has an instance of it, and what became of Spot's way in when one stack took over from another.
//!
//! CloudFormation takes an instance out and keeps its stack when an account moves, is closed, or leaves
//! (`RetainStacksOnAccountRemoval`, CloudFormation API reference), and makes another stack when it is back. Both roles then demand
//! the same external ID, so both let Spot in, until somebody deletes the one that is left over. Nothing here removes it: no job of
//! ours has a way into the account that may.

use std::collections::{BTreeMap, BTreeSet};

use super::{ledger::LedgerRow, observed::SyncObserved, steps::ProfileContext};
use crate::{
    ids::{AwsAccountId, ExternalId, RoleArn, SpotAccountId, StackId},
    plan::{AccountRow, Finding, Plan, Severity},
    status::{Reason, Standing},
    template::role_name,
};

/// The reason code of a stack that is left over beside the one that Spot uses.
pub const LEFTOVER: &str = "leftover-stack";

/// The reason code of a link that went to another stack while Spot had a role all the time.
pub const KEPT: &str = "link-kept";

/// The reason code of one that went to another stack otherwise.
pub const RELINKED: &str = "relinked";

/// How long it is told that another stack took over, in seconds.
const TOLD: i64 = 7 * 24 * 60 * 60;

/// Most stacks that a step names.
const NAMED: usize = 5;

/// A link that we made. Times are Unix milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRecord {
    /// The Spot account.
    pub spot_account: SpotAccountId,
    /// The stack that asked for it.
    pub stack: StackId,
    /// The role.
    pub role: RoleArn,
    /// The external ID that was in use, where it was ours to know.
    pub external_id: Option<ExternalId>,
    /// When it was made.
    pub linked_at: i64,
    /// When another took its place, or its Spot account was deleted; none while it is the one that Spot has.
    pub ended_at: Option<i64>,
    /// When Spot was seen to have no way in by it any more: it may have had none for longer.
    pub broken_at: Option<i64>,
    /// What there is of its stack.
    pub now: StackNow,
}

/// What there is of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StackNow {
    /// It is there.
    There {
        /// Whether its role is, too.
        has_role: bool,
    },
    /// It is deleted.
    Gone {
        /// When, in Unix milliseconds, where AWS told.
        at: Option<i64>,
    },
    /// Nobody could tell, for this reason.
    Unknown(Box<str>),
}

impl LinkRecord {
    /// Whether CloudFormation knows the stack by this id. What the runner links by itself has an id of our own in its place.
    #[must_use]
    pub fn has_real_stack(&self) -> bool {
        let id = self.stack.as_str().rsplit('/').next();
        !matches!(id, Some("direct" | "undo"))
    }

    /// What a person does to delete its stack.
    fn deletion(&self) -> String {
        format!(
            "aws cloudformation delete-stack --region {} --stack-name {}",
            self.stack.region(),
            self.stack
        )
    }
}

/// Whether a finding for this reason is about links, of an account whose row may say that all is well.
#[must_use]
pub fn is_about_links(reason: &str) -> bool {
    [LEFTOVER, KEPT, RELINKED].contains(&reason)
}

/// The links of an observation.
pub(super) struct PastLinks<'a> {
    observed: &'a SyncObserved,
    /// The stacks that are instances.
    stacks: BTreeSet<&'a str>,
}

impl<'a> PastLinks<'a> {
    pub(super) fn new(observed: &'a SyncObserved) -> Self {
        let profiles = observed.profiles.iter();
        let instances = profiles.flat_map(|profile| &profile.instances);
        let stacks = instances.filter_map(|instance| instance.stack_id.as_deref());
        Self {
            observed,
            stacks: if observed.links.is_empty() {
                BTreeSet::new()
            } else {
                stacks.collect()
            },
        }
    }

    /// The stacks of ours that are in an account and no instance, with whether their role is there.
    fn leftovers(&self, account: AwsAccountId) -> impl Iterator<Item = (&'a LinkRecord, bool)> {
        let records = self.observed.links.get(&account).into_iter().flatten();
        records.filter_map(|record| match record.now {
            StackNow::There { has_role } if !self.stacks.contains(record.stack.as_str()) => {
                Some((record, has_role))
            }
            _ => None,
        })
    }

    /// Leaves out accounts where a stack from before has the role that the new one would make: that one would fail.
    pub(super) fn hold_back(&self, context: &ProfileContext<'_>, rows: &mut [LedgerRow<'_>]) {
        if self.observed.links.is_empty() {
            return;
        }
        let Some(name) = role_name(&context.profile.definition.template_body) else {
            return;
        };
        for row in rows {
            let row = &mut row.row;
            let is_made = matches!(row.reason, Reason::MissingInstance | Reason::InstanceFailed);
            if !is_made || row.standing != Standing::Due {
                continue;
            }
            let mut leftovers = self.leftovers(row.account);
            let Some((leftover, _)) =
                leftovers.find(|(one, has_role)| *has_role && one.role.role_name() == name)
            else {
                continue;
            };
            row.standing = Standing::Skipped;
            row.reason = Reason::StackRemains;
            row.detail = Some(
                format!(
                    "{} from before has the role {name}, which a new stack would make again and so fail; delete it, in the \
                     account, and Spot has no role until the next run has made the new one: {}",
                    leftover.stack,
                    leftover.deletion()
                )
                .into(),
            );
        }
    }

    /// Lets steps that make new stacks say beside which ones.
    pub(super) fn tell(&self, plan: &mut Plan) {
        let steps = plan.steps.iter_mut();
        for step in steps
            .filter(|step| matches!(&*step.action, "create-stack-instances" | "enroll-account"))
        {
            let accounts = step.accounts.iter();
            let beside: Vec<String> = accounts
                .flat_map(|account| self.leftovers(*account))
                .map(|(leftover, _)| {
                    format!(
                        "{} from before stays beside the new stack; both roles demand the same external ID",
                        leftover.stack
                    )
                })
                .collect();
            let more = beside.len().saturating_sub(NAMED);
            step.changes.extend(beside.into_iter().take(NAMED));
            if more > 0 {
                step.changes.push(format!("and so in {more} more"));
            }
        }
    }

    /// What is left over, and what became of links that went to another stack.
    pub(super) fn findings(&self, plan: &Plan) -> Vec<Finding> {
        let mut found = Vec::new();
        if self.observed.links.is_empty() {
            return found;
        }
        for row in plan.accounts.iter().filter(|row| row.targeted) {
            let Some(records) = self.observed.links.get(&row.account) else {
                continue;
            };
            // Of one whose role Spot still uses, nobody is told to delete it.
            let ended = self.leftovers(row.account);
            let ended = ended.filter(|(leftover, _)| leftover.ended_at.is_some());
            found.extend(ended.map(|(leftover, has_role)| left_over(row, leftover, has_role)));
            found.extend(taken_over(row, records, self.observed.now));
        }
        found
    }
}

fn left_over(row: &AccountRow, leftover: &LinkRecord, has_role: bool) -> Finding {
    let LinkRecord { stack, role, .. } = leftover;
    let role = match has_role {
        true => format!("its role {role} lets Spot in like the one that Spot uses"),
        false => "its role is not there any more".to_owned(),
    };
    Finding {
        severity: Severity::Warning,
        fix: Some(format!(
            "needs a person, in the account: {}",
            leftover.deletion()
        )),
        ..of(
            row,
            LEFTOVER,
            stack.as_str(),
            format!(
                "a stack of ours from before is still in the account, and in no stack set; {role}"
            ),
        )
    }
}

/// That another stack has taken over of late, and whether Spot had a role meanwhile.
fn taken_over(row: &AccountRow, records: &[LinkRecord], now: i64) -> Option<Finding> {
    let new = records.iter().find(|record| record.ended_at.is_none())?;
    let earlier = records
        .iter()
        .filter(|record| record.linked_at < new.linked_at);
    let old = earlier.max_by_key(|record| (record.ended_at, record.linked_at))?;
    if now.saturating_sub(new.linked_at.div_euclid(1000)) > TOLD {
        return None;
    }
    let is_same_account = old.spot_account == new.spot_account;
    let external_id = match (&old.external_id, &new.external_id) {
        (Some(old), Some(new)) if old == new => Some(true),
        (Some(_), Some(_)) => Some(false),
        _ => None,
    };
    let gap = Gap::between(old, new);
    let account = match is_same_account {
        true => format!("Spot account {} stayed", new.spot_account),
        false => format!(
            "Spot account {} took the place of {}",
            new.spot_account, old.spot_account
        ),
    };
    let id = match external_id {
        Some(true) => "so did its external ID",
        Some(false) => "its external ID is another one",
        None => "whether its external ID is the same is not known",
    };
    let message = format!(
        "its link went to another stack {gap}; {account}, {id}; the role was {}, and is {}",
        old.role, new.role
    );
    let is_kept = is_same_account && external_id == Some(true) && gap == Gap::None;
    let reason = if is_kept { KEPT } else { RELINKED };
    Some(of(row, reason, new.stack.as_str(), message))
}

/// For how long Spot had no role while its link went from one stack to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// The stack before was there.
    None,
    /// For so many seconds.
    Seconds(i64),
    /// For so many seconds, and longer: nobody knows how much.
    AtLeast(i64),
    /// Nobody can tell.
    Unknown,
}

impl Gap {
    fn between(old: &LinkRecord, new: &LinkRecord) -> Self {
        let seconds = |from: i64| (new.linked_at - from).max(0).saturating_add(999) / 1000;
        // A link to another Spot account had ended with the earlier one, whatever became of the role.
        let unlinked = old
            .ended_at
            .filter(|_| old.spot_account != new.spot_account);
        let role_gone = match &old.now {
            StackNow::Gone { at } => *at,
            StackNow::There { .. } | StackNow::Unknown(_) => None,
        };
        let ended = unlinked.into_iter().chain(role_gone).min();
        if let Some(broken) = old.broken_at {
            return Self::AtLeast(seconds(ended.map_or(broken, |ended| ended.min(broken))));
        }
        let is_known = match &old.now {
            StackNow::There { has_role } => *has_role,
            StackNow::Gone { at } => at.is_some(),
            StackNow::Unknown(_) => false,
        };
        match ended {
            Some(ended) if ended < new.linked_at => Self::Seconds(seconds(ended)),
            _ if is_known || unlinked.is_some() => Self::None,
            _ => Self::Unknown,
        }
    }
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("without a gap: the stack before was there until then"),
            Self::Seconds(seconds) => write!(
                f,
                "with a gap of {seconds} seconds, from the end of the one before to the new link"
            ),
            Self::AtLeast(seconds) => write!(
                f,
                "with a gap of {seconds} seconds since the one before was seen not to work, and longer"
            ),
            Self::Unknown => f.write_str(
                "with a gap that cannot be told: nobody knows when the role before stopped working",
            ),
        }
    }
}

fn of(row: &AccountRow, reason: &str, resource: &str, message: String) -> Finding {
    Finding {
        id: format!("{reason}:{}:{resource}", row.account),
        account: Some(row.account),
        account_name: Some(row.name.to_string()),
        ou_path: Some(row.ou_path.to_string()),
        reason: reason.to_owned(),
        message,
        resource: Some(resource.to_owned()),
        ..Finding::default()
    }
}

/// The links of accounts, by account.
pub type LinkRecords = BTreeMap<AwsAccountId, Vec<LinkRecord>>;
