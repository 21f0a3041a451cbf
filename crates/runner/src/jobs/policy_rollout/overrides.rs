//! Giving the parameter `PolicyVersion` to stack instances, and taking it away, without touching what else they override.
//!
//! An override that a list leaves out goes back to the stack set's value (CloudFormation API reference, UpdateStackInstances,
//! `ParameterOverrides`). So what each instance overrides is read first, and instances that override the same go together in one
//! operation, which says of the others that they stay.

use std::collections::{BTreeMap, BTreeSet};

use aws_ops::stack_sets::{InstanceChange, OperationPreferences, ParameterValue};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use onboarding_core::{
    desired::Profile,
    ids::{AwsAccountId, OuId},
    inventory::{InstanceStatus, StackInstance},
    policy_rollout::{Outcome, Sweep},
    stackset_sync::operation_targets::{MAX_ACCOUNTS_PER_CALL, MAX_OUS_PER_CALL, by_account},
    template::POLICY_VERSION_PARAMETER,
};

use super::{
    PolicyRollout,
    apply::moved,
    sweeps::{Pace, Target, Which, gone, updated},
};
use crate::{
    engine::{StepContext, StepError},
    home::aws_error,
    jobs::stackset_sync::operation::{OperationMemo, Request},
};

/// Instances whose overrides are read at the same time.
const AT_ONCE: usize = 16;

/// The overrides of an instance, by name.
pub(super) type Overrides = BTreeMap<String, String>;

impl PolicyRollout {
    /// The next operation; none when nothing is left to do, or more went wrong than may.
    pub(super) async fn request(
        &self,
        cx: &StepContext,
        profile: &Profile,
        which: &Which,
        target: Target<'_>,
        pace: Pace,
    ) -> Result<Option<Request>, StepError> {
        let instances = self.instances(profile).await?;
        let mut row = self.open().await?;
        let elsewhere = moved(&row.rollout);
        let sweep = which.of(&mut row.rollout).ok_or(elsewhere)?;
        if pace.is_exceeded(sweep.wrong()) {
            return Ok(None);
        }
        // One that was written down and perhaps sent is sent again for nobody else: under the same id, CloudFormation would say that
        // it is done.
        let mut sent = std::mem::take(&mut sweep.asked);
        if OperationMemo::of(cx).is_none() {
            sent.clear();
        }
        let next = loop {
            let due = sweep.with(Outcome::Due);
            let due: Vec<AwsAccountId> = due
                .filter(|account| sent.is_empty() || sent.contains(account))
                .collect();
            let read = self.overrides(profile, &due).await?;
            let next = group(sweep, due, &read, &instances, target);
            if next.is_some() || sent.is_empty() {
                break next;
            }
            // Nobody is left whom it was for: what comes next is another one.
            OperationMemo::forget(cx).await?;
            sent.clear();
        };
        if let Some((_, accounts)) = &next {
            for account in accounts.iter().take(MAX_ACCOUNTS_PER_CALL) {
                sweep.asked.insert(*account);
                let instance = instances.get(account);
                let stack = instance.and_then(|instance| instance.stack_id.clone());
                sweep.members.entry(*account).or_default().stack = stack;
            }
        }
        let (asked, wrong) = (sweep.asked.clone(), sweep.wrong());
        self.keep(cx, &mut row).await?;
        let Some((others, _)) = next else {
            return Ok(None);
        };
        let asked: Vec<AwsAccountId> = asked.into_iter().collect();
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
                max_concurrent: pace
                    .concurrency
                    .unwrap_or_else(|| self.home().max_concurrent(asked.len(), asked.len())),
                region_order: vec![profile.region.clone()],
                tolerance: pace.tolerance(wrong),
            },
            operation_id: String::new(),
        };
        Ok(Some(if is_reset {
            Request::Reset(change)
        } else {
            Request::Update(change)
        }))
    }

    pub(super) async fn instances(
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
    pub(super) async fn overrides(
        &self,
        profile: &Profile,
        accounts: &[AwsAccountId],
    ) -> Result<BTreeMap<AwsAccountId, Overrides>, StepError> {
        let aws = &self.home().aws;
        let mut reads = Vec::with_capacity(accounts.len());
        for account in accounts.iter().copied() {
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

/// The accounts that go together next, with what they override beside the version. Those that are as they should be, or gone, are
/// noted so.
fn group(
    sweep: &mut Sweep,
    due: Vec<AwsAccountId>,
    read: &BTreeMap<AwsAccountId, Overrides>,
    instances: &BTreeMap<AwsAccountId, StackInstance>,
    target: Target<'_>,
) -> Option<(BTreeSet<String>, Vec<AwsAccountId>)> {
    let mut groups: BTreeMap<BTreeSet<String>, Vec<AwsAccountId>> = BTreeMap::new();
    for account in due {
        let instance = instances.get(&account);
        match (read.get(&account), instance) {
            (Some(overrides), Some(_)) if is_so(instance, overrides, target) => {
                sweep.members.insert(account, updated(instance));
            }
            (Some(overrides), Some(_)) => {
                groups.entry(others(overrides)).or_default().push(account);
            }
            _ => {
                let gone = gone("it has no stack instance any more");
                sweep.members.insert(account, gone);
            }
        }
    }
    groups.into_iter().next()
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

/// What an instance overrides beside the version.
fn others(overrides: &Overrides) -> BTreeSet<String> {
    let names = overrides.keys();
    names
        .filter(|name| *name != POLICY_VERSION_PARAMETER)
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use onboarding_core::inventory::{InstanceDetailedStatus, StackDrift};

    use super::*;

    fn account(number: u64) -> AwsAccountId {
        AwsAccountId::from_number(number).unwrap()
    }

    fn instances(accounts: &[u64]) -> BTreeMap<AwsAccountId, StackInstance> {
        let instances = accounts.iter().map(|number| StackInstance {
            account: account(*number),
            region: "us-east-1".parse().unwrap(),
            status: InstanceStatus::Current,
            detailed_status: InstanceDetailedStatus::Succeeded,
            status_reason: None,
            stack_id: Some(format!("stack-{number}").into()),
            targeted_ou: None,
            last_operation_id: None,
            drift: StackDrift::default(),
        });
        instances
            .map(|instance| (instance.account, instance))
            .collect()
    }

    fn overriding(names: &[(&str, &str)]) -> Overrides {
        let names = names.iter();
        names
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_instances_override_is_asked_of_each_of_those_that_go_together() {
        let due: Vec<AwsAccountId> = (1..=5).map(account).collect();
        let mut sweep = Sweep::over(due.clone());
        let read = BTreeMap::from([
            // The first one has left since it was asked for: nothing follows from it for the others.
            (account(2), overriding(&[("ExternalId", "a")])),
            (
                account(3),
                overriding(&[("ExternalId", "b"), ("PolicyVersion", "old")]),
            ),
            (
                account(4),
                overriding(&[("ExternalId", "c"), ("RepairNonce", "1")]),
            ),
            (
                account(5),
                overriding(&[("ExternalId", "d"), ("PolicyVersion", "next")]),
            ),
        ]);
        let all = instances(&[2, 3, 4, 5]);
        let next = group(&mut sweep, due, &read, &all, Target::Version("next"));
        let (others, together) = next.unwrap();
        assert_eq!(others, BTreeSet::from(["ExternalId".to_owned()]));
        assert_eq!(together, [account(2), account(3)]);
        let outcome = |number| sweep.members[&account(number)].outcome;
        assert_eq!(outcome(1), Outcome::Gone);
        assert_eq!(outcome(4), Outcome::Due, "another operation is for it");
        assert_eq!(outcome(5), Outcome::Updated, "it has the version");
        assert_eq!(sweep.members[&account(5)].stack.as_deref(), Some("stack-5"));
        let nobody = group(
            &mut Sweep::default(),
            vec![account(1)],
            &BTreeMap::new(),
            &BTreeMap::new(),
            Target::Default,
        );
        assert_eq!(nobody, None);
    }

    #[test]
    fn an_instance_that_is_not_current_is_asked_whatever_it_overrides() {
        let mut all = instances(&[1]);
        let read = BTreeMap::from([(account(1), overriding(&[]))]);
        let next = |all: &BTreeMap<AwsAccountId, StackInstance>| {
            let mut sweep = Sweep::over([account(1)]);
            group(&mut sweep, vec![account(1)], &read, all, Target::Default).is_some()
        };
        assert!(!next(&all));
        all.get_mut(&account(1)).unwrap().status = InstanceStatus::Outdated;
        assert!(next(&all));
    }
}
