"""Network devices as data (config-linux.md#network-devices)."""

import pytest

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


@pytest.mark.clause("config-linux.md#network-devices/name-template")
def test_a_template_does_not_take_a_name_that_is_given():
    assert moves({"a": {"name": "eth%d"}, "b": {"name": "eth0"}}) == [("b", "eth0"), ("a", "eth%d")]
