//! The dead-letter queue behind the provider's queue: what is in it, without changing it.

use std::{collections::BTreeSet, time::Duration};

use aws_ops::queue::QueueAttributes;
use jiff::Timestamp;
use onboarding_provider::{Contract, wire};
use serde::Serialize;

use super::{contract, prerequisite, queue_url};
use crate::{
    engine::JobError,
    home::{Home, aws_error},
};

/// A message that was received too often, or could not be delivered to the provider's queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// SQS's id of it.
    pub message_id: String,
    /// When it was sent.
    pub sent_at: Timestamp,
    /// What it asks for; none when it is no request of our templates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<DeadRequest>,
    /// Why it is no request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// A request that was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadRequest {
    /// CloudFormation's id of it.
    pub request_id: String,
    /// The AWS account of its stack.
    pub account: String,
    /// Its stack.
    pub stack_id: String,
    /// `Create`, `Update` or `Delete`.
    pub request_type: String,
    /// The type of its resource.
    pub resource_type: String,
    /// Until when CloudFormation waits for an answer.
    pub deadline: Timestamp,
    /// Whether it still does.
    pub answerable: bool,
}

/// How long a look keeps a message from others, at the longest.
const LOOK: Duration = Duration::from_secs(1);

/// The URL of the dead-letter queue that the provider's queue names. It is in the same account and Region (SQS developer
/// guide, "dead-letter queues"), so its URL differs in the name only.
///
/// # Errors
/// The provider's queue cannot be read, or has no dead-letter queue.
pub async fn find(home: &Home) -> Result<String, JobError> {
    let url = queue_url(home).await?;
    let attributes = home.aws.queue_attributes(&url).await.map_err(aws_error)?;
    url_behind(&url, &attributes).ok_or_else(|| {
        prerequisite(format!(
            "the provider's queue {url} has no dead-letter queue: give it a redrive policy, or name a queue with --queue-url"
        ))
    })
}

/// The URL of the dead-letter queue of a queue with these attributes; none when it has none.
pub(super) fn url_behind(url: &str, attributes: &QueueAttributes) -> Option<String> {
    let policy: serde_json::Value = serde_json::from_str(attributes.get("RedrivePolicy")?).ok()?;
    let arn = policy.get("deadLetterTargetArn")?.as_str()?;
    let name = arn.rsplit(':').next()?;
    let (place, _) = url.rsplit_once('/')?;
    Some(format!("{place}/{name}"))
}

/// Looks at up to `limit` messages of a queue and gives them back.
///
/// # Errors
/// The queue cannot be read.
pub async fn list(home: &Home, url: &str, limit: usize) -> Result<Vec<DeadLetter>, JobError> {
    let contract = contract(home);
    let (mut seen, mut letters, mut receipts) = (BTreeSet::new(), Vec::new(), Vec::new());
    while letters.len() < limit {
        let messages = home.aws.receive_messages(url, 10, LOOK).await;
        let messages = messages.map_err(aws_error)?;
        let before = letters.len();
        for message in messages {
            receipts.push(message.receipt);
            if letters.len() < limit && seen.insert(message.id.clone()) {
                let sent_at = message
                    .sent_at_ms
                    .and_then(|millis| Timestamp::from_millisecond(millis).ok())
                    .unwrap_or_else(Timestamp::now);
                letters.push(letter(message.id, &message.body, sent_at, &contract));
            }
        }
        if letters.len() == before {
            break;
        }
    }
    for receipt in &receipts {
        let given_back = home
            .aws
            .change_message_visibility(url, receipt, Duration::ZERO);
        if let Err(error) = given_back.await {
            tracing::warn!(%error, "a message comes back only when its visibility timeout runs out");
        }
    }
    letters.sort_by(|a, b| (a.sent_at, &a.message_id).cmp(&(b.sent_at, &b.message_id)));
    Ok(letters)
}

fn letter(message_id: String, body: &str, sent_at: Timestamp, contract: &Contract) -> DeadLetter {
    let (request, problem) = match wire::read(body, sent_at, contract) {
        Ok(delivered) => {
            let request = delivered.request;
            let request = DeadRequest {
                account: request.account.to_string(),
                stack_id: request.stack_id.to_string(),
                request_type: request.request_type.to_string(),
                resource_type: request.resource_type,
                request_id: request.request_id,
                deadline: delivered.deadline,
                answerable: delivered.deadline > Timestamp::now(),
            };
            (Some(request), None)
        }
        Err(error) => (None, Some(error.to_string())),
    };
    DeadLetter {
        message_id,
        sent_at,
        request,
        problem,
    }
}
