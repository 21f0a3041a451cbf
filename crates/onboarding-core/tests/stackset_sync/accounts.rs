//! Single accounts: links that are there already, failures and their clocks, policies that block.

use onboarding_core::{
    desired::AdoptRule,
    inventory::{InstanceDetailedStatus, InstanceStatus},
    plan::Severity,
    stackset_sync::{RetryState, plan},
    status::{Reason, Standing},
};

use crate::world::*;

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
    let retry = |failures, of_this_run, next_due| RetryState {
        failures,
        next_due,
        of_this_run,
        reason: None,
    };
    for (clock, retry_failed, reason, standing) in [
        (None, false, Reason::InstanceFailed, Standing::Due),
        (
            Some(retry(1, true, NOW + 900)),
            false,
            Reason::InstanceFailed,
            Standing::Failed,
        ),
        (
            Some(retry(1, false, NOW + 400)),
            false,
            Reason::RetryLater,
            Standing::Skipped,
        ),
        (
            Some(retry(1, false, NOW - 100)),
            false,
            Reason::InstanceFailed,
            Standing::Due,
        ),
        (
            Some(retry(3, false, NOW - 100)),
            false,
            Reason::Quarantined,
            Standing::Skipped,
        ),
        (
            Some(retry(3, false, NOW + 100)),
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
        // Who is left out although it failed is found, so that the run is not green.
        let left_out = standing == Standing::Skipped;
        assert_eq!(plan.findings.len(), usize::from(left_out), "{clock:?}");
        assert!(plan.findings.iter().all(
            |finding| finding.reason == reason.code() && finding.severity >= Severity::Warning
        ));
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
            next_due: NOW + 900,
            of_this_run: true,
            reason: None,
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
