"""What is varied: the configuration, the verb that makes a process, and the caller of the runtime."""

import signal
from dataclasses import dataclass, field

from changes import (
    linux,
    mapped,
    process,
    top,
    user,
    without,
)

RUN = (("run", "-b", "BUNDLE", "ID"),)
CREATE = (("create", "-b", "BUNDLE", "ID"), ("start", "ID"), ("wait",), ("delete", "ID"))


@dataclass(frozen=True)
class Variation:
    """One way of making processes.

    changes  of the configuration whose process is the probe, each a function (changes.py)
    calls    of the runtime; BUNDLE and ID stand for those of the container
    caller   who calls (caller.py)
    before   as many of the calls are an ordinary caller's
    files    beside config.json: name -> JSON
    """

    name: str
    changes: tuple = ()
    calls: tuple = RUN
    caller: dict = field(default_factory=dict)
    before: int = 0
    files: dict = field(default_factory=dict)


def _config(name, *changes, **more):
    return Variation(name, changes, **more)


def _caller(name, verbs=("run", "create", "exec"), **caller):
    """Vary the caller of each of `verbs`."""
    caller = {name.replace("_", " "): value for name, value in caller.items()}
    calls = {"run": RUN, "create": CREATE, "exec": EXEC}
    return [
        Variation(f"caller: {name}, {verb}", (process(args=WAIT),) if verb == "exec" else (), calls[verb], caller,
                  before=verb == "exec")
        for verb in verbs
    ]  # fmt: skip


WAIT = ["/probe", "--wait"]
TO = ("/probe", "--to")
EXEC = (("run", "-d", "-b", "BUNDLE", "ID"), ("exec", "ID", *TO, "/out/exec"))


CONFIGURATIONS = [
    _config("as it is"),
    _config("as it is, created", calls=CREATE),
    _config("env twice", process(env=["A=1", "PATH=/bin", "B=2", "A=3", "TERM=x", "PATH=/usr/bin"])),
    _config("env none", process(env=[])),
    _config("env HOME twice", process(env=["HOME=/a", "HOME=/b"])),
    _config("uid 1000", user(uid=1000, gid=1000)),
    _config("additional groups", user(additionalGids=[5, 3, 4, 3])),
    _config("umask 0", user(umask=0)),
    _config("umask 0o777", user(umask=0o777)),
    _config("no mounts", top(mounts=[])),
    _config("cwd that is not there", process(cwd="/is/not/there")),
    _config("no namespaces but mount", linux(namespaces=[{"type": "mount"}]), without("hostname")),
    _config("user namespace", mapped()),
]

VERBS = [
    Variation("exec", (process(args=WAIT),), (
        ("run", "-d", "-b", "BUNDLE", "ID"),
        ("exec", "ID", *TO, "/out/plain"),
        ("exec", "--user", "1000:1000", "ID", *TO, "/out/user"),
        ("exec", "--env", "A=1", "--env", "A=2", "--env", "PATH=/x", "ID", *TO, "/out/env"),
        ("exec", "--cwd", "/tmp", "ID", *TO, "/out/cwd"),
        ("exec", "--cap", "CAP_SYS_ADMIN", "ID", *TO, "/out/cap"),
        ("exec", "--no-new-privs", "ID", *TO, "/out/no-new-privs"),
        ("exec", "ID", "/is/not/there"),
    )),
]  # fmt: skip

CALLERS = [
    *_caller("umask 077", umask=0o077),
    *_caller("one CPU", affinity=[0]),
    *_caller("nice 5", nice=5),
    *_caller("ignored signals", ignored=[signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGUSR1, 40]),
    *_caller("blocked signals", blocked=[signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD, 40]),
    *_caller("deleted cwd", deleted_cwd=True),
    *_caller("pipes", stdio=("pipe", "pipe", "pipe")),
    *_caller("streams closed", stdio=("closed", "closed", "closed")),
]

VARIATIONS = [*CONFIGURATIONS, *VERBS, *CALLERS]
