//! The answer to a request: at most 4,096 bytes, always with a physical id.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::request::{RequestType, ResourceRequest};

/// The longest body that CloudFormation takes, in bytes (CloudFormation user guide, "Custom resource response objects").
pub const LONGEST_BODY: usize = 4096;

/// What the reason of a link says that failed because Spot cannot assume the role. It comes back in the words in which
/// CloudFormation says why a stack instance failed.
pub const ROLE_NOT_ASSUMABLE: &str = "Spot cannot assume the role";

/// How the physical id of a failed Create ends. A Delete of such an id has nothing to delete.
const CREATE_FAILED: &str = "-CREATE_FAILED";

/// Whether a physical id marks a Create that failed.
#[must_use]
pub fn is_marker(physical_id: &str) -> bool {
    physical_id.ends_with(CREATE_FAILED)
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Done, or nothing had to be done.
    Success,
    /// Not done; the stack rolls back.
    Failed,
}

/// An answer. Its serialized form is the body of the answer, uncut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResourceResponse {
    /// How it ended.
    pub status: Status,
    /// Why it failed, or what was not done; in full.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The physical id; never empty.
    pub physical_resource_id: String,
    /// The request's, verbatim.
    pub stack_id: String,
    /// The request's, verbatim.
    pub request_id: String,
    /// The request's, verbatim.
    pub logical_resource_id: String,
    /// What `Fn::GetAtt` can read.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
}

impl ResourceResponse {
    /// A success with this physical id.
    #[must_use]
    pub fn success(request: &ResourceRequest, physical_id: impl Into<String>) -> Self {
        Self::new(request, Status::Success, physical_id.into(), String::new())
    }

    /// A failure. A Create gets a marker as its physical id, so that the Delete that follows is recognized; without any,
    /// CloudFormation would make one up and hide the reason.
    #[must_use]
    pub fn failure(request: &ResourceRequest, reason: impl Into<String>) -> Self {
        Self::new(
            request,
            Status::Failed,
            Self::kept_id(request),
            reason.into(),
        )
    }

    /// A success that changes nothing: the physical id stays as it is.
    #[must_use]
    pub fn unchanged(request: &ResourceRequest, reason: impl Into<String>) -> Self {
        Self::new(
            request,
            Status::Success,
            Self::kept_id(request),
            reason.into(),
        )
    }

    /// Adds a value that `Fn::GetAtt` can read.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }

    fn new(request: &ResourceRequest, status: Status, physical_id: String, reason: String) -> Self {
        Self {
            status,
            reason,
            physical_resource_id: physical_id,
            stack_id: request.stack_id.to_string(),
            request_id: request.request_id.clone(),
            logical_resource_id: request.logical_id.clone(),
            data: Map::new(),
        }
    }

    fn kept_id(request: &ResourceRequest) -> String {
        match (&request.physical_id, request.request_type) {
            (Some(id), RequestType::Update | RequestType::Delete) => id.clone(),
            _ => format!("{}{CREATE_FAILED}", request.logical_id),
        }
    }

    /// The body to send, of at most 4,096 bytes: the reason is cut, with an ellipsis, until it fits. Data is left out
    /// only when the ids and data alone were too long, which our own values never are.
    #[must_use]
    pub fn body(&self) -> String {
        let mut answer = self.clone();
        if answer.status == Status::Failed && answer.reason.is_empty() {
            "no reason was given; see the provider's log".clone_into(&mut answer.reason);
        }
        let mut body = answer.text();
        if body.len() > LONGEST_BODY {
            // The longest beginning of the reason that fits: (fits, does not fit), in characters.
            let whole: Vec<char> = answer.reason.chars().collect();
            let (mut fits, mut too_long) = (0, whole.len());
            loop {
                let keep = usize::midpoint(fits, too_long);
                answer.reason = whole[..keep].iter().chain(['…'].iter()).collect();
                body = answer.text();
                if too_long - fits <= 1 {
                    break;
                }
                if body.len() > LONGEST_BODY {
                    too_long = keep;
                } else {
                    fits = keep;
                }
            }
        }
        if body.len() > LONGEST_BODY {
            answer.data.clear();
            body = answer.text();
        }
        body
    }

    fn text(&self) -> String {
        // A struct of texts and JSON values always serializes; an empty object would be refused by CloudFormation.
        serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn request(request_type: &str, physical_id: Option<&str>) -> ResourceRequest {
        let event = json!({
            "RequestType": request_type,
            "RequestId": "req-1",
            "StackId": "arn:aws:cloudformation:us-east-1:111111111111:stack/s/uuid",
            "ResponseURL": "https://example.com/",
            "ResourceType": "Custom::SpotAccount",
            "LogicalResourceId": "SpotAccount",
            "PhysicalResourceId": physical_id,
            "ResourceProperties": {"AwsAccountId": "111111111111"},
        });
        ResourceRequest::parse(&event.to_string()).unwrap()
    }

    #[test]
    fn a_success_has_its_data_and_no_reason() {
        let response =
            ResourceResponse::success(&request("Create", None), "act-1").with("AccountId", "act-1");
        assert_eq!(
            serde_json::from_str::<Value>(&response.body()).unwrap(),
            json!({
                "Status": "SUCCESS",
                "PhysicalResourceId": "act-1",
                "StackId": "arn:aws:cloudformation:us-east-1:111111111111:stack/s/uuid",
                "RequestId": "req-1",
                "LogicalResourceId": "SpotAccount",
                "Data": {"AccountId": "act-1"},
            })
        );
    }

    #[test]
    fn a_failed_create_gets_a_marker_and_other_failures_keep_their_id() {
        let failed = ResourceResponse::failure(&request("Create", None), "no");
        assert_eq!(failed.physical_resource_id, "SpotAccount-CREATE_FAILED");
        assert!(is_marker(&failed.physical_resource_id));
        let update = ResourceResponse::failure(&request("Update", Some("act-1")), "no");
        assert_eq!(update.physical_resource_id, "act-1");
        assert!(!is_marker("act-1"));
    }

    #[test]
    fn a_failure_always_has_a_reason() {
        assert!(
            ResourceResponse::failure(&request("Create", None), "")
                .body()
                .contains("Reason")
        );
    }

    proptest! {
        #[test]
        fn a_body_always_fits_and_can_be_read(reason in "(?s).{0,6000}", id in "[a-z\"\\\\é]{1,512}") {
            let request = request("Update", Some(&id));
            let response = ResourceResponse::failure(&request, reason);
            let body = response.body();
            prop_assert!(body.len() <= LONGEST_BODY);
            let read: ResourceResponse = serde_json::from_str(&body).unwrap();
            prop_assert_eq!(read.physical_resource_id, id);
        }
    }
}
