//! What was observed: one ledger row per AWS account, with four sources side by side (Organizations, stack instance,
//! live role, Spot account), and the organization's tree.

pub mod aggregator;
pub mod live_role;
pub mod organization;
pub mod role_policies;
pub mod spot_account;
pub mod stack_set;

pub use aggregator::{
    AggregatedSource, RecordedPolicy, RecordedRole, Recorder, RecorderState, SourceStatus,
};
pub use live_role::{LinkEvidence, LinkHealth, LiveRole, RoleReading};
pub use organization::{
    Account, AccountState, AccountTags, OrganizationSnapshot, OrganizationalUnit, Tags,
};
pub use role_policies::{AttachedPolicy, PolicyReading, RolePolicies};
pub use spot_account::SpotAccountRecord;
pub use stack_set::{
    DETECTION_PREFIX, DriftStatus, InstanceDetailedStatus, InstanceStatus, ObservedStackSet,
    StackDrift, StackInstance,
};
