"""The flat form of a plan's stub steps: an array of `struct step` and the arena of its strings (csrc/stub/plan.h)."""

from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.plan.step import Step

# Strings are offsets into the arena, numbers are copied as they are; other arguments are for the host alone.
_STRINGS = frozenset(["path", "source", "fstype", "data", "label"])
_NUMBERS = frozenset(
    [
        "flags",
        "mode",
        "uid",
        "gid",
        "dev",
        "sb_flags",
        "attr_set",
        "attr_clr",
        "rec_set",
        "rec_clr",
        "propagation",
        "rec_propagation",
    ]
)


class Program:
    """Arrays of steps that share one arena.

    Descriptors opened for a step are looked up by the step's identity in `trees` (for `fd`) and `maps` (for `userns`).
    """

    __slots__ = ("_arena", "_offsets", "_pinned", "maps", "trees")

    def __init__(self) -> None:
        # Offset 0 is the empty string, so a field that is not set says "not given".
        self._arena = bytearray(b"\0")
        self._offsets: dict[bytes, int] = {b"": 0}
        self._pinned: list[object] = []
        self.trees: dict[int, int] = {}
        self.maps: dict[int, int] = {}

    def _string(self, text: "str | list[str]") -> int:
        """Return the offset of `text`; a list is its items, each ended by NUL, and an empty one."""
        raw = os.fsencode(text) if isinstance(text, str) else b"".join(os.fsencode(item) + b"\0" for item in text)
        offset = self._offsets.get(raw)
        if offset is None:
            offset = self._offsets[raw] = len(self._arena)
            self._arena += raw + b"\0"
        return offset

    def array(self, steps: "list[Step]") -> "Any":
        """Return `steps` as a C array of `struct step`."""
        array = ffi.new("struct step[]", max(len(steps), 1))
        for index, step in enumerate(steps):
            item = array[index]
            item.op = OPERATIONS[step.op]
            item.fd = self.trees.get(id(step), -1)
            item.userns = self.maps.get(id(step), -1)
            for name, value in step.args.items():
                if name in _STRINGS:
                    setattr(item, name, self._string(value))
                elif name in _NUMBERS:
                    setattr(item, name, value)
        self._pinned.append(array)
        return array

    def stub(self) -> "Any":
        """Return the `struct stub` that the steps act on; call it after the last `array`."""
        arena = ffi.from_buffer(self._arena)
        stub = ffi.new("struct stub *")
        stub.arena = ffi.cast("char *", arena)
        stub.root = stub.proc = stub.console = stub.terminal = -1
        self._pinned += [arena, stub]
        return stub


OPERATIONS = {
    name: getattr(lib, f"OP_{name.upper()}")
    for name in (
        "propagation",
        "root",
        "mount",
        "bind",
        "bind_inside",
        "remount",
        "setattr",
        "mkdir",
        "symlink",
        "mknod",
        "console",
        "mask",
        "readonly",
        "sysctl",
        "hostname",
        "domainname",
        "loopback",
        "pivot_root",
        "move_root",
        "chroot",
        "here",
        "verify",
    )
}
