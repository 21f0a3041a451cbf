//! Which external ID each stack instance was given. CloudFormation tells it one instance at a time; what an instance has only
//! changes with an operation on it, so within a run each is asked for again only after one.

use std::collections::{BTreeMap, HashMap};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use onboarding_core::{
    desired::Profile,
    ids::{AwsAccountId, ExternalId, StackSetName},
    inventory::StackInstance,
    template::EXTERNAL_ID_PARAMETER,
};

use super::StackSetSync;
use crate::{engine::JobError, home::aws_error};

/// Instances that are asked for at the same time.
const AT_ONCE: usize = 16;

/// By stack set, account, and the operation that had touched the instance last.
pub(super) type Known = HashMap<(StackSetName, AwsAccountId, Box<str>), Option<ExternalId>>;

impl StackSetSync {
    /// The external IDs of a profile's instances, where the profile gives any.
    pub(super) async fn external_ids(
        &self,
        profile: &Profile,
        instances: &[StackInstance],
    ) -> Result<BTreeMap<AwsAccountId, ExternalId>, JobError> {
        if profile.direct.is_none() {
            return Ok(BTreeMap::new());
        }
        let mut reads = Vec::with_capacity(instances.len());
        for instance in instances {
            reads.push(self.external_id_of(profile, instance));
        }
        let read: Vec<_> = stream::iter(reads)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(read.into_iter().flatten().collect())
    }

    async fn external_id_of(
        &self,
        profile: &Profile,
        instance: &StackInstance,
    ) -> Result<Option<(AwsAccountId, ExternalId)>, JobError> {
        let of_account = |id: ExternalId| (instance.account, id);
        let operation = instance.last_operation_id.clone().unwrap_or_default();
        let key = (profile.stack_set.clone(), instance.account, operation);
        let known = self.external_ids.lock().get(&key).cloned();
        if let Some(known) = known.filter(|_| !key.2.is_empty()) {
            return Ok(known.map(of_account));
        }
        let aws = &self.home.aws;
        let overrides = aws
            .instance_overrides(&profile.stack_set, instance.account, &profile.region)
            .await
            .map_err(aws_error)?
            .unwrap_or_default();
        let external_id = overrides.get(EXTERNAL_ID_PARAMETER);
        // An empty one is none.
        let external_id: Option<ExternalId> = external_id.and_then(|id| id.parse().ok());
        self.external_ids.lock().insert(key, external_id.clone());
        Ok(external_id.map(of_account))
    }
}
