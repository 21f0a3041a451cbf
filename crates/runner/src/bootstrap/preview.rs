//! Change sets as previews: made, described, and executed or thrown away.

use std::{collections::BTreeMap, time::Duration};

use aws_ops::{
    Aws,
    stacks::{ChangeSetRequest, ChangeSetState, ResourceChange},
};
use onboarding_core::{
    ids::Region,
    template::{Format, home::HomeStack},
};
use tokio::time::Instant;

use super::BootstrapError;
use crate::{
    engine::{ErrorClass, JobError},
    home::aws_error,
};

/// A stack that has only change sets: no resource of it is there.
const REVIEW_IN_PROGRESS: &str = "REVIEW_IN_PROGRESS";

/// How long CloudFormation may take to make a change set or to forget an empty stack.
const PATIENCE: Duration = Duration::from_secs(300);

/// A stack as it shall be.
#[derive(Debug)]
pub struct StackRequest {
    /// Its name.
    pub name: String,
    /// Its Region.
    pub region: Region,
    /// Its template.
    pub template_body: String,
    /// The capabilities that the template needs.
    pub capabilities: Vec<String>,
    /// The values of the template's parameters.
    pub parameters: BTreeMap<String, String>,
    /// Tags on the stack and on what it makes; without any, it keeps those that it has.
    pub tags: BTreeMap<String, String>,
}

/// A stack whose change set is there to be looked at.
#[derive(Debug)]
pub struct Prepared {
    pub(super) aws: Aws,
    name: String,
    region: Region,
    pub(super) change_set: String,
    creates_stack: bool,
    /// The empty stack in review came with our change set, and goes with it.
    made_review_stack: bool,
    changes: Vec<ResourceChange>,
}

impl Prepared {
    /// The stack's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The stack's Region.
    #[must_use]
    pub fn region(&self) -> &str {
        self.region.as_str()
    }

    /// Whether the stack is not there yet.
    #[must_use]
    pub fn creates_stack(&self) -> bool {
        self.creates_stack
    }

    /// What would change; nothing when the stack is as it should be.
    #[must_use]
    pub fn changes(&self) -> &[ResourceChange] {
        &self.changes
    }

    /// Throws the change set away, and the empty stack that came with it.
    ///
    /// # Errors
    /// AWS cannot be asked.
    pub async fn discard(&self) -> Result<(), BootstrapError> {
        let (aws, name) = (&self.aws, self.name());
        aws.delete_change_set(name, &self.change_set)
            .await
            .map_err(aws_error)?;
        if !self.made_review_stack {
            return Ok(());
        }
        // Another process may have taken the review up, and made the stack: that one stays.
        let stack = aws.describe_stack(name).await.map_err(aws_error)?;
        if stack.is_none_or(|stack| stack.status != REVIEW_IN_PROGRESS) {
            return Ok(());
        }
        aws.delete_stack(name).await.map_err(aws_error)?;
        let start = Instant::now();
        while aws.describe_stack(name).await.map_err(aws_error)?.is_some() {
            pause(self, start, PATIENCE).await?;
        }
        Ok(())
    }
}

/// Prepares all stacks. Where one cannot be, those before it are thrown away again.
///
/// # Errors
/// A stack is in a state that allows no change, CloudFormation refuses a template, or AWS cannot be asked.
pub async fn prepare(aws: &Aws, stacks: Vec<HomeStack>) -> Result<Vec<Prepared>, BootstrapError> {
    let mut prepared = Vec::new();
    for stack in stacks {
        let one = async { prepare_one(aws, request(stack)?).await };
        match one.await {
            Ok(one) => prepared.push(one),
            Err(error) => {
                discard_all(&prepared).await;
                return Err(error);
            }
        }
    }
    Ok(prepared)
}

/// Throws away what was prepared; what cannot be thrown away is logged, for there is something worse to report.
pub(super) async fn discard_all(prepared: &[Prepared]) {
    for one in prepared {
        if let Err(error) = one.discard().await {
            tracing::warn!(
                stack = one.name(),
                change_set = one.change_set,
                %error,
                "a change set was left behind"
            );
        }
    }
}

fn request(stack: HomeStack) -> Result<StackRequest, JobError> {
    let rendered = stack
        .template
        .render(Format::CompactJson)
        .map_err(|error| JobError::new(ErrorClass::Invalid, error.to_string()))?;
    Ok(StackRequest {
        name: stack.name,
        region: stack.region,
        template_body: rendered.body,
        capabilities: rendered.capabilities.into_iter().collect(),
        parameters: BTreeMap::new(),
        tags: BTreeMap::new(),
    })
}

/// Prepares one stack.
///
/// # Errors
/// As [`prepare`].
pub async fn prepare_one(aws: &Aws, stack: StackRequest) -> Result<Prepared, BootstrapError> {
    let aws = aws.in_region(&stack.region);
    let present = aws.describe_stack(&stack.name).await.map_err(aws_error)?;
    let status = present.as_ref().map(|stack| stack.status.as_str());
    let creates_stack = match status {
        None | Some(REVIEW_IN_PROGRESS) => true,
        Some(status) => match advice(status) {
            None => false,
            Some(advice) => {
                return Err(BootstrapError::StackState {
                    stack: stack.name,
                    region: stack.region.to_string(),
                    status: status.to_owned(),
                    advice,
                });
            }
        },
    };
    let mut prepared = Prepared {
        change_set: format!("runner-{}", uuid::Uuid::now_v7().simple()),
        made_review_stack: present.is_none(),
        creates_stack,
        changes: Vec::new(),
        aws,
        name: stack.name.clone(),
        region: stack.region,
    };
    let request = ChangeSetRequest {
        stack: stack.name,
        creates_stack,
        name: prepared.change_set.clone(),
        template_body: stack.template_body,
        capabilities: stack.capabilities,
        parameters: stack.parameters,
        tags: stack.tags,
    };
    prepared
        .aws
        .create_change_set(&request)
        .await
        .map_err(aws_error)?;
    match described(&prepared).await {
        Ok(changes) => {
            prepared.changes = changes;
            Ok(prepared)
        }
        Err(error) => {
            discard_all(&[prepared]).await;
            Err(error)
        }
    }
}

/// Waits for the change set.
async fn described(prepared: &Prepared) -> Result<Vec<ResourceChange>, BootstrapError> {
    let start = Instant::now();
    loop {
        let set = prepared
            .aws
            .describe_change_set(prepared.name(), &prepared.change_set)
            .await
            .map_err(aws_error)?;
        match set.state {
            ChangeSetState::Ready => return Ok(set.changes),
            ChangeSetState::NoChanges => return Ok(Vec::new()),
            ChangeSetState::Failed(reason) => {
                return Err(BootstrapError::ChangeSet {
                    stack: prepared.name().to_owned(),
                    region: prepared.region().to_owned(),
                    reason,
                });
            }
            ChangeSetState::Pending => pause(prepared, start, PATIENCE).await?,
        }
    }
}

/// Waits a moment, longer the longer it takes already; an error when patience has run out.
pub(super) async fn pause(
    prepared: &Prepared,
    start: Instant,
    patience: Duration,
) -> Result<(), BootstrapError> {
    let elapsed = start.elapsed();
    if elapsed >= patience {
        return Err(BootstrapError::TimedOut {
            stack: prepared.name().to_owned(),
            region: prepared.region().to_owned(),
            minutes: patience.as_secs() / 60,
        });
    }
    tokio::time::sleep(aws_ops::stack_sets::next_poll_delay(elapsed)).await;
    Ok(())
}

/// What to do about a stack that cannot be updated as it is; none when it can (CloudFormation API reference, UpdateStack).
pub fn advice(status: &str) -> Option<&'static str> {
    match status {
        "CREATE_COMPLETE"
        | "UPDATE_COMPLETE"
        | "UPDATE_ROLLBACK_COMPLETE"
        | "IMPORT_COMPLETE"
        | "IMPORT_ROLLBACK_COMPLETE" => None,
        "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" | "CREATE_FAILED" | "DELETE_FAILED" => Some(
            "it was never made, and its events say why; delete it (aws cloudformation delete-stack) and run again",
        ),
        "UPDATE_ROLLBACK_FAILED" => Some(
            "an update could not be undone; mend what its events name, continue the rollback (aws cloudformation \
             continue-update-rollback) and run again",
        ),
        status if status.ends_with("_IN_PROGRESS") => {
            Some("somebody is changing it; run again when that is over")
        }
        _ => Some("look at it in the CloudFormation console"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stacks_that_can_be_updated_need_no_advice() {
        for (status, words) in [
            ("CREATE_COMPLETE", None),
            ("UPDATE_ROLLBACK_COMPLETE", None),
            ("ROLLBACK_COMPLETE", Some("delete-stack")),
            ("UPDATE_ROLLBACK_FAILED", Some("continue-update-rollback")),
            ("UPDATE_IN_PROGRESS", Some("somebody is changing it")),
            ("WHAT_IS_THIS", Some("console")),
        ] {
            match (advice(status), words) {
                (None, None) => {}
                (Some(advice), Some(words)) => assert!(advice.contains(words), "{status}"),
                other => panic!("{status}: {other:?}"),
            }
        }
    }
}
