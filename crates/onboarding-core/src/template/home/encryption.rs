//! The key that encrypts the topic and the queues, and who may use it.

use serde_json::{Value, json};

use super::{
    Encryption, HomeSpec,
    messaging::callers,
    policy::{allow, document, service},
    resource, retained,
};
use crate::template::{
    Resource,
    parts::{attribute, reference},
};

/// What writing an encrypted message takes, and what reading it takes.
const USE: [&str; 2] = ["kms:GenerateDataKey*", "kms:Decrypt"];

pub(super) fn resources(spec: &HomeSpec) -> Vec<Resource> {
    if spec.encryption == Encryption::SqsManaged {
        return Vec::new();
    }
    let partition = spec.partition();
    let own_account = format!("arn:{partition}:iam::{}:root", spec.account);
    let source_account = json!({"StringEquals": {"aws:SourceAccount": spec.account.to_string()}});
    // By name, not by reference: the topic refers to the key.
    let mut publishers = callers(spec);
    publishers["StringEquals"]["kms:ViaService"] =
        format!("sns.{}.{}", spec.region, url_suffix(spec)).into();
    let policy = document(vec![
        // The usual statement that hands the key over to the account's own policies (AWS KMS Developer Guide, "Default
        // key policy"): without it nobody could ever change the key again.
        allow(
            "Account",
            json!({"AWS": own_account}),
            &["kms:*"],
            "*".into(),
            None,
        ),
        allow("Stacks", "*".into(), &USE, "*".into(), Some(publishers)),
        allow(
            "Notifications",
            service("sns.amazonaws.com"),
            &USE,
            "*".into(),
            Some(json!({"ArnEquals": {"aws:SourceArn": spec.topic.as_str()}})),
        ),
        allow(
            "Events",
            service("events.amazonaws.com"),
            &USE,
            "*".into(),
            Some(source_account),
        ),
    ]);
    let key = resource(
        "Key",
        "AWS::KMS::Key",
        [
            (
                "Description",
                format!("Messages of the topic {}", spec.topic.name()).into(),
            ),
            ("EnableKeyRotation", true.into()),
            ("KeyPolicy", policy),
        ],
    );
    let alias = resource(
        "KeyAlias",
        "AWS::KMS::Alias",
        [
            ("AliasName", key_alias(spec.topic.name()).into()),
            ("TargetKeyId", reference("Key")),
        ],
    );
    vec![retained(key), retained(alias)]
}

/// The alias of the key that encrypts a topic of this name and its queues.
pub(crate) fn key_alias(topic_name: &str) -> String {
    format!("alias/{topic_name}")
}

/// The domain of AWS's services in the partition.
fn url_suffix(spec: &HomeSpec) -> &'static str {
    match spec.partition() {
        crate::template::Partition::AwsCn => "amazonaws.com.cn",
        _ => "amazonaws.com",
    }
}

/// The properties that encrypt a queue.
pub(super) fn of_queue(spec: &HomeSpec) -> Vec<(&'static str, Value)> {
    match spec.encryption {
        Encryption::CustomerKey => vec![
            ("KmsMasterKeyId", attribute("Key", "Arn")),
            ("KmsDataKeyReusePeriodSeconds", 300.into()),
        ],
        Encryption::SqsManaged => vec![("SqsManagedSseEnabled", true.into())],
    }
}

/// The properties that encrypt the topic.
pub(super) fn of_topic(spec: &HomeSpec) -> Vec<(&'static str, Value)> {
    match spec.encryption {
        // By ARN: publishers are in other accounts, where a key id or alias would mean a key of theirs.
        Encryption::CustomerKey => vec![("KmsMasterKeyId", attribute("Key", "Arn"))],
        Encryption::SqsManaged => Vec::new(),
    }
}
