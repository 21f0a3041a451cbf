//! The Spot token that AWS keeps: read once, and again when Spot refuses it, so that its rotation needs no deployment.

use std::sync::Arc;

use async_trait::async_trait;
use onboarding_core::secret::SecretText;
use parking_lot::Mutex;
use spot_api::{TokenError, TokenSource};

use crate::{aws::LazyAws, config::TokenPlace};

/// The configured source.
pub(crate) fn source(place: &TokenPlace, aws: &Arc<LazyAws>) -> Arc<dyn TokenSource> {
    match place {
        TokenPlace::Here(token) => Arc::new(token.clone()),
        place => Arc::new(AwsToken {
            aws: Arc::clone(aws),
            place: place.clone(),
            known: Mutex::default(),
        }),
    }
}

struct AwsToken {
    aws: Arc<LazyAws>,
    place: TokenPlace,
    known: Mutex<Option<SecretText>>,
}

#[async_trait]
impl TokenSource for AwsToken {
    async fn token(&self) -> Result<SecretText, TokenError> {
        if let Some(token) = self.known.lock().clone() {
            return Ok(token);
        }
        let read = async {
            let aws = self.aws.get().await?;
            match &self.place {
                TokenPlace::Here(token) => Ok(token.clone()),
                TokenPlace::Secret(id) => aws.secret_value(id).await,
                TokenPlace::Parameter(name) => aws.parameter_value(name).await,
            }
        };
        let token = read.await.map_err(|error| TokenError::Source {
            origin: match &self.place {
                TokenPlace::Here(_) => "the environment".to_owned(),
                TokenPlace::Secret(id) => format!("the secret {id}"),
                TokenPlace::Parameter(name) => format!("the parameter {name}"),
            },
            reason: error.to_string(),
        })?;
        *self.known.lock() = Some(token.clone());
        Ok(token)
    }

    async fn refused(&self) {
        *self.known.lock() = None;
    }
}
