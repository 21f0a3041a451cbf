//! The standing of an account: one state and one reason from a closed, documented set.

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

    /// What it means and what to do, for people.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Enrolled => {
                "the stack instance is current and exactly one Spot account is linked"
            }
            Self::Enrolling => "an operation is working on it; run again or wait",
            Self::MissingInstance => "no stack instance yet; the next run creates it",
            Self::InstanceFailed => "the stack instance failed; a retry is due",
            Self::RetryLater => {
                "its enrollment failed; it is tried again at the time shown, or now with --retry-failed"
            }
            Self::Quarantined => {
                "it failed too often; mend the cause, then run with --retry-failed"
            }
            Self::EnrollmentFailed => "what is done for it at Spot failed; a retry is due",
            Self::EnrollmentUnfinished => {
                "the stack is there, and its link, name or products at Spot are not finished; the next run goes on"
            }
            Self::ExternalIdMissing => {
                "its stack was given no external ID, so it has no role for Spot; the next run corrects it"
            }
            Self::InstanceOutdated => {
                "the stack instance lacks the current definition; the next run updates it"
            }
            Self::InstanceInoperable => {
                "a deletion of its stack instance failed; remove the instance with its stack retained, then delete the stack in the account"
            }
            Self::NotLinked => {
                "the stack is there but no Spot account is linked: somebody deleted or unlinked it in Spot; `enroll` links it again"
            }
            Self::RoleMissing => {
                "it is linked, but the role that Spot uses is not in the account; find out who deleted it; `enroll` makes its stack anew"
            }
            Self::RoleTrustDiffers => {
                "it is linked, but its role does not let Spot in as Spot asks; find out who changed the trust policy; `enroll` writes it again"
            }
            Self::LinkedToSeveral => {
                "several Spot accounts are linked to it; delete or unlink all but one in Spot"
            }
            Self::EnrolledElsewhere => {
                "it is linked to a Spot account that we did not link; adopt = \"relink\" would take it over"
            }
            Self::LinkedElsewhere => {
                "it is linked to another Spot account than the one we linked; find out who changed it in Spot, and unlink one"
            }
            Self::AdoptionRefused => {
                "it is linked to a Spot account and adopt = \"refuse\"; unlink it in Spot or change the adopt rule"
            }
            Self::Suspended => "AWS suspended the account; it is enrolled when it is active again",
            Self::Closed => "the account is closed",
            Self::PendingClosure => "the account is being closed",
            Self::PendingActivation => "the account is not activated yet",
            Self::StateUnknown => {
                "AWS did not say what state the account is in; look at it in AWS Organizations"
            }
            Self::Excluded => "the configuration excludes it",
            Self::TagMismatch => {
                "it does not carry the tags that the profile asks for; tag it in AWS Organizations to enroll it (tags that were read are trusted for aws.tags_max_age)"
            }
            Self::TagsUnknown => {
                "it left the organization before its tags were read, so nothing was decided about it; the next run looks again"
            }
            Self::BlockedByScp => {
                "a service control policy denies what the stack needs; exempt the stack set's execution role from it"
            }
            Self::BlockedByRcp => {
                "Spot could not assume the role that the stack made to trust it; look for a resource control policy that denies sts:AssumeRole to principals outside the organization, and exempt Spot's from it"
            }
            Self::ManagementAccount => {
                "stack sets never deploy to the management account; management_account = true in its profile enrolls it"
            }
            Self::StackBlocked => {
                "the plain stack of the management account cannot be changed as it is; do what is said, then run again"
            }
            Self::Departed => {
                "it left the organization; its stack instance is taken out of the stack set under the removal limits"
            }
            Self::OutsideTargets => {
                "it has a stack instance of a profile that does not target it; target it again or remove the instance by hand (where another profile targets it, `enroll` does, once that one's stack has the link)"
            }
            Self::Moved => {
                "something else is to be done for it than the plan has that was approved; plan again"
            }
            Self::Drifted => {
                "what IAM or Spot has for it differs from what its stack set means for it; the findings say what, and what mends it"
            }
            Self::InUse => "its Spot account is in use",
            Self::Orphaned => "nothing uses its Spot account any more; it is deleted",
            Self::GracePeriod => {
                "nothing uses its Spot account any more; it is deleted when it has been so for the grace period"
            }
            Self::OverLimit => {
                "its Spot account is deleted by a later run: the limit of this run or day is used up"
            }
            Self::Protected => "it is protected, so nothing of it is removed",
            Self::StillRunning => {
                "Elastigroups or Ocean clusters run in its Spot account; delete them in Spot, or protect the account"
            }
            Self::StackRemains => {
                "its stack may still use its Spot account; the finding says what has to go first"
            }
            Self::NotOurs => {
                "its AWS account is gone, and its Spot account is not known to be ours to delete; decide about it in Spot"
            }
            Self::CleanedUp => "its Spot account was deleted; `runner runs undo` makes it again",
            Self::Deleted => "its Spot account was deleted; it is made again, with another id",
            Self::Recreated => "its Spot account was made again, with another id",
            Self::PolicyOutdated => {
                "it has another version of the policies than it should have; its wave of the rollout updates it"
            }
            Self::WaitsForWave => {
                "a version of the policies is rolled out, and its wave is not due yet; the next runs go on"
            }
            Self::RollingOut => {
                "a rollout of policies works on it or has left it half-way; policy-rollout goes on with it, or takes it back"
            }
            Self::Settled => "the plugin of the job has nothing to do for it",
            Self::StepDue => "the plugin of the job has something to do for it",
            Self::StepFailed => {
                "what the plugin of the job did for it failed; the next run asks the plugin again"
            }
            Self::PluginSkipped => {
                "the plugin of the job leaves it out, or a guard rail its steps; the detail says why"
            }
        }
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
            assert!(!reason.is_finding() || reason.standing() == Standing::Skipped);
        }
    }
}
