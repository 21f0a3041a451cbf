#!/usr/bin/env python3
"""The worked examples of docs/: each is a simulated organization, what somebody changes in it, and the commands that are run.

    cargo build
    python3 examples/rehearse.py                     # names the examples
    python3 examples/rehearse.py drift-audit         # prints what its page shows, with other ids and times

Needs nothing but Python and target/debug/runner (or --runner FILE). Everything runs on this machine, in a directory that is removed again.
"""

import argparse
import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 120  # seconds that anything may take
DEBUG = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "iam:*", "Resource": "*"}],
}


class Rehearsal:
    """A sandbox, a configuration, and what a person does to both."""

    def __init__(self, runner, scenario):
        self.runner = runner
        self.directory = Path(tempfile.mkdtemp(prefix="rehearsal-"))
        shutil.copytree(ROOT / "config", self.directory / "config")
        self.set("#served_by = \"provider\"", "served_by = \"run\"")
        (self.directory / "scenario.toml").write_text(scenario)
        self.sandbox = subprocess.Popen(
            [runner, "sandbox", "--scenario", "scenario.toml", "--listen", "127.0.0.1:0"],
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        ready = json.loads(self.sandbox.stdout.readline())
        self.endpoint = ready["endpoint"]
        self.environment = ready["environment"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sandbox.terminate()
        self.sandbox.wait(LIMIT)
        shutil.rmtree(self.directory)

    # The configuration

    def path(self, name):
        return self.directory / "config" / name

    def set(self, old, new, name="runner.toml"):
        text = self.path(name).read_text()
        assert old in text, f"config/{name} has no {old!r}"
        self.path(name).write_text(text.replace(old, new, 1))

    def job(self, name, text):
        self.path(f"jobs/{name}.toml").write_text(f"kind = \"{name}\"\n{text}")

    def audited(self, *more):
        """Gives the runner its own audit role, and the others that are named."""
        organization = self.aws("organizations", "DescribeOrganization")["Organization"]["Id"]
        for section in ["audit", *more]:
            self.set(
                f"\n[{section}]\n",
                f"\n[{section}]\nenabled = true\nprincipals = [\"user/administrator\"]\n"
                f"organization_id = \"{organization}\"\n",
            )

    def new_permission(self):
        """One more statement for Cost Intelligence."""
        path = self.path("policies/cost-intelligence.json")
        policy = json.loads(path.read_text())
        vaults = {"Sid": "Vaults", "Effect": "Allow", "Action": "glacier:ListVaults", "Resource": "*"}
        policy["Statement"].append(vaults)
        path.write_text(json.dumps(policy))

    # AWS and Spot, as somebody changes them behind the runner's back

    def call(self, url, body=None, headers=None, method=None):
        request = urllib.request.Request(url, body, headers or {}, method=method)
        with urllib.request.urlopen(request, timeout=LIMIT) as answer:
            return answer.read().decode()

    def admin(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        answer = self.call(f"{self.endpoint}/_sandbox/{path}", data, {"content-type": "application/json"})
        return json.loads(answer or "null")

    def signed(self, key, service):
        return {
            "authorization": f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/{service}/aws4_request, "
            "SignedHeaders=host, Signature=0"
        }

    def aws(self, service, operation):
        headers = self.signed(self.environment["AWS_ACCESS_KEY_ID"], service)
        headers["x-amz-target"] = f"AWSOrganizationsV20161128.{operation}"
        headers["content-type"] = "application/x-amz-json-1.1"
        return json.loads(self.call(self.endpoint, b"{}", headers))

    def iam(self, account, action, **parameters):
        form = {"Action": action, "Version": "2010-05-08", **parameters}
        headers = self.signed(f"AKIA{account}ROOT", "iam")
        headers["content-type"] = "application/x-www-form-urlencoded"
        return self.call(self.endpoint, urllib.parse.urlencode(form).encode(), headers)

    def at_spot(self, method, path, body):
        headers = {
            "authorization": f"Bearer {self.environment['SPOTINST_TOKEN']}",
            "content-type": "application/json",
        }
        self.call(self.environment["SPOT_API_URL"] + path, json.dumps(body).encode(), headers, method)

    def members(self):
        """Active member accounts that nothing is wrong with, by id."""
        accounts = self.admin("accounts")["accounts"]
        fine = [a for a in accounts if not a["management"] and not a["scp_blocked"] and a["state"] == "ACTIVE"]
        return sorted(account["id"] for account in fine)

    def link(self, account):
        return next(one for one in self.admin("spot")["accounts"] if one["cloud_account"] == account)

    def role(self, account):
        return self.link(account)["role"].rsplit("/", 1)[1]

    def add_policy(self, account):
        document = json.dumps(DEBUG)
        self.iam(account, "PutRolePolicy", RoleName=self.role(account), PolicyName="debug", PolicyDocument=document)

    def open_trust(self, account):
        """Takes the external ID out of the trust policy."""
        role = self.role(account)
        found = re.search("<AssumeRolePolicyDocument>(.*?)</", self.iam(account, "GetRole", RoleName=role))
        trust = json.loads(urllib.parse.unquote(found.group(1).replace("&quot;", '"')))
        for statement in trust["Statement"]:
            statement.pop("Condition", None)
        self.iam(account, "UpdateAssumeRolePolicy", RoleName=role, PolicyDocument=json.dumps(trust))

    def delete_role(self, account):
        role = self.role(account)
        self.strip(account, role)
        self.iam(account, "DeleteRole", RoleName=role)

    def strip(self, account, role):
        """Takes all policies from a role."""
        for arn in re.findall("<PolicyArn>(.*?)<", self.iam(account, "ListAttachedRolePolicies", RoleName=role)):
            self.iam(account, "DetachRolePolicy", RoleName=role, PolicyArn=arn)
        for name in re.findall("<member>(.*?)<", self.iam(account, "ListRolePolicies", RoleName=role)):
            self.iam(account, "DeleteRolePolicy", RoleName=role, PolicyName=name)

    def until_quiet(self):
        """Waits until no stack set has an operation."""
        until = time.monotonic() + LIMIT
        while any(one["running"] or one["queued"] for one in self.admin("state")["stack_sets"]):
            assert time.monotonic() < until, "an operation does not end"
            time.sleep(0.1)

    # The runner

    def run(self, *arguments, shows=True, codes=None, answer=None):
        """Runs a command, as an operator does, and shows what it prints."""
        command = [self.runner, "--config", "config", *arguments]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "NO_COLOR": "1", "COLUMNS": "400"}
        environment.update(self.environment)
        if answer is None:
            ended = subprocess.run(
                command, cwd=self.directory, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
            )
            printed, code, errors = ended.stdout, ended.returncode, ended.stderr
        else:
            printed, code, errors = self.at_terminal(command, environment, answer)
        if shows:
            words = " ".join(["runner", *arguments])
            print(f"$ {words}\n{printed}\n[{code}]\n", flush=True)
        if codes is not None and code not in codes:
            sys.exit(f"{arguments} ended with {code}:\n{errors}")
        return printed

    def at_terminal(self, command, environment, answer):
        """Runs a command at a terminal, and types an answer once it is asked for."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 400, 0, 0))
        process = subprocess.Popen(
            command, cwd=self.directory, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
        )
        os.close(theirs)
        printed, typed = "", False
        while True:
            try:
                read = os.read(ours, 65536).decode(errors="replace")
            except OSError:
                break
            if not read:
                break
            printed += read
            if not typed and re.search(r"Type \d+ to delete[^\n]*: ?$", printed):
                os.write(ours, f"{answer}\n".encode())
                typed = True
        os.close(ours)
        return printed.replace("\r\n", "\n"), process.wait(LIMIT), ""


def organization(accounts, more="", seed=7):
    return (
        f"seed = {seed}\nclock_speed = 120.0\n\n[organization]\naccounts = {accounts}\nous = 3\ndepth = 2\n"
        f"trusted_access = true\n{more}\n"
    )


def sync(rehearsal, *arguments, shows=False, codes=(0,)):
    return rehearsal.run("exec", "stackset-sync", *arguments, shows=shows, codes=codes)


# One function for each example; EXAMPLES says which page it is of.


def stackset_sync(runner):
    with Rehearsal(runner, organization(6, "suspended = 1\nscp_blocked = 1\n")) as one:
        sync(one, shows=True, codes=(3,))
        blocked = next(a["id"] for a in one.admin("accounts")["accounts"] if a["scp_blocked"])
        one.admin(f"accounts/{blocked}/scp", {"blocked": False})
        sync(one, "--retry-failed", shows=True)


def drift_audit(runner):
    with Rehearsal(runner, organization(6)) as one:
        one.audited()
        sync(one)
        policy, trust, unread, *_ = one.members()
        one.add_policy(policy)
        one.open_trust(trust)
        one.strip(unread, "spot-onboarding-audit")
        one.run("exec", "drift-audit", "--set", "params.depth=full", codes=(3,))


def drift_audit_aggregator(runner):
    scenario = organization(6) + "[config]\nenabled = true\nunrecorded = 1\n"
    with Rehearsal(runner, scenario) as one:
        one.job("drift-audit", "[params]\ndepth = \"full\"\naggregator = { name = \"organization\" }\n")
        sync(one)
        unrecorded = one.admin("state")["config"]["unrecorded"]
        one.add_policy(next(account for account in one.members() if account not in unrecorded))
        one.admin("recorders", {})
        one.run("exec", "drift-audit", codes=(3,))


def drift_audit_cloudformation(runner):
    with Rehearsal(runner, organization(6)) as one:
        one.audited()
        one.job("drift-audit", "[params]\ndepth = \"full\"\ncloudformation_drift = true\n")
        sync(one)
        policy, gone, *_ = one.members()
        one.add_policy(policy)
        one.delete_role(gone)
        one.run("exec", "drift-audit", codes=(3,))


def drift_audit_fix(runner):
    with Rehearsal(runner, organization(6)) as one:
        one.audited("remediation")
        sync(one)
        one.add_policy(one.members()[0])
        full = ("--set", "params.depth=full")
        one.run("plan", "drift-audit", "--fix", *full, codes=(3,))
        one.run("exec", "drift-audit", "--fix", *full, codes=(0, 3))
        run = json.loads(one.run("--output", "json", "runs", "list", "--limit", "1", shows=False))[0]["id"]
        one.run("runs", "show", run, codes=(0,))


def enroll(runner):
    with Rehearsal(runner, organization(6)) as one:
        one.audited()
        one.set("\n[removal]\n", "\n[removal]\nclosed_grace = \"0s\"\n")
        one.set("#deployment = \"auto\"", "deployment = \"runner\"")
        sync(one)
        renamed, unlinked, trust, gone, closed, *_ = one.members()
        one.admin(f"accounts/{closed}/close", {})
        while one.admin(f"accounts/{closed}")["state"] != "CLOSED":
            time.sleep(0.1)
        sync(one, codes=(0, 3))
        one.admin(f"accounts/{closed}/activate", {})
        one.at_spot("PUT", f"/setup/account/{one.link(renamed)['id']}", {"account": {"name": "somebody-elses"}})
        one.admin(f"spot/{one.link(unlinked)['id']}/unlink", {})
        one.open_trust(trust)
        one.delete_role(gone)
        full = ("--set", "params.depth=full")
        one.run("plan", "enroll", *full, codes=(3,))
        one.run("exec", "enroll", *full, codes=(3,))


def orphan_cleanup(runner):
    with Rehearsal(runner, organization(40)) as one:
        sync(one)
        one.run("exec", "orphan-cleanup", shows=False, codes=(0,))
        *left, suspended = one.members()[:4]
        one.admin(f"spot/{one.link(left[0])['id']}/running", {"running": True})
        one.admin(f"accounts/{suspended}/suspend", {})
        for account in left:
            one.admin(f"accounts/{account}/remove", {})
        one.until_quiet()
        one.run("exec", "orphan-cleanup", codes=(0,))
        one.job("orphan-cleanup", "[params]\napply = true\ngrace_period = \"0s\"\nmax_percent = \"10%\"\n")
        one.run("exec", "orphan-cleanup", codes=(3,), answer="2")
        runs = json.loads(one.run("--output", "json", "runs", "list", "--limit", "1", shows=False))
        one.run("runs", "undo", runs[0]["id"], "--yes", codes=(3,))


def policy_rollout(runner):
    with Rehearsal(runner, organization(8, seed=11)) as one:
        one.audited()
        one.job("policy-rollout", WAVES.format(soak="1h"))
        sync(one)
        one.run("exec", "policy-rollout", shows=False, codes=(0,))
        one.new_permission()
        one.run("policy", "diff", "deployed", "files", codes=(0, 3))
        one.run("plan", "policy-rollout", codes=(3,))
        one.run("exec", "policy-rollout", codes=(3,))
        one.run("policy", "ledger", codes=(0,))
        # The hour is over.
        one.job("policy-rollout", WAVES.format(soak="0s"))
        one.run("exec", "policy-rollout", codes=(0,))
        one.run("policy", "rollouts", "default", codes=(0,))
        one.run("policy", "versions", "default", codes=(0,))


WAVES = """[params]
profile = "default"
version = "2027a"

[[params.waves]]
name = "canary"
percent = 1
soak = "{soak}"

[[params.waves]]
name = "quarter"
percent = 25

[[params.waves]]
name = "all"
"""


def plans(runner):
    with Rehearsal(runner, organization(8, seed=11)) as one:
        sync(one)
        one.new_permission()
        one.run("plan", "stackset-sync", codes=(3,))


EXAMPLES = {
    "stackset-sync": stackset_sync,
    "drift-audit": drift_audit,
    "drift-audit-aggregator": drift_audit_aggregator,
    "drift-audit-cloudformation": drift_audit_cloudformation,
    "drift-audit-fix": drift_audit_fix,
    "enroll": enroll,
    "orphan-cleanup": orphan_cleanup,
    "policy-rollout": policy_rollout,
    "plans": plans,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", help="one of: " + ", ".join(EXAMPLES))
    parser.add_argument("--runner", default=str(ROOT / "target/debug/runner"), help="the program")
    asked = parser.parse_args()
    unknown = [name for name in asked.name if name not in EXAMPLES]
    if unknown or not asked.name:
        parser.error("examples are: " + ", ".join(EXAMPLES))
    for name in asked.name:
        EXAMPLES[name](os.path.abspath(asked.runner))


if __name__ == "__main__":
    main()
