//! What IAM has in each enrolled account, compared as it is read.

mod management;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_ops::AccountAccess;
use futures_util::{StreamExt as _, stream};
use onboarding_core::{
    drift::{
        self, CompareContext, Drift, DriftKind, Fix, Meanings, RoleTruth, TruthReading, Unused,
    },
    ids::{AwsAccountId, ExternalId, RoleArn, SpotAccountId, StackId},
    inventory::{AccountState, InstanceStatus, StackInstance},
    stackset_sync::{
        ObservedProfile, SyncObserved,
        spot_links::{Link, SpotLinks},
    },
    template,
};
use onboarding_provider::Intents as _;

use super::OnAccounts;
use crate::engine::{ErrorClass, JobError};

/// An account that is asked.
struct Subject {
    account: AwsAccountId,
    spot: SpotAccountId,
    /// Its stack.
    stack: Option<StackId>,
    meanings: Arc<Meanings>,
    overrides: BTreeMap<String, String>,
    place: Place,
    now: i64,
}

/// How an account is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Through the audit role.
    Member,
    /// As ourselves: the management account, whose credentials we have.
    Management,
}

/// What Spot uses an account with, as far as it is known.
struct Used {
    role: RoleArn,
    /// The role that the account's own stack made, where that is known.
    own: Option<RoleArn>,
    external_id: Option<ExternalId>,
    linked_at: Option<i64>,
}

impl OnAccounts {
    /// How IAM's truth differs in the accounts that are enrolled by us, active, and current. One that cannot be read is a
    /// difference of its own and never ends the audit.
    pub(in crate::jobs) async fn drifts(
        &self,
        sync: &SyncObserved,
    ) -> Result<BTreeMap<AwsAccountId, Vec<Drift>>, JobError> {
        let Some(access) = &self.sync.home.access else {
            return Err(JobError::new(
                ErrorClass::Invalid,
                "depth = \"full\" needs a role to read the accounts through; set audit.enabled in runner.toml",
            ));
        };
        let meanings = sync
            .profiles
            .iter()
            .map(|profile| self.meanings(profile))
            .collect::<Result<Vec<_>, _>>()?;
        let links = SpotLinks::new(&sync.spot_accounts);
        // What was as it should be before the steps is not read again after them: none of them works on it.
        let sound = |account: AwsAccountId| {
            let read = self.read.lock();
            read.get(&account).is_some_and(Vec::is_empty)
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
        let mut read = BTreeMap::new();
        let mut subjects = Vec::new();
        for (profile, meanings) in sync.profiles.iter().zip(&meanings) {
            let Some(meanings) = meanings else { continue };
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
                if sound(instance.account) {
                    read.insert(instance.account, Vec::new());
                } else {
                    subjects.push(Subject {
                        account: instance.account,
                        spot: spot.clone(),
                        stack: instance.stack_id.as_deref().and_then(|id| id.parse().ok()),
                        meanings: meanings.clone(),
                        overrides: overrides(profile, instance),
                        place: Place::Member,
                        now: sync.now,
                    });
                }
            }
        }
        match self.management(sync, &links) {
            Some((account, _)) if sound(account) => {
                read.insert(account, Vec::new());
            }
            Some((_, Ok(subject))) => subjects.push(subject),
            Some((account, Err(why))) => {
                read.insert(account, vec![Drift::unreadable(account, why)]);
            }
            None => {}
        }
        let at_once = usize::try_from(self.concurrency).unwrap_or(1).max(1);
        let compared: Vec<_> = stream::iter(subjects)
            .map(|subject| async move {
                let drifts = self.compared(access, &subject).await?;
                Some((subject.account, drifts))
            })
            .buffer_unordered(at_once)
            .filter_map(std::future::ready)
            .collect()
            .await;
        read.extend(compared);
        Ok(read)
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
    async fn compared(&self, access: &AccountAccess, subject: &Subject) -> Option<Vec<Drift>> {
        let account = subject.account;
        let used = self.used(access, subject).await;
        let external_id = used.as_ref().and_then(|used| used.external_id.clone());
        let meaning =
            subject
                .meanings
                .for_account(account, &subject.overrides, external_id.as_ref());
        let meaning = match meaning {
            Ok(Some(meaning)) => meaning,
            Ok(None) => return None,
            Err(error) => return Some(vec![Drift::unreadable(account, error.to_string())]),
        };
        // Somebody may have pointed Spot at another role: the stack's own is what is compared.
        let own = used.as_ref().and_then(|used| used.own.clone());
        let name = match (&used, &meaning.role_name) {
            (Some(used), _) => own.as_ref().unwrap_or(&used.role).role_name().to_owned(),
            (None, Some(name)) => name.clone(),
            (None, None) => {
                let why = "neither Spot nor the state tells which role Spot uses";
                return Some(vec![Drift::unreadable(account, why.to_owned())]);
            }
        };
        let truth = match (subject.place, &self.sync.home.remediation) {
            (Place::Management, _) => self.read_management(access, account, &name).await,
            (Place::Member, None) => read(access, account, &name).await,
            (Place::Member, Some(remediation)) => {
                let truth = read(access, account, &name).await;
                remediation.complete(truth).await
            }
        };
        let unused_after = self.unused_after;
        let context = CompareContext {
            linked_at: used.as_ref().and_then(|used| used.linked_at),
            unused: unused_after.map(|after| Unused {
                now: subject.now,
                after,
            }),
            spot_principal: self.sync.desired.spot_principal.clone(),
            stored_role: used.map(|used| used.role),
            external_id,
        };
        match (&truth, own, &context.stored_role) {
            // Spot has a way in by the other one, which a new stack would end: a person says whether it may.
            (TruthReading::Absent, Some(own), Some(stored)) if own != *stored => {
                let look = format!("aws iam get-role --role-name {}", stored.role_name());
                Some(vec![Drift {
                    kind: DriftKind::RoleMissing,
                    resource: own.to_string(),
                    expected: "the role that the stack makes".to_owned(),
                    actual: format!("no such role; Spot uses {stored}"),
                    verdict: None,
                    changes: Vec::new(),
                    fix: Fix::NeedsPerson(look),
                }])
            }
            _ => Some(drift::compare(&meaning, &truth, &context)),
        }
    }

    /// The role that Spot uses and its external ID: from the state, or from Spot where that is asked for or the state has
    /// nothing.
    async fn used(&self, access: &AccountAccess, subject: &Subject) -> Option<Used> {
        let (account, spot) = (subject.account, &subject.spot);
        let home = &self.sync.home;
        let database = home.state.database();
        let remembered = database.external_id(spot).await.ok().flatten();
        let remembered = remembered.map(|remembered| remembered.external_id);
        let owner = database.owner(spot).await.ok().flatten();
        let linked_at = owner.as_ref().map(|owner| owner.linked_at.as_second());
        if let Some(owner) = owner.as_ref().filter(|_| !self.ask_spot) {
            return Some(Used {
                linked_at,
                role: owner.role.clone(),
                own: None,
                external_id: remembered,
            });
        }
        let told = home.spot.stored_role(spot).await;
        let role = match told {
            Ok(role) => role?,
            Err(error) => {
                tracing::warn!(cloud.account.id = %account, reason = %error, "the role that Spot uses could not be read");
                return None;
            }
        };
        let external_id = home.spot.external_id(spot).await.ok().flatten();
        let own = match owner {
            Some(owner) => Some(owner.role),
            None => own_role(access, subject).await,
        };
        Some(Used {
            role,
            own,
            external_id: external_id.or(remembered),
            linked_at,
        })
    }
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

/// The parameters that an instance overrides.
fn overrides(profile: &ObservedProfile, instance: &StackInstance) -> BTreeMap<String, String> {
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
