//! Which stray policies an audit that is asked to fix takes away: those that it found, that nobody accepted, and that the
//! remediation role is for.

use std::collections::BTreeSet;

use super::{AuditObserved, KIND, remedy::Remedies};
use crate::{
    desired::Desired,
    ids::AwsAccountId,
    plan::{Plan, Refusal, Severity},
    stackset_sync::stray_policies,
};

/// What mends a finding about a stray policy that the remediation role may take away.
pub(super) const BY_FIX: &str = "drift-audit --fix";

/// Adds a step for each account whose role has stray policies, or the refusal of all of them.
pub(super) fn plan(observed: &AuditObserved, desired: &Desired, plan: &mut Plan) {
    let (Some(remediation), Some(drifts)) = (&desired.remediation, &observed.drifts) else {
        return;
    };
    if plan.is_refused() {
        return;
    }
    let findings = plan.findings.iter();
    // One that was accepted is only worth knowing.
    let serious = findings.filter(|finding| finding.severity >= Severity::Warning);
    let wanted: BTreeSet<&str> = serious.map(|finding| &*finding.id).collect();
    let steps = plan.steps.iter();
    // Their roles go with their stacks.
    let remade: BTreeSet<AwsAccountId> = steps
        .filter(|step| step.action == "delete-stacks")
        .flat_map(|step| step.accounts.iter().copied())
        .collect();
    let remedies = Remedies::new(observed, desired);
    let mut of_strays = Plan::default();
    let is_left =
        |account: AwsAccountId| remade.contains(&account) || remedies.is_worked_on(account);
    for row in plan.accounts.iter().filter(|row| !is_left(row.account)) {
        let drifts = drifts.get(&row.account).map_or(&[][..], Vec::as_slice);
        let is_wanted = |id: String| wanted.contains(id.as_str());
        let strays = drifts
            .iter()
            .filter(|drift| is_wanted(drift.id(row.account)))
            .filter_map(|drift| Some((remedies.removal(row, drift)?, drift)));
        let strays: Vec<_> = strays.collect();
        stray_policies::step(&mut of_strays, KIND, row.account, &strays);
    }
    let (roles, most) = (of_strays.steps.len(), remediation.max_roles);
    if roles > most {
        plan.refusals.push(Refusal {
            guard: "max-remediations".to_owned(),
            message: format!(
                "{roles} roles would lose policies that their template does not have, and remediation.max_roles allows {most} in \
                 one run; look at why so many at once (a template that lacks what it should have?), then raise the limit"
            ),
            whole_plan: false,
        });
        return;
    }
    plan.steps.append(&mut of_strays.steps);
    plan.steps
        .sort_by(|one, other| (one.order, &one.id).cmp(&(other.order, &other.id)));
}
