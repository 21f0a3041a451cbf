//! Spot requests: the token, the rate limit, faults, and the answer.

use axum::response::Response;

use super::{Incoming, reply};
use crate::world::SharedWorld;

/// Whether a path belongs to Spot.
pub(super) fn is_route(path: &str) -> bool {
    ["/setup/", "/cbi/", "/cloudBilling/", "/aws/ec2/", "/ocean/"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

/// Answers one Spot request.
pub(super) async fn serve(_world: &SharedWorld, _incoming: &Incoming) -> Response {
    reply::plain(404, "")
}
