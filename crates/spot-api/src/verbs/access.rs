//! User groups: which access policies their members have, and in which accounts (OpenAPI: services/administration/general,
//! userGroup).
//!
//! Spot has no call that adds one account. A group's policies are replaced as a whole, and nothing tells that they were
//! changed since they were read. So one addition is made after the other: within a process always, and among processes where
//! they share locks. Each is read again after it was written, because nothing holds back people in Spot's console; where
//! processes share no locks it is read once more a little later, when what another one had read before has been written, too.
//! One that somebody else's overwrote meanwhile is made again.

use std::collections::BTreeSet;

use onboarding_core::{
    access::{self, Accounts, GroupPolicy, PolicyAccounts, UnknownAccounts},
    ids::UserGroupId,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use crate::{
    client::{SpotClient, retry::ApiCall, route::Route},
    error::SpotError,
};

const USER_GROUP: Route = Route::get("/setup/access/userGroup/{userGroupId}");
const MAP_POLICIES: Route = Route::put("/setup/access/userGroup/{userGroupId}/policyMapping");

/// What stands for all accounts, those that are made later included.
const ALL: &str = "*";

/// How often an addition is made that is not there when the group is read again.
const ATTEMPTS: usize = 3;

/// Why the members of a user group were not given what they should have.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A call failed.
    #[error(transparent)]
    Spot(#[from] SpotError),
    /// What the group has could not be read as a whole.
    #[error(transparent)]
    Unknown(#[from] UnknownAccounts),
    /// It was written, and was not there when the group was read again.
    #[error(
        "the accounts that were added to user group {0} were gone again each time; is somebody else changing its policies?"
    )]
    NotKept(UserGroupId),
}

#[derive(Deserialize)]
struct StoredGroup {
    policies: Option<Vec<StoredPolicy>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredPolicy {
    policy_id: String,
    policy_type: Option<String>,
    account_ids: Option<BTreeSet<String>>,
}

impl From<StoredPolicy> for GroupPolicy {
    fn from(stored: StoredPolicy) -> Self {
        let of_organization = stored
            .policy_type
            .is_some_and(|kind| kind.eq_ignore_ascii_case("ORGANIZATION"));
        let accounts = match stored.account_ids {
            _ if of_organization => PolicyAccounts::Organization,
            Some(accounts) if accounts.contains(ALL) => PolicyAccounts::All,
            Some(accounts) => PolicyAccounts::These(accounts),
            None => PolicyAccounts::Unknown,
        };
        Self {
            policy: stored.policy_id,
            accounts,
        }
    }
}

impl SpotClient {
    /// The access policies of a user group.
    ///
    /// # Errors
    /// See [`SpotError`]; class invalid or not found when Spot has no such group.
    pub async fn user_group(&self, group: &UserGroupId) -> Result<Vec<GroupPolicy>, SpotError> {
        let call = ApiCall {
            user_group: Some(group),
            ..ApiCall::new(USER_GROUP)
        };
        let answer = self.call::<StoredGroup>(&call).await?;
        let stored = answer.items.into_iter().next();
        // Without the list, it would be taken for a group without policies, and what it has be taken away.
        let policies = stored.and_then(|group| group.policies);
        let policies = policies.ok_or(SpotError::Unexpected {
            route: USER_GROUP,
            status: 200,
            request_id: None,
            reason: "it does not say which access policies the user group has".to_owned(),
        })?;
        Ok(policies.into_iter().map(GroupPolicy::from).collect())
    }

    /// Gives the members of a user group access policies in these accounts, beside all that they have. Tells whether
    /// anything was missing; nothing is written otherwise.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn grant_access(
        &self,
        group: &UserGroupId,
        wanted: &Accounts,
    ) -> Result<bool, AccessError> {
        let _turn = self.inner.access.lock().await;
        let lock = format!("user-group/{group}");
        if let Some(added) = self
            .locked(&lock, Box::pin(self.add_access(group, wanted)))
            .await
        {
            return added;
        }
        let mut changed = false;
        for _ in 0..=ATTEMPTS {
            if !Box::pin(self.add_access(group, wanted)).await? {
                return Ok(changed);
            }
            changed = true;
            let pause = rand::random_range(1.0..2.0);
            tokio::time::sleep(self.inner.settings.access_recheck.mul_f64(pause)).await;
        }
        Err(AccessError::NotKept(group.clone()))
    }

    /// Reads, adds what is missing, and reads again, until nothing is missing.
    async fn add_access(
        &self,
        group: &UserGroupId,
        wanted: &Accounts,
    ) -> Result<bool, AccessError> {
        for attempt in 0..=ATTEMPTS {
            let current = self.user_group(group).await?;
            let missing = access::missing(&current, wanted);
            if missing.is_empty() {
                return Ok(attempt > 0);
            }
            if attempt == ATTEMPTS {
                break;
            }
            let all = access::with(group, &current, &missing)?;
            let call = ApiCall {
                user_group: Some(group),
                ..ApiCall::new(MAP_POLICIES)
            };
            let call =
                call.body(json!({ "policies": all.iter().map(written).collect::<Vec<_>>() }));
            self.call::<IgnoredAny>(&call).await?;
        }
        Err(AccessError::NotKept(group.clone()))
    }
}

fn written(policy: &GroupPolicy) -> Value {
    let mut written = json!({ "policyId": policy.policy });
    match &policy.accounts {
        PolicyAccounts::All => written["accountIds"] = json!([ALL]),
        PolicyAccounts::These(accounts) => written["accountIds"] = json!(accounts),
        PolicyAccounts::Organization | PolicyAccounts::Unknown => {}
    }
    written
}
