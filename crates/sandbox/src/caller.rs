//! Who makes a call: an AWS principal, and the access keys that stand for it.
//!
//! Access keys are not secrets here: the signature is not verified, the access key id alone decides.
//! `AKIA<account id>ROOT` is the administrator of that account, and AssumeRole issues `ASIA…` keys.

use std::collections::HashMap;
use std::time::SystemTime;

use crate::ids::AccountId;
use crate::wire::errors::AwsError;

/// An authenticated AWS principal.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The account it belongs to; IAM calls act on this account.
    pub(crate) account: AccountId,
    /// Its ARN as error messages and GetCallerIdentity show it.
    pub(crate) arn: String,
    /// `UserId` of GetCallerIdentity.
    pub(crate) user_id: String,
    /// What decides over its permissions.
    pub(crate) identity: Identity,
    /// Whether CloudFormation calls on its behalf (IAM User Guide, "AWS global condition context keys", aws:CalledVia).
    pub(crate) via_cloudformation: bool,
}

/// Where a caller's permissions come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// May do everything that no service control policy denies.
    Administrator,
    /// A role of the account, by name: its attached and inline policies decide.
    Role(String),
}

impl Caller {
    /// The administrator (an IAM user) of an account.
    pub(crate) fn administrator(account: AccountId) -> Self {
        Self {
            account,
            arn: format!("arn:aws:iam::{account}:user/administrator"),
            user_id: format!("AIDA{account}USER"),
            identity: Identity::Administrator,
            via_cloudformation: false,
        }
    }

    /// The same principal, when CloudFormation calls on its behalf.
    pub(crate) fn via_cloudformation(&self) -> Self {
        Self {
            via_cloudformation: true,
            ..self.clone()
        }
    }

    /// A session of a role that has full permissions without being in our IAM, such as a stack
    /// set's `stacksets-exec-<hex32>` execution role in a target account.
    pub(crate) fn service_session(account: AccountId, role: &str, session: &str) -> Self {
        Self {
            account,
            arn: format!("arn:aws:sts::{account}:assumed-role/{role}/{session}"),
            user_id: format!("AROA{account}SRVC:{session}"),
            identity: Identity::Administrator,
            via_cloudformation: false,
        }
    }
}

/// The access key id of an account's administrator.
pub(crate) fn administrator_key(account: AccountId) -> String {
    format!("AKIA{account}ROOT")
}

/// A session that AssumeRole issued.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The role session.
    pub(crate) caller: Caller,
    /// The session token that must come with the key.
    pub(crate) token: String,
    /// When it ends, on the real clock: clients compare it with their own.
    pub(crate) expires: SystemTime,
}

/// The sessions in force, by access key id.
#[derive(Debug, Default)]
pub(crate) struct Sessions(pub(crate) HashMap<String, Session>);

impl Sessions {
    /// Finds the caller of a request. `exists` tells which accounts there are.
    ///
    /// # Errors
    /// `InvalidClientTokenId`/403 for an unknown key or a wrong token, `ExpiredToken`/403.
    pub(crate) fn caller(
        &self,
        key: &str,
        token: Option<&str>,
        exists: impl Fn(AccountId) -> bool,
    ) -> Result<Caller, AwsError> {
        if let Some(session) = self.0.get(key) {
            if token != Some(session.token.as_str()) {
                return Err(invalid());
            }
            if SystemTime::now() >= session.expires {
                return Err(AwsError::new(
                    403,
                    "ExpiredToken",
                    "The security token included in the request is expired",
                ));
            }
            return Ok(session.caller.clone());
        }
        key.strip_prefix("AKIA")
            .and_then(|rest| rest.strip_suffix("ROOT"))
            .and_then(|digits| digits.parse().ok())
            .filter(|account| exists(*account))
            .map(Caller::administrator)
            .ok_or_else(invalid)
    }
}

fn invalid() -> AwsError {
    AwsError::new(
        403,
        "InvalidClientTokenId",
        "The security token included in the request is invalid.",
    )
}
