//! The enrollment provider inside the runner: its queue is SQS, its state is ours, its account directory is AWS
//! Organizations. What it decides and says to Spot is in onboarding-provider.

mod directory;
mod sqs;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use onboarding_core::inventory::OrganizationSnapshot;
use onboarding_provider::{
    ConsumeSettings, Provider, ProviderSettings, Responder, consume, events::no_events,
};
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{ErrorClass, JobError},
    home::{Home, aws_error},
};

use directory::Directory;
use sqs::SqsQueue;

/// A provider that is ready to serve.
pub struct Serving {
    queue: SqsQueue,
    provider: Provider,
    responder: Responder,
    settings: ConsumeSettings,
}

impl Serving {
    /// Finds the queue and puts the parts together. A snapshot of the organization saves it from asking for each account.
    ///
    /// # Errors
    /// When there is no queue, it cannot be reached, or answers could not be sent over TLS.
    pub async fn prepare(
        home: &Home,
        organization: Option<Arc<OrganizationSnapshot>>,
    ) -> Result<Self, JobError> {
        let enrollment = &home.config.runner.enrollment;
        let queue_url = match &enrollment.queue_url {
            Some(url) => url.clone(),
            None => {
                let name = home.config.runner.queue_name();
                home.aws.queue_url(name).await.map_err(|error| match error.class() {
                    aws_ops::ErrorClass::NotFound => JobError::new(
                        ErrorClass::Prerequisite,
                        format!(
                            "there is no queue {name} in account {} and Region {}; make the topic and its queue, or set \
                             enrollment.topic_arn and enrollment.queue_url to those that are there",
                            home.identity.account,
                            home.aws.region()
                        ),
                    ),
                    _ => aws_error(error),
                })?
            }
        };
        let responder = Responder::new(concat!("spot-onboarding/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| JobError::new(ErrorClass::Prerequisite, error.to_string()))?;
        let directory = Directory::new(home.clone(), organization).await?;
        let provider = Provider::new(
            home.spot.clone(),
            Arc::new(home.state.clone()),
            Arc::new(directory),
            ProviderSettings::default(),
            no_events(),
        );
        let settings = ConsumeSettings {
            concurrency: usize::try_from(enrollment.consumers).unwrap_or(1),
            poll: Duration::from_secs(20),
            ..ConsumeSettings::default()
        };
        Ok(Self {
            queue: SqsQueue::new(home.aws.clone(), queue_url),
            provider,
            responder,
            settings,
        })
    }

    /// Serves until `drain` is cancelled and what was taken up is answered; `abort` leaves at once.
    pub async fn run(&self, drain: &CancellationToken, abort: &CancellationToken) {
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
    }
}

/// Serves beside a run, until `stop` is cancelled. Trouble is logged: the run's own steps show what hangs because of it.
#[must_use]
pub fn beside_a_run(
    home: Home,
    organization: Option<Arc<OrganizationSnapshot>>,
    stop: CancellationToken,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        match Serving::prepare(&home, organization).await {
            Ok(serving) => serving.run(&stop, &CancellationToken::new()).await,
            Err(error) => tracing::error!(
                error = error.chain(),
                "custom resources are not answered by this run"
            ),
        }
    })
}
