//! Asking the gates: what IAM has in the accounts of a wave, and the links to Spot.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use onboarding_core::{
    ids::{AwsAccountId, SpotAccountId},
    inventory::AccountState,
    policy_rollout::{
        Outcome, WaveState,
        gates::{Evidence, judge, judge_put_back},
        moment::{self as moments, Moment},
    },
    stackset_sync::spot_links::{Link, SpotLinks},
};

use super::{
    PolicyRollout,
    apply::{counted, halted, moved},
    moment,
};
use crate::{
    config::{self, AuditDepth, DriftAuditParams},
    engine::{Applied, Asked, ErrorClass, Phase, StepContext, StepError},
    jobs::{
        accounts::{OnAccounts, validations},
        stackset_sync::StackSetSync,
    },
};

/// IAM is eventually consistent (IAM User Guide, "Changes that I make are not always immediately visible"): what differs so many
/// seconds after an update is looked at again.
const SETTLES: i64 = 8;

/// How long to wait before that.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

impl PolicyRollout {
    pub(super) async fn check_wave(
        &self,
        cx: &StepContext,
        name: &str,
    ) -> Result<Applied, StepError> {
        let settings = self.wave(name)?;
        let mut row = self.open().await?;
        // One that somebody has turned back meanwhile is not halted, and goes on no further.
        let Some(wave) = row
            .rollout
            .wave(name)
            .filter(|_| moments::of_check(&row.rollout, name) == Moment::Now)
            .cloned()
        else {
            return Err(moved(&row.rollout));
        };
        if wave.state == WaveState::Passed {
            return Ok(Applied::Unchanged);
        }
        let members: BTreeSet<AwsAccountId> = wave.sweep.members.keys().copied().collect();
        let evidence = Box::pin(self.evidence(cx, members)).await?;
        let verdict = judge(&wave, &evidence, settings.selector.is_none());
        let now = cx.now().div_euclid(1000);
        let since = wave.updated_at.unwrap_or(now);
        if !verdict.passes(settings.failures) {
            if now - since < SETTLES && evidence.is_read {
                return Ok(Applied::Requeue {
                    after: LOOK_AGAIN,
                    progress: None,
                });
            }
            let reasons = verdict.reasons().join(" | ");
            let why = match &verdict.untried {
                Some(_) => format!("wave {name:?}: {reasons}"),
                None => format!(
                    "wave {name:?}: {} accounts are not as they should be, and {} may be: {reasons}",
                    verdict.problems.len(),
                    settings.failures,
                ),
            };
            // When the rollout goes on, a wave that nobody is left of is drawn anew.
            if let Some(wave) = row.rollout.wave_mut(name) {
                evidence.note_gone(wave);
            }
            row.rollout.halt(vec![why.clone()]);
            self.keep(cx, &mut row).await?;
            return Err(halted(&why));
        }
        let until = since.saturating_add(settings.soak);
        let mut note = format!("{}; {}", counted(&wave.sweep), read(&evidence));
        if now < until {
            note = format!("{note}; it soaks until {}", moment(until));
        } else if let Some(wave) = row.rollout.wave_mut(name) {
            wave.state = WaveState::Passed;
            self.keep(cx, &mut row).await?;
        }
        Ok(Applied::Done { note: Some(note) })
    }

    /// Sees that the accounts that were put back have the good version.
    pub(super) async fn check_revert(&self, cx: &StepContext) -> Result<Applied, StepError> {
        let row = self.open().await?;
        let Some(reset) = row.rollout.reset.clone() else {
            return Err(moved(&row.rollout));
        };
        let members: BTreeSet<AwsAccountId> = reset.with(Outcome::Updated).collect();
        let evidence = Box::pin(self.evidence(cx, members.clone())).await?;
        let verdict = judge_put_back(&members, &evidence);
        if verdict.passes(0) {
            return Ok(Applied::Done {
                note: Some(format!("{}; {}", counted(&reset), read(&evidence))),
            });
        }
        let attempt = cx
            .memo()
            .and_then(|memo| memo["looks"].as_u64())
            .unwrap_or(0);
        if attempt < 3 {
            cx.set_memo(serde_json::json!({"looks": attempt + 1}))
                .await?;
            return Ok(Applied::Requeue {
                after: LOOK_AGAIN,
                progress: None,
            });
        }
        Err(StepError::new(
            ErrorClass::Failed,
            format!(
                "{} accounts are not what version {} means for them; mend them and run again, or set iam = false to go by \
                 CloudFormation's word alone: {}",
                verdict.problems.len(),
                row.rollout.from,
                verdict.reasons().join(" | ")
            ),
        ))
    }

    /// Looks at these accounts.
    pub(super) async fn evidence(
        &self,
        cx: &StepContext,
        accounts: BTreeSet<AwsAccountId>,
    ) -> Result<Evidence, StepError> {
        if !self.params.iam {
            return Ok(Evidence::default());
        }
        let now = cx.now().div_euclid(1000);
        let sync = self.sync.renewed(&self.profile).await?;
        let mut observed = sync.observe_at(now, None).await?;
        let mut stacks = BTreeMap::new();
        for state in &mut observed.profiles {
            // No wave reaches the management account's stack.
            state.management = None;
            state
                .instances
                .retain(|instance| accounts.contains(&instance.account));
            let instances = state.instances.iter();
            stacks.extend(instances.map(|one| (one.account, one.stack_id.clone())));
        }
        let organization = &observed.organization;
        let is_gone = |account: &AwsAccountId| {
            let known = organization.account(*account);
            !stacks.contains_key(account)
                || known.is_none_or(|known| known.state != AccountState::Active)
        };
        let gone = accounts.iter().copied().filter(is_gone).collect();
        let params = DriftAuditParams {
            profiles: self.profile.to_vec(),
            depth: AuditDepth::Full,
            ask_spot: self.params.ask_spot,
            concurrency: self.params.concurrency,
            ..DriftAuditParams::default()
        };
        let audit = OnAccounts::audit(sync.home.clone(), &params, Asked::default())?;
        let drifts = audit.drifts(&observed, Phase::Observe).await?.drifts;
        let drifts = std::sync::Arc::unwrap_or_clone(drifts);
        // One that was unlinked is read as well; its link is gone all the same.
        let links = SpotLinks::new(&observed.spot_accounts);
        let linked = drifts
            .keys()
            .filter_map(|account| match links.of(*account) {
                Link::One(spot) => Some((*account, spot.clone())),
                _ => None,
            });
        let linked: BTreeMap<AwsAccountId, SpotAccountId> = linked.collect();
        let unlinked = drifts
            .keys()
            .filter(|account| !linked.contains_key(account))
            .copied()
            .collect();
        let validations = self.validations(&sync, linked).await;
        Ok(Evidence {
            drifts,
            unlinked,
            validations,
            gone,
            stacks,
            kept: observed
                .kept_links
                .intersection(&accounts)
                .copied()
                .collect(),
            is_read: true,
        })
    }

    /// What Spot's validation of Cost Intelligence finds wrong, where Spot is asked and the profile has it: a question, which
    /// changes nothing. A failed one before the wave is no failure of it.
    async fn validations(
        &self,
        sync: &StackSetSync,
        linked: BTreeMap<AwsAccountId, SpotAccountId>,
    ) -> BTreeMap<AwsAccountId, String> {
        let mut profiles = self.home().config.runner.profiles.iter();
        let profile = profiles.find(|profile| profile.name == self.profile());
        let has_product = profile.is_some_and(|profile| {
            profile
                .products
                .contains(&config::Product::CostIntelligence)
        });
        if !self.params.ask_spot || !has_product {
            return BTreeMap::new();
        }
        validations::validations(&sync.home.spot, linked).await
    }
}

fn read(evidence: &Evidence) -> String {
    if evidence.is_read {
        format!("IAM was read in {} of them", evidence.drifts.len())
    } else {
        "IAM was not read".to_owned()
    }
}
