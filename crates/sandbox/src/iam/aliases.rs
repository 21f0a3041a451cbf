//! Account aliases: none or one per account.

use super::authorize::authorize;
use super::no_such_entity;
use crate::caller::Caller;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

/// CreateAccountAlias: replaces an alias that is there.
pub(super) fn create(
    world: &mut World,
    caller: &Caller,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let alias = request.require("AccountAlias")?;
    authorize(world, caller, "iam:CreateAccountAlias", "*")?;
    let fits = (3..=63).contains(&alias.len())
        && alias
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !alias.starts_with('-')
        && !alias.ends_with('-');
    if !fits {
        return Err(AwsError::validation(format!(
            "1 validation error detected: Value '{alias}' at 'accountAlias' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[a-z0-9]([a-z0-9]|-(?!-)){{1,61}}[a-z0-9]$"
        )));
    }
    world.iam.account_mut(caller.account).alias = Some(alias.into());
    Ok(QueryReply::NoResult)
}

/// DeleteAccountAlias.
pub(super) fn delete(
    world: &mut World,
    caller: &Caller,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let alias = request.require("AccountAlias")?;
    authorize(world, caller, "iam:DeleteAccountAlias", "*")?;
    let current = &mut world.iam.account_mut(caller.account).alias;
    if current.as_deref() != Some(alias) {
        return Err(no_such_entity(format!(
            "The account alias {alias} does not exist."
        )));
    }
    *current = None;
    Ok(QueryReply::NoResult)
}

/// ListAccountAliases.
pub(super) fn list(world: &mut World, caller: &Caller) -> Result<QueryReply, AwsError> {
    authorize(world, caller, "iam:ListAccountAliases", "*")?;
    let mut xml = Xml::new();
    xml.text("IsTruncated", false).strings(
        "AccountAliases",
        &world.iam.account_mut(caller.account).alias,
    );
    Ok(xml.into())
}
