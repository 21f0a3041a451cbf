//! The stack set itself: made, updated, or waited for.

use super::{ProfileContext, order, push};
use crate::{
    desired::{Deployment, Purpose},
    drift_audit::AuditReason,
    ids::OuId,
    plan::{Finding, Plan, Refusal, Risk, Severity},
    stackset_sync::{KIND, actions::SyncAction, definition, ledger::LedgerRow, refuse_all},
    status::Standing,
};

/// Creates or updates the stack set, and waits for what already runs on it. Tells whether every instance is updated.
pub(in crate::stackset_sync) fn stack_set(context: &ProfileContext<'_>, plan: &mut Plan) -> bool {
    let profile = context.profile.name.clone();
    let auto_deployment = context.deployment == Deployment::Auto;
    if context.state.stack_set.is_none() {
        push(
            plan,
            format!("create-stack-set:{profile}"),
            &SyncAction::CreateStackSet {
                profile: profile.clone(),
                auto_deployment,
            },
            Vec::new(),
            format!("stack set {} does not exist", context.profile.stack_set),
            Risk::Low,
            context.order(order::STACK_SET),
        );
        if let Some(step) = plan.steps.last_mut() {
            step.changes.clone_from(&context.state.definition_changes);
        }
        return false;
    }
    for running in &context.state.running {
        push(
            plan,
            format!("await-operation:{profile}:{}", running.id),
            &SyncAction::AwaitOperation {
                profile: profile.clone(),
                operation_id: running.id.clone(),
            },
            Vec::new(),
            format!(
                "a {} operation of stack set {} has not ended",
                running.action, context.profile.stack_set
            ),
            Risk::Low,
            order::AWAIT,
        );
    }
    if !context.state.is_ours {
        refuse_all(
            plan,
            "foreign-stack-set",
            format!(
                "stack set {} exists and its template {}: it is another program's, and updating it would replace what it \
                 deploys; {}",
                context.profile.stack_set,
                match context.profile.purpose {
                    Purpose::Enrollment => "does not enroll accounts in Spot",
                    Purpose::AuditRole => "does not make our audit role",
                    Purpose::RemediationRole => "does not make our remediation role",
                },
                match context.profile.purpose {
                    Purpose::Enrollment => format!("give profile {profile:?} another stack_set"),
                    Purpose::AuditRole | Purpose::RemediationRole =>
                        "give our stack sets another stack_set.name_prefix".to_owned(),
                }
            ),
        );
        return false;
    }
    if context.state.is_direct != context.profile.direct.is_some()
        && context.profile.purpose == Purpose::Enrollment
    {
        refuse_all(
            plan,
            "provider-changed",
            format!(
                "stack set {} enrolls {} custom resources and enrollment.provider says otherwise: the update would take Spot's \
                 role from every account; keep enrollment.provider as it was, or give profile {profile:?} another stack_set \
                 and retire this one",
                context.profile.stack_set,
                if context.state.is_direct {
                    "without"
                } else {
                    "with"
                }
            ),
        );
        return false;
    }
    if !context.state.service_token_changes.is_empty() {
        refuse_all(
            plan,
            "service-token-immutable",
            format!(
                "stack set {} already has {} with another ServiceToken, which CloudFormation can never change in place; keep \
                 enrollment.provider and enrollment.topic_arn as they were, or deploy a new stack set under another name and \
                 retire this one",
                context.profile.stack_set,
                context.state.service_token_changes.join(", ")
            ),
        );
        return false;
    }
    let difference = definition::compare(context.profile, context.state, context.deployment);
    if auto_deployment {
        targets_beyond_the_profile(context, difference.deployment, plan);
    }
    if let Some(rollout) = context.state.rollout.as_ref()
        && rollout.phase.is_staged()
        && difference.any()
    {
        plan.refusals.push(Refusal {
            guard: "rollout-open".to_owned(),
            message: format!(
                "stack set {} differs in {}, and version {} of the policies is being rolled out to it: an update now would reach \
                 accounts whose wave is not due or was halted; it is made when the rollout is over (`runner exec` of the \
                 policy-rollout job, or `runner policy rollback {}`)",
                context.profile.stack_set,
                difference.words.join(", "),
                rollout.to,
                context.profile.name
            ),
            whole_plan: false,
        });
        return false;
    }
    if difference.any() {
        push(
            plan,
            format!("update-stack-set:{profile}"),
            &SyncAction::UpdateStackSet {
                profile: profile.clone(),
                auto_deployment,
                definition: difference.definition || difference.settings,
                deployment: difference.deployment,
                kept_parameters: difference.kept_parameters,
                managed_execution: difference.managed_execution,
                accounts_at_once: 0,
            },
            context
                .state
                .instances
                .iter()
                .map(|instance| instance.account)
                .collect(),
            format!(
                "stack set {} differs in {}",
                context.profile.stack_set,
                difference.words.join(", ")
            ),
            if difference.definition {
                Risk::Medium
            } else {
                Risk::Low
            },
            context.order(order::STACK_SET),
        );
        if let Some(step) = plan.steps.last_mut() {
            step.changes.clone_from(&context.state.definition_changes);
            step.preconditions.push(format!(
                "the definition of {}: {}",
                context.profile.stack_set,
                definition::digest(context.state)
            ));
        }
    }
    difference.definition
}

/// The stack set as it is, for a plan that is about accounts: what it differs in is a finding, what goes on is waited for, and
/// what a plan of it would be refused for holds here, too. Tells whether accounts can be worked on at all.
pub(in crate::stackset_sync) fn as_it_is(context: &ProfileContext<'_>, plan: &mut Plan) -> bool {
    let mut of_stack_set = Plan::default();
    stack_set(context, &mut of_stack_set);
    plan.refusals.append(&mut of_stack_set.refusals);
    plan.findings.append(&mut of_stack_set.findings);
    for step in of_stack_set.steps {
        let reason = match step.action.as_str() {
            "create-stack-set" => AuditReason::StackSetMissing,
            "update-stack-set" => AuditReason::StackSetDiffers,
            _ => {
                plan.steps.push(step);
                continue;
            }
        };
        plan.findings
            .push(reason.of(&step.id, step.told(), Some(KIND)));
    }
    context.state.stack_set.is_some()
}

/// Without a stack set there is nothing that accounts could be given.
pub(in crate::stackset_sync) fn left_to_stackset_sync(rows: &mut [LedgerRow<'_>]) {
    for row in rows {
        if matches!(row.row.standing, Standing::Due | Standing::Pending) {
            row.row.standing = Standing::Skipped;
            row.row.detail = Some(format!("{KIND} makes the stack set first").into());
        }
    }
}

/// Auto-deployment follows every unit that the stack set was ever deployed to. One that is not the profile's (any more)
/// gets accounts enrolled that nobody targets.
fn targets_beyond_the_profile(context: &ProfileContext<'_>, switching_on: bool, plan: &mut Plan) {
    let organization = &context.observed.organization;
    let is_targeted = |unit: &OuId| {
        organization.unit_index(unit).is_none_or(|index| {
            organization
                .lineage(index)
                .any(|(above, _)| context.resolved.ous.contains(&above))
        })
    };
    let beyond: Vec<String> = context
        .state
        .stack_set
        .iter()
        .flat_map(|stack_set| &stack_set.organizational_units)
        .filter(|unit| !is_targeted(unit))
        .map(ToString::to_string)
        .collect();
    if beyond.is_empty() {
        return;
    }
    let way_out = "set deployment = \"runner\", target them again, or take the stack set's instances out of them";
    let message = format!(
        "stack set {} also targets {}, which profile {:?} does not: AWS's auto-deployment enrolls new accounts there",
        context.profile.stack_set,
        beyond.join(", "),
        context.profile.name
    );
    if switching_on {
        let message = format!("{message}; {way_out}");
        refuse_all(plan, "auto-deployment-targets", message);
    } else {
        plan.findings.push(Finding {
            id: format!("stack-set-targets-more:{}", context.profile.name),
            severity: Severity::Warning,
            account: None,
            account_name: None,
            ou_path: None,
            reason: "stack-set-targets-more".to_owned(),
            message,
            fix: Some(format!("needs a person: {way_out}")),
            ..Finding::default()
        });
    }
}
