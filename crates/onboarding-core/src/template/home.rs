//! The stacks of the home account that the provider `queue` needs: `runner bootstrap` deploys them.
//!
//! One stack in the home Region has the topic that the custom resources of all other stacks name, the queue behind it,
//! a queue for events that only say "look now", what is left over of both, the key, alarms, the rules for events, a
//! bucket for templates, the runner's role, and the function that serves the queue where one is asked for. Events of AWS Organizations and AWS Control Tower appear in one Region
//! each; a stack there hands them on to the default event bus of the home Region, because a rule has targets in another
//! Region only if they are event buses.
//!
//! Invariants, in every rendering:
//! - The topic, its policy, its key, and the queue with its policy and subscription outlive their stack: stacks in
//!   member accounts name that topic for ever, and what they send must end somewhere.
//! - A statement for everybody (`Principal: *`) has conditions.

mod alarms;
mod bucket;
mod encryption;
mod error;
mod events;
mod function;
mod messaging;
mod policy;
mod relay;
mod role;
mod spec;

pub use alarms::REFUSED;
pub(crate) use encryption::key_alias;
pub use error::HomeError;
pub use function::{FunctionSpec, FunctionVpc};
pub(crate) use messaging::PROVIDER_QUEUE_ENDINGS;
pub use messaging::{TOPIC_LOGICAL_ID, wake_up_queue_name};
pub use role::function_role_name;
pub use spec::{Encryption, HomeSpec, RunnerPrincipal};

use super::{
    Resource, Template,
    parts::{Output, attribute, reference},
};
use crate::ids::Region;

/// The output of the home Region's stack that tells that the function is there.
pub const FUNCTION_OUTPUT: &str = "FunctionArn";

/// A stack of the home account.
#[derive(Debug, Clone, PartialEq)]
pub struct HomeStack {
    /// Its name.
    pub name: String,
    /// Its Region.
    pub region: Region,
    /// What it is made of.
    pub template: Template,
}

/// All stacks, the one of the home Region first.
///
/// # Errors
/// [`HomeError`] for what AWS would refuse, or what would not work.
pub fn stacks(spec: &HomeSpec) -> Result<Vec<HomeStack>, HomeError> {
    spec.check()?;
    let mut stacks = vec![HomeStack {
        name: stack_name(&spec.stack_name_prefix),
        region: spec.region.clone(),
        template: home_template(spec),
    }];
    for (region, sources) in events::relayed(spec) {
        stacks.push(HomeStack {
            name: format!("{}-events", spec.stack_name_prefix),
            template: relay::template(spec, &sources),
            region,
        });
    }
    Ok(stacks)
}

/// The name of the stack of the home Region.
#[must_use]
pub fn stack_name(prefix: &str) -> String {
    format!("{prefix}-home")
}

fn home_template(spec: &HomeSpec) -> Template {
    let rules = events::rules(spec);
    let mut resources = encryption::resources(spec);
    resources.extend(messaging::resources(spec, &rules));
    resources.extend(alarms::resources(spec));
    resources.extend(rules);
    resources.extend(bucket::resources());
    resources.push(role::role(spec));
    resources.extend(function::resources(spec));
    let mut outputs = vec![
        (
            "TopicArn",
            "The topic that custom resources name; never changes",
            reference(TOPIC_LOGICAL_ID),
        ),
        ("QueueUrl", "The provider's queue", reference("Queue")),
        (
            "WakeUpQueueUrl",
            "The queue of events that say: look now",
            reference("WakeUpQueue"),
        ),
        (
            "TemplateBucket",
            "The bucket for templates",
            reference("TemplateBucket"),
        ),
        (
            "RunnerRoleArn",
            "The runner's role",
            attribute("RunnerRole", "Arn"),
        ),
    ];
    if spec.function.is_some() {
        outputs.push((
            FUNCTION_OUTPUT,
            "The function that serves the provider's queue",
            attribute("Function", "Arn"),
        ));
    }
    template(
        "The Spot provider's topic, queues, events and role",
        resources,
        outputs,
    )
}

/// A template without parameters.
fn template(
    description: &str,
    resources: Vec<Resource>,
    outputs: Vec<(&'static str, &'static str, serde_json::Value)>,
) -> Template {
    Template {
        description: description.to_owned(),
        parameters: Vec::new(),
        conditions: Vec::new(),
        resources,
        outputs: outputs
            .into_iter()
            .map(|(name, description, value)| Output::new(name, description, value))
            .collect(),
        omissions: Vec::new(),
        named_role: true,
    }
}

/// A resource that goes with its stack.
fn resource<const N: usize>(
    logical_id: &str,
    resource_type: &'static str,
    properties: [(&str, serde_json::Value); N],
) -> Resource {
    Resource {
        logical_id: logical_id.to_owned(),
        resource_type,
        condition: None,
        depends_on: Vec::new(),
        metadata: None,
        retained: false,
        properties: super::parts::object(properties),
    }
}

/// The same resource, outliving its stack.
fn retained(resource: Resource) -> Resource {
    Resource {
        retained: true,
        ..resource
    }
}
