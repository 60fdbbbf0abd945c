"""The runtimes that are compared, and how a measurement is started."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEERS = ("runc", "crun")


def missing():
    """Return the peers that this host does not have."""
    return [name for name in PEERS if not shutil.which(name)]


def versions():
    """Return the version of each peer, and which cgroups the host has."""
    said = {name: subprocess.check_output([name, "--version"], text=True) for name in PEERS}
    found = {name: re.findall(r"version (\d+(?:\.\d+)*)", text)[0] for name, text in said.items()}
    return {**found, "cgroups": "v1" if Path("/sys/fs/cgroup/memory").is_dir() else "v2"}


def measure(program, *, variations="*", environment=None):
    """Return what the variations show: {variation: {runtime: {path: value}}}, ours first.

    program     the path of pyruntime
    variations  which, with * for any text, parted by semicolons
    """
    programs = {"pyruntime": str(program), **{name: shutil.which(name) for name in PEERS}}
    command = [sys.executable, str(HERE / "measure.py"), *(f"{name}={path}" for name, path in programs.items())]
    done = subprocess.run(
        [*command, "--", variations], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True, text=True,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip
    return json.loads(done.stdout)
