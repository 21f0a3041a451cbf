//! Stack sets: their definition, their instances, their operations, and trusted access.
//!
//! CloudFormation runs changes as operations. A verb that starts one returns at once with a [`Submission`]; following
//! the operation is the engine's business, with [`Aws::describe_operation`] and [`next_poll_delay`].

mod access;
mod activity;
mod definition;
mod instances;
mod operations;

use std::collections::BTreeMap;

pub use access::TrustedAccess;
use aws_sdk_cloudformation::types::{
    AccountFilterType, CallAs as SdkCallAs, ConcurrencyMode, DeploymentTargets,
    RegionConcurrencyType, StackSetOperationPreferences,
};
pub use definition::{
    AutoDeployment, ParameterValue, StackSetDefinition, StackSetUpdate, Template,
};
pub use instances::InstanceDeletion;
use onboarding_core::{
    ids::{Region, StackSetName},
    stackset_sync::operation_targets::{MAX_OUS_PER_CALL, OperationTargets, TargetFilter},
};
pub use operations::{
    DriftDetection, Operation, OperationAction, OperationOutcome, OperationResult, OperationStatus,
    ResultStatus, Submission, is_ours, new_detection_id, new_operation_id, next_poll_delay,
};

use crate::{AwsError, CallAs, ErrorClass};

/// How an operation goes through its targets. AWS's defaults would go one account at a time and stop at the first failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationPreferences {
    /// How many accounts at a time, in each Region; at least 1.
    pub max_concurrent: u32,
    /// The Regions in the order in which they are done, one after the other. Empty: AWS's order.
    pub region_order: Vec<Region>,
    /// How many accounts may fail before it is stopped.
    pub tolerance: FailureTolerance,
}

/// How many accounts of an operation may fail before AWS stops it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailureTolerance {
    /// All of them: failures never stop it.
    #[default]
    Any,
    /// So many in each Region.
    Count {
        /// How many.
        failures: u32,
        /// Whether no more accounts are worked on at a time than may still fail, and one (STRICT_FAILURE_TOLERANCE). Otherwise
        /// those in flight when the tolerance is exceeded are finished, and more may fail (SOFT_FAILURE_TOLERANCE).
        strict: bool,
    },
}

impl OperationPreferences {
    fn to_sdk(&self) -> StackSetOperationPreferences {
        let preferences = StackSetOperationPreferences::builder()
            .region_concurrency_type(RegionConcurrencyType::Sequential)
            .set_region_order((!self.region_order.is_empty()).then(|| texts(&self.region_order)))
            .max_concurrent_count(i32::try_from(self.max_concurrent.max(1)).unwrap_or(i32::MAX));
        match self.tolerance {
            FailureTolerance::Any => preferences
                .failure_tolerance_percentage(100)
                .concurrency_mode(ConcurrencyMode::SoftFailureTolerance),
            FailureTolerance::Count { failures, strict } => preferences
                .failure_tolerance_count(i32::try_from(failures).unwrap_or(i32::MAX))
                .concurrency_mode(if strict {
                    ConcurrencyMode::StrictFailureTolerance
                } else {
                    ConcurrencyMode::SoftFailureTolerance
                }),
        }
        .build()
    }
}

/// A change of stack instances: which stack set, where, how, and under which id of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceChange {
    /// The stack set.
    pub stack_set: StackSetName,
    /// The accounts.
    pub targets: OperationTargets,
    /// The Regions.
    pub regions: Vec<Region>,
    /// Parameters that these instances have other values of than the stack set; empty keeps those that they have. One that is
    /// left out beside others goes back to the stack set's value. A deletion has none.
    pub overrides: BTreeMap<String, ParameterValue>,
    /// How the operation goes through them.
    pub preferences: OperationPreferences,
    /// The operation's id, from [`new_operation_id`], journaled before the call: the same id never runs twice.
    pub operation_id: String,
}

impl CallAs {
    pub(crate) fn to_sdk(self) -> SdkCallAs {
        match self {
            Self::Myself => SdkCallAs::SelfValue,
            Self::DelegatedAdministrator => SdkCallAs::DelegatedAdmin,
        }
    }
}

/// Targets as CloudFormation takes them; an error when it would not.
fn deployment_targets(
    operation: &'static str,
    targets: &OperationTargets,
) -> Result<DeploymentTargets, AwsError> {
    let invalid = |message: String| AwsError::new(operation, ErrorClass::Invalid, message);
    let units = &targets.organizational_units;
    if units.is_empty() || units.len() > MAX_OUS_PER_CALL {
        return Err(invalid(format!(
            "{} organizational units are targeted, and one call takes 1 to {MAX_OUS_PER_CALL}; split it",
            units.len()
        )));
    }
    if targets.accounts.is_empty() != (targets.filter == TargetFilter::None) {
        return Err(invalid(
            "accounts are listed without a filter that says what they mean, or the other way round"
                .to_owned(),
        ));
    }
    Ok(DeploymentTargets::builder()
        .set_organizational_unit_ids(Some(texts(units)))
        .set_accounts((!targets.accounts.is_empty()).then(|| texts(&targets.accounts)))
        .account_filter_type(match targets.filter {
            TargetFilter::None => AccountFilterType::None,
            TargetFilter::Intersection => AccountFilterType::Intersection,
            TargetFilter::Difference => AccountFilterType::Difference,
        })
        .build())
}

fn texts<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}
