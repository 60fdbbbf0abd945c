"""Who calls a runtime: what its process has been given, and where its standard streams lead."""

import array
import contextlib
import ctypes
import fcntl
import os
import platform
import pty
import resource
import select
import signal
import socket
import subprocess
import termios
import threading
import time
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
# ioprio_set, keyctl, rt_sigaction, set_mempolicy.
IOPRIO_SET, KEYCTL, SIGACTION, SET_MEMPOLICY = {
    "x86_64": (251, 250, 13, 238),
    "aarch64": (30, 219, 134, 237),
}[platform.machine()]
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}


def _dispose(numbers, handler):
    """Make `handler` the disposition of signals, also of 32 and 33, which the C library keeps for itself."""
    action = (ctypes.c_ulong * 4)(handler, 0, 0, 0)
    for number in numbers:
        LIBC.syscall(SIGACTION, number, action, None, 8)


def _deleted_cwd(_):
    path = Path.cwd() / "deleted"
    path.mkdir()
    os.chdir(path)
    path.rmdir()


def _write(path):
    return lambda value: Path(path).write_text(str(value))


def _prctl(option, more=(0, 0, 0)):
    return lambda value: LIBC.prctl(option, ctypes.c_ulong(value), *map(ctypes.c_ulong, more))


def _descriptors(numbers):
    """Hold some descriptors open which execve does not close."""
    above = fcntl.fcntl(os.open("/etc/passwd", os.O_RDONLY), fcntl.F_DUPFD_CLOEXEC, 20)
    for number in numbers:
        os.dup2(above, number)


USER_NAMESPACE, MOUNT_NAMESPACE = 0x10000000, 0x20000  # CLONE_NEWUSER, CLONE_NEWNS
# The first id of the host that an ordinary user has.
FIRST_ID = 100000
_user_namespaces = {}


def user_namespace(ids):
    """Return a descriptor of a user namespace in which root is FIRST_ID of the host, as the first of `ids` ids."""
    if ids not in _user_namespaces:
        ready, made = os.pipe()
        pid = os.fork()
        if pid == 0:
            LIBC.unshare(USER_NAMESPACE)
            os.write(made, b".")
            signal.pause()
        os.read(ready, 1)
        proc = Path(f"/proc/{pid}")
        if ids == 1:
            (proc / "setgroups").write_text("deny")
        for name in ("uid_map", "gid_map"):
            (proc / name).write_text(f"0 {FIRST_ID} {ids}")
        _user_namespaces[ids] = os.open(proc / "ns/user", os.O_RDONLY)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(ready)
        os.close(made)
    return _user_namespaces[ids]


def _enter_user_namespace(ids):
    """Become root of a user namespace, with a mount namespace in which it may mount."""
    os.setgroups([])
    LIBC.setns(user_namespace(ids), USER_NAMESPACE)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    LIBC.unshare(MOUNT_NAMESPACE)


def _hierarchies():
    """Return where the hierarchies of cgroups are mounted that the containers have."""
    root = Path("/sys/fs/cgroup")
    return [root] if (root / "cgroup.procs").exists() else sorted({one.parent for one in root.glob("*/tasks")})


def _enter_cgroups(name):
    """Go into cgroups of that name, which are made."""
    for hierarchy in _hierarchies():
        (hierarchy / name).mkdir(exist_ok=True)
        # A group of version 1 may begin without processors: no process can go into it.
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (hierarchy / file).exists() and not (hierarchy / name / file).read_text().strip():
                (hierarchy / name / file).write_text((hierarchy / file).read_text())
        (hierarchy / name / "cgroup.procs").write_text("0")


def remove_cgroups(name):
    """Remove those that begin with `name`, in which no process is any more, with what is below them."""
    for hierarchy in _hierarchies():
        for group in hierarchy.glob(f"{name}*"):
            for path, _, _ in os.walk(group, topdown=False):
                os.rmdir(path)


def _without_capability(number):
    LIBC.prctl(24, ctypes.c_ulong(number), 0, 0, 0)  # PR_CAPBSET_DROP


# What a caller can be -> what makes it so, in the process that becomes the runtime.
ACTIONS = {
    "umask": os.umask,
    "affinity": lambda cpus: os.sched_setaffinity(0, cpus),
    "nice": os.nice,
    "policy": lambda policy: os.sched_setscheduler(0, policy, os.sched_param(0)),
    "I/O priority": lambda value: LIBC.syscall(IOPRIO_SET, 1, 0, value),
    "memory policy": lambda mode: LIBC.syscall(SET_MEMPOLICY, mode, ctypes.byref(ctypes.c_ulong(1)), 64),
    "limits": lambda limits: [resource.setrlimit(number, pair) for number, pair in limits.items()],
    "ignored": lambda numbers: _dispose(numbers, signal.SIG_IGN),
    "blocked": lambda numbers: signal.pthread_sigmask(signal.SIG_BLOCK, numbers),
    "deleted cwd": _deleted_cwd,
    "cwd": os.chdir,
    "session": lambda _: os.setsid(),
    "group": lambda _: os.setpgid(0, 0),
    "oom_score_adj": _write("/proc/self/oom_score_adj"),
    "coredump_filter": _write("/proc/self/coredump_filter"),
    "timer slack": _prctl(29),
    "personality": lambda value: LIBC.personality(ctypes.c_ulong(value)),
    "parent's death": _prctl(1),
    "no_new_privs": _prctl(38),
    "securebits": _prctl(28),
    "huge pages disabled": _prctl(41),
    "machine check": lambda value: LIBC.prctl(33, ctypes.c_ulong(1), ctypes.c_ulong(value), 0, 0),
    "speculation": lambda value: LIBC.prctl(53, ctypes.c_ulong(0), ctypes.c_ulong(value), 0, 0),
    "bounding": _without_capability,
    "groups": os.setgroups,
    "descriptors": _descriptors,
    "keyring": lambda name: LIBC.syscall(KEYCTL, 1, name.encode()),  # KEYCTL_JOIN_SESSION_KEYRING
    "cgroup": _enter_cgroups,
    "user namespace": _enter_user_namespace,
    "user": lambda ids: (os.setgroups([]), os.setresgid(*[ids] * 3), os.setresuid(*[ids] * 3)),
}
# What is not done in that process.
ELSEWHERE = {"stdio", "environment", "console", "listen"}


class _Streams:
    """The three standard streams, and what must be read or kept open for them."""

    def __init__(self, place, kinds):
        self.fds = []
        self.controlling = False
        self._open = []
        self._master = None
        for number, kind in enumerate(kinds):
            self.fds.append(self._stream(place, number, kind))

    def _stream(self, place, number, kind):
        if kind == "closed":
            return None
        if kind == "null":
            return self._keep(os.open("/dev/null", os.O_RDWR))
        if kind == "file":
            path = place.folder / f"stream{number}"
            path.unlink(missing_ok=True)
            return self._keep(os.open(path, os.O_RDWR | os.O_CREAT, 0o640))
        if kind == "appended":
            path = place.folder / f"stream{number}"
            path.unlink(missing_ok=True)
            return self._keep(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640))
        if kind == "pipe":
            ends = os.pipe()
            self._open += ends
            return ends[0 if number == 0 else 1]
        if kind == "socket":
            ours, theirs = socket.socketpair()
            self._keep(ours.detach())
            return self._keep(theirs.detach())
        if kind in ("tty", "controlling tty"):
            if self._master is None:
                self._master, self._slave = pty.openpty()
                self._open += [self._master, self._slave]
                fcntl.ioctl(self._slave, termios.TIOCSWINSZ, array.array("H", [33, 99, 0, 0]))
            self.controlling |= kind == "controlling tty"
            return self._slave
        raise ValueError(kind)

    def _keep(self, fd):
        self._open.append(fd)
        return fd

    def install(self):
        """Make them the standard streams of this process."""
        if self.controlling:
            os.setsid()
            fcntl.ioctl(self._slave, termios.TIOCSCTTY, 0)
        above = [None if fd is None else fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in self.fds]
        for number, fd in enumerate(above):
            if fd is None:
                os.close(number)
            else:
                os.dup2(fd, number)

    def drain(self, stopped):
        """Read what is written to the terminal until `stopped` is set."""
        while self._master is not None and not stopped.is_set():
            if select.select([self._master], [], [], 0.02)[0]:
                try:
                    os.read(self._master, 65536)
                except OSError:
                    return

    def close(self):
        for fd in self._open:
            os.close(fd)


def _receive_console(listener, received):
    """Accept the terminal of a container on its console socket, and keep it."""
    try:
        connection, _ = listener.accept()
    except OSError:
        return
    with connection:
        _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4 * 4))
        for _, _, data in ancillary:
            received.extend(array.array("i", data[: len(data) // 4 * 4]))


_consoles = []


@contextlib.contextmanager
def called(place, words, who):
    """Start `words` as `who` says; in the block it runs, afterwards it has ended and its streams are closed.

    who  {what: value}, of ACTIONS, and "stdio": the kinds of three streams, "environment": the caller's own
    """
    if "user namespace" in who:
        user_namespace(who["user namespace"])  # made here, by who may map ids
    streams = _Streams(place, who.get("stdio", ("null", "file", "file")))
    actions = [(ACTIONS[name], value) for name, value in who.items() if name not in ELSEWHERE]

    def become():
        # Who started this process may ignore signals: a shell in the background, or make, by posix_spawn(3).
        _dispose(range(1, 65), signal.SIG_DFL)
        os.umask(0o022)
        streams.install()
        for action, value in actions:
            action(value)

    listener = None
    if "console.sock" in " ".join(words):
        listener = socket.socket(socket.AF_UNIX)
        path = place.bundle / "console.sock"
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen()
    environment = who.get("environment", ENVIRONMENT)
    environment = {name: value.replace("FOLDER", str(place.folder)) for name, value in environment.items()}
    # No thread of this process runs yet. Its own descriptors close themselves; what `become` opens must stay.
    process = subprocess.Popen(
        words, cwd=place.bundle, env=environment, preexec_fn=become, close_fds=False,  # noqa: PLW1509
    )  # fmt: skip
    if listener:
        threading.Thread(target=_receive_console, args=(listener, _consoles), daemon=True).start()
    stopped = threading.Event()
    reader = threading.Thread(target=streams.drain, args=(stopped,))
    reader.start()
    try:
        yield process
    finally:
        stopped.set()
        reader.join()
        streams.close()
        if listener:
            listener.close()


def await_children(seconds):
    """Wait until the container's processes, which this process has adopted, have ended; not longer than `seconds`."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.002)


def clean():
    """End what containers have left, and forget their terminals."""
    while _consoles:
        os.close(_consoles.pop())
    for pid in map(int, Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()):
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, 0)[0]:
            pass
