//! Writing a template as text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Omission, Template, TemplateError};
use crate::canonical;

/// Most bytes of a template that is sent inline (CloudFormation User Guide, "Understand CloudFormation quotas").
pub const MAX_INLINE_BODY_SIZE: usize = 51_200;

/// How a template is written. The digest is the same in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON without white space: what is sent to AWS.
    CompactJson,
    /// Indented JSON, to be read.
    Json,
    /// YAML with long-form functions (`Fn::Sub:`), to be read.
    Yaml,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CompactJson => "compact JSON",
            Self::Json => "JSON",
            Self::Yaml => "YAML",
        })
    }
}

/// A template as text, with what a stack set needs to know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedTemplate {
    /// The text; its length in bytes is its size.
    pub body: String,
    /// SHA-256 over the template's canonical JSON, in 64 hexadecimal digits: the same for every format, and for what
    /// [`super::template_digest_of`] makes of a body that was read back.
    pub digest: String,
    /// Parameters that have a default, with it. CloudFormation falls back to a default when an update leaves the
    /// parameter out: send every one of them.
    pub parameters: BTreeMap<String, String>,
    /// Parameters whose value is secret and must be given.
    pub secret_parameters: BTreeSet<String>,
    /// Capabilities that creating a stack from it needs.
    pub capabilities: BTreeSet<String>,
    /// What was asked for and is not in it.
    pub omissions: Vec<Omission>,
}

impl Template {
    /// Writes the template. The same template always gives the same text.
    ///
    /// # Errors
    /// [`TemplateError::TooLarge`] when CloudFormation would not take the text inline.
    pub fn render(&self, format: Format) -> Result<RenderedTemplate, TemplateError> {
        let value = self.to_value();
        let body = match format {
            Format::CompactJson => value.to_string(),
            Format::Json => format!("{value:#}\n"),
            Format::Yaml => {
                let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
                serde_saphyr::to_string_with_options(&value, options)
                    .map_err(TemplateError::Yaml)?
            }
        };
        if body.len() > MAX_INLINE_BODY_SIZE {
            return Err(TemplateError::TooLarge {
                format,
                size: body.len(),
                compact: value.to_string().len(),
                limit: MAX_INLINE_BODY_SIZE,
            });
        }
        let with_default = |p: &super::Parameter| Some((p.name.to_owned(), p.default.clone()?));
        let secret = self.parameters.iter().filter(|p| p.no_echo);
        let capability = if self.named_role {
            "CAPABILITY_NAMED_IAM"
        } else {
            "CAPABILITY_IAM"
        };
        Ok(RenderedTemplate {
            body,
            digest: canonical::digest(&value),
            parameters: self.parameters.iter().filter_map(with_default).collect(),
            secret_parameters: secret.map(|p| p.name.to_owned()).collect(),
            capabilities: BTreeSet::from([capability.to_owned()]),
            omissions: self.omissions.clone(),
        })
    }
}
