//! The simulated Spot: its API, and the same for callers inside the world.

use crate::scenario::Scenario;
use crate::world::World;

/// The Spot organization.
#[derive(Debug)]
pub(crate) struct Spot {}

/// An error of the Spot API.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SpotError {
    /// HTTP status.
    pub(crate) status: u16,
    /// `code` in the errors list.
    pub(crate) code: &'static str,
    /// Text for a human.
    pub(crate) message: String,
}

impl Spot {
    /// The organization of a scenario, without its AWS accounts.
    pub(crate) fn new(_scenario: &Scenario) -> Self {
        Self {}
    }
}

/// Links the accounts that the scenario wants linked.
pub(crate) fn populate(_world: &mut World) {}
