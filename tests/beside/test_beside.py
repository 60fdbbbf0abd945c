"""What a process sees under pyruntime is what it sees under runc or crun, or docs/deviations.md says why not."""

import os
from pathlib import Path

import pytest

import deviations
import peers
from variations import VARIATIONS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

PAGE = Path(__file__).parents[2] / "docs/deviations.md"


@pytest.mark.parametrize("name", [one.name for one in VARIATIONS])
def test_each_difference_has_a_line(measured, name):
    found = deviations.unlisted(measured, name)
    lines = [", ".join(measured[name]), *(f"{path}: {values}" for path, values in found.items())]
    for runtime, values in measured[name].items():
        lines += [f"{runtime} {path} {value}" for path, value in values.items() if path.startswith("says: ") and value]
    assert not found, "\n".join(lines)


@pytest.mark.parametrize("line", [line for line in deviations.LINES if line.certain], ids=lambda line: line.what)
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
