//! Plain stacks of our own account, always changed through a change set that somebody could look at first.
//!
//! CloudFormation works on its own time: a verb that starts something returns at once, and [`Aws::stack_progress`] tells
//! how far it is.

mod change_set;
mod progress;

use std::collections::BTreeMap;

use aws_sdk_cloudformation::types::{Parameter, TemplateStage};
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
    /// Its parameters. NoEcho values read back as `****`.
    pub parameters: BTreeMap<String, String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
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
            parameters: stack
                .parameters
                .unwrap_or_default()
                .into_iter()
                .filter_map(key_and_value)
                .collect(),
            tags: stack
                .tags
                .unwrap_or_default()
                .into_iter()
                .filter_map(|tag| Some((tag.key?, tag.value?)))
                .collect(),
        }))
    }

    /// The template of a stack, as it was given.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::Invalid`] when there is no such stack.
    pub async fn stack_template(&self, name_or_id: &str) -> Result<String, AwsError> {
        const OPERATION: &str = "cloudformation:GetTemplate";
        let output = self
            .governed
            .call(OPERATION, || {
                self.clients
                    .cloudformation()
                    .get_template()
                    .stack_name(name_or_id)
                    .template_stage(TemplateStage::Original)
                    .send()
            })
            .await?;
        output
            .template_body
            .ok_or_else(|| AwsError::malformed(OPERATION, "no template"))
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

/// Parameters as CloudFormation takes them.
pub(crate) fn parameters(values: &BTreeMap<String, String>) -> Vec<Parameter> {
    let parameter = |(key, value): (&String, &String)| {
        Parameter::builder()
            .parameter_key(key)
            .parameter_value(value)
            .build()
    };
    values.iter().map(parameter).collect()
}

/// A parameter as CloudFormation tells it. An empty value may be left out.
pub(crate) fn key_and_value(parameter: Parameter) -> Option<(String, String)> {
    Some((
        parameter.parameter_key?,
        parameter.parameter_value.unwrap_or_default(),
    ))
}

/// CloudFormation has no error code of its own for a stack that does not exist.
pub(crate) fn is_no_such_stack(error: &AwsError) -> bool {
    error.class() == ErrorClass::Invalid
        && error.is_code("ValidationError")
        && error.message.contains("does not exist")
}
