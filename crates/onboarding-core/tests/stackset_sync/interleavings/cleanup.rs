//! `orphan-cleanup` beside the jobs that enroll, with the grace period over at once: what keeps a Spot account then is that somebody
//! needs it.

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::{
    inventory::AccountState,
    orphan_cleanup::{
        self, CleanupAction, CleanupObserved, CleanupRules, Evidence, Known, KnownOwner, Why,
        still_orphan,
    },
    plan::Plan,
    stackset_sync::{self, SyncObserved},
};

use super::model::{Model, Setting, number_of, stack_id};
use crate::world::*;

fn rules() -> CleanupRules {
    CleanupRules {
        grace_seconds: 0,
        max_gap_seconds: i64::MAX,
        max_deletions: 100,
        max_per_day: 100,
        max_share: 1.0,
        protected_ous: Vec::new(),
        protected_names: Vec::new(),
        default_account: None,
        remove_outside_targets: false,
        duplicates: BTreeSet::new(),
    }
}

impl Model {
    /// Runs it up to so many steps; the next one may break off after it was sent.
    pub(super) fn clean_up(
        &mut self,
        sync: SyncObserved,
        steps: usize,
        breaks: Option<usize>,
    ) -> Plan {
        for spot in std::mem::take(&mut self.unsettled) {
            self.forget(&spot);
        }
        let observed = CleanupObserved {
            previous_spot_count: Some(sync.spot_accounts.len()),
            previous_organization: Some(sync.organization.id.clone()),
            known: self.known(),
            clocks: BTreeMap::new(),
            places: BTreeMap::new(),
            running: sync
                .spot_accounts
                .iter()
                .map(|record| (record.id.clone(), Vec::new()))
                .collect(),
            reach: BTreeMap::new(),
            deleted: Vec::new(),
            tried: BTreeMap::new(),
            sync,
        };
        let plan = orphan_cleanup::plan(&observed, &self.desired, &rules()).unwrap();
        for (index, step) in plan.steps.iter().enumerate() {
            let is_whole = index < steps;
            let breaks = breaks.filter(|_| index == steps);
            if !is_whole && breaks.is_none() {
                break;
            }
            if step.kind == stackset_sync::KIND {
                let action = serde_json::from_value(step.payload.clone()).unwrap();
                match breaks {
                    Some(reaches) => self.apply_to_some(&action, reaches),
                    None => self.apply(&action),
                }
                continue;
            }
            let CleanupAction::DeleteSpotAccount {
                spot_account,
                account,
                why,
                ..
            } = serde_json::from_value(step.payload.clone()).unwrap()
            else {
                // Nobody has a remediation role here.
                continue;
            };
            self.delete(spot_account.as_str(), number_of(account), why);
            match breaks {
                Some(_) => self.unsettled.push(spot_account.to_string()),
                None => self.forget(spot_account.as_str()),
            }
        }
        plan
    }

    /// What our state has of Spot accounts; of those that Spot's functions made, only whose they are.
    fn known(&self) -> BTreeMap<onboarding_core::ids::SpotAccountId, Known> {
        let known = self.made_for.iter().map(|(spot, number)| {
            let owned = self.owned.get(number);
            let owned = owned.filter(|(of, _)| of == spot && self.setting != Setting::Hosted);
            let known = Known {
                account: Some(id(*number)),
                is_created: self.setting != Setting::Hosted,
                owner: owned.map(|(_, stack)| KnownOwner {
                    stack: stack_id(*number, *stack).parse().unwrap(),
                    role: self.role(*number, *stack).parse().unwrap(),
                    is_adopted: false,
                }),
                tombstone: None,
            };
            (spot.parse().unwrap(), known)
        });
        known.collect()
    }

    /// Deletes a Spot account, which nobody may need.
    fn delete(&mut self, spot: &str, number: u64, why: Why) {
        let state = self.members.get(&number).map(|member| member.state);
        let links = self.spot.values();
        let links = links.filter(|one| one.linked == Some(number)).count();
        let is_linked = self.spot[spot].linked == Some(number);
        let is_needed = match state {
            None | Some(AccountState::Closed) => false,
            Some(AccountState::Active) => is_linked || links == 0,
            Some(_) => true,
        };
        assert!(!is_needed, "{spot} of {number}, {why}");
        let instance = self.instances.keys().find(|(_, of)| *of == number);
        let evidence = Evidence {
            protected: None,
            state,
            in_scope: state == Some(AccountState::Active),
            instance: instance.map(|_| "spot-onboarding".parse().unwrap()),
            linked: match is_linked {
                true => vec![linked(number, spot)],
                false => Vec::new(),
            },
        };
        let account = id(number);
        let still = still_orphan(why, &spot.parse().unwrap(), account, &evidence);
        assert!(still.is_ok() || links > 1, "{spot} of {number}: {still:?}");
        self.spot.remove(spot);
    }

    /// What the state does when a deletion is known to have happened.
    fn forget(&mut self, spot: &str) {
        self.owned.retain(|_, (of, _)| of != spot);
        self.clock += 1;
        for stack in self.stacks.values_mut() {
            if stack.spot == spot && stack.ended_at.is_none() {
                stack.ended_at = Some(self.clock);
            }
        }
    }

    /// The Spot accounts of ours whose AWS accounts are gone or closed.
    pub(super) fn spot_accounts_of_the_gone(&self) -> Vec<&str> {
        let is_gone = |spot: &&String| {
            let member = self
                .made_for
                .get(*spot)
                .map(|number| self.members.get(number));
            let state = member.map(|member| member.map(|member| member.state));
            matches!(state, Some(None | Some(AccountState::Closed)))
        };
        self.spot
            .keys()
            .filter(is_gone)
            .map(String::as_str)
            .collect()
    }
}
