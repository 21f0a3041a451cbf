"""AWS Organizations of the sandbox, driven by boto3. Each test is a fact about AWS."""

import concurrent.futures
import json
import time

import pytest
from botocore.exceptions import ClientError

from conftest import until

SCENARIO = """
seed = 5
clock_speed = 600.0
[organization]
accounts = 90
ous = 27
depth = 3
suspended = 2
closed = 1
rates = false
"""


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(SCENARIO)


@pytest.fixture(scope="module")
def organizations(sandbox):
    return sandbox.aws("organizations")


@pytest.fixture(scope="module")
def root(organizations):
    return organizations.list_roots()["Roots"][0]["Id"]


def everything(client, operation, key, **arguments):
    pages = client.get_paginator(operation).paginate(**arguments)
    return [item for page in pages for item in page[key]]


def error_of(call, **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return raised.value.response


def test_the_organization_is_described_to_any_member(sandbox, organizations):
    described = organizations.describe_organization()["Organization"]
    assert described["FeatureSet"] == "ALL"
    assert described["MasterAccountArn"].endswith(f"/{described['Id']}/{described['MasterAccountId']}")
    member = sandbox.members(state="ACTIVE")[0]["id"]
    assert sandbox.member("organizations", member).describe_organization()["Organization"] == described


def test_reading_is_for_the_management_account_and_delegated_administrators(sandbox, organizations):
    member = sandbox.members(state="ACTIVE")[1]["id"]
    theirs = sandbox.member("organizations", member)
    refused = error_of(theirs.list_accounts)
    assert refused["Error"]["Code"] == "AccessDeniedException"
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 400
    service = "member.org.stacksets.cloudformation.amazonaws.com"
    organizations.enable_aws_service_access(ServicePrincipal=service)
    organizations.register_delegated_administrator(AccountId=member, ServicePrincipal=service)
    assert theirs.list_accounts()["Accounts"]
    assert error_of(theirs.close_account, AccountId=member)["Error"]["Code"] == "AccessDeniedException"
    listed = organizations.list_delegated_administrators(ServicePrincipal=service)
    assert [entry["Id"] for entry in listed["DelegatedAdministrators"]] == [member]
    services = organizations.list_delegated_services_for_account(AccountId=member)["DelegatedServices"]
    assert [entry["ServicePrincipal"] for entry in services] == [service]
    again = error_of(organizations.register_delegated_administrator, AccountId=member, ServicePrincipal=service)
    assert again["Error"]["Code"] == "AccountAlreadyRegisteredException"
    organizations.deregister_delegated_administrator(AccountId=member, ServicePrincipal=service)
    assert error_of(theirs.list_accounts)["Error"]["Code"] == "AccessDeniedException"


def test_permissions_can_name_units_and_accounts(sandbox, organizations, root):
    iam, organization = sandbox.aws("iam"), organizations.describe_organization()["Organization"]
    account = organization["MasterAccountId"]
    unit = organizations.list_organizational_units_for_parent(ParentId=root)["OrganizationalUnits"][0]["Id"]
    statement = {"Effect": "Allow", "Action": "organizations:ListAccountsForParent",
                 "Resource": f"arn:aws:organizations::{account}:ou/{organization['Id']}/{unit}"}
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "sts:AssumeRole"}
    document = lambda one: json.dumps({"Version": "2012-10-17", "Statement": [one]})
    iam.create_role(RoleName="OneUnit", AssumeRolePolicyDocument=document(trust))
    iam.put_role_policy(RoleName="OneUnit", PolicyName="read", PolicyDocument=document(statement))

    def assumed():
        try:
            return sandbox.assumed("organizations", f"arn:aws:iam::{account}:role/OneUnit")
        except ClientError:
            return None

    reader = until(assumed, "the role has spread")
    assert "Accounts" in reader.list_accounts_for_parent(ParentId=unit)
    for call, arguments in [(reader.list_accounts_for_parent, {"ParentId": root}), (reader.list_accounts, {})]:
        assert error_of(call, **arguments)["Error"]["Code"] == "AccessDeniedException"


def test_all_accounts_are_listed_with_paths_that_say_where_they_are(sandbox, organizations):
    accounts = everything(organizations, "list_accounts", "Accounts")
    assert len({account["Id"] for account in accounts}) == len(accounts) == 91
    management = organizations.describe_organization()["Organization"]["MasterAccountId"]
    assert management in {account["Id"] for account in accounts}
    parents = {account["id"]: account["parent"] for account in sandbox.members()}
    for account in accounts:
        (path,) = account["Paths"]
        assert path.startswith("o-") and path.endswith(f"/{account['Id']}/")
        assert parents.get(account["Id"], path.split("/")[-3]) == path.split("/")[-3]


def test_a_walk_of_the_tree_finds_the_same_accounts(organizations, root):
    found, pending = [], [root]
    while pending:
        parent = pending.pop()
        found += everything(organizations, "list_accounts_for_parent", "Accounts", ParentId=parent)
        units = everything(organizations, "list_organizational_units_for_parent", "OrganizationalUnits", ParentId=parent)
        assert all(unit["Path"].endswith(f"/{unit['Id']}/") for unit in units)
        pending += [unit["Id"] for unit in units]
    listed = everything(organizations, "list_accounts", "Accounts")
    assert sorted(account["Id"] for account in found) == sorted(account["Id"] for account in listed)


def test_children_and_parents_agree(organizations, root):
    units = everything(organizations, "list_children", "Children", ParentId=root, ChildType="ORGANIZATIONAL_UNIT")
    assert units
    for unit in units:
        assert organizations.list_parents(ChildId=unit["Id"])["Parents"] == [{"Id": root, "Type": "ROOT"}]
        accounts = everything(organizations, "list_children", "Children", ParentId=unit["Id"], ChildType="ACCOUNT")
        for account in accounts:
            parents = organizations.list_parents(ChildId=account["Id"])["Parents"]
            assert parents == [{"Id": unit["Id"], "Type": "ORGANIZATIONAL_UNIT"}]
    described = organizations.describe_organizational_unit(OrganizationalUnitId=units[0]["Id"])
    assert described["OrganizationalUnit"]["Id"] == units[0]["Id"]


def test_max_results_over_20_is_an_invalid_input(organizations):
    error = error_of(organizations.list_accounts, MaxResults=20 + 1)
    assert error["Error"]["Code"] == "InvalidInputException"
    assert error["Reason"] == "MAX_VALUE_EXCEEDED"
    assert len(organizations.list_accounts(MaxResults=20)["Accounts"]) == 20


def test_a_token_belongs_to_its_listing(organizations, root):
    token = organizations.list_accounts()["NextToken"]
    error = error_of(organizations.list_accounts_for_parent, ParentId=root, NextToken=token)
    assert error["Reason"] == "INVALID_NEXT_TOKEN"
    assert error_of(organizations.list_accounts, NextToken="made-up")["Reason"] == "INVALID_NEXT_TOKEN"


def test_an_answer_never_carries_the_token_of_its_request_and_empty_pages_happen(start_sandbox):
    sandbox = start_sandbox(SCENARIO + "empty_pages = 0.5\n")
    organizations = sandbox.aws("organizations")
    seen, accounts, sizes, token = set(), [], [], None
    while True:
        page = organizations.list_accounts(**({"NextToken": token} if token else {}))
        accounts += page["Accounts"]
        sizes.append(len(page["Accounts"]))
        token = page.get("NextToken")
        if token is None:
            break
        assert token not in seen
        seen.add(token)
    assert 0 in sizes
    assert len(accounts) == 91


def test_rates_throttle_with_http_400(start_sandbox):
    sandbox = start_sandbox(SCENARIO.replace("rates = false", "rates = true"))
    organizations = sandbox.aws("organizations")

    def refusal(_):
        try:
            organizations.describe_organization()
        except ClientError as error:
            return error.response

    # All at once, so that the bucket of two has no time to fill up again.
    with concurrent.futures.ThreadPoolExecutor(16) as callers:
        refused = next(response for response in callers.map(refusal, range(16)) if response)
    assert refused["Error"]["Code"] == "TooManyRequestsException"
    assert refused["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert sandbox.admin("GET", "calls")["throttled"]["organizations:DescribeOrganization"] >= 1


def test_a_closed_account_has_state_closed_and_status_suspended(organizations):
    states = [(a["State"], a["Status"]) for a in everything(organizations, "list_accounts", "Accounts")]
    assert states.count(("CLOSED", "SUSPENDED")) == 1
    assert states.count(("SUSPENDED", "SUSPENDED")) == 2


def test_status_and_paths_may_be_absent(start_sandbox):
    sandbox = start_sandbox("[organization]\nlegacy_status = false\npaths = false\n")
    account = sandbox.aws("organizations").list_accounts()["Accounts"][0]
    assert account["State"] == "ACTIVE"
    assert "Status" not in account and "Paths" not in account


def test_an_account_is_created_in_the_root_and_moved_by_its_parents(sandbox, organizations, root):
    status = organizations.create_account(
        AccountName="new", Email="new@example.com", Tags=[{"Key": "team", "Value": "a"}]
    )["CreateAccountStatus"]
    assert status["State"] == "IN_PROGRESS" and "AccountId" not in status

    def done():
        answer = organizations.describe_create_account_status(CreateAccountRequestId=status["Id"])
        return answer["CreateAccountStatus"] if answer["CreateAccountStatus"]["State"] != "IN_PROGRESS" else None

    finished = until(done, "the account is created")
    assert finished["State"] == "SUCCEEDED"
    account = finished["AccountId"]
    assert organizations.list_parents(ChildId=account)["Parents"][0]["Id"] == root
    assert organizations.list_tags_for_resource(ResourceId=account)["Tags"] == [{"Key": "team", "Value": "a"}]
    unit = everything(organizations, "list_organizational_units_for_parent", "OrganizationalUnits", ParentId=root)[0]
    move = {"AccountId": account, "SourceParentId": root, "DestinationParentId": unit["Id"]}
    organizations.move_account(**move)
    assert organizations.list_parents(ChildId=account)["Parents"][0]["Id"] == unit["Id"]
    assert error_of(organizations.move_account, **move)["Error"]["Code"] == "DuplicateAccountException"
    same_address = organizations.create_account(AccountName="other", Email="new@example.com")["CreateAccountStatus"]
    failed = until(
        lambda: organizations.list_create_account_status(States=["FAILED"])["CreateAccountStatuses"],
        "the second account fails",
    )
    assert failed[0]["Id"] == same_address["Id"] and failed[0]["FailureReason"] == "EMAIL_ALREADY_EXISTS"


def test_closing_an_account_takes_a_while_and_leaves_it_listed(sandbox, organizations):
    account = sandbox.members(state="ACTIVE")[5]["id"]
    organizations.close_account(AccountId=account)
    assert organizations.describe_account(AccountId=account)["Account"]["State"] == "PENDING_CLOSURE"
    assert error_of(organizations.close_account, AccountId=account)["Error"]["Code"] == "ConflictException"
    until(
        lambda: organizations.describe_account(AccountId=account)["Account"]["State"] == "CLOSED",
        "the account is closed",
    )
    error = error_of(organizations.close_account, AccountId=account)
    assert error["Error"]["Code"] == "AccountAlreadyClosedException"


def test_a_removed_account_is_gone(sandbox, organizations):
    account = sandbox.members(state="ACTIVE")[6]["id"]
    organizations.remove_account_from_organization(AccountId=account)
    error = error_of(organizations.describe_account, AccountId=account)
    assert error["Error"]["Code"] == "AccountNotFoundException"
    management = organizations.describe_organization()["Organization"]["MasterAccountId"]
    error = error_of(organizations.remove_account_from_organization, AccountId=management)
    assert error["Error"]["Code"] == "MasterCannotLeaveOrganizationException"


def test_tags_are_set_and_taken_away(sandbox, organizations):
    account = sandbox.members(state="ACTIVE")[7]["id"]
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]
    organizations.tag_resource(ResourceId=account, Tags=tags)
    assert organizations.list_tags_for_resource(ResourceId=account)["Tags"] == tags
    organizations.untag_resource(ResourceId=account, TagKeys=["a"])
    assert organizations.list_tags_for_resource(ResourceId=account)["Tags"] == tags[1:]
    error = error_of(organizations.list_tags_for_resource, ResourceId="999999999999")
    assert error["Error"]["Code"] == "TargetNotFoundException"


def test_tags_of_aws_are_aws_s_alone_and_tags_have_their_lengths(sandbox, organizations):
    account = sandbox.members(state="ACTIVE")[8]["id"]
    system = {"Key": "aws:team", "Value": "a"}
    error = error_of(organizations.tag_resource, ResourceId=account, Tags=[system])
    assert error["Error"]["Code"] == "InvalidInputException"
    assert error["Reason"] == "INVALID_SYSTEM_TAGS_PARAMETER"
    longest = [{"Key": "k" * 128, "Value": "v" * 256}]
    organizations.tag_resource(ResourceId=account, Tags=longest)
    assert organizations.list_tags_for_resource(ResourceId=account)["Tags"] == longest
    for tag in ({"Key": "k" * 129, "Value": ""}, {"Key": "k", "Value": "v" * 257}):
        error = error_of(organizations.tag_resource, ResourceId=account, Tags=[tag])
        assert error["Error"]["Code"] == "InvalidInputException"


def test_tags_are_drawn_by_the_scenario_and_may_come_after_empty_pages(start_sandbox):
    tags = '[[organization.tags]]\nkey = "stage"\nvalue = "prod"\naccounts = 30\n'
    sandbox = start_sandbox(SCENARIO + "empty_pages = 0.5\n" + tags)
    organizations = sandbox.aws("organizations")
    tagged = [account for account in sandbox.members() if account["tags"]]
    assert len(tagged) == 30
    answers = [organizations.list_tags_for_resource(ResourceId=account["id"]) for account in tagged]
    empty = [answer for answer in answers if not answer["Tags"]]
    assert 0 < len(empty) < 30 and all(answer["NextToken"] for answer in empty)
    paginator = organizations.get_paginator("list_tags_for_resource")
    for account in tagged:
        pages = list(paginator.paginate(ResourceId=account["id"]))
        assert [tag for page in pages for tag in page["Tags"]] == [{"Key": "stage", "Value": "prod"}]


def test_an_account_that_is_removed_loses_its_tags(sandbox, organizations):
    account = sandbox.members(state="ACTIVE")[9]["id"]
    organizations.tag_resource(ResourceId=account, Tags=[{"Key": "a", "Value": "1"}])
    sandbox.admin("POST", f"accounts/{account}/remove", {})
    error = error_of(organizations.list_tags_for_resource, ResourceId=account)
    assert error["Error"]["Code"] == "TargetNotFoundException"


def test_trusted_access_is_enabled_and_disabled_by_principal(organizations):
    service = "example.amazonaws.com"
    organizations.enable_aws_service_access(ServicePrincipal=service)
    listed = everything(organizations, "list_aws_service_access_for_organization", "EnabledServicePrincipals")
    assert service in {entry["ServicePrincipal"] for entry in listed}
    organizations.disable_aws_service_access(ServicePrincipal=service)
    listed = everything(organizations, "list_aws_service_access_for_organization", "EnabledServicePrincipals")
    assert service not in {entry["ServicePrincipal"] for entry in listed}
    error = error_of(organizations.enable_aws_service_access, ServicePrincipal="nonsense")
    assert error["Reason"] == "UNRECOGNIZED_SERVICE_PRINCIPAL"


def test_units_are_created_at_most_five_levels_deep(organizations, root):
    parent = root
    for level in range(5):
        answer = organizations.create_organizational_unit(ParentId=parent, Name=f"level {level}")
        parent = answer["OrganizationalUnit"]["Id"]
    error = error_of(organizations.create_organizational_unit, ParentId=parent, Name="too deep")
    assert error["Reason"] == "OU_DEPTH_LIMIT_EXCEEDED"
    error = error_of(organizations.create_organizational_unit, ParentId=root, Name="level 0")
    assert error["Error"]["Code"] == "DuplicateOrganizationalUnitException"


def test_what_does_not_exist_has_its_own_error(organizations, root):
    for call, arguments, code in [
        (organizations.list_accounts_for_parent, {"ParentId": "ou-abcd-12345678"}, "ParentNotFoundException"),
        (organizations.list_children, {"ParentId": "r-zzzz", "ChildType": "ACCOUNT"}, "ParentNotFoundException"),
        (organizations.list_parents, {"ChildId": "999999999999"}, "ChildNotFoundException"),
        (
            organizations.describe_organizational_unit,
            {"OrganizationalUnitId": "ou-abcd-12345678"},
            "OrganizationalUnitNotFoundException",
        ),
        (
            organizations.describe_create_account_status,
            {"CreateAccountRequestId": "car-12345678"},
            "CreateAccountStatusNotFoundException",
        ),
    ]:
        assert error_of(call, **arguments)["Error"]["Code"] == code


def test_latency_is_added_to_each_call_and_calls_overlap(start_sandbox):
    sandbox = start_sandbox("[latency]\norganizations = '100ms'\n[organization]\nrates = false\n")
    organizations = sandbox.aws("organizations")
    began = time.monotonic()
    organizations.list_roots()
    assert time.monotonic() - began >= 0.1


def test_enabling_the_principal_of_stack_sets_is_not_activating_its_trusted_access(start_sandbox):
    sandbox = start_sandbox("[organization]\nrates = false\n")
    service = "member.org.stacksets.cloudformation.amazonaws.com"
    sandbox.aws("organizations").enable_aws_service_access(ServicePrincipal=service)
    cloudformation = sandbox.aws("cloudformation")
    assert cloudformation.describe_organizations_access()["Status"] == "DISABLED"
    cloudformation.activate_organizations_access()
    assert cloudformation.describe_organizations_access()["Status"] == "ENABLED"
    sandbox.aws("organizations").disable_aws_service_access(ServicePrincipal=service)
    assert cloudformation.describe_organizations_access()["Status"] == "DISABLED"
