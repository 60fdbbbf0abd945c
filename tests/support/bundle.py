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


def busybox() -> Path:
    """Return the path of a statically linked busybox. Raises FileNotFoundError where there is none."""
    for place in (shutil.which("busybox"), "/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"):
        # A dynamic program names its loader near its beginning.
        if place and Path(place).is_file() and b"/ld-" not in Path(place).read_bytes()[:4096]:
            return Path(place).resolve()
    raise FileNotFoundError("no statically linked busybox: install busybox-static")


def make_rootfs(path: Path) -> Path:
    """Make a root filesystem in the new directory `path`: busybox with a link for each of its applets."""
    program = busybox()
    for name in ("bin", "dev", "etc", "home", "proc", "root", "sys", "tmp", "usr", "var"):
        (path / name).mkdir(parents=True)
    (path / "tmp").chmod(0o1777)
    for name in ("sbin", "usr/bin", "usr/sbin"):
        (path / name).symlink_to("/bin")
    shutil.copy(program, path / "bin/busybox")
    (path / "bin/busybox").chmod(0o755)
    for applet in subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split():
        if applet != "busybox":
            (path / "bin" / applet).symlink_to("busybox")
    (path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n")
    (path / "etc/group").write_text("root:x:0:\ntty:x:5:\nnogroup:x:65534:\n")
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
    config["process"]["terminal"] = False
    if rootfs is not None:
        config["root"]["path"] = str(rootfs)
    if change is not None:
        change(config)
    file.write_text(json.dumps(config, indent=2))
    return path


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
