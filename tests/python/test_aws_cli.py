"""The AWS CLI against every AWS operation that the sandbox serves. What the operations mean is in the tests with boto3;
these show that the command line gets through, and that none is left out."""

import contextlib
import io
import json
import os
import pathlib
import re

import botocore.session
import pytest
from awscli.clidriver import create_clidriver
from botocore import xform_name

from conftest import ROOT, until
from stack_templates import ROLE_TEMPLATE

SCENARIO = """
seed = 23
clock_speed = 600.0
[organization]
accounts = 12
ous = 3
rates = false
[provider]
enabled = false
[config]
enabled = true
"""
# The sources that dispatch an operation by its name.
SERVED_BY = {
    "organizations": "organizations.rs",
    "cloudformation": "cloudformation.rs",
    "iam": "iam.rs",
    "sts": "sts.rs",
    "sns": "messaging/sns.rs",
    "sqs": "messaging/sqs.rs",
    "configservice": "config_service.rs",
}
# What the AWS CLI calls otherwise than its model.
MODELS = {"configservice": "config"}
TRUST = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]})
POLICY = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}]})


def served(service):
    """The operations that the sandbox serves, as commands of the AWS CLI."""
    model = botocore.session.get_session().get_service_model(MODELS.get(service, service))
    source = (ROOT / "crates/sandbox/src" / SERVED_BY[service]).read_text()
    names = set(re.findall(r'"([A-Z]\w+)"', source)) & set(model.operation_names)
    assert names, f"no operation of {service} found in {SERVED_BY[service]}"
    return {xform_name(name, "-") for name in names}


class Cli:
    """The AWS CLI inside this process: a process for each command would take half a second of it."""

    def __init__(self, sandbox, service):
        self.environment, self.service, self.used = sandbox.environment, service, set()
        # This version of the AWS CLI does not take SQS's endpoint from the environment.
        self.endpoint = ["--endpoint-url", sandbox.endpoint] if service == "sqs" else []

    def __call__(self, command, *arguments, fails=False, **options):
        self.used.add(command)
        given = [part for name, value in options.items() for part in self.option(name, value)]
        out, err = io.StringIO(), io.StringIO()
        before = dict(os.environ)
        os.environ.update(self.environment, AWS_PAGER="", AWS_MAX_ATTEMPTS="1")
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = create_clidriver().main([self.service, command, *arguments, *given, *self.endpoint, "--output", "json"])
        finally:
            os.environ.clear()
            os.environ.update(before)
        assert fails == (code != 0), (command, arguments, options, code, err.getvalue())
        return err.getvalue() if fails else json.loads(out.getvalue() or "{}")

    @staticmethod
    def option(name, value):
        name = "--" + name.replace("_", "-")
        return [name] if value is True else [name, *value] if isinstance(value, list) else [name, str(value)]

    def leaves_none_out(self):
        missing = served(self.service) - self.used
        assert not missing, f"no command of the AWS CLI for {sorted(missing)}"


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(SCENARIO)


@pytest.fixture
def template(tmp_path):
    """A file with a template, as the AWS CLI takes it."""
    body = pathlib.Path(tmp_path) / "template.json"
    body.write_text(ROLE_TEMPLATE)
    return f"file://{body}"


def test_organizations(sandbox):
    cli = Cli(sandbox, "organizations")
    organization = cli("describe-organization")["Organization"]
    root = cli("list-roots")["Roots"][0]["Id"]
    accounts = cli("list-accounts")["Accounts"]
    assert len(accounts) == 13
    member = sandbox.members(state="ACTIVE")[0]["id"]
    assert cli("describe-account", account_id=member)["Account"]["Id"] == member
    parent = cli("list-parents", child_id=member)["Parents"][0]["Id"]
    assert member in [one["Id"] for one in cli("list-accounts-for-parent", parent_id=parent)["Accounts"]]
    assert member in [one["Id"] for one in cli("list-children", parent_id=parent, child_type="ACCOUNT")["Children"]]
    unit = cli("create-organizational-unit", parent_id=root, name="From the CLI")["OrganizationalUnit"]["Id"]
    assert cli("describe-organizational-unit", organizational_unit_id=unit)["OrganizationalUnit"]["Name"] == "From the CLI"
    units = cli("list-organizational-units-for-parent", parent_id=root)["OrganizationalUnits"]
    assert unit in [one["Id"] for one in units]
    cli("move-account", account_id=member, source_parent_id=parent, destination_parent_id=unit)
    assert cli("list-parents", child_id=member)["Parents"][0]["Id"] == unit
    cli("tag-resource", resource_id=member, tags="Key=stage,Value=prod")
    assert cli("list-tags-for-resource", resource_id=member)["Tags"] == [{"Key": "stage", "Value": "prod"}]
    cli("untag-resource", resource_id=member, tag_keys="stage")
    service = "member.org.stacksets.cloudformation.amazonaws.com"
    cli("enable-aws-service-access", service_principal=service)
    enabled = cli("list-aws-service-access-for-organization")["EnabledServicePrincipals"]
    assert service in [one["ServicePrincipal"] for one in enabled]
    cli("register-delegated-administrator", account_id=member, service_principal=service)
    assert cli("list-delegated-administrators")["DelegatedAdministrators"][0]["Id"] == member
    delegated = cli("list-delegated-services-for-account", account_id=member)["DelegatedServices"]
    assert delegated[0]["ServicePrincipal"] == service
    cli("deregister-delegated-administrator", account_id=member, service_principal=service)
    cli("disable-aws-service-access", service_principal=service)
    asked = cli("create-account", email="cli@example.com", account_name="From the CLI")["CreateAccountStatus"]["Id"]
    status = until(lambda: made(cli("describe-create-account-status", create_account_request_id=asked)), "the account is made")
    assert asked in [one["Id"] for one in cli("list-create-account-status")["CreateAccountStatuses"]]
    cli("close-account", account_id=status["AccountId"])
    refused = cli("remove-account-from-organization", account_id=organization["MasterAccountId"], fails=True)
    assert "MasterCannotLeaveOrganization" in refused
    cli.leaves_none_out()


def made(answer):
    status = answer["CreateAccountStatus"]
    return status if status["State"] == "SUCCEEDED" else None


def test_iam(sandbox):
    cli = Cli(sandbox, "iam")
    role = cli("create-role", role_name="Cli", assume_role_policy_document=TRUST)["Role"]
    cli("update-role", role_name="Cli", description="second")
    cli("update-assume-role-policy", role_name="Cli", policy_document=TRUST)
    cli("tag-role", role_name="Cli", tags="Key=a,Value=1")
    assert cli("get-role", role_name="Cli")["Role"]["Arn"] == role["Arn"]
    assert "Cli" in [one["RoleName"] for one in cli("list-roles")["Roles"]]
    cli("put-role-policy", role_name="Cli", policy_name="inline", policy_document=POLICY)
    assert cli("list-role-policies", role_name="Cli")["PolicyNames"] == ["inline"]
    assert cli("get-role-policy", role_name="Cli", policy_name="inline")["PolicyDocument"] == json.loads(POLICY)
    cli("delete-role-policy", role_name="Cli", policy_name="inline")
    arn = cli("create-policy", policy_name="Cli", policy_document=POLICY)["Policy"]["Arn"]
    assert arn in [one["Arn"] for one in cli("list-policies", scope="Local")["Policies"]]
    assert cli("get-policy", policy_arn=arn)["Policy"]["DefaultVersionId"] == "v1"
    cli("create-policy-version", policy_arn=arn, policy_document=POLICY)
    cli("set-default-policy-version", policy_arn=arn, version_id="v2")
    assert [one["VersionId"] for one in cli("list-policy-versions", policy_arn=arn)["Versions"]] == ["v2", "v1"]
    assert cli("get-policy-version", policy_arn=arn, version_id="v2")["PolicyVersion"]["IsDefaultVersion"]
    cli("delete-policy-version", policy_arn=arn, version_id="v1")
    cli("attach-role-policy", role_name="Cli", policy_arn=arn)
    attached = cli("list-attached-role-policies", role_name="Cli")["AttachedPolicies"]
    assert attached == [{"PolicyName": "Cli", "PolicyArn": arn}]
    cli("detach-role-policy", role_name="Cli", policy_arn=arn)
    cli("delete-policy", policy_arn=arn)
    cli("delete-role", role_name="Cli")
    cli("create-account-alias", account_alias="from-the-cli")
    assert cli("list-account-aliases")["AccountAliases"] == ["from-the-cli"]
    cli("delete-account-alias", account_alias="from-the-cli")
    cli.leaves_none_out()


def test_sts(sandbox):
    cli = Cli(sandbox, "sts")
    account = cli("get-caller-identity")["Account"]
    member = sandbox.members(state="ACTIVE", scp_blocked=False, invited=False)[0]["id"]
    assumed = cli("assume-role", role_arn=f"arn:aws:iam::{member}:role/OrganizationAccountAccessRole", role_session_name="cli")
    assert assumed["Credentials"]["SessionToken"] and account != member
    cli.leaves_none_out()


def test_config(sandbox):
    cli = Cli(sandbox, "configservice")
    name = {"configuration_aggregator_name": "organization"}
    named = cli("describe-configuration-aggregators", configuration_aggregator_names="organization")
    assert named["ConfigurationAggregators"][0]["ConfigurationAggregatorName"] == "organization"
    status = cli("describe-configuration-aggregator-sources-status", **name)["AggregatedSourceStatusList"]
    assert {one["LastUpdateStatus"] for one in status} == {"SUCCEEDED"}
    kind = "AWS::IAM::Role"
    filters = f"ResourceType={kind},Region=us-east-1"
    counts = cli("get-aggregate-discovered-resource-counts", **name, filters=filters, group_by_key="ACCOUNT_ID")
    assert len(counts["GroupedResourceCounts"]) >= 12
    query = f"SELECT accountId, resourceId WHERE resourceType = '{kind}'"
    found = json.loads(cli("select-aggregate-resource-config", **name, expression=query)["Results"][0])
    identifier = f"SourceAccountId={found['accountId']},SourceRegion=us-east-1,ResourceId={found['resourceId']},ResourceType={kind}"
    items = cli("batch-get-aggregate-resource-config", **name, resource_identifiers=identifier)["BaseConfigurationItems"]
    assert json.loads(items[0]["configuration"])["roleId"] == found["resourceId"]
    cli.leaves_none_out()


def test_sns_and_sqs(sandbox):
    sns, sqs = Cli(sandbox, "sns"), Cli(sandbox, "sqs")
    topic = sns("create-topic", name="cli")["TopicArn"]
    assert topic in [one["TopicArn"] for one in sns("list-topics")["Topics"]]
    queue = sqs("create-queue", queue_name="cli")["QueueUrl"]
    assert sqs("get-queue-url", queue_name="cli")["QueueUrl"] == queue
    assert queue in sqs("list-queues")["QueueUrls"]
    arn = sqs("get-queue-attributes", queue_url=queue, attribute_names="All")["Attributes"]["QueueArn"]
    allow = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    sqs("set-queue-attributes", queue_url=queue, attributes=json.dumps({"VisibilityTimeout": "43200", "Policy": policy}))
    subscription = sns("subscribe", topic_arn=topic, protocol="sqs", notification_endpoint=arn,
                       return_subscription_arn=True)["SubscriptionArn"]
    sns("set-subscription-attributes", subscription_arn=subscription, attribute_name="RawMessageDelivery", attribute_value="true")
    raw = sns("get-subscription-attributes", subscription_arn=subscription)["Attributes"]["RawMessageDelivery"]
    assert raw == "true"
    assert sns("list-subscriptions-by-topic", topic_arn=topic)["Subscriptions"][0]["SubscriptionArn"] == subscription
    sns("set-topic-attributes", topic_arn=topic, attribute_name="DisplayName", attribute_value="cli")
    assert sns("get-topic-attributes", topic_arn=topic)["Attributes"]["TopicArn"] == topic
    sns("publish", topic_arn=topic, message="published")
    sqs("send-message", queue_url=queue, message_body="sent")
    sqs("send-message-batch", queue_url=queue, entries="Id=1,MessageBody=batch")
    found = []
    while len(found) < 3:
        found += sqs("receive-message", queue_url=queue, wait_time_seconds=5, max_number_of_messages=10).get("Messages", [])
    assert sorted(message["Body"] for message in found) == ["batch", "published", "sent"]
    receipts = [message["ReceiptHandle"] for message in found]
    sqs("change-message-visibility", queue_url=queue, receipt_handle=receipts[0], visibility_timeout=900)
    sqs("change-message-visibility-batch", queue_url=queue,
        entries=json.dumps([{"Id": "1", "ReceiptHandle": receipts[1], "VisibilityTimeout": 900}]))
    sqs("delete-message", queue_url=queue, receipt_handle=receipts[0])
    sqs("delete-message-batch", queue_url=queue, entries=json.dumps([{"Id": "1", "ReceiptHandle": receipts[1]}]))
    sqs("purge-queue", queue_url=queue)
    sns("unsubscribe", subscription_arn=subscription)
    sns("delete-topic", topic_arn=topic)
    sqs("delete-queue", queue_url=queue)
    sns.leaves_none_out()
    sqs.leaves_none_out()


def test_cloudformation(sandbox, template):
    cli = Cli(sandbox, "cloudformation")
    named = {"capabilities": "CAPABILITY_NAMED_IAM", "template_body": template}
    stacks(cli, named, template)
    stack_sets(sandbox, cli, named)
    cli.leaves_none_out()


def stacks(cli, named, template):
    """Plain stacks and their change sets."""
    assert cli("validate-template", template_body=template)["Description"] == "one role"
    assert cli("get-template-summary", template_body=template)["ResourceTypes"] == ["AWS::IAM::Role"]
    stack = cli("create-stack", stack_name="cli", **named)["StackId"]
    described = lambda: cli("describe-stacks", stack_name="cli")["Stacks"][0]["StackStatus"]
    until(lambda: described() == "CREATE_COMPLETE", "the stack is made")
    assert stack in [one["StackId"] for one in cli("list-stacks")["StackSummaries"]]
    assert cli("get-template", stack_name="cli")["TemplateBody"]["Description"] == "one role"
    assert cli("describe-stack-events", stack_name="cli")["StackEvents"]
    (resource,) = cli("list-stack-resources", stack_name="cli")["StackResourceSummaries"]
    assert cli("describe-stack-resources", stack_name="cli")["StackResources"][0]["PhysicalResourceId"] == (
        resource["PhysicalResourceId"])
    tagged = {"tags": "Key=changed,Value=yes", "stack_name": "cli", **named}
    cli("create-change-set", change_set_name="dropped", **tagged)
    assert cli("list-change-sets", stack_name="cli")["Summaries"][0]["ChangeSetName"] == "dropped"
    cli("delete-change-set", stack_name="cli", change_set_name="dropped")
    cli("create-change-set", change_set_name="kept", **tagged)
    change = lambda: cli("describe-change-set", stack_name="cli", change_set_name="kept")["Status"]
    until(lambda: change() == "CREATE_COMPLETE", "the change set is made")
    cli("execute-change-set", stack_name="cli", change_set_name="kept")
    until(lambda: described() == "UPDATE_COMPLETE", "the change set is executed")
    cli("update-stack", stack_name="cli", tags="Key=changed,Value=again", **named)
    until(lambda: described() == "UPDATE_COMPLETE", "the stack is updated")
    protection = "update-termination-protection"
    assert cli(protection, stack_name="cli", enable_termination_protection=True)["StackId"] == stack
    assert "TerminationProtection" in cli("delete-stack", stack_name="cli", fails=True)
    cli(protection, stack_name="cli", no_enable_termination_protection=True)
    cli("delete-stack", stack_name="cli")
    gone = lambda: cli("describe-stacks", stack_name=stack)["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE"
    until(gone, "the stack is deleted")


def stack_sets(sandbox, cli, named):
    """Stack sets of the organization, their instances and operations."""
    cli("activate-organizations-access")
    assert cli("describe-organizations-access")["Status"] == "ENABLED"
    cli("create-stack-set", stack_set_name="cli", permission_model="SERVICE_MANAGED", auto_deployment="Enabled=false", **named)
    assert "cli" in [one["StackSetName"] for one in cli("list-stack-sets", status="ACTIVE")["Summaries"]]
    assert cli("describe-stack-set", stack_set_name="cli")["StackSet"]["Status"] == "ACTIVE"
    account = sandbox.members(state="ACTIVE", scp_blocked=False, invited=False)[0]
    targets = f"OrganizationalUnitIds={account['parent']},Accounts={account['id']},AccountFilterType=INTERSECTION"

    def operation(command, **options):
        started = cli(command, stack_set_name="cli", **options)["OperationId"]
        ended = lambda: cli("describe-stack-set-operation", stack_set_name="cli", operation_id=started)["StackSetOperation"]
        until(lambda: ended()["Status"] == "SUCCEEDED", f"{command} has ended")
        return started

    where = {"regions": "us-east-1", "deployment_targets": targets}
    started = operation("create-stack-instances", **where)
    results = cli("list-stack-set-operation-results", stack_set_name="cli", operation_id=started)["Summaries"]
    assert [(one["Account"], one["Status"]) for one in results] == [(account["id"], "SUCCEEDED")]
    assert [one["Account"] for one in cli("list-stack-instances", stack_set_name="cli")["Summaries"]] == [account["id"]]
    instance = cli("describe-stack-instance", stack_set_name="cli", stack_instance_account=account["id"],
                   stack_instance_region="us-east-1")["StackInstance"]
    assert instance["StackInstanceStatus"]["DetailedStatus"] == "SUCCEEDED"
    operation("update-stack-instances", parameter_overrides="ParameterKey=Secret,ParameterValue=x", **where)
    operation("update-stack-set", auto_deployment="Enabled=false", permission_model="SERVICE_MANAGED", description="second",
              **named)
    operation("detect-stack-set-drift")
    assert started in [one["OperationId"] for one in cli("list-stack-set-operations", stack_set_name="cli")["Summaries"]]
    cli("list-stack-set-auto-deployment-targets", stack_set_name="cli")
    refused = cli("stop-stack-set-operation", stack_set_name="cli", operation_id=started, fails=True)
    assert "InvalidOperation" in refused
    operation("delete-stack-instances", no_retain_stacks=True, **where)
    cli("delete-stack-set", stack_set_name="cli")
    cli("deactivate-organizations-access")
