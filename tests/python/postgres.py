"""A throwaway PostgreSQL for tests, from the binaries that `pgserver` brings: `python postgres.py` makes a cluster in a
temporary directory, prints its URL (of its Unix socket, as superuser `postgres`, without the database), and ends with its
standard input, so that it never outlives who started it. The lines `stop` and `start` on that input take the server away and
bring it back; each is answered by a line when it is done.
"""

import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse

DEADLINE_SECONDS = 60
# `nobody`: PostgreSQL refuses to run as root.
UNPRIVILEGED = 65534
# What a test writes is never needed again.
FAST = ["fsync=off", "synchronous_commit=off", "full_page_writes=off", "autovacuum=off", "max_connections=300", "shared_buffers=16MB"]


class Postgres:
    """A cluster of one's own."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="pg"))
        self.process = None
        try:
            self._start()
        except BaseException:
            self.end()
            raise

    def _start(self):
        package = pathlib.Path(importlib.util.find_spec("pgserver").submodule_search_locations[0])
        binaries, data = package / "pginstall/bin", self.directory / "data"
        identity = {}
        if os.geteuid() == 0:
            # The binaries may be where only root gets to, and name what they need relative to themselves.
            self.directory.chmod(0o755)
            copy = self.directory / "packages"
            wanted = shutil.ignore_patterns("include", "pkgconfig", "*.a", "__pycache__")
            shutil.copytree(package / "pginstall", copy / "pgserver/pginstall", ignore=wanted, symlinks=True)
            shutil.copytree(package.parent / "pgserver.libs", copy / "pgserver.libs")
            binaries = copy / "pgserver/pginstall/bin"
            identity = {"user": UNPRIVILEGED, "group": UNPRIVILEGED, "extra_groups": []}
        data.mkdir(mode=0o700)
        socket = self.socket = self.directory / "socket"
        socket.mkdir()
        for path in (data, socket) if identity else ():
            os.chown(path, UNPRIVILEGED, UNPRIVILEGED)
        environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
        arguments = {"cwd": self.directory, "env": environment, "stdin": subprocess.DEVNULL, **identity}
        made = subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **arguments)
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stdout}")
        options = [part for option in [*FAST, "listen_addresses="] for part in ("-c", option)]
        self.command = ([binaries / "postgres", "-D", data, "-k", socket, *options], arguments)
        self.start()
        self.psql = binaries / "psql"
        self.url = f"postgres://postgres@{urllib.parse.quote(str(socket), safe='')}"

    def start(self):
        """Starts the server, and waits until it takes connections."""
        command, arguments = self.command
        with open(self.directory / "log", "a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, **arguments)
        # The last line of this file says that connections are taken.
        ready = self.directory / "data/postmaster.pid"
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (ready.exists() and ready.read_text().rstrip().endswith("ready")):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {(self.directory / 'log').read_text()}")
            time.sleep(0.01)

    def stop(self, how=signal.SIGINT):
        """Ends the server: every session at once, and what was committed is kept."""
        if self.process:
            self.process.send_signal(how)
            self.process.wait(DEADLINE_SECONDS)

    def sql(self, text, database="postgres"):
        """Runs SQL."""
        subprocess.run([self.psql, "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--host", self.socket, "--username=postgres", database],
                       input=text, check=True, capture_output=True, text=True, timeout=DEADLINE_SECONDS)

    def end(self):
        """Ends it at once, and leaves nothing."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    cluster = Postgres()
    try:
        print(cluster.url, flush=True)
        for line in sys.stdin:
            {"stop": cluster.stop, "start": cluster.start}[line.strip()]()
            print(line.strip(), flush=True)
    finally:
        cluster.end()
