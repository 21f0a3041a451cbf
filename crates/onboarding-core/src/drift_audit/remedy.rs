//! What mends a difference of an account's role: `enroll` where it may, else what a person does, as AWS CLI commands of the home
//! account (AWS CLI Command Reference, cloudformation).

use std::collections::BTreeMap;

use super::AuditObserved;
use crate::{
    desired::{Desired, Profile, Purpose},
    drift::{Drift, Fix},
    enroll,
    ids::AwsAccountId,
    inventory::StackInstance,
    stackset_sync::ObservedProfile,
};

/// The stack instance of each account, with its profile.
pub(super) struct Remedies<'a> {
    observed: &'a AuditObserved,
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
            mending: enroll::Mending::new(observed, desired, &|_| true),
            instances: instances.collect(),
        }
    }

    /// What mends it.
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
            (fix, _) => fix.to_string(),
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
