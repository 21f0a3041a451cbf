//! Trusted access between StackSets and Organizations.

use super::errors;
use super::input::{Owner, STACK_SETS_PRINCIPAL, call_as};
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

fn management_only(world: &World, call: &Call) -> Result<(), AwsError> {
    if call.caller.account == world.organization.management {
        Ok(())
    } else {
        Err(errors::invalid_operation(
            "This operation can only be called from the organization's management account",
        ))
    }
}

/// ActivateOrganizationsAccess.
pub(super) fn activate(world: &mut World, call: &Call) -> Result<QueryReply, AwsError> {
    management_only(world, call)?;
    let now = world.now();
    world.organization.set_stack_sets_access(true, now);
    Ok(Xml::new().into())
}

/// DeactivateOrganizationsAccess: existing instances stay, new operations are refused.
pub(super) fn deactivate(world: &mut World, call: &Call) -> Result<QueryReply, AwsError> {
    management_only(world, call)?;
    if world
        .organization
        .delegated
        .values()
        .any(|services| services.contains_key(STACK_SETS_PRINCIPAL))
    {
        return Err(errors::invalid_operation(
            "Deregister all delegated administrators before deactivating organizations access",
        ));
    }
    let now = world.now();
    world.organization.set_stack_sets_access(false, now);
    Ok(Xml::new().into())
}

/// DescribeOrganizationsAccess.
pub(super) fn describe(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    if call_as(world, &call.caller, request)? == Owner::Own {
        management_only(world, call)?;
    }
    let enabled = world.organization.stack_sets_access();
    let mut xml = Xml::new();
    xml.text("Status", if enabled { "ENABLED" } else { "DISABLED" });
    Ok(xml.into())
}
