//! What puts an account's role right through its stack set, as AWS CLI commands of the home account (AWS CLI Command Reference,
//! cloudformation).

use std::collections::BTreeMap;

use super::AuditObserved;
use crate::{
    desired::{Desired, Profile, Purpose},
    drift::Fix,
    ids::AwsAccountId,
    inventory::StackInstance,
    stackset_sync::ObservedProfile,
    template::{EXTERNAL_ID_PARAMETER, REPAIR_NONCE_PARAMETER},
};

/// The stack instance of each account, with its profile.
pub(super) struct Mending<'a> {
    observed: &'a AuditObserved,
    instances: BTreeMap<AwsAccountId, (&'a Profile, &'a ObservedProfile, &'a StackInstance)>,
}

impl<'a> Mending<'a> {
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
            instances: instances.collect(),
        }
    }

    /// What a person does about it.
    pub(super) fn of(&self, account: AwsAccountId, fix: &Fix) -> String {
        let known = self.instances.get(&account);
        match (fix, known) {
            (Fix::ReDeploy, Some((profile, state, instance))) => {
                // A value that the stack never had: CloudFormation changes nothing for one that it has.
                let nonce = self.observed.sync.now;
                let mut parameters =
                    format!("ParameterKey={REPAIR_NONCE_PARAMETER},ParameterValue={nonce:08x}");
                // An override that is left out goes back to the stack set's value (CloudFormation API reference,
                // UpdateStackInstances, ParameterOverrides).
                if state.external_ids.contains_key(&account) {
                    parameters.push_str(&format!(
                        " ParameterKey={EXTERNAL_ID_PARAMETER},UsePreviousValue=true"
                    ));
                }
                let command = self.command("update-stack-instances", profile, instance);
                format!(
                    "needs a person, in the home account: {command} --parameter-overrides {parameters}"
                )
            }
            (Fix::Enroll, Some((profile, _, instance))) => {
                let command = self.command("delete-stack-instances", profile, instance);
                let loss = if profile.retains_stacks() {
                    ""
                } else {
                    " (deletion = \"stack\": its Spot account goes with it, and a new one is made)"
                };
                format!(
                    "needs a person, in the home account: {command} --no-retain-stacks{loss}; then `runner exec stackset-sync` \
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
