"""What `update` makes of its options, and how it takes a write back."""

import pytest

from pyruntime.cgroup.update import former_value
from pyruntime.cli.verbs.update import number, size
from pyruntime.operations.update import _merged


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1024", 1024),
        ("64k", 64 << 10),
        ("64K", 64 << 10),
        ("1.5g", 3 << 29),
        ("2GiB", 2 << 30),
        ("10 MB", 10 << 20),
        ("5b", 5),
        ("-1", -1),
        ("-2", None),
        ("12q", None),
        ("m", None),
        ("1.2.3m", None),
        ("9" * 30, None),
        ("", None),
    ],
)
def test_sizes_are_those_of_docker(text, expected):
    assert size(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("7", 7), ("-1", -1), ("+2", 2), ("1e3", None), ("--1", None), ("", None), ("9" * 19, None)]
)
def test_numbers(text, expected):
    assert number(text) == expected


@pytest.mark.parametrize(
    ("file", "text", "value", "expected"),
    [
        ("memory.max", "max\n", "4096", "max"),
        ("cpu.max", "max 100000\n", "5000 100000", "max 100000"),
        ("cpuset.cpus", "\n", "0-1", "\n"),
        (
            "io.max",
            "8:0 rbps=1 wbps=max riops=max wiops=max\n",
            "8:0 rbps=2",
            "8:0 rbps=1 wbps=max riops=max wiops=max",
        ),
        ("io.max", "", "8:0 rbps=2", "8:0 rbps=max wbps=max riops=max wiops=max"),
        ("io.weight", "default 100\n8:0 50\n", "200", "default 100"),
        ("io.weight", "default 100\n8:0 50\n", "8:0 70", "8:0 50"),
        ("io.weight", "default 100\n", "8:0 70", "8:0 default"),
        ("blkio.throttle.read_bps_device", "8:0 5\n", "8:1 7", "8:1 0"),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", "1", "0"),
    ],
)
def test_what_undoes_a_write(file, text, value, expected):
    assert former_value(file, text, value) == expected


def test_the_entry_of_a_device_is_replaced_and_others_stay():
    stored = {"weight": 100, "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1}]}
    given = {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 2}, {"major": 8, "minor": 16, "rate": 3}]}
    assert _merged(("blockIO",), stored, given) == {"weight": 100, **given}


def test_unlimited_memory_is_unlimited_swap():
    assert _merged(("memory",), {"limit": 5, "swap": 9}, {"limit": -1}) == {"limit": -1}
    assert _merged(("memory",), {"limit": 5, "swap": 9}, {"limit": 6}) == {"limit": 6, "swap": 9}


@pytest.mark.parametrize(
    ("place", "keys"),
    [
        (("hugepageLimits",), {"pageSize": "2MB"}),
        (("network", "priorities"), {"name": "eth0"}),
        (("blockIO", "weightDevice"), {"major": 8, "minor": 0}),
        (("blockIO", "throttleReadBpsDevice"), {"major": 8, "minor": 0}),
        (("blockIO", "throttleWriteBpsDevice"), {"major": 8, "minor": 0}),
        (("blockIO", "throttleReadIOPSDevice"), {"major": 8, "minor": 0}),
        (("blockIO", "throttleWriteIOPSDevice"), {"major": 8, "minor": 0}),
    ],
)
def test_an_entry_of_a_list_replaces_the_one_of_the_same_thing(place, keys):
    other = {**keys, next(iter(keys)): "another"}
    stored = [{**keys, "value": 1}, {**other, "value": 2}]
    merged = [{**keys, "value": 3}, {**other, "value": 2}]
    assert _merged(place, stored, [{**keys, "value": 3}]) == merged
    assert _merged((place[-1], "unknown"), stored, [{**keys, "value": 3}]) == [{**keys, "value": 3}]
