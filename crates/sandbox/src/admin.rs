//! The admin API under `/_sandbox`.

use axum::response::Response;

use crate::server::{Incoming, reply};
use crate::world::SharedWorld;

/// Answers one admin request.
pub(crate) fn handle(_world: &SharedWorld, _incoming: &Incoming) -> Response {
    reply::plain(404, "")
}
