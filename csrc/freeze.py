"""Turns the package's modules into C arrays, so that the launcher brings them along and nothing is searched for."""

import marshal
from pathlib import Path


def modules(package: Path):
    """Yield (dotted name, whether it is a package, marshalled code) for every module below `package`."""
    for path in sorted(package.rglob("*.py")):
        parts = list(path.relative_to(package.parent).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        if is_package:
            parts.pop()
        # The names in tracebacks; without docstrings and asserts, as with -OO.
        code = compile(path.read_bytes(), str(path.relative_to(package.parent)), "exec", dont_inherit=True, optimize=2)
        yield ".".join(parts), is_package, marshal.dumps(code)


def write_header(package: Path, header: Path) -> None:
    """Write `header` with the table FROZEN for the launcher (csrc/launcher.c)."""
    arrays, table = [], []
    for number, (name, is_package, code) in enumerate(modules(package)):
        arrays.append(f"static const unsigned char code_{number}[] = {{{','.join(map(str, code))}}};")
        table.append(
            f'    {{.name = "{name}", .code = code_{number}, .size = {len(code)}, .is_package = {int(is_package)}}},'
        )
    header.write_text("\n".join([*arrays, "static const struct _frozen FROZEN[] = {", *table, "    {0}};", ""]))
