//! What a clean-up deleted, and making it again.
//!
//! Spot cannot bring a deleted account back. Another one is made with its name, and who saw the old one sees it; its id and
//! its external ID are others, so a role that trusts the old external ID does not let it in.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::verdict::Why;
use crate::{
    ids::{AccessPolicyId, AwsAccountId, ExternalId, RoleArn, SpotAccountId, StackId, UserGroupId},
    plan::{AccountRow, Estimate, Finding, Plan, Risk, Severity, Step},
    status::Reason,
};

/// The kind's name in reports and the journal. There are no job files of it: `runner runs undo` runs it.
pub const KIND: &str = "orphan-cleanup-undo";

/// A Spot account that was deleted, with all that is needed to make another one like it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletionRecord {
    /// Its id.
    pub spot_account: SpotAccountId,
    /// Its name.
    pub name: String,
    /// Its AWS account.
    pub account: AwsAccountId,
    /// That account's name, where it was known.
    pub account_name: Option<String>,
    /// The role that it was linked to; none when it was not.
    pub role: Option<RoleArn>,
    /// The external ID that it had, where that was known.
    pub external_id: Option<ExternalId>,
    /// The stack that linked it; none when none did through us.
    pub stack: Option<StackId>,
    /// The stack that was deleted before it, through the remediation role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_stack: Option<DeletedStack>,
    /// Whether only that stack was begun with: Spot was not asked to delete its account.
    #[serde(default, skip_serializing_if = "is_false")]
    pub only_stack: bool,
    /// When that stack could not be deleted (Unix seconds); none where nothing like that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stack_failed_at: Option<i64>,
    /// When a run before this one had begun with that stack, and may have deleted a part of it (Unix seconds).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_before: Option<i64>,
    /// Whether somebody else has deleted the Spot account, after a run of ours had deleted the stack: it is not made again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub by_others: bool,
    /// Whether Cost Intelligence was switched on.
    pub cost_intelligence: bool,
    /// The user groups that saw it by name, of those that profiles name, with their access policies in it.
    pub user_groups: BTreeMap<UserGroupId, BTreeSet<AccessPolicyId>>,
    /// Why it was deleted.
    pub why: Why,
    /// Since when nobody needed it (Unix seconds).
    pub first_seen: i64,
    /// Who deleted it: an identity in AWS.
    pub by: String,
    /// When it was deleted (Unix seconds); none when that is not known to have happened.
    pub deleted_at: Option<i64>,
    /// What was made instead.
    pub undone: Option<Undone>,
}

/// A stack that was deleted, or was about to be, with what CloudFormation told of it: its stack set has the template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedStack {
    /// The run that asked for it.
    pub run: String,
    /// Its id.
    pub stack: StackId,
    /// Its parameters; secrets are masked.
    pub parameters: BTreeMap<String, String>,
    /// Its outputs.
    pub outputs: BTreeMap<String, String>,
    /// Whether it was seen to be gone after that; else all that is known is that CloudFormation was asked.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_gone: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

impl DeletionRecord {
    /// What is still true of the stack that a run before this one asked CloudFormation to delete, now that the Spot account goes for a
    /// reason of its own. `gone` is the stack that a tombstone of the Spot account names.
    #[must_use]
    pub fn stack_before(self, why: Why, gone: Option<&StackId>) -> Option<DeletedStack> {
        let deleted = self.deleted_stack?;
        let is_gone = gone == Some(&deleted.stack);
        // Of an active account, the Spot account goes only when the stack is gone, whoever has seen that.
        (is_gone || why == Why::OutsideTargets).then(|| DeletedStack {
            is_gone: deleted.is_gone || (is_gone && self.stack_failed_at.is_none()),
            ..deleted
        })
    }
}

/// What was made instead of a Spot account that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undone {
    /// The new Spot account.
    pub spot_account: SpotAccountId,
    /// Whether it is linked to the old one's role; else why not.
    pub not_linked: Option<String>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub enum UndoAction {
    /// Make a Spot account like the one that was deleted.
    RecreateSpotAccount {
        /// The one that was deleted.
        spot_account: SpotAccountId,
    },
}

/// Plans to undo what a run deleted. What was undone before is left as it is. `in_place` are, by the Spot accounts that were
/// deleted, those that their AWS accounts have now and that no undoing of these made: such a one is never taken for one that was
/// made again.
#[must_use]
pub fn plan(records: &[DeletionRecord], in_place: &BTreeMap<SpotAccountId, SpotAccountId>) -> Plan {
    let mut plan = Plan::default();
    let records = records.iter().filter(|record| record.deleted_at.is_some());
    let mut records: Vec<&DeletionRecord> = records.collect();
    // Of several of one AWS account, one is made again: that which was linked.
    records.sort_by_key(|record| {
        let is_undone = record.undone.is_some();
        (
            record.account,
            !is_undone,
            record.role.is_none(),
            &record.spot_account,
        )
    });
    let mut served: BTreeSet<AwsAccountId> = BTreeSet::new();
    for record in records {
        let is_second = !served.insert(record.account);
        let deleted = &record.spot_account;
        let (reason, spot_account, detail) = match (&record.undone, in_place.get(deleted)) {
            (Some(undone), _) => {
                plan.findings.extend(not_linked(record, undone));
                let detail = format!("it was {deleted}");
                (Reason::Recreated, &undone.spot_account, Some(detail))
            }
            (None, _) if record.by_others => {
                let stack = record.deleted_stack.as_ref().map(told_of);
                let why = format!(
                    "somebody else has deleted it after its stack: {}",
                    stack.unwrap_or_default()
                );
                plan.findings.push(not_recreated(record, &why));
                continue;
            }
            (None, Some(other)) => {
                let why = format!("AWS account {} has Spot account {other}", record.account);
                plan.findings.push(not_recreated(record, &why));
                let detail = format!("{deleted} is not made again");
                (Reason::InUse, other, Some(detail))
            }
            (None, None) if is_second => {
                let why = format!(
                    "another Spot account of AWS account {} is made again",
                    record.account
                );
                plan.findings.push(not_recreated(record, &why));
                continue;
            }
            (None, None) => {
                plan.steps.push(step(record));
                (Reason::Deleted, deleted, None)
            }
        };
        let name = record.account_name.clone();
        plan.accounts.push(AccountRow {
            account: record.account,
            name: name.unwrap_or_else(|| record.account.to_string()).into(),
            ou_path: "".into(),
            profile: "".into(),
            targeted: true,
            standing: reason.standing(),
            reason,
            detail: detail.map(String::into_boxed_str),
            spot_account: Some(spot_account.clone()),
            live_role: None,
            policy_version: None,
        });
    }
    plan.accounts.dedup_by_key(|row| row.account);
    plan.steps.sort_by(|one, other| one.id.cmp(&other.id));
    plan.findings.sort();
    plan
}

fn step(record: &DeletionRecord) -> Step {
    let DeletionRecord {
        spot_account, name, ..
    } = record;
    let action = UndoAction::RecreateSpotAccount {
        spot_account: spot_account.clone(),
    };
    let mut changes = vec![format!(
        "+ a Spot account {name:?}, with another id than {spot_account}, and another external ID"
    )];
    changes.extend(record.role.iter().map(|role| {
        format!("~ it is linked to {role}, if that trusts the new external ID; else its stack has to be deployed again")
    }));
    if let (Why::OutsideTargets, Some(stack)) = (record.why, &record.stack) {
        changes.push(format!(
            "  stack {stack} is not put back, nor its role and policies: once the account is targeted again, stackset-sync makes one"
        ));
    }
    if let Some(deleted) = &record.deleted_stack {
        changes.push(format!("  {}", told_of(deleted)));
    }
    if record.cost_intelligence {
        changes.push("~ Cost Intelligence is switched on, once it is linked".to_owned());
    }
    for (group, policies) in &record.user_groups {
        let policies: Vec<&str> = policies.iter().map(AccessPolicyId::as_str).collect();
        changes.push(format!(
            "~ user group {group} sees it, with {}",
            policies.join(", ")
        ));
    }
    Step {
        id: format!("recreate-spot-account:{spot_account}"),
        kind: KIND.to_owned(),
        action: "recreate-spot-account".to_owned(),
        accounts: vec![record.account],
        reason: format!("Spot account {spot_account} {name:?} was deleted by that run"),
        risk: Risk::Medium,
        order: 0,
        preconditions: Vec::new(),
        changes,
        estimate: Estimate {
            aws_calls: 0,
            spot_calls: 8,
            seconds: 30,
        },
        payload: serde_json::to_value(action).unwrap_or_default(),
    }
}

/// What is known of a stack that a run began with.
fn told_of(deleted: &DeletedStack) -> String {
    let parameters = deleted.parameters.iter();
    let parameters: Vec<String> = parameters
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let what = match deleted.is_gone {
        true => "deleted",
        false => "asked CloudFormation to delete",
    };
    format!(
        "run {} {what} stack {}; its parameters were {}",
        deleted.run,
        deleted.stack,
        parameters.join(", ")
    )
}

/// What is not made again.
fn not_recreated(record: &DeletionRecord, why: &str) -> Finding {
    let id = &record.spot_account;
    Finding {
        id: format!("not-recreated:{id}"),
        severity: Severity::Warning,
        account: Some(record.account),
        account_name: record.account_name.clone(),
        reason: "not-recreated".to_owned(),
        message: format!(
            "Spot account {id} {:?} is not made again: {why}, which stays as it is, and one is what an AWS account needs",
            record.name
        ),
        resource: Some(id.to_string()),
        fix: Some("where it is needed all the same, a person makes it in Spot".to_owned()),
        ..Finding::default()
    }
}

/// What was not undone, and what to do about it.
fn not_linked(record: &DeletionRecord, undone: &Undone) -> Option<Finding> {
    let why = undone.not_linked.as_ref()?;
    Some(Finding {
        id: format!("recreated-not-linked:{}", undone.spot_account),
        severity: Severity::Warning,
        account: Some(record.account),
        account_name: record.account_name.clone(),
        reason: "recreated-not-linked".to_owned(),
        message: format!(
            "Spot account {} was made in the place of {}, and is not linked: {why}",
            undone.spot_account, record.spot_account
        ),
        resource: Some(undone.spot_account.to_string()),
        fix: Some(
            "stackset-sync, once the account is in the organization and in a profile's targets and has no stack instance: its \
             new stack takes this Spot account, with the new external ID"
                .to_owned(),
        ),
        ..Finding::default()
    })
}
