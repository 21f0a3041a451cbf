//! Errors as AWS services return them, in the Query (XML) and JSON shapes.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::xml::Xml;

/// An error answer of an AWS service.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct AwsError {
    /// HTTP status.
    pub(crate) status: u16,
    /// The error code that SDKs turn into a type.
    pub(crate) code: Cow<'static, str>,
    /// Text for a human.
    pub(crate) message: String,
    /// More members of a JSON error body, such as `Reason`.
    pub(crate) fields: Vec<(&'static str, Value)>,
    /// The code of the older Query protocol, sent by SQS as `x-amzn-query-error`.
    pub(crate) query_code: Option<&'static str>,
}

impl AwsError {
    /// An error with an HTTP status, a code and a message.
    pub(crate) fn new(
        status: u16,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            fields: Vec::new(),
            query_code: None,
        }
    }

    /// The same with one more member in a JSON body.
    #[must_use]
    pub(crate) fn with_field(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The same with the code of the Query protocol (SQS).
    #[must_use]
    pub(crate) fn with_query_code(mut self, code: &'static str) -> Self {
        self.query_code = Some(code);
        self
    }

    /// `ValidationError`/400 of CloudFormation, IAM and STS.
    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new(400, "ValidationError", message)
    }

    /// `AccessDenied`/403 of CloudFormation, IAM, STS and SQS.
    pub(crate) fn access_denied(message: impl Into<String>) -> Self {
        Self::new(403, "AccessDenied", message)
    }

    /// `InvalidAction`/400 for an operation that the service does not have.
    pub(crate) fn invalid_action(action: &str, version: &str) -> Self {
        Self::new(
            400,
            "InvalidAction",
            format!("Could not find operation {action} for version {version}"),
        )
    }

    /// The `<ErrorResponse>` document of the Query protocol.
    pub(crate) fn to_xml(&self, namespace: &str, request_id: &str) -> String {
        let mut xml = Xml::new();
        xml.element("Error", |error| {
            error
                .text(
                    "Type",
                    if self.status >= 500 {
                        "Receiver"
                    } else {
                        "Sender"
                    },
                )
                .text("Code", &self.code)
                .text("Message", &self.message);
        })
        .text("RequestId", request_id);
        format!(
            "<ErrorResponse xmlns=\"{namespace}\">{}</ErrorResponse>\n",
            xml.as_str()
        )
    }

    /// The body of the JSON protocols. `message_key` is `Message` (Organizations) or `message` (SQS).
    pub(crate) fn to_json(&self, type_prefix: &str, message_key: &str) -> String {
        let mut body = Map::new();
        body.insert(
            "__type".into(),
            format!("{type_prefix}{}", self.code).into(),
        );
        body.insert(message_key.into(), self.message.clone().into());
        for (name, value) in &self.fields {
            body.insert((*name).into(), value.clone());
        }
        Value::Object(body).to_string()
    }
}
