"""Intel RDT as data (config-linux.md#intelrdt)."""

import pytest

from pyruntime.plan.intel_rdt import disagreement, intel_rdt

L3, MB, L2 = "L3:0=7f0;1=1f", "MB:0=20;1=70", "L2:0=f"


def steps(**asked):
    return {step.op: step.args for step in intel_rdt({"linux": {"intelRdt": asked}}, "c1")}


@pytest.mark.clause("config-linux.md#intelrdt/unset-untouched")
def test_without_the_property_resctrl_is_left_alone():
    assert list(intel_rdt({"linux": {}}, "c1")) == []


@pytest.mark.clause("config-linux.md#intelrdt/rules-applied", "config-linux.md#intelrdt/own-class")
def test_without_class_a_new_one_with_the_containers_id_comes_and_goes_with_it():
    assert steps()["resctrl_group"] == {"group": "c1", "must_be": "new", "own": True}


@pytest.mark.clause("config-linux.md#intelrdt/class-must-exist")
def test_a_class_without_schemata_must_be_there():
    assert steps(closID="gold")["resctrl_group"] == {"group": "gold", "must_be": "present", "own": False}


@pytest.mark.parametrize("asked", [{"l3CacheSchema": L3}, {"memBwSchema": MB}, {"schemata": [L2]}])
@pytest.mark.clause("config-linux.md#intelrdt/class-made")
def test_a_class_with_schemata_is_made_where_it_is_missing_and_stays(asked):
    assert steps(closID="gold", **asked)["resctrl_group"] == {"group": "gold", "must_be": "any", "own": False}


@pytest.mark.clause("config-linux.md#intelrdt/default-class")
def test_the_slash_is_the_default_class():
    assert steps(closID="/")["resctrl_group"] == {"group": "", "must_be": "present", "own": False}


@pytest.mark.clause(
    "config-linux.md#intelrdt/rules-applied",
    "config-linux.md#intelrdt/both-schemas",
    "config-linux.md#intelrdt/schemata-last",
)
def test_schemata_are_written_in_the_order_of_the_specification():
    assert steps(memBwSchema=MB, l3CacheSchema=L3)["resctrl_schemata"]["lines"] == [L3, MB]
    assert steps(schemata=[L2, "L3CODE:0=1"], memBwSchema=MB, l3CacheSchema=L3)["resctrl_schemata"]["lines"] == [
        *(L3, MB, L2, "L3CODE:0=1")
    ]


@pytest.mark.parametrize("separator", ["\r", "\v", "\f", "\x1c", "\x1e", "\x85", "\u2028", "\u2029"])
def test_what_the_kernel_takes_for_no_end_of_a_line_is_none(separator):
    """Else a line that may only be about the memory bandwidth could bring another one with it."""
    text = f"MB:0=20{separator}L3:0=f"
    assert steps(closID="gold", memBwSchema=text)["resctrl_schemata"]["lines"] == [text]
    assert steps(closID="gold", memBwSchema=text)["resctrl_compare"]["lines"] == [text]
    assert steps(schemata=[text])["resctrl_schemata"]["lines"] == [text]


@pytest.mark.clause("config-linux.md#intelrdt/rules-applied", "config-linux.md#intelrdt/no-schemata")
def test_without_schemata_none_are_written():
    assert "resctrl_schemata" not in steps(closID="gold", enableMonitoring=True)


@pytest.mark.clause("config-linux.md#intelrdt/class-compared")
def test_only_the_two_old_schemata_are_compared_and_only_with_a_class_of_that_name():
    assert steps(closID="gold", l3CacheSchema=L3, schemata=[L2])["resctrl_compare"]["lines"] == [L3]
    assert "resctrl_compare" not in steps(closID="gold", schemata=[L2])
    assert steps(closID="gold", l3CacheSchema=L3, memBwSchema=MB)["resctrl_compare"]["lines"] == [L3, MB]
    assert "resctrl_compare" not in steps(l3CacheSchema=L3)


@pytest.mark.parametrize(
    ("asked", "group"),
    [({}, "c1/mon_groups/c1"), ({"closID": "gold"}, "gold/mon_groups/c1"), ({"closID": "/"}, "mon_groups/c1")],
)
@pytest.mark.clause("config-linux.md#intelrdt/monitoring-group")
def test_the_monitoring_group_has_the_containers_id_and_lies_in_its_class(asked, group):
    assert steps(enableMonitoring=True, **asked)["resctrl_monitor"]["group"] == group


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (L3, "    L3:0=7f0;1=1f\n    MB:0=100;1=100\n"),
        (L3, "L3:1=01f;0=07f0"),
        ("L3:0=7f0", "L3:0=7f0;1=fff"),
        ("MB:0=25", "MB:0= 30;1=100"),
        ("MB:0=20", "L2:0=f\nL3:0=f\nMB:0=20"),
        ("X:0=word", "X:0=word"),
    ],
    ids=["equal", "order and zeros", "one of two", "rounded", "last", "no number"],
)
def test_schemata_that_mean_the_same_agree(wanted, found):
    assert disagreement(wanted, found, 10) == ""


@pytest.mark.parametrize(
    ("wanted", "found", "said"),
    [
        (L3, "L3:0=7f0;1=f", "L3:1=f"),
        (L3, "MB:0=7f0", "no L3"),
        ("L3:0=", "L3:1=f", "no L3:0"),
        (MB, "MB:0=20", "no MB:1"),
        ("MB:0=20", "MB:0=30", "MB:0=30"),
    ],
)
def test_schemata_that_differ_are_told_apart(wanted, found, said):
    assert disagreement(wanted, found, 10) == said


@pytest.mark.clause("config-linux.md#intelrdt/one-schema")
@pytest.mark.parametrize(("name", "line"), [("l3CacheSchema", L3), ("memBwSchema", MB)])
def test_one_schema_is_written_alone(name, line):
    assert steps(**{name: line})["resctrl_schemata"]["lines"] == [line]
    assert steps(closID="gold", **{name: line})["resctrl_schemata"]["lines"] == [line]


def test_without_a_known_granularity_bandwidths_agree_exactly():
    assert disagreement("MB:0=25", "MB:0=25", 0) == ""
    assert disagreement("MB:0=25", "MB:0=30", 0) == "MB:0=30"
