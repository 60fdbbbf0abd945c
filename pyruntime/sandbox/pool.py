"""A pool of containers that are made before they are needed."""

import contextlib
import queue
import threading
from collections.abc import Iterable
from types import TracebackType

from pyruntime.sandbox import arguments
from pyruntime.sandbox.container import Container
from pyruntime.sandbox.maker import Maker
from pyruntime.sandbox.result import Result, SandboxError
from pyruntime.sandbox.session import Session


class Pool:
    """Containers that wait for a program. Each is used once. Safe for threads.

    size  how many are kept ready
    """

    def __init__(self, maker: Maker, size: int) -> None:
        self._maker = maker
        self.size = size
        self._ready: queue.SimpleQueue[Container] = queue.SimpleQueue()
        self._work: queue.SimpleQueue[Container | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._spare = 0
        self._fill(size)
        self._cleaner = threading.Thread(target=self._clean, name="pyruntime-pool", daemon=True)
        self._cleaner.start()

    def _fill(self, count: int) -> None:
        """Start containers; they become ready by themselves. Raises SandboxError where that cannot be."""
        made = []
        try:
            made = [self._maker._container() for _ in range(count)]
            for container in made:
                container.await_start()
        except BaseException:
            for container in made:
                with contextlib.suppress(SandboxError):
                    container.close()
            raise
        for container in made:
            self._ready.put(container)

    def _clean(self) -> None:
        """Remove the containers that have been used, and make others in their place."""
        while (container := self._work.get()) is not None:
            with contextlib.suppress(SandboxError):
                container.close()
            if self._closed:
                continue
            with contextlib.suppress(SandboxError, OSError):
                fresh = self._maker._container()
                self._ready.put(fresh)

    def _take(self) -> Container:
        """Return a container that is ready, or else a new one."""
        with self._lock:
            if self._closed:
                raise SandboxError("the pool is closed")
        while True:
            try:
                container = self._ready.get_nowait()
            except queue.Empty:
                return self._maker._container()
            if not container.ended:
                return container
            self._work.put(container)

    def run(
        self,
        args: "Iterable[str]",
        *,
        input: "bytes | str | None" = None,
        timeout: "float | None" = None,
        env: "dict[str, str] | None" = None,
        cwd: "str | None" = None,
    ) -> Result:
        """Run a program in a container that is ready, as Sandbox.run; the container is removed afterwards.

        `usage` is of the program and the processes that it has waited for.
        """
        words = arguments.command(args)
        arguments.seconds("timeout", timeout)
        container = self._take()
        try:
            process = self._maker._start(container, words, input=input, env=env, cwd=cwd, last=False)
            process.end_with_container()
            return process.await_start().wait(timeout)
        finally:
            self._work.put(container)

    def open(self) -> Session:
        """Return a container that is ready as a session. It is the caller's to close."""
        container = self._take()
        container.await_start()
        self._work_later()
        return Session(self._maker, container)

    def _work_later(self) -> None:
        with contextlib.suppress(SandboxError, OSError):
            self._ready.put(self._maker._container())

    def close(self) -> None:
        """Remove the containers. Programs that still run end with theirs."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._work.put(None)
        self._cleaner.join()
        failure: SandboxError | None = None
        for containers in (self._ready, self._work):
            with contextlib.suppress(queue.Empty):
                while True:
                    container = containers.get_nowait()
                    try:
                        if container is not None:
                            container.close()
                    except SandboxError as error:
                        failure = error
        if failure is not None:
            raise failure

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        self.close()
