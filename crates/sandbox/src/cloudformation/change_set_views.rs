//! What the API says about change sets: DescribeChangeSet, ListChangeSets.

use super::paging::{self, Page};
use super::{errors, plain, set_views};
use crate::stacks::Status;
use crate::stacks::change_sets::{Change, ChangeSet};
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

/// Position of the change set that a request names: by its ARN, or by its name and its stack's.
pub(super) fn find(world: &World, call: &Call, request: &QueryRequest) -> Result<usize, AwsError> {
    let name = request.require("ChangeSetName")?;
    let sets = &world.stacks.change_sets;
    let own = |set: &ChangeSet| world.stacks[set.stack].account == call.caller.account;
    let position = if name.starts_with("arn:") {
        sets.iter()
            .position(|set| own(set) && set.id(&world.stacks[set.stack]) == name)
    } else {
        let Some(stack) = request.get("StackName") else {
            return Err(AwsError::validation(
                "StackName must be specified if ChangeSetName is not specified as an ARN.",
            ));
        };
        let key =
            plain::find(world, call, stack).map_err(|_| errors::stack_does_not_exist(stack))?;
        sets.iter()
            .position(|set| set.stack == key && set.name == name)
    };
    position.ok_or_else(|| errors::change_set_not_found(name))
}

/// Status and ExecutionStatus.
pub(super) fn status(world: &World, set: &ChangeSet) -> (&'static str, &'static str) {
    let stack = &world.stacks[set.stack];
    if set.executed {
        let execution = match stack.status {
            status if status.in_progress() => "EXECUTE_IN_PROGRESS",
            Status::CreateComplete | Status::UpdateComplete => "EXECUTE_COMPLETE",
            _ => "EXECUTE_FAILED",
        };
        return ("CREATE_COMPLETE", execution);
    }
    if world.now() < set.ready {
        ("CREATE_IN_PROGRESS", "UNAVAILABLE")
    } else if set.failure.is_some() {
        ("FAILED", "UNAVAILABLE")
    } else if stack.epoch != set.epoch {
        ("CREATE_COMPLETE", "OBSOLETE")
    } else {
        ("CREATE_COMPLETE", "AVAILABLE")
    }
}

fn summary(xml: &mut Xml, world: &World, set: &ChangeSet) {
    let stack = &world.stacks[set.stack];
    let (status, execution) = status(world, set);
    let reason = set.failure.filter(|_| status == "FAILED");
    xml.text("ChangeSetName", &set.name)
        .text("ChangeSetId", set.id(stack))
        .text("StackId", stack.id())
        .text("StackName", &stack.name)
        .optional("Description", set.description.as_deref())
        .text("CreationTime", set.created)
        .text("ExecutionStatus", execution)
        .text("Status", status)
        .optional("StatusReason", reason)
        .text("IncludeNestedStacks", false);
}

/// DescribeChangeSet, one page of its changes at a time.
pub(super) fn describe(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let set = &world.stacks.change_sets[find(world, call, request)?];
    let page = Page::of(request, &format!("changes {}", set.uuid))?;
    let mut xml = Xml::new();
    summary(&mut xml, world, set);
    let generation = &set.generation;
    xml.list(
        "Parameters",
        &*generation.parameters,
        |xml, (key, value)| {
            let mut specs = generation.template.parameters.iter();
            let masked = specs.any(|spec| spec.key == *key && spec.no_echo);
            xml.text("ParameterKey", key)
                .text("ParameterValue", if masked { "****" } else { &**value });
        },
    );
    xml.strings("Capabilities", &*generation.capabilities);
    set_views::tags(&mut xml, &generation.tags);
    xml.strings("NotificationARNs", Vec::<String>::new());
    let ready = world.now() >= set.ready;
    let shown: &[Change] = if ready { &set.changes } else { &[] };
    paging::list(&mut xml, &page, "Changes", shown, write);
    Ok(xml.into())
}

fn write(xml: &mut Xml, change: &Change) {
    xml.text("Type", "Resource");
    xml.element("ResourceChange", |xml| {
        xml.optional("PolicyAction", change.policy)
            .text("Action", change.action)
            .text("LogicalResourceId", &change.logical_id)
            .optional("PhysicalResourceId", change.physical_id.as_deref())
            .text("ResourceType", &change.kind)
            .optional("Replacement", change.replacement);
        let modified = !change.properties.is_empty();
        xml.strings("Scope", modified.then_some("Properties"));
        xml.list("Details", &change.properties, |xml, (name, replaces)| {
            xml.element("Target", |xml| {
                let recreation = if *replaces { "Always" } else { "Never" };
                xml.text("Attribute", "Properties")
                    .text("Name", name)
                    .text("RequiresRecreation", recreation);
            })
            .text("Evaluation", "Static")
            .text("ChangeSource", "DirectModification");
        });
    });
}

/// ListChangeSets of a stack, the newest first.
pub(super) fn list(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let name = request.require("StackName")?;
    let key = plain::find(world, call, name).map_err(|_| errors::stack_does_not_exist(name))?;
    let page = Page::of(request, &format!("change sets {}", world.stacks[key].uuid))?;
    let sets = world.stacks.change_sets.iter().rev();
    let sets: Vec<&ChangeSet> = sets.filter(|set| set.stack == key).collect();
    let mut xml = Xml::new();
    paging::list(&mut xml, &page, "Summaries", &sets, |xml, set| {
        summary(xml, world, set);
    });
    Ok(xml.into())
}
