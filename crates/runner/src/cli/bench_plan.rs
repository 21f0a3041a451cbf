//! `runner bench-plan`: plans for an organization that is made up in memory, for `cargo xtask bench audit`.
//!
//! Nothing is read: what is measured is deciding alone, for as many accounts as asked, one in a hundred of them not as it should
//! be.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use onboarding_core::{
    custom_resource::Naming,
    desired::{Desired, OuRef, Profile, Purpose, RemovalLimits, StackSetDefinition, Targets},
    drift::{Drift, DriftKind, Fix},
    drift_audit::{self, AuditObserved, HomePlace, OwnedLink, TokenAge},
    enroll,
    ids::{AwsAccountId, InvalidId},
    inventory::{
        Account, AccountState, InstanceDetailedStatus, InstanceStatus, ObservedStackSet,
        OrganizationSnapshot, OrganizationalUnit, SpotAccountRecord, StackDrift, StackInstance,
    },
    plan::{Plan, Summary},
    stackset_sync::{self, ObservedProfile, StackRemoval, SyncObserved},
    template::Deletion,
};
use serde::Serialize;

use super::{Failure, print_json};

/// One account in so many is not as it should be.
const WRONG: u64 = 100;

/// Accounts below one organizational unit.
const PER_UNIT: u64 = 25;

/// Plan for an organization that is made up, and print what that took.
#[derive(Debug, clap::Args)]
pub struct BenchPlan {
    /// How many accounts it has.
    #[arg(long, default_value_t = 100_000)]
    accounts: u64,
}

/// What one kind of job took.
#[derive(Serialize)]
struct Planned {
    kind: &'static str,
    duration_ms: u64,
    summary: Summary,
    steps: usize,
    findings: usize,
}

impl BenchPlan {
    pub(super) fn run(self) -> Result<u8, Failure> {
        let (observed, desired) = made_up(self.accounts)
            .map_err(|error| Failure::Failed(format!("an id that was made up: {error}")))?;
        let sync = timed(|| stackset_sync::plan(&observed.sync, &desired));
        let audit = timed(|| drift_audit::plan(&observed, &desired, &[], false));
        let mending = timed(|| enroll::plan(&observed, &desired));
        let mut planned = Vec::new();
        for (kind, (plan, took)) in [
            (stackset_sync::KIND, sync),
            (drift_audit::KIND, audit),
            (enroll::KIND, mending),
        ] {
            let plan = plan.map_err(|error| Failure::Failed(error.to_string()))?;
            planned.push(figures(kind, &plan, took));
        }
        print_json(&serde_json::json!({ "accounts": self.accounts, "plans": planned }))?;
        Ok(0)
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let done = work();
    (done, begun.elapsed())
}

fn figures(kind: &'static str, plan: &Plan, took: Duration) -> Planned {
    Planned {
        kind,
        duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        summary: Summary::of(&plan.accounts, &plan.accounts, true),
        steps: plan.steps.len(),
        findings: plan.findings.len(),
    }
}

/// An organization in which all accounts but a few are enrolled.
fn made_up(accounts: u64) -> Result<(AuditObserved, Desired), InvalidId> {
    let id = |number: u64| AwsAccountId::from_number(100_000_000_000 + number);
    let mut organization = OrganizationSnapshot {
        id: "o-abcdefghij".parse()?,
        management_account: "000000000001".parse()?,
        units: vec![OrganizationalUnit {
            id: "r-root".parse()?,
            name: "Root".into(),
            parent: None,
        }],
        accounts: vec![Account {
            id: "000000000001".parse()?,
            name: "management".into(),
            state: AccountState::Active,
            parent: 0,
            joined_at: None,
        }],
    };
    let mut profile = ObservedProfile {
        is_ours: true,
        template_digest: Some("digest".to_owned()),
        ..ObservedProfile::default()
    };
    let (mut spot_accounts, mut owned_links) = (Vec::new(), BTreeMap::new());
    let (mut owned, mut drifts) = (BTreeMap::new(), BTreeMap::new());
    for number in 0..accounts {
        let Some(account) = id(number) else { continue };
        if number % PER_UNIT == 0 {
            organization.units.push(OrganizationalUnit {
                id: format!("ou-root-{number:08}").parse()?,
                name: format!("Unit{number}").into(),
                parent: Some(0),
            });
        }
        let name: Box<str> = format!("account {number}").into();
        organization.accounts.push(Account {
            id: account,
            name: name.clone(),
            state: AccountState::Active,
            parent: u32::try_from(organization.units.len() - 1).unwrap_or(0),
            joined_at: None,
        });
        let wrong = (number % WRONG == 0).then_some(number / WRONG % 4);
        let stack: Box<str> = format!(
            "arn:aws:cloudformation:us-east-1:{account}:stack/StackSet-spot-onboarding-{number}/0b1c"
        )
        .into();
        let role = format!("arn:aws:iam::{account}:role/SpotRole");
        if wrong != Some(0) {
            profile.instances.push(StackInstance {
                account,
                region: "us-east-1".parse()?,
                status: InstanceStatus::Current,
                detailed_status: InstanceDetailedStatus::Succeeded,
                status_reason: None,
                stack_id: Some(stack.clone()),
                targeted_ou: Some("r-root".parse()?),
                last_operation_id: None,
                drift: StackDrift::default(),
            });
        }
        let spot: onboarding_core::ids::SpotAccountId = format!("act-{number:08x}").parse()?;
        let linked = wrong != Some(1);
        spot_accounts.push(SpotAccountRecord {
            id: spot.clone(),
            name: if wrong == Some(2) {
                "other".into()
            } else {
                name
            },
            aws_account: linked.then_some(account),
            unlinked: !linked,
        });
        owned_links.insert(account, spot);
        let drifted = (wrong == Some(3)).then(|| Drift {
            kind: DriftKind::TrustDiffers,
            resource: role.clone(),
            expected: "this".to_owned(),
            actual: "that".to_owned(),
            verdict: None,
            changes: Vec::new(),
            fix: Fix::ReDeploy,
        });
        drifts.insert(account, drifted.into_iter().collect());
        owned.insert(
            account,
            OwnedLink {
                role: role.parse()?,
                stack: stack.parse()?,
                adopted: false,
            },
        );
    }
    let desired = desired()?;
    let wanted = &desired.profiles[0].definition;
    profile.stack_set = Some(ObservedStackSet {
        name: desired.profiles[0].stack_set.clone(),
        id: "spot-onboarding:1".to_owned(),
        arn: None,
        description: Some(wanted.description.clone()),
        template_body: wanted.template_body.clone(),
        parameters: wanted.parameters.clone(),
        tags: BTreeMap::new(),
        capabilities: wanted.capabilities.iter().cloned().collect(),
        service_managed: true,
        auto_deployment: true,
        retain_stacks_on_account_removal: true,
        managed_execution: true,
        organizational_units: vec!["r-root".parse()?],
        drift_checked_at: None,
    });
    let observed = AuditObserved {
        sync: SyncObserved {
            previous_account_count: Some(organization.accounts.len()),
            organization: Arc::new(organization),
            account_tags: Arc::default(),
            closed_since: BTreeMap::new(),
            trusted_access: true,
            profiles: vec![profile],
            spot_accounts,
            kept_links: BTreeSet::new(),
            owned_links,
            links: BTreeMap::new(),
            billing_engine: BTreeMap::new(),
            user_groups: BTreeMap::new(),
            finished: BTreeMap::new(),
            unserved: false,
            audit: None,
            remediation: None,
            live_roles: BTreeMap::new(),
            now: 1_800_000_000,
        },
        drifts: Some(Arc::new(drifts)),
        seen: None,
        cost_intelligence: None,
        asks_spot: false,
        validations: BTreeMap::new(),
        namings: [(desired.profiles[0].name.clone(), Naming::default())].into(),
        wants_cost_intelligence: BTreeSet::new(),
        owned,
        home: HomePlace {
            region: "us-east-1".parse()?,
            is_delegated: false,
        },
        detection: None,
        token: TokenAge::default(),
    };
    Ok((observed, desired))
}

fn desired() -> Result<Desired, InvalidId> {
    let profile = Profile {
        name: "default".to_owned(),
        purpose: Purpose::Enrollment,
        stack_set: "spot-onboarding".parse()?,
        region: "us-east-1".parse()?,
        targets: Targets {
            ous: vec![OuRef::Root],
            ..Targets::default()
        },
        deployment: None,
        adopt: onboarding_core::desired::AdoptRule::KeepLink,
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
            capabilities: BTreeSet::from(["CAPABILITY_IAM".to_owned()]),
        },
        direct: None,
        management: None,
    };
    Ok(Desired {
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
            max_removals: 25,
            max_shrink: 0.02,
        },
        remakes: BTreeSet::from([StackRemoval::RoleGone, StackRemoval::SpotAccountGone]),
        quarantine_after: 5,
        retry_failed: false,
        activate_trusted_access: false,
    })
}
