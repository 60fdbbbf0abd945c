"""Running hooks (config.md#posix-platform-hooks): state on stdin, a time limit, and a complete error for a failure."""

import select
import time

import pyruntime
from pyruntime._stub import lib
from pyruntime.base import jsonio, log
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.plan.step import Step

_OUTPUT_LIMIT = 4096
_KILL = 9
_PATIENCE = 1.0  # seconds after which a wait looks for signals
_FOR_EVER = float("inf")
_IN_CONTAINER = ("createContainer", "startContainer")  # run by init, whose signals are not the caller's
_TO_CLEAN_UP = 5.0  # seconds that a poststop hook gets after a signal that asks to end: it removes what others made

# Variables of a service manager (sd_listen_fds(3)) for the runtime: hooks do not get the sockets that they describe.
_OURS = frozenset(["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"])


def run(
    steps: "list[Step]",
    state: "dict[str, object]",
    files: "tuple[int, int] | None" = None,
    inherited: "list[str] | None" = None,
) -> None:
    """Run the hooks of `steps` one after the other with `state` on stdin. Raises Error at the first that fails.

    inherited  the environment of hooks without an `env`, as NAME=VALUE; without it that of this process

    Upholds runtime.md#lifecycle/prestart, runtime.md#lifecycle/create-runtime, runtime.md#lifecycle/create-container.
    """
    for step in steps:
        run_one(step, state, files, inherited)


def run_one(
    step: "Step",
    state: "dict[str, object]",
    files: "tuple[int, int] | None" = None,
    inherited: "list[str] | None" = None,
) -> None:
    """Run one hook to its end. Raises Error when it cannot be started, fails, or exceeds its timeout (seconds).

    files  descriptors for its stdout and stderr, -1 for none; without them they are opened as annotations in `state`
           say (protocol/hook_output.py). Output that goes to no file is part of the error if the hook fails.

    Upholds runtime.md#lifecycle/prestart-fails, runtime.md#lifecycle/create-runtime-fails,
    runtime.md#lifecycle/create-container-fails, config.md#posix-platform-hooks/prestart-path,
    config.md#posix-platform-hooks/prestart-namespace, config.md#posix-platform-hooks/create-runtime-path,
    config.md#posix-platform-hooks/create-runtime-namespace, config.md#posix-platform-hooks/create-container-path,
    config.md#posix-platform-hooks/poststart-path, config.md#posix-platform-hooks/poststop-path,
    config.md#posix-platform-hooks/state-on-stdin.
    """
    if files is None and state.get("annotations"):
        # Only on the host: init passes `files`, and cannot import.
        files = pyruntime.protocol.hook_output.open_files(state)
        try:
            return run_one(step, state, files, inherited)
        finally:
            pyruntime.protocol.hook_output.close(files)
    path, timeout = step.args["path"], step.args["timeout"]
    doing = f"{step.args['kind']} hook {path} failed"
    # Files instead of pipes: a hook that does not read stdin, or a daemon of it that keeps stdout, cannot block us.
    stdin = os.memfd_create("state", os.MFD_CLOEXEC)
    output = os.memfd_create("output", os.MFD_CLOEXEC)
    if log.events is not None:
        log.events.begin(step, "hooks")
    try:
        os.write(stdin, jsonio.dumps(state).encode())
        os.lseek(stdin, 0, os.SEEK_SET)
        try:
            pid = _spawn(step, inherited, stdin, *(output if fd < 0 else fd for fd in files or (-1, -1)))
        except OSError as error:
            where = "in the container" if step.args["kind"] == "startContainer" else "on the host"
            reason = f"it cannot be executed {where}"
            raise Error(doing, reason, pointer=step.pointer, clause=step.clause, errno=error.errno or 0) from None
        status = _wait(pid, timeout, doing, step.args["kind"])
        if status != 0:
            raise Error(
                doing,
                _outcome(status, timeout),
                pointer=step.pointer,
                clause=step.clause,
                log=_tail(output),
                log_of="hook's output",
            )
    finally:
        if log.events is not None:
            log.events.end()
        os.close(stdin)
        os.close(output)


def _spawn(step: "Step", inherited: "list[str] | None", stdin: int, stdout: int, stderr: int) -> int:
    env = step.args["env"] if step.args["env"] is not None else inherited
    if env is None:
        environment = {name: value for name, value in os.environ.items() if name not in _OURS}
    else:
        environment = {}
        for entry in env:
            name, _, value = entry.partition("=")
            environment[name] = value
    # Only the container's program may get the caller's descriptors.
    lib.pyr_close_range(3, 0xFFFFFFFF, 1)
    return os.posix_spawn(
        step.args["path"],
        step.args["argv"],
        environment,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, stdin, 0),
            (os.POSIX_SPAWN_DUP2, stdout, 1),
            (os.POSIX_SPAWN_DUP2, stderr, 2),
        ],
        setpgroup=0,  # so that a timeout ends the hook's own children too
        setsigmask=[],
        setsigdef=range(1, 32),
    )


def _wait(pid: int, timeout: int | None, doing: str, kind: str) -> int | None:
    """Return the exit status of child `pid` (negative: the signal that ended it), None after `timeout` seconds.

    Raises Error when a signal that this process has blocked asks to end.
    """
    pidfd = lib.pyr_pidfd_open(pid)
    heeds = kind not in _IN_CONTAINER
    number, grace = 0, _TO_CLEAN_UP if kind == "poststop" else 0.0
    try:
        if (timeout is not None or heeds) and pidfd >= 0:
            deadline = time.monotonic() + (_FOR_EVER if timeout is None else timeout)
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            while not os.call(poll.poll, max(0.0, min(deadline - time.monotonic(), _PATIENCE)) * 1000):
                if heeds and not number:
                    number = lib.pyr_signal_to_end()
                    if number:
                        deadline = min(deadline, time.monotonic() + grace)
                if time.monotonic() >= deadline:
                    os.killpg(pid, _KILL)
                    os.waitpid(pid, 0)
                    if number:
                        raise Error(doing, f"signal {number} came")
                    return None
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        if pidfd >= 0:
            os.close(pidfd)


def _outcome(status: int | None, timeout: int | None) -> str:
    if status is None:
        return f"it took longer than its timeout of {timeout} s and was killed"
    return f"it was killed by signal {-status}" if status < 0 else f"it exited with status {status}"


def _tail(output: int) -> str:
    size = os.lseek(output, 0, os.SEEK_END)
    text = os.pread(output, _OUTPUT_LIMIT, max(0, size - _OUTPUT_LIMIT)).decode(errors="replace").strip()
    return text
