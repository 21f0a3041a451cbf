"""What the emulators do otherwise than AWS, as `tests/operations.toml` lists it under `[[gap]]`.

Each test passes while its gap is open. One that fails is good news: remove the gap from the list, and have the Rust
client's wire checks use the operation. No code of ours runs here.
"""

import importlib.metadata
import io
import json
import pathlib
import tomllib
import urllib.parse
import zipfile

import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from emulators import Emulator, start_ministack, until

TESTS = pathlib.Path(__file__).parent.parent
TABLE = tomllib.loads((TESTS / "operations.toml").read_text())
ROLE = {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": []}}
TEMPLATE = json.dumps({"Resources": {"Role": {"Type": "AWS::IAM::Role", "Properties": ROLE}}})


@pytest.fixture(scope="module")
def moto():
    emulator = Emulator(["moto_server", "-H", "127.0.0.1", "-p", "0"], {})
    yield emulator
    emulator.end()


@pytest.fixture(scope="module")
def ministack():
    emulator = start_ministack()
    yield emulator
    emulator.end()


@pytest.fixture(scope="module")
def unit(moto):
    """An organizational unit with one account in it."""
    organizations = moto.client("organizations")
    organizations.create_organization(FeatureSet="ALL")
    root = organizations.list_roots()["Roots"][0]["Id"]
    unit = organizations.create_organizational_unit(ParentId=root, Name="workloads")["OrganizationalUnit"]["Id"]
    created = organizations.create_account(Email="one@example.com", AccountName="one")["CreateAccountStatus"]
    organizations.move_account(AccountId=created["AccountId"], SourceParentId=root, DestinationParentId=unit)
    return unit


@pytest.fixture
def stack_set(moto, unit, request):
    """A service-managed stack set with one instance."""
    cloudformation = moto.client("cloudformation")
    name = request.node.name.replace("_", "-")[:100]
    cloudformation.create_stack_set(
        StackSetName=name,
        TemplateBody=TEMPLATE,
        PermissionModel="SERVICE_MANAGED",
        AutoDeployment={"Enabled": True, "RetainStacksOnAccountRemoval": True},
    )
    operation = cloudformation.create_stack_instances(
        StackSetName=name, DeploymentTargets={"OrganizationalUnitIds": [unit]}, Regions=["us-east-1"]
    )["OperationId"]
    return name, operation


def html_error(call):
    """The emulator's web framework answers with its HTML error page."""
    with pytest.raises(ResponseParserError, match="500 Internal Server Error"):
        call()


def test_moto_fails_on_activate_organizations_access(moto):
    html_error(moto.client("cloudformation").activate_organizations_access)


def test_moto_fails_on_describe_organizations_access(moto):
    html_error(moto.client("cloudformation").describe_organizations_access)


def test_moto_fails_on_list_stack_set_auto_deployment_targets(moto, stack_set):
    cloudformation = moto.client("cloudformation")
    html_error(lambda: cloudformation.list_stack_set_auto_deployment_targets(StackSetName=stack_set[0]))


def test_moto_fails_on_detect_stack_set_drift(moto, stack_set):
    html_error(lambda: moto.client("cloudformation").detect_stack_set_drift(StackSetName=stack_set[0]))


def test_moto_fails_on_describe_stack_instance_of_an_unknown_account(moto, stack_set):
    html_error(
        lambda: moto.client("cloudformation").describe_stack_instance(
            StackSetName=stack_set[0], StackInstanceAccount="999999999999", StackInstanceRegion="us-east-1"
        )
    )


def test_moto_fails_on_simulate_principal_policy(moto):
    role = "arn:aws:iam::123456789012:role/any"
    html_error(
        lambda: moto.client("iam").simulate_principal_policy(PolicySourceArn=role, ActionNames=["iam:GetRole"])
    )


def test_moto_lists_no_operation_results(moto, stack_set):
    name, operation = stack_set
    cloudformation = moto.client("cloudformation")
    results = cloudformation.list_stack_set_operation_results(StackSetName=name, OperationId=operation)
    assert results["Summaries"] == []


def test_moto_runs_an_operation_id_twice(moto, stack_set, unit):
    cloudformation = moto.client("cloudformation")
    answers = [
        cloudformation.create_stack_instances(
            StackSetName=stack_set[0],
            DeploymentTargets={"OrganizationalUnitIds": [unit]},
            Regions=["us-east-1"],
            OperationId="once",
        )["OperationId"]
        for _ in range(2)
    ]
    assert "once" not in answers


def test_moto_deletes_no_instances_by_organizational_unit(moto, stack_set, unit):
    name, _ = stack_set
    cloudformation = moto.client("cloudformation")
    before = len(cloudformation.list_stack_instances(StackSetName=name)["Summaries"])
    cloudformation.delete_stack_instances(
        StackSetName=name,
        DeploymentTargets={"OrganizationalUnitIds": [unit]},
        Regions=["us-east-1"],
        RetainStacks=False,
    )
    assert len(cloudformation.list_stack_instances(StackSetName=name)["Summaries"]) == before == 1


def test_moto_lists_accounts_without_paths(moto, unit):
    accounts = moto.client("organizations").list_accounts()["Accounts"]
    assert accounts and all("Paths" not in account for account in accounts)


def test_moto_accepts_pages_of_more_than_20(moto, unit):
    assert moto.client("organizations").list_accounts(MaxResults=21)["Accounts"]


def test_moto_accepts_a_stack_set_without_a_template(moto):
    assert moto.client("cloudformation").create_stack_set(StackSetName="no-template")["StackSetId"]


def test_moto_accepts_a_second_stack_set_of_the_same_name(moto, stack_set):
    again = moto.client("cloudformation").create_stack_set(StackSetName=stack_set[0], TemplateBody=TEMPLATE)
    assert again["StackSetId"]


def test_moto_calls_an_unknown_operation_a_validation_error(moto, stack_set):
    cloudformation = moto.client("cloudformation")
    with pytest.raises(ClientError) as error:
        cloudformation.describe_stack_set_operation(StackSetName=stack_set[0], OperationId="none")
    assert error.value.response["Error"]["Code"] == "ValidationError"


def test_moto_sends_policy_documents_that_are_not_percent_encoded(moto):
    iam = moto.client("iam")
    statement = {"Effect": "Allow", "Action": "iam:GetRole", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    arn = iam.create_policy(PolicyName="readable", PolicyDocument=document)["Policy"]["Arn"]
    bodies = []
    iam.meta.events.register("before-parse.iam.GetPolicyVersion", lambda response_dict, **_: bodies.append(response_dict))
    iam.get_policy_version(PolicyArn=arn, VersionId="v1")
    body = bodies[0]["body"].decode()
    assert urllib.parse.quote('{"Version"') not in body
    assert "&quot;Version&quot;" in body or '"Version"' in body


@pytest.fixture(scope="module")
def aggregator(moto):
    """An aggregator of AWS Config."""
    source = {"AccountIds": ["123456789012"], "AwsRegions": ["us-east-1"]}
    moto.client("config").put_configuration_aggregator(
        ConfigurationAggregatorName="gaps", AccountAggregationSources=[source]
    )
    return {"ConfigurationAggregatorName": "gaps"}


def html_error_to_json(call):
    """The same of a service with a JSON protocol, which boto3 takes for an error of the service."""
    with pytest.raises(ClientError, match="500 Internal Server Error"):
        call()


def test_moto_fails_on_describe_configuration_aggregator_sources_status(moto, aggregator):
    html_error_to_json(lambda: moto.client("config").describe_configuration_aggregator_sources_status(**aggregator))


def test_moto_fails_on_get_aggregate_discovered_resource_counts(moto, aggregator):
    html_error_to_json(lambda: moto.client("config").get_aggregate_discovered_resource_counts(**aggregator))


def test_moto_fails_on_select_aggregate_resource_config(moto, aggregator):
    query = "SELECT arn WHERE resourceType = 'AWS::IAM::Role'"
    html_error_to_json(lambda: moto.client("config").select_aggregate_resource_config(**aggregator, Expression=query))


def test_moto_sends_the_times_of_configuration_items_as_texts(moto, aggregator):
    config = moto.client("config")
    moto.client("iam").create_role(RoleName="recorded", AssumeRolePolicyDocument="{}")
    kind = "AWS::IAM::Role"
    found = config.list_aggregate_discovered_resources(**aggregator, ResourceType=kind)["ResourceIdentifiers"][0]
    bodies = []
    before = "before-parse.config-service.BatchGetAggregateResourceConfig"
    config.meta.events.register(before, lambda response_dict, **_: bodies.append(response_dict))
    config.batch_get_aggregate_resource_config(**aggregator, ResourceIdentifiers=[found])
    (item,) = json.loads(bodies[0]["body"])["BaseConfigurationItems"]
    assert isinstance(item["configurationItemCaptureTime"], str)


def not_implemented(call):
    with pytest.raises(ClientError) as error:
        call()
    assert error.value.response["Error"]["Code"] == "InvalidAction"


def test_ministack_has_no_stack_sets(ministack):
    not_implemented(lambda: ministack.client("cloudformation").create_stack_set(StackSetName="any"))


def test_ministack_creates_no_organization(ministack):
    not_implemented(lambda: ministack.client("organizations").create_organization(FeatureSet="ALL"))


def test_ministack_lists_no_children(ministack):
    organizations = ministack.client("organizations")
    not_implemented(lambda: organizations.list_children(ParentId="r-root", ChildType="ACCOUNT"))


def custom_resource(service_token):
    properties = {"ServiceToken": service_token, "ServiceTimeout": 10}
    return json.dumps({"Resources": {"Thing": {"Type": "Custom::Thing", "Properties": properties}}})


def settled(cloudformation, stack):
    def status():
        status = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        return None if status.endswith("IN_PROGRESS") else status

    return until(status, f"stack {stack} settles")


ANSWERING_FUNCTION = """
import json, urllib.request

def handler(event, context):
    answer = {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    answer |= {"Status": "SUCCESS", "PhysicalResourceId": event.get("PhysicalResourceId", "thing")}
    headers = {"content-type": ""}
    request = urllib.request.Request(event["ResponseURL"], json.dumps(answer).encode(), headers, method="PUT")
    urllib.request.urlopen(request)
"""


def test_ministack_lets_a_service_token_change(ministack):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as package:
        package.writestr("index.py", ANSWERING_FUNCTION)
    role = ministack.client("iam").create_role(RoleName="any", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    first, second = (
        ministack.client("lambda").create_function(
            FunctionName=name,
            Runtime="python3.11",
            Role=role,
            Handler="index.handler",
            Code={"ZipFile": archive.getvalue()},
        )["FunctionArn"]
        for name in ("first", "second")
    )
    cloudformation = ministack.client("cloudformation")
    cloudformation.create_stack(StackName="token", TemplateBody=custom_resource(first))
    assert settled(cloudformation, "token") == "CREATE_COMPLETE"
    cloudformation.update_stack(StackName="token", TemplateBody=custom_resource(second))
    assert settled(cloudformation, "token") == "UPDATE_COMPLETE"


def test_ministack_sends_no_custom_resource_to_a_topic(ministack):
    topic = ministack.client("sns").create_topic(Name="provider")["TopicArn"]
    cloudformation = ministack.client("cloudformation")
    cloudformation.create_stack(StackName="topic", TemplateBody=custom_resource(topic))
    assert settled(cloudformation, "topic") == "ROLLBACK_COMPLETE"
    events = cloudformation.describe_stack_events(StackName="topic")["StackEvents"]
    assert any("Lambda function" in event.get("ResourceStatusReason", "") for event in events)


def test_every_gap_has_a_test_and_every_test_a_gap():
    listed = {gap["test"] for gap in TABLE["gap"]}
    emulators = ("test_moto_", "test_ministack_")
    written = {f"tests/python/{pathlib.Path(__file__).name}::{name}" for name in globals() if name.startswith(emulators)}
    assert listed == written


def test_the_listed_versions_are_the_installed_ones():
    listed = {system["name"]: system["version"] for system in TABLE["system"] if "version" in system}
    assert listed == {name: importlib.metadata.version(name) for name in listed}
