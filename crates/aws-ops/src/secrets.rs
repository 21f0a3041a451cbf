//! Secrets that AWS keeps for us: the Spot token.

use onboarding_core::secret::SecretText;

use crate::{Aws, AwsError, ErrorClass};

/// A secret text, and since when it is what it is.
#[derive(Debug, Clone)]
pub struct StoredSecret {
    /// The text.
    pub text: SecretText,
    /// When this version of it was stored, in Unix seconds, where AWS says so.
    pub since: Option<i64>,
}

impl Aws {
    /// The text of a Secrets Manager secret, by name or ARN.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::Invalid`] when the secret is binary.
    pub async fn secret_value(&self, id: &str) -> Result<SecretText, AwsError> {
        self.stored_secret(id).await.map(|secret| secret.text)
    }

    /// The same with its age: when its current version was made (Secrets Manager API reference, GetSecretValue, `CreatedDate`).
    ///
    /// # Errors
    /// As [`Aws::secret_value`].
    pub async fn stored_secret(&self, id: &str) -> Result<StoredSecret, AwsError> {
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
        Ok(StoredSecret {
            text: text(OPERATION, output.secret_string())?,
            since: output.created_date().map(|date| date.secs()),
        })
    }

    /// The decrypted value of a Systems Manager parameter, by name or ARN.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::Invalid`] when the parameter is empty.
    pub async fn parameter_value(&self, name: &str) -> Result<SecretText, AwsError> {
        self.stored_parameter(name).await.map(|secret| secret.text)
    }

    /// The same with its age: when it was changed last (Systems Manager API reference, Parameter, `LastModifiedDate`).
    ///
    /// # Errors
    /// As [`Aws::parameter_value`].
    pub async fn stored_parameter(&self, name: &str) -> Result<StoredSecret, AwsError> {
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
        let parameter = output.parameter();
        Ok(StoredSecret {
            text: text(OPERATION, parameter.and_then(|parameter| parameter.value()))?,
            since: parameter
                .and_then(|parameter| parameter.last_modified_date())
                .map(|date| date.secs()),
        })
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
