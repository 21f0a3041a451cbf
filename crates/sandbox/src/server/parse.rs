//! Which service and operation an AWS request is for, and by whose key.

use serde_json::Value;

use super::Incoming;
use super::aws::Service;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;

/// A request that was understood.
pub(super) struct Parsed {
    pub(super) service: Service,
    pub(super) operation: String,
    pub(super) key: String,
    pub(super) region: String,
    pub(super) input: Input,
}

pub(super) enum Input {
    Query(QueryRequest),
    Json(Value),
}

pub(super) fn parse(incoming: &Incoming) -> Result<Parsed, (Service, AwsError)> {
    let target = incoming.header("x-amz-target");
    let (key, region, scope) = credential_scope(incoming.header("authorization"));
    let json = match target.split_once('.') {
        Some(("AWSOrganizationsV20161128", operation)) => Some((Service::Organizations, operation)),
        Some(("AmazonSQS", operation)) => Some((Service::Sqs, operation)),
        Some(("StarlingDoveService", operation)) => Some((Service::Config, operation)),
        Some(_) => {
            return Err((
                Service::Organizations,
                AwsError::new(
                    400,
                    "UnknownOperationException",
                    format!("unknown target {target}"),
                ),
            ));
        }
        None => None,
    };
    let unsigned = |service| {
        let error = AwsError::new(
            403,
            "MissingAuthenticationToken",
            "Missing Authentication Token",
        );
        (service, error)
    };
    if let Some((service, operation)) = json {
        let key = key.ok_or_else(|| {
            (
                service,
                AwsError::new(
                    400,
                    "MissingAuthenticationTokenException",
                    "Missing Authentication Token",
                ),
            )
        })?;
        let input = serde_json::from_slice(&incoming.body).map_err(|error| {
            (
                service,
                AwsError::new(400, "SerializationException", error.to_string()),
            )
        })?;
        return Ok(Parsed {
            service,
            operation: operation.to_owned(),
            key,
            region,
            input: Input::Json(input),
        });
    }
    let request = QueryRequest::parse(if incoming.body.is_empty() {
        incoming.query.as_bytes()
    } else {
        &incoming.body
    });
    let service = match scope.as_str() {
        "cloudformation" => Service::CloudFormation,
        "iam" => Service::Iam,
        "sns" => Service::Sns,
        "sts" => Service::Sts,
        // Unsigned, or signed for what is not here: say so as STS does.
        _ => return Err(unsigned(Service::Sts)),
    };
    let key = key.ok_or_else(|| unsigned(service))?;
    if request.action.is_empty() {
        let error = AwsError::new(
            400,
            "MissingAction",
            "The request must contain the parameter Action.",
        );
        return Err((service, error));
    }
    if service
        .query()
        .is_some_and(|(version, _)| version != request.version)
    {
        return Err((
            service,
            AwsError::invalid_action(&request.action, &request.version),
        ));
    }
    Ok(Parsed {
        service,
        operation: request.action.clone(),
        key,
        region,
        input: Input::Query(request),
    })
}

/// Access key id, Region and service of a SigV4 `Authorization` header.
fn credential_scope(authorization: &str) -> (Option<String>, String, String) {
    let scope = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .and_then(|rest| {
            rest.split(',')
                .find_map(|part| part.trim().strip_prefix("Credential="))
        })
        .unwrap_or_default();
    let parts: Vec<&str> = scope.split('/').collect();
    match parts.as_slice() {
        [key, _date, region, service, "aws4_request"] => (
            Some((*key).to_owned()),
            (*region).to_owned(),
            (*service).to_owned(),
        ),
        _ => (None, "us-east-1".to_owned(), String::new()),
    }
}
