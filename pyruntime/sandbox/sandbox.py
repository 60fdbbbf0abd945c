"""The sandbox: its limits, and the containers made with them."""

import json
import os
import secrets
import subprocess
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import pyruntime
from pyruntime.sandbox import arguments, place
from pyruntime.sandbox import root as roots
from pyruntime.sandbox.maker import Maker
from pyruntime.sandbox.program import Program, Runner
from pyruntime.sandbox.result import Result, SandboxError
from pyruntime.sandbox.session import Session
from pyruntime.sandbox.settings import Settings

if TYPE_CHECKING:
    from pyruntime.sandbox.aio import AsyncSession
    from pyruntime.sandbox.pool import Pool

_PATH = "/usr/local/bin:/usr/bin:/bin"


class Sandbox(Maker, Runner):
    """What a program may use, and what it may not. Makes any number of containers; safe for threads.

    root          what is there, read-only: "/", the software of this host (/usr, /etc, /opt, no homes, no data), or a
                  directory with a root filesystem
    image         instead of it: "oci:LAYOUT:TAG", an image as skopeo and umoci keep them
    memory        bytes, or "64M": of all programs of a container together; None for no limit
    cpus          processors that may be busy at a time
    pids          processes and threads at a time
    disk          bytes of the workspace /work, of /tmp and of /dev/shm, each; they are memory, and count as such
    output_limit  bytes that a program may write to stdout and stderr; one that writes more is killed
    network       False: none but its own loopback; or the path of a network namespace
    user          who runs it: a name of the root's /etc/passwd, UID, or "UID:GID"; nobody's ids on the host
    env           its environment beside PATH, HOME, LANG, TMPDIR
    mounts        (source, destination, "ro" or "rw")
    hide          paths of the root that are empty for it
    seccomp       "default", a linux.seccomp of config.json, or None for no filter
    landlock      restrict it with Landlock, where the kernel has it
    limits        "require": a limit that cannot be set is a SandboxError; "best-effort": a field of the result
    hostname      what it finds as the name of its machine

    Raises ValueError that names the argument that is wrong.
    """

    def __init__(
        self,
        *,
        root: "str | os.PathLike[str] | None" = None,
        image: "str | None" = None,
        memory: "int | str | None" = "256M",
        cpus: "float | None" = 1.0,
        pids: "int | None" = 64,
        disk: "int | str" = "64M",
        output_limit: "int | str" = "1M",
        network: "Literal[False] | str | os.PathLike[str]" = False,
        user: "str | int" = "nobody",
        env: "dict[str, str] | None" = None,
        mounts: "Iterable[tuple[str | os.PathLike[str], str, str]]" = (),
        hide: "Iterable[str]" = (),
        seccomp: "Literal['default'] | dict[str, Any] | None" = "default",
        landlock: bool = True,
        limits: 'Literal["require", "best-effort"]' = "require",
        hostname: str = "sandbox",
    ) -> None:
        if root is not None and image is not None:
            raise ValueError("image: expected no root beside it")
        if limits not in ("require", "best-effort"):
            raise ValueError(f'limits: expected "require" or "best-effort", not {limits!r:.80}')
        image_env: dict[str, str] = {}
        if image is not None:
            where, image_env = pyruntime.sandbox.image.unpacked(image)
        else:
            where = roots.find("/" if root is None else root)
        most = arguments.size("output_limit", output_limit, 0)
        uid, gid = roots.user(where, user)
        variables = {
            "PATH": _PATH,
            **image_env,
            "HOME": roots.WORKSPACE,
            "LANG": "C.UTF-8",
            "TMPDIR": "/tmp",
            **arguments.environment("env", {} if env is None else env),
        }
        settings = Settings(
            memory=None if memory is None else arguments.size("memory", memory, 1 << 20),
            cpus=None if cpus is None else arguments.number("cpus", cpus, 0.01, 4096),
            pids=None if pids is None else arguments.count("pids", pids),
            disk=arguments.size("disk", disk, 4096),
            network=_network(network),
            uid=uid,
            gid=gid,
            env=variables,
            mounts=_mounts(mounts),
            hide=_hidden(where, hide),
            seccomp=_filter(seccomp),
            landlock=bool(landlock),
            hostname=_hostname(hostname),
            range=secrets.randbelow(1 << 30),
        )
        super().__init__(where, variables, most, settings, require=limits == "require")
        # A destination without a place is an error now, not when the first container is made.
        self._check_destinations()

    def _check_destinations(self) -> None:
        directories, links = roots.entries(self.root)
        for _, destination, _ in self._settings.mounts:
            first = destination.split("/")[1]
            if first in links:
                raise ValueError(f"mounts: /{first} of {destination!r:.200} is a link in the root")
            if first in directories and not os.path.lexists(os.path.join(self.root, destination[1:])):
                raise ValueError(f"mounts: {destination!r:.200} is not in the root, which cannot be written")
            if (first in roots.OWN and destination.count("/") < 2) or destination.startswith(("/proc", "/dev", "/sys")):
                raise ValueError(f"mounts: {destination!r:.200} is the sandbox's own")

    # ---- what it is made of ----

    def config(self) -> "dict[str, Any]":
        """Return the config.json of its containers."""
        bundle = self._prepare()
        document: dict[str, Any] = json.loads((bundle / "config.json").read_text())
        return document

    def plan(self) -> str:
        """Return the steps by which its containers are made, as `pyruntime plan` prints them. Raises SandboxError."""
        command = [place.program(), "plan", "--bundle", str(self._prepare())]
        done = subprocess.run(
            command, env=place.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SandboxError(done.stderr.strip())
        return done.stdout

    # ---- containers ----

    def _run(self, program: Program, timeout: "float | None", *, inherit: bool = False) -> Result:
        container = self._container()
        try:
            return self._start(container, program, last=True, inherit=inherit).await_start().wait(timeout)
        finally:
            container.close()

    def open(self) -> Session:
        """Return a container that stays, for many programs and for files. To be used with `with`, or closed."""
        container = self._container()
        container.await_start()
        return Session(self, container)

    def open_async(self) -> "AsyncSession":
        """Return the same for asyncio, to be used with `async with`."""
        return pyruntime.sandbox.aio.AsyncSession(self.open)

    def pool(self, size: int) -> "Pool":
        """Return a pool that keeps `size` containers ready. To be used with `with`, or closed."""
        return pyruntime.sandbox.pool.Pool(self, arguments.count("size", size, 1, 1000))


def _network(value: object) -> str:
    if value is False:
        return ""
    if value is True:
        raise ValueError("network: expected False, or the path of a network namespace; the host's is never shared")
    path = os.path.abspath(arguments.text("network", value))
    if not os.path.exists(path):
        raise ValueError(f"network: {path!r:.200} does not exist")
    return path


def _hostname(value: object) -> str:
    name = arguments.text("hostname", value)
    if not name or len(os.fsencode(name)) > 64:
        raise ValueError(f"hostname: expected 1 to 64 bytes, not {name!r:.80}")
    return name


def _filter(value: object) -> "dict[str, Any] | None":
    if value == "default":
        return pyruntime.sandbox.seccomp.profile()
    if value is None or isinstance(value, dict):
        return value
    raise ValueError(f'seccomp: expected "default", a profile as a dict, or None, not {value!r:.80}')


def _mounts(values: "Iterable[Any]") -> "tuple[tuple[str, str, bool], ...]":
    found = []
    for value in values:
        if not isinstance(value, (tuple, list)) or len(value) != 3 or value[2] not in ("ro", "rw"):
            raise ValueError(f'mounts: expected (source, destination, "ro" or "rw"), not {value!r:.200}')
        source = os.path.abspath(arguments.text("mounts", value[0]))
        if not os.path.exists(source):
            raise ValueError(f"mounts: {source!r:.200} does not exist")
        destination = arguments.inside("mounts", value[1])
        if destination == "/":
            raise ValueError("mounts: a mount at / would be the root; that is what root is for")
        found.append((source, destination, value[2] == "rw"))
    return tuple(found)


def _hidden(root: str, hide: "Iterable[str]") -> "tuple[str, ...]":
    if isinstance(hide, str):
        raise ValueError(f"hide: expected a list of paths, not {hide!r:.80}")
    directories, _ = roots.entries(root)
    paths = (arguments.inside("hide", path) for path in hide)
    return tuple(path for path in paths if path.split("/")[1] in directories)
