//! Plain stacks of our own account, always changed through a change set that somebody could look at first.
//!
//! CloudFormation works on its own time: a verb that starts something returns at once, and [`Aws::stack_progress`] tells
//! how far it is.

mod change_set;
mod progress;

use std::collections::BTreeMap;

pub use change_set::{
    ChangeAction, ChangeSet, ChangeSetRequest, ChangeSetState, Replacement, ResourceChange,
};
pub use progress::{StackEvent, StackProgress};

use crate::{Aws, AwsError, ErrorClass};

/// A stack (CloudFormation API reference, Stack).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Its id, an ARN: it stays when the stack is gone.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How it stands: `CREATE_COMPLETE`, `ROLLBACK_COMPLETE`, ….
    pub status: String,
    /// Why, in AWS's words.
    pub status_reason: Option<String>,
    /// Its outputs.
    pub outputs: BTreeMap<String, String>,
}

impl Aws {
    /// A stack by its name, or a deleted one by its id; none when there is no such stack.
    ///
    /// # Errors
    /// As any call.
    pub async fn describe_stack(&self, name_or_id: &str) -> Result<Option<Stack>, AwsError> {
        const OPERATION: &str = "cloudformation:DescribeStacks";
        let answer = self
            .governed
            .call(OPERATION, || {
                self.clients
                    .cloudformation()
                    .describe_stacks()
                    .stack_name(name_or_id)
                    .send()
            })
            .await;
        let output = match answer {
            Ok(output) => output,
            Err(error) if is_no_such_stack(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let stack = output.stacks.unwrap_or_default().into_iter().next();
        let stack = stack.ok_or_else(|| AwsError::malformed(OPERATION, "no stack"))?;
        let outputs = stack.outputs.unwrap_or_default().into_iter();
        Ok(Some(Stack {
            id: stack
                .stack_id
                .ok_or_else(|| AwsError::malformed(OPERATION, "a stack without an id"))?,
            name: stack.stack_name.unwrap_or_default(),
            status: stack
                .stack_status
                .map(|status| status.as_str().to_owned())
                .unwrap_or_default(),
            status_reason: stack.stack_status_reason,
            outputs: outputs
                .filter_map(|output| Some((output.output_key?, output.output_value?)))
                .collect(),
        }))
    }

    /// Begins to delete a stack. One that does not exist is no error.
    ///
    /// # Errors
    /// As any call.
    pub async fn delete_stack(&self, name_or_id: &str) -> Result<(), AwsError> {
        self.governed
            .call("cloudformation:DeleteStack", || {
                self.clients
                    .cloudformation()
                    .delete_stack()
                    .stack_name(name_or_id)
                    .send()
            })
            .await?;
        Ok(())
    }
}

/// CloudFormation has no error code of its own for a stack that does not exist.
pub(crate) fn is_no_such_stack(error: &AwsError) -> bool {
    error.class() == ErrorClass::Invalid
        && error.is_code("ValidationError")
        && error.message.contains("does not exist")
}
