//! What CloudFormation reads in a template, before it is used.

use crate::{Aws, AwsError, ErrorClass};

/// The largest template that can be sent inline, in bytes (CloudFormation User Guide, "Quotas").
pub const LARGEST_TEMPLATE: usize = 51_200;

/// A template as CloudFormation reads it (API reference, GetTemplateSummary).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateSummary {
    /// Its description.
    pub description: Option<String>,
    /// Its parameters, in AWS's order.
    pub parameters: Vec<TemplateParameter>,
    /// The capabilities that it needs.
    pub capabilities: Vec<String>,
    /// The types of its resources.
    pub resource_types: Vec<String>,
    /// The transforms that it declares; service-managed stack sets allow none.
    pub transforms: Vec<String>,
}

/// A parameter of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateParameter {
    /// Its name.
    pub key: String,
    /// Its type (`String`, `Number`, …).
    pub kind: Option<String>,
    /// Its default.
    pub default: Option<String>,
    /// Whether its value reads back as `****`.
    pub no_echo: bool,
}

impl Aws {
    /// Lets CloudFormation read a template. Nothing is created.
    ///
    /// # Errors
    /// As any call; [`ErrorClass::Invalid`] when the template is too large or CloudFormation refuses it.
    pub async fn template_summary(&self, body: &str) -> Result<TemplateSummary, AwsError> {
        const OPERATION: &str = "cloudformation:GetTemplateSummary";
        check_size(OPERATION, body)?;
        let output = self
            .governed
            .call(OPERATION, || {
                self.clients
                    .cloudformation()
                    .get_template_summary()
                    .template_body(body)
                    .call_as(self.call_as.to_sdk())
                    .send()
            })
            .await?;
        Ok(TemplateSummary {
            description: output.description,
            parameters: output
                .parameters
                .unwrap_or_default()
                .into_iter()
                .map(|parameter| TemplateParameter {
                    key: parameter.parameter_key.unwrap_or_default(),
                    kind: parameter.parameter_type,
                    default: parameter.default_value,
                    no_echo: parameter.no_echo.unwrap_or(false),
                })
                .collect(),
            capabilities: output
                .capabilities
                .unwrap_or_default()
                .iter()
                .map(|capability| capability.as_str().to_owned())
                .collect(),
            resource_types: output.resource_types.unwrap_or_default(),
            transforms: output.declared_transforms.unwrap_or_default(),
        })
    }
}

/// Refuses what CloudFormation would refuse with a less helpful text.
pub(crate) fn check_size(operation: &'static str, body: &str) -> Result<(), AwsError> {
    if body.len() <= LARGEST_TEMPLATE {
        return Ok(());
    }
    Err(AwsError::new(
        operation,
        ErrorClass::Invalid,
        format!(
            "the template has {} bytes and CloudFormation takes {LARGEST_TEMPLATE} inline; render it as compact JSON \
             or shorten its policies",
            body.len()
        ),
    ))
}
