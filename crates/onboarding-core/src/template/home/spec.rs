//! What the home stacks are made from, and the checks before anything is rendered.

use std::{fmt, str::FromStr};

use super::{super::Partition, FunctionSpec, HomeError, role::MAX_PREFIX};
use crate::{
    ids::{AwsAccountId, OrganizationId, Region, StackSetName, TopicArn},
    policy::PolicyDocument,
    template::SpotPrincipal,
};

/// The longest name of a topic: SQS allows 80 characters, and queues get the longest ending `-wake-up-dlq`.
const MAX_TOPIC_NAME: usize = 64;

/// Everything that decides how the home stacks look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeSpec {
    /// The home account.
    pub account: AwsAccountId,
    /// The home Region, in which the stack sets are managed and their stacks are made.
    pub region: Region,
    /// The organization whose stack set stacks may publish.
    pub organization: OrganizationId,
    /// The topic, in the home account and Region.
    pub topic: TopicArn,
    /// What the names of the stacks begin with.
    pub stack_name_prefix: String,
    /// The stack sets whose events wake the runner.
    pub stack_sets: Vec<StackSetName>,
    /// How messages are encrypted where they wait.
    pub encryption: Encryption,
    /// Who is told of an alarm.
    pub alarm_topic: Option<TopicArn>,
    /// Whether the events of AWS Organizations can be had: only the management account sees them.
    pub organization_events: bool,
    /// The home Region of AWS Control Tower, when its events are wanted.
    pub control_tower_region: Option<Region>,
    /// Who may assume the runner's role; none: whom the home account's own policies let.
    pub runner_principals: Vec<RunnerPrincipal>,
    /// What the runner's role may do.
    pub runner_policy: PolicyDocument,
    /// The function that serves the queue; none when a running program does.
    pub function: Option<FunctionSpec>,
}

/// How messages are encrypted where they wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// By a key of ours, on the topic and on the queues.
    CustomerKey,
    /// By SQS's own key, on the queues only: SNS has no key of its own that other accounts could use.
    SqsManaged,
}

/// Who may assume the runner's role: an account's root, a role, a user, or a service of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunnerPrincipal {
    /// A principal by its ARN.
    Arn(SpotPrincipal),
    /// A service, such as `ecs-tasks.amazonaws.com`.
    Service(Box<str>),
}

impl fmt::Display for RunnerPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arn(arn) => f.write_str(arn.as_str()),
            Self::Service(name) => f.write_str(name),
        }
    }
}

impl FromStr for RunnerPrincipal {
    type Err = HomeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || HomeError::RunnerPrincipal {
            value: text.to_owned(),
        };
        if text.starts_with("arn:") {
            return text.parse().map(Self::Arn).map_err(|_| wrong());
        }
        let name = text
            .strip_suffix(".amazonaws.com.cn")
            .or_else(|| text.strip_suffix(".amazonaws.com"));
        let valid = name.is_some_and(|name| {
            (1..=64).contains(&name.len())
                && name
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.".contains(&b))
        });
        valid.then(|| Self::Service(text.into())).ok_or_else(wrong)
    }
}

impl HomeSpec {
    pub(super) fn partition(&self) -> Partition {
        self.region.partition().parse().unwrap_or(Partition::Aws)
    }

    /// The Region in which AWS Organizations reports its events (AWS Organizations User Guide, "Amazon EventBridge").
    pub(super) fn organizations_region(&self) -> &'static str {
        match self.partition() {
            Partition::Aws => "us-east-1",
            Partition::AwsCn => "cn-northwest-1",
            Partition::AwsUsGov => "us-gov-west-1",
        }
    }

    pub(super) fn check(&self) -> Result<(), HomeError> {
        let partition = self.partition().as_str();
        let name = self.topic.name();
        if name.len() > MAX_TOPIC_NAME {
            return Err(HomeError::TopicName {
                name: name.to_owned(),
                length: name.len(),
            });
        }
        if let Some(function) = &self.function {
            function.check()?;
        }
        let prefix = &self.stack_name_prefix;
        if prefix.parse::<StackSetName>().is_err() || prefix.len() > MAX_PREFIX {
            return Err(HomeError::StackName {
                prefix: prefix.clone(),
            });
        }
        if self.topic.account() != Some(self.account) || self.topic.region() != self.region.as_str()
        {
            return Err(HomeError::OtherTopic {
                topic: self.topic.to_string(),
                account: self.account.to_string(),
                region: self.region.to_string(),
            });
        }
        if let Some(topic) = self
            .alarm_topic
            .as_ref()
            .filter(|topic| topic.region() != self.region.as_str())
        {
            return Err(HomeError::AlarmTopicRegion {
                topic: topic.to_string(),
                region: self.region.to_string(),
            });
        }
        let foreign = |what: String| HomeError::OtherPartition { what, partition };
        if let Some(region) = self
            .control_tower_region
            .as_ref()
            .filter(|region| region.partition() != partition)
        {
            return Err(foreign(format!("the Region {region} of AWS Control Tower")));
        }
        for principal in &self.runner_principals {
            if let RunnerPrincipal::Arn(arn) = principal
                && arn.partition() != partition
            {
                return Err(foreign(format!("the runner's principal {principal}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runners_principal_is_an_arn_or_a_service() {
        for good in [
            "arn:aws:iam::123456789012:root",
            "arn:aws:iam::123456789012:role/ci/deployer",
            "ecs-tasks.amazonaws.com",
            "ec2.amazonaws.com.cn",
        ] {
            let principal = good.parse::<RunnerPrincipal>().unwrap();
            assert_eq!(principal.to_string(), good);
        }
        for bad in [
            "",
            "*",
            "arn:aws:iam::*:root",
            "arn:aws:s3:::bucket",
            "ecs-tasks",
            ".amazonaws.com",
            "a b.amazonaws.com",
        ] {
            assert!(bad.parse::<RunnerPrincipal>().is_err(), "{bad}");
        }
    }
}
