//! Which accounts an operation is about: the algebra of organizational units, accounts and the account filter.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::AccountId;
use crate::organizations::{Organization, OuIndex};

/// `AccountFilterType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    None,
    Intersection,
    Difference,
    Union,
}

impl Filter {
    /// As the API writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Intersection => "INTERSECTION",
            Self::Difference => "DIFFERENCE",
            Self::Union => "UNION",
        }
    }

    /// As the API reads it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        [
            Self::None,
            Self::Intersection,
            Self::Difference,
            Self::Union,
        ]
        .into_iter()
        .find(|filter| filter.as_str() == text)
    }
}

/// Targets of an operation, as sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Targets {
    /// `OrganizationalUnitIds` (units and the root), or none for self-managed permissions.
    pub(crate) units: Vec<OuIndex>,
    /// `Accounts`.
    pub(crate) accounts: Vec<AccountId>,
    /// `AccountFilterType`.
    pub(crate) filter: Option<Filter>,
}

impl Targets {
    /// The targeted accounts, each with the unit through which it is targeted. The management account
    /// is never among a unit's accounts (CloudFormation user guide, "Service-managed permissions").
    pub(crate) fn resolve(
        &self,
        organization: &Organization,
    ) -> BTreeMap<AccountId, Option<OuIndex>> {
        if self.units.is_empty() {
            return self
                .accounts
                .iter()
                .map(|account| (*account, None))
                .collect();
        }
        let filter = self.filter.unwrap_or(if self.accounts.is_empty() {
            Filter::None
        } else {
            Filter::Union
        });
        let listed: BTreeSet<AccountId> = self.accounts.iter().copied().collect();
        let mut resolved = BTreeMap::new();
        for unit in &self.units {
            for account in organization.accounts_under(*unit) {
                let wanted = match filter {
                    Filter::None | Filter::Union => true,
                    Filter::Intersection => listed.contains(&account),
                    Filter::Difference => !listed.contains(&account),
                };
                if wanted && account != organization.management {
                    resolved.entry(account).or_insert(Some(*unit));
                }
            }
        }
        if filter == Filter::Union {
            for account in listed {
                if account != organization.management && organization.account(account).is_some() {
                    resolved.entry(account).or_insert(None);
                }
            }
        }
        resolved
    }
}
