//! Small worlds to plan for: an organization, a profile, and what was observed of both.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use onboarding_core::{
    desired::{
        AccessGrant, AdoptRule, Desired, DirectEnrollment, ManagementStack, OuRef, Profile,
        Purpose, RemovalLimits, StackSetDefinition, Targets,
    },
    ids::{AwsAccountId, ExternalId, OuId},
    inventory::{
        Account, AccountState, AccountTags, InstanceDetailedStatus, InstanceStatus,
        ObservedStackSet, OrganizationSnapshot, OrganizationalUnit, SpotAccountRecord, StackDrift,
        StackInstance,
    },
    plan::Plan,
    stackset_sync::{ObservedProfile, PlainStack, StackRemoval, SyncAction, SyncObserved},
    status::Reason,
    template::Deletion,
};

pub(crate) const NOW: i64 = 1_800_000_000;

/// Spot's principal.
pub(crate) const SPOT: &str = "arn:aws:iam::922761411349:root";

pub(crate) fn id(number: u64) -> AwsAccountId {
    AwsAccountId::from_number(number).unwrap()
}

pub(crate) fn ou(number: usize) -> OuId {
    if number == 0 {
        "r-root".parse().unwrap()
    } else {
        format!("ou-root-{number:08}").parse().unwrap()
    }
}

/// An organization whose unit `n` hangs below `parents[n]` (0 is the root) and whose account `n` is in `accounts[n]`.
/// Account 1 is the management account.
pub(crate) fn organization(
    parents: &[usize],
    accounts: &[(u64, usize, AccountState)],
) -> OrganizationSnapshot {
    let mut units = vec![OrganizationalUnit {
        id: ou(0),
        name: "Root".into(),
        parent: None,
    }];
    for (index, parent) in parents.iter().enumerate() {
        units.push(OrganizationalUnit {
            id: ou(index + 1),
            name: format!("Unit{}", index + 1).into(),
            parent: Some(u32::try_from(*parent).unwrap()),
        });
    }
    let mut accounts: Vec<Account> = accounts
        .iter()
        .map(|(number, unit, state)| Account {
            id: id(*number),
            name: format!("account {number}").into(),
            state: *state,
            parent: u32::try_from(*unit).unwrap(),
            joined_at: None,
        })
        .collect();
    accounts.sort_by_key(|account| account.id);
    OrganizationSnapshot {
        id: "o-abcdefghij".parse().unwrap(),
        management_account: id(1),
        units,
        accounts,
    }
}

pub(crate) fn profile(targets: Targets) -> Profile {
    Profile {
        name: "default".to_owned(),
        purpose: Purpose::Enrollment,
        stack_set: "spot-onboarding".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        targets,
        deployment: None,
        adopt: AdoptRule::KeepLink,
        access: BTreeSet::new(),
        deletion: Deletion::Reconcile,
        managed_execution: true,
        definition: StackSetDefinition {
            description: "Spot".to_owned(),
            template_body: "{}".to_owned(),
            template_digest: "digest".to_owned(),
            parameters: BTreeMap::from([("PolicyVersion".to_owned(), "1".to_owned())]),
            secret_parameters: BTreeSet::new(),
            tags: BTreeMap::new(),
            capabilities: BTreeSet::from(["CAPABILITY_IAM".to_owned()]),
        },
        direct: None,
        management: None,
    }
}

pub(crate) const GROUP: &str = "ugr-a1b2c3d4";
pub(crate) const VIEWER: &str = "pol-a1b2c3d4";

/// A user group that may see the accounts of a profile.
pub(crate) fn grant() -> AccessGrant {
    AccessGrant {
        user_group: GROUP.parse().unwrap(),
        policy: VIEWER.parse().unwrap(),
    }
}

pub(crate) fn root_targets() -> Targets {
    Targets {
        ous: vec![OuRef::Root],
        ..Targets::default()
    }
}

pub(crate) fn desired(profile: Profile) -> Desired {
    Desired {
        other_profiles: BTreeMap::new(),
        profiles: vec![profile],
        audit: None,
        remediation: None,
        billing_engine: None,
        spot_principal: SPOT.to_owned(),
        protected_accounts: BTreeSet::new(),
        direct_ceiling: 500,
        removal: RemovalLimits {
            closed_grace_seconds: 1000,
            max_removals: 5,
            max_shrink: 0.1,
        },
        remakes: BTreeSet::from([StackRemoval::RoleGone, StackRemoval::SpotAccountGone]),
        quarantine_after: 3,
        retry_failed: false,
        activate_trusted_access: false,
    }
}

pub(crate) fn observed(organization: OrganizationSnapshot) -> SyncObserved {
    let accounts = organization.accounts.len();
    SyncObserved {
        organization: Arc::new(organization),
        account_tags: Arc::default(),
        previous_account_count: Some(accounts),
        closed_since: BTreeMap::new(),
        trusted_access: true,
        profiles: vec![ObservedProfile {
            is_ours: true,
            ..ObservedProfile::default()
        }],
        spot_accounts: Vec::new(),
        kept_links: BTreeSet::new(),
        owned_links: BTreeMap::new(),
        links: BTreeMap::new(),
        billing_engine: BTreeMap::new(),
        user_groups: BTreeMap::new(),
        finished: BTreeMap::new(),
        unserved: false,
        audit: None,
        remediation: None,
        live_roles: BTreeMap::new(),
        now: NOW,
    }
}

pub(crate) fn stack_set(profile: &Profile, auto: bool, units: Vec<OuId>) -> ObservedStackSet {
    ObservedStackSet {
        name: profile.stack_set.clone(),
        id: "spot-onboarding:1".to_owned(),
        arn: None,
        description: Some(profile.definition.description.clone()),
        template_body: "{}".to_owned(),
        parameters: profile.definition.parameters.clone(),
        tags: BTreeMap::new(),
        capabilities: vec!["CAPABILITY_IAM".to_owned()],
        service_managed: true,
        auto_deployment: auto,
        retain_stacks_on_account_removal: true,
        managed_execution: true,
        organizational_units: units,
        drift_checked_at: None,
    }
}

pub(crate) fn instance(
    account: u64,
    status: InstanceStatus,
    detailed_status: InstanceDetailedStatus,
) -> StackInstance {
    StackInstance {
        account: id(account),
        region: "us-east-1".parse().unwrap(),
        status,
        detailed_status,
        status_reason: None,
        stack_id: (detailed_status != InstanceDetailedStatus::Failed).then(|| "stack".into()),
        targeted_ou: Some(ou(0)),
        last_operation_id: None,
        drift: StackDrift::default(),
    }
}

pub(crate) fn linked(account: u64, spot: &str) -> SpotAccountRecord {
    SpotAccountRecord {
        id: spot.parse().unwrap(),
        name: "x".into(),
        aws_account: Some(id(account)),
        unlinked: false,
    }
}

/// The profile's stack set exists as desired, with these instances.
pub(crate) fn with_stack_set(
    observed: &mut SyncObserved,
    profile: &Profile,
    auto: bool,
    instances: Vec<StackInstance>,
) {
    observed.profiles[0].stack_set = Some(stack_set(profile, auto, vec![ou(0)]));
    observed.profiles[0].template_digest = Some(profile.definition.template_digest.clone());
    observed.profiles[0].instances = instances;
    observed.profiles[0].is_direct = profile.direct.is_some();
}

/// What is done at Spot for an account without custom resources.
pub(crate) fn enrollment() -> DirectEnrollment {
    DirectEnrollment {
        role_name: "spot-onboarding-SpotRole".to_owned(),
        rename: Some("account-name".to_owned()),
        cost_intelligence: true,
    }
}

pub(crate) fn external_id() -> ExternalId {
    "spotinst:aws:extid:0123456789abcdef".parse().unwrap()
}

/// The management account's stack as the profile asks for it.
pub(crate) fn management(profile: &Profile) -> ManagementStack {
    ManagementStack {
        definition: profile.definition.clone(),
        enrollment: enrollment(),
    }
}

/// The management account's stack as it should be.
pub(crate) fn plain_stack() -> PlainStack {
    PlainStack {
        status: "CREATE_COMPLETE".to_owned(),
        blocked: None,
        is_current: true,
        external_id: Some(external_id()),
        template_body: String::new(),
        parameters: BTreeMap::new(),
    }
}

/// Everything at Spot is done for an account: it is linked by us, and that is written down.
pub(crate) fn enroll(observed: &mut SyncObserved, enrollment: &DirectEnrollment, account: u64) {
    let mut spot = observed.spot_accounts.iter();
    let spot = match spot.find(|spot| spot.aws_account == Some(id(account))) {
        Some(spot) => spot.id.clone(),
        None => {
            let spot = linked(account, &format!("act-{account:08}"));
            observed.spot_accounts.push(spot.clone());
            spot.id
        }
    };
    observed.owned_links.insert(id(account), spot);
    let finished = observed.finished.entry(id(account)).or_default();
    finished.insert(enrollment.mark());
}

pub(crate) fn reasons(plan: &Plan) -> Vec<(u64, Reason)> {
    plan.accounts
        .iter()
        .map(|row| (row.account.to_string().parse().unwrap(), row.reason))
        .collect()
}

pub(crate) fn actions(plan: &Plan) -> Vec<SyncAction> {
    plan.steps
        .iter()
        .map(|step| serde_json::from_value(step.payload.clone()).unwrap())
        .collect()
}

pub(crate) const ACTIVE: AccountState = AccountState::Active;

/// Tags that a profile asks for.
pub(crate) fn asks(tags: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
    tags.iter()
        .map(|(key, values)| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            ((*key).to_owned(), values)
        })
        .collect()
}

/// Tags that accounts carry.
pub(crate) fn tags(accounts: &[(u64, &[(&str, &str)])]) -> AccountTags {
    accounts
        .iter()
        .map(|(number, tags)| {
            let tags = tags
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect();
            (id(*number), tags)
        })
        .collect()
}
