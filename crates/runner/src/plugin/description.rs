//! What a plugin says of itself, and whether that can be used.

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::external::{check_text, is_code};

use super::{
    error::Wrong,
    protocol::{WrittenAsk, WrittenDescription},
};
use crate::{
    config::{Asking, Grant, schema},
    engine::RunOptions,
};

/// Most actions of a plugin: each is a label of metrics.
const MOST_ACTIONS: usize = 32;

/// What a plugin is.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// What a job of its kind does.
    pub summary: String,
    /// What its jobs' files must fit.
    pub asking: Asking,
    /// How many processes of it may do steps side by side.
    pub parallel: usize,
}

impl Description {
    /// Checks what a plugin says of itself.
    pub(super) fn checked(said: WrittenDescription, kind: &str) -> Result<Self, Wrong> {
        if said.kind != kind {
            return Err(Wrong::Kind(said.kind));
        }
        check(&said).map_err(Wrong::Description)?;
        let parallel = usize::try_from(said.parallel).unwrap_or(0);
        if !(1..=RunOptions::CONCURRENCY).contains(&parallel) {
            return Err(Wrong::Description(format!(
                "`parallel` is {parallel}, and must be 1 to {}",
                RunOptions::CONCURRENCY
            )));
        }
        let grants = grants(&said.asks).map_err(Wrong::Description)?;
        Ok(Self {
            summary: said.summary,
            asking: Asking {
                settings: said.settings,
                actions: said.actions.into_keys().collect(),
                grants,
            },
            parallel,
        })
    }

    /// What it gets of what a job grants.
    #[must_use]
    pub fn granted(&self, grants: BTreeSet<Grant>) -> BTreeSet<Grant> {
        let mut granted = grants;
        granted.retain(|grant| self.asking.grants.contains_key(grant));
        granted
    }
}

fn check(said: &WrittenDescription) -> Result<(), String> {
    check_text("`summary`", &said.summary).map_err(|error| error.to_string())?;
    if said.actions.len() > MOST_ACTIONS {
        return Err(format!(
            "it has {} actions, more than {MOST_ACTIONS}",
            said.actions.len()
        ));
    }
    for (action, words) in &said.actions {
        if !is_code(action) {
            return Err(format!(
                "the action {action:?} must be lower-case letters, digits and hyphens, 64 at most"
            ));
        }
        check_text(&format!("the action {action}"), words).map_err(|error| error.to_string())?;
    }
    schema::check_foreign(&said.settings)
        .map_err(|why| format!("the schema of its settings: {why}"))
}

fn grants(asks: &[WrittenAsk]) -> Result<BTreeMap<Grant, bool>, String> {
    let mut grants = BTreeMap::new();
    for ask in asks {
        let grant: Grant = ask.grant.parse()?;
        check_text(&format!("why it asks for {grant}"), &ask.why)
            .map_err(|error| error.to_string())?;
        if grants.insert(grant, !ask.optional).is_some() {
            return Err(format!("it asks for {} twice", ask.grant));
        }
    }
    Ok(grants)
}
