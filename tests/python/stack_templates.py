"""Templates and steps that the tests of stacks and stack sets share."""

import json

import pytest
from botocore.exceptions import ClientError

from conftest import until

ROLE = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::922761411349:root"}, "Action": "sts:AssumeRole",
                   "Condition": {"StringEquals": {"sts:ExternalId": {"Ref": "ExternalId"}}}}]}}}

# A role alone, with a parameter that changes it.
ROLE_TEMPLATE = json.dumps({
    "Description": "one role",
    "Parameters": {"ExternalId": {"Type": "String", "Default": "spotinst:aws:extid:1"},
                   "Secret": {"Type": "String", "NoEcho": True, "Default": "none"}},
    "Resources": {"SpotRole": ROLE},
    "Outputs": {"Arn": {"Value": {"Fn::GetAtt": ["SpotRole", "Arn"]}}},
})


def custom_template(service_token, timeout=120, policy=None, **properties):
    """A role that needs what a custom resource answers."""
    resource = {"Type": "Custom::SpotExternalId",
                "Properties": {"ServiceToken": service_token, "ServiceTimeout": timeout, "Account": {"Ref": "AWS::AccountId"},
                               "Flag": True, "Count": 5, **properties}}
    if policy:
        resource |= {"DeletionPolicy": policy, "UpdateReplacePolicy": policy}
    role = json.loads(json.dumps(ROLE).replace('{"Ref": "ExternalId"}', '{"Ref": "External"}'))
    return json.dumps({"Resources": {"External": resource, "SpotRole": role},
                       "Outputs": {"ExternalId": {"Value": {"Ref": "External"}},
                                   "Extra": {"Value": {"Fn::GetAtt": ["External", "Extra"]}}}})


def error_of(call, **arguments):
    """The error code and text of a call that must fail."""
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return raised.value.response["Error"]


def everything(client, operation, key="Summaries", **arguments):
    """All entries of all pages."""
    return [item for page in client.get_paginator(operation).paginate(**arguments) for item in page[key]]


def service_managed(client, name, auto=False, retain=None, template=ROLE_TEMPLATE, managed=True, **arguments):
    """Creates a service-managed stack set."""
    deployment = {"Enabled": auto}
    if auto:
        deployment["RetainStacksOnAccountRemoval"] = bool(retain)
    return client.create_stack_set(
        StackSetName=name, TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"], PermissionModel="SERVICE_MANAGED",
        AutoDeployment=deployment, ManagedExecution={"Active": managed}, **arguments)["StackSetId"]


FAST = {"MaxConcurrentPercentage": 100, "FailureTolerancePercentage": 100, "ConcurrencyMode": "SOFT_FAILURE_TOLERANCE"}


def deploy(client, name, units, accounts=None, kind="INTERSECTION", preferences=FAST, regions=("us-east-1",), **arguments):
    """Starts CreateStackInstances and returns the operation's id."""
    targets = {"OrganizationalUnitIds": units}
    if accounts is not None:
        targets |= {"Accounts": accounts, "AccountFilterType": kind}
    return client.create_stack_instances(StackSetName=name, DeploymentTargets=targets, Regions=list(regions),
                                         OperationPreferences=preferences, **arguments)["OperationId"]


def operation(client, name, operation_id):
    """DescribeStackSetOperation."""
    return client.describe_stack_set_operation(StackSetName=name, OperationId=operation_id)["StackSetOperation"]


def ended(client, name, operation_id):
    """Waits for an operation's end and describes it."""
    def over():
        described = operation(client, name, operation_id)
        return described if described["Status"] in ("SUCCEEDED", "FAILED", "STOPPED") else None
    return until(over, f"operation {operation_id} ends")


def results(client, name, operation_id, expected):
    """All rows of an ended operation, as soon as the lagging listing has settled."""
    def settled():
        rows = everything(client, "list_stack_set_operation_results", StackSetName=name, OperationId=operation_id)
        done = len(rows) == expected and all(row["Status"] not in ("PENDING", "RUNNING") for row in rows)
        return (rows,) if done else None
    return until(settled, "the rows have settled")[0]


def instances(client, name, **arguments):
    """All instances by account."""
    found = everything(client, "list_stack_instances", StackSetName=name, **arguments)
    return {instance["Account"]: instance for instance in found}


def stack_status(client, stack):
    """The status of a stack, by name or id."""
    return client.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]


def settled_stack(client, stack):
    """Waits until nothing goes on with a stack; returns it."""
    def settled():
        found = client.describe_stacks(StackName=stack)["Stacks"][0]
        return None if found["StackStatus"].endswith("_IN_PROGRESS") else found
    return until(settled, f"{stack} settles")
