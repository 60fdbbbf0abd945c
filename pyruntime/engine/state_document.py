"""The state of a container as the spec has it (runtime.md#state), for hooks and seccomp agents; a new state file."""

import time

from pyruntime import SPEC_VERSION
from pyruntime.base import lean_os as os
from pyruntime.store import container as containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.caller.options import CreateOptions
    from pyruntime.spec.json_types import Config, StateFile


def state_document(container_id: str, status: str, pid: int, bundle: str, config: "Config") -> "dict[str, object]":
    """Return the state as the spec has it (runtime.md#state), for hooks.

    Upholds runtime.md#state/version, runtime.md#state/id, runtime.md#state/bundle, runtime.md#state/schema,
    config.md#annotations/unknown-keys.
    """
    return {
        "ociVersion": SPEC_VERSION,
        "id": container_id,
        "status": status,
        "pid": pid,
        "bundle": bundle,
        "annotations": config.get("annotations") or {},
    }


def new_state(container_id: str, config: "Config", options: "CreateOptions") -> "StateFile":
    """Return the state file of a container that is being created."""
    return {
        **state_document(container_id, "creating", 0, options.bundle, config),  # type: ignore[typeddict-item]
        "version": containers.VERSION,
        "start_time": 0,
        "created": "",
        "rootfs": "",
        "root_mount": None,
        "owner": os.geteuid(),
        "process": "process" in config,
        "cgroup": {},
        "intel_rdt": {},
        "keyring": options.keyring,
        "hooks": {kind: (config.get("hooks") or {}).get(kind) or [] for kind in ("poststart", "poststop")},
    }


def now() -> str:
    """Return the time as RFC 3339 with nanoseconds, UTC."""
    return timestamp(time.time_ns())


def timestamp(at: int) -> str:
    """Return the time `at`, nanoseconds since the epoch, as RFC 3339 with nanoseconds, UTC.

    Not by gmtime(3), which first reads the file of the local time zone: seven system calls.
    """
    seconds, nanoseconds = divmod(at, 10**9)
    days, seconds = divmod(seconds, 86400)
    year, february = 1970, 28
    while days >= february + 337:
        days -= february + 337
        year += 1
        february = 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    month, lengths = 0, (31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    while days >= lengths[month]:
        days -= lengths[month]
        month += 1
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{year:04}-{month + 1:02}-{days + 1:02}T{clock}.{nanoseconds:09}Z"
