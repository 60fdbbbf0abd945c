"""What a process sees under pyruntime is what it sees under runc or crun, or docs/deviations.md says why not."""

import json
import os
import runpy
from pathlib import Path

import pytest

import deviations
import peers
from variations import VARIATIONS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

PAGE = Path(__file__).parents[2] / "docs/deviations.md"


@pytest.mark.parametrize("name", [one.name for one in VARIATIONS])
def test_each_difference_has_a_line(measured, name):
    deviations.assert_listed(measured, name)


def _pointers(value, pointer=""):
    """Yield the pointer of everything in `value`, "*" for any index and for any name."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in members:
        for one in {name, "*"} if isinstance(value, dict) else {"*"}:
            yield f"{pointer}/{one}"
            yield from _pointers(child, f"{pointer}/{one}")


def test_every_property_is_varied(default_config):
    pages = runpy.run_path(str(PAGE.parents[1] / "generate/pages.py"))
    varied = set()
    for variation in VARIATIONS:
        config = json.loads(default_config)
        config["linux"]["cgroupsPath"] = "/ID"
        for change in variation.changes:
            change(config)
        varied.update(_pointers(config))
    assert not {*pages["properties"]()} - varied


@pytest.mark.parametrize(
    "line", [line for line in deviations.LINES if line.certain and not line.shown], ids=lambda line: line.what
)
def test_each_line_has_a_difference(measured, line):
    if peers.versions() != deviations.SEEN_WITH:
        pytest.skip("the lines were seen beside other versions of the peers")
    assert any(line is shown for shown, *_ in deviations.examples(measured))


def test_the_page_has_each_line():
    page = PAGE.read_text()
    for line in deviations.LINES:
        assert f"| {line.what} | " in page and f" | {line.why} |" in page, line.what


def test_the_probe_has_run(measured):
    """A comparison of nothing with nothing has no differences."""
    for name, by in measured.items():
        assert all(any(path.startswith("status: ") for path in values) for values in by.values()), name
    plain = measured["as it is"]
    for values in plain.values():
        assert values["process: arguments"] == ["/probe", "--to", "/out/process"]
        assert values["process: mounts: /proc: type"] == "proc"
