//! Writing roles and policies again in place, by a parameter that means nothing but its change.
//!
//! An override that a list leaves out goes back to the stack set's value (CloudFormation API reference, UpdateStackInstances,
//! `ParameterOverrides`). So what each instance overrides is read right before, whoever gave it; instances that override the same
//! go together in one operation, which says of all of it that it stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use aws_ops::stack_sets::{InstanceChange, ParameterValue};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use onboarding_core::{
    desired::Profile,
    ids::AwsAccountId,
    plan::Step,
    policy_rollout::Rollout,
    template::{POLICY_VERSION_PARAMETER, REPAIR_NONCE_PARAMETER},
};
use parking_lot::Mutex;

use super::{
    StackSetSync,
    operation::{OperationMemo, Request, waits},
};
use crate::{
    engine::{Applied, StepContext, StepError},
    home::aws_error,
};

/// Instances whose overrides are read at the same time.
const AT_ONCE: usize = 16;

/// Accounts by the names of the parameters that they keep.
type Alike = BTreeMap<BTreeSet<String>, Vec<AwsAccountId>>;

/// What the operations of steps that go on came to, by step, in their order.
#[derive(Default)]
pub(super) struct Said(Mutex<BTreeMap<String, Vec<String>>>);

impl Said {
    fn add(&self, step: &str, note: Option<String>) {
        let mut said = self.0.lock();
        said.entry(step.to_owned()).or_default().extend(note);
    }

    /// All that was said of a step; none when nothing was.
    fn take(&self, step: &str) -> Option<String> {
        let notes = self.0.lock().remove(step)?;
        (!notes.is_empty()).then(|| notes.join("; "))
    }
}

impl StackSetSync {
    /// Has the roles of these accounts written again: one operation after the other, each for accounts that override the same.
    pub(super) async fn rewrite(
        &self,
        cx: &StepContext,
        step: &Step,
        profile: &Profile,
        change: InstanceChange,
    ) -> Result<Applied, StepError> {
        let memo = OperationMemo::of(cx);
        if let Some(memo) = memo.clone().filter(|memo| memo.submitted) {
            let applied = self.finish(cx, step, profile, memo).await?;
            return Ok(self.or_next(applied, step, &change));
        }
        if let Some(memo) = &memo
            && let Some(applied) = waits(&self.home, cx, &profile.stack_set, memo).await?
        {
            return Ok(applied);
        }
        let alike = self.alike(profile, self.left(&change)).await?;
        let Some((kept, accounts)) = alike.into_iter().next() else {
            let none = || "none of them has a stack instance any more".to_owned();
            let note = self.said.take(&step.id).unwrap_or_else(none);
            return Ok(Applied::Done { note: Some(note) });
        };
        let mut only = change.clone();
        only.targets.accounts.clone_from(&accounts);
        only.overrides = overrides(cx, kept);
        let applied = self
            .run_operation(cx, step, profile, Request::Update(only))
            .await?;
        // Whoever it passes by is not asked for once more.
        let is_sent = OperationMemo::of(cx).is_some_and(|memo| memo.submitted);
        if is_sent || matches!(applied, Applied::Done { .. }) {
            self.repaired.lock().extend(accounts);
        }
        Ok(self.or_next(applied, step, &change))
    }

    /// The accounts that no operation of this run has worked on.
    fn left(&self, change: &InstanceChange) -> Vec<AwsAccountId> {
        let repaired = self.repaired.lock();
        let accounts = change.targets.accounts.iter();
        let left = accounts.filter(|account| !repaired.contains(account));
        left.copied().collect()
    }

    /// What follows an operation: the next one, until nobody is left. What all of them came to is said at the end.
    fn or_next(&self, applied: Applied, step: &Step, change: &InstanceChange) -> Applied {
        let Applied::Done { note } = applied else {
            return applied;
        };
        self.said.add(&step.id, note);
        match self.left(change).is_empty() {
            true => Applied::Done {
                note: self.said.take(&step.id),
            },
            false => Applied::Requeue {
                after: Duration::ZERO,
                progress: None,
            },
        }
    }

    /// Reads what these accounts' instances override. One that is gone meanwhile is missing.
    async fn alike(
        &self,
        profile: &Profile,
        accounts: Vec<AwsAccountId>,
    ) -> Result<Alike, StepError> {
        let rollout = self.home.state.open_rollout(&profile.name).await?;
        let rollout = rollout.map(|row| row.rollout);
        let stacks = match &rollout {
            Some(_) => self.stacks(profile).await?,
            None => BTreeMap::new(),
        };
        let aws = &self.home.aws;
        let mut reads = Vec::with_capacity(accounts.len());
        for account in accounts {
            reads.push(async move {
                let read = aws
                    .instance_overrides(&profile.stack_set, account, &profile.region)
                    .await;
                read.map(|read| read.map(|read| (account, read)))
            });
        }
        let read: Vec<_> = stream::iter(reads)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
            .map_err(aws_error)?;
        let mut alike = Alike::new();
        for (account, read) in read.into_iter().flatten() {
            let has_next = has_next(rollout.as_ref(), account, &stacks);
            alike.entry(kept(read, has_next)).or_default().push(account);
        }
        for accounts in alike.values_mut() {
            accounts.sort_unstable();
        }
        Ok(alike)
    }

    /// The stack of each account's instance.
    async fn stacks(
        &self,
        profile: &Profile,
    ) -> Result<BTreeMap<AwsAccountId, Box<str>>, StepError> {
        let instances = self.home.aws.list_stack_instances(&profile.stack_set).await;
        let instances = instances.map_err(aws_error)?.into_iter();
        let ours = instances.filter(|instance| instance.region == profile.region);
        let stacks = ours.filter_map(|instance| Some((instance.account, instance.stack_id?)));
        Ok(stacks.collect())
    }
}

fn has_next(
    rollout: Option<&Rollout>,
    account: AwsAccountId,
    stacks: &BTreeMap<AwsAccountId, Box<str>>,
) -> bool {
    let stack = stacks.get(&account).map(|stack| &**stack);
    rollout.is_some_and(|rollout| rollout.has_next(account, stack))
}

/// What an instance keeps of what it overrides: all but the nonce of an earlier repair, and a version of the policies that no
/// rollout gave it, which would hold it back from the one that all have.
fn kept(read: BTreeMap<String, String>, has_next: bool) -> BTreeSet<String> {
    let names = read.into_keys();
    names
        .filter(|name| name != REPAIR_NONCE_PARAMETER)
        .filter(|name| name != POLICY_VERSION_PARAMETER || has_next)
        .collect()
}

/// A value that the stacks never had: CloudFormation changes nothing for one that they have.
fn overrides(cx: &StepContext, kept: BTreeSet<String>) -> BTreeMap<String, ParameterValue> {
    // The parameter takes eight characters.
    let nonce = format!("{:08x}", cx.now().div_euclid(1000));
    let nonce = (
        REPAIR_NONCE_PARAMETER.to_owned(),
        ParameterValue::Value(nonce),
    );
    let kept = kept.into_iter();
    kept.map(|name| (name, ParameterValue::Previous))
        .chain([nonce])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_operations_of_a_step_came_to_is_said_in_their_order_and_once() {
        let said = Said::default();
        said.add("repair:a", Some("2 succeeded".to_owned()));
        said.add("repair:a", None);
        said.add("repair:a", Some("1 succeeded, 1 failed".to_owned()));
        assert_eq!(said.take("repair:b"), None);
        let all = "2 succeeded; 1 succeeded, 1 failed";
        assert_eq!(said.take("repair:a").as_deref(), Some(all));
        assert_eq!(said.take("repair:a"), None);
    }

    #[test]
    fn an_instance_keeps_what_it_overrides_whoever_gave_it() {
        let read = |names: &[&str]| -> BTreeMap<String, String> {
            let names = names.iter();
            names
                .map(|name| ((*name).to_owned(), "x".to_owned()))
                .collect()
        };
        let all = [
            "ExternalId",
            "IncludeElastigroupOceanPolicy",
            "PolicyVersion",
            "RepairNonce",
        ];
        let named = |has_next| {
            let kept = kept(read(&all), has_next);
            kept.into_iter().collect::<Vec<String>>()
        };
        assert_eq!(named(true), all[..3]);
        // A version that no rollout gave.
        assert_eq!(named(false), all[..2]);
        assert_eq!(kept(read(&["RepairNonce"]), true), BTreeSet::new());
    }
}
