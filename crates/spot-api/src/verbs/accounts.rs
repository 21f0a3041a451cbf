//! Spot accounts: list, create, rename, delete (OpenAPI: services/administration/general).

use std::time::{Duration, Instant, SystemTime};

use onboarding_core::{
    ids::{AwsAccountId, SpotAccountId},
    inventory::SpotAccountRecord,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, json};

use crate::{
    client::{SpotClient, envelope::Items, gate::Pass, retry::ApiCall, route::Route},
    error::{ErrorClass, SpotError},
};

const LIST: Route = Route::get("/setup/account");
const READ: Route = Route::get("/setup/account/{accountId}");
const CREATE: Route = Route::post("/setup/account");
const RENAME: Route = Route::put("/setup/account/{accountId}");
const DELETE: Route = Route::delete("/setup/account/{accountId}");

/// A Spot account that was just created. It is not linked to anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedAccount {
    /// Its id.
    pub id: SpotAccountId,
    /// Its name, as Spot took it.
    pub name: String,
}

/// As listed: the provider's id was seen as a text and as a number.
#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "accountId")]
    id: SpotAccountId,
    #[serde(default)]
    name: Option<Box<str>>,
    #[serde(rename = "providerExternalId")]
    provider_id: Option<Value>,
    #[serde(rename = "cloudProvider")]
    cloud: Option<Box<str>>,
}

impl Listed {
    fn record(self) -> SpotAccountRecord {
        let is_aws = self
            .cloud
            .as_deref()
            .is_none_or(|cloud| cloud.eq_ignore_ascii_case("aws"));
        let (names_account, aws_account) = match &self.provider_id {
            None | Some(Value::Null) => (false, None),
            Some(Value::String(text)) if text.trim().is_empty() => (false, None),
            Some(Value::String(text)) => (true, text.trim().parse().ok()),
            Some(other) => (true, other.as_u64().and_then(AwsAccountId::from_number)),
        };
        SpotAccountRecord {
            id: self.id,
            name: self.name.unwrap_or_default(),
            unlinked: is_aws && !names_account,
            aws_account: aws_account.filter(|_| is_aws),
        }
    }
}

#[derive(Deserialize)]
struct Created {
    id: SpotAccountId,
    name: Option<String>,
}

impl SpotClient {
    /// All accounts of the Spot organization. Not paginated. Needs a token of an organization administrator.
    ///
    /// # Errors
    /// [`SpotError::Unexpected`] when the list is not whole by Spot's own count; see [`SpotError`].
    pub async fn list_accounts(&self) -> Result<Vec<SpotAccountRecord>, SpotError> {
        self.list(&ApiCall::new(LIST)).await
    }

    /// The accounts that are linked to one AWS account.
    ///
    /// # Errors
    /// As [`SpotClient::list_accounts`].
    pub async fn list_accounts_of(
        &self,
        account: AwsAccountId,
    ) -> Result<Vec<SpotAccountRecord>, SpotError> {
        let call = ApiCall {
            query: vec![("cloudAccountId", account.to_string())],
            ..ApiCall::new(LIST)
        };
        self.list(&call).await
    }

    /// One account; none when Spot does not know it. (Spot's clients have this call, its document does not: take none as
    /// a hint only.)
    ///
    /// # Errors
    /// See [`SpotError`].
    pub async fn account(
        &self,
        account: &SpotAccountId,
    ) -> Result<Option<SpotAccountRecord>, SpotError> {
        match self.call::<Listed>(&ApiCall::of(READ, account)).await {
            Ok(read) => Ok(read.items.into_iter().next().map(Listed::record)),
            Err(error) if error.class() == ErrorClass::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is not listed may be created, so a part of a list is as bad as none.
    async fn list(&self, call: &ApiCall<'_>) -> Result<Vec<SpotAccountRecord>, SpotError> {
        let listed: Items<Listed> = self.call(call).await?;
        match listed.incomplete {
            Some(reason) => Err(SpotError::Unexpected {
                route: LIST,
                status: 200,
                request_id: None,
                reason,
            }),
            None => Ok(listed.items.into_iter().map(Listed::record).collect()),
        }
    }

    /// Waits until the rate governor lets one account be created. Nothing is sent yet: a caller writes its intent down
    /// now, right before [`CreateSlot::send`].
    pub async fn reserve_create(&self) -> CreateSlot {
        let pass = self.enter(&ApiCall::new(CREATE)).await;
        CreateSlot {
            client: self.clone(),
            pass,
        }
    }

    /// Creates an account. Spot allows two of one name: look before creating.
    ///
    /// # Errors
    /// [`SpotError::AmbiguousCreate`] when it may exist now.
    pub async fn create_account(&self, name: &str) -> Result<CreatedAccount, SpotError> {
        let created = self.call(&create_call(name)).await;
        read_created(name, created)
    }

    /// Gives an account another name.
    ///
    /// # Errors
    /// See [`SpotError`].
    pub async fn rename_account(
        &self,
        account: &SpotAccountId,
        name: &str,
    ) -> Result<(), SpotError> {
        let call = ApiCall::of(RENAME, account).body(json!({"account": {"name": name}}));
        self.call::<IgnoredAny>(&call).await.map(drop)
    }

    /// Waits until the rate governor lets one account be deleted. Nothing is sent yet: a caller writes its intent down
    /// now, right before [`DeleteSlot::send`].
    pub async fn reserve_delete(&self) -> DeleteSlot {
        let pass = self.enter(&ApiCall::new(DELETE)).await;
        DeleteSlot {
            client: self.clone(),
            pass,
        }
    }

    /// Deletes an account; that cannot be undone.
    ///
    /// # Errors
    /// Class not found when it is gone already.
    pub async fn delete_account(&self, account: &SpotAccountId) -> Result<(), SpotError> {
        self.call::<IgnoredAny>(&ApiCall::of(DELETE, account))
            .await
            .map(drop)
    }
}

/// Until when a call may be sent, by two clocks: one that nobody sets stands still where a machine sleeps, the other can be set back.
#[derive(Debug, Clone, Copy)]
pub struct SendBy {
    steady: Instant,
    wall: SystemTime,
}

impl SendBy {
    /// Both of these moments.
    #[must_use]
    pub fn new(steady: Instant, wall: SystemTime) -> Self {
        Self { steady, wall }
    }

    /// So much from now.
    #[must_use]
    pub fn within(window: Duration) -> Self {
        Self::new(Instant::now() + window, SystemTime::now() + window)
    }

    fn has_passed(self) -> bool {
        Instant::now() > self.steady || SystemTime::now() > self.wall
    }
}

/// The right to create one account now. Dropping it gives the right back.
pub struct CreateSlot {
    client: SpotClient,
    pass: Pass,
}

impl CreateSlot {
    /// Creates an account with one request, never a second one; not at all when `send_by` has passed by either clock.
    ///
    /// # Errors
    /// [`SpotError::AmbiguousCreate`] when it may exist now; any other error means that nothing was created.
    pub async fn send(self, name: &str, send_by: SendBy) -> Result<CreatedAccount, SpotError> {
        let call = create_call(name);
        let token = self.client.inner.token().await?;
        if send_by.has_passed() {
            return Err(SpotError::SendDeadlinePassed { route: CREATE });
        }
        let created = self.client.single(&call, self.pass, &token).await;
        read_created(name, created)
    }
}

/// The right to delete one account now. Dropping it gives the right back.
pub struct DeleteSlot {
    client: SpotClient,
    pass: Pass,
}

impl DeleteSlot {
    /// Deletes an account with one request, never a second one; not at all when `send_by` has passed by either clock. Whether
    /// it took effect is unknown after an error of the class transient.
    ///
    /// # Errors
    /// Class not found when it is gone already.
    pub async fn send(self, account: &SpotAccountId, send_by: SendBy) -> Result<(), SpotError> {
        let token = self.client.inner.token().await?;
        if send_by.has_passed() {
            return Err(SpotError::SendDeadlinePassed { route: DELETE });
        }
        let call = ApiCall::of(DELETE, account);
        let deleted = self.client.single::<IgnoredAny>(&call, self.pass, &token);
        deleted.await.map(drop)
    }
}

fn create_call(name: &str) -> ApiCall<'static> {
    ApiCall::new(CREATE).body(json!({"account": {"name": name}}))
}

fn read_created(
    name: &str,
    created: Result<Items<Created>, SpotError>,
) -> Result<CreatedAccount, SpotError> {
    let ambiguous = |source| SpotError::AmbiguousCreate {
        name: name.to_owned(),
        source: Box::new(source),
    };
    match created {
        Ok(created) => match created.items.into_iter().next() {
            Some(account) => Ok(CreatedAccount {
                name: account.name.unwrap_or_else(|| name.to_owned()),
                id: account.id,
            }),
            None => Err(ambiguous(SpotError::Unexpected {
                route: CREATE,
                status: 200,
                request_id: None,
                reason: "it names no account".to_owned(),
            })),
        },
        Err(error) if error.may_have_taken_effect() => Err(ambiguous(error)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(json: Value) -> SpotAccountRecord {
        serde_json::from_value::<Listed>(json).unwrap().record()
    }

    #[test]
    fn a_link_is_read_from_a_text_or_a_number_and_for_aws_only() {
        let linked = record(
            json!({"accountId": "act-1", "name": "n", "providerExternalId": "012345678901"}),
        );
        assert_eq!(linked.aws_account, "012345678901".parse().ok());
        assert!(!linked.unlinked);
        let number = record(
            json!({"accountId": "act-1", "name": "n", "providerExternalId": 12_345_678_901_u64}),
        );
        assert_eq!(number.aws_account, "012345678901".parse().ok());
        let azure = record(
            json!({"accountId": "act-1", "cloudProvider": "AZURE", "providerExternalId": "123456789012"}),
        );
        assert_eq!((azure.aws_account, azure.unlinked), (None, false));
    }

    #[test]
    fn an_account_is_unlinked_only_when_it_names_no_account_of_any_cloud() {
        for unlinked in [
            json!({"accountId": "act-1", "name": "n"}),
            json!({"accountId": "act-1", "name": "n", "providerExternalId": null, "cloudProvider": null}),
            json!({"accountId": "act-1", "name": "n", "providerExternalId": "", "cloudProvider": "AWS"}),
        ] {
            assert!(record(unlinked).unlinked);
        }
        for other in [
            json!({"accountId": "act-1", "cloudProvider": "GCP"}),
            json!({"accountId": "act-1", "providerExternalId": "not-a-number"}),
            json!({"accountId": "act-1", "providerExternalId": {}}),
        ] {
            assert!(!record(other).unlinked);
        }
    }
}
