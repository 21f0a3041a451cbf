//! AWS requests: which service and operation, who calls, and the answer in the service's protocol.

use std::time::Instant;

use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use tokio::time::timeout;

use super::parse::{Input, Parsed, parse};
use super::{Incoming, reply, until};
use crate::scenario::FaultKind;
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::json::JsonReply;
use crate::world::{SharedWorld, World};
use crate::{cloudformation, config_service, iam, messaging, organizations, sts};

/// The services, with what their protocol needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Organizations,
    CloudFormation,
    Iam,
    Sts,
    Sns,
    Sqs,
    Config,
}

impl Service {
    fn name(self) -> &'static str {
        match self {
            Self::Organizations => "organizations",
            Self::CloudFormation => "cloudformation",
            Self::Iam => "iam",
            Self::Sts => "sts",
            Self::Sns => "sns",
            Self::Sqs => "sqs",
            Self::Config => "config",
        }
    }

    /// Version and XML namespace of a Query service.
    pub(super) fn query(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::CloudFormation => Some((
                "2010-05-15",
                "http://cloudformation.amazonaws.com/doc/2010-05-15/",
            )),
            Self::Iam => Some((iam::VERSION, "https://iam.amazonaws.com/doc/2010-05-08/")),
            Self::Sts => Some((sts::VERSION, "https://sts.amazonaws.com/doc/2011-06-15/")),
            Self::Sns => Some(("2010-03-31", "http://sns.amazonaws.com/doc/2010-03-31/")),
            Self::Organizations | Self::Sqs | Self::Config => None,
        }
    }

    fn throttled(self) -> AwsError {
        match self {
            Self::Organizations => AwsError::new(
                400,
                "TooManyRequestsException",
                "AWS Organizations can't complete your request because another request is already in progress. Try again later.",
            )
            .with_field("Type", "RATE_LIMIT_EXCEEDED"),
            Self::Sqs => AwsError::new(400, "RequestThrottled", "Rate exceeded")
                .with_query_code("RequestThrottled;Sender"),
            Self::Config => AwsError::new(400, "ThrottlingException", "Rate exceeded"),
            _ => AwsError::new(400, "Throttling", "Rate exceeded"),
        }
    }

    fn broken(self) -> AwsError {
        match self {
            Self::Organizations => AwsError::new(
                500,
                "ServiceException",
                "AWS Organizations can't complete your request because of an internal service error. Try again later.",
            ),
            Self::Iam => AwsError::new(
                500,
                "ServiceFailure",
                "The request processing has failed because of an unknown error, exception or failure.",
            ),
            _ => AwsError::new(
                500,
                "InternalFailure",
                "The request processing has failed because of an unknown error, exception or failure.",
            ),
        }
    }
}

/// Answers one AWS request.
pub(super) async fn serve(world: &SharedWorld, incoming: &Incoming) -> Response {
    let arrived = tokio::time::Instant::now();
    let parsed = match parse(incoming) {
        Ok(parsed) => parsed,
        Err((service, error)) => {
            let request_id = world.lock().ids.uuid_text();
            return render(service, &request_id, Err(error));
        }
    };
    let (service, operation) = (parsed.service, parsed.operation.as_str());
    let (request_id, admitted, latency) = {
        let mut world = world.lock();
        let admitted = admit(&mut world, &parsed, incoming.header("x-amz-security-token"));
        (
            world.ids.uuid_text(),
            admitted,
            world.scenario.latency.of(service.name()),
        )
    };
    until(arrived + latency).await;
    let (call, fault) = match admitted {
        Ok(admitted) => admitted,
        Err(error) => return render(service, &request_id, Err(error)),
    };
    match fault {
        Some(FaultKind::ServerError) => return render(service, &request_id, Err(service.broken())),
        Some(FaultKind::Throttle) => return render(service, &request_id, Err(service.throttled())),
        Some(FaultKind::HtmlError) => return reply::html_error(),
        Some(FaultKind::DropBefore) => return reply::dropped(),
        Some(FaultKind::DropAfter) | None => {}
    }
    let answer = answer(world, &parsed, &call, &request_id).await;
    if fault == Some(FaultKind::DropAfter) {
        tracing::debug!(
            service = service.name(),
            operation,
            "dropping the connection after the call"
        );
        return reply::dropped();
    }
    render(service, &request_id, answer)
}

/// Counts the call, then asks who it is, whether the rate allows it, and whether a fault strikes.
fn admit(
    world: &mut World,
    parsed: &Parsed,
    token: &str,
) -> Result<(Call, Option<FaultKind>), AwsError> {
    let (service, operation) = (parsed.service, parsed.operation.as_str());
    let name = format!("{}:{operation}", service.name());
    world.calls.count(&name);
    let token = (!token.is_empty()).then_some(token);
    let organization = &world.organization;
    let caller = world
        .sessions
        .caller(&parsed.key, token, |account| {
            organization.account(account).is_some()
        })
        .map_err(|error| for_json(service, error))?;
    if service == Service::Organizations
        && world.scenario.organization.rates
        && !world
            .organization
            .rates
            .take(operation, caller.account, Instant::now())
    {
        world.calls.count_throttled(&name);
        return Err(service.throttled());
    }
    let fault = world.faults.strike(service.name(), operation);
    if fault == Some(FaultKind::Throttle) {
        world.calls.count_throttled(&name);
    }
    Ok((
        Call {
            caller,
            region: parsed.region.clone(),
            arrived: world.now(),
        },
        fault,
    ))
}

/// The JSON front-end has its own names for the credential errors.
fn for_json(service: Service, error: AwsError) -> AwsError {
    let code = match (service.query(), error.code.as_ref()) {
        (None, "InvalidClientTokenId") => "UnrecognizedClientException",
        (None, "ExpiredToken") => "ExpiredTokenException",
        _ => return error,
    };
    AwsError::new(400, code, error.message)
}

async fn answer(
    world: &SharedWorld,
    parsed: &Parsed,
    call: &Call,
    request_id: &str,
) -> Result<String, AwsError> {
    match &parsed.input {
        Input::Query(request) => {
            let mut world = world.lock();
            let reply = match parsed.service {
                Service::CloudFormation => cloudformation::handle(&mut world, call, request),
                Service::Iam => iam::handle(&mut world, call, request),
                Service::Sts => sts::handle(&mut world, call, request),
                _ => messaging::handle_sns(&mut world, call, request),
            }?;
            let namespace = parsed
                .service
                .query()
                .map_or("", |(_, namespace)| namespace);
            Ok(reply.to_document(&request.action, namespace, request_id))
        }
        Input::Json(input) => loop {
            let reply = {
                let mut world = world.lock();
                let operation = parsed.operation.as_str();
                match parsed.service {
                    Service::Organizations => {
                        organizations::handle(&mut world, call, operation, input)
                    }
                    Service::Config => config_service::handle(&mut world, call, operation, input),
                    _ => messaging::handle_sqs(&mut world, call, operation, input),
                }?
            };
            match reply {
                JsonReply::Done(value) => return Ok(value.to_string()),
                JsonReply::Text(text) => return Ok(text),
                JsonReply::Wait { mut changed, until } => {
                    let wait = world.lock().clock.real_until(until);
                    // Either a change or the end of the wait: the handler looks again.
                    let _ = timeout(wait, changed.changed()).await;
                }
            }
        },
    }
}

fn render(service: Service, request_id: &str, answer: Result<String, AwsError>) -> Response {
    let query = service.query();
    let mut response = match (&answer, query) {
        (Ok(_), None) => reply::with_body(200, json_type(service), axum::body::Body::empty()),
        (Ok(_), Some(_)) => reply::with_body(200, "text/xml", axum::body::Body::empty()),
        (Err(error), None) => {
            reply::with_body(error.status, json_type(service), axum::body::Body::empty())
        }
        (Err(error), Some(_)) => {
            reply::with_body(error.status, "text/xml", axum::body::Body::empty())
        }
    };
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(HeaderName::from_static("x-amzn-requestid"), value);
    }
    if let Err(error) = &answer
        && let Some(code) = error.query_code
    {
        headers.insert(
            HeaderName::from_static("x-amzn-query-error"),
            HeaderValue::from_static(code),
        );
    }
    let text = match (answer, query) {
        (Ok(text), _) => text,
        (Err(error), Some((_, namespace))) => error.to_xml(namespace, request_id),
        (Err(error), None) if service == Service::Sqs => {
            error.to_json("com.amazonaws.sqs#", "message")
        }
        (Err(error), None) if service == Service::Config => error.to_json("", "message"),
        (Err(error), None) => error.to_json("", "Message"),
    };
    *response.body_mut() = axum::body::Body::from(text);
    response
}

fn json_type(service: Service) -> &'static str {
    if service == Service::Sqs {
        "application/x-amz-json-1.0"
    } else {
        "application/x-amz-json-1.1"
    }
}
