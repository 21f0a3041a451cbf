"""Starts the sandbox for tests that drive it with real clients (boto3, spotinst-sdk2, requests).

The command is `$SANDBOX_COMMAND`, or `$RUNNER_BIN sandbox`, or, while developing, the example of the sandbox crate.
Each sandbox is a process of its own on a free loopback port and is ended by its id.
"""

import contextlib
import json
import os
import pathlib
import shlex
import subprocess
import tempfile
import time

import boto3
import pytest
import requests
from botocore.config import Config

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 60
# Every attempt is one call: retries would hide errors and change call counts.
ONE_ATTEMPT = Config(retries={"total_max_attempts": 1, "mode": "standard"}, proxies={})


def command():
    """How a sandbox is started."""
    if "SANDBOX_COMMAND" in os.environ:
        return shlex.split(os.environ["SANDBOX_COMMAND"])
    if "RUNNER_BIN" in os.environ:
        return [os.environ["RUNNER_BIN"], "sandbox"]
    manifest = str(ROOT / "Cargo.toml")
    return ["cargo", "run", "-q", "--manifest-path", manifest, "-p", "sandbox", "--example", "serve", "--"]


def until(condition, what):
    """Waits until a condition holds, and returns its value; fails at the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {DEADLINE_SECONDS} s: {what}")


class Sandbox:
    """A running sandbox and clients for it."""

    def __init__(self, scenario=""):
        self.file = tempfile.NamedTemporaryFile("w", suffix=".toml")
        self.file.write(scenario)
        self.file.flush()
        self.process = subprocess.Popen(
            [*command(), "--scenario", self.file.name, "--listen", "127.0.0.1:0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        assert line, f"the sandbox ended with {self.process.wait()} before it printed its endpoint"
        ready = json.loads(line)
        self.endpoint = ready["endpoint"]
        self.environment = ready["environment"]
        self.http = requests.Session()
        self.http.trust_env = False

    def stop(self):
        """Ends the process, as an operator does."""
        self.process.terminate()
        code = self.process.wait(DEADLINE_SECONDS)
        self.process.stdout.close()
        self.file.close()
        return code

    def aws(self, service, credentials=None, region=None):
        """A boto3 client: as the management account's administrator, or with other credentials."""
        chosen = credentials or self.environment
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=region or self.environment["AWS_REGION"],
            aws_access_key_id=chosen["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=chosen["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=chosen.get("AWS_SESSION_TOKEN"),
            config=ONE_ATTEMPT,
        )

    def member(self, service, account):
        """A boto3 client as the administrator of an account."""
        return self.aws(service, self.admin("GET", f"accounts/{account}")["environment"])

    def assumed(self, service, role_arn, **arguments):
        """A boto3 client with the credentials that AssumeRole gives the management account."""
        answer = self.aws("sts").assume_role(RoleArn=role_arn, RoleSessionName="test", **arguments)
        issued = answer["Credentials"]
        return self.aws(
            service,
            {
                "AWS_ACCESS_KEY_ID": issued["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": issued["SecretAccessKey"],
                "AWS_SESSION_TOKEN": issued["SessionToken"],
            },
        )

    def admin(self, method, path, body=None):
        """A call of the admin API."""
        answer = self.http.request(method, f"{self.endpoint}/_sandbox/{path}", json=body, timeout=30)
        answer.raise_for_status()
        return answer.json()

    @contextlib.contextmanager
    def clock(self, speed):
        """The simulated clock runs at another speed for a while; 0 stops it, so that nothing happens by itself."""
        before = self.admin("GET", "state")["clock_speed"]
        self.admin("POST", "clock", {"speed": speed})
        try:
            yield
        finally:
            self.admin("POST", "clock", {"speed": before})

    def spot(self, method, path, body=None, token=None, **query):
        """A plain call of the Spot API."""
        return self.http.request(
            method,
            f"{self.endpoint}{path}",
            json=body,
            params=query,
            headers={"Authorization": f"Bearer {token or self.environment['SPOTINST_TOKEN']}"},
            timeout=30,
        )

    def calls(self):
        """How often each operation was called."""
        return self.admin("GET", "calls")["calls"]

    def members(self, **wanted):
        """The member accounts with these properties, as the admin API shows them."""
        return [
            account
            for account in self.admin("GET", "accounts")["accounts"]
            if not account["management"] and all(account[key] == value for key, value in wanted.items())
        ]


@pytest.fixture(scope="session")
def start_sandbox():
    """A function that starts a sandbox with a scenario; all of them are ended with the session."""
    started = []

    def start(scenario=""):
        sandbox = Sandbox(scenario)
        started.append(sandbox)
        return sandbox

    yield start
    for sandbox in started:
        if sandbox.process.poll() is None:
            sandbox.stop()
