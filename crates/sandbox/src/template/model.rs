//! The parts of a template, checked and in the order in which CloudFormation creates them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::order::{order, references};
use super::parameters::ParameterSpec;
use super::{MAX_BODY_BYTES, TemplateError, document};

/// Quotas of one template (CloudFormation user guide, "Quotas").
const MAX_RESOURCES: usize = 500;
const MAX_PARAMETERS: usize = 200;
const MAX_OUTPUTS: usize = 200;
const MAX_MAPPINGS: usize = 200;
const MAX_DESCRIPTION_BYTES: usize = 1024;

const SECTIONS: [&str; 11] = [
    "AWSTemplateFormatVersion",
    "Description",
    "Metadata",
    "Parameters",
    "Mappings",
    "Conditions",
    "Transform",
    "Resources",
    "Outputs",
    "Rules",
    "Hooks",
];

/// What happens to a resource when its stack lets go of it (attributes `DeletionPolicy` and `UpdateReplacePolicy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeletionPolicy {
    /// The resource is deleted.
    Delete,
    /// The resource stays.
    Retain,
    /// The resource stays, except when the operation that created it is rolled back.
    RetainExceptOnCreate,
}

/// One resource of a template.
#[derive(Debug, Clone)]
pub(crate) struct ResourceSpec {
    /// Its name in the template.
    pub(crate) logical_id: Arc<str>,
    /// Its type, such as `AWS::IAM::Role` or `Custom::SpotAccount`.
    pub(crate) kind: Arc<str>,
    /// Its properties, functions unevaluated.
    pub(crate) properties: Value,
    /// Positions (in [`Template::resources`]) of the resources that must exist first; always smaller than its own.
    pub(crate) depends_on: Vec<usize>,
    /// The condition under which it exists.
    pub(crate) condition: Option<String>,
    /// What happens on deletion.
    pub(crate) deletion_policy: DeletionPolicy,
    /// What happens to the old resource when an update replaces it.
    pub(crate) update_replace_policy: DeletionPolicy,
}

/// One output of a template.
#[derive(Debug, Clone)]
pub(crate) struct OutputSpec {
    /// Its key.
    pub(crate) key: String,
    /// Its description.
    pub(crate) description: Option<String>,
    /// Its value, functions unevaluated.
    pub(crate) value: Value,
    /// The condition under which it exists.
    pub(crate) condition: Option<String>,
}

/// A template that passed CloudFormation's own checks.
#[derive(Debug)]
pub(crate) struct Template {
    /// The text as sent.
    pub(crate) body: Arc<str>,
    /// `AWSTemplateFormatVersion`.
    pub(crate) version: Option<String>,
    /// `Description`.
    pub(crate) description: Option<String>,
    /// `Metadata` of the template.
    pub(crate) metadata: Option<Value>,
    /// Macros that the template names; service-managed stack sets can't run them.
    pub(crate) transforms: Vec<String>,
    /// Declared parameters, in template order.
    pub(crate) parameters: Vec<ParameterSpec>,
    /// `Mappings`.
    pub(crate) mappings: Value,
    /// `Conditions`, functions unevaluated.
    pub(crate) conditions: Map<String, Value>,
    /// Resources in creation order: every resource stands behind those that it needs.
    pub(crate) resources: Vec<ResourceSpec>,
    /// Outputs.
    pub(crate) outputs: Vec<OutputSpec>,
}

impl Template {
    /// Reads and checks a template.
    ///
    /// # Errors
    /// CloudFormation's text for the first thing that is wrong.
    pub(crate) fn parse(body: &str) -> Result<Self, TemplateError> {
        if body.len() > MAX_BODY_BYTES {
            return Err(TemplateError(format!(
                "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to {MAX_BODY_BYTES}"
            )));
        }
        let Value::Object(mut document) = document::parse(body)? else {
            return Err(TemplateError::format("unsupported structure."));
        };
        let unknown: Vec<&str> = document
            .keys()
            .map(String::as_str)
            .filter(|key| !SECTIONS.contains(key))
            .collect();
        if !unknown.is_empty() {
            return Err(TemplateError(format!(
                "Invalid template property or properties [{}]",
                unknown.join(", ")
            )));
        }
        let version = text(document.get("AWSTemplateFormatVersion"));
        if version.as_deref().is_some_and(|v| v != "2010-09-09") {
            return Err(TemplateError::format("Unsupported template version."));
        }
        let description = match document.get("Description") {
            None => None,
            Some(Value::String(text)) if text.len() <= MAX_DESCRIPTION_BYTES => Some(text.clone()),
            Some(Value::String(_)) => {
                return Err(TemplateError::format(format_args!(
                    "'Description' length is greater than {MAX_DESCRIPTION_BYTES}."
                )));
            }
            Some(_) => {
                return Err(TemplateError::format(
                    "Every Description member must be a string.",
                ));
            }
        };
        let transforms = match document.get("Transform") {
            Some(Value::String(name)) => vec![name.clone()],
            Some(Value::Array(names)) => names.iter().filter_map(|name| text(Some(name))).collect(),
            _ => Vec::new(),
        };
        let parameters = section(&mut document, "Parameters", MAX_PARAMETERS)?
            .into_iter()
            .map(|(key, body)| ParameterSpec::parse(key, &body))
            .collect::<Result<Vec<_>, _>>()?;
        let mappings = Value::Object(section(&mut document, "Mappings", MAX_MAPPINGS)?);
        let conditions = section(&mut document, "Conditions", usize::MAX)?;
        let resources = section(&mut document, "Resources", MAX_RESOURCES)?;
        if resources.is_empty() {
            return Err(TemplateError::format(
                "At least one Resources member must be defined.",
            ));
        }
        let outputs = section(&mut document, "Outputs", MAX_OUTPUTS)?
            .into_iter()
            .map(|(key, body)| output(key, &body))
            .collect::<Result<Vec<_>, _>>()?;
        let template = Self {
            body: body.into(),
            version,
            description,
            metadata: document.remove("Metadata"),
            transforms,
            resources: order(resources, &parameters, &conditions)?,
            parameters,
            mappings,
            conditions,
            outputs,
        };
        template.check_outputs()?;
        Ok(template)
    }

    /// The resource with this logical id.
    pub(crate) fn resource(&self, logical_id: &str) -> Option<&ResourceSpec> {
        self.resources
            .iter()
            .find(|resource| &*resource.logical_id == logical_id)
    }

    fn check_outputs(&self) -> Result<(), TemplateError> {
        let mut unresolved = BTreeSet::new();
        for output in &self.outputs {
            for name in references(&output.value) {
                let known = self.resource(&name).is_some()
                    || self
                        .parameters
                        .iter()
                        .any(|parameter| parameter.key == name)
                    || name.starts_with("AWS::");
                if !known {
                    unresolved.insert(name);
                }
            }
        }
        if unresolved.is_empty() {
            return Ok(());
        }
        Err(TemplateError::format(format_args!(
            "Unresolved resource dependencies [{}] in the Outputs block of the template",
            unresolved.into_iter().collect::<Vec<_>>().join(", ")
        )))
    }
}

pub(super) fn text(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

fn section(
    document: &mut Map<String, Value>,
    name: &str,
    limit: usize,
) -> Result<Map<String, Value>, TemplateError> {
    match document.remove(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) if map.len() > limit => Err(TemplateError::format(format_args!(
            "Number of {}, {}, is greater than maximum allowed, {limit}",
            name.to_lowercase(),
            map.len()
        ))),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(TemplateError::format(format_args!(
            "'{name}' must be an object."
        ))),
    }
}

fn output(key: String, body: &Value) -> Result<OutputSpec, TemplateError> {
    let value = body
        .get("Value")
        .cloned()
        .ok_or_else(|| TemplateError::format(format_args!("Output {key} must have a Value.")))?;
    Ok(OutputSpec {
        key,
        description: text(body.get("Description")),
        value,
        condition: text(body.get("Condition")),
    })
}

pub(super) fn policy(
    logical_id: &str,
    body: &Value,
    attribute: &str,
) -> Result<DeletionPolicy, TemplateError> {
    match body.get(attribute).map(Value::as_str) {
        None | Some(Some("Delete" | "Snapshot")) => Ok(DeletionPolicy::Delete),
        Some(Some("Retain")) => Ok(DeletionPolicy::Retain),
        Some(Some("RetainExceptOnCreate")) if attribute == "DeletionPolicy" => {
            Ok(DeletionPolicy::RetainExceptOnCreate)
        }
        Some(_) => Err(TemplateError::format(format_args!(
            "Unrecognized {attribute} for resource {logical_id}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::Template;

    const SPOT_HOSTED: &str = include_str!("../../tests/data/spot-hosted.yaml");

    #[test]
    fn a_template_is_ordered_by_its_dependencies() {
        let template = Template::parse(SPOT_HOSTED).unwrap();
        let ids: Vec<&str> = template
            .resources
            .iter()
            .map(|resource| &*resource.logical_id)
            .collect();
        assert_eq!(
            ids,
            [
                "SpotManagedPolicy",
                "SpotAccount",
                "SpotExternalId",
                "SpotRole",
                "SpotLinkedCredentials",
                "RenamedSpotAccountByAlias"
            ]
        );
        assert!(
            template
                .resources
                .iter()
                .enumerate()
                .all(|(index, resource)| { resource.depends_on.iter().all(|need| *need < index) })
        );
    }

    #[test]
    fn a_template_needs_a_resource() {
        assert_eq!(
            Template::parse("{}").unwrap_err().to_string(),
            "Template format error: At least one Resources member must be defined."
        );
    }

    #[test]
    fn unresolved_and_circular_dependencies_are_named() {
        let unresolved = Template::parse(
            r#"{"Resources":{"A":{"Type":"AWS::IAM::Role","Properties":{"X":{"Ref":"Nope"}}}}}"#,
        );
        assert!(unresolved.unwrap_err().to_string().contains("[Nope]"));
        let circular = Template::parse(
            r#"{"Resources":{"A":{"Type":"T::A","DependsOn":"B"},"B":{"Type":"T::B","Properties":{"X":{"Fn::Sub":"${A.Arn}"}}}}}"#,
        );
        assert_eq!(
            circular.unwrap_err().to_string(),
            "Circular dependency between resources: [A, B]"
        );
    }

    #[test]
    fn references_from_metadata_order_resources() {
        let template = Template::parse(
            r#"{"Resources":{"A":{"Type":"T::A","Metadata":{"After":[{"Ref":"B"}]}},"B":{"Type":"T::B"}}}"#,
        )
        .unwrap();
        let order: Vec<&str> = template.resources.iter().map(|r| &*r.logical_id).collect();
        assert_eq!(order, ["B", "A"]);
    }

    #[test]
    fn size_limits_hold() {
        let body = format!("{{\"Description\":\"{}\"}}", "x".repeat(60_000));
        assert!(
            Template::parse(&body)
                .unwrap_err()
                .to_string()
                .contains("51200")
        );
    }
}
