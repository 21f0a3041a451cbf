//! Change sets: what a template would change about a stack, before it does.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudformation::types::{
    Capability, Change, ChangeSetStatus, ChangeSetType, Replacement as SdkReplacement,
    ResourceAttribute, ResourceChangeDetail, Tag,
};

use crate::{Aws, AwsError, ErrorClass, templates::check_size};

/// A change set to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeSetRequest {
    /// The stack's name.
    pub stack: String,
    /// Whether the stack is made by it; otherwise it is there.
    pub creates_stack: bool,
    /// The name of the change set, ours alone: a request that is repeated is recognized by it.
    pub name: String,
    /// The template.
    pub template_body: String,
    /// The capabilities that are acknowledged.
    pub capabilities: Vec<String>,
    /// The values of the template's parameters.
    pub parameters: BTreeMap<String, String>,
    /// Tags on the stack and on what it makes; without any, it keeps those that it has.
    pub tags: BTreeMap<String, String>,
}

/// How a change set stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeSetState {
    /// It is being made.
    Pending,
    /// It can be executed.
    Ready,
    /// The stack is what the template says already.
    NoChanges,
    /// It could not be made, for AWS's reason.
    Failed(String),
}

/// A change set (CloudFormation API reference, DescribeChangeSet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeSet {
    /// How it stands.
    pub state: ChangeSetState,
    /// What it would change, in AWS's order.
    pub changes: Vec<ResourceChange>,
}

/// What would happen to a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceChange {
    /// Its logical id.
    pub logical_id: String,
    /// Its physical id, when it has one.
    pub physical_id: Option<String>,
    /// Its type.
    pub resource_type: String,
    /// What would happen.
    pub action: ChangeAction,
    /// Whether another physical resource would take its place.
    pub replacement: Replacement,
    /// Whether what is removed or replaced stays outside the stack.
    pub retained: bool,
    /// What of it is changed: names of properties, and of attributes such as `Tags` or `DeletionPolicy`; sorted.
    pub properties: BTreeSet<String>,
}

/// What would happen to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeAction {
    /// It is made.
    Add,
    /// It is changed.
    Modify,
    /// It goes from the stack.
    Remove,
    /// Something else, or something that we do not know.
    Other,
}

/// Whether another physical resource would take a resource's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Replacement {
    /// No.
    No,
    /// Yes.
    Yes,
    /// It depends on what other resources become.
    Perhaps,
}

impl Aws {
    /// Begins to make a change set. For a stack that is not there, a stack without resources in `REVIEW_IN_PROGRESS` comes
    /// with it.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::Invalid`] when CloudFormation refuses the template or the stack's state allows none.
    pub async fn create_change_set(&self, request: &ChangeSetRequest) -> Result<(), AwsError> {
        const OPERATION: &str = "cloudformation:CreateChangeSet";
        check_size(OPERATION, &request.template_body)?;
        let kind = if request.creates_stack {
            ChangeSetType::Create
        } else {
            ChangeSetType::Update
        };
        let capabilities: Vec<Capability> = request
            .capabilities
            .iter()
            .map(|name| Capability::from(name.as_str()))
            .collect();
        let parameters =
            (!request.parameters.is_empty()).then(|| super::parameters(&request.parameters));
        // An empty list would take away those that the stack has.
        let tags = request
            .tags
            .iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build());
        let tags: Option<Vec<Tag>> = (!request.tags.is_empty()).then(|| tags.collect());
        let answer = self
            .governed
            .call(OPERATION, || {
                self.clients
                    .cloudformation()
                    .create_change_set()
                    .stack_name(&request.stack)
                    .change_set_name(&request.name)
                    .client_token(&request.name)
                    .change_set_type(kind.clone())
                    .template_body(&request.template_body)
                    .set_capabilities(Some(capabilities.clone()))
                    .set_parameters(parameters.clone())
                    .set_tags(tags.clone())
                    .send()
            })
            .await;
        match answer {
            // An attempt of ours that was not answered: nobody else uses the name.
            Err(error) if error.is_code("AlreadyExistsException") => Ok(()),
            other => other.map(drop),
        }
    }

    /// A change set, with all of its changes.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::NotFound`] when there is no such change set.
    pub async fn describe_change_set(
        &self,
        stack: &str,
        name: &str,
    ) -> Result<ChangeSet, AwsError> {
        const OPERATION: &str = "cloudformation:DescribeChangeSet";
        let mut changes = Vec::new();
        let mut state = ChangeSetState::Pending;
        self.governed
            .pages(
                OPERATION,
                |token| {
                    self.clients
                        .cloudformation()
                        .describe_change_set()
                        .stack_name(stack)
                        .change_set_name(name)
                        .set_next_token(token)
                        .send()
                },
                |page| {
                    let reason = page.status_reason.unwrap_or_default();
                    state = self::state(page.status.as_ref(), reason);
                    changes.extend(
                        page.changes
                            .unwrap_or_default()
                            .into_iter()
                            .filter_map(resource_change),
                    );
                    Ok(page.next_token)
                },
            )
            .await?;
        Ok(ChangeSet { state, changes })
    }

    /// Begins to do what a change set says. `token` marks the stack events of it. What is made and then rolled back is
    /// deleted, also where its template says that it outlives its stack.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::Invalid`] when the change set cannot be executed (any more).
    pub async fn execute_change_set(
        &self,
        stack: &str,
        name: &str,
        token: &str,
    ) -> Result<(), AwsError> {
        self.governed
            .call("cloudformation:ExecuteChangeSet", || {
                self.clients
                    .cloudformation()
                    .execute_change_set()
                    .stack_name(stack)
                    .change_set_name(name)
                    .client_request_token(token)
                    .retain_except_on_create(true)
                    .send()
            })
            .await?;
        Ok(())
    }

    /// Deletes a change set. One that does not exist is no error.
    ///
    /// # Errors
    /// As any call.
    pub async fn delete_change_set(&self, stack: &str, name: &str) -> Result<(), AwsError> {
        let answer = self
            .governed
            .call("cloudformation:DeleteChangeSet", || {
                self.clients
                    .cloudformation()
                    .delete_change_set()
                    .stack_name(stack)
                    .change_set_name(name)
                    .send()
            })
            .await;
        match answer {
            Err(error) if error.class() == ErrorClass::NotFound => Ok(()),
            other => other.map(drop),
        }
    }
}

/// CloudFormation says "nothing to do" as a failure, in two wordings (CloudFormation User Guide, "View a change set").
fn state(status: Option<&ChangeSetStatus>, reason: String) -> ChangeSetState {
    match status {
        Some(ChangeSetStatus::CreateComplete) => ChangeSetState::Ready,
        Some(ChangeSetStatus::Failed)
            if reason.contains("didn't contain changes")
                || reason.contains("No updates are to be performed") =>
        {
            ChangeSetState::NoChanges
        }
        Some(ChangeSetStatus::CreateInProgress | ChangeSetStatus::CreatePending) => {
            ChangeSetState::Pending
        }
        Some(ChangeSetStatus::Failed) => ChangeSetState::Failed(reason),
        other => {
            let status = other.map_or("none", ChangeSetStatus::as_str);
            ChangeSetState::Failed(format!("its status is {status}"))
        }
    }
}

fn resource_change(change: Change) -> Option<ResourceChange> {
    let change = change.resource_change?;
    Some(ResourceChange {
        logical_id: change.logical_resource_id.unwrap_or_default(),
        physical_id: change.physical_resource_id,
        resource_type: change.resource_type.unwrap_or_default(),
        action: match change.action.as_ref().map(|action| action.as_str()) {
            Some("Add") => ChangeAction::Add,
            Some("Modify") => ChangeAction::Modify,
            Some("Remove") => ChangeAction::Remove,
            _ => ChangeAction::Other,
        },
        replacement: match change.replacement {
            Some(SdkReplacement::True) => Replacement::Yes,
            None | Some(SdkReplacement::False) => Replacement::No,
            Some(_) => Replacement::Perhaps,
        },
        retained: change
            .policy_action
            .is_some_and(|action| action.as_str().ends_with("Retain")),
        properties: change
            .details
            .unwrap_or_default()
            .into_iter()
            .filter_map(changed_property)
            .collect(),
    })
}

/// The name of a property that is changed, or of another attribute of the resource.
fn changed_property(detail: ResourceChangeDetail) -> Option<String> {
    let target = detail.target?;
    match target.attribute? {
        ResourceAttribute::Properties => target.name,
        other => Some(other.as_str().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_wordings_of_nothing_to_do_are_understood() {
        for (status, reason, expected) in [
            (ChangeSetStatus::CreateComplete, "", ChangeSetState::Ready),
            (ChangeSetStatus::CreatePending, "", ChangeSetState::Pending),
            (
                ChangeSetStatus::Failed,
                "The submitted information didn't contain changes. Submit different information to create a change set.",
                ChangeSetState::NoChanges,
            ),
            (
                ChangeSetStatus::Failed,
                "No updates are to be performed.",
                ChangeSetState::NoChanges,
            ),
            (
                ChangeSetStatus::Failed,
                "Template error",
                ChangeSetState::Failed("Template error".to_owned()),
            ),
        ] {
            assert_eq!(state(Some(&status), reason.to_owned()), expected);
        }
    }
}
