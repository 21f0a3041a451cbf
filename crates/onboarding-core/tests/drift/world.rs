//! An account that has what its stack made, to be tampered with.

use std::collections::BTreeMap;

use onboarding_core::{
    drift::{CompareContext, Drift, Meanings, RoleMeaning, RoleTruth, TruthReading, compare},
    inventory::{AttachedPolicy, LiveRole, PolicyReading, RolePolicies},
    template::{Format, Partition, Template, TemplateSpec},
};
use serde_json::Value;

pub(crate) const ACCOUNT: &str = "111111111111";
pub(crate) const SPOT: &str = "arn:aws:iam::922761411349:root";
pub(crate) const EXTERNAL_ID: &str = "spotinst:aws:extid:0123456789abcdef";
pub(crate) const STACK: &str =
    "arn:aws:cloudformation:us-east-1:111111111111:stack/StackSet-spot-1b2c/0a1b";

pub(crate) fn body(spec: &TemplateSpec) -> String {
    let template = Template::new(spec).unwrap();
    template.render(Format::CompactJson).unwrap().body
}

pub(crate) fn meanings(body: &str) -> Meanings {
    let region = "us-east-1".parse().unwrap();
    Meanings::new(body, Partition::Aws, region, BTreeMap::new()).unwrap()
}

/// What a template means for the account, with the external ID that Spot uses.
pub(crate) fn meaning(body: &str) -> RoleMeaning {
    let id = EXTERNAL_ID.parse().unwrap();
    let account = ACCOUNT.parse().unwrap();
    let meaning = meanings(body).for_account(account, &BTreeMap::new(), Some(&id));
    meaning.unwrap().expect("a role")
}

/// The account as CloudFormation leaves it.
pub(crate) fn truth(meaning: &RoleMeaning) -> RoleTruth {
    let path = meaning.path.clone().unwrap_or_else(|| "/".to_owned());
    let name = meaning
        .role_name
        .as_deref()
        .unwrap_or("StackSet-spot-1b2c-SpotRole-AB12CD34EF56");
    let mut attached: Vec<AttachedPolicy> = meaning
        .policies
        .iter()
        .map(|policy| {
            let name = format!("StackSet-spot-1b2c-{}-0Z9Y8X7W6V5U", policy.logical_id);
            attached(
                &format!("arn:aws:iam::{ACCOUNT}:policy/{name}"),
                policy.document.value(),
            )
        })
        .collect();
    attached.extend(meaning.attached_arns.iter().map(|arn| AttachedPolicy {
        arn: arn.clone(),
        name: arn.rsplit('/').next().unwrap().to_owned(),
        document: PolicyReading::Unread("an AWS managed policy".to_owned()),
    }));
    let inline = meaning.inline.iter();
    let mut tags = meaning.tags.clone();
    tags.insert("aws:cloudformation:stack-id".to_owned(), STACK.to_owned());
    RoleTruth::new(
        LiveRole {
            arn: format!("arn:aws:iam::{ACCOUNT}:role{path}{name}")
                .parse()
                .unwrap(),
            id: "AROAEXAMPLE".to_owned(),
            path,
            trust_policy: meaning.trust.value().to_string(),
            max_session_seconds: Some(3_600),
            permissions_boundary: meaning.boundary.clone(),
            last_used: None,
            tags,
        },
        RolePolicies {
            attached,
            inline: inline
                .map(|(name, document)| (name.clone(), document.value().to_string()))
                .collect(),
        },
    )
}

pub(crate) fn attached(arn: &str, document: &Value) -> AttachedPolicy {
    AttachedPolicy {
        arn: arn.to_owned(),
        name: arn.rsplit('/').next().unwrap().to_owned(),
        document: PolicyReading::Document {
            version: "v1".to_owned(),
            text: document.to_string(),
        },
    }
}

/// What is known beside: Spot uses the role, with the external ID.
pub(crate) fn context(truth: &RoleTruth) -> CompareContext {
    CompareContext {
        spot_principal: SPOT.to_owned(),
        stored_role: Some(truth.role.arn.clone()),
        external_id: Ok(EXTERNAL_ID.parse().unwrap()),
        linked_at: None,
        unused: None,
    }
}

pub(crate) fn drifts(meaning: &RoleMeaning, truth: &RoleTruth) -> Vec<Drift> {
    let context = context(truth);
    compare(
        meaning,
        &TruthReading::Present(Box::new(truth.clone())),
        &context,
    )
}

/// The codes of the kinds, in their order.
pub(crate) fn codes(drifts: &[Drift]) -> Vec<&'static str> {
    drifts.iter().map(|drift| drift.kind.code()).collect()
}

pub(crate) fn text_of(policy: &mut AttachedPolicy) -> &mut String {
    match &mut policy.document {
        PolicyReading::Document { text, .. } => text,
        PolicyReading::Unread(reason) => panic!("{reason}"),
    }
}
