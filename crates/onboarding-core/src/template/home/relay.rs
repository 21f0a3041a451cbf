//! A stack in another Region: hands the events that appear there on to the home Region.

use serde_json::json;

use super::{HomeSpec, events::Source, policy, resource};
use crate::template::{Template, parts::attribute};

/// The template for a Region in which these events appear.
pub(super) fn template(spec: &HomeSpec, sources: &[Source]) -> Template {
    let bus = format!(
        "arn:{}:events:{}:{}:event-bus/default",
        spec.partition(),
        spec.region,
        spec.account
    );
    let trust = policy::document(vec![json!({
        "Effect": "Allow",
        "Principal": policy::service("events.amazonaws.com"),
        "Action": "sts:AssumeRole",
        "Condition": {"StringEquals": {"aws:SourceAccount": spec.account.to_string()}},
    })]);
    let send = policy::document(vec![json!({
        "Effect": "Allow",
        "Action": "events:PutEvents",
        "Resource": bus,
    })]);
    let role = resource(
        "RelayRole",
        "AWS::IAM::Role",
        [
            (
                "Description",
                "Hands events on to the home Region of the Spot provider".into(),
            ),
            ("AssumeRolePolicyDocument", trust),
            (
                "Policies",
                json!([{"PolicyName": "put-events", "PolicyDocument": send}]),
            ),
        ],
    );
    let target = json!({"Id": "Home", "Arn": bus, "RoleArn": attribute("RelayRole", "Arn")});
    let mut resources = vec![role];
    resources.extend(
        sources
            .iter()
            .map(|source| source.rule(spec, target.clone())),
    );
    super::template(
        "Hands events on to the home Region of the Spot provider",
        resources,
        Vec::new(),
    )
}
