"""What is written down about a container for others: the state for hooks and agents, the pid file."""

import time

from pyruntime import SPEC_VERSION
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

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


def write_pid_file(path: str, pid: int) -> None:
    """Write `pid` to `path` so that a reader sees all of it or nothing. Raises Error."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            os.write(fd, str(pid).encode())
        finally:
            os.close(fd)
        try:
            os.rename(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise Error(f"cannot write the pid file {path}", errno=error.errno or 0) from None
