//! What there is of the stacks that made the links of an account which are not instances of a stack set (any more): read through
//! the audit role, for the few accounts that have such a one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use onboarding_core::{
    ids::{AwsAccountId, SpotAccountId, StackId},
    inventory::{AccountState, OrganizationSnapshot},
    stackset_sync::{
        ObservedProfile,
        past_links::{LinkRecord, LinkRecords, StackNow},
    },
};
use parking_lot::Mutex;

use super::StackSetSync;
use crate::engine::JobError;

/// Stacks that are read at the same time.
const AT_ONCE: usize = 16;

/// How long one observation reads. What was not read by then is not known.
const LONGEST: Duration = Duration::from_secs(300);

impl StackSetSync {
    /// The links of accounts that had another than the present one, or whose link's stack is no instance. For a run that may
    /// change something, stacks that are gone are remembered, and never asked for again.
    pub(super) async fn past_links(
        &self,
        organization: &OrganizationSnapshot,
        profiles: &[ObservedProfile],
        remembers: bool,
    ) -> Result<LinkRecords, JobError> {
        let mut records = self.home.state.link_records().await?;
        let instances = profiles.iter().flat_map(|profile| &profile.instances);
        let stacks: BTreeSet<&str> = instances
            .filter_map(|instance| instance.stack_id.as_deref())
            .collect();
        let instances = profiles.iter().flat_map(|profile| &profile.instances);
        let deployed: BTreeSet<AwsAccountId> = instances.map(|instance| instance.account).collect();
        records.retain(|id, records| {
            let account = organization.account(*id);
            let is_active = account.is_some_and(|account| account.state == AccountState::Active);
            let is_told = |record: &LinkRecord| {
                let is_instance = match record.has_real_stack() {
                    true => stacks.contains(record.stack.as_str()),
                    false => deployed.contains(id),
                };
                record.ended_at.is_some() || !is_instance
            };
            let is_management = *id == organization.management_account;
            is_active && !is_management && records.iter().any(is_told)
        });
        let mut unread = Vec::new();
        for record in records.values_mut().flatten() {
            if stacks.contains(record.stack.as_str()) {
                // CloudFormation manages it.
                record.now = StackNow::There { has_role: true };
            } else if matches!(record.now, StackNow::Unknown(_)) {
                unread.push(record.clone());
            }
        }
        let read = Mutex::new(BTreeMap::new());
        let reading = stream::iter(unread)
            .map(|record| async move { (key(&record), self.looked_at(record).await) })
            .buffer_unordered(AT_ONCE)
            .for_each(async |(key, record)| {
                read.lock().insert(key, record);
            });
        if tokio::time::timeout(LONGEST, reading).await.is_err() {
            tracing::warn!("not all stacks from before could be looked at in time");
        }
        let read = read.into_inner();
        let mut gone = BTreeMap::new();
        for record in records.values_mut().flatten() {
            let Some(now) = read.get(&key(record)) else {
                continue;
            };
            if let StackNow::Gone { at } = now.now
                && record.has_real_stack()
            {
                gone.insert(record.stack.to_string(), at);
            }
            record.clone_from(now);
        }
        if remembers {
            self.home.state.remember_gone_stacks(&gone).await?;
        }
        Ok(records)
    }

    /// A link with what there is of its stack. The stack of one that the runner made by itself is found by its role.
    async fn looked_at(&self, mut record: LinkRecord) -> LinkRecord {
        record.now = self.stack_now(&mut record).await;
        record
    }

    async fn stack_now(&self, record: &mut LinkRecord) -> StackNow {
        let Some(access) = &self.home.access else {
            return StackNow::Unknown("there is no audit role to look with".into());
        };
        let unknown = |error: aws_ops::AccessError| StackNow::Unknown(error.to_string().into());
        let Some(account) = record.role.account() else {
            return StackNow::Unknown("its role names no account".into());
        };
        if !record.has_real_stack() {
            let role = match access.role(account, record.role.role_name()).await {
                Ok(Some(role)) => role,
                Ok(None) => return StackNow::Gone { at: None },
                Err(error) => return unknown(error),
            };
            match role.stack_id().and_then(|stack| stack.parse().ok()) {
                Some(stack) => record.stack = stack,
                None => return StackNow::Unknown("no stack made its role".into()),
            }
        }
        match access.stack(&record.stack).await {
            Ok(Some(stack)) if !stack.is_deleted() => {}
            Ok(found) => {
                let at = found.and_then(|stack| stack.deleted_at);
                return StackNow::Gone { at };
            }
            Err(error) => return unknown(error),
        }
        match access.role(account, record.role.role_name()).await {
            Ok(role) => StackNow::There {
                has_role: role.is_some(),
            },
            Err(error) => unknown(error),
        }
    }
}

fn key(record: &LinkRecord) -> (SpotAccountId, StackId) {
    (record.spot_account.clone(), record.stack.clone())
}
