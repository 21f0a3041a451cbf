//! Enrolling the management account: a plain stack of our own account, changed only through a change set that the plan has
//! shown. CloudFormation rolls it back when it fails.

use std::collections::BTreeMap;

use aws_ops::{Aws, AwsError};
use onboarding_core::{
    desired::{ManagementStack, Profile},
    ids::ExternalId,
    plan::Plan,
    stackset_sync::{PlainStack, SyncObserved},
    template::{self, EXTERNAL_ID_PARAMETER, REPAIR_NONCE_PARAMETER},
};

use super::{
    StackSetSync,
    at_spot::{AtSpot, Prepared, Subject, interrupted},
};
use crate::{
    bootstrap::{self, BootstrapError, StackRequest, words},
    engine::{Applied, ErrorClass, JobError, StepContext, StepError},
    home::aws_error,
};

/// Stands for an external ID that is not made yet, in previews only.
const NOT_MADE_YET: &str = "not-made-yet";

impl StackSetSync {
    /// The plain stack of a profile that asks for one.
    pub(super) async fn observe_management(
        &self,
        profile: &Profile,
    ) -> Result<Option<PlainStack>, JobError> {
        match &profile.management {
            Some(management) => look(&self.aws_of(profile), profile, management)
                .await
                .map_err(aws_error),
            None => Ok(None),
        }
    }

    /// Lets CloudFormation say what the steps of this plan would change about management accounts' stacks, and leaves
    /// nothing behind. What it cannot say is the step's to report.
    pub(super) async fn preview_management(
        &self,
        observed: &mut SyncObserved,
        plan: &Plan,
    ) -> Result<(), JobError> {
        let planned = |profile: &Profile| {
            let id = format!("enroll-management-account:{}:", profile.name);
            plan.steps.iter().any(|step| step.id.starts_with(&id))
        };
        let management_account = observed.organization.management_account;
        for (index, profile) in self.desired.profiles.iter().enumerate() {
            let Some(state) = observed.profiles.get_mut(index) else {
                continue;
            };
            let Some(management) = profile.management.as_ref().filter(|_| planned(profile)) else {
                continue;
            };
            let stack = state.management.as_ref();
            if stack.is_some_and(|stack| stack.status.ends_with("_IN_PROGRESS")) {
                continue;
            }
            // After a failure its external ID may be another one than Spot has for the account.
            let has_failed = state.retries.contains_key(&management_account);
            let external_id = stack.and_then(|stack| stack.external_id.clone());
            let external_id = external_id.filter(|_| !has_failed);
            if stack.is_some_and(|stack| stack.is_current) && external_id.is_some() {
                continue;
            }
            let external_id =
                external_id.map_or_else(|| NOT_MADE_YET.to_owned(), |id| id.to_string());
            let request = request(profile, management, &external_id);
            let previewed = async {
                let prepared = bootstrap::prepare_one(&self.home.aws, request).await?;
                prepared.discard().await?;
                Ok(prepared)
            };
            match previewed.await {
                Ok(prepared) => {
                    state.management_changes = changes_of(&prepared);
                }
                Err(BootstrapError::Aws(error)) if error.class().is_retryable() => {
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(%error, "the stack of the management account could not be previewed");
                }
            }
        }
        Ok(())
    }

    /// Enrolls the management account.
    pub(super) async fn enroll_management_account(
        &self,
        cx: &StepContext,
        subject: Subject<'_>,
        management: &ManagementStack,
        changes: &[String],
    ) -> Result<Applied, StepError> {
        let profile = subject.profile;
        let prepared = match self.prepared(cx, subject).await? {
            AtSpot::Done(prepared) => prepared,
            AtSpot::Interrupted => return Ok(interrupted()),
        };
        if let Prepared::Ready { external_id, .. } = &prepared {
            let aws = self.aws_of(profile);
            let stack = look(&aws, profile, management).await;
            let stack = stack.map_err(aws_error)?;
            if let Some(stack) = &stack
                && stack.status.ends_with("_IN_PROGRESS")
            {
                // An earlier run was killed while it waited, or somebody else is changing it.
                return Ok(Applied::Requeue {
                    after: aws_ops::stack_sets::next_poll_delay(std::time::Duration::ZERO),
                    progress: None,
                });
            }
            let is_there = stack.is_some_and(|stack| {
                stack.is_current && stack.external_id.as_ref() == Some(external_id)
            });
            if !is_there {
                if cx.is_ending() {
                    return Ok(interrupted());
                }
                let request = request(profile, management, external_id.as_str());
                if let Err(error) = self.change_stack(request, changes).await {
                    return Err(self.stack_failed(cx, subject, error).await?);
                }
                self.note_changes(profile, &[subject.account]);
            }
        }
        self.finish_at_spot(cx, subject, prepared).await
    }

    /// Changes the stack as it was shown, or not at all.
    async fn change_stack(
        &self,
        request: StackRequest,
        shown: &[String],
    ) -> Result<(), BootstrapError> {
        let prepared = bootstrap::prepare_one(&self.home.aws, request).await?;
        let changes = changes_of(&prepared);
        if changes.is_empty() {
            return prepared.discard().await;
        }
        if changes != shown {
            prepared.discard().await?;
            return Err(BootstrapError::Refused(format!(
                "the stack {} of the management account would change otherwise than it was shown ({}); nothing was changed, run \
                 again",
                prepared.name(),
                changes.join(", ")
            )));
        }
        prepared
            .deploy(|event| {
                tracing::info!(
                    stack = prepared.name(),
                    status = event.status,
                    resource = event.logical_id,
                    reason = event.reason,
                    "stack event"
                );
            })
            .await
            .map(drop)
    }

    /// The error of a step whose stack was not changed. What will not pass by itself counts for the account's clock.
    async fn stack_failed(
        &self,
        cx: &StepContext,
        subject: Subject<'_>,
        error: BootstrapError,
    ) -> Result<StepError, StepError> {
        let error = match error {
            BootstrapError::Aws(error) if error.class().is_retryable() => return Ok(error),
            BootstrapError::Aws(error) => error,
            other => StepError::new(ErrorClass::Failed, other.to_string()),
        };
        let at = format!("stack in run {}", cx.run_id());
        self.record_failure(cx, subject.profile, subject.account, &at, &error.chain())
            .await?;
        Ok(error)
    }

    fn aws_of(&self, profile: &Profile) -> Aws {
        self.home.aws.in_region(&profile.region)
    }
}

/// What a change set would change, one resource each, in an order of ours.
fn changes_of(prepared: &bootstrap::Prepared) -> Vec<String> {
    let mut changes: Vec<String> = prepared.changes().iter().map(words::line).collect();
    changes.sort();
    changes
}

/// The stack as it is. One without resources, which an interrupted preview left, counts as none.
async fn look(
    aws: &Aws,
    profile: &Profile,
    management: &ManagementStack,
) -> Result<Option<PlainStack>, AwsError> {
    let stack = aws.describe_stack(profile.stack_set.as_str()).await?;
    let Some(stack) = stack.filter(|stack| stack.status != "REVIEW_IN_PROGRESS") else {
        return Ok(None);
    };
    let body = aws.stack_template(&stack.id).await?;
    let wanted = &management.definition;
    let blocked = match bootstrap::advice(&stack.status) {
        Some(advice) => Some(format!("it is in {}: {advice}", stack.status)),
        None if !template::is_direct(&body) => Some(format!(
            "there is a stack {} already, which does not enroll accounts: give the profile another stack_set",
            stack.name
        )),
        None => None,
    };
    let is_its_own = |name: &str| name == EXTERNAL_ID_PARAMETER || name == REPAIR_NONCE_PARAMETER;
    let mut parameters = wanted.parameters.iter();
    let is_current = template::template_digest_of(&body)
        .is_ok_and(|digest| digest == wanted.template_digest)
        && parameters
            .all(|(name, value)| is_its_own(name) || stack.parameters.get(name) == Some(value))
        && (wanted.tags.is_empty() || stack.tags == wanted.tags);
    Ok(Some(PlainStack {
        blocked,
        is_current,
        external_id: stack
            .parameters
            .get(EXTERNAL_ID_PARAMETER)
            .and_then(|id| id.parse::<ExternalId>().ok()),
        status: stack.status,
        template_body: body,
        parameters: stack.parameters,
    }))
}

fn request(profile: &Profile, management: &ManagementStack, external_id: &str) -> StackRequest {
    let definition = &management.definition;
    let mut parameters: BTreeMap<String, String> = definition.parameters.clone();
    parameters.insert(EXTERNAL_ID_PARAMETER.to_owned(), external_id.to_owned());
    StackRequest {
        name: profile.stack_set.to_string(),
        region: profile.region.clone(),
        template_body: definition.template_body.clone(),
        capabilities: definition.capabilities.iter().cloned().collect(),
        parameters,
        tags: definition.tags.clone(),
    }
}
