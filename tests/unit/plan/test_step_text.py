"""Steps in the words of `pyruntime plan`: arguments that say something, flags by name, modes in octal."""

import os

import pytest

from pyruntime._stub import lib
from pyruntime.plan.capabilities import ALL
from pyruntime.plan.step import Step

READONLY, NOEXEC, ATIME = lib.MOUNT_ATTR_RDONLY, lib.MOUNT_ATTR_NOEXEC, lib.MOUNT_ATTR__ATIME
ODD = 1 << 30  # a bit without a word


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, ""),
        ({"path": "/proc", "fstype": "proc"}, "path=/proc, fstype=proc"),
        ({"path": "", "source": None, "data": [], "size": 0}, "size=0"),
        ({"attr_set": READONLY | NOEXEC}, "attr_set=ro,noexec"),
        ({"attr_set": 0, "rec_set": NOEXEC}, "rec_set=noexec"),
        ({"attr_set": NOEXEC | ODD, "rec_set": ODD}, "attr_set=noexec,0x40000000, rec_set=0x40000000"),
        ({"attr_set": "text"}, "attr_set=text"),
        ({"sched_flags": 0x21}, "sched_flags=reset_on_fork,util_clamp_min"),
        ({"attr_clr": READONLY | NOEXEC}, "attr_clr=ro,noexec"),
        ({"attr_clr": READONLY | NOEXEC, "attr_set": READONLY}, "attr_clr=noexec, attr_set=ro"),
        ({"attr_set": READONLY, "attr_clr": READONLY}, "attr_set=ro"),
        (
            {"rec_clr": READONLY | NOEXEC, "rec_set": NOEXEC, "attr_set": READONLY},
            "rec_clr=ro, rec_set=noexec, attr_set=ro",
        ),
        ({"attr_clr": ATIME, "attr_set": lib.MOUNT_ATTR_NOATIME}, "attr_set=noatime"),
        ({"attr_clr": ATIME, "attr_set": READONLY}, "attr_clr=noatime,strictatime, attr_set=ro"),
        ({"sb_flags": lib.MS_RDONLY | lib.MS_SYNCHRONOUS | lib.MS_BIND}, "sb_flags=ro,sync,bind"),
        (
            {"propagation": lib.MS_SLAVE, "rec_propagation": lib.MS_UNBINDABLE},
            "propagation=slave, rec_propagation=unbindable",
        ),
        (
            {"flags": lib.STEP_RECURSIVE | lib.STEP_IF_PRESENT | lib.STEP_IDMAP_RECURSIVE},
            "flags=recursive,if-present,ridmap",
        ),
        ({"mode": 0o20666}, "mode=c0666"),
        ({"mode": 0o60007}, "mode=b0007"),
        ({"mode": 0o10640}, "mode=p0640"),
        ({"mode": 0o104755}, "mode=4755"),
        ({"mode": "x"}, "mode=x"),
        ({"dev": os.makedev(7, 260)}, "dev=7:260"),
        ({"dev": None, "argv": "sh"}, "argv=sh"),
        ({"dev": "/dev/x"}, "dev=/dev/x"),
        ({"resource": 7, "name": "RLIMIT_NOFILE"}, "name=RLIMIT_NOFILE"),
        ({"effective": 0, "permitted": 0b100001}, "effective=none, permitted=CHOWN,KILL"),
        ({"inheritable": ALL, "ambient": ALL >> 1, "keep": ALL | 1 << 60}, None),
        ({"effective": None, "until_exec": 0, "capabilities": 0}, ""),
        (
            {"effective": "x", "until_exec": 0b1, "capabilities": 0b10},
            "effective=x, until_exec=CHOWN, capabilities=DAC_OVERRIDE",
        ),
        ({"argv": ["sh", "-c", "a b", ""], "env": ["A=b", "C=\x1b"]}, r"argv=sh -c 'a b' '', env=A=b 'C=\x1b'"),
        ({"argv": None, "env": []}, ""),
        ({"data": ["a", "b c", ["d", ""], None]}, "data=a,'b c',d,'',''"),
        ({"map": {"a": 1, "b": [2, 3], "c": None}}, "map=a:1,b:2,3,c:"),
        ({"pair": ("x", 1)}, "pair=x,1"),
        ({"tolerant": True, "own": False}, "tolerant=True, own=False"),
    ],
)
def test_the_arguments_of_a_step(arguments, words):
    text = str(Step("op", "", "", **arguments))
    if words is None:
        assert text.startswith("op(inheritable=all, ambient=CHOWN,DAC_OVERRIDE,")
        assert text.endswith(",BPF, keep=all)")
    else:
        assert text == f"op({words})"


def test_a_step_is_printed_as_its_words_and_shown_with_its_place():
    step = Step("mkdir", "/process/cwd", "config.md#process", path="/x")
    assert str(step) == "mkdir(path=/x)"
    assert repr(step) == "Step(mkdir, {'path': '/x'}, '/process/cwd', 'config.md#process')"
