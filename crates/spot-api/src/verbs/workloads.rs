//! What runs in a Spot account: nothing is deleted under a running group or cluster (OpenAPI: elastigroup, ocean).

use onboarding_core::ids::SpotAccountId;
use serde::Deserialize;

use crate::{
    client::{SpotClient, envelope::Items, retry::ApiCall, route::Route},
    error::SpotError,
};

const ELASTIGROUPS: Route = Route::get("/aws/ec2/group");
const OCEAN_KUBERNETES: Route = Route::get("/ocean/aws/k8s/cluster");
const OCEAN_ECS: Route = Route::get("/ocean/aws/ecs/cluster");

/// A group or cluster that runs in a Spot account.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Workload {
    /// Its id (`sig-…` or `o-…`).
    pub id: String,
    /// Its name.
    pub name: Option<String>,
}

impl SpotClient {
    /// The Elastigroups of an account.
    ///
    /// # Errors
    /// See [`SpotError`].
    pub async fn elastigroups(&self, account: &SpotAccountId) -> Result<Vec<Workload>, SpotError> {
        self.workloads(ELASTIGROUPS, account).await
    }

    /// The Ocean clusters of an account, Kubernetes and ECS.
    ///
    /// # Errors
    /// See [`SpotError`].
    pub async fn ocean_clusters(
        &self,
        account: &SpotAccountId,
    ) -> Result<Vec<Workload>, SpotError> {
        let mut clusters = self.workloads(OCEAN_KUBERNETES, account).await?;
        clusters.extend(self.workloads(OCEAN_ECS, account).await?);
        Ok(clusters)
    }

    /// A whole list, or an error: that nothing runs decides about a deletion.
    async fn workloads(
        &self,
        route: Route,
        account: &SpotAccountId,
    ) -> Result<Vec<Workload>, SpotError> {
        let listed: Items<Workload> = self.call(&ApiCall::of(route, account)).await?;
        match listed.incomplete {
            Some(reason) => Err(SpotError::Unexpected {
                route,
                status: 200,
                request_id: None,
                reason,
            }),
            None => Ok(listed.items),
        }
    }
}
