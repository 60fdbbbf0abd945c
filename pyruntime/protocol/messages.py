"""Messages between host and child, and the errors that the host makes of them (`enum message`, csrc/stub/plan.h)."""

import errno
import sys

import pyruntime
from pyruntime._stub import ffi, lib
from pyruntime.base import jsonio, log
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.plan.plan import Plan
    from pyruntime.plan.step import Step

# The stub's kinds are lib.MESSAGE_*; only init in Python sends FAILED.
FAILED = b"F"
MOUNTED, WAITS, GO = bytes([lib.MESSAGE_MOUNTED]), bytes([lib.MESSAGE_WAITS]), bytes([lib.MESSAGE_GO])
STEP = bytes([lib.MESSAGE_STEP])
STEP_SIZE = ffi.sizeof("struct message_step")
BEGUN, READY, EXECUTES = (bytes([kind]) for kind in (lib.MESSAGE_BEGUN, lib.MESSAGE_READY, lib.MESSAGE_EXECUTES))
# It follows FAILED. The JSON of that has no such byte, so on a stream this byte marks its end.
PROGRAM = bytes([lib.MESSAGE_PROGRAM])
# Events for --debug and --trace: those of init, and those of the stub.
TOLD, MARK = b"D", bytes([lib.MESSAGE_MARK])

_MESSAGE = 65536  # bytes of the longest message
_FIELD = 6000  # bytes of JSON of one field: a message has room for all ten
_ERRNO_END = 4096  # MAX_ERRNO, <linux/err.h>
_FIELDS = ("doing", "reason", "pointer", "clause", "call", "errno", "advice", "log", "log_of")


def encode_error(error: Error, plan: "Plan") -> bytes:
    """Return `error` as the message of a child that fails; fields that are too long for it are cut, and say so.

    A step of `plan` is sent as its number, because the host has the same plan.
    """
    fields = {name: _short(getattr(error, name)) for name in _FIELDS}
    fields["step"] = next((index for index, step in enumerate(plan.steps()) if step is error.step), _short(error.step))
    return FAILED + jsonio.dumps(fields).encode()


def _short(value: object) -> object:
    if not isinstance(value, str) or len(jsonio.dumps(value)) <= _FIELD:
        return value
    return f"{value[:500]}… ({len(value) - 500} more characters)"  # of which each may need twelve bytes in JSON


def decode_error(message: bytes, plan: "Plan | None" = None) -> Error:
    """Return the Error that `encode_error` encoded; without the plan, the Error has no step."""
    try:
        fields = jsonio.loads(message[1:].decode())
        assert isinstance(fields, dict) and isinstance(fields["errno"], int) and 0 <= fields["errno"] < _ERRNO_END
        assert isinstance(fields["step"], (int, str))
        assert all(isinstance(fields[name], str) for name in _FIELDS if name != "errno")
        if isinstance(fields["step"], int):
            fields["step"] = list(plan.steps())[fields["step"]] if plan is not None else ""
        return Error(fields.pop("doing"), fields.pop("reason"), **fields)
    except (ValueError, LookupError, TypeError, AssertionError):
        # A process that may trace the child can send such a message.
        return Error("the container's process failed", "its message makes no sense")


# Operation -> text that says what could not be done.
_DOING = {
    "root": "cannot take the root filesystem {source}",
    "mount": "cannot mount {fstype} at {path}",
    "bind": "cannot bind {source} at {path}",
    "bind_inside": "cannot bind {source} at {path}",
    "remount": "cannot remount {path}",
    "setattr": "cannot set the attributes of the mount at {path}",
    "mkdir": "cannot make the directory {path}",
    "symlink": "cannot make the link {path}",
    "mknod": "cannot make the device {path}",
    "console": "cannot set up the terminal",
    "mask": "cannot mask {path}",
    "readonly": "cannot make {path} read-only",
    "sysctl": "cannot set the kernel parameter {path}",
    "hostname": "cannot set the hostname",
    "domainname": "cannot set the domain name",
    "loopback": "cannot bring up the loopback interface",
    "pivot_root": "cannot change the root filesystem",
    "verify": "masked and read-only paths do not hold",
    "propagation": "cannot cut the mount namespace off from the host's",
    "label": "cannot apply the label {text}",
    "keyring": "cannot join a new session keyring",
    "setsid": "cannot start a session",
    "terminal": "cannot make the terminal the standard streams",
    "stdio": "cannot give the standard streams to the user",
    "chdir": "cannot change to the working directory {path}",
    "bounding": "cannot drop capabilities from the bounding set",
    "user": "cannot become user {uid}:{gid}",
    "capset": "cannot set the capabilities",
    "no_new_privs": "cannot set no_new_privs",
    "personality": "cannot set the personality",
    "sched_setattr": "cannot set the scheduler",
    "sched_setaffinity": "cannot run on these CPUs",
    "ioprio_set": "cannot set the I/O priority",
    "set_mempolicy": "cannot set the memory policy",
    "landlock_create_ruleset": "cannot make a Landlock ruleset",
    "landlock_add_path": "cannot add the Landlock rule for {path}",
    "landlock_add_port": "cannot add the Landlock rule for port {port}",
    "landlock_restrict_self": "cannot enforce the Landlock ruleset",
    "seccomp": "cannot load the seccomp filter",
}

# The same for a single call of an operation with several, where that is more exact.
_DOING_BY_CALL = {
    ("console", "sendmsg"): "cannot send the terminal over the console socket",
    ("setsid", "ioctl(TIOCSCTTY)"): "cannot get the controlling terminal",
    ("terminal", "ioctl(TIOCSWINSZ)"): "cannot set the terminal's size",
    ("bounding", "prctl(PR_SET_KEEPCAPS)"): "cannot keep capabilities",
    ("capset", "prctl(PR_CAP_AMBIENT_CLEAR_ALL)"): "cannot clear the ambient capabilities",
    ("capset", "prctl(PR_CAP_AMBIENT_RAISE)"): "cannot raise an ambient capability",
    ("seccomp", "sendmsg"): "cannot send the seccomp descriptor to the agent",
}

_SCHED_DEADLINE = 6  # <linux/sched.h>
_NOFILE = 7
_NR_OPEN = "/proc/sys/fs/nr_open"

# Operation -> errno -> why.
_REASONS = {
    "setsid": {errno.EIO: "who took it from the console socket has closed it"},
    "label": {errno.ENOENT: "the kernel has none of this name: is it loaded?", errno.EINVAL: "it is not a valid label"},
    "user": {errno.EINVAL: "an id is not mapped in the user namespace"},
    "landlock_add_path": {errno.ENOENT: "the container has no such file"},
    "chdir": {errno.EXDEV: "it is outside of the container"},
}

# Operation -> errno, 0 for any other -> a remedy, or what the kernel lacks.
_ADVICE = {
    "keyring": {
        0: "keep the caller's keyring with --no-new-keyring",
        errno.EDQUOT: "keep the caller's keyring with --no-new-keyring, or raise the sysctl kernel.keys.maxkeys",
    },
    "set_mempolicy": {
        errno.ENOSYS: "it needs CONFIG_NUMA",
        errno.EINVAL: "each node needs memory of its own (/sys/devices/system/node/has_memory); MPOL_PREFERRED_MANY "
        "needs Linux 5.15, MPOL_WEIGHTED_INTERLEAVE Linux 6.9",
    },
    "sched_setattr": {
        errno.EACCES: "a nice value below the present one needs CAP_SYS_NICE",
        errno.EINVAL: "SCHED_ISO is reserved in Linux and not there",
        errno.EOPNOTSUPP: "SCHED_FLAG_UTIL_CLAMP_* needs CONFIG_UCLAMP_TASK",
        errno.EPERM: "it needs CAP_SYS_NICE, and a real-time policy with CONFIG_RT_GROUP_SCHED a cgroup that has "
        "real-time (linux.resources.cpu.realtimeRuntime)",
    },
    "SCHED_DEADLINE": {
        errno.EINVAL: "runtime must be at least 1024 ns, and the period (without one, the deadline) within the sysctls "
        "kernel.sched_deadline_period_min_us and kernel.sched_deadline_period_max_us",
        errno.EBUSY: "runtime/period is more than the CPUs have left for such processes (sysctls "
        "kernel.sched_rt_runtime_us and kernel.sched_rt_period_us)",
        errno.EPERM: "it needs CAP_SYS_NICE and all CPUs of the host: leave out linux.resources.cpu.cpus",
    },
}


def describe(step: "Step", call: str = "") -> str:
    """Return what `step` failed to do, by system call `call` of it: "cannot mount tmpfs at /data"."""
    words = _DOING_BY_CALL.get((step.op, call)) or _DOING.get(step.op, f"{step.op} failed")
    args = {"source": "", "path": "", "fstype": "", **step.args}
    if step.op == "label":
        args["text"] = args["text"].removeprefix("exec ")
    return words.format(**args)


def step_error(step: "Step", error: int, call: str, text: str) -> Error:
    """Return the Error for `step`, refused by system call `call` with errno `error`; `text` is the kernel's log."""
    if call == "check":  # the stub's own refusal
        return Error(describe(step), text, pointer=step.pointer, clause=step.clause, step=step)
    if step.op == "execve":
        return _not_executed(step, error, call, text)
    if step.op == "prlimit":
        return _not_limited(step, error)
    reason = _REASONS.get(step.op, {}).get(error, "")
    deadline = step.op == "sched_setattr" and step.args["policy"] == _SCHED_DEADLINE
    advice = _ADVICE.get("SCHED_DEADLINE" if deadline else step.op, {})
    pointer = step.pointer
    if step.op == "user":
        if text:
            reason, text = text, ""
        if error == errno.EINVAL and pointer == "/process/user":
            pointer = {"setresuid": f"{pointer}/uid", "setresgid": f"{pointer}/gid"}.get(call, pointer)
    refused = Error(
        describe(step, call),
        reason,
        pointer=pointer,
        clause=step.clause,
        step=step,
        call=call,
        errno=error,
        advice=advice.get(error, advice.get(0, "")),
        log=text,
    )
    fstype = step.args.get("fstype")  # who may trace the child can name this call for any step
    if call == "fsopen" and error == errno.ENODEV and fstype:
        refused.advice = f"the kernel has no filesystem {fstype!r}, nor a module for it (/proc/filesystems)"
    if call == "fsconfig" and "Unknown parameter '" in text:
        meant = pyruntime.spec.rules.mount_options.nearest(text.split("'")[1])
        refused.advice = f"did you mean {meant!r}?" if meant else refused.advice
    if call == "fsconfig" and "Invalid gid '" in text:
        refused.advice = "the id must be mapped (/linux/gidMappings): leave out gid=, or map it"
    return refused


def _not_executed(step: "Step", error: int, call: str, text: str) -> Error:
    """Return the Error for a program that cannot be executed; `text` is its path, or why execve was not called."""
    program = step.args["argv"][0]
    named = "/" in program or call
    words, advice = program.split(), ""
    if not call and error == errno.ENOENT:
        advice = "the program is looked up in the container's root filesystem" + ("" if named else ", along its PATH")
        advice = f"each argument is an element of its own: {', '.join(map(repr, words))}" if words[1:] else advice
    return Error(
        f"cannot execute {text if call and text else program if named else repr(program)}",
        "" if call else text,
        pointer="/process/args/0",
        value=program,
        clause=step.clause,
        step=call,
        errno=error,
        advice=advice,
    )


def _not_limited(step: "Step", error: int) -> Error:
    """Return the Error for a "prlimit" step that the kernel refused with errno `error`."""
    return Error(
        "cannot set {name} to {soft}:{hard}".format(**step.args),
        pointer=step.pointer,
        clause=step.clause,
        step="prlimit",
        errno=error,
        advice=_why(step) if error == 1 else "",
    )


def _why(step: "Step") -> str:
    """Return why the kernel does not permit a limit; getrlimit(2) has two reasons."""
    if step.args["resource"] == _NOFILE:
        try:
            fd = os.open(_NR_OPEN, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            most = step.args["hard"]  # the container may have no /proc; the host, which raises limits, has one
        else:
            most = int(os.read(fd, 32))
            os.close(fd)
        if step.args["hard"] > most:
            return f"no limit of descriptors is above the kernel's own, fs.nr_open: {most}"
    return "raising a hard limit takes CAP_SYS_RESOURCE"


_LISTS = {
    lib.LIST_BUILD: "build",
    lib.LIST_ENTER: "enter",
    lib.LIST_PROCESS: "process",
    lib.LIST_LIMITS: "limits",
    lib.LIST_FILTER: "filter",
    lib.LIST_EXECUTE: "execute",
}


def failure(plan: "Plan", where: int, index: int, error: int, call: str, text: str) -> Error:
    """Return the Error for the step `index` of the list `where` (csrc/stub/plan.h, enum list)."""
    steps = getattr(plan, _LISTS.get(where, "execute"))
    if where == lib.LIST_FILTER:
        return not_loaded(plan, call, error)
    if where in (lib.LIST_BUILD, lib.LIST_ENTER):  # exec has no `enter` steps
        steps = [*steps, *plan.labels]
    elif where == lib.LIST_PROCESS:
        steps = [*steps, *plan.landlock]
    if not 0 <= index < len(steps):
        # A process that may trace the child can send such a message.
        return Error("the container's process failed", "its message makes no sense")
    return step_error(steps[index], error, call, text)


def not_loaded(plan: "Plan", call: str, error: int) -> Error:
    """Return the Error for a filter or a ruleset that `call` refused with errno `error`."""
    ruleset = plan.landlock[-1:]
    steps = ruleset if call == "landlock_restrict_self" else plan.filter or ruleset
    if not steps:
        # A process that may trace the child can send such a message.
        return Error("the container's process failed", "its message makes no sense")
    return step_error(steps[0], error, call, "")


def stub_error(plan: "Plan", stub: "Any") -> Error:
    """Return the Error for the failure that is recorded in `stub`, with ffi.errno."""
    error = ffi.errno
    return failure(plan, stub.failed_list, stub.failed_index, error, text_of(stub.call), text_of(stub.text))


def text_of(pointer: "Any") -> str:
    """Return a C string as str; "" for NULL."""
    return os.fsdecode(ffi.string(pointer)) if pointer != ffi.NULL else ""


class Report:
    """A message of the stub, decoded; one of another size than the stub's has `kind` 0."""

    __slots__ = ("call", "error", "index", "kind", "text", "where")

    def __init__(self, message: bytes) -> None:
        raw = ffi.new("struct message_step *")
        if len(message) == STEP_SIZE:
            ffi.memmove(raw, message, STEP_SIZE)
        self.kind = raw.kind
        self.where = raw.list
        self.index = raw.index
        self.error = raw.error
        self.call = text_of(raw.call)
        self.text = text_of(raw.text)


# Kind of a message -> its meaning.
_SAID = {
    lib.MESSAGE_BEGUN: "runs",
    lib.MESSAGE_MAPS: "waits for its id maps",
    lib.MESSAGE_PID: "pid",
    lib.MESSAGE_STEP: "a step failed",
    lib.MESSAGE_SPAWN: "cannot begin its steps",
    lib.MESSAGE_READY: "ready",
    lib.MESSAGE_EXECUTES: "executes the program next",
    MOUNTED[0]: "mounted",
    WAITS[0]: "waits for start",
    FAILED[0]: "failed",
    GO[0]: "go on",
}


def _named(message: bytes) -> str:
    """Return the name of a message, for people."""
    if not message:
        return "end of the connection"
    return f"{chr(message[0])} ({_SAID.get(message[0], 'unknown')})"


def received(message: bytes) -> None:
    """Record the message that the host has received; only with --debug or --trace."""
    if log.events is not None:
        log.events.note(f"message {_named(message)}, received")


def told(message: bytes, steps: "list[Step]") -> bool:
    """Record an event of the container's process; return whether `message` is one. Only with --debug or --trace.

    steps  the steps that have numbers (engine/child/step_array.py)
    """
    if log.events is None or message[:1] not in (TOLD, MARK):
        return False
    if message[:1] == TOLD:
        log.events.told(message)
        return True
    # struct message_mark. Decoded without cffi, which takes longer than many steps do.
    order = sys.byteorder
    number = int.from_bytes(message[4:8], order)
    begin, end = int.from_bytes(message[8:16], order), int.from_bytes(message[16:24], order)
    stage = _STAGES.get(number)
    if stage is not None:
        log.events.mark(stage, begin, end)
    elif number < len(steps):
        log.events.mark(steps[number], begin, end)
    return True


_STAGES = {
    lib.STAGE_NAMESPACES: "enter the namespaces, with the wait for id maps",
    lib.STAGE_CGROUPS: "join the cgroups",
    lib.STAGE_PROGRAM: "find the program and set limits",
}


def read(sync: int) -> bytes:
    """Return the next message, b"" if the other side has closed the connection. Raises Error.

    On a socket with a timeout (csrc/stub/sockets.c) it raises BlockingIOError when that is over.
    """
    try:
        return os.read(sync, _MESSAGE)
    except ConnectionResetError:
        return b""
    except BlockingIOError:
        raise
    except OSError as error:
        raise Error("cannot hear from the container's process", step="read(socket)", errno=error.errno or 0) from None


def send(sync: int, message: bytes) -> bool:
    """Send `message`; return False if the other side has closed the connection. Raises Error if it cannot be sent."""
    if log.events is not None:
        log.events.note(f"message {_named(message)}, sent")
    result = lib.pyr_send(sync, message, len(message))
    if result < 0 and -result not in (errno.EPIPE, errno.ECONNRESET):
        raise Error("cannot reach the container's process", step="sendto", errno=-result)
    return bool(result >= 0)
