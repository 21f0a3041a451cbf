//! The state of a test, with faults at chosen writes, as Spot has them at chosen calls.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use onboarding_core::{
    custom_resource::Holder,
    ids::{AwsAccountId, SpotAccountId, StackId},
};
use onboarding_provider::{
    Assigned, Assignment, Claim, Departure, Freeze, Intent, Intents, IntentsError, MemoryIntents,
    Owner, RememberedExternalId, ResourceResponse, SendIntent, Tombstone,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::spot::Fault;

/// What happens at which write, counted from the first one of the test.
#[derive(Default)]
pub(crate) struct Writes {
    made: AtomicUsize,
    faults: Mutex<BTreeMap<usize, Fault>>,
    /// How often the state still says that it is of this version, and then that it is not; always, when nothing is said.
    pub(crate) current_for: Mutex<Option<usize>>,
    /// No write comes to an end, and none fails.
    pub(crate) gone: AtomicBool,
    /// The next one who hears of its creation is stopped, until it is told to go on.
    pub(crate) stopped: AtomicBool,
    pub(crate) go_on: Notify,
    pub(crate) clocks: Mutex<Clocks>,
}

/// What is wrong with the clocks from now on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clocks {
    /// Those of processes are so far ahead of the state's.
    pub(crate) ahead: SignedDuration,
    /// All of them have jumped ahead by so much since anything was written.
    pub(crate) jumped: SignedDuration,
}

impl Writes {
    /// Lets this happen at the write that comes after so many others, and nothing else any more.
    pub(crate) fn fate(&self, fate: Option<(usize, Fault)>) {
        let mut faults = self.faults.lock();
        faults.clear();
        if let Some((after, fault)) = fate {
            faults.insert(self.made.load(Ordering::Relaxed) + after, fault);
        }
    }

    async fn stop(&self) {
        if self.stopped.swap(false, Ordering::Relaxed) {
            self.go_on.notified().await;
        }
    }

    /// What is written, or was, as a process reads it: moments of the state are earlier by the clock of one that is ahead.
    fn read(&self, intent: Intent) -> Intent {
        let Clocks { ahead, jumped } = *self.clocks.lock();
        shifted(intent, -(ahead + jumped))
    }

    /// What a process has read, as it is written.
    fn unread(&self, intent: &Intent) -> Intent {
        let Clocks { ahead, jumped } = *self.clocks.lock();
        shifted(intent.clone(), ahead + jumped)
    }

    fn ahead(&self) -> SignedDuration {
        self.clocks.lock().ahead
    }

    /// How many were made.
    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }
}

fn shifted(intent: Intent, by: SignedDuration) -> Intent {
    Intent {
        assigned_at: intent.assigned_at.map(|at| at + by),
        sent: intent.sent.map(|sent| later(sent, by)),
        ..intent
    }
}

fn later(sent: SendIntent, by: SignedDuration) -> SendIntent {
    SendIntent {
        look_after: sent.look_after + by,
        ..sent
    }
}

/// The state as one process sees it.
pub(crate) struct Faulty {
    pub(crate) state: Arc<MemoryIntents>,
    pub(crate) writes: Arc<Writes>,
    /// A caller was left to die.
    pub(crate) died: Arc<Notify>,
}

impl Faulty {
    async fn write<T: Send>(
        &self,
        written: impl Future<Output = Result<T, IntentsError>> + Send,
    ) -> Result<T, IntentsError> {
        if self.writes.gone.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        let number = self.writes.made.fetch_add(1, Ordering::Relaxed);
        let fault = self.writes.faults.lock().remove(&number);
        let failed = || Err(IntentsError::Store("the database is gone".into()));
        match fault {
            None => written.await,
            Some(Fault::ErrorBefore) => failed(),
            Some(Fault::ErrorAfter) => {
                written.await?;
                failed()
            }
            Some(Fault::DieBefore) => self.die().await,
            Some(Fault::DieAfter) => {
                written.await?;
                self.die().await
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.died.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Intents for Faulty {
    async fn is_current(&self) -> Result<bool, IntentsError> {
        if let Some(left) = &mut *self.writes.current_for.lock() {
            let is_current = *left > 0;
            *left = left.saturating_sub(1);
            return Ok(is_current);
        }
        self.state.is_current().await
    }

    async fn now(&self) -> Result<Timestamp, IntentsError> {
        Ok(self.state.now().await? - self.writes.ahead())
    }

    async fn frozen(&self) -> Result<Option<Freeze>, IntentsError> {
        self.state.frozen().await
    }

    async fn claim(
        &self,
        account: AwsAccountId,
        holder: &str,
        until: Timestamp,
    ) -> Result<Claim, IntentsError> {
        let claim = self.write(self.state.claim(account, holder, until)).await?;
        Ok(match claim {
            Claim::Held(intent) => Claim::Held(self.writes.read(intent)),
            busy @ Claim::Busy { .. } => busy,
        })
    }

    async fn bring_near(
        &self,
        account: AwsAccountId,
        longest: Duration,
    ) -> Result<(), IntentsError> {
        self.state.bring_near(account, longest).await
    }

    async fn release(&self, account: AwsAccountId, holder: &str) -> Result<(), IntentsError> {
        self.write(self.state.release(account, holder)).await
    }

    async fn intent(&self, account: AwsAccountId) -> Result<Intent, IntentsError> {
        Ok(self.writes.read(self.state.intent(account).await?))
    }

    async fn write_intent(
        &self,
        account: AwsAccountId,
        holder: &str,
        intent: &SendIntent,
    ) -> Result<(), IntentsError> {
        let intent = later(intent.clone(), self.writes.ahead());
        self.write(self.state.write_intent(account, holder, &intent))
            .await
    }

    async fn clear_intent(&self, account: AwsAccountId, holder: &str) -> Result<(), IntentsError> {
        self.write(self.state.clear_intent(account, holder)).await
    }

    async fn assign(
        &self,
        account: AwsAccountId,
        holder: &str,
        seen: &Intent,
        assignment: &Assignment,
    ) -> Result<Assigned, IntentsError> {
        self.writes.stop().await;
        let seen = self.writes.unread(seen);
        self.write(self.state.assign(account, holder, &seen, assignment))
            .await
    }

    async fn note_listed(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
    ) -> Result<(), IntentsError> {
        self.state.note_listed(account, spot_account).await
    }

    async fn take_over(
        &self,
        account: AwsAccountId,
        seen: &Intent,
        assignment: &Assignment,
    ) -> Result<bool, IntentsError> {
        let seen = self.writes.unread(seen);
        self.write(self.state.take_over(account, &seen, assignment))
            .await
    }

    async fn hold(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
        holder: &Holder,
        asked: Timestamp,
    ) -> Result<bool, IntentsError> {
        self.write(self.state.hold(account, spot_account, holder, asked))
            .await
    }

    async fn let_go(
        &self,
        account: AwsAccountId,
        departure: &Departure,
    ) -> Result<Intent, IntentsError> {
        self.write(self.state.let_go(account, departure)).await
    }

    async fn forget(
        &self,
        account: AwsAccountId,
        spot_account: &SpotAccountId,
        departure: Option<&Departure>,
    ) -> Result<(), IntentsError> {
        self.write(self.state.forget(account, spot_account, departure))
            .await
    }

    async fn leave_tombstone(&self, tombstone: &Tombstone) -> Result<(), IntentsError> {
        self.write(self.state.leave_tombstone(tombstone)).await
    }

    async fn owner(&self, spot_account: &SpotAccountId) -> Result<Option<Owner>, IntentsError> {
        self.state.owner(spot_account).await
    }

    async fn set_owner(
        &self,
        spot_account: &SpotAccountId,
        owner: &Owner,
        holder: &str,
    ) -> Result<(), IntentsError> {
        self.write(self.state.set_owner(spot_account, owner, holder))
            .await
    }

    async fn external_id(
        &self,
        spot_account: &SpotAccountId,
    ) -> Result<Option<RememberedExternalId>, IntentsError> {
        self.state.external_id(spot_account).await
    }

    async fn remember_external_id(
        &self,
        spot_account: &SpotAccountId,
        external_id: &RememberedExternalId,
    ) -> Result<(), IntentsError> {
        self.write(self.state.remember_external_id(spot_account, external_id))
            .await
    }

    async fn answer(
        &self,
        stack_id: &StackId,
        request_id: &str,
    ) -> Result<Option<ResourceResponse>, IntentsError> {
        self.state.answer(stack_id, request_id).await
    }

    async fn remember_answer(
        &self,
        answer: &ResourceResponse,
    ) -> Result<ResourceResponse, IntentsError> {
        self.write(self.state.remember_answer(answer)).await
    }
}
