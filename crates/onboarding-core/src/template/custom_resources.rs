//! The Spot side of an account as custom resources, and the template as a whole.

use serde_json::{Map, Value, json};

use super::{
    Deletion, Omission, Parameter, Provider, Resource, Template, TemplateError, TemplateSpec,
    direct,
    parts::{Output, attribute, object, reference, substitute},
    permissions::{self, COST_INTELLIGENCE_CONDITION},
};

/// The parameter with Spot's API token, in templates for [`Provider::SpotHosted`] only.
pub const TOKEN_PARAMETER: &str = "Token";

/// The account that Spot's hosted Lambdas live in (Spot's StackSet template).
const SPOT_LAMBDA_ACCOUNT: &str = "178579023202";

const COST_INTELLIGENCE_OMITTED: Omission = Omission {
    logical_id: "EnableCostIntelligence",
    reason: "Spot does not publish the name of its Lambda for Cost Intelligence: configure it, use provider queue, \
             or switch the product on in Spot's console",
};

impl Template {
    /// Checks the parts and puts them together.
    ///
    /// # Errors
    /// What CloudFormation or IAM would refuse, or what would not work.
    pub fn new(spec: &TemplateSpec) -> Result<Self, TemplateError> {
        spec.check()?;
        if spec.provider == Provider::Direct {
            return direct::template(spec);
        }
        let (policy_parameters, mut conditions) = permissions::parameters(spec);
        let mut parameters = Vec::new();
        if matches!(spec.provider, Provider::SpotHosted { .. }) {
            parameters.push(Parameter {
                name: TOKEN_PARAMETER,
                description: "The API Token for Spot.io",
                default: None,
                allowed_pattern: Some("^[a-zA-Z0-9]+$"),
                allowed_values: &[],
                no_echo: true,
            });
        }
        parameters.extend(policy_parameters);
        let mut resources = permissions::managed_policies(spec)?;
        conditions.extend(permissions::version_conditions(
            spec.next_version(),
            &resources,
        ));
        let role = permissions::role(spec, &resources);
        let mut omissions = Vec::new();
        let customs = custom_resources(spec, &resources, &mut omissions);
        resources.push(role);
        resources.extend(customs);
        Ok(Self {
            description: spec.description.clone(),
            parameters,
            conditions,
            resources,
            outputs: vec![
                Output::new(
                    "AccountId",
                    "The Account ID for Spot.io",
                    reference("SpotAccount"),
                ),
                Output::new(
                    "ExternalId",
                    "The External ID for Spot.io Role",
                    reference("SpotExternalId"),
                ),
                role_output(),
            ],
            omissions,
            named_role: spec.role.name.is_some(),
        })
    }
}

/// The output that names the role.
pub(super) fn role_output() -> Output {
    Output::new(
        "SpotRoleArn",
        "The Account Role ARN used for Spot.io",
        attribute("SpotRole", "Arn"),
    )
}

fn custom_resources(
    spec: &TemplateSpec,
    policies: &[Resource],
    omissions: &mut Vec<Omission>,
) -> Vec<Resource> {
    let account_id = || reference("AWS::AccountId");
    let spot_account = || reference("SpotAccount");
    let mut account = custom(
        spec,
        ("SpotAccount", "Custom::SpotAccount"),
        "onboarding-stackset-account-lambda",
        object([("AwsAccountId", account_id())]),
    );
    // A policy that IAM refuses fails the stack before anything happens at Spot. `DependsOn` cannot say so: it takes
    // no condition, and a stack may leave policies out. References from Metadata order resources just as well.
    account.metadata = Some(json!({"CreatedAfter": permissions::references(policies)}));
    let external_id = custom(
        spec,
        ("SpotExternalId", "Custom::SpotExternalId"),
        "onboarding-stackset-external-id-lambda",
        object([("SpotAccountId", spot_account())]),
    );
    let mut credentials = custom(
        spec,
        ("SpotLinkedCredentials", "Custom::SpotLinkedCredentials"),
        "spotinst-set-credentials",
        object([
            ("AccountId", spot_account()),
            ("IamRoleArn", attribute("SpotRole", "Arn")),
            ("StackId", reference("AWS::StackId")),
        ]),
    );
    if let Provider::SpotHosted { .. } = spec.provider {
        credentials
            .properties
            .insert("isTokenEncrypted".into(), "false".into());
    }
    let mut resources = vec![account, external_id, credentials];
    if spec.rename {
        let mut renamed = custom(
            spec,
            (
                "RenamedSpotAccountByAlias",
                "Custom::RenamedSpotAccountByAlias",
            ),
            "onboarding-stackset-alias-lambda",
            object([
                ("SpotAccountId", spot_account()),
                ("AwsAccountId", account_id()),
            ]),
        );
        renamed.depends_on = vec!["SpotLinkedCredentials".to_owned()];
        resources.push(renamed);
    }
    if spec.products.cost_intelligence {
        let function = match &spec.provider {
            Provider::Queue { .. } | Provider::Direct => Some(""),
            Provider::SpotHosted {
                cost_intelligence_function,
            } => cost_intelligence_function.as_deref(),
        };
        match function {
            Some(function) => {
                let mut enabled = custom(
                    spec,
                    ("EnableCostIntelligence", "Custom::EnableCostIntelligence"),
                    function,
                    object([("SpotAccountId", spot_account())]),
                );
                enabled.condition = Some(COST_INTELLIGENCE_CONDITION);
                enabled.depends_on = vec!["SpotLinkedCredentials".to_owned()];
                resources.push(enabled);
            }
            None => omissions.push(COST_INTELLIGENCE_OMITTED),
        }
    }
    resources
}

/// A custom resource that `function` answers where Spot hosts the provider.
fn custom(
    spec: &TemplateSpec,
    (logical_id, resource_type): (&str, &'static str),
    function: &str,
    own: Map<String, Value>,
) -> Resource {
    let service_token = match &spec.provider {
        Provider::Queue { topic_arn } => topic_arn.as_str().into(),
        // Its templates have no custom resources.
        Provider::Direct => Value::Null,
        Provider::SpotHosted { .. } => substitute(format!(
            "arn:aws:lambda:${{AWS::Region}}:{SPOT_LAMBDA_ACCOUNT}:function:{function}"
        )),
    };
    let mut properties = object([
        ("ServiceToken", service_token),
        ("ServiceTimeout", spec.service_timeout_seconds.into()),
    ]);
    properties.extend(own);
    if let Provider::SpotHosted { .. } = spec.provider {
        properties.insert("Token".into(), reference(TOKEN_PARAMETER));
    }
    Resource {
        logical_id: logical_id.to_owned(),
        resource_type,
        condition: None,
        depends_on: Vec::new(),
        metadata: None,
        retained: spec.deletion == Deletion::Reconcile,
        properties,
    }
}
