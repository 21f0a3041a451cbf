"""The compiled `bootstrap` in ministack with the runner's PostgreSQL state: what one process of it did, the next one knows."""

import json
import os
import subprocess

import pytest

from conftest import ROOT
from emulators import start_ministack
from enrollment import Enrollment, rendered, template
from postgres import Postgres
from runtime import FUNCTION, Process
from test_bootstrap import TOPIC, Bucket, record, request
from tls_front import TlsFront

SCENARIO = """
clock_speed = 600.0
[organization]
accounts = 8
ous = 2
rates = false
[spot]
rate_limit = 100000
"""


@pytest.fixture(scope="module")
def ministack():
    emulator = start_ministack()
    yield emulator
    emulator.end()


@pytest.fixture(scope="module")
def sandbox(start_sandbox):
    return start_sandbox(SCENARIO)


@pytest.fixture(scope="module")
def accounts(sandbox):
    return iter([one["id"] for one in sandbox.members(state="ACTIVE")])


@pytest.fixture(scope="module")
def cluster():
    cluster = Postgres()
    yield cluster
    cluster.end()


@pytest.fixture(scope="module")
def state(cluster, tmp_path_factory):
    """The URL of a state that the runner has made."""
    url = f"{cluster.url}/postgres"
    config = tmp_path_factory.mktemp("config")
    text = (ROOT / "config/runner.toml").read_text()
    (config / "runner.toml").write_text(text.replace('#url = "sqlite://runner.db"', f'url = "{url}"'))
    (config / "policies").symlink_to(ROOT / "config/policies")
    subprocess.run([os.environ["RUNNER_BIN"], "--config", config, "runs", "list"], check=True, capture_output=True)
    return url


@pytest.fixture
def bucket():
    bucket = Bucket()
    yield bucket
    bucket.server.shutdown()
    bucket.server.server_close()


@pytest.fixture
def stack(ministack, sandbox, accounts, state):
    """A stack that takes its Spot account with it; what it does is read in its account."""
    read = {f"AWS_ENDPOINT_URL_{service}": ministack.endpoint for service in ("STS", "CLOUDFORMATION")}
    stack = Enrollment(ministack, sandbox, next(accounts), PROVIDER_STATE_URL=state, PROVIDER_DELETION="stack",
                       PROVIDER_AUDIT_ROLE="/spot/reader", **read)
    iam = ministack.client("iam", stack.account)
    iam.create_role(RoleName="reader", Path="/spot/", AssumeRolePolicyDocument="{}")
    return stack


def test_a_stack_takes_the_spot_account_with_it_that_another_process_created(stack):
    with stack.mirrored():
        stack.create(template(stack.function))
        assert stack.settled() == "CREATE_COMPLETE", stack.reasons()
        assert len(stack.spot_accounts()) == 1
        stack.cold()
        stack.update(template(stack.function, role={"Path": "/spot/"}))
        assert stack.settled() == "UPDATE_COMPLETE", stack.reasons()
        stack.cold()
        assert stack.settled(stack.delete()) == "DELETE_COMPLETE"
    assert stack.spot_accounts() == []


def test_the_account_is_named_by_its_alias_which_the_audit_role_reads(ministack, sandbox, accounts):
    read = {f"AWS_ENDPOINT_URL_{service}": ministack.endpoint for service in ("STS", "IAM", "CLOUDFORMATION")}
    stack = Enrollment(ministack, sandbox, next(accounts), PROVIDER_RENAME="alias", PROVIDER_AUDIT_ROLE="reader", **read)
    iam = ministack.client("iam", stack.account)
    iam.create_role(RoleName="reader", AssumeRolePolicyDocument="{}")
    iam.create_account_alias(AccountAlias="payments-prod")
    with stack.mirrored():
        stack.create(rendered(stack.function))
        assert stack.settled() == "CREATE_COMPLETE", stack.reasons()
    [made] = stack.spot_accounts()
    assert made["name"] == "payments-prod"


def test_a_resource_with_a_new_name_keeps_the_spot_account(stack):
    with stack.mirrored():
        stack.create(template(stack.function))
        assert stack.settled() == "CREATE_COMPLETE", stack.reasons()
        [made] = stack.spot_accounts()
        stack.cold()
        renamed = template(stack.function).replace('"SpotAccount"', '"RenamedAccount"')
        stack.update(renamed)
        assert stack.settled() == "UPDATE_COMPLETE", stack.reasons()
        # ministack deletes the old one without going into UPDATE_COMPLETE_CLEANUP_IN_PROGRESS.
        [kept] = stack.spot_accounts()
        assert kept["id"] == made["id"] == stack.outputs()["AccountId"]


def test_nothing_is_deleted_without_a_role_that_can_tell_whether_the_stack_is(ministack, sandbox, accounts, state):
    stack = Enrollment(ministack, sandbox, next(accounts), PROVIDER_STATE_URL=state, PROVIDER_DELETION="stack")
    answer, failed = stack.invoke({"Records": []})
    assert failed
    assert "PROVIDER_AUDIT_ROLE" in ministack.output(), answer


def test_a_repeated_request_gets_the_same_external_id_from_another_process(ministack, sandbox, accounts, state, bucket):
    account = next(accounts)
    client = ministack.client("secretsmanager", "000000000000")
    secret = client.create_secret(Name=f"state-{account}", SecretString=state)["ARN"]
    endpoints = {"AWS_ENDPOINT_URL_SECRETS_MANAGER": ministack.endpoint, "AWS_ENDPOINT_URL_ORGANIZATIONS": sandbox.endpoint}
    stack = Enrollment(ministack, sandbox, account, PROVIDER_STATE_SECRET_ARN=secret, **endpoints)

    def answered(name, **changes):
        changes = {"StackId": f"arn:aws:cloudformation:us-east-1:{account}:stack/spot/one"} | changes
        event = request(bucket, account, name, token=stack.function, **changes)
        answer, failed = stack.invoke(event)
        assert not failed, answer
        assert bucket.answers[name]["Status"] == "SUCCESS", bucket.answers[name]
        return bucket.answers.pop(name)

    spot_account = answered("account")["PhysicalResourceId"]
    wanted = {
        "ResourceType": "Custom::SpotExternalId", "LogicalResourceId": "SpotExternalId",
        "ResourceProperties": {"ServiceToken": stack.function, "SpotAccountId": spot_account, "ServiceTimeout": "60"},
    }
    first = answered("external-id", **wanted)
    made = sandbox.calls()["spot:POST /setup/credentials/aws/externalId"]
    stack.cold()
    assert answered("external-id", **wanted) == first
    assert answered("account")["PhysicalResourceId"] == spot_account
    assert sandbox.calls()["spot:POST /setup/credentials/aws/externalId"] == made


def test_a_state_that_nobody_has_made_is_refused(ministack, sandbox, accounts, cluster, state, bucket):
    account = next(accounts)
    url = f"{cluster.url.replace('postgres@', 'postgres:canary@')}/template1"
    stack = Enrollment(ministack, sandbox, account, PROVIDER_STATE_URL=url)
    for kind, status in ("Create", "FAILED"), ("Delete", "SUCCESS"):
        event = request(bucket, account, kind, token=stack.function, RequestType=kind, PhysicalResourceId="act-1")
        assert stack.invoke(event) == (None, False)
        assert bucket.answers[kind]["Status"] == status
        assert "cannot serve now" in bucket.answers[kind]["Reason"]
    assert "has no state yet" in ministack.output()
    assert "canary" not in str(bucket.answers) + ministack.output()
    assert stack.spot_accounts() == []


def test_a_state_that_a_newer_version_has_changed_is_not_served_any_more(ministack, sandbox, accounts, cluster, state, bucket):
    stack = Enrollment(ministack, sandbox, next(accounts), PROVIDER_STATE_URL=state, PROVIDER_TOPIC_ARN=TOPIC)

    def asked(name):
        return stack.invoke(request(bucket, stack.account, name, token=stack.function))

    assert asked("before") == (None, False)
    try:
        cluster.sql("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) "
                    "SELECT 9999, description, success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1")
        # The process is the same, and has the state open.
        made = stack.spot_accounts()
        assert asked("meanwhile") == (None, False)
        assert bucket.answers["meanwhile"]["Status"] == "FAILED" and "migration 9999" in ministack.output()
        assert stack.spot_accounts() == made
        # A queue delivers again.
        batch = {"Records": [record("1", json.dumps(request(bucket, stack.account, "queued", token=TOPIC)))]}
        answer, failed = stack.invoke(batch)
        assert failed and "migration 9999" in answer["errorMessage"], answer
        assert "queued" not in bucket.answers
    finally:
        cluster.sql("DELETE FROM _sqlx_migrations WHERE version = 9999")
    assert asked("after") == (None, False)
    assert bucket.answers["after"]["Status"] == "SUCCESS"


@pytest.fixture
def processes():
    """Starts processes of the function; all of them are ended."""
    started = []

    def start(variables):
        started.append(Process(variables))
        return started[-1]

    yield start
    for process in started:
        process.end()


# Spot takes its time, so that two processes are in the middle of it together.
SLOW = f'{SCENARIO}[latency]\nspot = "400ms"\n'


def test_two_processes_on_one_state_create_one_spot_account(start_sandbox, processes, state, bucket):
    # Other accounts than those that the state knows already.
    sandbox = start_sandbox(f"seed = 101\n{SLOW}")
    account = sandbox.members(state="ACTIVE")[0]["id"]
    variables = sandbox.environment | {"PROVIDER_STATE_URL": state}
    before = {one["id"] for one in sandbox.admin("GET", "spot")["accounts"]}
    both = [processes(variables) for _ in range(2)]
    # The old and the new stack of an account that moves.
    properties = {"ServiceToken": FUNCTION, "AwsAccountId": account, "ServiceTimeout": "600"}
    for process, name in zip(both, ("old", "new")):
        process.events.put(request(bucket, account, name, ResourceProperties=properties))
    for process in both:
        assert process.result() == (None, False), process.output()
    answers = [bucket.answers[name] for name in ("old", "new")]
    assert [answer["Status"] for answer in answers] == ["SUCCESS", "SUCCESS"], answers
    # One has created it, and the other has waited for that: Spot never had a second one.
    [only] = {one["id"] for one in sandbox.admin("GET", "spot")["accounts"]} - before
    assert {answer["PhysicalResourceId"] for answer in answers} == {only}
    assert "DELETE" not in " ".join(sandbox.calls())
    sandbox.stop()


def test_a_server_is_verified_with_the_bundle_that_the_function_brings(
        sandbox, accounts, cluster, state, processes, bucket, tmp_path):
    front = TlsFront(cluster.socket, tmp_path)
    url = f"postgres://postgres:canary@127.0.0.1:{front.port}/postgres?sslmode=verify-full"
    account, variables = next(accounts), sandbox.environment | {"PROVIDER_STATE_URL": url}
    ask = request(bucket, account, "verified", token=FUNCTION)
    # A state that cannot be had is tried again for half of the time, which is short here.
    process = processes(variables)
    process.seconds = 6
    process.events.put(ask)
    assert process.result() == (None, False), process.output()
    assert bucket.answers.pop("verified")["Status"] == "FAILED"
    assert "sslrootcert" in process.output() and "canary" not in process.output()
    assert front.encrypted == 0

    process = processes(variables | {"PROVIDER_STATE_CA_FILE": str(front.ca_file)})
    process.events.put(ask)
    assert process.result() == (None, False), process.output()
    assert bucket.answers["verified"]["Status"] == "SUCCESS"
    assert front.encrypted > 0
    front.end()
