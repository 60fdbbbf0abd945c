"""Turns the package's modules into C arrays, so that the launcher brings them along and nothing is searched for."""

import marshal
import sys
from collections.abc import Iterator
from pathlib import Path


def modules(package: Path) -> Iterator[tuple[str, bool, bytes]]:
    """Yield (dotted name, whether it is a package, marshalled code) for what the launcher brings along."""
    for path in sorted(package.rglob("*.py")):
        parts = list(path.relative_to(package.parent).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        if is_package:
            parts.pop()
        # The names in tracebacks; without docstrings and asserts, as with -OO.
        code = compile(path.read_bytes(), str(path.relative_to(package.parent)), "exec", dont_inherit=True, optimize=2)
        yield ".".join(parts), is_package, marshal.dumps(code)


def entry(number: int, name: str, is_package: bool, size: int) -> str:
    """Return a line of the table of frozen modules. Before 3.11 the size of a package is negative."""
    if sys.version_info < (3, 11):
        return f'    {{.name = "{name}", .code = code_{number}, .size = {-size if is_package else size}}},'
    return f'    {{.name = "{name}", .code = code_{number}, .size = {size}, .is_package = {int(is_package)}}},'


def write_header(package: Path, header: Path, extensions: list[tuple[str, str]], data: list[tuple[str, str]]) -> None:
    """Write what csrc/launcher/snapshot.c is to know of modules.

    extensions  (name, function that makes it) of the extension modules that are linked in
    data        (begin, end) of what those write to that have data of their own
    """
    arrays, table = [], []
    for number, (name, is_package, code) in enumerate(modules(package)):
        arrays.append(f"static const unsigned char code_{number}[] = {{{','.join(map(str, code))}}};")
        table.append(entry(number, name, is_package, len(code)))
    uses = " ".join(f'use("{name}", {function})' for name, function in extensions)
    ranges = " ".join(f"use({begin}, {end})" for begin, end in data)
    macros = [f"#define EXTENSIONS(use) {uses}", f"#define EXTENSION_DATA(use) {ranges}"]
    lines = [*macros, *arrays, "static const struct _frozen FROZEN[] = {", *table, "    {0}};", ""]
    header.write_text("\n".join(lines))
