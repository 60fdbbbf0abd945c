"""`list`: the containers below --root, as a table, as JSON, or their ids alone."""

from pyruntime.base.jsonio import dumps
from pyruntime.base.printable import printable
from pyruntime.cli.error_text import for_a_log
from pyruntime.cli.output import STDERR, write
from pyruntime.cli.state_root import state_root
from pyruntime.operations.list import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.base.errors import Error
    from pyruntime.cli.parse import CommandLine

_TITLES = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
_MEMBERS = ("id", "pid", "status", "bundle", "created", "owner")
_ORDER = ("ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner")

# As runc's table: a column is so wide at least, and so much wider than its longest word.
_NARROWEST, _GAP = 12, 3


def main(line: "CommandLine") -> int:
    """Print the containers; one whose state cannot be read is named on stderr, and the others are listed."""
    given = line.shared["root"]
    found = containers(state_root(given), bool(given), _complain)
    if line.options["quiet"]:
        write("".join(f"{document['id']}\n" for document in found))
    elif line.options["format"] == "json":
        write(dumps([_ordered(document) for document in found], compact=True) + "\n")
    else:
        write(_table([_TITLES, *map(_row, found)]))
    return 0


def _complain(container_id: str, error: "Error") -> None:
    write(printable(f"load container {container_id}: {for_a_log(error, '')}") + "\n", STDERR)


def _ordered(document: "dict[str, object]") -> "dict[str, object]":
    """Return the state in runc's order; annotations only where there are some."""
    return {name: document.get(name, "") for name in _ORDER if name != "annotations" or document.get(name)}


def _row(document: "dict[str, object]") -> "list[str]":
    words = [str(document[name]) for name in _MEMBERS]
    return words if "".join(words).isprintable() else [printable(word) for word in words]


def _table(rows: "list[list[str]]") -> str:
    """Return the rows with their columns aligned; the last one is as wide as it is."""
    *columns, last = map(list, zip(*rows, strict=True))
    for column in columns:
        width = max(_NARROWEST, max(map(len, column)) + _GAP)
        column[:] = [word.ljust(width) for word in column]
    lines = map("".join, zip(*columns, last, strict=True))
    return "".join([f"{line}\n" for line in lines])
