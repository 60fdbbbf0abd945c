"""The C build, and what is generated beside it; everything else about the project stands in setup.cfg."""

import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from wheel.bdist_wheel import bdist_wheel

try:
    from setuptools.command.build_scripts import build_scripts
except ImportError:  # it moved from distutils into setuptools with version 69
    from distutils.command.build_scripts import build_scripts

LAUNCHER = "csrc/launcher/launcher.c"
SOURCES = [LAUNCHER, "csrc/launcher/seal.c", "csrc/stub/sockets.c"]
# What csrc/launcher/snapshot.c answers in the place of the C library.
WRAPPED = [f"-Wl,--wrap={name}" for name in ("malloc", "calloc", "realloc", "free", "pthread_self")]
# The launcher that loads libpython, in the package.
SMALL = "launcher"
SCHEMAS = "spec-fixtures/schema"
# The objects of libpython that verbs run. Together they share few pages with the compiler, the parser and the codecs.
HOT = """
    _iomodule _stat _threadmodule _warnings abstract bltinmodule boolobject bytearrayobject bytes_methods
    bytesobject call capsule cellobject ceval classobject codecs codeobject descrobject dictobject dynload_shlib
    enumobject errnomodule errors exceptions fcntlmodule fileobject fileutils floatobject formatter_unicode frame
    frameobject funcobject gcmodule genobject getargs import importdl initconfig listobject longobject memoryobject
    methodobject modsupport moduleobject mysnprintf object obmalloc posixmodule pyhash pylifecycle pystate pytime
    selectmodule setobject signalmodule sliceobject specialize structmember structseq sysmodule thread timemodule
    traceback tupleobject typeobject unicodectype unicodeobject weakrefobject
"""


class BuildPython(build_py):
    """Copies the packages, then adds to them the checks compiled from the schemas."""

    def run(self):
        super().run()
        # By path: importing it by name would take the package of the source tree, which is not built.
        compiler = runpy.run_path("pyruntime/spec/build_checks.py")
        compiler["generate"](SCHEMAS, str(Path(self.build_lib, "pyruntime", "spec")))


class BuildLauncher(build_scripts):
    """Builds the one script, which is a program: a wheel carries it like any script, pip installs bin/pyruntime."""

    def run(self):
        target = Path(self.build_dir, "pyruntime")
        target.parent.mkdir(parents=True, exist_ok=True)
        frozen = target.parent.parent / "frozen.h"
        package = Path(self.get_finalized_command("build_py").build_lib, "pyruntime")
        runpy.run_path("csrc/build/freeze.py")["write_header"](package, frozen)
        definitions = [f'-D{name}="{value}"' for name, value in interpreter().items()]
        includes = [f"-I{sysconfig.get_path('include')}", f"-I{frozen.parent}", "-Icsrc/stub"]
        archive = static_library()
        if archive is None:
            compile_launcher(target, definitions, includes)
            return
        # The small one is what is copied where the other one cannot be sealed in place (csrc/launcher/launcher.c).
        compile_launcher(package / SMALL, definitions, includes)
        definitions += ["-DSTATIC_PYTHON", f'-DSMALL="{SMALL}"']
        python = [*objects(archive, target.parent.parent / "libpython"), "-Wl,--export-dynamic"]
        libraries = ["-fno-pie", "-no-pie", *python, *needed_by_python()]
        # It needs to know the insides of the interpreter, and the dynamic linker's tables for the processor.
        if sys.version_info[:2] == (3, 11) and sysconfig.get_config_var("MULTIARCH") == "x86_64-linux-gnu":
            definitions.append("-DSNAPSHOT")
            compile_launcher(target, definitions, includes, [*libraries, *WRAPPED], ["csrc/launcher/snapshot.c"])
            runpy.run_path("csrc/build/snapshot.py")["store"](target)
        else:
            compile_launcher(target, definitions, includes, libraries)


class Wheel(bdist_wheel):
    """A wheel of this interpreter and machine: the launcher holds the one's paths and the other's code."""

    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = False


def compile_launcher(target, definitions, includes, libraries=(), sources=()):
    """Compile and link the launcher."""
    compiler = os.environ.get("CC", "cc").split()
    flags = ["-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-fstack-protector-strong", "-s"]
    command = [*compiler, *flags, *includes, *definitions, *SOURCES, *sources, "-o", str(target), *libraries, "-ldl"]
    subprocess.run(command, check=True)


def static_library():
    """Return the archive of libpython to link into the launcher, or None: then it loads the shared library.

    PYRUNTIME_LINK=shared in the environment asks for that. Debian's archive is known to work: those that other builds
    of Python leave behind may be for link-time optimization by another compiler, or lack what they need themselves.
    """
    archive = Path(sysconfig.get_config_var("LIBPL") or "", sysconfig.get_config_var("LIBRARY") or "")
    wanted = os.environ.get("PYRUNTIME_LINK") != "shared" and "deb_system" in sysconfig.get_scheme_names()
    return (
        archive
        if wanted and sys.version_info[:2] == (3, 11) and interpreter()["LIBPYTHON"] and archive.is_file()
        else None
    )


def objects(archive, folder):
    """Extract the objects of the archive of libpython into `folder`, and return their paths, the HOT ones first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    subprocess.run(["ar", "x", archive.resolve()], cwd=folder, check=True)
    hot = HOT.split()
    return sorted(map(str, folder.glob("*.o")), key=lambda path: (Path(path).stem not in hot, path))


def needed_by_python():
    """Return the linker's words for the libraries that libpython needs."""
    words = [word for name in ("MODLIBS", "LIBS", "SYSLIBS") for word in sysconfig.get_config_var(name).split()]
    # Debian's python3-dev brings the archives of these two; each library that is not loaded is time.
    static = [word for word in ("-lz", "-lexpat") if word in words]
    shared = [word for word in dict.fromkeys(words) if word not in static]
    return ["-Wl,-Bstatic", *static, "-Wl,-Bdynamic", "-Wl,--exclude-libs,libz.a:libexpat.a", *shared]


def interpreter():
    """Return what csrc/launcher/launcher.c is told about the interpreter: the names of its macros with their values."""
    shared = sysconfig.get_config_var("Py_ENABLE_SHARED")
    library = Path(sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("INSTSONAME") or "")
    debian = "deb_system" in sysconfig.get_scheme_names()
    return {
        "LIBPYTHON": library if shared and library.is_file() else "",
        "INTERPRETER": Path(sys.executable).resolve(),
        "STDLIB": sysconfig.get_path("stdlib"),
        "DYNLOAD": sysconfig.get_config_var("DESTSHARED"),
        "PREFIX": sys.base_prefix,
        # The system's, and not what lies in the same place of a virtual environment in which this is built.
        "SYSTEM_PACKAGES": sysconfig.get_path("purelib", "deb_system", {"base": sys.base_prefix}) if debian else "",
    }


setup(
    cffi_modules=["csrc/build/stub.py:ffibuilder", "csrc/build/seccomp.py:ffibuilder"],
    scripts=[LAUNCHER],
    cmdclass={"build_py": BuildPython, "build_scripts": BuildLauncher, "bdist_wheel": Wheel},
)
