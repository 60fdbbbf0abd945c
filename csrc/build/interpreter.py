"""What the interpreter that this is built for has, and what the program needs of it to hold a snapshot."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

# The versions that csrc/launcher/cpython.c knows.
KNOWN = ((3, 10), (3, 14))

PYTHON_X_Y = f"python{sys.version_info[0]}.{sys.version_info[1]}"

# The objects of libpython that verbs run. Together they share few pages with the compiler, the parser and the codecs.
HOT = """
    _iomodule _stat _threadmodule _warnings abstract bltinmodule boolobject bytearrayobject bytes_methods
    bytesobject call capsule cellobject ceval ceval_gil classobject codecs codeobject critical_section descrobject
    dictobject dynload_shlib enumobject errnomodule errors exceptions fcntlmodule fileobject fileutils floatobject
    formatter_unicode frame frameobject funcobject gc gcmodule genobject getargs import importdl initconfig intrinsics
    iterobject _json legacy_tracing listobject lock longobject memoryobject methodobject modsupport moduleobject
    mysnprintf namespaceobject object obmalloc parking_lot posixmodule pyhash pylifecycle pystate pythread pytime
    selectmodule setobject signalmodule sliceobject specialize structmember structseq sysmodule thread timemodule
    traceback tupleobject typeobject unicodectype unicodeobject weakrefobject
"""


def compiler() -> list[str]:
    """Return the words by which the C compiler is called."""
    return os.environ.get("CC", "cc").split()


def what_is_missing() -> str:
    """Return what the build lacks in any case and how to get it, in one sentence; "" where nothing is missing."""
    if sys.implementation.name != "cpython" or sys.version_info < (3, 10):
        return f"{sys.executable} is no CPython 3.10 or later: build with one, as in  make PYTHON=/usr/bin/python3"
    if shutil.which(compiler()[0]) is None:
        return f"there is no C compiler {compiler()[0]!r}: install gcc and libc6-dev, or name another one in CC"
    if not header("Python.h"):
        return f"the headers of {PYTHON_X_Y} are missing: install {PYTHON_X_Y}-dev"
    if not header("seccomp.h"):
        return "the headers of libseccomp are missing: install libseccomp-dev"
    return ""


def archive_of(library: str) -> "Path | None":
    """Return the archive of a library that the linker would take for static linking, or None."""
    found = subprocess.run(
        [*compiler(), f"-print-file-name=lib{library}.a"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return Path(found) if found.startswith("/") else None


def header(name: str) -> bool:
    """Tell whether the compiler finds a header, beside Python's own."""
    words = [*compiler(), "-E", f"-I{sysconfig.get_path('include')}", "-include", name, "-x", "c", "/dev/null"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def libpython() -> "Path | None":
    """Return the archive of libpython, or None."""
    path = Path(sysconfig.get_config_var("LIBPL") or "", sysconfig.get_config_var("LIBRARY") or "")
    return path if path.is_file() else None


def why_no_snapshot() -> str:
    """Return why the program cannot hold a snapshot of this interpreter, "" where it can."""
    if os.environ.get("PYRUNTIME_START") == "plain":
        return "the build was asked for it by PYRUNTIME_START=plain"
    version = sys.version_info[:2]
    if sys.implementation.name != "cpython" or not KNOWN[0] <= version <= KNOWN[1]:
        return f"{sys.implementation.name} {version[0]}.{version[1]} is none of CPython 3.10 to 3.14"
    if sysconfig.get_config_var("Py_GIL_DISABLED") or sysconfig.get_config_var("Py_DEBUG"):
        return "this CPython is built without the GIL, or for debugging"
    if os.uname().machine not in ("x86_64", "aarch64"):
        return f"the machine is {os.uname().machine}, neither x86_64 nor aarch64"
    if libpython() is None:
        return f"there is no static library of this Python (Debian: lib{PYTHON_X_Y}-dev has it)"
    if not Path(sysconfig.get_path("include"), "internal/pycore_runtime.h").is_file():
        return "the internal headers of this Python are missing"
    if archive_of("c") is None:
        return "the static C library is missing (Debian: libc6-dev)"
    if archive_of("ffi") is None or not header("ffi.h"):
        return "libffi with its static library is missing (Debian: libffi-dev)"
    if archive_of("seccomp") is None:
        return "the static library of libseccomp is missing (Debian: libseccomp-dev)"
    return ""


def objects(folder: Path) -> list[str]:
    """Extract the objects of libpython's archive into `folder`, and return their paths, the HOT ones first.

    CPython's hash functions are in archives of its own build, which Debian does not install from 3.12 on. The modules
    that need them are left out; `hashlib` then takes OpenSSL's.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archive = libpython()
    subprocess.run(["ar", "x", archive.resolve()], cwd=folder, check=True)
    paths = sorted(folder.glob("*.o"))
    # From 3.13 on an allocator that nobody asks for, mimalloc, would set itself up in each process.
    subprocess.run(["objcopy", "--remove-section=.init_array", folder / "obmalloc.o"], check=True)
    lacking = _with_lacking_hashes(paths)
    if lacking:
        paths = [path for path in paths if path not in lacking and path.name != "config.o"]
        paths.append(_table_without(lacking, archive.with_name("config.c"), folder / "config.o"))
    hot = HOT.split()
    return [str(path) for path in sorted(paths, key=lambda path: (path.stem not in hot, path))]


def _with_lacking_hashes(paths: list[Path]) -> list[Path]:
    defined, wanted = set(), {}
    for path in paths:
        for line in subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout.splitlines():
            kind, name = line.split()[-2:]
            if "Hacl" in name:
                if kind == "U":
                    wanted.setdefault(path, set()).add(name)
                else:
                    defined.add(name)
    return [path for path, names in wanted.items() if not names <= defined]


def _table_without(lacking: list[Path], source: Path, target: Path) -> Path:
    """Compile the table of built-in modules without those that `lacking` makes; return the object."""
    symbols = subprocess.run(["nm", *lacking], capture_output=True, text=True, check=True).stdout.split()
    functions = {name for name in symbols if name.startswith("PyInit_")}
    lines = [
        line
        for line in source.read_text().splitlines()
        if not any(
            function in line.replace(",", " ").replace("(", " ").replace("}", " ").split() for function in functions
        )
    ]
    changed = target.with_suffix(".c")
    changed.write_text("\n".join([*lines, ""]))
    include = f"-I{sysconfig.get_path('include')}"
    subprocess.run([*compiler(), "-O2", "-w", "-DPy_BUILD_CORE", include, "-c", changed, "-o", target], check=True)
    return target


def libraries() -> list[str]:
    """Return the archives of the libraries that libpython needs; the linker says what it lacks of the others.

    What else the interpreter's own build has in its variables, files of its own tree and backslashes, is left out.
    """
    words = [word for name in ("MODLIBS", "LIBS", "SYSLIBS") for word in (sysconfig.get_config_var(name) or "").split()]
    names = dict.fromkeys(word[2:] for word in words if word.startswith("-l") and word != "-lm")
    return [str(archive) for name in (*names, "m") if (archive := archive_of(name))]  # the others need libm as well


if __name__ == "__main__":  # before an environment is made
    sys.exit(what_is_missing() or 0)
