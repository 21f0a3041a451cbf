//! The bucket for templates that are too large to be sent inline.

use serde_json::json;

use super::{policy::document, resource, retained};
use crate::template::{
    Resource,
    parts::{attribute, reference, substitute},
};

pub(super) fn resources() -> [Resource; 2] {
    let bucket = resource(
        "TemplateBucket",
        "AWS::S3::Bucket",
        [
            (
                "BucketEncryption",
                json!({"ServerSideEncryptionConfiguration": [
                    {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}},
                ]}),
            ),
            (
                "OwnershipControls",
                json!({"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}),
            ),
            (
                "PublicAccessBlockConfiguration",
                json!({
                    "BlockPublicAcls": true,
                    "BlockPublicPolicy": true,
                    "IgnorePublicAcls": true,
                    "RestrictPublicBuckets": true,
                }),
            ),
            ("VersioningConfiguration", json!({"Status": "Enabled"})),
        ],
    );
    let policy = resource(
        "TemplateBucketPolicy",
        "AWS::S3::BucketPolicy",
        [
            ("Bucket", reference("TemplateBucket")),
            (
                "PolicyDocument",
                document(vec![json!({
                    "Sid": "OnlyTls",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [
                        attribute("TemplateBucket", "Arn"),
                        substitute("${TemplateBucket.Arn}/*"),
                    ],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                })]),
            ),
        ],
    );
    [retained(bucket), retained(policy)]
}
