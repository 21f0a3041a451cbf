//! The versions of the policies that a run deals with: the good one, the one that the files say, and what is between them.

use std::collections::{BTreeMap, BTreeSet};

use onboarding_core::{
    ids::AwsAccountId,
    policy_rollout::{Candidate, Outcome, Phase},
    template::{self, POLICY_VERSION_PARAMETER, PinnedVersions, PolicyVersion, TemplateError},
};

use super::{PolicyRollout, apply::first_of, overrides::Overrides};
use crate::{
    config::{ConfigErrors, DesiredOptions},
    engine::{ErrorClass, JobError},
    state::{RolloutRow, VersionRow},
};

/// What is known of a profile's versions.
pub(super) struct Known {
    /// All that were noted, the newest first.
    noted: Vec<VersionRow>,
    /// The good one.
    pub(super) current: Option<PolicyVersion>,
    /// The one that the files say.
    pub(super) next: PolicyVersion,
    /// Why that one cannot be rolled out.
    pub(super) unfit: Option<String>,
    /// The rollout that is open.
    pub(super) open: Option<RolloutRow>,
}

impl Known {
    pub(super) fn good(&self) -> Option<Candidate> {
        self.current.as_ref().map(candidate)
    }

    pub(super) fn candidate(&self) -> Candidate {
        candidate(&self.next)
    }

    pub(super) fn is_rejected(&self) -> bool {
        let digest = self.next.digest();
        let mut noted = self.noted.iter();
        noted.any(|row| row.digest == digest && row.rejected_at.is_some())
    }

    fn version(&self, name: &str) -> Result<Option<PolicyVersion>, JobError> {
        let row = self.noted.iter().find(|row| row.name == name);
        Ok(row.map(VersionRow::version).transpose()?)
    }
}

fn candidate(version: &PolicyVersion) -> Candidate {
    Candidate {
        name: version.name.clone(),
        digest: version.digest(),
    }
}

impl PolicyRollout {
    /// Reads the versions from the state and the files.
    pub(super) async fn known(&self) -> Result<Known, JobError> {
        let home = self.home();
        let noted = home.state.policy_versions(self.profile()).await?;
        let open = home.state.open_rollout(self.profile()).await?;
        let current = noted.iter().find(|row| row.good);
        let current = current.map(VersionRow::version).transpose()?;
        let policies = home.config.profile_policies(self.profile());
        let policies = policies.map_err(|errors| invalid(&errors))?;
        let partition = home.config.runner.partition();
        let name = self.params.version.as_deref();
        let unusable = |error: TemplateError| {
            JobError::new(ErrorClass::Invalid, "the policies cannot be used").with_source(error)
        };
        let mut unfit = None;
        let next = match &current {
            None => PolicyVersion::new(name, &policies, partition).map_err(unusable)?,
            Some(current) => match PolicyVersion::following(name, &policies, partition, current) {
                Ok(next) => next,
                Err(error) => {
                    unfit = Some(chain(&error));
                    PolicyVersion::new(name, &policies, partition).map_err(unusable)?
                }
            },
        };
        let digest = next.digest();
        if let Some(same) = current
            .as_ref()
            .filter(|current| current.digest() == digest)
        {
            // What it is called makes no other version of it.
            return Ok(Known {
                next: same.clone(),
                noted,
                current,
                unfit: None,
                open,
            });
        }
        if let Some(other) = noted
            .iter()
            .find(|row| row.name == next.name && row.digest != digest)
        {
            unfit.get_or_insert_with(|| {
                format!(
                    "{:?} is the name of another version ({}); give this one a new name in params.version, or none",
                    other.name, other.digest
                )
            });
        }
        if unfit.is_none()
            && let Some(current) = &current
        {
            let both = PinnedVersions {
                current: current.clone(),
                next: Some(next.clone()),
            };
            unfit = self.body(both).err().map(|error| error.chain());
        }
        if unfit.is_none() && open.is_none() && current.is_some() {
            unfit = self.left_behind(&next.name).await?;
        }
        Ok(Known {
            noted,
            current,
            next,
            unfit,
            open,
        })
    }

    /// Accounts that an earlier rollout of a version of this name could not take the override from, and that still have it: with the
    /// template that has both, they would get the version before their wave.
    async fn left_behind(&self, name: &str) -> Result<Option<String>, JobError> {
        let home = self.home();
        let mut left = BTreeSet::new();
        let rollouts = home.state.rollouts(self.profile()).await?;
        // From the earliest on: what a later one took from an account is gone, whatever it said.
        for row in rollouts.iter().rev() {
            for (account, _) in row.rollout.members() {
                left.remove(&account);
                if row.rollout.to == name {
                    left.insert(account);
                }
            }
            let reset = row.rollout.reset.iter();
            for account in reset.flat_map(|reset| reset.with(Outcome::Updated)) {
                left.remove(&account);
            }
        }
        let Some(profile) = self.sync.desired.profiles.first() else {
            return Ok(None);
        };
        let left: Vec<AwsAccountId> = left.into_iter().collect();
        let read = self.overrides(profile, &left).await?;
        let has_it = |overrides: &Overrides| {
            let version = overrides.get(POLICY_VERSION_PARAMETER);
            version.is_some_and(|version| version == name)
        };
        let left = read.iter().filter(|(_, overrides)| has_it(overrides));
        let left: Vec<String> = left.map(|(account, _)| account.to_string()).collect();
        Ok((!left.is_empty()).then(|| {
            format!(
                "an earlier rollout could not take the override of PolicyVersion from {} accounts ({}), which names {name:?} as well, \
                 so that they would get it before their wave; give the version a new name in params.version",
                left.len(),
                first_of(&left)
            )
        }))
    }

    /// The template with these versions in it.
    fn body(&self, versions: PinnedVersions) -> Result<String, JobError> {
        let home = self.home();
        let pinned = BTreeMap::from([(self.profile().to_owned(), versions)]);
        let desired = home.config.desired(DesiredOptions {
            home_account: Some(home.identity.account),
            profiles: &self.profile,
            retry_failed: false,
            pinned: Some(&pinned),
        });
        let desired = desired.map_err(|errors| invalid(&errors))?;
        let mut profiles = desired.profiles.into_iter();
        let profile = profiles.next();
        Ok(profile.map_or_else(String::new, |profile| profile.definition.template_body))
    }

    /// What the accounts of a rollout get, or get back, in words.
    pub(super) fn changes(&self, known: &Known) -> Result<Vec<String>, JobError> {
        let (from, to) = match &known.open {
            Some(open) => {
                let rollout = &open.rollout;
                let (from, to) = (known.version(&rollout.from)?, known.version(&rollout.to)?);
                match rollout.phase {
                    Phase::RollingBack | Phase::Unstaging => (to, from),
                    _ => (from, to),
                }
            }
            None => (known.current.clone(), Some(known.next.clone())),
        };
        let (Some(from), Some(to)) = (from, to) else {
            return Ok(Vec::new());
        };
        let only = |version| {
            self.body(PinnedVersions {
                current: version,
                next: None,
            })
        };
        if from.digest() == to.digest() || (known.open.is_none() && known.unfit.is_some()) {
            return Ok(Vec::new());
        }
        let (from, to) = (only(from)?, only(to)?);
        let mut changes = template::template_changes(&from, &to)
            .unwrap_or_else(|error| vec![format!("the templates cannot be compared: {error}")]);
        // The default of the parameter is the version's name.
        changes.retain(|line| line != "~ Parameters.PolicyVersion");
        Ok(changes)
    }
}

fn invalid(errors: &ConfigErrors) -> JobError {
    JobError::new(ErrorClass::Invalid, errors.to_string())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
