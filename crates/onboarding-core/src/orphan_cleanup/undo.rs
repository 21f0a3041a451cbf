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

/// Plans to undo what a run deleted. What was undone before is left as it is.
#[must_use]
pub fn plan(records: &[DeletionRecord]) -> Plan {
    let mut plan = Plan::default();
    for record in records.iter().filter(|record| record.deleted_at.is_some()) {
        let name = record.account_name.clone();
        let (reason, spot_account, detail) = match &record.undone {
            None => (Reason::Deleted, &record.spot_account, None),
            Some(undone) => (
                Reason::Recreated,
                &undone.spot_account,
                Some(format!("it was {}", record.spot_account)),
            ),
        };
        plan.accounts.push(AccountRow {
            account: record.account,
            name: name
                .clone()
                .unwrap_or_else(|| record.account.to_string())
                .into(),
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
        match &record.undone {
            None => plan.steps.push(step(record)),
            Some(undone) => plan.findings.extend(finding(record, undone)),
        }
    }
    plan.accounts
        .sort_by_key(|row| (row.account, row.standing != Reason::Deleted.standing()));
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

/// What was not undone, and what to do about it.
fn finding(record: &DeletionRecord, undone: &Undone) -> Option<Finding> {
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
