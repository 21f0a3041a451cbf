//! Alarms: requests that nobody answers, and messages that nobody could deal with.

use serde_json::{Value, json};

use super::{
    HomeSpec,
    messaging::{DEAD_ENDS, QUEUE},
    resource,
};
use crate::template::{Resource, parts::attribute};

/// A request as old as this, in seconds, is one that nobody serves: a stack waits for its answer for an hour at most.
const OLD: u32 = 900;

pub(super) fn resources(spec: &HomeSpec) -> Vec<Resource> {
    let mut alarms = vec![alarm(
        spec,
        QUEUE.0,
        "Stacks wait for answers: is the provider running?",
        "ApproximateAgeOfOldestMessage",
        OLD,
    )];
    alarms.extend(DEAD_ENDS.map(|(queue, _)| {
        alarm(
            spec,
            queue,
            "A message could not be dealt with or delivered",
            "ApproximateNumberOfMessagesVisible",
            1,
        )
    }));
    alarms
}

fn alarm(
    spec: &HomeSpec,
    queue: &str,
    description: &str,
    metric: &str,
    threshold: u32,
) -> Resource {
    let actions: Vec<Value> = spec
        .alarm_topic
        .iter()
        .map(|topic| topic.as_str().into())
        .collect();
    let mut alarm = resource(
        &format!("{queue}Alarm"),
        "AWS::CloudWatch::Alarm",
        [
            ("AlarmDescription", description.into()),
            ("Namespace", "AWS/SQS".into()),
            ("MetricName", metric.into()),
            (
                "Dimensions",
                json!([{"Name": "QueueName", "Value": attribute(queue, "QueueName")}]),
            ),
            ("Statistic", "Maximum".into()),
            ("Period", 300.into()),
            ("EvaluationPeriods", 1.into()),
            ("Threshold", threshold.into()),
            ("ComparisonOperator", "GreaterThanOrEqualToThreshold".into()),
            ("TreatMissingData", "notBreaching".into()),
        ],
    );
    if !actions.is_empty() {
        alarm
            .properties
            .insert("AlarmActions".into(), Value::Array(actions));
    }
    alarm
}
