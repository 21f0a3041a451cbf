//! What mends a difference of an account's role: `enroll` where it may, for a stray policy the remediation role, else what a person
//! does, as AWS CLI commands of the home account (AWS CLI Command Reference, cloudformation).

use std::collections::BTreeMap;

use super::AuditObserved;
use crate::{
    desired::{Desired, Profile, Purpose},
    drift::{Drift, Fix, Stray, StrayPolicy},
    enroll,
    ids::AwsAccountId,
    inventory::{InstanceStatus, StackInstance},
    plan::AccountRow,
    stackset_sync::ObservedProfile,
};

/// The stack instance of each account, with its profile.
pub(super) struct Remedies<'a> {
    observed: &'a AuditObserved,
    desired: &'a Desired,
    mending: enroll::Mending<'a>,
    instances: BTreeMap<AwsAccountId, (&'a Profile, &'a ObservedProfile, &'a StackInstance)>,
}

impl<'a> Remedies<'a> {
    pub(super) fn new(observed: &'a AuditObserved, desired: &'a Desired) -> Self {
        let profiles = desired.profiles.iter().zip(&observed.sync.profiles);
        let instances = profiles
            .filter(|(profile, _)| profile.purpose == Purpose::Enrollment)
            .flat_map(|(profile, state)| {
                let instances = state.instances.iter();
                instances.map(move |instance| (instance.account, (profile, state, instance)))
            });
        Self {
            observed,
            desired,
            mending: enroll::Mending::new(observed, desired, &|_| true),
            instances: instances.collect(),
        }
    }

    /// Whether an operation works on the stack set of an account.
    pub(super) fn is_worked_on(&self, account: AwsAccountId) -> bool {
        let known = self.instances.get(&account);
        known.is_some_and(|(_, state, _)| !state.running.is_empty())
    }

    /// The policy that the remediation role may take away: a stray one of the role that we linked, which a stack of ours made, and
    /// that goes by the names which our stacks give. Nothing of an account that is protected.
    pub(super) fn removal<'d>(&self, row: &AccountRow, drift: &'d Drift) -> Option<&'d Stray> {
        self.desired.remediation.as_ref()?;
        let Fix::Remove(stray) = &drift.fix else {
            return None;
        };
        let (profile, _, instance) = self.instances.get(&row.account)?;
        let linked = self.observed.owned.get(&row.account)?;
        let names = profile.names();
        let is_made_by_it = |stack: &String| instance.stack_id.as_deref() == Some(stack.as_str());
        let is_of_our_stacks = match &stray.policy {
            StrayPolicy::Inline { .. } => false,
            StrayPolicy::Attached { arn, .. } => names.has_policy(arn),
        };
        let is_ours = row.targeted
            && !self.desired.protected_accounts.contains(&row.account)
            && instance.status == InstanceStatus::Current
            && linked.role == stray.role
            && stray.role.account() == Some(row.account)
            && names.has_role(stray.role.role_name())
            && stray.stack.as_ref().is_none_or(is_made_by_it)
            && !is_of_our_stacks;
        is_ours.then_some(&**stray)
    }

    /// What mends it otherwise.
    pub(super) fn of(&self, account: AwsAccountId, drift: &Drift) -> String {
        let known = self.instances.get(&account);
        let mend = known.and_then(|(profile, state, _)| {
            let place = (*profile, *state);
            self.mending.of_drift(place, account, drift)
        });
        match (&drift.fix, known) {
            _ if mend.is_some() => enroll::KIND.to_owned(),
            (Fix::Enroll, Some((profile, _, instance))) => {
                let command = self.command("delete-stack-instances", profile, instance);
                let why = if profile.retains_stacks() {
                    "its stack goes, and another one is made"
                } else {
                    "deletion = \"stack\": its Spot account goes with its stack, and a new one is made"
                };
                format!(
                    "needs a person ({why}), in the home account: {command} --no-retain-stacks; then `runner exec enroll` \
                     deploys it again"
                )
            }
            _ => drift.remedy(),
        }
    }

    fn command(&self, verb: &str, profile: &Profile, instance: &StackInstance) -> String {
        let organization = &self.observed.sync.organization;
        let account = organization.account(instance.account);
        let unit = match (&instance.targeted_ou, account) {
            (Some(unit), _) => unit.to_string(),
            (None, account) => account
                .and_then(|account| {
                    organization
                        .units
                        .get(usize::try_from(account.parent).ok()?)
                })
                .map_or_else(|| "<its unit>".to_owned(), |unit| unit.id.to_string()),
        };
        let home = &self.observed.home;
        let call_as = if home.is_delegated {
            " --call-as DELEGATED_ADMIN"
        } else {
            ""
        };
        format!(
            "aws cloudformation {verb} --region {}{call_as} --stack-set-name {} --deployment-targets \
             OrganizationalUnitIds={unit},Accounts={},AccountFilterType=INTERSECTION --regions {}",
            home.region, profile.stack_set, instance.account, instance.region
        )
    }
}
