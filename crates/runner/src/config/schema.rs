//! The JSON Schemas of the configuration files, made from their types, and the check of a document against them.
//!
//! The same schema serves editors, the reference page and reading: a document is checked against it before serde reads
//! it, because serde stops at the first error and knows no near misses.

mod foreign;

use std::{ops::Range, sync::LazyLock};

pub use foreign::check_foreign;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    drift_audit::DriftAuditParams,
    enroll::EnrollParams,
    error::Problem,
    external::{Asking, ExternalParams},
    job::{JobKind, StacksetSyncParams, WrittenJob},
    nearest::nearest,
    orphan_cleanup::OrphanCleanupParams,
    policy_rollout::PolicyRolloutParams,
    runner::RunnerConfig,
    source::{Document, span_of},
    text,
};

/// The schema of `runner.toml`.
pub fn runner() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<RunnerConfig>);
    &SCHEMA
}

/// The schema of a job file of this kind.
pub fn job(kind: JobKind) -> &'static Value {
    static STACKSET_SYNC: LazyLock<Value> =
        LazyLock::new(|| job_schema::<StacksetSyncParams>(JobKind::StacksetSync));
    static DRIFT_AUDIT: LazyLock<Value> =
        LazyLock::new(|| job_schema::<DriftAuditParams>(JobKind::DriftAudit));
    static ENROLL: LazyLock<Value> = LazyLock::new(|| job_schema::<EnrollParams>(JobKind::Enroll));
    static ORPHAN_CLEANUP: LazyLock<Value> =
        LazyLock::new(|| job_schema::<OrphanCleanupParams>(JobKind::OrphanCleanup));
    static POLICY_ROLLOUT: LazyLock<Value> =
        LazyLock::new(|| job_schema::<PolicyRolloutParams>(JobKind::PolicyRollout));
    match kind {
        JobKind::StacksetSync => &STACKSET_SYNC,
        JobKind::DriftAudit => &DRIFT_AUDIT,
        JobKind::Enroll => &ENROLL,
        JobKind::OrphanCleanup => &ORPHAN_CLEANUP,
        JobKind::PolicyRollout => &POLICY_ROLLOUT,
    }
}

fn job_schema<P: JsonSchema + Default + serde::Serialize>(kind: JobKind) -> Value {
    let mut schema = schema_of::<WrittenJob<P>>();
    of_kind(&mut schema, kind.name(), Some(kind.summary()));
    of_actions(&mut schema, kind.actions());
    schema
}

/// Only what the kind does can be a key of `[retry.steps]`.
fn of_actions<'a>(schema: &mut Value, actions: impl IntoIterator<Item = &'a str>) {
    let actions: Vec<&str> = actions.into_iter().collect();
    schema["properties"]["retry"]["properties"]["steps"]["propertyNames"] =
        json!({ "enum": actions });
}

fn of_kind(schema: &mut Value, kind: &str, summary: Option<&str>) {
    let more = summary.map_or_else(String::new, |summary| format!(": {summary}"));
    schema["title"] = json!(format!("{kind} job"));
    schema["description"] = json!(format!("A job of the kind `{kind}`{more}."));
    schema["properties"]["kind"] = json!({ "const": kind, "description": "What the job does." });
}

/// The schema of a job file of any external kind, as far as it is the same for all.
pub fn external() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let mut schema = schema_of::<WrittenJob<ExternalParams>>();
        schema["title"] = json!("Job of an external kind");
        schema["description"] = json!("A job whose kind is a plugin.");
        schema
    });
    &SCHEMA
}

/// The schema of a job file of this external kind, whose plugin asks for this.
pub fn external_job(kind: &str, summary: Option<&str>, asking: &Asking) -> Value {
    let mut schema = external().clone();
    of_kind(&mut schema, kind, summary);
    of_actions(&mut schema, asking.actions.iter().map(String::as_str));
    let mut settings = asking.settings.clone();
    if settings.get("description").is_none() {
        settings["description"] = json!("The plugin's own settings.");
    }
    // What has keys that must be there must be there itself.
    if settings["required"]
        .as_array()
        .is_some_and(|names| !names.is_empty())
    {
        schema["properties"]["params"]["required"] = json!(["settings"]);
        schema["required"] = json!(["kind", "params"]);
    }
    schema["properties"]["params"]["properties"]["settings"] = settings;
    schema
}

/// A type's schema, with every part in place (nothing of ours is recursive) and without `null`, which TOML lacks.
fn schema_of<T: JsonSchema>() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    remove_null(&mut schema);
    // What a reader wants to see first comes first.
    let mut ordered = Map::new();
    if let Value::Object(mut entries) = schema {
        for key in ["$schema", "title", "description"] {
            ordered.extend(entries.shift_remove_entry(key));
        }
        ordered.extend(entries);
    }
    Value::Object(ordered)
}

fn remove_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(remove_null),
        Value::Object(entries) => {
            if let Some(Value::Array(types)) = entries.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    entries.insert("type".to_owned(), only);
                }
            }
            let optional = entries
                .get("anyOf")
                .and_then(Value::as_array)
                .and_then(|branches| {
                    let mut real = branches.iter().filter(|branch| branch["type"] != "null");
                    real.next()
                        .filter(|_| real.next().is_none())
                        .and_then(Value::as_object)
                        .cloned()
                });
            if let Some(inner) = optional {
                entries.shift_remove("anyOf");
                for (key, value) in inner {
                    entries.entry(key).or_insert(value);
                }
            }
            if entries.get("default") == Some(&Value::Null) {
                entries.shift_remove("default");
            }
            entries.values_mut().for_each(remove_null);
        }
        _ => {}
    }
}

/// The properties of an object's schema.
pub(super) fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, schema)| (name.as_str(), schema))
}

/// The texts that a schema of an enumeration allows, with their descriptions; empty for any other schema.
pub(super) fn variants(schema: &Value) -> Vec<(&str, &str)> {
    let mut variants = Vec::new();
    for branch in schema["oneOf"].as_array().into_iter().flatten() {
        let description = branch["description"].as_str().unwrap_or_default();
        if let Some(name) = branch["const"].as_str() {
            variants.push((name, description));
        }
        for name in branch["enum"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            variants.push((name, description));
        }
    }
    variants.extend(
        schema["enum"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|name| Some((name.as_str()?, ""))),
    );
    variants.extend(schema["const"].as_str().map(|name| (name, "")));
    variants
}

/// A key that a table may have instead of the others.
pub(super) struct Alternative<'s> {
    /// The key.
    pub(super) name: &'s str,
    /// The schema of its value.
    pub(super) schema: &'s Value,
    /// What it is for.
    pub(super) description: &'s str,
}

/// The keys of which a table has exactly one; empty for any other schema.
pub(super) fn alternatives(schema: &Value) -> Vec<Alternative<'_>> {
    let branches = schema["oneOf"].as_array().into_iter().flatten();
    branches
        .flat_map(|branch| {
            let description = branch["description"].as_str().unwrap_or_default();
            properties(branch).map(move |(name, schema)| Alternative {
                name,
                schema,
                description,
            })
        })
        .collect()
}

/// What is wrong with a document by its schema, everything that can be found.
pub(super) fn check(schema: &Value, document: &Document<'_>) -> Vec<Problem> {
    let mut check = Check {
        root: schema,
        problems: Vec::new(),
    };
    check.table(schema, document.get_ref(), 0..0, "");
    check.problems
}

/// Whether a table whose keys are not properties may have this one.
fn is_name(schema: &Value, name: &str) -> bool {
    let names = schema["propertyNames"]["enum"].as_array();
    names.is_none_or(|names| names.iter().any(|known| known == name))
}

struct Check<'a> {
    root: &'a Value,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn report(&mut self, span: Range<usize>, message: String, help: Option<String>) {
        self.problems.push(Problem {
            span,
            message,
            help,
        });
    }

    fn table(&mut self, schema: &Value, table: &DeTable<'_>, span: Range<usize>, path: &str) {
        let known = schema["properties"].as_object();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let below = if path.is_empty() {
                name.to_owned()
            } else {
                format!("{path}.{name}")
            };
            match (
                known.and_then(|known| known.get(name)),
                &schema["additionalProperties"],
            ) {
                (Some(schema), _) => self.value(schema, value, span_of(Some(key), value), &below),
                (None, Value::Object(_)) if !is_name(schema, name) => {
                    let names = schema["propertyNames"]["enum"].as_array();
                    let names = names.into_iter().flatten().filter_map(Value::as_str);
                    let known = names.map(|name| (name.to_owned(), Value::Null));
                    self.unknown_key(Some(&known.collect()), name, key.span(), path);
                }
                (None, Value::Object(any)) => {
                    self.value(
                        &Value::Object(any.clone()),
                        value,
                        span_of(Some(key), value),
                        &below,
                    );
                }
                (None, Value::Bool(true)) => {}
                (None, _) => self.unknown_key(known, name, key.span(), path),
            }
        }
        for name in schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !table.contains_key(name) {
                let help = known
                    .and_then(|known| known.get(name))
                    .and_then(|schema| schema["description"].as_str());
                self.report(
                    span.clone(),
                    format!("{} needs the key `{name}`", section(path)),
                    help.map(|text| format!("`{name}`: {text}")),
                );
            }
        }
    }

    fn unknown_key(
        &mut self,
        known: Option<&Map<String, Value>>,
        name: &str,
        span: Range<usize>,
        path: &str,
    ) {
        let names: Vec<&str> = known
            .into_iter()
            .flatten()
            .map(|(name, _)| name.as_str())
            .collect();
        let elsewhere = || sections_with(self.root, name).into_iter().next();
        let help = if let Some(near) = nearest(name, names.iter().copied()) {
            format!("did you mean `{near}`?")
        } else if let Some(place) = elsewhere() {
            format!("`{name}` belongs to {}", section(&place))
        } else {
            format!("known keys: {}", names.join(", "))
        };
        self.report(
            span,
            format!("unknown key `{name}` in {}", section(path)),
            Some(help),
        );
    }

    fn value(
        &mut self,
        schema: &Value,
        value: &Spanned<DeValue<'_>>,
        span: Range<usize>,
        path: &str,
    ) {
        let alternatives = alternatives(schema);
        if !alternatives.is_empty() {
            return self.alternative(&alternatives, value, span, path);
        }
        let variants = variants(schema);
        if !variants.is_empty() {
            return self.variant(&variants, value.get_ref(), span, path);
        }
        if !has_type(schema, value.get_ref()) {
            return self.wrong_type(schema, value.get_ref(), span, path);
        }
        match value.get_ref() {
            DeValue::Table(table) => self.table(schema, table, span, path),
            DeValue::Array(items) => {
                if schema["minItems"]
                    .as_u64()
                    .is_some_and(|least| (items.len() as u64) < least)
                {
                    self.report(span, format!("`{path}` must not be empty"), None);
                }
                for (index, item) in items.iter().enumerate() {
                    self.value(
                        &schema["items"],
                        item,
                        item.span(),
                        &format!("{path}[{index}]"),
                    );
                }
            }
            DeValue::String(text) => self.text(schema, text, span, path),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    #[expect(clippy::cast_precision_loss, reason = "limits are far below 2^53")]
                    Ok(number) => self.number(schema, number as f64, span, path),
                    Err(_) => self.report(span, format!("`{path}` is too large a number"), None),
                }
            }
            DeValue::Float(number) => {
                let number = number.as_str().replace('_', "").parse().unwrap_or(f64::NAN);
                self.number(schema, number, span, path);
            }
            DeValue::Boolean(_) | DeValue::Datetime(_) => {}
        }
    }

    fn alternative(
        &mut self,
        alternatives: &[Alternative<'_>],
        value: &Spanned<DeValue<'_>>,
        span: Range<usize>,
        path: &str,
    ) {
        let names: Vec<&str> = alternatives
            .iter()
            .map(|alternative| alternative.name)
            .collect();
        let list = names
            .iter()
            .map(|name| format!("{{ {name} = … }}"))
            .collect::<Vec<_>>()
            .join(", ");
        let help = Some(format!("write one of {list}"));
        let Some(table) = value.get_ref().as_table() else {
            let message = format!(
                "`{path}` must be a table with one key, not {}",
                article(value.get_ref())
            );
            return self.report(span, message, help);
        };
        for (key, inner) in table {
            let name = key.get_ref().as_ref();
            match alternatives
                .iter()
                .find(|alternative| alternative.name == name)
            {
                Some(known) => {
                    self.value(known.schema, inner, inner.span(), &format!("{path}.{name}"))
                }
                None => {
                    let near = nearest(name, names.iter().copied());
                    let help = near
                        .map(|near| format!("did you mean `{near}`?"))
                        .or_else(|| help.clone());
                    self.report(
                        key.span(),
                        format!("unknown key `{name}` in `{path}`"),
                        help,
                    );
                }
            }
        }
        if table.len() != 1 {
            self.report(
                span,
                format!("`{path}` must have exactly one key, not {}", table.len()),
                help,
            );
        }
    }

    fn variant(
        &mut self,
        variants: &[(&str, &str)],
        value: &DeValue<'_>,
        span: Range<usize>,
        path: &str,
    ) {
        let names: Vec<&str> = variants.iter().map(|(name, _)| *name).collect();
        let list = names
            .iter()
            .map(|name| format!("{name:?}"))
            .collect::<Vec<_>>()
            .join(", ");
        match value.as_str() {
            Some(text) if names.contains(&text) => {}
            Some(text) => {
                let help = match nearest(text, names.into_iter()) {
                    Some(near) => format!("did you mean {near:?}? known are {list}"),
                    None => format!("known are {list}"),
                };
                self.report(span, format!("`{path}` cannot be {text:?}"), Some(help));
            }
            None => {
                self.report(
                    span,
                    format!("`{path}` must be one of {list}, not {}", article(value)),
                    None,
                );
            }
        }
    }

    fn wrong_type(&mut self, schema: &Value, value: &DeValue<'_>, span: Range<usize>, path: &str) {
        let wanted = match schema["format"].as_str().and_then(text::expected) {
            Some(expected) => expected.to_owned(),
            None => types(schema)
                .iter()
                .map(|name| type_name(name))
                .collect::<Vec<_>>()
                .join(" or "),
        };
        self.report(
            span,
            format!("`{path}` must be {wanted}, not {}", article(value)),
            None,
        );
    }

    fn text(&mut self, schema: &Value, text: &str, span: Range<usize>, path: &str) {
        let length = text.chars().count() as u64;
        if let Some(format) = schema["format"].as_str()
            && let Some(problem) = text::check(format, text)
        {
            let help = text::expected(format).map(|expected| format!("`{path}` is {expected}"));
            self.report(span, problem, help);
        } else if schema["minLength"]
            .as_u64()
            .is_some_and(|least| length < least)
        {
            self.report(span, format!("`{path}` must not be empty"), None);
        } else if let Some(most) = schema["maxLength"].as_u64().filter(|most| length > *most) {
            self.report(
                span,
                format!("`{path}` has {length} characters, more than {most}"),
                None,
            );
        }
    }

    fn number(&mut self, schema: &Value, number: f64, span: Range<usize>, path: &str) {
        let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        if least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most) {
            return;
        }
        let allowed = match (least, most) {
            (Some(least), Some(most)) => format!("between {least} and {most}"),
            (Some(least), None) => format!("at least {least}"),
            (None, Some(most)) => format!("at most {most}"),
            (None, None) => "a number".to_owned(),
        };
        self.report(
            span,
            format!("`{path}` must be {allowed}, not {number}"),
            None,
        );
    }
}

/// The types that a schema allows, as JSON Schema names them; empty when it allows any.
fn types(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn has_type(schema: &Value, value: &DeValue<'_>) -> bool {
    let types = types(schema);
    types.is_empty()
        || types.iter().any(|name| match *name {
            "object" => value.is_table(),
            "array" => value.is_array(),
            "string" => value.is_str(),
            "boolean" => value.is_bool(),
            "integer" => value.is_integer(),
            "number" => value.is_integer() || value.is_float(),
            _ => false,
        })
}

/// A type of JSON Schema in the words of TOML.
pub(super) fn type_name(name: &str) -> &str {
    match name {
        "object" => "a table",
        "array" => "an array",
        "string" => "a string in quotes",
        "boolean" => "true or false",
        "integer" => "a whole number",
        _ => "a number",
    }
}

fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Table(_) => "a table",
        DeValue::Array(_) => "an array",
        DeValue::String(_) => "a string",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Datetime(_) => "a date",
    }
}

/// A path as the section that a reader finds in the file.
fn section(path: &str) -> String {
    if path.is_empty() {
        return "the file".to_owned();
    }
    let name: String = path.split(['[', ']']).step_by(2).collect();
    if path.contains('[') {
        format!("[[{name}]]")
    } else {
        format!("[{name}]")
    }
}

/// The paths of the tables that have this key.
fn sections_with(schema: &Value, key: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, below) in properties(schema) {
        let (inner, path) = if below["items"]["properties"].is_object() {
            (&below["items"], format!("{name}[0]"))
        } else {
            (below, name.to_owned())
        };
        if inner["properties"].get(key).is_some() {
            found.push(path.clone());
        }
        found.extend(
            sections_with(inner, key)
                .into_iter()
                .map(|deeper| format!("{path}.{deeper}")),
        );
    }
    found
}
