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
    # The years are counted from March on, so that a leap day is the last of its year; 1 March 0000 is day 0.
    era, day = divmod(days + 719468, 146097)  # of 400 years
    year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153  # five months from March on, and from August on, have 153 days
    day -= (153 * month + 2) // 5
    year, month = 400 * era + year + (month > 9), (month + 2) % 12 + 1
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{year:04}-{month:02}-{day + 1:02}T{clock}.{nanoseconds:09}Z"
