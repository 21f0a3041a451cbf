//! Pages of accounts, turned into compact rows at once: an organization may have 100,000 of them.

use aws_sdk_organizations::types::Account as SdkAccount;
use onboarding_core::{
    ids::{AwsAccountId, OuId},
    inventory::{Account, AccountState},
};

use crate::{Aws, AwsError};

/// AWS Organizations returns at most 20 entries a page.
const PAGE: i32 = 20;

pub(super) const LIST_ACCOUNTS: &str = "organizations:ListAccounts";
pub(super) const ACCOUNTS_FOR_PARENT: &str = "organizations:ListAccountsForParent";

/// One page of ListAccounts.
pub(super) struct AccountsPage {
    pub(super) accounts: Vec<SdkAccount>,
    pub(super) next: Option<String>,
}

impl Aws {
    /// One page of all accounts of the organization.
    pub(super) async fn accounts_page(
        &self,
        token: Option<String>,
    ) -> Result<AccountsPage, AwsError> {
        let output = self
            .governed
            .call(LIST_ACCOUNTS, || {
                self.clients
                    .organizations()
                    .list_accounts()
                    .max_results(PAGE)
                    .set_next_token(token.clone())
                    .send()
            })
            .await?;
        Ok(AccountsPage {
            accounts: output.accounts.unwrap_or_default(),
            next: output.next_token,
        })
    }

    /// All accounts directly under a parent; `index` is the parent's in the tree.
    pub(super) async fn accounts_of(
        &self,
        parent: &OuId,
        index: u32,
    ) -> Result<Vec<Account>, AwsError> {
        let mut accounts = Vec::new();
        self.governed
            .pages(
                ACCOUNTS_FOR_PARENT,
                |token| {
                    self.clients
                        .organizations()
                        .list_accounts_for_parent()
                        .parent_id(parent.as_str())
                        .max_results(PAGE)
                        .set_next_token(token)
                        .send()
                },
                |output| {
                    for account in output.accounts.unwrap_or_default() {
                        accounts.push(compact(ACCOUNTS_FOR_PARENT, account, index)?);
                    }
                    Ok(output.next_token)
                },
            )
            .await?;
        Ok(accounts)
    }
}

/// What we keep of an account.
pub(super) fn compact(
    operation: &'static str,
    account: SdkAccount,
    parent: u32,
) -> Result<Account, AwsError> {
    let id: AwsAccountId = account
        .id()
        .and_then(|id| id.parse().ok())
        .ok_or_else(|| AwsError::malformed(operation, "an account without a valid id"))?;
    Ok(Account {
        id,
        state: state(
            account.state().map(|state| state.as_str()),
            account.status().map(|status| status.as_str()),
        ),
        parent,
        joined_at: account.joined_timestamp().map(|time| time.secs()),
        name: account
            .name
            .map_or_else(|| id.to_string().into(), String::into_boxed_str),
    })
}

/// `State`, and the older `Status` only where AWS does not send `State` (API reference, Account).
pub(super) fn state(state: Option<&str>, status: Option<&str>) -> AccountState {
    match state.or(status) {
        Some("ACTIVE") => AccountState::Active,
        Some("PENDING_ACTIVATION") => AccountState::PendingActivation,
        Some("SUSPENDED") => AccountState::Suspended,
        Some("PENDING_CLOSURE") => AccountState::PendingClosure,
        Some("CLOSED") => AccountState::Closed,
        Some(_) | None => AccountState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_wins_over_status_and_the_unknown_is_never_active() {
        for (new, old, expected) in [
            (Some("ACTIVE"), Some("SUSPENDED"), AccountState::Active),
            (Some("CLOSED"), Some("SUSPENDED"), AccountState::Closed),
            (None, Some("ACTIVE"), AccountState::Active),
            (None, Some("SUSPENDED"), AccountState::Suspended),
            (Some("HIBERNATING"), Some("ACTIVE"), AccountState::Unknown),
            (None, None, AccountState::Unknown),
        ] {
            assert_eq!(state(new, old), expected, "{new:?} {old:?}");
        }
    }
}
