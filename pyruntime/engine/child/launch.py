"""Makes the child, writes its id maps, and waits until it is ready. What it reports becomes an Error."""

import errno

import pyruntime
from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.engine.child.child import PATIENCE, Child, check_signals, pass_senders
from pyruntime.plan.cgroup.cgroup import UNIFIED
from pyruntime.plan.namespaces import TYPES
from pyruntime.protocol import messages
from pyruntime.store import process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.base.undo import Undo
    from pyruntime.cgroup.cgroup import Cgroup
    from pyruntime.engine.child.host_files import HostFiles
    from pyruntime.engine.child.request import Request
    from pyruntime.engine.seccomp.filter import Filter
    from pyruntime.plan.plan import Plan
    from pyruntime.spec.json_types import Config

# Errnos of the kernel if a group of cgroup v2 can have no process: it has enabled controllers for the groups below it,
# or a threaded group prevents it.
_NO_PLACE = (errno.EBUSY, errno.EOPNOTSUPP)
_DIGITS = 10  # of a pid
_LISTENER = "anon_inode:seccomp notify"  # the kernel's name of a filter's listener: no file has a name without a slash
# Messages about events (--debug, --trace) before another one, besides those of the steps: far more than hooks make.
_EVENTS = 1 << 16


def spawn(request: "Request", undo: "Undo") -> Child:
    """Clone the process, and prepare it until its steps begin. Returns in the host only.

    Closes `request.host_files`: the child has copies of these descriptors. Raises Error for any failure.
    """
    plan, host_files = request.plan, request.host_files
    pair = ffi.new("int[2]")
    error = lib.pyr_socketpair(pair)
    if error:
        raise Error("cannot make a socket pair", errno=-error)
    child = Child(pair[0], request.cgroup)
    undo.push(child.kill)
    lib.pyr_set_patience(child.sync, PATIENCE)
    sync = host_files.own(pair[1])
    spawn, stub = _spawn_request(request, child, sync)
    if log.events is not None:
        child.steps = request.arrays.numbered
        stub.marks = sync
    if child.alone:
        pass_senders(child.sync, True)
    network = _network(plan, host_files)
    attach = _clone(child, request, spawn, stub)
    if spawn.cgroup >= 0 and not child.has_begun():
        pyruntime.engine.child.again.prepare(child, request, spawn)
        _clone(child, request, spawn, stub)
    host_files.close()
    if network >= 0:
        host_files.own(network)
    if attach:
        pyruntime.cgroup.systemd.attach(request.cgroup, child.pid, request.beside)
    first = child.pid
    _accompany(child, request, spawn)
    if attach and child.pid != first:
        pyruntime.cgroup.systemd.attach(request.cgroup, child.pid, request.beside)
    if plan.net_devices:
        if network < 0:
            network = host_files.own(os.open(f"/proc/{child.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        pyruntime.engine.network.devices.move(plan.net_devices, network, undo)
        messages.send(child.sync, messages.GO)
    return child


def _clone(child: Child, request: "Request", spawn: "Any", stub: "Any") -> bool:
    """Make the process, which becomes `child`. Raises Error; returns whether it is still to be put into its groups."""
    plan, cgroup, pidfd = request.plan, request.cgroup, ffi.new("int *", -1)
    # If the user's systemd owns the group, but no group above both it and this process, only root can move a process
    # there (cgroups(7), delegation). clone3 then fails, and systemd has the system's instance do it.
    users = cgroup.unit is not None and cgroup.unit["user"]
    attach = False
    pid = lib.pyr_spawn(spawn, stub, pidfd)
    if request.beside and -pid in _NO_PLACE:
        cgroup = request.cgroup = pyruntime.cgroup.beside.beside(cgroup, request.beside)
        spawn.cgroup = cgroup.fd
        pid = lib.pyr_spawn(spawn, stub, pidfd)
    if log.events is not None and pid != 0:
        log.events.child = max(pid, 0)
        log.events.done(f"clone3 makes process {pid}" if pid > 0 else "clone3 fails")
        for step in (*plan.namespaces, *(step for step in plan.maps if step.op == "timens_offsets")):
            log.events.note(step)
    if users and pid == -errno.EACCES:
        attach = True
        spawn.cgroup = -1
        pid = lib.pyr_spawn(spawn, stub, pidfd)
    if pid == 0:
        assert request.orders is not None
        request.orders.main(request.orders)
    if pid < 0:
        if pid == -errno.EAGAIN and spawn.cgroup >= 0:
            pyruntime.cgroup.room.refuse_full(cgroup, 0)
        raise pyruntime.engine.child.failures.clone_error(-pid, spawn.clone_flags, cgroup.paths.get(UNIFIED, ""))
    child.pid, child.pidfd = pid, pidfd[0]
    return attach


def _network(plan: "Plan", host_files: "HostFiles") -> int:
    """Return a descriptor of the network namespace that is joined, if devices move into it; otherwise -1."""
    if not plan.net_devices:
        return -1
    return pyruntime.engine.network.devices.joined(host_files)


def _spawn_request(request: "Request", child: Child, sync: int) -> "tuple[Any, Any]":
    """Return `struct spawn` (csrc/stub/plan.h says what its flags mean) and the `struct stub` of its steps.

    What they point to is kept by `request.arrays` and `request.host_files`, which also owns the descriptors.
    """
    plan, arrays, host_files, cgroup = request.plan, request.arrays, request.host_files, request.cgroup
    made = 0
    for step in plan.namespaces:
        if step.op == "clone":
            made |= TYPES[step.args["namespace"]][0]
    joined = 0
    for _, kind in host_files.joins:
        joined |= kind
    spawn = ffi.new("struct spawn *")
    spawn.clone_flags = made & ~lib.CLONE_NEWCGROUP
    spawn.sync = sync
    spawn.host_sync = child.sync
    spawn.cgroup = cgroup.fd
    spawn.back = -1
    but = None
    if plan.cgroup.tight is not None and cgroup.paths:
        but = _join_late(spawn, plan.cgroup.tight, host_files, cgroup, child, leave=bool(made & lib.CLONE_NEWCGROUP))
    if plan.cgroup.delegate is not None:
        child.late = f"{cgroup.unified}{plan.cgroup.delegate.args['path']}/cgroup.procs"
    tasks = [host_files.own(fd) for fd in cgroup.task_fds(but)]
    spawn.tasks = host_files.pin(ffi.new("int[]", tasks or [-1]))
    spawn.task_count = len(tasks)
    spawn.joins = host_files.pin(ffi.new("struct join[]", host_files.joins or 1))
    spawn.join_count = len(host_files.joins)
    for step in plan.maps:
        if step.op == "timens_offsets":
            spawn.time_offsets = host_files.pin(ffi.new("char[]", step.args["text"].encode()))
    flags = lib.SPAWN_WAIT if plan.net_devices else 0
    # Without a final affinity, that of exec is left to the kernel (config.md#linux-process).
    if not plan.affinity:
        flags |= lib.SPAWN_ALL_CPUS
    if request.copies:
        flags |= lib.SPAWN_COPY_FILES
    if made & lib.CLONE_NEWCGROUP:
        flags |= lib.SPAWN_CGROUP
    if made & lib.CLONE_NEWUSER:
        flags |= lib.SPAWN_MAPS
        if plan.maps_root():
            flags |= lib.SPAWN_BECOME_ROOT
    elif joined & lib.CLONE_NEWUSER:
        flags |= lib.SPAWN_BECOME_ROOT
    through = joined & (lib.CLONE_NEWUSER | lib.CLONE_NEWPID | lib.CLONE_NEWTIME) or made & lib.CLONE_NEWTIME
    if through or (made & lib.CLONE_NEWUSER and joined) or request.orders is None:
        flags |= lib.SPAWN_VIA
        child.alone = True
    if joined & lib.CLONE_NEWPID and request.orders is not None:
        # No process there can see it as long as it has a resource of the host.
        flags |= lib.SPAWN_CROSS
        child.crosses = True
    if not flags & lib.SPAWN_MAPS and spawn.cgroup >= 0:
        # Without a message the process has done nothing, and another one may be made: again.py.
        flags |= lib.SPAWN_TELL
    execution = arrays.execution(plan, request.preserve, request.seccomp.raw if request.seccomp else None)
    steps = [*plan.process, *plan.landlock]
    process = arrays.array(steps)
    orders = request.orders
    build = plan.build if orders is not None else [*plan.build, *plan.labels]
    spawn.build, spawn.build_count = arrays.array(build), len(build)
    spawn.gate = -1
    if orders is None or not (child.crosses or orders.needs_python()):
        spawn.process, spawn.process_count = process, len(steps)
        spawn.execution = execution
    if orders is None:
        flags |= lib.SPAWN_EXEC
        if child.late or request.resctrl:
            flags |= lib.SPAWN_LATE
    elif spawn.execution != ffi.NULL:
        enter = [*plan.enter, *plan.labels]
        spawn.enter, spawn.enter_count = arrays.array(enter), len(enter)
        spawn.gate = orders.gate
        if plan.hooks["prestart"] or plan.hooks["createRuntime"]:
            flags |= lib.SPAWN_HOOKS
        if child.late:
            flags |= lib.SPAWN_LATE
        if orders.at_once:
            flags |= lib.SPAWN_AT_ONCE
    else:
        # Init cannot import: what it needs is loaded before the clone.
        if log.events is not None:
            from pyruntime.plan import step_text  # noqa: F401  # late: the text of its events
        orders.main = pyruntime.init.main.main
        orders.enter, orders.labels, orders.process = arrays.array(plan.enter), arrays.array(plan.labels), process
        orders.execution, orders.sync, orders.late = execution, sync, bool(child.late)
        orders.crosses, orders.stub = child.crosses, arrays.stub(request.console)
    spawn.flags = flags
    return spawn, orders.stub if orders is not None and orders.stub is not None else arrays.stub(request.console)


def _join_late(
    spawn: "Any",
    tight: "tuple[str, str]",
    host_files: "HostFiles",
    cgroup: "Cgroup",
    child: Child,
    *,
    leave: bool,
) -> str | None:
    """Have the child join the group that limits its memory when it is ready, and not before; return its controller.

    leave  for a new cgroup namespace, whose root are the groups of the process that makes it: init joins all groups,
           makes the namespace, and leaves this group again. Then this returns no controller
    """
    controller, outside = tight
    back = -1
    if leave:
        try:
            back = host_files.own(os.open(outside, os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            return None  # an ordinary user cannot move it back, so init stays
    child.late = f"{cgroup.paths[controller]}/cgroup.procs"
    spawn.back = back
    if leave:
        return None
    if controller == UNIFIED:
        spawn.cgroup = -1
    return controller


def _accompany(child: Child, request: "Request", spawn: "Any") -> None:
    """Write the maps that the new process waits for; get the pid of init from an intermediate process.

    Raises Error for a failure that the child reports.
    """
    plan = request.plan
    tells, maps = spawn.flags & lib.SPAWN_TELL, spawn.flags & lib.SPAWN_MAPS
    if tells and not maps:
        expect(child, plan, messages.BEGUN)
    if maps:
        expect(child, plan, bytes([lib.MESSAGE_MAPS]))
        pyruntime.engine.child.id_maps.write(child.pid, plan.maps)
        messages.send(child.sync, messages.GO)
    if spawn.flags & lib.SPAWN_EXEC and spawn.flags & lib.SPAWN_LATE:
        # Before processes of the container can see it: a child that they made it fork would stay outside of the groups.
        expect(child, plan, messages.WAITS)
        if request.resctrl:
            pyruntime.engine.intel_rdt.join(request.resctrl, child.pid)
        if not child.late or not child.hold_next():
            _join_groups(child, request)
        messages.send(child.sync, messages.GO)
    if spawn.flags & lib.SPAWN_VIA:
        go_on(child, plan)
    if child.held:
        _join_groups(child, request)
        child.let_go()
    if tells and maps:
        # It was to be made in its group, and has joined it instead.
        expect(child, plan, messages.BEGUN)


def go_on(child: Child, plan: "Plan") -> None:
    """Get the pid of the process that is `child` from now on, itself or its sibling; let it continue. Raises Error."""
    told = expect(child, plan, bytes([lib.MESSAGE_PID]))[1:]
    if not told.isdigit() or len(told) > _DIGITS:
        raise Error("the container's process failed", "its message makes no sense")
    pid = int(told)
    if pid != child.pid:
        child.follow(pid)
    if log.events is not None:
        log.events.child = pid
    messages.send(child.sync, messages.GO + told)


def cross(child: Child, plan: "Plan") -> bytes:
    """Let the child continue in a process that another container can see; return its message when it is ready."""
    messages.send(child.sync, messages.GO)
    go_on(child, plan)
    return expect(child, plan, messages.READY)


def _join_groups(child: Child, request: "Request") -> None:
    """Move the child into the group that limits its memory, if that was postponed. Raises Error."""
    try:
        child.join_late()
    except Error as error:
        if not request.beside or error.errno not in _NO_PLACE:
            raise
        request.cgroup = pyruntime.cgroup.beside.beside(request.cgroup, request.beside)
        child.late = f"{request.cgroup.unified}/cgroup.procs"
        child.join_late()


def expect(child: Child, plan: "Plan", kind: bytes) -> bytes:
    """Return the child's next message, which must be of `kind`. Raises Error for any other and for its death."""
    if log.events is not None:
        log.events.begin("wait for the container's process", "kernel")
    message = child.hear()
    if log.events is not None or child.alone:
        for _ in range(len(child.steps) + _EVENTS):
            if child.alone and message == bytes([lib.MESSAGE_CROWDED]):
                child.make_room()
                messages.send(child.sync, messages.GO)
            elif not messages.told(message, child.steps):
                break
            check_signals()
            message = child.hear()
    if log.events is not None:
        log.events.end()
        messages.received(message)
    if message[:1] == kind:
        return message
    raise _failure(child, plan, message)


def expect_execution(child: Child, request: "Request", config: "Config") -> None:
    """Wait until the child has executed its program; for a process of exec. Raises Error.

    config  the container's configuration, for the words of the error

    The filter's listener, which the process sends after it has loaded the filter, is passed on to the agent.
    """
    plan, seccomp = request.plan, request.seccomp
    expect(child, plan, messages.EXECUTES)
    if seccomp is not None and seccomp.listener >= 0:
        _pass_listener(child, plan, seccomp)
    if log.events is not None:
        log.events.begin("wait for execve", "kernel")
    message = child.hear(executes=True)
    if log.events is not None:
        log.events.end()
        messages.received(message)
    if message or not process.has_executed(child.pid):
        raise _why_not(child, request, message, config)


def _why_not(child: Child, request: "Request", message: bytes, config: "Config") -> Error:
    """Return the Error for a program that was not executed, from the child's message."""
    if not message:
        return pyruntime.engine.child.failures.ended_early(child.end(), config, request.cgroup.paths)
    error = pyruntime.engine.child.failures.failure(message, request.plan)
    if error.step == "execve":
        pyruntime.engine.child.program.explain(error, child.hear()[1:], config)
    return error


def _pass_listener(child: Child, plan: "Plan", seccomp: "Filter") -> None:
    pass_senders(child.sync, False)
    data, fd = ffi.new("char[]", ffi.sizeof("struct message_step")), ffi.new("int *")
    while True:
        size = lib.pyr_receive(child.sync, data, ffi.sizeof("struct message_step"), fd)
        if size != -errno.EAGAIN:
            break
        if child.is_gone():
            raise _failure(child, plan, b"")
    if size < 0:
        raise Error("cannot take the seccomp descriptor", step="recvmsg", errno=-size)
    message = bytes(ffi.buffer(data, size))
    if fd[0] < 0:
        raise _failure(child, plan, message)
    try:
        if os.readlink(f"/proc/self/fd/{fd[0]}") != _LISTENER:
            raise Error("the container's process failed", "what it sent is no listener of a seccomp filter")
        sent = seccomp.send(fd[0])
    finally:
        os.close(fd[0])
    if sent < 0:
        raise messages.step_error(plan.filter[0], -sent, "sendmsg", "")


def _failure(child: Child, plan: "Plan", message: bytes) -> Error:
    """Return the Error that `message` of the child tells of, or its death where there is no message."""
    return (
        pyruntime.engine.child.failures.failure(message, plan)
        if message
        else pyruntime.engine.child.failures.died(child.end(), plan, filtered=child.crosses)
    )
