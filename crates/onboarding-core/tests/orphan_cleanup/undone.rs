//! Plans that make again what was deleted.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use std::collections::BTreeMap;

use onboarding_core::{
    orphan_cleanup::{
        Why,
        undo::{DeletedStack, DeletionRecord, Undone, plan},
    },
    plan::Severity,
    status::Reason,
};

use super::world::*;

pub(crate) fn record(number: u64) -> DeletionRecord {
    DeletionRecord {
        spot_account: spot(number),
        name: format!("name {number}"),
        account: id(number),
        account_name: Some(format!("account {number}")),
        role: Some(ours(number).owner.unwrap().role),
        external_id: Some("spotinst:aws:extid:0123456789abcdef".parse().unwrap()),
        stack: Some(stack(number)),
        deleted_stack: None,
        only_stack: false,
        stack_failed_at: None,
        tried_before: None,
        by_others: false,
        cost_intelligence: true,
        user_groups: [(
            "ugr-a1b2c3d4".parse().unwrap(),
            ["pol-a1b2c3d4".parse().unwrap()].into(),
        )]
        .into(),
        why: Why::Departed,
        first_seen: NOW - 30 * DAY,
        by: "arn:aws:iam::000000000001:user/ada".to_owned(),
        deleted_at: Some(NOW),
        undone: None,
    }
}

#[test]
fn what_was_deleted_is_made_again_once_and_says_what_changes() {
    let mut records = vec![record(7), record(8)];
    // Written down, and never known to be deleted.
    records[1].deleted_at = None;
    let before = plan(&records, &BTreeMap::new());
    let [step] = &before.steps[..] else {
        panic!("{:?}", before.steps)
    };
    assert_eq!(step.id, "recreate-spot-account:act-00000007");
    let changes = step.changes.join("\n");
    for words in [
        "another id than act-00000007",
        "SpotRole",
        "Cost Intelligence",
        "ugr-a1b2c3d4",
    ] {
        assert!(changes.contains(words), "{words}: {changes}");
    }
    assert_eq!(stands(&before, 7).unwrap().0, Reason::Deleted);

    records[0].undone = Some(Undone {
        spot_account: spot(70),
        not_linked: Some("the role trusts another external ID".to_owned()),
    });
    let after = plan(&records, &BTreeMap::new());
    assert!(after.steps.is_empty());
    let (reason, detail) = stands(&after, 7).unwrap();
    assert_eq!(reason, Reason::Recreated);
    assert!(detail.contains("act-00000007"), "{detail}");
    let [finding] = &after.findings[..] else {
        panic!("{:?}", after.findings)
    };
    assert_eq!(finding.severity, Severity::Warning);
    assert!(
        finding.message.contains("act-00000070"),
        "{}",
        finding.message
    );
}

#[test]
fn a_stack_that_went_before_its_spot_account_is_not_put_back_and_that_is_said() {
    let said = |why| {
        let record = DeletionRecord { why, ..record(7) };
        let before = plan(&[record], &BTreeMap::new());
        before.steps[0].changes.join("\n")
    };
    let words = format!("stack {} is not put back", stack(7));
    assert!(said(Why::OutsideTargets).contains(&words));
    assert!(!said(Why::Departed).contains(&words));
    let deleted = DeletedStack {
        run: "01a20a0b".to_owned(),
        stack: stack(7),
        parameters: [("ExternalId".to_owned(), "****".to_owned())].into(),
        outputs: BTreeMap::new(),
        is_gone: false,
    };
    let told = |stack: Option<DeletedStack>| {
        let record = DeletionRecord {
            deleted_stack: stack,
            ..record(7)
        };
        let plan = plan(&[record], &BTreeMap::new());
        plan.steps[0].changes.join("\n")
    };
    let asked = DeletionRecord {
        deleted_stack: Some(deleted),
        only_stack: true,
        ..record(7)
    };
    let failed = DeletionRecord {
        stack_failed_at: Some(NOW),
        ..asked.clone()
    };
    // Of one that somebody else deleted after its stack, only that is told.
    let others = DeletionRecord {
        by_others: true,
        ..asked.clone()
    };
    let kept = plan(&[others], &BTreeMap::new());
    let [finding] = &kept.findings[..] else {
        panic!("{:?}", kept.findings)
    };
    assert_eq!((&*finding.reason, kept.steps.len()), ("not-recreated", 0));
    assert!(
        finding.message.contains("somebody else"),
        "{}",
        finding.message
    );
    assert!(
        finding.message.contains("ExternalId=****"),
        "{}",
        finding.message
    );
    let (was_asked, was_deleted) = ("asked CloudFormation to delete", "deleted");
    for (before, why, gone, words) in [
        (&asked, Why::OutsideTargets, Some(7), Some(was_deleted)),
        (&asked, Why::Departed, Some(7), Some(was_deleted)),
        // Somebody has seen that it is gone, and nothing more is known.
        (&asked, Why::OutsideTargets, None, Some(was_asked)),
        (&failed, Why::OutsideTargets, Some(7), Some(was_asked)),
        // It may well be there.
        (&asked, Why::Departed, None, None),
        (&failed, Why::Departed, None, None),
        (&failed, Why::Departed, Some(8), None),
    ] {
        let gone = gone.map(stack);
        let kept = before.clone().stack_before(why, gone.as_ref());
        let changes = told(kept);
        let words = words.map(|words| {
            let stack = stack(7);
            format!("run 01a20a0b {words} stack {stack}; its parameters were ExternalId=****")
        });
        match words {
            Some(words) => assert!(changes.contains(&words), "{words}: {changes}"),
            None => assert!(!changes.contains("01a20a0b"), "{changes}"),
        }
    }
}

#[test]
fn a_record_is_the_same_after_it_was_kept() {
    let record = record(7);
    let kept = serde_json::to_string(&record).unwrap();
    assert_eq!(
        serde_json::from_str::<DeletionRecord>(&kept).unwrap(),
        record
    );
}

#[test]
fn a_spot_account_that_is_there_is_never_taken_for_one_that_was_made_again() {
    let mut duplicate = record(7);
    duplicate.why = Why::Duplicate;
    let mut second = record(8);
    second.spot_account = spot(80);
    second.role = None;
    let records = [duplicate, second, record(8)];
    let in_place = BTreeMap::from([(spot(7), spot(70))]);
    let plan = plan(&records, &in_place);
    // Of the two of account 8, the one that was linked.
    let steps: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(steps, ["recreate-spot-account:act-00000008"]);
    let found: Vec<(&str, Severity)> = plan
        .findings
        .iter()
        .map(|finding| (finding.id.as_str(), finding.severity))
        .collect();
    assert_eq!(
        found,
        [
            ("not-recreated:act-00000007", Severity::Warning),
            ("not-recreated:act-00000080", Severity::Warning)
        ]
    );
    let (reason, detail) = stands(&plan, 7).unwrap();
    assert_eq!(reason, Reason::InUse);
    assert!(detail.contains("act-00000007"), "{detail}");
    assert!(plan.findings[0].message.contains("act-00000070"));
}
