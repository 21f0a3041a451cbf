//! Our credentials, for a program of somebody else that acts in our name.

use aws_credential_types::provider::ProvideCredentials as _;
use onboarding_core::secret::SecretText;

use crate::{Aws, AwsError, ErrorClass, StaticCredentials};

impl Aws {
    /// The credentials that calls are signed with, as they are now: those of a role or a session end some time after.
    ///
    /// # Errors
    /// [`ErrorClass::Credentials`] when there are none.
    pub async fn credentials(&self) -> Result<StaticCredentials, AwsError> {
        let none = |why: &str| AwsError::new("aws:Credentials", ErrorClass::Credentials, why);
        let provider = self.clients.config().credentials_provider();
        let provider =
            provider.ok_or_else(|| none("no source of AWS credentials is configured"))?;
        // Its own error may quote what it read.
        let given = provider
            .provide_credentials()
            .await
            .map_err(|_| none("there are no AWS credentials where the AWS SDK looks for them"))?;
        Ok(StaticCredentials {
            access_key_id: given.access_key_id().to_owned(),
            secret_access_key: SecretText::new(given.secret_access_key()),
            session_token: given.session_token().map(SecretText::new),
        })
    }
}
