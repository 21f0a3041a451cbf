//! What a template would need and make, as GetTemplateSummary and the capability check tell it.

use serde_json::Value;

use super::Template;

/// Resource types whose creation needs an acknowledged capability
/// (CloudFormation API reference, CreateStack, parameter `Capabilities`).
const IAM_TYPES: [(&str, &str); 7] = [
    ("AWS::IAM::AccessKey", ""),
    ("AWS::IAM::Group", "GroupName"),
    ("AWS::IAM::InstanceProfile", "InstanceProfileName"),
    ("AWS::IAM::ManagedPolicy", "ManagedPolicyName"),
    ("AWS::IAM::Policy", ""),
    ("AWS::IAM::Role", "RoleName"),
    ("AWS::IAM::User", "UserName"),
];

/// Capabilities that a template asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Capabilities {
    /// `CAPABILITY_IAM` or `CAPABILITY_NAMED_IAM`.
    pub(crate) names: Vec<&'static str>,
    /// Why, in CloudFormation's words.
    pub(crate) reason: Option<String>,
}

impl Capabilities {
    /// Whether the acknowledged capabilities cover what is needed (`CAPABILITY_NAMED_IAM` includes `CAPABILITY_IAM`).
    pub(crate) fn covered_by(&self, acknowledged: &[String]) -> bool {
        self.names.iter().all(|needed| {
            acknowledged.iter().any(|given| {
                given == needed || (*needed == "CAPABILITY_IAM" && given == "CAPABILITY_NAMED_IAM")
            })
        })
    }
}

/// The capabilities that creating this template's resources needs.
pub(crate) fn required_capabilities(template: &Template) -> Capabilities {
    let mut kinds: Vec<&str> = Vec::new();
    let mut named = false;
    for resource in &template.resources {
        let Some((kind, name)) = IAM_TYPES.iter().find(|(kind, _)| *kind == &*resource.kind) else {
            continue;
        };
        if !kinds.contains(kind) {
            kinds.push(kind);
        }
        named |= !name.is_empty()
            && resource
                .properties
                .get(name)
                .is_some_and(|value| !matches!(value, Value::Null));
    }
    if kinds.is_empty() {
        return Capabilities {
            names: Vec::new(),
            reason: None,
        };
    }
    Capabilities {
        names: vec![if named {
            "CAPABILITY_NAMED_IAM"
        } else {
            "CAPABILITY_IAM"
        }],
        reason: Some(format!(
            "The following resource(s) require capabilities: [{}]",
            kinds.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{Template, required_capabilities};

    #[test]
    fn iam_resources_need_a_capability_and_named_ones_more() {
        let plain = Template::parse(r#"{"Resources":{"R":{"Type":"AWS::IAM::Role"}}}"#).unwrap();
        let plain = required_capabilities(&plain);
        assert_eq!(plain.names, ["CAPABILITY_IAM"]);
        assert!(plain.covered_by(&["CAPABILITY_NAMED_IAM".into()]));
        let named = Template::parse(
            r#"{"Resources":{"R":{"Type":"AWS::IAM::Role","Properties":{"RoleName":"x"}}}}"#,
        )
        .unwrap();
        let named = required_capabilities(&named);
        assert_eq!(named.names, ["CAPABILITY_NAMED_IAM"]);
        assert!(!named.covered_by(&["CAPABILITY_IAM".into()]));
    }
}
