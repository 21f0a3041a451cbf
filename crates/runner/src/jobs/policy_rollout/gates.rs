//! Asking the gates: what IAM has in the accounts of a wave, and the links to Spot.

use std::{collections::BTreeSet, time::Duration};

use onboarding_core::{
    ids::AwsAccountId,
    inventory::AccountState,
    policy_rollout::{
        Outcome, WaveState,
        gates::{Evidence, judge, judge_put_back},
    },
    stackset_sync::spot_links::{Link, SpotLinks},
};

use super::{
    PolicyRollout,
    apply::{counted, halted, moved},
    moment,
};
use crate::{
    config::{AuditDepth, DriftAuditParams},
    engine::{Applied, Asked, ErrorClass, StepContext, StepError},
    jobs::accounts::OnAccounts,
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
        let wave = match row.rollout.wave(name) {
            Some(wave) if wave.state == WaveState::Passed => return Ok(Applied::Unchanged),
            Some(wave) if wave.state == WaveState::Updated => wave.clone(),
            _ => return Err(moved()),
        };
        let members: BTreeSet<AwsAccountId> = wave.sweep.members.keys().copied().collect();
        let evidence = self.evidence(cx, members).await?;
        let verdict = judge(&wave, &evidence);
        let now = cx.now().div_euclid(1000);
        let since = wave.updated_at.unwrap_or(now);
        if !verdict.passes(settings.failures) {
            if now - since < SETTLES && evidence.is_read {
                return Ok(Applied::Requeue {
                    after: LOOK_AGAIN,
                    progress: None,
                });
            }
            let reasons = verdict.reasons();
            let why = format!(
                "wave {name:?}: {} accounts are not as they should be, and {} may be: {}",
                verdict.problems.len(),
                settings.failures,
                reasons.join(" | ")
            );
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
            return Err(moved());
        };
        let members: BTreeSet<AwsAccountId> = reset.with(Outcome::Updated).collect();
        let evidence = self.evidence(cx, members).await?;
        let verdict = judge_put_back(&evidence);
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
                "{} accounts are not what version {} means for them; mend them and run again: {}",
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
        let mut there = BTreeSet::new();
        for state in &mut observed.profiles {
            // No wave reaches the management account's stack.
            state.management = None;
            state
                .instances
                .retain(|instance| accounts.contains(&instance.account));
            there.extend(state.instances.iter().map(|instance| instance.account));
        }
        let organization = &observed.organization;
        let is_gone = |account: &AwsAccountId| {
            let known = organization.account(*account);
            !there.contains(account)
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
        let mut drifts = audit.drifts(&observed).await?;
        // One that was unlinked is read as well; its link is gone all the same.
        let links = SpotLinks::new(&observed.spot_accounts);
        drifts.retain(|account, _| matches!(links.of(*account), Link::One(_)));
        Ok(Evidence {
            drifts,
            gone,
            kept: observed
                .kept_links
                .intersection(&accounts)
                .copied()
                .collect(),
            is_read: true,
        })
    }
}

fn read(evidence: &Evidence) -> String {
    if evidence.is_read {
        format!("IAM was read in {} of them", evidence.drifts.len())
    } else {
        "IAM was not read".to_owned()
    }
}
