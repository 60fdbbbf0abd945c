"""containerd 2, which no release of Debian has: built from its modules, kept in .cache."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import golang

VERSION = "v2.2.0"
NEEDS_GO = (1, 24)
CACHE = Path(__file__).parents[2] / ".cache" / f"containerd-{VERSION}"
PROGRAMS = tuple(
    f"github.com/containerd/containerd/v2/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")
)


def get() -> Path:
    """Return the directory with containerd, its shim and ctr; build them where missing. Raises golang.GoError."""
    programs = CACHE / "bin"
    if not programs.is_dir():
        tool = golang.find(NEEDS_GO, CACHE)
        # containerd's own module excludes versions of others, which `go install` refuses to do for it.
        (CACHE / "go.mod").unlink(missing_ok=True)
        golang.run(tool, "mod", "init", "containerd2", folder=CACHE)
        golang.run(tool, "get", *(f"{program}@{VERSION}" for program in PROGRAMS), folder=CACHE)
        unfinished = CACHE / "bin.new"
        unfinished.mkdir(exist_ok=True)
        golang.run(
            tool, "build", "-o", f"{unfinished}/", "-ldflags=-s -w", "-tags", "no_btrfs", *PROGRAMS, folder=CACHE
        )
        unfinished.rename(programs)  # at once: its presence says that all is there
    return programs
