//! What is planned for each place that an account can have in a rollout, as text to be read.

use std::fmt::Write as _;

use super::*;

fn written(text: &mut String, name: &str, plan: &Plan) {
    writeln!(text, "{name}").unwrap();
    for row in &plan.accounts {
        let number = row.account.to_string();
        let number = number.trim_start_matches('0');
        writeln!(
            text,
            "  account {number}: {} ({:?})",
            row.reason, row.standing
        )
        .unwrap();
    }
    for step in &plan.steps {
        let accounts = step.accounts.len();
        writeln!(
            text,
            "    {:?} {}, {accounts} accounts: {}",
            step.risk,
            step.action,
            step.told()
        )
        .unwrap();
    }
    for refusal in &plan.refusals {
        writeln!(text, "    refused by {}", refusal.guard).unwrap();
    }
    for finding in &plan.findings {
        writeln!(text, "    {:?} {}", finding.severity, finding.reason).unwrap();
    }
}

#[test]
fn every_place_in_a_rollout_has_its_plan() {
    let mut text = String::new();
    let mut canary = wave("canary", listed(&[3]));
    canary.soak = 600;
    let mut world = World::new(3, vec![canary, wave("all", None)]);
    written(&mut text, "before it begins", &world.plan());
    world.run(&BTreeSet::new());
    written(&mut text, "its canary soaks", &world.plan());
    world.join(9);
    written(&mut text, "an account joins meanwhile", &world.plan());
    world.sync.now += 600;
    written(&mut text, "its canary has soaked", &world.plan());
    let mut halted = World::new(3, vec![wave("canary", listed(&[3])), wave("all", None)]);
    halted.run(&BTreeSet::from([id(3)]));
    written(&mut text, "its canary failed", &halted.plan());
    world.run(&BTreeSet::new());
    written(&mut text, "it is over", &world.plan());
    insta::assert_snapshot!(text);
}
