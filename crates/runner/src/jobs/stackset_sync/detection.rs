//! Letting CloudFormation look for drift in the stacks of a stack set: an operation that changes nothing.

use aws_ops::stack_sets::{
    DriftDetection, FailureTolerance, OperationPreferences, OperationStatus,
};
use onboarding_core::desired::Profile;

use super::{
    StackSetSync,
    operation::{Followed, OperationMemo, Request, follow, submit},
};
use crate::engine::{Applied, ErrorClass, StepContext, StepError};

impl StackSetSync {
    /// Starts the detection, or looks how far it is. What it finds is observed afterwards, instance by instance.
    pub(super) async fn detect_drift(
        &self,
        cx: &StepContext,
        profile: &Profile,
        instances: usize,
    ) -> Result<Applied, StepError> {
        // What an earlier run heard is not what CloudFormation says now.
        if OperationMemo::of(cx).is_some_and(|memo| memo.is_inherited(cx)) {
            OperationMemo::forget(cx).await?;
        }
        let detection = DriftDetection {
            stack_set: profile.stack_set.clone(),
            preferences: OperationPreferences {
                max_concurrent: self.home.max_concurrent(instances, instances),
                region_order: vec![profile.region.clone()],
                tolerance: FailureTolerance::Any,
            },
            operation_id: String::new(),
        };
        let request = Request::DetectDrift(detection);
        let memo = match submit(&self.home, cx, &profile.stack_set, request).await? {
            Ok(memo) => memo,
            Err(applied) => return Ok(applied),
        };
        let followed = follow(&self.home, cx, &profile.stack_set, memo, instances).await?;
        let ended = match followed {
            Followed::Again(applied) => return Ok(applied),
            Followed::Ended(ended) => ended,
        };
        OperationMemo::forget(cx).await?;
        match ended.status {
            OperationStatus::Succeeded => Ok(Applied::Unchanged),
            OperationStatus::Stopped => Ok(Applied::Stopped {
                note: Some(ended.note()),
            }),
            _ => Err(StepError::new(
                ErrorClass::Failed,
                format!(
                    "CloudFormation could not look for drift in stack set {}: {}",
                    profile.stack_set,
                    ended.note()
                ),
            )),
        }
    }
}
