"""The start operation (runtime.md#start): the program of a created container is executed."""

import select
import time

import pyruntime
from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.engine.child.child import PATIENCE, check_signals
from pyruntime.protocol import messages
from pyruntime.store import container as containers
from pyruntime.store import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.caller.notify_socket import Relay
    from pyruntime.plan.plan import Plan
    from pyruntime.spec.json_types import StateFile
    from pyruntime.store.container import Container

_CLAUSE = "runtime.md#start"
_PATIENCE = 10.0  # seconds for a process that is about to end
_MOST = 1 << 22  # bytes that init says: the events of thousands of hooks, and one error


def start(root: str, container_id: str, *, accompanied: bool = False) -> None:
    """Let the process of the created container execute its program, then run the poststart hooks.

    Where a service manager waits for a notification, this also waits until the container is ready, or has ended.

    root         directory of the states, absolute
    accompanied  this process stays with the container: the service manager must watch it, and this does not wait

    Raises Error when the container does not exist or is not `created`, has no process, or the program cannot be
    executed.

    Upholds runtime.md#start/not-created.
    """
    with containers.open_container(root, container_id) as container:
        if not container.lock_unless_creating():
            raise Error(f"cannot start container {container_id!r}", "it is creating, not created", clause=_CLAUSE)
        container.hold()
        state = container.read()
        connection = -1
        if state is not None and container.status(state) == "created":
            connection = container.connect()
            lib.pyr_set_patience(connection, PATIENCE)
        if connection < 0 or state is None:
            status = container.status(state)
            if status == "creating":
                status = "stopped"  # this process has the lock, so its create has ended
            raise Error(f"cannot start container {container_id!r}", f"it is {status}, not created", clause=_CLAUSE)
        if log.events is not None:
            log.events.child = state["pid"]
            log.events.done(f"lock {container.path}, read the state, connect to the start gate")
        relay = _go(container, state, connection)
    _forward(relay, state["pid"], accompanied)


def start_created(container: "Container", state: "StateFile", connection: int, *, accompanied: bool) -> None:
    """Start, as `start` does, the container that this process has just created, and then release its lock.

    connection  to its init, which waits there and not at the gate; this closes it
    """
    try:
        relay = _go(container, state, connection)
    finally:
        container.release()
    _forward(relay, state["pid"], accompanied)


def _go(container: "Container", state: "StateFile", connection: int) -> "Relay | None":
    """Let init, at the other end of `connection`, execute the program; run the poststart hooks. Raises Error.

    Returns the relay for its notification.

    Upholds runtime.md#lifecycle/start-container-fails, runtime.md#lifecycle/poststart-fails,
    runtime.md#start/process-missing.
    """
    if not state["process"]:
        os.close(connection)
        raise Error(f"cannot start container {state['id']!r}", "it has no process", pointer="/process", clause=_CLAUSE)
    relay = _relay(container, state)
    try:
        _let_go(container, state, connection)
    except Error as error:
        _await_end(state)
        error.show(container.read_config())
        if error.pointer.startswith("/hooks/startContainer/"):
            # runtime.md#lifecycle, step 7: the container is stopped, continue at step 12.
            pyruntime.operations.delete.destroy(container, state)
        raise
    _poststart(container, state)
    return relay


def _forward(relay: "Relay | None", pid: int, accompanied: bool) -> None:
    if relay is None:
        return
    if accompanied:
        os.start_thread(relay.forward, os.getpid())
    else:
        # Without the lock, because it may last as long as the container.
        relay.forward(pid)


def _relay(container: "Container", state: "StateFile") -> "Relay | None":
    """Return the relay for the container's notification, None if nothing waits for one. Raises Error."""
    if not os.environ.get("NOTIFY_SOCKET") or not os.access(f"{container.path}/notify", os.F_OK):
        return None
    return pyruntime.engine.caller.notify_socket.Relay(container, state["pid"])


def _let_go(container: "Container", state: "StateFile", connection: int) -> None:
    """Send init the start message and read until it closes the connection: by execve, or after it reports an error.

    The connection is also closed if init is killed, for example by its filter; then it has executed no program.

    Upholds runtime.md#lifecycle/program-run.
    """
    try:
        messages.send(connection, messages.GO)
        if log.events is not None:
            log.events.begin("wait for execve", "kernel")
        heard = _without_events(_hear_out(state, connection))
    finally:
        os.close(connection)
    if log.events is not None:
        log.events.end()
        messages.received(heard)
    if heard == messages.EXECUTES and _has_executed(container, state):
        return
    raise _why_not(container, state, heard.removeprefix(messages.EXECUTES))


def _hear_out(state: "StateFile", connection: int) -> bytes:
    """Return all that init sends. Raises Error if that is more than it has to say, and if a signal asks to give up.

    A process that may trace init can send without end in its name, and can hold the connection open: so the kernel is
    asked now and then whether init has executed its program or has ended.
    """
    pid, started = state["pid"], state["start_time"]
    heard, done = b"", False
    while len(heard) <= _MOST:
        try:
            chunk = messages.read(connection)
        except BlockingIOError:
            if done:  # before the last look, so that nothing is left
                return heard
            check_signals()
            done = process.has_executed(pid, started) is not False or not process.alive(pid, started)
            continue
        if not chunk:
            return heard
        heard += chunk
    raise Error("the container's process failed", "it sends without end")


def _without_events(heard: bytes) -> bytes:
    """Return what follows the events, one line each, that init sends if create was called with --debug or --trace."""
    begin = 0
    while heard[begin : begin + 1] == messages.TOLD:
        end = heard.find(b"\n", begin)
        if end < 0:
            return b""
        if log.events is not None:
            log.events.told(heard[begin:end])
        begin = end + 1
    return heard[begin:]


def _has_executed(container: "Container", state: "StateFile") -> bool:
    executed = process.has_executed(state["pid"], state["start_time"])
    if executed is not None:
        return executed
    # It has ended and been reaped. Under a filter that forbids execve(2) it cannot have executed anything.
    return not any(
        pyruntime.spec.likely_mistakes.without_execve((container.read_config().get("linux") or {}).get("seccomp") or {})
    )


def _why_not(container: "Container", state: "StateFile", heard: bytes) -> Error:
    """Return the Error for a program that was not executed, from the message `heard` of init."""
    size = messages.STEP_SIZE
    if heard[:1] == messages.STEP:
        message, shown, head = heard[:size], heard[size:] != b"", heard[size + 1 :]
        error = pyruntime.engine.child.failures.failure(message, _plan(container, state))
    elif heard[:1] == messages.FAILED:
        message, separator, head = heard.partition(messages.PROGRAM)
        shown = separator != b""
        error = messages.decode_error(message)
    else:
        _await_end(state)
        paths = state["cgroup"].get("paths") or {}
        return pyruntime.engine.child.failures.ended_early(
            process.wait_status(state["pid"]), container.read_config(), paths
        )
    if shown:
        pyruntime.engine.child.program.explain(error, head, container.read_config())
    return error


def _plan(container: "Container", state: "StateFile") -> "Plan":
    """Compile the plan of init's process once more: init reports a failed step by its number in that plan."""
    host = pyruntime.host.facts.facts(pyruntime.plan.facts.CgroupHost("", {}))
    context = pyruntime.plan.context.Context(container.read_config(), host, state["bundle"], state["id"])
    return pyruntime.plan.exec.compile_exec(
        context, pyruntime.plan.cgroup.cgroup.CgroupPlan(host.cgroup.mode, "", {}, [], [], False)
    )


def _await_end(state: "StateFile") -> None:
    """Wait until init, which has failed, has ended: callers may delete the container at once, so it must be stopped.

    Not if a signal made this process give up: then init has not failed.
    """
    pidfd = lib.pyr_pidfd_open(state["pid"])
    if pidfd < 0:
        return
    try:
        if process.alive(state["pid"], state["start_time"]):
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            deadline = time.monotonic() + _PATIENCE
            while not os.call(poll.poll, PATIENCE) and time.monotonic() < deadline and not lib.pyr_signal_to_end():
                pass
    finally:
        os.close(pidfd)


def _poststart(container: "Container", state: "StateFile") -> None:
    # Upholds runtime.md#lifecycle/poststart, config.md#posix-platform-hooks/poststart-namespace,
    # config.md#poststart/when.
    if not state["hooks"].get("poststart"):
        return
    steps = list(pyruntime.plan.hooks.hooks({"hooks": state["hooks"]}, "poststart"))
    try:
        pyruntime.protocol.run_hooks.run(steps, pyruntime.operations.state.spec_state(state, "running"))
    except Error as error:
        error.show({"hooks": state["hooks"]})
        # runtime.md#lifecycle, step 9: stop the container, continue at step 12.
        pyruntime.operations.delete.destroy(container, state)
        raise
