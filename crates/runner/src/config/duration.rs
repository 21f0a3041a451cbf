//! Durations as people write them: `"500ms"`, `"15m"`, `"1h 30m"`, `"14d"`.

use std::{fmt, str::FromStr, time::Duration};

use super::text::{Text, TextForm};

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HumanDuration(Duration);

impl HumanDuration {
    /// The length.
    #[must_use]
    pub fn get(self) -> Duration {
        self.0
    }
}

impl FromStr for HumanDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|error| format!("{text:?} is not a duration: {error}"))
    }
}

impl fmt::Display for HumanDuration {
    /// In the largest unit that it is a whole number of; days from two days on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.0.as_millis();
        if milliseconds == 0 {
            return f.write_str("0s");
        }
        let units = [
            ("d", 86_400_000, 2),
            ("h", 3_600_000, 1),
            ("m", 60_000, 1),
            ("s", 1000, 1),
        ];
        for (unit, length, at_least) in units {
            if milliseconds.is_multiple_of(length) && milliseconds / length >= at_least {
                return write!(f, "{}{unit}", milliseconds / length);
            }
        }
        write!(f, "{milliseconds}ms")
    }
}

impl TextForm for HumanDuration {
    // Not `duration`: JSON Schema means ISO 8601 by that.
    const FORMAT: &'static str = "human-duration";
    const EXPECTED: &'static str = "a duration in quotes (\"500ms\", \"15m\", \"1h 30m\", \"14d\")";
}

/// A duration in seconds, for defaults.
pub(super) const fn seconds(seconds: u64) -> Text<HumanDuration> {
    Text(HumanDuration(Duration::from_secs(seconds)))
}

/// A duration in milliseconds, for defaults.
pub(super) const fn milliseconds(milliseconds: u64) -> Text<HumanDuration> {
    Text(HumanDuration(Duration::from_millis(milliseconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_shown_as_it_would_be_written() {
        for text in [
            "0s", "500ms", "15m", "90m", "1h", "24h", "14d", "90s", "36h",
        ] {
            assert_eq!(text.parse::<HumanDuration>().unwrap().to_string(), text);
        }
        assert_eq!(
            "1h 30m".parse::<HumanDuration>().unwrap().to_string(),
            "90m"
        );
    }
}
