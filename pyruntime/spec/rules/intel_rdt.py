"""Intel RDT (config-linux.md#intelrdt)."""

from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config


def intel_rdt(config: "Config") -> "Iterator[Error]":
    """A class of service is the name of a sub-directory of resctrl, or "/" for its root."""
    name = config["linux"]["intelRdt"].get("closID", "")
    if name in (".", "..") or ("/" in name and name != "/"):
        yield Error(
            f'linux.intelRdt.closID is "{name[:60]}"',
            'expected the name of a directory without slashes, or "/"',
            pointer="/linux/intelRdt/closID",
            value=name,
            clause="config-linux.md#intelrdt",
        )
