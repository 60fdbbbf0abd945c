"""Builds the extension module pyruntime._stub: cffi, API mode, out of line."""

import os
from pathlib import Path

from cffi import FFI

STUB = Path(__file__).resolve().parents[1] / "stub"
# setuptools wants sources relative to the directory of setup.py, which is where this is run.
FOLDER = os.path.relpath(STUB)

# Numbers of the kernel's interface that Python needs, taken from the headers instead of being typed again.
CONSTANTS = """
    MS_RDONLY MS_SYNCHRONOUS MS_DIRSYNC MS_MANDLOCK MS_LAZYTIME MS_I_VERSION MS_SILENT MS_BIND MS_SHARED
    MS_SLAVE MS_PRIVATE MS_UNBINDABLE MOUNT_ATTR_RDONLY MOUNT_ATTR_NOSUID MOUNT_ATTR_NODEV MOUNT_ATTR_NOEXEC
    MOUNT_ATTR__ATIME MOUNT_ATTR_NOATIME MOUNT_ATTR_STRICTATIME MOUNT_ATTR_NODIRATIME MOUNT_ATTR_NOSYMFOLLOW
    CLONE_NEWNS CLONE_NEWCGROUP CLONE_NEWUTS CLONE_NEWIPC CLONE_NEWUSER CLONE_NEWPID CLONE_NEWNET
    CLONE_NEWTIME PR_CAPBSET_READ PR_SET_CHILD_SUBREAPER RESOLVE_IN_ROOT RESOLVE_BENEATH RESOLVE_NO_MAGICLINKS
"""

HEADERS = [
    "plan.h",
    "python_calls.h",
    "capabilities.h",
    "signals.h",
    "terminal_relay.h",
    "foreground.h",
    "seccomp_filter.h",
    "landlock.h",
    "execute.h",
    "sockets.h",
    "status.h",
    "devices_bpf.h",
]
SOURCES = [
    "syscalls.c",
    "paths.c",
    "mount2.c",
    "mount_targets.c",
    "mount_attributes.c",
    "filesystems.c",
    "procfs.c",
    "bind_mounts.c",
    "masked_paths.c",
    "copyup.c",
    "devices.c",
    "console.c",
    "root.c",
    "no_pivot.c",
    "sysctl.c",
    "trace.c",
    "steps.c",
    "spawn.c",
    "init.c",
    "messages.c",
    "python_calls.c",
    "capabilities.c",
    "signals.c",
    "terminal_relay.c",
    "foreground.c",
    "seccomp_filter.c",
    "seccomp_check.c",
    "landlock.c",
    "process.c",
    "execute.c",
    "detach.c",
    "mapped_files.c",
    "sockets.c",
    "status.c",
    "devices_bpf.c",
]

WARNINGS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-D_GNU_SOURCE"]


def declarations(header):
    """Return the part of a header that cffi reads: what follows its "cdef:" line, up to the guard's #endif."""
    text = (STUB / header).read_text()
    return text.split("/* cdef:", 1)[1].split("*/", 1)[1].rsplit("#endif", 1)[0]


headers = [header for header in HEADERS if (STUB / header).exists()]
sources = [source for source in SOURCES if (STUB / source).exists()]

ffibuilder = FFI()
ffibuilder.cdef("\n".join(f"#define {name} ..." for name in CONSTANTS.split()))
for header in headers:
    ffibuilder.cdef(declarations(header))
ffibuilder.set_source(
    "pyruntime._stub",
    "\n".join(f"#include {header}" for header in ['"syscalls.h"', "<sys/prctl.h>", *(f'"{name}"' for name in headers)]),
    sources=[f"{FOLDER}/{source}" for source in sources],
    include_dirs=[FOLDER],
    depends=[f"{FOLDER}/{name.name}" for name in STUB.glob("*.h")],
    extra_compile_args=WARNINGS,
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
