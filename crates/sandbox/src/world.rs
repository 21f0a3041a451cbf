//! The whole simulated world behind one lock, and the contracts between its modules.
//!
//! # Rules
//! Handlers are synchronous and run under the world's lock: no I/O, no waiting, no latency. Latency,
//! throttling by fault, 5xx and dropped connections are added by the server outside the lock.
//! Whatever takes time is an [`Event`]: `world.schedule(Duration, Event)` (simulated time) makes
//! `on_event(&mut World, Event)` of the event's module run later, under the lock.
//!
//! # Handlers that the server calls
//! - `cloudformation::handle(&mut World, &Call, &QueryRequest) -> Result<QueryReply, AwsError>`
//! - `messaging::handle_sns(&mut World, &Call, &QueryRequest) -> Result<QueryReply, AwsError>`
//! - `messaging::handle_sqs(&mut World, &Call, operation: &str, &Value) -> Result<JsonReply, AwsError>`;
//!   long polling answers [`JsonReply::Wait`](crate::wire::json::JsonReply::Wait) and is called again.
//! - `stacks::custom_resource_response(&mut World, token: &str, content_type: Option<&str>, body: &[u8]) -> u16`
//!   for `PUT {world.endpoint}/_cloudformation/response/<token>`, answering an HTTP status.
//! - `stack_sets::state(&World) -> serde_json::Value` for the admin API's state page.
//!
//! # Hooks that the organization calls
//! After its own change is done: `stack_sets::account_joined(&mut World, AccountId)` (it is in the
//! root), `stack_sets::account_left(&mut World, AccountId, from: OuIndex)`,
//! `stack_sets::account_moved(&mut World, AccountId, from: OuIndex, to: OuIndex)`.
//!
//! # What others may use
//! - [`Organization`]: `id`, `root_id()`, `management`, `account(AccountId) -> Option<&Account>` (with
//!   `parent: OuIndex`, `state`, `scp_blocked`), `find_ou(&str) -> Option<OuIndex>` (root included),
//!   `ou(OuIndex) -> &Ou` (`id`, `name`, `parent`), `accounts_under(OuIndex) -> Vec<AccountId>`
//!   (recursive, management account and suspended accounts included), `is_under(OuIndex, ancestor: OuIndex) -> bool`
//!   (true for itself), `trusted_services` (service principal → since), `delegated` (account → principals).
//! - IAM on behalf of a stack; `caller` is the principal in the target account
//!   ([`Caller::service_session`](crate::caller::Caller::service_session)), each checks the SCPs and
//!   answers IAM's own error (`AccessDenied` with the explicit-deny text, `EntityAlreadyExists`, `LimitExceeded`, …):
//!   `iam::create_role(world, caller, RoleSpec) -> Result<RoleIdentity, AwsError>`,
//!   `iam::update_role(world, caller, name, before, after) -> Result<(), AwsError>` (what the two specs have otherwise is
//!   written, and nothing else), `iam::delete_role(world, caller, name, own)` (with the policies of the spec; refuses
//!   when it has others), `iam::create_managed_policy(world, caller, PolicySpec) ->
//!   Result<String /* ARN */, AwsError>`, `iam::update_managed_policy(world, caller, arn, document)` (a new
//!   default version, the oldest deleted beyond five), `iam::delete_managed_policy(world, caller, arn)`,
//!   `iam::authorize(world, caller, action, resource_arn) -> Result<(), AwsError>`.
//! - Spot in process, for Spot's hosted Lambdas: `spot::token_is_valid(world, token)`,
//!   `spot::create_account(world, name) -> Result<String /* act-… */, SpotError>`, `spot::delete_account(world, id)`,
//!   `spot::create_external_id(world, id) -> Result<String, SpotError>`,
//!   `spot::set_credentials(world, id, role_arn) -> Result<(), SpotError>`. They bypass the rate limit.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::caller::Sessions;
use crate::calls::Calls;
use crate::clock::{Clock, SimTime};
use crate::config_service::Recordings;
use crate::events::Events;
use crate::faults::Faults;
use crate::iam::Iam;
use crate::ids::Ids;
use crate::messaging::Messaging;
use crate::organizations::Organization;
use crate::scenario::Scenario;
use crate::spot::Spot;
use crate::stack_sets::StackSets;
use crate::stacks::Stacks;
use crate::timers::{Event, Timers};
use crate::{config_service, events, messaging, organizations, spot, stack_sets, stacks};

/// The world, shared by the server and the timer task.
pub(crate) type SharedWorld = Arc<Mutex<World>>;

/// Everything that is simulated.
pub(crate) struct World {
    /// What was asked for; does not change.
    pub(crate) scenario: Arc<Scenario>,
    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub(crate) endpoint: String,
    /// Simulated time.
    pub(crate) clock: Clock,
    /// New identifiers, deterministic.
    pub(crate) ids: Ids,
    /// Pending events.
    pub(crate) timers: Timers,
    /// Accounts and organizational units.
    pub(crate) organization: Organization,
    /// Roles and policies of every account.
    pub(crate) iam: Iam,
    /// What AWS Config recorded of them.
    pub(crate) recordings: Recordings,
    /// Sessions of assumed roles.
    pub(crate) sessions: Sessions,
    /// Stack sets, instances and operations.
    pub(crate) stack_sets: StackSets,
    /// Stacks of every account.
    pub(crate) stacks: Stacks,
    /// Topics and queues.
    pub(crate) messaging: Messaging,
    /// Rules for events.
    pub(crate) events: Events,
    /// Spot.
    pub(crate) spot: Spot,
    /// How often each operation was called.
    pub(crate) calls: Calls,
    /// Faults to inject.
    pub(crate) faults: Faults,
}

impl World {
    /// Builds the world that a scenario describes.
    pub(crate) fn new(scenario: Scenario, endpoint: String) -> Self {
        let clock = Clock::running(scenario.clock_speed);
        Self::with_clock(scenario, endpoint, clock)
    }

    /// The same with a clock that stands still until [`World::advance`]: for unit tests.
    #[cfg(test)]
    pub(crate) fn for_test(scenario: Scenario) -> Self {
        let clock = Clock::Manual(SimTime(1_790_000_000_000));
        Self::with_clock(scenario, "http://127.0.0.1:9".into(), clock)
    }

    fn with_clock(scenario: Scenario, endpoint: String, clock: Clock) -> Self {
        let scenario = Arc::new(scenario);
        let seed = scenario.seed;
        let now = clock.now();
        let organization = Organization::build(&scenario, now);
        let mut world = Self {
            endpoint,
            ids: Ids::new(seed, "ids"),
            timers: Timers::new(),
            recordings: Recordings::new(&scenario, &organization),
            organization,
            iam: Iam::default(),
            sessions: Sessions::default(),
            stack_sets: StackSets::default(),
            stacks: Stacks::default(),
            messaging: Messaging::default(),
            events: Events::new(seed),
            spot: Spot::new(&scenario),
            calls: Calls::default(),
            faults: Faults::new(&scenario),
            clock,
            scenario,
        };
        messaging::set_up(&mut world);
        spot::populate(&mut world);
        config_service::set_up(&mut world);
        world
    }

    /// The current simulated time.
    pub(crate) fn now(&self) -> SimTime {
        self.clock.now()
    }

    /// Makes an event happen after a span of simulated time.
    pub(crate) fn schedule(&mut self, after: Duration, event: Event) {
        let at = self.now() + after;
        self.timers.push(at, event);
    }

    /// Runs every event that is due now.
    pub(crate) fn run_due(&mut self) {
        let now = self.now();
        while let Some(event) = self.timers.pop_due(now) {
            self.dispatch(event);
        }
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Organizations(event) => organizations::on_event(self, event),
            Event::StackSets(event) => stack_sets::on_event(self, event),
            Event::Stacks(event) => stacks::on_event(self, event),
            Event::Messaging(event) => messaging::on_event(self, event),
            Event::Config(event) => config_service::on_event(self, event),
            Event::Events(event) => events::on_event(self, event),
        }
    }

    /// Moves a manual clock forward, running each event at its own time.
    #[cfg(test)]
    pub(crate) fn advance(&mut self, by: Duration) {
        let end = self.now() + by;
        while let Some(next) = self.timers.next().filter(|next| *next <= end) {
            let now = self.now().max(next);
            self.clock = Clock::Manual(now);
            self.run_due();
        }
        self.clock = Clock::Manual(end);
    }
}
