"""A stand-in for `criu swrk`: notes what it is asked in $FAKE_CRIU/requests, and answers as CRIU 3.17 would.

$FAKE_CRIU/mode says how: "fail", "die", "old", "poor" (no features), "hang" (it writes to the FIFO
$FAKE_CRIU/hanging, and waits until nobody listens) or "deaf" (it makes processes, writes their pids to that FIFO, and
ends for nothing but SIGKILL, as they do); anything else is success. A restored container is a process that
sleeps, a child of whoever asks; with $FAKE_CRIU/terminal it has a terminal. The script $FAKE_CRIU/meanwhile is run
during a dump.
"""

import ctypes
import fcntl
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
from pathlib import Path

from pyruntime.engine.criu import rpc

CLONE_PARENT, SIGCHLD, SYS_CLONE = 0x00008000, 17, 56
PLACE = Path(os.environ["FAKE_CRIU"])
MODE = (PLACE / "mode").read_text() if (PLACE / "mode").exists() else ""
VERSION = {"major_number": 2, "minor_number": 6} if MODE == "old" else {"major_number": 3, "minor_number": 17}


def answer(connection, kind, descriptors=(), **parts):
    wire = rpc.encode({"success": True, **parts, "type": kind}, rpc.RESPONSE)
    socket.send_fds(connection, [wire], list(descriptors))


def notify(connection, script, pid=0, descriptors=()):
    """Notify the runtime of a step; exit if it does not answer with success."""
    answer(connection, rpc.NOTIFY, descriptors, notify={"script": script, "pid": pid})
    wire = connection.recv(65536)
    if not wire or not rpc.decode(wire, rpc.REQUEST)["notify_success"]:
        if pid:
            os.kill(pid, signal.SIGKILL)
        sys.exit(1)


def sibling(terminal):
    """Return the pid of a new child of our parent, which sleeps."""
    pid = ctypes.CDLL(None).syscall(SYS_CLONE, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        if terminal is None:
            os.execvp("sleep", ["sleep", "1000"])
        login(terminal)
        os.execvp("sh", ["sh", "-c", 'stty -echo; echo ready; read line; echo "got $line"; exit 5'])
    return pid


def hang(kind, options):
    """Write the pids of this process and what it makes to the FIFO, and never end; the container stays frozen."""
    for name, word in (("freezer.state", "FROZEN"), ("cgroup.freeze", "1")):
        file = Path(options.get("freeze_cgroup", "/none"), name)
        if file.exists():
            file.write_text(word)
    for number in range(1, signal.NSIG):
        if number not in (signal.SIGKILL, signal.SIGSTOP, 32, 33):
            signal.signal(number, signal.SIG_IGN)
    helper = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    pids = [os.getpid(), helper.pid, *([sibling(None)] if kind == rpc.RESTORE else [])]
    (PLACE / "hanging").write_text(json.dumps(pids))
    while True:
        signal.pause()


def login(terminal):
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    for stream in range(3):
        os.dup2(terminal, stream)


def restore(connection):
    master, slave = pty.openpty() if (PLACE / "terminal").exists() else (None, None)
    pid = sibling(slave)
    notify(connection, "setup-namespaces", pid)
    if master is not None:
        notify(connection, "orphan-pts-master", descriptors=[master])
    notify(connection, "post-restore", pid)
    return {"restore": {"pid": pid}}


def serve(connection):
    while wire := connection.recv(65536):
        request = rpc.decode(wire, rpc.REQUEST)
        with (PLACE / "requests").open("a") as file:
            file.write(json.dumps(request) + "\n")
        kind, options = request["type"], request.get("opts", {})
        parts = {}
        if kind == rpc.VERSION:
            parts = {"version": VERSION}
        elif kind == rpc.FEATURE_CHECK:
            parts = {"features": dict.fromkeys(request["features"], MODE != "poor")}
        else:
            directory = options.get("work_dir_fd", options["images_dir_fd"])
            log = Path(f"/proc/{os.getppid()}/fd/{directory}", options["log_file"])
            log.write_text("(00.1) all is well\n(00.2) Error (criu/x.c:1): the stars are wrong\n")
            if MODE == "die":
                os.abort()
            if MODE == "fail":
                answer(connection, kind, success=False, cr_errno=22)
                return
            if MODE == "deaf":
                hang(kind, options)
            notify(connection, "status-ready")
            if MODE == "hang":
                (PLACE / "hanging").write_text("hanging")
                connection.recv(65536)
                return
            if kind == rpc.DUMP:
                if (PLACE / "meanwhile").exists():
                    subprocess.run(["sh", PLACE / "meanwhile"], check=True)
                notify(connection, "post-dump")
            parts = restore(connection) if kind == rpc.RESTORE else {}
        answer(connection, kind, **parts)


if __name__ == "__main__":
    assert sys.argv[1] == "swrk", sys.argv
    with socket.socket(fileno=int(sys.argv[2])) as served:
        try:
            serve(served)
        except ConnectionError:  # the runtime has given up
            sys.exit(1)
