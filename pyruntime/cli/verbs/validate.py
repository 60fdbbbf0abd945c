"""`validate`: check configurations, and do nothing else. Mistakes are errors; probable mistakes are notes."""

import re

import pyruntime
from pyruntime import SPEC_VERSION
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error, InvalidConfig
from pyruntime.base.jsonio import dumps
from pyruntime.base.printable import printable
from pyruntime.cli.error_text import details, first_line
from pyruntime.cli.output import write
from pyruntime.spec import check_config, check_process
from pyruntime.spec.load import LIMIT, parse, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.cli.parse import CommandLine
    from pyruntime.spec.places import Place

# What a parser's error says of the place, for it has no pointer.
_LINE = re.compile(r"line (\d+)(?:, column (\d+))?")


class Report:
    """What was found in one document.

    name     its path
    failure  the error that refuses it, or None
    errors   each error in it, with (line, column)
    notes    each note, with (line, column)
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.failure: Error | None = None
        self.errors: list[tuple[Error, Place]] = []
        self.notes: list[tuple[Error, Place]] = []

    def refuse(self, failure: Error, errors: "list[tuple[Error, Place]]") -> None:
        """Take the document for invalid."""
        self.failure, self.errors = failure, errors

    def json(self) -> "dict[str, Any]":
        """Return it as the members of a JSON object."""
        return {
            "file": self.name,
            "valid": not self.failure,
            "errors": [_members(*one) for one in self.errors],
            "notes": [_members(*one) for one in self.notes],
        }


def main(line: "CommandLine") -> int:
    """Check each document that the command line names; print those that are valid, with their notes.

    Raises Error for a document that cannot be read or is not valid, and for --bundle beside paths. With --json nothing
    is raised for what is not valid: the status is 1.
    """
    options = line.options
    if options["bundle"] and line.arguments:
        raise Error("validate takes --bundle or paths, not both")
    paths = line.arguments or [options["bundle"] or "."]
    reports = [_report(path, process=options["process"]) for path in paths]
    failures = [report.failure for report in reports if report.failure]
    if options["json"]:
        write(dumps([report.json() for report in reports]) + "\n")
        return 1 if failures else 0
    for report in reports:
        if not report.failure:
            _print(report, "process " if options["process"] else "")
    if len(failures) > 1:
        heading = f"{len(failures)} of {len(reports)} documents are not valid"
        raise InvalidConfig(heading, [error for report in reports for error, _ in report.errors])
    if failures:
        raise failures[0]
    return 0


def _members(what: Error, place: "Place") -> "dict[str, Any]":
    """Return a finding as the members of a JSON object, those that say nothing left out."""
    message = ": ".join(part for part in (what.doing, what.reason, what.kernel) if part)
    members = {"pointer": what.pointer, "line": place[0], "column": place[1], "message": message}
    more = {"value": what.value, "clause": what.clause, "advice": what.advice}
    return members | {name: value for name, value in more.items() if value not in (None, "")}


def _report(path: str, *, process: bool) -> Report:
    """Check the document `path`: a file, a bundle's directory, or "-" for standard input."""
    bundle = ""
    if path == "-":
        name, data = "standard input", _standard_input()
    else:
        name = os.path.abspath(path)
        if not process and os.path.isdir(name):
            name = os.path.join(name, "config.json")
        bundle = os.path.dirname(name)
        data = read(name)
    report = Report(name)
    try:
        document: Any = parse(data, name)
        (check_process if process else check_config)(document, name)
        if bundle and not process and document["root"]["path"][:1] != "/":
            _check_in_bundle(document, name, bundle)
    except InvalidConfig as error:
        report.refuse(error, _placed(error.problems, name, data))
    except Error as error:
        found = _LINE.search(error.reason)
        report.refuse(error, [(error, (int(found[1]), int(found[2] or 1)) if found else (1, 1))])
    else:
        report.notes = _placed(_notes(document, bundle, process=process), name, data)
    return report


def _check_in_bundle(document: "Any", name: str, bundle: str) -> None:
    """Raise InvalidConfig for what is wrong with the document in this bundle alone."""
    destinations = [
        pyruntime.spec.rules.mounts.container_path(mount["destination"]) for mount in document.get("mounts") or ()
    ]
    found = list(pyruntime.spec.rules.mounts.through_root(destinations, f"{bundle}/{document['root']['path']}"))
    if found:
        raise InvalidConfig(f"{name} is not valid", found)


def _standard_input() -> bytes:
    data = b""
    while len(data) <= LIMIT:
        try:
            chunk = os.read(0, LIMIT + 1 - len(data))
        except OSError as error:
            raise Error("cannot read standard input", errno=error.errno or 0) from None
        if not chunk:
            return data
        data += chunk
    raise Error("cannot read standard input", f"it is larger than {LIMIT // 1024 // 1024} MiB")


def _notes(document: "Any", bundle: str, *, process: bool) -> "list[Error]":
    if process:
        return list(pyruntime.spec.likely_mistakes.process_notes(document))
    found = list(pyruntime.spec.likely_mistakes.config_notes(document))
    # Of a document from standard input nobody knows where its bundle is.
    if bundle:
        found += pyruntime.host.bundle.bundle_notes(bundle, document)
    return found


def _placed(found: "list[Error]", name: str, data: bytes) -> "list[tuple[Error, Place]]":
    """Return each finding with its line and column, and write them into it."""
    if not found:
        return []
    table = pyruntime.spec.places.places(data.decode())
    placed = [(what, pyruntime.spec.places.nearest(table, what.pointer)) for what in found]
    for what, (line, column) in placed:
        what.place = f"{name}:{line}:{column}"
    return placed


def _print(report: Report, kind: str) -> None:
    lines = [f"{report.name}: valid {kind}(runtime-spec {SPEC_VERSION})"]
    for note, _ in report.notes:
        lines += [f"  note: {first_line(note)}", *details(note, "    ")]
    write(printable("\n".join(lines), "\n") + "\n")
