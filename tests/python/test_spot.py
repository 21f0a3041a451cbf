"""The simulated Spot, driven by Spot's own Python SDK and, where that has no call, by plain requests."""

import json
import re
import time

import pytest
import requests
import spotinst_sdk2
from botocore.exceptions import ClientError

from spotinst_sdk2.models.admin.organization import PolicyMapping, UserGroup

from conftest import until

SCENARIO = """
clock_speed = 20.0
[organization]
accounts = 20
suspended = 1
rates = false
[spot]
linked = 2
linked_twice = 1
linked_drifted = 1
orphaned = 2
running_groups = 1
rate_limit = 10000
"""
LINK_POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["ec2:Describe*", "s3:GetObject"], "Resource": "*"}],
}


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(SCENARIO)


def client(sandbox, name, account=None):
    session = spotinst_sdk2.SpotinstSession(
        base_url=sandbox.endpoint, auth_token=sandbox.environment["SPOTINST_TOKEN"], account_id=account
    )
    return session.client(name, print_output=False)


@pytest.fixture(scope="module")
def admin(sandbox):
    return client(sandbox, "admin")


def trust(external_id):
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": "arn:aws:iam::922761411349:root"},
                    "Action": "sts:AssumeRole",
                    "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
                }
            ],
        }
    )


def make_role(sandbox, account, external_id, name="SpotRole", policy=LINK_POLICY):
    iam = sandbox.member("iam", account)
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(external_id))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="spot", PolicyDocument=json.dumps(policy))
    return arn


def unlinked_member(sandbox):
    return next(a["id"] for a in sandbox.members(state="ACTIVE") if not a["spot_accounts"])


def link(sandbox, spot_account, role):
    """Links as the Terraform module does: again until the new role has spread."""

    def linked():
        answer = sandbox.spot(
            "POST", "/setup/credentials/aws", {"credentials": {"iamRole": role}}, accountId=spot_account
        )
        return answer.status_code == 200

    until(linked, "the role spreads")


def error_of(answer):
    (error,) = answer.json()["response"]["errors"]
    return answer.status_code, error["code"], error["message"]


def test_the_sdk_makes_renames_and_deletes_an_account(admin):
    made = admin.create_account("first")
    assert re.fullmatch(r"act-[0-9a-f]{8}", made["id"])
    listed = {account["account_id"]: account for account in admin.get_accounts()}
    assert listed[made["id"]]["name"] == "first"
    assert isinstance(listed[made["id"]]["organization_id"], int)
    assert "provider_external_id" not in listed[made["id"]]
    assert admin.update_account(made["id"], "second")["code"] == 200
    assert {a["name"] for a in admin.get_accounts() if a["account_id"] == made["id"]} == {"second"}
    assert admin.delete_account(made["id"])
    assert made["id"] not in {account["account_id"] for account in admin.get_accounts()}


def test_making_an_account_twice_makes_two(admin):
    assert admin.create_account("twin")["id"] != admin.create_account("twin")["id"]


def test_the_sdk_links_a_role_once_it_has_spread_and_trusts_the_external_id(sandbox, admin):
    account = unlinked_member(sandbox)
    spot_account = admin.create_account("linked-by-sdk")["id"]
    setup = client(sandbox, "setup_aws", spot_account)
    external = setup.create_external_id()
    assert external["external_id"].startswith("spotinst:aws:extid:")
    assert external["max_valid_until"].endswith("Z")
    role = make_role(sandbox, account, external["external_id"])
    early = sandbox.spot("POST", "/setup/credentials/aws", {"credentials": {"iamRole": role}}, accountId=spot_account)
    assert error_of(early)[:2] == (400, "CREDENTIALS_VALIDATION_FAILED")
    link(sandbox, spot_account, role)
    assert setup.set_credentials(role)["code"] == 200
    # The same routes by their older names.
    older = client(sandbox, "admin", spot_account)
    assert older.set_cloud_credentials(role)["code"] == 200
    answer = sandbox.spot("GET", "/setup/account", cloudAccountId=account).json()["response"]
    assert [item["accountId"] for item in answer["items"]] == [spot_account]
    assert answer["items"][0]["providerExternalId"] == account
    read = sandbox.spot("GET", "/setup/credentials/aws", accountId=spot_account).json()["response"]["items"]
    assert read == [{"iamRole": role}]
    read = sandbox.spot("GET", f"/setup/credentials/aws/externalId/{spot_account}").json()["response"]["items"]
    assert read == [{"accountId": spot_account, "externalId": external["external_id"]}]
    assert older.create_aws_external_id()["external_id"] != external["external_id"]


def test_a_role_that_trusts_another_external_id_is_refused(sandbox, admin):
    account = unlinked_member(sandbox)
    spot_account = admin.create_account("stranger")["id"]
    client(sandbox, "setup_aws", spot_account).create_external_id()
    role = make_role(sandbox, account, "spotinst:aws:extid:0000000000000000", "Stranger")
    body = {"credentials": {"iamRole": role}}
    for _ in range(3):
        answer = sandbox.spot("POST", "/setup/credentials/aws", body, accountId=spot_account)
        assert error_of(answer)[:2] == (400, "CREDENTIALS_VALIDATION_FAILED")
    nonsense = {"credentials": {"iamRole": "not-an-arn"}}
    answer = sandbox.spot("POST", "/setup/credentials/aws", nonsense, accountId=spot_account)
    assert answer.status_code == 400 and answer.json()["response"]["errors"][0]["field"] == "iamRole"


def test_the_scenario_links_accounts_once_twice_and_brokenly(sandbox):
    accounts = sandbox.admin("GET", "spot")["accounts"]
    by_cloud = {}
    for account in accounts:
        if account["cloud_account"]:
            by_cloud.setdefault(account["cloud_account"], []).append(account)
    assert [len(linked) for linked in by_cloud.values()].count(2) == 1
    assert sum(1 for account in accounts if account["role"] and not account["link_works"]) == 1
    members = {member["id"] for member in sandbox.members()}
    orphans = [account for account in accounts if account["name"] in members]
    assert len(orphans) == 2 and all(orphan["cloud_account"] is None for orphan in orphans)


def test_every_answer_has_the_envelope(sandbox):
    body = sandbox.spot("GET", "/setup/account", cloudAccountId="123456789012").json()
    assert set(body["request"]) == {"id", "url", "method", "timestamp"}
    assert body["request"]["url"] == "/setup/account?cloudAccountId=123456789012"
    assert body["response"]["status"] == {"code": 200, "message": "OK"}
    assert body["response"]["kind"] == "spotinst:setup:account"
    assert (body["response"]["items"], body["response"]["count"]) == ([], 0)


def test_a_name_needs_a_letter_unless_the_scenario_says_otherwise(sandbox, start_sandbox):
    numeric = {"account": {"name": "123456789012"}}
    answer = sandbox.spot("POST", "/setup/account", numeric)
    assert answer.status_code == 400 and answer.json()["response"]["errors"][0]["field"] == "name"
    tolerant = start_sandbox("[spot]\nname_needs_letter = false\n")
    assert tolerant.spot("POST", "/setup/account", numeric).status_code == 200


def test_a_wrong_token_is_unauthorized(sandbox):
    assert sandbox.spot("GET", "/setup/account", token="wrong").status_code == 401


def test_a_token_that_is_no_administrators_sees_only_what_it_asks_for(start_sandbox):
    limited = start_sandbox("[spot]\ntoken_is_admin = false\n")
    assert limited.spot("GET", "/setup/account").status_code == 403
    assert limited.spot("GET", "/setup/account", cloudAccountId="123456789012").status_code == 200
    assert limited.spot("POST", "/setup/account", {"account": {"name": "a"}}).status_code == 403


def test_enrollment_can_be_denied_or_limited(start_sandbox):
    body = {"account": {"name": "one more"}}
    denied = start_sandbox("[spot]\nenrollment = 'denied'\n")
    assert error_of(denied.spot("POST", "/setup/account", body))[0] == 403
    limited = start_sandbox("[spot]\nenrollment = 'limited'\nenrollment_limit = 2\n")
    assert limited.spot("POST", "/setup/account", body).status_code == 200
    assert error_of(limited.spot("POST", "/setup/account", body))[:2] == (403, "ACCOUNTS_LIMIT_EXCEEDED")


def test_the_default_account_cannot_be_deleted(sandbox, admin):
    default = admin.get_accounts()[0]
    assert default["name"] == "default"
    answer = sandbox.spot("DELETE", f"/setup/account/{default['account_id']}")
    assert error_of(answer)[:2] == (400, "CANT_DELETE_DEFAULT_ACCOUNT")
    assert sandbox.spot("DELETE", "/setup/account/act-00000000").status_code == 404


def test_without_an_account_id_the_oldest_account_is_used(sandbox, admin):
    sandbox.spot("POST", "/setup/credentials/aws/externalId")
    oldest = admin.get_accounts()[0]["account_id"]
    overview = {account["id"]: account for account in sandbox.admin("GET", "spot")["accounts"]}
    assert overview[oldest]["external_ids"]


def test_the_undocumented_reads_may_be_missing(start_sandbox):
    bare = start_sandbox("[spot]\nexternal_id_read = false\ncredentials_read = false\n")
    assert bare.spot("GET", "/setup/credentials/aws").status_code == 404
    assert bare.spot("GET", "/setup/credentials/aws/externalId/act-00000000").status_code == 404


def test_the_rate_limit_counts_per_route_and_method_and_a_blocked_call_pushes_it_back(start_sandbox):
    limited = start_sandbox("[spot]\nwindow = '4s'\n[spot.rate_limits]\n'GET /setup/account' = 2\n")

    def get():
        return limited.spot("GET", "/setup/account")

    first, second, third = get(), get(), get()
    assert [first.headers["X-RateLimit-Remaining"], second.headers["X-RateLimit-Remaining"]] == ["1", "0"]
    assert first.headers["X-RateLimit-Limit"] == "2" and int(first.headers["X-RateLimit-Reset"]) in range(1, 5)
    assert third.status_code == 429
    assert third.json()["response"]["data"] == "Rate limit exceeded" and "errors" not in third.json()["response"]
    assert limited.spot("POST", "/setup/account", {"account": {"name": "other route"}}).status_code == 200
    blocked_since = time.monotonic()
    while time.monotonic() - blocked_since < 4.4:
        assert get().status_code == 429, "a call while blocked keeps the block"
    wait_until = time.monotonic() + int(get().headers["X-RateLimit-Reset"]) + 0.1
    until(lambda: time.monotonic() >= wait_until, "the reset has passed")
    assert get().status_code == 200


def test_cost_intelligence_needs_a_link_and_is_listed_page_by_page(sandbox):
    accounts = sandbox.admin("GET", "spot")["accounts"]
    working = [account for account in accounts if account["link_works"]]
    unlinked = next(account for account in accounts if not account["role"])
    url = "/cbi/v1/setup/account"
    refused = sandbox.spot("POST", url, {"account": {"accountId": unlinked["id"]}})
    assert error_of(refused)[:2] == (400, "ACCOUNT_NOT_LINKED")
    for account in working[:3]:
        steps = sandbox.spot("POST", f"{url}/validation", {"account": {"accountId": account["id"]}}).json()
        assert {step["status"] for step in steps["response"]["items"]} == {"success"}
        (item,) = sandbox.spot("POST", url, {"account": {"accountId": account["id"]}}).json()["response"]["items"]
        assert item["externalProviderId"] == account["cloud_account"]
    broken = next(account for account in accounts if account["role"] and not account["link_works"])
    steps = sandbox.spot("POST", f"{url}/validation", {"account": {"accountId": broken["id"]}}).json()
    assert [step["status"] for step in steps["response"]["items"]] == ["failed", "skipped"]
    sandbox.spot("POST", url, {"account": {"accountId": broken["id"]}})
    found, key = [], None
    while True:
        query = {"paginationSize": 2} | ({"paginationKey": key} if key else {})
        answer = sandbox.spot("GET", url, **query).json()["response"]
        found += answer["items"]
        assert len(answer["items"]) <= 2 and answer["paginationInfo"]["totalCount"] == 4
        key = answer["paginationInfo"]["nextKey"]
        if key is None:
            break
    summaries = {item["accountId"]: item["statusSummary"] for item in found}
    assert summaries == {a["id"]: "connected" for a in working[:3]} | {broken["id"]: "notConnected"}


def test_billing_engine_is_for_the_payer_account(sandbox, admin):
    management = sandbox.admin("GET", "state")["organization"]["management"]
    config = {"billingSource": {"bucket": "cur", "region": "us-east-1", "pathPrefix": "p"}}
    url = "/cloudBilling/v1/setup/account"
    member = next(a for a in sandbox.admin("GET", "spot")["accounts"] if a["link_works"])
    refused = sandbox.spot("POST", url, {"accountId": member["id"], "config": config})
    assert error_of(refused)[:2] == (400, "NOT_A_BILLING_ACCOUNT")
    payer = admin.create_account("payer")["id"]
    external_id = client(sandbox, "setup_aws", payer).create_external_id()["external_id"]
    link(sandbox, payer, make_role(sandbox, management, external_id))
    incomplete = sandbox.spot("POST", url, {"accountId": payer, "config": {"billingSource": {}}})
    assert error_of(incomplete)[0] == 422
    steps = sandbox.spot("POST", f"{url}/validation", {"accountId": payer, "config": config}).json()["response"]
    assert {step["status"] for step in steps["items"]} == {"success"}
    (item,) = sandbox.spot("POST", url, {"accountId": payer, "config": config}).json()["response"]["items"]
    assert item["isBillingAccount"] and item["externalProviderId"] == management
    (listed,) = sandbox.spot("GET", url).json()["response"]["items"]
    assert (listed["accountId"], listed["statusSummary"]) == (payer, "connected")


def test_the_sdk_makes_a_user_group_and_changes_its_policies(sandbox, admin):
    policies = {policy["name"]: policy for policy in admin.get_policies()}
    viewer, editor = policies["Account Viewer"]["id"], policies["Account Editor"]["id"]
    seen = admin.create_account("seen by a group")["id"]
    group = UserGroup(name="Developers", description="", policies=[PolicyMapping(viewer, ["*"])], user_ids=[])
    made = admin.create_user_group(group)["id"]
    assert made in {group["id"] for group in admin.get_user_groups()}
    (mapping,) = admin.get_user_group_details(made)["policies"]
    assert (mapping["policy_id"], mapping["account_ids"]) == (viewer, ["*"])
    # What is not named is gone.
    admin.update_user_group_to_policy_mapping(made, [{"policyId": editor, "accountIds": [seen]}])
    (mapping,) = admin.get_user_group_details(made)["policies"]
    assert (mapping["policy_id"], mapping["policy_type"], mapping["account_ids"]) == (editor, "ACCOUNT", [seen])
    url = f"/setup/access/userGroup/{made}/policyMapping"
    for wrong in ({"policyId": "pol-none"}, {"policyId": editor}, {"policyId": editor, "accountIds": ["act-00000000"]}):
        assert sandbox.spot("PUT", url, {"policies": [wrong]}).status_code in (400, 404)
    admin.delete_account(seen)
    assert admin.get_user_group_details(made)["policies"][0]["account_ids"] == []


def test_running_groups_are_listed(sandbox):
    running = [account for account in sandbox.admin("GET", "spot")["accounts"] if account["running"]]
    assert len(running) == 1
    elastigroups = client(sandbox, "elastigroup_aws", running[0]["id"]).get_elastigroups()
    clusters = client(sandbox, "ocean_aws", running[0]["id"]).get_all_ocean_cluster()
    assert elastigroups[0]["id"].startswith("sig-") and clusters[0]["id"].startswith("o-")
    assert sandbox.spot("GET", "/ocean/aws/ecs/cluster", accountId=running[0]["id"]).json()["response"]["items"] == []
    sandbox.admin("POST", f"spot/{running[0]['id']}/running", {"running": False})
    assert sandbox.spot("GET", "/aws/ec2/group", accountId=running[0]["id"]).json()["response"]["count"] == 0


def test_a_resource_control_policy_makes_every_link_fail(start_sandbox):
    closed = start_sandbox("clock_speed = 600.0\n[organization]\nrates = false\n[spot]\nrcp_blocked = true\n")
    account = closed.members()[0]["id"]
    spot_account = closed.spot("POST", "/setup/account", {"account": {"name": "a"}}).json()["response"]["items"][0]["id"]
    answer = closed.spot("POST", "/setup/credentials/aws/externalId", accountId=spot_account)
    external_id = answer.json()["response"]["items"][0]["externalId"]
    role = make_role(closed, account, external_id)
    for _ in range(3):
        answer = closed.spot("POST", "/setup/credentials/aws", {"credentials": {"iamRole": role}}, accountId=spot_account)
        assert answer.status_code == 400


def test_a_link_ends_when_the_role_is_deleted(sandbox, admin):
    account = unlinked_member(sandbox)
    spot_account = admin.create_account("short-lived")["id"]
    external_id = client(sandbox, "setup_aws", spot_account).create_external_id()["external_id"]
    link(sandbox, spot_account, make_role(sandbox, account, external_id, "ShortLived"))
    iam = sandbox.member("iam", account)
    iam.delete_role_policy(RoleName="ShortLived", PolicyName="spot")
    iam.delete_role(RoleName="ShortLived")
    (linked,) = sandbox.admin("GET", f"accounts/{account}")["spot_accounts"]
    assert linked["id"] == spot_account and not linked["link_works"]
    with pytest.raises(ClientError):
        iam.get_role(RoleName="ShortLived")


def test_a_connection_that_is_dropped_after_the_call_leaves_its_effect(sandbox, admin):
    rule = {"service": "spot", "operation": "POST /setup/account", "kind": "drop_after", "times": 1}
    sandbox.admin("POST", "faults", rule)
    before = len(admin.get_accounts())
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.post(
            f"{sandbox.endpoint}/setup/account",
            json={"account": {"name": "ambiguous"}},
            headers={"Authorization": f"Bearer {sandbox.environment['SPOTINST_TOKEN']}"},
            timeout=10,
        )
    sandbox.admin("DELETE", "faults")
    assert len(admin.get_accounts()) == before + 1
