"""AWS Config of the sandbox, driven by boto3: an aggregator over IAM's roles and managed policies. Each test is a fact about AWS."""

import json
import urllib.parse

import pytest
from botocore.exceptions import ClientError

from conftest import until

SCENARIO = """
clock_speed = 60.0
[organization]
accounts = 6
rates = false
[config]
enabled = true
regions = ["us-east-1", "eu-west-1", "ap-south-1"]
iam_regions = ["us-east-1", "eu-west-1"]
unrecorded = 1
failing = 1
stale = 1
stopped = 1
untold = 1
batch = 2
"""
NAME = "organization"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:*", "Resource": "a b+c"}]}
WIDER = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(SCENARIO)


@pytest.fixture(scope="module")
def config(sandbox):
    return sandbox.aws("config")


@pytest.fixture(scope="module")
def drawn(sandbox):
    return sandbox.admin("GET", "state")["config"]


@pytest.fixture(scope="module")
def account(sandbox, drawn):
    """A member account that is recorded."""
    wrong = [one for what in ["unrecorded", "failing", "stale", "stopped", "untold"] for one in drawn[what]]
    return next(one["id"] for one in sandbox.members() if one["id"] not in wrong)


@pytest.fixture(scope="module")
def role(sandbox, account):
    """A role with everything that is recorded of one, and its attached policy."""
    iam = sandbox.member("iam", account)
    policy = iam.create_policy(PolicyName="Own-policy", PolicyDocument=json.dumps(POLICY))["Policy"]
    made = iam.create_role(
        RoleName="Own-role",
        AssumeRolePolicyDocument=json.dumps(TRUST),
        Tags=[{"Key": "a", "Value": "1"}],
        PermissionsBoundary=policy["Arn"],
    )["Role"]
    iam.attach_role_policy(RoleName="Own-role", PolicyArn=policy["Arn"])
    iam.put_role_policy(RoleName="Own-role", PolicyName="inline", PolicyDocument=json.dumps(POLICY))
    return made, policy


def code_of(call, **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return raised.value.response["Error"]["Code"]


def pages(call, field, **arguments):
    """Everything on all pages, which no paginator of boto3 is there for."""
    found, sizes, token = [], [], {}
    while True:
        answer = call(ConfigurationAggregatorName=NAME, **arguments, **token)
        found += answer[field]
        sizes.append(len(answer[field]))
        if "NextToken" not in answer:
            return found, sizes
        token = {"NextToken": answer["NextToken"]}


def identifier(account, kind, id, region="us-east-1"):
    return {"SourceAccountId": account, "SourceRegion": region, "ResourceType": kind, "ResourceId": id}


def batch(config, *identifiers):
    return config.batch_get_aggregate_resource_config(
        ConfigurationAggregatorName=NAME, ResourceIdentifiers=list(identifiers)
    )


def document(text):
    return json.loads(urllib.parse.unquote(text))


def test_the_aggregator_is_described_where_it_is_and_nowhere_else(sandbox, config, drawn, account):
    described = config.describe_configuration_aggregators(ConfigurationAggregatorNames=[NAME])
    (ours,) = described["ConfigurationAggregators"]
    assert ours["ConfigurationAggregatorName"] == NAME
    arn = f"arn:aws:config:us-east-1:{drawn['account']}:config-aggregator/"
    assert ours["ConfigurationAggregatorArn"].startswith(arn) and NAME not in ours["ConfigurationAggregatorArn"]
    assert ours["OrganizationAggregationSource"]["AwsRegions"] == ["us-east-1", "eu-west-1", "ap-south-1"]
    missing = "NoSuchConfigurationAggregatorException"
    assert code_of(config.describe_configuration_aggregators, ConfigurationAggregatorNames=["another"]) == missing
    for elsewhere in [sandbox.aws("config", region="eu-west-1"), sandbox.member("config", account)]:
        assert elsewhere.describe_configuration_aggregators()["ConfigurationAggregators"] == []
        for call, more in [
            (elsewhere.describe_configuration_aggregator_sources_status, {}),
            (elsewhere.get_aggregate_discovered_resource_counts, {}),
            (elsewhere.select_aggregate_resource_config, {"Expression": "SELECT arn WHERE accountId = '1'"}),
        ]:
            assert code_of(call, ConfigurationAggregatorName=NAME, **more) == missing


def test_each_source_says_when_it_was_collected_and_how_that_went(config, drawn, account):
    status = config.describe_configuration_aggregator_sources_status
    rows, sizes = pages(status, "AggregatedSourceStatusList", Limit=5)
    assert len(rows) == 7 * 3 and max(sizes) == 5
    of = {(row["SourceId"], row["AwsRegion"]): row for row in rows}
    fine, failing, stale = (of[one, "us-east-1"] for one in [account, drawn["failing"][0], drawn["stale"][0]])
    assert (fine["SourceType"], fine["LastUpdateStatus"]) == ("ACCOUNT", "SUCCEEDED")
    assert failing["LastUpdateStatus"] == "FAILED" and failing["LastErrorCode"] and failing["LastErrorMessage"]
    assert stale["LastUpdateStatus"] == "SUCCEEDED"
    assert 2.9 < (fine["LastUpdateTime"] - stale["LastUpdateTime"]).total_seconds() / 86_400 < 3.1
    failed, _ = pages(status, "AggregatedSourceStatusList", UpdateStatus=["FAILED", "OUTDATED"])
    assert {row["SourceId"] for row in failed} == set(drawn["failing"])
    assert code_of(status, ConfigurationAggregatorName=NAME, NextToken="nonsense") == "InvalidNextTokenException"


def test_counts_tell_which_accounts_are_recorded_and_where(config, drawn, role, account):
    count = config.get_aggregate_discovered_resource_counts

    def groups(region):
        filters = {"ResourceType": "AWS::IAM::Role", "Region": region}
        rows, _ = pages(count, "GroupedResourceCounts", Filters=filters, GroupByKey="ACCOUNT_ID", Limit=2)
        return {row["GroupName"]: row["ResourceCount"] for row in rows}

    recorded = groups("us-east-1")
    assert recorded[account] == 2 and recorded == groups("eu-west-1")
    assert not set(recorded) & set(drawn["unrecorded"] + drawn["failing"])
    assert groups("ap-south-1") == {}
    filters = {"ResourceType": "AWS::IAM::Role", "AccountId": account}
    # Each Region that records IAM has its own copy.
    answer = count(ConfigurationAggregatorName=NAME, Filters=filters)
    assert answer["TotalDiscoveredResources"] == 4


def test_a_query_finds_resources_by_name_in_each_region_that_records_them(config, role, account):
    made, policy = role
    select = config.select_aggregate_resource_config

    def found(expression, **more):
        return [json.loads(one) for one in pages(select, "Results", Expression=expression, **more)[0]]

    fields = "SELECT accountId, resourceId, resourceName, arn, awsRegion WHERE resourceType = 'AWS::IAM::Role' AND"
    one = {
        "accountId": account,
        "resourceId": made["RoleId"],
        "resourceName": "Own-role",
        "arn": made["Arn"],
        "awsRegion": "global",
    }
    for condition in [
        "resourceName = 'Own-role'",
        "resourceName LIKE 'Own-%'",
        f"arn IN ('x', '{made['Arn']}')",
    ]:
        assert found(f"{fields} {condition}", Limit=1) == [one, one]
    assert found("SELECT arn WHERE resourceType = 'AWS::IAM::Policy' AND resourceName LIKE 'Own-%'") == [
        {"arn": policy["Arn"]}
    ] * 2
    answer = select(ConfigurationAggregatorName=NAME, Expression=f"{fields} resourceName = 'x'")
    assert answer["Results"] == [] and answer["QueryInfo"]["SelectFields"][0] == {"Name": "accountId"}
    wrong = [(f"{fields} resourceName", 1, "InvalidExpressionException"), (f"{fields} arn = 'x'", 101, "InvalidLimitException")]
    for expression, limit, code in wrong:
        assert code_of(select, ConfigurationAggregatorName=NAME, Expression=expression, Limit=limit) == code


def test_a_query_tells_whether_recorders_record(config, drawn, account):
    select = config.select_aggregate_resource_config
    expression = (
        "SELECT accountId, awsRegion, configuration.Recording WHERE resourceType = 'AWS::Config::ConfigurationRecorder'"
        " AND awsRegion IN ('us-east-1', 'ap-south-1')"
    )
    rows = [json.loads(one) for one in pages(select, "Results", Expression=expression)[0]]
    of = {(row["accountId"], row["awsRegion"]): row["configuration"]["Recording"] for row in rows}
    assert of[account, "us-east-1"] is True and of[account, "ap-south-1"] is True
    assert of[drawn["stopped"][0], "us-east-1"] is False
    assert {one for one, _ in of}.isdisjoint(drawn["unrecorded"] + drawn["failing"] + drawn["untold"])


def test_an_item_has_the_whole_configuration_with_its_documents_encoded(config, role, account):
    made, policy = role
    answer = batch(
        config,
        identifier(account, "AWS::IAM::Role", made["RoleId"]),
        identifier(account, "AWS::IAM::Policy", policy["PolicyId"], "eu-west-1"),
    )
    assert answer["UnprocessedResourceIdentifiers"] == []
    one, other = answer["BaseConfigurationItems"]
    assert (one["awsRegion"], one["configurationItemStatus"], one["arn"]) == ("global", "ResourceDiscovered", made["Arn"])
    assert "tags" not in one and one["configurationItemCaptureTime"]
    configuration = json.loads(one["configuration"])
    assert configuration["roleId"] == made["RoleId"]
    assert document(configuration["assumeRolePolicyDocument"]) == TRUST
    (inline,) = configuration["rolePolicyList"]
    assert inline["policyName"] == "inline" and document(inline["policyDocument"]) == POLICY
    assert configuration["attachedManagedPolicies"] == [{"policyName": "Own-policy", "policyArn": policy["Arn"]}]
    assert configuration["permissionsBoundary"]["permissionsBoundaryArn"] == policy["Arn"]
    assert configuration["tags"] == [{"key": "a", "value": "1"}]
    (version,) = json.loads(other["configuration"])["policyVersionList"]
    assert version["isDefaultVersion"] is True and document(version["document"]) == POLICY


def test_what_is_not_there_or_too_much_comes_back_unprocessed(config, role, account):
    made, policy = role
    there = identifier(account, "AWS::IAM::Role", made["RoleId"])
    for nothing in [
        identifier(account, "AWS::IAM::Role", "AROANOTHING"),
        identifier(account, "AWS::IAM::Role", made["RoleId"], "ap-south-1"),
        identifier("999999999999", "AWS::IAM::Role", made["RoleId"]),
    ]:
        answer = batch(config, nothing, there)
        assert answer["UnprocessedResourceIdentifiers"] == [nothing]
        assert len(answer["BaseConfigurationItems"]) == 1
    # Two of a call are processed here, whatever their number.
    assert batch(config, there, there, there)["UnprocessedResourceIdentifiers"] == [there]
    too_many = {"ConfigurationAggregatorName": NAME, "ResourceIdentifiers": [there] * 101}
    assert code_of(config.batch_get_aggregate_resource_config, **too_many) == "ValidationException"


def test_a_recorder_tells_what_it_saw_last_until_it_looks_again(start_sandbox):
    sandbox = start_sandbox(
        'clock_speed = 60.0\n[organization]\naccounts = 2\nrates = false\n[config]\nenabled = true\ncapture = "1000h"\n'
    )
    account = sandbox.members()[0]["id"]
    iam, config = sandbox.member("iam", account), sandbox.aws("config")
    made = iam.create_role(RoleName="Late", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
    asked = identifier(account, "AWS::IAM::Role", made["RoleId"])
    assert batch(config, asked)["UnprocessedResourceIdentifiers"] == [asked]

    def seen():
        (item,) = batch(config, asked)["BaseConfigurationItems"]
        return item["configurationItemCaptureTime"], json.loads(item["configuration"])["rolePolicyList"]

    sandbox.admin("POST", "recorders")
    first = seen()
    assert first[1] == []
    iam.put_role_policy(RoleName="Late", PolicyName="stray", PolicyDocument=json.dumps(WIDER))
    assert seen() == first
    sandbox.admin("POST", "recorders")
    later = seen()
    assert later[0] > first[0] and later[1][0]["policyName"] == "stray"
    # What has not changed is not captured again.
    sandbox.admin("POST", "recorders")
    assert seen() == later
    iam.delete_role_policy(RoleName="Late", PolicyName="stray")
    iam.delete_role(RoleName="Late")
    assert seen() == later
    sandbox.admin("POST", "recorders")
    assert batch(config, asked)["BaseConfigurationItems"] == []


def test_only_who_may_is_told(sandbox, config, account, drawn):
    iam = sandbox.aws("iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{drawn['account']}:root"}, "Action": "sts:AssumeRole"}
        ],
    }
    arn = iam.create_role(RoleName="Reader", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    allowed = {"Effect": "Allow", "Action": "config:DescribeConfigurationAggregators", "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [allowed]}
    iam.put_role_policy(RoleName="Reader", PolicyName="read", PolicyDocument=json.dumps(policy))

    def assumed():
        try:
            return sandbox.assumed("config", arn)
        except ClientError:
            return None

    reader = until(assumed, "the role can be assumed")
    assert reader.describe_configuration_aggregators()["ConfigurationAggregators"]
    count = reader.get_aggregate_discovered_resource_counts
    assert code_of(count, ConfigurationAggregatorName=NAME) == "AccessDeniedException"
