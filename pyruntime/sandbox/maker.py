"""Makes a sandbox's containers and the programs in them."""

import json
import os
import secrets
import shutil
import threading
import weakref
from pathlib import Path
from typing import Any

from pyruntime.sandbox import config as configs
from pyruntime.sandbox import place
from pyruntime.sandbox import root as roots
from pyruntime.sandbox.container import Container, Refused
from pyruntime.sandbox.limits import attempts
from pyruntime.sandbox.process import Process
from pyruntime.sandbox.program import Program
from pyruntime.sandbox.result import SandboxError
from pyruntime.sandbox.settings import Settings


class Maker:
    """What a sandbox and its sessions and pools share.

    root          directory of the root filesystem
    env           environment of the programs
    output_limit  bytes
    """

    def __init__(
        self, root: str, env: "dict[str, str]", output_limit: int, settings: Settings, *, require: bool
    ) -> None:
        self.root = root
        self.env = env
        self.output_limit = output_limit
        self._settings = settings
        self._require = require
        self._lock = threading.Lock()
        self._bundle: Path | None = None
        self._binds: list[dict[str, Any]] = []
        self._made_by = 0
        self._systemd = False
        self._unlimited: tuple[str, ...] = ()
        self._settled = os.geteuid() == 0 and require

    def _prepare(self) -> Path:
        """Return the bundle, which is made when it is first needed, and again in a child of fork(2)."""
        with self._lock:
            if self._bundle is None or self._made_by != os.getpid() or not self._bundle.is_dir():
                bundle = place.directory() / f"bundle-{secrets.token_hex(6)}"
                bundle.mkdir(mode=0o755)
                try:
                    self._binds = roots.skeleton(bundle / "rootfs", self.root, self._settings.mounts)
                    self._write(bundle)
                except BaseException:
                    shutil.rmtree(bundle, ignore_errors=True)
                    raise
                self._bundle, self._made_by = bundle, os.getpid()
                weakref.finalize(self, _remove, bundle, os.getpid())
            return self._bundle

    def _write(self, bundle: Path) -> None:
        document = configs.config(
            self._settings, str(bundle / "rootfs"), self._binds, place.agent(), unlimited=self._unlimited
        )
        (bundle / "config.json.new").write_text(json.dumps(document))
        (bundle / "config.json.new").rename(bundle / "config.json")

    def _container(self) -> Container:
        """Start a container. Where it is not known yet which limits can be set, find out. Raises SandboxError."""
        bundle = self._prepare()
        if self._settled:
            return Container(bundle, systemd=self._systemd)
        return self._first(bundle)

    def _first(self, bundle: Path) -> Container:
        """Start the first container of an ordinary user: by the user's systemd, in a group of its own, or without."""
        refused: Refused | None = None
        for systemd, unlimited in attempts(self._settings, self._require):
            self._unlimited = unlimited
            self._write(bundle)
            container = Container(bundle, systemd=systemd)
            try:
                container.await_start()
            except Refused as error:
                if not error.about_limits:
                    raise
                refused = refused or error
                continue
            self._systemd, self._settled = systemd, True
            return container
        assert refused is not None
        raise SandboxError(
            f"the limits cannot be set: {refused}; the command `pyruntime doctor` says how this user gets cgroups; "
            'limits="best-effort" (--best-effort) sets what can be set'
        ) from refused

    def _start(
        self,
        container: Container,
        program: Program,
        *,
        alone: bool = False,
        last: bool = False,
        interactive: bool = False,
        inherit: bool = False,
    ) -> Process:
        """Start a program in a container; the options are those of Process."""
        return Process(
            container,
            program,
            self.env,
            output_limit=self.output_limit,
            alone=alone or last,
            last=last,
            unlimited=self._unlimited,
            owner=configs.owner(self._settings) if os.geteuid() == 0 else None,
            interactive=interactive,
            inherit=inherit,
        )


def _remove(bundle: Path, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(bundle, ignore_errors=True)
