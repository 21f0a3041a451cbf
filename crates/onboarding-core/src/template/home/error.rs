//! Why the stacks of the home account cannot be rendered.

/// Something that AWS would refuse, or that would not work.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Queues are named after the topic, with an ending, and SQS allows 80 characters.
    #[error(
        "the topic's name {name:?} has {length} characters, and the queues named after it allow 64: configure a \
         shorter enrollment.topic_arn"
    )]
    TopicName {
        /// The name.
        name: String,
        /// Its length in characters.
        length: usize,
    },
    /// Stack names begin with a letter and have letters, digits and hyphens (CloudFormation API reference, CreateStack);
    /// role names have at most 64 characters (IAM User Guide, "IAM and AWS STS quotas").
    #[error(
        "stack_set.name_prefix {prefix:?} cannot begin the names of stacks and of the runner's role: a letter, then up to 56 \
         letters, digits and hyphens"
    )]
    StackName {
        /// The prefix.
        prefix: String,
    },
    /// The topic belongs to somebody else.
    #[error(
        "the topic {topic} is not in account {account} and Region {region}: bootstrap the account that it belongs to, or \
         take enrollment.topic_arn away"
    )]
    OtherTopic {
        /// The topic's ARN.
        topic: String,
        /// The home account.
        account: String,
        /// The home Region.
        region: String,
    },
    /// An ARN or a Region of another partition than the home Region's.
    #[error("{what} is not in the partition {partition} of the home Region")]
    OtherPartition {
        /// What.
        what: String,
        /// The home Region's partition.
        partition: &'static str,
    },
    /// Alarms notify a topic of their own Region only (CloudWatch API reference, PutMetricAlarm).
    #[error("the alarm topic {topic} is not in {region}: name one there")]
    AlarmTopicRegion {
        /// The topic's ARN.
        topic: String,
        /// The home Region.
        region: String,
    },
    /// Neither an ARN nor a service.
    #[error(
        "{value:?} is not who may assume the runner's role: give the ARN of an account's root, a role or a user, or a \
         service such as ecs-tasks.amazonaws.com"
    )]
    RunnerPrincipal {
        /// The value.
        value: String,
    },
    /// Lambda takes no more.
    #[error(
        "the environment variables of the function are {size} bytes together, and Lambda takes {limit}: target units instead \
         of single accounts"
    )]
    FunctionEnvironment {
        /// Their size.
        size: usize,
        /// What Lambda takes.
        limit: usize,
    },
    /// Lambda gives no such memory.
    #[error("bootstrap.lambda.memory is {memory}: Lambda gives a function {least} to {most} MiB")]
    FunctionMemory {
        /// What is asked for.
        memory: u32,
        /// The least.
        least: u32,
        /// The most.
        most: u32,
    },
    /// Lambda allows no less, and only a shared state allows more.
    #[error(
        "bootstrap.lambda.maximum_concurrency is {concurrency}: {least} to {most} here; more than {least} need \
         bootstrap.lambda.state, which all processes of the function share"
    )]
    FunctionConcurrency {
        /// What is asked for.
        concurrency: u32,
        /// The least.
        least: u32,
        /// The most.
        most: u32,
    },
    /// CloudWatch Logs keeps nothing for so long exactly.
    #[error("bootstrap.lambda.log_retention_days is {days}: CloudWatch Logs knows {known} days")]
    LogRetention {
        /// What is asked for.
        days: u32,
        /// What there is.
        known: String,
    },
}
