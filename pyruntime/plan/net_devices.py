"""Network devices of the host that the container gets (config-linux.md#network-devices)."""

from pyruntime.errors import Error, InvalidConfig
from pyruntime.plan.step import Step

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.plan.context import Context

CLAUSE = "config-linux.md#network-devices"
POINTER = "/linux/netDevices"


def is_template(name: str) -> bool:
    """Tell whether the kernel makes a name from `name`, with a number for its "%d".

    Upholds config-linux.md#network-devices/name-template.
    """
    return "%" in name


def net_devices(context: "Context") -> "Iterator[Step]":
    """Yield the move of each device: `device` is its name on the host, `name` the one in the container.

    Raises InvalidConfig for names that the kernel would refuse, or that are given twice.

    Upholds config-linux.md#network-devices/available.
    """
    entries = (context.config.get("linux") or {}).get("netDevices") or {}
    given: dict[str, str] = {}
    problems = []
    for device, entry in entries.items():
        name = entry.get("name") or device
        pointer = f"{POINTER}/{device.replace('~', '~0').replace('/', '~1')}"
        if is_template(name) and (name.count("%") != 1 or "%d" not in name):
            problems.append(
                Error(
                    f"{name} is not a name for a network device",
                    "a template has one %d and no other %",
                    pointer=f"{pointer}/name",
                    value=name,
                    clause=CLAUSE,
                )
            )
        elif name in given and not is_template(name):
            problems.append(
                Error(
                    f"two network devices cannot have the name {name}",
                    f"it is given to {given[name]} too",
                    pointer=pointer,
                    value=name,
                    clause=CLAUSE,
                )
            )
        given[name] = device
        yield Step("move_net_device", pointer, CLAUSE, device=device, name=name)
    if problems:
        raise InvalidConfig(f"{context.bundle}/config.json", problems)
