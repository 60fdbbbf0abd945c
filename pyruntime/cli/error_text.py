"""The text of an error: several lines for people, one line for a log."""

from errno import EACCES, ENOSYS, EPERM, EROFS

from pyruntime.base.errors import Error, InvalidConfig
from pyruntime.base.jsonio import dumps
from pyruntime.base.printable import printable

# A log line is read by programs that show it in one message of their own.
_MOST_PROBLEMS_IN_A_LOG = 20
_LONGEST_VALUE = 200
_LABEL = 15


def for_people(error: Error, verb: str) -> str:
    """Return the explanation of `error`: a first line that stands alone, then what is known about it, a line each."""
    # Callers look for the word (conmon, CRI-O and scripts do), as for "warning" in the lines of the log.
    head = f"pyruntime: error: {verb}: " if verb else "pyruntime: error: "
    if isinstance(error, InvalidConfig):
        lines = [f"{head}{error.doing}: {error.reason}"]
        for problem in error.problems:
            lines.append(f"  {first_line(problem)}")
            lines += details(problem, "    ")
    else:
        lines = [head + first_line(error), *details(error, "  ")]
    text = "\n".join(lines)
    return printable(text, "\n") + "\n"


def for_a_log(error: Error, verb: str) -> str:
    """Return `error` on one line."""
    if isinstance(error, InvalidConfig):
        shown = [" ".join(str(problem).split("\n")) for problem in error.problems[:_MOST_PROBLEMS_IN_A_LOG]]
        if len(error.problems) > len(shown):
            shown.append(f"and {len(error.problems) - len(shown)} more")
        text = f"{error.doing}: {error.reason}: {'; '.join(shown)}"
    else:
        text = " ".join(str(error).split("\n"))
    return f"{verb}: {text}" if verb else text


def first_line(error: Error) -> str:
    """Return what was being done and why it failed, on one line."""
    text = ": ".join(part for part in (error.doing, error.reason, error.kernel) if part)
    return " ".join(text.split("\n"))


def details(error: Error, margin: str) -> list[str]:
    """Return the labelled lines below the first, each behind `margin`."""
    place = error.pointer
    if error.pointer and error.value is not None:
        place += "  " + _shown(error.value)
    rows = (
        ("place", error.place),
        ("config.json", place),
        ("step", ": ".join(part for part in (str(error.step), error.call) if part)),
        ("kernel", error.kernel if error.pointer or error.step or error.clause else ""),
        (error.log_of, error.log),
        ("spec", error.clause),
        ("advice", error.advice),
        ("see", "pyruntime doctor, which shows what this host can do" if _is_about_the_host(error) else ""),
    )
    indent = "\n" + margin + " " * _LABEL
    return [f"{margin}{label:<{_LABEL}}{indent.join(str(text).split(chr(10)))}" for label, text in rows if text]


# What an error says that is about the host and not about the configuration.
_OF_THE_HOST = ("needs Linux", "needs CONFIG_", "the kernel needs", "needs a host", "needs a user namespace")


def _is_about_the_host(error: Error) -> bool:
    if error.errno in (EACCES, EPERM, EROFS) and error.clause == "config-linux.md#control-groups":
        return True  # a group that an ordinary user may not make
    return error.errno == ENOSYS or any(words in f"{error.reason} {error.advice}" for words in _OF_THE_HOST)


def _shown(value: object) -> str:
    """Return `value` as JSON, shortened in the middle of nowhere rather than filling the screen."""
    try:
        text = dumps(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
