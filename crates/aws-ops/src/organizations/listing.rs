//! The snapshot of the organization: two ways to read it behind one function.
//!
//! Guarantees: whole or an error, never a partial organization; at most ten calls beyond the pages that the chosen
//! strategy needs. Not guaranteed: an account that moves while the tree is walked may be missed by a walk (AWS offers no
//! snapshot); it is there in the next one, and removals are guarded against listings that shrank.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, future::OptionFuture, stream};
use onboarding_core::{
    governor::aws::{ListingShape, SnapshotStrategy},
    ids::OuId,
    inventory::OrganizationSnapshot,
};

use super::{
    OrganizationDescription,
    accounts::{AccountsPage, LIST_ACCOUNTS, compact},
    tree::Tree,
    walk::{NamedUnit, UNITS_FOR_PARENT},
};
use crate::{Aws, AwsError, pages::Pages};

/// Which strategy to read with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StrategyChoice {
    /// The one that the governor expects to be faster.
    #[default]
    Auto,
    /// This one. ListAccounts still falls back to the walk when AWS sends no `Paths`.
    Fixed(SnapshotStrategy),
}

/// What is known before reading, and how to read.
#[derive(Debug, Clone, Default)]
pub struct SnapshotOptions {
    /// How to read.
    pub strategy: StrategyChoice,
    /// Names of units from the last run ([`OrganizationSnapshot::unit_names`]). Empty: they are read, together with units
    /// that have no accounts. Otherwise only units that have accounts, and unknown ones' names are read.
    pub known_names: BTreeMap<OuId, Box<str>>,
    /// Units that the caller's targets name. One that no account is in makes ListAccounts read all units.
    pub needed_units: BTreeSet<OuId>,
    /// The shape that the organization had last time.
    pub shape: Option<ListingShape>,
}

/// An organization that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The organization.
    pub snapshot: OrganizationSnapshot,
    /// How it was read.
    pub strategy: SnapshotStrategy,
    /// Its shape, for the next time and for what the reading should have cost.
    pub shape: ListingShape,
}

/// What reading by ListAccounts came to.
enum ByPaths {
    Tree(Box<Tree>),
    /// AWS sent an account without `Paths`.
    NoPaths,
}

impl Aws {
    /// Reads the whole organization: its units and accounts.
    ///
    /// # Errors
    /// As any call; [`crate::ErrorClass::Conflict`] when what was read contradicts itself.
    pub async fn organization_snapshot(
        &self,
        options: &SnapshotOptions,
    ) -> Result<Listing, AwsError> {
        let (organization, tree, strategy) = match self.choose(options) {
            SnapshotStrategy::Walk => {
                let (organization, tree) =
                    tokio::try_join!(self.describe_organization(), self.walk_all())?;
                (organization, tree, SnapshotStrategy::Walk)
            }
            SnapshotStrategy::ListAccounts => self.read_after_first_page(options).await?,
        };
        let operation = match strategy {
            SnapshotStrategy::ListAccounts => LIST_ACCOUNTS,
            SnapshotStrategy::Walk => UNITS_FOR_PARENT,
        };
        let snapshot = tree.finish(operation, &organization)?;
        Ok(Listing {
            shape: ListingShape::of(&snapshot),
            snapshot,
            strategy,
        })
    }

    fn choose(&self, options: &SnapshotOptions) -> SnapshotStrategy {
        match options.strategy {
            StrategyChoice::Fixed(strategy) => strategy,
            StrategyChoice::Auto => {
                // What is right for a large organization costs a small one little.
                let shape = options
                    .shape
                    .unwrap_or_else(|| ListingShape::even(10_000, 400));
                self.estimate(&shape, !options.known_names.is_empty())
                    .better()
            }
        }
    }

    /// The first page of ListAccounts tells whether AWS sends `Paths`; it costs one call when it does not. The root is
    /// read beside it when both strategies need it: without known names.
    async fn read_after_first_page(
        &self,
        options: &SnapshotOptions,
    ) -> Result<(OrganizationDescription, Tree, SnapshotStrategy), AwsError> {
        let root = OptionFuture::from(options.known_names.is_empty().then(|| self.root()));
        let (organization, first, root) = tokio::try_join!(
            self.describe_organization(),
            self.accounts_page(None),
            async { root.await.transpose() }
        )?;
        let paths = first
            .accounts
            .iter()
            .all(|account| !account.paths().is_empty());
        if paths
            && let ByPaths::Tree(tree) = self.read_by_paths(options, first, root.clone()).await?
        {
            return Ok((organization, *tree, SnapshotStrategy::ListAccounts));
        }
        let tree = match root {
            Some(root) => self.walk(root, true).await?,
            None => self.walk_all().await?,
        };
        Ok((organization, tree, SnapshotStrategy::Walk))
    }

    async fn walk_all(&self) -> Result<Tree, AwsError> {
        let root = self.root().await?;
        self.walk(root, true).await
    }

    async fn read_by_paths(
        &self,
        options: &SnapshotOptions,
        first: AccountsPage,
        root: Option<NamedUnit>,
    ) -> Result<ByPaths, AwsError> {
        let units = OptionFuture::from(root.map(|root| self.walk(root, false)));
        let (tree, units) = tokio::try_join!(self.chain(first), async { units.await.transpose() })?;
        let ByPaths::Tree(mut tree) = tree else {
            return Ok(ByPaths::NoPaths);
        };
        let walked = units.is_some();
        if let Some(units) = units {
            tree.merge(UNITS_FOR_PARENT, units)?;
        }
        tree.name_from(&options.known_names);
        if !walked && options.needed_units.iter().any(|unit| !tree.contains(unit)) {
            tree.merge(UNITS_FOR_PARENT, self.walk_units().await?)?;
        }
        self.name_nameless(&mut tree).await?;
        Ok(ByPaths::Tree(tree))
    }

    async fn walk_units(&self) -> Result<Tree, AwsError> {
        let root = self.root().await?;
        self.walk(root, false).await
    }

    /// Follows the chain of ListAccounts pages to its end.
    async fn chain(&self, first: AccountsPage) -> Result<ByPaths, AwsError> {
        let mut tree = Box::<Tree>::default();
        let mut pages = Pages::of(LIST_ACCOUNTS);
        let mut page = first;
        loop {
            for account in page.accounts {
                let Some(path) = account.paths().first() else {
                    return Ok(ByPaths::NoPaths);
                };
                let parent = tree.add_path(LIST_ACCOUNTS, path)?;
                tree.accounts.push(compact(LIST_ACCOUNTS, account, parent)?);
            }
            let Some(token) = pages.next(page.next)? else {
                return Ok(ByPaths::Tree(tree));
            };
            page = self.accounts_page(Some(token)).await?;
        }
    }

    /// Reads the names of units that were not known: new ones, made since the names were cached or while we read.
    async fn name_nameless(&self, tree: &mut Tree) -> Result<(), AwsError> {
        let parents: Vec<_> = tree
            .parents_of_nameless()
            .into_iter()
            .map(|index| (index, tree.id(index).clone()))
            .collect();
        let concurrency = self.concurrency(UNITS_FOR_PARENT);
        let found: Vec<_> = stream::iter(parents)
            .map(|(index, id)| async move { Ok::<_, AwsError>((index, self.units_of(&id).await?)) })
            .buffer_unordered(concurrency)
            .try_collect()
            .await?;
        for (parent, units) in found {
            for (id, name) in units {
                let index = tree.add(UNITS_FOR_PARENT, &id, Some(parent))?;
                tree.name(index, name);
            }
        }
        Ok(())
    }
}
