//! What a plugin sees of our environment: a few fixed variables, and what it asked for and was granted, as it is when its process starts.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use onboarding_core::secret::SecretText;

use crate::{
    config::{Grant, OWN_VARIABLES},
    engine::{ErrorClass, JobError},
    home::{Home, aws_error},
};

/// Where a plugin finds programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a process is asked more that has credentials of AWS, which expire.
const LIFETIME_OF_CREDENTIALS: Duration = Duration::from_secs(600);

/// Where the environment of each process comes from.
#[async_trait]
pub(crate) trait Environments: Send + Sync {
    /// That of a process that starts now.
    async fn now(&self) -> Result<Environment, JobError>;

    /// How long a process with it is asked more; for as long as the run goes on, when none.
    fn lifetime(&self) -> Option<Duration>;
}

/// What a job grants its plugin.
pub(crate) struct Granted {
    home: Home,
    grants: BTreeSet<Grant>,
}

impl Granted {
    pub(crate) fn new(home: Home, grants: BTreeSet<Grant>) -> Self {
        Self { home, grants }
    }
}

#[async_trait]
impl Environments for Granted {
    async fn now(&self) -> Result<Environment, JobError> {
        Environment::granted(&self.home, &self.grants).await
    }

    fn lifetime(&self) -> Option<Duration> {
        let has_credentials = self.grants.contains(&Grant::AwsCredentials);
        has_credentials.then_some(LIFETIME_OF_CREDENTIALS)
    }
}

/// The variables of a plugin, but those of its own directory.
#[derive(Clone)]
pub(crate) struct Environment {
    pub(super) variables: Vec<(String, String)>,
    /// Those of them that must not be shown.
    pub(super) secrets: Vec<SecretText>,
}

impl Default for Environment {
    /// Without any grant.
    fn default() -> Self {
        let variables = OWN_VARIABLES.into_iter().filter_map(|name| {
            let value = match name {
                "PATH" => PATH,
                "LANG" => "C.UTF-8",
                "TZ" => "UTC",
                // Each process has a directory of its own.
                _ => return None,
            };
            Some((name.to_owned(), value.to_owned()))
        });
        Self {
            variables: variables.collect(),
            secrets: Vec::new(),
        }
    }
}

impl Environment {
    /// With what is granted.
    ///
    /// # Errors
    /// When something that is granted cannot be had.
    async fn granted(
        home: &Home,
        grants: impl IntoIterator<Item = &Grant>,
    ) -> Result<Self, JobError> {
        let mut environment = Self::default();
        for grant in grants {
            match grant {
                // Given with the accounts.
                Grant::AccountTags => {}
                Grant::SpotToken => {
                    environment.set_secret("SPOTINST_TOKEN", &home.spot_token().await?);
                    environment.set("SPOT_API_URL", home.spot.address());
                }
                Grant::AwsCredentials => environment.grant_aws(home).await?,
                Grant::Environment(name) => match std::env::var(name) {
                    Ok(value) => environment.set_secret(name, &SecretText::new(&value)),
                    Err(_) => {
                        return Err(JobError::new(
                            ErrorClass::Prerequisite,
                            format!(
                                "the job grants its plugin the variable {name}, which the runner does not have; set it"
                            ),
                        ));
                    }
                },
            }
        }
        Ok(environment)
    }

    async fn grant_aws(&mut self, home: &Home) -> Result<(), JobError> {
        let credentials = home.aws.credentials().await.map_err(aws_error)?;
        self.set("AWS_ACCESS_KEY_ID", &credentials.access_key_id);
        self.set_secret("AWS_SECRET_ACCESS_KEY", &credentials.secret_access_key);
        if let Some(token) = &credentials.session_token {
            self.set_secret("AWS_SESSION_TOKEN", token);
        }
        for name in ["AWS_REGION", "AWS_DEFAULT_REGION"] {
            self.set(name, home.aws.region());
        }
        // Addresses, where they are not AWS's own.
        for (name, value) in std::env::vars_os() {
            // What is no text is no address.
            if let (Some(name), Some(value)) = (name.to_str(), value.to_str())
                && name.starts_with("AWS_ENDPOINT_URL")
            {
                self.set(name, value);
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) {
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    fn set_secret(&mut self, name: &str, value: &SecretText) {
        self.set(name, value.expose());
        self.secrets.push(value.clone());
    }
}
