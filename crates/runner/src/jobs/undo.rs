//! `runner runs undo`: makes the Spot accounts again that a clean-up deleted.
//!
//! Everything at Spot goes through the provider's lifecycle, as for a stack: it looks before it creates, and writes its intent
//! down first. Only who may have an account is decided here: those of the run's records, also when their AWS account is not in
//! the organization any more; and none whose AWS account has a Spot account that no undoing made ([`Undo::in_place`]): that one
//! is neither taken nor shown to anybody.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use onboarding_core::{
    custom_resource::{
        RequestType, Resource, ResourceRequest, ResourceResponse, Status,
        account::{self, AccountDecision, KnownAccounts, OurState, Refusal as AccountRefusal},
    },
    ids::{AwsAccountId, ExternalId, InvalidId, SpotAccountId, StackId},
    orphan_cleanup::undo::{self, DeletionRecord, UndoAction, Undone},
    plan::{Plan, Step},
    secret::SecretText,
};
use onboarding_provider::{
    AccountDetails, AccountDirectory, AdoptRule, Departure, DirectoryError, Intents as _, Naming,
    Provider, ProviderSettings, SentCall,
};

use super::orphan_cleanup::state_error;
use crate::{
    engine::{Applied, ErrorClass, Job, JobError, RunContext, StepContext, StepError},
    home::{Home, spot_error},
    telemetry::metrics,
};

/// How long making one Spot account may take.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How long Spot is asked to use the old role. What it refuses, it refuses because of the new external ID.
const LINK_PATIENCE: Duration = Duration::from_secs(10);

/// The job, for one run's deletions.
pub struct Undo {
    home: Home,
    run: String,
}

impl Undo {
    /// Undoes what the run with this id deleted.
    #[must_use]
    pub fn new(home: Home, run: String) -> Self {
        Self { home, run }
    }

    /// The Spot account that the AWS account of a record has, or would be given, and that undoing this record did not make.
    async fn in_place(
        &self,
        record: &DeletionRecord,
        known: &KnownAccounts,
    ) -> Result<Option<SpotAccountId>, JobError> {
        let intent = self.home.state.database().intent(record.account).await;
        let intent = intent.map_err(state_error)?;
        let stack = self.stack(record)?;
        let ours = OurState {
            assigned: intent.assigned.as_ref(),
            removed: intent.removed.as_ref(),
            linked_by_us: false,
        };
        // The answer to the creation may have been lost: what is there then is what it made.
        let is_sent = matches!(
            intent.sent.as_ref().map(|sent| &sent.call),
            Some(SentCall::Create { stack: of, .. }) if *of == stack
        );
        let is_made = |id: &SpotAccountId| {
            intent.assigned.as_ref() == Some(id) && intent.created_by.as_ref() == Some(&stack)
        };
        Ok(
            match account::decide(record.account, known, ours, AdoptRule::KeepLink) {
                AccountDecision::Create => None,
                AccountDecision::Leftover(_) if is_sent => None,
                AccountDecision::Ours(id)
                | AccountDecision::Adopt(id)
                | AccountDecision::Leftover(id) => Some(id).filter(|id| !is_made(id)),
                AccountDecision::Refuse(AccountRefusal::Several { spot_accounts, .. }) => {
                    spot_accounts.into_iter().find(|id| !is_made(id))
                }
                AccountDecision::Refuse(AccountRefusal::LinkedElsewhere {
                    spot_account, ..
                }) => Some(spot_account),
            },
        )
    }

    /// All Spot accounts, as they are now.
    async fn known(&self) -> Result<KnownAccounts, JobError> {
        let listed = self.home.spot.list_accounts().await;
        listed.map(KnownAccounts::new).map_err(spot_error)
    }

    async fn recreate(
        &self,
        cx: &StepContext,
        record: &DeletionRecord,
    ) -> Result<Applied, StepError> {
        if let Some(other) = self.in_place(record, &self.known().await?).await? {
            return Err(not_made(record, &other));
        }
        let lifecycle = Provider::new(
            self.home.spot.clone(),
            Arc::new(self.home.state.database().clone()),
            Arc::new(Vouched {
                account: record.account,
                name: record.name.clone(),
            }),
            ProviderSettings::default(),
            Arc::new(|event| metrics::provider_event(&event)),
        );
        let ask = async |logical_id: &str, resource, patience| {
            let request = self.request(record, logical_id, resource)?;
            let deadline = Timestamp::now().checked_add(patience);
            let deadline = deadline.unwrap_or(Timestamp::MAX);
            Ok::<_, StepError>(Box::pin(lifecycle.handle(&request, deadline)).await)
        };
        let account = Resource::SpotAccount {
            aws_account: record.account,
        };
        let made = done(ask("SpotAccount", account, PATIENCE).await?)?;
        let id: SpotAccountId = data(&made, "AccountId")?;
        self.check_made(record, &id).await?;
        let linked = self.home.spot.list_accounts_of(record.account).await;
        let is_linked = linked.map_err(spot_error)?.iter().any(|one| one.id == id);
        let not_linked = match &record.role {
            _ if is_linked => None,
            None => Some("the one that was deleted was not linked either".to_owned()),
            Some(role) => {
                let external_id = Resource::SpotExternalId {
                    spot_account: id.clone(),
                };
                let external_id = done(ask("SpotExternalId", external_id, PATIENCE).await?)?;
                let external_id: ExternalId = data(&external_id, "ExternalId")?;
                let link = Resource::SpotLinkedCredentials {
                    spot_account: id.clone(),
                    role: role.clone(),
                };
                let answer = ask("SpotLinkedCredentials", link, LINK_PATIENCE).await?;
                (answer.status != Status::Success).then(|| {
                    format!(
                        "its role {role} trusts the old external ID, and its own is {external_id} now; its stack has to be \
                         deployed again ({})",
                        answer.reason
                    )
                })
            }
        };
        if !is_linked {
            let renamed = Resource::RenamedSpotAccount {
                spot_account: id.clone(),
                aws_account: record.account,
            };
            done(ask("RenamedSpotAccountByAlias", renamed, PATIENCE).await?)?;
        }
        if record.cost_intelligence && not_linked.is_none() {
            let enabled = Resource::CostIntelligence {
                spot_account: id.clone(),
            };
            done(ask("EnableCostIntelligence", enabled, PATIENCE).await?)?;
        }
        for (group, policies) in &record.user_groups {
            let frozen = self.home.state.database().frozen().await;
            if let Some(freeze) = frozen.map_err(state_error)? {
                return Err(StepError::new(ErrorClass::Failed, freeze.to_string()));
            }
            let seen = BTreeSet::from([id.clone()]);
            let policies = policies.iter().map(|policy| (policy.clone(), seen.clone()));
            let policies = policies.collect();
            let granted = self.home.spot.grant_access(group, &policies).await;
            granted.map_err(|error| {
                StepError::new(
                    ErrorClass::Failed,
                    format!(
                        "user group {group} could not be given access to Spot account {id}: {error}"
                    ),
                )
            })?;
        }
        let mut note = format!(
            "Spot account {id} takes the place of {}",
            record.spot_account
        );
        if not_linked.is_some() {
            note.push_str("; it is not linked");
        }
        let undone = Undone {
            spot_account: id,
            not_linked,
        };
        let now = cx.now().div_euclid(1000);
        let by = &self.home.identity.arn;
        let state = &self.home.state;
        state
            .note_undone(&record.spot_account, &undone, by, now)
            .await?;
        Ok(Applied::Done { note: Some(note) })
    }

    /// Checks that the lifecycle has made this one, for this record: somebody else may have enrolled the AWS account since we
    /// looked. What it was given then is given back.
    async fn check_made(
        &self,
        record: &DeletionRecord,
        id: &SpotAccountId,
    ) -> Result<(), StepError> {
        let database = self.home.state.database();
        let stack = self.stack(record)?;
        let intent = database.intent(record.account).await;
        let intent = intent.map_err(state_error)?;
        if intent.assigned.as_ref() == Some(id) && intent.created_by.as_ref() == Some(&stack) {
            return Ok(());
        }
        let holders = intent.holders.into_iter();
        for holder in holders.filter(|holder| holder.stack == stack) {
            let departure = Departure {
                holder,
                at: Timestamp::now(),
                is_account: true,
                ends: true,
            };
            let left = database.let_go(record.account, &departure).await;
            left.map_err(state_error)?;
        }
        Err(not_made(record, id))
    }

    /// What stands for the stack that would ask. None of that name is there: whichever is deployed later becomes the owner.
    fn stack(&self, record: &DeletionRecord) -> Result<StackId, StepError> {
        let region = &self.home.config.runner.aws.region;
        let stack = format!(
            "arn:{}:cloudformation:{}:{}:stack/undo-{}/undo",
            region.partition(),
            region.0,
            record.account,
            record.spot_account
        );
        stack.parse().map_err(|error: InvalidId| {
            StepError::new(ErrorClass::Bug, "an ARN of our own has a wrong form").with_source(error)
        })
    }

    /// A request as a stack would make it.
    fn request(
        &self,
        record: &DeletionRecord,
        logical_id: &str,
        resource: Resource,
    ) -> Result<ResourceRequest, StepError> {
        Ok(ResourceRequest {
            request_type: RequestType::Create,
            request_id: uuid::Uuid::now_v7().to_string(),
            stack_id: self.stack(record)?,
            account: record.account,
            logical_id: logical_id.to_owned(),
            physical_id: None,
            resource_type: format!("Custom::{logical_id}"),
            resource: Ok(resource),
            old_resource: None,
            response_url: SecretText::new(""),
            service_token: None,
            // No stack waits for the answer, so none is asked whether it still does.
            service_timeout: Duration::ZERO,
            published: None,
        })
    }
}

fn not_made(record: &DeletionRecord, other: &SpotAccountId) -> StepError {
    StepError::new(
        ErrorClass::Failed,
        format!(
            "AWS account {} has Spot account {other} meanwhile, which stays as it is; nothing was made",
            record.account
        ),
    )
}

/// What a run deleted, and what its AWS accounts have instead.
pub struct Observed {
    records: Vec<DeletionRecord>,
    /// By the Spot accounts that were deleted.
    in_place: BTreeMap<SpotAccountId, SpotAccountId>,
}

/// The one account of a record, by the name that its Spot account had.
struct Vouched {
    account: AwsAccountId,
    name: String,
}

#[async_trait]
impl AccountDirectory for Vouched {
    async fn account(
        &self,
        account: AwsAccountId,
    ) -> Result<Option<AccountDetails>, DirectoryError> {
        Ok((account == self.account).then(|| AccountDetails {
            name: Some(self.name.clone()),
            alias: None,
            adopt: AdoptRule::KeepLink,
            naming: Naming::default(),
            access: BTreeSet::new(),
        }))
    }
}

fn done(answer: ResourceResponse) -> Result<ResourceResponse, StepError> {
    match answer.status {
        Status::Success => Ok(answer),
        Status::Failed => Err(StepError::new(ErrorClass::Failed, answer.reason)),
    }
}

fn data<T: std::str::FromStr>(answer: &ResourceResponse, name: &str) -> Result<T, StepError> {
    let value = answer.data.get(name).and_then(serde_json::Value::as_str);
    value.and_then(|value| value.parse().ok()).ok_or_else(|| {
        StepError::new(
            ErrorClass::Bug,
            format!("an answer of our own has no {name} that could be read"),
        )
    })
}

#[async_trait]
impl Job for Undo {
    type Observed = Observed;

    fn kind(&self) -> &'static str {
        undo::KIND
    }

    async fn observe(&self, _cx: &RunContext) -> Result<Self::Observed, JobError> {
        let records = self.home.state.deletions_of(&self.run).await?;
        let known = self.known().await?;
        let mut in_place = BTreeMap::new();
        for record in records.iter().filter(|record| record.undone.is_none()) {
            let other = self.in_place(record, &known).await?;
            in_place.extend(other.map(|other| (record.spot_account.clone(), other)));
        }
        Ok(Observed { records, in_place })
    }

    fn plan(&self, _cx: &RunContext, observed: &Self::Observed) -> Result<Plan, JobError> {
        Ok(undo::plan(&observed.records, &observed.in_place))
    }

    async fn apply(&self, cx: &StepContext, step: &Step) -> Result<Applied, StepError> {
        let action = serde_json::from_value(step.payload.clone());
        let UndoAction::RecreateSpotAccount { spot_account } = action.map_err(|error| {
            StepError::new(
                ErrorClass::Bug,
                format!(
                    "step {} has a payload that this version cannot read",
                    step.id
                ),
            )
            .with_source(error)
        })?;
        let records = self.home.state.deletions_of(&self.run).await?;
        let mut records = records.iter();
        match records.find(|record| record.spot_account == spot_account) {
            Some(record) if record.undone.is_none() => self.recreate(cx, record).await,
            Some(_) => Ok(Applied::Unchanged),
            None => Err(StepError::new(
                ErrorClass::Failed,
                format!("the state has no record of Spot account {spot_account} any more"),
            )),
        }
    }

    fn api_calls(&self) -> BTreeMap<String, u64> {
        self.home.api_calls()
    }
}
