//! One stack of the account whose credentials we use.

use std::collections::BTreeMap;

use onboarding_core::ids::StackId;

use crate::{Aws, AwsError, stacks::is_no_such_stack};

/// A stack (CloudFormation API reference, Stack).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountStack {
    /// Its status, such as `CREATE_IN_PROGRESS`.
    pub status: String,
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
        Ok(Some(AccountStack {
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
}
