//! The step that takes stray policies out of one role of ours, and how a person puts them back.

use super::{
    actions::SyncAction,
    steps::{order, push},
};
use crate::{
    drift::{Drift, Stray},
    ids::AwsAccountId,
    plan::{Plan, Risk},
};

/// Adds the step for the stray policies of an account's role, each with the difference that it is.
pub(crate) fn step(
    plan: &mut Plan,
    kind: &str,
    account: AwsAccountId,
    strays: &[(&Stray, &Drift)],
) {
    let Some((first, _)) = strays.first() else {
        return;
    };
    let policies = strays.iter().map(|(stray, _)| stray.policy.clone());
    let action = SyncAction::RemoveStrayPolicies {
        account,
        role: first.role.clone(),
        role_id: first.role_id.clone(),
        policies: policies.collect(),
    };
    push(
        plan,
        format!("{}:{account}", action.name()),
        &action,
        vec![account],
        format!(
            "somebody gave the role {} policies that its template does not have",
            first.role.role_name()
        ),
        Risk::High,
        order::STRAY_POLICIES,
    );
    let Some(step) = plan.steps.last_mut() else {
        return;
    };
    kind.clone_into(&mut step.kind);
    for (stray, drift) in strays {
        let fact = stray.policy.fact(&stray.role, &stray.role_id);
        step.preconditions.push(fact);
        step.changes.push(words(stray, drift));
    }
}

/// Which policy goes, and what goes with it: what it grants beyond the template.
fn words(stray: &Stray, drift: &Drift) -> String {
    let lost = |change: &String| match change.strip_prefix("+ ") {
        Some(granted) => format!("- {granted}"),
        None => change.clone(),
    };
    let mut lines: Vec<String> = drift.changes.iter().map(lost).collect();
    if lines.is_empty() {
        lines.push(drift.actual.clone());
    }
    format!("take away {}: {}", stray.policy.words(), lines.join("; "))
}

/// The AWS CLI commands, for the account, with which a person puts back what a step took away; none where it took nothing away
/// that has to be put back.
#[must_use]
pub fn put_back(payload: &serde_json::Value) -> Vec<String> {
    match serde_json::from_value(payload.clone()) {
        Ok(SyncAction::RemoveStrayPolicies { role, policies, .. }) => {
            let commands = policies.iter().map(|policy| policy.put_back(&role));
            commands.collect()
        }
        _ => Vec::new(),
    }
}
