"""The sandbox's ruleset of Landlock: read and execute everywhere, write where the program may, no signals outwards.

It repeats the restrictions of the mounts, as a second defence if a mount should be wrong.
"""

import json

from pyruntime.sandbox.root import WORKSPACE
from pyruntime.sandbox.settings import Settings

# What Landlock allows on paths: names of landlock(7).
READ = ("execute", "read_file", "read_dir")
MAKE = ("remove_dir", "remove_file", "make_dir", "make_reg", "make_sock", "make_fifo", "make_sym")
WRITE = (*READ, "write_file", *MAKE, "refer", "truncate")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def writable_paths(settings: Settings) -> "list[str]":
    """Return the directories that the program may write to."""
    return [WORKSPACE, "/tmp", "/dev/shm", *(destination for _, destination, writable in settings.mounts if writable)]


def ruleset(settings: Settings) -> "dict[str, str]":
    """Return the annotation."""
    rules = [
        {"allowedAccess": list(READ), "paths": ["/"]},
        {"allowedAccess": list(WRITE), "paths": writable_paths(settings)},
        {"allowedAccess": ["read_file", "write_file"], "paths": [f"/dev/{name}" for name in DEVICES] + ["/dev/pts"]},
        {"allowedAccess": ["write_file"], "paths": ["/proc"]},
    ]
    document = {
        "ruleset": {
            "handledAccessFS": [*WRITE, "make_char", "make_block"],
            "scoped": ["abstract_unix_socket", "signal"],
        },
        "rules": {"pathBeneath": rules},
    }
    return {"org.pyruntime.landlock": json.dumps(document)}
