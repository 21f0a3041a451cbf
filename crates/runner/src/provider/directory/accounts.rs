//! What only an account itself knows, read through the audit role: its alias, the external ID that a role trusts, the status
//! of a stack. Without a role that may read it, nothing is known, and the provider does without.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_ops::AccessError;
use onboarding_core::ids::{AwsAccountId, ExternalId, RoleArn, StackId};
use parking_lot::Mutex;

use crate::home::Home;

/// For how long an alias is not read again.
const LONGEST_AGE: Duration = Duration::from_secs(300);

/// So many aliases are remembered at most; then all of them are forgotten.
const MOST: usize = 10_000;

/// Reads accounts; see the module documentation.
pub(super) struct Accounts {
    home: Home,
    aliases: Aliases,
}

impl Accounts {
    pub(super) fn new(home: &Home) -> Self {
        Self {
            home: home.clone(),
            aliases: Aliases::default(),
        }
    }

    /// The account's alias, when it has one and it can be read.
    pub(super) async fn alias(&self, account: AwsAccountId) -> Option<String> {
        let access = self.home.access.as_ref()?;
        let read = async || match access.alias(account).await {
            Ok(alias) => Read::Known(alias),
            Err(error) => unread(account, "its alias", &error),
        };
        self.aliases.get(account, read).await
    }

    /// The status of a stack as it is now, when it can be read: where the audit role is not, through the remediation role, which may
    /// look at stacks that were left. One that is not there any more was deleted.
    pub(super) async fn stack_status(&self, stack: &StackId) -> Option<String> {
        let account = stack.account()?;
        let audited = match &self.home.access {
            Some(access) => Some(access.stack(stack).await),
            None => None,
        };
        let remediation = self.home.remediation.as_ref();
        let remediation = remediation.filter(|role| role.deletes_leftover_stacks);
        let is_unread = audited
            .as_ref()
            .is_none_or(|read| read.as_ref().is_err_and(AccessError::is_denial));
        let read = match remediation {
            Some(remediation) if is_unread => Some(remediation.role.stack(stack).await),
            _ => audited,
        };
        match read? {
            Ok(Some(found)) => Some(found.status),
            Ok(None) => Some("DELETE_COMPLETE".to_owned()),
            Err(error) => {
                unread(account, "the status of a stack", &error);
                None
            }
        }
    }

    /// The external ID that the linked role trusts Spot with.
    pub(super) async fn external_id_in_use(
        &self,
        account: AwsAccountId,
        role: &RoleArn,
    ) -> Result<Option<ExternalId>, String> {
        let (Some(access), Some(principal)) =
            (&self.home.access, self.home.config.runner.spot_principal())
        else {
            return Ok(None);
        };
        match access.external_id_in_use(role, principal.as_str()).await {
            Ok(id) => Ok(id),
            // A guess could end a link that works; a denial stays, and then nobody can tell.
            Err(error) if error.is_denial() => {
                unread(account, "the role of its link", &error);
                Ok(None)
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Something that was not read: a denial stays for a while, anything else may pass.
fn unread(account: AwsAccountId, what: &str, error: &AccessError) -> Read {
    tracing::warn!(cloud.account.id = %account, reason = %error, "{what} is not known");
    match error.is_denial() {
        true => Read::Known(None),
        false => Read::Failed,
    }
}

/// What reading an alias came to.
enum Read {
    /// What it is, or that nobody can tell: for a while not asked again.
    Known(Option<String>),
    /// It failed.
    Failed,
}

/// Aliases that were read, and when. An account's entry is held while it is read, so that others wait for it.
#[derive(Default)]
struct Aliases(Mutex<HashMap<AwsAccountId, Arc<Entry>>>);

/// An alias that was read, and when.
type Entry = tokio::sync::Mutex<Option<(Instant, Option<String>)>>;

impl Aliases {
    async fn get(&self, account: AwsAccountId, read: impl AsyncFnOnce() -> Read) -> Option<String> {
        let entry = {
            let mut entries = self.0.lock();
            if entries.len() >= MOST {
                entries.clear();
            }
            Arc::clone(entries.entry(account).or_default())
        };
        let mut entry = entry.lock().await;
        if let Some((at, known)) = &*entry
            && at.elapsed() < LONGEST_AGE
        {
            return known.clone();
        }
        let Read::Known(found) = read().await else {
            return None;
        };
        *entry = Some((Instant::now(), found.clone()));
        found
    }
}
