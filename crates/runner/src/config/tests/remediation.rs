//! `[remediation]`: what the role needs, and which roles it is for.

use onboarding_core::desired::Purpose;

use super::*;

/// A remediation role.
const REMEDIATION: &str = "[remediation]\nenabled = true\nprincipals = [\"role/runner\"]\n";

fn remediation(sections: &str, profile: &str) -> Option<onboarding_core::desired::Remediation> {
    let directory = Directory::new(&runner_toml(sections, profile));
    let options = DesiredOptions {
        home_account: "111122223333".parse().ok(),
        ..DesiredOptions::default()
    };
    let loaded = directory.load(&[]).unwrap();
    loaded.desired(options).unwrap().remediation
}

#[test]
fn it_needs_the_audit_role_who_may_assume_it_and_a_place_of_its_own() {
    let alone = errors_of("[remediation]\nenabled = true", "");
    for words in [
        "set audit.enabled",
        "`remediation.principals` is missing",
        "`remediation.organization_id` is missing",
    ] {
        assert!(alone.contains(words), "{alone}");
    }
    let same = format!("{AUDIT}{REMEDIATION}name = \"spot-onboarding-audit\"\n");
    let same = errors_of(&same, "");
    assert!(same.contains("cannot be the audit role"), "{same}");
    let second = "targets = { ous = [\"root\"] }\n[[profiles]]\nname = \"remediation-role\"";
    let taken = errors_of(&format!("{AUDIT}{REMEDIATION}"), second);
    assert!(
        taken.contains("takes the place of the remediation role's stack set"),
        "{taken}"
    );
    let nobody = errors_of(&format!("{AUDIT}{REMEDIATION}max_roles = 0\n"), "");
    assert!(nobody.contains("max_roles"), "{nobody}");
}

#[test]
fn leftover_stacks_need_the_role_and_the_units_in_which_accounts_without_a_profile_are() {
    let on = "leftover_stacks = true\n";
    let units = "organizational_units = [\"Suspended\", \"ou-ab12-abcdefgh\"]\n";
    let role = format!("{AUDIT}{REMEDIATION}");
    for (sections, words) in [
        (
            format!("[remediation]\n{on}{units}"),
            "set remediation.enabled",
        ),
        (
            format!("{role}{on}"),
            "`remediation.organizational_units` is missing",
        ),
        (
            format!("{role}{on}{units}[enrollment]\nprovider = \"spot-hosted\"\n"),
            "would take their Spot accounts along",
        ),
        (
            format!("{role}{on}{units}[enrollment]\ndeletion = \"stack\"\n"),
            "would take their Spot accounts along",
        ),
        (
            format!("{role}{on}{units}[enrollment]\nprovider = \"direct\"\n"),
            "nothing tells which stack has linked a Spot account",
        ),
        (
            format!("{role}{on}organizational_units = [\"a//b\"]\n"),
            "organizational_units",
        ),
    ] {
        let errors = errors_of(&sections, "");
        assert!(errors.contains(words), "{words}: {errors}");
    }
    let ours = remediation(&format!("{role}{on}{units}"), "").unwrap();
    let named: Vec<String> = ours
        .leftover_units
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(named, ["Suspended", "ou-ab12-abcdefgh"]);
    let body = &ours.profile.definition.template_body;
    let stacks = "stack/StackSet-spot-onboarding-default-????????-????-????-????-????????????/*";
    assert!(body.contains(stacks) && !body.contains("sns:"), "{body}");
    // Units alone deploy nothing more.
    let off = remediation(&format!("{role}{units}"), "").unwrap();
    assert!(off.leftover_units.is_empty());
    assert!(
        !off.profile
            .definition
            .template_body
            .contains("cloudformation:")
    );
}

#[test]
fn it_is_off_unless_it_is_asked_for_and_for_the_roles_of_the_profiles_alone() {
    assert_eq!(remediation(AUDIT, ""), None);
    let sections = format!("{AUDIT}{REMEDIATION}max_roles = 3\n");
    let second = "targets = { accounts = [\"123456789012\"] }\n[[profiles]]\nname = \"other\"";
    let ours = remediation(&sections, second).unwrap();
    assert_eq!(ours.max_roles, 3);
    let profile = ours.profile;
    assert_eq!(profile.purpose, Purpose::RemediationRole);
    let stack_set = profile.stack_set.as_str();
    assert_eq!(stack_set, "spot-onboarding-remediation-role");
    assert_eq!(profile.deployment, Some(Deployment::Runner));
    assert!(!profile.retains_stacks());
    let body = &profile.definition.template_body;
    for name in ["default", "other"] {
        let role = format!("role/StackSet-spot-onboarding-{name}-*");
        assert!(body.contains(&role), "{body}");
    }
    for other in ["audit-role", "remediation-role-", "role/*"] {
        assert!(!body.contains(other), "{other}: {body}");
    }
    // The organization is the audit role's, unless it has its own.
    assert!(body.contains("o-abcdefghij"), "{body}");
    let direct = format!("{sections}[enrollment]\nprovider = \"direct\"\n");
    let direct = remediation(&direct, "").unwrap().profile.definition;
    let role = "role/spot-onboarding-default-SpotRole";
    assert!(direct.template_body.contains(role), "{direct:?}");
    // A role that is there already is read through; the one that takes away is always ours.
    let reader = "[audit]\nenabled = true\nrole_name = \"reader\"\n";
    let own = format!("{reader}{REMEDIATION}organization_id = \"o-zyxwvutsrq\"\n");
    let own = remediation(&own, "").unwrap().profile.definition;
    assert!(own.template_body.contains("o-zyxwvutsrq"), "{own:?}");
}
