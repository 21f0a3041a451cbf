//! Removals: whose stack instance is taken out, and the guard rails around that.

use std::collections::BTreeMap;

use onboarding_core::{
    ids::AwsAccountId,
    inventory::{AccountState, InstanceDetailedStatus, InstanceStatus},
    plan::Plan,
    stackset_sync::plan,
};

use crate::world::*;

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
