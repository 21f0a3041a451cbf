//! An AWS of one function: it is given each request and says the answer.

use std::sync::{Arc, Mutex};

use aws_ops::{Aws, AwsSettings, StaticCredentials};
use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, StatusCode},
    response::IntoResponse,
};
use onboarding_core::secret::SecretText;
use serde_json::Value;

/// A request, whatever its protocol.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// The operation's name without its service.
    pub(crate) operation: String,
    /// The body of a JSON protocol.
    pub(crate) json: Value,
    /// The body as text.
    pub(crate) body: String,
    /// The Authorization header.
    pub(crate) authorization: String,
}

/// An answer.
pub(crate) struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    /// A JSON answer.
    pub(crate) fn json(value: Value) -> Self {
        Self::raw(200, value.to_string())
    }

    /// The error of a JSON protocol, always HTTP 400 from Organizations.
    pub(crate) fn json_error(code: &str, message: &str) -> Self {
        Self::raw(
            400,
            serde_json::json!({"__type": code, "Message": message}).to_string(),
        )
    }

    /// The result of a Query protocol.
    pub(crate) fn xml(operation: &str, result: &str) -> Self {
        Self::raw(
            200,
            format!(
                "<{operation}Response xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><{operation}Result>\
                 {result}</{operation}Result><ResponseMetadata><RequestId>req-1</RequestId></ResponseMetadata>\
                 </{operation}Response>"
            ),
        )
    }

    /// The error of a Query protocol.
    pub(crate) fn xml_error(status: u16, code: &str, message: &str) -> Self {
        Self::raw(
            status,
            format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
                 <RequestId>req-2</RequestId></ErrorResponse>"
            ),
        )
    }

    /// Any answer.
    pub(crate) fn raw(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            body: body.into(),
        }
    }
}

/// A running server and a handle to it. It ends with the test's runtime.
pub(crate) struct Server {
    /// The handle.
    pub(crate) aws: Aws,
    /// What was asked, in order.
    pub(crate) calls: Arc<Mutex<Vec<Call>>>,
}

impl Server {
    /// Starts one that answers with this function.
    pub(crate) async fn start(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&calls), Arc::new(answer));
        let app = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            async move {
                let call = read(&headers, &body);
                log.lock().unwrap().push(call.clone());
                let answer = answer(&call);
                (
                    StatusCode::from_u16(answer.status).unwrap(),
                    [("x-amzn-requestid", "req-header")],
                    answer.body,
                )
                    .into_response()
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            aws: connect(url).await,
            calls,
        }
    }

    /// How often an operation was asked for.
    pub(crate) fn count(&self, operation: &str) -> usize {
        self.calls
            .lock()
            .unwrap()
            .iter()
            .filter(|call| call.operation == operation)
            .count()
    }
}

/// A handle to an endpoint, without rates.
pub(crate) async fn connect(url: String) -> Aws {
    Aws::connect(AwsSettings {
        region: Some("us-east-1".parse().unwrap()),
        rates_off: true,
        endpoint_url: Some(url),
        credentials: Some(StaticCredentials {
            access_key_id: "AKIATEST".into(),
            secret_access_key: SecretText::new("secret"),
            session_token: None,
        }),
        ..AwsSettings::default()
    })
    .await
    .unwrap()
}

fn read(headers: &HeaderMap, body: &Bytes) -> Call {
    let header = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let body = String::from_utf8_lossy(body).into_owned();
    let target = header("x-amz-target");
    let operation = match target.rsplit_once('.') {
        Some((_, operation)) => operation.to_owned(),
        None => body
            .split('&')
            .find_map(|pair| pair.strip_prefix("Action="))
            .unwrap_or_default()
            .to_owned(),
    };
    Call {
        operation,
        json: serde_json::from_str(&body).unwrap_or(Value::Null),
        authorization: header("authorization"),
        body,
    }
}
