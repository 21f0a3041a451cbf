//! DescribeStackSet, ListStackSets.

use super::input;
use super::paging::{self, Page};
use crate::stack_sets::StackSet;
use crate::stack_sets::model::SetDrift;
use crate::template::ParameterValues;
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

/// DescribeStackSet, which sees deleted sets by their id.
pub(super) fn describe(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let set = match input::stack_set(world, call, request) {
        Ok(key) => &world.stack_sets[key],
        Err(error) => {
            let name = request.require("StackSetName")?;
            let owner = input::call_as(world, &call.caller, request)?;
            let found = world.stack_sets.iter().find(|(_, set)| {
                set.id() == name
                    && *set.home == *call.region
                    && input::visible(world, &call.caller, owner, set)
            });
            found.map(|(_, set)| set).ok_or(error)?
        }
    };
    let mut xml = Xml::new();
    xml.element("StackSet", |xml| {
        xml.text("StackSetName", &set.name)
            .text("StackSetId", set.id())
            .text("StackSetARN", set.arn())
            .optional("Description", set.description.as_deref())
            .text("Status", status(set))
            .text("TemplateBody", &set.generation.template.body);
        parameters(xml, "Parameters", set, &set.generation.parameters);
        xml.strings("Capabilities", &*set.generation.capabilities);
        tags(xml, &set.generation.tags);
        xml.optional("AdministrationRoleARN", set.administration_role.as_deref())
            .text("ExecutionRoleName", &set.execution_role);
        summary(xml, set);
        xml.element("StackSetDriftDetectionDetails", |xml| {
            let Some(drift) = set.drift else {
                xml.text("DriftStatus", "NOT_CHECKED");
                return;
            };
            xml.text("DriftStatus", drift.as_str())
                .text("DriftDetectionStatus", "COMPLETED")
                .text("LastDriftCheckTimestamp", drift.at)
                .text("TotalStackInstancesCount", drift.total)
                .text("DriftedStackInstancesCount", drift.drifted)
                .text("InSyncStackInstancesCount", drift.total - drift.drifted)
                .text("InProgressStackInstancesCount", 0)
                .text("FailedStackInstancesCount", 0);
        });
        let units = set
            .deployed
            .keys()
            .map(|unit| &world.organization.ou(*unit).id);
        xml.strings("OrganizationalUnitIds", units);
        let mut regions: Vec<&str> = set
            .regions
            .iter()
            .enumerate()
            .filter(|(index, _)| {
                let used = |other: u16| usize::from(other) == *index;
                set.deployed.values().flatten().any(|region| used(region.0))
                    || (!set.service_managed && set.instances.keys().any(|key| used(key.1.0)))
            })
            .map(|(_, name)| &**name)
            .collect();
        // Unordered, says the API reference.
        regions.reverse();
        xml.strings("Regions", regions);
    });
    Ok(xml.into())
}

fn status(set: &StackSet) -> &'static str {
    if set.active { "ACTIVE" } else { "DELETED" }
}

/// Parameter values; those declared NoEcho are masked.
pub(super) fn parameters(xml: &mut Xml, name: &str, set: &StackSet, values: &ParameterValues) {
    xml.list(name, values, |xml, (key, value)| {
        let masked = set
            .generation
            .template
            .parameters
            .iter()
            .any(|spec| spec.key == *key && spec.no_echo);
        xml.text("ParameterKey", key)
            .text("ParameterValue", if masked { "****" } else { &**value });
    });
}

/// Tags.
pub(super) fn tags(xml: &mut Xml, tags: &[(String, String)]) {
    xml.list("Tags", tags, |xml, (key, value)| {
        xml.text("Key", key).text("Value", value);
    });
}

fn summary(xml: &mut Xml, set: &StackSet) {
    xml.text(
        "PermissionModel",
        if set.service_managed {
            "SERVICE_MANAGED"
        } else {
            "SELF_MANAGED"
        },
    );
    if let Some(auto) = &set.auto_deployment {
        xml.element("AutoDeployment", |xml| {
            xml.text("Enabled", auto.enabled);
            if auto.enabled {
                xml.text("RetainStacksOnAccountRemoval", auto.retain);
            }
            if !auto.depends_on.is_empty() {
                xml.strings("DependsOn", &auto.depends_on);
            }
        });
    }
    xml.element("ManagedExecution", |xml| {
        xml.text("Active", set.managed_execution);
    });
}

/// ListStackSets.
pub(super) fn list(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let owner = input::call_as(world, &call.caller, request)?;
    let wanted = request.get("Status");
    let page = Page::of(request, &format!("sets {}", wanted.unwrap_or_default()))?;
    let sets: Vec<&StackSet> = world
        .stack_sets
        .iter()
        .map(|(_, set)| set)
        .filter(|set| *set.home == *call.region && input::visible(world, &call.caller, owner, set))
        .filter(|set| wanted.is_none_or(|wanted| wanted == status(set)))
        .collect();
    let mut xml = Xml::new();
    paging::list(&mut xml, &page, "Summaries", &sets, |xml, set| {
        xml.text("StackSetName", &set.name)
            .text("StackSetId", set.id())
            .optional("Description", set.description.as_deref())
            .text("Status", status(set));
        summary(xml, set);
        xml.text(
            "DriftStatus",
            set.drift.map_or("NOT_CHECKED", SetDrift::as_str),
        )
        .optional("LastDriftCheckTimestamp", set.drift.map(|drift| drift.at));
    });
    Ok(xml.into())
}
