//! Parameters of a kind `policy-rollout` job.

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::{
    Timestamp, ToSpan as _,
    civil::{Time, Weekday},
    tz::TimeZone,
};
use onboarding_core::{
    desired::OuRef,
    ids::AwsAccountId,
    policy_rollout::{Selector, WaveSettings, Window},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    duration::{self, HumanDuration},
    schedule::{TimeZoneName, utc},
    tags::TagValues,
    text::{Text, TextForm},
};

/// Parameters of a kind `policy-rollout` job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyRolloutParams {
    /// The profile whose policies it rolls out. With it, `stackset-sync` no longer does: it keeps the last good version. Without it, the
    /// job does nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The name of the version that the files say, 1 to 12 letters and digits, a new one for each. Without it, the first digits of
    /// the version's digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The waves, one after the other. An account is in the first one that selects it; the last one has no selector, and is for
    /// all that are left.
    pub waves: Vec<WaveConfig>,
    /// When changes may be made in accounts. Without it, always. Going back does not wait for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowConfig>,
    /// Whether the gates look into the accounts, through the audit role (`audit.enabled`): what IAM has, and the links to Spot.
    /// Without it, only CloudFormation's word is a gate.
    pub iam: bool,
    /// Whether Spot is asked which role it uses for each account, beside what the state remembers, and to validate Cost Intelligence
    /// where the profile has it: three calls for each account, at about 60 a minute.
    pub ask_spot: bool,
    /// Accounts that are looked into at the same time.
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: u32,
}

impl Default for PolicyRolloutParams {
    fn default() -> Self {
        Self {
            profile: None,
            version: None,
            waves: vec![WaveConfig::default()],
            window: None,
            iam: true,
            ask_spot: false,
            concurrency: 32,
        }
    }
}

/// A wave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WaveConfig {
    /// Its name, unique among the waves.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// All accounts below these: `"root"`, ids or paths of names.
    pub ous: Vec<Text<OuRef>>,
    /// These accounts.
    pub accounts: Vec<Text<AwsAccountId>>,
    /// Accounts that carry every one of these tags in AWS Organizations, each with this value or one of a list. Reading tags takes
    /// one call for each account of the profile; they are trusted for `aws.tags_max_age`.
    pub tags: BTreeMap<String, TagValues>,
    /// So many of a hundred of the accounts that `ous`, `accounts` and `tags` name, or of all of the profile's when they name none; at
    /// least one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub percent: Option<u8>,
    /// How many accounts CloudFormation works on at the same time. Without it, `stack_set.max_concurrent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub concurrency: Option<u32>,
    /// How many of its accounts may go wrong, in CloudFormation or at the gates, before the rollout is halted.
    pub failures: u32,
    /// What CloudFormation does when accounts fail.
    pub tolerance: ToleranceConfig,
    /// How long it soaks: the gates are asked when its accounts are updated, and again after this time, before the next wave begins.
    pub soak: Text<HumanDuration>,
}

impl Default for WaveConfig {
    fn default() -> Self {
        Self {
            name: "all".to_owned(),
            ous: Vec::new(),
            accounts: Vec::new(),
            tags: BTreeMap::new(),
            percent: None,
            concurrency: None,
            failures: 0,
            tolerance: ToleranceConfig::Strict,
            soak: duration::seconds(0),
        }
    }
}

/// What CloudFormation does when accounts of a wave fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ToleranceConfig {
    /// It works on no more accounts at a time than may still fail, and one (STRICT_FAILURE_TOLERANCE).
    #[default]
    Strict,
    /// It keeps its pace, so that more may fail than are allowed to (SOFT_FAILURE_TOLERANCE).
    Soft,
}

/// When changes may be made in accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowConfig {
    /// The days on which it opens; every day when empty.
    #[serde(default)]
    pub days: Vec<DayName>,
    /// From when to when on each of them. One that ends before it begins ends on the next day.
    pub hours: Text<Hours>,
    /// The time zone that days and hours are read in, by its IANA name.
    #[serde(default = "utc")]
    pub timezone: Text<TimeZoneName>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DayName {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl From<DayName> for Weekday {
    fn from(day: DayName) -> Self {
        match day {
            DayName::Mon => Self::Monday,
            DayName::Tue => Self::Tuesday,
            DayName::Wed => Self::Wednesday,
            DayName::Thu => Self::Thursday,
            DayName::Fri => Self::Friday,
            DayName::Sat => Self::Saturday,
            DayName::Sun => Self::Sunday,
        }
    }
}

/// From one time of the day to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    from: Time,
    to: Time,
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || format!("{text:?} is not a pair of times such as 09:00-17:00");
        let time = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
        };
        let (from, to) = text.split_once('-').ok_or_else(invalid)?;
        match (time(from), time(to)) {
            (Some(from), Some(to)) if from != to => Ok(Self { from, to }),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{}-{}", from.strftime("%H:%M"), to.strftime("%H:%M"))
    }
}

impl TextForm for Hours {
    const FORMAT: &'static str = "hours";
    const EXPECTED: &'static str = "two times of the day in quotes (\"09:00-17:00\")";
}

impl WindowConfig {
    /// Whether changes may be made at a moment, and from when on otherwise. Days and times are those of the time zone: where its
    /// clock is put forward over the beginning, the window opens when it was put.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Window {
        let never = Window {
            is_open: false,
            opens_at: None,
        };
        let Ok(zone) = TimeZone::get(self.timezone.as_str()) else {
            return never;
        };
        let local = now.to_zoned(zone.clone());
        let Hours { from, to } = self.hours.0;
        let is_day = |day: Weekday| {
            self.days.is_empty() || self.days.iter().any(|one| Weekday::from(*one) == day)
        };
        // Yesterday's may last until today.
        for days in -1..=8 {
            let Ok(date) = local.date().checked_add(days.days()) else {
                continue;
            };
            if !is_day(date.weekday()) {
                continue;
            }
            let end = if to > from { Ok(date) } else { date.tomorrow() };
            let moment =
                |date: jiff::civil::Date, time| date.to_datetime(time).to_zoned(zone.clone());
            let (Ok(opens), Ok(Ok(closes))) = (moment(date, from), end.map(|end| moment(end, to)))
            else {
                continue;
            };
            if now < opens.timestamp() {
                return Window {
                    is_open: false,
                    opens_at: Some(opens.timestamp().as_second()),
                };
            }
            if now < closes.timestamp() {
                return Window {
                    is_open: true,
                    opens_at: None,
                };
            }
        }
        never
    }
}

impl PolicyRolloutParams {
    /// When changes may be made, at a moment.
    #[must_use]
    pub fn window_at(&self, now: Timestamp) -> Window {
        match &self.window {
            Some(window) => window.at(now),
            None => Window {
                is_open: true,
                opens_at: None,
            },
        }
    }
}

impl WaveConfig {
    /// Whether it selects accounts, and not all that are left.
    #[must_use]
    pub fn has_selector(&self) -> bool {
        !(self.ous.is_empty()
            && self.accounts.is_empty()
            && self.tags.is_empty()
            && self.percent.is_none())
    }

    /// The wave as the core takes it.
    #[must_use]
    pub fn settings(&self) -> WaveSettings {
        let tags = self.tags.iter();
        WaveSettings {
            name: self.name.clone(),
            selector: self.has_selector().then(|| Selector {
                ous: self.ous.iter().map(|unit| unit.0.clone()).collect(),
                accounts: self.accounts.iter().map(|account| account.0).collect(),
                tags: tags
                    .map(|(key, values)| (key.clone(), values.0.clone()))
                    .collect(),
                percent: self.percent,
            }),
            concurrency: self.concurrency,
            failures: usize::try_from(self.failures).unwrap_or(usize::MAX),
            strict: self.tolerance == ToleranceConfig::Strict,
            soak: i64::try_from(self.soak.get().as_secs()).unwrap_or(i64::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: Vec<DayName>, hours: &str, timezone: &str) -> WindowConfig {
        WindowConfig {
            days,
            hours: Text(hours.parse().unwrap()),
            timezone: Text(timezone.parse().unwrap()),
        }
    }

    fn at(window: &WindowConfig, moment: &str) -> (bool, Option<String>) {
        let window = window.at(moment.parse().unwrap());
        let opens = window
            .opens_at
            .map(|at| Timestamp::from_second(at).unwrap().to_string());
        (window.is_open, opens)
    }

    #[test]
    fn a_window_opens_on_its_days_in_its_time_zone() {
        use DayName::{Mon, Tue};
        let berlin = window(vec![Mon, Tue], "09:00-17:00", "Europe/Berlin");
        for (moment, expected) in [
            (
                "2026-11-23T07:59:59Z",
                (false, Some("2026-11-23T08:00:00Z")),
            ),
            ("2026-11-23T08:00:00Z", (true, None)),
            ("2026-11-23T15:59:59Z", (true, None)),
            (
                "2026-11-23T16:00:00Z",
                (false, Some("2026-11-24T08:00:00Z")),
            ),
            (
                "2026-11-24T16:00:00Z",
                (false, Some("2026-11-30T08:00:00Z")),
            ),
            // In summer, an hour earlier.
            ("2026-07-06T07:00:00Z", (true, None)),
        ] {
            let expected = (expected.0, expected.1.map(str::to_owned));
            assert_eq!(at(&berlin, moment), expected, "{moment}");
        }
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_opens() {
        let night = window(vec![DayName::Fri], "22:00-04:00", "UTC");
        for (moment, expected) in [
            ("2026-11-27T22:00:00Z", (true, None)),
            ("2026-11-28T03:59:00Z", (true, None)),
            (
                "2026-11-28T04:00:00Z",
                (false, Some("2026-12-04T22:00:00Z")),
            ),
            (
                "2026-11-27T03:00:00Z",
                (false, Some("2026-11-27T22:00:00Z")),
            ),
        ] {
            let expected = (expected.0, expected.1.map(str::to_owned));
            assert_eq!(at(&night, moment), expected, "{moment}");
        }
    }

    #[test]
    fn hours_are_read_and_written() {
        let hours: Hours = "9:05-17:00".parse().unwrap();
        assert_eq!(hours.to_string(), "09:05-17:00");
        for wrong in ["", "09:00", "09:00-09:00", "25:00-26:00", "a-b"] {
            assert!(wrong.parse::<Hours>().is_err(), "{wrong}");
        }
    }
}
