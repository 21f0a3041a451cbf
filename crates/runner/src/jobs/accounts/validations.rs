//! What Spot's validation of Cost Intelligence says of accounts: a question, which changes nothing, and the only one of Spot's calls
//! that tells whether a role that it is linked to works.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, stream};
use onboarding_core::{
    drift_audit::Connection,
    ids::{AwsAccountId, SpotAccountId},
    stackset_sync::{
        SyncObserved,
        spot_links::{Link, SpotLinks},
    },
};
use spot_api::{Product, SpotClient, ValidationStep};

use super::{OnAccounts, Rule, truth::Read};
use crate::config::AuditDepth;

/// Validations that Spot is asked for at the same time.
const AT_ONCE: usize = 4;

/// Why these accounts have not passed; nothing of those that have.
pub(in crate::jobs) async fn validations(
    spot: &SpotClient,
    accounts: BTreeMap<AwsAccountId, SpotAccountId>,
) -> BTreeMap<AwsAccountId, String> {
    stream::iter(accounts)
        .map(|(account, id)| async move {
            let asked = spot.validate_product(&Product::CostIntelligence, &id).await;
            let wrong = match asked {
                Ok(steps) => ValidationStep::why_not_passed(&steps)?,
                Err(error) => format!("it could not be asked for: {error}"),
            };
            Some((account, wrong))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await
}

impl OnAccounts {
    /// The same of the accounts that an audit has looked into and that have the product, where Spot is to be asked.
    pub(super) async fn validated(
        &self,
        sync: &SyncObserved,
        read: &Read,
        with_product: Option<&BTreeMap<SpotAccountId, Connection>>,
    ) -> BTreeMap<AwsAccountId, String> {
        let is_asked = matches!(self.rule, Rule::Audit { .. })
            && self.ask_spot
            && self.depth == AuditDepth::Full;
        let Some(with_product) = with_product.filter(|_| is_asked) else {
            return BTreeMap::new();
        };
        let links = SpotLinks::new(&sync.spot_accounts);
        let linked = read.drifts.keys().filter_map(|account| {
            let Link::One(spot) = links.of(*account) else {
                return None;
            };
            with_product
                .contains_key(spot)
                .then(|| (*account, spot.clone()))
        });
        validations(&self.sync.home.spot, linked.collect()).await
    }
}
