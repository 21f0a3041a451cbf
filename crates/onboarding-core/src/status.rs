//! The standing of an account: one state and one reason from a closed, documented set.

mod explained;

use serde::{Deserialize, Serialize};

/// Why an account stands where it stands. The text form (kebab case) is the reason code in reports, metrics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Its stack instance is current and exactly one Spot account is linked to it.
    Enrolled,
    /// An operation is working on it right now.
    Enrolling,
    /// It is targeted, active, and has no stack instance.
    MissingInstance,
    /// Its stack instance failed, and a retry is due.
    InstanceFailed,
    /// Its stack instance failed, and its retry is not due yet.
    RetryLater,
    /// Its stack instance failed so often that only a person (or `--retry-failed`) starts it again.
    Quarantined,
    /// What the runner does for it at Spot failed (provider `direct`), and a retry is due.
    EnrollmentFailed,
    /// Its stack instance is current, but what the runner does for it at Spot is not finished (provider `direct`).
    EnrollmentUnfinished,
    /// Its stack was given no external ID, so it has no role for Spot (provider `direct`).
    ExternalIdMissing,
    /// Its stack instance does not have the stack set's current definition.
    InstanceOutdated,
    /// A deletion of its stack instance failed; CloudFormation excludes it from updates.
    InstanceInoperable,
    /// Its stack instance is current, but no Spot account is linked to it.
    NotLinked,
    /// Several Spot accounts are linked to it; a person must say which one stays.
    LinkedToSeveral,
    /// It is linked, but the role that Spot uses is not in the account.
    RoleMissing,
    /// It is linked, but the trust policy of its role does not let Spot in as it should.
    RoleTrustDiffers,
    /// It was linked to a Spot account before us, and the adopt rule keeps that link.
    EnrolledElsewhere,
    /// It is linked to another Spot account than the one that we linked: somebody changed it since.
    LinkedElsewhere,
    /// It is linked to a Spot account, and the adopt rule refuses to touch it.
    AdoptionRefused,
    /// AWS suspended it.
    Suspended,
    /// It is closed.
    Closed,
    /// It is being closed.
    PendingClosure,
    /// It is not activated yet.
    PendingActivation,
    /// AWS did not say what state it is in.
    StateUnknown,
    /// The configuration excludes it.
    Excluded,
    /// It is in the organizational units of a profile and does not carry the tags that the profile asks for.
    TagMismatch,
    /// It is in the organizational units of a profile that asks for tags, and its tags could not be read.
    TagsUnknown,
    /// A service control policy denies what enrollment needs.
    BlockedByScp,
    /// Spot cannot assume its role although the trust policy is right: a resource control policy denies it.
    BlockedByRcp,
    /// It is the management account: stack sets never deploy there.
    ManagementAccount,
    /// The management account's plain stack is in a state that allows no change, or is another program's.
    StackBlocked,
    /// It left the organization and still has a stack instance.
    Departed,
    /// It has a stack instance although no profile targets it any more.
    OutsideTargets,
    /// Something is to be done for it that the approved plan does not have.
    Moved,
    /// What is in the account differs from what its stack set means for it.
    Drifted,
    /// Its Spot account is ours, and it uses it.
    InUse,
    /// Its Spot account has nobody to use it any more, and is deleted.
    Orphaned,
    /// Its Spot account has nobody to use it any more, and not for long enough to be deleted.
    GracePeriod,
    /// Its Spot account is due to be deleted, and a limit of the run or the day is used up.
    OverLimit,
    /// Nothing of it is removed: it is protected.
    Protected,
    /// Its Spot account runs Elastigroups or Ocean clusters, and so is not deleted.
    StillRunning,
    /// Its Spot account may still be used by a stack in it.
    StackRemains,
    /// It is gone, and nothing tells that its Spot account is ours to delete.
    NotOurs,
    /// This run deleted its Spot account.
    CleanedUp,
    /// Its Spot account was deleted, and is made again.
    Deleted,
    /// Its Spot account was made again, with another id.
    Recreated,
    /// It has another version of the policies than it should have, and its wave is due.
    PolicyOutdated,
    /// It has another version of the policies than it will have, and its wave is not due.
    WaitsForWave,
    /// A rollout of policies works on it, or has left it half-way.
    RollingOut,
    /// The plugin of the job has nothing to do for it.
    Settled,
    /// The plugin of the job has something to do for it.
    StepDue,
    /// What the plugin of the job did for it in this run failed.
    StepFailed,
    /// The plugin of the job leaves it out, or a guard rail its steps.
    PluginSkipped,
}

/// What a reason means for the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// As it should be.
    Ok,
    /// A step of the plan will work on it.
    Due,
    /// Something is already working on it.
    Pending,
    /// It went wrong, and a later run tries again.
    Failed,
    /// Nothing is done to it, for its reason.
    Skipped,
}

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 52] = [
        Self::Enrolled,
        Self::Enrolling,
        Self::MissingInstance,
        Self::InstanceFailed,
        Self::RetryLater,
        Self::Quarantined,
        Self::EnrollmentFailed,
        Self::EnrollmentUnfinished,
        Self::ExternalIdMissing,
        Self::InstanceOutdated,
        Self::InstanceInoperable,
        Self::NotLinked,
        Self::RoleMissing,
        Self::RoleTrustDiffers,
        Self::LinkedToSeveral,
        Self::EnrolledElsewhere,
        Self::LinkedElsewhere,
        Self::AdoptionRefused,
        Self::Suspended,
        Self::Closed,
        Self::PendingClosure,
        Self::PendingActivation,
        Self::StateUnknown,
        Self::Excluded,
        Self::TagMismatch,
        Self::TagsUnknown,
        Self::BlockedByScp,
        Self::BlockedByRcp,
        Self::ManagementAccount,
        Self::StackBlocked,
        Self::Departed,
        Self::OutsideTargets,
        Self::Moved,
        Self::Drifted,
        Self::InUse,
        Self::Orphaned,
        Self::GracePeriod,
        Self::OverLimit,
        Self::Protected,
        Self::StillRunning,
        Self::StackRemains,
        Self::NotOurs,
        Self::CleanedUp,
        Self::Deleted,
        Self::Recreated,
        Self::PolicyOutdated,
        Self::WaitsForWave,
        Self::RollingOut,
        Self::Settled,
        Self::StepDue,
        Self::StepFailed,
        Self::PluginSkipped,
    ];

    /// What it means for the account when nothing but observation is known.
    #[must_use]
    pub fn standing(self) -> Standing {
        match self {
            Self::Enrolled | Self::InUse | Self::CleanedUp | Self::Recreated | Self::Settled => {
                Standing::Ok
            }
            Self::Enrolling | Self::WaitsForWave => Standing::Pending,
            Self::MissingInstance
            | Self::InstanceOutdated
            | Self::InstanceFailed
            | Self::EnrollmentFailed
            | Self::EnrollmentUnfinished
            | Self::ExternalIdMissing
            | Self::Orphaned
            | Self::Deleted
            | Self::PolicyOutdated
            | Self::StepDue => Standing::Due,
            Self::StepFailed => Standing::Failed,
            Self::RetryLater
            | Self::Quarantined
            | Self::InstanceInoperable
            | Self::NotLinked
            | Self::RoleMissing
            | Self::RoleTrustDiffers
            | Self::LinkedToSeveral
            | Self::EnrolledElsewhere
            | Self::LinkedElsewhere
            | Self::AdoptionRefused
            | Self::Suspended
            | Self::Closed
            | Self::PendingClosure
            | Self::PendingActivation
            | Self::StateUnknown
            | Self::Excluded
            | Self::TagMismatch
            | Self::TagsUnknown
            | Self::BlockedByScp
            | Self::BlockedByRcp
            | Self::ManagementAccount
            | Self::StackBlocked
            | Self::Departed
            | Self::OutsideTargets
            | Self::Moved
            | Self::Drifted
            | Self::GracePeriod
            | Self::OverLimit
            | Self::Protected
            | Self::StillRunning
            | Self::StackRemains
            | Self::NotOurs
            | Self::RollingOut
            | Self::PluginSkipped => Standing::Skipped,
        }
    }

    /// Whether a person has to do something; such accounts are skipped.
    #[must_use]
    pub fn needs_person(self) -> bool {
        matches!(
            self,
            Self::Quarantined
                | Self::InstanceInoperable
                | Self::NotLinked
                | Self::RoleMissing
                | Self::RoleTrustDiffers
                | Self::LinkedToSeveral
                | Self::LinkedElsewhere
                | Self::AdoptionRefused
                | Self::StateUnknown
                | Self::BlockedByScp
                | Self::BlockedByRcp
                | Self::StackBlocked
                | Self::OutsideTargets
                | Self::Moved
                | Self::Drifted
                | Self::StillRunning
                | Self::StackRemains
                | Self::NotOurs
        )
    }

    /// Whether it is reported as a finding: a person has to do something, or it failed and waits for its next try. A run
    /// that leaves such an account out has done nothing wrong, but the account is not as it should be.
    #[must_use]
    pub fn is_finding(self) -> bool {
        self.needs_person() || self == Self::RetryLater
    }

    /// Whether it is a plugin that says so.
    #[must_use]
    pub fn is_of_plugin(self) -> bool {
        matches!(
            self,
            Self::Settled | Self::StepDue | Self::StepFailed | Self::PluginSkipped
        )
    }

    /// Whether a profile leaves the account out although it is in the profile's organizational units.
    #[must_use]
    pub fn is_left_out(self) -> bool {
        matches!(self, Self::Excluded | Self::TagMismatch | Self::TagsUnknown)
    }

    /// The reason code: kebab case, as in reports.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Enrolled => "enrolled",
            Self::Enrolling => "enrolling",
            Self::MissingInstance => "missing-instance",
            Self::InstanceFailed => "instance-failed",
            Self::RetryLater => "retry-later",
            Self::Quarantined => "quarantined",
            Self::EnrollmentFailed => "enrollment-failed",
            Self::EnrollmentUnfinished => "enrollment-unfinished",
            Self::ExternalIdMissing => "external-id-missing",
            Self::InstanceOutdated => "instance-outdated",
            Self::InstanceInoperable => "instance-inoperable",
            Self::NotLinked => "not-linked",
            Self::RoleMissing => "role-missing",
            Self::RoleTrustDiffers => "role-trust-differs",
            Self::LinkedToSeveral => "linked-to-several",
            Self::EnrolledElsewhere => "enrolled-elsewhere",
            Self::LinkedElsewhere => "linked-elsewhere",
            Self::AdoptionRefused => "adoption-refused",
            Self::Suspended => "suspended",
            Self::Closed => "closed",
            Self::PendingClosure => "pending-closure",
            Self::PendingActivation => "pending-activation",
            Self::StateUnknown => "state-unknown",
            Self::Excluded => "excluded",
            Self::TagMismatch => "tag-mismatch",
            Self::TagsUnknown => "tags-unknown",
            Self::BlockedByScp => "blocked-by-scp",
            Self::BlockedByRcp => "blocked-by-rcp",
            Self::ManagementAccount => "management-account",
            Self::StackBlocked => "stack-blocked",
            Self::Departed => "departed",
            Self::OutsideTargets => "outside-targets",
            Self::Moved => "moved",
            Self::Drifted => "drifted",
            Self::InUse => "in-use",
            Self::Orphaned => "orphaned",
            Self::GracePeriod => "grace-period",
            Self::OverLimit => "over-limit",
            Self::Protected => "protected",
            Self::StillRunning => "still-running",
            Self::StackRemains => "stack-remains",
            Self::NotOurs => "not-ours",
            Self::CleanedUp => "cleaned-up",
            Self::Deleted => "deleted",
            Self::Recreated => "recreated",
            Self::PolicyOutdated => "policy-outdated",
            Self::WaitsForWave => "waits-for-wave",
            Self::RollingOut => "rolling-out",
            Self::Settled => "settled",
            Self::StepDue => "step-due",
            Self::StepFailed => "step-failed",
            Self::PluginSkipped => "plugin-skipped",
        }
    }

    /// The reason with this code.
    #[must_use]
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_serialized_form_and_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for reason in Reason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.code());
            assert!(seen.insert(reason.code()));
            assert_eq!(Reason::of_code(reason.code()), Some(reason));
            assert!(!reason.is_finding() || reason.standing() == Standing::Skipped);
        }
    }
}
