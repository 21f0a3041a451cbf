//! Plans of `stackset-sync`: tables of situations, and properties over many random organizations.

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
        AdoptRule, Deployment, Desired, OuRef, Profile, RemovalLimits, StackSetDefinition, Targets,
    },
    ids::{AwsAccountId, OuId},
    inventory::{
        Account, AccountState, InstanceDetailedStatus, InstanceStatus, ObservedStackSet,
        OrganizationSnapshot, OrganizationalUnit, SpotAccountRecord, StackInstance,
    },
    plan::{Plan, Summary},
    stackset_sync::{
        ObservedProfile, PlanError, RetryState, RunningOperation, SyncAction, SyncObserved,
        TargetFilter, plan, targets,
    },
    status::{Reason, Standing},
};
use proptest::prelude::*;

const NOW: i64 = 1_800_000_000;

fn id(number: u64) -> AwsAccountId {
    AwsAccountId::from_number(number).unwrap()
}

fn ou(number: usize) -> OuId {
    if number == 0 {
        "r-root".parse().unwrap()
    } else {
        format!("ou-root-{number:08}").parse().unwrap()
    }
}

/// An organization whose unit `n` hangs below `parents[n]` (0 is the root) and whose account `n` is in `accounts[n]`.
/// Account 1 is the management account.
fn organization(
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

fn profile(targets: Targets) -> Profile {
    Profile {
        name: "default".to_owned(),
        stack_set: "spot-onboarding".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        targets,
        deployment: None,
        adopt: AdoptRule::KeepLink,
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
    }
}

fn root_targets() -> Targets {
    Targets {
        ous: vec![OuRef::Root],
        ..Targets::default()
    }
}

fn desired(profile: Profile) -> Desired {
    Desired {
        profiles: vec![profile],
        protected_accounts: BTreeSet::new(),
        removal: RemovalLimits {
            closed_grace_seconds: 1000,
            max_removals: 5,
            max_shrink: 0.1,
        },
        quarantine_after: 3,
        retry_failed: false,
        activate_trusted_access: false,
    }
}

fn observed(organization: OrganizationSnapshot) -> SyncObserved {
    let accounts = organization.accounts.len();
    SyncObserved {
        organization: Arc::new(organization),
        previous_account_count: Some(accounts),
        closed_since: BTreeMap::new(),
        trusted_access: true,
        profiles: vec![ObservedProfile {
            is_enrollment: true,
            ..ObservedProfile::default()
        }],
        spot_accounts: Vec::new(),
        kept_links: BTreeSet::new(),
        owned_links: BTreeMap::new(),
        now: NOW,
        run_started: NOW - 10,
    }
}

fn stack_set(profile: &Profile, auto: bool, units: Vec<OuId>) -> ObservedStackSet {
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
    }
}

fn instance(
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
    }
}

fn linked(account: u64, spot: &str) -> SpotAccountRecord {
    SpotAccountRecord {
        id: spot.parse().unwrap(),
        name: "x".into(),
        aws_account: Some(id(account)),
        unlinked: false,
    }
}

/// The profile's stack set exists as desired, with these instances.
fn with_stack_set(
    observed: &mut SyncObserved,
    profile: &Profile,
    auto: bool,
    instances: Vec<StackInstance>,
) {
    observed.profiles[0].stack_set = Some(stack_set(profile, auto, vec![ou(0)]));
    observed.profiles[0].template_digest = Some(profile.definition.template_digest.clone());
    observed.profiles[0].instances = instances;
}

fn reasons(plan: &Plan) -> Vec<(u64, Reason)> {
    plan.accounts
        .iter()
        .map(|row| (row.account.to_string().parse().unwrap(), row.reason))
        .collect()
}

fn actions(plan: &Plan) -> Vec<SyncAction> {
    plan.steps
        .iter()
        .map(|step| serde_json::from_value(step.payload.clone()).unwrap())
        .collect()
}

const ACTIVE: AccountState = AccountState::Active;

#[test]
fn the_first_run_creates_the_stack_set_and_all_instances_in_one_operation() {
    let profile = profile(root_targets());
    let observed = observed(organization(
        &[0, 1],
        &[
            (1, 0, ACTIVE),
            (2, 1, ACTIVE),
            (3, 2, ACTIVE),
            (4, 2, AccountState::Suspended),
        ],
    ));
    let plan = plan(&observed, &desired(profile)).unwrap();
    assert_eq!(
        reasons(&plan),
        [
            (1, Reason::ManagementAccount),
            (2, Reason::MissingInstance),
            (3, Reason::MissingInstance),
            (4, Reason::Suspended)
        ]
    );
    let actions = actions(&plan);
    assert!(matches!(
        actions[0],
        SyncAction::CreateStackSet {
            auto_deployment: true,
            ..
        }
    ));
    let SyncAction::CreateStackInstances { targets, .. } = &actions[1] else {
        panic!("{actions:?}")
    };
    assert_eq!(actions.len(), 2);
    assert_eq!(targets.organizational_units, [ou(0)]);
    // The suspended account must not get an instance that cannot be undone.
    assert_eq!(
        (targets.filter, targets.accounts.as_slice()),
        (TargetFilter::Difference, &[id(4)][..])
    );
}

#[test]
fn an_enrolled_organization_plans_nothing() {
    let profile = profile(root_targets());
    let mut observed = observed(organization(&[], &[(1, 0, ACTIVE), (2, 0, ACTIVE)]));
    with_stack_set(
        &mut observed,
        &profile,
        true,
        vec![instance(
            2,
            InstanceStatus::Current,
            InstanceDetailedStatus::Succeeded,
        )],
    );
    observed.spot_accounts = vec![linked(2, "act-22222222")];
    let plan = plan(&observed, &desired(profile)).unwrap();
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    assert!(plan.findings.is_empty());
    assert_eq!(reasons(&plan)[1], (2, Reason::Enrolled));
}

#[test]
fn links_that_others_made_are_left_alone_by_default() {
    for (adopt, reason, finding) in [
        (AdoptRule::KeepLink, Reason::EnrolledElsewhere, false),
        (AdoptRule::Refuse, Reason::AdoptionRefused, true),
        (AdoptRule::Relink, Reason::MissingInstance, false),
    ] {
        let mut profile = profile(root_targets());
        profile.adopt = adopt;
        let mut observed = observed(organization(&[], &[(2, 0, ACTIVE), (3, 0, ACTIVE)]));
        observed.spot_accounts = vec![
            linked(2, "act-22222222"),
            linked(3, "act-33333333"),
            linked(3, "act-44444444"),
        ];
        let plan = plan(&observed, &desired(profile)).unwrap();
        assert_eq!(
            reasons(&plan),
            [(2, reason), (3, Reason::LinkedToSeveral)],
            "{adopt:?}"
        );
        assert_eq!(
            plan.findings.iter().any(|f| f.account == Some(id(2))),
            finding
        );
        let several = plan
            .findings
            .iter()
            .find(|f| f.account == Some(id(3)))
            .unwrap();
        assert!(
            several.message.contains("act-33333333, act-44444444"),
            "{}",
            several.message
        );
    }
}

#[test]
fn our_own_link_gets_its_instance_back_after_an_ou_move() {
    let profile = profile(root_targets());
    let mut observed = observed(organization(&[], &[(2, 0, ACTIVE)]));
    observed.spot_accounts = vec![linked(2, "act-22222222")];
    observed
        .owned_links
        .insert(id(2), "act-22222222".parse().unwrap());
    assert_eq!(
        reasons(&plan(&observed, &desired(profile)).unwrap()),
        [(2, Reason::MissingInstance)]
    );
}

#[test]
fn failed_instances_wait_for_their_clock() {
    let retry = |failures, last_failed_at, next_due| RetryState {
        failures,
        last_failed_at,
        next_due,
    };
    for (clock, retry_failed, reason, standing) in [
        (None, false, Reason::InstanceFailed, Standing::Due),
        (
            Some(retry(1, NOW - 5, NOW + 900)),
            false,
            Reason::InstanceFailed,
            Standing::Failed,
        ),
        (
            Some(retry(1, NOW - 500, NOW + 400)),
            false,
            Reason::RetryLater,
            Standing::Skipped,
        ),
        (
            Some(retry(1, NOW - 1000, NOW - 100)),
            false,
            Reason::InstanceFailed,
            Standing::Due,
        ),
        (
            Some(retry(3, NOW - 1000, NOW - 100)),
            false,
            Reason::Quarantined,
            Standing::Skipped,
        ),
        (
            Some(retry(3, NOW - 1000, NOW + 100)),
            true,
            Reason::InstanceFailed,
            Standing::Due,
        ),
    ] {
        let profile = profile(root_targets());
        let mut observed = observed(organization(&[], &[(2, 0, ACTIVE), (3, 0, ACTIVE)]));
        with_stack_set(
            &mut observed,
            &profile,
            true,
            vec![
                instance(2, InstanceStatus::Outdated, InstanceDetailedStatus::Failed),
                instance(
                    3,
                    InstanceStatus::Current,
                    InstanceDetailedStatus::Succeeded,
                ),
            ],
        );
        observed.spot_accounts = vec![linked(3, "act-33333333")];
        observed.profiles[0].retries = clock
            .clone()
            .map(|clock| (id(2), clock))
            .into_iter()
            .collect();
        let mut desired = desired(profile);
        desired.retry_failed = retry_failed;
        let plan = plan(&observed, &desired).unwrap();
        assert_eq!(
            (plan.accounts[0].reason, plan.accounts[0].standing),
            (reason, standing),
            "{clock:?}"
        );
        assert_eq!(plan.has_due_steps(), standing == Standing::Due, "{clock:?}");
    }
}

#[test]
fn an_account_that_an_scp_blocks_needs_a_person_and_is_not_a_failure() {
    let profile = profile(root_targets());
    let mut observed = observed(organization(&[], &[(2, 0, ACTIVE)]));
    let mut failed = instance(2, InstanceStatus::Outdated, InstanceDetailedStatus::Failed);
    failed.status_reason = Some("is not authorized to perform: iam:CreateRole with an explicit deny in a service control policy".into());
    with_stack_set(&mut observed, &profile, true, vec![failed]);
    observed.profiles[0].retries.insert(
        id(2),
        RetryState {
            failures: 1,
            last_failed_at: NOW,
            next_due: NOW + 900,
        },
    );
    let plan = plan(&observed, &desired(profile)).unwrap();
    assert_eq!(
        (plan.accounts[0].reason, plan.accounts[0].standing),
        (Reason::BlockedByScp, Standing::Skipped)
    );
    assert_eq!(plan.findings.len(), 1);
    assert!(!plan.has_due_steps());
}

#[test]
fn excludes_turn_auto_deployment_off_and_asking_for_both_is_refused() {
    let mut targets = root_targets();
    targets.exclude_ous = vec!["Unit1".parse().unwrap()];
    let mut both = profile(targets.clone());
    both.deployment = Some(Deployment::Auto);
    let observed = observed(organization(&[0], &[(2, 0, ACTIVE), (3, 1, ACTIVE)]));
    assert!(matches!(
        plan(&observed, &desired(both)),
        Err(PlanError::AutoIgnoresSelection { .. })
    ));
    let plan = plan(&observed, &desired(profile(targets))).unwrap();
    assert_eq!(
        reasons(&plan),
        [(2, Reason::MissingInstance), (3, Reason::Excluded)]
    );
    let actions = actions(&plan);
    assert!(matches!(
        actions[0],
        SyncAction::CreateStackSet {
            auto_deployment: false,
            ..
        }
    ));
    let SyncAction::CreateStackInstances { targets, .. } = &actions[1] else {
        panic!("{actions:?}")
    };
    assert_eq!(
        (targets.filter, targets.accounts.as_slice()),
        (TargetFilter::Intersection, &[id(2)][..])
    );
}

#[test]
fn two_profiles_on_one_account_are_a_configuration_error() {
    let mut desired = desired(profile(root_targets()));
    let mut second = profile(Targets {
        ous: vec!["Unit1".parse().unwrap()],
        ..Targets::default()
    });
    second.name = "second".to_owned();
    desired.profiles.push(second);
    let mut observed = observed(organization(&[0], &[(2, 0, ACTIVE), (3, 1, ACTIVE)]));
    observed.profiles.push(ObservedProfile::default());
    let error = plan(&observed, &desired).unwrap_err();
    assert!(error.to_string().contains("000000000003"), "{error}");
}

#[test]
fn unknown_and_ambiguous_targets_say_what_is_there() {
    let observed = observed(organization(&[0, 1], &[(2, 0, ACTIVE)]));
    let unknown = profile(Targets {
        ous: vec!["unit1".parse().unwrap()],
        ..Targets::default()
    });
    let error = plan(&observed, &desired(unknown)).unwrap_err().to_string();
    assert!(error.contains("nearest: \"Unit1\""), "{error}");
}

#[test]
fn one_account_is_selected_as_all_of_them_are() {
    let organization = organization(
        &[0, 1, 0],
        &[
            (2, 0, ACTIVE),
            (3, 1, ACTIVE),
            (4, 2, ACTIVE),
            (5, 3, ACTIVE),
        ],
    );
    for (ous, accounts, exclude_ous, exclude_accounts) in [
        (vec!["root"], vec![], vec![], vec![]),
        (vec!["Unit1"], vec![], vec![], vec![]),
        (vec!["Unit1/Unit2"], vec![2], vec![], vec![]),
        (vec!["root"], vec![4], vec!["Unit1"], vec![5]),
        (
            vec!["ou-root-00000003"],
            vec![],
            vec!["Unit1/Unit2"],
            vec![],
        ),
    ] {
        let refs = |names: Vec<&str>| -> Vec<OuRef> {
            names
                .into_iter()
                .map(|name| name.parse().unwrap())
                .collect()
        };
        let targets = Targets {
            ous: refs(ous),
            accounts: accounts.into_iter().map(id).collect(),
            exclude_ous: refs(exclude_ous),
            exclude_accounts: exclude_accounts.into_iter().map(id).collect(),
        };
        let resolved = targets::resolve(&organization, &desired(profile(targets.clone()))).unwrap();
        for (index, account) in organization.accounts.iter().enumerate() {
            let lineage: Vec<(OuId, Option<&str>)> = organization
                .lineage(account.parent)
                .map(|(_, unit)| (unit.id.clone(), Some(&*unit.name)))
                .collect();
            let one = targets::selects(&targets, account.id, &lineage);
            assert_eq!(
                one,
                Some(resolved.profiles[0].targeted[index]),
                "{} {targets:?}",
                account.id
            );
        }
    }
}

#[test]
fn a_changed_definition_is_rolled_out_by_one_update() {
    let profile = profile(root_targets());
    let mut observed = observed(organization(&[], &[(2, 0, ACTIVE), (3, 0, ACTIVE)]));
    with_stack_set(
        &mut observed,
        &profile,
        true,
        vec![
            instance(
                2,
                InstanceStatus::Current,
                InstanceDetailedStatus::Succeeded,
            ),
            instance(3, InstanceStatus::Outdated, InstanceDetailedStatus::Pending),
        ],
    );
    observed.spot_accounts = vec![linked(2, "act-22222222"), linked(3, "act-33333333")];
    observed.profiles[0].template_digest = Some("older".to_owned());
    let changed = plan(&observed, &desired(profile.clone())).unwrap();
    assert!(matches!(
        actions(&changed)[..],
        [SyncAction::UpdateStackSet {
            definition: true,
            deployment: false,
            ..
        }]
    ));
    assert_eq!(changed.steps[0].accounts, [id(2), id(3)]);
    // The definition is right, but an instance never got it: only that one is updated.
    observed.profiles[0].template_digest = Some(profile.definition.template_digest.clone());
    let behind = plan(&observed, &desired(profile)).unwrap();
    let SyncAction::UpdateStackInstances { targets, .. } = &actions(&behind)[0] else {
        panic!("{behind:?}")
    };
    assert_eq!(targets.accounts, [id(3)]);
}

#[test]
fn a_service_token_that_would_change_voids_the_plan() {
    let profile = profile(root_targets());
    let mut observed = observed(organization(&[], &[(2, 0, ACTIVE)]));
    with_stack_set(&mut observed, &profile, true, vec![]);
    observed.profiles[0].service_token_changes = vec!["SpotAccount".to_owned()];
    let plan = plan(&observed, &desired(profile)).unwrap();
    assert!(plan.steps.is_empty());
    assert!(plan.refusals[0].whole_plan && plan.refusals[0].message.contains("SpotAccount"));
}

#[test]
fn a_running_operation_is_awaited_first() {
    let profile = profile(root_targets());
    let mut observed = observed(organization(&[], &[(2, 0, ACTIVE)]));
    with_stack_set(
        &mut observed,
        &profile,
        true,
        vec![instance(
            2,
            InstanceStatus::Outdated,
            InstanceDetailedStatus::Running,
        )],
    );
    observed.profiles[0].running = vec![RunningOperation {
        id: "op-1".to_owned(),
        action: "CREATE".to_owned(),
    }];
    let plan = plan(&observed, &desired(profile)).unwrap();
    assert!(
        matches!(&actions(&plan)[..], [SyncAction::AwaitOperation { operation_id, .. }] if operation_id == "op-1")
    );
    assert_eq!(plan.accounts[0].standing, Standing::Pending);
}

#[test]
fn trusted_access_off_is_a_prerequisite_unless_it_may_be_switched_on() {
    let mut observed = observed(organization(&[], &[(2, 0, ACTIVE)]));
    observed.trusted_access = false;
    let mut desired = desired(profile(root_targets()));
    assert_eq!(plan(&observed, &desired), Err(PlanError::TrustedAccessOff));
    desired.activate_trusted_access = true;
    assert_eq!(
        actions(&plan(&observed, &desired).unwrap())[0],
        SyncAction::ActivateTrustedAccess
    );
}

#[test]
fn only_accounts_that_are_gone_or_closed_past_the_grace_period_are_taken_out() {
    let profile = profile(root_targets());
    let mut observed = observed(organization(
        &[],
        &[
            (2, 0, AccountState::Suspended),
            (3, 0, AccountState::Closed),
            (4, 0, AccountState::Closed),
            (5, 0, ACTIVE),
        ],
    ));
    let current = |account| {
        instance(
            account,
            InstanceStatus::Current,
            InstanceDetailedStatus::Succeeded,
        )
    };
    with_stack_set(
        &mut observed,
        &profile,
        true,
        [2, 3, 4, 5, 9].map(current).to_vec(),
    );
    observed.spot_accounts = vec![linked(5, "act-55555555")];
    observed.closed_since = BTreeMap::from([(id(3), NOW - 999), (id(4), NOW - 1000)]);
    let base = desired(profile);
    let removed = |plan: &Plan| -> Vec<AwsAccountId> {
        plan.steps
            .iter()
            .filter(|step| step.action == "delete-stack-instances")
            .flat_map(|step| step.accounts.clone())
            .collect()
    };
    assert_eq!(removed(&plan(&observed, &base).unwrap()), [id(4), id(9)]);
    let mut protected = base.clone();
    protected.protected_accounts.insert(id(9));
    assert_eq!(removed(&plan(&observed, &protected).unwrap()), [id(4)]);
    let mut limited = base.clone();
    limited.removal.max_removals = 1;
    let refused = plan(&observed, &limited).unwrap();
    assert!(removed(&refused).is_empty() && refused.refusals[0].guard == "max-removals");
    observed.previous_account_count = Some(10);
    let shrunk = plan(&observed, &base).unwrap();
    assert!(removed(&shrunk).is_empty() && shrunk.refusals[0].guard == "shrink-guard");
}

/// What CloudFormation and the provider make of a plan when everything goes well.
fn apply(observed: &mut SyncObserved, desired: &Desired, plan: &Plan) {
    let profile = &desired.profiles[0];
    for action in actions(plan) {
        let below = |observed: &SyncObserved, unit: u32, ous: &[OuId]| {
            observed
                .organization
                .lineage(unit)
                .any(|(_, unit)| ous.contains(&unit.id))
        };
        match action {
            SyncAction::ActivateTrustedAccess => observed.trusted_access = true,
            SyncAction::CreateStackSet {
                auto_deployment, ..
            } => {
                with_stack_set(observed, profile, auto_deployment, Vec::new());
                observed.profiles[0]
                    .stack_set
                    .as_mut()
                    .unwrap()
                    .organizational_units
                    .clear();
            }
            SyncAction::UpdateStackSet {
                auto_deployment, ..
            } => {
                let instances = std::mem::take(&mut observed.profiles[0].instances);
                let units = observed.profiles[0]
                    .stack_set
                    .as_ref()
                    .unwrap()
                    .organizational_units
                    .clone();
                with_stack_set(observed, profile, auto_deployment, instances);
                observed.profiles[0]
                    .stack_set
                    .as_mut()
                    .unwrap()
                    .organizational_units = units;
            }
            SyncAction::AwaitOperation { .. } => observed.profiles[0].running.clear(),
            SyncAction::CreateStackInstances { targets, .. } => {
                let units = &mut observed.profiles[0]
                    .stack_set
                    .as_mut()
                    .unwrap()
                    .organizational_units;
                units.extend(targets.organizational_units.iter().cloned());
                let reached: Vec<Account> = observed
                    .organization
                    .accounts
                    .iter()
                    .filter(|account| account.id != observed.organization.management_account)
                    .filter(|account| {
                        below(observed, account.parent, &targets.organizational_units)
                    })
                    .filter(|account| match targets.filter {
                        TargetFilter::None => true,
                        TargetFilter::Intersection => targets.accounts.contains(&account.id),
                        TargetFilter::Difference => !targets.accounts.contains(&account.id),
                    })
                    .cloned()
                    .collect();
                for account in reached {
                    assert_eq!(
                        account.state, ACTIVE,
                        "{} is not active and must not be deployed to",
                        account.id
                    );
                    let instances = &mut observed.profiles[0].instances;
                    if !instances.iter().any(|instance| {
                        instance.account == account.id && instance.stack_id.is_some()
                    }) {
                        instances.retain(|instance| instance.account != account.id);
                        let number: u64 = account.id.to_string().parse().unwrap();
                        instances.push(instance(
                            number,
                            InstanceStatus::Current,
                            InstanceDetailedStatus::Succeeded,
                        ));
                        if !observed
                            .spot_accounts
                            .iter()
                            .any(|spot| spot.aws_account == Some(account.id))
                        {
                            observed
                                .spot_accounts
                                .push(linked(number, &format!("act-{number:08}")));
                        }
                        let spot = observed
                            .spot_accounts
                            .iter()
                            .find(|spot| spot.aws_account == Some(account.id));
                        let spot = spot.unwrap().id.clone();
                        observed.owned_links.insert(account.id, spot);
                    }
                }
            }
            SyncAction::UpdateStackInstances { targets, .. } => {
                for instance in &mut observed.profiles[0].instances {
                    if targets.accounts.contains(&instance.account) {
                        instance.status = InstanceStatus::Current;
                        instance.detailed_status = InstanceDetailedStatus::Succeeded;
                    }
                }
            }
            SyncAction::DeleteStackInstances { targets, .. } => {
                observed.profiles[0]
                    .instances
                    .retain(|instance| !targets.accounts.contains(&instance.account));
            }
        }
    }
    observed.profiles[0]
        .instances
        .sort_by_key(|instance| instance.account);
}

fn states() -> impl Strategy<Value = AccountState> {
    prop_oneof![
        8 => Just(ACTIVE),
        1 => Just(AccountState::Suspended),
        1 => Just(AccountState::Closed),
        1 => Just(AccountState::Unknown),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn applying_a_plan_leaves_no_due_step_and_the_numbers_add_up(
        parents in proptest::collection::vec(0usize..3, 0..6),
        accounts in proptest::collection::btree_map(1u64..200, (0usize..7, states()), 1..60),
        linked_before in proptest::collection::btree_set(1u64..200, 0..5),
        linked_twice in proptest::collection::btree_set(1u64..200, 0..3),
        excluded in proptest::collection::btree_set(1u64..200, 0..3),
        relink in any::<bool>(),
    ) {
        let parents: Vec<usize> = parents.iter().enumerate().map(|(index, parent)| *parent.min(&index)).collect();
        let accounts: Vec<(u64, usize, AccountState)> =
            accounts.into_iter().map(|(number, (unit, state))| (number, unit.min(parents.len()), state)).collect();
        let mut observed = observed(organization(&parents, &accounts));
        for number in linked_before.iter().chain(&linked_twice) {
            observed.spot_accounts.push(linked(*number, &format!("act-a{number:07}")));
        }
        for number in &linked_twice {
            observed.spot_accounts.push(linked(*number, &format!("act-b{number:07}")));
        }
        let mut targets = root_targets();
        targets.exclude_accounts = excluded.iter().map(|number| id(*number)).collect();
        let mut profile = profile(targets);
        profile.adopt = if relink { AdoptRule::Relink } else { AdoptRule::KeepLink };
        let desired = desired(profile);

        let before = plan(&observed, &desired).unwrap();
        let planned = Summary::of(&before.accounts, &before.accounts, true);
        prop_assert!(planned.adds_up(), "{planned:?}");
        apply(&mut observed, &desired, &before);
        let after = plan(&observed, &desired).unwrap();
        prop_assert!(after.steps.is_empty(), "{:?}", after.steps);
        let summary = Summary::of(&before.accounts, &after.accounts, false);
        prop_assert!(summary.adds_up(), "{summary:?}");
        prop_assert_eq!(summary.changed, planned.planned);
        prop_assert_eq!(summary.targeted, planned.targeted);
        // Whoever was linked before, and is not to be taken over, was left alone.
        for row in &after.accounts {
            let number: u64 = row.account.to_string().parse().unwrap();
            if linked_twice.contains(&number) || excluded.contains(&number) || (!relink && linked_before.contains(&number)) {
                prop_assert!(!observed.profiles[0].instances.iter().any(|instance| instance.account == row.account));
            }
        }
    }
}
