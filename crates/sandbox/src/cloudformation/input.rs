//! Parts that several requests share: templates, parameters, tags, targets, preferences, the stack set's name.

use std::sync::Arc;

use super::errors;
use crate::caller::Caller;
use crate::stack_sets::preferences::Preferences;
use crate::stack_sets::targets::{Filter, Targets};
use crate::stack_sets::{SetKey, StackSet};
use crate::template::{ParameterChoice, Template, required_capabilities};
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::{QueryRequest, Scope};
use crate::world::World;

/// The service principal of StackSets' trusted access and delegation.
pub(super) const STACK_SETS_PRINCIPAL: &str = "member.org.stacksets.cloudformation.amazonaws.com";

/// Most organizational units of one call (API reference, `DeploymentTargets`).
const MAX_UNITS: usize = 50;
const MAX_TAGS: usize = 50;

/// Whose stack sets a call is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// The caller's own.
    Own,
    /// The management account's service-managed ones, by a delegated administrator.
    Delegated,
}

/// Reads `CallAs`.
pub(super) fn call_as(
    world: &World,
    caller: &Caller,
    request: &QueryRequest,
) -> Result<Owner, AwsError> {
    match request.get("CallAs") {
        None | Some("SELF") => Ok(Owner::Own),
        Some("DELEGATED_ADMIN") => {
            let delegated = world
                .organization
                .delegated
                .get(&caller.account)
                .is_some_and(|services| services.contains_key(STACK_SETS_PRINCIPAL));
            if delegated {
                Ok(Owner::Delegated)
            } else {
                Err(AwsError::validation(
                    "Account used is not a delegated administrator",
                ))
            }
        }
        Some(other) => Err(AwsError::validation(format!(
            "1 validation error detected: Value '{other}' at 'callAs' failed to satisfy constraint: Member must satisfy enum value set: [SELF, DELEGATED_ADMIN]"
        ))),
    }
}

/// Whether a caller sees a set.
pub(super) fn visible(world: &World, caller: &Caller, owner: Owner, set: &StackSet) -> bool {
    match owner {
        Owner::Own => set.owner == caller.account,
        Owner::Delegated => set.owner == world.organization.management && set.service_managed,
    }
}

/// The active stack set that `StackSetName` names.
pub(super) fn stack_set(
    world: &World,
    call: &Call,
    request: &QueryRequest,
) -> Result<SetKey, AwsError> {
    let name = request.require("StackSetName")?;
    let owner = call_as(world, &call.caller, request)?;
    world
        .stack_sets
        .iter()
        .find(|(_, set)| {
            set.active
                && *set.home == *call.region
                && visible(world, &call.caller, owner, set)
                && (set.name == name || set.id() == name || set.arn() == name)
        })
        .map(|(key, _)| key)
        .ok_or_else(|| errors::stack_set_not_found(name))
}

/// Trusted access must be on for anything service-managed.
pub(super) fn require_access(world: &World) -> Result<(), AwsError> {
    if world.organization.stack_sets_access() {
        Ok(())
    } else {
        Err(AwsError::validation(
            "You must enable organizations access to operate a service managed stack set",
        ))
    }
}

/// The template of a request; `None` when it uses the previous one.
pub(super) fn template(
    request: &QueryRequest,
    for_set: bool,
) -> Result<Option<Arc<Template>>, AwsError> {
    let body = request.get("TemplateBody").filter(|text| !text.is_empty());
    let url = request.get("TemplateURL").filter(|text| !text.is_empty());
    let previous = request.boolean("UsePreviousTemplate")? == Some(true);
    match (body, url, previous) {
        (Some(body), None, false) => Ok(Some(Arc::new(Template::parse(body)?))),
        (None, Some(url), false) => Err(AwsError::validation(if url.starts_with("https://") {
            "S3 error: The specified bucket does not exist"
        } else {
            "TemplateURL must be a supported URL."
        })),
        (None, None, true) => Ok(None),
        _ if for_set => Err(AwsError::validation(
            "Exactly one of TemplateBody or TemplateUrl must be specified",
        )),
        _ => Err(AwsError::validation(
            "Either Template URL or Template Body must be specified.",
        )),
    }
}

/// Checks that what a template makes has been acknowledged.
pub(super) fn check_capabilities(
    template: &Template,
    acknowledged: &[String],
) -> Result<(), AwsError> {
    let known = [
        "CAPABILITY_IAM",
        "CAPABILITY_NAMED_IAM",
        "CAPABILITY_AUTO_EXPAND",
    ];
    if let Some(other) = acknowledged
        .iter()
        .find(|name| !known.contains(&name.as_str()))
    {
        return Err(AwsError::validation(format!(
            "1 validation error detected: Value '[{other}]' at 'capabilities' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy enum value set: [CAPABILITY_NAMED_IAM, CAPABILITY_AUTO_EXPAND, CAPABILITY_IAM]]"
        )));
    }
    let needed = required_capabilities(template);
    if needed.covered_by(acknowledged) {
        Ok(())
    } else {
        Err(errors::insufficient_capabilities(&needed.names.join(", ")))
    }
}

/// `Parameters` or `ParameterOverrides`: absent, empty, or entries.
pub(super) fn parameters(
    request: &QueryRequest,
    name: &str,
) -> Result<Option<Vec<ParameterChoice>>, AwsError> {
    let Some(entries) = request.structures(name) else {
        return Ok(None);
    };
    entries
        .iter()
        .map(|entry| {
            Ok(ParameterChoice {
                key: entry.require("ParameterKey")?.to_owned(),
                value: entry.get("ParameterValue").map(str::to_owned),
                use_previous: entry.boolean("UsePreviousValue")? == Some(true),
            })
        })
        .collect::<Result<_, AwsError>>()
        .map(Some)
}

/// `Tags`: absent, empty, or entries.
pub(super) fn tags(request: &QueryRequest) -> Result<Option<Vec<(String, String)>>, AwsError> {
    let Some(entries) = request.structures("Tags") else {
        return Ok(None);
    };
    if entries.len() > MAX_TAGS {
        return Err(AwsError::validation(format!(
            "1 validation error detected: Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to {MAX_TAGS}"
        )));
    }
    entries
        .iter()
        .map(|entry| {
            let (key, value) = (entry.require("Key")?, entry.require("Value")?);
            if key.starts_with("aws:") {
                return Err(AwsError::validation(
                    "aws: prefixed tag key names are not allowed for external use.",
                ));
            }
            if key.len() > 128 || value.len() > 256 {
                return Err(AwsError::validation(
                    "tag keys have at most 128 and tag values at most 256 characters",
                ));
            }
            Ok((key.to_owned(), value.to_owned()))
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

/// An operation id or client request token.
pub(super) fn token(request: &QueryRequest, name: &str) -> Result<Option<String>, AwsError> {
    let Some(text) = request.get(name) else {
        return Ok(None);
    };
    let mut bytes = text.bytes();
    let valid = bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && text.len() <= 128;
    if valid {
        Ok(Some(text.to_owned()))
    } else {
        Err(AwsError::validation(format!(
            "1 validation error detected: Value '{text}' at '{name}' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9][-a-zA-Z0-9]*"
        )))
    }
}

/// `Regions`.
pub(super) fn regions(request: &QueryRequest) -> Result<Vec<String>, AwsError> {
    let regions = request.strings("Regions").unwrap_or_default();
    for region in &regions {
        let valid = region
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if region.is_empty() || !valid {
            return Err(AwsError::validation(format!(
                "Region {region} is not valid"
            )));
        }
    }
    Ok(regions)
}

/// `Accounts` or `DeploymentTargets`; neither is an empty target.
pub(super) fn targets(
    world: &World,
    request: &QueryRequest,
    set: &StackSet,
) -> Result<Targets, AwsError> {
    let accounts = accounts(&request.scope())?;
    let Some(scope) = request.structure("DeploymentTargets") else {
        if set.service_managed && !accounts.is_empty() {
            return Err(AwsError::validation(
                "StackSets with SERVICE_MANAGED permission model can only have OrganizationalUnit as target",
            ));
        }
        return Ok(Targets {
            accounts,
            ..Targets::default()
        });
    };
    if !accounts.is_empty() {
        return Err(AwsError::validation(
            "You can specify either Accounts or DeploymentTargets, but not both",
        ));
    }
    let accounts = self::accounts(&scope)?;
    if scope.get("AccountsUrl").is_some() {
        return Err(AwsError::validation(
            "S3 error: The specified bucket does not exist",
        ));
    }
    let ids = scope.strings("OrganizationalUnitIds").unwrap_or_default();
    if set.service_managed && ids.is_empty() {
        return Err(AwsError::validation(
            "StackSets with SERVICE_MANAGED permission model can only have OrganizationalUnit as target",
        ));
    }
    if !set.service_managed && !ids.is_empty() {
        return Err(AwsError::validation(
            "StackSets with SELF_MANAGED permission model can only have accounts as target",
        ));
    }
    if ids.len() > MAX_UNITS {
        return Err(AwsError::validation(format!(
            "1 validation error detected: Value at 'deploymentTargets.organizationalUnitIds' failed to satisfy constraint: Member must have length less than or equal to {MAX_UNITS}"
        )));
    }
    let mut units = Vec::with_capacity(ids.len());
    for id in &ids {
        let unit = world.organization.find_ou(id).ok_or_else(|| {
            AwsError::validation(format!(
                "OrganizationalUnit {id} does not exist in the organization"
            ))
        })?;
        if !units.contains(&unit) {
            units.push(unit);
        }
    }
    let filter = match scope.get("AccountFilterType") {
        None => None,
        Some(text) => Some(Filter::parse(text).ok_or_else(|| {
            AwsError::validation(format!(
                "1 validation error detected: Value '{text}' at 'deploymentTargets.accountFilterType' failed to satisfy constraint: Member must satisfy enum value set: [NONE, INTERSECTION, DIFFERENCE, UNION]"
            ))
        })?),
    };
    match filter {
        Some(Filter::None) if !accounts.is_empty() => Err(AwsError::validation(
            "Accounts can not be specified when AccountFilterType is NONE",
        )),
        Some(Filter::Intersection | Filter::Difference | Filter::Union) if accounts.is_empty() => {
            Err(AwsError::validation(
                "AccountFilterType requires Accounts or AccountsUrl to be specified",
            ))
        }
        _ => Ok(Targets {
            units,
            accounts,
            filter,
        }),
    }
}

fn accounts(scope: &Scope<'_>) -> Result<Vec<crate::ids::AccountId>, AwsError> {
    scope
        .strings("Accounts")
        .unwrap_or_default()
        .iter()
        .map(|text| {
            text.parse().map_err(|()| {
                AwsError::validation(format!(
                    "1 validation error detected: Value '[{text}]' at 'accounts' failed to satisfy constraint: Member must satisfy constraint: [Member must satisfy regular expression pattern: ^[0-9]{{12}}$]"
                ))
            })
        })
        .collect()
}

/// `OperationPreferences`.
pub(super) fn preferences(request: &QueryRequest) -> Result<Preferences, AwsError> {
    let Some(scope) = request.structure("OperationPreferences") else {
        return Ok(Preferences::default());
    };
    let choice = |name: &str, yes: &str, no: &str| match scope.get(name) {
        None => Ok(None),
        Some(text) if text == yes => Ok(Some(true)),
        Some(text) if text == no => Ok(Some(false)),
        Some(text) => Err(AwsError::validation(format!(
            "1 validation error detected: Value '{text}' at 'operationPreferences' failed to satisfy constraint: Member must satisfy enum value set: [{yes}, {no}]"
        ))),
    };
    let preferences = Preferences {
        parallel_regions: choice("RegionConcurrencyType", "PARALLEL", "SEQUENTIAL")?,
        region_order: scope.strings("RegionOrder").unwrap_or_default(),
        tolerance_count: scope.number("FailureToleranceCount")?,
        tolerance_percentage: scope.number("FailureTolerancePercentage")?,
        max_concurrent_count: scope.number("MaxConcurrentCount")?,
        max_concurrent_percentage: scope.number("MaxConcurrentPercentage")?,
        soft: choice(
            "ConcurrencyMode",
            "SOFT_FAILURE_TOLERANCE",
            "STRICT_FAILURE_TOLERANCE",
        )?,
    };
    let refuse = |message: &str| Err(AwsError::validation(message));
    if preferences.tolerance_count.is_some() && preferences.tolerance_percentage.is_some() {
        return refuse(
            "FailureToleranceCount and FailureTolerancePercentage can not both be specified",
        );
    }
    if preferences.max_concurrent_count.is_some() && preferences.max_concurrent_percentage.is_some()
    {
        return refuse("MaxConcurrentCount and MaxConcurrentPercentage can not both be specified");
    }
    if preferences
        .tolerance_percentage
        .is_some_and(|value| value > 100)
        || preferences
            .max_concurrent_percentage
            .is_some_and(|value| !(1..=100).contains(&value))
        || preferences.max_concurrent_count == Some(0)
    {
        return refuse("a value of OperationPreferences is out of range");
    }
    Ok(preferences)
}
