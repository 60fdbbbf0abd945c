"""Builds the executable: with a snapshot where that can be, otherwise the one that executes the interpreter."""

import runpy
import subprocess
import sys
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
# What is filled in once at the start is written to by nobody else.
FULL_RELRO = ["-Wl,-z,relro,-z,now"]
# The linker is told where the data of the C library and of others goes.
APART = Path("csrc/build/c_library.ld")
STRICT = ["-std=gnu11", "-Wall", "-Wextra", "-Werror"]
# What csrc/launcher/arena.c answers in the place of the C library.
ANSWERED = ("malloc", "calloc", "realloc", "free", "pthread_self", "pthread_getattr_np", "_PyCode_New")
# What csrc/launcher/loader.c answers: there is no dynamic linker.
LOADING = ("dlopen", "dlsym", "dlclose", "dlerror")
# And where the C library would load name services (nsswitch.conf(5)).
NAMING = """
    getpwuid_r getpwnam_r getgrgid_r getgrnam_r getpwent getgrent getspent getspnam setpwent setgrent setspent endpwent
    endgrent endspent getgrouplist initgroups getaddrinfo gethostbyaddr_r gethostbyname_r getprotobyname getservbyname
    getservbyport
""".split()  # noqa: SIM905  # one paragraph reads better
# What nobody answers, so that it is not called: from GCC 13 on it would read all tables for exceptions at each start.
UNANSWERED = ("__register_frame_info", "__deregister_frame_info")
WRAPPED = [f"-Wl,--wrap={name}" for name in (*ANSWERED, *LOADING, *NAMING, *UNANSWERED)]
# In bytes: the alignment of segments, on any processor; the first part of the snapshot's arena, which is seldom used
# (the attributes of libpython's types). The large page behind it holds what most verbs use.
BOUNDARY, COLD = 64 << 10, 512 << 10
# The modules that verbs use, jeepney's among them, and that some builds of CPython have as files.
FILES = ("_json", "fcntl", "select", "_posixsubprocess", "_socket", "math", "_struct", "array", "binascii")


def ingredients(cache: Path) -> tuple["Path | None", str]:
    """Return the directory of cffi's sources, which the snapshot needs, and ""; or None, and why there can be none.

    cache  directory for what is fetched
    """
    reason = interpreter.why_no_snapshot() or _why_no_extensions()
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
    data, libraries = [], []
    for extension in _extensions_of_the_interpreter():
        functions.append((extension.name, extension.function))
        data += extension.data
        libraries += map(interpreter.archive_of, extension.libraries)
        assembly = folder / f"{extension.name}.s"
        assembly.write_text(extension.assembly)
        objects += [assembly, *extension.options]
    freeze.write_header(package, folder / "modules.h", functions, data)

    sources = [LAUNCHER / name for name in ("snapshot.c", "cpython.c", "arena.c", "loader.c", "waiter.c")]
    made = _objects([*OWN, *sources], folder, [*fixed, *STRICT, *_places(), "-DSNAPSHOT", f"-I{folder}"])
    archives = [interpreter.archive_of(name) for name in ("ffi", "seccomp")] + libraries
    python = interpreter.objects(folder / "libpython")
    static = ["-static", *FULL_RELRO, f"-Wl,-T,{APART}"]
    words = [*static, "-s", "-o", target, *made, *python, *objects, *archives, *interpreter.libraries(), *WRAPPED]
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
        if path.is_file() and name not in sys.builtin_module_names:
            found.append(Extension(name, path, len(found)))
    return found


def _why_no_extensions() -> str:
    """Return why those modules cannot be linked in, "" where they can."""
    for extension in _extensions_of_the_interpreter():
        for library in extension.libraries:
            if interpreter.archive_of(library) is None:
                return f"the static library of {library} is missing, which this Python's {extension.name} needs"
    return ""
