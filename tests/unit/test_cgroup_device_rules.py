"""The allowed device list means the same as v1 writes and as a program (config-linux.md#allowed-device-list)."""

import random

import pytest

from pyruntime.base.errors import Error
from pyruntime.cgroup import devices_bpf
from pyruntime.plan.cgroup import device_rules

LETTERS = {"m": 1, "r": 2, "w": 4}
DENY_ALL = {"allow": False, "access": "rwm"}
ALLOW_ALL = {"allow": True, "access": "rwm"}


def configured(*entries):
    return device_rules.rules({"linux": {"resources": {"devices": list(entries)}}})


# ---- Three ways to decide about one access ----


def by_definition(rules, kind, major, minor, access):
    """The last rule that matches decides, for each kind of access; before the first nothing is allowed."""
    allowed = dict.fromkeys("rwm", False)
    for allow, rule_kind, rule_major, rule_minor, letters in rules:
        if rule_kind in ("a", kind) and rule_major in ("*", str(major)) and rule_minor in ("*", str(minor)):
            allowed.update(dict.fromkeys(letters, allow))
    return all(allowed[letter] for letter in access)


def by_program(code, kind, major, minor, access):
    """Run the instructions as the kernel would; fails on any that the program has no business to use."""
    context = [sum(LETTERS[letter] for letter in access) << 16 | {"b": 1, "c": 2}[kind], major, minor]
    registers: dict[int, int] = {}
    position = 0
    while True:
        opcode, names, *rest = code[position * 8 : position * 8 + 8]
        target, source = names & 15, names >> 4
        offset = int.from_bytes(bytes(rest[:2]), "little", signed=True)
        immediate = int.from_bytes(bytes(rest[2:]), "little")
        position += 1
        if opcode == 0x61:
            assert source == 1
            registers[target] = context[offset // 4]
        elif opcode == 0x54:
            registers[target] &= immediate
        elif opcode == 0x74:
            registers[target] >>= immediate
        elif opcode == 0xB4:
            registers[target] = immediate
        elif opcode == 0x05:
            position += offset
        elif opcode == 0x56:
            position += offset if registers[target] != immediate else 0
        elif opcode == 0x46:
            position += offset if registers[target] & immediate else 0
        else:
            assert opcode == 0x95, f"opcode {opcode:#x}"
            return bool(registers[0])


class V1Group:
    """A v1 devices group as the kernel keeps it: a default and exceptions (security/device_cgroup.c)."""

    def __init__(self, steps):
        self.allow, self.exceptions = True, {}
        for step in steps:
            allow, value = step.args["file"] == "devices.allow", step.args["value"]
            if value == "a":
                self.allow, self.exceptions = allow, {}
                continue
            kind, numbers, letters = value.split()
            assert allow != self.allow, "a write that could only be ignored"
            self.exceptions.setdefault((kind, *numbers.split(":")), set()).update(letters)

    def allows(self, kind, major, minor, access):
        matching = [
            letters
            for (rule_kind, rule_major, rule_minor), letters in self.exceptions.items()
            if rule_kind == kind and rule_major in ("*", str(major)) and rule_minor in ("*", str(minor))
        ]
        if self.allow:
            return not any(letters & set(access) for letters in matching)
        return any(letters >= set(access) for letters in matching)


PROBES = [
    (kind, major, minor, access)
    for kind in "bc"
    for major in (1, 2, 3)
    for minor in (1, 2, 3)
    for access in ("r", "w", "rw", "m")
]


def random_entries(generator):
    entries = []
    for _ in range(generator.randrange(8)):
        entry = {"allow": generator.random() < 0.5}
        for name, values in (("type", "abc"), ("major", (1, 2, -1)), ("minor", (1, 2))):
            if generator.random() < 0.6:
                entry[name] = generator.choice(values)
        if generator.random() < 0.9:
            entry["access"] = generator.choice(("r", "w", "m", "rw", "rm", "rwm"))
        entries.append(entry)
    return entries


@pytest.mark.clause("config-linux.md#allowed-device-list/listed-order")
def test_program_means_the_same_as_the_rules():
    generator = random.Random(1)
    for _ in range(300):
        entries = random_entries(generator)
        everything = [rule.as_list() for rule in configured(*entries)]
        kept = device_rules.filter_step(configured(*entries)).args["rules"]
        code = devices_bpf.program(kept)
        for probe in PROBES:
            assert by_program(code, *probe) == by_definition(everything, *probe), (entries, probe)


def test_v1_writes_mean_the_same_as_the_rules_or_are_refused():
    generator = random.Random(2)
    refused = 0
    for _ in range(1000):
        entries = random_entries(generator)
        rules = configured(*entries)
        try:
            group = V1Group(device_rules.v1_steps(rules))
        except Error as error:
            assert "cgroup v1 cannot except" in error.reason
            refused += 1
            continue
        plain = [rule.as_list() for rule in rules]
        for probe in PROBES:
            assert group.allows(*probe) == by_definition(plain, *probe), (entries, probe)
    assert 0 < refused < 700


# ---- What callers send ----


def allowed(rules, *probe):
    plain = [rule.as_list() for rule in rules]
    answer = by_definition(plain, *probe)
    assert by_program(devices_bpf.program(plain), *probe) == answer
    assert V1Group(device_rules.v1_steps(rules)).allows(*probe) == answer
    return answer


@pytest.mark.parametrize("entries", [[], [DENY_ALL]], ids=["no rules", "deny all"])
def test_default_devices_are_there_and_no_others(entries):
    rules = configured(*entries)
    for major, minor in ((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, 7), (10, 200)):
        assert allowed(rules, "c", major, minor, "rw"), (major, minor)
    assert not allowed(rules, "c", 1, 1, "r")
    assert not allowed(rules, "c", 10, 229, "rw")
    assert not allowed(rules, "b", 8, 0, "r")


def test_any_node_may_be_made_but_not_opened():
    rules = configured(DENY_ALL)
    assert allowed(rules, "b", 8, 0, "m")
    assert not allowed(rules, "b", 8, 0, "r")


def test_listed_device_is_allowed_with_its_access_only():
    rules = configured(DENY_ALL, {"allow": True, "type": "b", "major": 8, "minor": 0, "access": "r"})
    assert allowed(rules, "b", 8, 0, "r")
    assert not allowed(rules, "b", 8, 0, "w")
    assert not allowed(rules, "b", 8, 0, "rw")
    assert not allowed(rules, "b", 8, 1, "r")


def test_allow_all_allows_all():
    rules = configured(ALLOW_ALL)
    assert allowed(rules, "b", 8, 0, "rw")
    assert allowed(rules, "c", 10, 229, "rw")


@pytest.mark.clause("config-linux.md#allowed-device-list/listed-order")
def test_later_rule_wins():
    fuse = {"type": "c", "major": 10, "minor": 229, "access": "rwm"}
    assert allowed(configured({"allow": False, **fuse}, {"allow": True, **fuse}), "c", 10, 229, "rw")
    assert not allowed(configured({"allow": True, **fuse}, {"allow": False, **fuse}), "c", 10, 229, "rw")
    assert not allowed(configured({"allow": True, **fuse}, DENY_ALL), "c", 10, 229, "rw")


def test_rule_for_all_types_with_less_than_all_access_does_not_open_everything():
    rules = configured({"allow": True, "type": "a", "access": "r"})
    assert allowed(rules, "b", 8, 0, "r")
    assert not allowed(rules, "b", 8, 0, "w")


def test_read_and_write_from_two_rules_is_read_and_write():
    rules = configured(
        {"allow": True, "type": "c", "major": 7, "access": "r"},
        {"allow": True, "type": "c", "major": 7, "minor": 1, "access": "w"},
    )
    assert allowed(rules, "c", 7, 1, "rw")


def test_device_node_in_the_configuration_opens_nothing_by_itself():
    config = {"linux": {"devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]}}
    assert not allowed(device_rules.rules(config), "c", 10, 229, "rw")


def test_largest_numbers_are_exact():
    rules = configured({"allow": True, "type": "c", "major": 2**32 - 1, "minor": 2**31, "access": "rw"})
    assert allowed(rules, "c", 2**32 - 1, 2**31, "rw")
    assert not allowed(rules, "c", 2**32 - 1, 0, "rw")


def test_v1_cannot_take_a_device_out_of_a_wider_rule_and_says_which():
    rules = configured(
        {"allow": True, "type": "c", "major": 7, "access": "rw"},
        {"allow": False, "type": "c", "major": 7, "minor": 1, "access": "w"},
    )
    with pytest.raises(Error) as raised:
        device_rules.v1_steps(rules)
    assert raised.value.pointer == "/linux/resources/devices/1"
    assert "c 7:1 from the wider rule c 7:*" in raised.value.reason


def test_steps_point_to_the_rule_they_come_from():
    steps = device_rules.v1_steps(configured(DENY_ALL, {"allow": True, "type": "b", "major": 8, "access": "r"}))
    assert [(step.pointer, step.args["value"]) for step in steps[:2]] == [
        ("/linux/resources/devices/0", "a"),
        ("/linux/resources/devices/1", "b 8:* r"),
    ]
    assert steps[2].clause == "config-linux.md#default-devices"


def test_rules_before_the_last_general_one_are_not_in_the_program():
    step = device_rules.filter_step(configured({"allow": True, "type": "b", "access": "r"}, DENY_ALL))
    assert step.args["rules"][0] == [False, "a", "*", "*", "rwm"]


def test_thousands_of_rules_compile_in_bounded_time():
    import time

    device = {"type": "c", "minor": 1, "access": "rw"}
    entries = [{"allow": number % 2 == 0, "major": number, **device} for number in range(10000)]
    start = time.process_time()
    device_rules.v1_steps(configured(*entries))
    devices_bpf.program([rule.as_list() for rule in configured(*entries)])
    assert time.process_time() - start < 5
