"""What the pages show of a command is what it prints: each line of their worked examples is looked for in what the example prints now.

Ids, times and how many calls a run took are others each time; everything else, counts and sums included, has to be the same.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

import pytest

# Seconds for one example. The first test waits for all of them.
LIMIT = 250
pytestmark = pytest.mark.timeout(900)

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples/rehearse.py"
# Each shows what an example printed, up to the next heading or the next of these.
SHOWN = re.compile(r"`python3 examples/rehearse\.py\s+([a-z-]+)`")
HEADING = re.compile(r"^#+ ", re.MULTILINE)
BLOCK = re.compile(r"^```text\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What differs from run to run.
OTHERS = [
    (re.compile(pattern), other)
    for pattern, other in [
        (r"\bact-[0-9a-f]{8}\b", "act-ID"),
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
        (r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?Z?", "TIME"),
        (r"-[0-9a-f]{8}-SpotRole-[A-Z0-9]{12}\b", "-SpotRole"),
        (r"\bA[A-Z]{3}[A-Z0-9]{17}\b", "UNIQUE-ID"),
        (r"\b[0-9a-f]{16,64}\b", "DIGEST"),
        (r"\bgap of \d+ seconds?", "gap"),
        (r"took [0-9.]+ \w+ and \d+ API calls", "took"),
        # Where a long line is cut depends on these.
        (r"\S*…", "…"),
        # Steps are in the order of ids.
        (r"^\d+\. ", ""),
        (r"\s+", " "),
    ]
]


def alike(line):
    for pattern, other in OTHERS:
        line = pattern.sub(other, line)
    return line.strip()


def pages():
    """What each example's page shows: its name, the page, and the lines."""
    found = []
    for page in sorted(ROOT.glob("docs/**/*.md")):
        text = page.read_text()
        shown = list(SHOWN.finditer(text))
        for one, after in zip(shown, [*shown[1:], None]):
            rest = text[one.end() : after.start() if after else len(text)]
            heading = HEADING.search(rest)
            rest = rest[: heading.start()] if heading else rest
            lines = [line for block in BLOCK.findall(rest) for line in block.splitlines()]
            lines = [line for line in lines if line.strip() not in ("", "...")]
            found.append((one[1], page.relative_to(ROOT), lines))
    return found


PAGES = pages()
NAMES = [name for name, _, _ in PAGES]


@pytest.fixture(scope="module")
def printed():
    """What each example prints. They wait most of the time: several at once."""
    if "RUNNER_BIN" not in os.environ:
        pytest.skip("RUNNER_BIN is not set; run `cargo xtask test`")

    def rehearse(name):
        command = [sys.executable, SCRIPT, "--runner", os.environ["RUNNER_BIN"], name]
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(command, None, "", f"{name} took longer than {LIMIT} s")

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        return dict(zip(NAMES, pool.map(rehearse, NAMES)))


@pytest.mark.parametrize(("name", "page", "lines"), PAGES, ids=NAMES)
def test_a_page_shows_what_its_example_prints(printed, name, page, lines):
    done = printed[name]
    assert done.returncode == 0, done.stdout + done.stderr
    assert lines, f"{page} shows nothing of {name}"
    now = {alike(line) for line in done.stdout.splitlines()}
    stale = [line for line in lines if alike(line) not in now]
    assert not stale, f"{page}: not printed any more by {name}; record it anew:\n" + "\n".join(stale)


def test_each_example_is_on_a_page():
    listed = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True).stderr
    names = listed.rsplit("examples are: ", 1)[1].strip().split(", ")
    assert sorted(names) == sorted(NAMES)
