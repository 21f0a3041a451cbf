//! The handle to AWS that all verbs hang on. Cheap to clone; all clones share connections and the governor.

use std::{collections::BTreeMap, sync::Arc};

use aws_config::{BehaviorVersion, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_types::region::Region;
use onboarding_core::governor::aws::{Bounds, ListingShape, OperationCounts, Rates};

use crate::{
    clients::{Clients, http_client},
    error::{AwsError, ErrorClass},
    governed::Governed,
    settings::{AwsSettings, CallAs, StaticCredentials},
};

/// See the module documentation. The verbs are in this crate's modules.
#[derive(Clone)]
pub struct Aws {
    pub(crate) governed: Arc<Governed>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) call_as: CallAs,
}

impl std::fmt::Debug for Aws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aws")
            .field("region", &self.region())
            .field("call_as", &self.call_as)
            .finish_non_exhaustive()
    }
}

impl Aws {
    /// Reads configuration as the AWS SDK does. Sends nothing to AWS: whether the credentials work is what
    /// [`Aws::caller_identity`] finds out.
    ///
    /// # Errors
    /// [`ErrorClass::Invalid`] when no Region is configured.
    pub async fn connect(settings: AwsSettings) -> Result<Self, AwsError> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(settings.timeouts.connect)
                    .operation_attempt_timeout(settings.timeouts.attempt)
                    .build(),
            )
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .http_client(http_client());
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.as_str().to_owned()));
        }
        if let Some(endpoint) = settings.endpoint_url {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(credentials) = settings.credentials {
            loader = loader.credentials_provider(sdk_credentials(&credentials, None));
        }
        let config = loader.load().await;
        if config.region().is_none() {
            return Err(AwsError::new(
                "aws:Connect",
                ErrorClass::Invalid,
                "no AWS Region is configured; set [aws] region, AWS_REGION, or a profile with one",
            ));
        }
        let rates = if settings.rates_off {
            Rates::Off
        } else {
            Rates::Published {
                share: settings.organizations_share,
            }
        };
        Ok(Self {
            governed: Arc::new(Governed::new(rates, settings.timeouts)),
            clients: Arc::new(Clients::new(config)),
            call_as: settings.call_as,
        })
    }

    /// The Region that calls go to.
    #[must_use]
    pub fn region(&self) -> &str {
        self.clients
            .config()
            .region()
            .map_or("", |region| region.as_ref())
    }

    /// The calls that were sent so far, by operation (`organizations:ListAccounts`), retries included.
    #[must_use]
    pub fn api_calls(&self) -> BTreeMap<String, u64> {
        self.call_counts()
            .into_iter()
            .map(|(operation, counts)| (operation.to_owned(), counts.sent))
            .collect()
    }

    /// What was sent and what was throttled so far, by operation.
    #[must_use]
    pub fn call_counts(&self) -> BTreeMap<&'static str, OperationCounts> {
        self.governed
            .governor(|governor, _| governor.counts().collect())
    }

    /// The calls a second that each operation that was called may make now, where something limits it.
    #[must_use]
    pub fn rates(&self) -> BTreeMap<&'static str, f64> {
        self.governed.governor(|governor, _| {
            let operations = governor.counts();
            operations
                .filter_map(|(operation, _)| Some((operation, governor.rate(operation)?)))
                .collect()
        })
    }

    /// How many calls of an operation are worth having in flight.
    #[must_use]
    pub fn concurrency(&self, operation: &str) -> usize {
        self.governed
            .governor(|governor, _| governor.concurrency(operation))
    }

    /// How long reading an organization of this shape takes from now with each strategy.
    #[must_use]
    pub fn estimate(&self, shape: &ListingShape, unit_names_known: bool) -> Bounds {
        self.governed
            .governor(|governor, now| governor.estimate(shape, unit_names_known, now))
    }

    /// A handle for another Region that shares connections and the governor.
    #[must_use]
    pub fn in_region(&self, region: &onboarding_core::ids::Region) -> Self {
        let config = self
            .clients
            .config()
            .to_builder()
            .region(Region::new(region.as_str().to_owned()))
            .build();
        Self {
            governed: Arc::clone(&self.governed),
            clients: Arc::new(Clients::new(config)),
            call_as: self.call_as,
        }
    }

    /// A handle with other credentials that shares connections and the governor.
    pub(crate) fn with_credentials(
        &self,
        credentials: &StaticCredentials,
        expires: Option<std::time::SystemTime>,
    ) -> Self {
        let config = self
            .clients
            .config()
            .to_builder()
            .credentials_provider(SharedCredentialsProvider::new(sdk_credentials(
                credentials,
                expires,
            )))
            .identity_cache(aws_config::identity::IdentityCache::no_cache())
            .build();
        Self {
            governed: Arc::clone(&self.governed),
            clients: Arc::new(Clients::new(config)),
            call_as: self.call_as,
        }
    }
}

fn sdk_credentials(
    credentials: &StaticCredentials,
    expires: Option<std::time::SystemTime>,
) -> Credentials {
    Credentials::new(
        credentials.access_key_id.clone(),
        credentials.secret_access_key.expose(),
        credentials
            .session_token
            .as_ref()
            .map(|token| token.expose().to_owned()),
        expires,
        "spot-onboarding",
    )
}
