"""Devices in the container (config-linux.md#devices)."""

from pyruntime.base.errors import Error
from pyruntime.spec.rules.namespaces import types
from pyruntime.spec.rules.users import unmapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config, Device

CLAUSE = "config-linux.md#devices"


def devices(config: "Config") -> "Iterator[Error]":
    """Each path is of one device: the second of two different devices would find the first at its path.

    Owners exist in the user namespace that the container gets.
    """
    seen: dict[str, int] = {}
    entries = config["linux"]["devices"]
    if types(config).get("user") == "":
        for index, device in enumerate(entries):
            yield from unmapped(device, config["linux"], f"/linux/devices/{index}", f"linux.devices[{index}]", CLAUSE)
    for index, device in enumerate(entries):
        first = seen.setdefault(device["path"], index)
        # Callers repeat a device unchanged for a privileged container with `--device`.
        if first != index and _node(device) != _node(entries[first]):
            yield Error(
                f"{device['path']} is two different devices",
                f"linux.devices[{first}] has that path already",
                pointer=f"/linux/devices/{index}/path",
                value=device["path"],
                clause=CLAUSE,
            )


def _node(device: "Device") -> "tuple[object, ...]":
    """Return what mknod(2) makes of the device: "u" is another word for "c", and a FIFO has no numbers."""
    kind = device["type"]
    return ("p",) if kind == "p" else ("c" if kind == "u" else kind, device["major"], device["minor"])
