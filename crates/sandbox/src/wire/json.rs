//! Answers of the AWS JSON protocols, and a writer for JSON text that is built piece by piece.

use std::fmt::Write as _;

use serde_json::Value;
use tokio::sync::watch;

use crate::clock::SimTime;

/// What an operation of a JSON protocol answers.
#[derive(Debug)]
pub(crate) enum JsonReply {
    /// The body.
    Done(Value),
    /// The body, already written: for long lists.
    Text(String),
    /// Nothing yet: call the handler again, with the same [`Call`](super::Call), as soon as
    /// `changed` fires, or at `until`. The handler compares `call.arrived` with the time.
    Wait {
        /// Fires when an answer may be there. Subscribed under the world's lock, so no change is lost.
        changed: watch::Receiver<()>,
        /// When to ask for the last time.
        until: SimTime,
    },
}

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    #[test]
    fn strings_are_escaped_as_serde_does() {
        for text in ["plain", "q\"b\\s", "line\nfeed\ttab\u{1}", "ünï"] {
            let mut out = String::new();
            super::push_string(&mut out, text);
            assert_eq!(out, serde_json::to_string(text).unwrap());
        }
    }
}
