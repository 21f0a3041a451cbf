//! Jobs of external kinds: what their files say, and whether that is what the plugin asks for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    str::FromStr,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    error::{ConfigErrors, Problem},
    nearest::nearest,
    schema,
    source::{Document, Source, locate},
    text::{Text, TextForm},
};

/// A job whose kind is a plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct ExternalJob {
    /// The kind.
    pub kind: String,
    /// The plugin.
    pub program: PathBuf,
    /// What the file says.
    pub params: ExternalParams,
    /// The file, for what only the plugin knows to be wrong.
    pub(super) source: Source,
}

/// Parameters of a job of an external kind.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExternalParams {
    /// The profiles whose accounts the plugin is given, by name; all when empty.
    pub profiles: Vec<String>,
    /// What the plugin is given of what it asks for. `--set` cannot change it.
    pub grants: Vec<Text<Grant>>,
    /// Whether steps that remove something (risk `high`) are applied, within the limits of `[removal]`. Without it they are refused, and the
    /// rest is applied. `--set` cannot change it.
    pub apply_removals: bool,
    /// The plugin's own settings: `runner jobs schema KIND` has them.
    pub settings: Map<String, Value>,
}

/// What a plugin can be given beside the accounts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grant {
    /// The tags of the accounts, which cost a call for each.
    AccountTags,
    /// The Spot token, and the address of Spot.
    SpotToken,
    /// The credentials of the home account, as they are when the plugin starts.
    AwsCredentials,
    /// A variable of the runner's environment.
    Environment(String),
}

/// Variables that a plugin has in any case, with values that the runner decides.
pub(crate) const OWN_VARIABLES: [&str; 5] = ["PATH", "HOME", "TMPDIR", "LANG", "TZ"];

impl FromStr for Grant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(name) = text.strip_prefix("env:") else {
            return match text {
                "account-tags" => Ok(Self::AccountTags),
                "spot-token" => Ok(Self::SpotToken),
                "aws-credentials" => Ok(Self::AwsCredentials),
                _ => Err(format!("{text:?} is nothing that a plugin can be given")),
            };
        };
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name {
            return Err(format!("{name:?} is not the name of a variable"));
        }
        if OWN_VARIABLES.contains(&name) || name.starts_with("LD_") {
            return Err(format!(
                "the variable {name} of a plugin is not that of the runner"
            ));
        }
        Ok(Self::Environment(name.to_owned()))
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccountTags => f.write_str("account-tags"),
            Self::SpotToken => f.write_str("spot-token"),
            Self::AwsCredentials => f.write_str("aws-credentials"),
            Self::Environment(name) => write!(f, "env:{name}"),
        }
    }
}

impl TextForm for Grant {
    const FORMAT: &'static str = "plugin-grant";
    const EXPECTED: &'static str =
        "\"account-tags\", \"spot-token\", \"aws-credentials\" or \"env:NAME\", a variable";
}

/// What a plugin says of itself, as far as its jobs' files must fit it.
#[derive(Debug, Clone, PartialEq)]
pub struct Asking {
    /// The JSON Schema of its settings.
    pub settings: Value,
    /// What its steps can do.
    pub actions: BTreeSet<String>,
    /// What it asks for, and whether it cannot do without.
    pub grants: BTreeMap<Grant, bool>,
}

impl ExternalJob {
    /// What the job is granted.
    #[must_use]
    pub fn grants(&self) -> BTreeSet<Grant> {
        let grants = self.params.grants.iter();
        grants.map(|grant| grant.0.clone()).collect()
    }

    /// Checks what the file says against what the plugin asks for.
    ///
    /// # Errors
    /// Settings that the plugin does not know or that have other values, `[retry.steps]` of what it does not do, a grant that it does not ask for, and one that it needs and
    /// does not get; each with its place in the file.
    pub fn check(&self, asking: &Asking) -> Result<(), ConfigErrors> {
        let document = self.source.parse()?;
        let schema = schema::external_job(&self.kind, None, asking);
        let mut problems = schema::check(&schema, &document);
        problems.extend(self.check_grants(asking, &document));
        if problems.is_empty() {
            Ok(())
        } else {
            Err(self.source.errors(problems))
        }
    }

    fn check_grants(&self, asking: &Asking, document: &Document<'_>) -> Vec<Problem> {
        let granted = self.grants();
        let mut problems = Vec::new();
        for (index, grant) in self.params.grants.iter().enumerate() {
            if !asking.grants.contains_key(&grant.0) {
                let asked: Vec<String> = asking.grants.keys().map(ToString::to_string).collect();
                let near = nearest(&grant.to_string(), asked.iter().map(String::as_str));
                let help = match (near, asked.as_slice()) {
                    (Some(near), _) => format!("did you mean {near:?}?"),
                    (None, []) => "it asks for nothing: leave `grants` out".to_owned(),
                    (None, asked) => format!("it asks for {}", asked.join(", ")),
                };
                problems.push(Problem {
                    span: locate(document, &["params", "grants", &index.to_string()]),
                    message: format!(
                        "the plugin {:?} does not ask for {:?}",
                        self.kind,
                        grant.to_string()
                    ),
                    help: Some(help),
                });
            }
        }
        let needed = asking.grants.iter();
        for (grant, _) in
            needed.filter(|(grant, is_needed)| **is_needed && !granted.contains(grant))
        {
            problems.push(Problem {
                span: locate(document, &["params", "grants"]),
                message: format!(
                    "the plugin {:?} needs {:?}, which this job does not grant",
                    self.kind,
                    grant.to_string()
                ),
                help: Some(format!(
                    "if it may have that, add it: grants = [{:?}]",
                    grant.to_string()
                )),
            });
        }
        problems
    }
}
