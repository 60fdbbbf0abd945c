"""Sessions for asyncio: the blocking calls of a session, each in a thread of its own."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, TypeVar

from pyruntime.sandbox.process import Process, Stream
from pyruntime.sandbox.result import Result
from pyruntime.sandbox.session import MOST_NAMES, MOST_READ, Session

T = TypeVar("T")

_THREADS = 64


def _close_unused(opening: "asyncio.Future[Session]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _kill_unused(starting: "asyncio.Future[Process]") -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().kill()


class AsyncProcess:
    """A program that runs; see Process."""

    def __init__(self, process: Process, call: "Callable[..., Any]") -> None:
        self._process = process
        self._call = call
        self.args, self.pid = process.args, process.pid
        self.kill, self.signal, self.write, self.close_stdin = (
            process.kill,
            process.signal,
            process.write,
            process.close_stdin,
        )

    async def wait(self, timeout: "float | None" = None) -> Result:
        """Wait until it has ended. If this is cancelled, the program is killed."""
        try:
            result: Result = await self._call(self._process.wait, timeout)
        except asyncio.CancelledError:
            self._process.kill()
            raise
        return result

    async def stream(self, timeout: "float | None" = None) -> "AsyncIterator[tuple[Stream, bytes]]":
        """Yield what it writes, as it comes."""
        chunks = self._process.stream(timeout)
        end = object()
        try:
            while (item := await self._call(next, chunks, end)) is not end:
                yield item
        except (asyncio.CancelledError, GeneratorExit):
            self._process.kill()
            raise


class AsyncSession:
    """A container that stays, for `async with`; see Session."""

    def __init__(self, make: "Callable[[], Session]") -> None:
        self._make = make
        self._threads = ThreadPoolExecutor(_THREADS, "pyruntime-sandbox")
        self._session: Session | None = None

    async def _call(self, function: "Callable[..., T]", *args: Any, **options: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: function(*args, **options))

    @property
    def _open(self) -> Session:
        if self._session is None:
            raise ValueError("open_async: to be used with `async with`")
        return self._session

    async def __aenter__(self) -> "AsyncSession":
        opening = asyncio.get_running_loop().run_in_executor(self._threads, self._make)
        try:
            self._session = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unused)
            raise
        return self

    async def __aexit__(
        self, kind: "type[BaseException] | None", error: "BaseException | None", trace: "TracebackType | None"
    ) -> None:
        # Shielded: the container is removed even if this is cancelled.
        closing = asyncio.ensure_future(self._call(self._open.close))
        try:
            await asyncio.shield(closing)
        finally:
            self._threads.shutdown(wait=False)

    async def start(self, args: "Iterable[str]", **options: Any) -> AsyncProcess:
        """Start a program; see Session.start. If this is cancelled, the program is killed."""
        starting = asyncio.ensure_future(self._call(self._open.start, args, **options))
        try:
            return AsyncProcess(await asyncio.shield(starting), self._call)
        except asyncio.CancelledError:
            starting.add_done_callback(_kill_unused)
            raise

    async def exec(self, args: "Iterable[str]", *, timeout: "float | None" = None, **options: Any) -> Result:
        """Run a program to its end; see Session.exec. If this is cancelled, the program is killed."""
        process = await self.start(args, **options)
        return await process.wait(timeout)

    async def read(self, path: "str | os.PathLike[str]", limit: "int | str" = MOST_READ) -> bytes:
        """Return the content of a file; see Session.read."""
        return await self._call(self._open.read, path, limit)

    async def write(self, path: "str | os.PathLike[str]", data: "bytes | str", mode: int = 0o644) -> None:
        """Write a file; see Session.write."""
        await self._call(self._open.write, path, data, mode)

    async def list(self, path: "str | os.PathLike[str]" = ".", limit: int = MOST_NAMES) -> "list[str]":
        """Return the names in a directory; see Session.list."""
        return await self._call(self._open.list, path, limit)
