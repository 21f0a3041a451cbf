"""CloudFormation StackSets of the sandbox, driven by boto3. Each test is a fact about AWS."""

import json
import uuid

import pytest

from conftest import until
from stack_templates import (FAST, ROLE_TEMPLATE, deploy, ended, error_of, everything, instances, operation, results,
                             service_managed)

SCENARIO = """
seed = 11
clock_speed = 200.0
[organization]
accounts = 40
ous = 6
depth = 3
suspended = 1
scp_blocked = 1
rates = false
trusted_access = true
[stack_sets]
operation_start = "2s"
resource_time = "2s"
list_lag = "2s"
auto_deployment_delay = "5s"
"""


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(SCENARIO)


@pytest.fixture(scope="module")
def cfn(sandbox):
    return sandbox.aws("cloudformation")


@pytest.fixture(scope="module")
def root(sandbox):
    return sandbox.aws("organizations").list_roots()["Roots"][0]["Id"]


@pytest.fixture(scope="module")
def units(sandbox, root):
    """Units of which none is inside another."""
    organizations = sandbox.aws("organizations")

    def leaves(parent):
        children = everything(organizations, "list_organizational_units_for_parent", "OrganizationalUnits", ParentId=parent)
        return [leaf for child in children for leaf in leaves(child["Id"])] if children else [parent]

    return leaves(root)


@pytest.fixture(scope="module")
def healthy(sandbox):
    return sorted(account["id"] for account in sandbox.members(state="ACTIVE", scp_blocked=False))


@pytest.fixture
def name():
    return f"set-{uuid.uuid4().hex[:12]}"


def test_a_set_is_described_with_all_its_fields_and_no_echo_values_masked(sandbox, cfn, name):
    management = sandbox.environment["AWS_ACCESS_KEY_ID"][4:16]
    set_id = service_managed(cfn, name, auto=True, retain=True, Description="d", Tags=[{"Key": "k", "Value": "v"}],
                             Parameters=[{"ParameterKey": "Secret", "ParameterValue": "s3cret"}])
    described = cfn.describe_stack_set(StackSetName=name)["StackSet"]
    assert set_id == described["StackSetId"] and set_id.startswith(f"{name}:")
    assert described["StackSetARN"] == f"arn:aws:cloudformation:us-east-1:{management}:stackset/{set_id}"
    assert described["Status"] == "ACTIVE" and described["Description"] == "d"
    assert described["PermissionModel"] == "SERVICE_MANAGED"
    assert described["AutoDeployment"] == {"Enabled": True, "RetainStacksOnAccountRemoval": True}
    assert described["ManagedExecution"] == {"Active": True}
    assert described["Tags"] == [{"Key": "k", "Value": "v"}]
    assert described["TemplateBody"] == ROLE_TEMPLATE
    assert described["OrganizationalUnitIds"] == []
    assert "AWSServiceRoleForCloudFormationStackSetsOrgAdmin" in described["AdministrationRoleARN"]
    assert described["ExecutionRoleName"].startswith("stacksets-exec-")
    values = {entry["ParameterKey"]: entry["ParameterValue"] for entry in described["Parameters"]}
    assert values == {"ExternalId": "spotinst:aws:extid:1", "Secret": "****"}
    assert cfn.describe_stack_set(StackSetName=set_id)["StackSet"]["StackSetName"] == name


def test_creating_needs_capabilities_a_template_auto_deployment_and_a_free_name(cfn, name):
    good = dict(StackSetName=name, TemplateBody=ROLE_TEMPLATE, PermissionModel="SERVICE_MANAGED",
                AutoDeployment={"Enabled": False}, Capabilities=["CAPABILITY_IAM"])
    assert error_of(cfn.create_stack_set, **good | {"Capabilities": []})["Code"] == "InsufficientCapabilitiesException"
    assert "Exactly one of TemplateBody" in error_of(cfn.create_stack_set, **good | {"TemplateURL": "https://x.s3.amazonaws.com/y"})["Message"]
    without = {key: value for key, value in good.items() if key != "AutoDeployment"}
    assert "AutoDeployment" in error_of(cfn.create_stack_set, **without)["Message"]
    assert "do not exist in the template" in error_of(
        cfn.create_stack_set, **good, Parameters=[{"ParameterKey": "X", "ParameterValue": "1"}])["Message"]
    cfn.create_stack_set(**good, ClientRequestToken="t-1")
    assert error_of(cfn.create_stack_set, **good)["Code"] == "NameAlreadyExistsException"
    cfn.create_stack_set(**good, ClientRequestToken="t-1")


def test_a_deleted_set_is_listed_without_a_filter_and_its_name_is_free_again(cfn, name):
    first = service_managed(cfn, name)
    cfn.delete_stack_set(StackSetName=name)
    assert error_of(cfn.describe_stack_set, StackSetName=name) == {
        "Type": "Sender", "Code": "StackSetNotFoundException", "Message": f"StackSet {name} not found"}
    second = service_managed(cfn, name)
    assert first != second
    listed = {item["StackSetId"]: item["Status"] for item in everything(cfn, "list_stack_sets")}
    assert (listed[first], listed[second]) == ("DELETED", "ACTIVE")
    active = {item["StackSetId"] for item in everything(cfn, "list_stack_sets", Status="ACTIVE")}
    assert second in active and first not in active


def test_deleting_an_unknown_set_succeeds(cfn):
    cfn.delete_stack_set(StackSetName="no-such-set")


def test_trusted_access_is_activated_by_cloudformation_and_needed_for_service_managed_sets(start_sandbox):
    sandbox = start_sandbox("[organization]\ntrusted_access = false\n")
    cfn = sandbox.aws("cloudformation")
    assert cfn.describe_organizations_access()["Status"] == "DISABLED"
    refused = error_of(service_managed, client=cfn, name="x")
    assert "organizations access" in refused["Message"]
    cfn.activate_organizations_access()
    assert cfn.describe_organizations_access()["Status"] == "ENABLED"
    service_managed(cfn, "x")
    cfn.deactivate_organizations_access()
    assert cfn.describe_organizations_access()["Status"] == "DISABLED"
    member = sandbox.member("cloudformation", sandbox.members()[0]["id"])
    assert error_of(member.activate_organizations_access)["Code"] == "InvalidOperationException"


def test_the_whole_organization_is_deployed_without_the_management_account(sandbox, cfn, root, healthy, name):
    service_managed(cfn, name)
    operation_id = deploy(cfn, name, [root])
    done = ended(cfn, name, operation_id)
    blocked = [account["id"] for account in sandbox.members(scp_blocked=True)]
    suspended = [account["id"] for account in sandbox.members(state="SUSPENDED")]
    # SUCCEEDED although one instance failed: tolerance was not exceeded.
    assert done["Status"] == "SUCCEEDED" and done["Action"] == "CREATE"
    assert done["StatusDetails"]["FailedStackInstancesCount"] == len(blocked) == 1
    assert done["DeploymentTargets"]["OrganizationalUnitIds"] == [root]
    found = instances(cfn, name)
    assert sorted(found) == sorted(healthy + blocked + suspended)
    for account in healthy:
        assert (found[account]["Status"], found[account]["StackInstanceStatus"]["DetailedStatus"]) == ("CURRENT", "SUCCEEDED")
        assert found[account]["OrganizationalUnitId"] == root
    failed = found[blocked[0]]
    assert (failed["Status"], failed["StackInstanceStatus"]["DetailedStatus"]) == ("OUTDATED", "FAILED")
    assert failed["StatusReason"].startswith("ResourceLogicalId:SpotRole, ResourceType:AWS::IAM::Role, ResourceStatusReason:")
    assert "with an explicit deny in a service control policy" in failed["StatusReason"]
    skipped = found[suspended[0]]
    assert skipped["StackInstanceStatus"]["DetailedStatus"] == "SKIPPED_SUSPENDED_ACCOUNT"
    assert skipped["StatusReason"] == "ACCOUNT_SUSPENDED" and "StackId" not in skipped
    rows = {row["Account"]: row for row in results(cfn, name, operation_id, len(found))}
    assert rows[blocked[0]]["Status"] == "FAILED" and rows[blocked[0]]["StatusReason"] == failed["StatusReason"]
    assert rows[healthy[0]]["AccountGateResult"]["Status"] == "SKIPPED"
    only_failed = everything(cfn, "list_stack_set_operation_results", StackSetName=name, OperationId=operation_id,
                             Filters=[{"Name": "OPERATION_RESULT_STATUS", "Values": "FAILED"}])
    assert [row["Account"] for row in only_failed] == blocked


def test_an_instance_is_a_stack_with_a_real_role_in_its_account(sandbox, cfn, root, healthy, name):
    service_managed(cfn, name)
    ended(cfn, name, deploy(cfn, name, [root], healthy[:1]))
    stack_id = instances(cfn, name)[healthy[0]]["StackId"]
    assert f":{healthy[0]}:stack/StackSet-{name}-" in stack_id
    member = sandbox.member("cloudformation", healthy[0])
    stack = member.describe_stacks(StackName=stack_id)["Stacks"][0]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    role = member.list_stack_resources(StackName=stack_id)["StackResourceSummaries"][0]["PhysicalResourceId"]
    assert role.startswith("StackSet-set-") and "-SpotRole-" in role and len(role) <= 64
    described = sandbox.member("iam", healthy[0]).get_role(RoleName=role)["Role"]
    assert stack["Outputs"] == [{"OutputKey": "Arn", "OutputValue": described["Arn"]}]
    condition = described["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]
    assert condition == {"StringEquals": {"sts:ExternalId": "spotinst:aws:extid:1"}}
    assert member.describe_stack_events(StackName=stack_id)["StackEvents"][0]["ResourceStatus"] == "CREATE_COMPLETE"


def test_account_filters_select_among_the_accounts_of_the_units(cfn, root, healthy, name):
    service_managed(cfn, name)
    ended(cfn, name, deploy(cfn, name, [root], healthy[:3]))
    assert sorted(instances(cfn, name)) == healthy[:3]
    ended(cfn, name, deploy(cfn, name, [root], healthy[:5], kind="DIFFERENCE"))
    found = instances(cfn, name)
    assert healthy[3] not in found and healthy[4] not in found and healthy[5] in found


def test_child_units_are_included(sandbox, cfn, root, name):
    organizations = sandbox.aws("organizations")

    def below(unit):
        direct = everything(organizations, "list_accounts_for_parent", "Accounts", ParentId=unit)
        children = everything(organizations, "list_organizational_units_for_parent", "OrganizationalUnits", ParentId=unit)
        return [account["Id"] for account in direct] + [id for child in children for id in below(child["Id"])]

    parents = everything(organizations, "list_organizational_units_for_parent", "OrganizationalUnits", ParentId=root)
    unit = max((parent["Id"] for parent in parents), key=lambda unit: len(below(unit)))
    service_managed(cfn, name)
    ended(cfn, name, deploy(cfn, name, [unit]))
    assert sorted(instances(cfn, name)) == sorted(below(unit))


def test_targets_that_aws_refuses(cfn, root, healthy, name):
    service_managed(cfn, name)
    call = cfn.create_stack_instances
    regions = {"StackSetName": name, "Regions": ["us-east-1"]}
    targets = {"OrganizationalUnitIds": [root], "Accounts": healthy[:1]}
    assert "AccountFilterType" in error_of(call, **regions, DeploymentTargets=targets)["Message"]
    assert "UNION" in error_of(call, **regions, DeploymentTargets=targets | {"AccountFilterType": "UNION"})["Message"]
    assert "OrganizationalUnit as target" in error_of(call, **regions, Accounts=healthy[:1])["Message"]
    too_many = [f"ou-abcd-{number:08d}" for number in range(51)]
    assert "less than or equal to 50" in error_of(call, **regions, DeploymentTargets={"OrganizationalUnitIds": too_many})["Message"]
    assert "does not exist" in error_of(call, **regions, DeploymentTargets={"OrganizationalUnitIds": too_many[:1]})["Message"]
    assert error_of(call, **regions | {"StackSetName": "nope"}, DeploymentTargets={"OrganizationalUnitIds": [root]})["Code"] == "StackSetNotFoundException"
    assert error_of(call, **regions, DeploymentTargets={"OrganizationalUnitIds": [root]},
                    OperationPreferences={"MaxConcurrentCount": 1, "MaxConcurrentPercentage": 1})["Code"] == "ValidationError"


def test_without_managed_execution_a_second_operation_is_refused_with_the_id_of_the_first(sandbox, cfn, root, healthy, name):
    service_managed(cfn, name, managed=False)
    with sandbox.clock(0):
        first = deploy(cfn, name, [root], healthy[:1])
        refused = error_of(deploy, client=cfn, name=name, units=[root], accounts=healthy[1:2])
    assert refused["Code"] == "OperationInProgressException"
    assert refused["Message"].endswith(f"is in progress: {first}")
    ended(cfn, name, first)
    ended(cfn, name, deploy(cfn, name, [root], healthy[1:2]))


def test_with_managed_execution_operations_queue_and_conflicting_ones_wait(sandbox, cfn, root, healthy, name):
    service_managed(cfn, name)
    with sandbox.clock(0):
        first = deploy(cfn, name, [root], healthy[:2])
        conflicting = deploy(cfn, name, [root], healthy[:3])
        assert operation(cfn, name, conflicting)["Status"] == "QUEUED"
        refused = error_of(cfn.update_stack_set, StackSetName=name, UsePreviousTemplate=True,
                           Capabilities=["CAPABILITY_IAM"], ManagedExecution={"Active": False})
    assert refused["Code"] == "InvalidOperationException"
    assert ended(cfn, name, first)["Status"] == "SUCCEEDED"
    assert ended(cfn, name, conflicting)["Status"] == "SUCCEEDED"
    assert len(results(cfn, name, conflicting, 1)) == 1, "what is current already is left alone"


def test_an_operation_id_is_used_once(cfn, root, healthy, name):
    service_managed(cfn, name)
    deploy(cfn, name, [root], healthy[:1], OperationId="my-operation")
    again = error_of(deploy, client=cfn, name=name, units=[root], accounts=healthy[:1], OperationId="my-operation")
    assert again["Code"] == "OperationIdAlreadyExistsException"
    ended(cfn, name, "my-operation")


def test_aws_defaults_go_one_by_one_and_stop_at_the_first_failure(sandbox, cfn, root, healthy, name):
    blocked = sandbox.members(scp_blocked=True)[0]["id"]
    service_managed(cfn, name)
    operation_id = deploy(cfn, name, [root], [blocked, *healthy], preferences={})
    done = ended(cfn, name, operation_id)
    assert done["Status"] == "FAILED" and done["StatusDetails"]["FailedStackInstancesCount"] == 1
    rows = results(cfn, name, operation_id, len(healthy) + 1)
    cancelled = [row for row in rows if row["Status"] == "CANCELLED"]
    assert [row["Account"] for row in rows if row["Status"] == "FAILED"] == [blocked]
    assert len(cancelled) == sum(account > blocked for account in healthy)
    for row in cancelled:
        assert row["StatusReason"] == "Cancelled since failure tolerance has exceeded"
    found = instances(cfn, name)
    assert all(found[row["Account"]]["StackInstanceStatus"]["DetailedStatus"] == "CANCELLED" for row in cancelled)


def test_a_stopped_operation_finishes_what_runs_and_cancels_the_rest(sandbox, cfn, root, healthy, name):
    service_managed(cfn, name)
    preferences = {"MaxConcurrentCount": 2, "FailureToleranceCount": 9}
    # Slow enough that the operation is still at its first instances when it is stopped.
    with sandbox.clock(5):
        operation_id = deploy(cfn, name, [root], healthy, preferences=preferences)
        until(lambda: any(instance["StackInstanceStatus"]["DetailedStatus"] == "RUNNING"
                          for instance in instances(cfn, name).values()), "an instance runs")
        with sandbox.clock(0):
            cfn.stop_stack_set_operation(StackSetName=name, OperationId=operation_id)
            assert operation(cfn, name, operation_id)["Status"] == "STOPPING"
    assert ended(cfn, name, operation_id)["Status"] == "STOPPED"
    rows = results(cfn, name, operation_id, len(healthy))
    statuses = {row["Status"] for row in rows}
    assert statuses == {"SUCCEEDED", "CANCELLED"}
    refused = error_of(cfn.stop_stack_set_operation, StackSetName=name, OperationId=operation_id)
    assert refused["Code"] == "InvalidOperationException"
    unknown = error_of(cfn.stop_stack_set_operation, StackSetName=name, OperationId="nope")
    assert unknown["Code"] == "OperationNotFoundException"


def test_a_new_definition_marks_every_instance_outdated_and_updates_only_its_targets(cfn, root, healthy, name):
    service_managed(cfn, name)
    ended(cfn, name, deploy(cfn, name, [root], healthy[:4]))
    operation_id = cfn.update_stack_set(
        StackSetName=name, UsePreviousTemplate=True, Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": "ExternalId", "ParameterValue": "new"}, {"ParameterKey": "Secret", "UsePreviousValue": True}],
        DeploymentTargets={"OrganizationalUnitIds": [root], "Accounts": healthy[:1], "AccountFilterType": "INTERSECTION"},
        Regions=["us-east-1"])["OperationId"]
    marked = instances(cfn, name)
    for account in healthy[1:4]:
        assert (marked[account]["Status"], marked[account]["StackInstanceStatus"]["DetailedStatus"]) == ("OUTDATED", "PENDING")
    assert ended(cfn, name, operation_id)["Status"] == "SUCCEEDED"
    found = instances(cfn, name)
    assert found[healthy[0]]["Status"] == "CURRENT"
    for account in healthy[1:4]:
        assert (found[account]["Status"], found[account]["StackInstanceStatus"]["DetailedStatus"]) == ("OUTDATED", "PENDING")
        assert found[account]["LastOperationId"] != operation_id
    # A later update of everything finds nothing to do where nothing changed.
    operation_id = cfn.update_stack_set(
        StackSetName=name, UsePreviousTemplate=True, Capabilities=["CAPABILITY_IAM"], OperationPreferences=FAST,
        Parameters=[{"ParameterKey": key, "UsePreviousValue": True} for key in ("ExternalId", "Secret")])["OperationId"]
    ended(cfn, name, operation_id)
    rows = {row["Account"]: row for row in results(cfn, name, operation_id, 4)}
    assert rows[healthy[0]]["StatusReason"] == "No updates are to be performed."
    assert {instance["Status"] for instance in instances(cfn, name).values()} == {"CURRENT"}


def test_a_failed_update_keeps_the_new_definition(sandbox, cfn, root, healthy, name):
    service_managed(cfn, name)
    ended(cfn, name, deploy(cfn, name, [root], healthy[:1]))
    template = json.loads(ROLE_TEMPLATE)
    template["Resources"]["Broken"] = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": {"Statement": []}}}
    operation_id = cfn.update_stack_set(StackSetName=name, TemplateBody=json.dumps(template),
                                        Capabilities=["CAPABILITY_IAM"])["OperationId"]
    assert ended(cfn, name, operation_id)["Status"] == "FAILED"
    assert "Broken" in cfn.describe_stack_set(StackSetName=name)["StackSet"]["TemplateBody"]
    instance = instances(cfn, name)[healthy[0]]
    assert instance["Status"] == "OUTDATED" and "ResourceLogicalId:Broken" in instance["StatusReason"]
    stack = sandbox.member("cloudformation", healthy[0]).describe_stacks(StackName=instance["StackId"])["Stacks"][0]
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"


@pytest.mark.parametrize("again", ["CreateStackInstances", "UpdateStackInstances", "UpdateStackSet"])
def test_what_failed_is_tried_again_by_each_new_operation(sandbox, cfn, root, healthy, name, again):
    account = healthy[6]
    sandbox.admin("POST", f"accounts/{account}/scp", {"blocked": True})
    service_managed(cfn, name)
    done = ended(cfn, name, deploy(cfn, name, [root], [account]))
    assert done["StatusDetails"]["FailedStackInstancesCount"] == 1
    failed = instances(cfn, name)[account]
    assert (failed["Status"], failed["StackInstanceStatus"]["DetailedStatus"]) == ("OUTDATED", "FAILED")
    targets = {"OrganizationalUnitIds": [root], "Accounts": [account], "AccountFilterType": "INTERSECTION"}
    retry = {
        "CreateStackInstances": lambda: deploy(cfn, name, [root], [account]),
        "UpdateStackInstances": lambda: cfn.update_stack_instances(
            StackSetName=name, DeploymentTargets=targets, Regions=["us-east-1"])["OperationId"],
        "UpdateStackSet": lambda: cfn.update_stack_set(
            StackSetName=name, UsePreviousTemplate=True, Capabilities=["CAPABILITY_IAM"])["OperationId"],
    }[again]
    still = ended(cfn, name, retry())
    assert still["StatusDetails"]["FailedStackInstancesCount"] == 1, "tried again, failed again"
    sandbox.admin("POST", f"accounts/{account}/scp", {"blocked": False})
    assert ended(cfn, name, retry())["StatusDetails"]["FailedStackInstancesCount"] == 0
    created = instances(cfn, name)[account]
    assert (created["Status"], created["StackInstanceStatus"]["DetailedStatus"]) == ("CURRENT", "SUCCEEDED")
    assert created["StackId"] != failed["StackId"]
    stacks = sandbox.member("cloudformation", account)
    assert stacks.describe_stacks(StackName=failed["StackId"])["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE"
    assert stacks.describe_stacks(StackName=created["StackId"])["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE"


def test_an_instance_without_a_stack_has_no_stack_id_when_the_scenario_says_so(start_sandbox, name):
    sandbox = start_sandbox(SCENARIO + "failed_instance_keeps_stack_id = false\n")
    cfn = sandbox.aws("cloudformation")
    root = sandbox.aws("organizations").list_roots()["Roots"][0]["Id"]
    blocked = sandbox.members(scp_blocked=True)[0]["id"]
    service_managed(cfn, name)
    ended(cfn, name, deploy(cfn, name, [root], [blocked]))
    assert "StackId" not in instances(cfn, name)[blocked]


def test_tags_absent_stay_and_an_empty_list_clears_them(cfn, name):
    service_managed(cfn, name, Tags=[{"Key": "k", "Value": "v"}])
    update = dict(StackSetName=name, UsePreviousTemplate=True, Capabilities=["CAPABILITY_IAM"])
    ended(cfn, name, cfn.update_stack_set(**update)["OperationId"])
    assert cfn.describe_stack_set(StackSetName=name)["StackSet"]["Tags"] == [{"Key": "k", "Value": "v"}]
    ended(cfn, name, cfn.update_stack_set(**update, Tags=[])["OperationId"])
    assert cfn.describe_stack_set(StackSetName=name)["StackSet"]["Tags"] == []


def test_omitted_parameters_fall_back_to_the_template_default(cfn, name):
    service_managed(cfn, name, Parameters=[{"ParameterKey": "ExternalId", "ParameterValue": "mine"}])
    update = dict(StackSetName=name, UsePreviousTemplate=True, Capabilities=["CAPABILITY_IAM"])
    value = lambda: {p["ParameterKey"]: p["ParameterValue"] for p in cfn.describe_stack_set(StackSetName=name)["StackSet"]["Parameters"]}["ExternalId"]
    ended(cfn, name, cfn.update_stack_set(**update, Parameters=[{"ParameterKey": "ExternalId", "UsePreviousValue": True}])["OperationId"])
    assert value() == "mine"
    ended(cfn, name, cfn.update_stack_set(**update)["OperationId"])
    assert value() == "spotinst:aws:extid:1"


def test_overrides_absent_stay_and_an_empty_list_resets_them(cfn, root, healthy, name):
    service_managed(cfn, name)
    ended(cfn, name, deploy(cfn, name, [root], healthy[:1],
                            ParameterOverrides=[{"ParameterKey": "ExternalId", "ParameterValue": "own"}]))

    def overridden():
        return {entry["ParameterKey"]: entry["ParameterValue"] for entry in cfn.describe_stack_instance(
            StackSetName=name, StackInstanceAccount=healthy[0], StackInstanceRegion="us-east-1")["StackInstance"]["ParameterOverrides"]}

    update = dict(StackSetName=name, Regions=["us-east-1"], DeploymentTargets={
        "OrganizationalUnitIds": [root], "Accounts": healthy[:1], "AccountFilterType": "INTERSECTION"})
    assert overridden() == {"ExternalId": "own"}
    ended(cfn, name, cfn.update_stack_instances(**update)["OperationId"])
    assert overridden() == {"ExternalId": "own"}
    ended(cfn, name, cfn.update_stack_instances(
        **update, ParameterOverrides=[{"ParameterKey": "ExternalId", "UsePreviousValue": True},
                                      {"ParameterKey": "Secret", "ParameterValue": "x"}])["OperationId"])
    assert overridden() == {"ExternalId": "own", "Secret": "****"}
    ended(cfn, name, cfn.update_stack_instances(**update, ParameterOverrides=[])["OperationId"])
    assert overridden() == {}


def test_instances_are_deleted_or_let_go(sandbox, cfn, root, healthy, name):
    service_managed(cfn, name)
    ended(cfn, name, deploy(cfn, name, [root], healthy[:2]))
    stacks = {account: instance["StackId"] for account, instance in instances(cfn, name).items()}
    assert error_of(cfn.delete_stack_set, StackSetName=name)["Code"] == "StackSetNotEmptyException"

    def remove(account, retain):
        targets = {"OrganizationalUnitIds": [root], "Accounts": [account], "AccountFilterType": "INTERSECTION"}
        return ended(cfn, name, cfn.delete_stack_instances(
            StackSetName=name, DeploymentTargets=targets, Regions=["us-east-1"], RetainStacks=retain)["OperationId"])

    assert remove(healthy[0], retain=True)["RetainStacks"] is True
    remove(healthy[1], retain=False)
    assert instances(cfn, name) == {}
    gone = error_of(cfn.describe_stack_instance, StackSetName=name, StackInstanceAccount=healthy[0], StackInstanceRegion="us-east-1")
    assert gone["Code"] == "StackInstanceNotFoundException"
    status = lambda account: sandbox.member("cloudformation", account).describe_stacks(StackName=stacks[account])["Stacks"][0]["StackStatus"]
    assert (status(healthy[0]), status(healthy[1])) == ("CREATE_COMPLETE", "DELETE_COMPLETE")
    cfn.delete_stack_set(StackSetName=name)


def test_auto_deployment_follows_accounts_ignoring_filters(sandbox, cfn, units, name):
    organizations = sandbox.aws("organizations")
    unit, other = units[0], units[1]
    service_managed(cfn, name, auto=True, retain=False)
    some = [account["Id"] for account in everything(organizations, "list_accounts_for_parent", "Accounts", ParentId=unit)][:1]
    ended(cfn, name, deploy(cfn, name, [unit], some))
    targets = cfn.list_stack_set_auto_deployment_targets(StackSetName=name)
    assert targets["Summaries"] == [{"OrganizationalUnitId": unit, "Regions": ["us-east-1"]}]
    assert targets["NextToken"] == ""
    new = sandbox.admin("POST", "accounts", {"name": "newcomer"})["id"]
    root = organizations.list_parents(ChildId=new)["Parents"][0]["Id"]
    organizations.move_account(AccountId=new, SourceParentId=root, DestinationParentId=unit)
    current = lambda: instances(cfn, name).get(new, {}).get("Status") == "CURRENT"
    until(current, "the newcomer has its instance")
    stack_id = instances(cfn, name)[new]["StackId"]
    organizations.move_account(AccountId=new, SourceParentId=unit, DestinationParentId=other)
    until(lambda: new not in instances(cfn, name), "the instance is gone after the account has moved away")
    member = sandbox.member("cloudformation", new)
    until(lambda: member.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE", "its stack is gone")


def test_a_move_between_targeted_units_deletes_then_creates(sandbox, cfn, units, name):
    organizations = sandbox.aws("organizations")
    service_managed(cfn, name, auto=True, retain=False)
    ended(cfn, name, deploy(cfn, name, units[:2]))
    new = sandbox.admin("POST", "accounts", {"name": "mover"})["id"]
    root = organizations.list_parents(ChildId=new)["Parents"][0]["Id"]
    organizations.move_account(AccountId=new, SourceParentId=root, DestinationParentId=units[0])
    first = until(lambda: instances(cfn, name).get(new, {}).get("Status") == "CURRENT" and instances(cfn, name)[new]["StackId"], "deployed")
    organizations.move_account(AccountId=new, SourceParentId=units[0], DestinationParentId=units[1])

    def redeployed():
        instance = instances(cfn, name).get(new, {})
        return instance.get("Status") == "CURRENT" and instance["OrganizationalUnitId"] == units[1] and instance["StackId"]

    assert until(redeployed, "deployed again") != first
    actions = [item["Action"] for item in everything(cfn, "list_stack_set_operations", StackSetName=name)]
    assert actions[:2] == ["CREATE", "DELETE"]


def test_retained_stacks_survive_the_accounts_removal(sandbox, cfn, units, name):
    organizations = sandbox.aws("organizations")
    service_managed(cfn, name, auto=True, retain=True)
    ended(cfn, name, deploy(cfn, name, units[:1]))
    new = sandbox.admin("POST", "accounts", {"name": "leaver"})["id"]
    root = organizations.list_parents(ChildId=new)["Parents"][0]["Id"]
    organizations.move_account(AccountId=new, SourceParentId=root, DestinationParentId=units[0])
    until(lambda: instances(cfn, name).get(new, {}).get("Status") == "CURRENT", "deployed")
    stack_id = instances(cfn, name)[new]["StackId"]
    organizations.move_account(AccountId=new, SourceParentId=units[0], DestinationParentId=root)
    until(lambda: new not in instances(cfn, name), "let go")
    stack = sandbox.member("cloudformation", new).describe_stacks(StackName=stack_id)["Stacks"][0]
    assert stack["StackStatus"] == "CREATE_COMPLETE"


def test_listings_have_pages_of_at_most_a_hundred_and_never_repeat_a_token(cfn, root, healthy, name):
    service_managed(cfn, name)
    operation_id = deploy(cfn, name, [root], healthy[:7])
    ended(cfn, name, operation_id)
    seen, accounts, token = set(), [], None
    while True:
        page = cfn.list_stack_instances(StackSetName=name, MaxResults=2, **({"NextToken": token} if token else {}))
        accounts += [item["Account"] for item in page["Summaries"]]
        token = page.get("NextToken")
        if not token:
            break
        assert token not in seen
        seen.add(token)
    assert accounts == healthy[:7] and len(seen) == 3
    assert error_of(cfn.list_stack_instances, StackSetName=name, MaxResults=101)["Code"] == "ValidationError"
    one = instances(cfn, name, StackInstanceAccount=healthy[3])
    assert list(one) == [healthy[3]]
    filtered = instances(cfn, name, Filters=[{"Name": "DETAILED_STATUS", "Values": "FAILED"}])
    assert filtered == {}
    filtered = instances(cfn, name, Filters=[{"Name": "LAST_OPERATION_ID", "Values": operation_id}])
    assert len(filtered) == 7


def test_operation_listings_lag_behind_descriptions(cfn, root, healthy, start_sandbox):
    sandbox = start_sandbox(SCENARIO.replace('list_lag = "2s"', 'list_lag = "100h"'))
    slow = sandbox.aws("cloudformation")
    service_managed(slow, "lagging")
    member = sandbox.members(state="ACTIVE", scp_blocked=False)[0]["id"]
    root = sandbox.aws("organizations").list_roots()["Roots"][0]["Id"]
    with sandbox.clock(0):
        operation_id = deploy(slow, "lagging", [root], [member])
        assert operation(slow, "lagging", operation_id)["Status"] == "RUNNING"
    assert slow.list_stack_set_operations(StackSetName="lagging")["Summaries"] == []
    assert ended(slow, "lagging", operation_id)["Status"] == "SUCCEEDED"
    assert slow.list_stack_set_operation_results(StackSetName="lagging", OperationId=operation_id)["Summaries"] == []


def test_drift_detection_is_blind_to_changed_trust_and_policies(sandbox, cfn, root, healthy, name):
    service_managed(cfn, name)
    ended(cfn, name, deploy(cfn, name, [root], healthy[:1]))
    stack_id = instances(cfn, name)[healthy[0]]["StackId"]
    member = sandbox.member("cloudformation", healthy[0])
    role = member.list_stack_resources(StackName=stack_id)["StackResourceSummaries"][0]["PhysicalResourceId"]
    iam = sandbox.member("iam", healthy[0])
    iam.put_role_policy(RoleName=role, PolicyName="tampered", PolicyDocument=json.dumps(
        {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}))
    done = ended(cfn, name, cfn.detect_stack_set_drift(StackSetName=name)["OperationId"])
    assert (done["Action"], done["Status"]) == ("DETECT_DRIFT", "SUCCEEDED")
    details = cfn.describe_stack_set(StackSetName=name)["StackSet"]["StackSetDriftDetectionDetails"]
    assert details["DriftStatus"] == "IN_SYNC" and details["TotalStackInstancesCount"] == 1
    assert instances(cfn, name)[healthy[0]]["DriftStatus"] == "IN_SYNC"


def test_drift_detection_finds_what_is_gone_and_runs_alone(sandbox, cfn, root, healthy, name):
    service_managed(cfn, name, managed=False)
    ended(cfn, name, deploy(cfn, name, [root], healthy[:2]))
    unseen = instances(cfn, name)[healthy[0]]
    assert unseen["DriftStatus"] == "NOT_CHECKED" and "LastDriftCheckTimestamp" not in unseen
    stack_id = unseen["StackId"]
    member = sandbox.member("cloudformation", healthy[0])
    role = member.list_stack_resources(StackName=stack_id)["StackResourceSummaries"][0]["PhysicalResourceId"]
    sandbox.member("iam", healthy[0]).delete_role(RoleName=role)
    with sandbox.clock(0):
        running = cfn.detect_stack_set_drift(StackSetName=name, OperationId="look-1")["OperationId"]
        assert running == "look-1"
        refused = error_of(cfn.detect_stack_set_drift, StackSetName=name)
        assert refused["Code"] == "OperationInProgressException" and refused["Message"].endswith(running)
    assert ended(cfn, name, running)["Status"] == "SUCCEEDED"
    found = instances(cfn, name)
    assert {account: found[account]["DriftStatus"] for account in healthy[:2]} == {
        healthy[0]: "DRIFTED", healthy[1]: "IN_SYNC"}
    assert found[healthy[0]]["LastOperationId"] == running and "LastDriftCheckTimestamp" in found[healthy[0]]
    details = cfn.describe_stack_set(StackSetName=name)["StackSet"]["StackSetDriftDetectionDetails"]
    assert (details["DriftStatus"], details["DriftedStackInstancesCount"], details["InSyncStackInstancesCount"]) == ("DRIFTED", 1, 1)


def test_a_delegated_administrator_sees_service_managed_sets_only(sandbox, cfn, healthy, name):
    service_managed(cfn, name)
    own = f"{name}-own"
    cfn.create_stack_set(StackSetName=own, TemplateBody=ROLE_TEMPLATE, Capabilities=["CAPABILITY_IAM"])
    theirs = sandbox.member("cloudformation", healthy[-1])
    refused = error_of(theirs.list_stack_sets, CallAs="DELEGATED_ADMIN")
    assert "Account used is not a delegated administrator" in refused["Message"]
    sandbox.aws("organizations").register_delegated_administrator(
        AccountId=healthy[-1], ServicePrincipal="member.org.stacksets.cloudformation.amazonaws.com")
    described = theirs.describe_stack_set(StackSetName=name, CallAs="DELEGATED_ADMIN")["StackSet"]
    assert healthy[-1] not in described["StackSetARN"], "sets live in the management account"
    assert error_of(theirs.describe_stack_set, StackSetName=own, CallAs="DELEGATED_ADMIN")["Code"] == "StackSetNotFoundException"
    assert error_of(theirs.describe_stack_set, StackSetName=name)["Code"] == "StackSetNotFoundException"


def test_self_managed_sets_target_accounts(cfn, sandbox, name):
    management = sandbox.environment["AWS_ACCESS_KEY_ID"][4:16]
    cfn.create_stack_set(StackSetName=name, TemplateBody=ROLE_TEMPLATE, Capabilities=["CAPABILITY_IAM"])
    operation_id = cfn.create_stack_instances(StackSetName=name, Accounts=[management], Regions=["us-east-1"])["OperationId"]
    assert ended(cfn, name, operation_id)["Status"] == "SUCCEEDED"
    assert instances(cfn, name)[management]["OrganizationalUnitId"] == ""


def test_template_summaries_tell_parameters_capabilities_and_types(cfn, name):
    service_managed(cfn, name)
    for given in ({"TemplateBody": ROLE_TEMPLATE}, {"StackSetName": name}):
        summary = cfn.get_template_summary(**given)
        assert summary["Capabilities"] == ["CAPABILITY_IAM"] and summary["ResourceTypes"] == ["AWS::IAM::Role"]
        secret = [parameter for parameter in summary["Parameters"] if parameter["ParameterKey"] == "Secret"][0]
        assert secret["NoEcho"] is True and secret["ParameterType"] == "String" and secret["DefaultValue"] == "none"
    validated = cfn.validate_template(TemplateBody=ROLE_TEMPLATE)
    assert validated["Description"] == "one role" and "ParameterType" not in validated["Parameters"][0]
    assert "YAML not well-formed" in error_of(cfn.validate_template, TemplateBody="a: [")["Message"]
    assert "At least one Resources" in error_of(cfn.validate_template, TemplateBody="Description: x")["Message"]
    assert "51200" in error_of(cfn.validate_template, TemplateBody="#" * 51201)["Message"]
