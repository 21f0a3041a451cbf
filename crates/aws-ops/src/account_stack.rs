//! One stack of the account whose credentials we use.

use std::collections::BTreeMap;

use onboarding_core::ids::StackId;

use crate::{
    Aws, AwsError,
    stacks::{is_no_such_stack, key_and_value},
};

/// A stack (CloudFormation API reference, Stack).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountStack {
    /// Its name.
    pub name: String,
    /// Its status, such as `CREATE_IN_PROGRESS`.
    pub status: String,
    /// Why it is so, in AWS's words, where AWS says it.
    pub status_reason: Option<String>,
    /// Its parameters. NoEcho values read back as `****`.
    pub parameters: BTreeMap<String, String>,
    /// Whether it is protected from being deleted.
    pub is_protected: bool,
    /// Its outputs by key; none while it is being made.
    pub outputs: BTreeMap<String, String>,
    /// When it was deleted, in Unix milliseconds, where AWS says so.
    pub deleted_at: Option<i64>,
}

impl AccountStack {
    /// Whether it is deleted, so that nothing it made is there but what it retained.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.status == "DELETE_COMPLETE"
    }
}

impl Aws {
    /// A stack by its id, in its own Region; none when there is none, or it was deleted more than 90 days ago. One that was
    /// deleted later is there, and says so.
    ///
    /// # Errors
    /// As any call.
    pub async fn account_stack(&self, stack: &StackId) -> Result<Option<AccountStack>, AwsError> {
        const OPERATION: &str = "cloudformation:DescribeStacks";
        let region = aws_types::region::Region::new(stack.region().to_owned());
        let output = self
            .governed
            .call(OPERATION, || {
                let config = aws_sdk_cloudformation::config::Builder::new();
                self.clients
                    .cloudformation()
                    .describe_stacks()
                    .stack_name(stack.as_str())
                    .customize()
                    .config_override(config.region(region.clone()))
                    .send()
            })
            .await;
        let output = match output {
            Err(error) if is_no_such_stack(&error) => return Ok(None),
            other => other?,
        };
        let found = output.stacks.unwrap_or_default().into_iter().next();
        let found = found.ok_or_else(|| AwsError::malformed(OPERATION, "no stack"))?;
        let outputs = found.outputs.unwrap_or_default().into_iter();
        let deleted = found.deletion_time;
        let parameters = found.parameters.unwrap_or_default().into_iter();
        Ok(Some(AccountStack {
            name: found.stack_name.unwrap_or_default(),
            status_reason: found.stack_status_reason,
            parameters: parameters.filter_map(key_and_value).collect(),
            is_protected: found.enable_termination_protection == Some(true),
            status: found
                .stack_status
                .map(|status| status.as_str().to_owned())
                .unwrap_or_default(),
            outputs: outputs
                .filter_map(|output| Some((output.output_key?, output.output_value?)))
                .collect(),
            deleted_at: deleted.and_then(|at| at.to_millis().ok()),
        }))
    }

    /// Begins to delete a stack by its id, in its own Region. CloudFormation takes a token once: the same request with the same token
    /// does nothing more. A stack that is not there is no error.
    ///
    /// # Errors
    /// As any call.
    pub async fn delete_account_stack(&self, stack: &StackId, token: &str) -> Result<(), AwsError> {
        let region = aws_types::region::Region::new(stack.region().to_owned());
        self.governed
            .call("cloudformation:DeleteStack", || {
                let config = aws_sdk_cloudformation::config::Builder::new();
                self.clients
                    .cloudformation()
                    .delete_stack()
                    .stack_name(stack.as_str())
                    .client_request_token(token)
                    .customize()
                    .config_override(config.region(region.clone()))
                    .send()
            })
            .await?;
        Ok(())
    }
}
