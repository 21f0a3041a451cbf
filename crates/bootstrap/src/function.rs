//! One invocation: its messages are served like those of any queue, and what could not be answered is said to Lambda.
//!
//! Guarantees: a request is answered before its ServiceTimeout and before the function's own timeout, with a failure if
//! it must; a message that was not answered is reported as failed, so that the queue keeps it (SQS) or Lambda repeats the
//! invocation (everything else).

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use lambda_runtime::{Context, Diagnostic, LambdaEvent};
use onboarding_provider::{
    ConsumeSettings, Contract, Intents, Invocation, MemoryIntents, Message, Provider,
    ProviderSettings, Refusal, Responder, consume, lambda, queue::decline, sql::Database,
};
use serde_json::{Value, json};
use spot_api::{SpotClient, SpotSettings};
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    aws::LazyAws,
    batch::{Batch, Source},
    config::Config,
    directory::Directory,
    metrics,
    state::{self, StateError},
    token,
};

const USER_AGENT: &str = concat!("spot-onboarding-bootstrap/", env!("CARGO_PKG_VERSION"));

/// Messages of one batch that are worked on at the same time: as many as an event source mapping sends at most without a
/// batching window. They share one state, so they may be of one account.
const AT_ONCE: usize = 10;

/// The time that an invocation keeps for its own answer, at most; of a shorter one a twentieth.
const LAST_MOMENTS: Duration = Duration::from_secs(2);

/// An invocation that Lambda has to repeat, or to keep for somebody.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvokeError {
    /// The event is none that is served.
    #[error(transparent)]
    Event(#[from] lambda::InvocationError),
    /// Without the topic, anyone's messages would be served.
    #[error("PROVIDER_TOPIC_ARN is not set, so messages of a topic or queue are not served")]
    NoTopic,
    /// A request that is no message of a queue was not answered.
    #[error("the request was not answered; the log says why")]
    Unanswered,
    /// Spot's client cannot be set up.
    #[error(transparent)]
    Spot(#[from] spot_api::SpotError),
    /// The durable state cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<InvokeError> for Diagnostic {
    fn from(error: InvokeError) -> Self {
        Self {
            error_type: "Provider.Unanswered".to_owned(),
            error_message: error.to_string(),
        }
    }
}

/// What serves, and the durable state that it uses.
struct Made {
    provider: Provider,
    database: Option<Database>,
}

/// The function, for as long as its process lives.
pub(crate) struct Function {
    /// Its name in AWS.
    name: Arc<str>,
    config: Arc<Config>,
    aws: Arc<LazyAws>,
    made: Mutex<Option<Arc<Made>>>,
    responder: Responder,
}

impl Function {
    pub(crate) fn new(config: Config, name: &str) -> Self {
        Self {
            name: name.into(),
            config: Arc::new(config),
            aws: Arc::default(),
            made: Mutex::default(),
            responder: Responder::when_needed(USER_AGENT),
        }
    }

    /// Serves one event. The answer to a batch is a partial batch response.
    pub(crate) async fn invoke(&self, event: LambdaEvent<Value>) -> Result<Value, InvokeError> {
        let (event, context) = event.into_parts();
        let times = Times::of(&context);
        let read = lambda::read(&event, Timestamp::now());
        let read = read.inspect_err(|error| metrics::refused(&self.name, Refusal::from(error)));
        let (messages, function) = match read? {
            Invocation::Queue { arn, messages } => {
                self.has_topic()?;
                let source = Source::new(Arc::clone(&self.aws), &arn);
                let left = self.serve(messages, None, source, &times).await?;
                let failures: Vec<Value> = left
                    .into_iter()
                    .map(|id| json!({ "itemIdentifier": id }))
                    .collect();
                return Ok(json!({ "batchItemFailures": failures }));
            }
            Invocation::Topic(message) => {
                self.has_topic()?;
                (vec![message], None)
            }
            Invocation::Function(message) => (vec![message], Some(context.invoked_function_arn)),
        };
        match self
            .serve(messages, function, None, &times)
            .await?
            .as_slice()
        {
            [] => Ok(Value::Null),
            _ => Err(InvokeError::Unanswered),
        }
    }

    fn has_topic(&self) -> Result<(), InvokeError> {
        match self.config.topic {
            Some(_) => Ok(()),
            None => Err(InvokeError::NoTopic),
        }
    }

    /// Serves messages, and returns the receipts of those that were not answered.
    async fn serve(
        &self,
        messages: Vec<Message>,
        function: Option<String>,
        source: Option<Source>,
        times: &Times,
    ) -> Result<Vec<String>, InvokeError> {
        let is_direct = function.is_some();
        let contract = Contract {
            topic: self.config.topic.clone(),
            function,
            service_timeout: self.config.service_timeout,
            ends: Some(times.answered),
            response_hosts: self.config.response_hosts.clone(),
        };
        let made = match self.made(times).await {
            Ok(made) => made,
            // A queue delivers again. Who invokes the function for one request hears of it now, or never.
            Err(error) if is_direct => {
                tracing::error!(%error, "requests are declined");
                return Ok(self.declined(messages, &contract).await);
            }
            Err(error) => return Err(error),
        };
        let settings = ConsumeSettings {
            concurrency: AT_ONCE,
            contract,
            ..ConsumeSettings::default()
        };
        let batch = Batch::new(messages, times.taken_up, source);
        let abort = CancellationToken::new();
        let served = consume(
            &batch,
            &made.provider,
            &self.responder,
            &settings,
            batch.drain(),
            &abort,
        );
        let over = async {
            tokio::time::sleep_until(times.over).await;
            abort.cancel();
            std::future::pending().await
        };
        let consumed = tokio::select! {
            consumed = served => consumed,
            consumed = over => consumed,
        };
        let left = batch.unanswered();
        if !left.is_empty() {
            tracing::warn!(?left, ?consumed, "messages were not answered");
        }
        Ok(left.into_iter().collect())
    }

    /// Answers what cannot be served, and returns the receipts of what could not be answered either.
    async fn declined(&self, messages: Vec<Message>, contract: &Contract) -> Vec<String> {
        let mut left = Vec::new();
        for message in messages {
            if !decline(&message, &self.responder, contract, DECLINED).await {
                left.push(message.receipt);
            }
        }
        left
    }

    /// What serves: made once, and again when its state does not answer any more (its password may be another one now). A
    /// state that cannot be had is tried again for half of the time: the message would come back much later.
    async fn made(&self, times: &Times) -> Result<Arc<Made>, InvokeError> {
        let mut known = self.made.lock().await;
        if let Some(made) = &*known
            && state::is_current(made.database.as_ref()).await
        {
            return Ok(Arc::clone(made));
        }
        let database = match &self.config.state {
            Some(place) => {
                let ca_file = self.config.state_ca_file.as_deref();
                Some(state::open(place, ca_file, &self.aws, times.taken_up).await?)
            }
            None => None,
        };
        let made = Arc::new(self.make(database)?);
        *known = Some(Arc::clone(&made));
        Ok(made)
    }

    fn make(&self, database: Option<Database>) -> Result<Made, InvokeError> {
        let mut settings = SpotSettings {
            user_agent: USER_AGENT.to_owned(),
            ..SpotSettings::default()
        };
        if let Some(url) = &self.config.spot_url {
            settings.base_url.clone_from(url);
        }
        let tokens = token::source(&self.config.token, &self.aws);
        let spot = SpotClient::new(settings, tokens, None)?;
        let intents: Arc<dyn Intents> = match &database {
            Some(database) => {
                spot.share_windows(Arc::new(database.clone()));
                spot.share_locks(Arc::new(database.clone()));
                Arc::new(database.clone())
            }
            None => Arc::new(MemoryIntents::default()),
        };
        let provider = Provider::new(
            spot,
            intents,
            Arc::new(Directory::new(
                Arc::clone(&self.aws),
                Arc::clone(&self.config),
            )),
            ProviderSettings {
                deletion: self.config.deletion,
                shared_state: database.is_some(),
                stacks: self.config.stacks.clone(),
                ..ProviderSettings::default()
            },
            metrics::sink(&self.name),
        );
        Ok(Made { provider, database })
    }
}

/// What a stack is told; the function's log says more.
const DECLINED: &str =
    "the enrollment provider cannot serve now, so nothing was changed at Spot; its log says why";

/// The moments of an invocation, in their order.
struct Times {
    /// Nothing is taken up after it: half of the time is over, and the rest would be too short.
    taken_up: Instant,
    /// The last answer is with CloudFormation.
    answered: Timestamp,
    /// Everything is dropped, so that there is time to say so.
    over: Instant,
}

impl Times {
    fn of(context: &Context) -> Self {
        let now = Timestamp::now();
        let end = i64::try_from(context.deadline).ok();
        let end = end.and_then(|end| Timestamp::from_millisecond(end).ok());
        let left = end.map_or(Duration::ZERO, |end| {
            Duration::try_from(end.duration_since(now)).unwrap_or_default()
        });
        let last = LAST_MOMENTS.min(left / 20);
        Self {
            taken_up: Instant::now() + left / 2,
            answered: now.checked_add(left - last).unwrap_or(now),
            over: Instant::now() + (left - last / 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invocation_answers_before_its_end() {
        let mut context = Context::default();
        let end = Timestamp::now()
            .checked_add(Duration::from_secs(60))
            .unwrap();
        context.deadline = u64::try_from(end.as_millisecond()).unwrap();
        let times = Times::of(&context);
        let left = times.over - Instant::now();
        assert!(
            left > Duration::from_secs(58) && left < Duration::from_secs(60),
            "{left:?}"
        );
        assert!(times.taken_up < times.over);
        let answered = Duration::try_from(end.duration_since(times.answered)).unwrap();
        assert!(answered >= Duration::from_secs(2), "{answered:?}");
        // A clock that is behind: nothing is taken up, so nothing is lost.
        context.deadline = 0;
        assert!(Times::of(&context).taken_up <= Instant::now());
    }
}
