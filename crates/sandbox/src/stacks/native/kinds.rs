//! What CloudFormation's resource type reference says about the types that are known here.

use serde_json::Value;

/// Properties whose change makes CloudFormation replace a resource ("Update requires: Replacement").
pub(in crate::stacks) fn replacing(kind: &str) -> &'static [&'static str] {
    match kind {
        "AWS::IAM::Role" => &["RoleName", "Path"],
        "AWS::IAM::ManagedPolicy" => &["ManagedPolicyName", "Path", "Description"],
        "AWS::SNS::Topic" => &["TopicName", "FifoTopic"],
        "AWS::SNS::Subscription" => &["TopicArn", "Protocol", "Endpoint"],
        "AWS::SQS::Queue" => &["QueueName", "FifoQueue"],
        "AWS::KMS::Alias" => &["AliasName"],
        "AWS::Events::Rule" => &["Name", "EventBusName"],
        "AWS::CloudWatch::Alarm" => &["AlarmName"],
        "AWS::S3::Bucket" => &["BucketName"],
        "AWS::S3::BucketPolicy" => &["Bucket"],
        "AWS::Lambda::Function" => &["FunctionName", "PackageType"],
        "AWS::Lambda::EventSourceMapping" => &["EventSourceArn", "StartingPosition"],
        "AWS::Lambda::EventInvokeConfig" => &["FunctionName", "Qualifier"],
        "AWS::Logs::LogGroup" => &["LogGroupName"],
        _ => &[],
    }
}

/// The property that names a resource.
fn name_property(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "AWS::IAM::Role" => "RoleName",
        "AWS::IAM::ManagedPolicy" => "ManagedPolicyName",
        "AWS::SNS::Topic" => "TopicName",
        "AWS::SQS::Queue" => "QueueName",
        "AWS::KMS::Alias" => "AliasName",
        "AWS::Events::Rule" => "Name",
        "AWS::CloudWatch::Alarm" => "AlarmName",
        "AWS::S3::Bucket" => "BucketName",
        "AWS::Lambda::Function" => "FunctionName",
        "AWS::Logs::LogGroup" => "LogGroupName",
        _ => return None,
    })
}

/// The name that a template gives a resource.
pub(super) fn explicit_name(kind: &str, properties: &Value) -> Option<String> {
    properties
        .get(name_property(kind)?)
        .and_then(Value::as_str)
        .map(str::to_owned)
}

/// The longest name that a resource can have, in characters.
pub(super) fn longest_name(kind: &str) -> usize {
    match kind {
        "AWS::IAM::Role" | "AWS::Events::Rule" | "AWS::Lambda::Function" => 64,
        "AWS::S3::Bucket" => 63,
        "AWS::SQS::Queue" => 80,
        _ => 128,
    }
}

/// The service as the texts of resource handlers name it.
pub(super) fn service(kind: &str) -> &'static str {
    match kind.split("::").nth(1) {
        Some("SNS") => "Sns",
        Some("SQS") => "Sqs",
        _ => "Iam",
    }
}
