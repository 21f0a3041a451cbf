//! What the function refuses, as a metric of Amazon CloudWatch: a line of its log in the embedded metric format, which
//! CloudWatch Logs makes the metric of (Amazon CloudWatch user guide, "Specification: Embedded metric format"). It is written
//! whatever the log level is.

use std::{io::Write as _, sync::Arc};

use jiff::Timestamp;
use onboarding_core::template::home::REFUSED;
use onboarding_provider::{EventSink, Refusal};
use serde_json::{Value, json};

/// Writes a line for each event that the provider refuses.
pub(crate) fn sink(function: &Arc<str>) -> EventSink {
    let function = Arc::clone(function);
    Arc::new(move |event| {
        if let Some(refusal) = event.refusal() {
            refused(&function, refusal);
        }
    })
}

/// Writes a line for something that was refused.
pub(crate) fn refused(function: &str, refusal: Refusal) {
    let line = line(function, refusal, Timestamp::now());
    // The log is all there is to say it with.
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

/// Counted by function, for the alarm, and by function and reason.
fn line(function: &str, refusal: Refusal, at: Timestamp) -> Value {
    let (namespace, name, dimension) = REFUSED;
    json!({
        "_aws": {
            "Timestamp": at.as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": namespace,
                "Dimensions": [[dimension], [dimension, "Reason"]],
                "Metrics": [{"Name": name, "Unit": "Count"}],
            }],
        },
        dimension: function,
        "Reason": refusal.code(),
        name: 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_all_that_its_metric_names() {
        let line = line("spot", Refusal::ResponseUrl, Timestamp::UNIX_EPOCH);
        let metric = &line["_aws"]["CloudWatchMetrics"][0];
        let names = metric["Dimensions"].as_array().unwrap().iter();
        let names = names.flat_map(|set| set.as_array().unwrap());
        for name in names.chain([&metric["Metrics"][0]["Name"]]) {
            assert!(!line[name.as_str().unwrap()].is_null(), "{name}");
        }
        assert_eq!(line["Reason"], "response-url");
        assert_eq!(line["RefusedEvents"], 1);
        assert_eq!(line["_aws"]["Timestamp"], 0);
    }
}
