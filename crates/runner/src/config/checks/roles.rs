//! The roles that the runner itself uses in accounts: what they need, and that they are two.

use onboarding_core::ids::StackSetName;

use super::{
    super::{
        desired::{AUDIT_PROFILE, REMEDIATION_PROFILE},
        runner::{Deletion, ProviderKind, RunnerConfig},
    },
    Checks,
};

pub(super) fn audit(config: &RunnerConfig, checks: &mut Checks<'_>) {
    let audit = &config.audit;
    if !audit.is_deployed() {
        return;
    }
    if audit.principals.is_empty() {
        checks.report(
            &["audit", "enabled"],
            "the audit role would let nobody in: `audit.principals` is missing".to_owned(),
            "name the role that the runner has, such as principals = [\"role/spot-onboarding-runner\"], or an existing role \
             in role_name",
        );
    }
    if audit.organization_id.is_none() {
        checks.report(
            &["audit", "enabled"],
            "the audit role must know which organization may use it: `audit.organization_id` is missing".to_owned(),
            "`aws organizations describe-organization` shows it: o-…",
        );
    }
    let name = config.audit_stack_set_name();
    place_of_its_own(config, ("the audit role", AUDIT_PROFILE), name.ok(), checks);
}

pub(super) fn remediation(config: &RunnerConfig, checks: &mut Checks<'_>) {
    let remediation = &config.remediation;
    leftover_stacks(config, checks);
    if !remediation.enabled {
        return;
    }
    if config.audit.role().is_none() {
        checks.report(
            &["remediation", "enabled"],
            "nobody would find what the remediation role is for: there is no role to read the accounts through".to_owned(),
            "set audit.enabled, with audit.role_name for a role that every account has already",
        );
    }
    if remediation.principals.is_empty() {
        checks.report(
            &["remediation", "enabled"],
            "the remediation role would let nobody in: `remediation.principals` is missing"
                .to_owned(),
            "name the role that the runner has, such as principals = [\"role/spot-onboarding-runner\"]",
        );
    }
    if remediation.organization_id.is_none() && config.audit.organization_id.is_none() {
        checks.report(
            &["remediation", "enabled"],
            "the remediation role must know which organization may use it: `remediation.organization_id` is missing"
                .to_owned(),
            "`aws organizations describe-organization` shows it: o-…",
        );
    }
    if config.audit.role_path_and_name() == remediation.role_path_and_name() {
        checks.report(
            &["remediation", "name"],
            "the remediation role cannot be the audit role: what reads may not write".to_owned(),
            "give it another name",
        );
    }
    let name = config.remediation_stack_set_name();
    let role = ("the remediation role", REMEDIATION_PROFILE);
    place_of_its_own(config, role, name.ok(), checks);
}

/// What it takes to delete stacks that were left.
fn leftover_stacks(config: &RunnerConfig, checks: &mut Checks<'_>) {
    let remediation = &config.remediation;
    if !remediation.leftover_stacks {
        return;
    }
    if !remediation.enabled {
        checks.report(
            &["remediation", "leftover_stacks"],
            "stacks that were left are deleted through the remediation role, and there is none"
                .to_owned(),
            "set remediation.enabled, or leave leftover_stacks out",
        );
    }
    if remediation.organizational_units.is_empty() {
        checks.report(
            &["remediation", "leftover_stacks"],
            "stacks are left in accounts that no profile targets, and the remediation role is in none of them: \
             `remediation.organizational_units` is missing"
                .to_owned(),
            "name the units that such accounts are in, or \"root\" for all of them",
        );
    }
    if config.enrollment.provider == ProviderKind::Direct {
        checks.report(
            &["remediation", "leftover_stacks"],
            "with enrollment.provider = \"direct\" nothing tells which stack has linked a Spot account, so none is ever deleted"
                .to_owned(),
            "leave leftover_stacks out, and delete such stacks by hand; or enroll with provider = \"queue\"",
        );
    }
    let keeps_spot_accounts = config.enrollment.deletion == Deletion::Reconcile
        && config.enrollment.provider != ProviderKind::SpotHosted;
    if !keeps_spot_accounts {
        checks.report(
            &["remediation", "leftover_stacks"],
            "stacks that are deleted would take their Spot accounts along, past every limit and record"
                .to_owned(),
            "it needs enrollment.deletion = \"reconcile\" and another provider than \"spot-hosted\"",
        );
    }
}

/// No profile has the name, or the stack set, of one of the runner's own roles.
fn place_of_its_own(
    config: &RunnerConfig,
    (role, planned_as): (&str, &str),
    stack_set: Option<StackSetName>,
    checks: &mut Checks<'_>,
) {
    let Some(stack_set) = stack_set else {
        checks.report(
            &["stack_set", "name_prefix"],
            format!("{role}'s stack set gets no usable name from `stack_set.name_prefix`"),
            "begin with a letter; letters, digits and - may follow",
        );
        return;
    };
    for (index, profile) in config.profiles.iter().enumerate() {
        let same_set = config
            .stack_set_name(profile)
            .is_ok_and(|other| other == stack_set);
        if same_set || profile.name == planned_as {
            checks.report(
                &["profiles", &index.to_string(), "name"],
                format!(
                    "the profile {:?} takes the place of {role}'s stack set {stack_set}",
                    profile.name
                ),
                "give it another name and stack_set",
            );
        }
    }
}
