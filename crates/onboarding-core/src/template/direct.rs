//! What a template has instead of custom resources when the runner enrolls accounts by itself: the external ID as a
//! parameter. Without one there is no role, so that nothing ever trusts Spot without an external ID.

use serde_json::{Value, json};

use super::{
    Parameter, Resource, Template, TemplateError, TemplateSpec,
    body::parse_body,
    custom_resources::role_output,
    parts::{Output, reference},
    permissions,
};

/// The parameter with the external ID of the account; empty by default, and each stack instance overrides it.
pub const EXTERNAL_ID_PARAMETER: &str = "ExternalId";

/// Whether the stack was given an external ID.
const EXTERNAL_ID_CONDITION: &str = "ExternalIdGiven";

/// The template of a specification for [`super::Provider::Direct`], which was checked.
pub(super) fn template(spec: &TemplateSpec) -> Result<Template, TemplateError> {
    let (policy_parameters, mut conditions) = permissions::parameters(spec);
    let mut parameters = vec![Parameter {
        name: EXTERNAL_ID_PARAMETER,
        description: "The external ID that Spot has made for this account; without it there is no role",
        default: Some(String::new()),
        allowed_pattern: Some("^[a-zA-Z0-9_+=,.@:/-]*$"),
        allowed_values: &[],
        no_echo: false,
    }];
    parameters.extend(policy_parameters);
    let empty = json!({"Fn::Equals": [reference(EXTERNAL_ID_PARAMETER), ""]});
    conditions.push((EXTERNAL_ID_CONDITION, json!({"Fn::Not": [empty]})));
    let mut resources = permissions::managed_policies(spec)?;
    conditions.extend(permissions::version_conditions(
        spec.next_version(),
        &resources,
    ));
    let role = permissions::role(spec, &resources);
    resources.push(Resource {
        condition: Some(EXTERNAL_ID_CONDITION),
        ..role
    });
    let external_id = Output::new(
        "ExternalId",
        "The External ID for Spot.io Role",
        reference(EXTERNAL_ID_PARAMETER),
    );
    Ok(Template {
        description: spec.description.clone(),
        parameters,
        conditions,
        resources,
        outputs: [external_id, role_output()]
            .map(|output| output.when(EXTERNAL_ID_CONDITION))
            .into(),
        omissions: Vec::new(),
        named_role: true,
    })
}

/// Whether a template is one of the provider `direct`: Spot's role with the external ID as a parameter, and no custom
/// resource. Text that is no template is not.
#[must_use]
pub fn is_direct(body: &str) -> bool {
    let Ok(template) = parse_body(body) else {
        return false;
    };
    let resources = template.get("Resources").and_then(Value::as_object);
    let kind = |resource: &Value| {
        let kind = resource.get("Type").and_then(Value::as_str);
        kind.map(str::to_owned).unwrap_or_default()
    };
    template
        .get("Parameters")
        .is_some_and(|parameters| parameters.get(EXTERNAL_ID_PARAMETER).is_some())
        && resources.is_some_and(|resources| {
            resources
                .get("SpotRole")
                .is_some_and(|role| kind(role) == "AWS::IAM::Role")
                && resources
                    .values()
                    .all(|resource| !kind(resource).starts_with("Custom::"))
        })
}
