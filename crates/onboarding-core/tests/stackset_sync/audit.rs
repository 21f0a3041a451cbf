//! The audit role's stack set beside the profiles', and what live roles say about links.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use std::{collections::BTreeMap, sync::Arc};

use onboarding_core::{
    desired::{Deployment, Desired, Purpose, Targets},
    inventory::{InstanceDetailedStatus, InstanceStatus, LinkEvidence, LiveRole, RoleReading},
    plan::{Plan, Severity},
    stackset_sync::{ObservedProfile, SyncAction, SyncObserved, plan},
    status::{Reason, Standing},
};
use serde_json::json;

use crate::world::*;

/// What is desired with an audit role, whose stack set AWS deploys or we do.
fn with_audit(mut desired: Desired, deployment: Deployment) -> Desired {
    let mut audit = profile(Targets::default());
    audit.name = "audit-role".to_owned();
    audit.purpose = Purpose::AuditRole;
    audit.stack_set = "spot-onboarding-audit-role".parse().unwrap();
    audit.deployment = Some(deployment);
    desired.audit = Some(audit);
    desired
}

/// An organization whose accounts 2 and 3 are enrolled.
fn enrolled(desired: &Desired) -> SyncObserved {
    let mut observed = observed(organization(
        &[],
        &[(1, 0, ACTIVE), (2, 0, ACTIVE), (3, 0, ACTIVE)],
    ));
    let current = |account| {
        instance(
            account,
            InstanceStatus::Current,
            InstanceDetailedStatus::Succeeded,
        )
    };
    let instances = vec![current(2), current(3)];
    with_stack_set(&mut observed, &desired.profiles[0], true, instances);
    observed.spot_accounts = vec![linked(2, "act-22222222"), linked(3, "act-33333333")];
    observed.audit = Some(ObservedProfile {
        is_ours: true,
        ..ObservedProfile::default()
    });
    observed
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.id.as_str()).collect()
}

/// The audit role's stack set as desired, with these instances.
fn deployed(
    observed: &mut SyncObserved,
    desired: &Desired,
    instances: Vec<onboarding_core::inventory::StackInstance>,
) {
    let audit = desired.audit.as_ref().unwrap();
    let auto = audit.deployment == Some(Deployment::Auto);
    observed.audit = Some(ObservedProfile {
        stack_set: Some(stack_set(audit, auto, vec![ou(0)])),
        template_digest: Some(audit.definition.template_digest.clone()),
        is_ours: true,
        instances,
        ..ObservedProfile::default()
    });
}

#[test]
fn the_audit_role_is_deployed_before_accounts_are_enrolled() {
    for deployment in [Deployment::Auto, Deployment::Runner] {
        let desired = with_audit(desired(profile(root_targets())), deployment);
        let mut observed = observed(organization(&[], &[(1, 0, ACTIVE), (2, 0, ACTIVE)]));
        observed.audit = Some(ObservedProfile::default());
        let plan = plan(&observed, &desired).unwrap();
        assert_eq!(
            ids(&plan),
            [
                "create-stack-set:audit-role",
                "create-stack-instances:audit-role:1",
                "create-stack-set:default",
                "create-stack-instances:default:1",
            ]
        );
        assert_eq!(
            plan.steps[1].preconditions,
            ["step:create-stack-set:audit-role"]
        );
        assert_eq!(
            plan.steps[3].preconditions,
            ["step:create-stack-set:default"]
        );
        let SyncAction::CreateStackSet {
            auto_deployment, ..
        } = &actions(&plan)[0]
        else {
            panic!("{:?}", plan.steps[0]);
        };
        assert_eq!(*auto_deployment, deployment == Deployment::Auto);
        // Enrolling does not wait for the audit role to be everywhere, and the account has one row.
        assert_eq!(plan.accounts.len(), 2);
        assert_eq!(plan.accounts[1].reason, Reason::MissingInstance);
    }
}

#[test]
fn an_organization_with_its_audit_role_needs_nothing() {
    let desired = with_audit(desired(profile(root_targets())), Deployment::Auto);
    let mut observed = enrolled(&desired);
    let current = |account| {
        instance(
            account,
            InstanceStatus::Current,
            InstanceDetailedStatus::Succeeded,
        )
    };
    deployed(&mut observed, &desired, vec![current(2), current(3)]);
    let nothing = plan(&observed, &desired).unwrap();
    assert_eq!(ids(&nothing), [""; 0]);
    assert_eq!(nothing.findings, []);
    deployed(&mut observed, &desired, vec![current(2)]);
    let one = plan(&observed, &desired).unwrap();
    assert_eq!(ids(&one), ["create-stack-instances:audit-role:1"]);
    assert_eq!(one.steps[0].accounts, [id(3)]);
    assert!(
        one.accounts
            .iter()
            .skip(1)
            .all(|row| row.standing == Standing::Ok)
    );
}

#[test]
fn accounts_without_the_audit_role_are_one_finding_and_stay_enrolled() {
    let desired = with_audit(desired(profile(root_targets())), Deployment::Runner);
    let mut observed = enrolled(&desired);
    let broken = |account| {
        instance(
            account,
            InstanceStatus::Inoperable,
            InstanceDetailedStatus::Inoperable,
        )
    };
    deployed(&mut observed, &desired, vec![broken(2), broken(3)]);
    let plan = plan(&observed, &desired).unwrap();
    assert_eq!(ids(&plan), [""; 0]);
    let [finding] = &plan.findings[..] else {
        panic!("{:?}", plan.findings);
    };
    assert_eq!(finding.reason, "audit-role-lacking");
    assert_eq!(finding.severity, Severity::Warning);
    assert!(
        finding.message.starts_with("2 accounts lack"),
        "{}",
        finding.message
    );
    assert!(
        plan.accounts
            .iter()
            .skip(1)
            .all(|row| row.standing == Standing::Ok)
    );
}

#[test]
fn another_programs_stack_set_is_not_taken_for_the_audit_roles() {
    let desired = with_audit(desired(profile(root_targets())), Deployment::Auto);
    let mut observed = enrolled(&desired);
    deployed(&mut observed, &desired, Vec::new());
    observed.audit.as_mut().unwrap().is_ours = false;
    let plan = plan(&observed, &desired).unwrap();
    assert!(plan.steps.is_empty());
    assert_eq!(plan.refusals[0].guard, "foreign-stack-set");
    assert!(plan.refusals[0].message.contains("audit role"));
}

#[test]
fn the_audit_role_goes_to_the_accounts_of_profiles_that_are_not_asked_for_as_well() {
    let mut desired = with_audit(
        desired(profile(Targets {
            accounts: [id(2)].into(),
            ..Targets::default()
        })),
        Deployment::Runner,
    );
    let other = Targets {
        accounts: [id(3)].into(),
        ..Targets::default()
    };
    desired.other_profiles = BTreeMap::from([("other".to_owned(), other)]);
    desired.audit.as_mut().unwrap().targets.accounts = [id(2), id(3)].into();
    let mut observed = observed(organization(
        &[],
        &[
            (1, 0, ACTIVE),
            (2, 0, ACTIVE),
            (3, 0, ACTIVE),
            (4, 0, ACTIVE),
        ],
    ));
    observed.audit = Some(ObservedProfile::default());
    let plan = plan(&observed, &desired).unwrap();
    assert_eq!(plan.steps[1].id, "create-stack-instances:audit-role:1");
    assert_eq!(plan.steps[1].accounts, [id(2), id(3)]);
}

/// What was read of an account's link.
fn evidence(role: RoleReading) -> Arc<LinkEvidence> {
    Arc::new(LinkEvidence {
        stored_role: "arn:aws:iam::000000000002:role/SpotRole".parse().unwrap(),
        external_id: Some("spotinst:aws:extid:1".parse().unwrap()),
        role,
    })
}

fn role(external_id: &str) -> RoleReading {
    let trust = json!({"Statement": [{"Effect": "Allow", "Principal": {"AWS": SPOT}, "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"sts:ExternalId": external_id}}}]});
    RoleReading::Present(Box::new(LiveRole {
        arn: "arn:aws:iam::000000000002:role/SpotRole".parse().unwrap(),
        id: "AROA1".to_owned(),
        path: "/".to_owned(),
        trust_policy: trust.to_string(),
        max_session_seconds: None,
        permissions_boundary: None,
        last_used: None,
        tags: BTreeMap::new(),
    }))
}

#[test]
fn a_link_counts_only_when_its_live_role_lets_spot_in() {
    let desired = desired(profile(root_targets()));
    for (reading, reason, finding, noted) in [
        (role("spotinst:aws:extid:1"), Reason::Enrolled, false, false),
        (
            role("spotinst:aws:extid:2"),
            Reason::RoleTrustDiffers,
            true,
            true,
        ),
        (RoleReading::Absent, Reason::RoleMissing, true, true),
        (
            RoleReading::Denied("a service control policy denies it".to_owned()),
            Reason::Enrolled,
            false,
            true,
        ),
    ] {
        let mut observed = enrolled(&desired);
        observed.live_roles.insert(id(2), evidence(reading.clone()));
        let plan = plan(&observed, &desired).unwrap();
        let row = plan
            .accounts
            .iter()
            .find(|row| row.account == id(2))
            .unwrap();
        assert_eq!(row.reason, reason, "{reading:?}");
        assert_eq!(row.live_role.as_ref().unwrap().role, reading);
        assert_eq!(row.detail.is_some(), noted, "{reading:?}");
        assert_eq!(!plan.findings.is_empty(), finding, "{:?}", plan.findings);
        assert_eq!(ids(&plan), [""; 0]);
        let other = plan
            .accounts
            .iter()
            .find(|row| row.account == id(3))
            .unwrap();
        assert_eq!((other.reason, &other.live_role), (Reason::Enrolled, &None));
    }
}
