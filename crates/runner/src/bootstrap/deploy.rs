//! Executing a change set, and following what CloudFormation makes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_ops::stacks::StackEvent;
use tokio::time::Instant;

use super::{BootstrapError, Prepared, preview::pause};
use crate::{
    engine::{ErrorClass, JobError},
    home::aws_error,
};

/// How long CloudFormation may take to deploy a stack.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

impl Prepared {
    /// Executes the change set and waits for the end; each event is told once, as it comes. Gives the stack's outputs.
    ///
    /// # Errors
    /// CloudFormation rolled it back (with what failed and why), is not done in time, or cannot be asked.
    pub async fn deploy(
        &self,
        mut told: impl FnMut(&StackEvent),
    ) -> Result<BTreeMap<String, String>, BootstrapError> {
        let (aws, name) = (&self.aws, self.name());
        let missing = || JobError::new(ErrorClass::Conflict, format!("the stack {name} is gone"));
        let stack = aws.describe_stack(name).await.map_err(aws_error)?;
        let id = stack.ok_or_else(missing)?.id;
        // The change set's name marks its events, too: both are ours alone.
        let token = &self.change_set;
        aws.execute_change_set(name, &self.change_set, token)
            .await
            .map_err(aws_error)?;
        let start = Instant::now();
        let mut known = BTreeSet::new();
        let (progress, status) = loop {
            let progress = aws.stack_progress(&id, token).await.map_err(aws_error)?;
            for event in &progress.events {
                if known.insert(event.id.clone()) {
                    told(event);
                }
            }
            if let Some(status) = progress.ended.clone() {
                break (progress, status);
            }
            pause(self, start, PATIENCE).await?;
        };
        if matches!(status.as_str(), "CREATE_COMPLETE" | "UPDATE_COMPLETE") {
            let stack = aws.describe_stack(&id).await.map_err(aws_error)?;
            return Ok(stack.ok_or_else(missing)?.outputs);
        }
        let failures: Vec<String> = progress
            .failures()
            .map(|event| {
                format!(
                    "  {} ({}): {}",
                    event.logical_id,
                    event.resource_type,
                    event.reason.as_deref().unwrap_or("no reason given")
                )
            })
            .collect();
        let advice = if self.creates_stack() {
            format!(
                "nothing of it is left but the record of the failure: mend the cause, delete the stack (aws cloudformation \
                 delete-stack --region {} --stack-name {name}) and run again",
                self.region()
            )
        } else {
            "the stack is as it was before: mend the cause and run again".to_owned()
        };
        Err(BootstrapError::Failed {
            stack: name.to_owned(),
            region: self.region().to_owned(),
            status,
            failures: failures.join("\n"),
            advice,
        })
    }
}
