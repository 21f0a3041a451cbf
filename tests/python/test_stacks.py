"""Plain CloudFormation stacks of the sandbox, driven by boto3. Each test is a fact about AWS."""

import json
import uuid

import pytest

from conftest import until
from stack_templates import ROLE_TEMPLATE, error_of, settled_stack, stack_status

SCENARIO = """
seed = 13
clock_speed = 100.0
[organization]
accounts = 4
ous = 1
"""


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(SCENARIO)


@pytest.fixture(scope="module")
def cfn(sandbox):
    return sandbox.aws("cloudformation")


@pytest.fixture
def name():
    return f"stack-{uuid.uuid4().hex[:12]}"


def create(cfn, name, template=ROLE_TEMPLATE, **arguments):
    return cfn.create_stack(StackName=name, TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"], **arguments)["StackId"]


def test_a_stack_is_created_described_and_deleted(sandbox, cfn, name):
    stack_id = create(cfn, name, Tags=[{"Key": "k", "Value": "v"}],
                      Parameters=[{"ParameterKey": "Secret", "ParameterValue": "s3cret"}])
    stack = settled_stack(cfn, name)
    assert (stack["StackId"], stack["StackStatus"]) == (stack_id, "CREATE_COMPLETE")
    assert {p["ParameterKey"]: p["ParameterValue"] for p in stack["Parameters"]}["Secret"] == "****"
    assert stack["Tags"] == [{"Key": "k", "Value": "v"}]
    resource = cfn.describe_stack_resources(StackName=name)["StackResources"][0]
    role = sandbox.aws("iam").get_role(RoleName=resource["PhysicalResourceId"])["Role"]
    assert role["Arn"] == stack["Outputs"][0]["OutputValue"]
    tags = {tag["Key"]: tag["Value"] for tag in role["Tags"]}
    assert tags["aws:cloudformation:stack-id"] == stack_id and tags["aws:cloudformation:stack-name"] == name
    assert tags["aws:cloudformation:logical-id"] == resource["LogicalResourceId"] and tags["k"] == "v"
    assert cfn.get_template(StackName=name)["TemplateBody"] == json.loads(ROLE_TEMPLATE)
    cfn.delete_stack(StackName=name)
    until(lambda: stack_status(cfn, stack_id) == "DELETE_COMPLETE", "deleted")
    gone = error_of(cfn.describe_stacks, StackName=name)
    assert gone["Code"] == "ValidationError" and gone["Message"] == f"Stack with id {name} does not exist"
    assert error_of(cfn.describe_stack_events, StackName=name)["Message"] == f"Stack [{name}] does not exist"
    assert error_of(sandbox.aws("iam").get_role, RoleName=resource["PhysicalResourceId"])["Code"] == "NoSuchEntity"
    listed = cfn.list_stacks(StackStatusFilter=["DELETE_COMPLETE"])["StackSummaries"]
    assert stack_id in [item["StackId"] for item in listed]


def test_deleting_an_unknown_stack_succeeds(cfn):
    cfn.delete_stack(StackName="no-such-stack")


def test_names_are_unique_and_a_token_repeats_a_creation(cfn, name):
    first = create(cfn, name, ClientRequestToken="t-1")
    assert create(cfn, name, ClientRequestToken="t-1") == first
    assert error_of(create, cfn=cfn, name=name)["Code"] == "AlreadyExistsException"


def test_capabilities_are_needed(cfn, name):
    refused = error_of(cfn.create_stack, StackName=name, TemplateBody=ROLE_TEMPLATE)
    assert refused["Code"] == "InsufficientCapabilitiesException"
    assert refused["Message"] == "Requires capabilities : [CAPABILITY_IAM]"


def test_an_update_without_changes_is_an_error(cfn, name):
    create(cfn, name)
    settled_stack(cfn, name)
    refused = error_of(cfn.update_stack, StackName=name, UsePreviousTemplate=True, Capabilities=["CAPABILITY_IAM"])
    assert (refused["Code"], refused["Message"]) == ("ValidationError", "No updates are to be performed.")


def test_an_update_changes_the_role_in_place(sandbox, cfn, name):
    create(cfn, name)
    role = settled_stack(cfn, name)["Outputs"][0]["OutputValue"].rsplit("/", 1)[1]
    cfn.update_stack(StackName=name, UsePreviousTemplate=True, Capabilities=["CAPABILITY_IAM"],
                     Parameters=[{"ParameterKey": "ExternalId", "ParameterValue": "two"}])
    assert settled_stack(cfn, name)["StackStatus"] == "UPDATE_COMPLETE"
    trust = sandbox.aws("iam").get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    assert trust["Statement"][0]["Condition"]["StringEquals"]["sts:ExternalId"] == "two"


def named(role):
    template = json.loads(ROLE_TEMPLATE)
    template["Resources"]["SpotRole"]["Properties"]["RoleName"] = role
    return json.dumps(template)


def test_a_changed_role_name_replaces_the_role(sandbox, cfn, name):
    iam = sandbox.aws("iam")
    create(cfn, name, named(f"{name}-a"))
    settled_stack(cfn, name)
    cfn.update_stack(StackName=name, TemplateBody=named(f"{name}-b"), Capabilities=["CAPABILITY_NAMED_IAM"])
    assert settled_stack(cfn, name)["StackStatus"] == "UPDATE_COMPLETE"
    iam.get_role(RoleName=f"{name}-b")
    assert error_of(iam.get_role, RoleName=f"{name}-a")["Code"] == "NoSuchEntity"


def test_a_resource_goes_and_comes_with_its_condition(sandbox, cfn, name):
    template = json.loads(ROLE_TEMPLATE)
    role = next(iter(template["Resources"]))
    template.setdefault("Parameters", {})["Wanted"] = {"Type": "String", "Default": ""}
    template["Conditions"] = {"IsWanted": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Wanted"}, ""]}]}}
    template["Resources"][role]["Condition"] = "IsWanted"
    template["Resources"]["Other"] = {"Type": "AWS::SNS::Topic"}
    template.pop("Outputs", None)
    wanted = lambda value: [{"ParameterKey": "Wanted", "ParameterValue": value}]

    def roles():
        resources = cfn.describe_stack_resources(StackName=name)["StackResources"]
        return [resource["PhysicalResourceId"] for resource in resources if resource["LogicalResourceId"] == role]

    create(cfn, name, json.dumps(template), Parameters=wanted("yes"))
    settled_stack(cfn, name)
    first = roles()
    assert len(first) == 1
    for value, expected in [("", 0), ("yes", 1), ("", 0)]:
        cfn.update_stack(StackName=name, UsePreviousTemplate=True, Capabilities=["CAPABILITY_NAMED_IAM"], Parameters=wanted(value))
        assert settled_stack(cfn, name)["StackStatus"] == "UPDATE_COMPLETE"
        assert len(roles()) == expected
    assert error_of(sandbox.aws("iam").get_role, RoleName=first[0])["Code"] == "NoSuchEntity"


def test_a_failed_update_returns_to_what_was(sandbox, cfn, name):
    iam = sandbox.aws("iam")
    create(cfn, name, named(f"{name}-a"))
    settled_stack(cfn, name)
    broken = json.loads(named(f"{name}-b"))
    broken["Resources"]["Bad"] = {"Type": "AWS::IAM::ManagedPolicy", "DependsOn": "SpotRole",
                                  "Properties": {"PolicyDocument": {"Statement": []}}}
    cfn.update_stack(StackName=name, TemplateBody=json.dumps(broken), Capabilities=["CAPABILITY_NAMED_IAM"])
    stack = settled_stack(cfn, name)
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert stack["Outputs"][0]["OutputValue"].endswith(f"/{name}-a")
    iam.get_role(RoleName=f"{name}-a")
    assert error_of(iam.get_role, RoleName=f"{name}-b")["Code"] == "NoSuchEntity"
    resources = cfn.list_stack_resources(StackName=name)["StackResourceSummaries"]
    assert [resource["LogicalResourceId"] for resource in resources] == ["SpotRole"]


@pytest.mark.parametrize(("on_failure", "status"), [
    ("ROLLBACK", "ROLLBACK_COMPLETE"), ("DELETE", "DELETE_COMPLETE"), ("DO_NOTHING", "CREATE_FAILED")])
def test_a_failed_creation_ends_as_asked(sandbox, cfn, name, on_failure, status):
    template = json.loads(named(name))
    template["Resources"]["Bad"] = {"Type": "AWS::IAM::ManagedPolicy", "DependsOn": "SpotRole",
                                    "Properties": {"PolicyDocument": {"Statement": []}}}
    stack_id = create(cfn, name, json.dumps(template), OnFailure=on_failure)
    assert settled_stack(cfn, stack_id)["StackStatus"] == status
    exists = status == "CREATE_FAILED"
    if exists:
        sandbox.aws("iam").get_role(RoleName=name)
    else:
        assert error_of(sandbox.aws("iam").get_role, RoleName=name)["Code"] == "NoSuchEntity"
    if status == "ROLLBACK_COMPLETE":
        refused = error_of(cfn.update_stack, StackName=name, UsePreviousTemplate=True, Capabilities=["CAPABILITY_NAMED_IAM"])
        assert "is in ROLLBACK_COMPLETE state and can not be updated." in refused["Message"]


def test_termination_protection_refuses_a_delete(cfn, name):
    create(cfn, name, EnableTerminationProtection=True)
    settled_stack(cfn, name)
    assert "TerminationProtection" in error_of(cfn.delete_stack, StackName=name)["Message"]
    for protected in (False, True):
        cfn.update_termination_protection(StackName=name, EnableTerminationProtection=protected)
        assert cfn.describe_stacks(StackName=name)["Stacks"][0]["EnableTerminationProtection"] is protected
    assert "TerminationProtection" in error_of(cfn.delete_stack, StackName=name)["Message"]
    cfn.update_termination_protection(StackName=name, EnableTerminationProtection=False)
    cfn.delete_stack(StackName=name)


def test_events_come_the_newest_first(cfn, name):
    create(cfn, name)
    settled_stack(cfn, name)
    statuses = [(event["LogicalResourceId"], event["ResourceStatus"]) for event in cfn.describe_stack_events(StackName=name)["StackEvents"]]
    assert statuses == [(name, "CREATE_COMPLETE"), ("SpotRole", "CREATE_COMPLETE"), ("SpotRole", "CREATE_IN_PROGRESS"), (name, "CREATE_IN_PROGRESS")]


def test_an_existing_role_name_fails_the_resource(sandbox, cfn, name):
    sandbox.aws("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}))
    stack_id = create(cfn, name, named(name))
    assert settled_stack(cfn, name)["StackStatus"] == "ROLLBACK_COMPLETE"
    reasons = [event.get("ResourceStatusReason", "") for event in cfn.describe_stack_events(StackName=stack_id)["StackEvents"]]
    assert any("already exists" in reason and "AlreadyExists" in reason for reason in reasons)
    sandbox.aws("iam").get_role(RoleName=name)


def test_what_others_did_to_a_role_outlasts_an_update_and_stands_in_the_way_of_a_deletion(sandbox, cfn, name):
    iam = sandbox.aws("iam")
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [statement]}

    def with_policies(*inline):
        template = json.loads(named(name))
        template["Resources"]["Read"] = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": document}}
        template["Resources"]["SpotRole"]["Properties"] |= {
            "ManagedPolicyArns": [{"Ref": "Read"}],
            "Policies": [{"PolicyName": policy, "PolicyDocument": document} for policy in inline]}
        return json.dumps(template)

    create(cfn, name, with_policies("kept", "dropped"))
    settled_stack(cfn, name)
    [own] = [policy["PolicyArn"] for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]]
    stray = "arn:aws:iam::aws:policy/SecurityAudit"
    iam.attach_role_policy(RoleName=name, PolicyArn=stray)
    iam.detach_role_policy(RoleName=name, PolicyArn=own)
    iam.put_role_policy(RoleName=name, PolicyName="stray", PolicyDocument=json.dumps(document))
    cfn.update_stack(StackName=name, TemplateBody=with_policies("kept", "new"), Capabilities=["CAPABILITY_NAMED_IAM"])
    assert settled_stack(cfn, name)["StackStatus"] == "UPDATE_COMPLETE"
    assert sorted(iam.list_role_policies(RoleName=name)["PolicyNames"]) == ["kept", "new", "stray"]
    assert [policy["PolicyArn"] for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]] == [stray]

    stack_id = settled_stack(cfn, name)["StackId"]

    def reasons(words):
        events = cfn.describe_stack_events(StackName=stack_id)["StackEvents"]
        return [event for event in events if words in event.get("ResourceStatusReason", "")]

    for words, remove in [
        ("must detach all policies first", lambda: iam.detach_role_policy(RoleName=name, PolicyArn=stray)),
        ("must delete policies first", lambda: iam.delete_role_policy(RoleName=name, PolicyName="stray")),
    ]:
        cfn.delete_stack(StackName=name)
        until(lambda: settled_stack(cfn, stack_id)["StackStatus"] == "DELETE_FAILED" and reasons(words), "the deletion fails")
        remove()
    cfn.delete_stack(StackName=name)
    until(lambda: stack_status(cfn, stack_id) == "DELETE_COMPLETE", "deleted")
    assert error_of(iam.get_role, RoleName=name)["Code"] == "NoSuchEntity"
