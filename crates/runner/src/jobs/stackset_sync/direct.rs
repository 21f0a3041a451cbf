//! Enrolling one account whose stack has no custom resources: its Spot account and external ID first, then its stack with
//! that external ID, then, when the role is there, what is left to do at Spot.
//!
//! Everything may be done twice: after a crash, the next run begins anew and finds what is there.

use std::time::Duration;

use aws_ops::stack_sets::{
    FailureTolerance, InstanceChange, OperationPreferences, ParameterValue, ResultStatus,
};
use onboarding_core::{
    custom_resource::ROLE_NOT_ASSUMABLE,
    ids::{ExternalId, OuId},
    plan::Step,
    stackset_sync::{DeployedInstance, InstanceOperation, OperationTargets, TargetFilter},
    template::EXTERNAL_ID_PARAMETER,
};
use serde::{Deserialize, Serialize};

use super::{
    StackSetSync,
    at_spot::{AtSpot, Prepared, Subject, interrupted},
    operation::{Ended, Followed, OperationMemo, Request, follow, submit},
};
use crate::engine::{Applied, ErrorClass, StepContext, StepError};

/// What a step remembers once its stack is there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeployedMemo {
    /// The run in which it was deployed: another one looks anew.
    deployed_in: String,
}

/// A link that an organization's policy denies is for a person to mend, and the account's row says so: the step has not
/// failed.
pub(super) fn told(ended: Result<Applied, StepError>) -> Result<Applied, StepError> {
    match ended {
        Err(error) if error.to_string().contains(ROLE_NOT_ASSUMABLE) => Ok(Applied::Done {
            note: Some(error.to_string()),
        }),
        ended => ended,
    }
}

impl StackSetSync {
    /// One look at, or one stretch of, the enrollment of an account.
    pub(super) async fn enroll_account(
        &self,
        cx: &StepContext,
        step: &Step,
        subject: Subject<'_>,
        unit: &OuId,
        instance: Option<&DeployedInstance>,
    ) -> Result<Applied, StepError> {
        let deployed = cx
            .memo()
            .and_then(|memo| serde_json::from_value::<DeployedMemo>(memo).ok())
            .is_some_and(|memo| memo.deployed_in == cx.run_id().to_string());
        if !deployed {
            let stack_set = &subject.profile.stack_set;
            let under_way = OperationMemo::of(cx).filter(|memo| memo.submitted);
            let memo = match under_way {
                Some(memo) => memo,
                None => {
                    let prepared = match self.prepared(cx, subject).await? {
                        AtSpot::Done(prepared) => prepared,
                        AtSpot::Interrupted => return Ok(interrupted()),
                    };
                    let Prepared::Ready { external_id, .. } = &prepared else {
                        return self.finish_at_spot(cx, subject, prepared).await;
                    };
                    let change = instance_change(subject, unit, external_id);
                    let request = match InstanceOperation::for_external_id(instance, external_id) {
                        InstanceOperation::Create => Request::Create(change),
                        InstanceOperation::Update => Request::Update(change),
                        InstanceOperation::None => {
                            return self.finish_at_spot(cx, subject, prepared).await;
                        }
                    };
                    match submit(&self.home, cx, stack_set, request).await? {
                        Ok(memo) => memo,
                        Err(applied) => return Ok(applied),
                    }
                }
            };
            let inherited = memo.is_inherited(cx);
            match follow(&self.home, cx, stack_set, memo, step.accounts.len()).await? {
                Followed::Again(applied) => return Ok(applied),
                Followed::Ended(ended) => {
                    if let Some(applied) = self.deployed(cx, subject, &ended, inherited).await? {
                        return Ok(applied);
                    }
                }
            }
        }
        match self.prepared(cx, subject).await? {
            AtSpot::Done(prepared) => self.finish_at_spot(cx, subject, prepared).await,
            AtSpot::Interrupted => Ok(interrupted()),
        }
    }

    /// What became of the operation; none when the account has its stack.
    async fn deployed(
        &self,
        cx: &StepContext,
        subject: Subject<'_>,
        ended: &Ended,
        inherited: bool,
    ) -> Result<Option<Applied>, StepError> {
        let of_account = |status| {
            let mut rows = ended.accounts(status);
            rows.find(|(account, _)| *account == subject.account)
        };
        let note = Some(ended.note());
        if let Some((_, reason)) = of_account(ResultStatus::Failed) {
            let reason = reason.unwrap_or("CloudFormation gave no reason");
            self.record_failure(
                cx,
                subject.profile,
                subject.account,
                &ended.operation_id,
                reason,
            )
            .await?;
            OperationMemo::forget(cx).await?;
            return Ok(Some(Applied::Done { note }));
        }
        if of_account(ResultStatus::Succeeded).is_some() {
            let memo = DeployedMemo {
                deployed_in: cx.run_id().to_string(),
            };
            let memo = serde_json::to_value(memo).map_err(|error| {
                StepError::new(
                    ErrorClass::Bug,
                    "a step's memo could not be written as JSON",
                )
                .with_source(error)
            })?;
            cx.set_memo(memo).await?;
            self.note_changes(subject.profile, &[subject.account]);
            return Ok(None);
        }
        OperationMemo::forget(cx).await?;
        Ok(Some(if cx.is_ending() {
            Applied::Stopped { note }
        } else if inherited {
            // An earlier run was interrupted; what it left out is what this step was planned for.
            Applied::Requeue {
                after: Duration::ZERO,
                progress: None,
            }
        } else {
            Applied::Done { note }
        }))
    }
}

fn instance_change(subject: Subject<'_>, unit: &OuId, external_id: &ExternalId) -> InstanceChange {
    let region = &subject.profile.region;
    InstanceChange {
        stack_set: subject.profile.stack_set.clone(),
        targets: OperationTargets {
            organizational_units: vec![unit.clone()],
            filter: TargetFilter::Intersection,
            accounts: vec![subject.account],
        },
        regions: vec![region.clone()],
        overrides: [(
            EXTERNAL_ID_PARAMETER.to_owned(),
            ParameterValue::Value(external_id.to_string()),
        )]
        .into(),
        preferences: OperationPreferences {
            max_concurrent: 1,
            region_order: vec![region.clone()],
            tolerance: FailureTolerance::Any,
        },
        operation_id: String::new(),
    }
}
