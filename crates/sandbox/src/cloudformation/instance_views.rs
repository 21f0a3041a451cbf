//! ListStackInstances, DescribeStackInstance, ListStackSetAutoDeploymentTargets.

use std::ops::Bound;

use super::paging::{self, Page};
use super::{errors, input, set_views};
use crate::ids::AccountId;
use crate::organizations::OuIndex;
use crate::stack_sets::StackSet;
use crate::stack_sets::model::{Instance, InstanceKey, RegionIndex};
use crate::stacks::{Stack, Status};
use crate::template::ParameterValues;
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

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
    match instance.drift {
        Some((_, true)) => "DRIFTED",
        Some((_, false)) => "IN_SYNC",
        None => "NOT_CHECKED",
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
        .optional(
            "LastDriftCheckTimestamp",
            instance.drift.map(|(checked, _)| checked),
        )
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
