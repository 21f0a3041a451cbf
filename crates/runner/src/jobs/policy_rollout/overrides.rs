//! Giving the parameter `PolicyVersion` to stack instances, and taking it away, without touching what else they override.
//!
//! An override that a list leaves out goes back to the stack set's value (CloudFormation API reference, UpdateStackInstances,
//! `ParameterOverrides`). So what each instance overrides is read first, and instances that override the same go together in one
//! operation, which says of the others that they stay.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_ops::stack_sets::{
    FailureTolerance, InstanceChange, OperationPreferences, OperationStatus, ParameterValue,
    ResultStatus,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use onboarding_core::{
    desired::Profile,
    ids::{AwsAccountId, OuId},
    inventory::{InstanceStatus, StackInstance},
    plan::Step,
    policy_rollout::{Member, Outcome, Rollout, Sweep},
    stackset_sync::operation_targets::{MAX_ACCOUNTS_PER_CALL, MAX_OUS_PER_CALL, by_account},
    template::POLICY_VERSION_PARAMETER,
};

use super::{PolicyRollout, apply::moved};
use crate::{
    engine::{Applied, StepContext, StepError},
    home::aws_error,
    jobs::stackset_sync::operation::{Ended, Followed, OperationMemo, Request, follow, submit},
    state::RolloutRow,
};

/// Instances whose overrides are read at the same time.
const AT_ONCE: usize = 16;

/// Which accounts of a rollout.
pub(super) enum Which {
    /// Those of a wave.
    Wave(String),
    /// Those whose override is taken away.
    Reset,
}

impl Which {
    fn of<'a>(&self, rollout: &'a mut Rollout) -> Option<&'a mut Sweep> {
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

/// How far it is.
pub(super) enum Swept {
    /// This is to be answered: it goes on later, or was stopped.
    Not(Applied),
    /// Nothing is left to do.
    Over,
}

/// The overrides of an instance, by name.
type Overrides = BTreeMap<String, String>;

impl PolicyRollout {
    /// One look at, or one stretch of, working through the accounts, one operation after the other.
    pub(super) async fn sweep(
        &self,
        cx: &StepContext,
        step: &Step,
        which: &Which,
        target: Target<'_>,
        pace: (Option<u32>, FailureTolerance),
    ) -> Result<Swept, StepError> {
        let profile = self.sync.desired.profiles.first().ok_or_else(moved)?;
        let under_way = OperationMemo::of(cx).filter(|memo| memo.submitted);
        let memo = match under_way {
            Some(memo) => memo,
            None => {
                let Some(request) = self.request(cx, profile, which, target, pace).await? else {
                    return Ok(Swept::Over);
                };
                match submit(self.home(), cx, &profile.stack_set, request).await? {
                    Ok(memo) => memo,
                    Err(applied) => return Ok(Swept::Not(applied)),
                }
            }
        };
        let (operation, is_inherited) = (memo.operation_id.clone(), memo.is_inherited(cx));
        let accounts = step.accounts.len();
        match follow(self.home(), cx, &profile.stack_set, memo, accounts).await? {
            Followed::Again(applied) => {
                self.stop_when_too_many_fail(profile, &operation, &applied, pace.1)
                    .await?;
                Ok(Swept::Not(applied))
            }
            Followed::Ended(ended) => {
                let is_stopped = ended.status == OperationStatus::Stopped;
                let was_interrupted = is_stopped && (cx.is_ending() || is_inherited);
                self.settle(cx, profile, which, &ended, was_interrupted)
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

    /// The next operation; none when nothing is left to do.
    async fn request(
        &self,
        cx: &StepContext,
        profile: &Profile,
        which: &Which,
        target: Target<'_>,
        (concurrency, tolerance): (Option<u32>, FailureTolerance),
    ) -> Result<Option<Request>, StepError> {
        let instances = self.instances(profile).await?;
        let mut row = self.open().await?;
        let sweep = which.of(&mut row.rollout).ok_or_else(moved)?;
        // One that was written down and perhaps sent is sent again as it was.
        let others = if OperationMemo::of(cx).is_some() && !sweep.asked.is_empty() {
            let first = sweep.asked.first().copied();
            let read = self.overrides(profile, first.into_iter().collect()).await?;
            read.into_values().next().map(others).unwrap_or_default()
        } else {
            sweep.asked.clear();
            let due: Vec<AwsAccountId> = sweep.with(Outcome::Due).collect();
            let (there, gone): (Vec<_>, Vec<_>) = due
                .into_iter()
                .partition(|account| instances.contains_key(account));
            for account in gone {
                let gone = Member {
                    outcome: Outcome::Gone,
                    reason: Some("it has no stack instance any more".to_owned()),
                    stack: None,
                };
                sweep.members.insert(account, gone);
            }
            let read = self.overrides(profile, there).await?;
            let mut groups: BTreeMap<BTreeSet<String>, Vec<AwsAccountId>> = BTreeMap::new();
            for (account, overrides) in read {
                let instance = instances.get(&account);
                if is_so(instance, &overrides, target) {
                    sweep.members.insert(account, updated(instance));
                } else {
                    groups.entry(others(overrides)).or_default().push(account);
                }
            }
            let next = groups.into_iter().next();
            if let Some((_, accounts)) = &next {
                let accounts = accounts.iter().take(MAX_ACCOUNTS_PER_CALL);
                sweep.asked = accounts.copied().collect();
            }
            self.keep(cx, &mut row).await?;
            match next {
                Some((others, _)) => others,
                None => return Ok(None),
            }
        };
        let sweep = which.of(&mut row.rollout).ok_or_else(moved)?;
        let asked: Vec<AwsAccountId> = sweep.asked.iter().copied().collect();
        let units = self.units(&asked, &instances);
        let Some(targets) = by_account(&units, &asked).into_iter().next() else {
            return Ok(None);
        };
        let kept = others
            .into_iter()
            .map(|name| (name, ParameterValue::Previous));
        let mut overrides: BTreeMap<String, ParameterValue> = kept.collect();
        if let Target::Version(version) = target {
            let version = ParameterValue::Value(version.to_owned());
            overrides.insert(POLICY_VERSION_PARAMETER.to_owned(), version);
        }
        let is_reset = overrides.is_empty();
        let change = InstanceChange {
            stack_set: profile.stack_set.clone(),
            targets,
            regions: vec![profile.region.clone()],
            overrides,
            preferences: OperationPreferences {
                max_concurrent: concurrency
                    .unwrap_or_else(|| self.home().max_concurrent(asked.len(), asked.len())),
                region_order: vec![profile.region.clone()],
                tolerance,
            },
            operation_id: String::new(),
        };
        Ok(Some(if is_reset {
            Request::Reset(change)
        } else {
            Request::Update(change)
        }))
    }

    /// Writes down what became of the accounts of an operation that is over.
    async fn settle(
        &self,
        cx: &StepContext,
        profile: &Profile,
        which: &Which,
        ended: &Ended,
        was_interrupted: bool,
    ) -> Result<(), StepError> {
        let instances = self.instances(profile).await?;
        let rows: BTreeMap<AwsAccountId, (ResultStatus, Option<&str>)> = ended
            .rows
            .iter()
            .map(|row| (row.account, (row.status, row.reason.as_deref())))
            .collect();
        let mut row: RolloutRow = self.open().await?;
        let sweep = which.of(&mut row.rollout).ok_or_else(moved)?;
        sweep.settle(|account| {
            let instance = instances.get(&account);
            let is_current = instance.is_some_and(|one| one.status == InstanceStatus::Current);
            let member = |outcome, reason: Option<&str>| Member {
                outcome,
                reason: reason.map(str::to_owned),
                stack: None,
            };
            match rows.get(&account) {
                Some((ResultStatus::Succeeded, _)) if is_current => updated(instance),
                Some((ResultStatus::Succeeded, reason)) => member(Outcome::Gone, *reason),
                Some((ResultStatus::Failed, reason)) => member(Outcome::Failed, *reason),
                Some(_) if was_interrupted => Member::default(),
                Some((_, reason)) => member(Outcome::Cancelled, *reason),
                None => member(Outcome::Gone, Some("CloudFormation passed it by")),
            }
        });
        self.keep(cx, &mut row).await
    }

    /// CloudFormation stops by itself in time when it is strict; else it is asked to.
    async fn stop_when_too_many_fail(
        &self,
        profile: &Profile,
        operation: &str,
        applied: &Applied,
        tolerance: FailureTolerance,
    ) -> Result<(), StepError> {
        let (
            Applied::Requeue {
                progress: Some(progress),
                ..
            },
            FailureTolerance::Count { failures, .. },
        ) = (applied, tolerance)
        else {
            return Ok(());
        };
        if progress.failed <= usize::try_from(failures).unwrap_or(usize::MAX) {
            return Ok(());
        }
        let stopped = self
            .sync
            .stop_operation(&profile.stack_set, operation)
            .await;
        if let Err(error) = stopped {
            // It is looked at again, and asked again, as long as it runs.
            tracing::warn!(operation, reason = %error, "an operation with too many failures could not be stopped yet");
        }
        Ok(())
    }

    async fn instances(
        &self,
        profile: &Profile,
    ) -> Result<BTreeMap<AwsAccountId, StackInstance>, StepError> {
        let instances = self
            .home()
            .aws
            .list_stack_instances(&profile.stack_set)
            .await;
        let instances = instances.map_err(aws_error)?.into_iter();
        let ours = instances.filter(|instance| instance.region == profile.region);
        Ok(ours.map(|instance| (instance.account, instance)).collect())
    }

    /// What instances override. One that is gone meanwhile is missing.
    async fn overrides(
        &self,
        profile: &Profile,
        accounts: Vec<AwsAccountId>,
    ) -> Result<BTreeMap<AwsAccountId, Overrides>, StepError> {
        let aws = &self.home().aws;
        let mut reads = Vec::with_capacity(accounts.len());
        for account in accounts {
            reads.push(async move {
                let read = aws
                    .instance_overrides(&profile.stack_set, account, &profile.region)
                    .await;
                read.map(|overrides| overrides.map(|overrides| (account, overrides)))
            });
        }
        let read: Vec<_> = stream::iter(reads)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
            .map_err(aws_error)?;
        Ok(read.into_iter().flatten().collect())
    }

    /// The units that name these instances: those that they were targeted by when they were made.
    fn units(
        &self,
        accounts: &[AwsAccountId],
        instances: &BTreeMap<AwsAccountId, StackInstance>,
    ) -> Vec<OuId> {
        let root = self.sync.root();
        let units = accounts.iter().filter_map(|account| {
            let targeted = instances.get(account)?.targeted_ou.clone();
            targeted.or_else(|| root.clone())
        });
        let units: BTreeSet<OuId> = units.collect();
        if units.len() > MAX_OUS_PER_CALL {
            return root.into_iter().collect();
        }
        units.into_iter().collect()
    }
}

/// Whether an instance is as it is to be.
fn is_so(instance: Option<&StackInstance>, overrides: &Overrides, target: Target<'_>) -> bool {
    let is_current = instance.is_some_and(|one| one.status == InstanceStatus::Current);
    let has = overrides.get(POLICY_VERSION_PARAMETER);
    is_current
        && match target {
            Target::Version(version) => has.is_some_and(|has| has == version),
            Target::Default => has.is_none(),
        }
}

fn updated(instance: Option<&StackInstance>) -> Member {
    Member {
        outcome: Outcome::Updated,
        reason: None,
        stack: instance.and_then(|instance| instance.stack_id.clone()),
    }
}

/// What an instance overrides beside the version.
fn others(overrides: Overrides) -> BTreeSet<String> {
    let names = overrides.into_keys();
    names
        .filter(|name| name != POLICY_VERSION_PARAMETER)
        .collect()
}
