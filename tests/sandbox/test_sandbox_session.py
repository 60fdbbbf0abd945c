"""Sessions, streams, pools, asyncio."""

import asyncio
import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from containers import until

from pyruntime import Sandbox, SandboxError

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


def test_lack_of_memory_is_the_end_even_where_the_rest_hangs_until_its_time_is_over(box):
    code = """if 1:
        import subprocess, sys, time
        subprocess.call([sys.executable, "-c", "b = b'x' * (1 << 30)"])
        print("killed", flush=True)
        time.sleep(1000)
    """
    with box.open() as session:
        process = session.start(["python3", "-c", code])
        assert next(process.stream()) == ("stdout", b"killed\n")
        result = process.wait(timeout=0)
        assert (result.end, result.oom_killed, result.timed_out) == ("memory", True, True)
        assert "memory" in result.explanation and "time was over" in result.explanation


def test_lack_of_memory_is_told_of_each_program_that_ran_meanwhile_and_of_no_later_one(box):
    with box.open() as session:
        other = session.start(["sh", "-c", "read line; exit 3"], interactive=True)
        first = session.exec(["python3", "-c", "b = b'x' * (1 << 30)"])
        later = session.exec(["sh", "-c", "exit 3"])
        other.close_stdin()
        assert [result.oom_killed for result in (first, other.wait(), later)] == [True, True, False]


def test_a_program_for_which_no_process_is_left_is_an_oserror_that_says_so(no_leaks):
    with Sandbox(pids=1).open() as session:
        sleeper = session.start(["sleep", "1000"])
        with pytest.raises(BlockingIOError, match="the limit of processes is reached: 'true'"):
            session.exec(["true"])
        sleeper.kill()
        assert sleeper.wait().returncode == -9 and session.exec(["true"]).ok


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


def test_a_pool_keeps_its_size_whatever_was_asked_of_it(box):
    with box.pool(2) as pool:
        with ThreadPoolExecutor(6) as threads:
            assert all(result.ok for result in threads.map(lambda _: pool.run(["true"]), range(12)))
        sessions = [pool.open() for _ in range(3)]
        until(lambda: pool._work.empty() and len(pool._ready) == 2, "two containers to be ready")
        for session in sessions:
            session.close()
        assert pool.run(["true"]).ok
        until(lambda: pool._work.empty() and len(pool._ready) == 2, "two containers to be ready")


def test_a_pool_that_is_closed_kills_what_runs(box):
    pool, ended = box.pool(1), []

    def work():
        try:
            ended.append(pool.run(["sleep", "1000"]).returncode)
        except SandboxError as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: pool._used, "the program's container")
    pool.close()
    thread.join()
    assert ended == [-9] or isinstance(ended[0], SandboxError)


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
        async with box.open_async() as session:
            process = await session.start(["wc", "-c"], interactive=True)
            waiting = asyncio.ensure_future(process.wait(timeout=60))
            # The program ends only when the loop has gone on while its end is awaited.
            for _ in range(20):
                await asyncio.sleep(0)
            for _ in range(4):
                process.write(b"x" * (1 << 20))
            process.close_stdin()
            return int((await waiting).stdout)

    assert asyncio.run(work()) == 4 << 20


def test_a_start_that_is_cancelled_leaves_no_program(box):
    async def work():
        async with box.open_async() as session:
            starting = asyncio.ensure_future(session.start(["sleep", "1000"]))
            await asyncio.sleep(0)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await starting
            listing = ["sh", "-c", "cat /proc/[0-9]*/comm"]
            while b"sleep" in (await session.exec(listing, timeout=60)).stdout:
                pass

    asyncio.run(asyncio.wait_for(work(), 60))


# Says when somebody opens or executes the file that it holds a lease on, and goes on holding it.
LEASE = """
import fcntl, os, signal, sys, time
signal.signal(signal.SIGIO, lambda *_: os.write(1, b'asked\\n'))
with open('prog', 'w') as file:
    file.write('#!/bin/sh\\n')
os.chmod('prog', 0o755)
held = os.open('prog', os.O_RDWR)
fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
os.write(1, b'held\\n')
while 1:
    time.sleep(1000)
"""


def test_a_lease_on_a_program_does_not_put_off_the_end_of_another_one(box):
    def execute():
        with contextlib.suppress(SandboxError, OSError):
            session.exec(["/work/prog"])

    with box.open() as session:
        other = session.start(["sleep", "1000"])
        holder = session.start(["python3", "-c", LEASE]).stream()
        assert next(holder) == ("stdout", b"held\n")
        thread = threading.Thread(target=execute)
        thread.start()
        assert next(holder) == ("stdout", b"asked\n")
        # The first process waits for the lease now.
        assert other.wait(timeout=0).end == "timeout"
        with pytest.raises(SandboxError):
            session.exec(["true"])
        holder.close()
        thread.join()
