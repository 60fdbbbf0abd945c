"""Sessions, streams, pools, asyncio."""

import asyncio
import os
import time

import pytest
from containers import until

from pyruntime import SandboxError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_programs_share_the_workspace_and_files_go_in_and_out(box):
    with box.open() as session:
        session.write("code/main.py", "open('out', 'w').write(input())")
        session.exec(["python3", "code/main.py"], input="given").check()
        assert session.read("out") == b"given" and session.list("code") == ["main.py"]
        assert session.read("/work/out") == b"given"
    assert session.closed
    with pytest.raises(SandboxError):
        session.exec(["true"])


def test_output_comes_while_the_program_runs(box):
    with box.open() as session:
        process = session.start(["sh", "-c", "echo one; read line; echo $line >&2"], interactive=True)
        chunks = process.stream()
        assert next(chunks) == ("stdout", b"one\n")
        process.write(b"two\n")
        assert list(chunks) == [("stderr", b"two\n")]
        assert process.wait().returncode == 0


def test_an_interactive_program_meets_the_end_of_its_stdin(box):
    with box.open() as session:
        process = session.start(["cat"], interactive=True)
        process.write(b"all")
        process.close_stdin()
        assert process.wait(timeout=60).stdout == b"all"


def test_programs_run_at_once_and_a_timeout_ends_one(box):
    with box.open() as session:
        slow = session.start(["sh", "-c", "sleep 1000 & setsid sleep 1000 & wait"])
        other = session.start(["sh", "-c", "read line; echo $line"], interactive=True)
        assert slow.wait(timeout=0.2).end == "timeout"
        other.write(b"still there\n")
        assert other.wait(timeout=60).stdout == b"still there\n"
        # What the slow one had started has gone with it.
        until(lambda: b"sleep" not in session.exec(["sh", "-c", "cat /proc/[0-9]*/comm"]).stdout, "their end")


def test_a_signal_reaches_the_program(box):
    with box.open() as session:
        process = session.start(
            ["sh", "-c", "trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.01; done"]
        )
        chunks = process.stream()
        assert next(chunks) == ("stdout", b"ready\n")
        process.signal(10)
        assert ("stdout", b"caught\n") in list(chunks)
        assert process.wait().returncode == 3


def test_lack_of_memory_is_told_of_the_program_that_it_met(box):
    with box.open() as session:
        assert session.exec(["python3", "-c", "b = b'x' * (1 << 30)"]).end == "memory"
        assert session.exec(["sh", "-c", "kill -9 $$"]).end == "signal"


def test_a_pool_runs_each_program_in_a_container_of_its_own(box):
    with box.pool(2) as pool:
        for number in range(5):
            result = pool.run(["sh", "-c", f"ls; echo {number} >file; cat file"])
            assert result.stdout == f"{number}\n".encode()
        assert pool.run(["sleep", "1000"], timeout=0.2).end == "timeout"
        with pool.open() as session:
            assert session.list() == []
    with pytest.raises(SandboxError, match="closed"):
        pool.run(["true"])


def test_asyncio(box):
    async def work():
        async with box.open_async() as session:
            await session.write("in", "x")
            results = await asyncio.gather(*(session.exec(["sh", "-c", f"cat in; echo {n}"]) for n in range(10)))
            process = await session.start(["sh", "-c", "echo a; echo b"])
            streamed = b"".join([chunk async for _, chunk in process.stream()])
            status = (await process.wait()).returncode
            return [result.stdout for result in results], streamed, status, await session.read("in")

    assert asyncio.run(work()) == ([f"x{n}\n".encode() for n in range(10)], b"a\nb\n", 0, b"x")


def test_a_task_that_is_cancelled_leaves_nothing(box):
    async def work():
        async with box.open_async() as session:
            began = time.monotonic()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(session.exec(["sleep", "1000"]), 0.3)
            assert time.monotonic() - began < 60
            return (await session.exec(["echo", "next"])).stdout

    assert asyncio.run(work()) == b"next\n"


def test_the_loop_is_not_held_up(box):
    async def work():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.ensure_future(tick())
        async with box.open_async() as session:
            await session.exec(["sleep", "0.5"])
        ticking.cancel()
        return ticks

    assert asyncio.run(work()) > 5
