"""`cargo xtask live-check` against the sandbox: its steps work, it finds nothing where nothing differs, and it takes away
what it made. What the sandbox itself assumes it proves only in a real organization."""

import json
import os
import subprocess
import sys

import pytest

from conftest import ROOT

SCENARIO = """
seed = 31
clock_speed = 20.0
[organization]
accounts = 2
ous = 1
depth = 1
trusted_access = true
rates = false
[config]
enabled = true
[stack_sets]
operation_start = "1s"
resource_time = "1s"
list_lag = "1s"
"""


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(SCENARIO)


def test_the_live_check_finds_the_sandbox_as_assumed_and_leaves_nothing(sandbox):
    if "RUNNER_BIN" not in os.environ:
        pytest.skip("RUNNER_BIN is not set; run `cargo xtask test`")
    root = sandbox.aws("organizations").list_roots()["Roots"][0]["Id"]
    unit = sandbox.aws("organizations").list_organizational_units_for_parent(ParentId=root)["OrganizationalUnits"][0]["Id"]
    for account in sandbox.members():
        if account["parent"] != unit:
            sandbox.admin("POST", f"accounts/{account['id']}/move", {"ou": unit})
    spot_before = sandbox.admin("GET", "spot")["accounts"]
    queues_before = sandbox.aws("sqs").list_queues().get("QueueUrls", [])
    done = subprocess.run(
        [sys.executable, ROOT / "xtask/src/live_check.py", "--runner", os.environ["RUNNER_BIN"], "--policies",
         ROOT / "config/policies", "--unit", unit, "--pause", "0.05", "--aggregator", "organization", "--yes"],
        env={**os.environ, **sandbox.environment, "AWS_ENDPOINT_URL_SQS": sandbox.endpoint}, capture_output=True, text=True,
        timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert len(report["accounts"]) == 2
    verdicts = [one["verdict"] for one in report["found"]]
    # The sandbox's addresses for answers are its own.
    assert verdicts.count("not looked at") == 1 and verdicts.count("as assumed") == 15 == len(verdicts) - 1, done.stderr
    assert sandbox.admin("GET", "spot")["accounts"] == spot_before
    assert sandbox.aws("sqs").list_queues().get("QueueUrls", []) == queues_before
    assert not [one for one in sandbox.aws("sns").list_topics()["Topics"] if "live-check" in one["TopicArn"]]
    state = sandbox.admin("GET", "state")
    assert not [one for one in state["stack_sets"] if one["instances"]]
