//! What IAM has in each enrolled account, compared as it is read.

mod aggregator;
mod judge;
mod management;
mod overrides;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

pub(in crate::jobs) use aggregator::AggregatorSource;
use aws_ops::AccountAccess;
use futures_util::{StreamExt as _, stream};
use onboarding_core::{
    drift::{Collected, Drift, Meanings, RoleTruth, SeenAt, TruthReading},
    ids::{AwsAccountId, ExternalId, RoleArn, SpotAccountId, StackId},
    inventory::{AccountState, InstanceStatus, StackInstance},
    stackset_sync::{
        ObservedProfile, SyncObserved,
        spot_links::{Link, SpotLinks},
    },
    template,
};
use onboarding_provider::Intents as _;

use self::overrides::{InstancePlace, Overrides};
use super::OnAccounts;
use crate::engine::{ErrorClass, JobError, Phase};

/// An account that is asked.
#[derive(Clone)]
struct Subject {
    account: AwsAccountId,
    spot: SpotAccountId,
    /// Its stack.
    stack: Option<StackId>,
    meanings: Arc<Meanings>,
    /// Its stack instance; none of the management account, which has a plain stack.
    instance: Option<InstancePlace>,
    /// What that overrides, as far as the state tells.
    overrides: Overrides,
    place: Place,
    now: i64,
}

/// How an account is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Through the audit role, or an aggregator of AWS Config.
    Member,
    /// As ourselves: the management account, whose credentials we have.
    Management,
}

/// What Spot uses an account with, as far as it is known.
#[derive(Clone)]
struct Used {
    role: RoleArn,
    /// The role that the account's own stack made, where that is known.
    own: Option<RoleArn>,
    external_id: Result<ExternalId, String>,
    linked_at: Option<i64>,
}

/// How each account differs; empty where nothing does.
type Drifts = BTreeMap<AwsAccountId, Vec<Drift>>;

/// Notes how an account differs. Of two stacks of which neither made the link, that counts by which more is wrong, whichever was read
/// first.
fn note(drifts: &mut Drifts, account: AwsAccountId, found: Vec<Drift>) {
    let how_bad = |drifts: &[Drift]| {
        let worst = drifts.iter().map(Drift::severity).max();
        let ids: Vec<String> = drifts.iter().map(|drift| drift.id(account)).collect();
        (worst, ids.len(), ids)
    };
    match drifts.entry(account) {
        Entry::Vacant(none) => {
            none.insert(found);
        }
        Entry::Occupied(mut known) => {
            if how_bad(&found) > how_bad(known.get()) {
                known.insert(found);
            }
        }
    }
}

/// What was read of the accounts that were asked. It is big where many differ, and shared.
#[derive(Clone, Default)]
pub(in crate::jobs) struct Read {
    /// How each differs; empty where nothing does.
    pub(in crate::jobs) drifts: Arc<Drifts>,
    /// When AWS Config saw that, where its aggregator told of a difference.
    pub(in crate::jobs) seen: Arc<BTreeMap<AwsAccountId, SeenAt>>,
    /// As of when all of that is known.
    pub(in crate::jobs) collected: Collected,
}

impl OnAccounts {
    /// How IAM's truth differs in the accounts that are enrolled by us, active, and current. One that cannot be read is a
    /// difference of its own and never ends the audit.
    ///
    /// What AWS Config tells is from earlier: after steps it tells nothing of what they did, so that IAM is read in the account.
    pub(in crate::jobs) async fn drifts(
        &self,
        sync: &SyncObserved,
        phase: Phase,
    ) -> Result<Read, JobError> {
        if self.sync.home.access.is_none() && self.aggregator.is_none() {
            return Err(JobError::new(
                ErrorClass::Invalid,
                "depth = \"full\" needs a role to read the accounts through, or an aggregator of AWS Config; set audit.enabled in \
                 runner.toml, or params.aggregator",
            ));
        }
        let aggregator = match (&self.aggregator, phase) {
            // Nothing was mended, and it tells nothing newer.
            (Some(_), Phase::Verify) if !self.writes() => return Ok(self.read.lock().clone()),
            (Some(aggregator), Phase::Observe | Phase::Apply) => Some(aggregator),
            (_, Phase::Verify) | (None, _) => None,
        };
        let (mut drifts, subjects) = self.subjects(sync).await?;
        let (seen, collected) = match aggregator {
            Some(aggregator) => {
                let told = self.in_aggregator(aggregator, subjects, sync.now).await?;
                drifts.extend(told.drifts);
                (told.seen, told.collected)
            }
            None => {
                let subjects: Vec<&Subject> = subjects.iter().collect();
                drifts.extend(self.in_accounts(&subjects).await);
                (BTreeMap::new(), self.read.lock().collected)
            }
        };
        Ok(Read {
            drifts: Arc::new(drifts),
            seen: Arc::new(seen),
            collected,
        })
    }

    /// The accounts that are to be read, beside what is known of the others.
    async fn subjects(&self, sync: &SyncObserved) -> Result<(Drifts, Vec<Subject>), JobError> {
        let meanings = sync
            .profiles
            .iter()
            .map(|profile| self.meanings(profile))
            .collect::<Result<Vec<_>, _>>()?;
        let links = SpotLinks::new(&sync.spot_accounts);
        // What was as it should be before the steps is not read again after them, unless one of them has worked on it. Nor is what
        // nobody could confirm.
        let is_settled = |drifts: &Vec<Drift>| {
            drifts.is_empty() || (self.aggregator.is_some() && is_unreadable(drifts))
        };
        let settled = |account: AwsAccountId| {
            if self.worked_on.lock().contains(&account) {
                return None;
            }
            let read = self.read.lock();
            let drifts = read.drifts.get(&account);
            drifts.filter(|drifts| is_settled(drifts)).cloned()
        };
        let owned = self.sync.home.state.owned_links().await?;
        let stacks: BTreeSet<&str> = sync
            .profiles
            .iter()
            .flat_map(|profile| &profile.instances)
            .filter_map(|instance| instance.stack_id.as_deref())
            .collect();
        // Of two stacks in an account, the one that made the link says what its role should be.
        let is_the_links = |instance: &StackInstance| {
            let owner = owned.get(&instance.account);
            let owner = owner.map(|owned| owned.stack.as_str());
            owner.is_none_or(|owner| {
                instance.stack_id.as_deref() == Some(owner) || !stacks.contains(owner)
            })
        };
        let mut known = Drifts::new();
        let mut subjects = Vec::new();
        for (profile, meanings) in sync.profiles.iter().zip(&meanings) {
            let (Some(meanings), Some(stack_set)) = (meanings, &profile.stack_set) else {
                continue;
            };
            // Which version an account should have while it is getting another one, nobody can say.
            let rollout = profile.rollout.as_ref();
            let is_changing = |instance: &&StackInstance| {
                rollout.is_some_and(|rollout| rollout.is_changing(instance.account))
            };
            for instance in profile.instances.iter().filter(|one| !is_changing(one)) {
                let spot = is_ours_to_read(sync, &links, instance);
                let Some(spot) = spot.filter(|_| is_the_links(instance)) else {
                    continue;
                };
                if let Some(drifts) = settled(instance.account) {
                    known.insert(instance.account, drifts);
                } else {
                    subjects.push(Subject {
                        account: instance.account,
                        spot: spot.clone(),
                        stack: instance.stack_id.as_deref().and_then(|id| id.parse().ok()),
                        meanings: meanings.clone(),
                        instance: Some(InstancePlace {
                            stack_set: stack_set.name.clone(),
                            region: instance.region.clone(),
                        }),
                        overrides: known_overrides(profile, instance),
                        place: Place::Member,
                        now: sync.now,
                    });
                }
            }
        }
        if let Some((account, subject)) = self.management(sync, &links) {
            match (settled(account), subject) {
                (Some(drifts), _) => {
                    known.insert(account, drifts);
                }
                (None, Ok(subject)) => subjects.push(subject),
                (None, Err(why)) => {
                    let drifts = vec![Drift::unreadable(account, why)];
                    known.insert(account, drifts);
                }
            }
        }
        Ok((known, subjects))
    }

    /// How the accounts differ, each read in itself.
    async fn in_accounts(&self, subjects: &[&Subject]) -> Drifts {
        stream::iter(0..subjects.len())
            .map(|index| async move {
                let subject = subjects[index];
                let drifts = self.compared(subject).await?;
                Some((subject.account, drifts))
            })
            .buffer_unordered(self.at_once())
            .filter_map(std::future::ready)
            .fold(Drifts::new(), |mut drifts, (account, found)| {
                note(&mut drifts, account, found);
                std::future::ready(drifts)
            })
            .await
    }

    fn at_once(&self) -> usize {
        usize::try_from(self.concurrency).unwrap_or(1).max(1)
    }

    /// What a profile's stack set means, as it is now: an update that is due is a finding of its own.
    fn meanings(&self, profile: &ObservedProfile) -> Result<Option<Arc<Meanings>>, JobError> {
        let Some(stack_set) = profile.stack_set.as_ref().filter(|_| profile.is_ours) else {
            return Ok(None);
        };
        let config = &self.sync.home.config.runner;
        let meanings = Meanings::new(
            &stack_set.template_body,
            config.partition(),
            config.aws.region.0.clone(),
            stack_set.parameters.clone(),
        );
        meanings
            .map(|meanings| Some(Arc::new(meanings)))
            .map_err(|error| {
                let what = format!(
                    "the template of stack set {} cannot be read",
                    stack_set.name
                );
                JobError::new(ErrorClass::Failed, what).with_source(error)
            })
    }

    /// What differs in one account; none when its stack makes no role.
    async fn compared(&self, subject: &Subject) -> Option<Vec<Drift>> {
        let access = self.sync.home.access.as_ref();
        let account = subject.account;
        let used = self.used(access, subject).await;
        let meant = match subject.meant(used)? {
            Ok(meant) => meant,
            Err(drifts) => return Some(drifts),
        };
        let name = &meant.name;
        let truth = match (subject.place, access, &self.sync.home.remediation) {
            (Place::Management, _, _) => self.read_management(access, account, name).await,
            (Place::Member, None, _) => TruthReading::Denied(
                "there is no role to read it through; set audit.enabled in runner.toml".to_owned(),
            ),
            (Place::Member, Some(access), None) => read(access, account, name).await,
            (Place::Member, Some(access), Some(remediation)) => {
                let truth = read(access, account, name).await;
                remediation.complete(truth).await
            }
        };
        let judged = self.judged_as_deployed(subject, meant, &truth, self.unused_after);
        Some(judged.await)
    }

    /// The role that Spot uses and its external ID: from the state, or from Spot where that is asked for or the state has
    /// nothing. Where neither tells the role, that is why nothing is known.
    async fn used(
        &self,
        access: Option<&AccountAccess>,
        subject: &Subject,
    ) -> Result<Used, String> {
        let spot = &subject.spot;
        let home = &self.sync.home;
        let owner = home.state.database().owner(spot).await;
        let owner = owner.map_err(|error| {
            format!("the state could not be read for the role that Spot uses: {error}")
        })?;
        let linked_at = owner.as_ref().map(|owner| owner.linked_at.as_second());
        if let Some(owner) = owner.as_ref().filter(|_| !self.ask_spot) {
            return Ok(Used {
                linked_at,
                role: owner.role.clone(),
                own: None,
                external_id: self.external_id(spot).await,
            });
        }
        let told = home.spot.stored_role(spot).await;
        let told =
            told.map_err(|error| format!("Spot does not tell the role that it uses: {error}"))?;
        let Some(role) = told else {
            return Err("neither Spot nor the state tells which role Spot uses".to_owned());
        };
        let own = match (owner, access) {
            (Some(owner), _) => Some(owner.role),
            (None, Some(access)) => own_role(access, subject).await,
            (None, None) => None,
        };
        Ok(Used {
            role,
            own,
            external_id: self.external_id(spot).await,
            linked_at,
        })
    }

    /// The external ID that Spot uses, or why nobody can tell it. What Spot tells is noted where the state has none, so that
    /// Spot is asked once for each account.
    async fn external_id(&self, spot: &SpotAccountId) -> Result<ExternalId, String> {
        let home = &self.sync.home;
        let database = home.state.database();
        let unread = |error| {
            format!("the state could not be read for the external ID that Spot uses: {error}")
        };
        let remembered = database.external_id(spot).await.map_err(unread)?;
        let remembered = remembered.map(|remembered| remembered.external_id);
        if let Some(id) = remembered.as_ref().filter(|_| !self.ask_spot) {
            return Ok(id.clone());
        }
        match home.spot.external_id(spot).await {
            Ok(Some(id)) => {
                if remembered.is_none()
                    && let Err(error) = database.note_external_id(spot, &id).await
                {
                    tracing::warn!(
                        spot_account = %spot,
                        reason = %error,
                        "the external ID that Spot uses could not be noted; Spot is asked for it again"
                    );
                }
                Ok(id)
            }
            Ok(None) => remembered.ok_or_else(|| {
                "neither Spot nor the state tells which external ID Spot uses".to_owned()
            }),
            Err(error) => Err(format!(
                "Spot does not tell the external ID that it uses: {error}"
            )),
        }
    }
}

/// Whether nobody could read what there is.
fn is_unreadable(drifts: &[Drift]) -> bool {
    drifts.iter().any(Drift::is_unread)
}

/// The role of an account's stack, by its output.
async fn own_role(access: &AccountAccess, subject: &Subject) -> Option<RoleArn> {
    let stack = access.stack(subject.stack.as_ref()?).await;
    let mut outputs = stack.ok().flatten()?.outputs;
    outputs.remove("SpotRoleArn")?.parse().ok()
}

/// The Spot account of an instance whose account we enrolled, linked or unlinked since, and that should be as its stack set means
/// it.
fn is_ours_to_read<'a>(
    sync: &'a SyncObserved,
    links: &SpotLinks<'a>,
    instance: &StackInstance,
) -> Option<&'a SpotAccountId> {
    let is_current = instance.status == InstanceStatus::Current;
    is_current
        .then(|| ours(sync, links, instance.account))
        .flatten()
}

/// The Spot account of an active account that we enrolled, linked or unlinked since.
fn ours<'a>(
    sync: &'a SyncObserved,
    links: &SpotLinks<'a>,
    account: AwsAccountId,
) -> Option<&'a SpotAccountId> {
    let known = sync.organization.account(account)?;
    if known.state != AccountState::Active || sync.kept_links.contains(&account) {
        return None;
    }
    match links.of(account) {
        Link::One(spot) => Some(spot),
        // Whether it can be linked again depends on its role.
        Link::None => {
            let ours = sync.owned_links.get(&account)?;
            let mut records = sync.spot_accounts.iter();
            let record = records.find(|record| record.id == *ours && record.unlinked);
            record.map(|record| &record.id)
        }
        Link::Several(_) => None,
    }
}

/// The parameters that an instance overrides, as far as the state tells.
fn known_overrides(profile: &ObservedProfile, instance: &StackInstance) -> Overrides {
    let version = profile.overridden_version(instance).map(|version| {
        let name = template::POLICY_VERSION_PARAMETER.to_owned();
        (name, version.to_owned())
    });
    let external_id = profile.external_ids.get(&instance.account);
    let given = external_id.map(|id| {
        (
            template::EXTERNAL_ID_PARAMETER.to_owned(),
            id.as_str().to_owned(),
        )
    });
    given.into_iter().chain(version).collect()
}

/// A role of an account with its policies, through the audit role.
pub(in crate::jobs) async fn read(
    access: &AccountAccess,
    account: AwsAccountId,
    name: &str,
) -> TruthReading {
    let role = match access.role(account, name).await {
        Ok(Some(role)) => role,
        Ok(None) => return TruthReading::Absent,
        Err(error) => return TruthReading::Denied(error.to_string()),
    };
    match access.role_policies(account, name).await {
        Ok(Some(policies)) => TruthReading::Present(Box::new(RoleTruth::new(role, policies))),
        Ok(None) => TruthReading::Absent,
        Err(error) => TruthReading::Denied(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use onboarding_core::drift::DriftKind;

    use super::*;

    #[test]
    fn of_two_stacks_of_an_account_the_one_counts_by_which_more_is_wrong() {
        let account = AwsAccountId::from_number(2).unwrap();
        let unreadable = || vec![Drift::unreadable(account, "denied".to_owned())];
        let missing = || {
            let mut drifts = unreadable();
            drifts[0].kind = DriftKind::RoleMissing;
            drifts
        };
        for (all, expected) in [
            ([vec![], unreadable()], unreadable()),
            ([unreadable(), missing()], missing()),
        ] {
            for turn in [[0, 1], [1, 0]] {
                let mut drifts = Drifts::new();
                for one in turn {
                    note(&mut drifts, account, all[one].clone());
                }
                assert_eq!(drifts[&account], expected);
            }
        }
    }
}
