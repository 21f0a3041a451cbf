//! Billing Engine for the management account: a step when it is not switched on, a finding when it cannot be or when its
//! data does not arrive.
//!
//! Stack sets never deploy to the management account, so its Spot account is looked for and never made here.

use super::{
    SyncObserved,
    actions::SyncAction,
    spot_links::{Link, SpotLinks},
    steps,
};
use crate::{
    desired::Desired,
    ids::SpotAccountId,
    plan::{Finding, Plan, Risk, Severity},
};

/// How long data may take to arrive after Billing Engine was switched on, in seconds: Spot looks every four hours (Spot's
/// help, "Connect AWS Account"), and AWS may take a day for its first report (AWS Cost and Usage Reports User Guide).
const FIRST_DATA: i64 = 2 * 86_400;

/// Adds the step or the finding.
pub(super) fn plan(
    observed: &SyncObserved,
    desired: &Desired,
    links: &SpotLinks<'_>,
    plan: &mut Plan,
) {
    let Some(source) = &desired.billing_engine else {
        return;
    };
    let management = observed.organization.management_account;
    let linked: Vec<&SpotAccountId> = match links.of(management) {
        Link::None => Vec::new(),
        Link::One(id) => vec![id],
        Link::Several(ids) => ids,
    };
    let registered = linked
        .iter()
        .find_map(|id| Some((*id, observed.billing_engine.get(*id)?)));
    let (severity, code, message, fix) = match (registered, linked.as_slice()) {
        (Some((id, registration)), _) => {
            let age = registration.since.map(|since| observed.now - since);
            if registration.connected || age.is_some_and(|age| age < FIRST_DATA) {
                return;
            }
            (
                Severity::Warning,
                "billing-engine-not-connected",
                format!(
                    "Billing Engine is switched on for {id}, and Spot says that its data does not arrive"
                ),
                "needs a person: look at it in Spot's console",
            )
        }
        (None, [id]) => {
            steps::push(
                plan,
                "set-up-billing-engine".to_owned(),
                &SyncAction::SetUpBillingEngine {
                    spot_account: (*id).clone(),
                    source: source.clone(),
                },
                vec![management],
                format!("Billing Engine is not switched on for the management account's {id}"),
                Risk::Low,
                steps::order::AT_SPOT,
            );
            return;
        }
        (None, []) => (
            Severity::Error,
            "billing-engine-not-linked",
            format!(
                "Billing Engine is wanted, and no Spot account is linked to the management account {management}"
            ),
            "needs a person: connect it in Spot (stack sets never deploy there), with a role that may read the billing data",
        ),
        (None, several) => {
            let several: Vec<String> = several.iter().map(ToString::to_string).collect();
            (
                Severity::Error,
                "billing-engine-several-links",
                format!(
                    "Billing Engine is wanted, and several Spot accounts are linked to the management account {management}: {}",
                    several.join(", ")
                ),
                "needs a person: delete or unlink all but one in Spot",
            )
        }
    };
    plan.findings.push(Finding {
        id: format!("{code}:{management}"),
        severity,
        account: Some(management),
        account_name: observed
            .organization
            .account(management)
            .map(|account| account.name.to_string()),
        ou_path: None,
        reason: code.to_owned(),
        message,
        fix: Some(fix.to_owned()),
        ..Finding::default()
    });
}
