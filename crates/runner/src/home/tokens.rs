//! Where the Spot token comes from: the environment, a file, AWS Secrets Manager or SSM Parameter Store.

use std::sync::Arc;

use async_trait::async_trait;
use aws_ops::{Aws, secrets::StoredSecret};
use onboarding_core::secret::SecretText;
use parking_lot::Mutex;
use spot_api::{EnvToken, FileToken, TokenError, TokenSource};

use crate::{
    config,
    engine::{ErrorClass, JobError},
};

/// The configured source.
pub(super) fn source(
    token: &config::TokenSource,
    aws: &Aws,
) -> Result<Arc<dyn TokenSource>, JobError> {
    let store = |place: Place| -> Arc<dyn TokenSource> {
        Arc::new(AwsToken {
            aws: aws.clone(),
            place,
            known: Mutex::default(),
        })
    };
    Ok(match token {
        config::TokenSource::Env(variable) => Arc::new(
            EnvToken::read(variable)
                .map_err(|error| JobError::new(ErrorClass::Prerequisite, error.to_string()))?,
        ),
        config::TokenSource::File(path) => Arc::new(FileToken::new(path)),
        config::TokenSource::SecretsManager(id) => store(Place::Secret(id.clone())),
        config::TokenSource::SsmParameter(name) => store(Place::Parameter(name.clone())),
    })
}

enum Place {
    Secret(String),
    Parameter(String),
}

/// A token in AWS, read once and again when Spot refuses it.
struct AwsToken {
    aws: Aws,
    place: Place,
    known: Mutex<Option<StoredSecret>>,
}

#[async_trait]
impl TokenSource for AwsToken {
    async fn token(&self) -> Result<SecretText, TokenError> {
        if let Some(known) = &*self.known.lock() {
            return Ok(known.text.clone());
        }
        let (origin, read) = match &self.place {
            Place::Secret(id) => (format!("the secret {id}"), self.aws.stored_secret(id).await),
            Place::Parameter(name) => (
                format!("the parameter {name}"),
                self.aws.stored_parameter(name).await,
            ),
        };
        let stored = read.map_err(|error| TokenError::Source {
            origin,
            reason: error.to_string(),
        })?;
        let token = stored.text.clone();
        *self.known.lock() = Some(stored);
        Ok(token)
    }

    fn since(&self) -> Option<i64> {
        self.known.lock().as_ref()?.since
    }

    async fn refused(&self) {
        *self.known.lock() = None;
    }
}
