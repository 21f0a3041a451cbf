"""Stacks of ministack whose custom resources the compiled `bootstrap` answers, against a sandbox's simulated Spot."""

import contextlib
import io
import json
import os
import pathlib
import re
import subprocess
import threading
import zipfile

from conftest import ROOT
from emulators import until

OFFICIAL = ROOT.parent / "shared/reference/Spot-AWS-Stackset.yaml"
SERVICE_TOKEN = re.compile(r"ServiceToken: !Sub\n +- arn:aws:lambda:\S+\n +- Region: [^\n]+")

# Of Spot's own template: the same resources, types and properties, with a shorter policy, and Cost Intelligence.
TRUST = {"Version": "2012-10-17", "Statement": [{
    "Effect": "Allow",
    "Principal": {"AWS": "arn:aws:iam::922761411349:root"},
    "Action": "sts:AssumeRole",
    "Condition": {"StringEquals": {"sts:ExternalId": {"Ref": "SpotExternalId"}}},
}]}
ACCOUNT = {"Ref": "SpotAccount"}


def bootstrap():
    """The compiled program."""
    if "BOOTSTRAP_BIN" in os.environ:
        return os.environ["BOOTSTRAP_BIN"]
    return str(pathlib.Path(os.environ["RUNNER_BIN"]).parent / "bootstrap")


def template(function, statements=1, role=None, mark=None, resources=None):
    """Our equivalent of the official template; `mark` is one more property of every custom resource."""
    def custom(kind, after, **properties):
        token = {"ServiceToken": function, "Token": {"Ref": "Token"}} | ({"Mark": mark} if mark else {})
        return {"Type": f"Custom::{kind}", "DependsOn": after, "Properties": token | properties}

    statement = [{"Sid": f"Read{n}", "Effect": "Allow", "Action": ["ec2:Describe*"], "Resource": ["*"]} for n in range(statements)]
    all_resources = {
        "SpotManagedPolicy": {"Type": "AWS::IAM::ManagedPolicy", "Properties": {
            "Description": "Spot.io Account Policy", "PolicyDocument": {"Version": "2012-10-17", "Statement": statement}}},
        "SpotAccount": custom("SpotAccount", ["SpotManagedPolicy"], AwsAccountId={"Ref": "AWS::AccountId"}),
        "SpotExternalId": custom("SpotExternalId", ["SpotAccount"], SpotAccountId=ACCOUNT),
        "SpotRole": {"Type": "AWS::IAM::Role", "DependsOn": ["SpotAccount", "SpotExternalId"], "Properties": {
            "AssumeRolePolicyDocument": TRUST, "ManagedPolicyArns": [{"Ref": "SpotManagedPolicy"}]} | (role or {})},
        "SpotLinkedCredentials": custom(
            "SpotLinkedCredentials", ["SpotAccount", "SpotExternalId", "SpotRole"], AccountId=ACCOUNT,
            IamRoleArn={"Fn::GetAtt": ["SpotRole", "Arn"]}, StackId={"Ref": "AWS::StackId"}, isTokenEncrypted="false"),
        "RenamedSpotAccountByAlias": custom(
            "RenamedSpotAccountByAlias", ["SpotAccount", "SpotLinkedCredentials"], SpotAccountId=ACCOUNT,
            AwsAccountId={"Ref": "AWS::AccountId"}),
        "EnableCostIntelligence": custom(
            "EnableCostIntelligence", ["SpotLinkedCredentials"], SpotAccountId=ACCOUNT),
    }
    return json.dumps({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": {"Token": {"Type": "String", "AllowedPattern": "^[a-zA-Z0-9]+$", "NoEcho": True}},
        "Resources": {name: all_resources[name] for name in resources or all_resources},
        "Outputs": {"AccountId": {"Value": ACCOUNT}, "ExternalId": {"Value": {"Ref": "SpotExternalId"}},
                    "SpotRoleArn": {"Value": {"Fn::GetAtt": ["SpotRole", "Arn"]}}} if not resources else {},
    })


def official(function):
    """Spot's template with only its ServiceTokens replaced."""
    text, replaced = SERVICE_TOKEN.subn(f"ServiceToken: {function}", OFFICIAL.read_text())
    assert replaced == text.count("Custom::") == 4
    return text


def rendered(function):
    """The template that the runner renders from the shipped configuration, for the function instead of the topic."""
    command = [os.environ["RUNNER_BIN"], "--config", str(ROOT / "config"), "template", "render", "--format", "json"]
    home = ["--home-account", "999999999999"]
    text = subprocess.run([*command, *home], check=True, capture_output=True, text=True).stdout
    topic = "arn:aws:sns:us-east-1:999999999999:spot-onboarding"
    assert text.count(topic) == text.count("Custom::") == 5
    return text.replace(topic, function)


class Enrollment:
    """The function and the stacks of one account."""

    def __init__(self, ministack, sandbox, account, **variables):
        self.ministack, self.sandbox, self.account = ministack, sandbox, account
        self.cloudformation = ministack.client("cloudformation", account)
        self.functions = ministack.client("lambda", account)
        variables = sandbox.environment | {"PROVIDER_RESPONSE_HOSTS": "127.0.0.1,localhost"} | variables
        exports = "".join(f"export {name}='{value}'\n" for name, value in variables.items() if value is not None)
        # The program itself is large, and what runs is the same.
        script = f"#!/bin/sh\nunset AWS_SESSION_TOKEN {' '.join(n for n, v in variables.items() if v is None)}\n{exports}exec {bootstrap()}\n"
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as package:
            entry = zipfile.ZipInfo("bootstrap")
            entry.external_attr = 0o755 << 16
            package.writestr(entry, script)
        self.archive = archive.getvalue()
        role = ministack.client("iam", account).create_role(RoleName="provider", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        self.function = self.functions.create_function(
            FunctionName="provider", Runtime="provided.al2023", Role=role, Handler="bootstrap", Timeout=120,
            Code={"ZipFile": self.archive})["FunctionArn"]

    def cold(self):
        """The next request is served by a new process, which knows nothing."""
        spawned = self.ministack.output().count("(cold start)")
        self.functions.update_function_code(FunctionName="provider", ZipFile=self.archive)
        answer, failed = self.invoke({})
        assert failed and self.ministack.output().count("(cold start)") > spawned, answer

    def invoke(self, event):
        """What the function answers to an event, and whether that is a failure."""
        answer = self.functions.invoke(FunctionName="provider", Payload=json.dumps(event).encode())
        return json.loads(answer["Payload"].read() or "null"), "FunctionError" in answer

    @contextlib.contextmanager
    def mirrored(self, gate=None):
        """Spot of the sandbox sees the sandbox's roles, so the stack's are made there, too: from the opening of the gate."""
        stop, failed = threading.Event(), []
        arguments = (gate, stop, failed)
        mirror = threading.Thread(target=self._mirror, args=arguments, daemon=True)
        mirror.start()
        try:
            yield
        finally:
            stop.set()
            mirror.join(30)
        assert not failed, failed

    def _mirror(self, gate, stop, failed):
        try:
            theirs, ours = self.ministack.client("iam", self.account), self.sandbox.member("iam", self.account)
            known = {}
            while not stop.wait(0.05):
                if gate is not None and not gate.is_set():
                    continue
                roles = {role["RoleName"]: role for role in theirs.list_roles()["Roles"] if "SpotRole" in role["RoleName"]}
                # A role that is replaced is there twice, one after the other.
                for name in [name for name, arn in known.items() if name not in roles or roles[name]["Arn"] != arn]:
                    for policy in ours.list_role_policies(RoleName=name)["PolicyNames"]:
                        ours.delete_role_policy(RoleName=name, PolicyName=policy)
                    ours.delete_role(RoleName=name)
                    del known[name]
                for name, role in roles.items():
                    if name not in known:
                        ours.create_role(RoleName=name, Path=role["Path"],
                                         AssumeRolePolicyDocument=json.dumps(role["AssumeRolePolicyDocument"]))
                        for policy in theirs.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
                            arn = policy["PolicyArn"]
                            version = theirs.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
                            document = theirs.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
                            ours.put_role_policy(RoleName=name, PolicyName=policy["PolicyName"], PolicyDocument=json.dumps(document))
                        known[name] = role["Arn"]
        except Exception as error:  # The main thread reports it.
            failed.append(error)

    def create(self, body, name="spot"):
        self.cloudformation.create_stack(**self._arguments(body, name))

    def update(self, body, name="spot", **parameters):
        self.cloudformation.update_stack(**self._arguments(body, name, **parameters))

    def delete(self, name="spot"):
        """Returns the id, which is all that the stack is known by afterwards."""
        stack = self.stack(name)["StackId"]
        self.cloudformation.delete_stack(StackName=stack)
        return stack

    @staticmethod
    def _arguments(body, name, **parameters):
        if "NoEcho" in body:
            parameters |= {"Token": "canary"}
        given = [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]
        return {"StackName": name, "TemplateBody": body, "Parameters": given, "Capabilities": ["CAPABILITY_IAM"]}

    def stack(self, name="spot"):
        return self.cloudformation.describe_stacks(StackName=name)["Stacks"][0]

    def settled(self, name="spot", **within):
        """The status of the stack as soon as nothing goes on."""
        stack = self.stack(name)["StackId"]

        def status():
            status = self.stack(stack)["StackStatus"]
            return None if status.endswith("IN_PROGRESS") else status

        return until(status, f"{name} settles", **within)

    def reasons(self, name="spot"):
        """Why things failed, in words."""
        events = self.cloudformation.describe_stack_events(StackName=name)["StackEvents"]
        return " ".join(event.get("ResourceStatusReason", "") for event in events)

    def outputs(self, name="spot"):
        return {output["OutputKey"]: output["OutputValue"] for output in self.stack(name)["Outputs"]}

    def spot_accounts(self):
        """The Spot accounts of the AWS account: linked to it, or with a name that we create them under."""
        return [one for one in self.sandbox.admin("GET", "spot")["accounts"]
                if one["cloud_account"] == self.account or one["name"] in (self.account, f"aws-{self.account}")]

    def roles(self):
        """The names of the roles that stacks made."""
        roles = self.ministack.client("iam", self.account).list_roles()["Roles"]
        return [role["RoleName"] for role in roles if "SpotRole" in role["RoleName"]]
