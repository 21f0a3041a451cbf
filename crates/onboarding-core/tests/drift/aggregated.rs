//! What an aggregator of AWS Config lets us know: what is recent counts, what is not is said with its reason, and nothing is missing
//! only because AWS Config does not have it.

use std::collections::BTreeMap;

use onboarding_core::{
    drift::{AggregatorCoverage, RoleTruth, TruthReading, aggregated, newest},
    ids::{AwsAccountId, Region},
    inventory::{
        AggregatedSource, PolicyReading, RecordedPolicy, RecordedRole, Recorder, RecorderState,
        SourceStatus,
    },
};

use crate::{
    samples,
    world::{self, ACCOUNT, codes, drifts},
};

const NOW: i64 = 1_790_000_000;
const DAY: i64 = 86_400;

fn account() -> AwsAccountId {
    ACCOUNT.parse().unwrap()
}

fn region(name: &str) -> Region {
    name.parse().unwrap()
}

/// A source in a Region that was collected so long ago.
fn source(
    account: Option<AwsAccountId>,
    name: &str,
    status: SourceStatus,
    ago: i64,
) -> AggregatedSource {
    AggregatedSource {
        account,
        region: region(name),
        status,
        updated: Some(NOW - ago),
        error: (status == SourceStatus::Failed).then(|| "AccessDenied: not authorized".to_owned()),
    }
}

/// What is readable of the account when its roles are recorded in these Regions.
fn readable(
    sources: Vec<AggregatedSource>,
    recorded: &[&str],
) -> Result<BTreeMap<Region, i64>, String> {
    let mut coverage = AggregatorCoverage::new(sources, NOW, DAY);
    for name in recorded {
        coverage.record(&region(name), [account()]);
    }
    coverage.of(account())
}

#[test]
fn an_account_is_readable_where_it_was_recorded_and_collected_from_lately() {
    let own = Some(account());
    let (fine, failed, outdated) = (
        SourceStatus::Succeeded,
        SourceStatus::Failed,
        SourceStatus::Outdated,
    );
    for (sources, recorded, expected) in [
        // In one Region, and in two; where nothing is recorded, it says nothing.
        (
            vec![source(own, "us-east-1", fine, 60)],
            &["us-east-1"][..],
            &["us-east-1"][..],
        ),
        (
            vec![
                source(own, "us-east-1", fine, 60),
                source(own, "eu-west-1", fine, DAY),
            ],
            &["us-east-1", "eu-west-1"],
            &["eu-west-1", "us-east-1"],
        ),
        (
            vec![
                source(own, "us-east-1", fine, 60),
                source(own, "eu-west-1", outdated, 60),
            ],
            &["us-east-1"],
            &["us-east-1"],
        ),
        // What the organization as a whole says is nobody's word.
        (
            vec![
                source(own, "us-east-1", fine, 60),
                source(None, "us-east-1", failed, 60),
            ],
            &["us-east-1"],
            &["us-east-1"],
        ),
    ] {
        let regions = readable(sources.clone(), recorded).unwrap();
        let regions: Vec<&str> = regions.keys().map(Region::as_str).collect();
        assert_eq!(regions, expected, "{sources:?}");
    }
}

#[test]
fn an_account_that_cannot_be_read_says_why() {
    let own = Some(account());
    let other = "222222222222".parse().ok();
    let fine = SourceStatus::Succeeded;
    for (sources, recorded, reason) in [
        (
            vec![source(other, "us-east-1", fine, 60)],
            &[][..],
            "does not collect from this account",
        ),
        (
            vec![source(own, "us-east-1", fine, 60)],
            &[],
            "records none of this account's roles in us-east-1",
        ),
        (
            vec![source(None, "us-east-1", fine, 60)],
            &[],
            "records none of this account's roles",
        ),
        (
            vec![source(own, "us-east-1", SourceStatus::Failed, 60)],
            &[],
            "us-east-1 FAILED (AccessDenied: not authorized)",
        ),
        (
            vec![source(own, "us-east-1", SourceStatus::Failed, 60)],
            &["us-east-1"],
            "not recent: collecting in us-east-1 FAILED (AccessDenied",
        ),
        (
            vec![source(own, "us-east-1", SourceStatus::Outdated, 7_200)],
            &["us-east-1"],
            "OUTDATED in us-east-1 2 hours ago",
        ),
        (
            vec![source(own, "us-east-1", fine, 3 * DAY)],
            &["us-east-1"],
            "its status in us-east-1 is from 3 days ago",
        ),
        // Of two that record it, one is not recent: the other one's recorder may have been stopped before.
        (
            vec![
                source(own, "us-east-1", fine, 60),
                source(own, "eu-west-1", SourceStatus::Failed, 60),
            ],
            &["us-east-1", "eu-west-1"],
            "not recent: collecting in eu-west-1 FAILED",
        ),
        (
            vec![source(own, "eu-west-1", fine, 60)],
            &["us-east-1"],
            "has no status of this account in us-east-1",
        ),
        (
            vec![source(None, "us-east-1", fine, 60)],
            &["us-east-1"],
            "has no status of this account in us-east-1",
        ),
    ] {
        let why = readable(sources.clone(), recorded).unwrap_err();
        assert!(why.contains(reason), "{sources:?}: {why}");
    }
}

#[test]
fn a_recorder_that_does_not_record_any_more_lets_nothing_be_known() {
    use RecorderState::{Deleted, Running, Stopped};
    let regions = ["us-east-1", "eu-west-1"];
    for (states, why, is_told) in [
        (
            &[("us-east-1", Running), ("eu-west-1", Running)][..],
            None,
            true,
        ),
        // Where AWS Config tells of no recorder, it is as if it ran, and that is said.
        (&[("us-east-1", Running)], None, false),
        (&[], None, false),
        (
            &[("us-east-1", Running), ("eu-west-1", Stopped)],
            Some("its recorder in eu-west-1 is stopped"),
            false,
        ),
        (
            &[("us-east-1", Deleted)],
            Some("its recorder in us-east-1 was deleted"),
            false,
        ),
        // One that was made anew under another name, and one of several that was stopped.
        (
            &[
                ("us-east-1", Deleted),
                ("us-east-1", Running),
                ("eu-west-1", Running),
            ],
            None,
            true,
        ),
        (
            &[
                ("us-east-1", Stopped),
                ("us-east-1", Running),
                ("eu-west-1", Running),
            ],
            Some("its recorder in us-east-1 is stopped"),
            false,
        ),
    ] {
        let sources =
            regions.map(|name| source(Some(account()), name, SourceStatus::Succeeded, 60));
        let mut coverage = AggregatorCoverage::new(sources.to_vec(), NOW, DAY);
        for name in regions {
            coverage.record(&region(name), [account()]);
        }
        coverage.note_recorders(states.iter().map(|(name, state)| Recorder {
            account: account(),
            region: region(name),
            state: *state,
            is_of_service: false,
        }));
        let found = coverage.of(account()).err();
        assert_eq!(found.is_some(), why.is_some(), "{states:?}: {found:?}");
        if let (Some(found), Some(why)) = (found, why) {
            assert!(found.contains(why), "{states:?}: {found}");
        }
        assert_eq!(coverage.tells_recorders(account()), is_told, "{states:?}");
    }
}

#[test]
fn a_recorder_of_a_service_tells_nothing_of_iam() {
    use RecorderState::{Deleted, Running, Stopped};
    let own = |state| (state, false);
    let of_service = |state| (state, true);
    for (recorders, why, is_told) in [
        (
            &[own(Deleted), of_service(Running)][..],
            Some("its recorder in us-east-1 was deleted"),
            false,
        ),
        (&[of_service(Running)], None, false),
        (&[own(Running), of_service(Stopped)], None, true),
    ] {
        let source = source(Some(account()), "us-east-1", SourceStatus::Succeeded, 60);
        let mut coverage = AggregatorCoverage::new(vec![source], NOW, DAY);
        coverage.record(&region("us-east-1"), [account()]);
        coverage.note_recorders(recorders.iter().map(|(state, is_of_service)| Recorder {
            account: account(),
            region: region("us-east-1"),
            state: *state,
            is_of_service: *is_of_service,
        }));
        let found = coverage.of(account()).err();
        assert_eq!(found.is_some(), why.is_some(), "{recorders:?}: {found:?}");
        if let (Some(found), Some(why)) = (found, why) {
            assert!(found.contains(why), "{recorders:?}: {found}");
        }
        assert_eq!(
            coverage.tells_recorders(account()),
            is_told,
            "{recorders:?}"
        );
    }
}

#[test]
fn a_role_that_was_linked_lately_is_not_missing_yet() {
    let coverage = AggregatorCoverage::new(Vec::new(), NOW, DAY);
    for (linked_at, is_too_new) in [
        (Some(NOW - DAY - 1), false),
        (Some(NOW - DAY), false),
        (Some(NOW - 60), true),
        (Some(NOW + 60), true),
        (None, false),
    ] {
        assert_eq!(coverage.is_too_new(linked_at), is_too_new, "{linked_at:?}");
    }
}

/// The account's role and policies as AWS Config would have captured them.
fn recorded(truth: &RoleTruth, captured: i64) -> (RecordedRole, BTreeMap<String, RecordedPolicy>) {
    let attached = truth.attached.iter();
    let policies = attached
        .clone()
        .filter(|policy| matches!(policy.document, PolicyReading::Document { .. }))
        .map(|policy| {
            let policy = RecordedPolicy {
                captured: captured - 60,
                arn: policy.arn.clone(),
                document: policy.document.clone(),
            };
            (policy.arn.clone(), policy)
        });
    let role = RecordedRole {
        captured,
        role: truth.role.clone(),
        attached: attached
            .clone()
            .map(|policy| (policy.arn.clone(), policy.name.clone()))
            .collect(),
        inline: truth.inline.clone(),
    };
    (role, policies.collect())
}

/// The policies as these Regions recorded them, the later the newer.
fn in_regions(
    policies: &BTreeMap<String, RecordedPolicy>,
    names: &[&str],
) -> BTreeMap<String, BTreeMap<Region, RecordedPolicy>> {
    let of = |policy: &RecordedPolicy| {
        let regions = names.iter().zip(0..);
        let regions = regions.map(|(name, later)| {
            let mut policy = policy.clone();
            policy.captured += later;
            (region(name), policy)
        });
        regions.collect()
    };
    let policies = policies.iter();
    policies
        .map(|(arn, policy)| (arn.clone(), of(policy)))
        .collect()
}

/// A role as its stack left it, with its meaning.
fn made() -> (onboarding_core::drift::RoleMeaning, RoleTruth) {
    let (_, spec) = samples::samples()
        .into_iter()
        .find(|(name, _)| name == "queue-full-costs-default")
        .unwrap();
    let meaning = world::meaning(&world::body(&spec));
    let truth = world::truth(&meaning);
    (meaning, truth)
}

#[test]
fn what_aws_config_captured_is_compared_as_what_iam_tells() {
    let (meaning, truth) = made();
    let (role, policies) = recorded(&truth, NOW - DAY);
    let home = BTreeMap::from([(region("us-east-1"), NOW)]);
    let policies = in_regions(&policies, &["us-east-1"]);
    let (reading, seen) = aggregated(account(), role.clone(), &policies, &home);
    let TruthReading::Present(read) = reading else {
        panic!("{reading:?}")
    };
    assert_eq!(codes(&drifts(&meaning, &read)), [""; 0]);
    assert_eq!((seen.collected, seen.role), (NOW, Some(NOW - DAY)));
    assert!(seen.policies.values().all(|at| *at == NOW - DAY - 60));
    assert_eq!(seen.policies.len(), policies.len());

    // A policy that AWS Config has nothing of is not known, and so neither fine nor gone.
    let (reading, seen) = aggregated(account(), role, &BTreeMap::new(), &home);
    let TruthReading::Present(read) = reading else {
        panic!("{reading:?}")
    };
    let found = drifts(&meaning, &read);
    assert_eq!(codes(&found), vec!["policy-unreadable"; policies.len()]);
    assert!(found[0].actual.contains("AWS::IAM::Policy"), "{found:?}");
    assert!(seen.policies.is_empty());
}

#[test]
fn of_several_regions_the_newest_counts_and_they_must_agree_that_it_is_there() {
    let (_, truth) = made();
    let captured = |at| recorded(&truth, at).0;
    let regions: BTreeMap<Region, i64> =
        [(region("us-east-1"), NOW), (region("eu-west-1"), NOW)].into();
    let both = [
        (region("us-east-1"), captured(NOW - 10)),
        (region("eu-west-1"), captured(NOW - 500)),
    ];
    let found = BTreeMap::from(both.clone());
    let chosen = newest(&regions, &found).unwrap().unwrap();
    assert_eq!(chosen.captured, NOW - 10);
    assert_eq!(newest(&regions, &BTreeMap::new()), Ok(None));
    let one = BTreeMap::from([both[0].clone()]);
    let why = newest(&regions, &one).unwrap_err();
    assert!(why.contains("in us-east-1 and not in eu-west-1"), "{why}");
}

#[test]
fn a_policy_that_only_some_of_the_regions_have_is_not_known() {
    let (meaning, truth) = made();
    let (role, policies) = recorded(&truth, NOW - DAY);
    let regions: BTreeMap<Region, i64> =
        [(region("us-east-1"), NOW - 60), (region("eu-west-1"), NOW)].into();
    let read = |policies: &BTreeMap<_, _>| {
        let (reading, seen) = aggregated(account(), role.clone(), policies, &regions);
        let TruthReading::Present(read) = reading else {
            panic!("{reading:?}")
        };
        (drifts(&meaning, &read), seen)
    };
    // The newest counts where all have it; of when it is known, the oldest.
    let both = in_regions(&policies, &["us-east-1", "eu-west-1"]);
    let (found, seen) = read(&both);
    assert_eq!(codes(&found), [""; 0]);
    assert_eq!(seen.collected, NOW - 60);
    assert!(seen.policies.values().all(|at| *at == NOW - DAY - 59));
    let (found, _) = read(&in_regions(&policies, &["us-east-1"]));
    assert_eq!(codes(&found), vec!["policy-unreadable"; policies.len()]);
    let why = &found[0].actual;
    assert!(why.contains("in us-east-1 and not in eu-west-1"), "{why}");
}
