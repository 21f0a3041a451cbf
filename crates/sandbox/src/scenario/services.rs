//! The smaller sections: IAM, stack sets, messaging, events, the provider, latencies and faults.

use std::time::Duration;

use serde::Deserialize;

use super::ZERO;
use super::duration::{duration, optional};

/// `[iam]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IamScenario {
    /// Simulated time until other services (STS, and Spot through it) see a new role or trust policy.
    #[serde(deserialize_with = "duration")]
    pub propagation: Duration,
    /// Most items on a page of IAM's lists, whatever MaxItems asks for: AWS documents that there may be fewer although
    /// there are more.
    pub page_size: u32,
}

impl Default for IamScenario {
    fn default() -> Self {
        Self {
            propagation: Duration::from_secs(8),
            page_size: 1000,
        }
    }
}

/// `[stack_sets]`: how long CloudFormation takes, in simulated time.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StackSetsScenario {
    /// From the acceptance of an operation to its first stack.
    #[serde(deserialize_with = "duration")]
    pub operation_start: Duration,
    /// Creation, update or deletion of one resource.
    #[serde(deserialize_with = "duration")]
    pub resource_time: Duration,
    /// How old the answers of the eventually consistent listings are (ListStackSetOperations,
    /// ListStackSetOperationResults).
    #[serde(deserialize_with = "duration")]
    pub list_lag: Duration,
    /// From an account's join, leave or move to the auto-deployment operation.
    #[serde(deserialize_with = "duration")]
    pub auto_deployment_delay: Duration,
    /// Whether an instance whose creation failed still names the stack that was removed again. The
    /// documents only say that an instance may have no stack id.
    pub failed_instance_keeps_stack_id: bool,
}

impl Default for StackSetsScenario {
    fn default() -> Self {
        Self {
            operation_start: Duration::from_secs(2),
            resource_time: Duration::from_secs(3),
            list_lag: Duration::from_secs(1),
            auto_deployment_delay: Duration::from_secs(10),
            failed_instance_keeps_stack_id: true,
        }
    }
}

/// `[messaging]`: SNS and SQS.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MessagingScenario {
    /// Probability that a message is delivered twice.
    pub duplicates: f64,
    /// Probability that a message is overtaken by later ones.
    pub reordered: f64,
    /// Simulated time from publishing to the queue.
    #[serde(deserialize_with = "duration")]
    pub delivery: Duration,
}

impl Default for MessagingScenario {
    fn default() -> Self {
        Self {
            duplicates: 0.0,
            reordered: 0.0,
            delivery: ZERO,
        }
    }
}

/// `[events]`: what services tell EventBridge, at best effort.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EventsScenario {
    /// Probability that an event is never heard of.
    pub lost: f64,
    /// Probability that an event comes twice.
    pub duplicates: f64,
    /// Simulated time from what happened to the event bus.
    #[serde(deserialize_with = "duration")]
    pub delivery: Duration,
}

impl Default for EventsScenario {
    fn default() -> Self {
        Self {
            lost: 0.0,
            duplicates: 0.0,
            delivery: ZERO,
        }
    }
}

/// `[provider]`: what `runner bootstrap` would have made in the management account.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderScenario {
    /// Whether the topic and the queues exist from the start.
    pub enabled: bool,
    /// The name of the topic and of the queue; the dead-letter queue is `<name>-dlq`.
    pub name: String,
}

impl Default for ProviderScenario {
    fn default() -> Self {
        Self {
            enabled: true,
            name: "spot-onboarding".into(),
        }
    }
}

/// `[latency]`: real time that each call takes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Latency {
    /// For services that are not named.
    #[serde(deserialize_with = "duration")]
    pub default: Duration,
    /// Organizations.
    #[serde(deserialize_with = "optional")]
    pub organizations: Option<Duration>,
    /// CloudFormation.
    #[serde(deserialize_with = "optional")]
    pub cloudformation: Option<Duration>,
    /// IAM.
    #[serde(deserialize_with = "optional")]
    pub iam: Option<Duration>,
    /// STS.
    #[serde(deserialize_with = "optional")]
    pub sts: Option<Duration>,
    /// SNS.
    #[serde(deserialize_with = "optional")]
    pub sns: Option<Duration>,
    /// SQS.
    #[serde(deserialize_with = "optional")]
    pub sqs: Option<Duration>,
    /// AWS Config.
    #[serde(deserialize_with = "optional")]
    pub config: Option<Duration>,
    /// Spot.
    #[serde(deserialize_with = "optional")]
    pub spot: Option<Duration>,
}

impl Latency {
    /// The latency of a service by its short name (`organizations`, …, `spot`).
    pub(crate) fn of(&self, service: &str) -> Duration {
        match service {
            "organizations" => self.organizations,
            "cloudformation" => self.cloudformation,
            "iam" => self.iam,
            "sts" => self.sts,
            "sns" => self.sns,
            "sqs" => self.sqs,
            "config" => self.config,
            "spot" => self.spot,
            _ => None,
        }
        .unwrap_or(self.default)
    }
}

/// One entry of `[[faults]]`: what goes wrong, where, how often.
#[derive(Clone, Debug, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// `organizations`, `cloudformation`, `iam`, `sts`, `sns`, `sqs`, `config`, `spot`, or `*`.
    pub service: String,
    /// An operation (`ListAccounts`), or a Spot route (`POST /setup/account`), or `*`.
    #[serde(default = "any")]
    pub operation: String,
    /// What happens.
    pub kind: FaultKind,
    /// How often, between 0 and 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// How many times at most; without it, for ever.
    #[serde(default)]
    pub times: Option<u64>,
}

fn any() -> String {
    "*".into()
}

fn always() -> f64 {
    1.0
}

/// What a fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A 5xx in the service's own error shape; nothing was done.
    ServerError,
    /// A 502 with an HTML body, as from a proxy; nothing was done.
    HtmlError,
    /// The service's throttling error; nothing was done.
    Throttle,
    /// The connection is dropped before anything was done.
    DropBefore,
    /// The connection is dropped after the call was carried out.
    DropAfter,
}
