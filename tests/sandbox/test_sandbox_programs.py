"""Programs that people run: the list of system calls, Landlock and the limits leave them what they need."""

import os

import pytest

from pyruntime import Sandbox

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

# What is run -> what it prints.
PYTHON = {
    "threads": (
        """
        import threading
        threads = [threading.Thread(target=list, args=(range(1000),)) for _ in range(8)]
        [thread.start() for thread in threads]; [thread.join() for thread in threads]
        print(threading.active_count())
        """,
        "1",
    ),
    "processes": (
        """
        import multiprocessing, multiprocessing.shared_memory
        def square(number): return number * number
        if __name__ == "__main__":
            for method in ("fork", "spawn", "forkserver"):
                with multiprocessing.get_context(method).Pool(2) as pool: print(pool.map(square, range(3)), end=" ")
            memory = multiprocessing.shared_memory.SharedMemory(create=True, size=4096); memory.unlink()
        """,
        "[0, 1, 4] [0, 1, 4] [0, 1, 4]",
    ),
    "asyncio, subprocesses and its own network": (
        """
        import asyncio
        def greet(reader, writer): writer.write(b"greeting"); writer.close()
        async def work():
            process = await asyncio.create_subprocess_exec("echo", "hi", stdout=asyncio.subprocess.PIPE)
            server = await asyncio.start_server(greet, "127.0.0.1", 0)
            reader, _ = await asyncio.open_connection(*server.sockets[0].getsockname())
            print((await process.communicate())[0], await reader.read())
        asyncio.run(work())
        """,
        r"b'hi\n' b'greeting'",
    ),
    "a terminal": (" import pty; pty.spawn(['tty'])", "/dev/pts/0"),
    "sqlite with a log": (
        """
        import sqlite3
        connection = sqlite3.connect("a.db")
        print(*connection.execute("pragma journal_mode=wal"), *connection.execute("create table t (a)"))
        """,
        "('wal',)",
    ),
    "signals, timers, limits and priorities": (
        """
        import os, resource, signal
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        print("alarm" if signal.sigwait([signal.SIGALRM]) == signal.SIGALRM else "", end=" ")
        before = os.nice(0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)); os.sched_setaffinity(0, os.sched_getaffinity(0))
        print(resource.getrlimit(resource.RLIMIT_NOFILE), os.nice(3) - before)
        """,
        "alarm (100, 100) 3",
    ),
}
SHELL = {
    "pipes, jobs and heredocs": ("seq 3 | sort -r | head -1; sleep 0 & wait; cat <<X\nthere\nX\n", "3\nthere"),
    "archives and times": (
        """
        export TZ=UTC
        mkdir d e; echo x >d/f; touch -d 2020-01-01 d/f
        tar -cC d f | gzip | tar -xzC e; stat -c %y e/f
        """,
        "2020-01-01 00:00:00.000000000 +0000",
    ),
    "priorities of input and output": ("ionice -c 3 nice echo low", "low"),
    "a compiler": (
        """
        echo 'int puts(const char *); int main(void) { return puts("compiled") < 0; }' >a.c
        cc -pipe -O2 a.c
        ./a.out
        """,
        "compiled",
    ),
}


@pytest.fixture
def large(no_leaks):
    """A sandbox in which a compiler and a few processes have room."""
    return Sandbox(memory="512M", pids=128)


@pytest.mark.parametrize("name", PYTHON)
def test_of_python(large, name):
    code, printed = PYTHON[name]
    with large.open() as session:
        session.write("main.py", "if 1:\n" + code)
        result = session.exec(["python3", "main.py"], timeout=120)
    assert (result.stdout.decode().strip(), result.returncode) == (printed, 0), result.stderr.decode()


@pytest.mark.parametrize("name", SHELL)
def test_of_a_shell(large, name):
    script, printed = SHELL[name]
    result = large.run(["sh", "-ec", script], timeout=120)
    assert (result.stdout.decode().strip(), result.returncode) == (printed, 0), result.stderr.decode()
