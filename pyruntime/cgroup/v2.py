"""What only the unified hierarchy has: controllers to enable, events, one file to kill or freeze (cgroup-v2.rst)."""

import errno
import time

import pyruntime
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cgroup.files import read_file, write_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.step import Step

_FREEZE_SECONDS = 10.0

# config-linux.md#cgroup-ownership names these for kernels without /sys/kernel/cgroup/delegate.
_DELEGATED = "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n"


def enable_controllers(mountpoint: str, path: str, needed: list[str], steps: "list[Step]", *, everything: bool) -> None:
    """Make the group mountpoint + path have the controllers `needed`, by enabling them from the root down.

    steps       the later writes: an error names the first property that needs the controller
    everything  also enable the other controllers, as far as the kernel allows it
    Raises Error that names the missing controller and the directory.

    Upholds config-linux.md#unified/controllers-enabled.
    """
    missing = _lacks(mountpoint + path, needed)
    others = _lacks(mountpoint + path, read_file(mountpoint + "/cgroup.controllers").split()) if everything else []
    if not missing and not others:
        return
    directory = mountpoint
    for part in path.split("/")[1:]:
        file = directory + "/cgroup.subtree_control"
        for controller in _lacks(directory, missing):
            raise _refused(controller, steps, pyruntime.plan.cgroup.section.not_enabled(controller, directory))
        enabled = read_file(file).split()
        for controller in missing:
            if controller not in enabled:
                try:
                    write_file(file, f"+{controller}")
                except OSError as error:
                    raise _not_enabled(controller, directory, steps, error) from error
        wanted = [f"+{name}" for name in others if name not in enabled and name not in missing]
        if wanted:
            try:
                write_file(file, " ".join(wanted))  # one write if no controller is refused
            except OSError:
                for one in wanted:
                    try:
                        write_file(file, one)
                    except OSError:
                        continue  # nobody asked for it
        directory = f"{directory}/{part}"


def _lacks(directory: str, controllers: list[str]) -> list[str]:
    if not controllers:
        return []
    present = read_file(directory + "/cgroup.controllers").split()
    return [controller for controller in controllers if controller not in present]


def _not_enabled(controller: str, directory: str, steps: "list[Step]", error: OSError) -> Error:
    # Upholds config-linux.md#unified/controller-missing.
    advice = {
        errno.EBUSY: "the group has processes of its own: choose a linux.cgroupsPath below one that has none",
        errno.EACCES: "the group is not delegated to this user",
        errno.ENOENT: "the kernel or the group above does not offer it",
        errno.EOPNOTSUPP: "the group is threaded, or has real-time processes",
    }.get(error.errno or 0, "")
    reason = f"write of +{controller} to {directory}/cgroup.subtree_control"
    return _refused(controller, steps, reason, error.errno or 0, advice)


def _refused(controller: str, steps: "list[Step]", reason: str, number: int = 0, advice: str = "") -> Error:
    asks = next((step for step in steps if step.args.get("controller") == controller), None)
    return Error(
        f"cannot enable cgroup controller {controller}",
        reason,
        pointer=asks.pointer if asks else "",
        clause=asks.clause if asks else "config-linux.md#control-groups",
        errno=number,
        advice=advice,
    )


def event(directory: str, name: str) -> bool:
    """Return one value of cgroup.events, "populated" or "frozen"; False if the group is removed."""
    try:
        return f"{name} 1" in read_file(directory + "/cgroup.events").split("\n")
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise
        return False


def wait_event(directory: str, name: str, value: bool, timeout: float) -> bool:
    """Wait at most `timeout` seconds until a value of cgroup.events is `value`; in a removed group all are 0.

    poll(2) returns at each change. Returns whether the value is reached. Raises OSError.
    """
    import select  # late: whoever reads the freezer alone waits for nothing

    deadline = time.monotonic() + timeout
    line = f"{name} {int(value)}"
    try:
        fd = os.open(directory + "/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return not value
    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        while True:
            # Read before waiting: poll(2) also reports a change in between.
            if line in os.pread(fd, 4096, 0).decode().split("\n"):
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            os.call(poll.poll, left * 1000)
    except OSError as error:
        if error.errno == errno.ENODEV:  # removed while we waited
            return not value
        raise
    finally:
        os.close(fd)


def kill(directory: str) -> bool:
    """Kill all processes in the group and below; return False if the kernel has no cgroup.kill (before 5.14)."""
    try:
        write_file(directory + "/cgroup.kill", "1")
    except FileNotFoundError:
        return not os.access(directory, os.F_OK)
    return True


def frozen(directory: str) -> bool:
    """Tell whether freezing was requested for the group, or it is frozen from above; False if it is removed."""
    try:
        if read_file(directory + "/cgroup.freeze").strip() == "1":
            return True
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENODEV):
            raise
        return False
    return event(directory, "frozen")


def freeze(directory: str) -> None:
    """Freeze the group and wait until it is frozen. Raises Error if that takes over 10 s, after thawing it."""
    write_file(directory + "/cgroup.freeze", "1")
    if not wait_event(directory, "frozen", True, _FREEZE_SECONDS):
        write_file(directory + "/cgroup.freeze", "0")
        raise Error(
            "cannot freeze the container",
            f"{directory}/cgroup.events does not become frozen: a process does not react",
            clause="config-linux.md#control-groups",
            errno=errno.EBUSY,
        )


def thaw(directory: str) -> None:
    """Thaw the group and wait for that; do nothing if it is removed or the kernel has no such freezer."""
    try:
        write_file(directory + "/cgroup.freeze", "0")
    except FileNotFoundError:
        return
    # It stays frozen if a group above is frozen; the owner of that group has to thaw it.
    if event(directory, "frozen"):
        wait_event(directory, "frozen", False, 1.0)


def give_to(directory: str, uid: int) -> None:
    """Make user `uid` of the host the owner of the group and its delegated files (config-linux.md#cgroup-ownership).

    Upholds config-linux.md#cgroup-ownership/delegated-files-only, config-linux.md#cgroup-ownership/missing-files,
    config-linux.md#cgroup-ownership/fallback-list.
    """
    try:
        files = read_file("/sys/kernel/cgroup/delegate")
    except FileNotFoundError:
        files = _DELEGATED
    os.chown(directory, uid, -1)
    for file in files.split():
        try:
            os.chown(f"{directory}/{file}", uid, -1)
        except FileNotFoundError:
            pass  # not every listed file exists in every group; that is no failure
