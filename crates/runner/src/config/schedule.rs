//! When a job runs by itself.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    duration::{self, HumanDuration},
    text::{Text, TextForm},
};

/// When the job runs by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The cron line: second, minute, hour, day of month, month, day of week and, if need be, year.
    pub cron: Text<Cron>,
    /// The time zone that the cron line is read in, by its IANA name.
    #[serde(default = "utc")]
    pub timezone: Text<TimeZoneName>,
    /// A run starts up to this much later than its tick, so that many jobs do not start in the same second.
    #[serde(default = "no_jitter")]
    pub jitter: Text<HumanDuration>,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.cron, self.timezone)
    }
}

pub(super) fn utc() -> Text<TimeZoneName> {
    Text(TimeZoneName("UTC".to_owned()))
}

fn no_jitter() -> Text<HumanDuration> {
    duration::seconds(0)
}

/// A cron line of 6 or 7 fields, checked for its form: field count, names and ranges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron(String);

impl Cron {
    /// The line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Name, least value, greatest value and names of each field; names count from the least value.
const FIELDS: [(&str, u32, u32, &[&str]); 7] = [
    ("second", 0, 59, &[]),
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day of month", 1, 31, &[]),
    (
        "month",
        1,
        12,
        &[
            "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
        ],
    ),
    (
        "day of week",
        0,
        7,
        &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    ),
    ("year", 1970, 9999, &[]),
];

impl FromStr for Cron {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        if !(6..=7).contains(&fields.len()) {
            let hint = if fields.len() == 5 {
                "; put a field for the second in front, usually 0"
            } else {
                ""
            };
            return Err(format!(
                "{text:?} has {} fields; a cron line has 6 or 7: second minute hour day-of-month month day-of-week [year]{hint}",
                fields.len()
            ));
        }
        for (field, (name, least, greatest, names)) in fields.iter().zip(FIELDS) {
            for part in field.split(',') {
                check_part(part, least, greatest, names)
                    .map_err(|problem| format!("{text:?}: the {name} field {field:?} {problem}"))?;
            }
        }
        Ok(Self(text.to_owned()))
    }
}

/// Checks one part of a list: `*`, `?`, `5`, `1-5`, `*/10`, `MON`, `L`, `15W`, `5L`, `MON#2`.
fn check_part(part: &str, least: u32, greatest: u32, names: &[&str]) -> Result<(), String> {
    let number = |text: &str| -> Result<u32, String> {
        let value = match names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(text))
        {
            Some(index) => u32::try_from(index).unwrap_or_default() + least,
            None => text
                .parse()
                .map_err(|_| format!("has {text:?}, which is not a number"))?,
        };
        if (least..=greatest).contains(&value) {
            return Ok(value);
        }
        Err(format!(
            "has {value}, which is not between {least} and {greatest}"
        ))
    };
    let (range, step) = part
        .split_once('/')
        .map_or((part, None), |(range, step)| (range, Some(step)));
    if let Some(step) = step
        && !step.parse::<u32>().is_ok_and(|step| step > 0)
    {
        return Err(format!(
            "has the step {step:?}, which is not a number of at least 1"
        ));
    }
    if matches!(range, "*" | "?" | "L" | "LW") {
        return Ok(());
    }
    if let Some((day, nth)) = range.split_once('#') {
        number(day)?;
        return if matches!(nth, "1" | "2" | "3" | "4" | "5" | "L") {
            Ok(())
        } else {
            Err(format!(
                "has {range:?}, but a day comes at most five times a month"
            ))
        };
    }
    match range.split_once('-') {
        Some((from, to)) => {
            let (from, to) = (number(from)?, number(to)?);
            if from > to {
                return Err(format!(
                    "has the range {range:?}, which ends before it begins"
                ));
            }
            Ok(())
        }
        None => number(range.strip_suffix(['L', 'W']).unwrap_or(range)).map(drop),
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TextForm for Cron {
    const FORMAT: &'static str = "cron";
    const EXPECTED: &'static str = "a cron line of 6 or 7 fields (\"0 30 5 * * *\")";
}

/// An IANA time zone name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeZoneName(String);

impl TimeZoneName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TimeZoneName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "UTC" {
            return Ok(Self(text.to_owned()));
        }
        let database = jiff::tz::db();
        // A machine without a time zone database can run jobs in UTC only; the name is not to blame for that.
        if database.is_definitively_empty() {
            return Err(format!(
                "{text:?} cannot be looked up: this machine has no time zone database (install tzdata)"
            ));
        }
        if database.get(text).is_ok() {
            return Ok(Self(text.to_owned()));
        }
        let names: Vec<String> = database
            .available()
            .map(|name| name.as_str().to_owned())
            .collect();
        let hint = super::nearest::nearest(text, names.iter().map(String::as_str))
            .map_or_else(String::new, |name| format!("; did you mean {name:?}?"));
        Err(format!("{text:?} is not an IANA time zone{hint}"))
    }
}

impl fmt::Display for TimeZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TextForm for TimeZoneName {
    const FORMAT: &'static str = "time-zone";
    const EXPECTED: &'static str = "an IANA time zone (\"Europe/Berlin\")";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cron_lines_are_checked_for_their_form() {
        for good in [
            "0 30 5 * * *",
            "0 */15 * * * *",
            "0 0 9 ? * MON-FRI",
            "0 0 0 L * ?",
            "0 0 0 15W 1,7 *",
            "0 0 6 * * MON#2 2030",
            "0 0 0 * * 5L",
            "*/10 0-30/5 * * * *",
        ] {
            assert!(
                good.parse::<Cron>().is_ok(),
                "{good}: {:?}",
                good.parse::<Cron>()
            );
        }
        for bad in [
            "30 5 * * *",
            "0 30 25 * * *",
            "0 60 5 * * *",
            "0 0 0 0 * *",
            "0 0 0 * 13 *",
            "0 0 0 * * 8",
            "0 0 0 * * MOON",
            "0 */0 * * * *",
            "0 30-10 * * * *",
            "0 0 0 * * MON#6",
            "",
            "@daily",
        ] {
            assert!(bad.parse::<Cron>().is_err(), "{bad}");
        }
    }

    #[test]
    fn utc_needs_no_database() {
        assert!("UTC".parse::<TimeZoneName>().is_ok());
        assert!("Mars/Olympus".parse::<TimeZoneName>().is_err());
    }
}
