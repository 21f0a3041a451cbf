"""Emulators that we did not write, each in a process of its own on a free port of the loopback interface."""

import os
import pathlib
import re
import socket
import subprocess
import sys
import tempfile
import time

import boto3
from botocore.config import Config

DEADLINE_SECONDS = 30


class Emulator:
    """A running emulator, ended by its id."""

    def __init__(self, command, environment):
        program = str(pathlib.Path(sys.executable).parent / command[0])
        self.log = tempfile.NamedTemporaryFile()
        self.process = subprocess.Popen(
            [program, *command[1:]],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        self.port = until(self._port, f"{command[0]} says where it listens")
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def _port(self):
        """The port in a line such as `Running on http://127.0.0.1:41877`.

        Connecting until it listens would now and then connect to itself: a free port is also one that the kernel may
        give to the connecting side.
        """
        log = self.output()
        assert self.process.poll() is None, f"the emulator ended early: {log}"
        return (found := re.search(r"Running on http://127\.0\.0\.1:(\d+)\D", log)) and found[1]

    def output(self):
        """What it has printed so far."""
        return pathlib.Path(self.log.name).read_text(errors="replace")

    def client(self, service, account="test"):
        """A boto3 client; ministack takes an access key of twelve digits for the account."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=account,
            aws_secret_access_key="test",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=120),
        )

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_ministack():
    """A ministack of one's own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        "GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "MINISTACK_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "false",
    }
    return Emulator(["ministack"], environment)


def until(probe, what, seconds=DEADLINE_SECONDS):
    """Waits until a probe has a value, and returns it; fails at the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := probe()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return value
