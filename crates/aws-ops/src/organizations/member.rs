//! One account by its id, for callers that need no snapshot: the newest accounts are the ones that are asked for.

use onboarding_core::{
    ids::{AwsAccountId, OuId},
    inventory::AccountState,
};

use super::accounts::state;
use crate::{Aws, AwsError, ErrorClass};

/// An account of the organization and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The account.
    pub id: AwsAccountId,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: AccountState,
    /// Its parents, from the one that it is in up to the root.
    pub lineage: Vec<OuId>,
}

/// OUs nest five levels deep below the root (AWS Organizations quotas).
const DEEPEST: usize = 8;

impl Aws {
    /// An account of the organization; none when it is not in it.
    ///
    /// # Errors
    /// As any call.
    pub async fn member(&self, id: AwsAccountId) -> Result<Option<Member>, AwsError> {
        const OPERATION: &str = "organizations:DescribeAccount";
        let output = match self
            .governed
            .call(OPERATION, || {
                self.clients
                    .organizations()
                    .describe_account()
                    .account_id(id.to_string())
                    .send()
            })
            .await
        {
            Err(error) if error.class() == ErrorClass::NotFound => return Ok(None),
            other => other?,
        };
        let account = output
            .account
            .ok_or_else(|| AwsError::malformed(OPERATION, "no account"))?;
        let lineage = match account.paths().first() {
            Some(path) => lineage_of(path),
            None => self.lineage(id).await?,
        };
        Ok(Some(Member {
            id,
            state: state(
                account.state().map(|state| state.as_str()),
                account.status().map(|status| status.as_str()),
            ),
            name: account.name.unwrap_or_default(),
            lineage,
        }))
    }

    /// The parents of an account, from the one that it is in up to the root.
    async fn lineage(&self, id: AwsAccountId) -> Result<Vec<OuId>, AwsError> {
        const OPERATION: &str = "organizations:ListParents";
        let mut lineage: Vec<OuId> = Vec::new();
        let mut child = id.to_string();
        while lineage.len() < DEEPEST && lineage.last().is_none_or(|unit| !unit.is_root()) {
            let mut parent: Option<OuId> = None;
            self.governed
                .pages(
                    OPERATION,
                    |token| {
                        self.clients
                            .organizations()
                            .list_parents()
                            .child_id(&child)
                            .set_next_token(token)
                            .send()
                    },
                    |output| {
                        let Some(first) = output.parents().first() else {
                            return Ok(output.next_token);
                        };
                        parent = first.id().and_then(|id| id.parse().ok());
                        Ok(None)
                    },
                )
                .await?;
            let parent =
                parent.ok_or_else(|| AwsError::malformed(OPERATION, "no parent of a child"))?;
            child = parent.to_string();
            lineage.push(parent);
        }
        Ok(lineage)
    }
}

/// The parents in a path such as `o-x/r-y/ou-z/123456789012/`, from the innermost to the root.
fn lineage_of(path: &str) -> Vec<OuId> {
    path.split('/')
        .rev()
        .filter_map(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_from_the_inside_out() {
        let lineage =
            lineage_of("o-abcdefghij/r-root/ou-root-11111111/ou-root-22222222/123456789012/");
        let texts: Vec<&str> = lineage.iter().map(OuId::as_str).collect();
        assert_eq!(texts, ["ou-root-22222222", "ou-root-11111111", "r-root"]);
    }
}
