//! The evaluator of CloudFormation's functions.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::parameters::scalar;
use super::{ParameterValues, Template};

/// A function can't be evaluated. The text is what CloudFormation shows as the status reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct EvaluateError(pub(crate) String);

/// What an expression may refer to.
pub(crate) struct Scope<'a> {
    /// The template whose mappings and conditions apply.
    pub(crate) template: &'a Template,
    /// Parameter values.
    pub(crate) parameters: &'a ParameterValues,
    /// Conditions, already decided.
    pub(crate) conditions: &'a BTreeMap<String, bool>,
    /// `AWS::Region`, `AWS::AccountId` and the rest.
    pub(crate) pseudo: &'a dyn Fn(&str) -> Option<Value>,
    /// `Ref` of a resource: its physical id.
    pub(crate) physical_id: &'a dyn Fn(&str) -> Option<String>,
    /// `Fn::GetAtt` of a resource.
    pub(crate) attribute: &'a dyn Fn(&str, &str) -> Result<Value, String>,
}

/// Decides all conditions of a template.
///
/// # Errors
/// When a condition refers to something that does not exist.
pub(crate) fn resolve_conditions(
    template: &Template,
    parameters: &ParameterValues,
    pseudo: &dyn Fn(&str) -> Option<Value>,
) -> Result<BTreeMap<String, bool>, EvaluateError> {
    let mut decided = BTreeMap::new();
    // Conditions may refer to each other in any order; each round decides those whose references are decided.
    while decided.len() < template.conditions.len() {
        let before = decided.len();
        let mut problem = None;
        for (name, expression) in &template.conditions {
            if decided.contains_key(name) {
                continue;
            }
            let scope = Scope {
                template,
                parameters,
                conditions: &decided,
                pseudo,
                physical_id: &|_| None,
                attribute: &|_, _| Err("conditions can't refer to resources".to_owned()),
            };
            match scope.condition(expression) {
                Ok(value) => {
                    decided.insert(name.clone(), value);
                }
                Err(error) => problem = Some(error),
            }
        }
        if let (Some(error), true) = (problem, decided.len() == before) {
            return Err(error);
        }
    }
    Ok(decided)
}

impl Scope<'_> {
    /// Evaluates every function inside a value; `AWS::NoValue` removes the key or item that holds it.
    ///
    /// # Errors
    /// When a reference can't be resolved or a function gets arguments that it can't use.
    pub(crate) fn evaluate(&self, value: &Value) -> Result<Value, EvaluateError> {
        Ok(self.optional(value)?.unwrap_or(Value::Null))
    }

    fn optional(&self, value: &Value) -> Result<Option<Value>, EvaluateError> {
        match value {
            Value::Array(items) => {
                let mut result = Vec::with_capacity(items.len());
                for item in items {
                    result.extend(self.optional(item)?);
                }
                Ok(Some(Value::Array(result)))
            }
            Value::Object(map) => {
                if let (1, Some((name, argument))) = (map.len(), map.iter().next())
                    && (name == "Ref" || name.starts_with("Fn::") || name == "Condition")
                    && let Some(result) = self.function(name, argument)
                {
                    return result;
                }
                let mut result = Map::with_capacity(map.len());
                for (key, item) in map {
                    if let Some(item) = self.optional(item)? {
                        result.insert(key.clone(), item);
                    }
                }
                Ok(Some(Value::Object(result)))
            }
            other => Ok(Some(other.clone())),
        }
    }

    /// The result of a function, or nothing when the object only looks like one (an IAM `Condition` block).
    fn function(
        &self,
        name: &str,
        argument: &Value,
    ) -> Option<Result<Option<Value>, EvaluateError>> {
        Some(match name {
            "Ref" => match argument.as_str() {
                Some("AWS::NoValue") => Ok(None),
                Some(target) => self.reference(target).map(Some),
                None => Err(wrong("Ref")),
            },
            "Fn::GetAtt" => self.attribute_of(argument).map(Some),
            "Fn::Sub" => self.substitute(argument).map(Some),
            "Fn::If" => self.choose(argument),
            "Fn::Equals" | "Fn::Not" | "Fn::And" | "Fn::Or" => {
                let mut expression = Map::new();
                expression.insert(name.to_owned(), argument.clone());
                self.condition(&Value::Object(expression))
                    .map(|value| Some(Value::Bool(value)))
            }
            "Fn::Join" => self.join(argument).map(Some),
            "Fn::Select" => self.select(argument).map(Some),
            "Fn::Split" => self.split(argument).map(Some),
            "Fn::FindInMap" => self.find_in_map(argument).map(Some),
            "Condition" => return None,
            other => Err(EvaluateError(format!(
                "Template error: the sandbox does not evaluate {other}"
            ))),
        })
    }

    fn reference(&self, target: &str) -> Result<Value, EvaluateError> {
        if let Some(value) = self.parameters.get(target) {
            let list = self.template.parameters.iter().any(|spec| {
                spec.key == target
                    && (spec.kind == "CommaDelimitedList" || spec.kind.starts_with("List<"))
            });
            return Ok(if list {
                value
                    .split(',')
                    .map(|item| Value::from(item.trim()))
                    .collect()
            } else {
                Value::from(&**value)
            });
        }
        (self.pseudo)(target)
            .or_else(|| (self.physical_id)(target).map(Value::from))
            .ok_or_else(|| EvaluateError(format!("Unresolved reference to {target}")))
    }

    fn attribute_of(&self, argument: &Value) -> Result<Value, EvaluateError> {
        let (resource, attribute) = match argument {
            Value::String(path) => path
                .split_once('.')
                .map(|(resource, name)| (resource.to_owned(), name.to_owned())),
            Value::Array(parts) => match parts.as_slice() {
                [Value::String(resource), name] => {
                    Some((resource.clone(), scalar(&self.evaluate(name)?)))
                }
                _ => None,
            },
            _ => None,
        }
        .ok_or_else(|| wrong("Fn::GetAtt"))?;
        (self.attribute)(&resource, &attribute).map_err(EvaluateError)
    }

    fn substitute(&self, argument: &Value) -> Result<Value, EvaluateError> {
        let (text, local) = match argument {
            Value::String(text) => (text, None),
            Value::Array(parts) => match parts.as_slice() {
                [Value::String(text), Value::Object(local)] => (text, Some(local)),
                _ => return Err(wrong("Fn::Sub")),
            },
            _ => return Err(wrong("Fn::Sub")),
        };
        let mut result = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(start) = rest.find("${") {
            result.push_str(&rest[..start]);
            let Some(end) = rest[start..].find('}') else {
                return Err(wrong("Fn::Sub"));
            };
            let name = rest[start + 2..start + end].trim();
            rest = &rest[start + end + 1..];
            if let Some(literal) = name.strip_prefix('!') {
                result.push_str("${");
                result.push_str(literal);
                result.push('}');
                continue;
            }
            let value = match (local.and_then(|map| map.get(name)), name.split_once('.')) {
                (Some(value), _) => self.evaluate(value)?,
                (None, Some((resource, attribute))) => {
                    (self.attribute)(resource, attribute).map_err(EvaluateError)?
                }
                (None, None) => self.reference(name)?,
            };
            result.push_str(&scalar(&value));
        }
        result.push_str(rest);
        Ok(Value::String(result))
    }

    fn choose(&self, argument: &Value) -> Result<Option<Value>, EvaluateError> {
        let Some([Value::String(name), yes, no]) = argument.as_array().map(Vec::as_slice) else {
            return Err(wrong("Fn::If"));
        };
        self.optional(if self.named(name)? { yes } else { no })
    }

    fn named(&self, name: &str) -> Result<bool, EvaluateError> {
        self.conditions.get(name).copied().ok_or_else(|| {
            EvaluateError(format!(
                "Template error: unresolved condition dependency {name}"
            ))
        })
    }

    fn condition(&self, expression: &Value) -> Result<bool, EvaluateError> {
        let Some((name, argument)) = expression.as_object().and_then(|map| map.iter().next())
        else {
            return Err(EvaluateError(
                "Template format error: Every Conditions member must be a function.".into(),
            ));
        };
        let arguments = argument.as_array().map(Vec::as_slice).unwrap_or_default();
        match (name.as_str(), arguments) {
            ("Condition", _) => self.named(argument.as_str().ok_or_else(|| wrong("Condition"))?),
            ("Fn::Equals", [left, right]) => {
                Ok(scalar(&self.evaluate(left)?) == scalar(&self.evaluate(right)?))
            }
            ("Fn::Not", [inner]) => Ok(!self.condition(inner)?),
            ("Fn::And", [_, _, ..]) => arguments
                .iter()
                .try_fold(true, |all, one| Ok(self.condition(one)? && all)),
            ("Fn::Or", [_, _, ..]) => arguments
                .iter()
                .try_fold(false, |any, one| Ok(self.condition(one)? || any)),
            (name, _) => Err(wrong(name)),
        }
    }

    fn join(&self, argument: &Value) -> Result<Value, EvaluateError> {
        let Some([Value::String(separator), list]) = argument.as_array().map(Vec::as_slice) else {
            return Err(wrong("Fn::Join"));
        };
        match self.evaluate(list)? {
            Value::Array(items) => Ok(Value::String(
                items.iter().map(scalar).collect::<Vec<_>>().join(separator),
            )),
            _ => Err(wrong("Fn::Join")),
        }
    }

    fn select(&self, argument: &Value) -> Result<Value, EvaluateError> {
        let Some([index, list]) = argument.as_array().map(Vec::as_slice) else {
            return Err(wrong("Fn::Select"));
        };
        let index: usize = scalar(&self.evaluate(index)?)
            .parse()
            .map_err(|_| wrong("Fn::Select"))?;
        self.evaluate(list)?
            .as_array()
            .and_then(|items| items.get(index))
            .cloned()
            .ok_or_else(|| {
                EvaluateError(format!(
                    "Template error: Fn::Select cannot select nonexistent value at index {index}"
                ))
            })
    }

    fn split(&self, argument: &Value) -> Result<Value, EvaluateError> {
        let Some([Value::String(separator), text]) = argument.as_array().map(Vec::as_slice) else {
            return Err(wrong("Fn::Split"));
        };
        Ok(scalar(&self.evaluate(text)?)
            .split(separator.as_str())
            .map(Value::from)
            .collect())
    }

    fn find_in_map(&self, argument: &Value) -> Result<Value, EvaluateError> {
        let Some([map, top, second]) = argument.as_array().map(Vec::as_slice) else {
            return Err(wrong("Fn::FindInMap"));
        };
        let (map, top, second) = (
            scalar(&self.evaluate(map)?),
            scalar(&self.evaluate(top)?),
            scalar(&self.evaluate(second)?),
        );
        self.template
            .mappings
            .get(&map)
            .and_then(|level| level.get(&top))
            .and_then(|level| level.get(&second))
            .cloned()
            .ok_or_else(|| {
                EvaluateError(format!(
                    "Template error: Unable to get mapping for {map}::{top}::{second}"
                ))
            })
    }
}

fn wrong(function: &str) -> EvaluateError {
    EvaluateError(format!(
        "Template error: every {function} object has unsupported or missing arguments"
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::{Scope, resolve_conditions};
    use crate::template::{ParameterValues, Template};

    fn evaluate(expression: Value) -> Result<Value, String> {
        let template = Template::parse(
            &json!({
                "Mappings": {"M": {"a": {"b": "mapped"}}},
                "Parameters": {"P": {"Type": "String"}, "L": {"Type": "CommaDelimitedList"}},
                "Conditions": {
                    "Both": {"Fn::And": [{"Condition": "IsX"}, {"Fn::Not": [{"Fn::Equals": ["a", "b"]}]}]},
                    "IsX": {"Fn::Equals": [{"Ref": "P"}, "x"]},
                    "Never": {"Fn::Or": [{"Fn::Equals": ["a", "b"]}, {"Fn::Equals": ["c", "d"]}]},
                },
                "Resources": {"R": {"Type": "AWS::IAM::Role"}},
            })
            .to_string(),
        )
        .unwrap();
        let parameters =
            ParameterValues::from([("P".to_owned(), "x".into()), ("L".to_owned(), "1,2".into())]);
        let pseudo = |name: &str| (name == "AWS::Region").then(|| Value::from("us-east-1"));
        let conditions: BTreeMap<String, bool> =
            resolve_conditions(&template, &parameters, &pseudo).unwrap();
        Scope {
            template: &template,
            parameters: &parameters,
            conditions: &conditions,
            pseudo: &pseudo,
            physical_id: &|name| (name == "R").then(|| "role-1".to_owned()),
            attribute: &|name, attribute| Ok(json!(format!("{name}/{attribute}"))),
        }
        .evaluate(&expression)
        .map_err(|error| error.to_string())
    }

    #[test]
    fn functions_evaluate() {
        for (expression, expected) in [
            (json!({"Ref": "P"}), json!("x")),
            (json!({"Ref": "L"}), json!(["1", "2"])),
            (json!({"Ref": "R"}), json!("role-1")),
            (json!({"Fn::GetAtt": ["R", "Arn"]}), json!("R/Arn")),
            (
                json!({"Fn::Sub": "${AWS::Region}-${R}-${R.Arn}-${!Raw}"}),
                json!("us-east-1-role-1-R/Arn-${Raw}"),
            ),
            (
                json!({"Fn::Sub": ["${V}:${P}", {"V": {"Ref": "R"}}]}),
                json!("role-1:x"),
            ),
            (json!({"Fn::If": ["Both", "yes", "no"]}), json!("yes")),
            (json!({"Fn::If": ["Never", "yes", "no"]}), json!("no")),
            (
                json!({"Fn::Join": ["-", ["a", {"Ref": "P"}, 5]]}),
                json!("a-x-5"),
            ),
            (
                json!({"Fn::Select": ["1", {"Fn::Split": [",", "a,b"]}]}),
                json!("b"),
            ),
            (json!({"Fn::FindInMap": ["M", "a", "b"]}), json!("mapped")),
            (
                json!({"a": {"Ref": "AWS::NoValue"}, "b": [{"Ref": "AWS::NoValue"}, 1]}),
                json!({"b": [1]}),
            ),
            (
                json!({"Condition": {"StringEquals": {"sts:ExternalId": {"Ref": "R"}}}}),
                json!({"Condition": {"StringEquals": {"sts:ExternalId": "role-1"}}}),
            ),
        ] {
            assert_eq!(
                evaluate(expression.clone()).as_ref(),
                Ok(&expected),
                "{expression}"
            );
        }
    }

    #[test]
    fn unknown_references_and_functions_fail() {
        assert!(
            evaluate(json!({"Ref": "Nope"}))
                .unwrap_err()
                .contains("Nope")
        );
        assert!(
            evaluate(json!({"Fn::Cidr": []}))
                .unwrap_err()
                .contains("Fn::Cidr")
        );
    }
}
