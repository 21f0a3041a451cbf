//! Comparison of a stack set's definition with the desired one.

use serde_json::json;

use crate::{
    canonical,
    desired::{Deployment, Profile},
    stackset_sync::observed::ObservedProfile,
    template::REPAIR_NONCE_PARAMETER,
};

/// How a stack set differs from its desired definition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// The template or a parameter differs: an update reaches every instance.
    pub definition: bool,
    /// Description or capabilities differ.
    pub settings: bool,
    /// Managed execution differs.
    pub managed_execution: bool,
    /// Auto-deployment differs.
    pub deployment: bool,
    /// Parameters that keep the value which the stack set has.
    pub kept_parameters: Vec<String>,
    /// What differs, in words.
    pub words: Vec<String>,
}

impl Difference {
    /// Whether anything differs.
    #[must_use]
    pub fn any(&self) -> bool {
        self.definition || self.settings || self.managed_execution || self.deployment
    }
}

/// The digest of a stack set's definition as it is. A plan to change it is made on this one.
#[must_use]
pub fn digest(state: &ObservedProfile) -> String {
    let Some(stack_set) = &state.stack_set else {
        return "none".to_owned();
    };
    canonical::digest(&json!({
        "template": state.template_digest,
        "parameters": stack_set.parameters,
        "tags": stack_set.tags,
        "description": stack_set.description,
        "capabilities": stack_set.capabilities,
        "managed execution": stack_set.managed_execution,
        "auto-deployment": stack_set.auto_deployment,
        "retains stacks": stack_set.retain_stacks_on_account_removal,
    }))
}

/// Compares what is with what should be. A NoEcho parameter reads back as `****` and is only checked for being there.
#[must_use]
pub fn compare(profile: &Profile, state: &ObservedProfile, deployment: Deployment) -> Difference {
    let Some(stack_set) = &state.stack_set else {
        return Difference::default();
    };
    let wanted = &profile.definition;
    let mut difference = Difference::default();
    if state.template_digest.as_deref() != Some(wanted.template_digest.as_str()) {
        difference.definition = true;
        difference.words.push("template".to_owned());
    }
    for (key, value) in &wanted.parameters {
        // A repair sets the nonce; the definition has no opinion on it once it is there.
        if key == REPAIR_NONCE_PARAMETER && stack_set.parameters.contains_key(key) {
            difference.kept_parameters.push(key.clone());
            continue;
        }
        // An empty value may read back as none.
        if stack_set.parameters.get(key).map_or("", String::as_str) != value {
            difference.definition = true;
            difference.words.push(format!("parameter {key}"));
        }
    }
    for key in &wanted.secret_parameters {
        if stack_set.parameters.contains_key(key) {
            difference.kept_parameters.push(key.clone());
        } else {
            difference.definition = true;
            difference.words.push(format!("parameter {key}"));
        }
    }
    for key in stack_set.parameters.keys() {
        if !wanted.parameters.contains_key(key) && !wanted.secret_parameters.contains(key) {
            difference.definition = true;
            difference
                .words
                .push(format!("parameter {key} is no longer wanted"));
        }
    }
    if stack_set.tags != wanted.tags {
        // Tags are put on every stack and its resources, so a change reaches every instance.
        difference.definition = true;
        difference.words.push("tags".to_owned());
    }
    if stack_set.description.as_deref().unwrap_or_default() != wanted.description {
        difference.settings = true;
        difference.words.push("description".to_owned());
    }
    if !wanted
        .capabilities
        .iter()
        .all(|capability| stack_set.capabilities.contains(capability))
    {
        difference.settings = true;
        difference.words.push("capabilities".to_owned());
    }
    if stack_set.managed_execution != profile.managed_execution {
        difference.managed_execution = true;
        difference.words.push("managed execution".to_owned());
    }
    let auto = deployment == Deployment::Auto;
    let retain = profile.retains_stacks();
    if stack_set.auto_deployment != auto
        || (auto && stack_set.retain_stacks_on_account_removal != retain)
    {
        difference.deployment = true;
        difference.words.push("auto-deployment".to_owned());
    }
    difference
}
