//! `orphan-cleanup` beside the jobs that enroll, with the grace period over at once: what keeps a Spot account then is that somebody
//! needs it.

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::{
    custom_resource::TombstoneReason,
    desired::{Desired, OuRef, Profile, Purpose, Remediation},
    inventory::AccountState,
    orphan_cleanup::{
        self, CleanupAction, CleanupObserved, CleanupRules, Evidence, Known, KnownOwner,
        KnownTombstone, OutsideEvidence, Why, still_left, still_orphan, still_outside,
    },
    plan::Plan,
    stackset_sync::{self, SyncAction, SyncObserved},
};

use super::{
    Change,
    model::{Model, Setting, number_of, stack_id, stack_number},
};
use crate::world::*;

fn rules(setting: Setting) -> CleanupRules {
    CleanupRules {
        grace_seconds: 0,
        max_gap_seconds: i64::MAX,
        max_deletions: 100,
        max_per_day: 100,
        max_share: 1.0,
        protected_ous: Vec::new(),
        protected_names: Vec::new(),
        default_account: None,
        remove_outside_targets: setting == Setting::Outside,
        duplicates: BTreeSet::new(),
    }
}

impl Model {
    /// Runs it up to so many steps; the next one may break off after it was sent. After so many steps, something may happen.
    pub(super) fn clean_up(
        &mut self,
        sync: SyncObserved,
        steps: usize,
        breaks: Option<usize>,
        meets: Option<(usize, Change)>,
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
        let desired = self.desired_of_clean_up();
        let plan = orphan_cleanup::plan(&observed, &desired, &rules(self.setting)).unwrap();
        let mut failed: BTreeSet<&str> = BTreeSet::new();
        for (index, step) in plan.steps.iter().enumerate() {
            let is_whole = index < steps;
            let breaks = breaks.filter(|_| index == steps);
            if !is_whole && breaks.is_none() {
                break;
            }
            if let Some((after, change)) = meets
                && after == index
            {
                self.changes(change);
            }
            let is_met = meets.is_some_and(|(after, _)| after <= index);
            let needed = step.preconditions.iter();
            let mut needed = needed.filter_map(|one| one.strip_prefix("step:"));
            if needed.any(|id| failed.contains(id)) {
                failed.insert(&step.id);
                continue;
            }
            if step.kind == stackset_sync::KIND {
                let action: SyncAction = serde_json::from_value(step.payload.clone()).unwrap();
                if matches!(action, SyncAction::DeleteStacks { .. }) {
                    let account = step.accounts[0];
                    let still = still_outside(account, &self.outside_evidence(number_of(account)));
                    assert!(still.is_ok() || is_met, "{step:?}: {still:?}");
                    let index = (0, number_of(account));
                    if still.is_err() || !self.instances.contains_key(&index) {
                        failed.insert(&step.id);
                        continue;
                    }
                }
                match breaks {
                    Some(reaches) => self.apply_to_some(&action, reaches),
                    None => self.apply(&action),
                }
                continue;
            }
            match serde_json::from_value(step.payload.clone()).unwrap() {
                CleanupAction::DeleteSpotAccount {
                    spot_account,
                    account,
                    why,
                    ..
                } => {
                    if !self.delete(spot_account.as_str(), number_of(account), why, is_met) {
                        continue;
                    }
                    match breaks {
                        Some(_) => self.unsettled.push(spot_account.to_string()),
                        None => self.forget(spot_account.as_str()),
                    }
                }
                CleanupAction::DeleteLeftoverStack {
                    stack,
                    account,
                    spot_account,
                    ..
                } => {
                    let evidence = self.evidence(number_of(account), spot_account.as_str());
                    let still = still_left(&spot_account, account, &evidence, &[]);
                    assert!(still.is_ok() || is_met, "{step:?}: {still:?}");
                    if still.is_err() {
                        failed.insert(&step.id);
                        continue;
                    }
                    self.delete_leftover(number_of(account), stack_number(stack.as_str()));
                }
            }
        }
        plan
    }

    /// As configured, and where stacks that were left are deleted, the remediation role is everywhere.
    fn desired_of_clean_up(&self) -> Desired {
        let mut desired = self.desired.clone();
        if self.setting == Setting::Outside {
            let profile = Profile {
                name: "remediation-role".to_owned(),
                purpose: Purpose::RemediationRole,
                stack_set: "spot-onboarding-remediation-role".parse().unwrap(),
                ..desired.profiles[0].clone()
            };
            desired.remediation = Some(Remediation {
                profile,
                max_roles: 10,
                leftover_units: vec![OuRef::Root],
            });
        }
        desired
    }

    /// Deletes a stack that was left, which nobody may need.
    fn delete_leftover(&mut self, number: u64, id: u64) {
        assert!(self.is_outside(number), "stack {id} of {number}");
        assert!(!self.instances.values().any(|instance| *instance == id));
        let stack = self.stacks.get_mut(&id).unwrap();
        assert_eq!(stack.account, number);
        (stack.is_deleted, stack.has_role) = (true, false);
    }

    /// What our state has of Spot accounts; of those that Spot's functions made, only whose they are.
    fn known(&self) -> BTreeMap<onboarding_core::ids::SpotAccountId, Known> {
        let known = self.made_for.iter().map(|(spot, number)| {
            let owned = self.owned.get(number);
            let owned = owned.filter(|(of, _)| of == spot && self.setting != Setting::Hosted);
            // Whoever can read the account has looked for the stack.
            let gone = owned.filter(|(_, stack)| self.stacks[stack].is_deleted);
            let known = Known {
                account: Some(id(*number)),
                is_created: self.setting != Setting::Hosted,
                owner: owned.map(|(_, stack)| KnownOwner {
                    stack: stack_id(*number, *stack).parse().unwrap(),
                    role: self.role(*number, *stack).parse().unwrap(),
                    is_adopted: false,
                }),
                tombstone: gone.map(|(_, stack)| KnownTombstone {
                    stack: stack_id(*number, *stack).parse().unwrap(),
                    at: 0,
                    reason: TombstoneReason::Reconcile,
                }),
            };
            (spot.parse().unwrap(), known)
        });
        known.collect()
    }

    /// Deletes a Spot account, which nobody may need, unless what is read right before speaks against it: only where something has
    /// happened since it was planned. Whether it did.
    fn delete(&mut self, spot: &str, number: u64, why: Why, is_met: bool) -> bool {
        let account = id(number);
        let evidence = self.evidence(number, spot);
        let still = still_orphan(why, &spot.parse().unwrap(), account, &evidence);
        let links = self.spot.values();
        let links = links.filter(|one| one.linked == Some(number)).count();
        assert!(
            still.is_ok() || links > 1 || is_met,
            "{spot} of {number}: {still:?}"
        );
        let Some(at_spot) = self.spot.get(spot) else {
            assert!(is_met);
            return false;
        };
        if still.is_err() {
            return false;
        }
        let is_linked = at_spot.linked == Some(number);
        let state = self.members.get(&number).map(|member| member.state);
        let is_needed = match state {
            None | Some(AccountState::Closed) => false,
            // Last of all: what its stack made goes first.
            Some(AccountState::Active) if self.is_outside(number) => {
                let owner = self.owned.get(&number);
                let owner = owner.filter(|(of, _)| of == spot);
                owner.is_some_and(|(_, stack)| !self.stacks[stack].is_deleted)
            }
            Some(AccountState::Active) => is_linked || links == 0,
            Some(_) => true,
        };
        assert!(!is_needed, "{spot} of {number}, {why}");
        self.spot.remove(spot);
        true
    }

    /// What is read for one deletion alone.
    fn evidence(&self, number: u64, spot: &str) -> Evidence {
        let state = self.members.get(&number).map(|member| member.state);
        let instance = self.instances.keys().find(|(_, of)| *of == number);
        let at_spot = self.spot.get(spot);
        let is_linked = at_spot.is_some_and(|one| one.linked == Some(number));
        Evidence {
            protected: None,
            state,
            in_scope: state == Some(AccountState::Active) && !self.is_outside(number),
            instance: instance.map(|_| "spot-onboarding".parse().unwrap()),
            linked: match is_linked {
                true => vec![linked(number, spot)],
                false => Vec::new(),
            },
        }
    }

    fn outside_evidence(&self, number: u64) -> OutsideEvidence {
        let Evidence {
            protected,
            state,
            in_scope,
            ..
        } = self.evidence(number, "");
        OutsideEvidence {
            protected,
            state,
            in_scope,
            running: Vec::new(),
        }
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
