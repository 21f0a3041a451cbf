//! A template as typed parts, in the order that they are written in.

use serde_json::{Map, Value, json};

/// `DeletionPolicy` and `UpdateReplacePolicy` of a resource that outlives its stack.
const RETAIN: &str = "Retain";

/// A template that was checked and is ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    pub(super) description: String,
    /// Its parameters.
    pub parameters: Vec<Parameter>,
    pub(super) conditions: Vec<(&'static str, Value)>,
    /// Its resources.
    pub resources: Vec<Resource>,
    pub(super) outputs: Vec<Output>,
    /// What was asked for and is not in it.
    pub omissions: Vec<Omission>,
    pub(super) named_role: bool,
}

/// An output of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Output {
    name: &'static str,
    description: &'static str,
    value: Value,
    /// The condition that decides whether a stack has it.
    condition: Option<&'static str>,
}

impl Output {
    /// One that only stacks have for which this condition holds.
    pub(super) fn when(self, condition: &'static str) -> Self {
        Self {
            condition: Some(condition),
            ..self
        }
    }

    /// One that every stack has.
    pub(super) fn new(name: &'static str, description: &'static str, value: Value) -> Self {
        Self {
            name,
            description,
            value,
            condition: None,
        }
    }
}

/// A parameter of a template, always a `String`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Its default; none: a value must be given.
    pub default: Option<String>,
    /// A regular expression for its value.
    pub allowed_pattern: Option<&'static str>,
    /// The only values it takes; empty: any.
    pub allowed_values: &'static [&'static str],
    /// Whether CloudFormation masks the value.
    pub no_echo: bool,
}

/// A resource of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// Its logical id.
    pub logical_id: String,
    /// Its type, such as `AWS::IAM::Role`.
    pub resource_type: &'static str,
    /// The condition that decides whether it is made.
    pub condition: Option<&'static str>,
    /// Resources that must be there before it, beyond those that its properties name.
    pub depends_on: Vec<String>,
    /// Its metadata.
    pub metadata: Option<Value>,
    /// Whether it outlives its stack and its own replacement.
    pub retained: bool,
    /// Its properties.
    pub properties: Map<String, Value>,
}

/// A resource that was asked for and left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Omission {
    /// Its logical id.
    pub logical_id: &'static str,
    /// Why, and what to do.
    pub reason: &'static str,
}

impl Template {
    /// The resource with this logical id.
    #[must_use]
    pub fn resource(&self, logical_id: &str) -> Option<&Resource> {
        self.resources.iter().find(|r| r.logical_id == logical_id)
    }

    /// The template as JSON, in the order that it is written in.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut template = Map::new();
        template.insert("AWSTemplateFormatVersion".into(), "2010-09-09".into());
        template.insert("Description".into(), self.description.as_str().into());
        if !self.parameters.is_empty() {
            let parameters = self
                .parameters
                .iter()
                .map(|p| (p.name.into(), p.to_value()));
            template.insert("Parameters".into(), Value::Object(parameters.collect()));
        }
        if !self.conditions.is_empty() {
            let conditions = self
                .conditions
                .iter()
                .map(|(name, c)| ((*name).into(), c.clone()));
            template.insert("Conditions".into(), Value::Object(conditions.collect()));
        }
        let resources = self
            .resources
            .iter()
            .map(|r| (r.logical_id.clone(), r.to_value()));
        template.insert("Resources".into(), Value::Object(resources.collect()));
        let outputs = self.outputs.iter().map(|output| {
            let mut value = json!({"Description": output.description, "Value": output.value});
            if let Some(condition) = output.condition {
                value["Condition"] = condition.into();
            }
            (output.name.into(), value)
        });
        template.insert("Outputs".into(), Value::Object(outputs.collect()));
        Value::Object(template)
    }
}

impl Parameter {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("Description".into(), self.description.into());
        map.insert("Type".into(), "String".into());
        if let Some(default) = &self.default {
            map.insert("Default".into(), default.as_str().into());
        }
        if let Some(pattern) = self.allowed_pattern {
            map.insert("AllowedPattern".into(), pattern.into());
        }
        if !self.allowed_values.is_empty() {
            map.insert("AllowedValues".into(), self.allowed_values.into());
        }
        if self.no_echo {
            map.insert("NoEcho".into(), true.into());
        }
        Value::Object(map)
    }
}

impl Resource {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("Type".into(), self.resource_type.into());
        if let Some(condition) = self.condition {
            map.insert("Condition".into(), condition.into());
        }
        if !self.depends_on.is_empty() {
            map.insert("DependsOn".into(), self.depends_on.clone().into());
        }
        if let Some(metadata) = &self.metadata {
            map.insert("Metadata".into(), metadata.clone());
        }
        if self.retained {
            map.insert("DeletionPolicy".into(), RETAIN.into());
            map.insert("UpdateReplacePolicy".into(), RETAIN.into());
        }
        map.insert("Properties".into(), Value::Object(self.properties.clone()));
        Value::Object(map)
    }
}

pub(super) fn reference(name: &str) -> Value {
    json!({"Ref": name})
}

pub(super) fn attribute(resource: &str, attribute: &str) -> Value {
    json!({"Fn::GetAtt": [resource, attribute]})
}

pub(super) fn substitute(text: impl Into<String>) -> Value {
    json!({"Fn::Sub": text.into()})
}

/// An object literal's map.
pub(super) fn object<const N: usize>(entries: [(&str, Value); N]) -> Map<String, Value> {
    entries
        .map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .collect()
}
