//! A link that went from one stack to another: what the report says of it.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use onboarding_core::{
    enroll,
    plan::{Finding, Severity},
    stackset_sync::past_links::{KEPT, LEFTOVER, LinkRecord, RELINKED, StackNow},
};

use crate::{golden::World, world::*};

/// When the present link was made, in Unix milliseconds: a minute ago.
const LINKED_AT: i64 = (NOW - 60) * 1000;

/// A link of a stack by number.
fn link(stack: u64, spot_account: &str, external_id: Option<&str>) -> LinkRecord {
    LinkRecord {
        spot_account: spot_account.parse().unwrap(),
        stack: format!(
            "arn:aws:cloudformation:us-east-1:{0}:stack/StackSet-spot-onboarding-{stack}/0b1c",
            id(2)
        )
        .parse()
        .unwrap(),
        role: format!("arn:aws:iam::{}:role/SpotRole-{stack}", id(2))
            .parse()
            .unwrap(),
        external_id: external_id.map(|id| id.parse().unwrap()),
        linked_at: LINKED_AT,
        ended_at: None,
        broken_at: None,
        now: StackNow::There { has_role: true },
    }
}

/// The findings about links, when `old` was the one before.
fn told(old: LinkRecord) -> Vec<Finding> {
    let mut world = World::new();
    let old = LinkRecord {
        linked_at: LINKED_AT - 1_000_000,
        ended_at: old.ended_at.or(Some(LINKED_AT)),
        ..old
    };
    let new = link(1, "act-00000002", Some("spotinst:aws:extid:1"));
    world.observed.sync.links = [(id(2), vec![old, new])].into();
    let plan = enroll::plan(&world.observed, &world.desired).unwrap();
    // Whatever became of the one before, the account is enrolled.
    assert_eq!(plan.accounts[1].reason.code(), "enrolled");
    plan.findings
}

#[test]
fn a_link_that_was_kept_and_one_with_a_gap_are_told_apart() {
    let before = |now: StackNow| LinkRecord {
        now,
        ..link(0, "act-00000002", Some("spotinst:aws:extid:1"))
    };
    let gone = |at: i64| before(StackNow::Gone { at: Some(at) });
    let another_id = LinkRecord {
        external_id: Some("spotinst:aws:extid:0".parse().unwrap()),
        ..gone(LINKED_AT)
    };
    let another_account = LinkRecord {
        ended_at: Some(LINKED_AT - 5_000),
        ..LinkRecord {
            now: StackNow::Gone { at: None },
            ..link(0, "act-00000001", Some("spotinst:aws:extid:0"))
        }
    };
    let table = [
        (gone(LINKED_AT), KEPT, "without a gap"),
        (gone(LINKED_AT + 5_000), KEPT, "without a gap"),
        (gone(LINKED_AT - 12_345), RELINKED, "a gap of 13 seconds"),
        (
            before(StackNow::Gone { at: None }),
            RELINKED,
            "cannot be told",
        ),
        (
            before(StackNow::Unknown("denied".into())),
            RELINKED,
            "cannot be told",
        ),
        (
            LinkRecord {
                broken_at: Some(LINKED_AT - 7_000),
                ..gone(LINKED_AT)
            },
            RELINKED,
            "a gap of 7 seconds since the one before was seen not to work, and longer",
        ),
        (another_id, RELINKED, "its external ID is another one"),
        (
            another_account,
            RELINKED,
            "with a gap of 5 seconds, from the end of the one before to the new link; Spot account act-00000002 took the place of \
             act-00000001, its external ID is another one; the role was arn:aws:iam::000000000002:role/SpotRole-0, and is \
             arn:aws:iam::000000000002:role/SpotRole-1",
        ),
    ];
    for (old, reason, words) in table {
        let found = told(old.clone());
        let [finding] = &found[..] else {
            panic!("{old:?}: {found:#?}");
        };
        assert_eq!(finding.reason, reason, "{finding:?}");
        assert_eq!(finding.severity, Severity::Info);
        assert!(finding.message.contains(words), "{}", finding.message);
    }
}

#[test]
fn a_stack_that_is_left_over_is_told_with_what_deletes_it() {
    let found = told(link(0, "act-00000002", Some("spotinst:aws:extid:1")));
    let leftover = found.iter().find(|one| one.reason == LEFTOVER).unwrap();
    assert_eq!(leftover.severity, Severity::Warning);
    let fix = leftover.fix.as_deref().unwrap();
    assert!(
        fix.ends_with(
            "aws cloudformation delete-stack --region us-east-1 --stack-name \
             arn:aws:cloudformation:us-east-1:000000000002:stack/StackSet-spot-onboarding-0/0b1c"
        ),
        "{fix}"
    );
    // That it was there until the new one was linked is known by it.
    assert!(found.iter().any(|one| one.reason == KEPT), "{found:#?}");
}

#[test]
fn a_link_of_long_ago_is_not_told() {
    let mut world = World::new();
    let mut new = link(1, "act-00000002", None);
    new.linked_at = (NOW - 8 * 24 * 60 * 60) * 1000;
    let old = LinkRecord {
        linked_at: 0,
        ended_at: Some(new.linked_at),
        now: StackNow::Gone { at: None },
        ..link(0, "act-00000002", None)
    };
    world.observed.sync.links = [(id(2), vec![old, new])].into();
    let plan = enroll::plan(&world.observed, &world.desired).unwrap();
    assert_eq!(plan.findings, []);
}
