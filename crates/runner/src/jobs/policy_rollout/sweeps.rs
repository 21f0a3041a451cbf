//! Working through the accounts of a wave, or through those whose override is taken away: one operation after the other, each
//! followed to its end and read account by account.
//!
//! How many may go wrong is of all operations together: after one that went wrong there is no other. An operation is noted in the
//! rollout as soon as CloudFormation has taken it, so that whoever turns the rollout back finds it.

use std::{collections::BTreeMap, time::Duration};

use aws_ops::stack_sets::{FailureTolerance, OperationStatus, ResultStatus, is_ours};
use onboarding_core::{
    desired::Profile,
    ids::AwsAccountId,
    inventory::{InstanceDetailedStatus, InstanceStatus, StackInstance},
    plan::Step,
    policy_rollout::{Member, Outcome, Rollout, Sweep},
};

use super::{
    PolicyRollout,
    apply::{moved, no_profile},
};
use crate::{
    engine::{Applied, Progress, StepContext, StepError},
    home::aws_error,
    jobs::stackset_sync::operation::{Ended, Followed, OperationMemo, follow, submit, waits},
};

/// How long to wait for an operation that is not followed for itself.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Which accounts of a rollout.
pub(super) enum Which {
    /// Those of a wave.
    Wave(String),
    /// Those whose override is taken away.
    Reset,
}

impl Which {
    pub(super) fn of<'a>(&self, rollout: &'a mut Rollout) -> Option<&'a mut Sweep> {
        match self {
            Self::Wave(name) => rollout.wave_mut(name).map(|wave| &mut wave.sweep),
            Self::Reset => rollout.reset.as_mut(),
        }
    }
}

/// What they are given.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target<'a> {
    /// This version.
    Version(&'a str),
    /// What the stack set says.
    Default,
}

/// How fast, and how many may go wrong.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// How many accounts at a time; none: as the stack set's other operations.
    pub(super) concurrency: Option<u32>,
    /// How many may go wrong, over all operations together, and whether CloudFormation is to be strict about it; none: as many as
    /// there are.
    pub(super) failures: Option<(usize, bool)>,
}

impl Pace {
    /// Whether more went wrong than may.
    pub(super) fn is_exceeded(self, wrong: usize) -> bool {
        self.failures.is_some_and(|(failures, _)| wrong > failures)
    }

    /// How many may in the next operation, after so many.
    pub(super) fn tolerance(self, wrong: usize) -> FailureTolerance {
        match self.failures {
            None => FailureTolerance::Any,
            Some((failures, strict)) => FailureTolerance::Count {
                failures: u32::try_from(failures.saturating_sub(wrong)).unwrap_or(u32::MAX),
                strict,
            },
        }
    }
}

/// How far it is.
pub(super) enum Swept {
    /// This is to be answered: it goes on later, or was stopped.
    Not(Applied),
    /// Nothing is left to do.
    Over,
}

impl PolicyRollout {
    /// One look at, or one stretch of, working through the accounts, one operation after the other.
    pub(super) async fn sweep(
        &self,
        cx: &StepContext,
        step: &Step,
        which: &Which,
        target: Target<'_>,
        pace: Pace,
    ) -> Result<Swept, StepError> {
        let profile = self.sync.desired.profiles.first().ok_or_else(no_profile)?;
        let memo = match OperationMemo::of(cx) {
            Some(memo) if memo.submitted => memo,
            unsent => {
                if let Some(memo) = unsent.filter(|_| !cx.is_ending())
                    && let Some(applied) = waits(self.home(), cx, &profile.stack_set, &memo).await?
                {
                    return Ok(Swept::Not(applied));
                }
                let Some(request) = self.request(cx, profile, which, target, pace).await? else {
                    return Ok(Swept::Over);
                };
                match submit(self.home(), cx, &profile.stack_set, request).await? {
                    Ok(memo) => {
                        // Whoever turns the rollout back must find it.
                        self.amend(cx, |rollout| {
                            let elsewhere = moved(rollout);
                            let sweep = which.of(rollout).ok_or(elsewhere)?;
                            sweep.operation = Some(memo.operation_id.clone());
                            Ok(())
                        })
                        .await?;
                        memo
                    }
                    Err(applied) => return Ok(Swept::Not(applied)),
                }
            }
        };
        let (operation, is_inherited) = (memo.operation_id.clone(), memo.is_inherited(cx));
        let accounts = step.accounts.len();
        match follow(self.home(), cx, &profile.stack_set, memo, accounts).await? {
            Followed::Again(applied) => {
                if self.fail_too_many(&applied, which, pace).await? {
                    // CloudFormation stops by itself in time when it is strict; else it is asked to.
                    self.stop_if_it_runs(profile, &operation).await;
                }
                Ok(Swept::Not(applied))
            }
            Followed::Ended(ended) => {
                let is_stopped = ended.status == OperationStatus::Stopped;
                let was_interrupted = is_stopped && (cx.is_ending() || is_inherited);
                self.settle(cx, profile, which, &ended, (was_interrupted, pace))
                    .await?;
                OperationMemo::forget(cx).await?;
                Ok(Swept::Not(if is_stopped && cx.is_ending() {
                    Applied::Stopped {
                        note: Some(ended.note()),
                    }
                } else {
                    // The next group, or the end.
                    Applied::Requeue {
                        after: Duration::ZERO,
                        progress: None,
                    }
                }))
            }
        }
    }

    /// Stops the operation of a step whose rollout somebody has turned back meanwhile, and follows it to its end. None when nothing
    /// goes on.
    pub(super) async fn wind_up(
        &self,
        cx: &StepContext,
        step: &Step,
        which: &Which,
    ) -> Result<Option<Applied>, StepError> {
        let Some(memo) = OperationMemo::of(cx).filter(|memo| memo.submitted) else {
            return Ok(None);
        };
        let profile = self.sync.desired.profiles.first().ok_or_else(no_profile)?;
        let operation = memo.operation_id.clone();
        let accounts = step.accounts.len();
        match follow(self.home(), cx, &profile.stack_set, memo, accounts).await? {
            Followed::Again(applied) => {
                self.stop_if_it_runs(profile, &operation).await;
                Ok(Some(applied))
            }
            Followed::Ended(ended) => {
                self.settle(cx, profile, which, &ended, (false, Pace::default()))
                    .await?;
                OperationMemo::forget(cx).await?;
                Ok(None)
            }
        }
    }

    /// Before accounts are put back: what this program has begun on the stack set is stopped where it is the rollout's, and waited
    /// for. An account that an operation has not reached yet looks like one that never got the version.
    pub(super) async fn quieten(&self, cx: &StepContext) -> Result<Option<Applied>, StepError> {
        if OperationMemo::of(cx).is_some_and(|memo| memo.submitted) {
            return Ok(None);
        }
        let profile = self.sync.desired.profiles.first().ok_or_else(no_profile)?;
        let operations = self.home().aws.recent_operations(&profile.stack_set).await;
        let mut operations = operations.map_err(aws_error)?;
        operations.retain(|operation| operation.is_under_way() && is_ours(&operation.id));
        let rollout = self.open().await?.rollout;
        for operation in &operations {
            if rollout.operations().any(|known| known == operation.id) {
                self.stop_if_it_runs(profile, &operation.id).await;
            }
        }
        if let Some(operation) = operations.first() {
            return Ok(Some(Applied::Requeue {
                after: LOOK_AGAIN,
                progress: Some(Progress {
                    operation: Some(format!("waiting for operation {}", operation.id)),
                    ..Progress::default()
                }),
            }));
        }
        if rollout.waves.iter().any(|wave| wave.sweep.is_asked()) {
            self.amend(cx, |rollout| {
                for wave in &mut rollout.waves {
                    wave.sweep.forget_asked();
                }
                Ok(())
            })
            .await?;
        }
        Ok(None)
    }

    /// Writes down what became of the accounts of an operation that is over. Those that one did not reach which was interrupted are
    /// still due, unless it was stopped for what went wrong.
    async fn settle(
        &self,
        cx: &StepContext,
        profile: &Profile,
        which: &Which,
        ended: &Ended,
        (was_interrupted, pace): (bool, Pace),
    ) -> Result<(), StepError> {
        let instances = self.instances(profile).await?;
        let rows: BTreeMap<AwsAccountId, (ResultStatus, Option<&str>)> = ended
            .rows
            .iter()
            .map(|row| (row.account, (row.status, row.reason.as_deref())))
            .collect();
        let failed = ended.accounts(ResultStatus::Failed).count();
        self.amend(cx, |rollout| {
            let elsewhere = moved(rollout);
            let sweep = which.of(rollout).ok_or(elsewhere)?;
            let is_to_go_on = was_interrupted && !pace.is_exceeded(sweep.wrong() + failed);
            sweep.settle(|account, asked| {
                let row = rows.get(&account).copied();
                became(row, asked, instances.get(&account), is_to_go_on)
            });
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Whether more accounts fail than may.
    async fn fail_too_many(
        &self,
        applied: &Applied,
        which: &Which,
        pace: Pace,
    ) -> Result<bool, StepError> {
        let Applied::Requeue {
            progress: Some(progress),
            ..
        } = applied
        else {
            return Ok(false);
        };
        if progress.failed == 0 {
            return Ok(false);
        }
        let mut row = self.open().await?;
        let before = which.of(&mut row.rollout).map_or(0, |sweep| sweep.wrong());
        Ok(pace.is_exceeded(before + progress.failed))
    }

    async fn stop_if_it_runs(&self, profile: &Profile, operation: &str) {
        let stopped = self
            .sync
            .stop_operation(&profile.stack_set, operation)
            .await;
        if let Err(error) = stopped {
            // It is looked at again, and asked again, as long as it runs.
            tracing::warn!(operation, reason = %error, "an operation could not be stopped yet");
        }
    }
}

/// What became of an account that an operation was asked to update: by its row, and by the instance that it has now.
fn became(
    row: Option<(ResultStatus, Option<&str>)>,
    asked: &Member,
    instance: Option<&StackInstance>,
    is_to_go_on: bool,
) -> Member {
    let member = |outcome, reason: Option<&str>| Member {
        outcome,
        reason: reason.map(str::to_owned),
        stack: None,
    };
    let Some(instance) = instance else {
        return gone("it has no stack instance any more");
    };
    if instance.detailed_status == InstanceDetailedStatus::SkippedSuspendedAccount {
        return gone("the account is suspended");
    }
    if asked.stack.is_some() && asked.stack != instance.stack_id {
        return gone("it has another stack by now");
    }
    match row {
        Some((ResultStatus::Succeeded, _)) if instance.status == InstanceStatus::Current => {
            updated(Some(instance))
        }
        Some((ResultStatus::Succeeded, _)) => {
            let why = "its update succeeded, and its stack instance is not current";
            member(Outcome::Failed, Some(why))
        }
        Some((ResultStatus::Failed, reason)) => member(Outcome::Failed, reason),
        Some(_) if is_to_go_on => Member::default(),
        Some((_, reason)) => member(Outcome::Cancelled, reason),
        None => member(Outcome::Failed, Some("CloudFormation passed it by")),
    }
}

pub(super) fn gone(why: &str) -> Member {
    Member {
        outcome: Outcome::Gone,
        reason: Some(why.to_owned()),
        stack: None,
    }
}

pub(super) fn updated(instance: Option<&StackInstance>) -> Member {
    Member {
        outcome: Outcome::Updated,
        reason: None,
        stack: instance.and_then(|instance| instance.stack_id.clone()),
    }
}

#[cfg(test)]
mod tests {
    use onboarding_core::inventory::StackDrift;

    use super::*;

    fn instance(stack: &str) -> StackInstance {
        StackInstance {
            account: AwsAccountId::from_number(1).unwrap(),
            region: "us-east-1".parse().unwrap(),
            status: InstanceStatus::Current,
            detailed_status: InstanceDetailedStatus::Succeeded,
            status_reason: None,
            stack_id: Some(stack.into()),
            targeted_ou: None,
            last_operation_id: None,
            drift: StackDrift::default(),
        }
    }

    #[test]
    fn what_became_of_an_account_is_told_by_its_row_and_the_stack_that_it_has() {
        let asked = Member {
            stack: Some("one".into()),
            ..Member::default()
        };
        let succeeded = Some((ResultStatus::Succeeded, None));
        let cancelled = Some((ResultStatus::Cancelled, Some("stopped")));
        let of = |row, instance: Option<&StackInstance>, is_to_go_on| {
            became(row, &asked, instance, is_to_go_on).outcome
        };
        let one = instance("one");
        assert_eq!(of(succeeded, Some(&one), false), Outcome::Updated);
        assert_eq!(of(cancelled, Some(&one), false), Outcome::Cancelled);
        assert_eq!(of(cancelled, Some(&one), true), Outcome::Due);
        let failed = Some((ResultStatus::Failed, Some("denied")));
        assert_eq!(of(failed, Some(&one), true), Outcome::Failed);
        // It was moved, and has a new stack with what the stack set says: not what the row is about.
        assert_eq!(of(succeeded, Some(&instance("two")), false), Outcome::Gone);
        assert_eq!(of(succeeded, None, false), Outcome::Gone);
        // Nothing is taken for done that nobody did.
        assert_eq!(of(None, Some(&one), false), Outcome::Failed);
        let outdated = StackInstance {
            status: InstanceStatus::Outdated,
            ..instance("one")
        };
        assert_eq!(of(succeeded, Some(&outdated), false), Outcome::Failed);
        let suspended = StackInstance {
            detailed_status: InstanceDetailedStatus::SkippedSuspendedAccount,
            ..instance("one")
        };
        assert_eq!(of(succeeded, Some(&suspended), false), Outcome::Gone);
    }

    #[test]
    fn how_many_may_go_wrong_is_of_all_operations_together() {
        let pace = Pace {
            concurrency: None,
            failures: Some((3, true)),
        };
        assert!(!pace.is_exceeded(3) && pace.is_exceeded(4));
        let left = |wrong| match pace.tolerance(wrong) {
            FailureTolerance::Count { failures, strict } => (failures, strict),
            FailureTolerance::Any => unreachable!(),
        };
        assert_eq!(
            (left(0), left(2), left(5)),
            ((3, true), (1, true), (0, true))
        );
        assert!(!Pace::default().is_exceeded(usize::MAX));
    }
}
