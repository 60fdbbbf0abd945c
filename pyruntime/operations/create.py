"""The create operation (runtime.md#create): from a bundle to a container whose process waits for start."""

import pyruntime
from pyruntime._stub import lib
from pyruntime.base import lean_os as os
from pyruntime.base import log
from pyruntime.base.errors import Error
from pyruntime.base.undo import Undo
from pyruntime.cgroup import cgroup as cgroups
from pyruntime.cgroup.cgroup import Cgroup
from pyruntime.engine.caller import threads
from pyruntime.engine.caller.options import CreateOptions
from pyruntime.engine.child import launch
from pyruntime.engine.child.host_files import HostFiles
from pyruntime.engine.child.request import Request
from pyruntime.engine.child.step_array import StepArrays
from pyruntime.engine.state_document import new_state, now, state_document
from pyruntime.host.facts import facts
from pyruntime.plan.context import Context
from pyruntime.plan.create import compile_plan
from pyruntime.plan.process import opens_mapped_files
from pyruntime.protocol import limits, messages
from pyruntime.protocol.orders import Orders
from pyruntime.spec import read_config
from pyruntime.store import container as containers
from pyruntime.store.process import start_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyruntime.engine.child.child import Child
    from pyruntime.engine.intel_rdt import IntelRdt
    from pyruntime.engine.seccomp.filter import Filter
    from pyruntime.plan.facts import Facts
    from pyruntime.plan.plan import Plan
    from pyruntime.spec.json_types import Config, StateFile
    from pyruntime.store.container import Container


def create(container_id: str, options: CreateOptions) -> int:
    """Create the container and return the pid of its init, a child of this process.

    Raises Error (InvalidConfig with all findings of config.json); then nothing of the container is left.

    Upholds runtime.md#lifecycle/environment-created, runtime.md#lifecycle/environment-error.
    """
    creation = make(container_id, options, begin(container_id, options))
    creation.child.close()
    creation.container.close()
    return creation.child.pid


def begin(container_id: str, options: CreateOptions) -> "tuple[Config, Plan, bytes]":
    """Check what the caller gives, and `prepare`. Raises Error.

    `run` does this before it holds signals: no wait for the bundle's filesystem, however it is made, looks for them.
    """
    threads.check_single()
    containers.check_id(container_id)
    options.check_bundle()
    return prepare(container_id, options)


def make(
    container_id: str, options: CreateOptions, prepared: "tuple[Config, Plan, bytes]", *, at_once: bool = False
) -> "Creation":
    """Create the container as `create` does; the caller gets it locked, and must close `container` and `child`.

    prepared  what `begin` has returned
    at_once   its init waits for the start message at the other end of `child.sync`, and not at the gate
    """
    config, plan, _ = prepared
    for warning in plan.warnings:
        log.warning(warning)
    with Undo() as undo:
        creation = Creation(container_id, prepared, options, undo, at_once)
        try:
            creation.open()
            creation.make()
        except Error as error:
            error.show(config)
            raise
        undo.keep()
    creation.host_files.close()
    return creation


_known: "list[Facts]" = []


def _facts() -> "Facts":
    """Return the host's facts, which are read once in each process."""
    if not _known:
        _known.append(facts())
    return _known[0]


def prepare(container_id: str, options: CreateOptions) -> "tuple[Config, Plan, bytes]":
    """Load the bundle's configuration and compile its plan; nothing is changed. Raises Error.

    Returns also config.json as it stands in the bundle.
    """
    config, document = read_config(options.bundle)
    if log.events is not None:
        log.events.done(f"check {options.bundle}/config.json")
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
    passed = config
    if "NOTIFY_SOCKET" in os.environ or "LISTEN_FDS" in os.environ:
        options.notify = pyruntime.engine.caller.notify_socket.notifies()
        options.preserve_fds += pyruntime.engine.caller.notify_socket.listened()
        passed = pyruntime.engine.caller.notify_socket.passed_on(config, f"{options.root}/{container_id}")
    if options.preserve_fds:
        pyruntime.engine.caller.preserved_fds.check_preserved(options.preserve_fds)
    if not options.no_new_keyring:
        # Any process that has the name of a keyring can join it, also one of another container, or make it before this
        # container does. So the name must be random.
        options.keyring = f"_ses.{container_id}.{os.urandom(16).hex()}"
    context = Context(
        passed,
        host,
        options.bundle,
        container_id,
        no_pivot=options.no_pivot,
        new_keyring=bool(options.keyring),
        keyring=options.keyring,
        systemd_cgroup=options.systemd_cgroup,
    )
    plan = compile_plan(context)
    if log.events is not None:
        log.events.done(f"compile the plan of {len([*plan.steps()])} steps")
    return config, plan, document


class Creation:
    """A container that is being made: the state that the parts of its making share.

    If a later part fails, `undo` removes what was made. At the end there are

    container  its directory, locked
    state      what its state file says
    child      its init
    """

    __slots__ = (
        "arrays",
        "at_once",
        "child",
        "config",
        "config_text",
        "console",
        "container",
        "container_id",
        "hook_files",
        "host_files",
        "late",
        "options",
        "plan",
        "resctrl",
        "seccomp",
        "state",
        "undo",
    )

    def __init__(
        self,
        container_id: str,
        prepared: "tuple[Config, Plan, bytes]",
        options: CreateOptions,
        undo: Undo,
        at_once: bool,
    ) -> None:
        self.container_id = container_id
        self.config, self.plan, self.config_text = prepared
        self.options = options
        self.undo = undo
        self.at_once = at_once
        self.arrays = StepArrays()
        self.host_files = HostFiles()
        self.console = -1
        self.late = False  # init joins the group that limits its memory only when it is ready
        self.hook_files = (-1, -1)
        self.seccomp: Filter | None = None
        self.resctrl: IntelRdt | None = None
        self.container: Container
        self.state: StateFile
        self.child: Child

    def open(self) -> None:
        """Open what the configuration names, while nothing has been made yet; then take the id."""
        self.undo.push(self.host_files.close)
        if self.config.get("annotations"):
            # For the hooks in the container. Opened now, so that an error comes before anything is made.
            self.hook_files = pyruntime.protocol.hook_output.open_files(self._document(0))
            for fd in self.hook_files:
                if fd >= 0:
                    self.host_files.own(fd)
        terminal = (self.config.get("process") or {}).get("terminal")
        if terminal or self.options.console_socket:
            self.console = pyruntime.engine.caller.console_socket.connect(self.config, self.options)
        elif self.options.console_fd >= 0:
            os.close(self.options.console_fd)  # there is no terminal to send
        if self.console >= 0:
            self.host_files.own(self.console)
        if self.options.notify:
            # The notify directory, one of the bind sources, is in the container's directory.
            self._take_id()
            pyruntime.engine.caller.notify_socket.make_directory(self.container)
        self.host_files.open(self.plan, self.arrays, _facts(), self.options.bundle)
        if log.events is not None:
            log.events.done("open the root filesystem, bind sources and namespaces")
        if not self.options.notify:
            self._take_id()
        if self.plan.resctrl:
            self.resctrl = pyruntime.engine.intel_rdt.open_groups(self.plan.resctrl)
        self.seccomp = self._filter()

    def _take_id(self) -> None:
        # Upholds runtime.md#state/id-unique, runtime.md#create/id-taken-or-invalid.
        self.container = containers.create(self.options.root, self.container_id)
        self.undo.push(self.container.close)
        self.undo.push(self.container.remove)
        if log.events is not None:
            log.events.done(f"take the id: mkdir {self.container.path}")

    def make(self) -> None:
        """Make all that outlives this process, each part with its undo action. Raises Error."""
        cgroup = cgroups.prepare(self.plan.cgroup)
        self.state = state = new_state(self.container_id, self.config, self.options)
        root = next(step for step in self.plan.build if step.op == "root")
        state["rootfs"] = root.args["source"]
        if root.args["flags"] & lib.STEP_IN_PLACE:
            state["root_mount"] = pyruntime.engine.root_mount.expect(root.args["source"], self.plan)
        state["cgroup"] = cgroup.record
        if self.resctrl is not None:
            state["intel_rdt"] = self.resctrl.record
        # Written before anything else is made, so that `delete` finds what to remove if this process is killed.
        self.container.begin(state)
        self.container.keep_config(self.config_text)
        if log.events is not None:
            log.events.done(f"write first.json and config.json into {self.container.path}")
            log.events.begin("make the cgroup and set its limits")
        cgroup.make()
        self.undo.push(cgroup.remove)
        cgroup.apply()
        delegated = self.plan.cgroup.delegate
        if delegated is not None:
            pyruntime.cgroup.delegate.make(cgroup, delegated)
        if log.events is not None:
            log.events.end()
        self.host_files.open_cgroups(self.plan, self.arrays, _facts(), made=bool(cgroup.paths))
        if state["root_mount"]:
            self.undo.push(pyruntime.engine.root_mount.remove, state["root_mount"])
        if self.resctrl is not None:
            self.resctrl.make(self.undo)
        self._spawn(cgroup)
        if not self.late:
            cgroup.settle()
        if self.resctrl is not None:
            self.resctrl.add(self.child.pid)
        # Written while the child makes the mounts; renamed to state.json when the child is ready.
        state["status"] = "created"
        state["created"] = now()
        state["cgroup"] = cgroup.record
        self._prepare_state()
        if log.events is not None:
            log.events.done("prepare state.json")
        document = self._document(self.child.pid)
        try:
            self._until_ready(document)
        except BaseException:
            self.undo.push(_poststop, self.plan, {**document, "status": "stopped"})
            self.undo.push(self.child.kill)
            raise
        if self.child.crosses:
            self._prepare_state()
        if self.late:
            cgroup.settle()
        if delegated is not None:
            pyruntime.cgroup.delegate.enable(cgroup, delegated)
        self.container.put()
        if log.events is not None:
            log.events.done("state.json says created")
        if self.options.pidfd_socket or self.config.get("annotations"):
            self._send_pidfd()
        if self.options.pid_file:
            pyruntime.engine.caller.pid_file.write_pid_file(self.options.pid_file, self.child.pid, self.undo)
        if not messages.send(self.child.sync, messages.GO + str(self.child.pid).encode()):
            raise Error("the container's first process died", "before it could wait for start")
        if self.late:
            # Init may have exceeded its memory limit since it joined its group.
            launch.expect(self.child, self.plan, messages.WAITS)

    def _prepare_state(self) -> None:
        pid = self.state["pid"] = self.child.pid
        self.state["start_time"] = start_time(pid)
        self.container.prepare(self.state)

    def _send_pidfd(self) -> None:
        for path in (
            self.options.pidfd_socket,
            pyruntime.plan.annotations.value(self.config, pyruntime.plan.annotations.PIDFD_RECEIVER),
        ):
            if path:
                pyruntime.engine.caller.pidfd_socket.send(
                    path, self.child.pidfd, pyruntime.engine.caller.pidfd_socket.INIT
                )

    def _document(self, pid: int) -> "dict[str, object]":
        """Return the state for the hooks of create; they run after step 2 of the lifecycle, so it is not `creating`."""
        return state_document(self.container_id, "created", pid, self.options.bundle, self.config)

    def _filter(self) -> "Filter | None":
        """Return the seccomp filter, connected to its agent; None without one. Raises Error."""
        if not self.plan.filter:
            return None
        found = pyruntime.engine.seccomp.filter.open_filter(
            self.plan.filter[0], self.config, self.options.root, self.host_files
        )
        if log.events is not None:
            log.events.done(self.plan.filter[0])
        return found

    def _spawn(self, cgroup: Cgroup) -> None:
        """Clone init; returns in the host only."""
        orders = Orders(
            self.plan,
            gate=self.host_files.own(self.container.listen()),
            at_once=self.at_once,
            preserve_fds=self.options.preserve_fds,
            state=self._document(0),
            lock=self.container.fd,
            seccomp=self.seccomp,
            hook_files=self.hook_files,
        )
        request = Request(
            self.plan,
            self.arrays,
            self.host_files,
            cgroup,
            orders=orders,
            console=self.console,
            preserve=self.options.preserve_fds,
            seccomp=self.seccomp,
            copies=opens_mapped_files(self.config, self.config.get("process")),
        )
        self.child = launch.spawn(request, self.undo)
        self.late = bool(self.child.late)

    def _until_ready(self, document: "dict[str, object]") -> None:
        """Run the hooks of create and set the limits that only the host may set, until init is ready for start.

        Upholds runtime.md#lifecycle/resources-at-create, config.md#prestart/when,
        config.md#prestart/before-create-runtime, config.md#createruntime-hooks/when,
        config.md#createcontainer-hooks/after-create-runtime.
        """
        plan, child = self.plan, self.child
        if any(plan.hooks[kind] for kind in ("prestart", "createRuntime", "createContainer")):
            launch.expect(child, plan, messages.MOUNTED)
            child.join_late()
            pyruntime.protocol.run_hooks.run(plan.hooks["prestart"], document)
            pyruntime.protocol.run_hooks.run(plan.hooks["createRuntime"], document)
            messages.send(child.sync, messages.GO)
        ready = launch.expect(child, plan, messages.READY)
        child.join_late()
        if child.crosses:
            inherited = limits.left(ready, plan.limits, limits.HOST_ALONE[:1])
            limits.apply(child.pid, inherited, self.options.preserve_fds, lib.SPARE_PROCESSES)
            ready = launch.cross(child, plan)
        limits.apply(child.pid, limits.left(ready, plan.limits), self.options.preserve_fds)


def _poststop(plan: "Plan", document: "dict[str, object]") -> None:
    """Run the poststop hooks after create has failed (runtime.md#lifecycle: steps 3 to 5 continue at 12 and 13).

    Upholds runtime.md#lifecycle/prestart-fails, runtime.md#lifecycle/create-runtime-fails,
    runtime.md#lifecycle/create-container-fails.
    """
    if not plan.hooks["poststop"]:
        return
    for step in plan.hooks["poststop"]:
        try:
            pyruntime.protocol.run_hooks.run_one(step, document)
        except Error as error:
            log.warning(str(error))
