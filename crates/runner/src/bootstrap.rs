//! Deploying the stacks of the home account: each is prepared as a change set, looked at, and then executed or thrown
//! away. Which stacks, and what is in them, is onboarding-core's.
//!
//! Guarantees:
//! - Nothing is executed that was not shown, and a preview leaves nothing behind.
//! - The topic that stacks of member accounts name is never replaced or removed, nor is another one put in its place.

mod deploy;
mod error;
mod preview;
pub mod words;

use aws_ops::{
    Aws,
    stacks::{ChangeAction, Replacement},
};
use onboarding_core::{
    ids::{StackSetName, TopicArn},
    template::{home::HomeSpec, home::TOPIC_LOGICAL_ID, service_topics},
};

pub use error::BootstrapError;
pub use preview::{Prepared, StackRequest, advice, prepare, prepare_one};

use crate::home::aws_error;

/// Refuses when a stack set sends custom resources to another topic than the one that is configured: CloudFormation
/// refuses every update that changes a ServiceToken, and the stack set would keep the template all the same.
///
/// # Errors
/// [`BootstrapError::Refused`]; or AWS cannot be asked.
pub async fn check_stack_sets(
    aws: &Aws,
    stack_sets: &[StackSetName],
    topic: &TopicArn,
) -> Result<(), BootstrapError> {
    for name in stack_sets {
        let Some(set) = aws.describe_stack_set(name).await.map_err(aws_error)? else {
            continue;
        };
        // A template that cannot be read names no topic that could be compared; the stack set's own job says so.
        let topics = service_topics(&set.template_body).unwrap_or_default();
        if let Some(other) = topics.iter().find(|other| *other != topic) {
            return Err(BootstrapError::Refused(format!(
                "the stacks of the stack set {name} name the topic {other}, and {topic} is configured: a ServiceToken can \
                 never change; set enrollment.topic_arn back to it"
            )));
        }
    }
    Ok(())
}

/// Refuses when there are a topic and a queue of the names that are wanted, and no stack that could have made them.
///
/// # Errors
/// [`BootstrapError::Refused`]; or AWS cannot be asked.
pub async fn check_names_are_free(
    aws: &Aws,
    spec: &HomeSpec,
    prepared: &[Prepared],
) -> Result<(), BootstrapError> {
    let name = spec.topic.name();
    let Some(home) = prepared.first().filter(|home| home.creates_stack()) else {
        return Ok(());
    };
    match aws.queue_url(name).await {
        Ok(_) => Err(BootstrapError::Refused(format!(
            "there is a queue {name} already, which the stack {} did not make: keep it, and its topic, as they are without \
             `runner bootstrap`; or import them into a stack of this name (docs/bootstrap.md)",
            home.name()
        ))),
        Err(error) if error.class() == aws_ops::ErrorClass::NotFound => Ok(()),
        Err(error) => Err(aws_error(error).into()),
    }
}

/// Refuses a change set that would replace or remove the topic.
///
/// # Errors
/// [`BootstrapError::Refused`].
pub fn check_topic_stays(prepared: &[Prepared]) -> Result<(), BootstrapError> {
    for stack in prepared {
        for change in stack.changes() {
            let topic =
                change.resource_type == "AWS::SNS::Topic" || change.logical_id == TOPIC_LOGICAL_ID;
            let what = match (change.action, change.replacement) {
                (ChangeAction::Remove, _) => "remove",
                (ChangeAction::Modify, Replacement::Yes | Replacement::Perhaps) => "replace",
                _ => continue,
            };
            if topic {
                return Err(BootstrapError::Refused(format!(
                    "the stack {} would {what} its topic {}, which the stacks of member accounts name for ever; set \
                     enrollment.topic_arn back to it",
                    stack.name(),
                    change.physical_id.as_deref().unwrap_or(&change.logical_id)
                )));
            }
        }
    }
    Ok(())
}
