"""Names of network devices (config-linux.md#network-devices, #network)."""

from pyruntime.base.errors import Error
from pyruntime.base.json_pointer import join
from pyruntime.spec.rules.namespaces import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config, Resources

_LONGEST = 15  # IFNAMSIZ of linux/if.h without its NUL, in bytes
_EXPECTED = f"expected 1 to {_LONGEST} bytes without slash, colon or white space, other than . and .."


def is_interface(name: str) -> bool:
    """Tell whether the kernel accepts `name` for a network device."""
    if not 0 < len(name.encode("utf-8", "surrogatepass")) <= _LONGEST or name in (".", ".."):
        return False
    return not any(letter in "/:" or letter.isspace() for letter in name)


def is_template(name: str) -> bool:
    """Tell whether the kernel makes a name from `name`, with a number for its "%d".

    Upholds config-linux.md#network-devices/name-template.
    """
    return "%" in name


def net_devices(config: "Config") -> "Iterator[Error]":
    """Devices are moved into a network namespace of the container, under valid and different names.

    Upholds config-linux.md#network-devices/name-taken.
    """
    entries = config["linux"]["netDevices"]
    clause = "config-linux.md#network-devices"
    if entries and "network" not in types(config):
        yield Error(
            "linux.netDevices is set, but the container has no network namespace",
            'expected a namespace of type "network" in linux.namespaces',
            pointer="/linux/netDevices",
            clause=clause,
        )
    given: dict[str, str] = {}
    for host, entry in entries.items():
        place = join("/linux/netDevices", host)
        if not is_interface(host):
            yield Error(f'"{host[:60]}" is not a name of a network device', _EXPECTED, pointer=place, clause=clause)
        name = entry.get("name", "")
        if name and not is_interface(name):
            yield Error(
                f'"{name[:60]}" is not a name for a network device',
                _EXPECTED,
                pointer=f"{place}/name",
                value=name,
                clause=clause,
            )
        inside = name or host
        if is_template(inside):
            if inside.count("%") != 1 or "%d" not in inside:
                yield Error(
                    f'"{inside[:60]}" is not a name for a network device',
                    "a template has one %d and no other %",
                    pointer=f"{place}/name" if name else place,
                    value=inside,
                    clause=clause,
                )
        elif inside in given:
            yield Error(
                f'two network devices cannot have the name "{inside[:60]}"',
                f'it is given to "{given[inside][:60]}" too',
                pointer=place,
                value=inside,
                clause=clause,
            )
        given[inside] = host


def priorities(resources: "Resources", at: str = "") -> "Iterator[Error]":
    """Priorities are for network devices."""
    for index, entry in enumerate(resources["network"].get("priorities", ())):
        if not is_interface(entry["name"]):
            yield Error(
                f'"{entry["name"][:60]}" is not a name of a network device',
                _EXPECTED,
                pointer=f"{at}/network/priorities/{index}/name",
                value=entry["name"],
                clause="config-linux.md#network",
            )
