"""What a person at a terminal sees while a run goes on, and that nobody else sees it."""

import os
import pty
import shutil
import subprocess

import pytest

from conftest import ROOT

SCENARIO = """
seed = 41
clock_speed = 20.0
[organization]
accounts = 4
ous = 1
depth = 1
trusted_access = true
rates = false
"""


@pytest.fixture
def command(tmp_path):
    if "RUNNER_BIN" not in os.environ:
        pytest.skip("RUNNER_BIN is not set; run `cargo xtask test`")
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    text = (config / "runner.toml").read_text()
    # Nobody serves between the runs.
    (config / "runner.toml").write_text(text.replace('#served_by = "provider"', 'served_by = "run"'))
    return [os.environ["RUNNER_BIN"], "--config", str(config)]


def environment(sandbox):
    return {"PATH": os.environ["PATH"], "TERM": "xterm", **sandbox.environment}


def at_a_terminal(command, sandbox, directory):
    """Runs it with a terminal as its stderr; returns what the terminal got, and stdout."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, env=environment(sandbox), cwd=directory, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            some = os.read(ours, 65536)
        except OSError:
            break
        if not some:
            break
        shown += some
    os.close(ours)
    stdout = process.stdout.read()
    process.stdout.close()
    assert process.wait(60) == 0, shown
    return shown.decode(errors="replace"), stdout.decode()


def test_a_terminal_shows_how_far_the_accounts_are(start_sandbox, command, tmp_path):
    shown, stdout = at_a_terminal([*command, "exec", "stackset-sync"], start_sandbox(SCENARIO), tmp_path)
    for words in ("looking at AWS and Spot", "of 4 accounts done", "0 failed", "waiting", "operation "):
        assert words in shown, shown
    assert "accounts done" not in stdout


def test_without_a_terminal_or_with_quiet_nothing_is_shown(start_sandbox, command, tmp_path):
    sandbox = start_sandbox(SCENARIO)
    shown, _ = at_a_terminal([*command, "--quiet", "exec", "stackset-sync"], sandbox, tmp_path)
    assert "accounts done" not in shown and "looking at" not in shown, shown
    fresh = start_sandbox(SCENARIO)
    other = tmp_path / "other"
    other.mkdir()
    done = subprocess.run([*command, "exec", "stackset-sync"], env=environment(fresh), cwd=other, capture_output=True,
                          text=True, timeout=120, check=True)
    assert "accounts done" not in done.stderr + done.stdout, done.stderr
