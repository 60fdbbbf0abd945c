"""`timeline`: a trace as text and as a picture, whole or cut off."""

import json
from xml.etree import ElementTree

import pytest

from pyruntime.base.errors import Error
from pyruntime.base.events import HOST, KERNEL, STUB, Recorder
from pyruntime.cli import timeline_svg, trace_file
from pyruntime.cli.verbs import timeline
from pyruntime.plan.step import Step

STEP = Step("mount", "/mounts/0", "config.md#mounts", path="/a<&>b", fstype="tmpfs")


def ignore(*_):
    """Stands for the functions of the log."""


@pytest.fixture
def trace(tmp_path):
    """The path of a trace: a step of the stub while the host waits, in an event of the host."""
    path = tmp_path / "trace"
    recorder = Recorder(ignore, ignore)
    recorder.verb = "run"
    recorder.trace(str(path))
    recorder.child = 42
    recorder.begin("all")
    recorder.done("first")
    recorder.begin("wait", KERNEL)
    recorder.mark(STEP, recorder.start + 1000, recorder.start + 2000)
    recorder.end()
    recorder.note("message")
    recorder.finish()
    return path


def test_a_trace_is_json_with_a_name_for_each_row(trace):
    events = json.loads(trace.read_text())
    step = next(event for event in events if event["name"].startswith("mount("))
    assert step["args"] == {"pid": 42, "pointer": "/mounts/0", "clause": "config.md#mounts"}
    assert step["ts"] == 1
    assert step["dur"] == 1
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert names[step["tid"]].startswith("stub")


def test_events_know_what_they_lie_in(trace):
    bars = {bar.what: bar for bar in trace_file.read(str(trace))}
    assert bars["pyruntime run"].depth == 0
    assert bars["all"].depth == 1
    assert bars["first"].depth == 2
    assert {bar.row for bar in bars.values()} == {HOST, KERNEL, STUB}


def test_text_has_a_line_for_each_event(trace):
    bars = trace_file.read(str(trace))
    lines = timeline.as_text(bars).splitlines()
    assert len(lines) == len(bars) + 1
    assert any("/mounts/0, config.md#mounts" in line for line in lines)


def test_a_picture_is_well_formed(trace):
    picture = ElementTree.fromstring(timeline_svg.picture(trace_file.read(str(trace))))  # noqa: S314  # our own
    titles = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}title")]
    assert any("/a<&>b" in title for title in titles)


def test_a_trace_that_was_cut_off_is_read_as_far_as_it_goes(trace):
    whole = trace_file.read(str(trace))
    trace.write_text("".join(trace.read_text().splitlines(keepends=True)[:4]))
    assert 0 < len(trace_file.read(str(trace))) < len(whole)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[\n]\n",
        "{}",
        "no json",
        '[\n{"ph": "X"}\n]',
        '[\n{"ph": "X", "cat": "host", "name": "a", "ts": "x"}\n]',
        '[\n{"ph": "X", "cat": "elsewhere", "name": "a", "ts": 1, "dur": 1}\n]',
        '[\n{"ph": "X", "cat": "host", "name": "a", "ts": 1e300, "dur": 1}\n]',
        '[\n{"ph": "X", "cat": "host", "name": "a", "ts": 1, "dur": -1}\n]',
        "[" * 100000,
    ],
)
def test_what_is_no_trace_is_an_error(tmp_path, content):
    path = tmp_path / "trace"
    path.write_text(content)
    with pytest.raises(Error, match="cannot read the trace"):
        trace_file.read(str(path))


def test_what_a_hostile_process_tells_is_left_out():
    recorder = Recorder(ignore, ignore)
    events = ('["init", "a", -5, 1, "", ""]', '["init", "a", 2, 1, "", ""]', "null", "[]", "", "[")
    for message in [b"D\xff", *(b"D" + event.encode() for event in events)]:
        recorder.told(message)
    recorder.mark("a", 5, 1)
    recorder.mark("a", 1, 1 << 63)
    assert recorder._count == 0
    recorder.told(b'D["host", "a\\u001b[2J", 1, 2, "/x", ""]')
    assert recorder._count == 1
