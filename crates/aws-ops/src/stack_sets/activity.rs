//! What is going on in a stack set: its instances together with the operations that are not over.

use std::collections::BTreeSet;

use onboarding_core::{
    ids::StackSetName,
    inventory::{InstanceDetailedStatus, StackInstance},
};

use super::Operation;
use crate::{Aws, AwsError, ErrorClass};

impl Aws {
    /// All instances of a stack set, in AWS's order, and its operations that are not over, oldest first. The history of
    /// operations is not read for that: an operation that is not among the recent ones, or that AWS does not list yet, is
    /// asked for by itself when an instance says that it is running.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::NotFound`] when there is no such stack set.
    pub async fn stack_set_activity(
        &self,
        name: &StackSetName,
    ) -> Result<(Vec<StackInstance>, Vec<Operation>), AwsError> {
        let (instances, mut operations) = tokio::try_join!(
            self.list_stack_instances(name),
            self.recent_operations(name)
        )?;
        let unlisted: BTreeSet<&str> = instances
            .iter()
            .filter(|instance| instance.detailed_status == InstanceDetailedStatus::Running)
            .filter_map(|instance| instance.last_operation_id.as_deref())
            .filter(|id| !operations.iter().any(|operation| operation.id == *id))
            .collect();
        for id in unlisted {
            match self.describe_operation(name, id).await {
                Err(error) if error.class() == ErrorClass::NotFound => {}
                operation => operations.push(operation?),
            }
        }
        operations.retain(Operation::is_under_way);
        operations.sort_by_key(|operation| operation.created_at);
        Ok((instances, operations))
    }
}
