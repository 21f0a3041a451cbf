"""Change sets of the sandbox, and the resources of plain stacks that are not IAM's, driven by boto3. Each test is a fact
about AWS."""

import json
import uuid

import pytest

from conftest import until
from stack_templates import ROLE_TEMPLATE, error_of, everything, settled_stack, stack_status

SCENARIO = """
seed = 17
clock_speed = 100.0
[organization]
accounts = 2
[provider]
enabled = false
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


def messaging(name, visibility=30, policy="Retain"):
    """A topic that outlives its stack, a queue, and what connects them."""
    topic, queue = {"Ref": "Topic"}, {"Fn::GetAtt": ["Queue", "Arn"]}
    send = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": queue, "Condition": {"ArnEquals": {"aws:SourceArn": topic}}}
    return {"Resources": {
        "Topic": {"Type": "AWS::SNS::Topic", "DeletionPolicy": policy, "UpdateReplacePolicy": policy,
                  "Properties": {"TopicName": name}},
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name, "VisibilityTimeout": visibility}},
        "QueuePolicy": {"Type": "AWS::SQS::QueuePolicy", "Properties": {
            "Queues": [{"Ref": "Queue"}], "PolicyDocument": {"Version": "2012-10-17", "Statement": [send]}}},
        "Subscription": {"Type": "AWS::SNS::Subscription", "DependsOn": "QueuePolicy", "Properties": {
            "TopicArn": topic, "Protocol": "sqs", "Endpoint": queue}},
    }, "Outputs": {"Topic": {"Value": topic}, "Queue": {"Value": {"Ref": "Queue"}}}}


def change_set(cfn, stack, template, kind="UPDATE", name="change", **arguments):
    """Creates a change set, waits until it is made, and describes it."""
    cfn.create_change_set(StackName=stack, ChangeSetName=name, ChangeSetType=kind, TemplateBody=json.dumps(template),
                          Capabilities=["CAPABILITY_NAMED_IAM"], **arguments)
    return made(cfn, stack, name)


def made(cfn, stack, name="change"):
    def over():
        described = cfn.describe_change_set(StackName=stack, ChangeSetName=name)
        return described if not described["Status"].endswith(("_IN_PROGRESS", "_PENDING")) else None
    return until(over, f"the change set {name} is made")


def deployed(cfn, stack, template):
    """A stack made through a change set."""
    change_set(cfn, stack, template, "CREATE")
    cfn.execute_change_set(StackName=stack, ChangeSetName="change", ClientRequestToken=f"{stack}-1")
    until(lambda: not stack_status(cfn, stack).endswith("_IN_PROGRESS"), "deployed")
    assert stack_status(cfn, stack) == "CREATE_COMPLETE"


def of(described):
    return {change["ResourceChange"]["LogicalResourceId"]: change["ResourceChange"] for change in described["Changes"]}


def test_a_change_set_of_a_new_stack_puts_it_in_review(cfn, name):
    described = change_set(cfn, name, messaging(name), "CREATE")
    assert (described["Status"], described["ExecutionStatus"]) == ("CREATE_COMPLETE", "AVAILABLE")
    assert {change["Action"] for change in of(described).values()} == {"Add"}
    assert stack_status(cfn, name) == "REVIEW_IN_PROGRESS"
    assert "Outputs" not in cfn.describe_stacks(StackName=name)["Stacks"][0]
    refused = error_of(cfn.create_change_set, StackName=name, ChangeSetName="update", TemplateBody=json.dumps(messaging(name)))
    assert "is in REVIEW_IN_PROGRESS state and can not be updated." in refused["Message"]
    cfn.delete_stack(StackName=name)
    until(lambda: error_of_or_none(cfn, name), "the empty stack is gone")


def error_of_or_none(cfn, name):
    try:
        cfn.describe_stacks(StackName=name)
    except cfn.exceptions.ClientError as error:
        return error.response["Error"]["Code"] == "ValidationError"
    return None


def test_executing_a_change_set_makes_topic_queue_and_subscription(sandbox, cfn, name):
    deployed(cfn, name, messaging(name))
    outputs = {output["OutputKey"]: output["OutputValue"] for output in cfn.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]}
    sns, sqs = sandbox.aws("sns"), sandbox.aws("sqs")
    sns.publish(TopicArn=outputs["Topic"], Message="hello")
    got = until(lambda: sqs.receive_message(QueueUrl=outputs["Queue"]).get("Messages"), "the message arrives")
    assert json.loads(got[0]["Body"])["Message"] == "hello"
    events = cfn.describe_stack_events(StackName=name)["StackEvents"]
    assert {event.get("ClientRequestToken") for event in events} == {f"{name}-1", None}
    assert [event["ResourceStatus"] for event in events if "ClientRequestToken" not in event] == ["REVIEW_IN_PROGRESS"]


def test_names_of_change_sets_are_unique_and_a_token_repeats_a_creation(cfn, name):
    arguments = {"StackName": name, "ChangeSetName": "one", "ChangeSetType": "CREATE", "TemplateBody": json.dumps(messaging(name))}
    first = cfn.create_change_set(ClientToken="t-1", **arguments)
    assert cfn.create_change_set(ClientToken="t-1", **arguments)["Id"] == first["Id"]
    assert error_of(cfn.create_change_set, **arguments)["Code"] == "AlreadyExistsException"
    assert cfn.describe_change_set(ChangeSetName=first["Id"])["StackName"] == name


def test_a_change_set_without_changes_fails(cfn, name):
    deployed(cfn, name, messaging(name))
    described = change_set(cfn, name, messaging(name), name="same")
    assert (described["Status"], described["ExecutionStatus"]) == ("FAILED", "UNAVAILABLE")
    assert "The submitted information didn't contain changes." in described["StatusReason"]
    refused = error_of(cfn.execute_change_set, StackName=name, ChangeSetName="same")
    assert refused["Code"] == "InvalidChangeSetStatus"


def test_changes_say_what_is_replaced_and_what_stays(cfn, name):
    deployed(cfn, name, messaging(name))
    other = messaging(f"{name}-b", visibility=60)
    del other["Resources"]["Subscription"]
    changes = of(change_set(cfn, name, other, name="renamed"))
    assert (changes["Topic"]["Replacement"], changes["Topic"]["PolicyAction"]) == ("True", "ReplaceAndRetain")
    assert (changes["Queue"]["Replacement"], changes["Queue"]["PolicyAction"]) == ("True", "ReplaceAndDelete")
    assert changes["QueuePolicy"]["Replacement"] == "False"
    assert (changes["Subscription"]["Action"], changes["Subscription"]["PolicyAction"]) == ("Remove", "Delete")
    details = {detail["Target"]["Name"]: detail["Target"]["RequiresRecreation"] for detail in changes["Queue"]["Details"]}
    assert details == {"QueueName": "Always", "VisibilityTimeout": "Never"}
    in_place = of(change_set(cfn, name, messaging(name, visibility=60), name="in-place"))
    assert [(id, change["Replacement"]) for id, change in in_place.items()] == [("Queue", "False")]
    assert [summary["ChangeSetName"] for summary in everything(cfn, "list_change_sets", StackName=name)] == ["in-place", "renamed", "change"]


def test_a_subscription_of_a_replaced_topic_may_be_replaced(cfn, name):
    deployed(cfn, name, messaging(name))
    other = messaging(name)
    other["Resources"]["Topic"]["Properties"]["TopicName"] = f"{name}-b"
    changes = of(change_set(cfn, name, other, name="renamed"))
    assert changes["Subscription"]["Replacement"] == "Conditional"


def test_an_execution_takes_the_other_change_sets_with_it(sandbox, cfn, name):
    deployed(cfn, name, messaging(name))
    change_set(cfn, name, messaging(name, visibility=60), name="one")
    change_set(cfn, name, messaging(name, visibility=90), name="two")
    cfn.execute_change_set(StackName=name, ChangeSetName="one")
    assert settled_stack(cfn, name)["StackStatus"] == "UPDATE_COMPLETE"
    assert error_of(cfn.describe_change_set, StackName=name, ChangeSetName="two")["Code"] == "ChangeSetNotFound"
    assert cfn.describe_change_set(StackName=name, ChangeSetName="one")["ExecutionStatus"] == "EXECUTE_COMPLETE"
    sqs = sandbox.aws("sqs")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]["VisibilityTimeout"] == "60"


def test_a_change_set_is_obsolete_once_the_stack_has_changed(cfn, name):
    deployed(cfn, name, messaging(name))
    change_set(cfn, name, messaging(name, visibility=60), name="late")
    cfn.update_stack(StackName=name, TemplateBody=json.dumps(messaging(name, visibility=90)))
    settled_stack(cfn, name)
    assert cfn.describe_change_set(StackName=name, ChangeSetName="late")["ExecutionStatus"] == "OBSOLETE"
    assert error_of(cfn.execute_change_set, StackName=name, ChangeSetName="late")["Code"] == "InvalidChangeSetStatus"


def test_a_change_set_that_is_deleted_is_gone_and_deleting_it_again_succeeds(cfn, name):
    deployed(cfn, name, messaging(name))
    change_set(cfn, name, messaging(name, visibility=60), name="gone")
    for _ in range(2):
        cfn.delete_change_set(StackName=name, ChangeSetName="gone")
    assert error_of(cfn.describe_change_set, StackName=name, ChangeSetName="gone")["Code"] == "ChangeSetNotFound"


def test_only_a_new_stack_can_be_created_by_a_change_set(cfn, name):
    deployed(cfn, name, messaging(name))
    refused = error_of(change_set, cfn=cfn, stack=name, template=messaging(name), kind="CREATE", name="again")
    assert "already exists and cannot be created again with the changeSet [again]" in refused["Message"]
    refused = error_of(change_set, cfn=cfn, stack=f"{name}-none", template=messaging(name))
    assert refused["Message"] == f"Stack [{name}-none] does not exist"


def test_many_changes_come_in_pages(cfn, name):
    template = {"Resources": {f"Topic{index:03}": {"Type": "AWS::SNS::Topic"} for index in range(120)}}
    change_set(cfn, name, template, "CREATE")
    pages = list(cfn.get_paginator("describe_change_set").paginate(StackName=name, ChangeSetName="change"))
    assert len(pages) == 2 and sum(len(page["Changes"]) for page in pages) == 120


def test_capabilities_are_needed_for_a_change_set_too(cfn, name):
    refused = error_of(cfn.create_change_set, StackName=name, ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=ROLE_TEMPLATE)
    assert refused["Code"] == "InsufficientCapabilitiesException"


@pytest.mark.parametrize("except_on_create", [True, False])
def test_what_a_failed_creation_retains_is_the_callers_choice(sandbox, cfn, name, except_on_create):
    template = messaging(name)
    template["Resources"]["Bad"] = {"Type": "AWS::Unknown::Thing", "DependsOn": "Topic"}
    change_set(cfn, name, template, "CREATE")
    cfn.execute_change_set(StackName=name, ChangeSetName="change", RetainExceptOnCreate=except_on_create)
    assert settled_stack(cfn, name)["StackStatus"] == "ROLLBACK_COMPLETE"
    topics = [topic["TopicArn"].rsplit(":", 1)[1] for topic in sandbox.aws("sns").list_topics()["Topics"]]
    assert (name in topics) == (not except_on_create)


def test_a_retained_topic_outlives_its_stack_and_its_name_is_taken(sandbox, cfn, name):
    deployed(cfn, name, messaging(name))
    cfn.delete_stack(StackName=name)
    until(lambda: error_of_or_none(cfn, name), "deleted")
    sqs = sandbox.aws("sqs")
    assert error_of(sqs.get_queue_url, QueueName=name)["Code"] == "QueueDoesNotExist"
    change_set(cfn, name, messaging(name), "CREATE", name="again")
    cfn.execute_change_set(StackName=name, ChangeSetName="again")
    assert settled_stack(cfn, name)["StackStatus"] == "ROLLBACK_COMPLETE"
    reasons = [event.get("ResourceStatusReason", "") for event in cfn.describe_stack_events(StackName=name)["StackEvents"]]
    assert any("already exists" in reason and "Service: Sns" in reason for reason in reasons), reasons


def test_resources_without_a_simulation_have_ids_and_attributes(cfn, name):
    kinds = {"Key": "AWS::KMS::Key", "Alarm": "AWS::CloudWatch::Alarm", "Bucket": "AWS::S3::Bucket"}
    template = {"Resources": {id: {"Type": kind} for id, kind in kinds.items()},
                "Outputs": {id: {"Value": {"Fn::GetAtt": [id, "Arn"]}} for id in kinds}}
    deployed(cfn, name, template)
    outputs = {output["OutputKey"]: output["OutputValue"] for output in cfn.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]}
    services = {id: arn.split(":")[2] for id, arn in outputs.items()}
    assert services == {"Key": "kms", "Alarm": "cloudwatch", "Bucket": "s3"}
