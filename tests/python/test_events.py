"""EventBridge of the sandbox: rules of stacks, and what Organizations and CloudFormation tell, driven by boto3."""

import json
import uuid

import pytest

from conftest import until
from stack_templates import error_of

SCENARIO = """
seed = 21
clock_speed = 120.0
[organization]
accounts = 4
ous = 2
depth = 1
rates = false
trusted_access = true
"""

ORGANIZATION = {"source": ["aws.organizations"]}


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(SCENARIO)


@pytest.fixture
def name():
    return f"events-{uuid.uuid4().hex[:12]}"


def listener(name, pattern, **more):
    """A stack with a rule, its queue and the policy between them."""
    allowed = {
        "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage",
        "Resource": {"Fn::GetAtt": ["Queue", "Arn"]},
        "Condition": {"ArnEquals": {"aws:SourceArn": {"Fn::GetAtt": ["Rule", "Arn"]}}},
    }
    rule = {"EventPattern": pattern, "State": "ENABLED",
            "Targets": [{"Id": "Queue", "Arn": {"Fn::GetAtt": ["Queue", "Arn"]}}], **more}
    return {
        "Resources": {
            "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": name}},
            "Rule": {"Type": "AWS::Events::Rule", "Properties": rule},
            "Policy": {"Type": "AWS::SQS::QueuePolicy", "Properties": {
                "Queues": [{"Ref": "Queue"}], "PolicyDocument": {"Version": "2012-10-17", "Statement": [allowed]}}},
        }
    }


def deploy(sandbox, name, template, region="us-east-1"):
    cfn = sandbox.aws("cloudformation", region=region)
    cfn.create_stack(StackName=name, TemplateBody=json.dumps(template), Capabilities=["CAPABILITY_NAMED_IAM"])

    def ended():
        status = cfn.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        return status if not status.endswith("_IN_PROGRESS") else None

    return until(ended, "the stack is there")


def change(sandbox, name, template):
    cfn = sandbox.aws("cloudformation")
    cfn.update_stack(StackName=name, TemplateBody=json.dumps(template))
    until(lambda: cfn.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "UPDATE_COMPLETE", "updated")


class Heard:
    """What has come to a queue."""

    def __init__(self, sandbox, name, region="us-east-1"):
        self.sqs = sandbox.aws("sqs", region=region)
        self.url = self.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        self.events = []

    def look(self):
        received = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=10, VisibilityTimeout=43200)
        self.events += [json.loads(message["Body"]) for message in received.get("Messages", [])]

    def until(self, wanted):
        """The first event that is so."""

        def found():
            self.look()
            return next((event for event in self.events if wanted(event)), None)

        return until(found, f"an event, among {[event['detail'] for event in self.events]}")

    def named(self, name, account=None):
        return self.until(lambda event: event["detail"].get("eventName") == name and (not account or account in json.dumps(event["detail"])))


def test_an_account_that_is_created_is_told_of_before_it_is_placed(sandbox, name):
    assert deploy(sandbox, name, listener(name, ORGANIZATION)) == "CREATE_COMPLETE"
    heard = Heard(sandbox, name)
    organizations = sandbox.aws("organizations")
    created = organizations.create_account(AccountName="new", Email=f"{name}@example.com")["CreateAccountStatus"]
    begun = heard.named("CreateAccount")
    assert begun["detail-type"] == "AWS API Call via CloudTrail"
    assert begun["detail"]["responseElements"]["createAccountStatus"]["state"] == "IN_PROGRESS"
    result = heard.named("CreateAccountResult")
    assert (result["detail-type"], result["region"]) == ("AWS Service Event via CloudTrail", "us-east-1")
    status = result["detail"]["serviceEventDetails"]["createAccountStatus"]
    assert (status["id"], status["state"]) == (created["Id"], "SUCCEEDED")
    account = status["accountId"]
    root = organizations.list_roots()["Roots"][0]["Id"]
    assert organizations.list_parents(ChildId=account)["Parents"][0]["Id"] == root
    joined = heard.named("AccountJoinedOrganization", account)["detail"]["serviceEventDetails"]
    assert joined["joinedMethod"] == "CREATED"
    unit = organizations.list_organizational_units_for_parent(ParentId=root)["OrganizationalUnits"][0]["Id"]
    organizations.move_account(AccountId=account, SourceParentId=root, DestinationParentId=unit)
    moved = heard.named("MoveAccount", account)
    assert moved["detail"]["requestParameters"] == {"accountId": account, "sourceParentId": root, "destinationParentId": unit}
    assert moved["detail"]["responseElements"] is None
    assert moved["account"] == organizations.describe_organization()["Organization"]["MasterAccountId"]
    organizations.tag_resource(ResourceId=account, Tags=[{"Key": "stage", "Value": "prod"}])
    assert heard.named("TagResource", account)["detail"]["requestParameters"]["resourceId"] == account
    organizations.close_account(AccountId=account)
    heard.named("CloseAccount", account)
    closed = heard.named("CloseAccountResult", account)["detail"]["serviceEventDetails"]["closeAccountStatus"]
    assert (closed["accountId"], closed["state"]) == (account, "SUCCEEDED")
    ids = [event["detail"]["eventID"] for event in heard.events]
    assert len(set(ids)) == len(ids)


def test_an_account_that_is_removed_is_told_of(sandbox, name):
    deploy(sandbox, name, listener(name, ORGANIZATION))
    heard = Heard(sandbox, name)
    account = sandbox.admin("POST", "accounts", {"name": "short"})["id"]
    sandbox.aws("organizations").remove_account_from_organization(AccountId=account)
    heard.named("RemoveAccountFromOrganization", account)
    departed = heard.named("AccountDepartedOrganization", account)["detail"]["serviceEventDetails"]
    assert departed["departureMethod"] == "REMOVED"


def test_a_rule_gets_what_its_pattern_wants_and_as_long_as_it_is_enabled(sandbox, name):
    moves = {"source": ["aws.organizations"], "detail": {"eventName": ["MoveAccount"]}}
    deploy(sandbox, name, listener(name, moves))
    heard = Heard(sandbox, name)
    units = [unit["id"] for unit in sandbox.admin("GET", "ous")["ous"][1:]]
    first = sandbox.admin("POST", "accounts", {"name": "first", "ou": units[0]})["id"]
    heard.named("MoveAccount", first)
    change(sandbox, name, listener(name, moves, State="DISABLED"))
    unheard = sandbox.admin("POST", "accounts", {"name": "unheard", "ou": units[0]})["id"]
    change(sandbox, name, listener(name, moves))
    last = sandbox.admin("POST", "accounts", {"name": "last", "ou": units[0]})["id"]
    heard.named("MoveAccount", last)
    assert [event["detail"]["eventName"] for event in heard.events] == ["MoveAccount"] * 2
    assert unheard not in json.dumps(heard.events)


def test_a_queue_whose_policy_does_not_let_the_rule_gets_nothing(sandbox, name):
    template = listener(name, ORGANIZATION)
    del template["Resources"]["Policy"]
    deploy(sandbox, name, template)
    other = f"{name}-2"
    deploy(sandbox, other, listener(other, ORGANIZATION))
    heard = Heard(sandbox, other)
    account = sandbox.admin("POST", "accounts", {"name": "quiet"})["id"]
    heard.named("AccountJoinedOrganization", account)
    silent = Heard(sandbox, name)
    silent.look()
    assert silent.events == []


def test_events_of_organizations_appear_in_one_region_and_are_handed_on_by_a_rule(sandbox, name):
    management = sandbox.aws("sts").get_caller_identity()["Account"]
    assert deploy(sandbox, name, listener(name, ORGANIZATION), "eu-west-1") == "CREATE_COMPLETE"
    heard = Heard(sandbox, name, "eu-west-1")
    before = sandbox.admin("POST", "accounts", {"name": "before"})["id"]
    bus = f"arn:aws:events:eu-west-1:{management}:event-bus/default"
    relay = {"Resources": {"Rule": {"Type": "AWS::Events::Rule", "Properties": {
        "EventPattern": ORGANIZATION, "Targets": [{"Id": "Home", "Arn": bus}]}}}}
    deploy(sandbox, f"{name}-relay", relay)
    account = sandbox.admin("POST", "accounts", {"name": "after"})["id"]
    event = heard.named("AccountJoinedOrganization", account)
    assert event["region"] == "us-east-1", "where it happened"
    assert before not in json.dumps(heard.events)


def test_a_pattern_that_eventbridge_refuses_fails_its_stack(sandbox, name):
    assert deploy(sandbox, name, listener(name, {"source": []})) == "ROLLBACK_COMPLETE"
    none = {"Resources": {"Rule": {"Type": "AWS::Events::Rule"}}}
    assert deploy(sandbox, f"{name}-2", none) == "ROLLBACK_COMPLETE"


def test_stack_sets_tell_of_their_operations_and_instances(sandbox, name):
    pattern = {"source": ["aws.cloudformation"], "detail": {"stack-set-arn": [{"wildcard": f"arn:aws:cloudformation:*:stackset/{name}:*"}]}}
    deploy(sandbox, name, listener(name, pattern))
    heard = Heard(sandbox, name)
    cfn = sandbox.aws("cloudformation")
    template = {"Resources": {"Handle": {"Type": "AWS::CloudFormation::WaitConditionHandle"}}}
    cfn.create_stack_set(StackSetName=name, TemplateBody=json.dumps(template), PermissionModel="SERVICE_MANAGED",
                         AutoDeployment={"Enabled": False})
    def of(kind):
        return lambda event: event["detail-type"] == f"CloudFormation {kind} Status Change"
    made = heard.until(of("StackSet"))
    assert made["detail"]["status-details"]["status"] == "ACTIVE"
    root = sandbox.aws("organizations").list_roots()["Roots"][0]["Id"]
    member = sandbox.members()[0]["id"]
    operation = cfn.create_stack_instances(
        StackSetName=name, Regions=["us-east-1"],
        DeploymentTargets={"OrganizationalUnitIds": [root], "Accounts": [member], "AccountFilterType": "INTERSECTION"},
    )["OperationId"]
    ended = heard.until(lambda event: of("StackSet Operation")(event) and event["detail"]["status-details"]["status"] == "SUCCEEDED")
    assert ended["detail"]["stack-set-operation-id"] == operation
    assert ended["resources"] == [ended["detail"]["stack-set-arn"]]
    instance = heard.until(lambda event: of("StackSet StackInstance")(event) and event["detail"]["status-details"]["detailed-status"] == "SUCCEEDED")
    assert (instance["detail"]["action"], instance["detail"]["status-details"]["status"]) == ("CREATE", "CURRENT")
    assert instance["detail"]["stack-id"].split(":")[4] == member


def test_events_are_lost_and_doubled_as_the_scenario_says(start_sandbox, name):
    def events(more):
        sandbox = start_sandbox(SCENARIO + more)
        deploy(sandbox, name, listener(name, {"detail": {"eventName": ["AccountJoinedOrganization"]}}))
        new = lambda: sandbox.admin("POST", "accounts", {"name": "new"})["id"]
        heard, accounts, later = Heard(sandbox, name), {new() for _ in range(40)}, set()
        of = lambda event: event["detail"]["serviceEventDetails"]["accountId"]

        def is_heard_of_a_later_one():
            later.add(new())
            heard.look()
            return any(of(event) in later for event in heard.events)

        # They come in their order, so all earlier ones have come by then.
        until(is_heard_of_a_later_one, "a later account is told of")
        return [event["detail"]["eventID"] for event in heard.events if of(event) in accounts]

    lost = events("[events]\nlost = 0.5\n")
    assert 5 <= len(lost) == len(set(lost)) <= 35
    doubled = events("[events]\nduplicates = 0.5\n")
    assert len(set(doubled)) == 40 < len(doubled)
