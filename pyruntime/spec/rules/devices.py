"""Devices in the container (config-linux.md#devices)."""

from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config, Device


def devices(config: "Config") -> "Iterator[Error]":
    """One path is one device: the second of two different ones would meet a file that is not it."""
    seen: dict[str, int] = {}
    entries = config["linux"]["devices"]
    for index, device in enumerate(entries):
        first = seen.setdefault(device["path"], index)
        # A privileged container with one device named again repeats it unchanged, which harms nobody.
        if first != index and _node(device) != _node(entries[first]):
            yield Error(
                f"{device['path']} is two different devices",
                f"linux.devices[{first}] has that path already",
                pointer=f"/linux/devices/{index}/path",
                value=device["path"],
                clause="config-linux.md#devices",
            )


def _node(device: "Device") -> "tuple[object, ...]":
    """Return what mknod(2) makes of the device: "u" is another word for "c", and a FIFO has no numbers."""
    kind = device["type"]
    return ("p",) if kind == "p" else ("c" if kind == "u" else kind, device["major"], device["minor"])
