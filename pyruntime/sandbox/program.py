"""A program to run in a sandbox: what a caller says of it, checked; and the interface of what runs it."""

import os
from collections.abc import Iterable
from typing import NamedTuple

from pyruntime.sandbox import arguments
from pyruntime.sandbox.result import Result
from pyruntime.sandbox.root import WORKSPACE


class Program(NamedTuple):
    """What is executed.

    args   the program and its arguments
    input  what is on its stdin; None: nothing
    env    variables besides those of the sandbox
    cwd    its directory
    """

    args: "list[str]"
    input: "bytes | None"
    env: "dict[str, str]"
    cwd: str

    @classmethod
    def checked(
        cls, args: "Iterable[str]", input: "bytes | str | None", env: "dict[str, str] | None", cwd: "str | None"
    ) -> "Program":
        """Return the program of these arguments of a caller. Raises ValueError that names the one that is wrong."""
        return cls(
            arguments.command(args),
            arguments.data("input", input),
            arguments.environment("env", {} if env is None else env),
            WORKSPACE if cwd is None else arguments.text("cwd", cwd),
        )

    def words(self, env: "dict[str, str]") -> bytes:
        """Return what the agent reads: directory, arguments and environment, each ended by NUL.

        env  variables of the sandbox
        """
        variables = (f"{name}={value}" for name, value in {**env, **self.env}.items())
        return b"".join(os.fsencode(word) + b"\0" for word in (self.cwd, *self.args, *variables))


class Runner:
    """Runs programs, each in a container of its own."""

    def run(
        self,
        args: "Iterable[str]",
        *,
        input: "bytes | str | None" = None,
        timeout: "float | None" = None,
        env: "dict[str, str] | None" = None,
        cwd: "str | None" = None,
    ) -> Result:
        """Run a program in a container of its own, to its end; nothing of it is left then.

        args     the program and its arguments
        input    what it finds on its stdin; None: nothing
        timeout  seconds from its start after which it is killed
        env      variables besides those of the sandbox
        cwd      its directory; the workspace by default

        Raises FileNotFoundError, PermissionError and the like if it cannot be executed; ValueError for an invalid
        argument; SandboxError if the runtime fails.
        """
        return self._run(Program.checked(args, input, env, cwd), arguments.seconds("timeout", timeout))

    def _run(self, program: Program, timeout: "float | None") -> Result:
        raise NotImplementedError
