//! What Spot may do and who may do it: the managed policies and the role.

use serde_json::{Map, Value, json};

use super::{
    NamedPolicy, Parameter, Partition, PolicyPurpose, Provider, Resource, RoleSettings,
    TemplateError, TemplateSpec,
    direct::EXTERNAL_ID_PARAMETER,
    parts::{object, reference, substitute},
    spec::MAX_POLICY_VERSION,
};
use crate::policy::{MANAGED_POLICY_MAX_SIZE, MAX_MANAGED_POLICIES_PER_ROLE, PolicyDocument};

/// The parameter that says whether the Elastigroup and Ocean policy is attached: `true` (the default) or `false`.
/// Spot's own template has such a switch, and does not publish its name.
pub const ELASTIGROUP_OCEAN_POLICY_PARAMETER: &str = "IncludeElastigroupOceanPolicy";

/// The parameter that says whether the Cost Intelligence policy is attached and the product switched on: `true` (the
/// default) or `false`.
pub const COST_INTELLIGENCE_POLICY_PARAMETER: &str = "IncludeCostIntelligencePolicy";

/// The parameter that names the version of the policies, 1 to 12 letters and digits. Part of a statement id in every
/// managed policy: a live policy tells which version it is.
pub const POLICY_VERSION_PARAMETER: &str = "PolicyVersion";

/// The parameter that has no meaning but its change: any new value, 1 to 8 letters and digits, makes CloudFormation
/// write the trust policy and the managed policies again.
pub const REPAIR_NONCE_PARAMETER: &str = "RepairNonce";

/// Most characters of a repair nonce.
const MAX_REPAIR_NONCE: usize = 8;

/// Room that the stamp takes in a managed policy: `V`, the version, `R`, the nonce, and `"Sid":"",` in a statement
/// that has no Sid of its own.
const STAMP_SIZE: usize = 1 + MAX_POLICY_VERSION + 1 + MAX_REPAIR_NONCE + r#""Sid":"","#.len();

pub(super) const COST_INTELLIGENCE_CONDITION: &str = "CostIntelligencePolicyIncluded";
const ELASTIGROUP_OCEAN_CONDITION: &str = "ElastigroupOceanPolicyIncluded";

/// The parameters of the policies and the conditions on them.
pub(super) fn parameters(spec: &TemplateSpec) -> (Vec<Parameter>, Vec<(&'static str, Value)>) {
    let mut parameters = Vec::new();
    let mut conditions = Vec::new();
    for policy in &spec.policies {
        let Some((parameter, condition, description)) = switch(&policy.purpose) else {
            continue;
        };
        parameters.push(Parameter {
            name: parameter,
            description,
            default: Some("true".to_owned()),
            allowed_pattern: None,
            allowed_values: &["true", "false"],
            no_echo: false,
        });
        conditions.push((
            condition,
            json!({"Fn::Equals": [reference(parameter), "true"]}),
        ));
    }
    parameters.push(Parameter {
        name: POLICY_VERSION_PARAMETER,
        description: "Version of the policies; part of a statement id in each of them",
        default: Some(spec.policy_version.clone()),
        allowed_pattern: Some("^[a-zA-Z0-9]{1,12}$"),
        allowed_values: &[],
        no_echo: false,
    });
    parameters.push(Parameter {
        name: REPAIR_NONCE_PARAMETER,
        description: "Any new value writes the role's trust policy and the managed policies again",
        default: Some("0".to_owned()),
        allowed_pattern: Some("^[a-zA-Z0-9]{1,8}$"),
        allowed_values: &[],
        no_echo: false,
    });
    (parameters, conditions)
}

/// The managed policies, each document split as needed.
pub(super) fn managed_policies(spec: &TemplateSpec) -> Result<Vec<Resource>, TemplateError> {
    let mut resources = Vec::new();
    for policy in &spec.policies {
        resources.extend(pieces(policy, spec.partition)?);
    }
    if resources.len() > MAX_MANAGED_POLICIES_PER_ROLE {
        return Err(TemplateError::TooManyPolicies {
            count: resources.len(),
            limit: MAX_MANAGED_POLICIES_PER_ROLE,
        });
    }
    Ok(resources)
}

/// The role that Spot assumes, with these managed policies.
pub(super) fn role(spec: &TemplateSpec, policies: &[Resource]) -> Resource {
    let external_id = reference(match spec.provider {
        Provider::Direct => EXTERNAL_ID_PARAMETER,
        Provider::Queue { .. } | Provider::SpotHosted { .. } => "SpotExternalId",
    });
    let trust = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": substitute(format!("SpotAssumeRoleR${{{REPAIR_NONCE_PARAMETER}}}")),
            "Effect": "Allow",
            "Principal": {"AWS": spec.spot_principal.as_str()},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": external_id}}
        }]
    });
    let mut properties = object([
        ("AssumeRolePolicyDocument", trust),
        ("ManagedPolicyArns", references(policies)),
    ]);
    spec.role.write(&mut properties);
    Resource {
        logical_id: "SpotRole".to_owned(),
        resource_type: "AWS::IAM::Role",
        condition: None,
        depends_on: Vec::new(),
        metadata: None,
        retained: false,
        properties,
    }
}

impl RoleSettings {
    /// Adds what is set to the properties of a role.
    pub(super) fn write(&self, properties: &mut Map<String, Value>) {
        if let Some(name) = &self.name {
            properties.insert("RoleName".into(), name.as_str().into());
        }
        if let Some(path) = &self.path {
            properties.insert("Path".into(), path.as_str().into());
        }
        if let Some(boundary) = &self.permissions_boundary {
            let arn = if boundary.contains("${") {
                substitute(boundary.as_str())
            } else {
                boundary.as_str().into()
            };
            properties.insert("PermissionsBoundary".into(), arn);
        }
    }
}

/// References to those of the policies that exist in a stack.
pub(super) fn references(policies: &[Resource]) -> Value {
    let arns = policies.iter().map(|policy| {
        let arn = reference(&policy.logical_id);
        match policy.condition {
            Some(condition) => json!({"Fn::If": [condition, arn, reference("AWS::NoValue")]}),
            None => arn,
        }
    });
    arns.collect()
}

/// A purpose's parameter, condition and the parameter's description.
fn switch(purpose: &PolicyPurpose) -> Option<(&'static str, &'static str, &'static str)> {
    match purpose {
        PolicyPurpose::ElastigroupOcean => Some((
            ELASTIGROUP_OCEAN_POLICY_PARAMETER,
            ELASTIGROUP_OCEAN_CONDITION,
            "Include the Spot policy for Elastigroup and Ocean",
        )),
        PolicyPurpose::CostIntelligence => Some((
            COST_INTELLIGENCE_POLICY_PARAMETER,
            COST_INTELLIGENCE_CONDITION,
            "Include the Spot policy for Cost Intelligence",
        )),
        PolicyPurpose::Extra(_) => None,
    }
}

fn pieces(policy: &NamedPolicy, partition: Partition) -> Result<Vec<Resource>, TemplateError> {
    let failed = |source| TemplateError::Policy {
        purpose: policy.purpose.clone(),
        source,
    };
    // The description never changes: another one would replace the policy.
    let (logical_id, description) = match &policy.purpose {
        PolicyPurpose::ElastigroupOcean => {
            ("SpotManagedPolicy".to_owned(), "Spot.io Account Policy")
        }
        PolicyPurpose::CostIntelligence => (
            "SpotinstCostIntelligencePolicy".to_owned(),
            "Spot.io Cost Intelligence Policy",
        ),
        PolicyPurpose::Extra(name) => (format!("SpotExtraPolicy{name}"), "Spot.io Extra Policy"),
    };
    let mut document = policy.document.to_value();
    if partition != Partition::Aws {
        rewrite_arns(&mut document, partition);
    }
    let document = PolicyDocument::from_value(document).map_err(failed)?;
    let pieces = document
        .split(MANAGED_POLICY_MAX_SIZE - STAMP_SIZE)
        .map_err(failed)?;
    Ok(pieces
        .iter()
        .enumerate()
        .map(|(index, piece)| Resource {
            logical_id: match index {
                0 => logical_id.clone(),
                _ => format!("{logical_id}{}", index + 1),
            },
            resource_type: "AWS::IAM::ManagedPolicy",
            condition: switch(&policy.purpose).map(|(_, condition, _)| condition),
            depends_on: Vec::new(),
            metadata: None,
            retained: false,
            properties: object([
                ("Description", description.into()),
                ("PolicyDocument", stamped(piece)),
            ]),
        })
        .collect())
}

/// The document with policy version and repair nonce in the id of its first statement.
fn stamped(piece: &PolicyDocument) -> Value {
    let mut document = piece.to_value();
    if let Some(first) = document
        .pointer_mut("/Statement/0")
        .and_then(Value::as_object_mut)
    {
        let sid = first.get("Sid").and_then(Value::as_str).unwrap_or_default();
        let stamp = format!("{sid}V${{{POLICY_VERSION_PARAMETER}}}R${{{REPAIR_NONCE_PARAMETER}}}");
        let mut statement = Map::new();
        statement.insert("Sid".into(), substitute(stamp));
        statement.extend(
            std::mem::take(first)
                .into_iter()
                .filter(|(key, _)| key != "Sid"),
        );
        *first = statement;
    }
    document
}

/// Writes ARNs of partition `aws` with another partition: IAM refuses ARNs of a partition that is not its own.
fn rewrite_arns(value: &mut Value, partition: Partition) {
    match value {
        Value::String(text) => {
            if let Some(rest) = text.strip_prefix("arn:aws:") {
                *text = format!("arn:{partition}:{rest}");
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| rewrite_arns(item, partition)),
        Value::Object(map) => map
            .values_mut()
            .for_each(|value| rewrite_arns(value, partition)),
        _ => {}
    }
}
