"""The child: cloned, mapped, accompanied until it is ready; what it reports becomes an Error."""

import errno

from pyruntime._stub import ffi, lib
from pyruntime.base import lean_os as os
from pyruntime.base.errors import Error
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
    from pyruntime.plan.plan import Plan
    from pyruntime.plan.step import Step

_KILL = 9


class Child:
    """Init as the host holds it: `pid` and `pidfd` are 0 and -1 until it exists; `sync` is the socket to it."""

    __slots__ = ("pid", "pidfd", "sync")

    def __init__(self, sync: int) -> None:
        self.sync = sync
        self.pid = 0
        self.pidfd = -1

    def kill(self) -> None:
        """End the process, wait for its end, and let go of it. For a container that is given up."""
        if self.pidfd >= 0:
            lib.pyr_pidfd_send_signal(self.pidfd, _KILL)
        elif self.pid > 0:
            # Nobody has waited for it yet, so that the number is its own.
            os.kill(self.pid, _KILL)
        if self.pid > 0:
            _reap(self.pid)
            self.pid = 0
        self.close()

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


def spawn(
    plan: "Plan",
    program: "Program",
    sources: "Sources",
    cgroup: "Cgroup",
    orders: init.Orders,
    undo: "Undo",
) -> Child:
    """Clone the process that will follow `orders`, and accompany it until its steps begin; returns in the host only.

    Closes `sources`: the child has what is in it. Raises Error for whatever goes wrong on the way.
    """
    pair = ffi.new("int[2]")
    error = lib.pyr_socketpair(pair)
    if error:
        raise Error("cannot make a socket pair", errno=-error)
    child = Child(pair[0])
    undo.push(child.kill)
    orders.sync = sources.own(pair[1])
    build, orders.enter = program.array(plan.build), program.array(plan.enter)
    orders.stub = program.stub()
    request = _spawn_request(plan, sources, cgroup, orders, child.sync)
    network = _network(plan, sources)
    pidfd = ffi.new("int *", -1)
    # The user's own systemd owns the group, but no group that is above both it and this process: the kernel lets nobody
    # but root move a process there (cgroups(7), delegation). systemd has the system's one do it. Whether that is so
    # shows at once, unless there is an intermediate process, which fails by itself.
    users = cgroup.unit is not None and cgroup.unit["user"]
    attach = users and bool(request.flags & lib.SPAWN_VIA)
    if attach:
        request.cgroup = -1
    pid = lib.pyr_spawn(request, orders.stub, build, len(plan.build), pidfd)
    if users and not attach and pid == -errno.EACCES:
        attach = True
        request.cgroup = -1
        pid = lib.pyr_spawn(request, orders.stub, build, len(plan.build), pidfd)
    if pid == 0:
        init.main(orders)
    if pid < 0:
        raise _clone_error(-pid, request.clone_flags)
    child.pid, child.pidfd = pid, pidfd[0]
    sources.close()
    if network >= 0:
        sources.own(network)
    if attach:
        from pyruntime.cgroup import systemd

        systemd.attach(cgroup, pid)
    _accompany(child, plan, request)
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


def _spawn_request(plan: "Plan", sources: "Sources", cgroup: "Cgroup", orders: init.Orders, host_sync: int) -> "Any":
    """Return `struct spawn` for the namespaces of `plan` (csrc/stub/plan.h says what its flags mean).

    What it points to is kept by `sources`, which also owns the descriptors.
    """
    made = 0
    for step in plan.namespaces:
        if step.op == "clone":
            made |= TYPES[step.args["namespace"]][0]
    joined = 0
    for _, kind in sources.joins:
        joined |= kind
    spawn = ffi.new("struct spawn *")
    spawn.clone_flags = made & ~lib.CLONE_NEWCGROUP
    spawn.sync = orders.sync
    spawn.host_sync = host_sync
    spawn.cgroup = cgroup.fd
    spawn.back = -1
    but = None
    if plan.cgroup.tight is not None and cgroup.paths:
        but = _join_late(spawn, plan.cgroup.tight, sources, cgroup, orders, leave=bool(made & lib.CLONE_NEWCGROUP))
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
    if through or (made & lib.CLONE_NEWUSER and joined):
        flags |= lib.SPAWN_VIA
    spawn.flags = flags
    return spawn


def _join_late(
    spawn: "Any",
    tight: "tuple[str, str]",
    sources: "Sources",
    cgroup: "Cgroup",
    orders: init.Orders,
    *,
    leave: bool,
) -> str | None:
    """Have init join the group that limits its memory when it is ready, and not before; return its controller.

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
    orders.group = sources.own(cgroup.entry_fd(controller))
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
        _reap(child.pid)
        os.close(child.pidfd)
        child.pid, child.pidfd = pid, lib.pyr_pidfd_open(pid)
        if child.pidfd < 0:
            raise Error("cannot hold on to the container's process", step="pidfd_open", errno=-child.pidfd)
        messages.send(child.sync, messages.GO)


def expect(child: Child, plan: "Plan", kind: bytes) -> bytes:
    """Return the child's next message, which must be of `kind`. Raises Error for any other and for its death."""
    message = messages.read(child.sync)
    if message[:1] == kind:
        return message
    if not message:
        raise _died(child, plan)
    if message[:1] == messages.FAILED:
        raise messages.decode_error(message, plan)
    report = messages.Report(message)
    if report.kind == lib.MESSAGE_STEP:
        raise messages.step_error(plan.build[report.index], report.error, report.call, report.text)
    raise _spawn_error(plan, report)


def expect_execution(child: Child, plan: "Plan") -> None:
    """Wait until the child has executed its program; for one that waits for no start. Raises Error."""
    expect(child, plan, messages.EXECUTES)
    message = messages.read(child.sync)
    if message:
        raise messages.decode_error(message, plan)


def _spawn_error(plan: "Plan", report: "messages.Report") -> Error:
    joins = [step for step in plan.namespaces if step.op == "setns"]
    if report.index >= 0:
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
