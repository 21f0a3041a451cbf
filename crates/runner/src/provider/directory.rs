//! The provider's account directory: AWS Organizations and the profiles. An account that no profile targets is not
//! served, whoever asks for it.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use onboarding_core::{
    custom_resource::{Naming, NamingError},
    desired::{AdoptRule, Targets},
    ids::{AwsAccountId, OuId},
    inventory::{AccountState, OrganizationSnapshot},
    stackset_sync::targets,
};
use onboarding_provider::{AccountDetails, AccountDirectory, DirectoryError};
use parking_lot::RwLock;

use crate::{
    config::{ProfileConfig, RenameRule},
    engine::{ErrorClass, JobError},
    home::Home,
};

/// The rules of one profile.
struct Rules {
    targets: Targets,
    adopt: AdoptRule,
    naming: Naming,
}

/// Knows the accounts of the organization and their profiles.
pub(super) struct Directory {
    home: Home,
    rules: Vec<Rules>,
    organization: Option<Arc<OrganizationSnapshot>>,
    /// Names of organizational units by id, for targets that are paths of names.
    unit_names: RwLock<BTreeMap<OuId, Box<str>>>,
}

/// Why an account could not be looked up.
type Reason = String;

impl Directory {
    pub(super) async fn new(
        home: Home,
        organization: Option<Arc<OrganizationSnapshot>>,
    ) -> Result<Self, JobError> {
        let rules = home
            .config
            .runner
            .profiles
            .iter()
            .map(rules)
            .collect::<Result<_, _>>()?;
        let unit_names = match &organization {
            Some(snapshot) => snapshot.unit_names(),
            None => home.state.organization_cache().await?.unit_names,
        };
        Ok(Self {
            home,
            rules,
            organization,
            unit_names: RwLock::new(unit_names),
        })
    }

    async fn look_up(&self, account: AwsAccountId) -> Result<Option<AccountDetails>, Reason> {
        let (name, state, lineage) = match self.in_snapshot(account) {
            Some(known) => known,
            // Accounts that joined after the snapshot are the ones that are enrolled by themselves.
            None => match self
                .home
                .aws
                .member(account)
                .await
                .map_err(|error| error.to_string())?
            {
                Some(member) => (member.name, member.state, member.lineage),
                None => return Ok(None),
            },
        };
        if state != AccountState::Active {
            return Ok(None);
        }
        let mut rules = self.rules_of(account, &lineage);
        if rules.is_none() {
            self.read_unit_names().await?;
            rules = self.rules_of(account, &lineage);
        }
        let Some(rules) = rules else {
            return Err("the name of one of its organizational units is not known".to_owned());
        };
        Ok(rules.map(|rules| AccountDetails {
            name: Some(name),
            adopt: rules.adopt,
            naming: rules.naming.clone(),
        }))
    }

    fn in_snapshot(&self, id: AwsAccountId) -> Option<(String, AccountState, Vec<OuId>)> {
        let organization = self.organization.as_ref()?;
        let account = organization.account(id)?;
        let lineage = organization
            .lineage(account.parent)
            .map(|(_, unit)| unit.id.clone())
            .collect();
        Some((account.name.to_string(), account.state, lineage))
    }

    /// The rules of the profile that targets an account; `Some(None)` when none does, none when a name is missing.
    fn rules_of(&self, account: AwsAccountId, lineage: &[OuId]) -> Option<Option<&Rules>> {
        let names = self.unit_names.read();
        let named: Vec<(OuId, Option<&str>)> = lineage
            .iter()
            .map(|unit| (unit.clone(), names.get(unit).map(|name| &**name)))
            .collect();
        for rules in &self.rules {
            if targets::selects(&rules.targets, account, &named)? {
                return Some(Some(rules));
            }
        }
        Some(None)
    }

    /// Reads the organization for the names of new units.
    async fn read_unit_names(&self) -> Result<(), Reason> {
        let listing = self
            .home
            .aws
            .organization_snapshot(&aws_ops::SnapshotOptions::default())
            .await
            .map_err(|error| error.to_string())?;
        *self.unit_names.write() = listing.snapshot.unit_names();
        Ok(())
    }
}

#[async_trait]
impl AccountDirectory for Directory {
    async fn account(
        &self,
        account: AwsAccountId,
    ) -> Result<Option<AccountDetails>, DirectoryError> {
        self.look_up(account)
            .await
            .map_err(|reason| DirectoryError { account, reason })
    }
}

fn rules(profile: &ProfileConfig) -> Result<Rules, JobError> {
    let naming = match &profile.naming.rename.0 {
        // Where the account is not to be renamed, the template has no resource that would ask for the rule.
        RenameRule::AccountName | RenameRule::Off => Naming::default(),
        rule @ (RenameRule::Alias | RenameRule::Template(_)) => {
            let text = rule.to_string();
            text.parse().map_err(|error: NamingError| {
                JobError::new(ErrorClass::Invalid, error.to_string())
            })?
        }
    };
    Ok(Rules {
        targets: profile.targets.resolved(),
        adopt: profile.adopt.into(),
        naming,
    })
}
