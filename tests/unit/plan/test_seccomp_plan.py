"""Seccomp profiles as data: rules, flags, what cannot be, and the answer to calls newer than the profile."""

import json
import struct
from pathlib import Path

import pytest

from pyruntime.base.errors import Error
from pyruntime.plan import capabilities
from pyruntime.plan.context import Context
from pyruntime.plan.create import compile_plan
from pyruntime.plan.facts import CgroupHost, Facts
from pyruntime.plan.seccomp import ACTIONS, ARCHITECTURES, FLAGS, OPERATORS
from pyruntime.plan.seccomp_program import action, default_action, has_newest, names, newer_calls, rules

SCHEMA = json.loads((Path(__file__).parents[3] / "spec-fixtures/schema/config.json").read_text())["definitions"]
X86_64, I386, S390X = 0xC000003E, 0x40000003, 0x80000016
X32 = 0x40000000
ERRNO, ENOSYS = ACTIONS["SCMP_ACT_ERRNO"], 38
SYS_ADMIN = 1 << capabilities.NUMBERS["CAP_SYS_ADMIN"]


def context(profile, *, held=capabilities.ALL, **process):
    config = {
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0}, **process},
        "linux": {"namespaces": [{"type": "mount"}], "seccomp": profile},
    }
    facts = Facts(
        CgroupHost("v2", {}, "/sys/fs/cgroup", {"": "/"}, frozenset()),
        euid=0,
        capabilities=held,
        known_capabilities=capabilities.ALL,
        in_user_namespace=False,
    )
    return Context(config, facts, "/bundle", "id")


def step(profile, **more):
    (found,) = compile_plan(context(profile, **more)).filter
    return found


def refusal(profile, **more):
    with pytest.raises(Error) as raised:
        compile_plan(context(profile, **more))
    return raised.value.pointer


def call(name, act="SCMP_ACT_ERRNO", **more):
    return {"names": [name], "action": act, **more}


# ---- Tables ----


def test_the_tables_have_what_the_schema_accepts():
    properties = SCHEMA["seccomp"]["properties"]
    operators = SCHEMA["syscall"]["properties"]["args"]["items"]["properties"]["op"]["enum"]
    assert set(ACTIONS) == set(SCHEMA["seccompAction"]["enum"])
    assert set(ARCHITECTURES) == set(properties["architectures"]["items"]["enum"])
    assert set(FLAGS) == set(properties["flags"]["items"]["enum"])
    assert set(OPERATORS) == set(operators)


# ---- The step ----


def test_without_a_profile_there_is_no_step():
    assert compile_plan(context(None)).filter == []


def test_the_step_says_what_the_filter_is():
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "listenerPath": "/run/agent",
        "syscalls": [{"names": ["a", "b"], "action": "SCMP_ACT_ALLOW"}, call("c", "SCMP_ACT_NOTIFY")],
    }
    found = step(profile, noNewPrivileges=True)
    assert (found.op, found.pointer, found.clause) == ("seccomp", "/linux/seccomp", "config-linux.md#seccomp")
    assert found.args == {
        "default": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": 3,
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "listener": "/run/agent",
        "capabilities": 0,
    }


def test_flags_that_are_not_given_are_not_no_flags():
    assert step({"defaultAction": "SCMP_ACT_ALLOW"}).args["flags"] == ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]
    assert step({"defaultAction": "SCMP_ACT_ALLOW", "flags": []}).args["flags"] == []


def test_a_listener_without_notification_is_ignored():
    assert step({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent"}).args["listener"] == ""


def test_the_filter_comes_before_the_hooks_of_the_container_and_after_the_capabilities():
    plan = compile_plan(context({"defaultAction": "SCMP_ACT_ALLOW"}))
    order = [found.op for found in plan.steps()]
    assert order.index("capset") < order.index("seccomp") < order.index("execve")


def test_without_no_new_privs_the_right_to_load_it_is_kept_and_nothing_else():
    profile = {"defaultAction": "SCMP_ACT_ALLOW"}
    for no_new_privs, seccomp, kept in ((False, profile, SYS_ADMIN), (True, profile, 0), (False, None, 0)):
        plan = compile_plan(context(seccomp, noNewPrivileges=no_new_privs))
        (capset,) = (found for found in plan.process if found.op == "capset")
        assert (capset.args["until_exec"], capset.args["permitted"], capset.args["effective"]) == (kept, 0, 0)
        assert all(found.args["capabilities"] == kept for found in plan.filter)


def test_whoever_may_not_load_a_filter_is_told_at_once():
    profile = {"defaultAction": "SCMP_ACT_ALLOW"}
    assert refusal(profile, held=capabilities.ALL & ~SYS_ADMIN) == "/linux/seccomp"
    assert step(profile, held=capabilities.ALL & ~SYS_ADMIN, noNewPrivileges=True)


# ---- Rules ----


@pytest.mark.parametrize(
    ("name", "errno", "value"),
    [
        ("SCMP_ACT_ERRNO", None, 0x50001),
        ("SCMP_ACT_ERRNO", 0, 0x50000),
        ("SCMP_ACT_ERRNO", 0xFFFF, 0x5FFFF),
        ("SCMP_ACT_TRACE", None, 0x7FF00001),
        ("SCMP_ACT_TRACE", 7, 0x7FF00007),
        ("SCMP_ACT_KILL", None, 0),
        ("SCMP_ACT_ALLOW", None, 0x7FFF0000),
    ],
)
def test_an_action_is_what_the_filter_returns(name, errno, value):
    assert action(name, errno) == value


def test_rules_that_say_what_the_default_says_are_left_out():
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [call("a"), call("b", errnoRet=1), call("c", errnoRet=2), call("d", "SCMP_ACT_ALLOW")],
    }
    assert [(name, pointer) for name, _, _, pointer in rules(profile)] == [
        ("c", "/linux/seccomp/syscalls/2/names/0"),
        ("d", "/linux/seccomp/syscalls/3/names/0"),
    ]


def test_conditions_on_one_argument_are_alternatives_and_on_several_belong_together():
    together = [{"index": 0, "op": "SCMP_CMP_EQ", "value": 5}, {"index": 1, "op": "SCMP_CMP_GT", "value": 6}]
    twice = [*together, {"index": 0, "op": "SCMP_CMP_MASKED_EQ", "value": 7, "valueTwo": 8}]
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [call("a", args=together), call("b", args=twice)]}
    assert [(name, conditions) for name, _, conditions, _ in rules(profile)] == [
        ("a", ((0, 4, 5, 0), (1, 6, 6, 0))),
        ("b", ((0, 4, 5, 0),)),
        ("b", ((1, 6, 6, 0),)),
        ("b", ((0, 7, 7, 8),)),
    ]


def test_names_are_those_of_all_rules_each_once():
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [call("b"), call("a"), call("b", "SCMP_ACT_ALLOW")]}
    assert names(profile) == ["b", "a"]


# ---- Calls newer than the profile ----

FILTER = -1  # the filter proper decides


def run(program, architecture, number):
    """Return what the classic BPF `program` returns, or FILTER when it is left at its end."""
    code = [struct.unpack("HBBI", program[at : at + 8]) for at in range(0, len(program), 8)]
    data = {0: number & 0xFFFFFFFF, 4: architecture}
    place = accumulator = 0
    while place < len(code):
        operation, true, false, value = code[place]
        place += 1
        if operation == 0x20:
            accumulator = data[value]
        elif operation == 0x06:
            return value
        elif operation == 0x05:
            place += value
        else:
            holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x45: accumulator & value}[operation]
            place += true if holds else false
    assert place == len(code), "jumps past the filter's first instruction"
    return FILTER


@pytest.mark.parametrize("others", [{}, {I386: (500, 500)}, {I386: (500, 500), 0xC00000B7: (300, 300)}])
@pytest.mark.parametrize("first", [False, True])
def test_a_call_above_the_newest_does_not_exist_and_all_others_go_to_the_filter(others, first):
    limits = {X86_64: (450, X32 + 440)}
    program = newer_calls({**limits, **others} if first else {**others, **limits})
    for number, newer in ((0, 0), (450, 0), (451, 1), (X32 - 1, 1), (X32 + 440, 0), (X32 + 441, 1), (-1, 1)):
        assert run(program, X86_64, number) == (ERRNO | ENOSYS if newer else FILTER), number
    for architecture, (limit, _) in others.items():
        assert run(program, architecture, limit) == FILTER
        assert run(program, architecture, limit + 1) == ERRNO | ENOSYS
    assert run(program, 0x12345678, 9999) == FILTER


def test_calls_of_x32_are_the_filters_business_where_the_profile_has_none():
    program = newer_calls({X86_64: (450, 0)})
    assert run(program, X86_64, 451) == ERRNO | ENOSYS
    assert run(program, X86_64, X32 + 451) == FILTER


def test_a_profile_without_known_calls_needs_no_answer():
    assert newer_calls({X86_64: (0, 0)}) == b""


def test_the_multiplexed_call_of_s390_does_not_exist():
    program = newer_calls({S390X: (450, 450)})
    assert [run(program, S390X, number) for number in (0, 1, 450)] == [ERRNO | ENOSYS, FILTER, FILTER]
    assert run(program, S390X, 451) == ERRNO | ENOSYS


@pytest.mark.parametrize(
    ("profile", "needed"),
    [
        ({"defaultAction": "SCMP_ACT_ERRNO"}, True),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38}, False),
        ({"defaultAction": "SCMP_ACT_KILL_PROCESS"}, True),
        ({"defaultAction": "SCMP_ACT_ALLOW"}, False),
        ({"defaultAction": "SCMP_ACT_LOG"}, False),
        ({"defaultAction": "SCMP_ACT_TRACE"}, False),
    ],
)
def test_only_where_the_default_refuses_are_newer_calls_answered(profile, needed):
    assert has_newest(profile) is needed
    assert default_action(profile) == action(profile["defaultAction"], profile.get("defaultErrnoRet"))
