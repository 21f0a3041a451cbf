"""IAM and STS of the sandbox, driven by boto3. Each test is a fact about AWS."""

import json

import pytest
from botocore.exceptions import ClientError

from conftest import until

SCENARIO = """
clock_speed = 20.0
[organization]
accounts = 10
scp_blocked = 1
invited = 1
rates = false
"""
TRUST_NOBODY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"AWS": "arn:aws:iam::922761411349:root"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": "a b/c"}},
        }
    ],
}
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ec2:*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(SCENARIO)


@pytest.fixture(scope="module")
def account(sandbox):
    return sandbox.members(scp_blocked=False, invited=False)[0]["id"]


@pytest.fixture(scope="module")
def iam(sandbox, account):
    return sandbox.member("iam", account)


def error_of(call, **arguments):
    with pytest.raises(ClientError) as raised:
        call(**arguments)
    return raised.value.response


def code_of(call, **arguments):
    answer = error_of(call, **arguments)
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def test_a_role_is_made_read_changed_and_deleted(iam, account):
    made = iam.create_role(
        RoleName="Whole",
        AssumeRolePolicyDocument=json.dumps(TRUST_NOBODY),
        Description="first",
        Tags=[{"Key": "a", "Value": "1"}],
    )["Role"]
    assert made["Arn"] == f"arn:aws:iam::{account}:role/Whole"
    # boto3 decodes the URL-encoded document: it must come back as it was, blanks and slashes included.
    assert iam.get_role(RoleName="Whole")["Role"]["AssumeRolePolicyDocument"] == TRUST_NOBODY
    assert iam.get_role(RoleName="wHOLE")["Role"]["RoleId"] == made["RoleId"]
    assert code_of(iam.create_role, RoleName="WHOLE", AssumeRolePolicyDocument=json.dumps(TRUST_NOBODY)) == (
        "EntityAlreadyExists",
        409,
    )
    iam.update_role(RoleName="Whole", Description="second", MaxSessionDuration=7200)
    iam.tag_role(RoleName="Whole", Tags=[{"Key": "a", "Value": "2"}])
    iam.update_assume_role_policy(RoleName="Whole", PolicyDocument=json.dumps({**TRUST_NOBODY, "Id": "x"}))
    role = iam.get_role(RoleName="Whole")["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("second", 7200)
    assert role["Tags"] == [{"Key": "a", "Value": "2"}]
    assert role["AssumeRolePolicyDocument"]["Id"] == "x"
    assert role["RoleLastUsed"] == {}
    assert "Whole" in {role["RoleName"] for role in iam.list_roles()["Roles"]}
    iam.put_role_policy(RoleName="Whole", PolicyName="inline", PolicyDocument=json.dumps(POLICY))
    assert iam.list_role_policies(RoleName="Whole")["PolicyNames"] == ["inline"]
    assert iam.get_role_policy(RoleName="Whole", PolicyName="inline")["PolicyDocument"] == POLICY
    assert code_of(iam.delete_role, RoleName="Whole") == ("DeleteConflict", 409)
    iam.delete_role_policy(RoleName="Whole", PolicyName="inline")
    iam.delete_role(RoleName="Whole")
    assert code_of(iam.get_role, RoleName="Whole") == ("NoSuchEntity", 404)


def test_a_managed_policy_has_at_most_five_versions_and_no_document_in_get_policy(iam):
    arn = iam.create_policy(PolicyName="Versions", PolicyDocument=json.dumps(POLICY))["Policy"]["Arn"]
    described = iam.get_policy(PolicyArn=arn)["Policy"]
    assert described["DefaultVersionId"] == "v1" and "Document" not in described
    for number in range(2, 6):
        document = json.dumps({**POLICY, "Id": str(number)})
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=document, SetAsDefault=True)
    assert code_of(iam.create_policy_version, PolicyArn=arn, PolicyDocument=json.dumps(POLICY)) == (
        "LimitExceeded",
        409,
    )
    assert code_of(iam.delete_policy_version, PolicyArn=arn, VersionId="v5") == ("DeleteConflict", 409)
    iam.delete_policy_version(PolicyArn=arn, VersionId="v1")
    made = iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(POLICY))["PolicyVersion"]
    assert (made["VersionId"], made["IsDefaultVersion"]) == ("v6", False)
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v6")
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert [v["VersionId"] for v in versions if v["IsDefaultVersion"]] == ["v6"]
    assert all("Document" not in version for version in versions)
    version = iam.get_policy_version(PolicyArn=arn, VersionId="v6")["PolicyVersion"]
    assert version["Document"] == POLICY
    assert code_of(iam.get_policy_version, PolicyArn=arn, VersionId="v1") == ("NoSuchEntity", 404)
    assert arn in {policy["Arn"] for policy in iam.list_policies(Scope="Local")["Policies"]}
    assert code_of(iam.delete_policy, PolicyArn=arn) == ("DeleteConflict", 409)


def test_policies_are_attached_counted_and_paged(iam):
    iam.create_role(RoleName="Attached", AssumeRolePolicyDocument=json.dumps(TRUST_NOBODY))
    arns = []
    for number in range(3):
        made = iam.create_policy(PolicyName=f"part-{number}", PolicyDocument=json.dumps(POLICY))
        arns.append(made["Policy"]["Arn"])
        iam.attach_role_policy(RoleName="Attached", PolicyArn=arns[-1])
    iam.attach_role_policy(RoleName="Attached", PolicyArn="arn:aws:iam::aws:policy/SecurityAudit")
    first = iam.list_attached_role_policies(RoleName="Attached", MaxItems=2)
    assert first["IsTruncated"] and len(first["AttachedPolicies"]) == 2
    pages = iam.get_paginator("list_attached_role_policies").paginate(
        RoleName="Attached", PaginationConfig={"PageSize": 2}
    )
    assert [p["PolicyArn"] for page in pages for p in page["AttachedPolicies"]][:3] == arns
    assert iam.get_policy(PolicyArn=arns[0])["Policy"]["AttachmentCount"] == 1
    assert code_of(iam.delete_policy, PolicyArn=arns[0]) == ("DeleteConflict", 409)
    iam.detach_role_policy(RoleName="Attached", PolicyArn=arns[0])
    iam.delete_policy(PolicyArn=arns[0])
    assert code_of(iam.attach_role_policy, RoleName="Attached", PolicyArn=arns[0]) == ("NoSuchEntity", 404)


def test_what_a_role_has_not_cannot_be_taken_away_and_a_condition_says_which_policies_may_be(sandbox, iam, account):
    iam.create_role(RoleName="Strays", AssumeRolePolicyDocument=json.dumps(TRUST_NOBODY))
    arns = {}
    for name in ["ours-1", "theirs"]:
        arns[name] = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(POLICY))["Policy"]["Arn"]
        iam.attach_role_policy(RoleName="Strays", PolicyArn=arns[name])
    iam.put_role_policy(RoleName="Strays", PolicyName="inline", PolicyDocument=json.dumps(POLICY))

    home = sandbox.aws("sts").get_caller_identity()["Account"]
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": f"arn:aws:iam::{home}:root"}}
    remover = iam.create_role(
        RoleName="Remover",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]["Arn"]
    role, ours = f"arn:aws:iam::{account}:role/Stray*", f"arn:aws:iam::{account}:policy/ours-*"
    statements = [
        {"Effect": "Allow", "Action": "iam:DeleteRolePolicy", "Resource": role},
        {"Effect": "Allow", "Action": "iam:DetachRolePolicy", "Resource": role,
         "Condition": {"ArnNotLike": {"iam:PolicyARN": ours}}},
    ]
    iam.put_role_policy(RoleName="Remover", PolicyName="remedy",
                        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statements}))

    def assumed():
        try:
            return sandbox.assumed("iam", remover)
        except ClientError:
            return None

    inside = until(assumed, "the role can be assumed")
    refused = ("AccessDenied", 403)
    assert code_of(inside.detach_role_policy, RoleName="Strays", PolicyArn=arns["ours-1"]) == refused
    assert code_of(inside.delete_role_policy, RoleName="Remover", PolicyName="remedy") == refused
    # Who may do nothing about a role is not told that it is not there.
    assert code_of(inside.delete_role_policy, RoleName="Nobody", PolicyName="x") == refused
    assert code_of(inside.list_role_policies, RoleName="Strays") == refused
    inside.detach_role_policy(RoleName="Strays", PolicyArn=arns["theirs"])
    inside.delete_role_policy(RoleName="Strays", PolicyName="inline")

    missing = ("NoSuchEntity", 404)
    assert code_of(inside.detach_role_policy, RoleName="Strays", PolicyArn=arns["theirs"]) == missing
    assert code_of(inside.delete_role_policy, RoleName="Strays", PolicyName="inline") == missing
    assert code_of(inside.delete_role_policy, RoleName="StrayButNotThere", PolicyName="x") == missing
    attached = iam.list_attached_role_policies(RoleName="Strays")["AttachedPolicies"]
    assert [policy["PolicyName"] for policy in attached] == ["ours-1"]
    assert iam.get_policy(PolicyArn=arns["theirs"])["Policy"]["AttachmentCount"] == 0


def test_inline_policies_are_paged_and_come_back_as_they_were(iam):
    iam.create_role(RoleName="Inline", AssumeRolePolicyDocument=json.dumps(TRUST_NOBODY))
    documents = {}
    for name in ["one", "two", "three"]:
        documents[name] = {**POLICY, "Id": f"{name} 100% a+b%2Bc ü"}
        iam.put_role_policy(RoleName="Inline", PolicyName=name, PolicyDocument=json.dumps(documents[name]))
    first = iam.list_role_policies(RoleName="Inline", MaxItems=2)
    assert first["IsTruncated"] and len(first["PolicyNames"]) == 2
    pages = iam.get_paginator("list_role_policies").paginate(RoleName="Inline", PaginationConfig={"PageSize": 2})
    names = [name for page in pages for name in page["PolicyNames"]]
    assert sorted(names) == sorted(documents)
    for name, document in documents.items():
        assert iam.get_role_policy(RoleName="Inline", PolicyName=name)["PolicyDocument"] == document
    assert code_of(iam.get_role_policy, RoleName="Inline", PolicyName="four") == ("NoSuchEntity", 404)
    assert code_of(iam.list_role_policies, RoleName="Nobody") == ("NoSuchEntity", 404)


def test_a_page_may_have_fewer_items_than_were_asked_for(start_sandbox):
    sandbox = start_sandbox("[organization]\naccounts = 1\n[iam]\npage_size = 1\n")
    iam = sandbox.member("iam", sandbox.members()[0]["id"])
    iam.create_role(RoleName="Inline", AssumeRolePolicyDocument=json.dumps(TRUST_NOBODY))
    for name in ["one", "two"]:
        iam.put_role_policy(RoleName="Inline", PolicyName=name, PolicyDocument=json.dumps(POLICY))
    first = iam.list_role_policies(RoleName="Inline", MaxItems=1000)
    assert first["IsTruncated"] and first["PolicyNames"] == ["one"]
    rest = iam.list_role_policies(RoleName="Inline", MaxItems=1000, Marker=first["Marker"])
    assert not rest["IsTruncated"] and rest["PolicyNames"] == ["two"]


def test_sizes_are_counted_without_white_space_and_limited(iam):
    def policy(size):
        return {**POLICY, "Id": "x" * (size - len(json.dumps({**POLICY, "Id": ""}, separators=(",", ":"))))}

    padded = json.dumps(policy(6144), indent=4)
    assert len(padded) > 6144
    iam.create_policy(PolicyName="fits", PolicyDocument=padded)
    assert code_of(iam.create_policy, PolicyName="long", PolicyDocument=json.dumps(policy(6145))) == (
        "LimitExceeded",
        409,
    )
    long_trust = {**TRUST_NOBODY, "Id": "x" * 2048}
    assert code_of(iam.create_role, RoleName="Long", AssumeRolePolicyDocument=json.dumps(long_trust)) == (
        "LimitExceeded",
        409,
    )


def test_malformed_documents_and_names_are_refused(iam):
    malformed = ("MalformedPolicyDocument", 400)
    assert code_of(iam.create_policy, PolicyName="bad", PolicyDocument="{") == malformed
    assert code_of(iam.create_policy, PolicyName="bad", PolicyDocument='{"Version":"2012-10-17"}') == malformed
    assert code_of(iam.create_role, RoleName="Bad", AssumeRolePolicyDocument=json.dumps(POLICY)) == malformed
    trust = json.dumps(TRUST_NOBODY)
    assert code_of(iam.create_role, RoleName="has blank", AssumeRolePolicyDocument=trust) == ("ValidationError", 400)


def test_an_account_has_no_alias_or_one(iam):
    assert iam.list_account_aliases()["AccountAliases"] == []
    iam.create_account_alias(AccountAlias="first-alias")
    iam.create_account_alias(AccountAlias="my-alias")
    assert iam.list_account_aliases()["AccountAliases"] == ["my-alias"]
    assert code_of(iam.delete_account_alias, AccountAlias="first-alias") == ("NoSuchEntity", 404)
    iam.delete_account_alias(AccountAlias="my-alias")
    assert iam.list_account_aliases()["AccountAliases"] == []


def test_a_service_control_policy_denies_with_its_own_words(sandbox):
    blocked = sandbox.members(scp_blocked=True)[0]["id"]
    iam = sandbox.member("iam", blocked)
    error = error_of(iam.create_role, RoleName="No", AssumeRolePolicyDocument=json.dumps(TRUST_NOBODY))
    assert error["Error"]["Code"] == "AccessDenied"
    assert error["Error"]["Message"].endswith("with an explicit deny in a service control policy")
    assert iam.list_roles()["Roles"]


def test_the_caller_is_told_who_it_is(sandbox, account):
    identity = sandbox.member("sts", account).get_caller_identity()
    assert identity["Account"] == account and identity["Arn"].startswith(f"arn:aws:iam::{account}:")


def test_an_unknown_key_is_refused_in_each_protocol(sandbox):
    def client(service):
        return sandbox.aws(service, {"AWS_ACCESS_KEY_ID": "AKIAUNKNOWN", "AWS_SECRET_ACCESS_KEY": "x"})

    assert code_of(client("sts").get_caller_identity) == ("InvalidClientTokenId", 403)
    assert code_of(client("organizations").list_accounts) == ("UnrecognizedClientException", 400)


def test_created_members_have_the_access_role_and_invited_ones_have_not(sandbox, account):
    sts = sandbox.aws("sts")
    arn = f"arn:aws:iam::{account}:role/OrganizationAccountAccessRole"
    answer = sts.assume_role(RoleArn=arn, RoleSessionName="audit")
    assert answer["Credentials"]["AccessKeyId"].startswith("ASIA")
    assert answer["AssumedRoleUser"]["Arn"] == (
        f"arn:aws:sts::{account}:assumed-role/OrganizationAccountAccessRole/audit"
    )
    inside = sandbox.assumed("sts", arn)
    assert inside.get_caller_identity()["Account"] == account
    assert "OrganizationAccountAccessRole" in {
        role["RoleName"] for role in sandbox.assumed("iam", arn).list_roles()["Roles"]
    }
    invited = sandbox.members(invited=True)[0]["id"]
    error = error_of(
        sts.assume_role,
        RoleArn=f"arn:aws:iam::{invited}:role/OrganizationAccountAccessRole",
        RoleSessionName="audit",
    )
    assert error["Error"]["Code"] == "AccessDenied"
    assert "is not authorized to perform: sts:AssumeRole on resource" in error["Error"]["Message"]


def test_a_session_needs_its_token(sandbox, account):
    arn = f"arn:aws:iam::{account}:role/OrganizationAccountAccessRole"
    issued = sandbox.aws("sts").assume_role(RoleArn=arn, RoleSessionName="audit")["Credentials"]
    keys = {"AWS_ACCESS_KEY_ID": issued["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": "x"}
    assert code_of(sandbox.aws("sts", keys).get_caller_identity) == ("InvalidClientTokenId", 403)


def test_a_role_lets_in_only_the_principals_and_the_organization_that_it_names(sandbox, iam, account):
    organization = sandbox.aws("organizations").describe_organization()["Organization"]["Id"]
    home = sandbox.aws("sts").get_caller_identity()
    root = f"arn:aws:iam::{home['Account']}:root"

    def assumed(name, organization, principal):
        condition = {"StringEquals": {"aws:PrincipalOrgID": organization}, "ArnLike": {"aws:PrincipalArn": principal}}
        statement = {"Effect": "Allow", "Principal": {"AWS": root}, "Action": "sts:AssumeRole", "Condition": condition}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        call = lambda: sandbox.aws("sts").assume_role(
            RoleArn=f"arn:aws:iam::{account}:role/{name}", RoleSessionName="audit"
        )
        if (organization, principal) == mine:
            until(lambda: not_denied(call), "the role can be assumed")
        return call

    def not_denied(call):
        try:
            return call()
        except ClientError:
            return None

    mine = (organization, home["Arn"])
    assumed("Mine", *mine)()
    for name, organization, principal in [
        ("OtherOrganization", "o-zzzzzzzzzz", home["Arn"]),
        ("OtherPrincipal", mine[0], f"arn:aws:iam::{home['Account']}:role/runner"),
    ]:
        assert code_of(assumed(name, organization, principal)) == ("AccessDenied", 403)


def test_a_role_may_do_only_what_its_policies_allow(sandbox, iam, account):
    management = sandbox.admin("GET", "state")["organization"]["management"]
    trust = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": management},
                    "Action": "sts:AssumeRole",
                    "Condition": {"StringEquals": {"sts:ExternalId": "secret"}},
                }
            ],
        }
    )
    iam.create_role(RoleName="Auditor", AssumeRolePolicyDocument=trust)
    iam.attach_role_policy(RoleName="Auditor", PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
    arn = f"arn:aws:iam::{account}:role/Auditor"
    sts = sandbox.aws("sts")

    def assumed():
        try:
            return sandbox.assumed("iam", arn, ExternalId="secret")
        except ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDenied"
            return None

    auditor = until(assumed, "the role spreads")
    assert code_of(sts.assume_role, RoleArn=arn, RoleSessionName="xx") == ("AccessDenied", 403)
    assert code_of(sts.assume_role, RoleArn=arn, RoleSessionName="xx", ExternalId="wrong") == ("AccessDenied", 403)
    too_long = {"RoleArn": arn, "RoleSessionName": "xx", "ExternalId": "secret", "DurationSeconds": 3601}
    assert code_of(sts.assume_role, **too_long) == ("ValidationError", 400)
    assert auditor.get_role(RoleName="Auditor")["Role"]["RoleLastUsed"]["Region"] == "us-east-1"
    error = error_of(auditor.delete_role, RoleName="Auditor")
    assert error["Error"]["Code"] == "AccessDenied"
    assert "no identity-based policy allows the iam:" in error["Error"]["Message"]


def test_the_path_of_a_role_is_part_of_what_a_policy_allows(sandbox, iam, account):
    home = sandbox.aws("sts").get_caller_identity()["Arn"]
    statement = {"Effect": "Allow", "Principal": {"AWS": home}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.create_role(RoleName="PathReader", AssumeRolePolicyDocument=trust)
    allowed = {
        "Effect": "Allow",
        "Action": ["iam:GetRole", "iam:ListRolePolicies"],
        "Resource": f"arn:aws:iam::{account}:role/spot/*",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName="PathReader", PolicyName="read", PolicyDocument=document)
    iam.create_role(RoleName="WithPath", Path="/spot/", AssumeRolePolicyDocument=json.dumps(TRUST_NOBODY))

    def assumed():
        try:
            return sandbox.assumed("iam", f"arn:aws:iam::{account}:role/PathReader")
        except ClientError:
            return None

    reader = until(assumed, "the role spreads")
    assert reader.list_role_policies(RoleName="WithPath")["PolicyNames"] == []
    assert code_of(reader.list_role_policies, RoleName="PathReader") == ("AccessDenied", 403)
    assert code_of(reader.list_attached_role_policies, RoleName="WithPath") == ("AccessDenied", 403)


def test_an_unknown_operation_is_an_invalid_action(iam):
    assert code_of(iam.list_users) == ("InvalidAction", 400)


def test_requests_carry_an_id(sandbox):
    answer = sandbox.aws("sts").get_caller_identity()["ResponseMetadata"]
    assert len(answer["RequestId"]) == 36
    assert answer["HTTPHeaders"]["x-amzn-requestid"] == answer["RequestId"]
