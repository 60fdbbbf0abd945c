"""What config.json may ask for and this version does not do yet: refused, never ignored (config.md#valid-values)."""

from pyruntime.errors import Error, InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.context import Context

_PROPERTIES = {
    ("linux", "netDevices"): "config-linux.md#network-devices",
}


def refuse(context: "Context") -> None:
    """Raise InvalidConfig that names every property in use that is not supported; empty values ask for nothing."""
    problems = []
    for (section, name), clause in _PROPERTIES.items():
        part: dict[str, object] = context.config.get(section) or {}  # type: ignore[assignment]
        if part.get(name):
            problems.append(
                Error("this version of pyruntime does not support it", pointer=f"/{section}/{name}", clause=clause)
            )
    if problems:
        raise InvalidConfig(f"{context.bundle}/config.json", problems)
