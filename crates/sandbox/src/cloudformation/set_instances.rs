//! Stack instances: their creation, update and deletion, and what is known about them.

use std::ops::Bound;

use super::input;
use super::paging::{self, Page};
use super::{errors, set_views, sets};
use crate::ids::AccountId;
use crate::organizations::OuIndex;
use crate::stack_sets::model::{Instance, InstanceKey, OperationAction, Overrides, RegionIndex};
use crate::stack_sets::targets::{Filter, Targets};
use crate::stack_sets::{self, NewOperation, SetKey, StackSet};
use crate::stacks::{Stack, Status};
use crate::template::{ParameterChoice, ParameterValues, resolve_parameters};
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

/// Targets, Regions and the operation id that all three operations need.
struct Common {
    key: SetKey,
    id: Option<String>,
    targets: Targets,
    regions: Vec<String>,
}

fn common(world: &World, call: &Call, request: &QueryRequest) -> Result<Common, AwsError> {
    let key = input::stack_set(world, call, request)?;
    let set = &world.stack_sets[key];
    if set.service_managed {
        input::require_access(world)?;
    }
    let targets = input::targets(world, request, set)?;
    if targets == Targets::default() {
        return Err(AwsError::validation(
            "Either Accounts or DeploymentTargets must be specified",
        ));
    }
    let regions = input::regions(request)?;
    if regions.is_empty() {
        return Err(AwsError::validation("Regions must be specified"));
    }
    let id = input::token(request, "OperationId")?;
    Ok(Common {
        key,
        id,
        targets,
        regions,
    })
}

/// `ParameterOverrides`: absent keeps what is, empty removes all, entries say what remains.
fn overrides(request: &QueryRequest, set: &StackSet) -> Result<Overrides, AwsError> {
    let Some(choices) = input::parameters(request, "ParameterOverrides")? else {
        return Ok(Overrides::Keep);
    };
    // The values are checked as if the set itself had them.
    let mut all: Vec<ParameterChoice> = choices
        .iter()
        .filter(|choice| !(choice.use_previous && choice.value.is_none()))
        .cloned()
        .collect();
    for key in set.generation.parameters.keys() {
        if !choices
            .iter()
            .any(|choice| choice.key == *key && !choice.use_previous)
        {
            all.retain(|choice| choice.key != *key);
            all.push(ParameterChoice {
                key: key.clone(),
                value: None,
                use_previous: true,
            });
        }
    }
    let unknown = choices
        .iter()
        .find(|choice| !set.generation.parameters.contains_key(&choice.key));
    if let Some(choice) = unknown {
        return Err(AwsError::validation(format!(
            "Parameter Overrides: [{}] do not exist in the stack set",
            choice.key
        )));
    }
    if let Some(choice) = choices
        .iter()
        .find(|choice| choice.use_previous && choice.value.is_some())
    {
        return Err(AwsError::validation(format!(
            "Invalid input for parameter key {}. Cannot specify usePreviousValue as true and non empty value for a parameter",
            choice.key
        )));
    }
    resolve_parameters(
        &set.generation.template.parameters,
        &all,
        &set.generation.parameters,
    )?;
    let mut values = ParameterValues::new();
    let mut keep = Vec::new();
    for choice in choices {
        match choice.value {
            Some(value) => {
                values.insert(choice.key, value.into());
            }
            None => keep.push(choice.key),
        }
    }
    Ok(Overrides::Set(values, keep))
}

/// CreateStackInstances.
pub(super) fn create(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let common = common(world, call, request)?;
    let targets = &common.targets;
    if targets.filter == Some(Filter::Union) {
        return Err(AwsError::validation(
            "AccountFilterType UNION is not supported for CreateStackInstances",
        ));
    }
    if !targets.units.is_empty() && !targets.accounts.is_empty() && targets.filter.is_none() {
        return Err(AwsError::validation(
            "AccountFilterType must be specified when both OrganizationalUnitIds and Accounts are specified",
        ));
    }
    submit(world, request, common, OperationAction::Create, None)
}

/// UpdateStackInstances.
pub(super) fn update(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let common = common(world, call, request)?;
    let set = &world.stack_sets[common.key];
    let listed =
        common.targets.units.is_empty() || common.targets.filter == Some(Filter::Intersection);
    for account in common.targets.accounts.iter().filter(|_| listed) {
        for region in &common.regions {
            let known = set
                .known_region(region)
                .is_some_and(|region| set.instances.contains_key(&(*account, region)));
            if !known {
                return Err(errors::stack_instance_not_found(
                    &set.id(),
                    &account.to_string(),
                    region,
                ));
            }
        }
    }
    submit(world, request, common, OperationAction::Update, None)
}

/// DeleteStackInstances.
pub(super) fn delete(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let common = common(world, call, request)?;
    let Some(retain) = request.boolean("RetainStacks")? else {
        return Err(AwsError::validation(
            "1 validation error detected: Value null at 'retainStacks' failed to satisfy constraint: Member must not be null",
        ));
    };
    submit(
        world,
        request,
        common,
        OperationAction::Delete,
        Some(retain),
    )
}

fn submit(
    world: &mut World,
    request: &QueryRequest,
    common: Common,
    action: OperationAction,
    retain: Option<bool>,
) -> Result<QueryReply, AwsError> {
    let set = &mut world.stack_sets[common.key];
    let overrides = overrides(request, set)?;
    let target_regions = common.regions.iter().map(|name| set.region(name)).collect();
    let operation = NewOperation {
        id: common.id,
        action,
        preferences: input::preferences(request)?,
        retain,
        targets: common.targets,
        target_regions,
        overrides,
        whole_set: false,
    };
    let id = stack_sets::submit(world, common.key, operation)?;
    Ok(sets::operation_id(&id))
}

/// What a ListStackInstances call wants to see.
struct Wanted {
    account: Option<AccountId>,
    region: Option<RegionIndex>,
    detailed: Option<String>,
    operation: Option<String>,
    drift: Option<String>,
}

impl Wanted {
    fn fits(&self, set: &StackSet, key: &InstanceKey, instance: &Instance) -> bool {
        self.account.is_none_or(|account| account == key.0)
            && self.region.is_none_or(|region| region == key.1)
            && self
                .detailed
                .as_deref()
                .is_none_or(|wanted| wanted == instance.detailed.as_str())
            && self
                .operation
                .as_deref()
                .is_none_or(|wanted| wanted == set.operations[instance.last_operation as usize].id)
            && self
                .drift
                .as_deref()
                .is_none_or(|wanted| wanted == drift(instance))
    }
}

fn drift(instance: &Instance) -> &'static str {
    if instance.drift_checked.is_some() {
        "IN_SYNC"
    } else {
        "NOT_CHECKED"
    }
}

/// ListStackInstances.
pub(super) fn list(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let key = input::stack_set(world, call, request)?;
    let set = &world.stack_sets[key];
    let mut wanted = Wanted {
        account: None,
        region: None,
        detailed: None,
        operation: None,
        drift: None,
    };
    let mut nothing = false;
    if let Some(text) = request.get("StackInstanceAccount") {
        wanted.account = Some(text.parse().map_err(|()| {
            AwsError::validation("Value at 'stackInstanceAccount' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[0-9]{12}$")
        })?);
    }
    if let Some(text) = request.get("StackInstanceRegion") {
        wanted.region = set.known_region(text);
        nothing = wanted.region.is_none();
    }
    let mut selection = String::new();
    for filter in request.structures("Filters").unwrap_or_default() {
        let (name, value) = (
            filter.require("Name")?,
            filter.require("Values")?.to_owned(),
        );
        selection.push_str(&format!(" {name}={value}"));
        match name {
            "DETAILED_STATUS" => wanted.detailed = Some(value),
            "LAST_OPERATION_ID" => wanted.operation = Some(value),
            "DRIFT_STATUS" => wanted.drift = Some(value),
            _ => {
                return Err(AwsError::validation(
                    "Member must satisfy enum value set: [LAST_OPERATION_ID, DETAILED_STATUS, DRIFT_STATUS]",
                ));
            }
        }
    }
    let page = Page::of(request, &format!("instances {}{selection}", set.uuid))?;
    let after = page.after.as_deref().and_then(|text| {
        let (account, region) = text.split_once('/')?;
        Some((account.parse().ok()?, RegionIndex(region.parse().ok()?)))
    });
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let range: Box<dyn Iterator<Item = (&InstanceKey, &Instance)>> = match (after, wanted.account) {
        (None, Some(account)) => Box::new(
            set.instances
                .range((account, RegionIndex(0))..=(account, RegionIndex(u16::MAX))),
        ),
        _ => Box::new(set.instances.range((start, Bound::Unbounded))),
    };
    let mut found = range.filter(|(key, instance)| !nothing && wanted.fits(set, key, instance));
    let mut last = None;
    let mut xml = Xml::new();
    xml.list(
        "Summaries",
        found.by_ref().take(page.size),
        |xml, (key, instance)| {
            last = Some(format!("{}/{}", key.0, key.1.0));
            summary(xml, world, set, *key, instance);
        },
    );
    let more = found.next().is_some();
    page.next(&mut xml, last.filter(|_| more));
    Ok(xml.into())
}

fn summary(xml: &mut Xml, world: &World, set: &StackSet, key: InstanceKey, instance: &Instance) {
    let keeps = world.scenario.stack_sets.failed_instance_keeps_stack_id;
    let stack = instance
        .stack
        .map(|stack| &world.stacks[stack])
        .filter(|stack| keeps || stack.status != Status::DeleteComplete);
    xml.text("StackSetId", set.id())
        .text("Region", set.region_name(key.1))
        .text("Account", key.0)
        .optional("StackId", stack.map(Stack::id))
        .text("Status", instance.status.as_str())
        .optional("StatusReason", instance.reason.as_deref())
        .element("StackInstanceStatus", |xml| {
            xml.text("DetailedStatus", instance.detailed.as_str());
        })
        .text("OrganizationalUnitId", unit_id(world, instance.unit))
        .text("DriftStatus", drift(instance))
        .optional("LastDriftCheckTimestamp", instance.drift_checked)
        .text(
            "LastOperationId",
            &set.operations[instance.last_operation as usize].id,
        );
}

/// The id of a targeted unit; empty when there is none.
pub(super) fn unit_id(world: &World, unit: Option<OuIndex>) -> &str {
    unit.map_or("", |unit| &world.organization.ou(unit).id)
}

/// DescribeStackInstance.
pub(super) fn describe(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let key = input::stack_set(world, call, request)?;
    let set = &world.stack_sets[key];
    let (account, region) = (
        request.require("StackInstanceAccount")?,
        request.require("StackInstanceRegion")?,
    );
    let found = account.parse().ok().zip(set.known_region(region));
    let found = found.and_then(|key| Some((key, set.instances.get(&key)?)));
    let (key, instance) =
        found.ok_or_else(|| errors::stack_instance_not_found(&set.id(), account, region))?;
    let mut xml = Xml::new();
    xml.element("StackInstance", |xml| {
        summary(xml, world, set, key, instance);
        let none = ParameterValues::new();
        let overrides = instance.overrides.as_deref().unwrap_or(&none);
        set_views::parameters(xml, "ParameterOverrides", set, overrides);
    });
    Ok(xml.into())
}

/// ListStackSetAutoDeploymentTargets.
pub(super) fn auto_deployment_targets(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let key = input::stack_set(world, call, request)?;
    let set = &world.stack_sets[key];
    let page = Page::of(request, &format!("targets {}", set.uuid))?;
    let enabled = set
        .auto_deployment
        .as_ref()
        .is_some_and(|auto| auto.enabled);
    let targets: Vec<_> = set.deployed.iter().filter(|_| enabled).collect();
    let mut xml = Xml::new();
    paging::list(
        &mut xml,
        &page,
        "Summaries",
        &targets,
        |xml, (unit, regions)| {
            xml.text("OrganizationalUnitId", &world.organization.ou(**unit).id)
                .strings(
                    "Regions",
                    regions.iter().map(|region| set.region_name(*region)),
                );
        },
    );
    if page.start() + page.size >= targets.len() {
        // This listing ends with an empty token instead of none.
        xml.text("NextToken", "");
    }
    Ok(xml.into())
}
