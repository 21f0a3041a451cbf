//! The scenario file: what the simulated organization and Spot look like, and how they behave.
//!
//! Everything that is generated follows from `seed` alone. Every field has a default; unknown fields
//! are errors. `docs/sandbox.md` shows the fields with examples.

mod config;
mod duration;
mod organization;
mod services;
mod spot;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

pub use config::ConfigScenario;
pub use organization::{OrganizationScenario, TagScenario};
pub use services::{
    EventsScenario, FaultKind, FaultRule, IamScenario, Latency, MessagingScenario,
    ProviderScenario, StackSetsScenario,
};
pub use spot::{Enrollment, SpotScenario};

/// A whole scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// Everything generated follows from this number.
    pub seed: u64,
    /// Simulated seconds per real second. Scales operation durations, propagation delays, timeouts of
    /// custom resources and SQS visibility; not latencies and not Spot's rate window.
    pub clock_speed: f64,
    /// The home Region: where the provider's topic and queue are.
    pub region: String,
    /// The organization.
    pub organization: OrganizationScenario,
    /// IAM.
    pub iam: IamScenario,
    /// Stack sets and stacks.
    pub stack_sets: StackSetsScenario,
    /// AWS Config.
    pub config: ConfigScenario,
    /// SNS and SQS.
    pub messaging: MessagingScenario,
    /// EventBridge.
    pub events: EventsScenario,
    /// The topic and queues of the enrollment provider.
    pub provider: ProviderScenario,
    /// Spot.
    pub spot: SpotScenario,
    /// Real time that each call takes, by service.
    pub latency: Latency,
    /// Faults to inject from the start; the admin API can add more.
    pub faults: Vec<FaultRule>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            seed: 1,
            clock_speed: 1.0,
            region: "us-east-1".into(),
            organization: OrganizationScenario::default(),
            iam: IamScenario::default(),
            stack_sets: StackSetsScenario::default(),
            config: ConfigScenario::default(),
            messaging: MessagingScenario::default(),
            events: EventsScenario::default(),
            provider: ProviderScenario::default(),
            spot: SpotScenario::default(),
            latency: Latency::default(),
            faults: Vec::new(),
        }
    }
}

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("reading the scenario {path}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The text is not a scenario; the message has line and column.
    #[error("the scenario is not valid: {0}")]
    Parse(#[from] toml::de::Error),
    /// The numbers contradict each other.
    #[error("the scenario asks for the impossible: {0}")]
    Impossible(String),
}

impl Scenario {
    /// Reads a scenario file.
    ///
    /// # Errors
    /// The file cannot be read, is not valid, or asks for the impossible.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            path: path.display().to_string(),
            source,
        })?;
        Self::parse(&text)
    }

    /// Reads the text of a scenario.
    ///
    /// # Errors
    /// The text is not valid, or asks for the impossible.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text)?;
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), ScenarioError> {
        let fail = |message: String| Err(ScenarioError::Impossible(message));
        if !(self.clock_speed.is_finite() && self.clock_speed > 0.0) {
            return fail("clock_speed must be greater than 0".into());
        }
        let organization = &self.organization;
        let special = organization.suspended + organization.closed + organization.scp_blocked;
        let spot = &self.spot;
        let linked = spot.linked + spot.linked_twice + spot.linked_drifted + spot.orphaned;
        if special + linked > organization.accounts {
            return fail(format!(
                "{special} suspended, closed or blocked and {linked} accounts known to Spot do not fit in {} accounts",
                organization.accounts
            ));
        }
        let config = &self.config;
        let wrong =
            config.unrecorded + config.failing + config.stale + config.stopped + config.untold;
        if wrong + usize::from(config.in_member) > organization.accounts {
            return fail(format!(
                "{wrong} accounts that AWS Config cannot tell of, and perhaps one for its aggregator, do not fit in {} accounts",
                organization.accounts
            ));
        }
        if config.batch == 0 {
            return fail("config.batch must be at least 1".into());
        }
        let mut tagged: BTreeMap<&str, usize> = BTreeMap::new();
        for tag in &organization.tags {
            let carriers = tagged.entry(&tag.key).or_default();
            *carriers += tag.accounts;
            if *carriers > organization.accounts {
                return fail(format!(
                    "{carriers} accounts with the tag {:?} do not fit in {} accounts",
                    tag.key, organization.accounts
                ));
            }
        }
        if organization.ous > 0 && organization.depth == 0 {
            return fail("organizational units need a depth of at least 1".into());
        }
        if organization.depth > 5 {
            return fail("AWS allows organizational units 5 levels deep".into());
        }
        for (name, probability) in [
            ("organization.empty_pages", organization.empty_pages),
            ("messaging.duplicates", self.messaging.duplicates),
            ("messaging.reordered", self.messaging.reordered),
            ("events.lost", self.events.lost),
            ("events.duplicates", self.events.duplicates),
        ]
        .into_iter()
        .chain(
            self.faults
                .iter()
                .map(|fault| ("faults.probability", fault.probability)),
        ) {
            if !(0.0..=1.0).contains(&probability) {
                return fail(format!("{name} must be between 0 and 1"));
            }
        }
        if organization.empty_pages > 0.9 {
            return fail("organization.empty_pages over 0.9 never ends a listing".into());
        }
        Ok(())
    }
}

/// Calls per window and route, such as `"POST /setup/account" = 60`.
pub(crate) type RouteLimits = BTreeMap<String, u32>;

/// Durations that have a default of zero.
pub(crate) const ZERO: Duration = Duration::ZERO;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_scenario_is_valid() {
        let scenario = Scenario::parse("").unwrap();
        assert_eq!(scenario.seed, 1);
        assert!(scenario.organization.rates);
    }

    #[test]
    fn unknown_fields_and_impossible_numbers_are_refused() {
        assert!(
            Scenario::parse("sed = 2")
                .unwrap_err()
                .to_string()
                .contains("sed")
        );
        let error = Scenario::parse("[organization]\naccounts = 3\nsuspended = 4").unwrap_err();
        assert!(error.to_string().contains("do not fit"), "{error}");
        let tags = "[organization]\naccounts = 3\n[[organization.tags]]\nkey = \"a\"\naccounts = 4";
        let error = Scenario::parse(tags).unwrap_err();
        assert!(error.to_string().contains("do not fit"), "{error}");
        assert!(Scenario::parse("clock_speed = 0").is_err());
        assert!(Scenario::parse("[organization]\ndepth = 6").is_err());
    }

    #[test]
    fn durations_are_written_as_humans_do() {
        let scenario = Scenario::parse("[latency]\nspot = \"25ms\"").unwrap();
        assert_eq!(scenario.latency.spot, Some(Duration::from_millis(25)));
    }

    #[test]
    fn the_scenarios_that_we_ship_are_valid() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut count = 0;
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            Scenario::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            count += 1;
        }
        assert!(count > 0);
    }
}
