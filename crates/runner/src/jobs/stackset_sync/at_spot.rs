//! What the runner does at Spot for an account whose stack has no custom resources: the provider's lifecycle, with requests
//! that the runner makes itself. They get the same look-ups, intents and adopt rule as those of a stack.
//!
//! In the state, one id stands for the account's stack, because its real one is only known when its Spot account is made.

use std::{future::Future, time::Duration};

use jiff::Timestamp;
use onboarding_core::{
    custom_resource::{
        RequestType, Resource, ResourceRequest, ResourceResponse, ServedStacks, Status,
    },
    desired::{DirectEnrollment, Profile},
    ids::{AwsAccountId, ExternalId, RoleArn, SpotAccountId, StackId},
    secret::SecretText,
    stackset_sync::{MendKind, MendOf},
};
use onboarding_provider::{AdoptRule, Intents as _, Provider};

use super::StackSetSync;
use crate::{
    engine::{Applied, ErrorClass, RunId, StepContext, StepError},
    provider,
    state::{MendFailure, OperationResults, StateError},
};

/// How long what is done at Spot before, or after, the stack may take at most: both fit into one call of a step.
const PATIENCE: Duration = Duration::from_secs(25 * 60);

/// How long a request that is under way may go on when the run is interrupted; what it left undone, the next run looks for.
const GRACE: Duration = Duration::from_secs(10);

/// An account, and what is done for it.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) profile: &'a Profile,
    pub(super) enrollment: &'a DirectEnrollment,
    pub(super) account: AwsAccountId,
}

/// In whose name something is asked for at Spot.
pub(super) struct Requester<'a> {
    pub(super) profile: &'a Profile,
    pub(super) account: AwsAccountId,
    pub(super) stack: StackId,
    /// What is mended by it; none where it enrolls the account.
    pub(super) mends: Option<MendKind>,
}

/// What Spot has for an account before its stack is made.
#[derive(Debug, Clone)]
pub(super) enum Prepared {
    /// What the stack gets.
    Ready {
        spot_account: SpotAccountId,
        external_id: ExternalId,
    },
    /// The adopt rule keeps somebody else's link, so there is nothing to do.
    Kept { note: String },
}

/// How something at Spot ended.
pub(super) enum AtSpot<T> {
    /// Done.
    Done(T),
    /// Not done, because the run is being interrupted.
    Interrupted,
}

impl Subject<'_> {
    fn partition(&self) -> &'static str {
        self.profile.region.partition()
    }

    fn requester(&self) -> Result<Requester<'_>, StepError> {
        Requester::direct(self.profile, self.account)
    }

    fn role(&self) -> Result<RoleArn, StepError> {
        let (account, name) = (self.account, &self.enrollment.role_name);
        let text = format!("arn:{}:iam::{account}:role/{name}", self.partition());
        text.parse().map_err(bug)
    }
}

impl<'a> Requester<'a> {
    /// The id that stands for the stack of an account without custom resources.
    pub(super) fn direct(profile: &'a Profile, account: AwsAccountId) -> Result<Self, StepError> {
        let text = format!(
            "arn:{}:cloudformation:{}:{account}:stack/{}/direct",
            profile.region.partition(),
            profile.region,
            profile.stack_set
        );
        Ok(Self {
            profile,
            account,
            stack: text.parse().map_err(bug)?,
            mends: None,
        })
    }

    /// A request as a stack would make it.
    fn request(
        &self,
        request_id: String,
        (logical_id, resource_type): (&str, &str),
        resource: Resource,
    ) -> ResourceRequest {
        ResourceRequest {
            request_type: RequestType::Create,
            request_id,
            stack_id: self.stack.clone(),
            account: self.account,
            logical_id: logical_id.to_owned(),
            physical_id: None,
            resource_type: resource_type.to_owned(),
            resource: Ok(resource),
            old_resource: None,
            response_url: SecretText::new(""),
            service_token: None,
            // No stack waits for the answer, so none is asked whether it still does.
            service_timeout: Duration::ZERO,
            published: None,
        }
    }
}

fn bug(error: onboarding_core::ids::InvalidId) -> StepError {
    StepError::new(ErrorClass::Bug, "an ARN of our own has a wrong form").with_source(error)
}

impl StackSetSync {
    /// The account's Spot account and external ID, found or made; asked for once in a run.
    pub(super) async fn prepared(
        &self,
        cx: &StepContext,
        subject: Subject<'_>,
    ) -> Result<AtSpot<Prepared>, StepError> {
        let known = self.prepared.lock().get(&subject.account).cloned();
        if let Some(known) = known {
            return Ok(AtSpot::Done(known));
        }
        let deadline = self.deadline();
        let requester = subject.requester()?;
        let account = Resource::SpotAccount {
            aws_account: subject.account,
        };
        let asked = self.ask(cx, &requester, deadline, "SpotAccount", account);
        let AtSpot::Done(answer) = asked.await? else {
            return Ok(AtSpot::Interrupted);
        };
        let spot_account: SpotAccountId = data(&answer, "AccountId")?;
        let is_adopted = answer
            .data
            .get("Adopted")
            .is_some_and(|adopted| adopted == "true");
        let prepared = if is_adopted && subject.profile.adopt == AdoptRule::KeepLink {
            Prepared::Kept {
                note: answer.reason,
            }
        } else {
            let external_id = Resource::SpotExternalId {
                spot_account: spot_account.clone(),
            };
            let asked = self.ask(cx, &requester, deadline, "SpotExternalId", external_id);
            let AtSpot::Done(answer) = asked.await? else {
                return Ok(AtSpot::Interrupted);
            };
            Prepared::Ready {
                spot_account,
                external_id: data(&answer, "ExternalId")?,
            }
        };
        let mut all = self.prepared.lock();
        all.insert(subject.account, prepared.clone());
        Ok(AtSpot::Done(prepared))
    }

    /// Links the account to its role, names it, switches its products on, and writes down that this is done.
    pub(super) async fn finish_at_spot(
        &self,
        cx: &StepContext,
        subject: Subject<'_>,
        prepared: Prepared,
    ) -> Result<Applied, StepError> {
        let (spot_account, note) = match prepared {
            Prepared::Ready { spot_account, .. } => {
                let note = format!("Spot account {spot_account} is linked");
                (Some(spot_account), note)
            }
            Prepared::Kept { note } => (None, note),
        };
        if let Some(spot_account) = spot_account {
            let deadline = self.deadline();
            let requester = subject.requester()?;
            for (logical_id, resource) in requests(subject, &spot_account)? {
                match self
                    .ask(cx, &requester, deadline, logical_id, resource)
                    .await?
                {
                    AtSpot::Done(_) => {}
                    AtSpot::Interrupted => return Ok(interrupted()),
                }
            }
            let finished = requester.request(
                subject.enrollment.mark(),
                ("SpotAccount", "Custom::SpotAccount"),
                Resource::SpotAccount {
                    aws_account: subject.account,
                },
            );
            let finished = ResourceResponse::success(&finished, spot_account.as_str());
            let written = self.home.state.database().remember_answer(&finished).await;
            written.map_err(|error| {
                StepError::new(
                    ErrorClass::Transient,
                    "writing down that an account is enrolled failed",
                )
                .with_source(error)
            })?;
        }
        let results = OperationResults {
            operation: "",
            failed: &[],
            succeeded: &[subject.account],
        };
        self.record(cx, subject.profile, results).await?;
        Ok(Applied::Done { note: Some(note) })
    }

    /// Serves a request of ours to its end.
    pub(super) async fn ask(
        &self,
        cx: &StepContext,
        requester: &Requester<'_>,
        deadline: Timestamp,
        logical_id: &str,
        resource: Resource,
    ) -> Result<AtSpot<ResourceResponse>, StepError> {
        if cx.is_ending() {
            return Ok(AtSpot::Interrupted);
        }
        let resource_type = format!("Custom::{logical_id}");
        let request_id = uuid::Uuid::now_v7().to_string();
        let request = requester.request(request_id, (logical_id, &resource_type), resource);
        let lifecycle = self.lifecycle().await?;
        let handled = Box::pin(lifecycle.handle(&request, deadline));
        let Some(answer) = unless_interrupted(cx, handled).await else {
            return Ok(AtSpot::Interrupted);
        };
        if answer.status == Status::Success {
            return Ok(AtSpot::Done(answer));
        }
        // What is frozen has not failed.
        if let Ok(Some(freeze)) = self.home.state.database().frozen().await {
            return Err(StepError::new(ErrorClass::Transient, freeze.to_string()));
        }
        // One failure a run, however often its step is tried.
        let at = format!("spot in run {}", cx.run_id());
        let Requester {
            profile, account, ..
        } = requester;
        match requester.mends {
            Some(kind) => {
                self.record_unmended(cx, profile, (*account, kind), &answer.reason)
                    .await?;
            }
            None => {
                self.record_failure(cx, profile, *account, &at, &answer.reason)
                    .await?;
            }
        }
        Err(StepError::new(ErrorClass::Failed, answer.reason))
    }

    /// Winds the retry clock of an account that failed.
    pub(super) async fn record_failure(
        &self,
        cx: &StepContext,
        profile: &Profile,
        account: AwsAccountId,
        operation: &str,
        reason: &str,
    ) -> Result<(), StepError> {
        tracing::warn!(cloud.account.id = %account, reason, "an account could not be enrolled");
        let results = OperationResults {
            operation,
            failed: &[(account, Some(reason))],
            succeeded: &[],
        };
        self.record(cx, profile, results).await
    }

    /// Winds the clock of what could not be mended.
    pub(super) async fn record_unmended(
        &self,
        cx: &StepContext,
        profile: &Profile,
        of: MendOf,
        reason: &str,
    ) -> Result<(), StepError> {
        tracing::warn!(cloud.account.id = %of.0, mend = of.1.code(), reason, "an account could not be mended");
        let now = cx.now().div_euclid(1000);
        let failure = MendFailure { of, reason };
        Ok(self
            .record_unmended_of(profile, cx.run_id(), &[failure], now)
            .await?)
    }

    /// The same, in a run, at `now` (Unix seconds).
    pub(in crate::jobs) async fn record_unmended_of(
        &self,
        profile: &Profile,
        run: RunId,
        failures: &[MendFailure<'_>],
        now: i64,
    ) -> Result<(), StateError> {
        let first_wait = self.home.config.runner.retry_failed.first.get().as_secs();
        let first_wait = i64::try_from(first_wait).unwrap_or(i64::MAX);
        let state = &self.home.state;
        state
            .record_mend_failures(&profile.name, run, failures, first_wait, now)
            .await
    }

    /// Until when what is asked for now may take.
    fn deadline(&self) -> Timestamp {
        let timeout = self.home.config.runner.enrollment.service_timeout.get();
        let deadline = Timestamp::now().checked_add(timeout.min(PATIENCE));
        deadline.unwrap_or(Timestamp::MAX)
    }

    async fn lifecycle(&self) -> Result<&Provider, StepError> {
        self.lifecycle
            .get_or_try_init(|| async {
                let known = self.organization.lock().clone();
                // The requests are our own, of no stack that has a name.
                provider::lifecycle(&self.home, known, ServedStacks::default()).await
            })
            .await
    }
}

/// What is asked for once the role is there, in this order.
fn requests(
    subject: Subject<'_>,
    spot_account: &SpotAccountId,
) -> Result<Vec<(&'static str, Resource)>, StepError> {
    let spot_account = || spot_account.clone();
    let link = Resource::SpotLinkedCredentials {
        spot_account: spot_account(),
        role: subject.role()?,
    };
    let mut requests = vec![("SpotLinkedCredentials", link)];
    if subject.enrollment.rename.is_some() {
        let renamed = Resource::RenamedSpotAccount {
            spot_account: spot_account(),
            aws_account: subject.account,
        };
        requests.push(("RenamedSpotAccountByAlias", renamed));
    }
    if subject.enrollment.cost_intelligence {
        let enabled = Resource::CostIntelligence {
            spot_account: spot_account(),
        };
        requests.push(("EnableCostIntelligence", enabled));
    }
    Ok(requests)
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

/// None when the run is interrupted and it does not end soon.
async fn unless_interrupted<T>(cx: &StepContext, work: impl Future<Output = T>) -> Option<T> {
    let leaving = async {
        cx.interrupt().draining().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        done = work => Some(done),
        () = leaving => None,
    }
}

pub(super) fn interrupted() -> Applied {
    Applied::Stopped {
        note: Some("interrupted before it was finished at Spot".to_owned()),
    }
}
