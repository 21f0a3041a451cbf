//! Secrets that AWS keeps for us: the Spot token.

use onboarding_core::secret::SecretText;

use crate::{Aws, AwsError, ErrorClass};

impl Aws {
    /// The text of a Secrets Manager secret, by name or ARN.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::Invalid`] when the secret is binary.
    pub async fn secret_value(&self, id: &str) -> Result<SecretText, AwsError> {
        const OPERATION: &str = "secretsmanager:GetSecretValue";
        let output = self
            .governed
            .call(OPERATION, || {
                self.clients
                    .secrets()
                    .get_secret_value()
                    .secret_id(id)
                    .send()
            })
            .await?;
        text(OPERATION, output.secret_string())
    }

    /// The decrypted value of a Systems Manager parameter, by name or ARN.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::Invalid`] when the parameter is empty.
    pub async fn parameter_value(&self, name: &str) -> Result<SecretText, AwsError> {
        const OPERATION: &str = "ssm:GetParameter";
        let output = self
            .governed
            .call(OPERATION, || {
                self.clients
                    .parameters()
                    .get_parameter()
                    .name(name)
                    .with_decryption(true)
                    .send()
            })
            .await?;
        text(
            OPERATION,
            output.parameter().and_then(|parameter| parameter.value()),
        )
    }
}

fn text(operation: &'static str, value: Option<&str>) -> Result<SecretText, AwsError> {
    value
        .map(SecretText::new)
        .filter(|secret| !secret.is_empty())
        .ok_or_else(|| {
            AwsError::new(
                operation,
                ErrorClass::Invalid,
                "the secret has no text; store the token as plain text",
            )
        })
}
