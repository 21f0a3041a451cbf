"""What only a real AWS Organization and a real Spot can prove, looked at with two accounts: what we assume of them, and what
they do. Run by `cargo xtask live-check`; the same steps run against the sandbox in the tests.

Everything is made under names of its own and taken away at the end. Each line says what was assumed and what was seen.
"""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import boto3
from botocore.exceptions import ClientError

PREFIX = "spot-live-check"
STACK_SET = f"{PREFIX}-default"
CONFIG = """[aws]
region = "{region}"
[enrollment]
topic_arn = "{topic}"
deletion = "stack"
service_timeout = "15m"
served_by = "run"
[stack_set]
name_prefix = "{prefix}"
[bootstrap]
encryption = "{encryption}"
[audit]
enabled = true
role_name = "{role}"
[[profiles]]
name = "default"
products = ["elastigroup-ocean"]
[profiles.targets]
ous = ["{unit}"]
"""
JOB = 'kind = "stackset-sync"\n'


class LiveCheck:
    """The accounts, the clients and what was found."""

    def __init__(self, options):
        self.options, self.found = options, []
        self.directory = tempfile.TemporaryDirectory(prefix="live-check-")
        self.path = pathlib.Path(self.directory.name)
        session = boto3.Session(region_name=options.region)
        self.clients = {name: session.client(name) for name in ("sts", "organizations", "cloudformation", "sns", "sqs")}
        self.home = self.clients["sts"].get_caller_identity()["Account"]
        self.partition = session.get_partition_for_region(options.region)
        self.topic = f"arn:{self.partition}:sns:{options.region}:{self.home}:{PREFIX}"
        pages = self.clients["organizations"].get_paginator("list_accounts_for_parent").paginate(ParentId=options.unit)
        self.accounts = sorted(one["Id"] for page in pages for one in page["Accounts"] if one["Status"] == "ACTIVE")
        config = CONFIG.format(region=options.region, topic=self.topic, prefix=PREFIX, unit=options.unit,
                               encryption=options.encryption, role=options.member_role)
        (self.path / "config/jobs").mkdir(parents=True)
        (self.path / "config/runner.toml").write_text(config)
        (self.path / "config/jobs/stackset-sync.toml").write_text(JOB)
        policies = self.path / "config/policies"
        policies.mkdir()
        for policy in pathlib.Path(options.policies).glob("*.json"):
            (policies / policy.name).write_bytes(policy.read_bytes())

    # What the steps use.

    def say(self, text):
        print(f"\n== {text}", file=sys.stderr, flush=True)

    def note(self, assumed, holds, seen=""):
        """Writes down whether something is as assumed; None: it could not be looked at."""
        verdict = {True: "as assumed", False: "DIFFERS", None: "not looked at"}[holds]
        self.found.append({"assumed": assumed, "verdict": verdict, "seen": str(seen)})
        print(f"{verdict:>13}  {assumed}{f': {seen}' if seen else ''}", file=sys.stderr, flush=True)

    def runner(self, *arguments, codes=(0,)):
        done = subprocess.run([self.options.runner, "--config", "config", *arguments], cwd=self.path, text=True,
                              stdout=subprocess.PIPE, timeout=3600, check=False)
        if done.returncode not in codes:
            raise SystemExit(f"`runner {' '.join(arguments)}` exited with {done.returncode}")
        return done.stdout

    @contextlib.contextmanager
    def serving(self):
        """`runner provider`, until the block ends."""
        process = subprocess.Popen([self.options.runner, "--config", "config", "provider"], cwd=self.path)
        try:
            yield
        finally:
            process.terminate()
            process.wait(120)

    def until(self, what, probe, seconds=1800):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if (value := probe()) is not None:
                return value
            time.sleep(self.options.pause)
        raise SystemExit(f"not within {seconds} s: {what}")

    def ended(self, operation):
        """The result rows of an operation that is over."""
        cfn = self.clients["cloudformation"]

        def status():
            shown = cfn.describe_stack_set_operation(StackSetName=STACK_SET, OperationId=operation)["StackSetOperation"]
            return shown["Status"] if shown["Status"] not in ("RUNNING", "QUEUED", "STOPPING") else None

        def rows():
            pages = cfn.get_paginator("list_stack_set_operation_results").paginate(
                StackSetName=STACK_SET, OperationId=operation)
            found = [row for page in pages for row in page["Summaries"]]
            done = all(row["Status"] not in ("RUNNING", "PENDING") for row in found)
            return found if done and len(found) == len(self.accounts) else None

        self.until(f"operation {operation} ends", status)
        # The rows are eventually consistent; the operation is not.
        return self.until(f"the results of operation {operation} are listed", rows)

    def update(self, body):
        """Gives the stack set another template, everything else as it is."""
        kept = [{"ParameterKey": one["ParameterKey"], "UsePreviousValue": True}
                for one in self.clients["cloudformation"].get_template_summary(TemplateBody=body)["Parameters"]]
        return self.ended(self.clients["cloudformation"].update_stack_set(
            StackSetName=STACK_SET, TemplateBody=body, Parameters=kept, PermissionModel="SERVICE_MANAGED",
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM"], OperationPreferences={
                "FailureTolerancePercentage": 100, "MaxConcurrentPercentage": 100,
                "ConcurrencyMode": "SOFT_FAILURE_TOLERANCE"})["OperationId"])

    def member(self, service, account):
        role = f"arn:{self.partition}:iam::{account}:role/{self.options.member_role}"
        given = self.clients["sts"].assume_role(RoleArn=role, RoleSessionName="live-check")["Credentials"]
        return boto3.client(service, region_name=self.options.region, aws_access_key_id=given["AccessKeyId"],
                            aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["SessionToken"])

    # The steps.

    def capture(self):
        """A second queue behind the topic: what stacks really send."""
        sqs, sns = self.clients["sqs"], self.clients["sns"]
        self.copy = sqs.create_queue(QueueName=f"{PREFIX}-copy")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=self.copy, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        allow = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
                 "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": self.topic}}}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        sqs.set_queue_attributes(QueueUrl=self.copy, Attributes={"Policy": policy})
        self.subscription = sns.subscribe(TopicArn=self.topic, Protocol="sqs", Endpoint=arn,
                                          ReturnSubscriptionArn=True)["SubscriptionArn"]

    def captured(self):
        requests = []
        while True:
            found = self.clients["sqs"].receive_message(QueueUrl=self.copy, MaxNumberOfMessages=10, WaitTimeSeconds=2)
            for message in found.get("Messages", []):
                self.clients["sqs"].delete_message(QueueUrl=self.copy, ReceiptHandle=message["ReceiptHandle"])
                requests.append(json.loads(json.loads(message["Body"])["Message"]))
            if not found.get("Messages"):
                return requests

    def enroll(self):
        self.say("A stack of each account asks our topic, and we answer")
        document = json.loads(self.runner("--output", "json", "exec", "stackset-sync", codes=(0, 1, 3)))
        summary = document["summary"]
        self.note("stacks in member accounts reach a topic of the home account, encrypted or not, and get their answers",
                  summary["changed"] == len(self.accounts), json.dumps(summary))
        if summary["changed"] != len(self.accounts):
            print(json.dumps(document, indent=2), file=sys.stderr)
        again = json.loads(self.runner("--output", "json", "exec", "stackset-sync", codes=(0, 1, 3)))
        self.note("a second run right after has nothing to do", again["steps"] == [], len(again["steps"]))

    def requests(self):
        self.say("What CloudFormation sends")
        requests = self.captured()
        if not requests:
            return self.note("requests arrive on a second queue as well", False)
        creates = [one for one in requests if one["RequestType"] == "Create"]
        self.note("custom resources' own properties hold their ServiceTimeout",
                  all("ServiceTimeout" in one["ResourceProperties"] for one in creates))
        self.note("the ServiceToken is among the properties, and is our topic",
                  all(one["ResourceProperties"].get("ServiceToken") == self.topic for one in creates))
        addresses = [urllib.parse.urlsplit(one["ResponseURL"]) for one in requests]
        keyed = all(urllib.parse.unquote(address.path).endswith(
            f"/{one['StackId']}|{one['LogicalResourceId']}|{one['RequestId']}")
            for one, address in zip(requests, addresses, strict=True))
        hosts = {address.hostname for address in addresses}
        simulated = not any("amazonaws.com" in host for host in hosts)
        self.note("the key of each ResponseURL is StackId|LogicalResourceId|RequestId", None if simulated else keyed,
                  ", ".join(hosts))
        names = {one["StackId"].split("/")[1] for one in requests}
        self.note("stacks of instances are named StackSet-<stack set>-<uuid>",
                  all(name.startswith(f"StackSet-{STACK_SET}-") for name in names), ", ".join(sorted(names)))
        scalars = [value for one in requests for value in one["ResourceProperties"].values()]
        self.note("scalars arrive as texts", all(isinstance(value, str) for value in scalars))
        self.first = creates[0] if creates else None

    def order(self):
        """Whether the policy was made before Spot was asked for an account, as a reference in Metadata asks for."""
        events = self.member("cloudformation", self.accounts[0]).get_paginator("describe_stack_events")
        if self.first is None or self.first["StackId"].split(":")[4] != self.accounts[0]:
            stacks = self.clients["cloudformation"].list_stack_instances(StackSetName=STACK_SET)["Summaries"]
            stack = next(one["StackId"] for one in stacks if one["Account"] == self.accounts[0])
        else:
            stack = self.first["StackId"]
        all_events = [one for page in events.paginate(StackName=stack) for one in page["StackEvents"]]
        when = {(one["LogicalResourceId"], one["ResourceStatus"]): one["Timestamp"] for one in all_events}
        made = when.get(("SpotManagedPolicy", "CREATE_COMPLETE"))
        asked = when.get(("SpotAccount", "CREATE_IN_PROGRESS"))
        self.note("a reference in Metadata orders the policy before the Spot account", made <= asked, f"{made}, {asked}")

    def token(self):
        self.say("A ServiceToken that changes")
        body = self.clients["cloudformation"].describe_stack_set(StackSetName=STACK_SET)["StackSet"]["TemplateBody"]
        rows = self.update(body.replace(self.topic, f"{self.topic}-other"))
        refused = [row.get("StatusReason", "") for row in rows]
        self.note("CloudFormation refuses another ServiceToken under an existing custom resource",
                  bool(rows) and all("service token" in reason.lower() for reason in refused), refused[:1])
        rows = self.update(body)
        self.note("the template from before is taken back", all(row["Status"] == "SUCCEEDED" for row in rows))

    def publishing(self):
        self.say("Who may publish")
        try:
            self.member("sns", self.accounts[0]).publish(TopicArn=self.topic, Message="{}")
            self.note("a member account's other roles cannot publish", False)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            self.note("a member account's other roles cannot publish", code in ("AuthorizationError", "AccessDenied"), code)

    def drift(self):
        self.say("What drift detection sees")
        iam, account = self.member("iam", self.accounts[0]), self.accounts[0]
        roles = [role for page in iam.get_paginator("list_roles").paginate() for role in page["Roles"]]
        role = next(one["RoleName"] for one in roles if one["RoleName"].startswith(f"StackSet-{STACK_SET}"))
        allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}]}
        iam.put_role_policy(RoleName=role, PolicyName="live-check", PolicyDocument=json.dumps(allow))
        try:
            cfn = self.clients["cloudformation"]
            self.ended(cfn.detect_stack_set_drift(StackSetName=STACK_SET)["OperationId"])
            rows = cfn.list_stack_instances(StackSetName=STACK_SET)["Summaries"]
            seen = next(row.get("DriftStatus") for row in rows if row["Account"] == account)
            self.note("CloudFormation says IN_SYNC of a role with an inline policy that nobody deployed", seen == "IN_SYNC", seen)
        finally:
            iam.delete_role_policy(RoleName=role, PolicyName="live-check")

    def spot(self):
        self.say("Spot's undocumented reads")
        base = os.environ.get("SPOT_API_URL", "https://api.spotinst.io")

        def get(path):
            asked = urllib.request.Request(base + path, headers={"Authorization": f"Bearer {os.environ['SPOTINST_TOKEN']}"})
            try:
                with urllib.request.urlopen(asked, timeout=30) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as error:
                return error.code, {}

        listed = get("/setup/account")[1].get("response", {}).get("items", [])
        ours = [one["accountId"] for one in listed if one.get("providerExternalId") in self.accounts
                or one.get("cloudAccountId") in self.accounts]
        if not ours:
            return self.note("Spot lists the accounts with their AWS account", False)
        for path in (f"/setup/credentials/aws/externalId/{ours[0]}", f"/setup/credentials/aws?accountId={ours[0]}"):
            code, _ = get(path)
            self.note(f"GET {path.split(ours[0])[0]} exists", code == 200, code)

    def recorders(self):
        """Whether an aggregator of AWS Config tells of the accounts' recorders, and whether they record."""
        assumed = "an aggregator of AWS Config tells of each Region with roles whether its recorder records"
        name = self.options.aggregator
        if name is None:
            return self.note(assumed, None, "no --aggregator")
        self.say("What the aggregator tells of recorders")
        config = boto3.client("config", region_name=self.options.region)
        accounts = ", ".join(f"'{account}'" for account in self.accounts)

        def rows(fields, kind):
            expression = f"SELECT accountId{fields} WHERE resourceType = '{kind}' AND accountId IN ({accounts})"
            found, token = [], {}
            while True:
                answer = config.select_aggregate_resource_config(
                    ConfigurationAggregatorName=name, Expression=expression, Limit=100, **token)
                found += [json.loads(one) for one in answer["Results"]]
                if "NextToken" not in answer:
                    return found
                token = {"NextToken": answer["NextToken"]}

        with_roles = {row["accountId"] for row in rows("", "AWS::IAM::Role")}
        recorders = rows(", awsRegion, configurationItemStatus, configuration.Recording", "AWS::Config::ConfigurationRecorder")
        told = {row["accountId"] for row in recorders if isinstance(row["configuration"].get("Recording"), bool)}
        self.note(assumed, bool(with_roles) and with_roles <= told, recorders[:3])

    def take_away(self):
        self.say("Taking everything away again")
        cfn = self.clients["cloudformation"]
        with contextlib.suppress(cfn.exceptions.StackSetNotFoundException):
            with self.serving():
                rows = cfn.list_stack_instances(StackSetName=STACK_SET)["Summaries"]
                if rows:
                    rows = self.ended(cfn.delete_stack_instances(
                        StackSetName=STACK_SET, DeploymentTargets={"OrganizationalUnitIds": [self.options.unit]},
                        Regions=[self.options.region], RetainStacks=False)["OperationId"])
                    self.note("stacks are deleted with their Spot accounts",
                              all(row["Status"] == "SUCCEEDED" for row in rows), [row["Status"] for row in rows])
            cfn.delete_stack_set(StackSetName=STACK_SET)
        if getattr(self, "copy", None):
            self.clients["sns"].unsubscribe(SubscriptionArn=self.subscription)
            self.clients["sqs"].delete_queue(QueueUrl=self.copy)
        home = f"{PREFIX}-home"
        with contextlib.suppress(ClientError):
            stack = cfn.describe_stacks(StackName=home)["Stacks"][0]["StackId"]
            cfn.delete_stack(StackName=home)
            self.until("the home stack is deleted", lambda: cfn.describe_stacks(StackName=stack)["Stacks"][0][
                "StackStatus"].startswith("DELETE_") and cfn.describe_stacks(StackName=stack)["Stacks"][0][
                "StackStatus"] != "DELETE_IN_PROGRESS" or None)
        # The home stack retains what other stacks may name; nothing names these any more.
        self.clients["sns"].delete_topic(TopicArn=self.topic)
        for url in self.clients["sqs"].list_queues(QueueNamePrefix=PREFIX).get("QueueUrls", []):
            self.clients["sqs"].delete_queue(QueueUrl=url)
        print("left: the bucket and, with encryption = \"cmk\", the key of the home stack; schedule the key's deletion",
              file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(prog="cargo xtask live-check", description=__doc__.split("\n\n")[0])
    parser.add_argument("--runner", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--policies", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--unit", required=True, help="an organizational unit with two or three accounts for tests, which "
                        "Spot does not know, and no others")
    parser.add_argument("--region", default=os.environ.get("AWS_REGION", "us-east-1"))
    parser.add_argument("--encryption", choices=["cmk", "sqs-managed"], default="cmk")
    parser.add_argument("--member-role", default="OrganizationAccountAccessRole", help="a role of an administrator in them")
    parser.add_argument("--aggregator", help="the name of an AWS Config aggregator in the Region that collects from them")
    parser.add_argument("--pause", type=float, default=5, help="seconds between two looks at AWS")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    check = LiveCheck(parser.parse_args())
    if not 1 <= len(check.accounts) <= 3:
        raise SystemExit(f"{check.options.unit} has {len(check.accounts)} active accounts; give a unit with two or three")
    print(f"Stacks, roles and Spot accounts are made and deleted in {', '.join(check.accounts)}, a topic and queues in "
          f"{check.home}, all named {PREFIX}*.", file=sys.stderr)
    if not check.options.yes and input("Type the organizational unit's id to go on: ") != check.options.unit:
        raise SystemExit("nothing was done")
    try:
        check.say("The home account")
        check.runner("bootstrap", "--yes")
        check.capture()
        check.enroll()
        check.requests()
        check.order()
        check.publishing()
        check.drift()
        check.token()
        check.spot()
        check.recorders()
    finally:
        check.take_away()
    print(json.dumps({"accounts": check.accounts, "found": check.found}, indent=2))
    raise SystemExit(any(one["verdict"] == "DIFFERS" for one in check.found))


if __name__ == "__main__":
    main()
