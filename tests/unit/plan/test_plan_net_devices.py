"""Network devices as data (config-linux.md#network-devices)."""

import pytest

from pyruntime.errors import InvalidConfig
from pyruntime.plan.net_devices import net_devices


class Context:
    bundle = "/bundle"

    def __init__(self, devices):
        self.config = {"linux": {"netDevices": devices}}


def moves(devices):
    return [(step.args["device"], step.args["name"]) for step in net_devices(Context(devices))]


def test_a_device_keeps_its_name_unless_another_is_given():
    assert moves({"eth0": {}, "eth1": {"name": "lan"}, "eth2": {"name": ""}}) == [
        *(("eth0", "eth0"), ("eth1", "lan"), ("eth2", "eth2"))
    ]


@pytest.mark.clause("config-linux.md#network-devices/name-template")
def test_devices_may_share_a_template():
    assert moves({"a": {"name": "eth%d"}, "b": {"name": "eth%d"}}) == [("a", "eth%d"), ("b", "eth%d")]


@pytest.mark.parametrize("devices", [{"a": {"name": "x"}, "b": {"name": "x"}}, {"a": {"name": "b"}, "b": {}}])
@pytest.mark.clause("config-linux.md#network-devices/name-taken")
def test_devices_may_not_share_a_name(devices):
    with pytest.raises(InvalidConfig, match="two network devices"):
        moves(devices)


@pytest.mark.parametrize("name", ["eth%", "eth%s", "eth%d%d", "%d%%"])
def test_a_template_has_one_number_and_no_other_percent_sign(name):
    with pytest.raises(InvalidConfig, match="template"):
        moves({"a": {"name": name}})
