//! GetTemplateSummary, ValidateTemplate, GetTemplate.

use std::sync::Arc;

use super::plain;
use super::{errors, input};
use crate::template::{Template, required_capabilities};
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

fn capabilities(xml: &mut Xml, template: &Template) {
    let needed = required_capabilities(template);
    if !needed.names.is_empty() {
        xml.strings("Capabilities", &needed.names)
            .optional("CapabilitiesReason", needed.reason);
    }
    xml.strings("DeclaredTransforms", &template.transforms);
}

/// GetTemplateSummary of a body, a stack or a stack set.
pub(super) fn summary(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let given = ["TemplateBody", "TemplateURL", "StackName", "StackSetName"]
        .iter()
        .filter(|name| request.get(name).is_some_and(|value| !value.is_empty()))
        .count();
    if given != 1 {
        return Err(AwsError::validation(
            "Exactly one of TemplateBody, TemplateURL, StackName or StackSetName must be specified",
        ));
    }
    let template: Arc<Template> = if request.get("StackSetName").is_some() {
        let key = input::stack_set(world, call, request)?;
        world.stack_sets[key].generation.template.clone()
    } else if let Some(name) = request.get("StackName") {
        let key = plain::find(world, call, name)?;
        world.stacks[key].generation.template.clone()
    } else {
        input::template(request, false)?.ok_or_else(|| {
            AwsError::validation("Either Template URL or Template Body must be specified.")
        })?
    };
    let mut xml = Xml::new();
    xml.list("Parameters", &template.parameters, |xml, spec| {
        xml.text("ParameterKey", &spec.key)
            .optional("DefaultValue", spec.default.as_deref())
            .text("ParameterType", &spec.kind)
            .text("NoEcho", spec.no_echo)
            .optional("Description", spec.description.as_deref())
            .element("ParameterConstraints", |xml| {
                if !spec.allowed_values.is_empty() {
                    xml.strings("AllowedValues", &spec.allowed_values);
                }
            });
    });
    xml.optional("Description", template.description.as_deref());
    capabilities(&mut xml, &template);
    let mut kinds: Vec<&str> = template
        .resources
        .iter()
        .map(|resource| &*resource.kind)
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    xml.strings("ResourceTypes", kinds)
        .optional("Version", template.version.as_deref())
        .optional("Metadata", template.metadata.as_ref());
    Ok(xml.into())
}

/// ValidateTemplate: syntax only.
pub(super) fn validate(request: &QueryRequest) -> Result<QueryReply, AwsError> {
    let Some(template) = input::template(request, false)? else {
        return Err(AwsError::validation(
            "Either Template URL or Template Body must be specified.",
        ));
    };
    let mut xml = Xml::new();
    xml.list("Parameters", &template.parameters, |xml, spec| {
        xml.text("ParameterKey", &spec.key)
            .optional("DefaultValue", spec.default.as_deref())
            .text("NoEcho", spec.no_echo)
            .optional("Description", spec.description.as_deref());
    });
    xml.optional("Description", template.description.as_deref());
    capabilities(&mut xml, &template);
    Ok(xml.into())
}

/// GetTemplate.
pub(super) fn get(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let name = request.require("StackName")?;
    let key =
        plain::find(world, call, name).map_err(|_| errors::stack_with_id_does_not_exist(name))?;
    let mut xml = Xml::new();
    xml.text("TemplateBody", &world.stacks[key].generation.template.body)
        .strings("StagesAvailable", ["Original", "Processed"]);
    Ok(xml.into())
}
