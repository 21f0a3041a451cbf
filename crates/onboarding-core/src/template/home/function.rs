//! The Lambda function that serves the provider's queue: the program `bootstrap`, its role, its log, and the event source
//! mapping that hands it the queue's messages.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    HomeError, HomeSpec, messaging,
    policy::{document, service},
    resource,
    role::function_role_name,
};
use crate::{
    iam_policy::NETWORK_INTERFACES,
    policy::PolicyDocument,
    template::{
        Resource,
        parts::{attribute, reference},
    },
};

/// The longest that a function may take, in seconds (Lambda developer guide, "Lambda quotas"). The queue hides a message for
/// no less.
const TIMEOUT: u32 = messaging::VISIBILITY;

/// Messages that one invocation gets at most: as many as the function works on at the same time.
const BATCH: u32 = 10;

/// The logical id of the function's log group.
const LOG: &str = "FunctionLog";

/// How large all environment variables of a function may be together, in bytes (Lambda developer guide, "Lambda quotas").
const MAX_ENVIRONMENT: usize = 4096;

/// How large a function's memory may be, in MiB (Lambda developer guide, "Lambda quotas").
const MEMORY: std::ops::RangeInclusive<u32> = 128..=10_240;

/// For how many days CloudWatch Logs can keep something (its API reference, PutRetentionPolicy).
const RETENTIONS: [u32; 22] = [
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

/// How many batches may be worked on at the same time (Lambda API reference, ScalingConfig).
const CONCURRENCY: std::ops::RangeInclusive<u32> = 2..=1000;

/// For how long Lambda may keep an asynchronous event, in seconds (Lambda API reference, PutFunctionEventInvokeConfig).
const EVENT_AGES: std::ops::RangeInclusive<u32> = 60..=21_600;

/// What the function is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionSpec {
    /// The S3 bucket with the zip file of the program, in the home Region.
    pub bucket: String,
    /// The zip file's key.
    pub key: String,
    /// Its version, in a bucket that keeps versions.
    pub object_version: Option<String>,
    /// The function's memory, in MiB.
    pub memory: u32,
    /// For how many days its log is kept.
    pub log_retention_days: u32,
    /// How many batches are worked on at the same time; AWS allows no less than 2. Without a state that its processes share,
    /// no more is right.
    pub maximum_concurrency: u32,
    /// Whether its processes share a durable state. Without one, Lambda repeats no asynchronous event that failed.
    pub shares_state: bool,
    /// How long a custom resource waits for its answer, in seconds.
    pub service_timeout: u32,
    /// The VPC that it is in.
    pub vpc: Option<FunctionVpc>,
    /// Its configuration. No value is a secret: CloudFormation and Lambda show them.
    pub environment: BTreeMap<String, String>,
    /// What it may do beside writing its log.
    pub policy: PolicyDocument,
}

/// Where in a VPC the function is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionVpc {
    /// The ids of its subnets.
    pub subnets: Vec<String>,
    /// The ids of its security groups.
    pub security_groups: Vec<String>,
}

impl FunctionSpec {
    /// For how long Lambda may keep an asynchronous event, in seconds: half of the time that CloudFormation waits. A request
    /// without a time of its own is given the other half once it is received.
    fn event_age(&self) -> u32 {
        (self.service_timeout / 2).clamp(*EVENT_AGES.start(), *EVENT_AGES.end())
    }

    pub(super) fn check(&self) -> Result<(), HomeError> {
        let size = |(name, value): (&String, &String)| name.len() + value.len();
        let environment = self.environment.iter().map(size).sum();
        if environment > MAX_ENVIRONMENT {
            return Err(HomeError::FunctionEnvironment {
                size: environment,
                limit: MAX_ENVIRONMENT,
            });
        }
        if !MEMORY.contains(&self.memory) {
            return Err(HomeError::FunctionMemory {
                memory: self.memory,
                least: *MEMORY.start(),
                most: *MEMORY.end(),
            });
        }
        let most = match self.shares_state {
            true => *CONCURRENCY.end(),
            false => *CONCURRENCY.start(),
        };
        if !(*CONCURRENCY.start()..=most).contains(&self.maximum_concurrency) {
            return Err(HomeError::FunctionConcurrency {
                concurrency: self.maximum_concurrency,
                least: *CONCURRENCY.start(),
                most,
            });
        }
        if !RETENTIONS.contains(&self.log_retention_days) {
            let known: Vec<String> = RETENTIONS.iter().map(ToString::to_string).collect();
            return Err(HomeError::LogRetention {
                days: self.log_retention_days,
                known: known.join(", "),
            });
        }
        Ok(())
    }

    fn code(&self) -> Value {
        let mut code = Map::new();
        code.insert("S3Bucket".into(), self.bucket.as_str().into());
        code.insert("S3Key".into(), self.key.as_str().into());
        if let Some(version) = &self.object_version {
            code.insert("S3ObjectVersion".into(), version.as_str().into());
        }
        code.into()
    }

    /// What the function may do, its log included.
    fn permissions(&self, home: &HomeSpec) -> Value {
        let mut policy = self.policy.to_value();
        if let Some(statements) = policy["Statement"].as_array_mut() {
            statements.push(json!({
                "Sid": "Log",
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": attribute(LOG, "Arn"),
            }));
            if self.vpc.is_some() {
                // Lambda connects the function, and the function itself has no business with it (Lambda developer guide,
                // "Giving Lambda functions access to resources in an Amazon VPC", best practices). By pattern: the function
                // refers to this role.
                let functions = format!(
                    "arn:{}:lambda:{}:{}:function:*",
                    home.partition(),
                    home.region,
                    home.account
                );
                statements.push(json!({
                    "Sid": "NoNetworkInterfaces",
                    "Effect": "Deny",
                    "Action": NETWORK_INTERFACES,
                    "Resource": ["*"],
                    "Condition": {"ArnLike": {"lambda:SourceFunctionArn": functions}},
                }));
            }
        }
        policy
    }
}

/// The function and what belongs to it; nothing when somebody else serves.
pub(super) fn resources(spec: &HomeSpec) -> Vec<Resource> {
    let Some(function) = &spec.function else {
        return Vec::new();
    };
    let trust = document(vec![json!({
        "Effect": "Allow",
        "Principal": service("lambda.amazonaws.com"),
        "Action": "sts:AssumeRole",
    })]);
    let role = resource(
        "FunctionRole",
        "AWS::IAM::Role",
        [
            (
                "RoleName",
                function_role_name(&spec.stack_name_prefix).into(),
            ),
            ("Description", "The Spot provider's Lambda function".into()),
            ("AssumeRolePolicyDocument", trust),
            (
                "Policies",
                json!([{"PolicyName": "provider", "PolicyDocument": function.permissions(spec)}]),
            ),
        ],
    );
    let log = resource(
        LOG,
        "AWS::Logs::LogGroup",
        [("RetentionInDays", function.log_retention_days.into())],
    );
    let mut program = resource(
        "Function",
        "AWS::Lambda::Function",
        [
            ("Description", "Serves the Spot provider's queue".into()),
            ("Runtime", "provided.al2023".into()),
            ("Architectures", json!(["x86_64"])),
            ("Handler", "bootstrap".into()),
            ("Code", function.code()),
            ("Role", attribute("FunctionRole", "Arn")),
            ("MemorySize", function.memory.into()),
            ("Timeout", TIMEOUT.into()),
            ("Environment", json!({"Variables": function.environment})),
            ("LoggingConfig", json!({"LogGroup": reference(LOG)})),
        ],
    );
    if let Some(vpc) = &function.vpc {
        let place = json!({"SubnetIds": vpc.subnets, "SecurityGroupIds": vpc.security_groups});
        program.properties.insert("VpcConfig".into(), place);
    }
    if !function.shares_state {
        // Its processes know nothing of each other, whoever invokes them.
        let processes = function.maximum_concurrency.into();
        program
            .properties
            .insert("ReservedConcurrentExecutions".into(), processes);
    }
    // Of requests that name the function itself. One that failed is repeated by Lambda, which is harmless with a state only.
    let retries = if function.shares_state { 2 } else { 0 };
    let asynchronous = resource(
        "FunctionEvents",
        "AWS::Lambda::EventInvokeConfig",
        [
            ("FunctionName", reference("Function")),
            ("Qualifier", "$LATEST".into()),
            ("MaximumRetryAttempts", retries.into()),
            ("MaximumEventAgeInSeconds", function.event_age().into()),
        ],
    );
    let mapping = resource(
        "FunctionQueue",
        "AWS::Lambda::EventSourceMapping",
        [
            ("EventSourceArn", attribute(messaging::QUEUE.0, "Arn")),
            ("FunctionName", reference("Function")),
            ("BatchSize", BATCH.into()),
            ("FunctionResponseTypes", json!(["ReportBatchItemFailures"])),
            (
                "ScalingConfig",
                json!({"MaximumConcurrency": function.maximum_concurrency}),
            ),
        ],
    );
    vec![log, role, program, asynchronous, mapping]
}
