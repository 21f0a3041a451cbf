//! Who we are, and becoming someone else.

use std::time::{Duration, SystemTime};

use onboarding_core::{
    ids::{AwsAccountId, ExternalId, RoleArn},
    secret::SecretText,
};

use crate::{Aws, AwsError, StaticCredentials};

/// Whose credentials we use (STS API reference, GetCallerIdentity).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerIdentity {
    /// The account.
    pub account: AwsAccountId,
    /// The ARN of the user or of the assumed role's session.
    pub arn: String,
}

/// A role to assume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumeRole {
    /// The role.
    pub role: RoleArn,
    /// The session's name, which CloudTrail shows: 2 to 64 characters of letters, digits and `_+=,.@-`.
    pub session_name: String,
    /// The external ID that the role's trust policy asks for.
    pub external_id: Option<ExternalId>,
    /// How long the session lasts: 15 minutes to 12 hours, 1 hour at most from another role's session.
    pub duration: Duration,
}

impl Aws {
    /// Who we are. Needs no permission, so it also tells whether AWS accepts the credentials.
    ///
    /// # Errors
    /// As any call.
    pub async fn caller_identity(&self) -> Result<CallerIdentity, AwsError> {
        const OPERATION: &str = "sts:GetCallerIdentity";
        let output = self
            .governed
            .call(OPERATION, || {
                self.clients.sts().get_caller_identity().send()
            })
            .await?;
        Ok(CallerIdentity {
            account: output
                .account()
                .and_then(|id| id.parse().ok())
                .ok_or_else(|| AwsError::malformed(OPERATION, "no account id"))?,
            arn: output.arn.unwrap_or_default(),
        })
    }

    /// Assumes a role. The handle shares connections, counts and rates with this one; it is good for the session's
    /// duration and does not renew itself.
    ///
    /// # Errors
    /// As any call; AWS says "denied" also when the role does not exist.
    pub async fn assume_role(&self, request: &AssumeRole) -> Result<Self, AwsError> {
        const OPERATION: &str = "sts:AssumeRole";
        let output = self
            .governed
            .call(OPERATION, || {
                self.clients
                    .sts()
                    .assume_role()
                    .role_arn(request.role.as_str())
                    .role_session_name(&request.session_name)
                    .set_external_id(request.external_id.as_ref().map(ToString::to_string))
                    .duration_seconds(i32::try_from(request.duration.as_secs()).unwrap_or(3_600))
                    .send()
            })
            .await?;
        let credentials = output
            .credentials
            .ok_or_else(|| AwsError::malformed(OPERATION, "no credentials"))?;
        let expires = SystemTime::try_from(credentials.expiration).ok();
        Ok(self.with_credentials(
            &StaticCredentials {
                access_key_id: credentials.access_key_id,
                secret_access_key: SecretText::new(&credentials.secret_access_key),
                session_token: Some(SecretText::new(&credentials.session_token)),
            },
            expires,
        ))
    }
}
