"""Turns the package's modules into C arrays, so that the launcher brings them along and nothing is searched for.

What no process reads is left out, so that what it reads lies on fewer pages: docstrings, asserts, annotations of
functions, and the columns of tracebacks, which show no source of these modules.
"""

import ast
import marshal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

HOT = Path(__file__).with_name("hot.txt")
# csrc/launcher/cpython.c takes the number of a group out of the flags again, and csrc/launcher/arena.c has the unit.
_GROUP_SHIFT, _UNIT, _HEAD = 28, 16, 8


def groups() -> dict[tuple[str, str], int]:
    """Return (module, qualified name) of the functions that hot verbs run -> the number of their group, from 1 on."""
    found, group = {}, 0
    for line in HOT.read_text().splitlines():
        if line.startswith("["):
            group += 1
        elif not line.startswith("#"):
            module, _, names = line.partition(": ")
            found.update({(module, name): group for name in names.split()})
    return found


def _grouped(code: CodeType, module: str, numbers: dict[tuple[str, str], int], sizes: list[int]) -> CodeType:
    """Return `code` with the number of its group in its flags, and the same for the code in it.

    sizes  of the groups: what the code takes is added
    """
    inner = [_grouped(each, module, numbers, sizes) if isinstance(each, CodeType) else each for each in code.co_consts]
    group = numbers.get((module, code.co_qualname), 0)
    if group:
        sizes[group - 1] += -(-(sys.getsizeof(code) + _HEAD) // _UNIT) * _UNIT
    return code.replace(co_consts=tuple(inner), co_flags=code.co_flags | group << _GROUP_SHIFT)


class _WithoutAnnotations(ast.NodeTransformer):
    """Takes the annotations of functions away. Those of a class can be its fields, and stay."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


def modules(package: Path, sizes: list[int]) -> Iterator[tuple[str, bool, bytes]]:
    """Yield (dotted name, whether it is a package, marshalled code) for what the launcher brings along.

    sizes  of the groups of code: what it takes is added
    """
    numbers = groups()
    for path in sorted(package.rglob("*.py")):
        parts = list(path.relative_to(package.parent).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        if is_package:
            parts.pop()
        tree = _WithoutAnnotations().visit(ast.parse(path.read_bytes()))
        # The names in tracebacks; without docstrings and asserts, as with -OO.
        code = compile(tree, str(path.relative_to(package.parent)), "exec", dont_inherit=True, optimize=2)
        if sys.version_info >= (3, 12):
            code = _grouped(code, ".".join(parts), numbers, sizes)
        yield ".".join(parts), is_package, marshal.dumps(code)


def _modules_without_columns(package: Path) -> tuple[list[tuple[str, bool, bytes]], list[int]]:
    """Return what `modules` yields, and the sizes, from an interpreter that compiles without columns (PEP 657)."""
    words = [sys.executable, "-X", "no_debug_ranges", __file__, package]
    return marshal.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)


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
    found, sizes = _modules_without_columns(package)
    for number, (name, is_package, code) in enumerate(found):
        arrays.append(f"static const unsigned char code_{number}[] = {{{','.join(map(str, code))}}};")
        table.append(entry(number, name, is_package, len(code)))
    uses = " ".join(f'use("{name}", {function})' for name, function in extensions)
    ranges = " ".join(f"use({begin}, {end})" for begin, end in data)
    macros = [f"#define EXTENSIONS(use) {uses}", f"#define EXTENSION_DATA(use) {ranges}"]
    macros.append(f"#define CODE_GROUPS {', '.join(map(str, sizes))}")
    lines = [*macros, *arrays, "static const struct _frozen FROZEN[] = {", *table, "    {0}};", ""]
    header.write_text("\n".join(lines))


if __name__ == "__main__":
    total = [0] * max(groups().values())
    sys.stdout.buffer.write(marshal.dumps((list(modules(Path(sys.argv[1]), total)), total)))
