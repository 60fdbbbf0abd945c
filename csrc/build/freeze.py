"""Turns the package's modules into C arrays, so that the launcher brings them along and nothing is searched for."""

import importlib.util
import marshal
import sysconfig
from collections.abc import Iterator
from pathlib import Path

# What the interpreter itself imports from files at every start, and nothing else of the standard library.
STANDARD = ("encodings/__init__.py", "encodings/aliases.py", "encodings/utf_8.py")


def modules(package: Path) -> Iterator[tuple[str, bool, bytes]]:
    """Yield (dotted name, whether it is a package, marshalled code) for what the launcher brings along."""
    library = Path(sysconfig.get_path("stdlib"))
    for path in [*sorted(package.rglob("*.py")), *(library / name for name in STANDARD)]:
        root = library if path.is_relative_to(library) and not path.is_relative_to(package) else package.parent
        parts = list(path.relative_to(root).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        if is_package:
            parts.pop()
        # The names in tracebacks; without docstrings and asserts, as with -OO.
        code = compile(path.read_bytes(), str(path.relative_to(root)), "exec", dont_inherit=True, optimize=2)
        yield ".".join(parts), is_package, marshal.dumps(code)


def constants(package: Path) -> tuple[str, bool, bytes]:
    """Return a module with the constants of the stub, which a snapshot cannot load (pyruntime/startup/embedded.py)."""
    spec = importlib.util.spec_from_file_location("pyruntime._stub", *package.glob("_stub.*.so"))
    stub = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stub)
    values = {name: value for name in dir(stub.lib) if isinstance(value := getattr(stub.lib, name), int)}
    return "pyruntime._constants", False, marshal.dumps(compile(f"LIB = {values}", "constants of _stub", "exec"))


def write_header(package: Path, header: Path) -> None:
    """Write `header` with the table FROZEN for the launcher (csrc/launcher/launcher.c)."""
    arrays, table = [], []
    for number, (name, is_package, code) in enumerate([*modules(package), constants(package)]):
        arrays.append(f"static const unsigned char code_{number}[] = {{{','.join(map(str, code))}}};")
        table.append(
            f'    {{.name = "{name}", .code = code_{number}, .size = {len(code)}, .is_package = {int(is_package)}}},'
        )
    header.write_text("\n".join([*arrays, "static const struct _frozen FROZEN[] = {", *table, "    {0}};", ""]))
