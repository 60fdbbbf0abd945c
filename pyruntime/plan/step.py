"""A step: one action, with the element of config.json that asks for it and the clause that requires it."""

import pyruntime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Step:
    """One entry of a plan.

    op       name of what is done: a stub operation of csrc/stub/plan.h ("mount", "bind", "mknod"), or a host or init
             action ("write_cgroup", "setns", "capset"); named after the system call where there is one
    args     what it is done with: keyword names are those of `struct step` in csrc/stub/plan.h for stub operations
    pointer  JSON pointer of the element that asks for it; "" where the spec asks for it whatever the config says
    clause   "config.md#mounts": file and anchor in the runtime-spec
    """

    __slots__ = ("args", "clause", "op", "pointer")

    def __init__(self, op: str, pointer: str, clause: str, **args: "Any") -> None:
        self.op = op
        self.pointer = pointer
        self.clause = clause
        self.args = args

    def __str__(self) -> str:
        """The step as a call, in the words of `pyruntime plan`: `mount(path=/proc, fstype=proc)`.

        Not for init, which imports nothing: it names a step by its place in the plan (protocol/messages.py).
        """
        return pyruntime.plan.step_text.step_text(self.op, self.args)

    def for_a_log(self) -> str:
        """The same without what must not be in a log: the environment of a program, the name of a session keyring."""
        secret = "name" if self.op == "keyring" else "env"
        return pyruntime.plan.step_text.step_text(
            self.op, {name: value for name, value in self.args.items() if name != secret}
        )

    def __repr__(self) -> str:
        return f"Step({self.op}, {self.args}, {self.pointer!r}, {self.clause!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Step) and (self.op, self.args, self.pointer, self.clause) == (
            other.op,
            other.args,
            other.pointer,
            other.clause,
        )

    __hash__ = None  # type: ignore[assignment]  # equal steps may still change
