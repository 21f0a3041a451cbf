//! Observing for `orphan-cleanup`: what `stackset-sync` looks at, what the state has of our Spot accounts, and what runs in those
//! that are due. Reads only, but for the state: since when each orphan is one, where accounts are, how many Spot lists, and what
//! became of deletions.

use std::{collections::BTreeMap, sync::Arc};

use onboarding_core::{
    custom_resource::TombstoneReason,
    ids::SpotAccountId,
    orphan_cleanup::{
        self, CleanupObserved, Deleted, KnownTombstone, OrphanClock, Place, Reach, Tried,
        protection::{self, Protection},
    },
    stackset_sync::{
        SyncObserved,
        guard::{Lister, shrink_of},
    },
};
use onboarding_provider::Intents as _;

use super::{super::stackset_sync::unplannable, Looked, OrphanCleanup};
use crate::{
    engine::{ErrorClass, JobError, RunContext},
    home::spot_error,
    provider,
    state::{DeletionRow, SpotListing, accounts_of},
};

/// How many stacks are looked for in one observation; the others on other days.
const MOST_STACKS: usize = 100;

/// For each one that may be deleted, so many stacks that were left in accounts are looked at: not each can be deleted.
const LOOKS: usize = 10;

/// The stacks that were begun with, of deletions whose outcome nobody has seen.
fn tried(unsettled: Vec<DeletionRow>) -> BTreeMap<SpotAccountId, Tried> {
    let stacks = unsettled.into_iter().filter(|row| row.record.only_stack);
    let tried = stacks.map(|row| {
        let failed_at = row.record.stack_failed_at;
        let tried = Tried {
            at: failed_at.unwrap_or(row.written_at),
            has_failed: failed_at.is_some(),
        };
        (row.record.spot_account, tried)
    });
    tried.collect()
}

impl OrphanCleanup {
    pub(super) async fn look(&self, cx: &RunContext) -> Result<CleanupObserved, JobError> {
        let now = cx.now().div_euclid(1000);
        let state = &self.home().state;
        let sync = self.sync.observe_at(now, None).await?;
        if self.keeps_clocks {
            // What it finds out is neither counted as missing nor as one of an unknown outcome.
            self.settle(&sync, now).await?;
        }
        let run = cx.run_id().to_string();
        let deleted = state.deletions_of_the_day(now).await?;
        let (previous_spot_count, previous_organization) = match state.spot_listing().await? {
            Some(listing) => (Some(listing.count), listing.organization),
            None => (None, None),
        };
        let mut observed = CleanupObserved {
            sync,
            previous_spot_count,
            previous_organization,
            known: state.known_spot_accounts().await?,
            clocks: state.orphan_clocks(cx.job()).await?,
            places: state.places().await?,
            running: BTreeMap::new(),
            reach: BTreeMap::new(),
            deleted: deleted
                .into_iter()
                .map(|row| Deleted {
                    spot_account: row.record.spot_account,
                    account: row.record.account,
                    of_this_run: row.run == run,
                    is_settled: row.record.deleted_at.is_some(),
                })
                .collect(),
            tried: tried(state.unsettled_deletions().await?),
        };
        orphan_cleanup::add_late(&mut observed, &state.sent_creations().await?);
        let desired = &self.sync.desired;
        let plannable = |error| unplannable(&error);
        let is_trusted = orphan_cleanup::distrust(&observed, desired).is_none();
        let mut clocks = None;
        if is_trusted {
            self.look_for_stacks(&mut observed).await?;
            let at = orphan_cleanup::clocks(&observed, desired, &self.rules);
            clocks = Some(at.map_err(plannable)?);
        }
        if self.keeps_clocks {
            self.keep(cx.job(), &observed, clocks.as_ref(), now).await?;
        }
        if is_trusted {
            let ours = orphan_cleanup::judge(&observed, desired, &self.rules);
            let ours = ours.map_err(plannable)?.len();
            self.look_at_due(&mut observed, ours).await?;
            let protection = Protection::new(&observed.sync.organization, desired, &self.rules);
            *self.looked.lock() = Some(Arc::new(Looked {
                protection: protection.map_err(plannable)?,
                most_a_day: orphan_cleanup::most_a_day(&observed, &self.rules, ours),
                running: observed.running.clone(),
                reach: observed.reach.clone(),
            }));
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
        let unclear = orphan_cleanup::of_the_day(unclear, |(id, _)| id, MOST_STACKS, now);
        for (spot_account, stack) in unclear {
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

    /// Tells the state what was seen. What a listing says that is not believed is not kept: then there are no clocks.
    async fn keep(
        &self,
        job: &str,
        observed: &CleanupObserved,
        clocks: Option<&BTreeMap<SpotAccountId, OrphanClock>>,
        now: i64,
    ) -> Result<(), JobError> {
        let state = &self.home().state;
        let organization = &observed.sync.organization;
        let listing = SpotListing {
            count: observed.sync.spot_accounts.len(),
            organization: Some(organization.id.clone()),
        };
        let previous = observed.previous_spot_count;
        let removal = &self.sync.desired.removal;
        // One that shrank too far does not become the new measure: the guard must hold until a person decides.
        let shrank = previous.is_some()
            && shrink_of(Lister::Spot, removal, previous, listing.count).is_some();
        let before = observed.previous_organization.as_ref();
        let is_another = before.is_some_and(|before| *before != organization.id);
        if !shrank && !is_another {
            state.remember_spot_listing(&listing, now).await?;
        }
        let Some(clocks) = clocks else {
            return Ok(());
        };
        let accounts = accounts_of(&observed.known).into_iter();
        let places: BTreeMap<_, Place> = accounts
            .filter_map(|account| Some((account, protection::place_in(organization, account)?)))
            .collect();
        state.remember_places(&observed.places, &places).await?;
        state.remember_orphans(job, clocks).await?;
        Ok(())
    }

    /// Settles deletions whose outcome nobody has seen: each Spot account is asked for by itself, and what is neither there nor
    /// listed is deleted. Not on the word of a listing that lacks more than these. One of which only the stack was begun with is somebody
    /// else's deletion.
    async fn settle(&self, sync: &SyncObserved, now: i64) -> Result<(), JobError> {
        let state = &self.home().state;
        let (mut gone, mut by_others) = (Vec::new(), Vec::new());
        for row in state.unsettled_deletions().await? {
            let id = &row.record.spot_account;
            let mut listed = sync.spot_accounts.iter();
            if listed.any(|record| record.id == *id) {
                continue;
            }
            match self.home().spot.account(id).await {
                Ok(None) if row.record.only_stack => by_others.push(row),
                Ok(None) => gone.push(row),
                Ok(Some(_)) => {}
                Err(error) => {
                    tracing::warn!(spot_account = %id, error = &error as &dyn std::error::Error, "what became of a deletion is not known");
                }
            }
        }
        let previous = state.spot_listing().await?.map(|listing| listing.count);
        let expected = previous.map(|count| count.saturating_sub(gone.len()));
        let removal = &self.sync.desired.removal;
        let is_shrunk = shrink_of(Lister::Spot, removal, expected, sync.spot_accounts.len());
        if is_shrunk.is_some() {
            return Ok(());
        }
        for row in gone.into_iter().chain(by_others) {
            let id = &row.record.spot_account;
            let account = row.record.account;
            let forgotten = state.database().forget(account, id, None).await;
            forgotten.map_err(|error| {
                JobError::new(
                    ErrorClass::Transient,
                    "forgetting a Spot account that is deleted failed",
                )
                .with_source(error)
            })?;
            if row.record.only_stack {
                tracing::info!(spot_account = %id, run.id = row.run, "somebody else has deleted a Spot account of which we had begun with the stack");
                state.end_try(id).await?;
            } else {
                tracing::info!(spot_account = %id, run.id = row.run, "a deletion whose end nobody saw has happened");
                state.end_deletion(id, now).await?;
            }
        }
        Ok(())
    }

    /// What runs in the Spot accounts that are due, and whether stacks that were left in their accounts can be deleted: in their order, until
    /// as many are found to be idle and in reach as may be deleted. At more stacks than can be looked at in a run, it is another day's
    /// turn; those that wait for no stack are looked at all the same. What the run has looked at before its steps, it knows after them.
    async fn look_at_due(
        &self,
        observed: &mut CleanupObserved,
        ours: usize,
    ) -> Result<(), JobError> {
        let due = orphan_cleanup::due(observed, &self.sync.desired, &self.rules);
        let due = due.map_err(|error| unplannable(&error))?;
        let mut left = orphan_cleanup::allowance(observed, &self.rules, ours);
        let turn = orphan_cleanup::turn(&due, left.saturating_mul(LOOKS), observed.sync.now);
        let before = self.looked.lock().clone();
        for one in due {
            let id = &one.spot_account;
            // Those whose deletion was begun are counted already.
            if left == 0 && !one.is_begun {
                let Some(before) = &before else { continue };
                let (running, reach) = (before.running.get(id), before.reach.get(id));
                let running = running.map(|names| (id.clone(), names.clone()));
                observed.running.extend(running);
                let reach = reach.map(|reach| (id.clone(), reach.clone()));
                observed.reach.extend(reach);
                continue;
            }
            if one.leftover.is_some() && !turn.contains(id) {
                let why = format!(
                    "more stacks were left than the {} that this run looks at, and it is looked at on another day",
                    turn.len()
                );
                observed.reach.insert(id.clone(), Reach::Unknown(why));
                continue;
            }
            let names = self.workloads(id).await.map_err(spot_error)?;
            if names.is_empty() && self.reaches(&one, observed).await? && !one.is_begun {
                left -= 1;
            }
            observed.running.insert(id.clone(), names);
        }
        Ok(())
    }
}
