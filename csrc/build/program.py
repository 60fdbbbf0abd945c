"""Builds the executable: with a snapshot where that can be, otherwise the one that executes the interpreter."""

import runpy
import subprocess
import sysconfig
from pathlib import Path

import cffi_source
import elf
import freeze
import interpreter
import snapshot
from extensions import Extension

LAUNCHER, STUB = Path("csrc/launcher"), Path("csrc/stub")
BUILDERS = ("csrc/build/stub.py", "csrc/build/seccomp.py")
FLAGS = ["-D_GNU_SOURCE", "-O2", "-fstack-protector-strong", f"-I{STUB}"]
OWN = [LAUNCHER / name for name in ("launcher.c", "fail.c", "places.c", "seal.c")]
# What the dynamic linker fills in is written to by nobody else. Looking up all functions of the C library at the start,
# 487 of them, takes 0.015 ms longer than those that are called.
FULL_RELRO = ["-Wl,-z,relro,-z,now"]
STRICT = ["-std=gnu11", "-Wall", "-Wextra", "-Werror"]
# What csrc/launcher/arena.c answers in the place of the C library.
ANSWERED = ("malloc", "calloc", "realloc", "free", "pthread_self", "pthread_getattr_np", "_PyCode_New")
WRAPPED = [f"-Wl,--wrap={name}" for name in ANSWERED]
# In bytes: the alignment of segments, on any processor; the first part of the snapshot's arena, which is seldom used
# (the attributes of libpython's types). The large page behind it holds what most verbs use.
BOUNDARY, COLD = 64 << 10, 512 << 10
# The modules that hot verbs use and that some builds of CPython have as files.
FILES = ("_json", "fcntl", "select")


def ingredients(cache: Path) -> tuple["Path | None", str]:
    """Return the directory of cffi's sources, which the snapshot needs, and ""; or None, and why there can be none.

    cache  directory for what is fetched
    """
    reason = interpreter.why_no_snapshot()
    if reason:
        return None, reason
    source = cffi_source.fetch(cache)
    return source, "" if source else f"pip cannot get the source of cffi {cffi_source.WANTED}"


def build_plain(target: "Path | str") -> None:
    """Build the program that executes the interpreter."""
    _compile([*FLAGS, *STRICT, *_places(), *OWN, "-fPIE", "-pie", *FULL_RELRO, "-s", "-o", target])


def build(target: Path, package: Path, folder: Path, cffi: Path) -> None:
    """Build the program that holds a snapshot. Raises RuntimeError or CalledProcessError.

    package  directory of the built package, whose modules the program brings along
    folder   for what is made on the way
    cffi     directory of cffi's C sources
    """
    folder.mkdir(parents=True, exist_ok=True)
    _link(target, package, folder, cffi)
    snapshot.store(target, sysconfig.get_path("stdlib"))


def _places() -> list[str]:
    """Return what csrc/launcher/places.c is told."""
    binaries = sysconfig.get_config_var("BINDIR") or "/usr/bin"
    return [f'-DPYTHON_X_Y="{interpreter.PYTHON_X_Y}"', f'-DPYTHON_BIN="{binaries}"']


def _compile(words: list[object]) -> None:
    subprocess.run([*interpreter.compiler(), *map(str, words)], check=True)


def _objects(sources: list[Path], folder: Path, options: list[object]) -> list[Path]:
    """Compile `sources`; return the objects, which lie in `folder`."""
    made = []
    for source in sources:
        made.append(folder / f"{Path(source).name}.o")
        _compile([*options, "-c", source, "-o", made[-1]])
    return made


def _python() -> list[object]:
    """Return the options for CPython's headers, the internal ones among them."""
    include = Path(sysconfig.get_path("include"))
    places = [include, include / "internal", include / "internal/mimalloc"]
    return [word for place in places for word in ("-isystem", place)]


def _link(target: Path, package: Path, folder: Path, cffi: Path) -> None:
    fixed = ["-fno-pie", *FLAGS, *_python()]
    objects: list[object] = []
    functions = []
    for builder in BUILDERS:
        module = runpy.run_path(builder)["ffibuilder"]
        name, _, _, options = module._assigned_source
        generated = folder / f"{name}.c"
        module.emit_c_code(str(generated))
        functions.append((name, f"PyInit_{name.rpartition('.')[2]}"))
        words = [*options.get("extra_compile_args", ()), *(f"-I{path}" for path in options.get("include_dirs", ()))]
        objects += _objects([generated, *options.get("sources", ())], folder, [*fixed, *words])
    functions.append(("_cffi_backend", "PyInit__cffi_backend"))
    objects += _objects([cffi / "_cffi_backend.c"], folder, [*fixed, "-w", *cffi_source.MACROS])
    data = []
    for extension in _extensions_of_the_interpreter():
        functions.append((extension.name, extension.function))
        data += extension.data
        assembly = folder / f"{extension.name}.s"
        assembly.write_text(extension.assembly)
        objects += [assembly, *extension.options]
    freeze.write_header(package, folder / "modules.h", functions, data)

    sources = [LAUNCHER / name for name in ("snapshot.c", "cpython.c", "arena.c", "waiter.c")]
    made = _objects([*OWN, *sources], folder, [*fixed, *STRICT, *_places(), "-DSNAPSHOT", f"-I{folder}"])
    archives = [interpreter.archive_of(name) for name in ("ffi", "seccomp")]
    python = [*interpreter.objects(folder / "libpython"), "-Wl,--export-dynamic", "-Wl,--exclude-libs,ALL"]
    libraries = ["-Wl,--as-needed", *interpreter.libraries(), "-ldl", "-lpthread"]
    words = ["-no-pie", *FULL_RELRO, "-s", "-o", target, *made, *python, *objects, *archives, *libraries, *WRAPPED]
    _compile(words)
    _compile([*words, f"-Wl,-Ttext-segment={_base(target):#x}"])


def _base(target: Path) -> int:
    """Return where the program must begin so that a large page begins COLD to COLD + BOUNDARY bytes behind the arena.

    target  the same program, linked without such a choice; the arena is the end of its largest segment
    """
    loads = elf.File(target).segments_of(elf.LOAD)
    last = max(loads, key=lambda load: load.in_memory)
    return loads[0].address + ((-COLD - last.address - last.in_memory) % snapshot.LARGE_PAGE & -BOUNDARY)


def _extensions_of_the_interpreter() -> list[Extension]:
    """Return those of FILES that this CPython has as files."""
    found: list[Extension] = []
    for name in FILES:
        path = Path(sysconfig.get_config_var("DESTSHARED") or "", f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}")
        if path.is_file():
            found.append(Extension(name, path, len(found)))
    return found
