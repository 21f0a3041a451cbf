//! Walking the tree: the units, and the accounts when asked, of every parent, as many at a time as rates and latency
//! make worth while.

use std::collections::VecDeque;

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use onboarding_core::{governor::aws::MAX_IN_FLIGHT, ids::OuId, inventory::Account};

use super::{
    accounts::ACCOUNTS_FOR_PARENT,
    tree::{Tree, inconsistent},
};
use crate::{Aws, AwsError};

const ROOTS: &str = "organizations:ListRoots";
pub(super) const UNITS_FOR_PARENT: &str = "organizations:ListOrganizationalUnitsForParent";

/// A unit as its parent's listing has it.
pub(super) type NamedUnit = (OuId, Box<str>);

enum Fetched {
    Units(u32, Vec<NamedUnit>),
    Accounts(Vec<Account>),
}

impl Aws {
    /// The root of the organization.
    pub(super) async fn root(&self) -> Result<NamedUnit, AwsError> {
        let mut roots = Vec::new();
        self.governed
            .pages(
                ROOTS,
                |token| {
                    self.clients
                        .organizations()
                        .list_roots()
                        .set_next_token(token)
                        .send()
                },
                |output| {
                    for root in output.roots.unwrap_or_default() {
                        roots.push(named(ROOTS, root.id, root.name)?);
                    }
                    Ok(output.next_token)
                },
            )
            .await?;
        match (roots.pop(), roots.is_empty()) {
            (Some(root), true) => Ok(root),
            _ => Err(AwsError::malformed(ROOTS, "no root or several")),
        }
    }

    /// The units directly under a parent.
    pub(super) async fn units_of(&self, parent: &OuId) -> Result<Vec<NamedUnit>, AwsError> {
        let mut units = Vec::new();
        self.governed
            .pages(
                UNITS_FOR_PARENT,
                |token| {
                    self.clients
                        .organizations()
                        .list_organizational_units_for_parent()
                        .parent_id(parent.as_str())
                        .max_results(20)
                        .set_next_token(token)
                        .send()
                },
                |output| {
                    for unit in output.organizational_units.unwrap_or_default() {
                        units.push(named(UNITS_FOR_PARENT, unit.id, unit.name)?);
                    }
                    Ok(output.next_token)
                },
            )
            .await?;
        Ok(units)
    }

    /// Walks from the root down.
    pub(super) async fn walk(
        &self,
        (root, name): NamedUnit,
        with_accounts: bool,
    ) -> Result<Tree, AwsError> {
        let mut tree = Tree::default();
        let index = tree.add(ROOTS, &root, None)?;
        tree.name(index, name);
        let mut units = VecDeque::from([index]);
        let mut accounts = VecDeque::new();
        if with_accounts {
            accounts.push_back(index);
        }
        let mut sent: FuturesUnordered<BoxFuture<'_, Result<Fetched, AwsError>>> =
            FuturesUnordered::new();
        let (mut units_sent, mut accounts_sent) = (0, 0);
        loop {
            // Units first: they are what unlocks more work. What waits for a token must not take the other's place.
            while sent.len() < MAX_IN_FLIGHT && units_sent < self.concurrency(UNITS_FOR_PARENT) {
                let Some(parent) = units.pop_front() else {
                    break;
                };
                let id = tree.id(parent).clone();
                units_sent += 1;
                sent.push(
                    async move { Ok(Fetched::Units(parent, self.units_of(&id).await?)) }.boxed(),
                );
            }
            while sent.len() < MAX_IN_FLIGHT
                && accounts_sent < self.concurrency(ACCOUNTS_FOR_PARENT)
            {
                let Some(parent) = accounts.pop_front() else {
                    break;
                };
                let id = tree.id(parent).clone();
                accounts_sent += 1;
                sent.push(
                    async move { Ok(Fetched::Accounts(self.accounts_of(&id, parent).await?)) }
                        .boxed(),
                );
            }
            match sent.next().await {
                None => return Ok(tree),
                Some(fetched) => match fetched? {
                    Fetched::Accounts(mut found) => {
                        accounts_sent -= 1;
                        tree.accounts.append(&mut found);
                    }
                    Fetched::Units(parent, found) => {
                        units_sent -= 1;
                        for (id, name) in found {
                            if tree.contains(&id) {
                                return Err(inconsistent(
                                    UNITS_FOR_PARENT,
                                    &format!("{id} was listed twice"),
                                ));
                            }
                            let index = tree.add(UNITS_FOR_PARENT, &id, Some(parent))?;
                            tree.name(index, name);
                            units.push_back(index);
                            if with_accounts {
                                accounts.push_back(index);
                            }
                        }
                    }
                },
            }
        }
    }
}

fn named(
    operation: &'static str,
    id: Option<String>,
    name: Option<String>,
) -> Result<NamedUnit, AwsError> {
    let id: OuId = id
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| AwsError::malformed(operation, "a unit without a valid id"))?;
    let name = name.map_or_else(|| id.as_str().into(), String::into_boxed_str);
    Ok((id, name))
}
