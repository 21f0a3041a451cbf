//! Observing for `stackset-sync`: organization ∥ trusted access ∥ stack sets with instances and operations ∥ Spot
//! accounts ∥ what the state remembers; then the live roles of the accounts that the run has changed. Reads only, but for
//! what the state caches.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_ops::{
    Listing, SnapshotOptions,
    stack_sets::{OperationAction, TrustedAccess},
};
use futures_util::future::try_join_all;
use onboarding_core::{
    desired::{DirectEnrollment, OuRef, Profile, Purpose},
    inventory::{AccountState, OrganizationSnapshot},
    stackset_sync::{
        ObservedProfile, PlanError, RunningOperation, SyncObserved, guard, spot_links::SpotLinks,
        targets,
    },
    template,
};

use super::StackSetSync;
use crate::{
    config::{ProviderKind, ServedBy},
    engine::{ErrorClass, JobError, RunId},
    home::{aws_error, spot_error},
    provider::{self, KnownOrganization},
    state::OrganizationCache,
};

impl StackSetSync {
    /// Looks at everything, at `now` (Unix seconds). For a run that may change something, what is seen for the first time
    /// is remembered: failures start their clock, and those of accounts that are enrolled by now stop.
    pub(in crate::jobs) async fn observe_at(
        &self,
        now: i64,
        run: Option<RunId>,
    ) -> Result<SyncObserved, JobError> {
        let profiles = async {
            try_join_all(
                self.desired
                    .profiles
                    .iter()
                    .map(|profile| self.observe_profile(profile, run)),
            )
            .await
        };
        let spot_accounts = async { self.home.spot.list_accounts().await.map_err(spot_error) };
        let trusted_access = async {
            let access = self.home.aws.trusted_access().await;
            match access.map_err(|error| self.access_error(error))? {
                TrustedAccess::Enabled => Ok(true),
                TrustedAccess::Disabled => Ok(false),
                other => Err(JobError::new(
                    ErrorClass::Prerequisite,
                    format!(
                        "trusted access of StackSets is {other:?}; look at the StackSets console of the management account"
                    ),
                )),
            }
        };
        let links = async { self.home.state.spot_links().await.map_err(JobError::from) };
        // First and alone: of all that the wrong credentials are refused, this says best that they are the wrong ones.
        let trusted_access = trusted_access.await?;
        let role = async |profile: Option<&Profile>| match profile {
            Some(profile) => self.observe_profile(profile, run).await.map(Some),
            None => Ok(None),
        };
        let remediation = self.desired.remediation.as_ref();
        // Boxed: most configurations have neither.
        let remediation = Box::pin(role(remediation.map(|remediation| &remediation.profile)));
        let audit = Box::pin(role(self.desired.audit.as_ref()));
        let (
            cache,
            profiles,
            audit,
            remediation,
            spot_accounts,
            mut links,
            billing_engine,
            user_groups,
        ) = tokio::try_join!(
            self.organization(now),
            profiles,
            audit,
            remediation,
            spot_accounts,
            links,
            self.billing_engine(),
            self.user_groups()
        )?;
        let (known, cache) = cache;
        if self.home.config.runner.enrollment.provider == ProviderKind::SpotHosted {
            let known = self.home.state.hosted_links().await?;
            let at_spot = SpotLinks::new(&spot_accounts);
            let instances = profiles.iter().map(|profile| &profile.instances);
            let new: BTreeMap<_, _> = instances
                .flat_map(|instances| at_spot.hosted(instances, &known))
                .collect();
            if run.is_some() && !new.is_empty() {
                self.home.state.remember_hosted_links(&new).await?;
            }
            let new = new.into_iter();
            links
                .owned
                .extend(new.map(|(account, link)| (account, link.spot_account)));
        }
        let finished = match self.enrolls_directly() {
            true => self.home.state.answered(DirectEnrollment::MARK).await?,
            false => BTreeMap::new(),
        };
        let live_roles = self
            .live_roles(&known.organization, &spot_accounts, &links.kept)
            .await;
        let past_links = self
            .past_links(&known.organization, &profiles, run.is_some())
            .await?;
        let mut observed = SyncObserved {
            audit,
            remediation,
            links: past_links,
            live_roles,
            organization: known.organization,
            account_tags: known.tags,
            previous_account_count: cache.account_count,
            closed_since: cache.closed_since,
            trusted_access,
            profiles,
            spot_accounts,
            kept_links: links.kept,
            owned_links: links.owned,
            billing_engine,
            user_groups,
            finished,
            unserved: self.unserved().await?,
            now,
        };
        self.wind_clocks(&mut observed, run).await?;
        Ok(observed)
    }

    /// Whether any account is enrolled without custom resources.
    fn enrolls_directly(&self) -> bool {
        let mut profiles = self.desired.profiles.iter();
        profiles.any(|profile| profile.direct.is_some() || profile.management.is_some())
    }

    /// Whether the configuration says that a `runner provider` serves between runs, and none does.
    async fn unserved(&self) -> Result<bool, JobError> {
        let enrollment = &self.home.config.runner.enrollment;
        Ok(enrollment.provider == ProviderKind::Queue
            && enrollment.served_by == ServedBy::Provider
            && !self.home.state.is_served().await?)
    }

    /// The organization with the tags that decide, read once per run, and what an earlier run remembers of it.
    async fn organization(
        &self,
        now: i64,
    ) -> Result<(KnownOrganization, OrganizationCache), JobError> {
        let cache = self.home.state.organization_cache().await?;
        let known = self.organization.lock().clone();
        if let Some(known) = known {
            return Ok((known, cache));
        }
        let Listing {
            snapshot, shape, ..
        } = self.list_organization(&cache).await?;
        self.check_identity(&snapshot)?;
        if self.home.config.runner.enrollment.provider == ProviderKind::Queue {
            // Stacks whose requests nobody can answer would hang until their ServiceTimeout.
            provider::check(&self.home).await?;
            provider::check_function(&self.home).await?;
        }
        let closed_since: BTreeMap<_, _> = snapshot
            .accounts
            .iter()
            .filter(|account| account.state == AccountState::Closed)
            .map(|account| {
                (
                    account.id,
                    cache.closed_since.get(&account.id).copied().unwrap_or(now),
                )
            })
            .collect();
        // A first listing is nobody's successor: it becomes the measure, or there would never be one.
        let shrunk = cache.account_count.is_some_and(|previous| {
            let now = snapshot.accounts.len();
            guard::shrink(&self.desired.removal, Some(previous), now).is_some()
        });
        let newer = OrganizationCache {
            unit_names: snapshot.unit_names(),
            shape: Some(shape),
            closed_since: closed_since.clone(),
            // A listing that shrank too far does not become the new measure: the guard must hold until a person decides.
            account_count: if shrunk {
                cache.account_count
            } else {
                Some(snapshot.accounts.len())
            },
        };
        self.home.state.remember_organization(&newer, now).await?;
        self.home.state.forget_returned(&snapshot).await?;
        let known = KnownOrganization {
            tags: self.account_tags(&snapshot, now).await?,
            organization: Arc::new(snapshot),
        };
        *self.organization.lock() = Some(known.clone());
        Ok((
            known,
            OrganizationCache {
                closed_since,
                account_count: cache.account_count,
                ..newer
            },
        ))
    }

    /// The units that something else than the profiles' targets names.
    fn units_beside(&self) -> impl Iterator<Item = &OuRef> {
        self.named_units.iter().chain(self.desired.leftover_units())
    }

    /// Lists the organization; with all unit names when the remembered ones do not cover what the profiles name.
    async fn list_organization(&self, cache: &OrganizationCache) -> Result<Listing, JobError> {
        let named = || {
            let targets = self.desired.all_targets();
            targets
                .flat_map(|targets| targets.ous.iter().chain(&targets.exclude_ous))
                .chain(self.units_beside())
        };
        let needed_units: BTreeSet<_> = named()
            .filter_map(|unit| match unit {
                OuRef::Id(id) => Some(id.clone()),
                OuRef::Root | OuRef::Path(_) => None,
            })
            .collect();
        // A remembered name is good enough to be shown, but not to decide who is targeted: units are renamed.
        let by_name = named().any(|unit| matches!(unit, OuRef::Path(_)));
        let known_names = if by_name {
            BTreeMap::new()
        } else {
            cache.unit_names.clone()
        };
        let mut options = SnapshotOptions {
            known_names,
            needed_units,
            shape: cache.shape,
            ..SnapshotOptions::default()
        };
        let mut listing = self
            .home
            .aws
            .organization_snapshot(&options)
            .await
            .map_err(organization_error)?;
        let is_unit = |unit: &OuRef| targets::names_a_unit(&listing.snapshot, unit);
        let incomplete = !self.units_beside().all(is_unit)
            || matches!(
                targets::decided_by_tags(&listing.snapshot, &self.desired),
                Err(PlanError::UnknownOu { .. })
            );
        if incomplete && !options.known_names.is_empty() {
            // A path may name a unit without accounts, which the shorter listing leaves out.
            options.known_names.clear();
            listing = self
                .home
                .aws
                .organization_snapshot(&options)
                .await
                .map_err(organization_error)?;
        }
        Ok(listing)
    }

    /// Only the management account and delegated administrators may ask for trusted access.
    fn access_error(&self, error: aws_ops::AwsError) -> JobError {
        let ours = self.home.identity.account;
        let delegated =
            self.home.config.runner.aws.call_as == crate::config::CallAs::DelegatedAdmin;
        if delegated && error.is_code("ValidationError") {
            return JobError::new(
                ErrorClass::Prerequisite,
                format!(
                    "aws.call_as is \"delegated-admin\", but the AWS credentials are of account {ours}, which is no delegated \
                     administrator of StackSets; register it, or set aws.call_as = \"self\" where it is the management account \
                     ({error})"
                ),
            );
        }
        if !error.is_code("InvalidOperationException") {
            return aws_error(error);
        }
        JobError::new(
            ErrorClass::Prerequisite,
            format!(
                "the AWS credentials are of account {ours}, which is not the management account of its organization; use \
                 credentials of the management account, or register {ours} as a delegated administrator of StackSets and \
                 set aws.call_as = \"delegated-admin\" ({error})"
            ),
        )
    }

    /// The identity must be the management account, or a delegated administrator that says so.
    fn check_identity(&self, organization: &OrganizationSnapshot) -> Result<(), JobError> {
        let (ours, management) = (self.home.identity.account, organization.management_account);
        let delegated =
            self.home.config.runner.aws.call_as == crate::config::CallAs::DelegatedAdmin;
        match (ours == management, delegated) {
            (true, false) | (false, true) => Ok(()),
            (false, false) => Err(JobError::new(
                ErrorClass::Prerequisite,
                format!(
                    "the AWS credentials are of account {ours}, but the management account is {management}; use credentials of \
                     the management account, or register {ours} as a delegated administrator of StackSets and set \
                     aws.call_as = \"delegated-admin\""
                ),
            )),
            (true, true) => Err(JobError::new(
                ErrorClass::Prerequisite,
                format!(
                    "aws.call_as is \"delegated-admin\", but the AWS credentials are of the management account {management}; set \
                     aws.call_as = \"self\""
                ),
            )),
        }
    }

    async fn observe_profile(
        &self,
        profile: &Profile,
        run: Option<RunId>,
    ) -> Result<ObservedProfile, JobError> {
        let aws = &self.home.aws;
        let retries = self.home.state.retries(&profile.name, run).await?;
        let mend_retries = self.home.state.mend_retries(&profile.name, run).await?;
        let management = self.observe_management(profile).await?;
        let rollout = self.home.state.open_rollout(&profile.name).await?;
        let rollout = rollout.map(|open| open.rollout);
        let Some(stack_set) = aws
            .describe_stack_set(&profile.stack_set)
            .await
            .map_err(aws_error)?
        else {
            return Ok(ObservedProfile {
                retries,
                mend_retries,
                management,
                definition_changes: changes("{}", profile),
                ..ObservedProfile::default()
            });
        };
        if !stack_set.service_managed {
            return Err(JobError::new(
                ErrorClass::Invalid,
                format!(
                    "stack set {} exists with self-managed permissions, which cannot target organizational units; give profile \
                     {:?} another stack_set",
                    profile.stack_set, profile.name
                ),
            ));
        }
        let (mut instances, operations) = aws
            .stack_set_activity(&profile.stack_set)
            .await
            .map_err(aws_error)?;
        // One Region is ours; an instance elsewhere was made by somebody else and is not judged.
        instances.retain(|instance| instance.region == profile.region);
        instances.sort_by_key(|instance| instance.account);
        let external_ids = self.external_ids(profile, &instances).await?;
        let running = operations
            .into_iter()
            .map(|operation| RunningOperation {
                action: action_name(operation.action).to_owned(),
                id: operation.id,
            })
            .collect();
        let is_direct = template::is_direct(&stack_set.template_body);
        let template_digest = template::template_digest_of(&stack_set.template_body).ok();
        let is_same = template_digest.as_ref() == Some(&profile.definition.template_digest);
        Ok(ObservedProfile {
            is_direct,
            external_ids,
            management,
            management_changes: Vec::new(),
            definition_changes: if is_same {
                Vec::new()
            } else {
                changes(&stack_set.template_body, profile)
            },
            template_digest,
            service_token_changes: template::service_token_changes(
                &stack_set.template_body,
                &profile.definition.template_body,
            )
            .map_err(|error| {
                JobError::new(
                    ErrorClass::Invalid,
                    format!("the template of stack set {} cannot be read ({error}); is it another program's?", profile.stack_set),
                )
            })?,
            is_ours: match profile.purpose {
                Purpose::Enrollment => {
                    is_direct || template::is_enrollment(&stack_set.template_body)
                }
                Purpose::AuditRole => template::is_audit_role(&stack_set.template_body),
                Purpose::RemediationRole => {
                    template::is_remediation_role(&stack_set.template_body)
                }
            },
            stack_set: Some(stack_set),
            instances,
            running,
            deployed_units: self.home.state.deployed_units(&profile.stack_set).await?,
            rollout,
            retries,
            mend_retries,
        })
    }
}

/// What the profile's template changes in another, in words.
fn changes(body: &str, profile: &Profile) -> Vec<String> {
    template::template_changes(body, &profile.definition.template_body)
        .unwrap_or_else(|error| vec![format!("the templates cannot be compared: {error}")])
}

fn organization_error(error: aws_ops::AwsError) -> JobError {
    if error.is_code("AWSOrganizationsNotInUseException") {
        return JobError::new(
            ErrorClass::Prerequisite,
            "the AWS account is not in an organization; use credentials of an organization's management account",
        );
    }
    aws_error(error)
}

fn action_name(action: OperationAction) -> &'static str {
    match action {
        OperationAction::Create => "CREATE",
        OperationAction::Update => "UPDATE",
        OperationAction::Delete => "DELETE",
        OperationAction::DetectDrift => "DETECT_DRIFT",
        OperationAction::Unknown => "unknown",
    }
}
