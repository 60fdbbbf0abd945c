"""Sections for other platforms (config.md#platform-specific-configuration)."""

from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config

# Each "MAY be set if the target platform is …": where one is set, the target is not a Linux container on this kernel.
FOREIGN = {
    "freebsd": "FreeBSD",
    "solaris": "Solaris",
    "vm": "virtual machines",
    "windows": "Windows",
    "zos": "z/OS",
}


def linux_only(config: "Config") -> "Iterator[Error]":
    """A section for another platform names another target than this runtime has, so it is not a valid value here."""
    for section, target in FOREIGN.items():
        if section in config:
            yield Error(
                f"{section} is set",
                f"it configures containers for {target}, and this runtime runs Linux containers only",
                pointer=f"/{section}",
                clause="config.md#platform-specific-configuration",
            )
