//! Reading in member accounts, through a role that each of them has; and, through another one, taking stray policies away there, and
//! deleting stacks that were left.
//!
//! Sessions are kept until they are nearly over, a bounded number of them: several requests about one account assume the
//! role once. That a role cannot be assumed is an answer and no failure of ours, so it is told from a call that failed.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use onboarding_core::{
    custom_resource::external_id,
    ids::{AwsAccountId, ExternalId, RoleArn, StackId},
    inventory::{LiveRole, RolePolicies},
    trust::TrustPolicy,
};
use parking_lot::Mutex;

use crate::{AccountStack, Aws, AwsError, ErrorClass, identity::AssumeRole};

/// How long a session lasts: the shortest that STS gives (STS API reference, AssumeRole).
const SESSION: Duration = Duration::from_secs(900);

/// A session is not used any more when this little of it is left: longer than any call.
const REMAINDER: Duration = Duration::from_secs(120);

/// Sessions that are kept; each has HTTP clients of its own.
const MOST_SESSIONS: usize = 256;

/// The role that is assumed, the same in every account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRole {
    /// The partition of the accounts.
    pub partition: String,
    /// The role's path, which begins and ends with `/`.
    pub path: String,
    /// The role's name.
    pub name: String,
    /// The session's name, which CloudTrail shows in the account.
    pub session_name: String,
}

/// Why something could not be read, or done, in an account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// The role cannot be assumed: it is not there, does not trust us, or the account is suspended. AWS does not tell which.
    #[error(
        "{role} cannot be assumed; it is not in the account, does not let our identity in, or the account is suspended ({error})"
    )]
    NoRole {
        /// The role.
        role: RoleArn,
        /// AWS's words.
        error: Box<AwsError>,
    },
    /// A service control policy denies it.
    #[error("a service control policy denies it ({0})")]
    DeniedByScp(Box<AwsError>),
    /// The role lets us in, and may not do this.
    #[error("{role} may not do this ({error}); give it the permission")]
    Denied {
        /// The role.
        role: RoleArn,
        /// AWS's words.
        error: Box<AwsError>,
    },
    /// The call failed in another way.
    #[error(transparent)]
    Failed(Box<AwsError>),
}

impl AccessError {
    /// Whether it stays so until somebody changes something; otherwise another try may succeed.
    #[must_use]
    pub fn is_denial(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }

    fn of(role: &RoleArn, error: AwsError) -> Self {
        let (role, error) = (role.clone(), Box::new(error));
        match error.class() {
            ErrorClass::Denied if is_scp(&error) => Self::DeniedByScp(error),
            ErrorClass::Denied if error.operation == ASSUME => Self::NoRole { role, error },
            ErrorClass::Denied => Self::Denied { role, error },
            _ => Self::Failed(error),
        }
    }
}

const ASSUME: &str = "sts:AssumeRole";

fn is_scp(error: &AwsError) -> bool {
    error.message.contains("service control policy")
}

/// A session and when it is over.
type Slot = tokio::sync::Mutex<Option<(Instant, Aws)>>;

/// The places of the accounts' sessions, each with when it was asked for last.
type Sessions = HashMap<AwsAccountId, (Instant, Arc<Slot>)>;

/// Takes stray policies away in member accounts, and deletes stacks that were left there; it does nothing else. Clones share the
/// sessions.
#[derive(Debug, Clone)]
pub struct AccountRemediation(AccountAccess);

impl AccountRemediation {
    /// Works through this role. Asks AWS nothing.
    #[must_use]
    pub fn new(aws: &Aws, role: AccessRole) -> Self {
        Self(AccountAccess::new(aws, role))
    }

    /// Deletes an inline policy of a role of the account by name (not ARN), as [`Aws::delete_role_policy`].
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn delete_role_policy(
        &self,
        account: AwsAccountId,
        role: &str,
        policy: &str,
    ) -> Result<bool, AccessError> {
        let delete = |session: Aws| async move { session.delete_role_policy(role, policy).await };
        self.0.within(account, delete).await
    }

    /// Detaches a managed policy from a role of the account by name (not ARN), as [`Aws::detach_role_policy`].
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn detach_role_policy(
        &self,
        account: AwsAccountId,
        role: &str,
        policy_arn: &str,
    ) -> Result<bool, AccessError> {
        let detach =
            |session: Aws| async move { session.detach_role_policy(role, policy_arn).await };
        self.0.within(account, detach).await
    }

    /// A stack, as [`AccountAccess::stack`]: what the role may delete, it may look at.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn stack(&self, stack: &StackId) -> Result<Option<AccountStack>, AccessError> {
        self.0.stack(stack).await
    }

    /// Begins to delete a stack, in the account that its id names, as [`Aws::delete_account_stack`].
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn delete_stack(&self, stack: &StackId, token: &str) -> Result<(), AccessError> {
        // An id has an account: it could not have been parsed otherwise.
        let Some(account) = stack.account() else {
            return Ok(());
        };
        let delete = |session: Aws| async move { session.delete_account_stack(stack, token).await };
        self.0.within(account, delete).await
    }
}

/// Reads in member accounts; see the module documentation. Clones share the sessions.
#[derive(Debug, Clone)]
pub struct AccountAccess {
    aws: Aws,
    role: Arc<AccessRole>,
    sessions: Arc<Mutex<Sessions>>,
}

impl AccountAccess {
    /// Reads through this role. Asks AWS nothing.
    #[must_use]
    pub fn new(aws: &Aws, role: AccessRole) -> Self {
        Self {
            aws: aws.clone(),
            role: Arc::new(role),
            sessions: Arc::default(),
        }
    }

    /// The role's ARN in an account.
    ///
    /// # Errors
    /// [`AccessError::Failed`] when the role's path and name make none.
    pub fn role_arn(&self, account: AwsAccountId) -> Result<RoleArn, AccessError> {
        let AccessRole {
            partition,
            path,
            name,
            ..
        } = &*self.role;
        let arn = format!("arn:{partition}:iam::{account}:role{path}{name}");
        arn.parse().map_err(|_| {
            AccessError::Failed(Box::new(AwsError::new(
                ASSUME,
                ErrorClass::Invalid,
                format!("{arn} is not the ARN of a role"),
            )))
        })
    }

    /// A role of the account by name (not ARN); none when it does not exist.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn role(
        &self,
        account: AwsAccountId,
        name: &str,
    ) -> Result<Option<LiveRole>, AccessError> {
        let read = |session: Aws| async move { session.get_role(name).await };
        self.within(account, read).await
    }

    /// The policies of a role of the account by name (not ARN), as [`Aws::role_policies`] reads them; none when it does not
    /// exist.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn role_policies(
        &self,
        account: AwsAccountId,
        name: &str,
    ) -> Result<Option<RolePolicies>, AccessError> {
        let read = |session: Aws| async move { session.role_policies(name, account).await };
        self.within(account, read).await
    }

    /// The external ID that a role lets Spot in with: the one that the output of its stack names, or the only one. None when
    /// there is no such role (any more), and when it does not tell.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn external_id_in_use(
        &self,
        role: &RoleArn,
        spot_principal: &str,
    ) -> Result<Option<ExternalId>, AccessError> {
        let Some(account) = role.account() else {
            return Ok(None);
        };
        let live = match self.role(account, role.role_name()).await? {
            Some(live) if live.arn == *role => live,
            _ => return Ok(None),
        };
        let Ok(trust) = TrustPolicy::parse(&live.trust_policy) else {
            tracing::warn!(cloud.account.id = %account, %role, "the trust policy of the role cannot be read");
            return Ok(None);
        };
        let output = match live.stack_id().and_then(|id| id.parse::<StackId>().ok()) {
            Some(stack) if stack.account() == Some(account) => {
                let stack = self.stack(&stack).await.ok().flatten();
                stack.and_then(|mut stack| stack.outputs.remove("ExternalId"))
            }
            _ => None,
        };
        let id = external_id::in_use(&trust, spot_principal, output.as_deref());
        if id.is_none() {
            tracing::warn!(cloud.account.id = %account, %role, "the role does not tell which external ID Spot uses");
        }
        Ok(id)
    }

    /// The account's alias.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn alias(&self, account: AwsAccountId) -> Result<Option<String>, AccessError> {
        let read = |session: Aws| async move { session.account_alias().await };
        self.within(account, read).await
    }

    /// A stack, in the account that its id names; none when there is none (any more).
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn stack(&self, stack: &StackId) -> Result<Option<AccountStack>, AccessError> {
        // An id has an account: it could not have been parsed otherwise.
        let Some(account) = stack.account() else {
            return Ok(None);
        };
        let read = |session: Aws| async move { session.account_stack(stack).await };
        self.within(account, read).await
    }

    /// Does something in an account with the role's session.
    async fn within<T, F>(
        &self,
        account: AwsAccountId,
        act: impl FnOnce(Aws) -> F,
    ) -> Result<T, AccessError>
    where
        F: Future<Output = Result<T, AwsError>>,
    {
        let role = self.role_arn(account)?;
        let failed = |error| AccessError::of(&role, error);
        let session = self.session(account, &role).await.map_err(failed)?;
        let done = act(session).await;
        if matches!(&done, Err(error) if error.class() == ErrorClass::Credentials) {
            // Revoked, or a clock is off: the next one assumes the role anew.
            self.sessions.lock().remove(&account);
        }
        done.map_err(failed)
    }

    /// The session of an account, assumed once by whoever asks first.
    async fn session(&self, account: AwsAccountId, role: &RoleArn) -> Result<Aws, AwsError> {
        let slot = self.slot(account);
        let mut slot = slot.lock().await;
        if let Some((until, session)) = &*slot
            && Instant::now() < *until
        {
            return Ok(session.clone());
        }
        *slot = None;
        let until = Instant::now() + (SESSION - REMAINDER);
        let request = AssumeRole {
            role: role.clone(),
            session_name: self.role.session_name.clone(),
            external_id: None,
            duration: SESSION,
        };
        let session = self.aws.assume_role(&request).await?;
        *slot = Some((until, session.clone()));
        Ok(session)
    }

    /// The place of an account's session; when there are too many, the one that was asked for longest ago goes.
    fn slot(&self, account: AwsAccountId) -> Arc<Slot> {
        let now = Instant::now();
        let mut sessions = self.sessions.lock();
        if let Some((asked, slot)) = sessions.get_mut(&account) {
            *asked = now;
            return Arc::clone(slot);
        }
        if sessions.len() >= MOST_SESSIONS {
            let oldest = sessions.iter().min_by_key(|(_, (asked, _))| *asked);
            if let Some(oldest) = oldest.map(|(account, _)| *account) {
                sessions.remove(&oldest);
            }
        }
        let slot = Arc::<Slot>::default();
        sessions.insert(account, (now, Arc::clone(&slot)));
        slot
    }
}
