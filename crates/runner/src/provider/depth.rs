//! How many messages wait in the provider's queue and in the dead-letter queue behind it.

use aws_ops::queue::QueueAttributes;

use super::{dead_letters::url_behind, queue_url};
use crate::{
    engine::JobError,
    home::{Home, aws_error},
};

/// The messages of a queue, as many as SQS thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// `requests` or `dead-letters`.
    pub queue: &'static str,
    /// Those that a consumer could receive now.
    pub visible: u64,
    /// Those that a consumer has received and not deleted yet.
    pub in_flight: u64,
}

/// Asks SQS for both queues. Changes nothing.
///
/// # Errors
/// When there is no queue, or AWS does not say.
pub async fn depths(home: &Home) -> Result<Vec<Depth>, JobError> {
    let url = queue_url(home).await?;
    let requests = home.aws.queue_attributes(&url).await.map_err(aws_error)?;
    let mut depths = vec![depth("requests", &requests)];
    if let Some(url) = url_behind(&url, &requests) {
        let dead = home.aws.queue_attributes(&url).await.map_err(aws_error)?;
        depths.push(depth("dead-letters", &dead));
    }
    Ok(depths)
}

fn depth(queue: &'static str, attributes: &QueueAttributes) -> Depth {
    let number = |name: &str| {
        let text = attributes.get(name)?;
        text.parse().ok()
    };
    Depth {
        queue,
        visible: number("ApproximateNumberOfMessages").unwrap_or_default(),
        in_flight: number("ApproximateNumberOfMessagesNotVisible").unwrap_or_default(),
    }
}
