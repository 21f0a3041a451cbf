//! `[bootstrap]`: what `runner bootstrap` deploys into the home account.

use onboarding_core::{
    ids::{Region, TopicArn},
    template::home::{self, RunnerPrincipal},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    lambda::LambdaConfig,
    text::{Text, TextForm},
};

/// What `runner bootstrap` deploys into the home account for the provider `queue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BootstrapConfig {
    /// How messages are encrypted where they wait.
    pub encryption: Encryption,
    /// The SNS topic that is told of alarms, in the home Region. Without it, alarms only change their state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm_topic_arn: Option<Text<TopicArn>>,
    /// The home Region of AWS Control Tower, whose events then wake the runner, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_tower_region: Option<Text<Region>>,
    /// Who may assume the runner's role: ARNs, or services of AWS. Without any, whom IAM policies of the home account let.
    pub runner_principals: Vec<Text<RunnerPrincipal>>,
    /// The provider as a Lambda function.
    pub lambda: LambdaConfig,
}

impl Default for BootstrapConfig {
    fn default() -> Self {
        Self {
            encryption: Encryption::Cmk,
            alarm_topic_arn: None,
            control_tower_region: None,
            runner_principals: Vec::new(),
            lambda: LambdaConfig::default(),
        }
    }
}

/// How messages are encrypted where they wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// Topic and queues by a key of AWS KMS that is made for them (about one US dollar a month).
    Cmk,
    /// Queues by a key of SQS, at no cost; the topic is not encrypted.
    SqsManaged,
}

impl From<Encryption> for home::Encryption {
    fn from(encryption: Encryption) -> Self {
        match encryption {
            Encryption::Cmk => Self::CustomerKey,
            Encryption::SqsManaged => Self::SqsManaged,
        }
    }
}

impl TextForm for RunnerPrincipal {
    const FORMAT: &'static str = "role-principal";
    const EXPECTED: &'static str = "the ARN of an account's root, a role or a user, or a service of AWS (\"ecs-tasks.amazonaws.com\")";
}
