"""`sandbox COMMAND`: run a program that is not trusted (docs/sandbox.md)."""

import json
import stat
import sys

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cli.output import STDERR, write
from pyruntime.sandbox.arguments import seconds
from pyruntime.sandbox.program import Program
from pyruntime.sandbox.result import Result, SandboxError
from pyruntime.sandbox.sandbox import Sandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.cli.parse import CommandLine

_NOT_RUN, _TIMEOUT, _SIGNAL = 125, 124, 128


def main(line: "CommandLine") -> int:
    """Run the program; return its exit status, or 0 with --json."""
    options = line.options
    try:
        box = _sandbox(options)
        timeout = _number("timeout", options["timeout"]) if options["timeout"] else None
        cwd = options["cwd"] or None
        if options["json"]:
            given = None if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read()
            result = box.run(line.arguments, input=given, timeout=timeout, cwd=cwd)
            write(_as_json(result) + "\n")
            return 0
        program = Program.checked(line.arguments, None, None, cwd)
        _check_streams()
        result = box._run(program, seconds("timeout", timeout), inherit=True)
    except ValueError as error:
        raise _error(str(error)) from None
    except SandboxError as error:
        raise _error(str(error)) from None
    except OSError as error:
        raise _error(f"cannot execute {line.arguments[0]!r}: {error.strerror}") from None
    if result.end in ("timeout", "memory"):
        write(f"pyruntime: sandbox: {result.explanation}\n", STDERR)
    if result.timed_out:
        return _TIMEOUT
    return result.returncode if result.returncode >= 0 else _SIGNAL - result.returncode


def _check_streams() -> None:
    """Raise ValueError if the program would get a directory of the host: from there it could open what lies below."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise ValueError(f"{name}: it is a directory, and the program could open the files below it")


def _error(text: str) -> Error:
    error = Error(text)
    error.status = _NOT_RUN
    return error


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name}: expected a number, not {text!r:.80}") from None


def _sandbox(options: "dict[str, Any]") -> Sandbox:
    pids = options["pids"]
    if not pids.isdecimal():
        raise ValueError(f"pids: expected a whole number, not {pids!r:.80}")
    env = {}
    for entry in options["env"]:
        name, equals, value = entry.partition("=")
        if not equals:
            raise ValueError(f"env: expected NAME=VALUE, not {entry!r:.80}")
        env[name] = value
    mounts = []
    for kind in ("ro", "rw"):
        for entry in options[kind]:
            source, _, destination = entry.partition(":")
            mounts.append((source, destination or source, kind))
    where: dict[str, Any] = {"image": options["image"]} if options["image"] else {"root": options["rootfs"] or "/"}
    return Sandbox(
        **where,
        memory=options["memory"],
        cpus=_number("cpus", options["cpus"]),
        pids=int(pids),
        disk=options["disk"],
        output_limit=options["output-limit"],
        network=options["network"] or False,
        user=options["user"],
        env=env,
        mounts=mounts,
        hide=options["hide"],
        limits="best-effort" if options["best-effort"] else "require",
    )


def _as_json(result: Result) -> str:
    """Return the result; bytes that are no UTF-8 as U+FFFD."""
    return json.dumps(
        {
            "end": result.end,
            "returncode": result.returncode,
            "signal": result.signal,
            "stdout": result.stdout.decode("utf-8", "replace"),
            "stderr": result.stderr.decode("utf-8", "replace"),
            "truncated": result.truncated,
            "timed_out": result.timed_out,
            "oom_killed": result.oom_killed,
            "usage": {"cpu_seconds": result.usage.cpu_seconds, "peak_memory": result.usage.peak_memory},
            "duration": result.duration,
            "unlimited": list(result.unlimited),
        }
    )
