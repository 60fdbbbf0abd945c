"""What goes wrong in the child, for the host: the stub's reports and init's own (`enum message`, csrc/stub/plan.h)."""

from pyruntime._stub import ffi, lib
from pyruntime.base import jsonio
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.plan import Plan
    from pyruntime.plan.step import Step

# Init's messages; the stub's are lib.MESSAGE_*.
MOUNTED, READY, WAITS, EXECUTES, FAILED, GO = b"M", b"R", b"W", b"X", b"F", b"G"

# Characters of one field; JSON may take twelve bytes for each, and a message has 65536.
_LIMIT = 1000
_FIELDS = ("doing", "reason", "pointer", "clause", "call", "errno", "advice", "log", "log_of")


def encode_error(error: Error, plan: "Plan") -> bytes:
    """Return `error` as the message of a child that fails; what is too long for one message is cut.

    A step of `plan` goes by its number: the host has the same plan, and the words for it.
    """
    fields = {name: _short(getattr(error, name)) for name in _FIELDS}
    fields["step"] = next((index for index, step in enumerate(plan.steps()) if step is error.step), error.step)
    return FAILED + jsonio.dumps(fields).encode()


def _short(value: object) -> object:
    return f"{value[:_LIMIT]}…" if isinstance(value, str) and len(value) > _LIMIT else value


def decode_error(message: bytes, plan: "Plan | None" = None) -> Error:
    """Return the Error that `encode_error` made a message of; without the plan, its step goes without words."""
    fields = jsonio.loads(message[1:].decode())
    assert isinstance(fields, dict)
    if isinstance(fields["step"], int):
        fields["step"] = list(plan.steps())[fields["step"]] if plan is not None else ""
    return Error(fields.pop("doing"), fields.pop("reason"), **fields)


# Operation -> what could not be done, in the words of the field.
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
}


_ENODEV = 19  # as on every Linux


def describe(step: "Step") -> str:
    """Return what `step` failed to do: "cannot mount tmpfs at /data"."""
    return _DOING.get(step.op, f"{step.op} failed").format(**{"source": "", "path": "", "fstype": "", **step.args})


def step_error(step: "Step", error: int, call: str, text: str) -> Error:
    """Return the Error for `step`, refused by system call `call` with errno `error`; `text` is the kernel's log."""
    if call == "check":  # the stub's own refusal
        return Error(describe(step), text, pointer=step.pointer, clause=step.clause, step=step)
    refused = Error(
        describe(step), pointer=step.pointer, clause=step.clause, step=step, call=call, errno=error, log=text
    )
    if call == "fsopen" and error == _ENODEV:
        refused.advice = (
            f"the kernel has no filesystem {step.args['fstype']!r}, nor a module for it (/proc/filesystems)"
        )
    return refused


class Report:
    """A message of the stub, decoded."""

    __slots__ = ("call", "error", "index", "kind", "text")

    def __init__(self, message: bytes) -> None:
        raw = ffi.new("struct message_step *")
        ffi.memmove(raw, message, min(len(message), ffi.sizeof("struct message_step")))
        self.kind = raw.kind
        self.index = raw.index
        self.error = raw.error
        self.call = os.fsdecode(ffi.string(raw.call))
        self.text = os.fsdecode(ffi.string(raw.text))


def read(sync: int) -> bytes:
    """Return the child's next message, b"" when it is gone."""
    try:
        return os.read(sync, 65536)
    except ConnectionResetError:
        return b""


def send(sync: int, message: bytes) -> bool:
    """Send `message`; False when nobody is there to read it."""
    return lib.pyr_send(sync, message, len(message)) >= 0
