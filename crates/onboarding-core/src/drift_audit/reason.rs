//! What an audit finds beside the differences of roles ([`crate::drift::DriftKind`]) and the reasons for which accounts are
//! left out ([`crate::status::Reason`]).

use crate::plan::{Finding, Severity};

/// A finding's reason. A closed set: reports and suppressions name it by its [`code`](AuditReason::code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuditReason {
    /// Trusted access of StackSets is off.
    TrustedAccessOff,
    /// A profile has no stack set.
    StackSetMissing,
    /// A stack set is not as its profile says: template, parameters, tags, automatic deployment.
    StackSetDiffers,
    /// An operation of a stack set is going on.
    OperationRunning,
    /// Accounts have no current audit role.
    AuditRoleMissing,
    /// Accounts have no current remediation role.
    RemediationRoleMissing,
    /// A user group does not see accounts that it should see.
    AccessMissing,
    /// Billing Engine is not set up as configured.
    BillingEngineOff,
    /// A guard rail would refuse what `stackset-sync` would do.
    Refused,
    /// An account that left the organization has a stack instance.
    DepartedStillDeployed,
    /// A closed account has a stack instance.
    ClosedStillDeployed,
    /// A suspended account has a stack instance.
    SuspendedStillDeployed,
    /// A Spot account of ours is there whose AWS account left the organization or is closed.
    DepartedSpotAccount,
    /// A Spot account has another name than its profile gives it.
    Misnamed,
    /// Cost Intelligence is off for a Spot account whose profile wants it.
    ProductOff,
    /// Spot says that Cost Intelligence is switched on and not, or not wholly, connected.
    CostIntelligenceNotConnected,
    /// Spot's validation of Cost Intelligence has not passed: something failed, or it did not tell.
    CostIntelligenceInvalid,
    /// AWS Config does not tell whether recorders run.
    RecordersUntold,
    /// The Spot token is older than it should be.
    TokenOld,
    /// Nobody tells how old the Spot token is.
    TokenAgeUnknown,
    /// Spot does not list most of what we linked: the token may not see all accounts any more.
    TokenSeesLess,
    /// CloudFormation's own drift detection found something.
    CloudFormationDrifted,
    /// A suppression has expired, and would still hide something.
    SuppressionExpired,
}

impl AuditReason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 23] = [
        Self::TrustedAccessOff,
        Self::StackSetMissing,
        Self::StackSetDiffers,
        Self::OperationRunning,
        Self::AuditRoleMissing,
        Self::RemediationRoleMissing,
        Self::AccessMissing,
        Self::BillingEngineOff,
        Self::Refused,
        Self::DepartedStillDeployed,
        Self::ClosedStillDeployed,
        Self::SuspendedStillDeployed,
        Self::DepartedSpotAccount,
        Self::Misnamed,
        Self::ProductOff,
        Self::CostIntelligenceNotConnected,
        Self::CostIntelligenceInvalid,
        Self::RecordersUntold,
        Self::TokenOld,
        Self::TokenAgeUnknown,
        Self::TokenSeesLess,
        Self::CloudFormationDrifted,
        Self::SuppressionExpired,
    ];

    /// The reason code: kebab case, as in reports.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::TrustedAccessOff => "trusted-access-off",
            Self::StackSetMissing => "stack-set-missing",
            Self::StackSetDiffers => "stack-set-differs",
            Self::OperationRunning => "operation-running",
            Self::AuditRoleMissing => "audit-role-missing",
            Self::RemediationRoleMissing => "remediation-role-missing",
            Self::AccessMissing => "access-missing",
            Self::BillingEngineOff => "billing-engine-off",
            Self::Refused => "refused",
            Self::DepartedStillDeployed => "departed-still-deployed",
            Self::ClosedStillDeployed => "closed-still-deployed",
            Self::SuspendedStillDeployed => "suspended-still-deployed",
            Self::DepartedSpotAccount => "departed-spot-account",
            Self::Misnamed => "misnamed",
            Self::ProductOff => "product-off",
            Self::CostIntelligenceNotConnected => "cost-intelligence-not-connected",
            Self::CostIntelligenceInvalid => "cost-intelligence-invalid",
            Self::RecordersUntold => "recorders-untold",
            Self::TokenOld => "token-old",
            Self::TokenAgeUnknown => "token-age-unknown",
            Self::TokenSeesLess => "token-sees-less",
            Self::CloudFormationDrifted => "cloudformation-drifted",
            Self::SuppressionExpired => "suppression-expired",
        }
    }

    /// How bad it is.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::TrustedAccessOff
            | Self::StackSetMissing
            | Self::Refused
            | Self::TokenSeesLess => Severity::Error,
            Self::StackSetDiffers
            | Self::AuditRoleMissing
            | Self::RemediationRoleMissing
            | Self::AccessMissing
            | Self::BillingEngineOff
            | Self::DepartedStillDeployed
            | Self::DepartedSpotAccount
            | Self::Misnamed
            | Self::ProductOff
            | Self::CostIntelligenceNotConnected
            | Self::CostIntelligenceInvalid
            | Self::RecordersUntold
            | Self::TokenOld
            | Self::TokenAgeUnknown
            | Self::CloudFormationDrifted
            | Self::SuppressionExpired => Severity::Warning,
            Self::OperationRunning | Self::ClosedStillDeployed | Self::SuspendedStillDeployed => {
                Severity::Info
            }
        }
    }

    /// A finding for this reason about something.
    pub(crate) fn of(self, about: &str, message: String, fix: Option<&str>) -> Finding {
        Finding {
            id: format!("{}:{about}", self.code()),
            severity: self.severity(),
            reason: self.code().to_owned(),
            message,
            fix: fix.map(str::to_owned),
            ..Finding::default()
        }
    }
}
