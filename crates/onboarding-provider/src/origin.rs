//! Whether a request is what CloudFormation sends for our templates. Whoever can write to the queue can put any text into
//! it, and the answer goes to an address that the request itself names.

use onboarding_core::{
    custom_resource::ResourceRequest,
    ids::{StackId, TopicArn},
};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::wire::Contract;

/// Why a request is not served, and not answered either. No text tells the address: it is a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// It names another ServiceToken than our topic, or the function that was invoked.
    #[error("its ServiceToken is not that of this provider")]
    ServiceToken,
    /// Its answer would go elsewhere.
    #[error("its ResponseURL is not of CloudFormation's bucket for the Region of the stack")]
    ResponseUrl,
    /// Its answer would be another stack's: that of who forged it.
    #[error("its ResponseURL is that of another stack")]
    OtherStack,
}

/// Checks where a request comes from and where its answer goes.
pub(crate) fn check(request: &ResourceRequest, contract: &Contract) -> Result<(), OriginError> {
    let ours = match &contract.function {
        Some(function) => Some(function.as_str()),
        None => contract.topic.as_ref().map(TopicArn::as_str),
    };
    if ours.is_some_and(|ours| request.service_token.as_deref() != Some(ours)) {
        return Err(OriginError::ServiceToken);
    }
    // No stack can name what is in another partition.
    let partition = |arn: &str| arn.split(':').nth(1).map(str::to_owned);
    if ours.is_some_and(|ours| partition(ours) != partition(request.stack_id.as_str())) {
        return Err(OriginError::ServiceToken);
    }
    let url = Url::parse(request.response_url.expose()).map_err(|_| OriginError::ResponseUrl)?;
    if contract.response_hosts.include(&url) {
        return Ok(());
    }
    if !is_of_cloudformation(&url, request.stack_id.region()) {
        return Err(OriginError::ResponseUrl);
    }
    match stack_answered(&url) {
        Some(stack) if stack != request.stack_id => Err(OriginError::OtherStack),
        _ => Ok(()),
    }
}

/// The stack whose answer an address takes. Its key is `<StackId>|<LogicalResourceId>|<RequestId>`, which CloudFormation
/// signs but does not document: an address of any other form says nothing.
fn stack_answered(url: &Url) -> Option<StackId> {
    let path = percent_decode_str(url.path()).decode_utf8().ok()?;
    let (_, key) = path.split_once("/arn:")?;
    let (stack, _) = key.split_once('|')?;
    format!("arn:{stack}").parse().ok()
}

/// The bucket is `cloudformation-custom-resource-response-` and the Region without dashes (CloudFormation user guide,
/// "VPC endpoints", considerations), under any of the names that an S3 endpoint of the Region has (Amazon S3 user guide,
/// "Virtual hosting" and "Dual-stack endpoints"; AWS General Reference, "Amazon S3 endpoints").
fn is_of_cloudformation(url: &Url, region: &str) -> bool {
    let bucket = format!(
        "cloudformation-custom-resource-response-{}",
        region.replace('-', "")
    );
    let Some(Host::Domain(host)) = url.host() else {
        return false;
    };
    let is_endpoint = |host: &str| {
        let domain = match region.starts_with("cn-") {
            true => ".amazonaws.com.cn",
            false => ".amazonaws.com",
        };
        host.strip_suffix(domain).is_some_and(|endpoint| {
            ["s3", "s3.dualstack", "s3-fips", "s3-fips.dualstack"]
                .iter()
                .any(|service| endpoint == format!("{service}.{region}"))
                || endpoint == "s3"
                || endpoint == format!("s3-{region}")
        })
    };
    let in_host = host
        .strip_prefix(&bucket)
        .and_then(|rest| rest.strip_prefix('.'))
        .is_some_and(is_endpoint);
    let in_path = || {
        is_endpoint(host) && url.path_segments().and_then(|mut parts| parts.next()) == Some(&bucket)
    };
    let plain = url.username().is_empty() && url.password().is_none() && url.port().is_none();
    url.scheme() == "https" && plain && (in_host || in_path())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::response_hosts::ResponseHosts;

    const BUCKET: &str = "cloudformation-custom-resource-response-euwest1";

    fn simulated() -> ResponseHosts {
        "127.0.0.1, localhost, [::1]".parse().unwrap()
    }

    fn checked(url: &str, region: &str, token: Option<&str>) -> Result<(), OriginError> {
        let event = json!({
            "RequestType": "Create",
            "RequestId": "req-1",
            "StackId": format!("arn:aws:cloudformation:{region}:111111111111:stack/s/uuid"),
            "ResponseURL": url,
            "ResourceType": "Custom::SpotAccount",
            "LogicalResourceId": "SpotAccount",
            "ServiceToken": token,
            "ResourceProperties": {},
        });
        let request = ResourceRequest::parse(&event.to_string()).unwrap();
        let contract = Contract {
            topic: Some("arn:aws:sns:eu-west-1:999999999999:spot".parse().unwrap()),
            response_hosts: simulated(),
            ..Contract::default()
        };
        check(&request, &contract)
    }

    #[test]
    fn answers_go_to_this_machine_only_when_that_is_said() {
        let event = json!({
            "RequestType": "Create",
            "RequestId": "req-1",
            "StackId": "arn:aws:cloudformation:eu-west-1:111111111111:stack/s/uuid",
            "ResponseURL": "http://127.0.0.1:1/x",
            "ResourceType": "Custom::SpotAccount",
            "LogicalResourceId": "SpotAccount",
            "ResourceProperties": {},
        });
        let request = ResourceRequest::parse(&event.to_string()).unwrap();
        assert_eq!(
            check(&request, &Contract::default()),
            Err(OriginError::ResponseUrl)
        );
    }

    fn answered(url: &str, region: &str) -> bool {
        checked(url, region, Some("arn:aws:sns:eu-west-1:999999999999:spot")).is_ok()
    }

    #[test]
    fn every_name_of_cloudformations_bucket_is_answered() {
        for endpoint in [
            "s3.amazonaws.com",
            "s3.eu-west-1.amazonaws.com",
            "s3-eu-west-1.amazonaws.com",
            "s3.dualstack.eu-west-1.amazonaws.com",
            "s3-fips.eu-west-1.amazonaws.com",
            "s3-fips.dualstack.eu-west-1.amazonaws.com",
        ] {
            for url in [
                format!("https://{BUCKET}.{endpoint}/arn%3Aaws%7Cx?Signature=a%2Bb"),
                format!("https://{BUCKET}.{endpoint}:443/x"),
                format!("https://{endpoint}/{BUCKET}/x"),
            ] {
                assert!(answered(&url, "eu-west-1"), "{url}");
            }
        }
        let china = "https://cloudformation-custom-resource-response-cnnorth1.s3.cn-north-1.amazonaws.com.cn/x";
        assert!(answered(china, "cn-north-1"));
        for local in [
            "http://127.0.0.1:4566/x",
            "http://localhost:1/x",
            "http://[::1]:1/x",
        ] {
            assert!(answered(local, "eu-west-1"), "{local}");
        }
    }

    #[test]
    fn no_other_address_is_answered() {
        for url in [
            "https://example.com/".to_owned(),
            "http://169.254.169.254/latest".to_owned(),
            "https://127.0.0.2/x".to_owned(),
            format!("http://{BUCKET}.s3.amazonaws.com/x"),
            format!("https://{BUCKET}.s3.amazonaws.com.example.com/x"),
            format!("https://{BUCKET}.s3.amazonaws.com:8443/x"),
            format!("https://u:p@{BUCKET}.s3.amazonaws.com/x"),
            format!("https://{BUCKET}x.s3.amazonaws.com/x"),
            format!("https://x{BUCKET}.s3.amazonaws.com/x"),
            format!("https://{BUCKET}.s3.us-east-1.amazonaws.com/x"),
            format!("https://{BUCKET}.s3-website-eu-west-1.amazonaws.com/x"),
            format!("https://{BUCKET}.s3.amazonaws.com.cn/x"),
            "https://cloudformation-custom-resource-response-useast1.s3.amazonaws.com/x".to_owned(),
            format!("https://s3.eu-west-1.amazonaws.com/{BUCKET}x/x"),
            "https://s3.eu-west-1.amazonaws.com/".to_owned(),
        ] {
            assert!(!answered(&url, "eu-west-1"), "{url}");
        }
    }

    #[test]
    fn an_answer_of_another_stack_is_not_given() {
        let token = Some("arn:aws:sns:eu-west-1:999999999999:spot");
        let key = |stack: &str| {
            format!(
                "https://{BUCKET}.s3.amazonaws.com/arn%3Aaws%3Acloudformation%3Aeu-west-1%3A{stack}%7CSpotAccount%7Creq-1"
            )
        };
        let checked = |stack| checked(&key(stack), "eu-west-1", token);
        assert_eq!(checked("111111111111%3Astack/s/uuid"), Ok(()));
        assert_eq!(checked("111111111111%3Astack%2Fs%2Fuuid"), Ok(()));
        for other in [
            "222222222222%3Astack/s/uuid",
            "111111111111%3Astack/s/other",
        ] {
            assert_eq!(checked(other), Err(OriginError::OtherStack), "{other}");
        }
    }

    #[test]
    fn only_our_topic_is_served() {
        let url = format!("https://{BUCKET}.s3.amazonaws.com/x");
        for token in [
            None,
            Some("arn:aws:sns:eu-west-1:888888888888:spot"),
            Some("arn:aws:lambda:eu-west-1:999999999999:function:spot"),
        ] {
            assert_eq!(
                checked(&url, "eu-west-1", token),
                Err(OriginError::ServiceToken)
            );
        }
    }

    #[test]
    fn an_invoked_function_serves_what_names_it_and_nothing_else() {
        let function = "arn:aws:lambda:eu-west-1:999999999999:function:spot";
        let event = |token: &str| {
            json!({
                "RequestType": "Create",
                "RequestId": "req-1",
                "StackId": "arn:aws:cloudformation:eu-west-1:111111111111:stack/s/uuid",
                "ResponseURL": "http://127.0.0.1:1/x",
                "ResourceType": "Custom::SpotAccount",
                "LogicalResourceId": "SpotAccount",
                "ResourceProperties": {"ServiceToken": token},
            })
        };
        let contract = |response_hosts| Contract {
            topic: Some("arn:aws:sns:eu-west-1:999999999999:spot".parse().unwrap()),
            function: Some(function.to_owned()),
            response_hosts,
            ..Contract::default()
        };
        let checked = |token, hosts| {
            let request = ResourceRequest::parse(&event(token).to_string()).unwrap();
            check(&request, &contract(hosts))
        };
        assert_eq!(checked(function, simulated()), Ok(()));
        assert_eq!(
            checked("arn:aws:sns:eu-west-1:999999999999:spot", simulated()),
            Err(OriginError::ServiceToken)
        );
        // The runtime API of a Lambda function is on this machine.
        assert_eq!(
            checked(function, ResponseHosts::default()),
            Err(OriginError::ResponseUrl)
        );
    }
}
