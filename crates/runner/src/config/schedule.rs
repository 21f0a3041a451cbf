//! When a job runs by itself.

use std::{fmt, str::FromStr, time::Duration};

use croner::parser::{CronParser, Seconds};
use jiff::{Timestamp, tz::TimeZone};
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
    /// The cron line: second, minute, hour, day of month, month, day of week and, if need be, year. When both days are given,
    /// either will do. Or `@every` and a duration.
    pub cron: Text<Cron>,
    /// The time zone that the cron line is read in, by its IANA name.
    #[serde(default = "utc")]
    pub timezone: Text<TimeZoneName>,
    /// A run starts up to this much later than its tick, so that many jobs do not start in the same second.
    #[serde(default = "no_jitter")]
    pub jitter: Text<HumanDuration>,
    /// How long after its tick a run may still start, when no daemon ran at that time. Of several ticks that were missed, only the
    /// last one gets a run.
    #[serde(default = "catch_up")]
    pub catch_up: Text<HumanDuration>,
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.cron, self.timezone)
    }
}

pub(super) fn utc() -> Text<TimeZoneName> {
    Text(TimeZoneName::utc())
}

fn catch_up() -> Text<HumanDuration> {
    duration::seconds(3600)
}

fn no_jitter() -> Text<HumanDuration> {
    duration::seconds(0)
}

/// When it is due: a cron line of 6 or 7 fields, or `@every` and a duration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    text: String,
    rule: Rule,
}

/// What a cron line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Moments of the clock on the wall.
    Clock(Box<croner::Cron>),
    /// Moments that are this far from each other, whatever the clock on the wall says; counted from 1970-01-01T00:00:00Z.
    Every(Duration),
}

impl Cron {
    /// What the line says.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.rule
    }
}

/// The fields, and the values that each takes.
const FIELDS: [(&str, &str); 7] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of month", "1 to 31, L"),
    ("month", "1 to 12, JAN to DEC"),
    ("day of week", "0 to 7, SUN to SAT"),
    ("year", "1 to 5000"),
];

/// The shortest `@every`: a run that is due again before it could have read an organization only waits.
const SHORTEST: Duration = Duration::from_secs(1);

impl FromStr for Cron {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = match text.strip_prefix("@every") {
            Some(every) => Rule::Every(every_so_often(text, every)?),
            None => Rule::Clock(Box::new(clock(text)?)),
        };
        Ok(Self {
            text: text.to_owned(),
            rule,
        })
    }
}

fn every_so_often(text: &str, every: &str) -> Result<Duration, String> {
    let every: HumanDuration = every.trim().parse().map_err(|error| {
        format!("{text:?}: after @every comes a duration (\"@every 15m\"): {error}")
    })?;
    if every.get() < SHORTEST || every.get().subsec_nanos() != 0 {
        return Err(format!(
            "{text:?}: @every takes whole seconds, at least one"
        ));
    }
    Ok(every.get())
}

fn clock(text: &str) -> Result<croner::Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Required).build();
    let fields: Vec<&str> = text.split_whitespace().collect();
    if !(6..=7).contains(&fields.len()) {
        let hint = match fields.len() {
            5 => "; put a field for the second in front, usually 0",
            _ => "",
        };
        return Err(format!(
            "{text:?} has {} fields; a cron line has 6 or 7: second minute hour day-of-month month day-of-week [year]{hint}",
            fields.len()
        ));
    }
    let line = parser.parse(text).map_err(|error| {
        // The parser does not say which field it means.
        let wrong = fields.iter().enumerate().find(|(index, field)| {
            let mut alone = ["*"; 7];
            alone[*index] = field;
            parser.parse(&alone[..fields.len()].join(" ")).is_err()
        });
        match wrong {
            Some((index, field)) => {
                let (name, values) = FIELDS[index];
                format!("{text:?}: the {name} field {field:?} is wrong; it takes {values}: {error}")
            }
            None => format!("{text:?}: {error}"),
        }
    })?;
    let beginning = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
    match line.find_next_occurrence(&beginning, false) {
        Ok(_) => Ok(line),
        Err(_) => Err(format!("{text:?} never comes: no day is like that")),
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TextForm for Cron {
    const FORMAT: &'static str = "cron";
    const EXPECTED: &'static str = "a cron line of 6 or 7 fields (\"0 30 5 * * *\"), or @every and a duration (\"@every 15m\")";
}

/// An IANA time zone name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeZoneName {
    name: String,
    zone: TimeZone,
}

impl TimeZoneName {
    fn utc() -> Self {
        Self {
            name: "UTC".to_owned(),
            zone: TimeZone::UTC,
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Its rules, as this machine's database has them.
    #[must_use]
    pub fn zone(&self) -> TimeZone {
        self.zone.clone()
    }
}

impl FromStr for TimeZoneName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "UTC" {
            return Ok(Self::utc());
        }
        let database = jiff::tz::db();
        // A machine without a time zone database can run jobs in UTC only; the name is not to blame for that.
        if database.is_definitively_empty() {
            return Err(format!(
                "{text:?} cannot be looked up: this machine has no time zone database (install tzdata)"
            ));
        }
        if let Ok(zone) = database.get(text) {
            return Ok(Self {
                name: text.to_owned(),
                zone,
            });
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
        f.write_str(&self.name)
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
            "@every 15m",
            "@every 1h 30m",
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
            "0 0 0 30 2 *",
            "",
            "@daily",
            "@every",
            "@every 0s",
            "@every 1500ms",
        ] {
            assert!(bad.parse::<Cron>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_wrong_field_is_named() {
        for (line, field) in [
            ("0 30 25 * * *", "the hour field \"25\""),
            ("0 30 5 * * MOON", "the day of week field \"MOON\""),
            ("0 30 5 * 13 * 2030", "the month field \"13\""),
            ("0 0 0 31 4 *", "never comes"),
            ("30 5 * * *", "put a field for the second in front"),
        ] {
            let error = line.parse::<Cron>().unwrap_err();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn utc_needs_no_database() {
        assert!("UTC".parse::<TimeZoneName>().is_ok());
        assert!("Mars/Olympus".parse::<TimeZoneName>().is_err());
    }
}
