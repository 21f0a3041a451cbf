//! Spot requests: the token, the rate limit, faults, and the answer.

use std::time::Instant;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;

use super::{Incoming, reply, until};
use crate::scenario::FaultKind;
use crate::spot::api;
use crate::spot::envelope::{self, Payload};
use crate::spot::rates::RateState;
use crate::spot::route::{Query, Route};
use crate::spot::{SpotError, token_is_valid};
use crate::world::{SharedWorld, World};

/// Whether a path belongs to Spot.
pub(super) fn is_route(path: &str) -> bool {
    ["/setup/", "/cbi/", "/cloudBilling/", "/aws/ec2/", "/ocean/"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

/// What was decided before the call is carried out.
struct Admitted {
    request_id: String,
    timestamp: String,
    rate: Option<RateState>,
    refusal: Option<SpotError>,
    fault: Option<FaultKind>,
}

/// Answers one Spot request.
pub(super) async fn serve(world: &SharedWorld, incoming: &Incoming) -> Response {
    let arrived = tokio::time::Instant::now();
    let route = Route::find(incoming.method.as_str(), &incoming.path);
    let (admitted, latency) = {
        let mut world = world.lock();
        let name = route.as_ref().map(|(_, name, _)| name.as_str());
        (
            admit(&mut world, incoming, name),
            world.scenario.latency.of("spot"),
        )
    };
    until(arrived + latency).await;
    match admitted.fault {
        Some(FaultKind::HtmlError) => return reply::html_error(),
        Some(FaultKind::DropBefore) => return reply::dropped(),
        _ => {}
    }
    let answer = match (&admitted.refusal, route) {
        (Some(refusal), _) => Err(refusal.clone()),
        (None, None) => Err(envelope::no_route()),
        (None, Some((route, _, id))) => {
            let query = Query::parse(&incoming.query);
            api::handle(&mut world.lock(), route, &id, &query, &incoming.body)
        }
    };
    if admitted.fault == Some(FaultKind::DropAfter) {
        tracing::debug!(
            path = incoming.path,
            "dropping the connection after the call"
        );
        return reply::dropped();
    }
    render(incoming, &admitted, &answer)
}

fn admit(world: &mut World, incoming: &Incoming, route: Option<&str>) -> Admitted {
    let token = incoming
        .header("authorization")
        .strip_prefix("Bearer ")
        .unwrap_or_default();
    let mut admitted = Admitted {
        request_id: world.ids.uuid_text(),
        timestamp: world.now().to_string(),
        rate: None,
        refusal: None,
        fault: None,
    };
    let Some(route) = route else { return admitted };
    world.calls.count(&format!("spot:{route}"));
    if !token_is_valid(world, token) {
        admitted.refusal = Some(envelope::unauthorized());
        return admitted;
    }
    admitted.fault = world.faults.strike("spot", route);
    admitted.rate = world.spot.rates.take(route, Instant::now());
    let throttled = admitted.fault == Some(FaultKind::Throttle);
    if throttled || admitted.rate.is_some_and(|rate| !rate.allowed) {
        world.calls.count_throttled(&format!("spot:{route}"));
        admitted.refusal = Some(envelope::rate_limited());
    } else if admitted.fault == Some(FaultKind::ServerError) {
        admitted.refusal = Some(envelope::broken());
    }
    admitted
}

fn render(
    incoming: &Incoming,
    admitted: &Admitted,
    answer: &Result<Payload, SpotError>,
) -> Response {
    let url = if incoming.query.is_empty() {
        incoming.path.clone()
    } else {
        format!("{}?{}", incoming.path, incoming.query)
    };
    let (status, body) = envelope::envelope(
        &admitted.request_id,
        incoming.method.as_str(),
        &url,
        &admitted.timestamp,
        answer,
    );
    let mut response = reply::json(status, body);
    if let Some(rate) = admitted.rate {
        let headers = response.headers_mut();
        for (name, value) in [
            ("x-ratelimit-limit", u64::from(rate.limit)),
            ("x-ratelimit-remaining", u64::from(rate.remaining)),
            ("x-ratelimit-reset", rate.reset),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        }
    }
    response
}
