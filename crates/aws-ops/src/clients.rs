//! The SDK's clients of one set of credentials, made when first used, over one HTTP client that all sets share.

use std::sync::OnceLock;

use aws_config::SdkConfig;
use aws_smithy_http_client::{
    Builder, Connector,
    proxy::ProxyConfig,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector, http_client_fn,
    },
    runtime_components::RuntimeComponents,
};

/// See the module documentation.
pub(crate) struct Clients {
    config: SdkConfig,
    cloudformation: OnceLock<aws_sdk_cloudformation::Client>,
    iam: OnceLock<aws_sdk_iam::Client>,
    recordings: OnceLock<aws_sdk_config::Client>,
    organizations: OnceLock<aws_sdk_organizations::Client>,
    secrets: OnceLock<aws_sdk_secretsmanager::Client>,
    queues: OnceLock<aws_sdk_sqs::Client>,
    parameters: OnceLock<aws_sdk_ssm::Client>,
    sts: OnceLock<aws_sdk_sts::Client>,
    topics: OnceLock<aws_sdk_sns::Client>,
}

impl Clients {
    pub(crate) fn new(config: SdkConfig) -> Self {
        Self {
            config,
            cloudformation: OnceLock::new(),
            iam: OnceLock::new(),
            recordings: OnceLock::new(),
            organizations: OnceLock::new(),
            secrets: OnceLock::new(),
            queues: OnceLock::new(),
            parameters: OnceLock::new(),
            sts: OnceLock::new(),
            topics: OnceLock::new(),
        }
    }

    pub(crate) fn config(&self) -> &SdkConfig {
        &self.config
    }

    pub(crate) fn cloudformation(&self) -> &aws_sdk_cloudformation::Client {
        self.cloudformation
            .get_or_init(|| aws_sdk_cloudformation::Client::new(&self.config))
    }

    pub(crate) fn iam(&self) -> &aws_sdk_iam::Client {
        self.iam
            .get_or_init(|| aws_sdk_iam::Client::new(&self.config))
    }

    /// AWS Config.
    pub(crate) fn recordings(&self) -> &aws_sdk_config::Client {
        self.recordings
            .get_or_init(|| aws_sdk_config::Client::new(&self.config))
    }

    pub(crate) fn organizations(&self) -> &aws_sdk_organizations::Client {
        self.organizations
            .get_or_init(|| aws_sdk_organizations::Client::new(&self.config))
    }

    pub(crate) fn secrets(&self) -> &aws_sdk_secretsmanager::Client {
        self.secrets
            .get_or_init(|| aws_sdk_secretsmanager::Client::new(&self.config))
    }

    pub(crate) fn queues(&self) -> &aws_sdk_sqs::Client {
        self.queues
            .get_or_init(|| aws_sdk_sqs::Client::new(&self.config))
    }

    pub(crate) fn parameters(&self) -> &aws_sdk_ssm::Client {
        self.parameters
            .get_or_init(|| aws_sdk_ssm::Client::new(&self.config))
    }

    pub(crate) fn topics(&self) -> &aws_sdk_sns::Client {
        self.topics
            .get_or_init(|| aws_sdk_sns::Client::new(&self.config))
    }

    pub(crate) fn sts(&self) -> &aws_sdk_sts::Client {
        self.sts
            .get_or_init(|| aws_sdk_sts::Client::new(&self.config))
    }
}

/// The one HTTP client: rustls with aws-lc, and the proxies that the environment names (the SDK's own default client
/// ignores those).
pub(crate) fn http_client() -> SharedHttpClient {
    let client = Builder::new().build_with_connector_fn(|settings, components| {
        let mut connector = Connector::builder()
            .proxy_config(ProxyConfig::from_env())
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc));
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        connector.build()
    });
    // Only the connector function: the client's own validation would build a connector, and read all root
    // certificates, once for each set of credentials.
    http_client_fn(
        move |settings: &HttpConnectorSettings,
              components: &RuntimeComponents|
              -> SharedHttpConnector { client.http_connector(settings, components) },
    )
}
