//! What mends an account: from its row, from what Spot lists of it, and from what IAM has in it, where that was read.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    desired::{AdoptRule, Desired, Profile},
    drift::{Drift, DriftKind, Fix},
    drift_audit::{AuditObserved, AuditReason, at_spot},
    ids::{AwsAccountId, RoleArn, SpotAccountId},
    inventory::{AccountState, InstanceStatus, SpotAccountRecord, StackInstance},
    plan::AccountRow,
    stackset_sync::{
        Mend, Mender, ObservedProfile, StackRemoval,
        past_links::StackNow,
        spot_links::{Link, SpotLinks},
    },
    status::{Reason, Standing},
};

/// Decides for each account.
pub(crate) struct Mending<'a> {
    observed: &'a AuditObserved,
    desired: &'a Desired,
    links: SpotLinks<'a>,
    spot_accounts: BTreeMap<&'a SpotAccountId, &'a SpotAccountRecord>,
    includes: &'a dyn Fn(AwsAccountId) -> bool,
    /// Whether the finding with this id is accepted: it is not mended, and what mends others must leave it as it is.
    is_accepted: &'a dyn Fn(&str) -> bool,
}

impl<'a> Mending<'a> {
    pub(crate) fn new(
        observed: &'a AuditObserved,
        desired: &'a Desired,
        includes: &'a dyn Fn(AwsAccountId) -> bool,
    ) -> Self {
        let records = observed.sync.spot_accounts.iter();
        Self {
            observed,
            desired,
            links: SpotLinks::new(&observed.sync.spot_accounts),
            spot_accounts: records.map(|record| (&record.id, record)).collect(),
            includes,
            is_accepted: &|_| false,
        }
    }

    /// The same, with findings that are accepted.
    pub(crate) fn accepting(self, is_accepted: &'a dyn Fn(&str) -> bool) -> Self {
        Self {
            is_accepted,
            ..self
        }
    }

    /// Whether the finding of an account's own row, for a reason, is accepted.
    fn accepts(&self, reason: &str, account: AwsAccountId) -> bool {
        (self.is_accepted)(&format!("{reason}:{account}"))
    }

    /// What its stack is made anew for, where that may be: nothing of value goes with it. What is deployed must be what the
    /// configuration says of it, so that the Spot account is retained; and one that has its external ID from us is not remade.
    fn remake(
        &self,
        profile: &Profile,
        state: &ObservedProfile,
        account: AwsAccountId,
    ) -> Option<Mend> {
        let ours = self.observed.sync.owned_links.get(&account)?;
        // With its Spot account gone, a new one is made, whatever there is of the role.
        let because = match self.spot_accounts.contains_key(ours) {
            true => StackRemoval::RoleGone,
            false => StackRemoval::SpotAccountGone,
        };
        let digest = state.template_digest.as_ref();
        let may = self.desired.remakes.contains(&because)
            && profile.retains_stacks()
            && profile.direct.is_none()
            && digest == Some(&profile.definition.template_digest)
            && self.observed.owned.contains_key(&account)
            && !self.desired.protected_accounts.contains(&account);
        may.then_some(Mend::Remove(because))
    }

    /// What mends an account whose stack is there and whose Spot account is not linked to it. One of ours that still exists is
    /// linked again; when it is gone, another one needs another external ID, and so another role.
    fn unlinked(
        &self,
        profile: &Profile,
        state: &ObservedProfile,
        instance: &StackInstance,
    ) -> Option<Mend> {
        let account = instance.account;
        // What the state does not know may be there all the same.
        let ours = self.observed.sync.owned_links.get(&account)?;
        match self.spot_accounts.get(ours) {
            Some(record) => {
                let role = self.role_of(profile, instance)?;
                // Linked to another account, it is not ours to take.
                record.unlinked.then(|| Mend::Link {
                    spot_account: ours.clone(),
                    role,
                    relinks: false,
                })
            }
            None => self.remake(profile, state, account),
        }
    }

    /// The role that an instance's stack made, as far as it ever was linked.
    fn role_of(&self, profile: &Profile, instance: &StackInstance) -> Option<RoleArn> {
        let owned = self.observed.owned.get(&instance.account)?;
        let stack = instance.stack_id.as_deref();
        // Without custom resources, one id stands for the stack.
        if profile.direct.is_some() || stack == Some(owned.stack.as_str()) {
            return Some(owned.role.clone());
        }
        let mut records = self.observed.sync.links.get(&instance.account)?.iter();
        let record = records.find(|record| {
            let is_there = record.now == (StackNow::There { has_role: true });
            is_there && stack == Some(record.stack.as_str())
        });
        record.map(|record| record.role.clone())
    }

    /// Whether the role that Spot uses is that of another profile's instance: the account was moved, and moved back before that
    /// one's stack was removed.
    fn is_anothers(&self, profile: &Profile, instance: &StackInstance) -> bool {
        let owned = self.observed.owned.get(&instance.account);
        let Some(owner) = owned.map(|owned| owned.stack.as_str()) else {
            return false;
        };
        if profile.direct.is_some() || instance.stack_id.as_deref() == Some(owner) {
            return false;
        }
        let profiles = self.observed.sync.profiles.iter();
        let mut instances = profiles.flat_map(|profile| &profile.instances);
        instances.any(|one| one.stack_id.as_deref() == Some(owner))
    }

    /// What mends what IAM has; none where a person must.
    pub(crate) fn of_drift(
        &self,
        (profile, state): (&Profile, &ObservedProfile),
        account: AwsAccountId,
        drift: &Drift,
    ) -> Option<Mend> {
        match (&drift.fix, drift.kind) {
            (Fix::ReDeploy, _) => Some(Mend::Rewrite),
            (Fix::Enroll, DriftKind::StoredRoleDiffers) => {
                let Link::One(spot) = self.links.of(account) else {
                    return None;
                };
                self.observed.owned.get(&account)?;
                Some(Mend::Link {
                    spot_account: spot.clone(),
                    role: drift.resource.parse().ok()?,
                    relinks: true,
                })
            }
            (Fix::Enroll, DriftKind::RoleMissing) => self.remake(profile, state, account),
            // The role that Spot uses is there and works: a person says whether it may go.
            (Fix::Enroll | Fix::Remove(_) | Fix::NeedsPerson(_) | Fix::None, _) => None,
        }
    }

    /// What mends what Spot has for an account that is enrolled by us. Calls at Spot are made in the name of the stack that
    /// linked the account.
    fn of_names_and_products(&self, profile: &Profile, row: &AccountRow) -> BTreeSet<Mend> {
        let mut mends = BTreeSet::new();
        let Link::One(spot) = self.links.of(row.account) else {
            return mends;
        };
        let Some(owned) = self.observed.owned.get(&row.account) else {
            return mends;
        };
        // One that was taken over keeps its name unless the rule is to take over.
        let is_ours_to_name = !owned.adopted || profile.adopt == AdoptRule::Relink;
        let name = self.spot_accounts.get(spot).map(|record| &*record.name);
        let accepts = |reason: AuditReason| self.accepts(reason.code(), row.account);
        if let Some(name) = name
            && is_ours_to_name
            && !accepts(AuditReason::Misnamed)
            && at_spot::wanted_name(self.observed, row, name).is_some()
        {
            mends.insert(Mend::Rename(spot.clone()));
        }
        if at_spot::lacks_cost_intelligence(self.observed, row, spot)
            && !accepts(AuditReason::ProductOff)
        {
            mends.insert(Mend::CostIntelligence(spot.clone()));
        }
        mends
    }

    /// Whether another profile gives the account its first stack in this plan, which then takes over the link that this
    /// instance's stack made. One that failed there before is not counted on, nor one whose stack set is still to be made.
    fn will_be_taken_over(&self, profile: &Profile, instance: &StackInstance) -> bool {
        let account = instance.account;
        let owned = self.observed.owned.get(&account);
        let is_its_own =
            owned.is_some_and(|owned| instance.stack_id.as_deref() == Some(owned.stack.as_str()));
        let profiles = self
            .desired
            .profiles
            .iter()
            .zip(&self.observed.sync.profiles);
        let mut others = profiles.filter(|(other, _)| other.name != profile.name);
        let is_known = |state: &ObservedProfile| {
            state.retries.contains_key(&account)
                || state.instances.iter().any(|one| one.account == account)
        };
        let is_linked = matches!(self.links.of(account), Link::One(_));
        is_linked
            && is_its_own
            && !others.any(|(other, state)| {
                other.direct.is_some() || state.stack_set.is_none() || is_known(state)
            })
    }

    /// Whether another profile's stack has taken over the Spot account of a leftover instance.
    fn is_taken_over(&self, profile: &Profile, instance: &StackInstance) -> bool {
        let account = instance.account;
        let Some(owned) = self.observed.owned.get(&account) else {
            return false;
        };
        let owner = owned.stack.as_str();
        let profiles = self
            .desired
            .profiles
            .iter()
            .zip(&self.observed.sync.profiles);
        let mut others = profiles.filter(|(other, _)| other.name != profile.name);
        let is_its = |one: &StackInstance| {
            one.account == account
                && one.status == InstanceStatus::Current
                && one.stack_id.as_deref() == Some(owner)
        };
        let is_linked = matches!(self.links.of(account), Link::One(_));
        is_linked && others.any(|(_, state)| state.instances.iter().any(is_its))
    }
}

impl Mender for Mending<'_> {
    fn includes(&self, row: &AccountRow) -> bool {
        let is_due_for_what_is_accepted =
            row.standing == Standing::Due && self.accepts(row.reason.code(), row.account);
        (self.includes)(row.account) && !is_due_for_what_is_accepted
    }

    fn mends(
        &self,
        profile: &Profile,
        state: &ObservedProfile,
        row: &AccountRow,
        instance: Option<&StackInstance>,
        is_targeted: bool,
    ) -> BTreeSet<Mend> {
        let none = BTreeSet::new();
        let account = row.account;
        if !state.running.is_empty() {
            return none;
        }
        let Some(instance) = instance else {
            return none;
        };
        let organization = &self.observed.sync.organization;
        let is_active = organization
            .account(account)
            .is_some_and(|account| account.state == AccountState::Active);
        if !is_active {
            return none;
        }
        if row.reason == Reason::OutsideTargets {
            let is_protected = self.desired.protected_accounts.contains(&account);
            let is_taken = || {
                self.is_taken_over(profile, instance) || self.will_be_taken_over(profile, instance)
            };
            let retires = is_targeted
                && !is_protected
                && profile.direct.is_none()
                && !self.accepts(row.reason.code(), account)
                && is_taken();
            let retired = retires.then_some(Mend::Remove(StackRemoval::TakenOver));
            return retired.into_iter().collect();
        }
        if !row.targeted || instance.status != InstanceStatus::Current {
            return none;
        }
        let mut mends = BTreeSet::new();
        let is_accepted = self.accepts(row.reason.code(), account);
        match row.reason {
            Reason::NotLinked | Reason::RoleMissing | Reason::RoleTrustDiffers if is_accepted => {}
            Reason::NotLinked => mends.extend(self.unlinked(profile, state, instance)),
            Reason::RoleMissing => mends.extend(self.remake(profile, state, account)),
            Reason::RoleTrustDiffers => {
                mends.insert(Mend::Rewrite);
            }
            // What somebody else has linked, and what a person must decide, is left alone.
            _ if row.standing != Standing::Ok => return none,
            _ => mends.extend(self.of_names_and_products(profile, row)),
        }
        if self.is_anothers(profile, instance) {
            // What was read is not of this stack's role, which takes the link back.
            let role = self.role_of(profile, instance);
            if let (Link::One(spot), Some(role)) = (self.links.of(account), role) {
                mends.insert(Mend::Link {
                    spot_account: spot.clone(),
                    role,
                    relinks: true,
                });
            }
            return mends;
        }
        let drifts = self.observed.drifts.as_ref();
        let drifts = drifts.and_then(|drifts| drifts.get(&account));
        let drifts = drifts.map_or(&[][..], Vec::as_slice);
        let (accepted, left): (Vec<&Drift>, Vec<&Drift>) = drifts
            .iter()
            .partition(|drift| (self.is_accepted)(&drift.id(account)));
        for drift in left {
            mends.extend(self.of_drift((profile, state), account, drift));
        }
        // There is nothing that could be linked.
        if drifts
            .iter()
            .any(|drift| drift.kind == DriftKind::RoleMissing)
        {
            mends.retain(|mend| !matches!(mend, Mend::Link { .. }));
        }
        // The role is written as a whole, and made as a whole: what is accepted of it would go with the rest.
        if accepted.iter().any(|drift| drift.fix == Fix::ReDeploy) {
            mends.remove(&Mend::Rewrite);
        }
        let remakes = |mend: &Mend| mend.removal().is_some_and(StackRemoval::is_remake);
        if !accepted.is_empty() {
            mends.retain(|mend| !remakes(mend));
        }
        if let Some(remake) = mends.iter().find(|&mend| remakes(mend)) {
            // The new stack does all of it.
            return BTreeSet::from([remake.clone()]);
        }
        mends
    }
}
