//! Secrets, from wherever the configuration says.

use aws_ops::Aws;
use onboarding_core::secret::SecretText;

use crate::config::TokenSource;

/// The secret of a source as it is now, or why it cannot be had.
pub(crate) async fn read(source: &TokenSource, aws: &Aws) -> Result<SecretText, String> {
    let read = match source {
        TokenSource::Env(name) => std::env::var(name)
            .map(|text| SecretText::new(&text))
            .map_err(|_| "it is not set".to_owned()),
        TokenSource::File(path) => tokio::fs::read_to_string(path)
            .await
            .map(|text| SecretText::new(&text))
            .map_err(|error| error.to_string()),
        TokenSource::SecretsManager(id) => aws
            .secret_value(id)
            .await
            .map_err(|error| error.to_string()),
        TokenSource::SsmParameter(name) => {
            let read = aws.parameter_value(name).await;
            read.map_err(|error| error.to_string())
        }
    };
    match read {
        Ok(secret) if secret.is_empty() => Err(format!("{source} is empty")),
        Ok(secret) => Ok(secret),
        Err(why) => Err(format!("{source} cannot be read: {why}")),
    }
}
