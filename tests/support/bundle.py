"""Bundles made from static busybox: for the tests, for the benchmark, and for `make run`.

`python3 tests/support/bundle.py DIRECTORY` makes the bundle that `make run` runs.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyruntime.host import busybox

Config = dict[str, Any]

# What a newcomer sees first: the container describes itself.
HELLO = """\
#!/bin/sh
echo
echo "  Hello from a container made by pyruntime."
echo
line() { printf '  %-13s%s\\n' "$@"; }
line hostname "$(hostname)" pid "$$" user "$(id -un), uid $(id -u)" kernel "$(uname -sr)"
line interfaces "$(ls -x /sys/class/net)" capabilities "$(awk '/^CapEff/ {print $2}' /proc/self/status)"
line root "$(awk '$2 == "/" {print $3, substr($4, 1, 2)}' /proc/mounts)"
line mounts "$(awk '$2 != "/" {print $2}' /proc/mounts | grep -Ev '^/(proc|sys|dev)/' | tr '\\n' ' ')"
echo
echo "  Its processes, which are all it can see:"
ps -o pid,user,comm | sed 's/^/  /'
echo
"""


def make_rootfs(path: Path) -> Path:
    """Make a root filesystem in the new directory `path`: busybox with a link for each of its applets."""
    busybox.make_rootfs(str(path), busybox.find())
    return path


def make_bundle(
    path: Path,
    runtime: Path,
    change: Callable[[Config], None] | None = None,
    rootfs: Path | None = None,
    rootless: bool = False,
) -> Path:
    """Make a bundle in the new directory `path`, its config.json written by `RUNTIME spec` and then changed.

    change  called with the configuration, which it changes in place; the terminal is off before
    rootfs  a root filesystem to use as it is; without it one is made inside the bundle
    """
    path.mkdir(parents=True)
    if rootfs is None:
        make_rootfs(path / "rootfs")
    options = ["--rootless"] if rootless else []
    subprocess.run([runtime, "spec", "--bundle", path, *options], check=True)
    file = path / "config.json"
    config = json.loads(file.read_text())
    with_cgroup_namespace(config)
    config["process"]["terminal"] = False
    if rootfs is not None:
        config["root"]["path"] = str(rootfs)
    if change is not None:
        change(config)
    file.write_text(json.dumps(config, indent=2))
    return path


def with_cgroup_namespace(config: Config) -> Config:
    """Add a cgroup namespace to the configuration that `spec` writes, which has one only on a host with v2 alone."""
    namespaces = config["linux"]["namespaces"]
    if {"type": "cgroup"} not in namespaces:
        namespaces.append({"type": "cgroup"})
    return config


def copy_program(program: Path, target: Path) -> Path:
    """Copy the installed program with its packages into the new directory `target`, and return the copy.

    For an ordinary user: the project may lie where such a user cannot go.
    """
    packages = f"lib/python{sysconfig.get_python_version()}/site-packages"
    source = program.resolve().parents[1] / packages
    shutil.copytree(source / "pyruntime", target / packages / "pyruntime")
    for file in source.glob("_cffi_backend*.so"):
        shutil.copy(file, target / packages)
    (target / "bin").mkdir()
    return Path(shutil.copy(program, target / "bin/pyruntime"))


def _hello(config: Config) -> None:
    config["hostname"] = "hello"
    config["process"]["args"] = ["/bin/hello"]


if __name__ == "__main__":
    target = Path(sys.argv[1])
    shutil.rmtree(target, ignore_errors=True)
    make_bundle(target, Path(sys.executable).with_name("pyruntime"), _hello, rootless=os.geteuid() != 0)
    (target / "rootfs/bin/hello").write_text(HELLO)
    (target / "rootfs/bin/hello").chmod(0o755)
