"""The state of a container as the spec has it (runtime.md#state), for hooks and seccomp agents."""

import time

from pyruntime import SPEC_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.spec.json_types import Config


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


def now() -> str:
    """Return the time as RFC 3339 with nanoseconds, UTC."""
    now = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09d}Z"
