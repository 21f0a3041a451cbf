//! What IAM itself says about an account. CloudFormation does not notice changed roles and policies.

mod removal;
mod role_policies;

use onboarding_core::inventory::LiveRole;
use percent_encoding::percent_decode_str;

use crate::{Aws, AwsError, ErrorClass};

impl Aws {
    /// The account's alias, of which there is at most one.
    ///
    /// # Errors
    /// As any call.
    pub async fn account_alias(&self) -> Result<Option<String>, AwsError> {
        let output = self
            .governed
            .call("iam:ListAccountAliases", || {
                self.clients.iam().list_account_aliases().send()
            })
            .await?;
        Ok(output.account_aliases.into_iter().next())
    }

    /// A role of the account by name (not ARN); none when it does not exist.
    ///
    /// # Errors
    /// As any call.
    pub async fn get_role(&self, name: &str) -> Result<Option<LiveRole>, AwsError> {
        const OPERATION: &str = "iam:GetRole";
        let output = match self
            .governed
            .call(OPERATION, || {
                self.clients.iam().get_role().role_name(name).send()
            })
            .await
        {
            Err(error) if error.class() == ErrorClass::NotFound => return Ok(None),
            other => other?,
        };
        let role = output
            .role
            .ok_or_else(|| AwsError::malformed(OPERATION, "no role"))?;
        let last_used = role.role_last_used.and_then(|used| used.last_used_date);
        Ok(Some(LiveRole {
            arn: role
                .arn
                .parse()
                .map_err(|_| AwsError::malformed(OPERATION, "a role without a readable ARN"))?,
            id: role.role_id,
            path: role.path,
            trust_policy: policy_document(&role.assume_role_policy_document.unwrap_or_default()),
            max_session_seconds: role.max_session_duration,
            permissions_boundary: role
                .permissions_boundary
                .and_then(|boundary| boundary.permissions_boundary_arn),
            last_used: last_used.map(|used| used.secs()),
            tags: role
                .tags
                .unwrap_or_default()
                .into_iter()
                .map(|tag| (tag.key, tag.value))
                .collect(),
        }))
    }
}

/// A policy document as JSON text. IAM percent-encodes documents (RFC 3986, so `+` stays `+`); some emulators do not,
/// and decoding plain JSON could change it.
pub(crate) fn policy_document(text: &str) -> String {
    if serde_json::from_str::<serde_json::Value>(text).is_ok() {
        return text.to_owned();
    }
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::policy_document;

    #[test]
    fn documents_are_decoded_only_when_they_are_encoded() {
        assert_eq!(
            policy_document("%7B%22a%22%3A%22b+c%2Bd%22%7D"),
            r#"{"a":"b+c+d"}"#
        );
        assert_eq!(policy_document(r#"{"a":"100%25"}"#), r#"{"a":"100%25"}"#);
    }
}
