"""The planner's texts word for word, and all arguments of its steps, which no other test compares."""

import pytest

from invented import V2, config, facts, only, plan
from pyruntime._stub import lib
from pyruntime.base.errors import Error
from pyruntime.plan import capabilities
from pyruntime.plan.seccomp_program import newer_calls

DEVICES = "/linux/resources/devices"
LIST = "cannot set the allowed device list"
ALLOWED = "config-linux.md#allowed-device-list"
FILTER = "/linux/seccomp"
FILTERS = "config-linux.md#seccomp"


def said(error):
    return (error.doing, error.reason, error.pointer, error.value, error.clause, error.advice)


def refusal(configuration, host=None):
    """Return all that the one error of a plan says."""
    with pytest.raises(Error) as caught:
        plan(configuration, host)
    return said(caught.value)


def with_devices(*entries):
    return config(linux={"resources": {"devices": list(entries)}})


@pytest.mark.parametrize(
    ("wide", "narrow", "words"),
    [
        ({"type": "c", "major": 7}, {"type": "c", "major": 7, "minor": 3}, ("c 7:3", "c 7:*")),
        ({"type": "b", "minor": 3}, {"type": "b", "major": 7, "minor": 3}, ("b 7:3", "b *:3")),
        ({"type": "c"}, {"type": "c", "major": 7, "minor": 3}, ("c 7:3", "c *:*")),
        ({"type": "c"}, {"type": "c", "major": 7}, ("c 7:*", "c *:*")),
        ({"type": "c", "major": 7}, {"type": "c", "minor": 3}, ("c *:3", "c 7:*")),
    ],
)
def test_a_piece_out_of_a_wider_rule_on_cgroup_v1(wide, narrow, words):
    entries = [{"allow": True, **wide, "access": "rw"}, {"allow": False, **narrow, "access": "w"}]
    reason = f"cgroup v1 cannot except {words[0]} from the wider rule {words[1]} before it"
    advice = "cgroup v2 can; on v1 list the devices one by one"
    assert refusal(with_devices(*entries)) == (LIST, reason, f"{DEVICES}/1", entries[1], ALLOWED, advice)


def test_what_is_taken_out_of_another_type_or_access_leaves_the_wider_rule_alone():
    wide = {"allow": True, "type": "c", "major": 7, "access": "r"}
    for narrow in ({"type": "b", "major": 7, "minor": 3}, {"type": "c", "major": 7, "minor": 3, "access": "w"}):
        found = plan(with_devices(wide, {"allow": False, **narrow})).cgroup.steps
        assert ("devices.allow", "c 7:* r") in [(step.args["file"], step.args["value"]) for step in found]


def test_a_rule_takes_out_what_it_covers_and_leaves_the_rest_of_the_access():
    entries = [
        {"allow": True, "type": "c", "major": 7, "minor": 3, "access": "rw"},
        {"allow": True, "type": "c", "major": 7, "minor": 4, "access": "w"},
        {"allow": False, "type": "c", "major": 7, "access": "w"},
    ]
    found = [(step.pointer, step.args["value"]) for step in plan(with_devices(*entries)).cgroup.steps]
    assert (f"{DEVICES}/0", "c 7:3 r") in found
    assert not any(value.startswith("c 7:4") for _, value in found)


def test_the_filter_of_cgroup_v2_is_one_step():
    rule = {"allow": True, "type": "c", "major": 7, "minor": 3, "access": "r"}
    (step,) = only(plan(with_devices({"allow": False}, rule), facts(V2)).cgroup.steps, "attach_device_filter")
    assert (step.pointer, step.clause, step.args["controller"]) == (DEVICES, ALLOWED, "devices")
    assert step.args["rules"][:2] == [[False, "a", "*", "*", "rwm"], [True, "c", "7", "3", "r"]]
    (default,) = only(plan(config(), facts(V2)).cgroup.steps, "attach_device_filter")
    assert (default.pointer, default.clause) == ("", ALLOWED)


def seccomp(**profile):
    base = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent"}
    return config(linux={"seccomp": {**base, **profile}})


def test_a_filter_that_nobody_may_load():
    wanted = (
        "a filter takes CAP_SYS_ADMIN or no_new_privs",
        "pyruntime has not the one and config.json does not ask for the other",
        FILTER,
        {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/agent"},
        FILTERS,
        "set process.noNewPrivileges to true",
    )
    assert refusal(seccomp(), facts(lacking=["CAP_SYS_ADMIN"])) == wanted


def test_a_hidden_path_is_a_tmpfs_of_one_block_that_nobody_can_write():
    (step,) = only(plan(config(linux={"maskedPaths": ["/proc/keys"]})).enter, "mask")
    assert (step.pointer, step.clause) == ("/linux/maskedPaths/0", "config-linux.md#masked-paths")
    assert step.args == {
        "path": "/proc/keys",
        "fstype": "tmpfs",
        "source": "tmpfs",
        "data": ["nr_blocks=1", "nr_inodes=1"],
        "sb_flags": lib.MS_RDONLY,
        "attr_set": lib.MOUNT_ATTR_RDONLY,
    }


def test_a_read_only_path_is_so_with_all_below_it():
    (step,) = only(plan(config(linux={"readonlyPaths": ["/proc/sys"]})).enter, "readonly")
    assert (step.pointer, step.clause) == ("/linux/readonlyPaths/0", "config-linux.md#readonly-paths")
    assert step.args == {"path": "/proc/sys", "rec_set": lib.MOUNT_ATTR_RDONLY, "flags": lib.STEP_RECURSIVE}


def test_what_is_mounted_below_a_read_only_path_is_left_as_it_is():
    mounts = [{"destination": "/proc/sys/kernel/ns_last_pid", "source": "/file", "options": ["bind"]}]
    linux = {"readonlyPaths": ["/proc/sy", "//proc/./sys", "/proc/sys/kernel/ns_last_pid"]}
    alone, around, itself = only(plan(config(mounts=mounts, linux=linux)).enter, "readonly")
    assert alone.args == {"path": "/proc/sy", "rec_set": lib.MOUNT_ATTR_RDONLY, "flags": lib.STEP_RECURSIVE}
    assert around.args == {"path": "/proc/sys", "attr_set": lib.MOUNT_ATTR_RDONLY, "flags": lib.STEP_RECURSIVE}
    assert "rec_set" in itself.args


def test_an_old_kernel_makes_one_mount_read_only_and_leaves_out_what_is_below():
    (step,) = only(plan(config(linux={"readonlyPaths": ["/a"]}), facts(mount_setattr=False)).enter, "readonly")
    assert step.args == {"path": "/a", "attr_set": lib.MOUNT_ATTR_RDONLY}


@pytest.mark.parametrize(
    ("names", "pointer"), [(["maskedPaths", "readonlyPaths"], "masked"), (["readonlyPaths"], "readonly"), ([], "")]
)
def test_hidden_paths_are_verified_once_the_root_has_changed(names, pointer):
    steps = plan(config(linux={name: ["/a"] for name in names})).enter
    assert [step.pointer for step in only(steps, "verify")] == ([f"/linux/{pointer}Paths"] if pointer else [])
    assert not pointer or steps[-1].op == "verify"


def test_no_answer_is_put_before_a_filter_where_no_architecture_has_a_number():
    assert newer_calls({0xC000003E: (0, 0)}) == b""


def test_a_rule_for_all_types_that_is_narrower_than_all_is_two_rules_from_one_place():
    found = plan(with_devices({"allow": True, "major": 7, "access": "r"})).cgroup.steps
    narrow = [(step.pointer, step.args["value"]) for step in found if step.pointer.startswith(DEVICES)]
    assert narrow == [(f"{DEVICES}/0", "c 7:* r"), (f"{DEVICES}/0", "b 7:* r")]


def test_the_name_of_a_capability_may_be_written_in_either_case():
    unknown = []
    assert capabilities.mask(["CAP_KILL", "cap_chown", "Cap_None"], capabilities.ALL, unknown) == 0b100001
    assert unknown == ["Cap_None"]
