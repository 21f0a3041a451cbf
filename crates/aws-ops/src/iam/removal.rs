//! Taking policies out of a role. Nothing here gives a role anything.

use crate::{Aws, AwsError, ErrorClass};

impl Aws {
    /// Deletes an inline policy of a role by name (not ARN). Tells whether it was there (IAM API reference, DeleteRolePolicy).
    ///
    /// # Errors
    /// As any call.
    pub async fn delete_role_policy(&self, role: &str, policy: &str) -> Result<bool, AwsError> {
        let deleted = self.governed.call("iam:DeleteRolePolicy", || {
            let delete = self.clients.iam().delete_role_policy();
            delete.role_name(role).policy_name(policy).send()
        });
        was_there(deleted.await)
    }

    /// Detaches a managed policy from a role by name (not ARN). Tells whether it was attached (IAM API reference,
    /// DetachRolePolicy). The policy itself stays.
    ///
    /// # Errors
    /// As any call.
    pub async fn detach_role_policy(&self, role: &str, policy_arn: &str) -> Result<bool, AwsError> {
        let detached = self.governed.call("iam:DetachRolePolicy", || {
            let detach = self.clients.iam().detach_role_policy();
            detach.role_name(role).policy_arn(policy_arn).send()
        });
        was_there(detached.await)
    }
}

/// What is not there, is away: by an earlier attempt whose answer was lost, or by somebody else.
fn was_there<T>(removed: Result<T, AwsError>) -> Result<bool, AwsError> {
    match removed {
        Ok(_) => Ok(true),
        Err(error) if error.class() == ErrorClass::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
