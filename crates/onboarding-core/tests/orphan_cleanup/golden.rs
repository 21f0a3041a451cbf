//! What is planned for each Spot account that nobody may need, as text to be read.

#![expect(
    clippy::unwrap_used,
    reason = "scaffolding of tests fails the test by panicking"
)]

use std::{collections::BTreeMap, fmt::Write as _};

use onboarding_core::{
    inventory::AccountState,
    orphan_cleanup::{
        Deleted, Reach, Why,
        undo::{self, Undone},
    },
    plan::Plan,
};

use super::{undone::record, world::*};

/// What happened to account 7, by what it is called.
type Situation = (&'static str, fn(&mut World));

const SITUATIONS: [Situation; 18] = [
    ("as it should be", |_| {}),
    ("it left", |world| world.leaves(&[7])),
    ("it is closed", |world| {
        world.becomes(7, AccountState::Closed);
        world.without_instance(7);
    }),
    ("it is suspended", |world| {
        world.becomes(7, AccountState::Suspended);
    }),
    ("it left a day ago", |world| {
        world.leaves(&[7]);
        let clock = clock(7, Why::Departed, NOW - DAY);
        world.observed.clocks.insert(spot(7), clock);
    }),
    ("it left, and is protected", |world| {
        world.leaves(&[7]);
        world.rules.protected_names = vec!["account 7".parse().unwrap()];
    }),
    ("it left, and something runs in it", |world| {
        world.leaves(&[7]);
        let names = vec!["web".to_owned()];
        world.observed.running.insert(spot(7), names);
    }),
    ("it left, and no more may be deleted", |world| {
        world.leaves(&[7]);
        world.rules.max_deletions = 0;
    }),
    (
        "it left, and somebody else had linked it before us",
        |world| {
            world.leaves(&[7]);
            let known = world.observed.known.get_mut(&spot(7)).unwrap();
            known.owner.as_mut().unwrap().is_adopted = true;
        },
    ),
    ("no profile targets it", |world| world.is_untargeted(7)),
    ("no profile targets it, and that is cleaned up", |world| {
        world.is_untargeted(7);
        world.rules.remove_outside_targets = true;
    }),
    (
        "no profile targets it, that is cleaned up, and its stack was kept",
        |world| {
            world.is_untargeted(7);
            world.without_instance(7);
            world.rules.remove_outside_targets = true;
        },
    ),
    (
        "no profile targets it, its stack was kept, and the remediation role deletes it",
        |world| {
            world.leaves_its_stack(7);
            world.deletes_leftovers();
        },
    ),
    (
        "no profile targets it, its stack was kept, and the remediation role is not there",
        |world| {
            world.leaves_its_stack(7);
            world.deletes_leftovers();
            let why = "the role cannot be assumed".to_owned();
            world.observed.reach.insert(spot(7), Reach::Denied(why));
        },
    ),
    ("two Spot accounts are linked to it", |world| {
        let other = linked(7, spot(90));
        world.observed.sync.spot_accounts.push(other);
    }),
    ("its Spot account is linked elsewhere", |world| {
        world.record(7).aws_account = Some(id(8));
    }),
    ("this run deleted its Spot account", |world| {
        world.leaves(&[7]);
        world.without_instance(7);
        let records = &mut world.observed.sync.spot_accounts;
        records.retain(|record| record.id != spot(7));
        world.observed.deleted = vec![Deleted {
            spot_account: spot(7),
            account: id(7),
            of_this_run: true,
            is_settled: true,
        }];
    }),
    ("it left, and so did most others", |world| {
        let gone: Vec<u64> = (7..30).collect();
        world.leaves(&gone);
        world.observed.sync.previous_account_count = Some(30);
    }),
];

fn written(text: &mut String, plan: &Plan) {
    match stands(plan, 7) {
        Some((reason, detail)) => {
            let row = plan.accounts.iter().find(|row| row.account == id(7));
            let standing = row.unwrap().standing;
            writeln!(text, "  account 7: {reason} ({standing:?}) {detail}").unwrap();
        }
        None => text.push_str("  account 7: not listed\n"),
    }
    for step in &plan.steps {
        writeln!(text, "    {:?} {}: {}", step.risk, step.action, step.told()).unwrap();
    }
    for refusal in &plan.refusals {
        writeln!(text, "    refused by {}", refusal.guard).unwrap();
    }
    for finding in &plan.findings {
        writeln!(text, "    {:?} {}", finding.severity, finding.reason).unwrap();
    }
}

#[test]
fn every_orphan_has_its_plan() {
    let mut text = String::new();
    for (name, happened) in SITUATIONS {
        let mut world = World::new(30);
        happened(&mut world);
        writeln!(text, "{name}").unwrap();
        written(&mut text, &world.plan());
    }
    let deleted = record(7);
    let mut undone = record(7);
    undone.undone = Some(Undone {
        spot_account: spot(70),
        not_linked: None,
    });
    for (name, record) in [
        ("what a run deleted is undone", deleted),
        ("what a run deleted was undone", undone),
    ] {
        writeln!(text, "{name}").unwrap();
        written(&mut text, &undo::plan(&[record], &BTreeMap::new()));
    }
    insta::assert_snapshot!(text);
}
