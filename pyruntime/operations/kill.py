"""The kill operation (runtime.md#kill): a signal for the container's process."""

from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.cgroup import cgroup as cgroups
from pyruntime.cgroup.files import SIGKILL
from pyruntime.store import container as containers
from pyruntime.store import process

_CLAUSE = "runtime.md#kill"


def kill(root: str, container_id: str, signal: int, all_processes: bool) -> None:
    """Send `signal` (a number) to the container's process, or with `all_processes` to every process in its cgroup.

    SIGKILL is also sent to every process if the container has no pid namespace of its own.

    root  directory of the states, absolute

    Raises Error when the container does not exist, or is neither created nor running; with `all_processes` a stopped
    one is no error, as with runc, because processes may have outlived init where the pid namespace is shared.

    Upholds runtime.md#kill/not-alive.
    """
    with containers.open_container(root, container_id) as container:
        state = container.read()
        status = container.status(state)
        if all_processes and state is not None and status != "creating":
            cgroups.open(state["cgroup"]).kill_all(signal)
            return
        if state is None or status not in ("created", "running", "paused"):
            raise Error(
                f"cannot kill container {container_id!r}",
                "container not running" if status == "stopped" else f"it is {status}",
                clause=_CLAUSE,
            )
        if signal == SIGKILL and not _is_first(state["pid"]):
            # There the end of init ends no other process; runc does the same since 1.2.
            group = cgroups.open(state["cgroup"])
            if group.paths:
                group.kill_all(signal)
                return
        send(state["pid"], state["start_time"], signal, container_id)
        if signal == SIGKILL:
            # A frozen process gets other signals only after `resume`, as with runc.
            group = cgroups.open(state["cgroup"])
            if group.let_die():
                # A process that is not killed yet could freeze the group again.
                group.kill_all(signal)


def _is_first(pid: int) -> bool:
    """Tell whether process `pid` is the first of its pid namespace: all others end with it (pid_namespaces(7))."""
    try:
        fd = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True  # it has just ended
    try:
        # The line of supplementary groups may take any number of pages.
        content = b""
        while chunk := os.read(fd, 4096):
            content += chunk
        return content.partition(b"\nNSpid:")[2].partition(b"\n")[0].split()[-1:] == [b"1"]
    except ProcessLookupError:
        return True
    finally:
        os.close(fd)


def send(pid: int, started: int, signal: int, container_id: str) -> None:
    """Send `signal` to the process that has `pid` and started at `started`; never to another with the same pid.

    Raises Error when the process has ended, or the kernel refuses the signal (pidfd_send_signal(2)).

    Upholds runtime.md#kill/signal-sent.
    """
    pidfd = lib.pyr_pidfd_open(pid)
    try:
        # Checked after the pidfd is opened: the pidfd never refers to another process.
        error = -pidfd if pidfd < 0 else 0 if process.alive(pid, started) else 3
        if not error:
            error = -lib.pyr_pidfd_send_signal(pidfd, signal)
            if log.events is not None:
                log.events.done(f"send signal {signal} to process {pid}")
        if error == 3:
            raise Error(f"cannot kill container {container_id!r}", "container not running", clause=_CLAUSE)
        if error:
            raise Error(
                f"cannot kill container {container_id!r}", clause=_CLAUSE, step="pidfd_send_signal", errno=error
            )
    finally:
        if pidfd >= 0:
            os.close(pidfd)
