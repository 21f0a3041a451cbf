//! Evaluating a template's functions (CloudFormation Template Reference, "Intrinsic functions", "Pseudo parameters").
//!
//! What cannot be known becomes a marked text, and so does a function that no template for Spot's role needs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    super::{document::MeantDocument, unknown},
    Meanings,
};
use crate::{
    ids::{AwsAccountId, ExternalId},
    template::Partition,
};

/// The custom resource that returns the external ID.
const EXTERNAL_ID_RESOURCE: &str = "SpotExternalId";

/// The pseudo parameter of the account.
const ACCOUNT: &str = "AWS::AccountId";

/// Names of parameters, pseudo parameters and resources whose values went into a result.
pub(super) type Inputs = BTreeSet<String>;

/// A template with the values of one stack.
pub(super) struct Resolver<'a> {
    pub(super) meanings: &'a Meanings,
    account: Option<AwsAccountId>,
    overrides: &'a BTreeMap<String, String>,
    external_id: Option<&'a ExternalId>,
    inputs: Inputs,
    /// How many conditions are being evaluated, one within the other.
    pub(super) condition_depth: usize,
    undecided: Option<String>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(
        meanings: &'a Meanings,
        account: Option<AwsAccountId>,
        overrides: &'a BTreeMap<String, String>,
        external_id: Option<&'a ExternalId>,
    ) -> Self {
        Self {
            meanings,
            account,
            overrides,
            external_id,
            inputs: Inputs::new(),
            condition_depth: 0,
            undecided: None,
        }
    }

    /// Everything that went into what was evaluated.
    pub(super) fn into_inputs(self) -> Inputs {
        self.inputs
    }

    /// Whether a result of these inputs is the same here as without account, overrides and external ID.
    pub(super) fn agrees_with(&self, inputs: &Inputs) -> bool {
        inputs.iter().all(|name| {
            let given = self.overrides.get(name);
            name != ACCOUNT
                && name != EXTERNAL_ID_RESOURCE
                && (given.is_none() || given == self.meanings.parameters.get(name))
        })
    }

    /// The first condition that a value depended on and that could not be decided.
    pub(super) fn undecided(&self) -> Option<&str> {
        self.undecided.as_deref()
    }

    /// A policy document.
    pub(super) fn document(&mut self, value: &Value) -> MeantDocument {
        MeantDocument::new(self.value(value).unwrap_or_default())
    }

    /// A text; none when it is not there or no text.
    pub(super) fn text(&mut self, value: &Value) -> Option<String> {
        match self.value(value)? {
            Value::String(text) => Some(text),
            scalar @ (Value::Number(_) | Value::Bool(_)) => Some(scalar.to_string()),
            _ => None,
        }
    }

    /// The entries of a list; one that is no list stands for itself.
    pub(super) fn list(&mut self, value: &Value) -> Vec<Value> {
        match self.value(value) {
            Some(Value::Array(items)) => items,
            None | Some(Value::Null) => Vec::new(),
            Some(one) => vec![one],
        }
    }

    /// A value; none for `AWS::NoValue`.
    pub(super) fn value(&mut self, value: &Value) -> Option<Value> {
        match value {
            Value::Array(items) => {
                let items = items.iter().filter_map(|item| self.value(item));
                Some(items.collect())
            }
            Value::Object(map) => match function(map) {
                Some((name, argument)) => self.call(name, argument),
                None => {
                    let entries = map.iter();
                    let entries =
                        entries.filter_map(|(key, value)| Some((key.clone(), self.value(value)?)));
                    Some(Value::Object(entries.collect()))
                }
            },
            scalar => Some(scalar.clone()),
        }
    }

    fn call(&mut self, name: &str, argument: &Value) -> Option<Value> {
        let known = match (name, argument) {
            ("Ref", Value::String(name)) if name == "AWS::NoValue" => return None,
            ("Ref", Value::String(name)) => Some(self.reference(name)),
            ("Fn::GetAtt", Value::String(path)) => Some(self.attribute(path)),
            ("Fn::GetAtt", Value::Array(path)) => match path.as_slice() {
                [Value::String(resource), Value::String(name)] => {
                    Some(self.attribute(&format!("{resource}.{name}")))
                }
                _ => None,
            },
            ("Fn::Sub", Value::String(text)) => self.substitute(text, &Map::new()),
            ("Fn::Sub", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(text)] => self.substitute(text, &Map::new()),
                [Value::String(text), Value::Object(variables)] => self.substitute(text, variables),
                _ => None,
            },
            ("Fn::Join", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(delimiter), list] => self.join(delimiter, list),
                _ => None,
            },
            ("Fn::If", Value::Array(parts)) => match parts.as_slice() {
                [Value::String(condition), yes, no] => match self.condition(condition) {
                    Some(true) => return self.value(yes),
                    Some(false) => return self.value(no),
                    None => {
                        self.undecided.get_or_insert_with(|| condition.clone());
                        None
                    }
                },
                _ => None,
            },
            _ => None,
        };
        Some(known.unwrap_or_else(|| unknown::text(name).into()))
    }

    fn reference(&mut self, name: &str) -> Value {
        self.inputs.insert(name.to_owned());
        let partition = self.meanings.partition;
        let known = match name {
            ACCOUNT => self.account.map(|account| account.to_string()),
            "AWS::Partition" => Some(partition.to_string()),
            "AWS::Region" => Some(self.meanings.region.to_string()),
            "AWS::URLSuffix" => Some(
                match partition {
                    Partition::Aws | Partition::AwsUsGov => "amazonaws.com",
                    Partition::AwsCn => "amazonaws.com.cn",
                }
                .to_owned(),
            ),
            EXTERNAL_ID_RESOURCE => self.external_id.map(ToString::to_string),
            _ => return self.parameter(name),
        };
        known.unwrap_or_else(|| unknown::text(name)).into()
    }

    fn parameter(&self, name: &str) -> Value {
        let declared = &self.meanings.template["Parameters"][name];
        let kind = declared["Type"].as_str().unwrap_or_default();
        // What is not to be seen reads as asterisks, and the value of the other is a name to look up.
        let is_hidden = declared["NoEcho"] == true || declared["NoEcho"] == "true";
        if is_hidden || kind.starts_with("AWS::SSM::") {
            return unknown::text(name).into();
        }
        let given = self.overrides.get(name);
        let given = given.or_else(|| self.meanings.parameters.get(name));
        let text = match (given, &declared["Default"]) {
            (Some(text), _) => text.clone(),
            (None, Value::String(text)) => text.clone(),
            (None, scalar @ (Value::Number(_) | Value::Bool(_))) => scalar.to_string(),
            (None, _) => return unknown::text(name).into(),
        };
        if kind == "CommaDelimitedList" || kind.starts_with("List<") {
            let items = text.split(',').map(str::trim);
            items.filter(|item| !item.is_empty()).collect()
        } else {
            text.into()
        }
    }

    /// `Resource.Attribute`. That of the external ID's resource is the external ID, and a managed policy's ARN is what a
    /// reference to it gives.
    fn attribute(&mut self, path: &str) -> Value {
        let (resource, name) = path.split_once('.').unwrap_or((path, ""));
        if resource == EXTERNAL_ID_RESOURCE || name == "PolicyArn" {
            self.reference(resource)
        } else {
            self.inputs.insert(path.to_owned());
            unknown::text(path).into()
        }
    }

    fn substitute(&mut self, text: &str, variables: &Map<String, Value>) -> Option<Value> {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((plain, variable)) = rest.split_once("${") {
            result.push_str(plain);
            let (name, after) = variable.split_once('}')?;
            rest = after;
            if let Some(literal) = name.strip_prefix('!') {
                result.push_str(&format!("${{{literal}}}"));
                continue;
            }
            let value = match variables.get(name) {
                Some(value) => self.value(value),
                None if name.contains('.') => Some(self.attribute(name)),
                None => Some(self.reference(name)),
            };
            result.push_str(&piece(&value?)?);
        }
        result.push_str(rest);
        Some(result.into())
    }

    fn join(&mut self, delimiter: &str, list: &Value) -> Option<Value> {
        match self.value(list)? {
            Value::Array(items) => {
                let pieces = items.iter().map(piece).collect::<Option<Vec<String>>>()?;
                Some(pieces.join(delimiter).into())
            }
            // A list that is not known, joined, is as little known.
            other => Some(other),
        }
    }
}

/// The name and the argument of a function call.
pub(super) fn function(map: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut entries = map.iter();
    let (name, argument) = entries.next()?;
    let is_function = match name.as_str() {
        "Ref" => true,
        "Condition" => argument.is_string(),
        name => name.starts_with("Fn::"),
    };
    (is_function && entries.next().is_none()).then_some((name.as_str(), argument))
}

/// What a value is within a text; none for lists and objects.
pub(super) fn piece(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}
