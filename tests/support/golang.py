"""Programs in Go that are built for the tests: which Go builds them, and how it is called."""

import json
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

TOOLCHAIN = "golang.org/toolchain@v0.0.1-go1.26.8"  # where the machine's own Go is older: Debian 12 has 1.19
PAUSES = (0, 3, 10)  # seconds before each try


class GoError(Exception):
    """There is no Go, or it did not do what it was called for."""


def architecture() -> str:
    """Return this machine's architecture in Go's words."""
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def run(tool: str, *words: str, folder: Path, **environment: str) -> str:
    """Run the Go `tool` in `folder`, return its output; what it says besides goes to stderr. Raises GoError.

    It is run again where it fails: Go does not ask a proxy twice that answers with an error.
    """
    # Static, because some of what is built runs without libraries; no other Go than the one asked for.
    variables = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", **environment}
    folder.mkdir(parents=True, exist_ok=True)
    for pause in PAUSES:
        time.sleep(pause)
        done = subprocess.run([tool, *words], env=variables, cwd=folder, check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode == 0:
            return done.stdout
    raise GoError(f"{tool} {words[0]}: status {done.returncode}\n{done.stdout}")


def downloaded(tool: str, module: str, folder: Path) -> Path:
    """Return the directory of the files of `module` (PATH@VERSION), which Go gets and checks. Raises GoError."""
    return Path(json.loads(run(tool, "mod", "download", "-json", module, folder=folder))["Dir"])


def find(needs: tuple[int, int], folder: Path) -> str:
    """Return the path of a Go of version `needs` or later: one of this machine, or one that an older Go gets.

    folder  a directory to run it in

    Raises GoError where there is no Go at all.
    """
    older = ""
    for place in (shutil.which("go"), "/usr/local/go/bin/go", *map(str, sorted(Path("/usr/lib").glob("go-*/bin/go")))):
        if not place or not os.access(place, os.X_OK):
            continue
        said = run(place, "env", "GOVERSION", folder=folder).strip()
        numbers = said.removeprefix("go").split(".")[:2]
        if all(number.isdigit() for number in numbers) and tuple(map(int, numbers)) >= needs:
            return place
        older = place
    if not older:
        raise GoError(f"no Go: {'.'.join(map(str, needs))} or later is needed")
    got = downloaded(older, f"{TOOLCHAIN}.linux-{architecture()}", folder)
    # What is got as a module has no execute bits.
    for program in (*(got / "bin").iterdir(), *(got / "pkg/tool").glob("*/*")):
        program.chmod(0o755)
    return str(got / "bin/go")
