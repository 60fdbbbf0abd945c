"""Network devices of the host that the container gets (config-linux.md#network-devices)."""

from pyruntime.base.json_pointer import join
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.context import Context

CLAUSE = "config-linux.md#network-devices"
POINTER = "/linux/netDevices"


def net_devices(context: "Context") -> "Iterator[Step]":
    """Yield a step that moves each device: `device` is its name on the host, `name` the one in the container.

    Upholds config-linux.md#network-devices/available.
    """
    entries = (context.config.get("linux") or {}).get("netDevices") or {}
    for device, entry in entries.items():
        yield Step("move_net_device", join(POINTER, device), CLAUSE, device=device, name=entry.get("name") or device)
