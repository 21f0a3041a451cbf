//! Resources that are recorded and do nothing: they have a physical id and attributes, so that templates
//! that use them can be deployed.

use serde_json::Value;

use super::{Made, Place, text};
use crate::world::World;

/// Records a resource; nothing for a type that is not known here.
pub(super) fn make(
    world: &mut World,
    place: &Place<'_>,
    name: String,
    properties: &Value,
) -> Option<Made> {
    let stack = &world.stacks[place.key];
    let (account, region) = (stack.account, stack.region.clone());
    let arn = |service: &str, rest: &str| format!("arn:aws:{service}:{region}:{account}:{rest}");
    let attributes = |pairs: &[(&str, String)]| -> Vec<(Box<str>, Value)> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).into(), value.as_str().into()))
            .collect()
    };
    Some(match place.kind {
        "AWS::CloudFormation::WaitConditionHandle" => (
            format!("{}/_cloudformation/wait/{name}", world.endpoint),
            Vec::new(),
        ),
        "AWS::KMS::Key" => {
            let id = world.ids.uuid_text();
            let made = [
                ("Arn", arn("kms", &format!("key/{id}"))),
                ("KeyId", id.clone()),
            ];
            (id, attributes(&made))
        }
        "AWS::KMS::Alias" => (name, Vec::new()),
        "AWS::CloudWatch::Alarm" => {
            let made = [("Arn", arn("cloudwatch", &format!("alarm:{name}")))];
            (name, attributes(&made))
        }
        "AWS::S3::Bucket" => {
            let made = [
                ("Arn", format!("arn:aws:s3:::{name}")),
                ("DomainName", format!("{name}.s3.amazonaws.com")),
            ];
            (name, attributes(&made))
        }
        "AWS::S3::BucketPolicy" => (text(properties, "Bucket")?, Vec::new()),
        "AWS::Lambda::Function" => {
            let made = [("Arn", arn("lambda", &format!("function:{name}")))];
            (name, attributes(&made))
        }
        "AWS::Lambda::EventSourceMapping" => {
            let id = world.ids.uuid_text();
            let made = [
                ("Id", id.clone()),
                (
                    "EventSourceMappingArn",
                    arn("lambda", &format!("event-source-mapping:{id}")),
                ),
            ];
            (id, attributes(&made))
        }
        "AWS::Lambda::EventInvokeConfig" => (name, Vec::new()),
        "AWS::Logs::LogGroup" => {
            let made = [("Arn", arn("logs", &format!("log-group:{name}:*")))];
            (name, attributes(&made))
        }
        _ => return None,
    })
}
