//! The CloudFormation template that enrolls an account: typed parts in, deterministic JSON or YAML and a digest out.
//!
//! Names, types, properties and outputs of the resources are those of the template that Spot publishes, so that a
//! provider serves both. What differs, and why:
//! - Custom resources are retained when a stack is deleted ([`Deletion::Reconcile`]): removals are decided by
//!   reconciling, not by an account that moves to another organizational unit.
//! - `ServiceTimeout` bounds how long a request without an answer hangs; CloudFormation's default is an hour.
//! - `PolicyVersion` and `RepairNonce` are parameters. Both are part of a statement id in every managed policy, and
//!   the nonce is part of the trust policy's: a new value makes CloudFormation write the documents again, in place.
//! - While a version of the policies is rolled out, both are in the template, under conditions on `PolicyVersion`
//!   ([`PinnedVersions`]): a stack has the current one unless its parameter names the next one.
//! - Only [`Provider::SpotHosted`] has a `Token` parameter.
//! - [`Provider::Direct`] has no custom resources, an `ExternalId` parameter, and its role only when that is given.
//!
//! Invariant: a statement that names Spot's principal carries an external ID condition, in every rendering.
//!
//! Beside it, the templates of the audit role ([`AuditRoleSpec`]), through which we read what is really in an account, and of the
//! remediation role ([`RemediationRoleSpec`]), through which we take stray policies away, and delete stacks that were left. They never name Spot's principal.

mod audit_role;
mod body;
mod changes;
mod checks;
mod custom_resources;
mod direct;
mod error;
pub mod home;
mod home_role;
mod parts;
mod permissions;
mod remediation_role;
mod render;
mod service_token;
mod spec;
mod version;

pub use audit_role::{AUDIT_ROLE_DESCRIPTION, AuditRoleSpec, is_audit_role};
pub use body::{BodyError, is_enrollment, parse_body, role_name, template_digest_of};
pub use changes::template_changes;
pub use custom_resources::TOKEN_PARAMETER;
pub use direct::{EXTERNAL_ID_PARAMETER, is_direct};
pub use error::TemplateError;
pub use parts::{Omission, Parameter, Resource, Template};
pub use permissions::{
    COST_INTELLIGENCE_POLICY_PARAMETER, ELASTIGROUP_OCEAN_POLICY_PARAMETER,
    POLICY_VERSION_PARAMETER, REPAIR_NONCE_PARAMETER,
};
pub use remediation_role::{
    OurNames, REMEDIATION_ROLE_DESCRIPTION, RemediationRoleSpec, is_remediation_role,
};
pub use render::{Format, MAX_INLINE_BODY_SIZE, RenderedTemplate};
pub use service_token::{service_token_changes, service_topics};
pub use spec::{
    DEFAULT_DESCRIPTION, Deletion, NamedPolicy, Partition, PolicyPurpose, Products, Provider,
    RoleSettings, SpotPrincipal, TemplateSpec, default_policy_version,
};
pub use version::{PinnedVersions, PolicyVersion, VersionError, read_versions};
