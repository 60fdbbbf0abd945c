"""The C build, and what is generated beside it; everything else about the project stands in setup.cfg."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build import build
from setuptools.command.build_py import build_py
from wheel.bdist_wheel import bdist_wheel

try:
    from setuptools.command.build_scripts import build_scripts
except ImportError:  # it moved from distutils into setuptools with version 69
    from distutils.command.build_scripts import build_scripts

sys.path.insert(0, str(Path(__file__).parent / "csrc/build"))
import interpreter  # noqa: E402
import program  # noqa: E402

# The first process of a sandbox, in the package: pyruntime/sandbox.
AGENT = "csrc/sandbox/agent.c"
SCHEMAS = "spec-fixtures/schema"


class Build(build):
    """Says what is missing before anything is half built."""

    def run(self):
        missing = interpreter.what_is_missing()
        if missing:
            sys.exit(f"pyruntime: {missing}")
        super().run()


class BuildPython(build_py):
    """Copies the packages, then adds to them the checks compiled from the schemas."""

    def run(self):
        super().run()
        # By path: importing it by name would take the package of the source tree, which is not built.
        compiler = runpy.run_path("generate/checks.py")
        compiler["generate"](SCHEMAS, str(Path(self.build_lib, "pyruntime", "spec")))
        compile_agent(Path(self.build_lib, "pyruntime", "sandbox", "agent"))


class BuildLauncher(build_scripts):
    """Builds the one script, which is a program: a wheel carries it like any script, pip installs bin/pyruntime."""

    def run(self):
        target = Path(self.build_dir, "pyruntime")
        target.parent.mkdir(parents=True, exist_ok=True)
        package = Path(self.get_finalized_command("build_py").build_lib, "pyruntime")
        cffi, reason = program.ingredients(Path(".cache"))
        (package / "base/_build.py").write_text(f"WHY_NO_SNAPSHOT = {reason!r}\n")
        if cffi is None:
            program.build_plain(target)
        else:
            program.build(target, package, target.parent.parent / "program", cffi)


class Wheel(bdist_wheel):
    """A wheel of this interpreter and machine: the launcher holds the one's paths and the other's code."""

    def finalize_options(self):
        super().finalize_options()
        self.root_is_pure = False


def compile_agent(target):
    """Compile the first process of a sandbox; static, because the container's root filesystem may have no C library."""
    compiler = os.environ.get("CC", "cc").split()
    flags = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-fstack-protector-strong", "-s"]
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([*compiler, *flags, "-static", AGENT, "-o", str(target)], check=True)


setup(
    cffi_modules=["csrc/build/stub.py:ffibuilder", "csrc/build/seccomp.py:ffibuilder"],
    scripts=["csrc/launcher/launcher.c"],
    cmdclass={"build": Build, "build_py": BuildPython, "build_scripts": BuildLauncher, "bdist_wheel": Wheel},
)
