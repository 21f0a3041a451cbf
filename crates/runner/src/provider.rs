//! The enrollment provider inside the runner: its queue is SQS, its state is ours, its account directory is AWS
//! Organizations. What it decides and says to Spot is in onboarding-provider.

pub mod dead_letters;
pub mod depth;
mod directory;
mod served;
mod sqs;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use onboarding_core::{
    custom_resource::ServedStacks,
    ids::{AwsAccountId, StackId},
    inventory::{AccountTags, OrganizationSnapshot},
    template::home::FUNCTION_OUTPUT,
};
use onboarding_provider::{
    AccountDirectory as _, ConsumeSettings, Contract, Provider, ProviderSettings, Responder,
    consume,
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::ServedBy,
    engine::{ErrorClass, Interrupt, JobError},
    home::{Home, aws_error},
    telemetry::metrics,
};

pub use served::Served;

use directory::Directory;
use sqs::SqsQueue;

/// What a run has read of the organization, for a provider that serves beside it.
#[derive(Debug, Clone)]
pub struct KnownOrganization {
    /// Its units and accounts.
    pub organization: Arc<OrganizationSnapshot>,
    /// The tags of the accounts that tags decide about.
    pub tags: Arc<AccountTags>,
}

/// Checks that the queue is there and can be used, before anything is started whose requests would end in it. Changes
/// nothing.
///
/// # Errors
/// [`ErrorClass::Prerequisite`] when there is no such queue, it may not be read, or it is not where it must be;
/// [`ErrorClass::Transient`] when AWS cannot be reached.
pub async fn check(home: &Home) -> Result<(), JobError> {
    let url = queue_url(home).await?;
    let attributes = home.aws.queue_attributes(&url).await.map_err(|error| {
        let advice = match error.class() {
            aws_ops::ErrorClass::NotFound => {
                "make it with `runner bootstrap`, or set enrollment.queue_url to the one that is there"
            }
            aws_ops::ErrorClass::Denied | aws_ops::ErrorClass::Invalid => {
                "look at enrollment.queue_url, and let our identity read, change and delete its messages and read its \
                 attributes"
            }
            _ => return aws_error(error),
        };
        prerequisite(format!("the provider's queue {url} cannot be used: {error}; {advice}"))
    })?;
    let arn = attributes
        .get("QueueArn")
        .map(String::as_str)
        .unwrap_or_default();
    let parts: Vec<&str> = arn.split(':').collect();
    let [_, _, "sqs", region, account, _] = parts.as_slice() else {
        return Err(prerequisite(format!(
            "the provider's queue {url} has no ARN that could be read ({arn:?}); look at enrollment.queue_url"
        )));
    };
    if *region != home.aws.region() {
        return Err(prerequisite(format!(
            "the provider's queue {arn} is not in {}, where the runner is; make it there, or set aws.region",
            home.aws.region()
        )));
    }
    let topic = home.config.runner.topic(Some(home.identity.account));
    let owners = [
        Some(home.identity.account),
        topic.and_then(|topic| topic.account()),
    ];
    if !account
        .parse()
        .is_ok_and(|account| owners.contains(&Some(account)))
    {
        return Err(prerequisite(format!(
            "the provider's queue {arn} is neither in our account {} nor in that of its topic; look at \
             enrollment.queue_url and enrollment.topic_arn",
            home.identity.account
        )));
    }
    Ok(())
}

/// Checks that the function is there, where nobody else serves the queue. Changes nothing.
///
/// # Errors
/// [`ErrorClass::Prerequisite`] when the stack that has it is not there, or lacks it.
pub async fn check_function(home: &Home) -> Result<(), JobError> {
    let config = &home.config.runner;
    if config.enrollment.served_by != ServedBy::Lambda {
        return Ok(());
    }
    let Some(name) = config.function_stack() else {
        tracing::warn!(
            "enrollment.served_by is \"lambda\" and [bootstrap.lambda] names no code: that your own function serves the queue \
             cannot be seen from here"
        );
        return Ok(());
    };
    let advice = "deploy it with `runner bootstrap`";
    let stack = home.aws.describe_stack(&name).await.map_err(aws_error)?;
    let Some(stack) = stack else {
        return Err(prerequisite(format!(
            "enrollment.served_by is \"lambda\", and there is no stack {name} with the function; {advice}"
        )));
    };
    if !stack.outputs.contains_key(FUNCTION_OUTPUT) {
        return Err(prerequisite(format!(
            "enrollment.served_by is \"lambda\", and the stack {name} has no function; {advice}"
        )));
    }
    // A stack has its outputs from its creation on, whatever becomes of later changes, until it goes.
    if stack.status.starts_with("DELETE") {
        return Err(prerequisite(format!(
            "enrollment.served_by is \"lambda\", and the stack {name} with the function is {}; {advice}",
            stack.status
        )));
    }
    Ok(())
}

/// The URL of the queue: the configured one, or that of the queue with the topic's name.
async fn queue_url(home: &Home) -> Result<String, JobError> {
    if let Some(url) = &home.config.runner.enrollment.queue_url {
        return Ok(url.clone());
    }
    let name = home.config.runner.queue_name();
    home.aws.queue_url(name).await.map_err(|error| match error.class() {
        aws_ops::ErrorClass::NotFound => prerequisite(format!(
            "there is no queue {name} in account {} and Region {}; make the topic and its queue with `runner bootstrap`, or set \
             enrollment.topic_arn and enrollment.queue_url to those that are there",
            home.identity.account,
            home.aws.region()
        )),
        aws_ops::ErrorClass::Denied => prerequisite(format!(
            "the provider's queue {name} cannot be looked up: {error}; let our identity do it, or set enrollment.queue_url"
        )),
        _ => aws_error(error),
    })
}

/// What our templates ask for.
fn contract(home: &Home) -> Contract {
    Contract {
        topic: home.config.runner.topic(Some(home.identity.account)),
        service_timeout: home.config.runner.enrollment.service_timeout.get(),
        ends: None,
        function: None,
        response_hosts: home.response_hosts.clone(),
    }
}

fn prerequisite(message: String) -> JobError {
    JobError::new(ErrorClass::Prerequisite, message)
}

/// The enrollment lifecycle over our state and AWS Organizations, for requests of these stacks. A known organization saves it
/// from asking for each account.
///
/// # Errors
/// When the state cannot be read, or a profile's rules cannot be used.
pub async fn lifecycle(
    home: &Home,
    known: Option<KnownOrganization>,
    stacks: ServedStacks,
) -> Result<Provider, JobError> {
    let directory = Directory::new(home.clone(), known).await?;
    Ok(Provider::new(
        home.spot.clone(),
        Arc::new(home.state.database().clone()),
        Arc::new(directory),
        ProviderSettings {
            deletion: home.config.runner.enrollment.deletion.into(),
            stacks,
            ..ProviderSettings::default()
        },
        Arc::new(|event| metrics::provider_event(&event)),
    ))
}

/// Whether an account is active and a profile targets it, as it is now: no listing decides.
///
/// # Errors
/// When AWS or the state cannot be asked, or a profile's rules cannot be used.
pub async fn is_in_scope(home: &Home, account: AwsAccountId) -> Result<bool, JobError> {
    let directory = Directory::new(home.clone(), None).await?;
    let details = directory.account(account).await;
    let details =
        details.map_err(|error| JobError::new(ErrorClass::Transient, error.to_string()))?;
    Ok(details.is_some())
}

/// Whether a stack is known to be deleted: read in its account, where the audit role lets us.
///
/// # Errors
/// When the state cannot be read, or a profile's rules cannot be used.
pub async fn is_stack_gone(home: &Home, stack: &StackId) -> Result<bool, JobError> {
    let directory = Directory::new(home.clone(), None).await?;
    let status = directory.stack_status(stack).await;
    Ok(status.is_some_and(|status| status == "DELETE_COMPLETE"))
}

/// A provider that is ready to serve.
pub struct Serving {
    queue: SqsQueue,
    provider: Provider,
    responder: Responder,
    settings: ConsumeSettings,
}

impl Serving {
    /// Finds the queue and puts the parts together.
    ///
    /// # Errors
    /// When there is no queue, it cannot be reached, or answers could not be sent over TLS.
    pub async fn prepare(home: &Home, known: Option<KnownOrganization>) -> Result<Self, JobError> {
        let queue_url = queue_url(home).await?;
        let responder = Responder::new(concat!("spot-onboarding/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| JobError::new(ErrorClass::Prerequisite, error.to_string()))?;
        let stacks = home.config.runner.served_stacks();
        let provider = lifecycle(home, known, stacks).await?;
        let settings = ConsumeSettings {
            concurrency: usize::try_from(home.config.runner.enrollment.consumers).unwrap_or(1),
            poll: Duration::from_secs(20),
            contract: contract(home),
            ..ConsumeSettings::default()
        };
        Ok(Self {
            queue: SqsQueue::new(home.aws.clone(), queue_url),
            provider,
            responder,
            settings,
        })
    }

    /// Ends by itself when the queue is empty and everything that was taken up is answered.
    #[must_use]
    pub fn until_empty(mut self) -> Self {
        self.settings.once = true;
        self.settings.poll = Duration::from_secs(2);
        self
    }

    /// Serves another queue.
    #[must_use]
    pub fn from_queue(mut self, home: &Home, url: String) -> Self {
        self.queue = SqsQueue::new(home.aws.clone(), url);
        self
    }

    /// Says whether the queue lets it receive.
    #[must_use]
    pub fn saying_so(mut self, served: Arc<Served>) -> Self {
        self.queue = self.queue.saying_so(served);
        self
    }

    /// Serves until `drain` is cancelled and what was taken up is answered; `abort` leaves at once.
    ///
    /// # Errors
    /// When it stopped by itself, because another version of the program has changed the state.
    pub async fn run(
        &self,
        drain: &CancellationToken,
        abort: &CancellationToken,
    ) -> Result<(), JobError> {
        let consumed = consume(
            &self.queue,
            &self.provider,
            &self.responder,
            &self.settings,
            drain,
            abort,
        )
        .await;
        tracing::info!(
            delivered = consumed.delivered,
            given_up = consumed.given_up,
            left = consumed.left,
            "the provider stopped serving"
        );
        if consumed.outdated {
            return Err(prerequisite(
                "another version of the program has changed the state, so this one stopped serving; run that version here, too"
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

/// Serves beside a run, until `stop` is cancelled. Trouble is logged: the run's own steps show what hangs because of it. A run
/// that cannot serve any more, because another version of the program has changed the state, starts nothing new.
#[must_use]
pub fn beside_a_run(
    home: Home,
    known: Option<KnownOrganization>,
    stop: CancellationToken,
    interrupt: Interrupt,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let served = async {
            let serving = Serving::prepare(&home, known).await?;
            let served = serving.run(&stop, &CancellationToken::new()).await;
            if served.is_err() && !interrupt.is_draining() {
                interrupt.signal();
            }
            served
        };
        if let Err(error) = served.await {
            tracing::error!(
                error = error.chain(),
                "custom resources are not answered by this run"
            );
        }
    })
}
