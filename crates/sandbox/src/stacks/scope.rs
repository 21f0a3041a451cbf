//! Evaluation of a template in the context of one stack.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::{Generation, Resource, Stack};
use crate::template::{EvaluateError, Scope, resolve_conditions};

/// A stack, or an earlier form of it, as functions see it.
pub(crate) struct StackScope<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) generation: &'a Generation,
    pub(crate) resources: &'a [Resource],
}

impl<'a> StackScope<'a> {
    /// The stack as it is now.
    pub(crate) fn current(stack: &'a Stack) -> Self {
        Self {
            stack,
            generation: &stack.generation,
            resources: &stack.resources,
        }
    }

    /// The stack as it was before the update that is going on; as it is now when there is none.
    pub(crate) fn previous(stack: &'a Stack) -> Self {
        match stack.work.as_ref().and_then(|work| work.previous.as_ref()) {
            Some(snapshot) => Self {
                stack,
                generation: &snapshot.generation,
                resources: &snapshot.resources,
            },
            None => Self::current(stack),
        }
    }

    fn pseudo(&self, name: &str) -> Option<Value> {
        Some(Value::String(match name {
            "AWS::AccountId" => self.stack.account.to_string(),
            "AWS::Region" => self.stack.region.to_string(),
            "AWS::StackId" => self.stack.id(),
            "AWS::StackName" => self.stack.name.to_string(),
            "AWS::Partition" => "aws".to_owned(),
            "AWS::URLSuffix" => "amazonaws.com".to_owned(),
            "AWS::NotificationARNs" => return Some(Value::Array(Vec::new())),
            _ => return None,
        }))
    }

    /// The template's conditions.
    pub(crate) fn conditions(&self) -> Result<BTreeMap<String, bool>, EvaluateError> {
        resolve_conditions(
            &self.generation.template,
            &self.generation.parameters,
            &|name| self.pseudo(name),
        )
    }

    /// A value with every function evaluated.
    pub(crate) fn evaluate(&self, value: &Value) -> Result<Value, EvaluateError> {
        let conditions = self.conditions()?;
        Scope {
            template: &self.generation.template,
            parameters: &self.generation.parameters,
            conditions: &conditions,
            pseudo: &|name| self.pseudo(name),
            physical_id: &|name| {
                self.find(name)
                    .filter(|resource| !resource.physical_id.is_empty())
                    .map(|resource| resource.physical_id.to_string())
            },
            attribute: &|name, attribute| self.attribute(name, attribute),
        }
        .evaluate(value)
    }

    fn find(&self, logical_id: &str) -> Option<&Resource> {
        self.resources
            .iter()
            .find(|resource| &*resource.logical_id == logical_id)
    }

    fn attribute(&self, name: &str, attribute: &str) -> Result<Value, String> {
        let resource = self
            .find(name)
            .ok_or_else(|| format!("Unresolved reference to {name}"))?;
        if let Some((_, value)) = resource
            .attributes
            .iter()
            .find(|(key, _)| &**key == attribute)
        {
            return Ok(value.clone());
        }
        // A managed policy's ARN is its physical id, so it is not kept twice.
        if (&*resource.kind, attribute) == ("AWS::IAM::ManagedPolicy", "PolicyArn") {
            return Ok(Value::String(resource.physical_id.to_string()));
        }
        let custom = resource.kind.starts_with("Custom::")
            || &*resource.kind == "AWS::CloudFormation::CustomResource";
        Err(if custom {
            format!(
                "CustomResource attribute error: Vendor response doesn't contain {attribute} attribute in object {}|{name}|{}",
                self.stack.id(),
                self.stack.uuid
            )
        } else {
            format!(
                "Template error: resource {name} does not support attribute type {attribute} in Fn::GetAtt"
            )
        })
    }

    /// The outputs: key, value, description.
    pub(crate) fn outputs(&self) -> Vec<(String, String, Option<String>)> {
        let Ok(conditions) = self.conditions() else {
            return Vec::new();
        };
        self.generation
            .template
            .outputs
            .iter()
            .filter(|output| {
                output
                    .condition
                    .as_ref()
                    .is_none_or(|name| conditions.get(name) == Some(&true))
            })
            .filter_map(|output| {
                let value = match self.evaluate(&output.value).ok()? {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                Some((output.key.clone(), value, output.description.clone()))
            })
            .collect()
    }
}
