"""A damaged state.json is refused by name of its first wrong member, before any verb relies on it."""

import copy
import json

import pytest

from pyruntime.base.errors import Error
from pyruntime.engine.caller.options import CreateOptions
from pyruntime.engine.state_document import new_state
from pyruntime.store import container, state_shape

CONFIG = {"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "process": {"args": ["sh"], "cwd": "/"}}
HOOK = {"path": "/bin/true", "args": ["true"], "env": ["A=b"], "timeout": 1}
FULL = {
    "cgroup": {"paths": {"": "/sys/fs/cgroup/c"}, "made": [], "unit": {"name": "c.scope", "user": True}},
    "intel_rdt": {"tasks": ["/sys/fs/resctrl/c"], "remove": []},
    "root_mount": {"path": "/rootfs", "namespace": "", "inode": 0, "below": 7, "root": [1, 2]},
    "hooks": {"poststart": [HOOK], "poststop": [{"path": "/bin/true"}]},
    "annotations": {"key": "a value, with NUL: \0"},
    "pid": 4194304,
}

MEMBERS = sorted(name for name, *_ in state_shape._MEMBERS)


def stored(**changes):
    """Return a state as `create` writes it, with `changes`."""
    return {**copy.deepcopy(new_state("c1", CONFIG, CreateOptions("/root", "/bundle"))), **changes}


def test_the_states_that_create_writes_fit():
    assert state_shape.misfit(stored()) == ""
    assert state_shape.misfit(stored(**FULL)) == ""


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_of_another_type_does_not_fit(name):
    for value in (b"", object(), 1.5, [1], {"x": 1}, 2**64):
        assert state_shape.misfit(stored(**{name: value})) == name


@pytest.mark.parametrize("name", MEMBERS)
def test_what_older_versions_did_not_write_may_be_missing_and_nothing_else(name):
    state = stored(copies_files=True)
    del state[name]
    may_be_missing = name in ("root_mount", "intel_rdt", "keyring", "copies_files")
    assert state_shape.misfit(state) == ("" if may_be_missing else name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pid", -1),
        ("pid", 4194305),
        ("pid", True),
        ("start_time", 2**63),
        ("bundle", "/a\0"),
        ("rootfs", "/\ud800"),
        ("annotations", {"a": 1}),
        ("cgroup", {"paths": {}}),
        ("cgroup", {"made": []}),
        ("cgroup", {"paths": {"memory": 1}, "made": []}),
        ("cgroup", {"paths": {"memory": "/a", "pids": "/\ud800"}, "made": []}),
        ("cgroup", {"paths": {}, "made": "/a"}),
        ("cgroup", {"paths": {"memory": "/a\0"}, "made": []}),
        ("cgroup", {"paths": {}, "made": ["/a\0"]}),
        ("cgroup", {"paths": {}, "made": [], "unit": {"name": "c.scope"}}),
        ("cgroup", {"paths": {}, "made": [], "unit": {"name": 1, "user": True}}),
        ("cgroup", {"paths": {}, "made": [], "unit": None}),
        ("intel_rdt", {"tasks": []}),
        ("intel_rdt", {"tasks": [1], "remove": []}),
        ("root_mount", {}),
        ("root_mount", {"path": "/", "namespace": "", "inode": 0}),
        ("root_mount", {"path": "/", "inode": 0, "below": 0}),
        ("root_mount", {"path": "/", "namespace": "", "inode": 0, "below": 0, "root": [1]}),
        ("root_mount", {"path": "/", "namespace": "", "inode": 0, "below": 0, "root": ["1", 2]}),
        ("root_mount", {"path": "/", "namespace": "", "inode": "0", "below": 0}),
        ("hooks", {"poststop": {}}),
        ("hooks", {"poststop": [{}]}),
        ("hooks", {"poststop": [{"path": "/a\0"}]}),
        ("hooks", {"poststop": [{**HOOK, "args": "x"}]}),
        ("hooks", {"poststop": [{**HOOK, "env": [1]}]}),
        ("hooks", {"poststop": [{**HOOK, "timeout": "1"}]}),
    ],
)
def test_what_no_verb_could_use_does_not_fit(name, value):
    assert state_shape.misfit(stored(**{name: value})) == name


def test_the_error_names_the_member_and_the_way_out(tmp_path):
    (tmp_path / "c1").mkdir()
    (tmp_path / "c1/state.json").write_text(json.dumps(stored(cgroup=1)))
    with container.open_container(str(tmp_path), "c1") as opened, pytest.raises(Error) as caught:
        opened.read()
    assert caught.value.reason == "it is damaged: cgroup is missing or wrong"
    assert "delete --force c1" in caught.value.advice
