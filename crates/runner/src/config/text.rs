//! Values that are written as text: each type says its form once, for reading, for the JSON Schema and for messages.
//!
//! A value that is wrong is an error where it is written; nothing is parsed a second time later.

use std::{borrow::Cow, fmt, ops::Deref, str::FromStr};

use onboarding_core::{
    desired::OuRef,
    ids::{AccessPolicyId, AwsAccountId, Region, StackSetName, TopicArn, UserGroupId},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A type whose values are written as text of one form.
pub trait TextForm: FromStr<Err: fmt::Display> + fmt::Display {
    /// The form's name: the `format` of the JSON Schema.
    const FORMAT: &'static str;
    /// The form in words, with an example.
    const EXPECTED: &'static str;
}

/// A value that is written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text<T>(pub T);

impl<T> Deref for Text<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Display> fmt::Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: TextForm> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: TextForm> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map(Self)
            .map_err(D::Error::custom)
    }
}

impl<T: TextForm> JsonSchema for Text<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::FORMAT.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": T::FORMAT })
    }
}

/// What is wrong with a text of the form named `format`; none when it is right, or when the form is not one of ours.
#[must_use]
pub(super) fn check(format: &str, text: &str) -> Option<String> {
    FORMS
        .iter()
        .find(|form| form.name == format)
        .and_then(|form| (form.check)(text))
}

/// The form named `format` in words.
#[must_use]
pub(super) fn expected(format: &str) -> Option<&'static str> {
    FORMS
        .iter()
        .find(|form| form.name == format)
        .map(|form| form.expected)
}

/// A form, without its type.
struct Form {
    name: &'static str,
    expected: &'static str,
    check: fn(&str) -> Option<String>,
}

const fn form<T: TextForm>() -> Form {
    Form {
        name: T::FORMAT,
        expected: T::EXPECTED,
        check: |text| text.parse::<T>().err().map(|error| error.to_string()),
    }
}

/// Every form that configuration uses.
const FORMS: &[Form] = &[
    form::<AwsAccountId>(),
    form::<OuRef>(),
    form::<Region>(),
    form::<StackSetName>(),
    form::<super::duration::HumanDuration>(),
    form::<super::amount::Share>(),
    form::<super::amount::Concurrency>(),
    form::<onboarding_core::orphan_cleanup::NamePattern>(),
    form::<onboarding_core::ids::SpotAccountId>(),
    form::<TopicArn>(),
    form::<super::aggregator::AggregatorName>(),
    form::<super::arn::FunctionName>(),
    form::<super::arn::PermissionsBoundary>(),
    form::<super::arn::Principal>(),
    form::<super::arn::SecurityGroupId>(),
    form::<super::arn::SubnetId>(),
    form::<super::audit::HomePrincipal>(),
    form::<super::audit::RoleName>(),
    form::<super::audit::RolePath>(),
    form::<onboarding_core::ids::OrganizationId>(),
    form::<onboarding_core::ids::RoleArn>(),
    form::<UserGroupId>(),
    form::<AccessPolicyId>(),
    form::<super::billing_engine::BucketName>(),
    form::<super::external::Grant>(),
    form::<onboarding_core::template::home::RunnerPrincipal>(),
    form::<super::naming::RenameRule>(),
    form::<super::notify::WebhookUrl>(),
    form::<super::policy_rollout::Hours>(),
    form::<super::runner::ListenAddress>(),
    form::<super::schedule::Cron>(),
    form::<super::schedule::TimeZoneName>(),
];

impl TextForm for AwsAccountId {
    const FORMAT: &'static str = "aws-account-id";
    const EXPECTED: &'static str = "an AWS account id in quotes (\"123456789012\")";
}

impl TextForm for OuRef {
    const FORMAT: &'static str = "organizational-unit";
    const EXPECTED: &'static str = "\"root\", an organizational unit id (\"ou-ab12-abcdefgh\") or a path of names (\"Workloads/Prod\")";
}

impl TextForm for Region {
    const FORMAT: &'static str = "aws-region";
    const EXPECTED: &'static str = "an AWS Region (\"us-east-1\")";
}

impl TextForm for UserGroupId {
    const FORMAT: &'static str = "spot-user-group-id";
    const EXPECTED: &'static str = "the id of a Spot user group (\"ugr-a1b2c3d4\")";
}

impl TextForm for AccessPolicyId {
    const FORMAT: &'static str = "spot-access-policy-id";
    const EXPECTED: &'static str = "the id of a Spot access policy (\"pol-a1b2c3d4\")";
}

impl TextForm for StackSetName {
    const FORMAT: &'static str = "stack-set-name";
    const EXPECTED: &'static str = "a stack set name (\"spot-onboarding\")";
}
