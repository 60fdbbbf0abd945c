"""One way of making processes: a configuration, the calls of a runtime, and who calls it."""

from dataclasses import dataclass, field

WAIT = ["/probe", "--wait"]
TO = ("/probe", "--to")
RUN = (("run", "-b", "BUNDLE", "ID"),)
DETACHED = ("run", "-d", "-b", "BUNDLE", "ID")
CREATE = (("create", "-b", "BUNDLE", "ID"), ("start", "ID"), ("wait",), ("delete", "ID"))
EXEC = (DETACHED, ("exec", "ID", *TO, "/out/exec"))


@dataclass(frozen=True)
class Variation:
    """What is done under each runtime. The container's process is the probe, which writes to /out/process.

    changes  of the configuration, each a function (changes.py)
    calls    of the runtime; BUNDLE, ID and WORKER stand for those of the container, and for a process of the caller
    caller   who calls (caller.py)
    before   as many of the calls are an ordinary caller's
    files    beside config.json: name -> JSON
    owner    of the bundle, and of the directory of the runtime's state
    """

    name: str
    changes: tuple = ()
    calls: tuple = RUN
    caller: dict = field(default_factory=dict)
    before: int = 0
    files: dict = field(default_factory=dict)
    owner: int = 0
