//! Taking stray policies out of a role of ours: looked at once more right before, through the audit role; taken away through the
//! remediation role; and looked at again until IAM says that they are gone. What they say is in the step, which the journal has.

use std::time::Duration;

use aws_ops::{AccessError, AccountAccess};
use onboarding_core::{
    drift::{Changed, StrayPolicy, still_there},
    ids::{AwsAccountId, RoleArn},
};
use serde::{Deserialize, Serialize};

use super::{super::accounts::truth, StackSetSync};
use crate::{
    engine::{Applied, ErrorClass, StepContext, StepError},
    home::{Remediation, aws_error},
    provider,
};

/// How long IAM may go on telling what was taken away: its reads follow its writes after seconds.
const SETTLED: i64 = 60;

/// The pause before it is asked again.
const PAUSE: Duration = Duration::from_secs(2);

/// The policies of one step.
#[derive(Clone, Copy)]
pub(super) struct Strays<'a> {
    pub(super) account: AwsAccountId,
    pub(super) role: &'a RoleArn,
    pub(super) role_id: &'a str,
    pub(super) policies: &'a [StrayPolicy],
}

/// That this run has begun to take them away.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    run: String,
    /// When, in Unix seconds.
    at: i64,
}

impl StackSetSync {
    pub(super) async fn remove_stray_policies(
        &self,
        cx: &StepContext,
        strays: Strays<'_>,
    ) -> Result<Applied, StepError> {
        let (Some(access), Some(remediation)) = (&self.home.access, &self.home.remediation) else {
            return Err(StepError::new(
                ErrorClass::Invalid,
                "there is no remediation role any more: audit.enabled or remediation.enabled was taken away; plan again",
            ));
        };
        let Strays { account, role, .. } = strays;
        let begun = begun(cx);
        if begun.is_none() && !provider::is_in_scope(&self.home, account).await? {
            return Err(StepError::new(
                ErrorClass::Failed,
                format!(
                    "account {account} is not targeted any more; nothing was taken away, run again"
                ),
            ));
        }
        let there = strays.there(access, remediation).await;
        let there = there.map_err(|changed| refused(&changed, begun.is_some()))?;
        if there.is_empty() {
            return Ok(match begun {
                Some(_) => Applied::Done {
                    note: Some(strays.words(cx)),
                },
                None => Applied::Unchanged,
            });
        }
        let now = cx.now().div_euclid(1000);
        match begun {
            Some(begun) if now - begun.at > SETTLED => {
                return Err(StepError::new(
                    ErrorClass::Failed,
                    format!(
                        "{} is still in {role} a minute after it was taken away: somebody puts it back; find out who",
                        names(&there)
                    ),
                ));
            }
            Some(_) => {}
            None => {
                let run = cx.run_id().to_string();
                let memo = serde_json::to_value(Begun { run, at: now });
                cx.set_memo(memo.map_err(|error| {
                    StepError::new(ErrorClass::Bug, "a memo cannot be written").with_source(error)
                })?)
                .await?;
            }
        }
        for policy in there {
            strays.remove(remediation, policy).await?;
        }
        Ok(Applied::Requeue {
            after: PAUSE,
            progress: None,
        })
    }
}

impl<'a> Strays<'a> {
    /// Those that are still there, as they were.
    async fn there(
        &self,
        access: &AccountAccess,
        remediation: &Remediation,
    ) -> Result<Vec<&'a StrayPolicy>, Changed> {
        let truth = truth::read(access, self.account, self.role.role_name()).await;
        let truth = remediation.complete(truth).await;
        still_there(self.role, self.role_id, self.policies, &truth)
    }

    async fn remove(
        &self,
        remediation: &Remediation,
        policy: &StrayPolicy,
    ) -> Result<(), StepError> {
        let (account, role) = (self.account, self.role.role_name());
        let removed = match policy {
            StrayPolicy::Inline { name, .. } => {
                let delete = remediation.role.delete_role_policy(account, role, name);
                delete.await
            }
            StrayPolicy::Attached { arn, .. } => {
                let detach = remediation.role.detach_role_policy(account, role, arn);
                detach.await
            }
        };
        let was_there = removed.map_err(|error| match error {
            AccessError::Failed(error) => aws_error(*error),
            denied => StepError::new(ErrorClass::Denied, denied.to_string()),
        })?;
        if was_there {
            tracing::warn!(cloud.account.id = %account, role = %self.role, policy = policy.name(), "stray policy taken away");
        }
        Ok(())
    }

    /// What was taken away, and where it is written down.
    fn words(&self, cx: &StepContext) -> String {
        let policies: Vec<&StrayPolicy> = self.policies.iter().collect();
        format!(
            "taken away from {}: {}; to put back: runner runs show {}",
            self.role,
            names(&policies),
            cx.run_id()
        )
    }
}

/// What this run wrote down; what an earlier one did, is begun again.
fn begun(cx: &StepContext) -> Option<Begun> {
    let begun: Begun = serde_json::from_value(cx.memo()?).ok()?;
    (begun.run == cx.run_id().to_string()).then_some(begun)
}

fn names(policies: &[&StrayPolicy]) -> String {
    let names: Vec<String> = policies.iter().map(|policy| policy.words()).collect();
    names.join(" and ")
}

fn refused(changed: &Changed, is_begun: bool) -> StepError {
    let rest = match is_begun {
        true => "nothing more was taken away",
        false => "nothing was taken away",
    };
    let class = match changed {
        Changed::Unread(_) => ErrorClass::Transient,
        Changed::Gone(_) | Changed::AnotherRole(_) | Changed::Document(_) => ErrorClass::Failed,
    };
    StepError::new(class, format!("{changed}; {rest}, run again"))
}
