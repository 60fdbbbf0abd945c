"""`update ID`: change the limits of a container."""

from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error, InvalidConfig
from pyruntime.base.json_pointer import element
from pyruntime.cli.parse import UsageError
from pyruntime.cli.state_root import state_root
from pyruntime.operations.update import update_container
from pyruntime.spec import check_resources
from pyruntime.spec.load import parse, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pyruntime.cli.parse import CommandLine

    Values = dict[str, Any]

_LARGEST = 2**63
_LIMIT = 16 << 20  # bytes on stdin
_UNITS = "bkmgtp"
_RESOURCES = "/linux/resources"


def main(line: "CommandLine") -> int:
    """Update the container named by the argument."""
    options = line.options
    if options["resources"]:
        name, resources = _from_file(options["resources"])
    else:
        name, resources = "", _from_options(options)
    bandwidth = options["mem-bw-schema"]
    if bandwidth and (not bandwidth.startswith("MB:") or "\n" in bandwidth):
        raise Error(
            f"--mem-bw-schema {bandwidth}",
            'expected one line that starts with "MB:"',
            clause="config-linux.md#intelrdt",
        )
    schemata = [options[name] for name in ("l3-cache-schema", "mem-bw-schema") if options[name]]
    try:
        check_resources(resources, name or "the resources to update")  # type: ignore[arg-type]
        update_container(state_root(line.shared["root"]), line.arguments[0], resources, schemata)
    except Error as error:
        _place(error, name, resources, options)
        raise
    return 0


def _place(error: Error, name: str, resources: "Values", options: "Values") -> None:
    """Correct the place of an error about a value that does not come from the container's config.json.

    name  of the file with `resources`; "" if they come from the options
    """
    if isinstance(error, InvalidConfig):
        found = [(problem, problem.pointer) for problem in error.problems]  # in the resources themselves
    else:
        pointer = error.pointer.removeprefix(_RESOURCES)
        found = [(error, pointer)] if pointer != error.pointer and element(resources, pointer) is not None else []
    for problem, pointer in found:
        if name:
            problem.place, problem.pointer = f"{name}: {pointer}", ""
            continue
        for option, (section, field, _) in _OPTIONS.items():
            if pointer == f"/{section}/{field}":
                problem.place, problem.pointer = f"--{option} {options[option]}", ""


def _from_file(path: str) -> "tuple[str, Values]":
    """Return the name of a JSON file, or of stdin for "-", and the resources in it. Raises Error."""
    if path == "-":
        name, data = "stdin", b""
        while len(data) <= _LIMIT and (chunk := os.read(0, 1 << 16)):
            data += chunk
        if len(data) > _LIMIT:
            raise Error("cannot read the resources on stdin", f"more than {_LIMIT} bytes")
    else:
        name, data = path, read(path, streams=True, clause="config-linux.md#control-groups")
    resources: Any = parse(data, name)
    return name, resources


def _from_options(options: "Values") -> "Values":
    """Return the resources that the options name. Raises Error."""
    resources: Values = {}
    for name, (section, field, convert) in _OPTIONS.items():
        text = options[name]
        if text:
            value = convert(text)
            if value is None:
                raise UsageError(
                    f"--{name} {text}", "the value cannot be understood", advice="see `pyruntime update --help`"
                )
            resources.setdefault(section, {})[field] = value
    return resources


def number(text: str) -> int | None:
    """Return a decimal number, which may be negative; None where `text` is none, or too large for any limit."""
    digits = text.removeprefix("-").removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        return None
    return int(text) if int(digits) < _LARGEST else None


def size(text: str) -> int | None:
    """Return the bytes in "64m", "1.5g" or "2GiB", each unit 1024 of the one below; -1 is no limit."""
    if text == "-1":
        return -1
    word = text.lower().removesuffix("b").removesuffix("i").strip()
    unit = _UNITS.find(word[-1:]) if word[-1:].isalpha() else 0
    amount = word[:-1].rstrip() if word[-1:].isalpha() else word
    if unit < 0 or amount.count(".") > 1 or not amount.strip(".").replace(".", "").isdecimal() or not amount.isascii():
        return None
    result = int(float(amount) * 1024**unit) if "." in amount else int(amount) * 1024**unit
    return result if result < _LARGEST else None


def _text(text: str) -> str:
    return text


_OPTIONS: "dict[str, tuple[str, str, Callable[[str], int | str | None]]]" = {
    "blkio-weight": ("blockIO", "weight", number),
    "cpu-period": ("cpu", "period", number),
    "cpu-quota": ("cpu", "quota", number),
    "cpu-burst": ("cpu", "burst", number),
    "cpu-share": ("cpu", "shares", number),
    "cpu-rt-period": ("cpu", "realtimePeriod", number),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime", number),
    "cpu-idle": ("cpu", "idle", number),
    "cpuset-cpus": ("cpu", "cpus", _text),
    "cpuset-mems": ("cpu", "mems", _text),
    "memory": ("memory", "limit", size),
    "memory-reservation": ("memory", "reservation", size),
    "memory-swap": ("memory", "swap", size),
    "pids-limit": ("pids", "limit", number),
}
