//! How far a change of a stack is, read from its events.

use crate::{Aws, AwsError};

/// One thing that happened to a stack or to a resource of it (CloudFormation API reference, StackEvent).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackEvent {
    /// Its id.
    pub id: String,
    /// The resource's logical id; the stack's name for the stack itself.
    pub logical_id: String,
    /// The resource's type.
    pub resource_type: String,
    /// How it stands: `CREATE_IN_PROGRESS`, `UPDATE_FAILED`, ….
    pub status: String,
    /// Why, in AWS's words.
    pub reason: Option<String>,
}

/// What a change of a stack has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackProgress {
    /// Its events so far, the oldest first.
    pub events: Vec<StackEvent>,
    /// The stack's last status, when the change is over.
    pub ended: Option<String>,
}

impl StackProgress {
    /// What failed, the cause first: what CloudFormation merely cancelled because of it is left out.
    pub fn failures(&self) -> impl Iterator<Item = &StackEvent> {
        self.events.iter().filter(|event| {
            let cancelled = event
                .reason
                .as_deref()
                .is_some_and(|reason| reason.contains("cancelled"));
            event.status.ends_with("_FAILED") && !cancelled
        })
    }
}

impl Aws {
    /// The events of the change that was started with `token`, of the stack with this id.
    ///
    /// # Errors
    /// As any call.
    pub async fn stack_progress(
        &self,
        stack_id: &str,
        token: &str,
    ) -> Result<StackProgress, AwsError> {
        let mut events = Vec::new();
        let mut ended = None;
        self.governed
            .pages(
                "cloudformation:DescribeStackEvents",
                |page| {
                    self.clients
                        .cloudformation()
                        .describe_stack_events()
                        .stack_name(stack_id)
                        .set_next_token(page)
                        .send()
                },
                |page| {
                    // The newest come first: behind an event of another change there is none of this one.
                    let mut older = page.next_token;
                    for event in page.stack_events.unwrap_or_default() {
                        if event.client_request_token.as_deref() != Some(token) {
                            older = None;
                            break;
                        }
                        let status = event
                            .resource_status
                            .map(|status| status.as_str().to_owned())
                            .unwrap_or_default();
                        let of_stack = event.physical_resource_id.as_deref() == Some(stack_id);
                        if events.is_empty() && of_stack && !status.ends_with("_IN_PROGRESS") {
                            ended = Some(status.clone());
                        }
                        events.push(StackEvent {
                            id: event.event_id.unwrap_or_default(),
                            logical_id: event.logical_resource_id.unwrap_or_default(),
                            resource_type: event.resource_type.unwrap_or_default(),
                            status,
                            reason: event.resource_status_reason,
                        });
                    }
                    Ok(older)
                },
            )
            .await?;
        events.reverse();
        Ok(StackProgress { events, ended })
    }
}
