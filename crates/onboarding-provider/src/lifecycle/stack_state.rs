//! Whether anybody still waits for the answer: a stack that was rolled back meanwhile does not, and what was done for it
//! at Spot would be left over.

use std::time::Duration;

use jiff::Timestamp;
use onboarding_core::custom_resource::{RequestType, ResourceRequest, still_waits};

use tokio::time::Instant;

use crate::{
    intents::Intent,
    provider::{Provider, time_until},
};

/// How long after a look at its stack a request that is still attempted has it looked at again.
const AGAIN: Duration = Duration::from_secs(300);

impl Provider {
    /// Why a Create or Update is not carried out any more; none when its stack waits for it, when it is fresh, or when
    /// nobody can tell. Fresh ones are not looked up: a thousand stacks at once would be a thousand look-ups, of stacks that
    /// have only just asked. `looked` is when this request's stack was looked at last.
    pub(crate) async fn no_longer_waited_for(
        &self,
        request: &ResourceRequest,
        deadline: Timestamp,
        looked: &mut Option<Instant>,
    ) -> Option<String> {
        let recently = looked.is_some_and(|at| at.elapsed() < AGAIN);
        if recently || request.request_type == RequestType::Delete {
            return None;
        }
        // The deadline is when it was published and its timeout, or a shorter one: it is as old as this, or younger.
        let age = request.service_timeout.saturating_sub(time_until(deadline));
        if age <= self.settings.fresh {
            return None;
        }
        let answer = self.intents.answer(&request.stack_id, &request.request_id);
        if answer.await.is_ok_and(|answer| answer.is_some()) {
            return None;
        }
        *looked = Some(Instant::now());
        let status = self.status_of_stack(request).await?;
        if still_waits(&status, request.request_type) {
            return None;
        }
        Some(format!(
            "its stack is {status} and does not wait for it any more; nothing was changed at Spot"
        ))
    }

    /// The status of the stack of a request, when it can be read. Only one of ours is looked at, in an account that we have
    /// something of or serve: nowhere else is a role assumed because a message says so.
    pub(super) async fn status_of_stack(&self, request: &ResourceRequest) -> Option<String> {
        if !self.settings.stacks.include(&request.stack_id) {
            return None;
        }
        let account = request.account;
        let intent = self.intents.intent(account).await;
        if !intent.is_ok_and(|intent| intent != Intent::default()) {
            self.directory.account(account).await.ok().flatten()?;
        }
        self.directory.stack_status(&request.stack_id).await
    }
}
