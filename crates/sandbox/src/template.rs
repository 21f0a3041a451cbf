//! CloudFormation templates: reading them (JSON and YAML with short-form functions), checking them the way
//! CloudFormation does before anything is created, and evaluating their functions.
//!
//! Pure: text and values in, values out. Nothing here knows accounts, time or the network.
//! The texts of errors are CloudFormation's own, because clients match on them.

mod document;
mod evaluate;
mod model;
mod order;
mod parameters;
mod summary;

pub(crate) use evaluate::{EvaluateError, Scope, resolve_conditions};
pub(crate) use model::{DeletionPolicy, ResourceSpec, Template};
pub(crate) use order::references;
pub(crate) use parameters::{ParameterChoice, ParameterValues, resolve_parameters};
pub(crate) use summary::required_capabilities;

/// Largest template that may be sent inline, in bytes (CloudFormation quotas, "Template body size in a request").
pub(crate) const MAX_BODY_BYTES: usize = 51_200;

/// A template or its parameters are not acceptable. The text is what CloudFormation answers as `ValidationError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TemplateError(pub(crate) String);

impl TemplateError {
    pub(crate) fn format(detail: impl std::fmt::Display) -> Self {
        Self(format!("Template format error: {detail}"))
    }
}
