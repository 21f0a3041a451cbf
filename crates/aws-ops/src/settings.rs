//! What the binaries decide about our use of AWS.

use std::time::Duration;

use onboarding_core::{ids::Region, secret::SecretText};

/// How to reach AWS. Endpoints and credentials come from where the AWS SDK looks for them (environment, profiles,
/// container and instance roles; `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>` included) unless given here.
#[derive(Debug, Clone)]
pub struct AwsSettings {
    /// The home Region, in which the stack sets live. None: the SDK's chain (`AWS_REGION`, profile).
    pub region: Option<Region>,
    /// The share (0 to 1) of AWS Organizations' published rates that is ours; other tools use the same limits.
    pub organizations_share: f64,
    /// Start without rates: for systems that do not have AWS's limits. Throttling is obeyed all the same.
    pub rates_off: bool,
    /// As whom stack sets are managed.
    pub call_as: CallAs,
    /// Limits of each call.
    pub timeouts: Timeouts,
    /// One endpoint for all services, instead of the environment's.
    pub endpoint_url: Option<String>,
    /// Credentials instead of the SDK's chain.
    pub credentials: Option<StaticCredentials>,
}

impl Default for AwsSettings {
    fn default() -> Self {
        Self {
            region: None,
            organizations_share: 0.5,
            rates_off: false,
            call_as: CallAs::Myself,
            timeouts: Timeouts::default(),
            endpoint_url: None,
            credentials: None,
        }
    }
}

/// As whom stack sets are managed (CloudFormation API reference, `CallAs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CallAs {
    /// `SELF`: we are in the management account.
    #[default]
    Myself,
    /// `DELEGATED_ADMIN`: we are in a member account that is registered as delegated administrator for StackSets.
    DelegatedAdministrator,
}

/// Limits of each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection is established.
    pub connect: Duration,
    /// Until one attempt is answered. Above the 20 s that a queue may hold a ReceiveMessage.
    pub attempt: Duration,
    /// From the first attempt on, until no further one is started.
    pub retries: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            attempt: Duration::from_secs(40),
            retries: Duration::from_secs(120),
        }
    }
}

/// AWS credentials that do not come from the SDK's chain.
#[derive(Debug, Clone)]
pub struct StaticCredentials {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: SecretText,
    /// The session token of temporary credentials.
    pub session_token: Option<SecretText>,
}
