//! Deleting a stack that was left in an account which no profile targets, before its Spot account: everything is read once more, it is
//! written down, then CloudFormation is asked through the remediation role, and looked at until it says that the stack is gone.

use std::{collections::BTreeMap, time::Duration};

use aws_ops::{AccessError, AccountStack};
use onboarding_core::{
    custom_resource::TombstoneReason,
    ids::{AwsAccountId, RoleArn, SpotAccountId, StackId},
    inventory::SpotAccountRecord,
    orphan_cleanup::{
        CleanupObserved, Due, KnownTombstone, LeftStack, Reach, Why, delete_stack_command,
        is_the_left_one, still_left, undo::DeletedStack,
    },
};
use onboarding_provider::{CleanUpError, Intents as _, Orphan};
use serde::{Deserialize, Serialize};

use super::{
    OrphanCleanup,
    delete::{state_error, step_error},
};
use crate::{
    engine::{Applied, ErrorClass, JobError, StepContext, StepError},
    home::{Remediation, aws_error, spot_error},
};

/// How long, in seconds, CloudFormation may go on telling how a stack was before it was asked to delete it.
const SETTLED: i64 = 60;

/// How we get into the account.
const ASSUME: &str = "sts:AssumeRole";

/// The pause before CloudFormation is asked again.
const PAUSE: Duration = Duration::from_secs(5);

/// How often one run asks for a stack to be deleted that stays as it is.
const MOST_TRIES: u32 = 3;

/// The stack of one step.
pub(super) struct Left {
    pub(super) stack: StackId,
    pub(super) role: RoleArn,
    pub(super) account: AwsAccountId,
    pub(super) account_name: Option<String>,
    pub(super) spot_account: SpotAccountId,
    pub(super) first_seen: i64,
}

/// What is written down before CloudFormation is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sent {
    run: String,
    /// When it was last asked, in Unix seconds.
    at: i64,
    /// How often, by this run.
    tries: u32,
    /// CloudFormation does once what it is asked with one token.
    token: String,
    stack: StackId,
    /// How the stack was before.
    status: String,
}

/// What is to be done about a stack of a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It is gone.
    Gone,
    /// It is looked at again.
    Wait,
    /// CloudFormation works on it for another reason, or it is as nobody of ours knows it.
    Busy,
    /// Its deletion failed.
    Failed,
    /// CloudFormation does not begin, however often it is asked.
    Ignored,
    /// CloudFormation is asked to delete it.
    Ask,
}

/// `sent` is what was written down last, by the run `run` or one before it.
fn next(status: &str, sent: Option<&Sent>, run: &str, now: i64) -> Next {
    let sent = sent.filter(|sent| sent.run == run);
    let is_fresh = sent.is_some_and(|sent| now.saturating_sub(sent.at) <= SETTLED);
    match (status, sent) {
        ("DELETE_COMPLETE", _) => Next::Gone,
        ("DELETE_IN_PROGRESS", _) => Next::Wait,
        (status, _) if !status.ends_with("_COMPLETE") && !status.ends_with("_FAILED") => Next::Busy,
        (status, Some(sent)) if is_fresh && sent.status == status => Next::Wait,
        ("DELETE_FAILED", Some(_)) => Next::Failed,
        (_, Some(sent)) if sent.tries >= MOST_TRIES => Next::Ignored,
        _ => Next::Ask,
    }
}

impl OrphanCleanup {
    /// Whatever fails after CloudFormation was asked is written down, so that others go before this one from now on.
    pub(super) async fn delete_leftover(
        &self,
        cx: &StepContext,
        left: Left,
    ) -> Result<Applied, StepError> {
        let done = self.delete_or_follow(cx, &left).await;
        if done.is_err() {
            self.note_failure(cx, &left, false).await;
        }
        done
    }

    /// `nothing_was_deleted`: then it does not use the day up.
    async fn note_failure(&self, cx: &StepContext, left: &Left, nothing_was_deleted: bool) {
        let (run, now) = (cx.run_id().to_string(), cx.now().div_euclid(1000));
        let (state, id) = (&self.home().state, &left.spot_account);
        let noted = state.note_failed_try(&run, id, nothing_was_deleted, now);
        if let Err(error) = noted.await {
            tracing::warn!(spot_account = %id, error = &error as &dyn std::error::Error, "that a stack could not be deleted was not written down");
        }
    }

    async fn delete_or_follow(&self, cx: &StepContext, left: &Left) -> Result<Applied, StepError> {
        let remediation = self.remediation().ok_or_else(|| {
            StepError::new(
                ErrorClass::Invalid,
                "stacks that were left are not deleted any more: remediation.leftover_stacks was taken away; plan again",
            )
        })?;
        let (stack, account) = (&left.stack, left.account);
        let (run, now) = (cx.run_id().to_string(), cx.now().div_euclid(1000));
        let sent: Option<Sent> = cx.memo().and_then(|memo| serde_json::from_value(memo).ok());
        let sent = sent.filter(|sent| sent.stack == *stack);
        let found = remediation.role.stack(stack).await;
        let Some(found) = found.map_err(|error| access_error(error, stack, sent.is_some()))? else {
            return self.is_gone(left, sent.is_some()).await;
        };
        let by_person = || format!("delete it in the account: {}", delete_stack_command(stack));
        let failed = |words: String| Err(StepError::new(ErrorClass::Failed, words));
        match next(&found.status, sent.as_ref(), &run, now) {
            Next::Gone => return self.is_gone(left, sent.is_some()).await,
            Next::Wait if cx.is_ending() => {
                return Ok(Applied::Stopped {
                    note: Some(format!(
                        "CloudFormation goes on deleting stack {stack}; the next run looks"
                    )),
                });
            }
            Next::Wait => return Ok(again()),
            Next::Busy => {
                return Err(StepError::new(
                    ErrorClass::Conflict,
                    format!(
                        "stack {stack} is in {:?}, in which nothing is asked of it; look what goes on",
                        found.status
                    ),
                ));
            }
            Next::Failed => {
                let why = found.status_reason.unwrap_or_default();
                return failed(format!(
                    "stack {stack} could not be deleted ({}): {why}; look at its events, then {}",
                    found.status,
                    by_person()
                ));
            }
            Next::Ignored => {
                self.note_failure(cx, left, true).await;
                return failed(format!(
                    "stack {stack} stays in {}, although CloudFormation took the request to delete it; {}",
                    found.status,
                    by_person()
                ));
            }
            Next::Ask => {}
        }
        if cx.is_ending() {
            return Ok(before_it());
        }
        // What takes long comes first: what decides is read right before CloudFormation is asked.
        let Some(listed) = self.may_go(left).await? else {
            return Err(refused(format!(
                "Spot account {} is gone",
                left.spot_account
            )));
        };
        let mut record = self
            .record(
                &listed,
                account,
                left.account_name.clone(),
                Why::OutsideTargets,
                left.first_seen,
            )
            .await?;
        self.confirm_leftover(left).await?;
        let looked = remediation.role.stack(stack).await;
        let Some(found) = looked.map_err(|error| access_error(error, stack, sent.is_some()))?
        else {
            return self.is_gone(left, sent.is_some()).await;
        };
        // All that was read may have taken minutes.
        let now = cx.now().div_euclid(1000);
        if next(&found.status, sent.as_ref(), &run, now) != Next::Ask {
            return Err(refused(format!(
                "stack {stack} is in {} by now",
                found.status
            )));
        }
        let is_left = is_the_left_one(stack, &left.role, &left.spot_account, as_found(&found));
        if let Err(why) = is_left {
            return failed(format!("stack {stack} is not deleted: {why}"));
        }
        let state = &self.home().state;
        // Before anything is written down: what is frozen was not asked for, and uses nothing up.
        if let Some(freeze) = state.database().frozen().await.map_err(state_error)? {
            cx.interrupt().freeze(freeze.to_string());
            return Ok(Applied::Stopped {
                note: Some(format!("frozen before the stack was deleted: {freeze}")),
            });
        }
        if cx.is_ending() {
            return Ok(before_it());
        }
        record.only_stack = true;
        record.deleted_stack = Some(DeletedStack {
            run: run.clone(),
            stack: stack.clone(),
            parameters: found.parameters,
            outputs: found.outputs,
            is_gone: false,
        });
        // The Spot account that goes after the stack is written down here: it counts against the limits of the day from now on.
        let most_a_day = self.looked()?.most_a_day;
        state.begin_deletion(&run, &record, most_a_day, now).await?;
        let tries = sent.as_ref().filter(|sent| sent.run == run);
        let sent = Sent {
            at: now,
            tries: tries.map_or(0, |sent| sent.tries) + 1,
            token: format!("leftover-{run}"),
            stack: stack.clone(),
            status: found.status,
            run,
        };
        let memo = serde_json::to_value(&sent).map_err(|error| {
            StepError::new(ErrorClass::Bug, "a memo cannot be written").with_source(error)
        })?;
        cx.set_memo(memo).await?;
        if let Err(error) = remediation.role.delete_stack(stack, &sent.token).await {
            if is_refusal(&error) {
                self.note_failure(cx, left, true).await;
            }
            return Err(access_error(error, stack, false));
        }
        tracing::warn!(cloud.account.id = %account, %stack, "a stack that was left is deleted");
        Ok(again())
    }

    /// The remediation role, where stacks that were left are deleted through it.
    fn remediation(&self) -> Option<&Remediation> {
        let remediation = self.home().remediation.as_ref();
        remediation.filter(|remediation| remediation.deletes_leftover_stacks)
    }

    /// The Spot account that goes after the stack, as it is now, when nothing in our state or at Spot speaks against it; none when it is gone.
    async fn may_go(&self, left: &Left) -> Result<Option<SpotAccountRecord>, StepError> {
        let orphan = orphan(&left.spot_account, left.account, &left.stack);
        let listed = self.lifecycle().await?.may_clean_up(&orphan).await;
        listed.map_err(step_error)
    }

    /// Nothing is deleted on the word of a listing: what decides is read for this account alone.
    async fn confirm_leftover(&self, left: &Left) -> Result<(), StepError> {
        let (account, spot_account) = (left.account, &left.spot_account);
        let Some(listed) = self.may_go(left).await? else {
            return Err(refused(format!("Spot account {spot_account} is gone")));
        };
        let evidence = self.evidence(&listed, account).await?;
        // Once more, and last: the rest may have taken minutes.
        let running = self.workloads(spot_account).await.map_err(spot_error)?;
        still_left(spot_account, account, &evidence, &running)
            .map_err(|reason| refused(format!("stack {}: {reason}", left.stack)))
    }

    async fn is_gone(&self, left: &Left, by_us: bool) -> Result<Applied, StepError> {
        let (stack, account) = (&left.stack, left.account);
        self.note_deleted_stacks(&BTreeMap::from([(account, stack.clone())]))
            .await?;
        // Whatever went wrong while it was followed.
        let state = &self.home().state;
        state.note_stack_gone(&left.spot_account).await?;
        if !by_us {
            return Ok(Applied::Unchanged);
        }
        Ok(Applied::Done {
            note: Some(format!(
                "stack {stack} is deleted, with role {}; targeted again, the account gets another one from stackset-sync",
                left.role
            )),
        })
    }

    /// Looks whether the stack that was left can be deleted through the remediation role, of a Spot account that is due. Whether it can,
    /// and was not tried before.
    pub(super) async fn reaches(
        &self,
        due: &Due,
        observed: &mut CleanupObserved,
    ) -> Result<bool, JobError> {
        let (Some(stack), Some(remediation)) = (&due.leftover, self.remediation()) else {
            return Ok(true);
        };
        let id = &due.spot_account;
        let reach = match remediation.role.stack(stack).await {
            Ok(Some(found)) if !found.is_deleted() => {
                let goes_on = found.status == "DELETE_IN_PROGRESS";
                if goes_on {
                    // Whatever failed before, unless that takes more than a day.
                    let now = observed.sync.now;
                    let tried = observed.tried.get(id);
                    if tried.is_some_and(|tried| tried.is_of_the_day(now)) {
                        observed.tried.remove(id);
                    }
                }
                let known = observed.known.get(id);
                let owner = known.and_then(|known| known.owner.as_ref());
                match owner.and_then(|owner| reach(due, stack, &found, &owner.role)) {
                    reach @ (None | Some(Reach::FailedBefore)) if !goes_on => {
                        self.opposed(id, stack).await?.or(reach)
                    }
                    reach => reach,
                }
            }
            Ok(_) => {
                if let Some(known) = observed.known.get_mut(id) {
                    known.tombstone = Some(KnownTombstone {
                        stack: stack.clone(),
                        at: observed.sync.now,
                        reason: TombstoneReason::Reconcile,
                    });
                }
                None
            }
            Err(error) => {
                tracing::warn!(spot_account = %id, %stack, error = &error as &dyn std::error::Error, "looking at a stack that was left failed");
                Some(unseen(&error))
            }
        };
        let is_in_reach = reach.is_none() && observed.failed_at(id).is_none();
        observed
            .reach
            .extend(reach.map(|reach| (id.clone(), reach)));
        Ok(is_in_reach)
    }

    /// What in our state or at Spot speaks against deleting a stack that can be deleted: the step would be refused because of it.
    async fn opposed(
        &self,
        spot_account: &SpotAccountId,
        stack: &StackId,
    ) -> Result<Option<Reach>, JobError> {
        let Some(account) = stack.account() else {
            return Ok(None);
        };
        let orphan = orphan(spot_account, account, stack);
        match self.lifecycle().await?.may_clean_up(&orphan).await {
            Ok(_) => Ok(None),
            Err(CleanUpError::Refused { reason, .. }) => {
                Ok(Some(Reach::Kept(format!("{stack}: {reason}"))))
            }
            Err(CleanUpError::Busy { reason, .. }) => Ok(Some(Reach::Unknown(format!(
                "{reason}; the next run looks again"
            )))),
            Err(error) => Err(step_error(error)),
        }
    }
}

/// A Spot account that is deleted after the stack that was left in its account.
fn orphan(spot_account: &SpotAccountId, account: AwsAccountId, stack: &StackId) -> Orphan {
    Orphan {
        spot_account: spot_account.clone(),
        account,
        owner: Some(stack.clone()),
        may_be_linked: true,
        is_account_gone: false,
    }
}

/// What is to be known of a stack that could not be looked at.
fn unseen(error: &AccessError) -> Reach {
    match error {
        AccessError::Failed(failed) if failed.passes() || failed.operation == ASSUME => {
            Reach::Unknown(format!(
                "looking at it failed ({error}); the next run looks again"
            ))
        }
        AccessError::Failed(_) => Reach::Kept(format!("looking at it failed ({error})")),
        denied => Reach::Denied(denied.to_string()),
    }
}

fn before_it() -> Applied {
    Applied::Stopped {
        note: Some("interrupted before the stack was deleted".to_owned()),
    }
}

fn refused(reason: String) -> StepError {
    StepError::new(
        ErrorClass::Failed,
        format!("{reason}; nothing was deleted, run again"),
    )
}

/// What is to be known of a stack that was left and that the role can look at, unless that it can be deleted.
fn reach(due: &Due, stack: &StackId, found: &AccountStack, role: &RoleArn) -> Option<Reach> {
    if found.status == "DELETE_IN_PROGRESS" {
        return None;
    }
    if found.status.ends_with("_IN_PROGRESS") {
        return Some(Reach::Kept(format!(
            "{stack} is in {}: somebody works on it; a later run looks again",
            found.status
        )));
    }
    let is_left = is_the_left_one(stack, role, &due.spot_account, as_found(found));
    if let Err(why) = is_left {
        return Some(Reach::Kept(format!("{stack}: {why}")));
    }
    (found.status == "DELETE_FAILED").then_some(Reach::FailedBefore)
}

fn again() -> Applied {
    Applied::Requeue {
        after: PAUSE,
        progress: None,
    }
}

fn as_found(found: &AccountStack) -> LeftStack<'_> {
    let output = |name: &str| found.outputs.get(name).map(String::as_str);
    LeftStack {
        name: &found.name,
        role: output("SpotRoleArn"),
        spot_account: output("AccountId"),
        is_protected: found.is_protected,
    }
}

/// Whether CloudFormation has said that it does not begin.
fn is_refusal(error: &AccessError) -> bool {
    match error {
        AccessError::Failed(error) => error.class() == aws_ops::ErrorClass::Invalid,
        _ => error.is_denial(),
    }
}

/// `is_sent`: CloudFormation may be at it already.
fn access_error(error: AccessError, stack: &StackId, is_sent: bool) -> StepError {
    let command = delete_stack_command(stack);
    let way_out = match is_sent {
        true => format!(
            "CloudFormation was asked before to delete it: look there first, then {command}"
        ),
        false => format!("delete the stack in the account: {command}"),
    };
    match error {
        // The role let us in, so it is not our identity that AWS refuses: a Region that the account has not enabled does that, too.
        AccessError::Failed(error)
            if error.class() == aws_ops::ErrorClass::Credentials && error.operation != ASSUME =>
        {
            StepError::new(ErrorClass::Failed, format!("{error}; {way_out}"))
        }
        AccessError::Failed(error) => aws_error(*error),
        denied => StepError::new(ErrorClass::Denied, format!("{denied}; {way_out}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_stack_that_can_be_deleted_now_uses_a_limit_up() {
        let stack: StackId = "arn:aws:cloudformation:us-east-1:123456789012:stack/StackSet-a-1/1"
            .parse()
            .unwrap();
        let role: RoleArn = "arn:aws:iam::123456789012:role/SpotRole".parse().unwrap();
        let due = Due {
            spot_account: "act-0a1b2c3d".parse().unwrap(),
            leftover: Some(stack.clone()),
            is_begun: false,
        };
        let found = |status: &str, role: &str, is_protected| AccountStack {
            name: "StackSet-a-1".to_owned(),
            status: status.to_owned(),
            status_reason: None,
            parameters: BTreeMap::new(),
            is_protected,
            outputs: BTreeMap::from([("SpotRoleArn".to_owned(), role.to_owned())]),
            deleted_at: None,
        };
        let other = "arn:aws:iam::123456789012:role/Other";
        for (found, expected) in [
            (found("CREATE_COMPLETE", role.as_str(), false), "none"),
            (found("DELETE_IN_PROGRESS", role.as_str(), false), "none"),
            (found("DELETE_FAILED", role.as_str(), false), "failed"),
            (found("UPDATE_IN_PROGRESS", role.as_str(), false), "kept"),
            (found("CREATE_COMPLETE", role.as_str(), true), "kept"),
            (found("CREATE_COMPLETE", other, false), "kept"),
            (found("DELETE_FAILED", other, false), "kept"),
        ] {
            let reach = match reach(&due, &stack, &found, &role) {
                None => "none",
                Some(Reach::Kept(_)) => "kept",
                Some(Reach::FailedBefore) => "failed",
                Some(Reach::Denied(_) | Reach::Unknown(_)) => "else",
            };
            assert_eq!(reach, expected, "{found:?}");
        }
    }

    #[test]
    fn a_stack_is_asked_for_once_and_followed_to_its_end() {
        let sent = |run: &str, status: &str, at: i64, tries: u32| Sent {
            run: run.to_owned(),
            at,
            tries,
            token: "leftover-run".to_owned(),
            stack: "arn:aws:cloudformation:us-east-1:123456789012:stack/StackSet-a-1/1"
                .parse()
                .unwrap(),
            status: status.to_owned(),
        };
        let (complete, failed) = ("CREATE_COMPLETE", "DELETE_FAILED");
        for (status, sent, expected) in [
            (complete, None, Next::Ask),
            ("ROLLBACK_COMPLETE", None, Next::Ask),
            ("DELETE_COMPLETE", None, Next::Gone),
            ("DELETE_IN_PROGRESS", None, Next::Wait),
            ("UPDATE_IN_PROGRESS", None, Next::Busy),
            ("REVIEW_IN_PROGRESS", None, Next::Busy),
            ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", None, Next::Busy),
            // What AWS does not tell, or tells in words of tomorrow.
            ("", None, Next::Busy),
            ("DELETE_SKIPPED", None, Next::Busy),
            // What somebody else failed to delete may be tried.
            (failed, None, Next::Ask),
            (failed, Some(sent("before", complete, 100, 1)), Next::Ask),
            (failed, Some(sent("run", complete, 100, 1)), Next::Failed),
            // CloudFormation may go on telling how it was.
            (failed, Some(sent("run", failed, 100, 1)), Next::Wait),
            (failed, Some(sent("run", failed, 39, 1)), Next::Failed),
            (complete, Some(sent("run", complete, 100, 1)), Next::Wait),
            (complete, Some(sent("run", complete, 39, 1)), Next::Ask),
            (complete, Some(sent("run", complete, 39, 3)), Next::Ignored),
            // Whoever asked before died, or failed.
            (complete, Some(sent("before", complete, 100, 3)), Next::Ask),
            (
                "DELETE_IN_PROGRESS",
                Some(sent("before", complete, 0, 1)),
                Next::Wait,
            ),
            (
                "DELETE_COMPLETE",
                Some(sent("before", complete, 0, 1)),
                Next::Gone,
            ),
        ] {
            let decided = next(status, sent.as_ref(), "run", 100);
            assert_eq!(decided, expected, "{status} {sent:?}");
        }
    }
}
