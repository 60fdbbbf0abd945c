"""The program: parse the command line, call the verb, and report errors in one place."""

import errno
import sys

import pyruntime
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error, refused
from pyruntime.cli.parse import UsageError, parse_global, parse_verb


def program() -> None:
    """Run the command line of this process and exit with its status.

    Leaves by _exit, because tearing the interpreter down takes time and nothing is left to be flushed: all output
    is written with write(2).
    """
    try:
        occupy_standard_descriptors()
    except Error as error:
        os._exit(_report(error, ""))
    os._exit(main(sys.argv[1:]))


def occupy_standard_descriptors() -> None:
    """Open /dev/null where the caller closed stdin, stdout or stderr.

    Otherwise the next file opened, a log or a terminal's master, would be taken for one of them.
    """
    while (fd := os.open("/dev/null", os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)


def main(words: list[str]) -> int:
    """Carry out the command line `words` (without the program's name) and return the exit status."""
    verb = ""
    try:
        shared, rest = parse_global(words)
        # Only for the message, if the rest cannot be parsed.
        verb = rest[0] if rest and not rest[0].startswith("-") else ""
        log.configure(shared["log"], shared["log-format"], shared["debug"], shared["trace"], verb)
        before = dict(shared)
        line = parse_verb(shared, rest)
        if shared != before:
            log.configure(shared["log"], shared["log-format"], shared["debug"], shared["trace"], verb)
        module = __import__(f"pyruntime.cli.verbs.{line.verb}", None, None, ("main",))
        status: int = module.main(line)
        return status
    except Error as error:
        return _report(error, verb)
    except KeyboardInterrupt:
        return 128 + 2
    except (OSError, ImportError, MemoryError) as error:
        return _report(_from_kernel(error), verb)
    except Exception as error:
        return _report_internal(error, verb)
    finally:
        if log.events is not None:
            log.events.finish()


def _from_kernel(error: "OSError | ImportError | MemoryError") -> Error:
    """Return the Error of what the kernel refused below a library: what passes `lean_os` is one already."""
    if isinstance(error, MemoryError):
        return Error("out of memory", errno=errno.ENOMEM)
    if isinstance(error, ImportError):
        # Of a whole installation nothing is missing, but what is loaded late may be unreadable when it is wanted.
        return Error(f"cannot load {error.name}", str(error), step=f"import({error.name})")
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code if trace is not None else None
    return refused(code.co_name if code else "system call", error.filename or "", error)  # type: ignore[return-value]


def _report(error: Error, verb: str) -> int:
    """Print `error` for people on stderr and for the caller in the log; return the exit status."""
    if isinstance(error, UsageError):
        verb = ""
    if log.events is not None:
        log.events.finish(error)
    if log.goes_to_file() or not log.stderr_is_for_people():
        log.error(pyruntime.cli.error_text.for_a_log(error, verb))
    if log.stderr_is_for_people():
        try:
            pyruntime.cli.output.write(pyruntime.cli.error_text.for_people(error, verb), pyruntime.cli.output.STDERR)
        except Error:
            pass
    return error.status


def _report_internal(error: Exception, verb: str) -> int:
    """Report an exception that no code foresaw; with --debug its traceback too."""
    text = str(error)
    status = _report(
        Error(
            f"internal error: {type(error).__name__}{': ' if text else ''}{text}",
            advice="this is a fault of pyruntime; --debug shows where it happened",
        ),
        verb,
    )
    if log.debugging():
        from traceback import format_exception  # late: only for a fault of ours

        log.debug("".join(format_exception(error)))
    return status
