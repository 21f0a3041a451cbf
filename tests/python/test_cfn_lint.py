"""Every template that the renderer can make, read by tools that the project did not write: cfn-lint, and PyYAML, whose
YAML 1.1 is what CloudFormation reads.

The renderer is the example `render_all` of onboarding-core: RENDER_ALL_BIN names a built one, otherwise cargo runs it.
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    directory = tmp_path_factory.mktemp("templates")
    binary = os.environ.get("RENDER_ALL_BIN")
    command = (
        [binary]
        if binary
        else ["cargo", "run", "--quiet", "-p", "onboarding-core", "--example", "render_all", "--"]
    )
    subprocess.run([*command, str(directory)], cwd=ROOT, check=True)
    files = sorted(directory.iterdir())
    assert len(files) > 100, files
    # Both versions of the policies in one template, as in the middle of a rollout.
    assert any('"PolicyVersionIsNext"' in path.read_text() for path in files if path.suffix == ".json"), files
    return files


# Over a hundred templates, of which it takes one after the other, and seconds for each.
@pytest.mark.timeout(600)
def test_cfn_lint_finds_nothing_in_any_rendering(templates):
    # Templates for other partitions are checked against a Region of theirs; stacks of the home account against their own.
    regions = {"aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
    groups = {}
    for path in templates:
        of_partition = next((region for name, region in regions.items() if name in path.stem), "us-east-1")
        region = path.stem.partition("-in-")[2] or of_partition
        groups.setdefault(region, []).append(str(path))
    assert {"us-east-1", "eu-west-1", "cn-north-1", "us-gov-west-1"} <= set(groups), groups.keys()
    # One core each, for it uses no more.
    some = [(region, paths[at : at + 20]) for region, paths in groups.items() for at in range(0, len(paths), 20)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        ended = pool.map(lambda one: (one[0], lint(*one)), some)
        for region, result in ended:
            assert result.returncode == 0, f"{region}:\n{result.stdout}{result.stderr}"


def lint(region, paths):
    program = pathlib.Path(sys.executable).with_name("cfn-lint")
    command = [str(program), "--regions", region, "--template", *paths]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_yaml_reads_as_the_same_template_as_json(templates):
    for path in templates:
        if path.suffix == ".yaml":
            template = json.loads(path.with_suffix(".json").read_text())
            assert yaml.safe_load(path.read_text()) == template, path.name
