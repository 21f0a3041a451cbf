//! The simulated Spot: its API, and the same for callers inside the world (Spot's hosted Lambdas).
//!
//! It behaves as the public OpenAPI documents of Spot say. Where they are silent, the stricter guess is
//! the default and the scenario can choose the other.

mod accounts;
pub(crate) mod api;
pub(crate) mod envelope;
mod link;
mod overview;
mod populate;
mod products;
pub(crate) mod rates;
pub(crate) mod route;
mod user_groups;

pub(crate) use accounts::{Spot, create_account, delete_account, rename_account, token_is_valid};
pub(crate) use link::{create_external_id, set_credentials};
pub(crate) use overview::{
    links, overview, set_running, set_unlisted, switch_off_cost_intelligence, unlink,
};
pub(crate) use populate::populate;
pub(crate) use user_groups::overview as user_groups;

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
    /// `field` in the errors list.
    pub(crate) field: Option<&'static str>,
}

impl SpotError {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            field: None,
        }
    }

    fn of_field(field: &'static str, message: impl Into<String>) -> Self {
        Self {
            field: Some(field),
            ..Self::new(400, "VALIDATION_ERROR", message)
        }
    }
}
