"""A pool of containers that are made before they are needed."""

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Iterable
from types import TracebackType

from pyruntime.sandbox.container import Container
from pyruntime.sandbox.maker import Maker
from pyruntime.sandbox.program import Program, Runner
from pyruntime.sandbox.result import Result, SandboxError
from pyruntime.sandbox.session import Session


class Pool(Runner):
    """Containers that wait for a program. Each is used once. Safe for threads.

    size  how many are kept ready

    `run` is as Sandbox.run, but the container is removed after the call has returned, and `usage` is that of the
    program and of the processes that it has waited for.
    """

    def __init__(self, maker: Maker, size: int) -> None:
        self._maker = maker
        self.size = size
        self._lock = threading.Lock()
        self._closed = False
        self._ready: deque[Container] = deque()
        self._used: set[Container] = set()
        # Containers to remove; None only wakes the thread.
        self._work: queue.SimpleQueue[Container | None] = queue.SimpleQueue()
        try:
            # All are started before one is waited for.
            for _ in range(size):
                self._ready.append(maker._container())
            for container in self._ready:
                container.await_start()
        except BaseException:
            with contextlib.suppress(SandboxError):
                _close(self._ready)
            raise
        self._keeper = threading.Thread(target=self._keep, name="pyruntime-pool", daemon=True)
        self._keeper.start()

    def _keep(self) -> None:
        """Remove the containers that were used, and make others until `size` are ready."""
        while not self._closed:
            container = self._work.get()
            with contextlib.suppress(SandboxError, OSError):
                if container is not None:
                    container.close()
                while len(self._ready) < self.size and not self._closed:
                    self._ready.append(self._maker._container())

    def _take(self) -> Container:
        """Return a container that is ready, or else a new one."""
        while True:
            with self._lock:
                if self._closed:
                    raise SandboxError("the pool is closed")
                container = self._ready.popleft() if self._ready else None
            if container is None:
                return self._maker._container()
            if not container.ended:
                return container
            self._work.put(container)

    def _run(self, program: Program, timeout: "float | None") -> Result:
        container = self._take()
        self._used.add(container)
        try:
            if self._closed:
                raise SandboxError("the pool is closed")
            return self._maker._start(container, program, alone=True).await_start().wait(timeout)
        finally:
            self._give_back(container)

    def _give_back(self, container: Container) -> None:
        """Let the pool's thread remove a container; where the pool is closed, do it here."""
        self._used.discard(container)
        with self._lock:
            if not self._closed:
                self._work.put(container)
                return
        container.close()

    def open(self) -> Session:
        """Return a container that is ready as a session. It is the caller's to close."""
        container = self._take()
        self._work.put(None)
        container.await_start()
        return Session(self._maker, container)

    def close(self) -> None:
        """Remove the containers. Programs that still run are killed."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._work.put(None)
        self._keeper.join()
        for container in list(self._used):
            container.kill()
        left = list(self._ready)
        with contextlib.suppress(queue.Empty):
            while True:
                used = self._work.get_nowait()
                left += [used] if used is not None else []
        _close(left)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        self.close()


def _close(containers: "Iterable[Container]") -> None:
    """Close every container; then raise the last SandboxError, if there was one."""
    failure: SandboxError | None = None
    for container in containers:
        try:
            container.close()
        except SandboxError as error:
            failure = error
    if failure is not None:
        raise failure
