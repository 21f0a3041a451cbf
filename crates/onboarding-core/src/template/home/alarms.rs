//! Alarms: requests that nobody answers, messages that nobody could deal with, and events that the function refuses.

use serde_json::{Value, json};

use super::{
    HomeSpec,
    messaging::{DEAD_ENDS, QUEUE},
    resource,
};
use crate::template::{
    Resource,
    parts::{attribute, reference},
};

/// A request as old as this, in seconds, is one that nobody serves: a stack waits for its answer for an hour at most.
const OLD: u32 = 900;

/// The metric of the events that the function refuses, which it writes into its log: namespace, name, and the dimension with
/// the function's name.
pub const REFUSED: (&str, &str, &str) = ("SpotOnboarding", "RefusedEvents", "FunctionName");

pub(super) fn resources(spec: &HomeSpec) -> Vec<Resource> {
    let mut alarms = vec![of_queue(
        spec,
        QUEUE.0,
        "Stacks wait for answers: is the provider running?",
        "ApproximateAgeOfOldestMessage",
        OLD,
    )];
    alarms.extend(DEAD_ENDS.map(|(queue, _)| {
        of_queue(
            spec,
            queue,
            "A message could not be dealt with or delivered",
            "ApproximateNumberOfMessagesVisible",
            1,
        )
    }));
    if spec.function.is_some() {
        let (namespace, name, dimension) = REFUSED;
        alarms.push(alarm(
            spec,
            "FunctionRefusedAlarm",
            "The provider refused events: its log says which and why",
            Metric {
                namespace,
                name,
                dimension: (dimension, reference("Function")),
                statistic: "Sum",
            },
            1,
        ));
    }
    alarms
}

/// An alarm on a metric of a queue.
fn of_queue(
    spec: &HomeSpec,
    queue: &str,
    description: &str,
    name: &'static str,
    threshold: u32,
) -> Resource {
    let metric = Metric {
        namespace: "AWS/SQS",
        name,
        dimension: ("QueueName", attribute(queue, "QueueName")),
        statistic: "Maximum",
    };
    alarm(
        spec,
        &format!("{queue}Alarm"),
        description,
        metric,
        threshold,
    )
}

/// What an alarm looks at.
struct Metric {
    namespace: &'static str,
    name: &'static str,
    dimension: (&'static str, Value),
    /// Over five minutes.
    statistic: &'static str,
}

fn alarm(
    spec: &HomeSpec,
    logical_id: &str,
    description: &str,
    metric: Metric,
    threshold: u32,
) -> Resource {
    let (dimension, value) = metric.dimension;
    let actions: Vec<Value> = spec
        .alarm_topic
        .iter()
        .map(|topic| topic.as_str().into())
        .collect();
    let mut alarm = resource(
        logical_id,
        "AWS::CloudWatch::Alarm",
        [
            ("AlarmDescription", description.into()),
            ("Namespace", metric.namespace.into()),
            ("MetricName", metric.name.into()),
            ("Dimensions", json!([{"Name": dimension, "Value": value}])),
            ("Statistic", metric.statistic.into()),
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
