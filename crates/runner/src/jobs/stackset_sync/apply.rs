//! Applying one step of `stackset-sync`.

use std::time::Duration;

use aws_ops::stack_sets::{
    AutoDeployment, FailureTolerance, InstanceChange, InstanceDeletion, OperationAction,
    OperationPreferences, OperationStatus, ParameterValue, ResultStatus, StackSetDefinition,
    StackSetUpdate, Template, is_ours,
};
use onboarding_core::{
    desired::Profile,
    ids::{AwsAccountId, StackSetName},
    inventory::AccountState,
    plan::Step,
    stackset_sync::{OperationTargets, SyncAction},
};

use super::{
    StackSetSync,
    at_spot::Subject,
    direct::told,
    operation::{Ended, Followed, OperationMemo, Request, follow, submit},
    stray_policies::Strays,
};
use crate::{
    engine::{Applied, ErrorClass, RunId, StepContext, StepError},
    home::aws_error,
    state::OperationResults,
};

impl StackSetSync {
    pub(in crate::jobs) async fn apply_step(
        &self,
        cx: &StepContext,
        step: &Step,
    ) -> Result<Applied, StepError> {
        let action = action_of(step)?;
        match &action {
            SyncAction::ActivateTrustedAccess => {
                self.home
                    .aws
                    .activate_trusted_access()
                    .await
                    .map_err(aws_error)?;
                Ok(done("trusted access is on"))
            }
            SyncAction::CreateStackSet {
                profile,
                auto_deployment,
            } => {
                self.create_stack_set(self.profile(profile)?, *auto_deployment)
                    .await
            }
            SyncAction::UpdateStackSet { .. } => self.update_stack_set(cx, step, &action).await,
            SyncAction::AwaitOperation {
                profile,
                operation_id,
            } => {
                let profile = self.profile(profile)?;
                let memo = match OperationMemo::of(cx) {
                    Some(memo) => memo,
                    None => OperationMemo::attached(cx, operation_id),
                };
                // One that an earlier run of ours started is ours to stop when this run is interrupted.
                if is_ours(operation_id) && cx.memo().is_none() {
                    memo.write(cx).await?;
                }
                self.finish(cx, step, profile, memo).await
            }
            SyncAction::DetectDrift { profile, instances } => {
                let profile = self.profile(profile)?;
                self.detect_drift(cx, profile, *instances).await
            }
            SyncAction::CreateStackInstances {
                profile,
                targets,
                accounts_at_once,
            } => {
                let profile = self.profile(profile)?;
                let change = self.change(profile, targets, step, *accounts_at_once);
                self.run_operation(cx, step, profile, Request::Create(change))
                    .await
            }
            SyncAction::UpdateStackInstances {
                profile,
                targets,
                accounts_at_once,
            } => {
                let profile = self.profile(profile)?;
                let change = self.change(profile, targets, step, *accounts_at_once);
                self.run_operation(cx, step, profile, Request::Update(change))
                    .await
            }
            SyncAction::EnrollAccount {
                profile,
                account,
                unit,
                instance,
            } => {
                let profile = self.profile(profile)?;
                let enrollment = profile.direct.as_ref().ok_or_else(|| changed(profile))?;
                let subject = Subject {
                    profile,
                    enrollment,
                    account: *account,
                };
                let enrolled = self.enroll_account(cx, step, subject, unit, instance.as_ref());
                told(enrolled.await)
            }
            SyncAction::EnrollManagementAccount {
                profile,
                account,
                changes,
            } => {
                let profile = self.profile(profile)?;
                let management = profile.management.as_ref();
                let management = management.ok_or_else(|| changed(profile))?;
                let subject = Subject {
                    profile,
                    enrollment: &management.enrollment,
                    account: *account,
                };
                let enrolled = self.enroll_management_account(cx, subject, management, changes);
                told(enrolled.await)
            }
            SyncAction::DeleteStackInstances { profile, targets } => {
                let profile = self.profile(profile)?;
                self.confirm_departures(cx, &targets.accounts).await?;
                // Stacks that are kept ask nothing of Spot.
                let change = self.change(profile, targets, step, step.accounts.len());
                let deletion = InstanceDeletion {
                    change,
                    retain_stacks: true,
                };
                self.run_operation(cx, step, profile, Request::Delete(deletion))
                    .await
            }
            SyncAction::RepairStackInstances {
                profile,
                targets,
                accounts_at_once,
            } => {
                let profile = self.profile(profile)?;
                let change = self.change(profile, targets, step, *accounts_at_once);
                self.rewrite(cx, step, profile, change).await
            }
            SyncAction::DeleteStacks {
                profile,
                targets,
                because,
                stacks,
                accounts_at_once,
            } => {
                let profile = self.profile(profile)?;
                let mut targets = targets.clone();
                targets.accounts = self
                    .confirmed_removals(cx, profile, &targets.accounts, stacks, *because)
                    .await?;
                if targets.accounts.is_empty() {
                    return Ok(Applied::Unchanged);
                }
                let change = self.change(profile, &targets, step, *accounts_at_once);
                let deletion = InstanceDeletion {
                    change,
                    retain_stacks: false,
                };
                self.run_operation(cx, step, profile, Request::Delete(deletion))
                    .await
            }
            SyncAction::LinkSpotAccount { .. }
            | SyncAction::RenameSpotAccount { .. }
            | SyncAction::EnableCostIntelligence { .. } => self.mend_at_spot(cx, &action).await,
            SyncAction::RemoveStrayPolicies {
                account,
                role,
                role_id,
                policies,
            } => {
                let strays = Strays {
                    account: *account,
                    role,
                    role_id,
                    policies,
                };
                self.remove_stray_policies(cx, strays).await
            }
            SyncAction::GrantAccess {
                user_group,
                policies,
            } => self.grant_access(user_group, policies).await,
            SyncAction::SetUpBillingEngine {
                spot_account,
                source,
            } => self.set_up_billing_engine(spot_account, source).await,
        }
    }

    /// Asks CloudFormation to stop the operation of a step in flight.
    pub(super) async fn stop_step(&self, cx: &StepContext, step: &Step) -> Result<(), StepError> {
        let Some(memo) = OperationMemo::of(cx).filter(|memo| memo.submitted) else {
            return Ok(());
        };
        // Somebody else's operation, which a step may wait for, is not ours to stop.
        if !is_ours(&memo.operation_id) {
            return Ok(());
        }
        let profile = match action_of(step)? {
            SyncAction::ActivateTrustedAccess
            | SyncAction::CreateStackSet { .. }
            | SyncAction::EnrollManagementAccount { .. }
            | SyncAction::LinkSpotAccount { .. }
            | SyncAction::RenameSpotAccount { .. }
            | SyncAction::EnableCostIntelligence { .. }
            | SyncAction::RemoveStrayPolicies { .. }
            | SyncAction::GrantAccess { .. }
            | SyncAction::SetUpBillingEngine { .. } => return Ok(()),
            SyncAction::AwaitOperation { profile, .. }
            | SyncAction::DetectDrift { profile, .. }
            | SyncAction::UpdateStackSet { profile, .. }
            | SyncAction::CreateStackInstances { profile, .. }
            | SyncAction::UpdateStackInstances { profile, .. }
            | SyncAction::EnrollAccount { profile, .. }
            | SyncAction::RepairStackInstances { profile, .. }
            | SyncAction::DeleteStacks { profile, .. }
            | SyncAction::DeleteStackInstances { profile, .. } => self.profile(&profile)?,
        };
        self.stop_operation(&profile.stack_set, &memo.operation_id)
            .await
    }

    /// Asks CloudFormation to stop an operation of ours.
    pub(in crate::jobs) async fn stop_operation(
        &self,
        stack_set: &StackSetName,
        operation_id: &str,
    ) -> Result<(), StepError> {
        let aws = &self.home.aws;
        match aws.stop_operation(stack_set, operation_id).await {
            // Not running: either it is over, or it still waits in line and cannot be stopped yet.
            Err(error) if error.class() == aws_ops::ErrorClass::Invalid => {
                let operation = aws
                    .describe_operation(stack_set, operation_id)
                    .await
                    .map_err(aws_error)?;
                match operation.outcome() {
                    Some(_) => Ok(()),
                    None => Err(StepError::new(
                        ErrorClass::Conflict,
                        format!(
                            "operation {} cannot be stopped yet; it is asked again",
                            operation.id
                        ),
                    )),
                }
            }
            other => other.map_err(aws_error),
        }
    }

    /// Nothing is taken out on the word of a listing: each account must be gone, or closed, when asked for by itself.
    async fn confirm_departures(
        &self,
        cx: &StepContext,
        accounts: &[AwsAccountId],
    ) -> Result<(), StepError> {
        if OperationMemo::of(cx).is_some_and(|memo| memo.submitted) {
            return Ok(());
        }
        for account in accounts {
            let member = self.home.aws.member(*account).await.map_err(aws_error)?;
            if let Some(member) = member.filter(|member| member.state != AccountState::Closed) {
                return Err(StepError::new(
                    ErrorClass::Failed,
                    format!(
                        "account {account} ({}) is in the organization after all, although the listing did not have it or had \
                         it as closed; nothing was taken out, run again",
                        member.name
                    ),
                ));
            }
        }
        Ok(())
    }

    async fn create_stack_set(
        &self,
        profile: &Profile,
        auto_deployment: bool,
    ) -> Result<Applied, StepError> {
        let wanted = &profile.definition;
        let mut parameters = wanted.parameters.clone();
        for name in &wanted.secret_parameters {
            parameters.insert(
                name.clone(),
                self.home.spot_token().await?.expose().to_owned(),
            );
        }
        let definition = StackSetDefinition {
            name: profile.stack_set.clone(),
            description: Some(wanted.description.clone()),
            template_body: wanted.template_body.clone(),
            parameters,
            tags: wanted.tags.clone(),
            capabilities: wanted.capabilities.iter().cloned().collect(),
            auto_deployment: auto_deployment_settings(profile, auto_deployment),
            managed_execution: profile.managed_execution,
        };
        self.home
            .state
            .forget_deployed_units(&profile.stack_set)
            .await?;
        match self.home.aws.create_stack_set(&definition).await {
            Ok(id) => Ok(done(&format!("stack set {id}"))),
            // An earlier attempt of ours whose answer was lost; the definition is compared by the next observation.
            Err(error) if error.is_code("NameAlreadyExistsException") => Ok(Applied::Unchanged),
            Err(error) => Err(aws_error(error)),
        }
    }

    async fn update_stack_set(
        &self,
        cx: &StepContext,
        step: &Step,
        action: &SyncAction,
    ) -> Result<Applied, StepError> {
        let SyncAction::UpdateStackSet {
            profile,
            auto_deployment,
            definition,
            deployment,
            kept_parameters,
            managed_execution,
            accounts_at_once,
        } = action
        else {
            return Err(StepError::new(
                ErrorClass::Bug,
                format!("step {} does not update a stack set", step.id),
            ));
        };
        let profile = self.profile(profile)?;
        self.check_versions(cx).await?;
        let wanted = &profile.definition;
        let mut parameters: std::collections::BTreeMap<String, ParameterValue> = wanted
            .parameters
            .iter()
            .map(|(name, value)| (name.clone(), ParameterValue::Value(value.clone())))
            .collect();
        for name in &wanted.secret_parameters {
            // One that the stack set lacks has no previous value; an unchanged one reads back masked and is kept.
            if !kept_parameters.contains(name) {
                let token = self.home.spot_token().await?.expose().to_owned();
                parameters.insert(name.clone(), ParameterValue::Value(token));
            }
        }
        for name in kept_parameters {
            parameters.insert(name.clone(), ParameterValue::Previous);
        }
        let update = StackSetUpdate {
            name: profile.stack_set.clone(),
            description: Some(wanted.description.clone()),
            template: if *definition {
                Template::Body(wanted.template_body.clone())
            } else {
                Template::Previous
            },
            parameters,
            tags: wanted.tags.clone(),
            capabilities: wanted.capabilities.iter().cloned().collect(),
            auto_deployment: deployment
                .then(|| auto_deployment_settings(profile, *auto_deployment)),
            managed_execution: managed_execution.then_some(profile.managed_execution),
            targets: None,
            preferences: self.preferences(profile, step, *accounts_at_once),
            operation_id: String::new(),
        };
        self.run_operation(cx, step, profile, Request::Definition(update))
            .await
    }

    /// A rollout that began, or went on, since the definition was rendered has made another one of it.
    async fn check_versions(&self, cx: &StepContext) -> Result<(), StepError> {
        let is_sent = OperationMemo::of(cx).is_some_and(|memo| memo.submitted);
        if is_sent || self.home.state.pinned_versions().await? == *self.home.pinned {
            return Ok(());
        }
        Err(StepError::new(
            ErrorClass::Failed,
            "a rollout of policies has changed what the stack set should be meanwhile; run again",
        ))
    }

    /// Starts an operation, or takes up the one that an earlier attempt or run started, and looks at it once.
    pub(super) async fn run_operation(
        &self,
        cx: &StepContext,
        step: &Step,
        profile: &Profile,
        request: Request,
    ) -> Result<Applied, StepError> {
        match submit(&self.home, cx, &profile.stack_set, request).await? {
            Ok(memo) => self.finish(cx, step, profile, memo).await,
            Err(applied) => Ok(applied),
        }
    }

    /// Looks at an operation once, and writes down each account's result when it is over.
    pub(super) async fn finish(
        &self,
        cx: &StepContext,
        step: &Step,
        profile: &Profile,
        memo: OperationMemo,
    ) -> Result<Applied, StepError> {
        let inherited = memo.is_inherited(cx);
        let followed = follow(
            &self.home,
            cx,
            &profile.stack_set,
            memo,
            step.accounts.len(),
        )
        .await?;
        let ended = match followed {
            Followed::Again(applied) => return Ok(applied),
            Followed::Ended(ended) => ended,
        };
        if matches!(
            ended.action,
            OperationAction::Create | OperationAction::Update
        ) {
            self.remember_results(cx, step, profile, &ended).await?;
        }
        if ended.status == OperationStatus::Succeeded
            && let SyncAction::CreateStackInstances { targets, .. } = action_of(step)?
        {
            let units = &targets.organizational_units;
            let now = cx.now().div_euclid(1000);
            let state = &self.home.state;
            state
                .remember_deployed_units(&profile.stack_set, units, now)
                .await?;
        }
        OperationMemo::forget(cx).await?;
        let note = Some(ended.note());
        let stopped = ended.status == OperationStatus::Stopped;
        if stopped && inherited && !cx.is_ending() {
            // An earlier run was interrupted; what it left out is what this step was planned for.
            return Ok(Applied::Requeue {
                after: Duration::ZERO,
                progress: None,
            });
        }
        if stopped
            && (cx.is_ending() || !matches!(action_of(step)?, SyncAction::AwaitOperation { .. }))
        {
            return Ok(Applied::Stopped { note });
        }
        Ok(Applied::Done { note })
    }

    /// Winds each account's retry clock.
    async fn remember_results(
        &self,
        cx: &StepContext,
        step: &Step,
        profile: &Profile,
        ended: &Ended,
    ) -> Result<(), StepError> {
        let failed: Vec<_> = ended.accounts(ResultStatus::Failed).collect();
        let succeeded: Vec<_> = ended
            .accounts(ResultStatus::Succeeded)
            .map(|(account, _)| account)
            .collect();
        self.note_changes(profile, &succeeded);
        // Whether a role that was written again is as it should be, only IAM tells.
        let is_repair = matches!(action_of(step)?, SyncAction::RepairStackInstances { .. });
        if is_repair {
            self.rewritten.lock().extend(&succeeded);
            let mut repaired = self.repaired.lock();
            repaired.extend(&succeeded);
            repaired.extend(failed.iter().map(|(account, _)| *account));
        }
        // CloudFormation works on the accounts; a span of each is where a trace tells what became of it.
        for account in &succeeded {
            tracing::info_span!("account", run.id = %cx.run_id(), cloud.account.id = %account, account.result = "succeeded");
        }
        for (account, reason) in &failed {
            let reason = reason.unwrap_or("none given");
            tracing::info_span!(
                "account",
                run.id = %cx.run_id(),
                cloud.account.id = %account,
                account.result = "failed",
                otel.status_code = "ERROR",
                otel.status_description = reason,
            )
            .in_scope(
                || tracing::info!(cloud.account.id = %account, reason, "stack instance failed"),
            );
        }
        let results = OperationResults {
            operation: &ended.operation_id,
            failed: &failed,
            succeeded: if is_repair { &[] } else { &succeeded },
        };
        self.record(cx, profile, results).await
    }

    /// Winds the clocks of these accounts.
    pub(super) async fn record(
        &self,
        cx: &StepContext,
        profile: &Profile,
        results: OperationResults<'_>,
    ) -> Result<(), StepError> {
        let now = cx.now().div_euclid(1000);
        self.record_of(profile, cx.run_id(), results, now).await
    }

    /// The same, in a run, at `now` (Unix seconds).
    pub(in crate::jobs) async fn record_of(
        &self,
        profile: &Profile,
        run: RunId,
        results: OperationResults<'_>,
        now: i64,
    ) -> Result<(), StepError> {
        let first_wait = self.home.config.runner.retry_failed.first.get().as_secs();
        let first_wait = i64::try_from(first_wait).unwrap_or(i64::MAX);
        let state = &self.home.state;
        Ok(state
            .record_results(&profile.name, run, results, first_wait, now)
            .await?)
    }

    fn change(
        &self,
        profile: &Profile,
        targets: &OperationTargets,
        step: &Step,
        accounts_at_once: usize,
    ) -> InstanceChange {
        InstanceChange {
            stack_set: profile.stack_set.clone(),
            targets: targets.clone(),
            regions: vec![profile.region.clone()],
            overrides: std::collections::BTreeMap::new(),
            preferences: self.preferences(profile, step, accounts_at_once),
            operation_id: String::new(),
        }
    }

    fn preferences(
        &self,
        profile: &Profile,
        step: &Step,
        accounts_at_once: usize,
    ) -> OperationPreferences {
        OperationPreferences {
            max_concurrent: self
                .home
                .max_concurrent(step.accounts.len(), accounts_at_once),
            region_order: vec![profile.region.clone()],
            tolerance: FailureTolerance::Any,
        }
    }

    pub(super) fn profile(&self, name: &str) -> Result<&Profile, StepError> {
        self.desired
            .profiles
            .iter()
            .chain(self.desired.roles())
            .find(|profile| profile.name == name)
            .ok_or_else(|| {
                StepError::new(
                    ErrorClass::Invalid,
                    format!("the configuration has no profile {name:?} any more; plan again"),
                )
            })
    }
}

fn changed(profile: &Profile) -> StepError {
    StepError::new(
        ErrorClass::Invalid,
        format!(
            "the profile {:?} does not enroll this account by itself any more; plan again",
            profile.name
        ),
    )
}

fn action_of(step: &Step) -> Result<SyncAction, StepError> {
    serde_json::from_value(step.payload.clone()).map_err(|error| {
        StepError::new(
            ErrorClass::Bug,
            format!(
                "step {} has a payload that this version cannot read; plan again",
                step.id
            ),
        )
        .with_source(error)
    })
}

fn auto_deployment_settings(profile: &Profile, enabled: bool) -> AutoDeployment {
    AutoDeployment {
        enabled,
        retain_stacks: enabled && profile.retains_stacks(),
    }
}

fn done(note: &str) -> Applied {
    Applied::Done {
        note: Some(note.to_owned()),
    }
}
