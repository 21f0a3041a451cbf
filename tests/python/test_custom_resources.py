"""Custom resources behind SNS and SQS: requests, answers, timeouts, updates, rollbacks. Each test is a fact about AWS."""

import json
import uuid

import pytest

from conftest import ROOT, until
from stack_templates import (ROLE, custom_template, deploy, ended, instances, service_managed, settled_stack, stack_status)

SCENARIO = """
seed = 12
[organization]
accounts = 12
ous = 3
rates = false
trusted_access = true
[iam]
propagation = "10ms"
[stack_sets]
operation_start = "10ms"
resource_time = "10ms"
"""


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(SCENARIO)


@pytest.fixture(scope="module")
def cfn(sandbox):
    return sandbox.aws("cloudformation")


@pytest.fixture(scope="module")
def sqs(sandbox):
    return sandbox.aws("sqs")


@pytest.fixture(scope="module")
def topic(sandbox):
    return sandbox.aws("sns").list_topics()["Topics"][0]["TopicArn"]


@pytest.fixture(scope="module")
def queue(sqs):
    return sqs.get_queue_url(QueueName="spot-onboarding")["QueueUrl"]


@pytest.fixture
def name():
    return f"stack-{uuid.uuid4().hex[:12]}"


class Provider:
    """Answers requests as a custom resource provider does."""

    def __init__(self, sandbox, sqs, queue):
        self.http, self.sqs, self.queue = sandbox.http, sqs, queue

    def next(self):
        """The next request, with the envelope that SNS put around it."""
        def received():
            found = self.sqs.receive_message(QueueUrl=self.queue, WaitTimeSeconds=1).get("Messages", [])
            return found[0] if found else None
        message = until(received, "a request arrives")
        self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        envelope = json.loads(message["Body"])
        return envelope, json.loads(envelope["Message"])

    def nothing(self):
        """No request is waiting."""
        return "Messages" not in self.sqs.receive_message(QueueUrl=self.queue)

    def answer(self, request, status="SUCCESS", physical_id="res-1", headers=None, **fields):
        """PUTs a response."""
        body = {"Status": status, "PhysicalResourceId": physical_id}
        body |= {key: request[key] for key in ("StackId", "RequestId", "LogicalResourceId")} | fields
        body = {key: value for key, value in body.items() if value is not None}
        headers = {"content-type": ""} if headers is None else headers
        return self.http.put(request["ResponseURL"], data=json.dumps(body), headers=headers, timeout=30).status_code


@pytest.fixture
def provider(sandbox, sqs, queue):
    return Provider(sandbox, sqs, queue)


def create(cfn, name, template, **arguments):
    return cfn.create_stack(StackName=name, TemplateBody=template, Capabilities=["CAPABILITY_IAM"], **arguments)["StackId"]


def events(cfn, stack_id, logical_id):
    found = cfn.describe_stack_events(StackName=stack_id)["StackEvents"]
    return [(event["ResourceStatus"], event.get("ResourceStatusReason", "")) for event in reversed(found) if event["LogicalResourceId"] == logical_id]


def test_a_request_has_all_fields_and_scalars_are_strings(cfn, name, topic, provider):
    stack_id = create(cfn, name, custom_template(topic))
    envelope, request = provider.next()
    assert envelope["Type"] == "Notification" and envelope["TopicArn"] == topic
    assert envelope["Subject"] == "AWS CloudFormation custom resource request"
    assert request["RequestType"] == "Create" and request["StackId"] == stack_id
    assert request["ResourceType"] == "Custom::SpotExternalId" and request["LogicalResourceId"] == "External"
    assert "PhysicalResourceId" not in request and request["ServiceToken"] == topic
    properties = request["ResourceProperties"]
    assert (properties["Flag"], properties["Count"], properties["ServiceToken"]) == ("true", "5", topic)
    assert provider.answer(request, physical_id="extid-1", Data={"Extra": "more"}) == 200
    stack = settled_stack(cfn, name)
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert outputs == {"ExternalId": "extid-1", "Extra": "more"}


def test_a_content_type_breaks_the_response_url(cfn, name, topic, provider):
    create(cfn, name, custom_template(topic))
    _, request = provider.next()
    assert provider.answer(request, headers={"content-type": "application/json"}) == 403
    assert stack_status(cfn, name) == "CREATE_IN_PROGRESS"
    provider.answer(request, Data={"Extra": "x"})
    assert settled_stack(cfn, name)["StackStatus"] == "CREATE_COMPLETE"


def test_a_failed_create_is_followed_by_a_delete_with_the_failed_id(cfn, name, topic, provider):
    stack_id = create(cfn, name, custom_template(topic))
    _, request = provider.next()
    provider.answer(request, "FAILED", "marker-CREATE_FAILED", Reason="two Spot accounts")
    _, delete = provider.next()
    assert (delete["RequestType"], delete["PhysicalResourceId"]) == ("Delete", "marker-CREATE_FAILED")
    provider.answer(delete, physical_id=delete["PhysicalResourceId"])
    assert settled_stack(cfn, name)["StackStatus"] == "ROLLBACK_COMPLETE"
    failed = [reason for status, reason in events(cfn, stack_id, "External") if status == "CREATE_FAILED"][0]
    assert failed == ("Received response status [FAILED] from custom resource. Message returned: two Spot accounts "
                      f"(RequestId: {request['RequestId']})")


def test_a_failure_without_a_physical_id_hides_its_reason(cfn, name, topic, provider):
    stack_id = create(cfn, name, custom_template(topic))
    _, request = provider.next()
    provider.answer(request, "FAILED", None, Reason="hidden")
    _, delete = provider.next()
    assert delete["PhysicalResourceId"].startswith(name)
    provider.answer(delete, physical_id=delete["PhysicalResourceId"])
    settled_stack(cfn, name)
    assert ("CREATE_FAILED", "Invalid PhysicalResourceId") in events(cfn, stack_id, "External")


def test_no_answer_hangs_until_the_service_timeout_and_the_rollback_delete_again(cfn, name, topic, provider):
    stack_id = create(cfn, name, custom_template(topic, timeout=1))
    assert provider.next()[1]["RequestType"] == "Create"
    assert provider.next()[1]["RequestType"] == "Delete"
    assert settled_stack(cfn, name)["StackStatus"] == "ROLLBACK_FAILED"
    history = events(cfn, stack_id, "External")
    assert [status for status, _ in history] == ["CREATE_IN_PROGRESS", "CREATE_FAILED", "DELETE_IN_PROGRESS", "DELETE_FAILED"]
    assert "did not receive a response from your Custom Resource" in history[1][1]


def test_an_absent_attribute_fails_whatever_needs_it(cfn, name, topic, provider):
    template = json.loads(custom_template(topic))
    template["Resources"]["SpotRole"]["Properties"]["Description"] = {"Fn::GetAtt": ["External", "Nope"]}
    stack_id = create(cfn, name, json.dumps(template))
    provider.answer(provider.next()[1])
    _, delete = provider.next()
    provider.answer(delete)
    settled_stack(cfn, name)
    reason = [reason for status, reason in events(cfn, stack_id, "SpotRole") if status == "CREATE_FAILED"][0]
    assert "CustomResource attribute error: Vendor response doesn't contain Nope" in reason


def test_a_response_over_4096_bytes_fails(cfn, name, topic, provider):
    create(cfn, name, custom_template(topic, policy="Retain"))
    provider.answer(provider.next()[1], Data={"Extra": "x" * 4100})
    assert settled_stack(cfn, name)["StackStatus"] == "ROLLBACK_COMPLETE"


def test_retained_resources_get_no_delete(cfn, name, topic, provider):
    stack_id = create(cfn, name, custom_template(topic, policy="Retain"))
    provider.answer(provider.next()[1], Data={"Extra": "x"})
    settled_stack(cfn, name)
    cfn.delete_stack(StackName=name)
    until(lambda: stack_status(cfn, stack_id) == "DELETE_COMPLETE", "deleted")
    assert provider.nothing()
    assert events(cfn, stack_id, "External")[-1][0] == "DELETE_SKIPPED"


def update(cfn, name, template):
    cfn.update_stack(StackName=name, TemplateBody=template, Capabilities=["CAPABILITY_IAM"])


def deployed(cfn, name, topic, provider, **properties):
    stack_id = create(cfn, name, custom_template(topic, **properties))
    provider.answer(provider.next()[1], physical_id="one", Data={"Extra": "x"})
    assert settled_stack(cfn, name)["StackStatus"] == "CREATE_COMPLETE"
    return stack_id


def test_an_update_is_sent_only_when_properties_changed(cfn, name, topic, provider):
    deployed(cfn, name, topic, provider)
    template = json.loads(custom_template(topic))
    template["Resources"]["SpotRole"]["Properties"]["Description"] = "changed"
    update(cfn, name, json.dumps(template))
    assert settled_stack(cfn, name)["StackStatus"] == "UPDATE_COMPLETE"
    assert provider.nothing()
    template["Resources"]["External"]["Properties"]["Nonce"] = 2
    update(cfn, name, json.dumps(template))
    _, request = provider.next()
    assert (request["RequestType"], request["PhysicalResourceId"]) == ("Update", "one")
    assert request["ResourceProperties"]["Nonce"] == "2" and "Nonce" not in request["OldResourceProperties"]
    provider.answer(request, physical_id="one", Data={"Extra": "x"})
    assert settled_stack(cfn, name)["StackStatus"] == "UPDATE_COMPLETE"
    assert provider.nothing()


def test_a_new_physical_id_replaces_and_the_old_one_is_deleted_in_the_cleanup(cfn, name, topic, provider):
    deployed(cfn, name, topic, provider)
    update(cfn, name, custom_template(topic, Nonce="2"))
    provider.answer(provider.next()[1], physical_id="two", Data={"Extra": "x"})
    _, delete = provider.next()
    assert (delete["RequestType"], delete["PhysicalResourceId"]) == ("Delete", "one")
    assert stack_status(cfn, name) == "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"
    provider.answer(delete, "FAILED", "one", Reason="no")
    stack = settled_stack(cfn, name)
    assert stack["StackStatus"] == "UPDATE_COMPLETE", "a failed cleanup does not fail the update"
    assert {output["OutputValue"] for output in stack["Outputs"]} == {"two", "x"}


def test_a_failed_update_is_reverted_with_swapped_properties(cfn, name, topic, provider):
    deployed(cfn, name, topic, provider)
    update(cfn, name, custom_template(topic, Nonce="2"))
    provider.answer(provider.next()[1], "FAILED", "one", Reason="no")
    _, back = provider.next()
    assert back["RequestType"] == "Update"
    assert "Nonce" not in back["ResourceProperties"] and back["OldResourceProperties"]["Nonce"] == "2"
    provider.answer(back, physical_id="one", Data={"Extra": "x"})
    assert settled_stack(cfn, name)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"


def test_a_service_token_cannot_change_under_a_logical_id(sandbox, cfn, name, topic, provider):
    stack_id = deployed(cfn, name, topic, provider)
    other = sandbox.aws("sns").create_topic(Name="another")["TopicArn"]
    update(cfn, name, custom_template(other))
    assert settled_stack(cfn, name)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert provider.nothing()
    assert ("UPDATE_FAILED", "Modifying service token is not allowed.") in events(cfn, stack_id, "External")


def test_a_topic_that_does_not_allow_the_caller_fails_at_once(sandbox, cfn, provider):
    closed = sandbox.aws("sns").create_topic(Name="closed")["TopicArn"]
    member = sandbox.members(state="ACTIVE")[0]["id"]
    root = sandbox.aws("organizations").list_roots()["Roots"][0]["Id"]
    service_managed(cfn, "closed", template=custom_template(closed, timeout=3600))
    ended(cfn, "closed", deploy(cfn, "closed", [root], [member]))
    reason = instances(cfn, "closed")[member]["StatusReason"]
    assert "ResourceLogicalId:External, ResourceType:Custom::SpotExternalId" in reason
    assert "stacksets-exec-" in reason and "SNS:Publish" in reason


def test_a_topic_in_another_region_fails(cfn, name, topic):
    stack_id = create(cfn, name, custom_template(topic.replace("us-east-1", "eu-west-1")))
    assert settled_stack(cfn, name)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "Region" in events(cfn, stack_id, "External")[1][1]


def test_member_accounts_reach_the_topic_by_organization_id(sandbox, cfn, topic, provider):
    members = [account["id"] for account in sandbox.members(state="ACTIVE")][:2]
    root = sandbox.aws("organizations").list_roots()["Roots"][0]["Id"]
    service_managed(cfn, "queued", template=custom_template(topic))
    operation_id = deploy(cfn, "queued", [root], members)
    for _ in members:
        _, request = provider.next()
        assert request["ResourceProperties"]["Account"] in members
        provider.answer(request, physical_id=f"extid-{request['ResourceProperties']['Account']}", Data={"Extra": "x"})
    done = ended(cfn, "queued", operation_id)
    assert done["StatusDetails"]["FailedStackInstancesCount"] == 0
    assert all(instance["Status"] == "CURRENT" for instance in instances(cfn, "queued").values())


def test_a_failed_resource_gives_its_reason_to_the_instance_and_leaves_no_stack(sandbox, cfn, topic, provider):
    member = sandbox.members(state="ACTIVE")[2]["id"]
    root = sandbox.aws("organizations").list_roots()["Roots"][0]["Id"]
    service_managed(cfn, "failing", template=custom_template(topic))
    operation_id = deploy(cfn, "failing", [root], [member])
    provider.answer(provider.next()[1], "FAILED", "x", Reason="the Spot account is linked elsewhere")
    provider.answer(provider.next()[1], physical_id="x")
    assert ended(cfn, "failing", operation_id)["StatusDetails"]["FailedStackInstancesCount"] == 1
    instance = instances(cfn, "failing")[member]
    assert instance["StatusReason"].startswith(
        "ResourceLogicalId:External, ResourceType:Custom::SpotExternalId, ResourceStatusReason:Received response status [FAILED]")
    assert stack_status(sandbox.member("cloudformation", member), instance["StackId"]) == "DELETE_COMPLETE"


def test_a_template_like_spots_own_enrolls_through_spots_hosted_functions(sandbox, start_sandbox):
    sandbox = start_sandbox(SCENARIO)
    cfn = sandbox.aws("cloudformation")
    template = (ROOT / "crates/sandbox/tests/data/spot-hosted.yaml").read_text()
    member, named = [account["id"] for account in sandbox.members(state="ACTIVE")][:2]
    sandbox.member("iam", named).create_account_alias(AccountAlias="payments-prod")
    root = sandbox.aws("organizations").list_roots()["Roots"][0]["Id"]
    service_managed(cfn, "seed", template=template,
                    Parameters=[{"ParameterKey": "Token", "ParameterValue": sandbox.environment["SPOTINST_TOKEN"]}])
    done = ended(cfn, "seed", deploy(cfn, "seed", [root], [member, named]))
    instance = instances(cfn, "seed")[member]
    assert done["StatusDetails"]["FailedStackInstancesCount"] == 0, instance
    stack = sandbox.member("cloudformation", member).describe_stacks(StackName=instance["StackId"])["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    linked = sandbox.spot("GET", "/setup/account", cloudAccountId=member).json()["response"]["items"]
    assert [item["accountId"] for item in linked] == [outputs["AccountId"]]
    assert linked[0]["name"] == member, "without an alias the account keeps its name"
    renamed = sandbox.spot("GET", "/setup/account", cloudAccountId=named).json()["response"]["items"]
    assert [item["name"] for item in renamed] == ["payments-prod"]
