//! Small worlds to clean up.

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
        AdoptRule, Desired, OuRef, Profile, Purpose, Remediation, RemovalLimits,
        StackSetDefinition, Targets,
    },
    ids::{AwsAccountId, OuId, SpotAccountId, StackId},
    inventory::{
        Account, AccountState, InstanceDetailedStatus, InstanceStatus, ObservedStackSet,
        OrganizationSnapshot, OrganizationalUnit, SpotAccountRecord, StackDrift, StackInstance,
    },
    orphan_cleanup::{
        CleanupObserved, CleanupRules, Known, KnownOwner, KnownTombstone, OrphanClock, Place, Why,
        clocks, plan,
    },
    plan::Plan,
    stackset_sync::{ObservedProfile, StackRemoval, SyncObserved},
    status::Reason,
    template::Deletion,
};

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const DAY: i64 = 86_400;

pub(crate) fn id(number: u64) -> AwsAccountId {
    AwsAccountId::from_number(number).unwrap()
}

pub(crate) fn ou(number: usize) -> OuId {
    match number {
        0 => "r-root".parse().unwrap(),
        number => format!("ou-root-{number:08}").parse().unwrap(),
    }
}

pub(crate) fn spot(number: u64) -> SpotAccountId {
    format!("act-{number:08}").parse().unwrap()
}

/// How the stack instances' stacks are named.
pub(crate) const STACK: &str = "StackSet-spot-onboarding-0b1c2d3e-1f2a-4b3c-8d4e-5f6a7b8c9d0e";

pub(crate) fn stack(number: u64) -> StackId {
    let account = id(number);
    format!("arn:aws:cloudformation:us-east-1:{account}:stack/{STACK}/{number}")
        .parse()
        .unwrap()
}

/// What our state has of a Spot account that we made and linked.
pub(crate) fn ours(number: u64) -> Known {
    Known {
        account: Some(id(number)),
        is_created: true,
        owner: Some(KnownOwner {
            stack: stack(number),
            role: format!("arn:aws:iam::{}:role/SpotRole", id(number))
                .parse()
                .unwrap(),
            is_adopted: false,
        }),
        tombstone: None,
    }
}

pub(crate) fn tombstone(number: u64) -> KnownTombstone {
    KnownTombstone {
        stack: stack(number),
        at: NOW - 30 * DAY,
        reason: onboarding_core::custom_resource::TombstoneReason::Reconcile,
    }
}

pub(crate) fn linked(number: u64, spot_account: SpotAccountId) -> SpotAccountRecord {
    SpotAccountRecord {
        id: spot_account,
        name: format!("name {number}").into(),
        aws_account: Some(id(number)),
        unlinked: false,
    }
}

/// The clock of the Spot account of a number, which a run saw an hour ago.
pub(crate) fn clock(number: u64, why: Why, first_seen: i64) -> OrphanClock {
    OrphanClock {
        first_seen,
        last_seen: NOW - 3600,
        why,
        account: id(number),
        owner: Some(stack(number)),
    }
}

/// A world of accounts 1 (which manages it) to `accounts` in the unit 1, of which those from 2 on are enrolled by us, with
/// everything known since a month ago.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) observed: CleanupObserved,
    pub(crate) desired: Desired,
    pub(crate) rules: CleanupRules,
}

impl World {
    pub(crate) fn new(accounts: u64) -> Self {
        let unit = |number: usize, parent| OrganizationalUnit {
            id: ou(number),
            name: match number {
                0 => "Root".into(),
                number => format!("Unit{number}").into(),
            },
            parent,
        };
        let account = |number| Account {
            id: id(number),
            name: format!("account {number}").into(),
            state: AccountState::Active,
            parent: 1,
            joined_at: None,
        };
        let organization = OrganizationSnapshot {
            id: "o-abcdefghij".parse().unwrap(),
            management_account: id(1),
            units: vec![unit(0, None), unit(1, Some(0)), unit(2, Some(0))],
            accounts: (1..=accounts).map(account).collect(),
        };
        let profile = profile();
        let state = ObservedProfile {
            is_ours: true,
            stack_set: Some(stack_set(&profile)),
            template_digest: Some(profile.definition.template_digest.clone()),
            instances: (2..=accounts).map(instance).collect(),
            ..ObservedProfile::default()
        };
        let mut spot_accounts = vec![SpotAccountRecord {
            id: spot(1),
            name: "default".into(),
            aws_account: None,
            unlinked: true,
        }];
        spot_accounts.extend((2..=accounts).map(|number| linked(number, spot(number))));
        let place = |number| Place {
            name: format!("account {number}"),
            units: vec![ou(1), ou(0)],
            path: "Root/Unit1".to_owned(),
        };
        let count = organization.accounts.len();
        Self {
            observed: CleanupObserved {
                previous_spot_count: Some(spot_accounts.len()),
                previous_organization: Some(organization.id.clone()),
                known: (2..=accounts).map(|n| (spot(n), ours(n))).collect(),
                clocks: BTreeMap::new(),
                places: (1..=accounts).map(|n| (id(n), place(n))).collect(),
                running: (2..=accounts).map(|n| (spot(n), Vec::new())).collect(),
                reach: BTreeMap::new(),
                deleted: Vec::new(),
                tried: BTreeMap::new(),
                sync: SyncObserved {
                    organization: Arc::new(organization),
                    account_tags: Arc::default(),
                    previous_account_count: Some(count),
                    closed_since: BTreeMap::new(),
                    trusted_access: true,
                    profiles: vec![state],
                    owned_links: (2..=accounts).map(|n| (id(n), spot(n))).collect(),
                    links: BTreeMap::new(),
                    spot_accounts,
                    kept_links: BTreeSet::new(),
                    billing_engine: BTreeMap::new(),
                    user_groups: BTreeMap::new(),
                    finished: BTreeMap::new(),
                    unserved: false,
                    audit: None,
                    remediation: None,
                    live_roles: BTreeMap::new(),
                    now: NOW,
                },
            },
            desired: desired(profile),
            rules: CleanupRules {
                grace_seconds: 14 * DAY,
                max_gap_seconds: 3 * DAY,
                max_deletions: 5,
                max_per_day: 10,
                max_share: 1.0,
                protected_ous: Vec::new(),
                protected_names: Vec::new(),
                default_account: None,
                remove_outside_targets: false,
                duplicates: BTreeSet::new(),
            },
        }
    }

    pub(crate) fn organization(&mut self) -> &mut OrganizationSnapshot {
        Arc::make_mut(&mut self.observed.sync.organization)
    }

    /// Accounts leave the organization; their stack instances stay until somebody takes them out.
    pub(crate) fn leaves(&mut self, numbers: &[u64]) {
        let gone: Vec<_> = numbers.iter().map(|number| id(*number)).collect();
        let accounts = &mut self.organization().accounts;
        accounts.retain(|account| !gone.contains(&account.id));
        // As `stackset-sync` does.
        self.observed.sync.previous_account_count =
            Some(self.observed.sync.organization.accounts.len());
    }

    pub(crate) fn becomes(&mut self, number: u64, state: AccountState) {
        let accounts = &mut self.organization().accounts;
        let account = accounts.iter_mut().find(|one| one.id == id(number));
        account.unwrap().state = state;
    }

    /// An account is moved out of what the profile targets.
    pub(crate) fn is_untargeted(&mut self, number: u64) {
        let excluded = &mut self.desired.profiles[0].targets.exclude_accounts;
        excluded.insert(id(number));
    }

    /// The remediation role deletes stacks that were left.
    pub(crate) fn deletes_leftovers(&mut self) {
        let profile = Profile {
            name: "remediation-role".to_owned(),
            purpose: Purpose::RemediationRole,
            stack_set: "spot-onboarding-remediation-role".parse().unwrap(),
            ..self.desired.profiles[0].clone()
        };
        self.desired.remediation = Some(Remediation {
            profile,
            max_roles: 10,
            leftover_units: vec![OuRef::Root],
        });
        self.rules.remove_outside_targets = true;
    }

    /// No profile targets an account any more, and its stack was kept there.
    pub(crate) fn leaves_its_stack(&mut self, number: u64) {
        self.is_untargeted(number);
        self.without_instance(number);
    }

    pub(crate) fn without_instance(&mut self, number: u64) {
        let instances = &mut self.observed.sync.profiles[0].instances;
        instances.retain(|instance| instance.account != id(number));
    }

    pub(crate) fn record(&mut self, number: u64) -> &mut SpotAccountRecord {
        let mut all = self.observed.sync.spot_accounts.iter_mut();
        all.find(|record| record.id == spot(number)).unwrap()
    }

    /// The clocks as they are kept after a run.
    pub(crate) fn clocks(&self) -> BTreeMap<SpotAccountId, OrphanClock> {
        clocks(&self.observed, &self.desired, &self.rules).unwrap()
    }

    /// Whatever is an orphan has been one since a month, for whatever reason, unless a test has said since when.
    pub(crate) fn long_ago(&mut self) {
        for (id, clock) in self.clocks() {
            let long = OrphanClock {
                first_seen: NOW - 30 * DAY,
                last_seen: NOW - 3600,
                ..clock
            };
            self.observed.clocks.entry(id).or_insert(long);
        }
    }

    /// The plan, where whatever is an orphan has been one for long.
    pub(crate) fn plan(&self) -> Plan {
        let mut aged = self.clone();
        aged.long_ago();
        aged.plan_now()
    }

    /// The plan by the clocks as they are.
    pub(crate) fn plan_now(&self) -> Plan {
        let plan = plan(&self.observed, &self.desired, &self.rules).unwrap();
        let summary = onboarding_core::plan::Summary::of(&plan.accounts, &plan.accounts, true);
        assert!(summary.adds_up(), "{summary:?}");
        plan
    }
}

/// The Spot accounts that a plan deletes, by their numbers.
pub(crate) fn deleted(plan: &Plan) -> Vec<u64> {
    let steps = plan.steps.iter();
    let steps = steps.filter(|step| step.action == "delete-spot-account");
    steps
        .map(|step| step.id.rsplit('-').next().unwrap().parse().unwrap())
        .collect()
}

/// Where an account stands, and why.
pub(crate) fn stands(plan: &Plan, number: u64) -> Option<(Reason, String)> {
    let mut rows = plan.accounts.iter();
    let row = rows.find(|row| row.account == id(number))?;
    let detail = row.detail.as_deref().unwrap_or_default();
    Some((row.reason, detail.to_owned()))
}

fn profile() -> Profile {
    Profile {
        name: "default".to_owned(),
        purpose: Purpose::Enrollment,
        stack_set: "spot-onboarding".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        targets: Targets {
            ous: vec![OuRef::Root],
            ..Targets::default()
        },
        deployment: None,
        adopt: AdoptRule::KeepLink,
        access: BTreeSet::new(),
        deletion: Deletion::Reconcile,
        managed_execution: true,
        definition: StackSetDefinition {
            description: "Spot".to_owned(),
            template_body: "{}".to_owned(),
            template_digest: "digest".to_owned(),
            parameters: BTreeMap::new(),
            secret_parameters: BTreeSet::new(),
            tags: BTreeMap::new(),
            capabilities: BTreeSet::new(),
        },
        direct: None,
        management: None,
    }
}

fn stack_set(profile: &Profile) -> ObservedStackSet {
    ObservedStackSet {
        name: profile.stack_set.clone(),
        id: "spot-onboarding:1".to_owned(),
        arn: None,
        description: Some(profile.definition.description.clone()),
        template_body: "{}".to_owned(),
        parameters: BTreeMap::new(),
        tags: BTreeMap::new(),
        capabilities: Vec::new(),
        service_managed: true,
        auto_deployment: true,
        retain_stacks_on_account_removal: true,
        managed_execution: true,
        organizational_units: vec![ou(0)],
        drift_checked_at: None,
    }
}

fn instance(number: u64) -> StackInstance {
    StackInstance {
        account: id(number),
        region: "us-east-1".parse().unwrap(),
        status: InstanceStatus::Current,
        detailed_status: InstanceDetailedStatus::Succeeded,
        status_reason: None,
        stack_id: Some(stack(number).as_str().into()),
        targeted_ou: Some(ou(0)),
        last_operation_id: None,
        drift: StackDrift::default(),
    }
}

fn desired(profile: Profile) -> Desired {
    Desired {
        other_profiles: BTreeMap::new(),
        profiles: vec![profile],
        audit: None,
        remediation: None,
        billing_engine: None,
        spot_principal: "arn:aws:iam::922761411349:root".to_owned(),
        protected_accounts: BTreeSet::new(),
        direct_ceiling: 500,
        removal: RemovalLimits {
            closed_grace_seconds: 0,
            max_removals: 10,
            max_shrink: 0.1,
        },
        remakes: BTreeSet::from([StackRemoval::RoleGone, StackRemoval::SpotAccountGone]),
        quarantine_after: 3,
        retry_failed: false,
        activate_trusted_access: false,
    }
}
