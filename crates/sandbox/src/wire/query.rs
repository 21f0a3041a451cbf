//! Requests of the AWS Query protocol: a form with dotted names.
//!
//! `P` absent, `P=` (an empty list) and `P.member.1=…` are three different things.

use std::collections::BTreeMap;

use super::errors::AwsError;

/// A parsed Query request: its action, version and parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueryRequest {
    /// `Action`.
    pub(crate) action: String,
    /// `Version`.
    pub(crate) version: String,
    parameters: BTreeMap<String, String>,
}

impl QueryRequest {
    /// Reads a form body.
    pub(crate) fn parse(body: &[u8]) -> Self {
        let mut parameters: BTreeMap<String, String> =
            url::form_urlencoded::parse(body).into_owned().collect();
        Self {
            action: parameters.remove("Action").unwrap_or_default(),
            version: parameters.remove("Version").unwrap_or_default(),
            parameters,
        }
    }

    /// The top-level parameters.
    pub(crate) fn scope(&self) -> Scope<'_> {
        Scope {
            parameters: &self.parameters,
            prefix: String::new(),
        }
    }

    /// See [`Scope::get`].
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// See [`Scope::require`].
    pub(crate) fn require(&self, name: &str) -> Result<&str, AwsError> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| missing(name))
    }

    /// See [`Scope::boolean`].
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, AwsError> {
        self.scope().boolean(name)
    }

    /// See [`Scope::number`].
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, AwsError> {
        self.scope().number(name)
    }

    /// See [`Scope::strings`].
    pub(crate) fn strings(&self, name: &str) -> Option<Vec<String>> {
        self.scope().strings(name)
    }

    /// See [`Scope::structures`].
    pub(crate) fn structures(&self, name: &str) -> Option<Vec<Scope<'_>>> {
        self.scope().structures(name)
    }

    /// See [`Scope::structure`].
    pub(crate) fn structure(&self, name: &str) -> Option<Scope<'_>> {
        self.scope().structure(name)
    }
}

/// The parameters below one dotted prefix: a structure, or a member of a list of structures.
#[derive(Clone, Debug)]
pub(crate) struct Scope<'a> {
    parameters: &'a BTreeMap<String, String>,
    prefix: String,
}

impl<'a> Scope<'a> {
    /// A scalar; `Some("")` when it was sent empty.
    pub(crate) fn get(&self, name: &str) -> Option<&'a str> {
        self.parameters.get(&self.full(name)).map(String::as_str)
    }

    /// A scalar that must be there and not be empty: `ValidationError` otherwise.
    pub(crate) fn require(&self, name: &str) -> Result<&'a str, AwsError> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| missing(&self.full(name)))
    }

    /// `true` or `false`; anything else is a `ValidationError`.
    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, AwsError> {
        match self.get(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(AwsError::validation(format!(
                "Value '{other}' at '{}' failed to satisfy constraint: Member must be a boolean",
                self.full(name)
            ))),
        }
    }

    /// A whole number; anything else is a `ValidationError`.
    pub(crate) fn number(&self, name: &str) -> Result<Option<u64>, AwsError> {
        self.get(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    AwsError::validation(format!(
                        "Value '{text}' at '{}' failed to satisfy constraint: Member must be a number",
                        self.full(name)
                    ))
                })
            })
            .transpose()
    }

    /// A list of scalars: `None` when absent, empty when sent as `P=`.
    pub(crate) fn strings(&self, name: &str) -> Option<Vec<String>> {
        let members = self.members(name);
        if members.is_empty() {
            return self.get(name).map(|_| Vec::new());
        }
        Some(
            members
                .iter()
                .filter_map(|number| self.get(&format!("{name}.member.{number}")))
                .map(str::to_owned)
                .collect(),
        )
    }

    /// A list of structures: `None` when absent, empty when sent as `P=`.
    pub(crate) fn structures(&self, name: &str) -> Option<Vec<Scope<'a>>> {
        let members = self.members(name);
        if members.is_empty() {
            return self.get(name).map(|_| Vec::new());
        }
        Some(
            members
                .iter()
                .map(|number| Scope {
                    parameters: self.parameters,
                    prefix: self.full(&format!("{name}.member.{number}.")),
                })
                .collect(),
        )
    }

    /// A structure: `None` when no parameter below it was sent.
    pub(crate) fn structure(&self, name: &str) -> Option<Scope<'a>> {
        let prefix = self.full(&format!("{name}."));
        self.below(&prefix).next()?;
        Some(Scope {
            parameters: self.parameters,
            prefix,
        })
    }

    /// The numbers of a list's members, in order.
    fn members(&self, name: &str) -> Vec<u32> {
        let prefix = self.full(&format!("{name}.member."));
        let mut numbers: Vec<u32> = self
            .below(&prefix)
            .filter_map(|key| key[prefix.len()..].split('.').next()?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn below(&self, prefix: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let prefix = prefix.to_owned();
        self.parameters
            .range(prefix.clone()..)
            .map(|(key, _)| key.as_str())
            .take_while(move |key| key.starts_with(&prefix))
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}

fn missing(name: &str) -> AwsError {
    let mut lowered = name.to_owned();
    if let Some(first) = lowered.get_mut(0..1) {
        first.make_ascii_lowercase();
    }
    AwsError::validation(format!(
        "1 validation error detected: Value null at '{lowered}' failed to satisfy constraint: Member must not be null"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_empty_and_populated_lists_are_told_apart() {
        let request = QueryRequest::parse(
            b"Action=X&Version=1&Tags=&Regions.member.1=us-east-1&Regions.member.2=eu-west-1\
              &Regions.member.10=ap-south-1",
        );
        assert_eq!(request.strings("Capabilities"), None);
        assert_eq!(request.strings("Tags"), Some(vec![]));
        assert_eq!(
            request.strings("Regions"),
            Some(vec![
                "us-east-1".into(),
                "eu-west-1".into(),
                "ap-south-1".into()
            ])
        );
    }

    #[test]
    fn structures_nest() {
        let request = QueryRequest::parse(
            b"Action=X&Parameters.member.1.ParameterKey=A&Parameters.member.1.ParameterValue=\
              &DeploymentTargets.OrganizationalUnitIds.member.1=ou-1&Flag=true&Bad=yes",
        );
        let parameters = request.structures("Parameters").unwrap();
        assert_eq!(parameters[0].get("ParameterKey"), Some("A"));
        assert_eq!(parameters[0].get("ParameterValue"), Some(""));
        let targets = request.structure("DeploymentTargets").unwrap();
        assert_eq!(
            targets.strings("OrganizationalUnitIds"),
            Some(vec!["ou-1".into()])
        );
        assert!(request.structure("OperationPreferences").is_none());
        assert_eq!(request.boolean("Flag").unwrap(), Some(true));
        assert!(request.boolean("Bad").is_err());
        assert!(
            request
                .require("Absent")
                .unwrap_err()
                .message
                .contains("'absent'")
        );
    }
}
