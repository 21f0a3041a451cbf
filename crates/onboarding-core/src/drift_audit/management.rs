//! What mends the management account, whose stack is a plain one: a person does, as AWS CLI commands of that account (AWS CLI
//! Command Reference, cloudformation).

use super::AuditObserved;
use crate::{
    desired::{Desired, ManagementStack, Profile},
    drift::{Drift, DriftKind, Fix},
    ids::AwsAccountId,
    stackset_sync::{self, PlainStack},
    template::{EXTERNAL_ID_PARAMETER, REPAIR_NONCE_PARAMETER},
};

/// What mends a difference that its stack would mend; none for another account, and for what is mended in every account alike.
pub(super) fn remedy(
    observed: &AuditObserved,
    desired: &Desired,
    account: AwsAccountId,
    drift: &Drift,
) -> Option<String> {
    if account != observed.sync.organization.management_account {
        return None;
    }
    let mut profiles = desired.profiles.iter().zip(&observed.sync.profiles);
    let (profile, management, stack) = profiles.find_map(|(profile, state)| {
        Some((
            profile,
            profile.management.as_ref()?,
            state.management.as_ref()?,
        ))
    })?;
    let update = |name: &str, value: &str| update_stack(profile, management, stack, (name, value));
    match (&drift.fix, drift.kind) {
        (Fix::ReDeploy, _) => Some(format!(
            "needs a person, in the management account: {}",
            update(REPAIR_NONCE_PARAMETER, new_nonce(stack))
        )),
        (Fix::Enroll, DriftKind::RoleMissing) => Some(format!(
            "needs a person (its stack goes, and another one is made), in the management account: aws cloudformation \
             delete-stack --region {} --stack-name {}; then `runner exec {}` makes it anew",
            profile.region,
            profile.stack_set,
            stackset_sync::KIND,
        )),
        // The role is as the stack means it, and the stack was given another external ID than Spot uses.
        (Fix::Enroll, DriftKind::TrustDiffers) => Some(format!(
            "needs a person, in the management account: {}",
            update(EXTERNAL_ID_PARAMETER, "<the external ID that Spot uses>")
        )),
        (Fix::Enroll, _) => Some(format!(
            "needs a person: let Spot use the role {} of stack {} again, in Spot",
            management.enrollment.role_name, profile.stack_set
        )),
        (Fix::Remove(_) | Fix::NeedsPerson(_) | Fix::None, _) => None,
    }
}

/// A repair nonce that the stack does not have, so that CloudFormation writes trust policy and managed policies again.
fn new_nonce(stack: &PlainStack) -> &'static str {
    let known = stack.parameters.get(REPAIR_NONCE_PARAMETER);
    match known.map(String::as_str) {
        Some("1") => "2",
        _ => "1",
    }
}

/// Gives the stack another value of one parameter, and leaves the others as they are.
fn update_stack(
    profile: &Profile,
    management: &ManagementStack,
    stack: &PlainStack,
    (name, value): (&str, &str),
) -> String {
    let others = stack.parameters.keys().filter(|other| *other != name);
    let kept: String = others
        .map(|name| format!(" ParameterKey={name},UsePreviousValue=true"))
        .collect();
    let capabilities = management.definition.capabilities.iter();
    let capabilities: Vec<&str> = capabilities.map(String::as_str).collect();
    format!(
        "aws cloudformation update-stack --region {} --stack-name {} --use-previous-template --capabilities {} --parameters \
         ParameterKey={name},ParameterValue={value}{kept}",
        profile.region,
        profile.stack_set,
        capabilities.join(" "),
    )
}
