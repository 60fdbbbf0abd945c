"""What init does to itself, one function a step of plan/process.py (config.md#process, #user)."""

import _stat as stat
import errno

from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.plan.step import Step

_NULL_PATH, _NULL = "/dev/null", os.makedev(1, 3)  # mem(4)


# Operation -> errno -> what the kernel lacks then.
_NEEDS = {
    "set_mempolicy": {
        errno.ENOSYS: "it needs CONFIG_NUMA",
        errno.EINVAL: "each node needs memory of its own (/sys/devices/system/node/has_memory); MPOL_PREFERRED_MANY "
        "needs Linux 5.15, MPOL_WEIGHTED_INTERLEAVE Linux 6.9",
    },
    "sched_setattr": {
        errno.EINVAL: "SCHED_ISO is reserved in Linux and not there; SCHED_FLAG_UTIL_CLAMP_* needs Linux 5.3",
        errno.EOPNOTSUPP: "SCHED_FLAG_UTIL_CLAMP_* needs CONFIG_UCLAMP_TASK",
        errno.EBUSY: "SCHED_DEADLINE needs more time than the CPUs have left",
        errno.EPERM: "it needs CAP_SYS_NICE, SCHED_DEADLINE all CPUs of the host, and a real-time policy with "
        "CONFIG_RT_GROUP_SCHED a cgroup that has real-time (linux.resources.cpu.realtimeRuntime)",
    },
}


def _refused(step: "Step", doing: str, error: int) -> Error:
    advice = _NEEDS.get(step.op, {}).get(error, "")
    return Error(doing, pointer=step.pointer, clause=step.clause, step=step, errno=error, advice=advice)


def _check(step: "Step", doing: str, result: int) -> None:
    """Raise Error when a call of the stub answered -errno."""
    if result < 0:
        raise _refused(step, doing, -result)


def _keyring(step: "Step", _stub: "Any") -> None:
    result = lib.pyr_session_keyring(os.fsencode(step.args["name"]))
    # Where the kernel has no keyrings the container cannot use any. Any other failure would leave the caller's keys to
    # it: what forbids it to the runtime need not forbid it to the container.
    if result < 0 and result != -errno.ENOSYS:
        raise Error(
            "cannot join a new session keyring",
            pointer=step.pointer,
            clause=step.clause,
            step=step,
            errno=-result,
            advice="keep the caller's keyring with --no-new-keyring"
            + (", or raise the sysctl kernel.keys.maxkeys" if result == -errno.EDQUOT else ""),
        )


def _setsid(step: "Step", _stub: "Any") -> None:
    try:
        os.setsid()
    except OSError as error:
        raise _refused(step, "cannot start a session", error.errno or 0) from None


def _terminal(step: "Step", stub: "Any") -> None:
    """Make the pseudoterminal's slave the controlling terminal and the standard streams."""
    terminal = stub.terminal
    _check(step, "cannot get the controlling terminal", lib.pyr_controlling_terminal(terminal))
    size = step.args["size"]
    if size:
        _check(step, "cannot set the terminal's size", lib.pyr_window_size(terminal, size[0], size[1]))
    for stream in (0, 1, 2):
        os.dup2(terminal, stream)
    if terminal > 2:
        os.close(terminal)
        stub.terminal = -1


def _stdio(step: "Step", _stub: "Any") -> None:
    """Give the standard streams to the container's user, so that it can open them again through /proc/self/fd.

    Only pipes and sockets, and the terminal that was made for the container: the caller's own terminal, a file or
    device of the host keep their owner whoever uses them here.
    The null device is replaced by the container's own: the host's leads to a mount that is not the container's, and
    CRIU could not make it again.
    """
    uid, made = step.args["uid"], step.args["made"]
    for stream in (0, 1, 2):
        try:
            status = os.fstat(stream)
            if _is_null(status):
                _use_own_null(stream)
                continue
            passed_on = made or stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode)
            if passed_on and status.st_uid != uid:
                os.fchown(stream, uid, -1)
        except OSError as error:
            # Closed, on a read-only filesystem, or owned by someone the user namespace does not know: left as it is.
            if error.errno not in (errno.EBADF, errno.EINVAL, errno.EPERM, errno.EROFS):
                raise _refused(step, "cannot give the standard streams to the user", error.errno or 0) from None


def _use_own_null(stream: int) -> None:
    """Put the container's null device in the place of `stream`, if it has one."""
    try:
        if not _is_null(os.stat(_NULL_PATH, follow_symlinks=False)):
            return
        fd = os.open(_NULL_PATH, os.O_RDWR | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return
    if _is_null(os.fstat(fd)):
        os.dup2(fd, stream)
    os.close(fd)


def _is_null(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL


# The working directories that this process has entered.
_entered: "set[str]" = set()


def _chdir(step: "Step", _stub: "Any") -> None:
    path = step.args["path"]
    try:
        os.chdir(path)
    except PermissionError as error:
        if not step.args["tolerant"]:
            # Entered before, as root; the user may stay there even if it could not have come by itself.
            if path in _entered:
                return
            raise _refused(step, f"cannot change to the working directory {path}", error.errno or 0) from None
        return
    except OSError as error:
        raise _refused(step, f"cannot change to the working directory {path}", error.errno or 0) from None
    if not _inside():
        raise Error(
            f"cannot change to the working directory {path}",
            "it is outside of the container",
            pointer=step.pointer,
            clause=step.clause,
        )
    _entered.add(path)


def _inside() -> bool:
    """Tell whether the working directory is below the container's root: getcwd(2) knows no path for any other."""
    try:
        return os.getcwd().startswith("/")
    except OSError:
        return False


def _umask(step: "Step", _stub: "Any") -> None:
    os.umask(step.args["mask"])


def _bounding(step: "Step", _stub: "Any") -> None:
    # The capabilities survive the change of the user only with this; capset reduces them right after.
    _check(step, "cannot keep capabilities", lib.pyr_prctl(lib.PR_SET_KEEPCAPS, 1, 0))
    # Only what is held and not to be kept is dropped: a runtime without CAP_SETPCAP may have nothing to drop.
    _check(step, "cannot drop capabilities from the bounding set", lib.pyr_bound(step.args["keep"]))


def _user(step: "Step", _stub: "Any") -> None:
    args = step.args
    try:
        if args["setgroups"]:
            os.setgroups(args["groups"])
        os.setresgid(args["gid"], args["gid"], args["gid"])
        os.setresuid(args["uid"], args["uid"], args["uid"])
    except (OSError, ValueError) as error:
        # Of more groups than there can be, posix itself says so.
        number = error.errno or 0 if isinstance(error, OSError) else errno.EINVAL
        reason = "an id is not mapped in the user namespace" if number == errno.EINVAL else ""
        raise Error(
            f"cannot become user {args['uid']}:{args['gid']}",
            reason if isinstance(error, OSError) else str(error),
            pointer=step.pointer,
            clause=step.clause,
            step=step,
            errno=number,
        ) from None


def _capset(step: "Step", _stub: "Any") -> None:
    args = step.args
    _check(
        step,
        "cannot set the capabilities",
        lib.pyr_capset(args["effective"], args["permitted"] | args["until_exec"], args["inheritable"]),
    )
    _check(
        step,
        "cannot clear the ambient capabilities",
        lib.pyr_prctl(lib.PR_CAP_AMBIENT, lib.PR_CAP_AMBIENT_CLEAR_ALL, 0),
    )
    for number in range(64):
        if args["ambient"] >> number & 1:
            result = lib.pyr_prctl(lib.PR_CAP_AMBIENT, lib.PR_CAP_AMBIENT_RAISE, number)
            _check(step, f"cannot raise ambient capability {number}", result)


def _no_new_privs(step: "Step", _stub: "Any") -> None:
    _check(step, "cannot set no_new_privs", lib.pyr_prctl(lib.PR_SET_NO_NEW_PRIVS, 1, 0))


def _personality(step: "Step", _stub: "Any") -> None:
    _check(step, "cannot set the personality", lib.pyr_personality(step.args["persona"]))


def _sched_setattr(step: "Step", _stub: "Any") -> None:
    args = step.args
    result = lib.pyr_sched_setattr(
        args["policy"],
        args["flags"],
        args["nice"],
        args["priority"],
        args["runtime"],
        args["deadline"],
        args["period"],
    )
    _check(step, "cannot set the scheduler", result)


def _sched_setaffinity(step: "Step", _stub: "Any") -> None:
    set_affinity(step)


def set_affinity(step: "Step") -> None:
    """Let this process run on the CPUs of the step alone. Raises Error where none of them can be used."""
    try:
        os.sched_setaffinity(0, step.args["cpus"])
    except OSError as error:
        raise _refused(step, "cannot run on these CPUs", error.errno or 0) from None


def _ioprio_set(step: "Step", _stub: "Any") -> None:
    result = lib.pyr_ioprio_set(step.args["ioclass"], step.args["priority"])
    _check(step, "cannot set the I/O priority", result)


def _set_mempolicy(step: "Step", _stub: "Any") -> None:
    nodes = step.args["nodes"]
    # The kernel reads one bit less than it is told (set_mempolicy(2)).
    bits = max(nodes) + 2 if nodes else 0
    mask = ffi.new("unsigned long[]", bits // 64 + 1)
    for node in nodes:
        mask[node // 64] |= 1 << node % 64
    _check(step, "cannot set the memory policy", lib.pyr_set_mempolicy(step.args["mode"], mask, bits))


ACTIONS = {
    "personality": _personality,
    "sched_setattr": _sched_setattr,
    "sched_setaffinity": _sched_setaffinity,
    "ioprio_set": _ioprio_set,
    "set_mempolicy": _set_mempolicy,
    "keyring": _keyring,
    "setsid": _setsid,
    "terminal": _terminal,
    "stdio": _stdio,
    "chdir": _chdir,
    "umask": _umask,
    "bounding": _bounding,
    "user": _user,
    "capset": _capset,
    "no_new_privs": _no_new_privs,
}
