"""The source of cffi's backend, of the version that generates the stub: the program has it linked in."""

import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

WANTED = version("cffi")
MACROS = ["-DFFI_BUILDING=1", "-DUSE__THREAD", "-DHAVE_SYNC_SYNCHRONIZE"]


def fetch(cache: Path) -> "Path | None":
    """Return the directory of cffi's C sources, from `cache` or from where pip has it; None where it cannot be had."""
    folder = cache / f"cffi-{WANTED}"
    if not (folder / "src/c/_cffi_backend.c").is_file():
        cache.mkdir(parents=True, exist_ok=True)
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-binary", "cffi", "--dest", str(cache)]
        words = [sys.executable, "-m", "pip", "download", *options, f"cffi=={WANTED}"]
        if subprocess.run(words, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
            return None
        with tarfile.open(cache / f"cffi-{WANTED}.tar.gz") as archive:
            for member in archive.getmembers():
                if member.isfile() and member.name.startswith(f"cffi-{WANTED}/src/") and ".." not in member.name:
                    archive.extract(member, cache)
    return folder / "src/c"
