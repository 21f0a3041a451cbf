"""SNS and SQS of the sandbox, driven by boto3. Each test is a fact about AWS."""

import json
import os
import subprocess
import sys
import time
import uuid

import pytest

from conftest import until
from stack_templates import error_of

SCENARIO = """
seed = 14
[organization]
accounts = 4
ous = 1
"""


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(SCENARIO)


@pytest.fixture(scope="module")
def sns(sandbox):
    return sandbox.aws("sns")


@pytest.fixture(scope="module")
def sqs(sandbox):
    return sandbox.aws("sqs")


@pytest.fixture
def name():
    return f"q-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def queue(sqs, name):
    return sqs.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "1"})["QueueUrl"]


def arn_of(sqs, queue):
    return sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def test_a_message_is_sent_received_and_deleted(sqs, queue):
    sent = sqs.send_message(QueueUrl=queue, MessageBody="hello")
    received = sqs.receive_message(QueueUrl=queue, MessageSystemAttributeNames=["All"], VisibilityTimeout=60)["Messages"][0]
    assert (received["Body"], received["MessageId"], received["MD5OfBody"]) == ("hello", sent["MessageId"], sent["MD5OfMessageBody"])
    assert received["Attributes"]["ApproximateReceiveCount"] == "1"
    assert "Messages" not in sqs.receive_message(QueueUrl=queue), "in flight"
    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
    assert (counts["ApproximateNumberOfMessages"], counts["ApproximateNumberOfMessagesNotVisible"]) == ("0", "1")
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=received["ReceiptHandle"])
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=received["ReceiptHandle"])
    counts = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["ApproximateNumberOfMessagesNotVisible"])["Attributes"]
    assert counts == {"ApproximateNumberOfMessagesNotVisible": "0"}


def test_a_message_that_is_not_deleted_comes_again(sqs, queue):
    sqs.send_message(QueueUrl=queue, MessageBody="again")
    first = sqs.receive_message(QueueUrl=queue)["Messages"][0]
    second = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20, AttributeNames=["All"])["Messages"][0]
    assert second["MessageId"] == first["MessageId"] and second["ReceiptHandle"] != first["ReceiptHandle"]
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"


def test_the_visibility_can_be_extended_and_given_up(sandbox, sqs, queue):
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    receipt = sqs.receive_message(QueueUrl=queue, VisibilityTimeout=60)["Messages"][0]["ReceiptHandle"]
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=receipt, VisibilityTimeout=600)
    with sandbox.clock(300):
        assert "Messages" not in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1), "the first timeout is over"
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=receipt, VisibilityTimeout=0)
    assert sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]


def test_a_long_poll_ends_with_the_first_message_or_with_the_time(sandbox, sqs, queue):
    started = time.monotonic()
    assert "Messages" not in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1)
    assert time.monotonic() - started >= 0.9
    polls = sandbox.calls()["sqs:ReceiveMessage"]
    poll = subprocess.Popen(
        [sys.executable, "-c", "import boto3,os,sys; c=boto3.client('sqs'); print(c.receive_message(QueueUrl=sys.argv[1],WaitTimeSeconds=20)['Messages'][0]['Body'])", queue],
        env={**os.environ, **sandbox.environment, "no_proxy": "*"}, stdout=subprocess.PIPE, text=True)
    until(lambda: sandbox.calls().get("sqs:ReceiveMessage", 0) > polls, "the poll has arrived")
    sqs.send_message(QueueUrl=queue, MessageBody="awaited")
    assert poll.communicate(timeout=60)[0].strip() == "awaited"


def test_batches_succeed_and_fail_by_entry(sqs, queue):
    sent = sqs.send_message_batch(QueueUrl=queue, Entries=[{"Id": "a", "MessageBody": "1"}, {"Id": "b", "MessageBody": "2"}])
    assert [entry["Id"] for entry in sent["Successful"]] == ["a", "b"]
    received = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=60)["Messages"]
    entries = [{"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]} for index, message in enumerate(received)]
    changed = sqs.change_message_visibility_batch(QueueUrl=queue, Entries=[{**entries[0], "VisibilityTimeout": 100}])
    assert len(changed["Successful"]) == 1
    done = sqs.delete_message_batch(QueueUrl=queue, Entries=[*entries, {"Id": "bad", "ReceiptHandle": "nonsense"}])
    assert len(done["Successful"]) == 2 and [entry["Id"] for entry in done["Failed"]] == ["bad"]
    assert "EmptyBatchRequest" in error_of(sqs.delete_message_batch, QueueUrl=queue, Entries=[])["Code"]


def test_what_is_received_too_often_goes_to_the_dead_letter_queue(sqs, queue, name):
    dead = sqs.create_queue(QueueName=f"{name}-dlq")["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": json.dumps(
        {"deadLetterTargetArn": arn_of(sqs, dead), "maxReceiveCount": 1})})
    sqs.send_message(QueueUrl=queue, MessageBody="poison")
    assert sqs.receive_message(QueueUrl=queue)["Messages"]
    until(lambda: "Messages" not in sqs.receive_message(QueueUrl=queue) and sqs.receive_message(QueueUrl=dead).get("Messages"), "it is dead")


def test_an_unknown_queue_is_a_modelled_error(sqs, queue):
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.receive_message(QueueUrl=f"{queue}x")
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName="nope")


def test_queues_are_listed_purged_and_deleted(sqs, queue, name):
    assert sqs.list_queues(QueueNamePrefix=name)["QueueUrls"] == [queue]
    assert sqs.get_queue_url(QueueName=name)["QueueUrl"] == queue
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    sqs.purge_queue(QueueUrl=queue)
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)
    sqs.delete_queue(QueueUrl=queue)
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=name)


def subscribed(sns, sqs, queue, topic, allow=True, **attributes):
    if allow:
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps({"Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": arn_of(sqs, queue), **attributes}]})})
    return sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn_of(sqs, queue), ReturnSubscriptionArn=True)["SubscriptionArn"]


def test_a_topic_delivers_with_an_envelope_or_raw(sns, sqs, queue, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    subscription = subscribed(sns, sqs, queue, topic)
    listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [entry["SubscriptionArn"] for entry in listed] == [subscription]
    published = sns.publish(TopicArn=topic, Subject="s", Message="m")["MessageId"]
    envelope = json.loads(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5, VisibilityTimeout=60)["Messages"][0]["Body"])
    assert (envelope["Message"], envelope["Subject"], envelope["MessageId"]) == ("m", "s", published)
    sns.set_subscription_attributes(SubscriptionArn=subscription, AttributeName="RawMessageDelivery", AttributeValue="true")
    assert sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]["RawMessageDelivery"] == "true"
    sns.publish(TopicArn=topic, Message="raw")
    assert sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5, VisibilityTimeout=60)["Messages"][0]["Body"] == "raw"
    sns.unsubscribe(SubscriptionArn=subscription)
    sns.delete_topic(TopicArn=topic)
    assert error_of(sns.publish, TopicArn=topic, Message="m")["Code"] == "NotFound"


def test_a_message_has_the_attributes_that_it_was_published_with_and_none_that_is_empty(sns, sqs, queue, name):
    topic = sns.create_topic(Name=name)["TopicArn"]
    subscribed(sns, sqs, queue, topic)
    event = {"DataType": "String", "StringValue": "run-failed"}
    sns.publish(TopicArn=topic, Message="m", MessageAttributes={"event": event, "job": {"DataType": "String", "StringValue": "sync"}})
    envelope = json.loads(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"][0]["Body"])
    assert envelope["MessageAttributes"] == {
        "event": {"Type": "String", "Value": "run-failed"}, "job": {"Type": "String", "Value": "sync"}}
    empty = {"event": event, "job": {"DataType": "String", "StringValue": ""}}
    refused = error_of(sns.publish, TopicArn=topic, Message="m", MessageAttributes=empty)
    assert refused["Code"] == "ParameterValueInvalid" and "'job' must contain non-empty" in refused["Message"]


def test_sns_delivers_as_the_service_without_an_organization_id(sandbox, sns, sqs, queue, name):
    organization = sandbox.aws("organizations").describe_organization()["Organization"]["Id"]
    topic = sns.create_topic(Name=name)["TopicArn"]
    subscribed(sns, sqs, queue, topic, Condition={"StringEquals": {"aws:PrincipalOrgID": organization}})
    sns.publish(TopicArn=topic, Message="lost")
    assert "Messages" not in sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1)
    subscribed(sns, sqs, queue, topic, Condition={"ArnEquals": {"aws:SourceArn": topic}})
    sns.publish(TopicArn=topic, Message="kept")
    assert json.loads(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"][0]["Body"])["Message"] == "kept"


def test_other_accounts_publish_only_where_the_topic_policy_lets_them(sandbox, sns, name):
    theirs = sandbox.member("sns", sandbox.members()[0]["id"])
    closed = sns.create_topic(Name=name)["TopicArn"]
    refused = error_of(theirs.publish, TopicArn=closed, Message="m")
    assert refused["Code"] == "AuthorizationError" and "SNS:Publish" in refused["Message"]
    provider = [topic["TopicArn"] for topic in sns.list_topics()["Topics"] if topic["TopicArn"].endswith(":spot-onboarding")][0]
    theirs.publish(TopicArn=provider, Message="m")
    policy = json.loads(sns.get_topic_attributes(TopicArn=provider)["Attributes"]["Policy"])
    assert "aws:PrincipalOrgID" in policy["Statement"][0]["Condition"]["StringEquals"]
    sns.set_topic_attributes(TopicArn=closed, AttributeName="Policy", AttributeValue=json.dumps(policy).replace(provider, closed))
    theirs.publish(TopicArn=closed, Message="m")


def test_the_providers_topic_and_queues_are_there(sqs):
    queue = sqs.get_queue_url(QueueName="spot-onboarding")["QueueUrl"]
    redrive = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"]
    assert json.loads(redrive)["deadLetterTargetArn"].endswith(":spot-onboarding-dlq")


def test_duplicates_and_overtaking_happen_as_the_scenario_says(start_sandbox):
    sandbox = start_sandbox("seed = 3\n[messaging]\nduplicates = 1.0\nreordered = 1.0\n")
    sns, sqs = sandbox.aws("sns"), sandbox.aws("sqs")
    topic = sns.list_topics()["Topics"][0]["TopicArn"]
    queue = sqs.get_queue_url(QueueName="spot-onboarding")["QueueUrl"]
    for number in range(8):
        sns.publish(TopicArn=topic, Message=str(number))
    bodies = []
    while len(bodies) < 16:
        found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5)["Messages"]
        bodies += [json.loads(message["Body"])["Message"] for message in found]
    assert sorted(bodies) == sorted([str(number) for number in range(8)] * 2)
    assert bodies != sorted(bodies)
