//! What Spot may do and who may do it: the managed policies and the role.

use serde_json::{Map, Value, json};

use super::version::PolicyVersion;
use super::{
    Parameter, Partition, PolicyPurpose, Provider, Resource, RoleSettings, TemplateError,
    TemplateSpec,
    direct::EXTERNAL_ID_PARAMETER,
    parts::{object, reference, substitute},
    spec::MAX_POLICY_VERSION,
};
use crate::policy::{
    MANAGED_POLICY_MAX_SIZE, MAX_MANAGED_POLICIES_PER_ROLE, PolicyDocument, PolicyError,
};

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

/// Room for the document itself in a managed policy, in characters.
pub(super) const ROOM: usize = MANAGED_POLICY_MAX_SIZE - STAMP_SIZE;

pub(super) const COST_INTELLIGENCE_CONDITION: &str = "CostIntelligencePolicyIncluded";
const ELASTIGROUP_OCEAN_CONDITION: &str = "ElastigroupOceanPolicyIncluded";

/// Whether a stack is to have the version of the policies that is being rolled out.
pub(super) const NEXT_CONDITION: &str = "PolicyVersionIsNext";
const CURRENT_CONDITION: &str = "PolicyVersionIsCurrent";

/// Which of two versions has a managed policy that the other does without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Current,
    Next,
}

/// The conditions of managed policies that only one version has: for each purpose, the current one's and the next one's.
const ONE_SIDED: [(Option<&str>, [&str; 2]); 3] = [
    (
        Some(ELASTIGROUP_OCEAN_CONDITION),
        [
            "ElastigroupOceanPolicyIncludedCurrent",
            "ElastigroupOceanPolicyIncludedNext",
        ],
    ),
    (
        Some(COST_INTELLIGENCE_CONDITION),
        [
            "CostIntelligencePolicyIncludedCurrent",
            "CostIntelligencePolicyIncludedNext",
        ],
    ),
    (None, [CURRENT_CONDITION, NEXT_CONDITION]),
];

/// Which version a managed policy with this condition is of, when it is of one only.
pub(super) fn side(condition: &str) -> Option<Side> {
    let mut all = ONE_SIDED.iter();
    all.find_map(|(_, [current, next])| match condition {
        _ if condition == *current => Some(Side::Current),
        _ if condition == *next => Some(Side::Next),
        _ => None,
    })
}

fn one_sided(purpose: &PolicyPurpose, side: Side) -> &'static str {
    let included = switch(purpose).map(|(_, condition, _)| condition);
    let mut all = ONE_SIDED.iter();
    let names = all.find(|(condition, _)| *condition == included);
    match (names, side) {
        (Some((_, [current, _])), Side::Current) => current,
        (Some((_, [_, next])), Side::Next) => next,
        (None, _) => NEXT_CONDITION,
    }
}

/// The conditions that tell the versions apart, as far as the managed policies need them.
pub(super) fn version_conditions(
    next: Option<&str>,
    policies: &[Resource],
) -> Vec<(&'static str, Value)> {
    let Some(next) = next else { return Vec::new() };
    let is_next = json!({"Fn::Equals": [reference(POLICY_VERSION_PARAMETER), next]});
    let mut conditions = vec![(NEXT_CONDITION, is_next)];
    let is_used = |name: &str| {
        let mut used = policies.iter().filter_map(|policy| policy.condition);
        used.any(|condition| condition == name)
    };
    let condition = |name: &str| json!({"Condition": name});
    let not_next = json!({"Fn::Not": [condition(NEXT_CONDITION)]});
    for (included, names) in ONE_SIDED {
        for (name, holds) in names
            .into_iter()
            .zip([&not_next, &condition(NEXT_CONDITION)])
        {
            if name == NEXT_CONDITION || !is_used(name) {
                continue;
            }
            let holds = match included {
                Some(included) => json!({"Fn::And": [condition(included), holds]}),
                None => holds.clone(),
            };
            conditions.push((name, holds));
        }
    }
    conditions
}

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
        default: Some(match &spec.pinned {
            Some(pinned) => pinned.current.name.clone(),
            None => spec.policy_version.clone(),
        }),
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

/// The managed policies: those of the pinned versions, or else the documents, each split as needed. What a pinned version has
/// nothing for (a product that the profile did not have then) is as configured.
pub(super) fn managed_policies(spec: &TemplateSpec) -> Result<Vec<Resource>, TemplateError> {
    let configured =
        PolicyVersion::new(Some(&spec.policy_version), &spec.policies, spec.partition)?;
    let current = spec.pinned.as_ref().map(|pinned| &pinned.current);
    let next = spec.pinned.as_ref().and_then(|pinned| pinned.next.as_ref());
    let mut resources = Vec::new();
    let mut counts = [0, 0];
    for policy in &spec.policies {
        let purpose = &policy.purpose;
        let of = |version: Option<&'_ PolicyVersion>| {
            let pieces = version.and_then(|version| version.pieces(purpose));
            pieces
                .or_else(|| configured.pieces(purpose))
                .unwrap_or_default()
                .to_vec()
        };
        let now = of(current);
        let then = next.map_or_else(|| now.clone(), |next| of(Some(next)));
        for (count, pieces) in counts.iter_mut().zip([&now, &then]) {
            *count += pieces.iter().flatten().count();
        }
        for (index, id) in logical_ids(purpose).enumerate() {
            let piece = |pieces: &[Option<PolicyDocument>]| pieces.get(index).cloned().flatten();
            resources.extend(managed_policy(purpose, id, piece(&now), piece(&then)));
        }
    }
    let count = counts.into_iter().max().unwrap_or_default();
    if count > MAX_MANAGED_POLICIES_PER_ROLE {
        return Err(TemplateError::TooManyPolicies {
            count,
            limit: MAX_MANAGED_POLICIES_PER_ROLE,
        });
    }
    Ok(resources)
}

/// One managed policy, as the current version and the next one have it; none when neither does.
fn managed_policy(
    purpose: &PolicyPurpose,
    logical_id: String,
    now: Option<PolicyDocument>,
    then: Option<PolicyDocument>,
) -> Option<Resource> {
    let included = switch(purpose).map(|(_, condition, _)| condition);
    let (condition, document) = match (now, then) {
        (None, None) => return None,
        (Some(now), Some(then)) if now == then => (included, stamped(&now)),
        (Some(now), Some(then)) => {
            let choice = json!({"Fn::If": [NEXT_CONDITION, stamped(&then), stamped(&now)]});
            (included, choice)
        }
        (Some(now), None) => (Some(one_sided(purpose, Side::Current)), stamped(&now)),
        (None, Some(then)) => (Some(one_sided(purpose, Side::Next)), stamped(&then)),
    };
    // The description never changes: another one would replace the policy.
    let description = match purpose {
        PolicyPurpose::ElastigroupOcean => "Spot.io Account Policy",
        PolicyPurpose::CostIntelligence => "Spot.io Cost Intelligence Policy",
        PolicyPurpose::Extra(_) => "Spot.io Extra Policy",
    };
    Some(Resource {
        logical_id,
        resource_type: "AWS::IAM::ManagedPolicy",
        condition,
        depends_on: Vec::new(),
        metadata: None,
        retained: false,
        properties: object([
            ("Description", description.into()),
            ("PolicyDocument", document),
        ]),
    })
}

/// The logical ids of a purpose's managed policies, as many as a role can have.
pub(super) fn logical_ids(purpose: &PolicyPurpose) -> impl Iterator<Item = String> {
    let first = match purpose {
        PolicyPurpose::ElastigroupOcean => "SpotManagedPolicy".to_owned(),
        PolicyPurpose::CostIntelligence => "SpotinstCostIntelligencePolicy".to_owned(),
        PolicyPurpose::Extra(name) => format!("SpotExtraPolicy{name}"),
    };
    (1..=MAX_MANAGED_POLICIES_PER_ROLE + 1).map(move |number| match number {
        1 => first.clone(),
        number => format!("{first}{number}"),
    })
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

/// A document as it is written in a partition.
pub(super) fn in_partition(
    document: &PolicyDocument,
    partition: Partition,
) -> Result<PolicyDocument, PolicyError> {
    if partition == Partition::Aws {
        return Ok(document.clone());
    }
    let mut value = document.to_value();
    rewrite_arns(&mut value, partition);
    PolicyDocument::from_value(value)
}

/// The document with policy version and repair nonce in the id of its first statement.
fn stamped(piece: &PolicyDocument) -> Value {
    let mut document = piece.to_value();
    if let Some(first) = document
        .pointer_mut("/Statement/0")
        .and_then(Value::as_object_mut)
    {
        let sid = first.get("Sid").and_then(Value::as_str).unwrap_or_default();
        let stamp = format!("{sid}{}", stamp());
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

/// What is added to the id of the first statement.
fn stamp() -> String {
    format!("V${{{POLICY_VERSION_PARAMETER}}}R${{{REPAIR_NONCE_PARAMETER}}}")
}

/// An id without the stamp; none when it has none.
pub(super) fn without_stamp(sid: &str) -> Option<&str> {
    sid.strip_suffix(&stamp())
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
