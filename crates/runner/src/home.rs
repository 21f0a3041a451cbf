//! The home account: the clients of AWS and Spot and the state, put together from configuration and environment.
//! Jobs, the provider and the status reach the world through this and nothing else.

mod remediation;
mod tokens;

use std::{collections::BTreeMap, sync::Arc};

pub use remediation::Remediation;

use aws_ops::{
    AccessRole, AccountAccess, Aws, AwsError, AwsSettings, CallAs, Timeouts,
    identity::CallerIdentity,
};
use onboarding_core::{
    governor::spot::GovernorSettings,
    secret::SecretText,
    stackset_sync::operation_targets::{self, SpotPace},
    template::{POLICY_VERSION_PARAMETER, PinnedVersions, read_versions},
};
use onboarding_provider::response_hosts::{self, InvalidHost, ResponseHosts};
use opentelemetry::KeyValue;
use spot_api::{SpotClient, SpotError, SpotSettings, TokenSource};

use crate::{
    config::{self, Concurrency, Loaded},
    engine::{ErrorClass, JobError},
    state::State,
    telemetry::{catalog, metrics},
};

/// See the module documentation. Cheap to clone.
#[derive(Clone)]
pub struct Home {
    /// The configuration that it was made from.
    pub config: Arc<Loaded>,
    /// AWS, as the home account.
    pub aws: Aws,
    /// Spot.
    pub spot: SpotClient,
    /// What is kept between runs.
    pub state: State,
    /// Who we are in AWS.
    pub identity: CallerIdentity,
    /// How member accounts are read, when they are.
    pub access: Option<AccountAccess>,
    /// How stray policies are taken away in them, when they are.
    pub remediation: Option<Remediation>,
    /// Where the answers of custom resources may go beside CloudFormation's own buckets.
    pub response_hosts: ResponseHosts,
    /// The versions of the policies that profiles keep until a rollout changes them, by profile, as they were when this was made.
    pub pinned: Arc<BTreeMap<String, PinnedVersions>>,
    tokens: Arc<dyn TokenSource>,
}

impl Home {
    /// Connects: reads the state, asks AWS who we are, and finds the Spot token. Changes nothing.
    ///
    /// # Errors
    /// [`ErrorClass::Prerequisite`] when credentials or the token are missing or refused, [`ErrorClass::Transient`] when
    /// AWS cannot be reached, and what the state says when it cannot be opened.
    pub async fn connect(config: Arc<Loaded>) -> Result<Self, JobError> {
        let response_hosts = response_hosts()?;
        let aws = Box::pin(connect_aws(&config)).await?;
        let tokens = tokens::source(&config.runner.spot.token, &aws)?;
        let observer = Arc::new(metrics::SpotCalls);
        let spot = SpotClient::new(spot_settings(&config), tokens.clone(), Some(observer))
            .map_err(spot_error)?;
        let state = State::open(&config.runner.state.url).await?;
        let state = state.with_lease(config.runner.state.lease.get());
        spot.share_windows(Arc::new(state.database().clone()));
        spot.share_locks(Arc::new(state.database().clone()));
        let identity = aws.caller_identity().await.map_err(aws_error)?;
        export(&aws, &spot);
        let access = access(&config.runner, &aws);
        let remediation = Remediation::of(&config.runner, &aws);
        let pinned = pinned(&config, &aws, &state).await?;
        Ok(Self {
            access,
            remediation,
            pinned: Arc::new(pinned),
            config,
            aws,
            spot,
            state,
            identity,
            response_hosts,
            tokens,
        })
    }

    /// The same, with other job definitions.
    #[must_use]
    pub fn with_config(&self, config: Arc<Loaded>) -> Self {
        Self {
            config,
            ..self.clone()
        }
    }

    /// The same, with what profiles keep now.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn renewed(&self) -> Result<Self, JobError> {
        Ok(Self {
            pinned: Arc::new(self.state.pinned_versions().await?),
            ..self.clone()
        })
    }

    /// The Spot token, for the one place that must hand it on: a spot-hosted stack set's parameter.
    ///
    /// # Errors
    /// [`ErrorClass::Prerequisite`] when it cannot be had.
    pub async fn spot_token(&self) -> Result<SecretText, JobError> {
        self.tokens
            .token()
            .await
            .map_err(|error| JobError::new(ErrorClass::Prerequisite, error.to_string()))
    }

    /// Since when the Spot token is what it is, in Unix seconds, where its place tells.
    #[must_use]
    pub fn spot_token_since(&self) -> Option<i64> {
        self.tokens.since()
    }

    /// Reads the Spot token again at the next call, where its source keeps it in memory.
    pub async fn forget_spot_token(&self) {
        self.tokens.refused().await;
    }

    /// How many of its accounts an operation may work on at the same time: as configured, bounded by its share of what
    /// Spot's rate limit lets finish within the custom resources' timeout. All operations that run at the same time work on
    /// `accounts_at_once`.
    #[must_use]
    pub fn max_concurrent(&self, accounts: usize, accounts_at_once: usize) -> u32 {
        let configured = match self.config.runner.stack_set.max_concurrent {
            Concurrency::Count(count) => count,
            Concurrency::Percent(percent) => {
                let share = accounts.saturating_mul(usize::from(percent)) / 100;
                u32::try_from(share).unwrap_or(u32::MAX).max(1)
            }
        };
        let learned = self
            .spot
            .windows()
            .iter()
            .filter_map(|window| window.limit)
            .min();
        let requests_per_minute = learned.unwrap_or(self.config.runner.spot.requests_per_minute);
        let timeout = self
            .config
            .runner
            .enrollment
            .service_timeout
            .get()
            .as_secs();
        let pace = SpotPace {
            requests_per_minute,
            requests_per_account: REQUESTS_PER_ACCOUNT,
            service_timeout: u32::try_from(timeout).unwrap_or(3600),
        };
        operation_targets::max_concurrent(configured, pace, accounts, accounts_at_once)
    }

    /// Calls of both clients so far, by operation.
    #[must_use]
    pub fn api_calls(&self) -> BTreeMap<String, u64> {
        calls(&self.aws, &self.spot)
    }
}

/// The versions of the policies that profiles keep. A profile that a rollout job is for and that has none yet keeps what its
/// stack set has: that is what accounts have, whatever the files say by now.
async fn pinned(
    config: &Loaded,
    aws: &Aws,
    state: &State,
) -> Result<BTreeMap<String, PinnedVersions>, JobError> {
    let known = state.pinned_versions().await?;
    let mut is_adopted = false;
    for profile in &config.runner.profiles {
        if known.contains_key(&profile.name) || config.rollout_job(&profile.name).is_none() {
            continue;
        }
        let name = config.runner.stack_set_name(profile);
        let name = name.map_err(|error| JobError::new(ErrorClass::Invalid, error.to_string()))?;
        let Some(stack_set) = aws.describe_stack_set(&name).await.map_err(aws_error)? else {
            continue;
        };
        let deployed = stack_set.parameters.get(POLICY_VERSION_PARAMETER);
        let versions = read_versions(&stack_set.template_body, deployed.map(String::as_str));
        let versions = versions.map_err(|error| {
            let what = format!(
                "the policies in the template of stack set {name} cannot be read, so that they could not be gone back to"
            );
            JobError::new(ErrorClass::Failed, what).with_source(error)
        })?;
        match versions {
            // Another program's stack set, which planning refuses.
            None => {}
            Some(PinnedVersions {
                next: Some(next), ..
            }) => {
                return Err(JobError::new(
                    ErrorClass::Failed,
                    format!(
                        "stack set {name} is in the middle of a rollout of version {} that the state knows nothing of; use the state \
                         that it was begun with, or, when that is lost, take the job away, so that stackset-sync brings all accounts \
                         to what the files say",
                        next.name
                    ),
                ));
            }
            Some(PinnedVersions { current, .. }) => {
                let now = jiff::Timestamp::now().as_second();
                state.adopt_version(&profile.name, &current, now).await?;
                is_adopted = true;
            }
        }
    }
    if is_adopted {
        return Ok(state.pinned_versions().await?);
    }
    Ok(known)
}

/// The audit role of the accounts; none when they are not read.
fn access(config: &config::RunnerConfig, aws: &Aws) -> Option<AccountAccess> {
    let role = AccessRole {
        partition: config.partition().as_str().to_owned(),
        path: config.audit.path.0.0.clone(),
        name: config.audit.role()?.to_owned(),
        session_name: "spot-onboarding".to_owned(),
    };
    Some(AccountAccess::new(aws, role))
}

/// AWS as the configuration says, for commands that need nothing else. Sends nothing.
///
/// # Errors
/// When no Region is configured.
pub async fn connect_aws(config: &Loaded) -> Result<Aws, JobError> {
    let settings = &config.runner.aws;
    Aws::connect(AwsSettings {
        region: Some(settings.region.0.clone()),
        organizations_share: settings.organizations_share,
        call_as: match settings.call_as {
            config::CallAs::Management => CallAs::Myself,
            config::CallAs::DelegatedAdmin => CallAs::DelegatedAdministrator,
        },
        timeouts: Timeouts {
            connect: settings.connect_timeout.get(),
            attempt: settings.call_timeout.get(),
            ..Timeouts::default()
        },
        ..AwsSettings::default()
    })
    .await
    .map_err(aws_error)
}

/// Exports what the clients count and the governors know as metrics.
fn export(aws: &Aws, spot: &SpotClient) {
    let clients = (aws.clone(), spot.clone());
    metrics::observe_counts(&catalog::API_CALLS, move || calls(&clients.0, &clients.1));
    let clients = (aws.clone(), spot.clone());
    metrics::observe_counts(&catalog::API_THROTTLED, move || {
        throttled(&clients.0, &clients.1)
    });
    let aws = aws.clone();
    metrics::observe_gauge(&catalog::AWS_RATE, move || {
        let rates = aws.rates().into_iter();
        rates
            .map(|(operation, rate)| (vec![KeyValue::new("rpc.method", operation)], rate))
            .collect()
    });
    let spot = spot.clone();
    metrics::observe_windows(move || spot.windows());
}

fn calls(aws: &Aws, spot: &SpotClient) -> BTreeMap<String, u64> {
    let mut calls = aws.api_calls();
    calls.extend(spot.calls());
    calls
}

fn throttled(aws: &Aws, spot: &SpotClient) -> BTreeMap<String, u64> {
    let of_aws = aws.call_counts().into_iter();
    let of_spot = spot.windows().into_iter();
    of_aws
        .map(|(operation, counts)| (operation.to_owned(), counts.throttled))
        .chain(of_spot.map(|window| (format!("spot:{}", window.route), window.throttled)))
        .collect()
}

/// Requests that one enrollment makes on the route that it uses most (linking is tried again until the role is known).
const REQUESTS_PER_ACCOUNT: u32 = 3;

fn spot_settings(config: &Loaded) -> SpotSettings {
    let spot = &config.runner.spot;
    let mut settings = SpotSettings {
        connect_timeout: spot.connect_timeout.get(),
        call_timeout: spot.call_timeout.get(),
        governor: GovernorSettings {
            window: spot.rate_window.get(),
            ..GovernorSettings::default()
        },
        ..SpotSettings::default()
    };
    if let Some(url) = std::env::var("SPOT_API_URL")
        .ok()
        .filter(|url| !url.is_empty())
    {
        settings.base_url = url;
    }
    settings
}

fn response_hosts() -> Result<ResponseHosts, JobError> {
    let named = std::env::var(response_hosts::VARIABLE).unwrap_or_default();
    let invalid = |error: InvalidHost| JobError::new(ErrorClass::Prerequisite, error.to_string());
    named.parse().map_err(invalid)
}

/// An AWS client's error as the engine sees it.
#[must_use]
pub fn aws_error(error: AwsError) -> JobError {
    use aws_ops::ErrorClass as Aws;
    let class = match error.class() {
        Aws::Transient | Aws::Unreachable => ErrorClass::Transient,
        Aws::Throttled => ErrorClass::Throttled,
        Aws::Denied => ErrorClass::Denied,
        Aws::Credentials => ErrorClass::Prerequisite,
        Aws::Conflict => ErrorClass::Conflict,
        Aws::Invalid | Aws::NotFound | Aws::Quota | Aws::Unexpected => ErrorClass::Failed,
    };
    let message = match error.class() {
        Aws::Denied => {
            format!(
                "{error}; give our identity this permission (`runner iam-policy` prints all that it needs)"
            )
        }
        Aws::Quota => {
            format!("{error}; a quota of the AWS account is used up: ask AWS to raise it")
        }
        _ => error.to_string(),
    };
    JobError::new(class, message)
}

/// A Spot client's error as the engine sees it.
#[must_use]
pub fn spot_error(error: SpotError) -> JobError {
    use spot_api::ErrorClass as Spot;
    let class = match error.class() {
        Spot::Transient | Spot::Unreachable => ErrorClass::Transient,
        Spot::Throttled => ErrorClass::Throttled,
        Spot::Denied => ErrorClass::Prerequisite,
        Spot::Conflict => ErrorClass::Conflict,
        Spot::Ambiguous => ErrorClass::Ambiguous,
        Spot::Invalid | Spot::NotFound | Spot::Bug => ErrorClass::Failed,
    };
    let message = match error.class() {
        Spot::Denied => format!("{error}; the token must be of an organization admin of Spot"),
        _ => error.to_string(),
    };
    JobError::new(class, message)
}
