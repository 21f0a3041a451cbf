//! Whether targets select one account, for who needs no listing of the organization.

use crate::{
    desired::{OuRef, Targets},
    ids::{AwsAccountId, OuId},
    inventory::Tags,
};

/// What must be found out before it can be said whether an account is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The name of one of its organizational units: a path of names would decide.
    UnitName,
    /// Its tags, which are all that is still in the way.
    Tags,
}

/// Whether these targets select an account, given its parents from the one that it is in up to the root, each with its
/// name where that is known, and its tags where they are. For single accounts; [`super::resolve`] is for all of them.
///
/// # Errors
/// What is not known decides.
pub fn selects(
    targets: &Targets,
    account: AwsAccountId,
    lineage: &[(OuId, Option<&str>)],
    tags: Option<&Tags>,
) -> Result<bool, Missing> {
    if targets.exclude_accounts.contains(&account) {
        return Ok(false);
    }
    if targets.accounts.contains(&account) {
        return Ok(true);
    }
    let is_below = |named: &[OuRef]| is_below(named, lineage).ok_or(Missing::UnitName);
    if !is_below(&targets.ous)? || is_below(&targets.exclude_ous)? {
        return Ok(false);
    }
    if targets.tags.is_empty() {
        return Ok(true);
    }
    tags.map(|tags| targets.tags_match(tags))
        .ok_or(Missing::Tags)
}

/// Whether one of the parents is named.
fn is_below(named: &[OuRef], lineage: &[(OuId, Option<&str>)]) -> Option<bool> {
    let by_id = |reference: &OuRef| {
        lineage.iter().any(|(id, _)| match reference {
            OuRef::Root => id.is_root(),
            OuRef::Id(named) => named == id,
            OuRef::Path(_) => false,
        })
    };
    if named.iter().any(by_id) {
        return Some(true);
    }
    if !named
        .iter()
        .any(|reference| matches!(reference, OuRef::Path(_)))
    {
        return Some(false);
    }
    let mut path = String::new();
    for (id, name) in lineage.iter().rev() {
        if id.is_root() {
            continue;
        }
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str((*name)?);
        if named
            .iter()
            .any(|reference| matches!(reference, OuRef::Path(named) if *named == path))
        {
            return Some(true);
        }
    }
    Some(false)
}
