"""The sandbox itself: its command, its admin API, its faults."""

import json
import subprocess

import pytest
import requests
from botocore.exceptions import ClientError, ConnectionClosedError

from conftest import ROOT, command

SCENARIO = """
seed = 3
[organization]
accounts = 12
ous = 4
rates = false
"""


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(SCENARIO)


def test_it_prints_one_line_of_json_and_ends_on_sigterm(start_sandbox):
    sandbox = start_sandbox("")
    assert set(sandbox.environment) == {
        "AWS_ENDPOINT_URL",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "SPOT_API_URL",
        "PROVIDER_RESPONSE_HOSTS",
        "SPOTINST_TOKEN",
    }
    assert sandbox.stop() == 0


def test_a_scenario_with_a_mistake_is_refused(tmp_path):
    scenario = tmp_path / "wrong.toml"
    scenario.write_text("[organization]\nacounts = 3\n")
    ended = subprocess.run(
        [*command(), "--scenario", str(scenario), "--listen", "127.0.0.1:0"], capture_output=True, text=True
    )
    assert ended.returncode != 0 and ended.stdout == ""
    assert "acounts" in ended.stderr


def test_one_seed_gives_one_organization(sandbox, start_sandbox):
    again = start_sandbox(SCENARIO)
    assert again.admin("GET", "accounts") == sandbox.admin("GET", "accounts")
    other = start_sandbox(SCENARIO.replace("seed = 3", "seed = 4"))
    assert other.admin("GET", "accounts") != sandbox.admin("GET", "accounts")


def test_the_demonstration_has_60_accounts_9_units_and_its_special_cases(start_sandbox):
    demo = start_sandbox((ROOT / "crates/sandbox/scenarios/demo.toml").read_text())
    state = demo.admin("GET", "state")["organization"]
    assert (state["accounts"], state["ous"]) == (61, 9)
    assert state["states"] == {"ACTIVE": 59, "SUSPENDED": 2}
    linked = [len(account["spot_accounts"]) for account in demo.members()]
    assert (linked.count(1), linked.count(2)) == (1, 1)
    assert len(demo.members(scp_blocked=True)) == 1


def test_calls_are_counted_by_operation(sandbox):
    sandbox.admin("DELETE", "calls")
    sandbox.aws("organizations").list_accounts()
    sandbox.aws("sts").get_caller_identity()
    sandbox.spot("GET", "/setup/account")
    sandbox.spot("PUT", "/setup/account/act-00000000", {"account": {"name": "x"}})
    assert sandbox.calls() == {
        "organizations:ListAccounts": 1,
        "sts:GetCallerIdentity": 1,
        "spot:GET /setup/account": 1,
        "spot:PUT /setup/account/{accountId}": 1,
    }


def test_accounts_are_created_moved_suspended_closed_and_removed(sandbox):
    units = [unit["id"] for unit in sandbox.admin("GET", "ous")["ous"][1:]]
    made = sandbox.admin("POST", "accounts", {"name": "by admin", "ou": units[0]})
    assert made["parent"] == units[0]
    path = f"accounts/{made['id']}"
    assert sandbox.admin("POST", f"{path}/move", {"ou": units[1]})["parent"] == units[1]
    organizations = sandbox.aws("organizations")
    parents = organizations.list_parents(ChildId=made["id"])["Parents"]
    assert [parent["Id"] for parent in parents] == [units[1]]
    assert sandbox.admin("POST", f"{path}/suspend")["state"] == "SUSPENDED"
    assert sandbox.admin("POST", f"{path}/activate")["state"] == "ACTIVE"
    assert sandbox.admin("POST", f"{path}/scp", {"blocked": True})["scp_blocked"]
    assert sandbox.admin("POST", f"{path}/close")["state"] == "PENDING_CLOSURE"
    assert sandbox.admin("POST", f"{path}/remove")["removed"]
    with pytest.raises(requests.HTTPError):
        sandbox.admin("GET", path)


def test_what_is_unlisted_is_missing_in_lists_and_found_by_its_id(sandbox):
    organizations = sandbox.aws("organizations")
    member = sandbox.members()[0]["id"]
    parent = organizations.list_parents(ChildId=member)["Parents"][0]["Id"]

    def listed():
        everywhere = organizations.get_paginator("list_accounts").paginate()
        in_parent = organizations.get_paginator("list_accounts_for_parent").paginate(ParentId=parent)
        return [
            any(account["Id"] == member for page in pages for account in page["Accounts"])
            for pages in (everywhere, in_parent)
        ]

    assert listed() == [True, True]
    sandbox.admin("POST", f"accounts/{member}/unlist")
    assert listed() == [False, False]
    assert organizations.describe_account(AccountId=member)["Account"]["Id"] == member
    sandbox.admin("POST", f"accounts/{member}/unlist", {"unlisted": False})
    assert listed() == [True, True]

    def at_spot(path="/setup/account"):
        return [account["accountId"] for account in sandbox.spot("GET", path).json()["response"]["items"]]

    (only,) = at_spot()
    sandbox.admin("POST", f"spot/{only}/unlist")
    assert at_spot() == []
    assert at_spot(f"/setup/account/{only}") == [only]
    sandbox.admin("POST", f"spot/{only}/unlist", {"unlisted": False})
    assert at_spot() == [only]


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [("server_error", "ServiceException", 500), ("throttle", "TooManyRequestsException", 400)],
)
def test_faults_have_the_shape_of_the_service(sandbox, kind, code, status):
    rule = {"service": "organizations", "operation": "ListRoots", "kind": kind, "times": 1}
    sandbox.admin("POST", "faults", rule)
    organizations = sandbox.aws("organizations")
    with pytest.raises(ClientError) as raised:
        organizations.list_roots()
    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert organizations.list_roots()["Roots"]
    sandbox.admin("DELETE", "faults")


def test_a_proxy_may_answer_html(sandbox):
    sandbox.admin("POST", "faults", {"service": "spot", "kind": "html_error", "times": 1})
    answer = sandbox.spot("GET", "/setup/account")
    assert answer.status_code == 502
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert sandbox.spot("GET", "/setup/account").status_code == 200
    sandbox.admin("DELETE", "faults")


def test_a_dropped_connection_before_the_call_leaves_nothing(sandbox):
    rule = {"service": "iam", "operation": "CreateAccountAlias", "kind": "drop_before", "times": 1}
    sandbox.admin("POST", "faults", rule)
    iam = sandbox.aws("iam")
    with pytest.raises(ConnectionClosedError):
        iam.create_account_alias(AccountAlias="never")
    assert iam.list_account_aliases()["AccountAliases"] == []
    sandbox.admin("DELETE", "faults")


def test_a_dropped_connection_after_the_call_leaves_its_effect(sandbox):
    rule = {"service": "iam", "operation": "CreateAccountAlias", "kind": "drop_after", "times": 1}
    sandbox.admin("POST", "faults", rule)
    iam = sandbox.aws("iam")
    with pytest.raises(ConnectionClosedError):
        iam.create_account_alias(AccountAlias="committed")
    assert iam.list_account_aliases()["AccountAliases"] == ["committed"]
    sandbox.admin("DELETE", "faults")


def test_a_wrong_fault_rule_is_refused(sandbox):
    with pytest.raises(requests.HTTPError):
        sandbox.admin("POST", "faults", {"service": "spot", "kind": "meteor"})
