//! Operations of stack sets: listings that lag, descriptions that do not, results, stopping, drift detection.

use super::input;
use super::instance_views::unit_id;
use super::paging::{self, Page};
use super::{errors, sets};
use crate::stack_sets::model::{Operation, OperationAction, Overrides, Row, RowStatus};
use crate::stack_sets::preferences::Preferences;
use crate::stack_sets::targets::Targets;
use crate::stack_sets::{self, NewOperation, StackSet, listed_row, listed_status};
use crate::wire::Call;
use crate::wire::errors::AwsError;
use crate::wire::query::QueryRequest;
use crate::wire::xml::{QueryReply, Xml};
use crate::world::World;

/// DetectStackSetDrift. It finds what is gone: CloudFormation is blind to changed trust and inline policies.
pub(super) fn detect_drift(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let key = input::stack_set(world, call, request)?;
    let operation = NewOperation {
        id: input::token(request, "OperationId")?,
        action: OperationAction::DetectDrift,
        preferences: input::preferences(request)?,
        retain: None,
        targets: Targets::default(),
        target_regions: Vec::new(),
        overrides: Overrides::Keep,
        whole_set: true,
    };
    let id = stack_sets::submit(world, key, operation)?;
    Ok(sets::operation_id(&id))
}

fn find<'a>(set: &'a StackSet, request: &QueryRequest) -> Result<&'a Operation, AwsError> {
    let id = request.require("OperationId")?;
    let index = set
        .operation_ids
        .get(id)
        .ok_or_else(|| errors::operation_not_found(id))?;
    Ok(&set.operations[*index as usize])
}

/// ListStackSetOperations, eventually consistent.
pub(super) fn list(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let key = input::stack_set(world, call, request)?;
    let as_of = world.now() - world.scenario.stack_sets.list_lag;
    let set = &world.stack_sets[key];
    let page = Page::of(request, &format!("operations {}", set.uuid))?;
    let operations: Vec<_> = set
        .operations
        .iter()
        .rev()
        .filter_map(|operation| Some((operation, listed_status(operation, as_of)?)))
        .collect();
    let mut xml = Xml::new();
    paging::list(
        &mut xml,
        &page,
        "Summaries",
        &operations,
        |xml, (operation, status)| {
            xml.text("OperationId", &operation.id)
                .text("Action", operation.action.as_str())
                .text("Status", status.as_str())
                .text("CreationTimestamp", operation.created)
                .optional("EndTimestamp", operation.ended.filter(|end| *end <= as_of))
                .optional("StatusReason", operation.reason.as_deref());
            preferences(xml, &operation.preferences);
            xml.element("StatusDetails", |xml| {
                xml.text("FailedStackInstancesCount", operation.failed);
            });
        },
    );
    Ok(xml.into())
}

fn preferences(xml: &mut Xml, preferences: &Preferences) {
    let choice = |flag: Option<bool>, yes: &'static str, no: &'static str| {
        flag.map(|flag| if flag { yes } else { no })
    };
    xml.element("OperationPreferences", |xml| {
        xml.optional(
            "RegionConcurrencyType",
            choice(preferences.parallel_regions, "PARALLEL", "SEQUENTIAL"),
        )
        .strings("RegionOrder", &preferences.region_order)
        .optional("FailureToleranceCount", preferences.tolerance_count)
        .optional(
            "FailureTolerancePercentage",
            preferences.tolerance_percentage,
        )
        .optional("MaxConcurrentCount", preferences.max_concurrent_count)
        .optional(
            "MaxConcurrentPercentage",
            preferences.max_concurrent_percentage,
        )
        .optional(
            "ConcurrencyMode",
            choice(
                preferences.soft,
                "SOFT_FAILURE_TOLERANCE",
                "STRICT_FAILURE_TOLERANCE",
            ),
        );
    });
}

/// DescribeStackSetOperation, strongly consistent.
pub(super) fn describe(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let key = input::stack_set(world, call, request)?;
    let set = &world.stack_sets[key];
    let operation = find(set, request)?;
    let mut xml = Xml::new();
    xml.element("StackSetOperation", |xml| {
        xml.text("OperationId", &operation.id)
            .text("StackSetId", set.id())
            .text("Action", operation.action.as_str())
            .text("Status", operation.status.as_str())
            .optional("StatusReason", operation.reason.as_deref());
        preferences(xml, &operation.preferences);
        xml.optional("RetainStacks", operation.retain)
            .optional("AdministrationRoleARN", set.administration_role.as_deref())
            .text("ExecutionRoleName", &set.execution_role)
            .text("CreationTimestamp", operation.created)
            .optional("EndTimestamp", operation.ended);
        if operation.targets != Targets::default() && set.service_managed {
            xml.element("DeploymentTargets", |xml| {
                let units = operation
                    .targets
                    .units
                    .iter()
                    .map(|unit| &world.organization.ou(*unit).id);
                xml.strings("OrganizationalUnitIds", units);
                if !operation.targets.accounts.is_empty() {
                    xml.strings("Accounts", &operation.targets.accounts);
                }
                xml.optional(
                    "AccountFilterType",
                    operation.targets.filter.map(|filter| filter.as_str()),
                );
            });
        }
        xml.element("StatusDetails", |xml| {
            xml.text("FailedStackInstancesCount", operation.failed);
        });
    });
    Ok(xml.into())
}

/// ListStackSetOperationResults, eventually consistent.
pub(super) fn results(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let key = input::stack_set(world, call, request)?;
    let as_of = world.now() - world.scenario.stack_sets.list_lag;
    let set = &world.stack_sets[key];
    let operation = find(set, request)?;
    let mut wanted = None;
    for filter in request.structures("Filters").unwrap_or_default() {
        if filter.require("Name")? != "OPERATION_RESULT_STATUS" {
            return Err(AwsError::validation(
                "Member must satisfy enum value set: [OPERATION_RESULT_STATUS]",
            ));
        }
        wanted = Some(filter.require("Values")?.to_owned());
    }
    let page = Page::of(
        request,
        &format!(
            "results {} {}",
            operation.id,
            wanted.as_deref().unwrap_or_default()
        ),
    )?;
    let known = operation.created <= as_of;
    let start = page.start();
    let mut found = operation
        .rows
        .iter()
        .enumerate()
        .skip(start)
        .filter(|_| known)
        .map(|(index, row)| (index, row, listed_row(row, as_of)))
        .filter(|(_, _, status)| {
            wanted
                .as_deref()
                .is_none_or(|wanted| wanted == status.as_str())
        });
    let mut last = None;
    let mut xml = Xml::new();
    xml.list(
        "Summaries",
        found.by_ref().take(page.size),
        |xml, (index, row, status)| {
            last = Some((index + 1).to_string());
            result(xml, world, set, row, status);
        },
    );
    let more = found.next().is_some();
    page.next(&mut xml, last.filter(|_| more));
    Ok(xml.into())
}

fn result(xml: &mut Xml, world: &World, set: &StackSet, row: &Row, status: RowStatus) {
    let region = set.region_name(row.region);
    xml.text("Account", row.account)
        .text("Region", region)
        .text("Status", status.as_str())
        .optional(
            "StatusReason",
            row.reason.as_deref().filter(|_| status == row.status),
        );
    if !matches!(status, RowStatus::Pending | RowStatus::Cancelled) {
        xml.element("AccountGateResult", |xml| {
            xml.text("Status", "SKIPPED").text(
                "StatusReason",
                format_args!(
                    "Function not found: arn:aws:lambda:{region}:{}:function:AWSCloudFormationStackSetAccountGate",
                    row.account
                ),
            );
        });
    }
    xml.text("OrganizationalUnitId", unit_id(world, row.unit));
}

/// StopStackSetOperation.
pub(super) fn stop(
    world: &mut World,
    call: &Call,
    request: &QueryRequest,
) -> Result<QueryReply, AwsError> {
    let key = input::stack_set(world, call, request)?;
    stack_sets::stop(world, key, request.require("OperationId")?)?;
    Ok(Xml::new().into())
}
