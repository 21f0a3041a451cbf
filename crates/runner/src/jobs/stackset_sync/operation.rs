//! Following one stack set operation: started once under an id that is written down first, looked at until it is over,
//! and read account by account, because `SUCCEEDED` is not success.

use std::time::Duration;

use aws_ops::{
    Aws, AwsError,
    stack_sets::{
        DriftDetection, InstanceChange, InstanceDeletion, Operation, OperationAction,
        OperationResult, OperationStatus, ResultStatus, StackSetUpdate, Submission,
        new_detection_id, new_operation_id, next_poll_delay,
    },
};
use onboarding_core::ids::{AwsAccountId, StackSetName};
use serde::{Deserialize, Serialize};

use crate::{
    engine::{Applied, ErrorClass, Progress, StepContext, StepError},
    home::{Home, aws_error},
};

/// What a step remembers about its operation, across crashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::jobs) struct OperationMemo {
    /// Our id of the operation, written down before the call that starts it.
    pub(in crate::jobs) operation_id: String,
    /// The run that wrote it down.
    pub(in crate::jobs) run: String,
    /// When it was written down, in Unix milliseconds.
    pub(in crate::jobs) since: i64,
    /// Whether CloudFormation has taken the operation.
    pub(in crate::jobs) submitted: bool,
    /// An operation of somebody else that ours has to wait for.
    pub(in crate::jobs) waits_for: Option<String>,
    /// Looks at the result rows after the end that found fewer failures than the operation reports.
    pub(in crate::jobs) behind: u32,
    /// How far the operation was when its rows were last counted, where they are too many to count at every look.
    #[serde(default)]
    pub(in crate::jobs) counted: Option<Counted>,
}

/// Result rows, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::jobs) struct Counted {
    /// When, in Unix milliseconds.
    at: i64,
    done: usize,
    failed: usize,
}

impl Counted {
    fn of(rows: &[OperationResult], at: i64) -> Self {
        let count = |status| rows.iter().filter(|row| row.status == status).count();
        Self {
            at,
            done: count(ResultStatus::Succeeded),
            failed: count(ResultStatus::Failed),
        }
    }
}

impl OperationMemo {
    pub(in crate::jobs) fn of(cx: &StepContext) -> Option<Self> {
        serde_json::from_value(cx.memo()?).ok()
    }

    pub(in crate::jobs) fn new(cx: &StepContext) -> Self {
        Self {
            operation_id: new_operation_id(),
            run: cx.run_id().to_string(),
            since: cx.now(),
            submitted: false,
            waits_for: None,
            behind: 0,
            counted: None,
        }
    }

    /// One that follows an operation which is already there.
    pub(in crate::jobs) fn attached(cx: &StepContext, operation_id: &str) -> Self {
        Self {
            operation_id: operation_id.to_owned(),
            submitted: true,
            ..Self::new(cx)
        }
    }

    /// Whether an earlier run started the operation.
    pub(in crate::jobs) fn is_inherited(&self, cx: &StepContext) -> bool {
        self.run != cx.run_id().to_string()
    }

    /// Forgets the operation: it is over, and what comes next is another one.
    pub(in crate::jobs) async fn forget(cx: &StepContext) -> Result<(), StepError> {
        cx.set_memo(serde_json::Value::Null).await
    }

    pub(in crate::jobs) async fn write(&self, cx: &StepContext) -> Result<(), StepError> {
        let memo = serde_json::to_value(self).map_err(|error| {
            StepError::new(
                ErrorClass::Bug,
                "an operation's memo could not be written as JSON",
            )
            .with_source(error)
        })?;
        cx.set_memo(memo).await
    }
}

/// How an operation ended, account by account.
pub(in crate::jobs) struct Ended {
    /// Its id.
    pub(in crate::jobs) operation_id: String,
    /// What it did.
    pub(in crate::jobs) action: OperationAction,
    /// Its last status.
    pub(in crate::jobs) status: OperationStatus,
    /// Why, in AWS's words.
    pub(in crate::jobs) reason: Option<String>,
    /// The result rows.
    pub(in crate::jobs) rows: Vec<OperationResult>,
}

impl Ended {
    /// The accounts with this result.
    pub(in crate::jobs) fn accounts(
        &self,
        status: ResultStatus,
    ) -> impl Iterator<Item = (AwsAccountId, Option<&str>)> {
        self.rows
            .iter()
            .filter(move |row| row.status == status)
            .map(|row| (row.account, row.reason.as_deref()))
    }

    fn count(&self, status: ResultStatus) -> usize {
        self.accounts(status).count()
    }

    /// What happened, for people.
    pub(in crate::jobs) fn note(&self) -> String {
        let mut parts = vec![format!("{} succeeded", self.count(ResultStatus::Succeeded))];
        for (status, name) in [
            (ResultStatus::Failed, "failed"),
            (ResultStatus::Cancelled, "cancelled"),
        ] {
            match self.count(status) {
                0 => {}
                count => parts.push(format!("{count} {name}")),
            }
        }
        if self.status != OperationStatus::Succeeded {
            parts.push(format!("operation {:?}", self.status).to_lowercase());
        }
        if let Some(reason) = &self.reason {
            parts.push(reason.clone());
        }
        parts.join(", ")
    }
}

/// Where following an operation has got to.
pub(in crate::jobs) enum Followed {
    /// Ask again.
    Again(Applied),
    /// It is over.
    Ended(Ended),
}

/// Looks at the rows again at most this often when CloudFormation's list is behind the operation itself.
const MOST_LOOKS_BEHIND: u32 = 10;

/// Up to so many result rows are read for the progress display at every look; the end reads them in any case.
const MOST_PROGRESS_ROWS: usize = 1_000;

/// How long, in milliseconds, more rows than that are not counted again: 10,000 of them are 100 calls.
const COUNT_AGAIN: i64 = 60_000;

/// What starts an operation; the id is filled in when it is sent.
pub(in crate::jobs) enum Request {
    Create(InstanceChange),
    Update(InstanceChange),
    Reset(InstanceChange),
    Delete(InstanceDeletion),
    Definition(StackSetUpdate),
    DetectDrift(DriftDetection),
}

impl Request {
    /// An id for the operation that it starts.
    fn new_id(&self) -> String {
        match self {
            Self::DetectDrift(_) => new_detection_id(),
            _ => new_operation_id(),
        }
    }

    async fn send(self, aws: &Aws, operation_id: String) -> Result<Submission, AwsError> {
        match self {
            Self::Create(change) => {
                aws.create_stack_instances(&InstanceChange {
                    operation_id,
                    ..change
                })
                .await
            }
            Self::Update(change) => {
                aws.update_stack_instances(&InstanceChange {
                    operation_id,
                    ..change
                })
                .await
            }
            Self::Reset(change) => {
                aws.reset_stack_instances(&InstanceChange {
                    operation_id,
                    ..change
                })
                .await
            }
            Self::Delete(deletion) => {
                let change = InstanceChange {
                    operation_id,
                    ..deletion.change
                };
                aws.delete_stack_instances(&InstanceDeletion { change, ..deletion })
                    .await
            }
            Self::DetectDrift(detection) => {
                aws.detect_drift(&DriftDetection {
                    operation_id,
                    ..detection
                })
                .await
            }
            Self::Definition(update) => {
                aws.update_stack_set(&StackSetUpdate {
                    operation_id,
                    ..update
                })
                .await
            }
        }
    }
}

/// Sends what starts the operation, unless that was done before.
pub(in crate::jobs) async fn submit(
    home: &Home,
    cx: &StepContext,
    stack_set: &StackSetName,
    request: Request,
) -> Result<Result<OperationMemo, Applied>, StepError> {
    let mut memo = match OperationMemo::of(cx) {
        Some(memo) => memo,
        None => {
            let memo = OperationMemo {
                operation_id: request.new_id(),
                ..OperationMemo::new(cx)
            };
            memo.write(cx).await?;
            memo
        }
    };
    if memo.submitted {
        return Ok(Ok(memo));
    }
    if cx.is_ending() {
        return Ok(Err(Applied::Stopped {
            note: Some("interrupted before the operation was started".to_owned()),
        }));
    }
    if let Some(applied) = waits(home, cx, stack_set, &memo).await? {
        return Ok(Err(applied));
    }
    let new_id = request.new_id();
    match request
        .send(&home.aws, memo.operation_id.clone())
        .await
        .map_err(aws_error)?
    {
        Submission::Started { operation_id } | Submission::Adopted { operation_id } => {
            memo.operation_id = operation_id;
            memo.submitted = true;
            memo.run = cx.run_id().to_string();
            memo.waits_for = None;
            memo.write(cx).await?;
            Ok(Ok(memo))
        }
        Submission::Busy { operation_id } => {
            tracing::info!(stack_set = %stack_set, operation = operation_id.as_deref().unwrap_or("unknown"), "waiting for another operation");
            let requeue = wait_for(
                cx,
                &memo,
                operation_id.as_deref().unwrap_or("another operation"),
            );
            // AWS runs one id once, and may count a refused request as that once.
            memo.operation_id = new_id;
            memo.waits_for = operation_id;
            memo.write(cx).await?;
            Ok(Err(requeue))
        }
    }
}

/// What to answer while an operation of somebody else goes on that ours has to wait for; none when it is over.
pub(in crate::jobs) async fn waits(
    home: &Home,
    cx: &StepContext,
    stack_set: &StackSetName,
    memo: &OperationMemo,
) -> Result<Option<Applied>, StepError> {
    let Some(other) = &memo.waits_for else {
        return Ok(None);
    };
    match home.aws.describe_operation(stack_set, other).await {
        Ok(operation) if operation.outcome().is_none() => Ok(Some(wait_for(cx, memo, other))),
        Ok(_) => Ok(None),
        Err(error) if error.class() == aws_ops::ErrorClass::NotFound => Ok(None),
        Err(error) => Err(aws_error(error)),
    }
}

fn wait_for(cx: &StepContext, memo: &OperationMemo, other: &str) -> Applied {
    let progress = Progress {
        operation: Some(format!("waiting for operation {other}")),
        ..Progress::default()
    };
    Applied::Requeue {
        after: next_poll_delay(elapsed(cx, memo)),
        progress: Some(progress),
    }
}

fn elapsed(cx: &StepContext, memo: &OperationMemo) -> Duration {
    Duration::from_millis(u64::try_from(cx.now() - memo.since).unwrap_or_default())
}

/// Looks at the operation once.
pub(in crate::jobs) async fn follow(
    home: &Home,
    cx: &StepContext,
    stack_set: &StackSetName,
    mut memo: OperationMemo,
    accounts: usize,
) -> Result<Followed, StepError> {
    let operation = home
        .aws
        .describe_operation(stack_set, &memo.operation_id)
        .await
        .map_err(aws_error)?;
    let after = next_poll_delay(elapsed(cx, &memo));
    let Some(outcome) = operation.outcome() else {
        if operation.status != OperationStatus::Queued
            && is_counted_again(&memo, accounts, cx.now())
        {
            let rows = home
                .aws
                .operation_results(stack_set, &memo.operation_id)
                .await
                .map_err(aws_error)?;
            memo.counted = Some(Counted::of(&rows, cx.now()));
            if accounts > MOST_PROGRESS_ROWS {
                memo.write(cx).await?;
            }
        }
        return Ok(Followed::Again(Applied::Requeue {
            after,
            progress: Some(progress_of(&operation, memo.counted, accounts)),
        }));
    };
    let rows = home
        .aws
        .operation_results(stack_set, &memo.operation_id)
        .await
        .map_err(aws_error)?;
    let failed = rows
        .iter()
        .filter(|row| row.status == ResultStatus::Failed)
        .count();
    let unfinished = rows
        .iter()
        .any(|row| matches!(row.status, ResultStatus::Running | ResultStatus::Pending));
    let missing = outcome
        .failed_instances
        .is_some_and(|count| failed < count as usize);
    // The list of results is eventually consistent (CloudFormation API reference); the operation itself is not.
    if (unfinished || missing) && memo.behind < MOST_LOOKS_BEHIND {
        memo.behind += 1;
        memo.write(cx).await?;
        let counted = Counted::of(&rows, cx.now());
        let progress = progress_of(&operation, Some(counted), accounts);
        return Ok(Followed::Again(Applied::Requeue {
            after: Duration::from_secs(1),
            progress: Some(progress),
        }));
    }
    Ok(Followed::Ended(Ended {
        operation_id: operation.id,
        action: operation.action,
        status: outcome.status,
        reason: operation.status_reason,
        rows,
    }))
}

/// Whether the rows of an operation on so many accounts are counted at this look.
fn is_counted_again(memo: &OperationMemo, accounts: usize, now: i64) -> bool {
    accounts <= MOST_PROGRESS_ROWS
        || memo
            .counted
            .is_none_or(|counted| now - counted.at >= COUNT_AGAIN)
}

fn progress_of(operation: &Operation, counted: Option<Counted>, accounts: usize) -> Progress {
    let (done, failed) = counted.map_or((0, 0), |counted| (counted.done, counted.failed));
    let total = accounts.max(done + failed);
    let status = format!("{:?}", operation.status).to_lowercase();
    Progress {
        total,
        done,
        failed,
        waiting: total.saturating_sub(done + failed),
        operation: Some(format!("operation {} {status}", operation.id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memo(counted: Option<i64>) -> OperationMemo {
        OperationMemo {
            operation_id: "op".to_owned(),
            run: "run".to_owned(),
            since: 0,
            submitted: true,
            waits_for: None,
            behind: 0,
            counted: counted.map(|at| Counted::of(&[], at)),
        }
    }

    #[test]
    fn many_rows_are_counted_once_a_minute_and_few_at_every_look() {
        assert!(is_counted_again(&memo(None), 10_000, 0));
        assert!(!is_counted_again(&memo(Some(0)), 10_000, 59_999));
        assert!(is_counted_again(&memo(Some(0)), 10_000, 60_000));
        assert!(is_counted_again(&memo(Some(0)), 1_000, 1));
    }

    #[test]
    fn a_memo_of_an_older_version_is_read() {
        let mut old = serde_json::to_value(memo(None)).unwrap();
        old.as_object_mut().unwrap().remove("counted");
        assert_eq!(
            serde_json::from_value::<OperationMemo>(old).unwrap(),
            memo(None)
        );
    }
}
