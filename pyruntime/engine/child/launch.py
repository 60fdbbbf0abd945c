"""The child: cloned, mapped, accompanied until it is ready; what it reports becomes an Error."""

import errno
import select

from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
from pyruntime.cgroup.files import write_file
from pyruntime.init import main as init
from pyruntime.plan.cgroup.cgroup import UNIFIED
from pyruntime.plan.namespaces import TYPES
from pyruntime.protocol import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyruntime.base.undo import Undo
    from pyruntime.cgroup.cgroup import Cgroup
    from pyruntime.engine.child.host_files import Sources
    from pyruntime.engine.child.step_array import Program
    from pyruntime.engine.seccomp.filter import Filter
    from pyruntime.plan.plan import Plan
    from pyruntime.plan.step import Step

_KILL = 9
_PATIENCE = 1000  # milliseconds after which the host looks whether it still makes sense to wait for a message
_LAST_PATIENCE = 5000  # milliseconds for a killed process to end: one that is frozen does not

# What ends the wait for a process that does not get on, where signals are held back for it: SIGHUP, SIGINT, SIGQUIT,
# SIGTERM.
_IMPATIENT = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14


class Child:
    """Init, or a process of exec, as the host holds it.

    pid, pidfd  0 and -1 until it exists
    sync        the socket to it
    late        the file by which it joins the group that limits its memory, once it is ready; "" for none
    """

    __slots__ = ("late", "pid", "pidfd", "sync")

    def __init__(self, sync: int) -> None:
        self.sync = sync
        self.pid = 0
        self.pidfd = -1
        self.late = ""

    def kill(self) -> None:
        """End the process, wait for its end, and let go of it. For a container that is given up."""
        if self.pidfd >= 0:
            lib.pyr_pidfd_send_signal(self.pidfd, _KILL)
        elif self.pid > 0:
            # Nobody has waited for it yet, so that the number is its own.
            os.kill(self.pid, _KILL)
        if self.pid > 0:
            if self.pidfd < 0 or _ends(self.pidfd, _LAST_PATIENCE):
                _reap(self.pid)
            self.pid = 0
        self.close()

    def join_late(self) -> None:
        """Move the process into the group that limits its memory, where that was put off. Raises Error."""
        if not self.late:
            return
        path, self.late = self.late, ""
        try:
            write_file(path, str(self.pid))
        except OSError as error:
            doing, clause = "cannot join the container's cgroup", "config-linux.md#control-groups"
            raise Error(doing, clause=clause, step=f"write({path})", errno=error.errno or 0) from None

    def await_end(self) -> None:
        """Wait for the end of the process. Raises Error where a signal asks to give up."""
        while self.pidfd >= 0 and not _ends(self.pidfd, _PATIENCE):
            number = _signal_to_end()
            if number:
                raise Error("given up waiting for the container's process", f"signal {number} came")
        _reap(self.pid)

    def take_sync(self) -> int:
        """Return the socket, which is the caller's from now on."""
        sync, self.sync = self.sync, -1
        return sync

    def close(self) -> None:
        """Close the descriptors; the process goes on."""
        for fd in (self.sync, self.pidfd):
            if fd >= 0:
                os.close(fd)
        self.sync = self.pidfd = -1


def _reap(pid: int) -> int:
    """Wait for child `pid` and return its wait status; 0 when it is not ours (any more)."""
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return 0


def _ends(pidfd: int, milliseconds: int) -> bool:
    """Wait at most so long for the end of a process; tell whether it has come."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(os.call(poll.poll, milliseconds))


class Request:
    """The process to make.

    plan, program, sources, cgroup   what it is made of, with and in
    orders    what its init does; None for a process of exec, which comes to its program without Python
    console   socket that takes the terminal's master, or -1
    preserve  how many descriptors from 3 on its program inherits
    seccomp   the filter to load before the program, or None
    """

    __slots__ = ("cgroup", "console", "orders", "plan", "preserve", "program", "seccomp", "sources")

    def __init__(
        self,
        plan: "Plan",
        program: "Program",
        sources: "Sources",
        cgroup: "Cgroup",
        *,
        orders: "init.Orders | None" = None,
        console: int = -1,
        preserve: int = 0,
        seccomp: "Filter | None" = None,
    ) -> None:
        self.plan = plan
        self.program = program
        self.sources = sources
        self.cgroup = cgroup
        self.orders = orders
        self.console = console
        self.preserve = preserve
        self.seccomp = seccomp


def spawn(request: Request, undo: "Undo") -> Child:
    """Clone the process, and accompany it until its steps begin; returns in the host only.

    Closes `request.sources`: the child has what is in it. Raises Error for whatever goes wrong on the way.
    """
    plan, sources, cgroup = request.plan, request.sources, request.cgroup
    pair = ffi.new("int[2]")
    error = lib.pyr_socketpair(pair)
    if error:
        raise Error("cannot make a socket pair", errno=-error)
    child = Child(pair[0])
    undo.push(child.kill)
    lib.pyr_set_patience(child.sync, _PATIENCE)
    sync = sources.own(pair[1])
    spawn, stub = _spawn_request(request, child, sync)
    network = _network(plan, sources)
    pidfd = ffi.new("int *", -1)
    # The user's own systemd owns the group, but no group that is above both it and this process: the kernel lets nobody
    # but root move a process there (cgroups(7), delegation). systemd has the system's one do it. Whether that is so
    # shows at once.
    users = cgroup.unit is not None and cgroup.unit["user"]
    attach = False
    pid = lib.pyr_spawn(spawn, stub, pidfd)
    if users and pid == -errno.EACCES:
        attach = True
        spawn.cgroup = -1
        pid = lib.pyr_spawn(spawn, stub, pidfd)
    if pid == 0:
        assert request.orders is not None
        init.main(request.orders)
    if pid < 0:
        raise _clone_error(-pid, spawn.clone_flags)
    child.pid, child.pidfd = pid, pidfd[0]
    sources.close()
    if network >= 0:
        sources.own(network)
    if attach:
        from pyruntime.cgroup import systemd

        systemd.attach(cgroup, pid)
    _accompany(child, plan, spawn)
    if attach and child.pid != pid:
        systemd.attach(cgroup, child.pid)
    if plan.net_devices:
        from pyruntime.engine.network import devices as net_devices

        if network < 0:
            network = sources.own(os.open(f"/proc/{child.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC))
        net_devices.move(plan.net_devices, network, undo)
        messages.send(child.sync, messages.GO)
    return child


def _network(plan: "Plan", sources: "Sources") -> int:
    """Return a descriptor of the network namespace that is joined, if devices move into it; otherwise -1."""
    if not plan.net_devices:
        return -1
    from pyruntime.engine.network import devices as net_devices

    return net_devices.joined(sources)


def _spawn_request(request: Request, child: Child, sync: int) -> "tuple[Any, Any]":
    """Return `struct spawn` (csrc/stub/plan.h says what its flags mean) and the `struct stub` of its steps.

    What they point to is kept by `request.program` and `request.sources`, which also owns the descriptors.
    """
    plan, program, sources, cgroup = request.plan, request.program, request.sources, request.cgroup
    made = 0
    for step in plan.namespaces:
        if step.op == "clone":
            made |= TYPES[step.args["namespace"]][0]
    joined = 0
    for _, kind in sources.joins:
        joined |= kind
    spawn = ffi.new("struct spawn *")
    spawn.clone_flags = made & ~lib.CLONE_NEWCGROUP
    spawn.sync = sync
    spawn.host_sync = child.sync
    spawn.cgroup = cgroup.fd
    spawn.back = -1
    but = None
    if plan.cgroup.tight is not None and cgroup.paths:
        but = _join_late(spawn, plan.cgroup.tight, sources, cgroup, child, leave=bool(made & lib.CLONE_NEWCGROUP))
    tasks = [sources.own(fd) for fd in cgroup.task_fds(but)]
    spawn.tasks = sources.pin(ffi.new("int[]", tasks or [-1]))
    spawn.task_count = len(tasks)
    spawn.joins = sources.pin(ffi.new("struct join[]", sources.joins or 1))
    spawn.join_count = len(sources.joins)
    for step in plan.maps:
        if step.op == "timens_offsets":
            spawn.time_offsets = sources.pin(ffi.new("char[]", step.args["text"].encode()))
    flags = lib.SPAWN_WAIT if plan.net_devices else 0
    if made & lib.CLONE_NEWCGROUP:
        flags |= lib.SPAWN_CGROUP
    if made & lib.CLONE_NEWUSER:
        flags |= lib.SPAWN_MAPS
        if _maps_root(plan):
            flags |= lib.SPAWN_BECOME_ROOT
    elif joined & lib.CLONE_NEWUSER:
        flags |= lib.SPAWN_BECOME_ROOT
    through = joined & (lib.CLONE_NEWUSER | lib.CLONE_NEWPID | lib.CLONE_NEWTIME) or made & lib.CLONE_NEWTIME
    if through or (made & lib.CLONE_NEWUSER and joined) or request.orders is None:
        flags |= lib.SPAWN_VIA
    spawn.flags = flags
    execution = program.execution(plan, request.preserve, request.seccomp.raw if request.seccomp else None)
    steps = [*plan.process, *plan.landlock]
    process = program.array(steps)
    if request.orders is None:
        build = [*plan.build, *plan.labels]
        spawn.build, spawn.build_count = program.array(build), len(build)
        spawn.process, spawn.process_count = process, len(steps)
        spawn.execution = execution
        stub = program.stub(request.console)
    else:
        orders = request.orders
        spawn.build, spawn.build_count = program.array(plan.build), len(plan.build)
        orders.enter, orders.labels, orders.process = program.array(plan.enter), program.array(plan.labels), process
        orders.execution, orders.sync, orders.late = execution, sync, bool(child.late)
        stub = orders.stub = program.stub(request.console)
    return spawn, stub


def _join_late(
    spawn: "Any",
    tight: "tuple[str, str]",
    sources: "Sources",
    cgroup: "Cgroup",
    child: Child,
    *,
    leave: bool,
) -> str | None:
    """Have the child join the group that limits its memory when it is ready, and not before; return its controller.

    leave  a new cgroup namespace starts at the groups of who makes it: init joins all of them for it, then leaves this
           one again. Nothing is returned then
    """
    controller, outside = tight
    back = -1
    if leave:
        try:
            back = sources.own(os.open(outside, os.O_WRONLY | os.O_CLOEXEC))
        except OSError:
            return None  # an ordinary user has no way back: init stays
    child.late = f"{cgroup.paths[controller]}/cgroup.procs"
    spawn.back = back
    if leave:
        return None
    if controller == UNIFIED:
        spawn.cgroup = -1
    return controller


def _maps_root(plan: "Plan") -> bool:
    """Tell whether uid and gid 0 exist in the new user namespace."""
    return all(
        any(line.startswith("0 ") for line in step.args["text"].splitlines())
        for step in plan.maps
        if step.op in ("uid_map", "gid_map")
    )


def _accompany(child: Child, plan: "Plan", spawn: "Any") -> None:
    """Do what the new process waits for: write its maps, and learn init's pid where it came through another process.

    Raises Error for whatever the child reports.
    """
    if spawn.flags & lib.SPAWN_MAPS:
        expect(child, plan, bytes([lib.MESSAGE_MAPS]))
        from pyruntime.engine.child import id_maps

        id_maps.write(child.pid, plan.maps)
        messages.send(child.sync, messages.GO)
    if spawn.flags & lib.SPAWN_VIA:
        pid = int(expect(child, plan, bytes([lib.MESSAGE_PID]))[1:])
        # It has nothing left to do, unless it is frozen first.
        child.await_end()
        os.close(child.pidfd)
        child.pid, child.pidfd = pid, lib.pyr_pidfd_open(pid)
        if child.pidfd < 0:
            raise Error("cannot hold on to the container's process", step="pidfd_open", errno=-child.pidfd)
        messages.send(child.sync, messages.GO)


def _hear(child: Child) -> bytes:
    """Return the child's next message, b"" when it is gone. Raises Error where waiting makes no sense any more.

    A child waits for nobody but the host, and is never long about it, unless it is frozen, or its machine is busy. Its
    other half, the intermediate process, may have died between making it and telling of it.
    """
    while True:
        try:
            return messages.read(child.sync)
        except BlockingIOError:
            number = _signal_to_end()
            if number:
                raise Error("given up waiting for the container's process", f"signal {number} came") from None
            if child.pidfd >= 0 and _ends(child.pidfd, 0) and not _ends(child.sync, 0):
                return b""


def _signal_to_end() -> int:
    pending = lib.pyr_pending_signals() & _IMPATIENT
    return int(pending & -pending).bit_length()


def expect(child: Child, plan: "Plan", kind: bytes) -> bytes:
    """Return the child's next message, which must be of `kind`. Raises Error for any other and for its death."""
    message = _hear(child)
    if message[:1] == kind:
        return message
    if not message:
        raise _died(child, plan)
    raise failure(message, plan)


def left(ready: bytes, plan: "Plan") -> "list[Step]":
    """Return the limits that the child's message of being ready leaves to the host."""
    return [step for index, step in enumerate(plan.limits) if index in ready[1:]]


def failure(message: bytes, plan: "Plan") -> Error:
    """Return the Error that a message of the child tells of."""
    if message[:1] == messages.FAILED:
        return messages.decode_error(message, plan)
    report = messages.Report(message)
    if report.kind == lib.MESSAGE_STEP:
        return messages.failure(plan, report.where, report.index, report.error, report.call, report.text)
    if report.kind == lib.MESSAGE_SPAWN:
        return _spawn_error(plan, report)
    return Error("the container's process failed", "its message makes no sense")


def expect_execution(child: Child, plan: "Plan", seccomp: "Filter | None") -> None:
    """Wait until the child has executed its program; for a process of exec. Raises Error.

    The filter's listener, which it sends when it has loaded the filter, goes on to the agent.
    """
    expect(child, plan, messages.EXECUTES)
    if seccomp is not None and seccomp.listener >= 0:
        _pass_listener(child, plan, seccomp)
    message = _hear(child)
    if message:
        raise failure(message, plan)


def _pass_listener(child: Child, plan: "Plan", seccomp: "Filter") -> None:
    data, fd = ffi.new("char[]", ffi.sizeof("struct message_step")), ffi.new("int *")
    while True:
        size = lib.pyr_receive(child.sync, data, ffi.sizeof("struct message_step"), fd)
        if size != -errno.EAGAIN:
            break
        number = _signal_to_end()
        if number:
            raise Error("given up waiting for the container's process", f"signal {number} came")
    if size < 0:
        raise Error("cannot take the seccomp descriptor", step="recvmsg", errno=-size)
    if size == 0:
        raise _died(child, plan)
    message = bytes(ffi.buffer(data, size))
    if fd[0] < 0:
        raise failure(message, plan)
    try:
        sent = seccomp.send(fd[0])
    finally:
        os.close(fd[0])
    if sent < 0:
        raise messages.step_error(plan.filter[0], -sent, "sendmsg", "")


def _spawn_error(plan: "Plan", report: "messages.Report") -> Error:
    joins = [step for step in plan.namespaces if step.op == "setns"]
    if 0 <= report.index < len(joins):
        step: Step = joins[report.index]
        doing = f"cannot join the {step.args['namespace']} namespace {step.args['path']}"
        return Error(doing, pointer=step.pointer, clause=step.clause, step=report.call, errno=report.error)
    for step in plan.maps:
        if step.op == "timens_offsets" and step.op in report.text:
            return Error(
                "cannot set the offsets of the clocks",
                step.args["text"].strip().replace("\n", ", "),
                pointer=step.pointer,
                clause=step.clause,
                step=f"{report.call}({report.text})",
                errno=report.error,
            )
    return Error(
        "cannot make the container's first process",
        report.text,
        pointer="/linux/namespaces",
        clause="config-linux.md#namespaces",
        step=report.call,
        errno=report.error,
    )


def _died(child: Child, plan: "Plan") -> Error:
    doing = "the container's first process died"
    status = _reap(child.pid)
    child.pid = 0
    if not os.WIFSIGNALED(status):
        return Error(doing, f"it exited with status {os.waitstatus_to_exitcode(status)}")
    number = os.WTERMSIG(status)
    if number == _KILL:
        from pyruntime.cgroup import oom

        for step in plan.cgroup.steps:
            if step.pointer.startswith("/linux/resources/memory/") and oom.kills(plan.cgroup.groups):
                return Error(
                    doing,
                    "its memory limit is too low for it: the kernel killed it",
                    pointer=step.pointer,
                    clause=step.clause,
                    step=step,
                )
    advice = "a memory limit too low for it is the usual reason" if number == _KILL else ""
    return Error(doing, f"killed by signal {number}", advice=advice)


def _clone_error(error: int, flags: int) -> Error:
    """Return the Error for a clone3 that the kernel refused with errno `error`; `flags` are its CLONE_NEW*."""
    names = [name for name, (flag, _) in TYPES.items() if flags & flag]
    return Error(
        "cannot make the container's first process",
        f"new namespaces: {', '.join(names)}" if names else "",
        pointer="/linux/namespaces",
        clause="config-linux.md#namespaces",
        step="clone3",
        errno=error,
    )
