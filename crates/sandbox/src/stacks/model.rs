//! Stacks as data. An organization can hold 100,000 of them, so what is only needed while something
//! happens to a stack lives in [`Work`], and templates and parameter values are shared.

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use crate::caller::Caller;
use crate::clock::SimTime;
use crate::ids::AccountId;
use crate::stack_sets::InstanceTask;
use crate::template::{ParameterValues, Template};

/// A stack, by its position in [`Stacks`](super::Stacks).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StackKey(pub(crate) u32);

/// Status of a stack or of one of its resources (CloudFormation API reference, `StackStatus` and `ResourceStatus`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    ReviewInProgress,
    CreateInProgress,
    CreateFailed,
    CreateComplete,
    RollbackInProgress,
    RollbackFailed,
    RollbackComplete,
    DeleteInProgress,
    DeleteFailed,
    DeleteComplete,
    DeleteSkipped,
    UpdateInProgress,
    UpdateCompleteCleanup,
    UpdateComplete,
    UpdateFailed,
    UpdateRollbackInProgress,
    UpdateRollbackFailed,
    UpdateRollbackCompleteCleanup,
    UpdateRollbackComplete,
}

impl Status {
    /// As the API writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ReviewInProgress => "REVIEW_IN_PROGRESS",
            Self::CreateInProgress => "CREATE_IN_PROGRESS",
            Self::CreateFailed => "CREATE_FAILED",
            Self::CreateComplete => "CREATE_COMPLETE",
            Self::RollbackInProgress => "ROLLBACK_IN_PROGRESS",
            Self::RollbackFailed => "ROLLBACK_FAILED",
            Self::RollbackComplete => "ROLLBACK_COMPLETE",
            Self::DeleteInProgress => "DELETE_IN_PROGRESS",
            Self::DeleteFailed => "DELETE_FAILED",
            Self::DeleteComplete => "DELETE_COMPLETE",
            Self::DeleteSkipped => "DELETE_SKIPPED",
            Self::UpdateInProgress => "UPDATE_IN_PROGRESS",
            Self::UpdateCompleteCleanup => "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
            Self::UpdateComplete => "UPDATE_COMPLETE",
            Self::UpdateFailed => "UPDATE_FAILED",
            Self::UpdateRollbackInProgress => "UPDATE_ROLLBACK_IN_PROGRESS",
            Self::UpdateRollbackFailed => "UPDATE_ROLLBACK_FAILED",
            Self::UpdateRollbackCompleteCleanup => "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
            Self::UpdateRollbackComplete => "UPDATE_ROLLBACK_COMPLETE",
        }
    }

    /// Whether something is still going on. A stack in review only waits for a change set to be executed.
    pub(crate) fn in_progress(self) -> bool {
        self != Self::ReviewInProgress && self.as_str().ends_with("_IN_PROGRESS")
    }

    /// Whether a stack in this status can be updated.
    pub(crate) fn updatable(self) -> bool {
        matches!(
            self,
            Self::CreateComplete | Self::UpdateComplete | Self::UpdateRollbackComplete
        )
    }
}

/// What a stack is made of: its template and the values that go with it.
#[derive(Clone, Debug)]
pub(crate) struct Generation {
    pub(crate) template: Arc<Template>,
    pub(crate) parameters: Arc<ParameterValues>,
    pub(crate) capabilities: Arc<[String]>,
    pub(crate) tags: Arc<[(String, String)]>,
}

/// A resource of a stack.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub(crate) logical_id: Arc<str>,
    pub(crate) kind: Arc<str>,
    /// Empty until the resource has one.
    pub(crate) physical_id: Box<str>,
    pub(crate) status: Status,
    pub(crate) reason: Option<Arc<str>>,
    /// What `Fn::GetAtt` reads.
    pub(crate) attributes: Box<[(Box<str>, Value)]>,
    pub(crate) changed: SimTime,
}

/// One line of a stack's history.
#[derive(Debug)]
pub(crate) struct StackEvent {
    pub(crate) at: SimTime,
    /// None for the stack itself.
    pub(crate) logical_id: Option<Arc<str>>,
    pub(crate) status: Status,
    pub(crate) reason: Option<Arc<str>>,
}

/// Attributes that only stacks created through the API have.
#[derive(Debug)]
pub(crate) struct PlainStack {
    /// Who changed the stack last.
    pub(crate) caller: Caller,
    /// The token of the last request that changed the stack, and when that was: events since then carry it.
    pub(crate) client_token: Option<String>,
    pub(crate) token_since: SimTime,
    pub(crate) disable_rollback: bool,
    pub(crate) timeout_minutes: Option<u64>,
    /// What was made and is rolled back goes, even where its policy is to stay.
    pub(crate) retain_except_on_create: bool,
}

/// A stack.
#[derive(Debug)]
pub(crate) struct Stack {
    pub(crate) account: AccountId,
    pub(crate) region: Arc<str>,
    pub(crate) name: Box<str>,
    pub(crate) uuid: Uuid,
    pub(crate) status: Status,
    pub(crate) reason: Option<Arc<str>>,
    pub(crate) generation: Generation,
    pub(crate) resources: Vec<Resource>,
    pub(crate) events: Vec<StackEvent>,
    pub(crate) created: SimTime,
    pub(crate) updated: Option<SimTime>,
    pub(crate) deleted: Option<SimTime>,
    /// The execution role that acts in the account for a stack set; empty for plain stacks.
    pub(crate) execution_role: Arc<str>,
    pub(crate) plain: Option<Box<PlainStack>>,
    /// Whether nobody may delete it.
    pub(crate) termination_protection: bool,
    pub(crate) work: Option<Box<Work>>,
    /// Raised whenever a stage begins, so that late events of an earlier stage are ignored.
    pub(crate) epoch: u32,
}

impl Stack {
    /// The stack's id, an ARN.
    pub(crate) fn id(&self) -> String {
        format!(
            "arn:aws:cloudformation:{}:{}:stack/{}/{}",
            self.region, self.account, self.name, self.uuid
        )
    }

    /// Position of a resource.
    pub(crate) fn position(&self, logical_id: &str) -> Option<usize> {
        self.resources
            .iter()
            .position(|resource| &*resource.logical_id == logical_id)
    }
}

/// What was asked of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Update,
    Delete,
}

/// What happens when a creation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// Everything goes, the stack too: what stack sets do.
    Delete,
    /// Everything goes, the stack stays in ROLLBACK_COMPLETE.
    Rollback,
    /// Everything stays.
    DoNothing,
}

/// Which part of an action is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Resources become what the new generation says.
    Forward,
    /// A failed update is undone.
    Revert,
    /// After an update or its undoing: what is no longer needed goes.
    Cleanup,
    /// Resources go, after a Delete or a failed Create.
    Remove,
}

/// The state of one resource within a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ItemState {
    Waiting,
    Running,
    Done,
    Failed,
}

/// One resource within a stage.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) logical_id: Arc<str>,
    pub(crate) kind: Arc<str>,
    /// In the removing stages: what is removed.
    pub(crate) physical_id: Box<str>,
    /// Items that must be done before this one starts.
    pub(crate) after: Vec<usize>,
    pub(crate) state: ItemState,
    /// In the removing stages: properties come from the generation before the update.
    pub(crate) from_previous: bool,
    /// In the removing stages: the resource is let go of instead of removed.
    pub(crate) retain: bool,
}

/// The first thing that went wrong.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) logical_id: Arc<str>,
    pub(crate) kind: Arc<str>,
    pub(crate) reason: String,
}

/// A stack as it was before an update (or, while reverting, in the middle of the failed one).
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) generation: Generation,
    pub(crate) resources: Vec<Resource>,
}

/// A physical resource that an update replaced.
#[derive(Debug)]
pub(crate) struct Displaced {
    pub(crate) logical_id: Arc<str>,
    pub(crate) kind: Arc<str>,
    pub(crate) physical_id: Box<str>,
    pub(crate) attributes: Box<[(Box<str>, Value)]>,
    /// The replaced resource is of the generation that the stack had before the update.
    pub(crate) original: bool,
}

/// What goes on with a stack.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) action: Action,
    pub(crate) stage: Stage,
    pub(crate) on_failure: OnFailure,
    /// The stack instance that waits for the outcome.
    pub(crate) task: Option<InstanceTask>,
    pub(crate) items: Vec<Item>,
    pub(crate) previous: Option<Snapshot>,
    pub(crate) touched: Vec<Arc<str>>,
    pub(crate) displaced: Vec<Displaced>,
    pub(crate) failure: Option<Failure>,
}

/// How an action on a stack ended, as a stack set needs to know it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Done. The text is set when there was nothing to do.
    Succeeded(Option<&'static str>),
    /// Failed, for this reason.
    Failed(String),
}
