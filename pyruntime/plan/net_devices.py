"""Network devices of the host that the container gets (config-linux.md#network-devices)."""

from pyruntime.base.json_pointer import join
from pyruntime.plan.step import Step
from pyruntime.spec.rules.network import is_template

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.context import Context

CLAUSE = "config-linux.md#network-devices"
POINTER = "/linux/netDevices"


def net_devices(context: "Context") -> "Iterator[Step]":
    """Yield a step that moves each device: `device` is its name on the host, `name` the one in the container.

    Devices with a template come last: the kernel gives them the names that are free then.

    Upholds config-linux.md#network-devices/available.
    """
    entries = (context.config.get("linux") or {}).get("netDevices") or {}
    names = {device: entry.get("name") or device for device, entry in entries.items()}
    for device in sorted(names, key=lambda device: is_template(names[device])):
        yield Step("move_net_device", join(POINTER, device), CLAUSE, device=device, name=names[device])
