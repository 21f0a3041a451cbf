//! Which accounts are served: active members of the organization, of those that `PROVIDER_TARGETS` names.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use aws_ops::{AccessError, AccessRole, AccountAccess, AwsError};
use onboarding_core::{
    ids::{AwsAccountId, ExternalId, Region, RoleArn, StackId},
    inventory::AccountState,
};
use onboarding_provider::{AccountDetails, AccountDirectory, DirectoryError};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::{aws::LazyAws, config::Config};

/// For how long an account that is served is not asked about again: a stack makes its requests within minutes.
const LONGEST_AGE: Duration = Duration::from_secs(300);

/// AWS Organizations, asked about each account.
pub(crate) struct Directory {
    aws: Arc<LazyAws>,
    config: Arc<Config>,
    /// Accounts that are served. One that is not is asked about every time: it may have just joined or moved.
    served: Mutex<HashMap<AwsAccountId, (Instant, AccountDetails)>>,
    access: OnceCell<AccountAccess>,
}

impl Directory {
    pub(crate) fn new(aws: Arc<LazyAws>, config: Arc<Config>) -> Self {
        Self {
            aws,
            config,
            served: Mutex::default(),
            access: OnceCell::new(),
        }
    }

    fn known(&self, account: AwsAccountId) -> Option<AccountDetails> {
        let served = self.served.lock();
        let (at, details) = served.get(&account)?;
        (at.elapsed() < LONGEST_AGE).then(|| details.clone())
    }

    /// How accounts are read: through the audit role, when there is one.
    async fn access(&self) -> Option<&AccountAccess> {
        let role = self.config.audit_role.as_ref()?;
        let connect = async || {
            let aws = self.aws.get().await?;
            let region = aws.region().parse::<Region>();
            let role = AccessRole {
                // All accounts are of the function's own partition, whatever a request says.
                partition: region.map_or("aws", |region| region.partition()).to_owned(),
                path: role.path.clone(),
                name: role.name.clone(),
                session_name: "spot-onboarding".to_owned(),
            };
            Ok::<_, AwsError>(AccountAccess::new(aws, role))
        };
        match self.access.get_or_try_init(connect).await {
            Ok(access) => Some(access),
            Err(error) => {
                tracing::warn!(%error, "accounts cannot be read");
                None
            }
        }
    }

    async fn look_up(&self, account: AwsAccountId) -> Result<Option<AccountDetails>, String> {
        let aws = self.aws.get().await.map_err(|error| error.to_string())?;
        let member = aws.member(account).await;
        let Some(member) = member.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        match member.state {
            AccountState::Active => {}
            AccountState::PendingActivation => return Err("it is not active yet".to_owned()),
            _ => return Ok(None),
        }
        if !self.config.targets.include(account, &member.lineage) {
            return Ok(None);
        }
        let alias = self.alias(account).await;
        Ok(Some(AccountDetails {
            name: Some(member.name),
            alias,
            adopt: self.config.adopt,
            naming: self.config.naming.clone(),
            access: self.config.access.clone(),
        }))
    }

    /// The account's alias, where a name needs it, it has one, and it may be read.
    async fn alias(&self, account: AwsAccountId) -> Option<String> {
        if !self.config.naming.needs_alias() {
            return None;
        }
        let alias = self.access().await?.alias(account).await;
        let unknown = |error: &AccessError| {
            tracing::warn!(cloud.account.id = %account, reason = %error, "its alias is not known");
        };
        alias.inspect_err(unknown).ok().flatten()
    }
}

#[async_trait]
impl AccountDirectory for Directory {
    async fn account(
        &self,
        account: AwsAccountId,
    ) -> Result<Option<AccountDetails>, DirectoryError> {
        if let Some(details) = self.known(account) {
            return Ok(Some(details));
        }
        let found = self
            .look_up(account)
            .await
            .map_err(|reason| DirectoryError { account, reason })?;
        if let Some(details) = &found {
            let now = (Instant::now(), details.clone());
            self.served.lock().insert(account, now);
        }
        Ok(found)
    }

    fn reads_roles(&self) -> bool {
        self.config.audit_role.is_some()
    }

    async fn external_id_in_use(
        &self,
        account: AwsAccountId,
        role: &RoleArn,
    ) -> Result<Option<ExternalId>, DirectoryError> {
        let failed = |reason| DirectoryError { account, reason };
        let Some(access) = self.access().await else {
            return Ok(None);
        };
        let aws = self.aws.get().await;
        let aws = aws.map_err(|error| failed(error.to_string()))?;
        let Some(principal) = self.config.spot_principal_in(aws.region()) else {
            return Ok(None);
        };
        match access.external_id_in_use(role, principal.as_str()).await {
            // A guess could end a link that works; a denial stays, and then nobody can tell.
            Err(error) if error.is_denial() => {
                tracing::warn!(cloud.account.id = %account, reason = %error, "the role of its link is not known");
                Ok(None)
            }
            id => id.map_err(|error| failed(error.to_string())),
        }
    }

    async fn stack_status(&self, stack: &StackId) -> Option<String> {
        match self.access().await?.stack(stack).await {
            Ok(Some(found)) => Some(found.status),
            Ok(None) => Some("DELETE_COMPLETE".to_owned()),
            Err(error) => {
                tracing::warn!(%stack, %error, "the status of a stack cannot be read");
                None
            }
        }
    }
}
