//! The pure domain of Spot onboarding: ids, inventory, desired state, plans, guard rails, policy handling,
//! CloudFormation template rendering and custom-resource decisions.
//!
//! Guarantees: no I/O, no clock, no environment, no async runtime. Whatever depends on time takes `now` as an
//! argument. Everything that decides lives here, so that it can be tested with tables and properties.

pub mod access;
pub mod canonical;
pub mod custom_resource;
pub mod desired;
pub mod drift;
pub mod drift_audit;
pub mod enroll;
pub mod events;
pub mod external;
pub mod governor;
pub mod iam_policy;
pub mod ids;
pub mod inventory;
pub mod notify;
pub mod orphan_cleanup;
pub mod plan;
pub mod policy;
pub mod policy_rollout;
pub mod retry_clock;
pub mod secret;
pub mod stackset_sync;
pub mod status;
pub mod template;
pub mod trust;
