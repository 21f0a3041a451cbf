//! What mends an account: from its row, from what Spot lists of it, and from what IAM has in it, where that was read.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    desired::{AdoptRule, Desired, Profile},
    drift::{Drift, DriftKind, Fix},
    drift_audit::{AuditObserved, at_spot},
    ids::{AwsAccountId, SpotAccountId},
    inventory::{AccountState, InstanceStatus, SpotAccountRecord, StackInstance},
    plan::AccountRow,
    stackset_sync::{
        Mend, Mender, ObservedProfile,
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
        }
    }

    /// Whether its stack may be removed to be made anew: nothing of value goes with it. What is deployed must be what the
    /// configuration says of it, so that the Spot account is retained; and one that has its external ID from us is not remade.
    fn may_redeploy(
        &self,
        profile: &Profile,
        state: &ObservedProfile,
        account: AwsAccountId,
    ) -> bool {
        let digest = state.template_digest.as_ref();
        profile.retains_stacks()
            && profile.direct.is_none()
            && digest == Some(&profile.definition.template_digest)
            && self.observed.owned.contains_key(&account)
            && !self.desired.protected_accounts.contains(&account)
    }

    /// What mends an account whose stack is there and whose Spot account is not linked to it. One of ours that still exists is
    /// linked again; when it is gone, another one needs another external ID, and so another role.
    fn unlinked(
        &self,
        profile: &Profile,
        state: &ObservedProfile,
        account: AwsAccountId,
    ) -> Option<Mend> {
        // What the state does not know may be there all the same.
        let ours = self.observed.sync.owned_links.get(&account)?;
        match self.spot_accounts.get(ours) {
            Some(record) => {
                let owned = self.observed.owned.get(&account)?;
                // Linked to another account, it is not ours to take.
                record.unlinked.then(|| Mend::Link {
                    spot_account: ours.clone(),
                    role: owned.role.clone(),
                })
            }
            None => self
                .may_redeploy(profile, state, account)
                .then_some(Mend::Redeploy),
        }
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
                })
            }
            (Fix::Enroll, DriftKind::RoleMissing) => self
                .may_redeploy(profile, state, account)
                .then_some(Mend::Redeploy),
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
        if let Some(name) = name
            && is_ours_to_name
            && at_spot::wanted_name(self.observed, row, name).is_some()
        {
            mends.insert(Mend::Rename(spot.clone()));
        }
        if at_spot::lacks_cost_intelligence(self.observed, row, spot) {
            mends.insert(Mend::CostIntelligence(spot.clone()));
        }
        mends
    }

    /// Whether another profile gives the account its first stack in this plan, which then takes over the link that this
    /// instance's stack made. One that failed there before is not counted on.
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
            && !others.any(|(other, state)| other.direct.is_some() || is_known(state))
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
    fn includes(&self, account: AwsAccountId) -> bool {
        (self.includes)(account)
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
            let retires = is_targeted && !is_protected && profile.direct.is_none() && is_taken();
            return retires.then_some(Mend::Retire).into_iter().collect();
        }
        if !row.targeted || instance.status != InstanceStatus::Current {
            return none;
        }
        let mut mends = BTreeSet::new();
        match row.reason {
            Reason::NotLinked => mends.extend(self.unlinked(profile, state, account)),
            Reason::RoleMissing if self.may_redeploy(profile, state, account) => {
                mends.insert(Mend::Redeploy);
            }
            Reason::RoleTrustDiffers => {
                mends.insert(Mend::Rewrite);
            }
            // What somebody else has linked, and what a person must decide, is left alone.
            _ if row.standing != Standing::Ok => return none,
            _ => mends.extend(self.of_names_and_products(profile, row)),
        }
        let drifts = self.observed.drifts.as_ref();
        for drift in drifts
            .and_then(|drifts| drifts.get(&account))
            .into_iter()
            .flatten()
        {
            mends.extend(self.of_drift((profile, state), account, drift));
        }
        if mends.contains(&Mend::Redeploy) {
            // The new stack does all of it.
            return BTreeSet::from([Mend::Redeploy]);
        }
        mends
    }
}
