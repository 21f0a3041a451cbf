"""The compiled `bootstrap` as a function of ministack, which speaks CloudFormation's custom-resource protocol itself.

Spot is simulated by the sandbox, and so is the organization. What ministack has instead of Spot's role check is mirrored,
see `enrollment.py`. The token that the stacks carry is never the one that is used.
"""

import contextlib
import http.server
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time

import pytest

from conftest import DEADLINE_SECONDS, ROOT, until
from emulators import start_ministack
from enrollment import OFFICIAL, Enrollment, bootstrap, official, rendered, template

SCENARIO = """
clock_speed = 600.0
[organization]
accounts = 24
ous = 2
rates = false
[spot]
rate_limit = 100000
linked = 3
linked_twice = 1
"""
TOPIC = "arn:aws:sns:us-east-1:999999999999:spot"
WRITES = ("POST", "PUT", "DELETE")


@pytest.fixture(scope="module")
def ministack():
    emulator = start_ministack()
    yield emulator
    emulator.end()


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(SCENARIO)


@pytest.fixture(scope="module")
def population(sandbox):
    """The accounts as they are before any test, by how many Spot accounts are linked to them; each is for one test."""
    members = sandbox.members(state="ACTIVE")
    return {links: iter([one["id"] for one in members if len(one["spot_accounts"]) == links]) for links in (0, 1, 2)}


@pytest.fixture
def accounts(population):
    return population[0]


@pytest.fixture
def linked(population):
    """Accounts that somebody else has linked."""
    return population[1]


@pytest.fixture
def enroll(ministack, sandbox):
    """Makes the function of an account, and prints what the emulator said when the test fails."""
    before = len(ministack.output())
    yield lambda account, **variables: Enrollment(ministack, sandbox, account, **variables)
    print(ministack.output()[before:])


def spot_writes(sandbox):
    """How often Spot was asked to change something."""
    calls = sandbox.calls()
    return {name: count for name, count in calls.items() if name.startswith("spot:") and name.split(":")[1].startswith(WRITES)}


def enrolled(stack, name="spot"):
    """The one Spot account, which must be linked to the stack's role and work."""
    [spot_account] = stack.spot_accounts()
    outputs = stack.outputs(name)
    assert spot_account["id"] == outputs["AccountId"]
    assert spot_account["role"] == outputs["SpotRoleArn"]
    assert spot_account["linked_external_id"] == outputs["ExternalId"]
    assert spot_account["link_works"]
    return spot_account


def organization_name(stack):
    return stack.sandbox.admin("GET", f"accounts/{stack.account}")["name"]


def test_a_stack_goes_through_its_whole_life(enroll, accounts, sandbox):
    stack = enroll(next(accounts))
    with stack.mirrored():
        stack.create(template(stack.function))
        assert stack.settled() == "CREATE_COMPLETE", stack.reasons()
        created = enrolled(stack)
        assert created["name"] == organization_name(stack)
        assert created["cost_intelligence"]

        before = spot_writes(sandbox)
        stack.update(template(stack.function, statements=2))
        assert stack.settled() == "UPDATE_COMPLETE", stack.reasons()
        assert spot_writes(sandbox) == before
        assert enrolled(stack) == created

        stack.update(template(stack.function, statements=2, role={"Path": "/spot/"}))
        assert stack.settled() == "UPDATE_COMPLETE", stack.reasons()
        replaced = enrolled(stack)
        assert replaced["id"] == created["id"] and "/spot/" in replaced["role"]
        assert replaced["external_ids"] == created["external_ids"]

        assert stack.settled(stack.delete()) == "DELETE_COMPLETE"
    [left] = stack.spot_accounts()
    assert left["id"] == created["id"]


def test_every_resource_is_updated_without_a_second_account_id_or_name(enroll, accounts, sandbox):
    stack = enroll(next(accounts))
    with stack.mirrored():
        stack.create(template(stack.function))
        assert stack.settled() == "CREATE_COMPLETE", stack.reasons()
        created, outputs, before = enrolled(stack), stack.outputs(), spot_writes(sandbox)
        # A listing of Spot from before the renaming would have it named again.
        stack.cold()
        stack.update(template(stack.function, mark="2"))
        assert stack.settled() == "UPDATE_COMPLETE", stack.reasons()
    assert stack.outputs() == outputs
    assert enrolled(stack) == created
    # Cost Intelligence is validated and switched on again, which does nothing.
    changed = {name for name, count in spot_writes(sandbox).items() if count != before.get(name)}
    assert all("/cbi/" in name for name in changed), changed


def test_processes_that_know_nothing_serve_one_stack(enroll, accounts):
    stack = enroll(next(accounts))
    with stack.mirrored():
        stack.create(template(stack.function))
        assert stack.settled() == "CREATE_COMPLETE", stack.reasons()
        created = enrolled(stack)
        stack.cold()
        stack.update(template(stack.function, role={"Path": "/spot/"}))
        assert stack.settled() == "UPDATE_COMPLETE", stack.reasons()
        replaced = enrolled(stack)
        assert replaced["id"] == created["id"] and "/spot/" in replaced["role"]
        stack.cold()
        assert stack.settled(stack.delete()) == "DELETE_COMPLETE"
    assert [one["id"] for one in stack.spot_accounts()] == [created["id"]]


@pytest.mark.skipif(not OFFICIAL.exists(), reason="Spot's template is not beside the checkout")
def test_spots_own_template_works_when_only_its_service_tokens_differ(enroll, accounts):
    stack = enroll(next(accounts))
    body = official(stack.function)
    with stack.mirrored():
        stack.create(body)
        assert stack.settled() == "CREATE_COMPLETE", stack.reasons()
        created = enrolled(stack)
        assert created["name"] == organization_name(stack)
        stack.update(body.replace("- lambda:ListFunctions\n", "- lambda:ListFunctions\n              - lambda:ListAliases\n"))
        assert stack.settled() == "UPDATE_COMPLETE", stack.reasons()
        assert enrolled(stack) == created
        stack.update(body.replace("Type: AWS::IAM::Role\n    Properties:\n", "Type: AWS::IAM::Role\n    Properties:\n      Path: /spot/\n"))
        assert stack.settled() == "UPDATE_COMPLETE", stack.reasons()
        assert "/spot/" in enrolled(stack)["role"]
        assert stack.settled(stack.delete()) == "DELETE_COMPLETE"
    assert [one["id"] for one in stack.spot_accounts()] == [created["id"]]


def test_the_template_that_we_render_works_and_retains_what_it_made_at_spot(enroll, accounts, sandbox):
    stack = enroll(next(accounts))
    body = rendered(stack.function)
    with stack.mirrored():
        stack.create(body)
        assert stack.settled() == "CREATE_COMPLETE", stack.reasons()
        created = enrolled(stack)
        assert created["name"] == organization_name(stack) and created["cost_intelligence"]
        before = spot_writes(sandbox)
        stack.update(body, RepairNonce="1")
        assert stack.settled() == "UPDATE_COMPLETE", stack.reasons()
        assert stack.settled(stack.delete()) == "DELETE_COMPLETE"
    assert spot_writes(sandbox) == before
    assert [one["id"] for one in stack.spot_accounts()] == [created["id"]]


def test_a_kept_link_stays_as_it_is(enroll, linked):
    stack = enroll(next(linked), PROVIDER_ADOPT="keep-link")
    before = stack.spot_accounts()
    with stack.mirrored():
        stack.create(template(stack.function))
        assert stack.settled() == "CREATE_COMPLETE", stack.reasons()
        assert stack.outputs()["AccountId"] == before[0]["id"]
        assert stack.spot_accounts() == before
        assert stack.settled(stack.delete()) == "DELETE_COMPLETE"
    assert stack.spot_accounts() == before


def test_a_link_is_taken_over_by_rule(enroll, linked):
    stack = enroll(next(linked), PROVIDER_ADOPT="relink", PROVIDER_RENAME="{account_name} ({account_id})")
    [before] = stack.spot_accounts()
    with stack.mirrored():
        stack.create(template(stack.function))
        assert stack.settled() == "CREATE_COMPLETE", stack.reasons()
        after = enrolled(stack)
    assert after["id"] == before["id"] and after["role"] != before["role"]
    assert after["name"] == f"{organization_name(stack)} ({stack.account})"


def test_a_link_is_refused_by_rule_and_rolled_back(enroll, linked):
    stack = enroll(next(linked), PROVIDER_ADOPT="refuse")
    before = stack.spot_accounts()
    with stack.mirrored():
        stack.create(template(stack.function))
        assert stack.settled() == "ROLLBACK_COMPLETE"
    assert "already linked to Spot account" in stack.reasons()
    assert stack.spot_accounts() == before
    assert stack.roles() == []


def test_an_account_that_is_linked_twice_rolls_back_and_leaves_nothing(enroll, population):
    stack = enroll(next(population[2]), PROVIDER_ADOPT="relink")
    before = stack.spot_accounts()
    with stack.mirrored():
        stack.create(template(stack.function))
        assert stack.settled() == "ROLLBACK_COMPLETE"
    assert all(one["id"] in stack.reasons() for one in before)
    assert stack.spot_accounts() == before
    assert stack.roles() == []


def test_a_stack_waits_for_a_spot_that_is_down(enroll, accounts, sandbox):
    stack = enroll(next(accounts))
    sandbox.admin("DELETE", "calls")
    sandbox.admin("POST", "faults", {"service": "spot", "kind": "server_error"})
    try:
        with stack.mirrored():
            stack.create(template(stack.function))
            asked = lambda: sum(count for name, count in sandbox.calls().items() if name.startswith("spot:"))
            until(lambda: asked() > 5, "Spot is asked again and again")
            assert stack.stack()["StackStatus"] == "CREATE_IN_PROGRESS"
            sandbox.admin("DELETE", "faults")
            # The pauses have grown meanwhile.
            assert stack.settled(seconds=100) == "CREATE_COMPLETE", stack.reasons()
            enrolled(stack)
    finally:
        sandbox.admin("DELETE", "faults")


def test_an_external_id_that_expires_before_the_first_link_says_so(ministack, start_sandbox):
    scenario = SCENARIO.replace("600.0", "1.0") + 'external_id_validity = "1s"\n'
    sandbox = start_sandbox(f"seed = 7\n{scenario}")
    stack = Enrollment(ministack, sandbox, sandbox.members(state="ACTIVE")[0]["id"])
    # Nobody shows the role to Spot.
    stack.create(template(stack.function))
    assert stack.settled() == "ROLLBACK_COMPLETE"
    for words in ("expired at 20", "create the stack again"):
        assert words in stack.reasons()
    sandbox.stop()


def test_a_stack_waits_for_a_role_that_spot_does_not_see_yet(enroll, accounts, sandbox):
    stack, gate = enroll(next(accounts)), threading.Event()
    sandbox.admin("DELETE", "calls")
    with stack.mirrored(gate):
        stack.create(template(stack.function))
        until(lambda: sandbox.calls().get("spot:POST /setup/credentials/aws", 0) >= 3, "the link is tried again")
        assert stack.stack()["StackStatus"] == "CREATE_IN_PROGRESS"
        gate.set()
        assert stack.settled() == "CREATE_COMPLETE", stack.reasons()
        enrolled(stack)


def test_a_product_that_spot_finds_something_wrong_with_rolls_back_and_names_the_steps(enroll, accounts):
    stack = enroll(next(accounts))
    # It is attempted again until the function's own time ends.
    stack.functions.update_function_configuration(FunctionName="provider", Timeout=15)
    with stack.mirrored():
        stack.create(template(stack.function).replace("ec2:Describe*", "s3:ListAllMyBuckets"))
        assert stack.settled() == "ROLLBACK_COMPLETE"
    assert "ec2:DescribeInstances" in stack.reasons(), stack.reasons()
    [left] = stack.spot_accounts()
    assert not left["cost_intelligence"] and not left["link_works"]


def test_an_account_that_is_not_a_target_is_refused(enroll, accounts):
    stack = enroll(next(accounts), PROVIDER_TARGETS="123456789012")
    with stack.mirrored():
        stack.create(template(stack.function))
        assert stack.settled() == "ROLLBACK_COMPLETE"
    assert "not in the scope of this provider" in stack.reasons()
    assert stack.spot_accounts() == []


@pytest.mark.parametrize("place", ["SPOT_TOKEN_SECRET_ARN", "SPOT_TOKEN_PARAMETER"])
def test_the_token_may_be_in_aws(enroll, ministack, accounts, sandbox, place):
    account, token = next(accounts), sandbox.environment["SPOTINST_TOKEN"]
    endpoints = {f"AWS_ENDPOINT_URL_{name}": ministack.endpoint for name in ("SECRETS_MANAGER", "SSM")}
    organizations = {"AWS_ENDPOINT_URL_ORGANIZATIONS": sandbox.endpoint}
    # ministack goes by the access key: what the sandbox knows is not twelve digits, so it is the default account.
    if place == "SPOT_TOKEN_SECRET_ARN":
        client = ministack.client("secretsmanager", "000000000000")
        value = client.create_secret(Name=f"spot-{account}", SecretString=token)["ARN"]
    else:
        value = f"/spot/{account}"
        ministack.client("ssm", "000000000000").put_parameter(Name=value, Value=token, Type="SecureString")
    stack = enroll(account, SPOTINST_TOKEN=None, **{place: value}, **endpoints, **organizations)
    with stack.mirrored():
        stack.create(template(stack.function))
        assert stack.settled() == "CREATE_COMPLETE", stack.reasons()
        enrolled(stack)


class Lambda:
    """What Lambda offers to a custom runtime: it tells when the function asks for an invocation, and hands out those that wait."""

    def __init__(self):
        asked, waiting, answers = self.asked, self.waiting, self.answers = threading.Event(), [], []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path.endswith("/runtime/invocation/next"):
                    asked.set()
                if not waiting:
                    # Nothing comes, until the function is ended.
                    self.connection.settimeout(DEADLINE_SECONDS)
                    with contextlib.suppress(OSError):
                        self.rfile.read(1)
                    return
                self.answer(200, json.dumps(waiting.pop(0)).encode(), {
                    "Lambda-Runtime-Aws-Request-Id": "0b1c2d3e",
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + 60) * 1000)),
                    "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:999999999999:function:provider",
                })

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answers.append((self.path.rsplit("/", 1)[1], json.loads(body)))
                self.answer(202, b"", {})

            def answer(self, status, body, headers):
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(body))}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def environment(self):
        return {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_port}", "AWS_LAMBDA_FUNCTION_NAME": "provider",
                   "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256", "AWS_LAMBDA_FUNCTION_VERSION": "1",
                   "AWS_LAMBDA_LOG_STREAM_NAME": "s", "AWS_LAMBDA_LOG_GROUP_NAME": "g", "AWS_REGION": "us-east-1"}

    def invokes(self, variables, *events):
        """What the function answers to each event, and what it prints into its log beside its own lines."""
        self.waiting.extend(events)
        with tempfile.TemporaryFile() as printed:
            process = subprocess.Popen([bootstrap()], env=self.environment() | variables, stdout=printed, stderr=subprocess.DEVNULL)
            try:
                until(lambda: len(self.answers) == len(events) or process.poll() is not None, "all events are answered")
            finally:
                process.kill()
                process.wait()
            printed.seek(0)
            return self.answers, [json.loads(line) for line in printed.read().decode().splitlines()]

    def starts(self, variables):
        """Whether the function comes to ask for an invocation with these variables and no others; otherwise what it logs."""
        self.asked.clear()
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen([bootstrap()], env=self.environment() | variables, stderr=log)
            try:
                until(lambda: self.asked.is_set() or process.poll() is not None, "the function asks, or ends")
            finally:
                process.kill()
                process.wait()
            log.seek(0)
            return self.asked.is_set() or log.read().decode()


@pytest.fixture
def runtime():
    runtime = Lambda()
    yield runtime
    runtime.server.shutdown()
    runtime.server.server_close()


LAMBDA = """
[aws]
region = "us-east-1"
[spot]
token = { secrets_manager = "spot/token" }
[enrollment]
served_by = "lambda"
service_timeout = "14m"
[[profiles]]
name = "first"
adopt = "relink"
naming = { rename = "{account_name} (AWS)" }
access = [{ user_group = "ugr-a1b2c3d4", policy = "pol-a1b2c3d4" }, { user_group = "ugr-a1b2c3d4", policy = "pol-b1b2c3d4" }]
targets = { ous = ["ou-ab12-11111111"], accounts = ["111111111111"] }
[[profiles]]
name = "second"
adopt = "relink"
naming = { rename = "off" }
access = [{ user_group = "ugr-a1b2c3d4", policy = "pol-b1b2c3d4" }, { user_group = "ugr-a1b2c3d4", policy = "pol-a1b2c3d4" }]
targets = { ous = ["ou-ab12-22222222"] }
[bootstrap.lambda]
s3_bucket = "example-programs"
s3_key = "bootstrap.zip"
"""


# An audit role that lets the function in.
AUDIT = """
[audit]
enabled = true
path = "/spot/"
principals = ["role/spot-onboarding-*"]
organization_id = "o-abcdefghij"
"""

# The same with the runner's state. The password in `state.url` stays with the runner.
STATE = """
[state]
url = "postgres://spot:canary@db.example.com/spot"
[bootstrap.lambda]
state = { ssm_parameter = "/spot/state" }
state_ca_file = "/var/task/global-bundle.pem"
maximum_concurrency = 20
subnets = ["subnet-0123abcd"]
security_groups = ["sg-0123abcd"]
"""


def rendered_function(directory, text):
    """The home stack that `runner bootstrap` renders for a configuration, or what it says."""
    shutil.copytree(ROOT / "config", directory, dirs_exist_ok=True)
    (directory / "runner.toml").write_text(text)
    command = [os.environ["RUNNER_BIN"], "--config", str(directory), "bootstrap", "--render", "--format", "json"]
    home = ["--home-account", "999999999999", "--organization", "o-abcdefghij"]
    ended = subprocess.run([*command, *home], capture_output=True, text=True)
    if ended.returncode:
        assert ended.returncode == 2, ended.stderr
        return ended.stderr
    return json.loads(ended.stdout)["spot-onboarding-home in us-east-1"]["Resources"]


def test_the_function_takes_the_environment_that_the_home_stack_gives_it(tmp_path, runtime):
    resources = rendered_function(tmp_path, LAMBDA)
    variables = resources["Function"]["Properties"]["Environment"]["Variables"]
    assert variables == {
        "SPOT_TOKEN_SECRET_ARN": "spot/token",
        "PROVIDER_TOPIC_ARN": "arn:aws:sns:us-east-1:999999999999:spot-onboarding",
        "PROVIDER_SERVICE_TIMEOUT": "840",
        "PROVIDER_ADOPT": "relink",
        "PROVIDER_RENAME": "{account_name} (AWS)",
        "PROVIDER_DELETION": "reconcile",
        "PROVIDER_STACKS": "StackSet-spot-onboarding-first-*,StackSet-spot-onboarding-second-*",
        "PROVIDER_ACCESS": "ugr-a1b2c3d4=pol-a1b2c3d4,ugr-a1b2c3d4=pol-b1b2c3d4",
        "PROVIDER_TARGETS": "ou-ab12-11111111,111111111111,ou-ab12-22222222",
    }
    assert runtime.starts(variables) is True
    # Each variable is read: a wrong value ends the function at its start. Any text can be the name of a stack or a secret.
    for name in variables.keys() - {"SPOT_TOKEN_SECRET_ARN", "PROVIDER_STACKS"}:
        assert name in str(runtime.starts(variables | {name: "{wrong}"})), name
    assert "SPOT_TOKEN_SECRET_ARN" in str(runtime.starts(variables | {"SPOT_TOKEN_SECRET_ARN": ""}))

    mapping = resources["FunctionQueue"]["Properties"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": 2}
    events = resources["FunctionEvents"]["Properties"]
    assert (events["MaximumRetryAttempts"], events["MaximumEventAgeInSeconds"]) == (0, 420)
    assert resources["Queue"]["Properties"]["VisibilityTimeout"] >= resources["Function"]["Properties"]["Timeout"] == 900


def test_a_function_with_the_runners_state_is_told_where_it_is(tmp_path, runtime):
    variables = rendered_function(tmp_path, LAMBDA)["Function"]["Properties"]["Environment"]["Variables"]
    text = LAMBDA.replace("[bootstrap.lambda]", STATE).replace("[enrollment]", '[enrollment]\ndeletion = "stack"')
    resources = rendered_function(tmp_path, text + AUDIT)
    with_state = resources["Function"]["Properties"]["Environment"]["Variables"]
    assert {name: value for name, value in with_state.items() if variables.get(name) != value} == {
        "PROVIDER_DELETION": "stack",
        "PROVIDER_AUDIT_ROLE": "/spot/spot-onboarding-audit",
        "PROVIDER_STATE_PARAMETER": "/spot/state",
        "PROVIDER_STATE_CA_FILE": "/var/task/global-bundle.pem",
    }
    assert runtime.starts(with_state) is True
    assert "PROVIDER_STATE_CA_FILE" in str(runtime.starts(with_state | {"PROVIDER_STATE_CA_FILE": "bundle.pem"}))
    assert resources["FunctionQueue"]["Properties"]["ScalingConfig"] == {"MaximumConcurrency": 20}
    assert resources["FunctionEvents"]["Properties"]["MaximumRetryAttempts"] == 2
    assert resources["Function"]["Properties"]["VpcConfig"]["SubnetIds"] == ["subnet-0123abcd"]
    [policy] = resources["FunctionRole"]["Properties"]["Policies"]
    assert resources["FunctionRole"]["Properties"]["RoleName"] == "spot-onboarding-function"
    assert "arn:aws:iam::*:role/spot/spot-onboarding-audit" in json.dumps(policy)
    assert "parameter/spot/state" in json.dumps(policy) and "canary" not in json.dumps(resources)


def test_a_configuration_that_the_function_could_not_serve_is_refused(tmp_path):
    for old, new, words in [
        ("", "", None),
        ('{ secrets_manager = "spot/token" }', '{ env = "SPOTINST_TOKEN" }', "spot.token is not in AWS"),
        ('served_by = "lambda"', 'served_by = "run"', "beside the runner"),
        ('served_by = "lambda"', 'served_by = "lambda"\ndeletion = "stack"', "deletion"),
        ('adopt = "relink"', 'adopt = "refuse"', "differ in adopt"),
        ('rename = "off"', 'rename = "alias"', "differ in naming.rename"),
        ('"pol-a1b2c3d4" }]', '"pol-c1b2c3d4" }]', "differ in access"),
        ('ous = ["ou-ab12-22222222"]', 'ous = ["Workloads/Prod"]', "by its name"),
        ('ous = ["ou-ab12-22222222"]', 'ous = ["root"], exclude_accounts = ["222222222222"]', "tags or excludes"),
        ('s3_key = "bootstrap.zip"', "", "s3_key"),
        ('s3_key = "bootstrap.zip"', 's3_key = "b.zip"\nmemory = 64', "memory"),
        ('s3_key = "bootstrap.zip"', 's3_key = "b.zip"\nlog_retention_days = 31', "CloudWatch Logs"),
        ('s3_key = "bootstrap.zip"', 's3_key = "b.zip"\nmaximum_concurrency = 3', "bootstrap.lambda.state"),
        ('s3_key = "bootstrap.zip"', 's3_key = "b.zip"\nstate = { secrets_manager = "s" }', "keeps a file"),
        ('s3_key = "bootstrap.zip"', 's3_key = "b.zip"\nstate_ca_file = "/var/task/x.pem"', "needs bootstrap.lambda.state"),
        ('s3_key = "bootstrap.zip"', 's3_key = "b.zip"\nsubnets = ["subnet-0123abcd"]', "security_groups"),
        ('s3_key = "bootstrap.zip"', 's3_key = "b.zip"\nsubnets = ["vpc-0123abcd"]', "the id of a subnet"),
        ("[bootstrap.lambda]", STATE.replace("concurrency = 20", "concurrency = 1001"), "between 2 and 1000"),
        ("[bootstrap.lambda]", STATE.replace("/var/task/", ""), "from /"),
        ("[bootstrap.lambda]", AUDIT.replace("-*", "-runner") + "[bootstrap.lambda]", "role/spot-onboarding-function"),
    ]:
        assert old in LAMBDA
        said = rendered_function(tmp_path, LAMBDA.replace(old, new, 1))
        assert (words is None) == isinstance(said, dict) and (words is None or words in said), (words, said)


class Bucket:
    """Takes answers as CloudFormation's bucket does."""

    def __init__(self):
        self.answers = {}
        answers = self.answers

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answers[self.path.strip("/")] = json.loads(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def bucket():
    bucket = Bucket()
    yield bucket
    bucket.server.shutdown()
    bucket.server.server_close()


def request(bucket, account, name, token=TOPIC, **changes):
    """A Create as CloudFormation publishes it."""
    return {
        "RequestType": "Create", "RequestId": name, "LogicalResourceId": "SpotAccount", "ResourceType": "Custom::SpotAccount",
        "StackId": f"arn:aws:cloudformation:us-east-1:{account}:stack/spot/{name}", "ResponseURL": f"{bucket.endpoint}/{name}",
        "ResourceProperties": {"ServiceToken": token, "AwsAccountId": account, "Token": "canary", "ServiceTimeout": "60"},
    } | changes


def record(name, body):
    return {"messageId": name, "body": body, "eventSource": "aws:sqs", "attributes": {"ApproximateReceiveCount": "1"}}


def test_a_batch_is_answered_and_what_could_not_be_is_left(enroll, accounts, bucket):
    stack = enroll(next(accounts), PROVIDER_TOPIC_ARN=TOPIC)
    good = {"Type": "Notification", "Message": json.dumps(request(bucket, stack.account, "good"))}
    other = request(bucket, stack.account, "other", token="arn:aws:sns:us-east-1:999999999999:other")
    event = {"Records": [record("1", json.dumps(good)), record("2", "no request"), record("3", json.dumps(other))]}
    answer, failed = stack.invoke(event)
    assert not failed, answer
    assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}, {"itemIdentifier": "3"}]}
    assert bucket.answers.keys() == {"good"}
    assert bucket.answers["good"]["Status"] == "SUCCESS"
    assert [one["id"] for one in stack.spot_accounts()] == [bucket.answers["good"]["PhysicalResourceId"]]


def test_a_message_that_comes_back_loses_its_token(sandbox, runtime, bucket):
    account = sandbox.members(state="ACTIVE")[0]["id"]
    sqs = sandbox.aws("sqs")
    queue = sqs.create_queue(QueueName="function")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    again = record("again", json.dumps(request(bucket, account, "topic", token=f"{TOPIC}-other")))
    again = again | {"eventSourceARN": arn, "attributes": {"ApproximateReceiveCount": "2"}}
    answers, _ = runtime.invokes(sandbox.environment | {"PROVIDER_TOPIC_ARN": TOPIC}, {"Records": [again]})
    assert answers == [("response", {"batchItemFailures": []})]
    [copy] = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    assert "canary" not in copy["Body"]
    assert json.loads(json.loads(copy["Body"])["Message"])["RequestId"] == "topic"


def test_what_is_refused_is_counted_by_reason_and_the_home_stack_has_an_alarm_on_it(sandbox, runtime, bucket, tmp_path):
    account, other = [one["id"] for one in sandbox.members(state="ACTIVE")][:2]
    own = {"ServiceToken": TOPIC, "AwsAccountId": other, "Token": "canary"}
    late = {"Type": "Notification", "Message": json.dumps(request(bucket, account, "late")), "Timestamp": "2026-01-01T00:00:00Z"}
    bodies = {
        "not-a-request": '{"Token": "canary"}',
        "service-token": json.dumps(request(bucket, account, "topic", token=f"{TOPIC}-other")),
        "response-url": json.dumps(request(bucket, account, "url", ResponseURL="https://example.com/canary")),
        "expired": json.dumps(late),
        "other-account": json.dumps(request(bucket, account, "other", ResourceProperties=own)),
    }
    batch = {"Records": [record(name, body) for name, body in bodies.items()]}
    answers, lines = runtime.invokes(
        sandbox.environment | {"PROVIDER_TOPIC_ARN": TOPIC}, batch, {"Records": [{"eventSource": "aws:s3"}]})
    assert [kind for kind, _ in answers] == ["response", "error"], answers
    left = {one["itemIdentifier"] for one in answers[0][1]["batchItemFailures"]}
    assert left == {"not-a-request", "service-token", "response-url"}
    # The late one is told, too: it is late by a clock that may be wrong.
    assert {name: answer["Status"] for name, answer in bucket.answers.items()} == {"late": "FAILED", "other": "FAILED"}
    assert sorted(line["Reason"] for line in lines) == sorted([*bodies, "not-an-event"])
    assert "canary" not in json.dumps(lines)

    # Each line is in the embedded metric format, and the alarm looks at the metric that CloudWatch makes of it.
    alarm = rendered_function(tmp_path, LAMBDA)["FunctionRefusedAlarm"]["Properties"]
    for line in lines:
        [metric] = line["_aws"]["CloudWatchMetrics"]
        assert metric["Namespace"] == alarm["Namespace"]
        assert [one["Name"] for one in metric["Metrics"]] == [alarm["MetricName"]] and line[alarm["MetricName"]] == 1
        [dimension] = alarm["Dimensions"]
        assert dimension == {"Name": "FunctionName", "Value": {"Ref": "Function"}}
        assert [dimension["Name"]] in metric["Dimensions"] and line[dimension["Name"]] == "provider"
        assert abs(line["_aws"]["Timestamp"] / 1000 - time.time()) < 3600


def test_a_notification_is_answered_and_one_without_a_topic_is_not_swallowed(enroll, accounts, bucket):
    account = next(accounts)
    text = json.dumps(request(bucket, account, "sns"))
    event = {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": text}}]}
    without = enroll(account)
    answer, failed = without.invoke(event)
    assert failed and "PROVIDER_TOPIC_ARN" in answer["errorMessage"]
    assert bucket.answers == {} and without.spot_accounts() == []


def test_a_stack_asks_for_its_own_account_and_nobody_elses(enroll, accounts, sandbox, bucket):
    mine, theirs = enroll(next(accounts), PROVIDER_TOPIC_ARN=TOPIC, PROVIDER_STACKS="spot"), next(accounts)
    victim = enroll(theirs)
    with victim.mirrored():
        victim.create(template(victim.function))
        assert victim.settled() == "CREATE_COMPLETE", victim.reasons()
    before = enrolled(victim)
    own = {"ServiceToken": TOPIC, "AwsAccountId": mine.account}
    named = {"ServiceToken": TOPIC, "SpotAccountId": before["id"], "AccountId": before["id"], "AwsAccountId": mine.account,
             "IamRoleArn": f"arn:aws:iam::{mine.account}:role/Mine"}
    hijacks = {
        "account": ({"AwsAccountId": theirs, "ServiceToken": TOPIC}, "SpotAccount"),
        "external-id": (named, "SpotExternalId"),
        "link": (named, "SpotLinkedCredentials"),
        "role": ({**named, "IamRoleArn": before["role"]}, "SpotLinkedCredentials"),
        "name": (named, "RenamedSpotAccountByAlias"),
        "product": (named, "EnableCostIntelligence"),
    }
    writes = spot_writes(sandbox)
    for kind in ("Create", "Update", "Delete"):
        for name, (properties, resource) in hijacks.items():
            ours = request(bucket, mine.account, f"{kind}-{name}", RequestType=kind, ResourceType=f"Custom::{resource}",
                           ResourceProperties=properties, OldResourceProperties=own, PhysicalResourceId=before["id"])
            answer, failed = mine.invoke({"Records": [record("1", json.dumps(ours))]})
            assert not failed and answer == {"batchItemFailures": []}, (kind, name, answer)
            said = bucket.answers[f"{kind}-{name}"]
            if kind == "Create":
                assert said["Status"] == "FAILED", (name, said)
            if kind == "Delete":
                assert said["Status"] == "SUCCESS", (name, said)
            assert before["linked_external_id"] not in json.dumps(said), (kind, name)
    assert spot_writes(sandbox) == writes
    assert enrolled(victim) == before


def test_another_stack_or_another_address_gets_nothing(enroll, accounts, sandbox, bucket):
    stack = enroll(next(accounts), PROVIDER_TOPIC_ARN=TOPIC, PROVIDER_STACKS="StackSet-ours-*")
    ask = lambda name, **changes: stack.invoke({"Records": [record("1", json.dumps(
        request(bucket, stack.account, name, **changes)))]})
    assert ask("other") == ({"batchItemFailures": []}, False)
    assert bucket.answers["other"]["Status"] == "FAILED"
    assert "does not serve stacks named spot" in bucket.answers["other"]["Reason"]
    arn = f"arn:aws:cloudformation:us-east-1:{stack.account}:stack/StackSet-ours-0b1c/x"
    for name, address in {"link-local": "http://169.254.169.254/latest/", "elsewhere": "https://example.com/answer",
                          "another": bucket.endpoint.replace("127.0.0.1", "127.0.0.2") + "/x"}.items():
        assert ask(name, StackId=arn, ResponseURL=address) == ({"batchItemFailures": [{"itemIdentifier": "1"}]}, False)
    assert stack.spot_accounts() == []
    assert ask("ours", StackId=arn) == ({"batchItemFailures": []}, False)
    assert bucket.answers["ours"]["Status"] == "SUCCESS"
    assert len(stack.spot_accounts()) == 1


def test_a_message_that_is_no_request_fails_the_invocation(enroll, accounts):
    stack = enroll(next(accounts))
    for event in ({}, {"Records": [{"eventSource": "aws:s3"}]}, [], "text", None):
        answer, failed = stack.invoke(event)
        assert failed, (event, answer)
        assert "canary" not in json.dumps(answer)
    assert stack.spot_accounts() == []


def test_a_request_is_answered_before_the_function_ends(enroll, accounts, sandbox, bucket):
    stack = enroll(next(accounts))
    stack.functions.update_function_configuration(FunctionName="provider", Timeout=5)
    sandbox.admin("POST", "faults", {"service": "spot", "kind": "server_error"})
    try:
        answer, failed = stack.invoke(request(bucket, stack.account, "late", token=stack.function))
    finally:
        sandbox.admin("DELETE", "faults")
    assert not failed, answer
    assert bucket.answers["late"]["Status"] == "FAILED"
    assert "not done in time" in bucket.answers["late"]["Reason"]


def test_messages_of_a_real_queue_are_taken_by_an_event_source_mapping(enroll, ministack, accounts, bucket):
    account = next(accounts)
    sns, sqs = ministack.client("sns", account), ministack.client("sqs", account)
    topic = sns.create_topic(Name="spot")["TopicArn"]
    queue = sqs.create_queue(QueueName="spot", Attributes={"VisibilityTimeout": "900"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    stack = enroll(account, PROVIDER_TOPIC_ARN=topic)
    stack.functions.create_event_source_mapping(
        EventSourceArn=arn, FunctionName="provider", BatchSize=2, FunctionResponseTypes=["ReportBatchItemFailures"],
        ScalingConfig={"MaximumConcurrency": 2})
    sns.publish(TopicArn=topic, Message=json.dumps(request(bucket, account, "queued", token=topic)),
                Subject="AWS CloudFormation custom resource request")
    until(lambda: "queued" in bucket.answers, "the request is answered")
    assert bucket.answers["queued"]["Status"] == "SUCCESS"
    def left():
        attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])
    until(lambda: left() == 0, "the message is deleted")
