//! Observing for `orphan-cleanup`: what `stackset-sync` looks at, what the state has of our Spot accounts, and what runs in those
//! that are due. Reads only, but for the state: since when each orphan is one, where accounts are, how many Spot lists.

use std::collections::BTreeMap;

use onboarding_core::{
    custom_resource::TombstoneReason,
    ids::SpotAccountId,
    orphan_cleanup::{self, CleanupObserved, Deleted, KnownTombstone, Place, protection},
    stackset_sync::guard::{Lister, shrink_of},
};
use onboarding_provider::Intents as _;
use spot_api::Workload;

use super::{super::stackset_sync::unplannable, OrphanCleanup};
use crate::{
    engine::{ErrorClass, JobError, RunContext},
    home::spot_error,
    provider,
    state::accounts_of,
};

/// The day in which so many may be deleted, in seconds.
const DAY: i64 = 24 * 60 * 60;

/// How many stacks are looked for in one observation; the others are in a later one, when these are cleaned up.
const MOST_STACKS: usize = 100;

impl OrphanCleanup {
    pub(super) async fn look(&self, cx: &RunContext) -> Result<CleanupObserved, JobError> {
        let now = cx.now().div_euclid(1000);
        let state = &self.home().state;
        let sync = self.sync.observe_at(now, None).await?;
        let run = cx.run_id().to_string();
        let deleted = state.deletions_since(now.saturating_sub(DAY)).await?;
        let mut observed = CleanupObserved {
            sync,
            previous_spot_count: state.spot_count().await?,
            known: state.known_spot_accounts().await?,
            first_seen: state.orphans_since().await?,
            places: state.places().await?,
            running: BTreeMap::new(),
            deleted: deleted
                .into_iter()
                .map(|row| Deleted {
                    spot_account: row.record.spot_account,
                    account: row.record.account,
                    of_this_run: row.run == run,
                })
                .collect(),
        };
        let desired = &self.sync.desired;
        let is_trusted = orphan_cleanup::distrust(&observed, desired).is_none();
        if is_trusted {
            self.look_for_stacks(&mut observed).await?;
            let clocks = orphan_cleanup::clocks(&observed, desired, &self.rules);
            observed.first_seen = clocks.map_err(|error| unplannable(&error))?;
        }
        if self.keeps_clocks {
            self.keep(&observed, is_trusted, now).await?;
        }
        if is_trusted {
            observed.running = self.running(&observed).await?;
        }
        Ok(observed)
    }

    /// Looks, in accounts that nobody targets and that can be read, whether the stacks that linked their Spot accounts are gone.
    async fn look_for_stacks(&self, observed: &mut CleanupObserved) -> Result<(), JobError> {
        let (home, now) = (self.home(), observed.sync.now);
        if home.access.is_none() {
            return Ok(());
        }
        let unclear = orphan_cleanup::unclear_stacks(observed, &self.sync.desired, &self.rules);
        let unclear = unclear.map_err(|error| unplannable(&error))?;
        for (spot_account, stack) in unclear.into_iter().take(MOST_STACKS) {
            if provider::is_stack_gone(home, &stack).await?
                && let Some(known) = observed.known.get_mut(&spot_account)
            {
                known.tombstone = Some(KnownTombstone {
                    stack,
                    at: now,
                    reason: TombstoneReason::Reconcile,
                });
            }
        }
        Ok(())
    }

    /// Tells the state what was seen. What a listing says that is not believed is not kept.
    async fn keep(
        &self,
        observed: &CleanupObserved,
        is_trusted: bool,
        now: i64,
    ) -> Result<(), JobError> {
        let state = &self.home().state;
        let listed = observed.sync.spot_accounts.len();
        let previous = observed.previous_spot_count;
        let removal = &self.sync.desired.removal;
        // One that shrank too far does not become the new measure: the guard must hold until a person decides.
        let shrank =
            previous.is_some() && shrink_of(Lister::Spot, removal, previous, listed).is_some();
        if !shrank && previous != Some(listed) {
            state.remember_spot_count(listed, now).await?;
        }
        if !is_trusted {
            return Ok(());
        }
        let organization = &observed.sync.organization;
        let accounts = accounts_of(&observed.known).into_iter();
        let places: BTreeMap<_, Place> = accounts
            .filter_map(|account| Some((account, protection::place_in(organization, account)?)))
            .collect();
        state.remember_places(&observed.places, &places).await?;
        state.remember_orphans(&observed.first_seen).await?;
        self.settle(observed, now).await
    }

    /// Settles deletions whose outcome nobody has seen: what Spot does not list any more is deleted.
    async fn settle(&self, observed: &CleanupObserved, now: i64) -> Result<(), JobError> {
        let state = &self.home().state;
        for row in state.unsettled_deletions().await? {
            let id = &row.record.spot_account;
            let mut listed = observed.sync.spot_accounts.iter();
            if listed.any(|record| record.id == *id) {
                continue;
            }
            tracing::info!(spot_account = %id, run.id = row.run, "a deletion whose end nobody saw has happened");
            let account = row.record.account;
            let forgotten = state.database().forget(account, id, None).await;
            forgotten.map_err(|error| {
                JobError::new(
                    ErrorClass::Transient,
                    "forgetting a Spot account that is deleted failed",
                )
                .with_source(error)
            })?;
            state.end_deletion(id, now).await?;
        }
        Ok(())
    }

    /// What runs in the Spot accounts that are due: of the oldest, until as many are found to be idle as may be deleted.
    async fn running(
        &self,
        observed: &CleanupObserved,
    ) -> Result<BTreeMap<SpotAccountId, Vec<String>>, JobError> {
        let desired = &self.sync.desired;
        let plannable = |error| unplannable(&error);
        let due = orphan_cleanup::due(observed, desired, &self.rules).map_err(plannable)?;
        let judged = orphan_cleanup::judge(observed, desired, &self.rules).map_err(plannable)?;
        let mut left = orphan_cleanup::allowance(observed, &self.rules, judged.len());
        let spot = &self.home().spot;
        let mut running = BTreeMap::new();
        for id in due {
            if left == 0 {
                break;
            }
            let (groups, clusters) =
                tokio::try_join!(spot.elastigroups(&id), spot.ocean_clusters(&id))
                    .map_err(spot_error)?;
            let named = |kind: &'static str| {
                move |one: Workload| format!("{kind} {}", one.name.unwrap_or(one.id))
            };
            let groups = groups.into_iter().map(named("Elastigroup"));
            let clusters = clusters.into_iter().map(named("Ocean cluster"));
            let names: Vec<String> = groups.chain(clusters).collect();
            left -= usize::from(names.is_empty());
            running.insert(id, names);
        }
        Ok(running)
    }
}
