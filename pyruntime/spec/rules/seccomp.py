"""Seccomp settings that depend on each other (config-linux.md#seccomp)."""

from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyruntime.spec.json_types import Config

CLAUSE = "config-linux.md#seccomp"
_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_NOTIFY = "SCMP_ACT_NOTIFY"
_WAIT_KILLABLE = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"


def seccomp(config: "Config") -> "Iterator[Error]":
    """An errno has an action that returns it; metadata and notifications have a listener that can get them.

    Upholds config-linux.md#seccomp/errno-without-use, config-linux.md#seccomp/metadata-needs-listener.
    """
    settings = config["linux"]["seccomp"]
    at = "/linux/seccomp"
    if settings["defaultAction"] == _NOTIFY:
        yield Error(
            "SCMP_ACT_NOTIFY cannot be the default action",
            "the agent would have to answer before it has the descriptor",
            pointer=f"{at}/defaultAction",
            value=_NOTIFY,
            clause=CLAUSE,
        )
    actions = {settings["defaultAction"]}
    if "defaultErrnoRet" in settings and settings["defaultAction"] not in _WITH_ERRNO:
        yield _errno(settings["defaultAction"], f"{at}/defaultErrnoRet", settings["defaultErrnoRet"])
    for index, call in enumerate(settings.get("syscalls", ())):
        actions.add(call["action"])
        if "errnoRet" in call and call["action"] not in _WITH_ERRNO:
            yield _errno(call["action"], f"{at}/syscalls/{index}/errnoRet", call["errnoRet"])
        if call["action"] == _NOTIFY and "sendmsg" in call["names"]:
            yield Error(
                "SCMP_ACT_NOTIFY cannot be used for sendmsg",
                "it is the call that brings the descriptor to the agent",
                pointer=f"{at}/syscalls/{index}/names/{call['names'].index('sendmsg')}",
                value="sendmsg",
                clause=CLAUSE,
            )
    flags = settings.get("flags", [])
    if _WAIT_KILLABLE in flags and _NOTIFY not in actions:
        yield Error(
            f"{_WAIT_KILLABLE} is set and nothing notifies",
            "the kernel takes it only together with SCMP_ACT_NOTIFY",
            pointer=f"{at}/flags/{flags.index(_WAIT_KILLABLE)}",
            value=_WAIT_KILLABLE,
            clause=CLAUSE,
        )
    if settings.get("listenerPath"):
        return
    if settings.get("listenerMetadata"):
        yield Error(
            "linux.seccomp.listenerMetadata is set without listenerPath",
            "expected the path of the listener that it is for",
            pointer=f"{at}/listenerMetadata",
            clause=CLAUSE,
        )
    if _NOTIFY in actions:
        yield Error(
            "linux.seccomp uses SCMP_ACT_NOTIFY without listenerPath",
            "expected the path of the listener to notify",
            pointer=f"{at}/listenerPath",
            clause=CLAUSE,
        )


def _errno(action: str, pointer: str, value: int) -> Error:
    reason = f"expected none: {action} returns no errno"
    return Error(f"{action} has an errno", reason, pointer=pointer, value=value, clause=CLAUSE)
