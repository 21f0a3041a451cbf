//! Template parameters: their declarations, and the values that a caller's choices give them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::TemplateError;

/// Longest parameter value, in bytes (CloudFormation quotas).
const MAX_VALUE_BYTES: usize = 4096;

/// Values by parameter key.
pub(crate) type ParameterValues = BTreeMap<String, Arc<str>>;

/// A declared parameter.
#[derive(Debug, Clone)]
pub(crate) struct ParameterSpec {
    /// Its key.
    pub(crate) key: String,
    /// Its type, such as `String` or `CommaDelimitedList`.
    pub(crate) kind: String,
    /// Its default.
    pub(crate) default: Option<String>,
    /// Whether reads show `****` instead of its value.
    pub(crate) no_echo: bool,
    /// Its description.
    pub(crate) description: Option<String>,
    /// Values that are allowed; empty when any is.
    pub(crate) allowed_values: Vec<String>,
    allowed_pattern: Option<String>,
    constraint: Option<String>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    min_value: Option<f64>,
    max_value: Option<f64>,
}

impl ParameterSpec {
    pub(super) fn parse(key: String, body: &Value) -> Result<Self, TemplateError> {
        let Some(kind) = body.get("Type").and_then(Value::as_str) else {
            return Err(TemplateError::format(format_args!(
                "Every Parameters object must contain a Type member. [{key}]"
            )));
        };
        let number = |name: &str| {
            body.get(name)
                .and_then(|value| scalar(value).parse::<f64>().ok())
        };
        let length = |name: &str| {
            body.get(name)
                .and_then(|value| scalar(value).parse::<usize>().ok())
        };
        Ok(Self {
            kind: kind.to_owned(),
            default: body.get("Default").map(scalar),
            no_echo: body
                .get("NoEcho")
                .is_some_and(|value| scalar(value) == "true"),
            description: body.get("Description").map(scalar),
            allowed_values: body
                .get("AllowedValues")
                .and_then(Value::as_array)
                .map(|values| values.iter().map(scalar).collect())
                .unwrap_or_default(),
            allowed_pattern: body.get("AllowedPattern").map(scalar),
            constraint: body.get("ConstraintDescription").map(scalar),
            min_length: length("MinLength"),
            max_length: length("MaxLength"),
            min_value: number("MinValue"),
            max_value: number("MaxValue"),
            key,
        })
    }

    fn check(&self, value: &str) -> Result<(), TemplateError> {
        let broken = |rule: String| {
            TemplateError(format!(
                "Parameter {} failed to satisfy constraint: {}",
                self.key,
                self.constraint.clone().unwrap_or(rule)
            ))
        };
        if value.len() > MAX_VALUE_BYTES {
            return Err(TemplateError(format!(
                "Parameter {} exceeds the maximum length of {MAX_VALUE_BYTES} bytes",
                self.key
            )));
        }
        if !self.allowed_values.is_empty() && !self.allowed_values.iter().any(|one| one == value) {
            return Err(TemplateError(format!(
                "Parameter '{}' must be one of AllowedValues",
                self.key
            )));
        }
        if let Some(pattern) = &self.allowed_pattern {
            let regex = regex_lite::Regex::new(&format!("^(?:{pattern})$")).map_err(|_| {
                TemplateError::format(format_args!(
                    "AllowedPattern of parameter {} is invalid",
                    self.key
                ))
            })?;
            if !regex.is_match(value) {
                return Err(broken(format!("must match pattern {pattern}")));
            }
        }
        let characters = value.chars().count();
        if let Some(min) = self.min_length.filter(|min| characters < *min) {
            return Err(broken(format!("must have length at least {min}")));
        }
        if let Some(max) = self.max_length.filter(|max| characters > *max) {
            return Err(broken(format!("must have length at most {max}")));
        }
        if self.kind == "Number" {
            let Ok(number) = value.parse::<f64>() else {
                return Err(TemplateError(format!(
                    "Parameter '{}' must be a number",
                    self.key
                )));
            };
            if let Some(min) = self.min_value.filter(|min| number < *min) {
                return Err(broken(format!("must be greater than or equal to {min}")));
            }
            if let Some(max) = self.max_value.filter(|max| number > *max) {
                return Err(broken(format!("must be less than or equal to {max}")));
            }
        }
        Ok(())
    }
}

/// A scalar as the text that CloudFormation makes of it.
pub(super) fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Array(items) => items.iter().map(scalar).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// What a caller says about one parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParameterChoice {
    /// The key.
    pub(crate) key: String,
    /// A new value.
    pub(crate) value: Option<String>,
    /// Keep the value that the stack or set has now.
    pub(crate) use_previous: bool,
}

/// Gives every declared parameter a value: the caller's choice, else the default.
///
/// # Errors
/// CloudFormation's text when a key is unknown, a value missing, or a constraint broken.
pub(crate) fn resolve_parameters(
    specs: &[ParameterSpec],
    choices: &[ParameterChoice],
    previous: &ParameterValues,
) -> Result<ParameterValues, TemplateError> {
    let unknown: Vec<&str> = choices
        .iter()
        .map(|choice| choice.key.as_str())
        .filter(|key| !specs.iter().any(|spec| spec.key == *key))
        .collect();
    if !unknown.is_empty() {
        return Err(TemplateError(format!(
            "Parameters: [{}] do not exist in the template",
            unknown.join(", ")
        )));
    }
    let mut values = ParameterValues::new();
    let mut missing = Vec::new();
    for spec in specs {
        let value: Option<Arc<str>> = match choices.iter().find(|choice| choice.key == spec.key) {
            Some(choice) if choice.use_previous && choice.value.is_some() => {
                return Err(TemplateError(format!(
                    "Invalid input for parameter key {}. Cannot specify usePreviousValue as true and non empty value for a parameter",
                    spec.key
                )));
            }
            Some(choice) if choice.use_previous => match previous.get(&spec.key) {
                Some(value) => Some(value.clone()),
                None => {
                    return Err(TemplateError(format!(
                        "Invalid input for parameter key {}. Cannot specify usePreviousValue as true for a parameter key not in the previous template",
                        spec.key
                    )));
                }
            },
            Some(choice) => choice.value.as_deref().map(Arc::from),
            None => None,
        };
        match value.or_else(|| spec.default.as_deref().map(Arc::from)) {
            Some(value) => {
                spec.check(&value)?;
                values.insert(spec.key.clone(), value);
            }
            None => missing.push(spec.key.as_str()),
        }
    }
    if missing.is_empty() {
        Ok(values)
    } else {
        Err(TemplateError(format!(
            "Parameters: [{}] must have values",
            missing.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ParameterChoice, ParameterSpec, ParameterValues, resolve_parameters};

    fn specs() -> Vec<ParameterSpec> {
        vec![
            ParameterSpec::parse(
                "Token".into(),
                &json!({"Type": "String", "AllowedPattern": "^[a-zA-Z0-9]+$", "NoEcho": true}),
            )
            .unwrap(),
            ParameterSpec::parse(
                "Products".into(),
                &json!({"Type": "String", "Default": true, "AllowedValues": [true, false]}),
            )
            .unwrap(),
        ]
    }

    fn choice(key: &str, value: &str) -> ParameterChoice {
        ParameterChoice {
            key: key.into(),
            value: Some(value.into()),
            use_previous: false,
        }
    }

    fn error(choices: &[ParameterChoice]) -> String {
        resolve_parameters(&specs(), choices, &ParameterValues::new())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn values_defaults_and_previous_values_combine() {
        let values =
            resolve_parameters(&specs(), &[choice("Token", "abc")], &ParameterValues::new())
                .unwrap();
        assert_eq!(&*values["Token"], "abc");
        assert_eq!(&*values["Products"], "true");
        let keep = ParameterChoice {
            key: "Token".into(),
            value: None,
            use_previous: true,
        };
        let kept = resolve_parameters(&specs(), std::slice::from_ref(&keep), &values).unwrap();
        assert_eq!(&*kept["Token"], "abc");
        assert!(error(&[keep]).contains("not in the previous template"));
    }

    #[test]
    fn broken_constraints_are_named() {
        assert_eq!(error(&[]), "Parameters: [Token] must have values");
        assert_eq!(
            error(&[choice("Token", "a-b")]),
            "Parameter Token failed to satisfy constraint: must match pattern ^[a-zA-Z0-9]+$"
        );
        assert_eq!(
            error(&[choice("Token", "a"), choice("Products", "maybe")]),
            "Parameter 'Products' must be one of AllowedValues"
        );
        assert_eq!(
            error(&[choice("Token", "a"), choice("Other", "b")]),
            "Parameters: [Other] do not exist in the template"
        );
    }
}
