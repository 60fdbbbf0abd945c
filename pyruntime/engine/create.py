"""The create operation (runtime.md#create): from a bundle to a container whose process waits for start."""

import os
import time

from pyruntime import cgroup as cgroups
from pyruntime import log
from pyruntime._stub import ffi, lib
from pyruntime.cgroup import Cgroup
from pyruntime.engine import hooks, launch, limits, messages
from pyruntime.engine.program import Program
from pyruntime.engine.sources import Sources
from pyruntime.engine.undo import Undo
from pyruntime.errors import Error
from pyruntime.host.facts import facts
from pyruntime.init import main as init
from pyruntime.plan import Context, compile_plan
from pyruntime.spec import load_config
from pyruntime.store import container as containers
from pyruntime.store.process import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.launch import Child
    from pyruntime.host.facts import Facts
    from pyruntime.plan.plan import Plan
    from pyruntime.spec.types import Config, StateFile
    from pyruntime.store.container import Container

SPEC_VERSION = "1.3.0"


class CreateOptions:
    """What the caller decides about a container beside its bundle.

    root            state root, absolute
    bundle          the bundle's directory, absolute
    console_socket  path of the socket that receives the terminal's master, or None
    console_fd      instead of it: a connected socket, taken over, or -1
    pid_file        where to write init's pid, or None
    no_pivot        change the root without pivot_root(2)
    no_new_keyring  stay in the caller's session keyring
    preserve_fds    how many descriptors from 3 on the container's process inherits
    systemd_cgroup  let systemd make the cgroup
    rootless        "true", "false", "auto" or None; accepted as runc's callers pass it, and found out by itself
    """

    __slots__ = (
        "bundle",
        "console_fd",
        "console_socket",
        "no_new_keyring",
        "no_pivot",
        "pid_file",
        "preserve_fds",
        "root",
        "rootless",
        "systemd_cgroup",
    )

    def __init__(
        self,
        root: str,
        bundle: str,
        *,
        console_socket: str | None = None,
        console_fd: int = -1,
        pid_file: str | None = None,
        no_pivot: bool = False,
        no_new_keyring: bool = False,
        preserve_fds: int = 0,
        systemd_cgroup: bool = False,
        rootless: str | None = None,
    ) -> None:
        self.root = root
        self.bundle = bundle
        self.console_socket = console_socket
        self.console_fd = console_fd
        self.pid_file = pid_file
        self.no_pivot = no_pivot
        self.no_new_keyring = no_new_keyring
        self.preserve_fds = preserve_fds
        self.systemd_cgroup = systemd_cgroup
        self.rootless = rootless


def create(container_id: str, options: CreateOptions) -> int:
    """Create the container and return the pid of its init, a child of this process.

    Raises Error; then nothing of the container is left.
    """
    containers.check_id(container_id)
    config, plan = prepare(container_id, options)
    for warning in plan.warnings:
        log.warning(warning)
    with Undo() as undo:
        console = _console(config, options)
        if console >= 0:
            undo.push(os.close, console)
        program, sources = Program(), Sources()
        undo.push(sources.close)
        sources.open(plan, program, _facts(), options.bundle)
        container = containers.create(options.root, container_id)
        undo.push(container.close)
        undo.push(container.remove)
        child = _make(container, config, plan, program, sources, options, console, undo)
        undo.keep()
    sources.close()
    if console >= 0:
        os.close(console)
    child.close()
    container.close()
    return child.pid


_known: "list[Facts]" = []


def _facts() -> "Facts":
    """Return the host's facts, looked up once a process."""
    if not _known:
        _known.append(facts())
    return _known[0]


def prepare(container_id: str, options: CreateOptions) -> "tuple[Config, Plan]":
    """Load the bundle's configuration and compile its plan; nothing is changed. Raises Error."""
    config = load_config(options.bundle)
    host = _facts()
    if host.euid != 0 and not any(
        entry["type"] == "user" for entry in (config.get("linux") or {}).get("namespaces") or ()
    ):
        raise Error(
            "an ordinary user needs a user namespace to run a container",
            pointer="/linux/namespaces",
            clause="config-linux.md#namespaces",
            advice="pyruntime spec --rootless writes such a configuration",
        )
    if options.systemd_cgroup:
        raise Error(
            "this version of pyruntime does not support the systemd cgroup driver",
            clause="config-linux.md#control-groups",
        )
    _check_preserved(options.preserve_fds)
    context = Context(
        config,
        host,
        options.bundle,
        container_id,
        no_pivot=options.no_pivot,
        new_keyring=not options.no_new_keyring,
    )
    return config, compile_plan(context)


def _check_preserved(count: int) -> None:
    """Raise Error unless the descriptors to preserve exist: ours must not end up among them."""
    for fd in range(3, 3 + count):
        try:
            os.fstat(fd)
        except OSError as error:
            raise Error(f"cannot preserve descriptor {fd}", "--preserve-fds", errno=error.errno or 0) from None


def _console(config: "Config", options: CreateOptions) -> int:
    """Return a socket connected to whoever takes the terminal, or -1 without terminal. Raises Error."""
    if not (config.get("process") or {}).get("terminal"):
        if options.console_fd >= 0:
            os.close(options.console_fd)
        if options.console_socket:
            raise Error(
                "cannot send a terminal to the console socket",
                "the container has none",
                pointer="/process/terminal",
                clause="config.md#process",
                advice="leave out --console-socket, or set process.terminal to true",
            )
        return -1
    if options.console_fd >= 0:
        return options.console_fd
    if not options.console_socket:
        raise Error(
            "cannot make a terminal that nobody takes",
            "no console socket was given",
            pointer="/process/terminal",
            clause="config.md#process",
            advice="pass --console-socket, or set process.terminal to false",
        )
    folder, name = os.path.split(options.console_socket)
    directory = -1
    try:
        # By descriptor, because a socket's address holds only 107 bytes of path.
        directory = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        sock = lib.pyr_connect(os.fsencode(f"/proc/self/fd/{directory}/{name}"))
    except OSError as error:
        sock = -(error.errno or 1)
    finally:
        if directory >= 0:
            os.close(directory)
    if sock < 0:
        raise Error(f"cannot connect to the console socket {options.console_socket}", errno=-sock)
    return sock


def state_document(container_id: str, status: str, pid: int, bundle: str, config: "Config") -> "dict[str, object]":
    """Return the state as the spec has it (runtime.md#state), for hooks."""
    return {
        "ociVersion": SPEC_VERSION,
        "id": container_id,
        "status": status,
        "pid": pid,
        "bundle": bundle,
        "annotations": config.get("annotations") or {},
    }


def _state_file(container_id: str, config: "Config", options: CreateOptions) -> "StateFile":
    """Return the state file of a container that is being created."""
    return {
        **state_document(container_id, "creating", 0, options.bundle, config),  # type: ignore[typeddict-item]
        "version": containers.VERSION,
        "start_time": 0,
        "created": "",
        "rootfs": "",
        "owner": os.geteuid(),
        "process": "process" in config,
        "cgroup": {},
        "hooks": {kind: (config.get("hooks") or {}).get(kind) or [] for kind in ("poststart", "poststop")},
    }


def _make(
    container: "Container",
    config: "Config",
    plan: "Plan",
    program: Program,
    sources: Sources,
    options: CreateOptions,
    console: int,
    undo: Undo,
) -> "Child":
    """Make everything that outlives this process, each with its undoing."""
    cgroup = cgroups.prepare(plan.cgroup)
    state = _state_file(container.container_id, config, options)
    state["rootfs"] = next((step.args["source"] for step in plan.build if step.op == "root"), "")
    state["cgroup"] = cgroup.record
    # Written before anything else is made, so that whoever finds a container whose creator died knows what to remove.
    container.write(state)
    cgroup = _make_cgroup(cgroup, plan, undo)
    sources.open_cgroups(plan, program, _facts())
    gate = sources.own(container.listen())
    child = _spawn(container, plan, program, sources, cgroup, config, options, console, gate, undo)
    document = state_document(container.container_id, "creating", child.pid, options.bundle, config)
    try:
        _until_ready(child, plan, document)
    except Error:
        undo.push(_poststop, plan, {**document, "status": "stopped"})
        undo.push(child.kill)
        raise
    state["status"] = "created"
    state["pid"], state["start_time"] = child.pid, start_time(child.pid)
    state["created"] = _now()
    state["cgroup"] = cgroup.record
    container.write(state)
    if options.pid_file:
        _write_pid_file(options.pid_file, child.pid)
    if not messages.send(child.sync, messages.GO):
        raise Error("the container's first process died", "before it could wait for start")
    return child


def _make_cgroup(cgroup: Cgroup, plan: "Plan", undo: Undo) -> Cgroup:
    """Make the groups and write the limits. Without privilege and without limits there is none, and none is needed."""
    try:
        cgroup.make()
        undo.push(cgroup.remove)
        cgroup.apply()
    except Error as error:
        if plan.cgroup.required or os.geteuid() == 0 or error.errno not in (1, 13, 30):
            raise
        cgroup.remove()
        return Cgroup({}, [])
    return cgroup


def _spawn(
    container: "Container",
    plan: "Plan",
    program: Program,
    sources: Sources,
    cgroup: Cgroup,
    config: "Config",
    options: CreateOptions,
    console: int,
    gate: int,
    undo: Undo,
) -> "Child":
    """Clone init; returns in the host only."""
    pair = ffi.new("int[2]")
    error = lib.pyr_socketpair(pair)
    if error:
        raise Error("cannot make a socket pair", errno=-error)
    child = launch.Child(pair[0])
    sync = sources.own(pair[1])
    undo.push(child.kill)
    build, enter = program.array(plan.build), program.array(plan.enter)
    stub = program.stub()
    spawn = launch.spawn_request(plan, sources, cgroup, sync, pair[0])
    pidfd = ffi.new("int *", -1)
    pid = lib.pyr_spawn(spawn, stub, build, len(plan.build), pidfd)
    if pid == 0:
        init.main(
            init.Orders(
                plan,
                stub,
                enter,
                sync=sync,
                gate=gate,
                console=console,
                preserve_fds=options.preserve_fds,
                state=state_document(container.container_id, "creating", 0, options.bundle, config),
            )
        )
    if pid < 0:
        raise launch.clone_error(-pid, spawn.clone_flags)
    child.pid, child.pidfd = pid, pidfd[0]
    sources.close()
    launch.accompany(child, plan, spawn)
    return child


def _until_ready(child: "Child", plan: "Plan", document: "dict[str, object]") -> None:
    """Run the hooks of create, and the limits that only the host may set, until init is ready to wait for start."""
    if any(plan.hooks[kind] for kind in ("prestart", "createRuntime", "createContainer")):
        launch.expect(child, plan, messages.MOUNTED)
        hooks.run(plan.hooks["prestart"], document)
        hooks.run(plan.hooks["createRuntime"], document)
        messages.send(child.sync, messages.GO)
    launch.expect(child, plan, messages.READY)
    limits.apply(child.pid, plan.limits)


def _poststop(plan: "Plan", document: "dict[str, object]") -> None:
    """Run the poststop hooks of a container that is given up (runtime.md#lifecycle, steps 3 to 5 go on at 12, 13)."""
    for step in plan.hooks["poststop"]:
        try:
            hooks.run_one(step, document)
        except Error as error:
            log.warning(str(error))


def _now() -> str:
    """Return the time as RFC 3339 with nanoseconds, UTC."""
    now = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + f".{now % 10**9:09d}Z"


def _write_pid_file(path: str, pid: int) -> None:
    """Write `pid` to `path` so that a reader sees all of it or nothing. Raises Error."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            os.write(fd, str(pid).encode())
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError as error:
        raise Error(f"cannot write the pid file {path}", errno=error.errno or 0) from None
