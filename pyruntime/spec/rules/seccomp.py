"""Seccomp settings that depend on each other (config-linux.md#seccomp)."""

from pyruntime.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.types import Config

CLAUSE = "config-linux.md#seccomp"
_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")


def seccomp(config: "Config") -> "Iterator[Error]":
    """An errno has an action that returns it; metadata and notifications have a listener.

    Upholds config-linux.md#seccomp/errno-without-use, config-linux.md#seccomp/metadata-needs-listener.
    """
    if "seccomp" not in config.get("linux", ()):
        return
    settings = config["linux"]["seccomp"]
    at = "/linux/seccomp"
    actions = {settings["defaultAction"]}
    if "defaultErrnoRet" in settings and settings["defaultAction"] not in _WITH_ERRNO:
        yield _errno(settings["defaultAction"], f"{at}/defaultErrnoRet", settings["defaultErrnoRet"])
    for index, call in enumerate(settings.get("syscalls", ())):
        actions.add(call["action"])
        if "errnoRet" in call and call["action"] not in _WITH_ERRNO:
            yield _errno(call["action"], f"{at}/syscalls/{index}/errnoRet", call["errnoRet"])
    if settings.get("listenerPath"):
        return
    if settings.get("listenerMetadata"):
        yield Error(
            "linux.seccomp.listenerMetadata is set without listenerPath",
            "expected the path of the listener that it is for",
            pointer=f"{at}/listenerMetadata",
            clause=CLAUSE,
        )
    if "SCMP_ACT_NOTIFY" in actions:
        yield Error(
            "linux.seccomp uses SCMP_ACT_NOTIFY without listenerPath",
            "expected the path of the listener to notify",
            pointer=f"{at}/listenerPath",
            clause=CLAUSE,
        )


def _errno(action: str, pointer: str, value: int) -> Error:
    reason = f"expected none: {action} returns no errno"
    return Error(f"{action} has an errno", reason, pointer=pointer, value=value, clause=CLAUSE)
