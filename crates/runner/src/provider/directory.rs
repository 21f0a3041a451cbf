//! The provider's account directory: AWS Organizations and the profiles. An account that no profile targets is not
//! served, whoever asks for it.
//!
//! What only the account itself knows is read through the audit role (`accounts`).

mod accounts;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use onboarding_core::{
    custom_resource::{Naming, NamingError},
    desired::{AccessGrant, AdoptRule, Targets},
    ids::{AwsAccountId, ExternalId, OuId, RoleArn, StackId},
    inventory::{AccountState, Tags},
    stackset_sync::targets::{self, Missing},
};
use onboarding_provider::{AccountDetails, AccountDirectory, DirectoryError};
use parking_lot::{Mutex, RwLock};

use self::accounts::Accounts;
use crate::{
    config::{ProfileConfig, RenameRule},
    engine::{ErrorClass, JobError},
    home::Home,
    provider::KnownOrganization,
};

/// For how long an account that may be served is not asked about again: one enrollment makes several requests.
const LONGEST_AGE: Duration = Duration::from_secs(300);

/// How long the names of organizational units are not read again, found or not: reading them is many calls.
const UNIT_NAMES_PAUSE: Duration = Duration::from_secs(60);

/// The rules of one profile.
struct Rules {
    targets: Targets,
    adopt: AdoptRule,
    naming: Naming,
    access: BTreeSet<AccessGrant>,
}

/// Knows the accounts of the organization and their profiles.
pub(super) struct Directory {
    home: Home,
    rules: Vec<Rules>,
    known: Option<KnownOrganization>,
    /// Names of organizational units by id, for targets that are paths of names.
    unit_names: RwLock<BTreeMap<OuId, Box<str>>>,
    /// When the names were last read here, or failed to be. Held while they are read.
    unit_names_read: tokio::sync::Mutex<Option<Instant>>,
    /// Accounts that may be served. One that may not is asked about every time: it may have just moved.
    served: Mutex<HashMap<AwsAccountId, Arc<Slot>>>,
    accounts: Accounts,
}

/// What was found about one account, and when. Held while AWS is asked, so that others wait for the answer.
type Slot = tokio::sync::Mutex<Option<(Instant, AccountDetails)>>;

/// An account as AWS Organizations or its snapshot has it.
struct Found {
    name: String,
    state: AccountState,
    /// From the unit that it is in up to the root.
    lineage: Vec<OuId>,
    /// As the run read them beside which this serves; none when nobody did.
    tags: Option<Tags>,
}

/// Why an account could not be looked up.
type Reason = String;

impl Directory {
    pub(super) async fn new(
        home: Home,
        known: Option<KnownOrganization>,
    ) -> Result<Self, JobError> {
        let rules = home
            .config
            .runner
            .profiles
            .iter()
            .map(rules)
            .collect::<Result<_, _>>()?;
        let unit_names = match &known {
            Some(known) => known.organization.unit_names(),
            None => home.state.organization_cache().await?.unit_names,
        };
        Ok(Self {
            accounts: Accounts::new(&home),
            home,
            rules,
            known,
            unit_names: RwLock::new(unit_names),
            unit_names_read: tokio::sync::Mutex::default(),
            served: Mutex::default(),
        })
    }

    async fn look_up(&self, account: AwsAccountId) -> Result<Option<AccountDetails>, Reason> {
        // A yes of the snapshot is enough; a no may be of an account that has joined, moved or become active since.
        if let Some(found) = self.in_snapshot(account)
            && let Ok(Some(details)) = self.details(account, found).await
        {
            return Ok(Some(details));
        }
        let slot = Arc::clone(self.served.lock().entry(account).or_default());
        let mut known = slot.lock().await;
        if let Some((at, details)) = &*known
            && at.elapsed() < LONGEST_AGE
        {
            return Ok(Some(details.clone()));
        }
        *known = None;
        let member = self.home.aws.member(account).await;
        let Some(member) = member.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let found = Found {
            name: member.name,
            state: member.state,
            lineage: member.lineage,
            tags: None,
        };
        let details = self.details(account, found).await?;
        *known = details.clone().map(|details| (Instant::now(), details));
        Ok(details)
    }

    /// What an account may have; none when it is not active or no profile targets it.
    async fn details(
        &self,
        account: AwsAccountId,
        mut found: Found,
    ) -> Result<Option<AccountDetails>, Reason> {
        match found.state {
            AccountState::Active => {}
            AccountState::PendingActivation => {
                return Err("it is not active yet".to_owned());
            }
            _ => return Ok(None),
        }
        let mut rules = self.rules_of(account, &found);
        if matches!(rules, Err(Missing::UnitName)) {
            self.read_unit_names().await?;
            rules = self.rules_of(account, &found);
        }
        if matches!(rules, Err(Missing::Tags)) {
            found.tags = self.read_tags(account).await?;
            if found.tags.is_none() {
                return Ok(None);
            }
            rules = self.rules_of(account, &found);
        }
        let rules =
            rules.map_err(|_| "the name of one of its organizational units is not known")?;
        let Some(rules) = rules else { return Ok(None) };
        let alias = match rules.naming.needs_alias() {
            true => self.accounts.alias(account).await,
            false => None,
        };
        Ok(Some(AccountDetails {
            name: Some(found.name),
            alias,
            adopt: rules.adopt,
            naming: rules.naming.clone(),
            access: rules.access.clone(),
        }))
    }

    fn in_snapshot(&self, id: AwsAccountId) -> Option<Found> {
        let KnownOrganization { organization, tags } = self.known.as_ref()?;
        let account = organization.account(id)?;
        let lineage = organization
            .lineage(account.parent)
            .map(|(_, unit)| unit.id.clone())
            .collect();
        Some(Found {
            name: account.name.to_string(),
            state: account.state,
            lineage,
            // Without any it is not selected here, and then asked about anew like everybody else.
            tags: Some(tags.get(&id).cloned().unwrap_or_default()),
        })
    }

    /// The rules of the profile that targets an account, if one does; or what must be known to say so.
    fn rules_of(&self, account: AwsAccountId, found: &Found) -> Result<Option<&Rules>, Missing> {
        let names = self.unit_names.read();
        let named: Vec<(OuId, Option<&str>)> = found
            .lineage
            .iter()
            .map(|unit| (unit.clone(), names.get(unit).map(|name| &**name)))
            .collect();
        let mut missing = None;
        for rules in &self.rules {
            match targets::selects(&rules.targets, account, &named, found.tags.as_ref()) {
                Ok(true) => return Ok(Some(rules)),
                Ok(false) => {}
                // Names first: they may show that no tag matters.
                Err(what) if missing != Some(Missing::UnitName) => missing = Some(what),
                Err(_) => {}
            }
        }
        missing.map_or(Ok(None), Err)
    }

    /// The tags of an account as they are now; none when it left the organization.
    async fn read_tags(&self, account: AwsAccountId) -> Result<Option<Tags>, Reason> {
        let tags = self.home.aws.resource_tags(&account.to_string()).await;
        tags.map_err(|error| format!("its tags cannot be read: {error}"))
    }

    /// Reads the organization for the names of new units, unless that was done or tried a moment ago.
    async fn read_unit_names(&self) -> Result<(), Reason> {
        let mut last = self.unit_names_read.lock().await;
        if last.is_some_and(|last| last.elapsed() < UNIT_NAMES_PAUSE) {
            return Ok(());
        }
        let listing = self
            .home
            .aws
            .organization_snapshot(&aws_ops::SnapshotOptions::default())
            .await;
        *last = Some(Instant::now());
        let listing = listing.map_err(|error| error.to_string())?;
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

    fn reads_roles(&self) -> bool {
        self.home.access.is_some()
    }

    async fn external_id_in_use(
        &self,
        account: AwsAccountId,
        role: &RoleArn,
    ) -> Result<Option<ExternalId>, DirectoryError> {
        self.accounts
            .external_id_in_use(account, role)
            .await
            .map_err(|reason| DirectoryError { account, reason })
    }

    async fn stack_status(&self, stack: &StackId) -> Option<String> {
        self.accounts.stack_status(stack).await
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
        access: profile.access_grants(),
    })
}
