//! What no single key of `[[profiles]]` can say.

use std::collections::{BTreeMap, BTreeSet};

use super::Checks;
use crate::config::{
    desired::direct_role_name,
    naming::RenameRule,
    profile::{DeploymentConfig, ProfileConfig},
    runner::{CallAs, ProviderKind, RunnerConfig},
};

/// Most characters of a role's name (IAM API reference, CreateRole).
const LONGEST_ROLE_NAME: usize = 64;

pub(super) fn profiles(config: &RunnerConfig, checks: &mut Checks<'_>) {
    if config.profiles.is_empty() {
        checks.report(
            &["profiles"],
            "there is no profile: no account would be enrolled".to_owned(),
            "add [[profiles]] with a name and targets, such as targets = { ous = [\"root\"] }",
        );
    }
    let mut names = BTreeSet::new();
    let mut stack_sets = BTreeMap::new();
    for (index, profile) in config.profiles.iter().enumerate() {
        let index = index.to_string();
        if !names.insert(profile.name.as_str()) {
            checks.report(
                &["profiles", &index, "name"],
                format!("there are two profiles with the name {:?}", profile.name),
                "give each a name of its own",
            );
            continue;
        }
        match config.stack_set_name(profile) {
            Err(error) => checks.report(
                &["profiles", &index, "name"],
                format!(
                    "the profile {:?} has no usable stack set name: {error}",
                    profile.name
                ),
                "set its stack_set, or change its name or stack_set.name_prefix",
            ),
            Ok(name) => {
                if let Some(other) = stack_sets.insert(name.clone(), profile.name.as_str()) {
                    let key = if profile.stack_set.is_some() {
                        "stack_set"
                    } else {
                        "name"
                    };
                    checks.report(
                        &["profiles", &index, key],
                        format!(
                            "the profiles {other:?} and {:?} have the same stack set {name}",
                            profile.name
                        ),
                        "give each a stack set of its own",
                    );
                }
            }
        }
        access(config, profile, &index, checks);
        targets(profile, &index, checks);
        direct(config, profile, &index, checks);
        naming(config, profile, &index, checks);
    }
}

fn targets(profile: &ProfileConfig, index: &str, checks: &mut Checks<'_>) {
    let (name, targets) = (&profile.name, &profile.targets);
    if targets.ous.is_empty() && targets.accounts.is_empty() {
        checks.report(
            &["profiles", index, "targets"],
            format!("the profile {name:?} targets nothing"),
            "name organizational units in ous (\"root\" is all of them) or accounts in accounts",
        );
    }
    if let Some(account) = targets
        .accounts
        .iter()
        .find(|account| targets.exclude_accounts.contains(account))
    {
        checks.report(
            &["profiles", index, "targets", "exclude_accounts"],
            format!("the profile {name:?} both targets and excludes the account {account}"),
            "take it out of one of the two lists",
        );
    }
    if !targets.tags.is_empty() && targets.ous.is_empty() {
        checks.report(
            &["profiles", index, "targets", "tags"],
            format!("the profile {name:?} asks for tags, but names no organizational units whose accounts could carry them"),
            "name them in ous (\"root\" is all of them); accounts that are listed need no tags",
        );
    }
    // What a tag can be: AWS Organizations API reference, Tag and InvalidInputException (INVALID_SYSTEM_TAGS_PARAMETER).
    // The length of a value is checked where it is read.
    for key in targets.tags.keys() {
        let (wrong, help) = if !(1..=128).contains(&key.chars().count()) {
            ("which no tag can have", "a key has 1 to 128 characters")
        } else if key.to_ascii_lowercase().starts_with("aws:") {
            (
                "which only AWS can give, and gives to no account",
                "ask for a tag of your own: its key does not begin with aws:",
            )
        } else {
            continue;
        };
        checks.report(
            &["profiles", index, "targets", "tags", key],
            format!("the profile {name:?} asks for a tag with the key {key:?}, {wrong}"),
            help,
        );
    }
    let finer: Vec<&str> = [
        ("tags", targets.tags.is_empty()),
        ("accounts", targets.accounts.is_empty()),
        ("exclude_ous", targets.exclude_ous.is_empty()),
        ("exclude_accounts", targets.exclude_accounts.is_empty()),
    ]
    .into_iter()
    .filter_map(|(key, is_empty)| (!is_empty).then_some(key))
    .collect();
    if profile.deployment == Some(DeploymentConfig::Auto) && !finer.is_empty() {
        checks.report(
            &["profiles", index, "deployment"],
            format!(
                "the profile {name:?} asks for deployment = \"auto\" together with {}, which AWS ignores when it auto-deploys",
                finer.join(" and ")
            ),
            "either set deployment = \"runner\", or target organizational units only",
        );
    }
}

fn access(config: &RunnerConfig, profile: &ProfileConfig, index: &str, checks: &mut Checks<'_>) {
    if config.enrollment.provider == ProviderKind::SpotHosted && !profile.access.is_empty() {
        checks.report(
            &["profiles", index, "access"],
            format!(
                "the profile {:?} lets user groups see its accounts, which Spot's own Lambda functions do not do",
                profile.name
            ),
            "use provider = \"queue\"; or let the group have its policy in all accounts, in Spot's console",
        );
    }
}

/// What a profile must have whose accounts, or whose management account, have no custom resources.
fn direct(config: &RunnerConfig, profile: &ProfileConfig, index: &str, checks: &mut Checks<'_>) {
    let name = &profile.name;
    let is_direct = config.enrollment.provider == ProviderKind::Direct;
    if is_direct && profile.deployment == Some(DeploymentConfig::Auto) {
        checks.report(
            &["profiles", index, "deployment"],
            format!(
                "the profile {name:?} asks for deployment = \"auto\", but with the provider \"direct\" a stack that AWS deploys by \
                 itself gets no external ID"
            ),
            "leave deployment out or set it to \"runner\", or use provider = \"queue\"",
        );
    }
    if profile.management_account && config.aws.call_as == CallAs::DelegatedAdmin {
        checks.report(
            &["profiles", index, "management_account"],
            format!(
                "the profile {name:?} enrolls the management account, which a delegated administrator cannot change"
            ),
            "use the management account's credentials and aws.call_as = \"self\", or take it away",
        );
    }
    if (is_direct || profile.management_account)
        && let Ok(stack_set) = config.stack_set_name(profile)
        && direct_role_name(&stack_set).len() > LONGEST_ROLE_NAME
    {
        checks.report(
            &["profiles", index, "name"],
            format!(
                "the stack set {stack_set} of the profile {name:?} is named too long for the role {} to be named after it",
                direct_role_name(&stack_set)
            ),
            "IAM takes 64 characters: set a shorter stack_set",
        );
    }
}

fn naming(config: &RunnerConfig, profile: &ProfileConfig, index: &str, checks: &mut Checks<'_>) {
    let hosted = config.enrollment.provider == ProviderKind::SpotHosted;
    if hosted && matches!(profile.naming.rename.0, RenameRule::Template(_)) {
        checks.report(
            &["profiles", index, "naming", "rename"],
            format!(
                "the profile {:?} has a template for names, which Spot's own Lambda functions do not know",
                profile.name
            ),
            "use rename = \"alias\" or \"off\", or provider = \"queue\"",
        );
    }
}
